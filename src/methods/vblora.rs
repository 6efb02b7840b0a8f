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
//! # Intuition
//! All layers build their adapter from one small box of vectors. A layer only says which pieces
//! it takes and how it blends them, so the file hardly grows with the model.
//! # Ties
//! Where logits tie for the last of the topk places, as in 16-bit files, the choice is torch's on a
//! CPU (`topk.rs`).

use std::iter;

use crate::checkpoint::{Family, Loaded, Loader, Method, Target, room_doc};
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
};

const BANK: &str = "base_model.vblora_vector_bank";

struct Bank {
    /// `[vectors, length]`
    values: Vec<f32>,
    vectors: usize,
    length: usize,
    topk: usize,
    only_topk: bool,
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let r = config.count("r")?;
    let (vectors, length) = (config.count("num_vectors")?, config.count("vector_length")?);
    let bank = Bank {
        values: loader.host(BANK, [vectors, length])?,
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
        let a = loader.upload(a, [r, target.i]);
        let b = loader.upload(b, [rows, r, length]);
        let b = b.swap_dims(1, 2).reshape([target.o, r]);
        Ok(vec![Delta::product(a, b, 1.0)])
    })
}

impl Bank {
    /// The composed pieces `[n, m, L]` of one factor, from its logits or its chosen weights.
    fn pieces(
        &self,
        loader: &Loader<'_>,
        target: &Target,
        name: &str,
        [n, m]: [usize; 2],
    ) -> Result<Vec<f32>> {
        let key = loader.key(target, name);
        let k = self.topk;
        let choices: Vec<Vec<(usize, f32)>> = if self.only_topk {
            let indices =
                loader.indices(&format!("{key}_topk_indices"), [n, m, k], self.vectors)?;
            let weights = loader.host(&format!("{key}_topk_weights"), [n, m, k - 1])?;
            (0..n * m)
                .map(|at| {
                    let weights = &weights[at * (k - 1)..(at + 1) * (k - 1)];
                    let last = 1.0 - weights.iter().sum::<f32>();
                    let weights = weights.iter().copied().chain(iter::once(last));
                    indices[at * k..(at + 1) * k]
                        .iter()
                        .copied()
                        .zip(weights)
                        .collect()
                })
                .collect()
        } else {
            let logits = loader.host(&key, [n, m, self.vectors])?;
            logits
                .chunks(self.vectors)
                .map(|row| largest(row, k))
                .collect()
        };
        let mut pieces = vec![0.0; n * m * self.length];
        for (piece, choice) in pieces.chunks_mut(self.length).zip(&choices) {
            for &(index, weight) in choice {
                let vector = &self.values[index * self.length..][..self.length];
                piece
                    .iter_mut()
                    .zip(vector)
                    .for_each(|(p, v)| *p += weight * v);
            }
        }
        Ok(pieces)
    }
}

/// The k largest logits and their softmax.
fn largest(logits: &[f32], k: usize) -> Vec<(usize, f32)> {
    let mut order = super::topk::places(logits, k);
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let exp = |index: &usize| (logits[*index] - logits[order[0]]).exp();
    let sum: f32 = order.iter().map(exp).sum();
    order
        .iter()
        .map(|index| (*index, exp(index) / sum))
        .collect()
}
