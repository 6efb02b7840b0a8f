//! LoKr: low-rank Kronecker product adaptation. Yeh et al. 2023; KronA: Edalati et al. 2022.
//! <https://arxiv.org/abs/2309.14859>
//!
//! # Formula
//! ```text
//! y = W x + c·α/r·(w1 ⊗ w2) x,   w1 and w2 whole or products w_a w_b of rank r
//! ```
//! # Shapes
//! ```text
//! <module>.lokr_w1     w1 [p, q], or lokr_w1_a [p, r] and lokr_w1_b [r, q]
//! <module>.lokr_w2     w2 [o/p, i/q], or lokr_w2_a [o/p, r] and lokr_w2_b [r, i/q]
//! ```
//! # Coefficient
//! Linear: c multiplies the finished product, not the factors in it. r and α may differ per
//! module (rank_pattern, alpha_pattern).
//! # Hypothesis
//! The change of a weight repeats itself: the same small block stands everywhere in it, only stronger
//! or weaker.
//! # Intuition
//! One small matrix is repeated like a tile, each tile multiplied by one number of another small
//! matrix. So a few hundred numbers reach every weight of the layer.
//! # Limits
//! The same block stands everywhere in the layer. A change that differs from place to place in more
//! than its strength is out of reach.

use burn::tensor::Tensor;

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "lokr",
    peft_type: "LOKR",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &[
        "lokr_w1",
        "lokr_w1_a",
        "lokr_w1_b",
        "lokr_w2",
        "lokr_w2_a",
        "lokr_w2_b",
    ],
    reads: &[
        "r",
        "alpha",
        "rank_pattern",
        "alpha_pattern",
        "decompose_both",
        "decompose_factor",
    ],
    // The effective form exists for convolutions only.
    inert: &[
        "init_weights",
        "rank_dropout",
        "rank_dropout_scale",
        "module_dropout",
        "use_effective_conv2d",
    ],
    doc: room_doc!("lokr.rs"),
    load,
    trains: Trains::From { start, rate: 5e-3 },
    extras: None,
    folds: Folds::Into(&[("lokr_w1", Fold::Times), ("lokr_w1_a", Fold::Times)]),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("r", r);
    start.set("alpha", 2 * r);
    start.set("decompose_factor", -1);
    for target in start.targets(USUAL)? {
        let ((p, m), (q, n)) = (near_root(target.o), near_root(target.i));
        start.learn(&target, "lokr_w1", [p, q], Init::Zeros);
        // As PEFT, which takes w2 apart where that is the smaller form.
        if r < m.max(n).div_ceil(2) {
            start.learn(&target, "lokr_w2_a", [m, r], Init::Kaiming);
            start.learn(&target, "lokr_w2_b", [r, n], Init::Kaiming);
        } else {
            start.learn(&target, "lokr_w2", [m, n], Init::Kaiming);
        }
    }
    Ok(())
}

/// A width as the product of two numbers, the first the largest divisor up to the width's root.
fn near_root(width: usize) -> (usize, usize) {
    let root = width.isqrt();
    let divides = |n: &usize| width.is_multiple_of(*n);
    let small = (1..=root).rev().find(divides).unwrap_or(1);
    (small, width / small)
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    Loaded::linear(loader, &["lokr_w1", "lokr_w1_a"], |target| {
        let (r, scale) = loader.config.rank_and_scale(target)?;
        // decompose_factor, decompose_both and r decide the shapes of the halves; the file has them.
        let p = first_extent(loader, target, ["lokr_w1", "lokr_w1_a"], 0, target.o)?;
        let q = first_extent(loader, target, ["lokr_w1", "lokr_w1_b"], 1, target.i)?;
        let left = half(loader, target, "lokr_w1", [p, q], r)?;
        let right = half(loader, target, "lokr_w2", [target.o / p, target.i / q], r)?;
        Ok(vec![Delta::Kronecker { left, right, scale }])
    })
}

/// The extent of w1 along one side of the layer, which it must divide.
fn first_extent(
    loader: &Loader<'_>,
    target: &Target,
    [whole, thin]: [&str; 2],
    dim: usize,
    width: usize,
) -> Result<usize> {
    let whole_is_there = loader.shape(&loader.key(target, whole)).is_some();
    let name = if whole_is_there { whole } else { thin };
    let extent = loader.extent(target, name, dim)?;
    if extent > 0 && width.is_multiple_of(extent) {
        Ok(extent)
    } else {
        Err(loader.wrong_shape(
            &loader.key(target, name),
            format!("a divisor of {width} in dimension {dim}"),
        ))
    }
}

/// `name`, or the product of its two halves.
fn half(
    loader: &Loader<'_>,
    target: &Target,
    name: &str,
    [rows, columns]: [usize; 2],
    r: usize,
) -> Result<Tensor<2>> {
    if loader.shape(&loader.key(target, name)).is_some() {
        return loader.tensor(target, name, [rows, columns]);
    }
    let a: Tensor<2> = loader.tensor(target, &format!("{name}_a"), [rows, r])?;
    let b = loader.tensor(target, &format!("{name}_b"), [r, columns])?;
    Ok(a.matmul(b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// [0 1; 2 0] ⊗ w2 is [0 w2; 2·w2 0]: above w2·(0, 3) = (3, 3), below 2·w2·(1, 0) = (2, 0).
    #[test]
    fn one_tile_stands_everywhere() {
        let w1 = [[0.0, 1.0], [2.0, 0.0]];
        let w2 = [[1.0, 1.0], [0.0, 1.0]];
        let whole = Pencil::layer(
            &METHOD,
            json!({ "r": 1, "alpha": 1 }),
            [[0.0; 4]; 4],
            &[("lokr_w1", w1.into()), ("lokr_w2", w2.into())],
        );
        let thin = Pencil::layer(
            &METHOD,
            json!({ "r": 2, "alpha": 2 }),
            [[0.0; 4]; 4],
            &[
                ("lokr_w1_a", w1.into()),
                ("lokr_w1_b", IDENTITY.into()),
                ("lokr_w2", w2.into()),
            ],
        );
        for adapter in [whole, thin] {
            near(adapter.y(1.0, [1.0, 0.0, 0.0, 3.0]), [3.0, 3.0, 2.0, 0.0]);
            near(
                adapter.y(-1.0, [1.0, 0.0, 0.0, 3.0]),
                [-3.0, -3.0, -2.0, 0.0],
            );
        }
    }
}
