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
//! # Intuition
//! A LoRA that takes over the strongest part of the layer and trains that itself, instead of
//! something new beside it. The file holds that part as trained, so its initial value is
//! subtracted.
//! # Cost
//! Loading decomposes each weight of the base, as the device has it; a base that is quantised
//! differently from the trained one gives a slightly different start.
//! # Differs from PEFT
//! Files saved with path_initial_model_for_weight_conversion are plain LoRA. pissa_niter_N starts
//! from random numbers that no file keeps, corda and lora_ga from data: these are refused.

use burn::tensor::Tensor;

use super::lora;
use super::lora_factors::{Factors, scale, started};
use crate::checkpoint::{Config, Family, Loaded, Loader, Method, Target, room_doc};
use crate::error::Result;
use crate::hooks::{Delta, Law, Site};
use crate::linalg::svd;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "pissa",
    peft_type: "LORA",
    matches,
    family: Family::LowRank,
    law: Law::Linear,
    keys: lora::KEYS,
    reads: lora::READS,
    inert: lora::INERT,
    doc: room_doc!("pissa.rs"),
    load,
};

/// Whether a LoRA's numbers are relative to a base that PiSSA or OLoRA changed.
pub(crate) fn matches(config: &Config) -> bool {
    !config.flag("use_dora") && started(config).is_some()
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
    let w = loader.base_weight_on_host(target)?;
    let ((a, b), scale) = match init.as_str() {
        "pissa" => (svd::truncated(&w, [o, i], r), 1.0),
        _ => (svd::leading_columns(&w, [o, i], r), scale),
    };
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
