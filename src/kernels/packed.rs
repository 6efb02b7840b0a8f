//! Weights on the GPU as the file has them ([`format`](super::format)), and the lookup of their rows:
//! `y = W[ids]`, for W `[o, i]`, ids `[t]` and y `[t, i]`.
//!
//! Blocks of 32 columns are regrouped once: block `b` of row `r` lies at `b·rows + r`, so that neighbouring
//! threads, which compute neighbouring rows, read neighbouring words.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor};

use super::cut::Cut;
use super::format::{BLOCK, Format};
use super::launch::{Wgsl, empty, from_row, int_buffer, is_gpu, launch, read, tensor};
use super::packing::{LEAST_ROWS, Packing, Slab};
use super::template::{Value, fill, row};
use crate::error::Result;
use crate::weights::quant::Kind;

/// Rows of a matrix on the GPU: W `[o, i]`.
#[derive(Debug, Clone)]
pub struct Packed {
    pub(super) format: Format,
    /// All rows that lie there, from top to bottom: more than one where a GPU's limits ask for it.
    slabs: Vec<Slab>,
    /// Whether products add the biases.
    pub(super) bias: bool,
    /// The first of ours.
    pub(super) first: usize,
    /// Output width, the number of our rows.
    pub o: usize,
    /// Input width, a multiple of 32.
    pub i: usize,
    /// How products are laid out over threads.
    pub cut: Cut,
}

/// Rows of a packed matrix that lie in one slab.
pub(super) struct Piece<'a> {
    pub slab: &'a Slab,
    /// The first of them there.
    pub first: usize,
    /// The first of them among all of the matrix.
    pub from: usize,
    /// How many.
    pub count: usize,
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
        let words = |rows: usize| 4 * (i.div_ceil(BLOCK) * format.words() * rows) as u64;
        // A matrix that lies alone is cut where it is too large.
        let together = if kinds.len() == 1 {
            o.min(LEAST_ROWS)
        } else {
            o
        };
        let scales = 4 * format.scales(o, i) as u64;
        Foreseen {
            buffer_bytes: words(together),
            bytes: words(o) + scales,
            in_f32: format.in_f32(),
        }
    }

    /// Packs matrices of one width on top of each other: each `(kind, bytes)` holds whole rows
    /// of `i` numbers as the file has them.
    #[must_use]
    pub fn new(parts: &[(Kind, &[u8])], i: usize, device: &Device) -> Self {
        Self::with_biases(parts, &[], i, device)
    }

    /// As [`Self::new`], with a bias for every row, or none. They are added in products of all rows;
    /// [parts](Self::part) and lookups leave them out.
    #[must_use]
    pub fn with_biases(parts: &[(Kind, &[u8])], biases: &[f32], i: usize, device: &Device) -> Self {
        let rows_of = |(kind, bytes): &(Kind, &[u8])| {
            let rows = bytes.len() / (i * kind.block_bytes() / kind.block_len()).max(1);
            (*kind, rows)
        };
        let matrices: Vec<_> = parts.iter().map(rows_of).collect();
        let mut packing = Packing::new(&matrices, biases, i, device);
        for (_, bytes) in parts {
            packing.take(bytes, |row| row);
        }
        packing.into()
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
        let ids = Tensor::arange(0..self.o as i64, &self.device());
        rows(self, ids)
    }

    /// Bytes of our rows on the GPU.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let slabs = self.slabs.iter();
        let words = slabs.map(|slab| slab.words.dims()[0] + slab.scales.dims()[0]);
        let rows: usize = self.slabs.iter().map(|slab| slab.rows).sum();
        (4 * words.sum::<usize>() / rows * self.o) as u64
    }

    /// Waits until all of it lies there. Until then what is on its way takes as much memory again.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::error::Error::DeviceLost) when the device cannot answer.
    pub async fn arrived(&self) -> Result<()> {
        let Some(slab) = self.slabs.last() else {
            return Ok(());
        };
        let last = (slab.scales.dims()[0] - 1) / 64;
        read(from_row(&int_buffer(slab.scales.clone()), last, 64)).await?;
        Ok(())
    }

    /// Where it lies.
    #[must_use]
    pub fn device(&self) -> Device {
        self.slabs[0].words.device()
    }

    /// Our rows slab by slab.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let (mut top, end) = (0, self.first + self.o);
        let pieces = self.slabs.iter().map(move |slab| {
            let first = self.first.max(top);
            let last = end.min(top + slab.rows);
            let piece = Piece {
                slab,
                first: first - top,
                from: first - self.first,
                count: last.saturating_sub(first),
            };
            top += slab.rows;
            piece
        });
        pieces.filter(|piece| piece.count > 0)
    }
}

impl From<Packing<'_>> for Packed {
    fn from(packing: Packing<'_>) -> Self {
        Self {
            format: packing.format,
            bias: packing.has_biases(),
            slabs: packing.slabs,
            first: 0,
            o: packing.o,
            i: packing.i,
            cut: Cut::of_this_gpu(),
        }
    }
}

/// Workgroups of one dispatch, a multiple of 64 below WebGPU's limit.
const MOST_GROUPS: usize = 65_472;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Rows {
    format: Format,
    /// Rows that lie in the buffers.
    stored: usize,
    /// The first of ours.
    first: usize,
    /// The ids that are looked up here.
    from: usize,
    count: usize,
    i: usize,
}

impl Wgsl for Rows {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        let mut buffers = vec![("words", self.format.word_type())];
        // What a kernel does not read is not part of its layout, and must not be bound.
        if self.format.codes() {
            buffers.push(("scales", "u32"));
        }
        buffers.extend([("ids", "i32"), ("y", "vec4<f32>")]);
        buffers
    }

    fn body(&self) -> String {
        let mut values = self.format.values(self.stored, self.i);
        values.extend(row![
            numbers = Value::File(include_str!("numbers.wgsl")),
            i4 = self.i / 4,
            first = self.first,
            from = self.from,
            end = self.from + self.count,
        ]);
        fill(include_str!("rows.wgsl"), values)
    }
}

/// Rows `ids [t]` of W, widened: `[t, i]`. Ids must lie below `o`.
#[must_use]
pub fn rows(weight: &Packed, ids: Tensor<1, Int>) -> Tensor<2> {
    let t = ids.dims()[0];
    let ids = int_buffer(ids);
    let y = empty(&ids, [t, weight.i]);
    for piece in weight.pieces() {
        let kernel = Rows {
            format: weight.format,
            stored: piece.slab.rows,
            first: piece.first,
            from: piece.from,
            count: piece.count,
            i: weight.i,
        };
        let words = int_buffer(piece.slab.words.clone());
        let scales = int_buffer(piece.slab.scales.clone());
        // No dispatch is wider than 65535 groups in one direction.
        for start in (0..t).step_by(MOST_GROUPS) {
            let groups = (t - start).min(MOST_GROUPS);
            let (ids, y) = (from_row(&ids, start, 1), from_row(&y, start, weight.i));
            let mut buffers = vec![&words];
            if kernel.format.codes() {
                buffers.push(&scales);
            }
            buffers.extend([&ids, &y]);
            launch(kernel.clone(), [1, groups], &buffers);
        }
    }
    tensor(y)
}

#[cfg(test)]
mod tests {
    use super::super::format::every_format;
    use super::*;

    #[test]
    fn the_file_is_filled() {
        for format in every_format() {
            let (stored, first, i) = (40, 8, 256);
            let kernel = Rows {
                format,
                stored,
                first,
                from: 0,
                count: 32,
                i,
            };
            let text = kernel.body();
            assert_eq!(text.matches("\ny[").count(), 1, "{format:?}");
            for (buffer, _) in kernel.buffers() {
                assert!(text.contains(&format!("{buffer}[")), "{buffer}: {format:?}");
            }
        }
    }
}
