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
//! # Hypothesis
//! Which way a layer changes and how far are two questions. As long as the distance is one number of
//! its own, no direction can carry the model far from what it knows.
//! # Intuition
//! LoRA with every direction scaled to length one, so that a single number λ says how far the layer
//! moves. c scales that number.
//! # Limits
//! It has the few directions of a LoRA, each as strong as the others. A layer that needs one strong
//! and one weak direction is met only in part.

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
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
    trains: Trains::From { start, rate: 2e-3 },
    extras: None,
    folds: Folds::Into(&[("delora_lambda", Fold::Times)]),
};

/// λ before training. PEFT's 15 moves a layer by more than its own length at the first step.
const LAMBDA: f32 = 0.5;

/// PEFT's lower bound of the two lengths.
const SHORTEST: f32 = 1e-4;

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("r", r);
    start.set("delora_lambda", LAMBDA);
    for target in start.targets(USUAL)? {
        start.learn(&target, "delora_A", [r, target.i], Init::Kaiming);
        start.learn(&target, "delora_B", [target.o, r], Init::Zeros);
        start.learn(&target, "delora_lambda", [1], Init::Filled(LAMBDA));
        let lengths = start.numbers(start.weight(&target).square().sum_dim(0).sqrt())?;
        let key = format!("{}.delora_w_norm", target.key);
        start.keep(&key, [target.i], Init::Given(lengths));
    }
    Ok(())
}

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
            .reshape([r])
            .clamp_min(SHORTEST * SHORTEST)
            .sqrt();
        let b_length = b
            .clone()
            .square()
            .sum_dim(0)
            .reshape([r])
            .clamp_min(SHORTEST * SHORTEST)
            .sqrt();
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    fn adapter(a: [[f32; 2]; 1], b: [[f32; 1]; 2]) -> Pencil {
        Pencil::layer(
            &METHOD,
            json!({ "r": 1 }),
            IDENTITY,
            &[
                ("delora_A", a.into()),
                ("delora_B", b.into()),
                ("delora_lambda", [6.0].into()),
                ("delora_w_norm", [5.0, 1.0].into()),
            ],
        )
    }

    /// A·(w∘x) = 3·5 = 15, the lengths are 5 and 2, and 6/(5·2)·15·(0, 2) = (0, 18).
    #[test]
    fn lambda_alone_says_how_far() {
        let one = adapter([[3.0, 4.0]], [[0.0], [2.0]]);
        near(one.y(1.0, [1.0, 0.0]), [1.0, 18.0]);
        near(one.y(-1.0, [1.0, 0.0]), [1.0, -18.0]);
        let longer = adapter([[30.0, 40.0]], [[0.0], [7.0]]);
        near(longer.y(1.0, [1.0, 0.0]), [1.0, 18.0]);
    }
}
