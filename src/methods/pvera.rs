//! PVeRA: probabilistic vector-based random matrix adaptation. Fillioux et al. 2025.
//! <https://arxiv.org/abs/2512.07703>
//!
//! # Formula
//! ```text
//! y = W x + c·λ_b∘(B (λ_d∘(A x))),   the mean: A and λ_d up to row r
//! ```
//! # Shapes
//! ```text
//! <module>.pvera_lambda_b   λ_b [o]
//! <module>.pvera_lambda_d   λ_d [2r], of which the second half is the spread
//! base_model.pvera_A        A [2r, widest i], the first i columns are used; shared by all modules
//! base_model.pvera_B        B [widest o, r], the first o rows are used; shared by all modules
//! ```
//! # Coefficient
//! Linear: c multiplies λ_b.
//! # Hypothesis
//! Random directions that all layers share are enough for a task, and how far to go along each is
//! not one number but a range of numbers that would all do.
//! # Intuition
//! VeRA that learns in training how unsure it is: each direction has a mean and a spread. In use
//! only the mean counts.
//! # Limits
//! As VeRA it chooses among random directions that nobody trained. One that is not among them can
//! only be put together from many.
//! # Differs from PEFT
//! Files without the matrices (save_projection = false) are completed from the seed
//! projection_prng_key, as those of VeRA. sample_at_inference is refused: its text would differ from
//! run to run.

use super::vera::{Shared, load_shared, start_shared};
use crate::checkpoint::{Family, Fold, Folds, Loaded, Loader, Method, Start, Trains, room_doc};
use crate::error::Result;
use crate::hooks::Law;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "pvera",
    peft_type: "PVERA",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &[NAMES.out, NAMES.mid, NAMES.a, NAMES.b],
    reads: &[
        "r",
        "save_projection",
        "projection_prng_key",
        "sample_at_inference",
    ],
    inert: &[
        "d_initial",
        "init_weights",
        "pvera_dropout",
        "generator_seed",
    ],
    doc: room_doc!("pvera.rs"),
    load,
    trains: Trains::From { start, rate: 2e-2 },
    extras: None,
    folds: Folds::Into(&[(NAMES.out, Fold::Times)]),
};

const NAMES: Shared = Shared {
    out: "pvera_lambda_b",
    mid: "pvera_lambda_d",
    a: "base_model.pvera_A",
    b: "base_model.pvera_B",
    heights: 2,
};

fn start(start: &mut Start<'_>) -> Result<()> {
    start.set("sample_at_inference", false);
    start_shared(start, &NAMES)
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let field = "sample_at_inference";
    if loader.config.flag(field) {
        let why = "it draws new random numbers for every token; set it to false for the mean";
        return Err(METHOD.unsupported(loader.config, field, why));
    }
    load_shared(loader, &NAMES)
}
