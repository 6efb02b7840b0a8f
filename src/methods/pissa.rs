//! PiSSA: principal singular values and vectors adaptation. Meng et al. 2024; OLoRA: Büyükakyüz 2024.
//! <https://arxiv.org/abs/2404.02948>
//!
//! # Formula
//! ```text
//! y = W x + c·(s·B A − P) x,   s = α/r, with rsLoRA α/√r
//! PiSSA: P = the r largest singular values of W with their vectors
//! OLoRA: P = s·Q_r R_r, the first r columns of Q and rows of R in W = Q R
//! ```
//! # Shapes
//! ```text
//! <module>.lora_A.weight   A [r, i]
//! <module>.lora_B.weight   B [o, r]
//! <module>.lora_B.bias     b_B [o], only with lora_bias; and what LoRA knows of embeddings
//! ```
//! # Coefficient
//! Linear: c multiplies the difference between what was trained and where training began.
//! # Hypothesis
//! What a layer knows best lies in its strongest directions. A behaviour is better had by changing
//! these than by something new beside them.
//! # Intuition
//! A LoRA that takes over the strongest part of the layer and trains that itself, instead of
//! something new beside it. The file holds that part as trained, so its initial value is
//! subtracted.
//! # Limits
//! It has the rank of a LoRA, and changes what the layer does most. At c = −1 it goes as far the
//! other way, and the language breaks sooner.
//! # Cost
//! Loading decomposes each weight of the base, as the device has it; a base that is quantised
//! differently from the trained one gives a slightly different start.
//! # Differs from PEFT
//! Files saved with path_initial_model_for_weight_conversion are plain LoRA. pissa_niter_N starts
//! from random numbers that no file keeps, corda and lora_ga from data: these are refused.

use burn::tensor::Tensor;

use super::lora;
use super::lora_factors::{EXTRAS, FACTORS, Factors, scale, started};
use super::starts::{USUAL, parts};
use crate::checkpoint::{
    Family, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law, Site};
use crate::linalg::svd;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "pissa",
    peft_type: "LORA",
    matches: |config| !config.flag("use_dora") && started(config).is_some(),
    family: Family::LowRank,
    law: Law::Linear,
    keys: lora::KEYS,
    reads: lora::READS,
    inert: lora::INERT,
    doc: room_doc!("pissa.rs"),
    load,
    trains: Trains::From { start, rate: 1e-3 },
    extras: Some(&EXTRAS),
    folds: Folds::Not(
        "what was learned is the difference from principal factors of the base, which the file does not hold",
    ),
};

/// The principal factors, each with the root of the strengths: what they replace.
fn start(start: &mut Start<'_>) -> Result<()> {
    let rank = start.rank;
    start.set("r", rank);
    start.set("lora_alpha", rank);
    start.set("init_lora_weights", "pissa");
    for target in start.targets(USUAL)? {
        let (i, o) = (target.i, target.o);
        let r = rank.min(i).min(o);
        let parts = parts(start, &target, 0..r)?;
        let root = |at: usize| parts.s[at].sqrt();
        let a = parts.v.iter().enumerate();
        let a = a.map(|(at, v)| v * root(at / i)).collect();
        let b = parts.u.iter().enumerate();
        let b = b.map(|(at, u)| u * root(at % r)).collect();
        start.learn(&target, FACTORS[0], [r, i], Init::Given(a));
        start.learn(&target, FACTORS[1], [o, r], Init::Given(b));
    }
    Ok(())
}

/// What PiSSA or OLoRA took out of a weight, A [r, i], B [o, r] and their scale, if the file is theirs.
pub(crate) fn taken(
    loader: &Loader<'_>,
    target: &Target,
) -> Result<Option<(Tensor<2>, Tensor<2>, f32)>> {
    let (config, i, o) = (loader.config, target.i, target.o);
    let Some(init) = started(config) else {
        return Ok(None);
    };
    if target.site == Site::Head && loader.model.config().tie_word_embeddings {
        let why = "its numbers are relative to a changed head, which is the embedding too";
        return Err(METHOD.unsupported(config, "init_lora_weights", why));
    }
    let (r, scale) = scale(config, target)?;
    let r = r.min(i).min(o);
    if init == "pissa" {
        let (a, b) = loader.directions(target, 0..r)?;
        return Ok(Some((a, b, 1.0)));
    }
    let w = loader.base_weight_on_host(target)?;
    let (a, b) = svd::leading_columns(&w, [o, i], r);
    Ok(Some((
        loader.upload(a, [r, i]),
        loader.upload(b, [o, r]),
        scale,
    )))
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    lora::load_with(loader, |target| {
        let (i, o) = (target.i, target.o);
        let (r, scale) = scale(config, target)?;
        let r = r.min(i).min(o);
        let mut deltas = Factors::of_rank(loader, target, r, scale)?.deltas();
        // With an adapted head PEFT saves the rest of its weight: `saved` reads that.
        let left = loader.key(target, "base_layer.weight");
        if loader.shape(&left).is_some() {
            return Ok(deltas);
        }
        if let Some((a, b, scale)) = taken(loader, target)? {
            deltas.push(Delta::product(a, b, -scale));
        }
        Ok(deltas)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{Pencil, near};

    /// The strongest part of W is P = diag(3, 0); training made diag(4, 0) of it.
    #[test]
    fn the_strongest_part_is_replaced() {
        let trained = |root: f32| {
            Pencil::layer(
                &METHOD,
                json!({ "r": 1, "lora_alpha": 1, "init_lora_weights": "pissa" }),
                [[3.0, 0.0], [0.0, 1.0]],
                &[
                    ("lora_A.weight", [[root, 0.0]].into()),
                    ("lora_B.weight", [[root], [0.0]].into()),
                ],
            )
        };
        near(trained(2.0).y(1.0, [1.0, 1.0]), [4.0, 1.0]);
        near(trained(2.0).y(-1.0, [1.0, 1.0]), [2.0, 1.0]);
        // Where training begins nothing has changed.
        near(trained(3.0_f32.sqrt()).y(1.0, [1.0, 1.0]), [3.0, 1.0]);
    }

    /// W = Q R with the first column (3, 4) = 5·(0.6, 0.8), and the first row of R is (5, 0.8).
    #[test]
    fn olora_starts_from_the_first_column() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "r": 1, "lora_alpha": 1, "init_lora_weights": "olora" }),
            [[3.0, 0.0], [4.0, 1.0]],
            &[
                ("lora_A.weight", [[5.0, 0.8]].into()),
                ("lora_B.weight", [[1.2], [1.6]].into()),
            ],
        );
        near(adapter.y(1.0, [1.0, 0.0]), [6.0, 8.0]);
        near(adapter.y(-1.0, [1.0, 0.0]), [0.0, 0.0]);
    }
}
