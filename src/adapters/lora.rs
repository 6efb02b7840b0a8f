//! LoRA: low-rank adaptation. Hu et al. 2021; rsLoRA's scaling: Kalajdzievski 2023.
//! <https://arxiv.org/abs/2106.09685>
//!
//! # Formula
//! ```text
//! y = W x + c·s·(B A x + b_B),   s = α/r, with rsLoRA α/√r
//! ```
//! # Shapes
//! ```text
//! <module>.lora_A.weight   A [r, i]
//! <module>.lora_B.weight   B [o, r]
//! <module>.lora_B.bias     b_B [o], only with lora_bias
//! ```
//! # Coefficient
//! Linear: c multiplies the whole added term. r and α may differ per module (rank_pattern,
//! alpha_pattern).
//! # Intuition
//! Reads the input along a few directions and adds a few other directions to the output in
//! proportion. Small files can still turn the whole layer, as long as the turn needs few directions.

use burn::tensor::Tensor;

use super::{Config, Delta, Effect, Family, Law, Loaded, Loader, Method, Placed, Target, room_doc};
use crate::error::Result;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "lora",
    peft_type: "LORA",
    matches: |config| !config.flag("use_dora"),
    family: Family::LowRank,
    law: Law::Linear,
    keys: KEYS,
    reads: READS,
    inert: INERT,
    doc: room_doc!("lora.rs"),
    load,
};

pub(super) const KEYS: &[&str] = &["lora_A.weight", "lora_B.weight", "lora_B.bias"];
pub(super) const READS: &[&str] = &[
    "r",
    "lora_alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "lora_bias",
    "init_lora_weights",
];
pub(super) const INERT: &[&str] = &[
    "lora_dropout",
    "megatron_core",
    "qalora_group_size",
    "eva_config",
    "runtime_config",
    "ensure_weight_tying",
];

/// Ways of initialising that also change the base weights, so that the file alone says nothing.
const CHANGES_BASE: &[&str] = &["pissa", "olora", "corda", "loftq", "lora_ga"];

/// The low-rank factors of one module.
pub(super) struct Factors {
    pub a: Tensor<2>,
    pub b: Tensor<2>,
    pub bias: Option<Tensor<1>>,
    pub scale: f32,
}

impl Factors {
    /// Reads A, B, the bias and the module's own α and r.
    pub(super) fn read(loader: &Loader<'_>, target: &Target) -> Result<Self> {
        let config = loader.config;
        let rank = config.patterned("rank_pattern", &target.path, "r")? as usize;
        let alpha = config.patterned("alpha_pattern", &target.path, "lora_alpha")?;
        let divisor = if config.flag("use_rslora") {
            (rank as f32).sqrt()
        } else {
            rank as f32
        };
        let bias = match config.flag("lora_bias") {
            true => Some(loader.tensor(target, "lora_B.bias", [target.o])?),
            false => None,
        };
        Ok(Self {
            a: loader.tensor(target, "lora_A.weight", [rank, target.i])?,
            b: loader.tensor(target, "lora_B.weight", [target.o, rank])?,
            bias,
            scale: alpha / divisor,
        })
    }
}

/// Refuses files whose numbers are relative to other base weights than the model's.
pub(super) fn check_init(config: &Config, method: &Method) -> Result<()> {
    let init = config
        .get("init_lora_weights")
        .and_then(|value| value.as_str())
        .unwrap_or("");
    match CHANGES_BASE.iter().any(|name| init.starts_with(name)) {
        true => Err(config.unsupported(
            method,
            "init_lora_weights",
            "its numbers are relative to a changed base; save it again with \
             path_initial_model_for_weight_conversion",
        )),
        false => Ok(()),
    }
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    check_init(loader.config, &METHOD)?;
    let place = |target: Target| {
        let Factors { a, b, bias, scale } = Factors::read(loader, &target)?;
        Ok(Placed::new(target.site, move |c| {
            let scale = c * scale;
            let product = Delta::LowRank {
                a: a.clone(),
                b: b.clone(),
                mid: None,
                out: None,
                scale,
            };
            let bias = bias.clone().map(|bias| Delta::Bias { bias, scale });
            [Some(product), bias]
                .into_iter()
                .flatten()
                .map(Effect::Weight)
                .collect()
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
