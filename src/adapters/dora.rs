//! DoRA: weight-decomposed low-rank adaptation. Liu et al. 2024.
//! <https://arxiv.org/abs/2402.09353>
//!
//! # Formula
//! ```text
//! V = W + s·B A,   g = m / ‖V‖ per row
//! y = W x + c·((g − 1)∘(W x) + g∘(s·B A x))
//! ```
//! # Shapes
//! ```text
//! <module>.lora_A.weight           A [r, i]
//! <module>.lora_B.weight           B [o, r]
//! <module>.lora_magnitude_vector   m [o]
//! ```
//! # Coefficient
//! Linear: c multiplies the whole change of the weight, length and direction together, so that
//! c = 0 is the base (scaling only B A would leave (m/‖W‖)∘W behind).
//! # Intuition
//! A low-rank change turns each row of the weight, and a separate number sets the row's length.
//! Direction and length can so be learned apart.
//! # Differs from PEFT
//! ‖V‖ needs the base weight; it is read once while loading, dequantised if the file is quantised.

use super::lora::{Factors, INERT, READS, check_init};
use super::{Delta, Effect, Family, Law, Loaded, Loader, Method, Placed, Target, room_doc};
use crate::error::Result;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "dora",
    peft_type: "LORA",
    matches: |config| config.flag("use_dora"),
    family: Family::LowRank,
    law: Law::Linear,
    keys: &["lora_A.weight", "lora_B.weight", "lora_magnitude_vector"],
    reads: DORA_READS,
    inert: INERT,
    doc: room_doc!("dora.rs"),
    load,
};

const DORA_READS: &[&str] = &{
    let mut reads = ["use_dora"; READS.len() + 1];
    let mut at = 0;
    while at < READS.len() {
        reads[at] = READS[at];
        at += 1;
    }
    reads
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    check_init(loader.config, &METHOD)?;
    if loader.config.flag("lora_bias") {
        return Err(loader
            .config
            .unsupported(&METHOD, "lora_bias", "PEFT does not define it"));
    }
    let place = |target: Target| {
        let Factors { a, b, scale, .. } = Factors::read(loader, &target)?;
        let magnitude = loader.tensor(&target, "lora_magnitude_vector", [target.o])?;
        let turned = loader.base_weight(&target) + b.clone().matmul(a.clone()) * scale;
        let length = turned.square().sum_dim(1).sqrt().reshape([target.o]);
        let gain = magnitude / length;
        Ok(Placed::new(target.site, move |c| {
            let low_rank = Delta::LowRank {
                a: a.clone(),
                b: b.clone(),
                mid: None,
                out: Some(gain.clone()),
                scale: c * scale,
            };
            let rows = Delta::RowGain {
                gain: gain.clone() - 1.0,
                scale: c,
            };
            vec![Effect::Weight(low_rank), Effect::Weight(rows)]
        }))
    };
    let placed = loader
        .targets("lora_A.weight")?
        .into_iter()
        .map(place)
        .collect::<Result<_>>()?;
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}
