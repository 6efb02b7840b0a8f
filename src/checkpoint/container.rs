//! The containers that adapters come in, read under PEFT's names: PEFT's own folder, mlx-lm's, and
//! llama.cpp's GGUF files.

use std::collections::BTreeMap;

use serde_json::json;

use super::config::{CONFIG_FILE, Config, WEIGHTS_FILE};
use super::files::{AdapterFiles, BASES_FILE};
use super::{gguf_lora, keys, mlx_lora};
use crate::arch::DecoderConfig;
use crate::error::{Error, Result};
use crate::weights::gguf::Metadata;
use crate::weights::{self, HostTensor, gguf, safetensors};

/// Reads config and tensors from any of the containers, under PEFT's names. `model` is what the model
/// that they are for is, if there is one.
pub(crate) fn read(
    files: &AdapterFiles,
    model: Option<&DecoderConfig>,
) -> Result<(Config, BTreeMap<String, HostTensor>)> {
    if files.weights.starts_with(b"GGUF") {
        let file = format!("{}.gguf", files.name);
        if files.bases.is_some() {
            return Err(Error::BadOption {
                name: "bases",
                expected: "left out: a .gguf holds all its tensors itself",
                found: format!("{BASES_FILE} beside {file}"),
            });
        }
        // A whole model is refused before its tensors are read.
        let header = gguf::read_header(&file, &files.weights)?;
        let is_lora = header.metadata.string("general.type")? == Some("adapter");
        if !is_lora {
            check_gguf(&header.metadata)?;
        }
        let (metadata, tensors) = gguf::read_all(&file, &files.weights)?;
        let (json, tensors, own) = if is_lora {
            let (json, tensors, own) = gguf_lora::read(&metadata, tensors, model)?;
            (json.to_string().into_bytes(), tensors, own)
        } else {
            let hint = metadata.string("controlvector.model_hint")?;
            let json = json!({ "peft_type": "CONTROL_VECTOR", "model_hint": hint });
            (json.to_string().into_bytes(), tensors, BTreeMap::new())
        };
        let json = files.config.as_ref().unwrap_or(&json);
        let config = Config::parse(&files.name, json)?;
        let weights = file.clone();
        return Ok((
            Config {
                file,
                weights,
                own,
                ..config
            },
            tensors,
        ));
    }
    let config = files.config.as_ref();
    let config = config.map(|json| Config::parse(&files.name, json));
    let mut config = config.transpose()?;
    let is_mlx = config.as_ref().is_some_and(mlx_lora::is);
    let file = if is_mlx {
        format!("{}/{}", files.name, mlx_lora::WEIGHTS_FILE)
    } else {
        format!("{}/{WEIGHTS_FILE}", files.name)
    };
    weights::check_is_weights(&file, &files.weights)?;
    let mut tensors = safetensors::read_all(&file, &files.weights)?;
    if let Some(bases) = &files.bases {
        let file = format!("{}/{BASES_FILE}", files.name);
        let bases = safetensors::read_all(&file, bases)?;
        let twice: Vec<String> = bases
            .keys()
            .filter(|key| tensors.contains_key(*key))
            .cloned()
            .collect();
        if !twice.is_empty() {
            return Err(Error::UnexpectedKeys { file, keys: twice });
        }
        tensors.extend(bases);
    }
    let mut names = BTreeMap::new();
    if let Some(mlx) = config.as_ref().filter(|_| is_mlx) {
        let (fields, renamed, own) = mlx_lora::read(mlx, &file, tensors)?;
        config = Some(Config::of(&files.name, fields));
        (tensors, names) = (renamed, own);
    }
    keys::check(&file, &tensors)?;
    let keys::Named {
        tensors,
        mut own,
        inside,
        names: of_family,
    } = keys::named(&file, tensors)?;
    for name in own.values_mut() {
        if let Some(first) = names.remove(name) {
            *name = first;
        }
    }
    own.extend(names);
    let config = match config {
        Some(config) => config,
        None if tensors.keys().all(|key| key.starts_with("direction.")) => {
            Config::parse(&files.name, br#"{"peft_type":"CONTROL_VECTOR"}"#)?
        }
        None => {
            return Err(Error::MissingKey {
                file: files.name.clone(),
                key: CONFIG_FILE.into(),
                what: "it names the method; give it together with the weights".into(),
            });
        }
    };
    let config = Config {
        weights: file,
        inside: if is_mlx { config.inside } else { inside },
        names: of_family,
        own,
        is_mlx,
        ..config
    };
    Ok((config, tensors))
}

/// Numbers of tensors of these shapes.
pub(crate) fn count<'a>(shapes: impl IntoIterator<Item = &'a Vec<usize>>) -> usize {
    let each = shapes.into_iter();
    each.map(|shape| shape.iter().product::<usize>()).sum()
}

/// A GGUF file may hold many things; of those, LoRAs and control vectors are adapters here.
fn check_gguf(metadata: &Metadata) -> Result<()> {
    match metadata.string("general.architecture")? {
        Some("controlvector") => Ok(()),
        Some(model)
            if metadata.string("general.type")? != Some("adapter")
                && metadata
                    .entries
                    .contains_key(&format!("{model}.block_count")) =>
        {
            Err(Error::MissingKey {
                file: metadata.file.clone(),
                key: "general.type = adapter".into(),
                what: format!("this is a whole {model} model; load this file as the model"),
            })
        }
        found => Err(Error::UnknownMethod {
            file: metadata.file.clone(),
            found: found.unwrap_or("no general.architecture").into(),
            known: "general.architecture = controlvector, general.type = adapter".into(),
        }),
    }
}
