//! `dX = dY W`, what a product with a frozen weight gives back to its input: for W `[o, i]` as [`Packed`] has
//! it, dY `[t, o]` and dX `[t, i]`; biases have no part in it. Buffers: `words`, `scales` (none for f32), `dy`
//! and `dx`.
//!
//! Tall matrices, such as a model's head, are cut into pieces of rows, so that there is work for all of a GPU
//! and no sum has tens of thousands of terms; their dX are added in the end.

use burn::tensor::Tensor;

use super::cut::Cut;
use super::format::{BLOCK, Format};
use super::launch::{Wgsl, buffer, empty, int_buffer, launch, tensor};
use super::packed::Packed;
use super::template::{Value, fill, row};

/// Rows of W of a piece, at least.
const PIECE: usize = 4096;
/// Pieces, at most: each takes as much memory as dX.
const MOST_PIECES: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pullback {
    format: Format,
    /// Rows that lie in the buffers.
    stored: usize,
    /// Our rows: where they begin there and among all, how many, and how many all are.
    first: usize,
    from: usize,
    count: usize,
    o: usize,
    i: usize,
    /// Rows of a piece.
    rows: usize,
    cut: Cut,
}

impl Wgsl for Pullback {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        let mut buffers = vec![("words", self.format.word_type())];
        // What a kernel does not read is not part of its layout, and must not be bound.
        if self.format.codes() {
            buffers.push(("scales", "u32"));
        }
        buffers.extend([("dy", "f32"), ("dx", "vec4<f32>")]);
        buffers
    }

    fn body(&self) -> String {
        let mut values = self.format.values(self.stored, self.i);
        values.extend(row![
            numbers = Value::File(include_str!("numbers.wgsl")),
            o = self.o,
            from = self.from,
            count = self.count,
            rows = self.rows,
            blocks = self.i / BLOCK,
            first = self.first,
            threads = self.cut.threads,
            split = self.split(),
            tile = self.cut.tile,
            halves = 2,
            barrier = self.cut.has_barriers(),
        ]);
        fill(include_str!("pullback.wgsl"), values)
    }
}

impl Pullback {
    /// Threads that share the rows of a piece: four threads have a block, and where threads may meet, a
    /// workgroup has one.
    fn split(&self) -> usize {
        if self.cut.has_barriers() {
            self.cut.threads / 4
        } else {
            1
        }
    }
}

/// `dY [t, o] -> dY W [t, i]`; nothing of W is widened but in registers.
#[must_use]
pub fn pulled_back(dy: Tensor<2>, weight: &Packed) -> Tensor<2> {
    let [t, o] = dy.dims();
    let i = weight.i;
    let dy = buffer(dy);
    let each = weight.pieces().map(|piece| {
        let pieces = (piece.count / PIECE).clamp(1, MOST_PIECES);
        let kernel = Pullback {
            format: weight.format,
            stored: piece.slab.rows,
            first: piece.first,
            from: piece.from,
            count: piece.count,
            o,
            i,
            rows: piece.count.div_ceil(pieces),
            cut: weight.cut,
        };
        let dx = empty(&dy, [pieces, t, i]);
        let words = int_buffer(piece.slab.words.clone());
        let scales = int_buffer(piece.slab.scales.clone());
        let mut buffers = vec![&words];
        if kernel.format.codes() {
            buffers.push(&scales);
        }
        buffers.extend([&dy, &dx]);
        let blocks_at_once = weight.cut.threads / 4 / kernel.split();
        let groups = (i / BLOCK).div_ceil(blocks_at_once) * pieces;
        launch(kernel, [groups, t], &buffers);
        let dx: Tensor<3> = tensor(dx);
        let dx = if pieces > 1 { dx.sum_dim(0) } else { dx };
        dx.reshape([t, i])
    });
    let each = each.reduce(|sum: Tensor<2>, dx| sum + dx);
    each.unwrap_or_else(|| unreachable!("a matrix has rows"))
}

#[cfg(test)]
mod tests {
    use super::super::format::every_format;
    use super::*;

    /// Every format and cut: each token of a tile is written, and only the buffers that are read are bound.
    #[test]
    fn the_file_is_filled() {
        for format in every_format() {
            for cut in [Cut::HARDWARE, Cut::SOFTWARE] {
                let kernel = Pullback {
                    format,
                    stored: 96,
                    first: 8,
                    from: 0,
                    count: 40,
                    o: 40,
                    i: 64,
                    rows: 40,
                    cut,
                };
                let text = kernel.body();
                let summed = text.matches(" += g").count();
                assert_eq!(summed, 2 * cut.tile, "{kernel:?}");
                let written = text.matches("\ndx[").count();
                let each = if cut.has_barriers() { 2 } else { 2 * cut.tile };
                assert_eq!(written, each, "{kernel:?}");
                // The smallest WebGPU grants 16 KiB.
                assert!(cut.threads * cut.tile * 16 <= 16 << 10 || !cut.has_barriers());
                for (buffer, _) in kernel.buffers() {
                    assert!(text.contains(&format!("{buffer}[")), "{buffer}: {kernel:?}");
                }
            }
        }
    }
}
