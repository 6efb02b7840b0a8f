//! `y = W x`, with what follows it in a block: one launch.
//!
//! | buffer | shape |
//! |---|---|
//! | `words`, `scales` | W `[o, i]` as [`Packed`] has it; no scales for f32 without biases |
//! | `x` | `[t, i]` |
//! | `y` | `[t, o]`; `[t, o/2]` with [`After::Glu`] |
//! | `gamma` | `[i]`, in [`normed_linear`] |
//! | `residual` | `[t, o]`, with [`After::Residual`] |
//! | `z`, `b0`, `b1`, `b2` | `[t, Σ r]` and B `[rows, r]` of the parts, with [`Riders::low_rank`] |
//! | `shift`, `slot` | `[o]` and the factors, with [`Riders::shift`] |
//!
//! A launch computes whole tiles of tokens; what fills none gets a launch of its own.

use burn::tensor::Tensor;

use super::cut::Cut;
use super::format::{BLOCK, Format};
use super::launch::{Wgsl, buffer, empty, from_row, int_buffer, launch, tensor};
use super::low_rank::LowRank;
use super::packed::{Packed, Piece};
use super::software;
use super::template::{INVERSE_ROOT, Value, epsilon, factor, fill, row};

/// Streams in lockstep whose tokens are computed at once.
pub const STREAMS: usize = 3;
/// Tokens that are computed at once in passes of more than [`STREAMS`] that fill no whole tile.
const SMALL_TILE: usize = STREAMS + 1;
/// Numbers of tokens in whose passes every pipeline of the base is built, but for those of long
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
    /// The residual stream h `[t, o]` and a factor s: `h + s·y`.
    Residual(Tensor<2>, f32),
    /// The upper half of the rows gates the lower: `gate(y[.., ..o/2]) ∘ y[.., o/2..]`,
    /// `[t, o/2]`.
    Glu(Gate),
}

/// What a gated product does to its gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    /// `x · sigmoid(x)`
    Silu,
    /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`
    GeluTanh,
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
    Residual { by_bits: u32 },
    Glu(Gate),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Linear {
    format: Format,
    /// Rows that lie in the buffers.
    stored: usize,
    i: usize,
    /// The rows that are computed: where they begin there and among all, how many, and how many all are.
    first: usize,
    from: usize,
    count: usize,
    o: usize,
    /// Tokens of one workgroup.
    tile: usize,
    cut: Cut,
    /// Whether biases are added.
    bias: bool,
    /// The bits of ε, if the norm of x is multiplied.
    norm: Option<u32>,
    after: Epilogue,
    parts: Vec<Part>,
    z_width: usize,
    shift: bool,
    /// The row that the riders change, if not all.
    row: Option<usize>,
}

impl Wgsl for Linear {
    fn subgroups(&self) -> bool {
        self.cut.quads
    }

    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        let mut buffers = vec![("words", self.format.word_type())];
        // What a kernel does not read is not part of its layout, and must not be bound.
        if self.reads_scales() {
            buffers.push(("scales", "u32"));
        }
        buffers.extend([("x", "vec4<f32>"), ("y", "f32")]);
        buffers.extend(self.norm.map(|_| ("gamma", "vec4<f32>")));
        if matches!(self.after, Epilogue::Residual { .. }) {
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
        // Rows of one thread, and the lines of y that they make.
        let rows = self.rows();
        let lanes = self.cut.threads / self.cut.split;
        let row = |&(line, down): &(usize, usize)| row![line = line, first = self.first + down];
        let line = |line: usize| {
            let own = rows.iter().enumerate().filter(|(_, row)| row.0 == line);
            let own = own.map(|(at, (line, down))| row![row = at, out = line * lanes + down]);
            row![up = rows.len() / 2 + line, rows = Value::rows(own)]
        };
        let token = |t: usize| {
            let shifted = self.shift && self.changes(t);
            row![shifted = shifted]
        };
        let changed = (0..self.tile).filter(|&t| self.changes(t)).map(|t| {
            let z = match self.row {
                Some(_) => "0u".to_owned(),
                None => format!("(token + {t}u)"),
            };
            row![token = t, z = z]
        });
        let ranks_at_once = self.ranks_at_once();
        let mut column = 0;
        let parts = self.parts.iter().map(|part| {
            let at = column;
            let rank = part.rank / ranks_at_once;
            column += rank;
            row![
                first = part.first,
                end = part.first + part.rows,
                rank = rank,
                column = at,
            ]
        });
        // Four columns of a block: where they lie, or which swap tells which of those that were read.
        let from = |first: usize, j: usize| {
            if self.cut.quads {
                software::column(&format!("{first}u"), j % 4)
            } else {
                format!("{}u", first + j % 4)
            }
        };
        // Where the bits above the fourth of four columns begin in their word.
        let place = |j: usize| match self.format.high() {
            2 => format!("2u * {}", from(0, j)),
            _ => from(j / 4 * 4, j),
        };
        let four = |j: usize| {
            let column = from(j / 4 * 4, j);
            let told = if self.cut.quads {
                software::told(j % 4)
            } else {
                ""
            };
            row![
                column = column,
                told = told,
                from = j / 4 * 4,
                upper = j >= 4,
                four = j / 4,
                word = j % 4,
                half = if self.format.by_16() { j / 4 } else { 0 },
                plane = j * self.format.high() / 8,
                place = place(j),
            ]
        };
        let halves = [["x", "y"], ["z", "w"]].into_iter();
        let halves = halves.take(if self.format.by_16() { 2 } else { 1 });
        let halves = halves.map(|[factor, offset]| row![factor = factor, offset = offset]);
        let mut values = self.format.values(self.stored, self.i);
        values.extend(row![
            by_16 = self.format.by_16(),
            halves = Value::rows(halves),
            norm = self.norm.is_some(),
            epsilon = self.norm.map_or(String::new(), epsilon),
            residual = matches!(self.after, Epilogue::Residual { .. }),
            by = match self.after {
                Epilogue::Residual { by_bits } => factor(f32::from_bits(by_bits)),
                _ => String::new(),
            },
            silu = self.after == Epilogue::Glu(Gate::Silu),
            gelu_tanh = self.after == Epilogue::Glu(Gate::GeluTanh),
            bias = if self.bias {
                self.format.scales(self.stored, self.i)
            } else {
                0
            },
            barrier = self.cut.has_barriers(),
            quads = self.cut.quads,
            inverse_root = INVERSE_ROOT,
            place = software::PLACE,
            turned_words = software::TURNED_WORDS,
            shift_scale = SHIFT_SCALE,
            i4 = self.i / 4,
            blocks = self.i / BLOCK,
            fours = self.format.pieces(),
            lines = self.lines(),
            from = self.from,
            end = self.from + self.own_lines(),
            threads = self.cut.threads,
            split = self.cut.split,
            at_once = self.thread_lines(),
            tile = self.tile,
            rows_at_once = rows.len(),
            sums = rows.len() + usize::from(self.norm.is_some()),
            z_width = self.z_width / ranks_at_once,
            fours_of_ranks = ranks_at_once == 4,
            rows = Value::rows(rows.iter().map(row)),
            lines_at_once = Value::rows((0..self.thread_lines()).map(line)),
            tokens = Value::rows((0..self.tile).map(token)),
            changed = Value::rows(changed),
            parts = Value::rows(parts),
            eight_fours = Value::rows((0..8).map(four)),
        ]);
        fill(include_str!("linear.wgsl"), values)
    }
}

impl Linear {
    /// Whether the buffer of factors and biases is read.
    fn reads_scales(&self) -> bool {
        self.format.codes() || self.bias
    }

    /// Numbers per token of y.
    fn lines(&self) -> usize {
        match self.after {
            Epilogue::Glu(_) => self.o / 2,
            _ => self.o,
        }
    }

    /// Of these, the ones that the rows are for.
    fn own_lines(&self) -> usize {
        self.count.min(self.lines())
    }

    /// Numbers of y that one thread computes for each token.
    fn thread_lines(&self) -> usize {
        match self.after {
            Epilogue::Glu(_) => (self.cut.rows / 2).max(1),
            _ => self.cut.rows,
        }
    }

    /// The rows of one thread: `(line of y, rows further down)`.
    fn rows(&self) -> Vec<(usize, usize)> {
        let lines = 0..self.thread_lines();
        let mut rows: Vec<_> = lines.clone().map(|line| (line, 0)).collect();
        if matches!(self.after, Epilogue::Glu(_)) {
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
        if self.parts.iter().all(|part| part.rank.is_multiple_of(4)) {
            4
        } else {
            1
        }
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

/// `y = W x`, with the biases if there are any, and what follows: `[t, o]`, with [`After::Glu`]
/// `[t, o/2]`.
///
/// Low-rank riders, and those that name a row, want at most [`STREAMS`] rows of x.
#[must_use]
pub fn linear(x: Tensor<2>, weight: &Packed, after: After, riders: Riders) -> Tensor<2> {
    run(x, None, weight, after, riders)
}

/// As [`linear`] of `norm(x)` with γ and ε, without a launch for the norm: every workgroup sums the squares
/// of x for itself. For at most [`STREAMS`] rows, and layouts without quads.
#[must_use]
pub fn normed_linear(
    x: Tensor<2>,
    (gamma, epsilon): (Tensor<1>, f32),
    weight: &Packed,
    after: After,
) -> Tensor<2> {
    debug_assert!(x.dims()[0] <= STREAMS && !weight.cut.quads);
    run(x, Some((gamma, epsilon)), weight, after, Riders::default())
}

fn run(
    x: Tensor<2>,
    norm: Option<(Tensor<1>, f32)>,
    weight: &Packed,
    after: After,
    riders: Riders,
) -> Tensor<2> {
    let t = x.dims()[0];
    let (epilogue, residual) = match after {
        After::Plain => (Epilogue::Plain, None),
        After::Residual(h, by) => {
            let by_bits = by.to_bits();
            (Epilogue::Residual { by_bits }, Some(buffer(h)))
        }
        After::Glu(gate) => (Epilogue::Glu(gate), None),
    };
    let Riders {
        low_rank,
        shift,
        row,
    } = riders;
    let (parts, z) = low_rank.map(|changes| (changes.parts, changes.z)).unzip();
    let parts = parts.unwrap_or_default();
    let (gamma, epsilon) = norm.unzip();
    let kernel = |piece: &Piece<'_>, tile| Linear {
        format: weight.format,
        stored: piece.slab.rows,
        i: weight.i,
        first: piece.first,
        from: piece.from,
        count: piece.count,
        o: weight.o,
        tile,
        cut: weight.cut,
        bias: weight.bias,
        norm: epsilon.map(f32::to_bits),
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
    let lines = match epilogue {
        Epilogue::Glu(_) => weight.o / 2,
        _ => weight.o,
    };
    let x = buffer(x);
    let y = empty(&x, [t, lines]);
    let gamma = gamma.map(buffer);
    let z = z.clone().map(buffer);
    let b: Vec<_> = parts.iter().map(|(_, b)| buffer(b.clone())).collect();
    let shift = shift.clone().map(|(v, scales)| [buffer(v), buffer(scales)]);
    for piece in weight.pieces() {
        let words = int_buffer(piece.slab.words.clone());
        let scales = int_buffer(piece.slab.scales.clone());
        for (start, groups, tile) in kernel(&piece, 1).pieces(t) {
            let kernel = kernel(&piece, tile);
            let (x, y) = (from_row(&x, start, weight.i), from_row(&y, start, lines));
            let residual = residual.as_ref().map(|h| from_row(h, start, lines));
            let mut buffers = vec![&words];
            if kernel.reads_scales() {
                buffers.push(&scales);
            }
            buffers.extend([&x, &y]);
            buffers.extend(gamma.as_ref());
            buffers.extend(residual.as_ref());
            buffers.extend(z.as_ref());
            buffers.extend(&b);
            buffers.extend(shift.iter().flatten());
            let lines_per_group = weight.cut.threads / weight.cut.split * kernel.thread_lines();
            let groups = [kernel.own_lines().div_ceil(lines_per_group), groups];
            launch(kernel, groups, &buffers);
        }
    }
    tensor(y)
}

#[cfg(test)]
mod tests {
    use super::super::format::every_format;
    use super::super::template::{LEAST_WORKGROUP_BYTES, workgroup_bytes};
    use super::*;

    /// Every format, cut and epilogue, with and without what rides along: of one text each line of y is
    /// written once for each token of a tile.
    #[test]
    fn the_file_is_filled() {
        let quads = Cut {
            quads: true,
            ..Cut::SOFTWARE
        };
        let afters = [
            Epilogue::Plain,
            Epilogue::Residual {
                by_bits: 1.0_f32.to_bits(),
            },
            Epilogue::Residual {
                by_bits: 0.25_f32.to_bits(),
            },
            Epilogue::Glu(Gate::Silu),
            Epilogue::Glu(Gate::GeluTanh),
        ];
        for format in every_format() {
            for cut in [Cut::HARDWARE, Cut::SOFTWARE, quads] {
                for (after, bias) in afters.into_iter().flat_map(|a| [(a, false), (a, true)]) {
                    let norm = (!cut.quads && !bias).then_some(1e-5_f32.to_bits());
                    let riders = [(vec![], None), (vec![8, 5], Some(1)), (vec![4], None)];
                    let riders = riders.map(|(ranks, row)| (ranks, row, None));
                    for (ranks, row, norm) in riders.into_iter().chain([(vec![], None, norm)]) {
                        let part = |(n, rank)| Part {
                            first: 8 * n,
                            rows: 8,
                            rank,
                        };
                        let kernel = Linear {
                            format,
                            stored: 96,
                            i: 64,
                            first: 0,
                            from: 0,
                            count: 96,
                            o: 96,
                            tile: 3,
                            cut,
                            bias,
                            norm,
                            after,
                            z_width: ranks.iter().sum(),
                            shift: !ranks.is_empty(),
                            parts: ranks.into_iter().enumerate().map(part).collect(),
                            row,
                        };
                        let text = kernel.body();
                        let written = text.matches("\ny[").count();
                        assert_eq!(written, 3 * kernel.thread_lines(), "{kernel:?}");
                        assert_eq!(text.contains("quadSwapX"), cut.quads, "{kernel:?}");
                        let biases = text.matches("bitcast<f32>(scales[").count();
                        let rows = if bias { kernel.rows().len() } else { 0 };
                        assert_eq!(biases, rows, "{kernel:?}");
                        assert_eq!(text.contains("* BY"), after == afters[2], "{kernel:?}");
                        let tile = cut.tile;
                        let whole = Linear {
                            tile,
                            ..kernel.clone()
                        }
                        .body();
                        let bytes = workgroup_bytes(&whole);
                        assert_eq!(bytes > 0, cut.has_barriers(), "{kernel:?}");
                        assert!(bytes <= LEAST_WORKGROUP_BYTES, "{bytes}: {kernel:?}");
                        for (buffer, _) in kernel.buffers() {
                            assert!(text.contains(&format!("{buffer}[")), "{buffer}: {kernel:?}");
                        }
                    }
                }
            }
        }
    }
}
