//! A checkpoint as PEFT 0.21.2 writes it. What reading took off the names, or gave other names, is
//! called again what the base that it was trained on calls it.

use serde_json::{Map as JsonMap, Value};

use super::config::Config;
use super::files::PREFIX;
use super::gguf_lora::transposed;
use super::keys::{EMBEDDING_A, EMBEDDING_B, Tensors};
use crate::arch::DecoderConfig;

/// The version of PEFT whose names these are.
const VERSION: &str = "0.21.2";

/// Parameters that were once called otherwise, or are by other tools, and what PEFT calls them now.
const PARAMETERS: &[(&str, &str)] = &[
    (".bone_block", ".miss_block"),
    (".lora_magnitude_vector.weight", ".lora_magnitude_vector"),
];

/// What a folder holds.
#[derive(Debug)]
pub(crate) struct Written {
    /// `adapter_config.json`
    pub fields: JsonMap<String, Value>,
    /// `adapter_model.safetensors`
    pub tensors: Tensors,
}

impl Written {
    /// From config and tensors as they were read for a model, and the method's `peft_type`.
    pub(crate) fn new(
        config: &Config,
        peft_type: &str,
        mut tensors: Tensors,
        model: &DecoderConfig,
    ) -> Self {
        if config.is_mlx && model.tie_word_embeddings {
            tensors.extend(head_alike(&tensors));
        }
        let is_renamed = model.family.body.is_some() && config.names.is_none();
        let own = |path: &str| {
            if is_renamed {
                model.family.own(path)
            } else {
                config.own_path(path)
            }
        };
        let mut fields = config.fields.clone();
        let mut set = |field: &str, value: Value| fields.insert(field.into(), value);
        set("peft_type", peft_type.into());
        set("peft_version", VERSION.into());
        if config.get("task_type").is_none() {
            set("task_type", "CAUSAL_LM".into());
        }
        // llama.cpp's and mlx-lm's files name no modules but by their tensors.
        if config.get("target_modules").is_none() && peft_type == "LORA" {
            let modules = tensors.keys().filter_map(|key| module(key)).map(own);
            set("target_modules", modules.collect());
            let is_turned = model.family.body.is_some_and(|body| body.transposed);
            set("fan_in_fan_out", is_turned.into());
            // Patterns of llama.cpp's files are paths.
            if is_renamed {
                for field in ["rank_pattern", "alpha_pattern"] {
                    if let Some(Value::Object(pattern)) = config.get(field) {
                        let entry = |(path, value): (&String, &Value)| (own(path), value.clone());
                        set(field, pattern.iter().map(entry).collect());
                    }
                }
            }
        }
        let named = |(key, tensor): (String, _)| {
            let key = parameter(&key);
            let path = key.strip_prefix(PREFIX).map(own);
            (path.map_or(key, |path| format!("{PREFIX}{path}")), tensor)
        };
        Self {
            fields,
            tensors: tensors.into_iter().map(named).collect(),
        }
    }
}

/// The path of the module that a factor of a LoRA belongs to.
fn module(key: &str) -> Option<&str> {
    let path = key.strip_prefix(PREFIX)?;
    let module = [".lora_A.weight", EMBEDDING_A]
        .iter()
        .find_map(|name| path.strip_suffix(name));
    module.map(|module| module.trim_end_matches('.'))
}

/// The LoRA of a tied head that follows the embedding's: in mlx-lm it does by itself, in PEFT it does not.
fn head_alike(tensors: &Tensors) -> Tensors {
    let turned = |(name, head): (&str, &str)| {
        let tensor = tensors.get(&format!("{PREFIX}model.embed_tokens.{name}"))?;
        Some((
            format!("{PREFIX}lm_head.{head}"),
            transposed(tensor.clone()),
        ))
    };
    let factors = [
        (EMBEDDING_B, "lora_A.weight"),
        (EMBEDDING_A, "lora_B.weight"),
    ];
    factors.into_iter().filter_map(turned).collect()
}

/// What PEFT calls a tensor now.
fn parameter(key: &str) -> String {
    let known = PARAMETERS.iter().find_map(|(before, now)| {
        let module = key.strip_suffix(before)?;
        Some(format!("{module}{now}"))
    });
    known.unwrap_or_else(|| key.into())
}
