//! DeLoRA: decoupled low-rank adaptation. Bini et al. 2025.
//! <https://arxiv.org/abs/2503.18225>
//!
//! # Formula
//! ```text
//! y = W x + c·Σ_k (λ/r) / (‖A_k‖·‖B_k‖) · B_k (A_k · (w∘x))
//! ```
//! # Shapes
//! ```text
//! <module>.delora_A        A [r, i], A_k a row
//! <module>.delora_B        B [o, r], B_k a column
//! <module>.delora_lambda   λ [1]
//! <module>.delora_w_norm   w [i], column lengths of W when training began
//! ```
//! # Coefficient
//! Linear: c multiplies λ, the strength that the method itself sets apart from the directions.
//! # Intuition
//! LoRA with every direction scaled to length one, so that a single number λ says how far the layer
//! moves. c scales that number.

use crate::checkpoint::{Family, Loaded, Loader, Method, Target, room_doc};
use crate::error::Result;
use crate::hooks::{Delta, Effect, Law, Placed};
use crate::tensor::telling;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "delora",
    peft_type: "DELORA",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &["delora_A", "delora_B", "delora_lambda", "delora_w_norm"],
    reads: &["r", "rank_pattern", "lambda_pattern", "delora_lambda"],
    inert: &["init_weights", "module_dropout"],
    doc: room_doc!("delora.rs"),
    load,
};

/// PEFT's lower bound of the two lengths.
const SHORTEST: f32 = 1e-4;

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let place = |target: Target| {
        let r = loader.config.patterned("rank_pattern", &target.path, "r")?;
        let r = loader.config.whole("r", r)?;
        let a = loader.tensor(&target, "delora_A", [r, target.i])?;
        let b = loader.tensor(&target, "delora_B", [target.o, r])?;
        let lambda = loader.tensor(&target, "delora_lambda", [1])?;
        let w_norm = loader.tensor(&target, "delora_w_norm", [target.i])?;
        let a_length = a
            .clone()
            .square()
            .sum_dim(1)
            .sqrt()
            .reshape([r])
            .clamp_min(SHORTEST);
        let b_length = b
            .clone()
            .square()
            .sum_dim(0)
            .sqrt()
            .reshape([r])
            .clamp_min(SHORTEST);
        let mid = lambda / telling(a_length * b_length) / r as f32;
        let a = a * w_norm.unsqueeze();
        Ok(Placed::new(target.site, move |c| {
            let (a, b, mid) = (a.clone(), b.clone(), Some(mid.clone()));
            vec![Effect::Weight(Delta::LowRank {
                a,
                b,
                mid,
                out: None,
                scale: c,
            })]
        }))
    };
    let placed = loader
        .targets("delora_A")?
        .into_iter()
        .map(place)
        .collect::<Result<_>>()?;
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}
