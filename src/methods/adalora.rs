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
//! # Hypothesis
//! A behaviour is a few directions, but not the same few in every layer: some layers need many of
//! them, others none at all.
//! # Intuition
//! LoRA in the form of a singular value decomposition. During training, directions that matter
//! little are pruned from some layers, so that the budget goes where it helps.
//! # Limits
//! It cannot change more directions than its budget left a layer, and some layers have none left.

use serde_json::Value;

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
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
    trains: Trains::From { start, rate: 1e-2 },
    extras: None,
    folds: Folds::Into(&[("lora_E", Fold::Times)]),
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

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("init_r", r);
    start.set("target_r", r);
    start.set("lora_alpha", 2 * r);
    // PEFT builds no AdaLoRA without; only its schedule of ranks reads it.
    start.set("total_step", 1);
    for target in start.targets(USUAL)? {
        start.learn(&target, "lora_A", [r, target.i], Init::Normal(0.02));
        start.learn(&target, "lora_B", [target.o, r], Init::Normal(0.02));
        start.learn(&target, "lora_E", [r, 1], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let init_r = loader.config.count("init_r")?;
    let alpha = loader.config.number("lora_alpha")?;
    loader.take_apart(&["lora_B"])?;
    Loaded::linear(loader, &["lora_A"], |target| {
        let r = kept(loader, target)?.unwrap_or(init_r);
        let [a, b, e] = ["lora_A", "lora_B", "lora_E"].map(|name| loader.key(target, name));
        let a_values = loader.host(&a, [r, target.i])?;
        let b_values = loader.host(&b, [target.o, r])?;
        let e_values = loader.host(&e, [r, 1])?;
        if r == 0 {
            return Ok(Vec::new()); // all directions of this layer were pruned
        }
        // PEFT takes the rank in place of α where α is not positive.
        let alpha = if alpha > 0.0 { alpha } else { r as f32 };
        Ok(vec![Delta::LowRank {
            a: loader.on_device(&a, a_values, [r, target.i]),
            b: loader.on_device(&b, b_values, [target.o, r]),
            mid: Some(loader.on_device(&e, e_values, [r])),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// s = 4/(2 + 1e-5), and the first direction adds s·3; the second was pruned, by E or from the file.
    #[test]
    fn pruned_directions_add_nothing_and_leave_the_scale() {
        let whole = Pencil::layer(
            &METHOD,
            json!({ "init_r": 2, "lora_alpha": 4 }),
            IDENTITY,
            &[
                ("lora_A", IDENTITY.into()),
                ("lora_B", IDENTITY.into()),
                ("lora_E", [[3.0], [0.0]].into()),
            ],
        );
        let kept = json!({ "model.layers.0.mlp.up_proj.lora_E": [true, false] });
        let trimmed = Pencil::layer(
            &METHOD,
            json!({ "init_r": 2, "lora_alpha": 4, "rank_pattern": kept }),
            IDENTITY,
            &[
                ("lora_A", [[1.0, 0.0]].into()),
                ("lora_B", [[1.0], [0.0]].into()),
                ("lora_E", [[3.0]].into()),
            ],
        );
        for adapter in [whole, trimmed] {
            near(adapter.y(1.0, [1.0, 1.0]), [7.0, 1.0]);
            near(adapter.y(-1.0, [1.0, 1.0]), [-5.0, 1.0]);
        }
    }
}
