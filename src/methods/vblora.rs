//! VB-LoRA: low-rank factors composed from a shared bank of vectors. Li et al. 2024.
//! <https://arxiv.org/abs/2405.15179>
//!
//! # Formula
//! ```text
//! piece = Σ_k softmax(the topk largest logits)_k · bank[index_k]
//! A = its pieces side by side,   B = its pieces on top of each other
//! y = W x + c·B A x
//! ```
//! # Shapes
//! ```text
//! base_model.vblora_vector_bank   [h, L], shared by all modules
//! <module>.vblora_logits_A        [r, i/L, h]
//! <module>.vblora_logits_B        [o/L, r, h]
//! save_only_topk_weights: instead of each logits
//! ….vblora_logits_A_topk_indices  [r, i/L, topk], whole numbers
//! ….vblora_logits_A_topk_weights  [r, i/L, topk − 1], the last is 1 minus their sum
//! ```
//! # Coefficient
//! Linear: c multiplies the product B A; there is no α.
//! # Hypothesis
//! The changes of all layers are made of the same few parts. What a layer has of its own is only the
//! choice and the mixture.
//! # Intuition
//! All layers build their adapter from one small box of vectors. A layer only says which pieces
//! it takes and how it blends them, so the file hardly grows with the model.
//! # Limits
//! All layers draw from one bank. A layer that would need a piece of its own has to share it with
//! the others.
//! # Ties
//! Where logits tie for the last of the topk places, as in 16-bit files, the choice is torch's on a
//! CPU (`topk.rs`).

use std::iter;

use burn::tensor::{Tensor, activation};

use super::starts::{USUAL, common_divisor};
use crate::checkpoint::{
    Family, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "vblora",
    peft_type: "VBLORA",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &[
        "vblora_logits_A",
        "vblora_logits_B",
        "vblora_logits_A_topk_indices",
        "vblora_logits_A_topk_weights",
        "vblora_logits_B_topk_indices",
        "vblora_logits_B_topk_weights",
        BANK,
    ],
    reads: &[
        "r",
        "topk",
        "num_vectors",
        "vector_length",
        "save_only_topk_weights",
    ],
    inert: &[
        "vblora_dropout",
        "init_vector_bank_bound",
        "init_logits_std",
    ],
    doc: room_doc!("vblora.rs"),
    load,
    trains: Trains::From { start, rate: 1e-2 },
    extras: None,
    folds: Folds::Not("both factors come out of one bank of vectors, where c would count twice"),
};

const BANK: &str = "base_model.vblora_vector_bank";

struct Bank {
    /// `[vectors, length]`
    values: Tensor<2>,
    vectors: usize,
    length: usize,
    topk: usize,
    only_topk: bool,
}

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    let targets = start.targets(USUAL)?;
    let widths = targets.iter().flat_map(|target| [target.i, target.o]);
    let length = common_divisor(widths, 256);
    let vectors = 64;
    start.set("r", r);
    start.set("topk", 2);
    start.set("num_vectors", vectors);
    start.set("vector_length", length);
    start.learn_whole(BANK, [vectors, length], Init::Uniform(0.02));
    for target in targets {
        let (rows, columns) = (target.o / length, target.i / length);
        let logits = Init::Normal(0.1);
        start.learn(
            &target,
            "vblora_logits_A",
            [r, columns, vectors],
            logits.clone(),
        );
        start.learn(&target, "vblora_logits_B", [rows, r, vectors], logits);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let r = config.count("r")?;
    let (vectors, length) = (config.count("num_vectors")?, config.count("vector_length")?);
    let bank = Bank {
        values: loader.shared(BANK, [vectors, length])?,
        vectors,
        length,
        topk: config.count("topk")?,
        only_topk: config.flag("save_only_topk_weights"),
    };
    if bank.topk > vectors {
        return Err(config.bad("topk", &format!("at most num_vectors, {vectors}")));
    }
    let parameter = if bank.only_topk {
        "vblora_logits_A_topk_indices"
    } else {
        "vblora_logits_A"
    };
    Loaded::linear(loader, &[parameter], |target| {
        config.check_divides("vector_length", length, target)?;
        let (rows, columns) = (target.o / length, target.i / length);
        let a = bank.pieces(loader, target, "vblora_logits_A", [r, columns])?;
        let b = bank.pieces(loader, target, "vblora_logits_B", [rows, r])?;
        let a = a.reshape([r, target.i]);
        let b = b.reshape([rows, r, length]);
        let b = b.swap_dims(1, 2).reshape([target.o, r]);
        Ok(vec![Delta::product(a, b, 1.0)])
    })
}

impl Bank {
    /// The composed pieces `[n·m, L]` of one factor, from its logits or its chosen weights.
    fn pieces(
        &self,
        loader: &Loader<'_>,
        target: &Target,
        name: &str,
        [n, m]: [usize; 2],
    ) -> Result<Tensor<2>> {
        let key = loader.key(target, name);
        let k = self.topk;
        let (indices, weights) = if self.only_topk {
            let indices =
                loader.indices(&format!("{key}_topk_indices"), [n, m, k], self.vectors)?;
            let most = loader.host(&format!("{key}_topk_weights"), [n, m, k - 1])?;
            // The last is what is left of 1.
            let weights = (0..n * m).flat_map(|at| {
                let most = &most[at * (k - 1)..(at + 1) * (k - 1)];
                let last = 1.0 - most.iter().sum::<f32>();
                most.iter().copied().chain(iter::once(last))
            });
            (indices, loader.upload(weights.collect(), [n * m, k]))
        } else {
            let values = loader.host(&key, [n, m, self.vectors])?;
            let indices = values.chunks(self.vectors).flat_map(|row| largest(row, k));
            let indices: Vec<usize> = indices.collect();
            let logits: Tensor<2> = loader.on_device(&key, values, [n * m, self.vectors]);
            let ids = loader.upload_indices(indices.iter().map(|id| *id as i32).collect());
            let chosen = logits.gather(1, ids.reshape([n * m, k]));
            (indices, activation::softmax(chosen, 1))
        };
        let ids = loader.upload_indices(indices.into_iter().map(|id| id as i32).collect());
        let vectors = self.values.clone().select(0, ids);
        let vectors = vectors.reshape([n * m, k, self.length]);
        let mixed = vectors * weights.reshape([n * m, k, 1]);
        Ok(mixed.sum_dim(1).squeeze_dim(1))
    }
}

/// The places of the k largest logits, the largest first.
fn largest(logits: &[f32], k: usize) -> Vec<usize> {
    let mut order = super::topk::places(logits, k);
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    order
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// The third vector is never among the two largest. A = ¾·(1, 0) + ¼·(0, 1), of odds 3 to 1, and
    /// B = ½·(1, 0) + ½·(0, 1), of equal ones; A x = 4.
    #[test]
    fn factors_are_blended_from_the_bank() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "r": 1, "topk": 2, "num_vectors": 3, "vector_length": 2 }),
            IDENTITY,
            &[
                (
                    "base_model.vblora_vector_bank",
                    [[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]].into(),
                ),
                ("vblora_logits_A", [[[3.0_f32.ln(), 0.0, -1.0]]].into()),
                ("vblora_logits_B", [[[2.0, 2.0, 1.0]]].into()),
            ],
        );
        near(adapter.y(1.0, [4.0, 4.0]), [6.0, 6.0]);
        near(adapter.y(-1.0, [4.0, 4.0]), [2.0, 2.0]);
    }
}
