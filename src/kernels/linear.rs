//! `y = W x`, with what stands behind it in a block: one launch.

use std::fmt::Write as _;

use burn::tensor::Tensor;

use super::launch::{Wgsl, buffer, empty, from_row, int_buffer, launch, tensor};
use super::low_rank::LowRank;
use super::packed::{BLOCK, EIGHT_OFFSET, Format, Packed, word_type};
use super::quads;
use crate::device::{gpu_has_subgroups, gpu_is_software};

/// Streams in lockstep whose tokens are computed at once.
pub const STREAMS: usize = 3;
/// Tokens that are computed at once in passes of more than [`STREAMS`] that fill no whole tile.
const SMALL_TILE: usize = STREAMS + 1;
/// Numbers of tokens in whose passes every pipeline of the base is built, but for the two of long
/// contexts: whole tiles and one token, a small tile, and the other numbers of streams.
pub const WARM_UP_TOKENS: [usize; 4] = [Cut::SOFTWARE.tile + 1, SMALL_TILE, 2, STREAMS];

/// What happens to the output.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::large_enum_variant,
    reason = "a tensor handle is large; these are few and short-lived"
)]
pub enum After {
    /// Nothing.
    #[default]
    Plain,
    /// The residual stream `[t, o]` is added.
    Residual(Tensor<2>),
    /// The upper half of the rows gates the lower: `silu(y[.., ..o/2]) ∘ y[.., o/2..]`,
    /// `[t, o/2]`.
    SwiGlu,
}

/// Effects that ride along with a product: they cost no launch of their own.
#[derive(Debug, Clone, Default)]
pub struct Riders {
    /// Low-rank changes, in passes of at most [`STREAMS`] tokens.
    pub low_rank: Option<LowRank>,
    /// A step `(v [o], scales)`: `y += scales[SHIFT_SCALE]·v`.
    pub shift: Option<(Tensor<1>, Tensor<1>)>,
    /// The only row of y that they change, of at most [`STREAMS`]; without it, all.
    pub row: Option<usize>,
}

/// Where [`Riders::shift`] finds its factor.
pub const SHIFT_SCALE: usize = 63;

/// [`LowRank`] as a kernel's text depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Part {
    first: usize,
    rows: usize,
    rank: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Epilogue {
    Plain,
    Residual,
    SwiGlu,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Linear {
    format: Format,
    /// Rows that lie in the buffers.
    stored: usize,
    i: usize,
    /// The rows that are computed.
    first: usize,
    o: usize,
    /// Tokens of one workgroup.
    tile: usize,
    cut: Cut,
    after: Epilogue,
    parts: Vec<Part>,
    z_width: usize,
    shift: bool,
    /// The row that the riders change, if not all.
    row: Option<usize>,
}

/// How the work is laid out over threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cut {
    /// Threads of a workgroup.
    pub threads: usize,
    /// Rows of one thread: each number of x is read once for all of them. More would be faster, and
    /// take a browser's software GPU seconds to compile.
    pub rows: usize,
    /// Threads that share the columns of a row. They meet at a barrier.
    pub split: usize,
    /// Tokens that one thread computes at once: each weight is unpacked once for all of them.
    pub tile: usize,
    /// Whether the four threads of a quad read a fourth of x each and tell it to the others.
    pub quads: bool,
}

impl Cut {
    /// For a program that imitates a GPU: long threads, no barriers. Each thread's reading is a
    /// loop over single numbers there, which costs more than what is computed with them.
    pub const SOFTWARE: Self = Self {
        threads: 8,
        rows: 4,
        split: 1,
        tile: 16,
        quads: false,
    };
    /// For a GPU: as many threads as the narrow layers of small models can give.
    pub const HARDWARE: Self = Self {
        threads: 64,
        rows: 1,
        split: 4,
        tile: 8,
        quads: false,
    };

    /// Whether threads may wait for each other.
    pub(super) fn has_barriers(self) -> bool {
        self.split > 1
    }

    /// For the GPU that was opened.
    pub(super) fn of_this_gpu() -> Self {
        match gpu_is_software() {
            true => Self {
                quads: gpu_has_subgroups(),
                ..Self::SOFTWARE
            },
            false => Self::HARDWARE,
        }
    }
}

impl Wgsl for Linear {
    fn subgroups(&self) -> bool {
        self.cut.quads
    }

    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        let mut buffers = vec![("words", word_type(self.format))];
        // What a kernel does not read is not part of its layout, and must not be bound.
        if self.format != Format::Float {
            buffers.push(("scales", "u32"));
        }
        buffers.extend([("x", "vec4<f32>"), ("y", "f32")]);
        if self.after == Epilogue::Residual {
            buffers.push(("residual", "f32"));
        }
        if !self.parts.is_empty() {
            let numbers = match self.ranks_at_once() {
                4 => "vec4<f32>",
                _ => "f32",
            };
            buffers.push(("z", numbers));
            let names = ["b0", "b1", "b2"];
            buffers.extend(
                self.parts
                    .iter()
                    .zip(names)
                    .map(|(_, name)| (name, numbers)),
            );
        }
        if self.shift {
            buffers.extend([("shift", "f32"), ("slot", "f32")]);
        }
        buffers
    }

    fn body(&self) -> String {
        let (tile, split, lines) = (self.tile, self.cut.split, self.lines());
        let threads = self.cut.threads;
        let lanes = threads / split;
        // Rows of one thread, and the lines of y that they make.
        let rows = self.rows();
        let each = |line: &dyn Fn(usize, usize) -> String| -> String {
            let pairs = (0..rows.len()).flat_map(|r| (0..tile).map(move |t| (r, t)));
            pairs.map(|(r, t)| line(r, t)).collect()
        };
        let mut text = String::new();
        if split > 1 {
            let _ = writeln!(
                text,
                "var<workgroup> parts: array<f32, {}>;",
                threads * tile * rows.len()
            );
        }
        let _ = writeln!(
            text,
            "@compute @workgroup_size({threads})
             fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32{in_subgroup}) {{
                 let token = group.y * {tile}u;
                 let line = group.x * {}u + lane % {lanes}u;
                 let part = lane / {lanes}u;
                 {quad}",
            lanes * self.thread_lines(),
            in_subgroup = if self.cut.quads { quads::PARAMETER } else { "" },
            quad = if self.cut.quads { quads::PLACE } else { "" },
        );
        for (r, (line, offset)) in rows.iter().enumerate() {
            let _ = writeln!(
                text,
                "let row{r} = min(line + {}u, {lines}u - 1u) + {}u;",
                line * lanes,
                self.first + offset
            );
        }
        text += &each(&|r, t| format!("var acc{r}_{t} = 0.0;\n"));
        let _ = writeln!(
            text,
            "for (var block = part; block < {}u; block += {split}u) {{",
            self.i / BLOCK
        );
        text += &self.block(rows.len());
        text += "}\n";
        if split > 1 {
            let width = tile * rows.len();
            text += &each(&|r, t| {
                format!("parts[lane * {width}u + {}u] = acc{r}_{t};\n", r * tile + t)
            });
            let _ = writeln!(
                text,
                "workgroupBarrier();\nif lane >= {lanes}u {{ return; }}"
            );
            text += &each(&|r, t| {
                let sum: Vec<String> = (0..split)
                    .map(|s| {
                        format!(
                            "parts[(lane + {}u) * {width}u + {}u]",
                            s * lanes,
                            r * tile + t
                        )
                    })
                    .collect();
                format!("acc{r}_{t} = {};\n", sum.join(" + "))
            });
        }
        for (r, (line, offset)) in rows.iter().enumerate() {
            if *offset > 0 {
                continue;
            }
            let _ = writeln!(text, "if line + {}u < {lines}u {{", line * lanes);
            for (at, (other, down)) in rows.iter().enumerate() {
                if other == line {
                    text += &self.low_rank(at, &format!("line + {}u", other * lanes + down));
                }
            }
            for t in 0..tile {
                let to = format!("(token + {t}u) * {lines}u + line + {}u", line * lanes);
                let value = match self.after {
                    Epilogue::Plain => format!("acc{r}_{t}"),
                    Epilogue::Residual => format!("acc{r}_{t} + residual[{to}]"),
                    Epilogue::SwiGlu => {
                        let up = rows.len() / 2 + r;
                        format!("acc{r}_{t} / (1.0 + exp(-acc{r}_{t})) * acc{up}_{t}")
                    }
                };
                let shift = match self.shift && self.changes(t) {
                    true => format!(" + slot[{SHIFT_SCALE}] * shift[line + {}u]", line * lanes),
                    false => String::new(),
                };
                let _ = writeln!(text, "y[{to}] = {value}{shift};");
            }
            text += "}\n";
        }
        text + "}"
    }
}

impl Linear {
    /// Numbers per token of y.
    fn lines(&self) -> usize {
        match self.after {
            Epilogue::SwiGlu => self.o / 2,
            _ => self.o,
        }
    }

    /// Numbers of y that one thread computes for each token.
    fn thread_lines(&self) -> usize {
        match self.after {
            Epilogue::SwiGlu => (self.cut.rows / 2).max(1),
            _ => self.cut.rows,
        }
    }

    /// The rows of one thread: `(line of y, rows further down)`.
    fn rows(&self) -> Vec<(usize, usize)> {
        let lines = 0..self.thread_lines();
        let mut rows: Vec<_> = lines.clone().map(|line| (line, 0)).collect();
        if self.after == Epilogue::SwiGlu {
            let half = self.lines();
            rows.extend(lines.map(|line| (line, half)));
        }
        rows
    }

    /// Whether the riders change this token of a tile.
    fn changes(&self, token: usize) -> bool {
        self.row.is_none_or(|row| row == token)
    }

    /// Ranks that are read and multiplied at once.
    fn ranks_at_once(&self) -> usize {
        match self.parts.iter().all(|part| part.rank.is_multiple_of(4)) {
            true => 4,
            false => 1,
        }
    }

    /// Adds the low-rank changes to row `r` of the thread, which is row `out` of y.
    fn low_rank(&self, r: usize, out: &str) -> String {
        let at_once = self.ranks_at_once();
        let width = self.z_width / at_once;
        let mut text = String::new();
        let mut column = 0;
        for (n, Part { first, rows, rank }) in self.parts.iter().enumerate() {
            let (end, rank) = (first + rows, rank / at_once);
            let _ = writeln!(
                text,
                "if {out} >= {first}u && {out} < {end}u {{
                     for (var k = 0u; k < {rank}u; k += 1u) {{
                         let b = b{n}[({out} - {first}u) * {rank}u + k];"
            );
            for t in (0..self.tile).filter(|&t| self.changes(t)) {
                let row = match self.row {
                    Some(_) => "0u".to_owned(),
                    None => format!("(token + {t}u)"),
                };
                let z = format!("z[{row} * {width}u + {column}u + k]");
                let _ = match at_once {
                    4 => writeln!(text, "acc{r}_{t} += dot(b, {z});"),
                    _ => writeln!(text, "acc{r}_{t} += b * {z};"),
                };
            }
            text += "}\n}\n";
            column += rank;
        }
        text
    }

    /// Adds one block of 32 columns to every `acc`: the codes times x, then the block's factor, and its
    /// offset times the sum of x.
    ///
    /// Codes are not shifted to their place: the numbers of x are scaled down instead, once for all
    /// rows, by the powers of two at which the codes stand in their word.
    fn block(&self, rows: usize) -> String {
        let (stored, tile, i4) = (self.stored, self.tile, self.i / 4);
        let (down, up) = match self.format {
            Format::Four => (
                " * vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24)",
                "vec4<f32>(1.0, 0x1p8, 0x1p16, 0x1p24)",
            ),
            // The last byte would look negative where it stands.
            Format::Eight => (
                " * vec4<f32>(1.0, 0x1p-8, 0x1p-16, 1.0)",
                "vec4<f32>(1.0, 0x1p8, 0x1p16, 1.0)",
            ),
            Format::Float => ("", ""),
        };
        let mut text = String::new();
        let fours = self.format.words() / 4;
        for r in 0..rows {
            if self.format != Format::Float {
                let _ = writeln!(
                    text,
                    "let s{r} = unpack2x16float(scales[block * {stored}u + row{r}]);"
                );
                for four in 0..fours {
                    let word = format!("words[(block * {fours}u + {four}u) * {stored}u + row{r}]");
                    let _ = match self.cut.quads {
                        // In the order in which the quad tells x.
                        true => writeln!(
                            text,
                            "let a{r}_{four} = {word};
                             let b{r}_{four} = select(a{r}_{four}, a{r}_{four}.yxwz, odd);
                             let q{r}_{four} = select(b{r}_{four}, b{r}_{four}.zwxy, high);"
                        ),
                        false => writeln!(text, "let q{r}_{four} = {word};"),
                    };
                }
            }
            for t in 0..tile {
                let _ = writeln!(text, "var sum{r}_{t} = 0.0;");
            }
        }
        // Eight times four columns: with quads, not the j-th four but those that the quad tells.
        for j in 0..8 {
            let column = match self.cut.quads {
                true => format!("({}u + (quad ^ {}u))", j / 4 * 4, j % 4),
                false => format!("{j}u"),
            };
            for t in 0..tile {
                let x = match (self.cut.quads, j % 4) {
                    (true, n @ 1..) => quads::told(&format!("x{}_{t}", j - n), n),
                    _ => format!("x[(token + {t}u) * {i4}u + block * 8u + {column}]{down}"),
                };
                let _ = writeln!(text, "let x{j}_{t} = {x};");
            }
            for r in 0..rows {
                let w = match self.format {
                    Format::Four => {
                        let codes = match j < 4 {
                            true => format!("q{r}_0[{j}]"),
                            false => format!("q{r}_0[{}] >> 4u", j - 4),
                        };
                        // Nothing is negative: from signed numbers the way to f32 is shorter.
                        format!(
                            "vec4<f32>(bitcast<vec4<i32>>(vec4<u32>({codes}) & vec4<u32>(0xfu, 0xf00u, 0xf0000u, 0xf000000u)))"
                        )
                    }
                    Format::Eight => {
                        let codes = format!("q{r}_{}[{}]", j / 4, j % 4);
                        format!(
                            "vec4<f32>(bitcast<vec4<i32>>(vec4<u32>({codes} & 0xffu, {codes} & 0xff00u, {codes} & 0xff0000u, {codes} >> 24u)))"
                        )
                    }
                    Format::Float => {
                        format!("words[(block * 8u + {column}) * {stored}u + row{r}]")
                    }
                };
                let _ = writeln!(text, "let w{j}_{r} = {w};");
                for t in 0..tile {
                    let _ = writeln!(text, "sum{r}_{t} += dot(w{j}_{r}, x{j}_{t});");
                }
            }
        }
        for t in 0..tile {
            if self.format != Format::Float {
                let _ = writeln!(
                    text,
                    "let all{t} = dot(((x0_{t} + x1_{t}) + (x2_{t} + x3_{t})) + ((x4_{t} + x5_{t}) + (x6_{t} + x7_{t})), {up});"
                );
            }
            for r in 0..rows {
                let _ = match self.format {
                    Format::Four => {
                        writeln!(text, "acc{r}_{t} += s{r}.x * sum{r}_{t} + s{r}.y * all{t};")
                    }
                    Format::Eight => writeln!(
                        text,
                        "acc{r}_{t} += s{r}.x * (sum{r}_{t} - {EIGHT_OFFSET}.0 * all{t});"
                    ),
                    Format::Float => writeln!(text, "acc{r}_{t} += sum{r}_{t};"),
                };
            }
        }
        text
    }

    /// Launches that cover t tokens: `(first token, workgroups, tokens of each)`. Few numbers of
    /// tokens serve every length, so that few pipelines do.
    fn pieces(&self, t: usize) -> Vec<(usize, usize, usize)> {
        let tile = match t {
            0..=STREAMS => return vec![(0, 1, t)],
            _ if t < self.cut.tile => SMALL_TILE,
            _ => self.cut.tile,
        };
        let whole = t / tile * tile;
        let rest = t - whole;
        // Buffers can be bound from every 64th number on.
        let bound = |row: usize| {
            (row * self.i).is_multiple_of(64) && (row * self.lines()).is_multiple_of(64)
        };
        let last = match rest {
            0 => None,
            1..=STREAMS => Some((whole, 1, rest)),
            // A tile that computes some tokens a second time.
            _ if bound(t - tile) => Some((t - tile, 1, tile)),
            _ => Some((whole, rest, 1)),
        };
        match last {
            Some((first, ..)) if !bound(first) => vec![(0, t, 1)],
            last => std::iter::once((0, whole / tile, tile))
                .chain(last)
                .collect(),
        }
    }
}

/// `y = W x` and what follows: `[t, o]`, with [`After::SwiGlu`] `[t, o/2]`.
///
/// Low-rank riders, and those that name a row, want at most [`STREAMS`] rows of x.
#[must_use]
pub fn linear(x: Tensor<2>, weight: &Packed, after: After, riders: Riders) -> Tensor<2> {
    let t = x.dims()[0];
    let (epilogue, residual) = match after {
        After::Plain => (Epilogue::Plain, None),
        After::Residual(h) => (Epilogue::Residual, Some(buffer(h))),
        After::SwiGlu => (Epilogue::SwiGlu, None),
    };
    let Riders {
        low_rank,
        shift,
        row,
    } = riders;
    let (parts, z) = low_rank.map(|changes| (changes.parts, changes.z)).unzip();
    let parts = parts.unwrap_or_default();
    let kernel = |tile| Linear {
        format: weight.format,
        stored: weight.rows,
        i: weight.i,
        first: weight.first,
        o: weight.o,
        tile,
        cut: weight.cut,
        after: epilogue,
        parts: parts
            .iter()
            .map(|(first, b)| {
                let [rows, rank] = b.dims();
                let first = *first;
                Part { first, rows, rank }
            })
            .collect(),
        z_width: z.as_ref().map_or(0, |z| z.dims()[1]),
        shift: shift.is_some(),
        row,
    };
    let lines = kernel(1).lines();
    let x = buffer(x);
    let y = empty(&x, [t, lines]);
    let words = int_buffer(weight.words.clone());
    let scales = int_buffer(weight.scales.clone());
    let z = z.clone().map(buffer);
    let b: Vec<_> = parts.iter().map(|(_, b)| buffer(b.clone())).collect();
    let shift = shift.clone().map(|(v, scales)| [buffer(v), buffer(scales)]);
    for (start, groups, tile) in kernel(1).pieces(t) {
        let kernel = kernel(tile);
        let (x, y) = (from_row(&x, start, weight.i), from_row(&y, start, lines));
        let residual = residual.as_ref().map(|h| from_row(h, start, lines));
        let mut buffers = vec![&words];
        if weight.format != Format::Float {
            buffers.push(&scales);
        }
        buffers.extend([&x, &y]);
        buffers.extend(residual.as_ref());
        buffers.extend(z.as_ref());
        buffers.extend(&b);
        buffers.extend(shift.iter().flatten());
        let lines_per_group = weight.cut.threads / weight.cut.split * kernel.thread_lines();
        let groups = [lines.div_ceil(lines_per_group), groups];
        launch(kernel, groups, &buffers);
    }
    tensor(y)
}
