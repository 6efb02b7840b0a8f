// y = W x for TILE tokens, or W norm(x), with what follows it in a block. A thread computes some rows of W, which are
// lines of y or, with `silu` or `gelu_tanh`, pairs of rows that make one line; SPLIT threads share the
// blocks of a row and meet at a barrier.
//
// A block of 32 columns: the codes times x, then the block's factor, and its offset times the sum of x.
// Codes are not shifted to their place: the numbers of x are scaled down instead, once for all rows, by
// the powers of two at which the codes stand in their word.

const I4 = {{i4}}u;                    // fours of a row of x
const BLOCKS = {{blocks}}u;            // of a row of W
const FOURS = {{fours}}u;              // fours of words of a block
const STORED = {{stored}}u;            // rows that lie in the buffers
const LINES = {{lines}}u;              // numbers of a row of y
const FROM = {{from}}u;                // the first that is computed
const END = {{end}}u;                  // the last, and one
const THREADS = {{threads}}u;
const SPLIT = {{split}}u;
const LANES = THREADS / SPLIT;
const AT_ONCE = {{at_once}}u;          // lines of one thread, LANES apart
const TILE = {{tile}}u;
const ROWS = {{rows_at_once}}u;         // of one thread
const SUMS = {{sums}}u * TILE;         // of one thread
const SHIFT_SCALE = {{shift_scale}};
const BIAS = {{bias}}u; // where biases lie, behind the factors //! if bias
const BY: f32 = {{by}}; // times y, before the residual stream //! if by
//! if gelu_tanh
// Half of 1 + tanh(√(2/π) (x + 0.044715 x³)) is 1 / (1 + exp(x (ONE + CUBE x²))).
const ONE = -1.5957691216057308;
const CUBE = -0.07135481627260025;
//! end
// How far codes are shifted in their word, for each byte of it.
//! if nibbles
const DOWN = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
const UP = vec4<f32>(1.0, 0x1p8, 0x1p16, 0x1p24);
//! end
//! if eight
// The last byte would look negative where it stands.
const DOWN = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 1.0);
const UP = vec4<f32>(1.0, 0x1p8, 0x1p16, 1.0);
//! end
const ZERO: f32 = {{zero}}.0; // the code that stands for it //! if zero

//! put factors

//! if norm
const EPSILON = {{epsilon}};
//! put inverse_root
//! end

//! if high
// The bits above the fourth of four codes, at their place in the word; theirs in `word` is `place`.
fn above(word: u32, place: u32) -> vec4<u32> {
    const MASK = (16u << {{high}}u) - 16u;
    return vec4<u32>((word >> place) << 4u) & vec4<u32>(MASK, MASK << 8u, MASK << 16u, MASK << 24u);
}
//! end

var<workgroup> parts: array<f32, THREADS * SUMS>; //! if barrier

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) in_subgroup: u32, //! if quads
) {
    let token = group.y * TILE;
    let line = FROM + group.x * (LANES * AT_ONCE) + lane % LANES;
    let part = lane / LANES;
//! if quads
//!   put place
//! end
    let row{{r}} = min(line + {{r.line}}u * LANES, END - 1u) - FROM + {{r.first}}u; //! for r in rows
    var acc{{r}}_{{t}} = 0.0; //! for r in rows, t in tile
//! if norm
    var squares{{t}} = 0.0; //! for t in tile
//! end
    for (var block = part; block < BLOCKS; block += SPLIT) {
//! for r in rows
//!   if codes
        let s{{r}} = factors(block, row{{r}});
        let high{{r}}_{{n}} = scales[{{high_at}}u + (block * {{high}}u + {{n}}u) * STORED + row{{r}}]; //! for n in high
//!     for f in fours
//!       if quads
//!         put turned_words
//!       else
        let q{{r}}_{{f}} = words[(block * FOURS + {{f}}u) * STORED + row{{r}}];
//!       end
//!     end
//!   end
        var sum{{r}}_{{t}}_{{h}} = 0.0; //! for t in tile, h in halves
//! end
        // Eight times four columns: with quads, not the j-th four but those that the quad tells.
//! for j in eight_fours
//!   for t in tile
//!     if j.told
        let x{{j}}_{{t}} = {{j.told}}(x{{j.from}}_{{t}});
//!     else
        let own{{j}}_{{t}} = x[(token + {{t}}u) * I4 + block * 8u + {{j.column}}];
        squares{{t}} += dot(own{{j}}_{{t}}, own{{j}}_{{t}}); //! if norm
        let x{{j}}_{{t}} = own{{j}}_{{t}}
            * gamma[block * 8u + {{j.column}}] //! if norm
            * DOWN //! if codes
        ;
//!     end
//!   end
//!   for r in rows
        // Nothing is negative: from signed numbers the way to f32 is shorter.
//!     if nibbles
        let w{{j}}_{{r}} = vec4<f32>(bitcast<vec4<i32>>(
            (vec4<u32>(q{{r}}_0[{{j.word}}]) //! if not j.upper
            (vec4<u32>(q{{r}}_0[{{j.word}}] >> 4u) //! if j.upper
            & vec4<u32>(0xfu, 0xf00u, 0xf0000u, 0xf000000u))
            | above(high{{r}}_{{j.plane}}, {{j.place}}) //! if high
        ));
//!     end
//!     if eight
        let w{{j}}_{{r}} = vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(
            q{{r}}_{{j.four}}[{{j.word}}] & 0xffu,
            q{{r}}_{{j.four}}[{{j.word}}] & 0xff00u,
            q{{r}}_{{j.four}}[{{j.word}}] & 0xff0000u,
            q{{r}}_{{j.four}}[{{j.word}}] >> 24u,
        )));
//!     end
//!     if not codes
        let q{{j}}_{{r}} = words[(block * FOURS + {{j.column}}) * STORED + row{{r}}];
        let w{{j}}_{{r}} =
            q{{j}}_{{r}} //! if f32
            vec4<f32>(unpack2x16float(q{{j}}_{{r}}.x), unpack2x16float(q{{j}}_{{r}}.y)) //! if f16
            bitcast<vec4<f32>>((q{{j}}_{{r}}.xxyy << vec4<u32>(16u, 0u, 16u, 0u)) & vec4<u32>(0xffff0000u)) //! if bf16
        ;
//!     end
        sum{{r}}_{{t}}_{{j.half}} += dot(w{{j}}_{{r}}, x{{j}}_{{t}}); //! for t in tile
//!   end
//! end
//! for t in tile
//!   if codes
        let low{{t}} = (x0_{{t}} + x1_{{t}}) + (x2_{{t}} + x3_{{t}});
        let top{{t}} = (x4_{{t}} + x5_{{t}}) + (x6_{{t}} + x7_{{t}});
        let all{{t}}_0 = dot(low{{t}} + top{{t}}, UP); //! if not by_16
        let all{{t}}_0 = dot(low{{t}}, UP); //! if by_16
        let all{{t}}_1 = dot(top{{t}}, UP); //! if by_16
//!   end
//!   for r in rows, h in halves
//!     if codes
        acc{{r}}_{{t}} += s{{r}}.{{h.factor}} * (
            sum{{r}}_{{t}}_{{h}}
            - ZERO * all{{t}}_{{h}} //! if zero
        ) + s{{r}}.{{h.offset}} * all{{t}}_{{h}};
//!     else
        acc{{r}}_{{t}} += sum{{r}}_{{t}}_{{h}};
//!     end
//!   end
//! end
    }
//! if barrier
    parts[lane * SUMS + ({{r}}u * TILE + {{t}}u)] = acc{{r}}_{{t}}; //! for r in rows, t in tile
//!   if norm
    parts[lane * SUMS + (ROWS * TILE + {{t}}u)] = squares{{t}}; //! for t in tile
//!   end
    workgroupBarrier();
    if lane >= LANES { return; }
//!   for r in rows, t in tile
    acc{{r}}_{{t}} = parts[(lane + 0u) * SUMS + ({{r}}u * TILE + {{t}}u)]
        + parts[(lane + {{s}}u * LANES) * SUMS + ({{r}}u * TILE + {{t}}u)] //! for s in 1..split
    ;
//!   end
//!   if norm
//!     for t in tile
    squares{{t}} = parts[(lane + 0u) * SUMS + (ROWS * TILE + {{t}}u)]
        + parts[(lane + {{s}}u * LANES) * SUMS + (ROWS * TILE + {{t}}u)] //! for s in 1..split
    ;
//!     end
//!   end
//! end
//! if norm
    let scale{{t}} = inverse_root(squares{{t}} / f32(I4 * 4u) + EPSILON); //! for t in tile
    acc{{r}}_{{t}} *= scale{{t}}; //! for r in rows, t in tile
//! end
//! for l in lines_at_once
    if line + {{l}}u * LANES < END {
//!   if bias
//!     for r in l.rows
        let bias{{r.row}} = bitcast<f32>(scales[BIAS + row{{r.row}}]);
        acc{{r.row}}_{{t}} += bias{{r.row}}; //! for t in tile
//!     end
//!   end
        // Low-rank changes of the line's rows.
//!   for r in l.rows, p in parts
        if line + {{r.out}}u >= {{p.first}}u && line + {{r.out}}u < {{p.end}}u {
            for (var k = 0u; k < {{p.rank}}u; k += 1u) {
                let b = b{{p}}[(line + {{r.out}}u - {{p.first}}u) * {{p.rank}}u + k];
//!     for t in changed
//!       if fours_of_ranks
                acc{{r.row}}_{{t.token}} += dot(b, z[{{t.z}} * {{z_width}}u + {{p.column}}u + k]);
//!       else
                acc{{r.row}}_{{t.token}} += b * z[{{t.z}} * {{z_width}}u + {{p.column}}u + k];
//!       end
//!     end
            }
        }
//!   end
//!   for t in tokens
        y[(token + {{t}}u) * LINES + line + {{l}}u * LANES] =
            acc{{l}}_{{t}}
            * BY //! if by
            + residual[(token + {{t}}u) * LINES + line + {{l}}u * LANES] //! if residual
            / (1.0 + exp(-acc{{l}}_{{t}})) * acc{{l.up}}_{{t}} //! if silu
            / (1.0 + exp(acc{{l}}_{{t}} * (ONE + CUBE * acc{{l}}_{{t}} * acc{{l}}_{{t}}))) * acc{{l.up}}_{{t}} //! if gelu_tanh
            + slot[SHIFT_SCALE] * shift[line + {{l}}u * LANES] //! if t.shifted
        ;
//!   end
    }
//! end
}
