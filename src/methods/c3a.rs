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
//! # Intuition
//! Every block of the change is one short list of numbers, shifted by one place from row to row.
//! Such a block has full rank, yet costs as much as one of its rows.
//! # Cost
//! One whole matrix per module.

use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
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
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    Loaded::linear(loader, &["c3a_kernel"], |target| {
        let (i, o) = (target.i, target.o);
        let b = config.patterned_suffix("block_size_pattern", &target.path, "block_size")?;
        config.check_divides("block_size", b, target)?;
        let w = loader.host(&loader.key(target, "c3a_kernel"), [o / b, i / b, b])?;
        let at = |row: usize, column: usize| {
            let block = row / b * (i / b) + column / b;
            w[block * b + (b + column % b - row % b) % b] / i as f32
        };
        let delta = (0..o * i).map(|place| at(place / i, place % i)).collect();
        let delta = loader.upload(delta, [o, i]);
        Ok(vec![Delta::Dense { delta, scale: 1.0 }])
    })
}
