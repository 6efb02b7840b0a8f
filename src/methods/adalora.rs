//! AdaLoRA: low-rank adaptation with a budget that moves between layers. Zhang et al. 2023.
//! <https://arxiv.org/abs/2303.10512>
//!
//! # Formula
//! ```text
//! y = W x + c·s·B (E∘(A x)),   s = α/(init_r + 1e-5)
//! ```
//! # Shapes
//! ```text
//! <module>.lora_A   A [r, i], r the directions that are left of init_r, perhaps none
//! <module>.lora_B   B [o, r]
//! <module>.lora_E   E [r, 1]
//! ```
//! # Coefficient
//! Linear: c multiplies the whole added term. rank_pattern says which of the init_r directions
//! each module kept; s stays that of init_r.
//! # Intuition
//! LoRA in the form of a singular value decomposition. During training, directions that matter
//! little are pruned from some layers, so that the budget goes where it helps.

use serde_json::Value;

use crate::checkpoint::{Family, Loaded, Loader, Method, Target, room_doc};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "adalora",
    peft_type: "ADALORA",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &["lora_A", "lora_B", "lora_E"],
    reads: &["init_r", "lora_alpha", "rank_pattern"],
    inert: INERT,
    doc: room_doc!("adalora.rs"),
    load,
};

/// What the training schedule used, and fields of LoRA that PEFT's AdaLoRA passes over.
const INERT: &[&str] = &[
    "target_r",
    "tinit",
    "tfinal",
    "deltaT",
    "beta1",
    "beta2",
    "orth_reg_weight",
    "total_step",
    "r",
    "alpha_pattern",
    "use_rslora",
    "lora_bias",
    "init_lora_weights",
    "lora_dropout",
    "megatron_core",
    "qalora_group_size",
    "ensure_weight_tying",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "runtime_config",
    "velora_config",
    "monteclora_config",
];

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let init_r = loader.config.count("init_r")?;
    let alpha = loader.config.number("lora_alpha")?;
    loader.take_apart(&["lora_B"])?;
    Loaded::linear(loader, &["lora_A"], |target| {
        let r = kept(loader, target)?.unwrap_or(init_r);
        let a = loader.host(&loader.key(target, "lora_A"), [r, target.i])?;
        let b = loader.host(&loader.key(target, "lora_B"), [target.o, r])?;
        let e = loader.host(&loader.key(target, "lora_E"), [r, 1])?;
        if r == 0 {
            return Ok(Vec::new()); // all directions of this layer were pruned
        }
        // PEFT takes the rank in place of α where α is not positive.
        let alpha = if alpha > 0.0 { alpha } else { r as f32 };
        Ok(vec![Delta::LowRank {
            a: loader.upload(a, [r, target.i]),
            b: loader.upload(b, [target.o, r]),
            mid: Some(loader.upload(e, [r])),
            out: None,
            scale: alpha / (init_r as f32 + 1e-5),
        }])
    })
}

/// How many directions `rank_pattern` says a module kept, `{"<path>.lora_E": [true, false, …]}`.
fn kept(loader: &Loader<'_>, target: &Target) -> Result<Option<usize>> {
    let Some(pattern) = loader.config.get("rank_pattern").filter(|p| !p.is_null()) else {
        return Ok(None);
    };
    let mask = pattern
        .as_object()
        .and_then(|masks| masks.get(&format!("{}.lora_E", loader.config.own_path(&target.path))));
    match mask {
        None if pattern.is_object() => Ok(None),
        Some(Value::Array(mask)) if mask.iter().all(Value::is_boolean) => {
            Ok(Some(mask.iter().filter(|kept| **kept == true).count()))
        }
        _ => Err(loader.config.bad(
            "rank_pattern",
            "an object from <module>.lora_E to a list of true and false",
        )),
    }
}
