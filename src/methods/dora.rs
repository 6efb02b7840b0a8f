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
//! <module>.lora_magnitude_vector   m [o], from some tools with .weight at the end
//! embed_tokens.lora_embedding_A    A [r, vocabulary], .lora_embedding_B   B [d, r], m [d]
//! ```
//! # Coefficient
//! Linear: c multiplies the whole change of the weight, length and direction together, so that
//! c = 0 is the base (if c scaled only B A, c = 0 would be (m/‖W‖)∘W).
//! # Hypothesis
//! How far a row reaches and which way it points are two things, and training moves them apart: much
//! of one with little of the other. A low-rank change alone ties them together.
//! # Intuition
//! A low-rank change turns each row of the weight, and a separate number sets the row's length. So
//! direction and length are learned separately. An embedding's columns take the place of the rows.
//! # Limits
//! Beside the lengths of its rows it is a LoRA: the directions of the rows change in a low rank.
//! # Differs from PEFT
//! ‖V‖ needs the base weight; it is read once while loading, dequantised if the file is quantised.
//! Of an adapted embedding a second one of its size is kept.

use super::lora::{INERT, READS, check_init};
use super::lora_factors::{self, EXTRAS, FACTORS, Factors, scale, started};
use super::starts::USUAL;
use super::{pissa, tokens};
use crate::checkpoint::{
    Family, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Effect, Law, Lookup, Placed};
use crate::tensor::telling;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "dora",
    peft_type: "LORA",
    matches: |config| config.flag("use_dora"),
    family: Family::LowRank,
    law: Law::Linear,
    keys: &[
        FACTORS[0],
        FACTORS[1],
        MAGNITUDE,
        IN_MEMORY,
        tokens::A,
        tokens::B,
        tokens::ROWS,
    ],
    reads: DORA_READS,
    inert: INERT,
    doc: room_doc!("dora.rs"),
    load,
    trains: Trains::From { start, rate: 2e-3 },
    extras: Some(&EXTRAS),
    folds: Folds::Not(
        "on the way from the base to the trained weight the length and the direction of a row change \
         together, and no multiples of B A and m do that",
    ),
};

const MAGNITUDE: &str = "lora_magnitude_vector";
/// Its name in memory in PEFT, which some tools write.
const IN_MEMORY: &str = "lora_magnitude_vector.weight";

/// The name that m has in this file.
fn magnitude(loader: &Loader<'_>, target: &Target) -> &'static str {
    match loader.shape(&loader.key(target, IN_MEMORY)) {
        Some(_) => IN_MEMORY,
        None => MAGNITUDE,
    }
}

const DORA_READS: &[&str] = &{
    let mut reads = ["use_dora"; READS.len() + 1];
    let mut at = 0;
    while at < READS.len() {
        reads[at] = READS[at];
        at += 1;
    }
    reads
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("r", r);
    start.set("lora_alpha", 2 * r);
    start.set("use_dora", true);
    for target in start.targets(USUAL)? {
        lora_factors::start(start, &target);
        let lengths = start.weight(&target).square().sum_dim(1).sqrt();
        let lengths = Init::Given(start.numbers(lengths)?);
        start.learn(&target, MAGNITUDE, [target.o], lengths);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    if started(loader.config).is_none() {
        check_init(loader.config, &METHOD)?;
        // m is as long as W has rows, and each row's norm is its own.
        loader.take_apart(&["lora_B.weight", MAGNITUDE, IN_MEMORY])?;
    }
    if loader.config.flag("lora_bias") {
        let why = "PEFT does not define it";
        return Err(METHOD.unsupported(loader.config, "lora_bias", why));
    }
    for field in ["velora_config", "monteclora_config"] {
        if loader.config.flag(field) {
            let why = "PEFT does not mix it with DoRA";
            return Err(METHOD.unsupported(loader.config, field, why));
        }
    }
    let place = |target: Target| {
        let (rank, scale) = scale(loader.config, &target)?;
        let taken = pissa::taken(loader, &target)?;
        let rank = match &taken {
            // The frozen weight that is saved beside an adapted head is what was left of it.
            Some((a, ..)) => {
                loader.skip(&loader.key(&target, "base_layer.weight"));
                a.dims()[0]
            }
            None => rank,
        };
        let Factors { a, b, scale, .. } = Factors::of_rank(loader, &target, rank, scale)?;
        let magnitude = loader.tensor(&target, magnitude(loader, &target), [target.o])?;
        let mut turned = loader.base_weight(&target) + b.clone().matmul(a.clone()) * scale;
        if let Some((a, b, scale)) = &taken {
            turned = turned - b.clone().matmul(a.clone()) * *scale;
        }
        // PEFT trains the magnitude and the turn with these lengths as constants.
        let turned = turned.without_autodiff();
        let length = turned.square().sum_dim(1).sqrt().reshape([target.o]);
        let gain = magnitude / telling(length);
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
            let start = taken.as_ref().map(|(a, b, scale)| Delta::LowRank {
                a: a.clone(),
                b: b.clone(),
                mid: None,
                out: Some(gain.clone()),
                scale: -c * scale,
            });
            let deltas = [low_rank, rows].into_iter().chain(start);
            deltas.map(Effect::Weight).collect::<Vec<_>>()
        }))
    };
    let embedding = |target: Target| {
        let (a, b, scale) = tokens::factors(loader, &target)?;
        let magnitude = loader.tensor(&target, magnitude(loader, &target), [target.i])?;
        let magnitude = magnitude.unsqueeze();
        let base = loader.base_weight(&target);
        let turned = base.clone() + a.matmul(b.transpose()) * scale;
        let gain = magnitude / telling(turned.clone().square().sum_dim(0).sqrt());
        let change = Lookup::table(turned * gain - base, None);
        Ok(Placed::new(target.site, move |c| change.times(c)))
    };
    let mut placed = Vec::new();
    if loader.any(tokens::A) {
        let targets = loader.tables(tokens::A)?.into_iter();
        placed = targets.map(embedding).collect::<Result<_>>()?;
    }
    placed.extend(tokens::rows_of_lora(loader)?);
    if placed.is_empty() || FACTORS.iter().any(|name| loader.any(name)) {
        let targets = loader.targets_of_any(&FACTORS)?.into_iter();
        placed.extend(targets.map(place).collect::<Result<Vec<_>>>()?);
    }
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{Pencil, length, near};

    /// V = W + B A has the rows (3, 4) and (5, 12), 5 and 13 long; m = (10, 13) doubles the first.
    #[test]
    fn rows_are_as_long_as_m() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "use_dora": true, "r": 1, "lora_alpha": 1 }),
            [[3.0, 4.0], [0.0, 12.0]],
            &[
                ("lora_A.weight", [[1.0, 0.0]].into()),
                ("lora_B.weight", [[0.0], [5.0]].into()),
                ("lora_magnitude_vector", [10.0, 13.0].into()),
            ],
        );
        let (first, second) = (adapter.y(1.0, [1.0, 0.0]), adapter.y(1.0, [0.0, 1.0]));
        near(&first, [6.0, 5.0]);
        near(&second, [8.0, 12.0]);
        let row = |at: usize| length([first[at], second[at]]);
        near([row(0), row(1)], [10.0, 13.0]);
        near(adapter.y(-1.0, [1.0, 0.0]), [0.0, -5.0]);
    }
}
