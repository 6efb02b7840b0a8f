// dX = dY W for TILE tokens and BLOCKS_AT_ONCE blocks of columns: a thread sums four columns of each half of
// a block over every SPLIT-th row of W, and SPLIT threads, which read neighbouring rows, meet at a barrier.
// Each number of W is widened once for all tokens of a tile.

const O = {{o}}u;           // numbers of a row of dY
const FROM = {{from}}u;     // the first of those that belong to our rows
const COUNT = {{count}}u;   // of them
const ROWS = {{rows}}u;     // of a piece of W; each piece has its own dX
const BLOCKS = {{blocks}}u; // of a row of W
const STORED = {{stored}}u; // rows that lie in the buffers
const FIRST = {{first}}u;   // the first of ours
const THREADS = {{threads}}u;
const SPLIT = {{split}}u;
const TILE = {{tile}}u;
const BLOCKS_AT_ONCE = THREADS / 4u / SPLIT;
const GROUPS = (BLOCKS + BLOCKS_AT_ONCE - 1u) / BLOCKS_AT_ONCE;

var<workgroup> sums: array<vec4<f32>, THREADS * TILE>; //! if barrier

//! put numbers

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // A group for each token, though one computes a tile: so the text knows no number of tokens, and one
    // pipeline serves all.
    let tokens = groups.y;
    let token = group.y * TILE;
    if token >= tokens { return; }
    let four = lane % 4u;
    let part = lane / 4u % SPLIT;
    let block = group.x % GROUPS * BLOCKS_AT_ONCE + lane / (4u * SPLIT);
    if block >= BLOCKS { return; } //! if not barrier
    let piece = group.x / GROUPS;
    let dy{{t}} = min(token + {{t}}u, tokens - 1u) * O + FROM; //! for t in tile
    var acc{{h}}_{{t}} = vec4<f32>(0.0); //! for h in halves, t in tile
    let end = min(COUNT, (piece + 1u) * ROWS);
    for (var r = piece * ROWS + part; r < end; r += SPLIT) {
        let row = FIRST + r;
        let s = factors(block, row); //! if codes
//! for h in halves
        let w{{h}} = numbers(
            block, row, {{h}}u, four,
            s, //! if codes
        );
//! end
//! for t in tile
        let g{{t}} = dy[dy{{t}} + r];
        acc{{h}}_{{t}} += g{{t}} * w{{h}}; //! for h in halves
//! end
    }
    let to = (piece * tokens + token) * (8u * BLOCKS) + block * 8u;
//! if barrier
//!   for h in halves
    sums[{{t}}u * THREADS + lane] = acc{{h}}_{{t}}; //! for t in tile
    workgroupBarrier();
    // A thread for each token and four columns.
    for (var n = lane; n < 4u * TILE; n += THREADS) {
        var sum = vec4<f32>(0.0);
        for (var p = 0u; p < SPLIT; p += 1u) {
            sum += sums[n / 4u * THREADS + 4u * p + n % 4u];
        }
        if token + n / 4u < tokens {
            dx[to + n / 4u * (8u * BLOCKS) + 4u * {{h}}u + n % 4u] = sum;
        }
    }
    workgroupBarrier();
//!   end
//! else
//!   for t in tile
    if token + {{t}}u < tokens {
        dx[to + {{t}}u * (8u * BLOCKS) + 4u * {{h}}u + four] = acc{{h}}_{{t}}; //! for h in halves
    }
//!   end
//! end
}
