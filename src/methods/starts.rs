//! What many methods share in training: where they begin, and what is put together of leaves.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::arch::Projection;
use crate::checkpoint::{Loader, Start, Target};
use crate::error::Result;
use crate::linalg::svd::{self, Parts};

/// The layers that carry most of a behaviour for their size.
pub(super) const USUAL: &[Projection] = &[Projection::V, Projection::O, Projection::Down];

/// A layer's strongest directions, for what is trained inside of them: four for each of the rank, since
/// every one of them costs little.
pub(super) fn strongest(start: &Start<'_>, target: &Target) -> Result<(usize, Parts)> {
    let k = start.rank.saturating_mul(4).min(target.i).min(target.o);
    Ok((k, parts(start, target, 0..k)?))
}

/// Some of the directions of a layer, by falling strength.
pub(super) fn parts(start: &Start<'_>, target: &Target, range: Range<usize>) -> Result<Parts> {
    let w = start.numbers(start.weight(target))?;
    Ok(svd::parts(&w, [target.o, target.i], range))
}

/// The largest number up to `most` that divides all widths.
pub(super) fn common_divisor(widths: impl Iterator<Item = usize>, most: usize) -> usize {
    let both = |a: usize, b: usize| {
        let (mut a, mut b) = (a, b);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let common = widths.fold(0, both);
    let fits = |n: &usize| common.is_multiple_of(*n);
    (1..=common.min(most)).rev().find(fits).unwrap_or(1)
}

/// Q `[count, b, b]` from the numbers above the diagonals.
pub(super) fn skew(loader: &Loader<'_>, above: Tensor<1>, count: usize, b: usize) -> Tensor<3> {
    let n = b * (b - 1) / 2;
    let above = above.reshape([count, n]);
    let nothing = loader.upload(vec![0.0; count], [count, 1]);
    let both = Tensor::cat(vec![above.clone(), -above, nothing], 1);
    // Row after row, as they are counted above the diagonal.
    let before = |row: usize| row * (2 * b - row - 1) / 2;
    let place = |at: usize| match (at / b, at % b) {
        (row, column) if row < column => before(row) + column - row - 1,
        (row, column) if row > column => n + before(column) + row - column - 1,
        _ => 2 * n,
    };
    let places = (0..b * b).map(|at| place(at) as i32).collect();
    let places = loader.upload_indices(places);
    both.select(1, places).reshape([count, b, b])
}
