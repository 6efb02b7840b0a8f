//! llama.cpp's LoRA files, read under PEFT's names: `general.type = adapter`, `adapter.type = lora`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::files::PREFIX;
use super::keys::Tensors;
use crate::arch::{DecoderConfig, Names, all_names, known_to_gguf, rows};
use crate::error::{Error, Result};
use crate::weights::gguf::Metadata;
use crate::weights::{HostData, HostTensor};

/// The two factors of a module.
const PAIR: [&str; 2] = ["lora_a", "lora_b"];

/// Config and tensors as PEFT would have written them, and for each new name the file's own. Without
/// a model, as when a file is only looked at, the rows of queries and keys stay in llama.cpp's order.
pub(crate) fn read(
    metadata: &Metadata,
    tensors: Tensors,
    model: Option<&DecoderConfig>,
) -> Result<(Value, Tensors, BTreeMap<String, String>)> {
    let text = |field| Ok(metadata.string(field)?.unwrap_or("nothing"));
    let unknown = |field, found, known| Error::UnknownMethod {
        file: metadata.file.clone(),
        found: format!("{field} = {found}"),
        known,
    };
    let kind = text("adapter.type")?;
    if kind != "lora" {
        return Err(unknown("adapter.type", kind, "lora".into()));
    }
    let architecture = text("general.architecture")?;
    let family = all_names()
        .find(|names| names.gguf == architecture)
        .ok_or_else(|| unknown("general.architecture", architecture, known_to_gguf()))?;
    // As llama.cpp: the names of tensors and the order of their rows are the architecture's own.
    let own = model.map_or(family, |model| model.family);
    if own.gguf != architecture {
        return Err(Error::BadConfig {
            file: metadata.file.clone(),
            field: "general.architecture".into(),
            expected: format!(
                "{}, that of the model: an adapter that was made for it",
                own.gguf
            ),
            found: architecture.into(),
        });
    }
    let family = own;
    if metadata
        .entries
        .contains_key("adapter.alora.invocation_tokens")
    {
        return Err(Error::UnsupportedOption {
            file: metadata.file.clone(),
            method: "LoRA".into(),
            field: "adapter.alora.invocation_tokens".into(),
            found: "set".into(),
            why: "it would have to start at these tokens only",
        });
    }
    // α = 0 is llama.cpp's way of saying s = 1.
    let alpha = metadata.float("adapter.lora.alpha")?.unwrap_or(0.0);
    check_pairs(&metadata.file, &tensors)?;
    if !(alpha as f32).is_finite() {
        return Err(Error::NotFinite {
            file: metadata.file.clone(),
            key: "adapter.lora.alpha".into(),
            found: alpha.to_string(),
            element: 0,
        });
    }
    let (mut ranks, mut alphas, mut renamed) = (Map::new(), Map::new(), Tensors::new());
    let mut names = BTreeMap::new();
    for (name, tensor) in tensors {
        let Some((path, parameter)) = peft_name(family, &name) else {
            // The names of norms need no parameter; what is none of the model's is refused later.
            let bare = family
                .bare_name(&name)
                .map(|bare| format!("{PREFIX}model.{bare}"));
            let bare = bare.unwrap_or_else(|| name.clone());
            names.insert(bare.clone(), name);
            renamed.insert(bare, tensor);
            continue;
        };
        let tensor = match parameter {
            "lora_embedding_A" => transposed(tensor),
            "lora_B.weight" => match family.moved(&format!("{path}.weight")) {
                Some(moved) => with_rows(tensor, moved, model.map(|model| model.head_dim)),
                None => tensor,
            },
            _ => tensor,
        };
        if parameter.contains("_A") {
            let rank = tensor.shape.first().copied().unwrap_or(0);
            ranks.insert(path.clone(), rank.into());
            if alpha == 0.0 {
                alphas.insert(path.clone(), rank.into());
            }
        }
        let key = format!("{PREFIX}{path}.{parameter}");
        names.insert(key.clone(), name);
        renamed.insert(key, tensor);
    }
    let config = json!({
        "peft_type": "LORA", "r": 1, "lora_alpha": alpha,
        "rank_pattern": ranks, "alpha_pattern": alphas,
    });
    Ok((config, renamed, names))
}

/// Refuses one factor without the other, by the file's own names.
pub(crate) fn check_pairs(file: &str, tensors: &Tensors) -> Result<()> {
    for name in tensors.keys() {
        let Some((module, part)) = name.rsplit_once('.') else {
            continue;
        };
        let Some(at) = PAIR.iter().position(|known| *known == part) else {
            continue;
        };
        let key = format!("{module}.{}", PAIR[1 - at]);
        if !tensors.contains_key(&key) {
            return Err(Error::MissingKey {
                file: file.into(),
                key,
                what: format!("`{name}` is there, which is half of a pair; convert it again"),
            });
        }
    }
    Ok(())
}

/// `blk.0.attn_q.weight.lora_a` -> (`model.layers.0.self_attn.q_proj`, `lora_A.weight`)
fn peft_name(family: &Names, name: &str) -> Option<(String, &'static str)> {
    let (weight, part) = name.rsplit_once('.')?;
    let bare = family.bare_name(weight)?;
    let module = bare.strip_suffix(".weight")?;
    let parameter = match (module, part) {
        ("embed_tokens", "lora_a") => "lora_embedding_A",
        ("embed_tokens", "lora_b") => "lora_embedding_B",
        (_, "lora_a") => "lora_A.weight",
        (_, "lora_b") => "lora_B.weight",
        _ => return None,
    };
    let path = match module {
        "lm_head" => module.into(),
        module => format!("model.{module}"),
    };
    Some((path, parameter))
}

/// B with the rows in Hugging Face's order.
fn with_rows(mut tensor: HostTensor, moved: rows::Moved, head_dim: Option<usize>) -> HostTensor {
    let width = tensor.shape.get(1).copied().unwrap_or(0);
    if let (HostData::Float(values), Some(head_dim)) = (&mut tensor.data, head_dim) {
        rows::put_back(values, moved, head_dim, width);
    }
    tensor
}

/// The other way round, if it is a matrix.
pub(crate) fn transposed(tensor: HostTensor) -> HostTensor {
    match (&tensor.data, &tensor.shape[..]) {
        (HostData::Float(values), &[rows, columns]) => {
            let column = |at| (0..rows).map(move |row| row * columns + at);
            let values = (0..columns).flat_map(column).map(|at| values[at]).collect();
            HostTensor {
                shape: vec![columns, rows],
                data: HostData::Float(values),
            }
        }
        _ => tensor,
    }
}
