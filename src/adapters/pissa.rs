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
//! something new beside it. The file holds that part as it became, so its start has to go.
//! # Cost
//! Loading decomposes each weight of the base, as the device has it; a base that is quantised
//! otherwise than the one that was trained gives a slightly other start.
//! # Differs from PEFT
//! Files saved with path_initial_model_for_weight_conversion are plain LoRA. pissa_niter_N starts
//! from random numbers that no file keeps, corda and lora_ga from data: these are refused.

use super::lora::{self, Factors};
use super::{Config, Delta, Family, Law, Loaded, Loader, Method, Site, room_doc, svd};
use crate::error::Result;

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
pub(super) fn matches(config: &Config) -> bool {
    let init = start(config);
    !config.flag("use_dora") && (init == "pissa" || init == "olora")
}

fn start(config: &Config) -> String {
    let init = config.text("init_lora_weights").unwrap_or_default();
    // PEFT takes only the one in any case.
    match init.eq_ignore_ascii_case("olora") {
        true => "olora".into(),
        false => init,
    }
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let is_pissa = start(config) == "pissa";
    lora::load_with(loader, |target| {
        if target.site == Site::Head && loader.model.config().tie_word_embeddings {
            let why = "its numbers are relative to a changed head, which is the embedding too";
            return Err(config.unsupported(&METHOD, "init_lora_weights", why));
        }
        let (i, o) = (target.i, target.o);
        let (r, scale) = lora::scale(config, target)?;
        let r = r.min(i).min(o);
        let w = loader.base_weight_on_host(target)?;
        let ((a, b), scale) = match is_pissa {
            true => (svd::truncated(&w, [o, i], r), 1.0),
            false => (svd::leading_columns(&w, [o, i], r), scale),
        };
        let (a, b) = (loader.upload(a, [r, i]), loader.upload(b, [o, r]));
        let mut deltas = Factors::read(loader, target)?.deltas();
        deltas.push(Delta::product(a, b, -scale));
        Ok(deltas)
    })
}
