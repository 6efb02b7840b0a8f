//! C3A: block-circular convolution adaptation. Chen et al. 2024.
//! <https://arxiv.org/abs/2407.19342>
//!
//! # Formula
//! ```text
//! y = W x + c·Δ x,   Δ made of b × b blocks:  Δ[m·b + k, n·b + j] = w[m, n, (j − k) mod b]/i
//! ```
//! # Shapes
//! ```text
//! <module>.c3a_kernel   w [o/b, i/b, b]
//! ```
//! # Coefficient
//! Linear: c multiplies Δ. b may differ per module (block_size_pattern).
//! # Hypothesis
//! The change of a weight is a convolution: each output hears its inputs as its neighbour does, one
//! place further on. So it can have full rank and still be described by a few numbers.
//! # Intuition
//! Every block of the change is one short list of numbers, shifted by one place from row to row.
//! Such a block has full rank, yet costs as much as one of its rows.
//! # Limits
//! Each block repeats one list of numbers, shifted. A change that is not of that pattern, such as
//! that of one single weight, is out of reach.
//! # Cost
//! One whole matrix per module.

use burn::tensor::Tensor;

use super::starts::{USUAL, common_divisor};
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "c3a",
    peft_type: "C3A",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &["c3a_kernel"],
    reads: &["block_size", "block_size_pattern"],
    inert: &["init_weights"],
    doc: room_doc!("c3a.rs"),
    load,
    trains: Trains::From { start, rate: 5e-2 },
    extras: None,
    folds: Folds::Into(&[("c3a_kernel", Fold::Times)]),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let targets = start.targets(USUAL)?;
    let widths = targets.iter().flat_map(|target| [target.i, target.o]);
    let b = common_divisor(widths, usize::MAX);
    start.set("block_size", b);
    for target in targets {
        let shape = [target.o / b, target.i / b, b];
        start.learn(&target, "c3a_kernel", shape, Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    Loaded::linear(loader, &["c3a_kernel"], |target| {
        let (i, o) = (target.i, target.o);
        let b = config.patterned_suffix("block_size_pattern", &target.path, "block_size")?;
        config.check_divides("block_size", b, target)?;
        let w: Tensor<3> = loader.tensor(target, "c3a_kernel", [o / b, i / b, b])?;
        // Where each number of Δ comes from.
        let place = |row: usize, column: usize| {
            let block = row / b * (i / b) + column / b;
            (block * b + (b + column % b - row % b) % b) as i32
        };
        let places = (0..o * i).map(|at| place(at / i, at % i)).collect();
        let places = loader.upload_indices(places);
        let delta = w.reshape([o * i / b]).select(0, places) / i as f32;
        let delta = delta.reshape([o, i]);
        Ok(vec![Delta::Dense { delta, scale: 1.0 }])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{Pencil, near};

    /// w/i = (1, 2, 3), one place further on in each row: [1 2 3; 3 1 2; 2 3 1].
    #[test]
    fn rows_are_one_row_shifted() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "block_size": 3 }),
            [[0.0; 3]; 3],
            &[("c3a_kernel", [[[3.0, 6.0, 9.0]]].into())],
        );
        near(adapter.y(1.0, [1.0, 0.0, 0.0]), [1.0, 3.0, 2.0]);
        near(adapter.y(1.0, [0.0, 1.0, 0.0]), [2.0, 1.0, 3.0]);
        near(adapter.y(-1.0, [1.0, 0.0, 0.0]), [-1.0, -3.0, -2.0]);
    }
}
