//! Low-rank changes: `z = scale · A x` for all that share an input in one launch, and `y += s · B z`
//! for passes of many tokens. Where few tokens pass, the second half rides along with the product
//! ([`linear`](super::linear())).
//!
//! For x `[t, i]`, A `[r, i]` and B `[o, r]`: z is `[t, Σ r]`, the parts side by side, and y `[t, …]` is
//! changed in place, each part in rows of its own. Buffers: `x`, `z`, `scales` (a factor for each part) and
//! `a0` … `a2`; `y`, `z` and `b0` … `b2`.

use burn::tensor::Tensor;

use super::cut::Cut;
use super::launch::{Wgsl, buffer, empty, launch, tensor};
use super::software;
use super::template::{Value, factor, fill, row};

/// Threads of a workgroup.
const THREADS: usize = 64;

/// B `[o, r]` of some rows of y, and z, which holds for each token the products of all A.
#[derive(Debug, Clone)]
pub struct LowRank {
    /// `(first row, B)`, at most three.
    pub parts: Vec<(usize, Tensor<2>)>,
    /// z `[t, …]`, from [`shrink`].
    pub z: Tensor<2>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Shrink {
    i: usize,
    ranks: Vec<usize>,
    /// Whether the threads of a workgroup share one number of z; else each has its own. A program
    /// that imitates a GPU is slow at barriers.
    shared: bool,
}

impl Wgsl for Shrink {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        let mut buffers = vec![("x", "vec4<f32>"), ("z", "f32"), ("scales", "f32")];
        let parts = self.ranks.iter().zip(["a0", "a1", "a2"]);
        buffers.extend(parts.map(|(_, name)| (name, "vec4<f32>")));
        buffers
    }

    fn body(&self) -> String {
        let mut width = 0;
        let parts = self.ranks.iter().map(|rank| {
            let first = width;
            width += rank;
            row![first = first, end = width]
        });
        let parts = Value::rows(parts);
        fill(
            if self.shared {
                include_str!("shrink.wgsl")
            } else {
                software::SHRINK
            },
            row![
                threads = THREADS,
                i4 = self.i / 4,
                width = width,
                parts = parts,
            ],
        )
    }
}

/// For `x [t, i]` and up to three A `[r, i]` with a factor each at the start of `scales`: the
/// products side by side, `[t, Σ r]`, laid out by the `cut` of the product that they ride along with.
/// i must be a multiple of 4.
#[must_use]
pub fn shrink(x: Tensor<2>, parts: &[Tensor<2>], scales: Tensor<1>, cut: Cut) -> Tensor<2> {
    let [t, i] = x.dims();
    let ranks: Vec<usize> = parts.iter().map(|a| a.dims()[0]).collect();
    let width: usize = ranks.iter().sum();
    let (x, scales) = (buffer(x), buffer(scales));
    let z = empty(&x, [t, width]);
    let parts: Vec<_> = parts.iter().map(|a| buffer(a.clone())).collect();
    let mut buffers = vec![&x, &z, &scales];
    buffers.extend(&parts);
    let shared = cut.has_barriers();
    let groups = if shared {
        width
    } else {
        width.div_ceil(THREADS)
    };
    launch(Shrink { i, ranks, shared }, [groups, t], &buffers);
    tensor(z)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Expand {
    o: usize,
    z_width: usize,
    /// First row, rows and rank.
    parts: Vec<[usize; 3]>,
    by_bits: u32,
}

impl Wgsl for Expand {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        let mut buffers = vec![("y", "f32"), ("z", "f32")];
        let parts = self.parts.iter().zip(["b0", "b1", "b2"]);
        buffers.extend(parts.map(|(_, name)| (name, "f32")));
        buffers
    }

    fn body(&self) -> String {
        let mut column = 0;
        let parts = self.parts.iter().map(|&[first, rows, rank]| {
            let at = column;
            column += rank;
            row![first = first, end = first + rows, rank = rank, column = at]
        });
        fill(
            include_str!("expand.wgsl"),
            row![
                threads = THREADS,
                o = self.o,
                z_width = self.z_width,
                by = factor(f32::from_bits(self.by_bits)),
                parts = Value::rows(parts),
            ],
        )
    }
}

/// `y[t, first + o] += by · Σ_r B[o, r]·z[t, r]` for every part, in place: nobody else may hold
/// `y [t, …]`.
#[must_use]
pub fn expand(y: Tensor<2>, changes: &LowRank, by: f32) -> Tensor<2> {
    let [t, o] = y.dims();
    let parts = changes.parts.iter().map(|(first, b)| {
        let [rows, rank] = b.dims();
        [*first, rows, rank]
    });
    let kernel = Expand {
        o,
        z_width: changes.z.dims()[1],
        parts: parts.collect(),
        by_bits: by.to_bits(),
    };
    let (y, z) = (buffer(y), buffer(changes.z.clone()));
    let b = changes.parts.iter().map(|(_, b)| buffer(b.clone()));
    let b: Vec<_> = b.collect();
    let mut buffers = vec![&y, &z];
    buffers.extend(&b);
    launch(kernel, [o.div_ceil(THREADS), t], &buffers);
    tensor(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_filled() {
        for shared in [false, true] {
            let (i, ranks) = (64, vec![8, 5]);
            let text = Shrink { i, ranks, shared }.body();
            assert!(text.contains("if r >= 8u && r < 13u {"));
            assert_eq!(text.contains("workgroupBarrier"), shared);
        }
        let (o, z_width, parts) = (96, 13, vec![[0, 40, 8], [64, 32, 5]]);
        for (by, scaled) in [(1.0_f32, false), (0.25, true)] {
            let kernel = Expand {
                o,
                z_width,
                parts: parts.clone(),
                by_bits: by.to_bits(),
            };
            let text = kernel.body();
            assert!(text.contains("if row >= 64u && row < 96u {"));
            assert_eq!(text.contains("* 2.5e-1"), scaled);
        }
    }
}
