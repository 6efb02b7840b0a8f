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
//! # Hypothesis
//! The directions need not be learned: among random ones there are enough good ones. A behaviour is
//! which of them each layer uses, and how much.
//! # Intuition
//! All layers share two random matrices that nobody trained; each layer only learns which of their
//! directions to use and how much. So two short lists of numbers stand for a whole layer.
//! # Limits
//! It chooses among random directions that nobody trained. One that is not among them can only be
//! put together from many.
//! # Differs from PEFT
//! Files without the matrices (save_projection = false) are completed from the seed
//! projection_prng_key, with the numbers that torch's CPU generator draws.

use std::collections::HashMap;

use burn::tensor::Tensor;

use super::starts::USUAL;
use super::torch_random::TorchRandom;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Effect, Law, Placed};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "vera",
    peft_type: "VERA",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &[NAMES.out, NAMES.mid, NAMES.a, NAMES.b],
    reads: &["r", "save_projection", "projection_prng_key"],
    inert: &["d_initial", "init_weights", "vera_dropout"],
    doc: room_doc!("vera.rs"),
    load,
    trains: Trains::From { start, rate: 2e-2 },
    extras: None,
    folds: Folds::Into(&[("vera_lambda_b", Fold::Times)]),
};

const NAMES: Shared = Shared {
    out: "vera_lambda_b",
    mid: "vera_lambda_d",
    a: "base_model.vera_A",
    b: "base_model.vera_B",
    heights: 1,
};

fn start(start: &mut Start<'_>) -> Result<()> {
    start_shared(start, &NAMES)
}

/// VeRA before training, or a method with its formula.
pub(super) fn start_shared(start: &mut Start<'_>, names: &Shared) -> Result<()> {
    let (r, high) = (start.rank, names.heights * start.rank);
    start.set("r", r);
    start.set("projection_prng_key", 0);
    start.set("save_projection", true);
    let targets = start.targets(USUAL)?;
    let widest = |width: fn(&Target) -> usize| targets.iter().map(width).max().unwrap_or(0);
    let (i, o) = (widest(|target| target.i), widest(|target| target.o));
    let (a, b) = random(0, [high, r], i, o);
    start.keep(names.a, [high, i], Init::Given(a));
    start.keep(names.b, [o, r], Init::Given(b));
    for target in targets {
        start.learn(&target, names.mid, [high], Init::Filled(0.1));
        start.learn(&target, names.out, [target.o], Init::Zeros);
    }
    Ok(())
}

/// A `[high, i]` and B `[o, r]` as PEFT draws them.
fn random(seed: u64, [high, r]: [usize; 2], i: usize, o: usize) -> (Vec<f32>, Vec<f32>) {
    let mut random = TorchRandom::new(seed);
    let a = random.kaiming_uniform(high * i, i);
    let b = random.kaiming_uniform(o * r, r);
    (a, b)
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    load_shared(loader, &NAMES)
}

/// What a method calls the parts of VeRA's formula.
pub(super) struct Shared {
    /// λ_b
    pub out: &'static str,
    /// λ_d
    pub mid: &'static str,
    pub a: &'static str,
    pub b: &'static str,
    /// How many times r the rows of A and λ_d are; the first r are used.
    pub heights: usize,
}

/// Loads VeRA, or a method with its formula.
pub(super) fn load_shared(loader: &Loader<'_>, names: &Shared) -> Result<Loaded> {
    let targets = loader.targets(names.out)?;
    let r = loader.config.count("r")?;
    let (a, b) = projections(loader, &targets, names, r)?;
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
        let out = loader.tensor(&target, names.out, [o])?;
        let mid = loader.tensor(&target, names.mid, [names.heights.saturating_mul(r)])?;
        let mid: Tensor<1> = mid.narrow(0, 0, r);
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

/// A `[heights·r, widest i]` and B `[widest o, r]`, from the file or from the seed.
fn projections(
    loader: &Loader<'_>,
    targets: &[Target],
    names: &Shared,
    r: usize,
) -> Result<(Tensor<2>, Tensor<2>)> {
    let widest = |width: fn(&Target) -> usize| targets.iter().map(width).max().unwrap_or(0);
    let (widest_i, widest_o) = (widest(|target| target.i), widest(|target| target.o));
    let high = names.heights.saturating_mul(r);
    if loader.shape(names.a).is_some() {
        return Ok((
            loader.shared(names.a, [high, widest_i])?,
            loader.shared(names.b, [widest_o, r])?,
        ));
    }
    if loader.config.flag("save_projection") {
        return Err(loader.named_but_absent("save_projection", names.a.into()));
    }
    for target in targets {
        loader.check_extent(target, names.mid, 0, high)?;
    }
    let seed = loader.config.seed("projection_prng_key")?;
    let (a, b) = random(seed, [high, r], widest_i, widest_o);
    Ok((
        loader.upload(a, [high, widest_i]),
        loader.upload(b, [widest_o, r]),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// A x = 2, times λ_d 6, through B (6, 12); λ_b turns the second output off.
    #[test]
    fn a_layer_chooses_among_shared_directions() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "r": 1 }),
            IDENTITY,
            &[
                ("base_model.vera_A", [[1.0, 1.0]].into()),
                ("base_model.vera_B", [[1.0], [2.0]].into()),
                ("vera_lambda_d", [3.0].into()),
                ("vera_lambda_b", [1.0, 0.0].into()),
            ],
        );
        near(adapter.y(1.0, [1.0, 1.0]), [7.0, 1.0]);
        near(adapter.y(-1.0, [1.0, 1.0]), [-5.0, 1.0]);
    }
}
