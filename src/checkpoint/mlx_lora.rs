//! mlx-lm's adapters, read under PEFT's names: `adapters.safetensors`, and an `adapter_config.json`
//! that has `lora_parameters`.
//!
//! ```text
//! y = W x + s·(x A) B          A [i, r], B [r, o]: PEFT's transposed
//! DoRA: the same row lengths m as PEFT's, s·B A added to W
//! ```
//! A tied head follows the embedding's LoRA, which it does not in PEFT. s depends on when a file
//! was written: until June 2024 it was scale·α/r, since then it is scale.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::config::Config;
use super::files::PREFIX;
use super::gguf_lora::{check_pairs, transposed};
use super::keys::{EMBEDDING_A, EMBEDDING_B, Tensors};
use crate::error::{Error, Result};
use crate::weights::HostTensor;

/// The file of the weights.
pub(crate) const WEIGHTS_FILE: &str = "adapters.safetensors";

const PARAMETERS: &str = "lora_parameters";

/// Whether a config is mlx-lm's.
pub(crate) fn is(config: &Config) -> bool {
    config.get(PARAMETERS).is_some() && config.get("peft_type").is_none()
}

/// The file's own name for each of PEFT's.
type Names = BTreeMap<String, String>;

/// Config and tensors as PEFT would have written them.
pub(crate) fn read(
    config: &Config,
    file: &str,
    tensors: Tensors,
) -> Result<(Map<String, Value>, Tensors, Names)> {
    let (scale, rank) = scale_and_rank(config)?;
    let use_dora = match config.get("fine_tune_type").and_then(Value::as_str) {
        None => config.flag("use_dora"),
        Some("dora") => true,
        Some("lora") => false,
        Some("full") => {
            return Err(config.bad(
                "fine_tune_type",
                "lora or dora: this file holds whole weights; fuse it with mlx_lm.fuse and load the \
                 result as a model",
            ));
        }
        Some(_) => return Err(config.bad("fine_tune_type", "lora or dora")),
    };
    check_pairs(file, &tensors)?;
    for own in tensors.keys().filter(|_| use_dora) {
        let Some(module) = own.strip_suffix(".lora_a") else {
            continue;
        };
        let key = format!("{module}.m");
        if !tensors.contains_key(&key) {
            let (file, what) = (file.into(), "the lengths of a DoRA's rows".into());
            return Err(Error::MissingKey { file, key, what });
        }
    }
    let (mut renamed, mut names, mut found) = (Tensors::new(), BTreeMap::new(), None);
    let mut put = |name: String, own: &str, tensor: HostTensor| {
        names.insert(name.clone(), own.to_owned());
        renamed.insert(name, tensor);
    };
    for (own, tensor) in tensors {
        let (module, part) = own.rsplit_once('.').unwrap_or(("", &own));
        let is_embedding = module.ends_with("embed_tokens");
        if let ("lora_a", [_, own_rank]) = (part, &tensor.shape[..])
            && *found.get_or_insert(rank.unwrap_or(*own_rank)) != *own_rank
        {
            let expected = format!("{own_rank}, as `{own}` has it");
            return Err(config.bad_part(PARAMETERS, "rank", &expected));
        }
        let (name, tensor) = match (part, is_embedding) {
            ("m", true) => {
                let why = "DoRA of an embedding: its lengths are those of the tokens' rows, which \
                           PEFT's are not";
                return Err(config.refuse("DoRA", "fine_tune_type", why));
            }
            ("m", false) => ("lora_magnitude_vector", tensor),
            ("lora_a", false) => ("lora_A.weight", transposed(tensor)),
            ("lora_b", false) => ("lora_B.weight", transposed(tensor)),
            ("lora_a", true) => (EMBEDDING_A, transposed(tensor)),
            ("lora_b", true) => (EMBEDDING_B, transposed(tensor)),
            _ => {
                put(own.clone(), &own, tensor);
                continue;
            }
        };
        put(format!("{PREFIX}{module}.{name}"), &own, tensor);
    }
    let rank = found.or(rank).unwrap_or(1);
    let fields = [
        ("peft_type", "LORA".into()),
        ("r", rank.into()),
        ("lora_alpha", (scale * rank as f64).into()),
        ("use_dora", use_dora.into()),
        (
            "base_model_name_or_path",
            config.get("model").cloned().unwrap_or_default(),
        ),
    ];
    let fields = fields.map(|(field, value): (&str, Value)| (field.into(), value));
    Ok((fields.into_iter().collect(), renamed, names))
}

/// s, and the rank if the config has one.
fn scale_and_rank(config: &Config) -> Result<(f64, Option<usize>)> {
    let number = |part: &str| -> Result<Option<f64>> {
        let value = config
            .get(PARAMETERS)
            .and_then(|parameters| parameters.get(part));
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let number = value.as_f64().filter(|number| number.is_finite());
        let number = number.ok_or_else(|| config.bad_part(PARAMETERS, part, "a finite number"))?;
        Ok(Some(number))
    };
    let rank = number("rank")?;
    if rank.is_some_and(|rank| rank < 1.0 || rank.fract() != 0.0) {
        return Err(config.bad_part(PARAMETERS, "rank", "a whole number above 0"));
    }
    let scale = number("scale")?;
    let scale = scale.ok_or_else(|| config.bad_part(PARAMETERS, "scale", "a finite number"))?;
    match (number("alpha")?, rank) {
        (Some(alpha), Some(rank)) if alpha != rank => {
            let before = scale * alpha / rank;
            Err(config.bad_part(
                PARAMETERS,
                "alpha",
                &format!(
                    "no alpha, since mlx-lm's versions differ in it: take it out, and if the \
                     adapter was trained before June 2024 write {before} as the scale in place of \
                     {scale}"
                ),
            ))
        }
        (Some(_), None) => Err(config.bad_part(PARAMETERS, "rank", "a whole number above 0")),
        _ => Ok((scale, rank.map(|rank| rank as usize))),
    }
}
