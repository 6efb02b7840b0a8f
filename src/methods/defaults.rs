//! PEFT 0.21.2's defaults of the fields that change the forward pass. Switches that are off and
//! patterns that are empty need no entry.

use serde_json::{Map, Value};

use crate::checkpoint::Config;

/// `peft_type` and its defaults.
const DEFAULTS: &[(&str, &str)] = &[
    ("LORA", r#"{"r": 8, "lora_alpha": 8}"#),
    ("ADALORA", r#"{"init_r": 12, "lora_alpha": 8}"#),
    ("C3A", r#"{"block_size": 256}"#),
    ("DEFT", r#"{"r": 8, "decomposition_method": "relu"}"#),
    ("DELORA", r#"{"r": 8}"#),
    (
        "FOURIERFT",
        r#"{"n_frequency": 1000, "scaling": 150.0, "random_loc_seed": 777}"#,
    ),
    ("FROD", r#"{"save_projection": true}"#),
    (
        "GLORA",
        r#"{"r": 8, "config_A_B": "lora", "config_C": "lora", "config_D_E": "constant"}"#,
    ),
    ("GRALORA", r#"{"r": 32, "alpha": 64, "gralora_k": 2}"#),
    ("HRA", r#"{"r": 8}"#),
    ("LOHA", r#"{"r": 8, "alpha": 8}"#),
    ("LOKR", r#"{"r": 8, "alpha": 8, "decompose_factor": -1}"#),
    ("MISS", r#"{"r": 64, "mini_r": 1}"#),
    (
        "MULTITASK_PROMPT_TUNING",
        r#"{"num_tasks": 1, "num_ranks": 1}"#,
    ),
    (
        "OFT",
        r#"{"eps": 6e-5, "use_cayley_neumann": true, "num_cayley_neumann_terms": 5}"#,
    ),
    ("PEANUT", r#"{"r": 32, "act_fn": "relu", "scaling": 1.0}"#),
    (
        "POLY",
        r#"{"r": 8, "n_tasks": 1, "n_skills": 4, "n_splits": 1, "poly_type": "poly"}"#,
    ),
    (
        "PVERA",
        r#"{"r": 256, "save_projection": true, "projection_prng_key": 0}"#,
    ),
    (
        "RANDLORA",
        r#"{"r": 32, "randlora_alpha": 640, "save_projection": true, "projection_prng_key": 0}"#,
    ),
    ("ROAD", r#"{"variant": "road_1", "group_size": 64}"#),
    ("SHIRA", r#"{"r": 32}"#),
    ("SUPERTUNING", r#"{"save_precomputed_indices": true}"#),
    (
        "TINYLORA",
        r#"{"r": 2, "u": 64, "save_projection": true, "projection_seed": 42}"#,
    ),
    (
        "UNILORA",
        r#"{"r": 4, "theta_d_length": 256, "proj_seed": 42}"#,
    ),
    (
        "VBLORA",
        r#"{"r": 4, "topk": 2, "num_vectors": 256, "vector_length": 256}"#,
    ),
    (
        "VERA",
        r#"{"r": 256, "save_projection": true, "projection_prng_key": 0}"#,
    ),
    (
        "WAVEFT",
        r#"{"scaling": 25.0, "random_loc_seed": 777, "use_idwt": true, "wavelet_family": "db1"}"#,
    ),
    (
        "XLORA",
        r#"{"enable_softmax": true, "softmax_temperature": 1.0, "global_scaling_weight": 1.0,
            "scaling_pass_value": 0.0, "xlora_depth": 1, "xlora_size": 2048, "xlora_dropout_p": 0.2}"#,
    ),
];

/// Methods that PEFT once called by another `peft_type`, and what it calls them now.
const RENAMED: &[(&str, &str)] = &[("BONE", "MISS")];

/// What PEFT calls a `peft_type` now.
pub(super) fn renamed(peft_type: &str) -> &str {
    let known = RENAMED.iter().find(|(before, _)| *before == peft_type);
    known.map_or(peft_type, |(_, now)| now)
}

/// Adds the defaults of its method to a config.
pub(super) fn fill(config: &mut Config) {
    let peft_type = config.text("peft_type").unwrap_or_default();
    let known = DEFAULTS
        .iter()
        .find(|(name, _)| *name == renamed(&peft_type));
    let Some((_, defaults)) = known else { return };
    let defaults: Map<String, Value> = serde_json::from_str(defaults).unwrap_or_default();
    for (field, value) in defaults {
        config.fill(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_peft() {
        let file = std::fs::read("tests/golden/configs_0_21_2.json").expect("the configs");
        let configs: Value = serde_json::from_slice(&file).expect("JSON");
        for (name, defaults) in DEFAULTS {
            let defaults: Map<String, Value> = serde_json::from_str(defaults).expect(name);
            for (field, value) in &defaults {
                assert_eq!(configs[name].get(field), Some(value), "{name}: {field}");
            }
        }
        // Every field that a method reads has a default, except those that PEFT requires.
        for method in crate::methods::METHODS {
            let Some(config) = configs.get(method.peft_type) else {
                continue;
            };
            let filled = DEFAULTS.iter().find(|(name, _)| *name == method.peft_type);
            let filled = filled.map_or("", |(_, defaults)| defaults);
            for field in method.reads {
                let value = config.get(field).unwrap_or(&Value::Null);
                let must = [
                    "num_virtual_tokens",
                    "adapter_len",
                    "token_indices",
                    "adapters",
                    "hidden_size",
                ];
                let answered = [
                    "oft_block_size",
                    "boft_block_size",
                    "boft_n_butterfly_factor",
                    "init_weights",
                    "init_lora_weights",
                    "delora_lambda",
                    "r",
                ];
                let off = crate::checkpoint::is_off(value) || must.contains(field);
                assert!(
                    off || filled.contains(&format!("\"{field}\"")) || answered.contains(field),
                    "{}: {field} = {value}",
                    method.peft_type
                );
            }
        }
    }
}
