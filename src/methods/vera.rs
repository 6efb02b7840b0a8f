//! VeRA: vector-based random matrix adaptation. Kopiczko et al. 2023.
//! <https://arxiv.org/abs/2310.11454>
//!
//! # Formula
//! ```text
//! y = W x + c·λ_b∘(B (λ_d∘(A x)))
//! ```
//! # Shapes
//! ```text
//! <module>.vera_lambda_b   λ_b [o]
//! <module>.vera_lambda_d   λ_d [r]
//! base_model.vera_A        A [r, widest i], the first i columns are used; shared by all modules
//! base_model.vera_B        B [widest o, r], the first o rows are used; shared by all modules
//! ```
//! # Coefficient
//! Linear: c multiplies λ_b.
//! # Intuition
//! All layers share two random matrices that nobody trained; each layer only learns which of their
//! directions to use and how much. So two short lists of numbers stand for a whole layer.
//! # Differs from PEFT
//! Files without the matrices (save_projection = false) are completed from the seed
//! projection_prng_key, with the numbers that torch's CPU generator draws.

use std::collections::HashMap;

use burn::tensor::Tensor;

use super::torch_random::TorchRandom;
use crate::checkpoint::{Family, Loaded, Loader, Method, Target, room_doc};
use crate::error::Result;
use crate::hooks::{Delta, Effect, Law, Placed};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "vera",
    peft_type: "VERA",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &["vera_lambda_b", "vera_lambda_d", A, B],
    reads: &["r", "save_projection", "projection_prng_key"],
    inert: &["d_initial", "init_weights", "vera_dropout"],
    doc: room_doc!("vera.rs"),
    load,
};

const A: &str = "base_model.vera_A";
const B: &str = "base_model.vera_B";

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let targets = loader.targets("vera_lambda_b")?;
    let r = loader.config.count("r")?;
    let (a, b) = projections(loader, &targets, r)?;
    // Modules of one width share one cut of the matrices.
    let mut a_cuts: HashMap<usize, Tensor<2>> = HashMap::new();
    let mut b_cuts: HashMap<usize, Tensor<2>> = HashMap::new();
    let mut placed = Vec::with_capacity(targets.len());
    for target in targets {
        let (i, o) = (target.i, target.o);
        let a = a_cuts
            .entry(i)
            .or_insert_with(|| a.clone().slice([0..r, 0..i]))
            .clone();
        let b = b_cuts
            .entry(o)
            .or_insert_with(|| b.clone().slice([0..o, 0..r]))
            .clone();
        let out = loader.tensor(&target, "vera_lambda_b", [o])?;
        let mid = loader.tensor(&target, "vera_lambda_d", [r])?;
        placed.push(Placed::new(target.site, move |c| {
            let (a, b) = (a.clone(), b.clone());
            let (mid, out) = (Some(mid.clone()), Some(out.clone()));
            vec![Effect::Weight(Delta::LowRank {
                a,
                b,
                mid,
                out,
                scale: c,
            })]
        }));
    }
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}

/// A `[r, widest i]` and B `[widest o, r]`, from the file or from the seed.
fn projections(
    loader: &Loader<'_>,
    targets: &[Target],
    r: usize,
) -> Result<(Tensor<2>, Tensor<2>)> {
    let widest = |width: fn(&Target) -> usize| targets.iter().map(width).max().unwrap_or(0);
    let (widest_i, widest_o) = (widest(|target| target.i), widest(|target| target.o));
    if loader.shape(A).is_some() {
        return Ok((
            loader.shared(A, [r, widest_i])?,
            loader.shared(B, [widest_o, r])?,
        ));
    }
    if loader.config.flag("save_projection") {
        return Err(loader.named_but_absent("save_projection", A.into()));
    }
    for target in targets {
        loader.check_extent(target, "vera_lambda_d", 0, r)?;
    }
    let mut random = TorchRandom::new(loader.config.seed("projection_prng_key")?);
    let a = random.kaiming_uniform(r * widest_i, widest_i);
    let b = random.kaiming_uniform(widest_o * r, r);
    Ok((
        loader.upload(a, [r, widest_i]),
        loader.upload(b, [widest_o, r]),
    ))
}
