//! Quantised weights on the GPU, and the lookup of their rows: `y = W[ids]`, for W `[o, i]`, ids `[t]` and
//! y `[t, i]`. A number is `code·factor + offset` (4 bits), `(code − 128)·factor` (8 bits), or itself (f32).
//!
//! Blocks of 32 columns are regrouped once: block `b` of row `r` lies at `b·rows + r`, so that neighbouring
//! threads, which compute neighbouring rows, read neighbouring words.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::cut::Cut;
use super::launch::{Wgsl, empty, from_row, int_buffer, is_gpu, launch, tensor};
use super::template::{fill, row};
use crate::weights::quant::Kind;

/// Numbers per block, in all formats here.
pub const BLOCK: usize = 32;

/// What is added to signed codes of eight bits.
pub(super) const EIGHT_OFFSET: u8 = 128;

/// How a packed matrix is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Format {
    /// 4 bits, factor and offset (Q4_1; Q4_0 with the offset −8d).
    Four,
    /// 8 bits, stored [`EIGHT_OFFSET`] higher so that none is negative, and a factor.
    Eight,
    /// f32, in "blocks" without factors.
    Float,
}

impl Format {
    /// How matrices of these kinds are written when they lie on top of each other: kinds that differ,
    /// and those without a kernel, in f32.
    fn of(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let mut kinds = kinds.into_iter();
        match kinds.next() {
            Some(first) if kinds.any(|kind| kind != first) => Self::Float,
            Some(Kind::Q4_0 | Kind::Q4_1) => Self::Four,
            Some(Kind::Q8_0) => Self::Eight,
            _ => Self::Float,
        }
    }

    /// Words of four bytes per block.
    pub(super) fn words(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
            Self::Float => 32,
        }
    }

    /// Words of factors of o rows of i numbers.
    pub(super) fn scales(self, o: usize, i: usize) -> usize {
        match self {
            Self::Four | Self::Eight => i / BLOCK * o,
            Self::Float => 1,
        }
    }
}

/// Rows of a matrix on the GPU: W `[o, i]`.
#[derive(Debug, Clone)]
pub struct Packed {
    pub(super) format: Format,
    /// `[i/32, words/4, rows, 4]` 32-bit words.
    pub(super) words: Tensor<1, Int>,
    /// `[i/32, rows]` pairs of f16, factor and offset; one word for [`Format::Float`]. Behind them, if
    /// there are any, the biases, f32: a launch has no room for a buffer more.
    pub(super) scales: Tensor<1, Int>,
    /// Whether products add the biases.
    pub(super) bias: bool,
    /// Rows that lie in the buffers.
    pub(super) rows: usize,
    /// The first of ours.
    pub(super) first: usize,
    /// Output width, the number of our rows.
    pub o: usize,
    /// Input width, a multiple of 32.
    pub i: usize,
    /// How products are laid out over threads.
    pub cut: Cut,
}

/// What a packed matrix will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreseen {
    /// Of its largest buffer.
    pub buffer_bytes: u64,
    /// Of all its buffers.
    pub bytes: u64,
    /// Whether its numbers are f32 there.
    pub in_f32: bool,
}

impl Packed {
    /// Whether a device can compute with packed matrices of this input width.
    #[must_use]
    pub fn suits(i: usize, device: &Device) -> bool {
        i.is_multiple_of(BLOCK) && is_gpu(&Tensor::<1>::empty([1], device))
    }

    /// Bytes of the largest buffer of such a matrix `[o, i]`, and of all of them, before it is packed; and
    /// whether its numbers are f32 there. Of matrices on top of each other o is the sum.
    #[must_use]
    pub fn foresee(kinds: &[Kind], [o, i]: [usize; 2]) -> Foreseen {
        let format = Format::of(kinds.iter().copied());
        let words = 4 * (i.div_ceil(BLOCK) * format.words() * o) as u64;
        let scales = 4 * format.scales(o, i) as u64;
        Foreseen {
            buffer_bytes: words.max(scales),
            bytes: words + scales,
            in_f32: format == Format::Float,
        }
    }

    /// Packs matrices of one width on top of each other: each `(kind, bytes)` holds whole rows
    /// of `i` numbers as the file has them. Kinds that differ, and those without a kernel, are
    /// widened to f32.
    #[must_use]
    pub fn new(parts: &[(Kind, &[u8])], i: usize, device: &Device) -> Self {
        Self::with_biases(parts, &[], i, device)
    }

    /// As [`Self::new`], with a bias for every row, or none. They are added in products of all rows;
    /// [parts](Self::part) and lookups leave them out.
    #[must_use]
    pub fn with_biases(parts: &[(Kind, &[u8])], biases: &[f32], i: usize, device: &Device) -> Self {
        let format = Format::of(parts.iter().map(|(kind, _)| *kind));
        let blocks = i / BLOCK;
        let rows_of = |(kind, bytes): &(Kind, &[u8])| {
            bytes.len() / (blocks * BLOCK / kind.block_len() * kind.block_bytes()).max(1)
        };
        let o: usize = parts.iter().map(rows_of).sum();
        let quads = format.words() / 4;
        let mut words = vec![0_i32; blocks * quads * o * 4];
        let mut scales = vec![0_i32; format.scales(o, i)];
        let mut row = 0;
        for part in parts {
            let (kind, bytes) = *part;
            let rows = rows_of(part);
            let widened;
            let (source, block_bytes) = match format {
                Format::Float => {
                    // The file's table was checked when it was opened: these are whole blocks.
                    widened = crate::weights::quant::dequantise(kind, bytes).unwrap_or_default();
                    (little_endian(&widened), BLOCK * 4)
                }
                _ => (std::borrow::Cow::Borrowed(bytes), kind.block_bytes()),
            };
            for (at, block) in source.chunks_exact(block_bytes).enumerate() {
                let (r, b) = (row + at / blocks, at % blocks);
                let (scale, quants) = unpack(kind, format, block);
                if format != Format::Float {
                    scales[b * o + r] = scale;
                }
                for (quad, four) in quants.chunks_exact(16).enumerate() {
                    let to = ((b * quads + quad) * o + r) * 4;
                    for (word, bytes) in words[to..to + 4].iter_mut().zip(four.chunks_exact(4)) {
                        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
                        *word = i32::from_le_bytes(match format {
                            Format::Eight => bytes.map(|code| code.wrapping_add(EIGHT_OFFSET)),
                            Format::Four | Format::Float => bytes,
                        });
                    }
                }
            }
            row += rows;
        }
        scales.extend(biases.iter().map(|bias| bias.to_bits().cast_signed()));
        let int = |words: Vec<i32>| {
            let length = words.len();
            Tensor::from_data(TensorData::new(words, [length]), device)
        };
        Self {
            format,
            words: int(words),
            scales: int(scales),
            bias: !biases.is_empty(),
            rows: o,
            first: 0,
            o,
            i,
            cut: Cut::of_this_gpu(),
        }
    }

    /// Some of the rows, without biases; the buffers are shared.
    #[must_use]
    pub fn part(&self, rows: Range<usize>) -> Self {
        let first = self.first + rows.start;
        let o = rows.len();
        Self {
            first,
            o,
            bias: false,
            ..self.clone()
        }
    }

    /// All rows, widened: `[o, i]`.
    #[must_use]
    pub fn widen(&self) -> Tensor<2> {
        let ids = Tensor::arange(0..self.o as i64, &self.words.device());
        rows(self, ids)
    }

    /// Bytes of our rows on the GPU.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let words = self.words.dims()[0] + self.scales.dims()[0];
        (4 * words / self.rows * self.o) as u64
    }

    /// Where it lies.
    #[must_use]
    pub fn device(&self) -> Device {
        self.words.device()
    }
}

/// Workgroups of one dispatch, a multiple of 64 below WebGPU's limit.
const MOST_GROUPS: usize = 65_472;

fn little_endian(values: &[f32]) -> std::borrow::Cow<'static, [u8]> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect::<Vec<u8>>()
        .into()
}

/// `(factor and offset as two f16 in one word, the quants' bytes)` of a block.
fn unpack(kind: Kind, format: Format, block: &[u8]) -> (i32, &[u8]) {
    let half = |at: usize| u16::from_le_bytes([block[at], block[at + 1]]);
    let pair = |d: u16, m: u16| (u32::from(d) | u32::from(m) << 16).cast_signed();
    match (format, kind) {
        (Format::Float, _) => (0, block),
        (_, Kind::Q4_0) => {
            let d = half(0);
            // A power of two times an f16 is exact.
            let m = half::f16::from_f32(-8.0 * half::f16::from_bits(d).to_f32());
            (pair(d, m.to_bits()), &block[2..])
        }
        (_, Kind::Q4_1) => (pair(half(0), half(2)), &block[4..]),
        _ => (pair(half(0), 0), &block[2..]),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Rows {
    format: Format,
    /// Rows that lie in the buffers.
    stored: usize,
    /// The first of ours.
    first: usize,
    i: usize,
}

impl Wgsl for Rows {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("words", word_type(self.format)),
            ("scales", "u32"),
            ("ids", "i32"),
            ("y", "f32"),
        ]
    }

    fn body(&self) -> String {
        fill(
            include_str!("rows.wgsl"),
            row![
                i = self.i,
                stored = self.stored,
                first = self.first,
                block = BLOCK,
                four = self.format == Format::Four,
                eight = self.format == Format::Eight,
                float = self.format == Format::Float,
                offset = usize::from(EIGHT_OFFSET),
            ],
        )
    }
}

/// WGSL's type of the words.
pub(super) fn word_type(format: Format) -> &'static str {
    match format {
        Format::Float => "vec4<f32>",
        Format::Four | Format::Eight => "vec4<u32>",
    }
}

/// Rows `ids [t]` of W, widened: `[t, i]`. Ids must lie below `o`.
#[must_use]
pub fn rows(weight: &Packed, ids: Tensor<1, Int>) -> Tensor<2> {
    let t = ids.dims()[0];
    let kernel = Rows {
        format: weight.format,
        stored: weight.rows,
        first: weight.first,
        i: weight.i,
    };
    let words = int_buffer(weight.words.clone());
    let y = empty(&words, [t, weight.i]);
    let (scales, ids) = (int_buffer(weight.scales.clone()), int_buffer(ids));
    // No dispatch is wider than 65535 groups in one direction.
    for start in (0..t).step_by(MOST_GROUPS) {
        let groups = (t - start).min(MOST_GROUPS);
        let (ids, y) = (from_row(&ids, start, 1), from_row(&y, start, weight.i));
        launch(kernel.clone(), [1, groups], &[&words, &scales, &ids, &y]);
    }
    tensor(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_filled() {
        for (format, number) in [
            (Format::Four, "let value = f32(q & 15u) * s.x + s.y;"),
            (Format::Eight, "- 128.0)"),
            (Format::Float, "let value = words["),
        ] {
            let (stored, first, i) = (40, 8, 64);
            let kernel = Rows {
                format,
                stored,
                first,
                i,
            };
            assert_eq!(kernel.body().matches(number).count(), 1);
        }
    }
}
