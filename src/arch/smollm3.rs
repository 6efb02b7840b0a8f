//! SmolLM3. Bakouch et al. 2025. <https://huggingface.co/blog/smollm3>
//!
//! - **No rope in every fourth layer** (NoPE): in those where `no_rope_layers` has a 0, or without
//!   that list in every `no_rope_layer_interval`-th. GGUF does not say it, llama.cpp has the 4 in its
//!   code.
//! - **Window**: only with `use_sliding_window`, and then in the layers without rope, or in those of
//!   which `layer_types` says so. No published config uses it, llama.cpp computes none.
//! - **Defaults**: theta 2 000 000, the head tied to the embedding.
//! - **llama.cpp** moves rows of queries and keys as in Llama, also in layers without rope.
//! - **Checked on** a tiny model with a config of transformers 4, and on GGUF; SmolLM3-3B has a
//!   config of this kind.

use serde_json::Value;

use super::config::DecoderConfig;
use super::family::{Card, Family};
use super::fields::{Fields, Json, Keys};
use super::names::Names;
use super::{llama, rope, sizes, windows};
use crate::error::Result;

pub(super) static FAMILY: Family = Family {
    names: Names {
        family: "smollm3",
        gguf: "smollm3",
        linears: llama::LINEARS,
        norms: &[llama::INPUT_NORM, llama::MLP_NORM],
        stacks: &[],
        permuted: true,
        body: None,
    },
    model_types: &["smollm3"],
    architectures: &["SmolLM3ForCausalLM", "SmolLM3Model"],
    json: Card {
        reads: &[
            "attention_bias",
            "mlp_bias",
            LAYERS,
            "no_rope_layer_interval",
            "use_sliding_window",
            "sliding_window",
            windows::JSON,
        ],
        only: &[llama::SILU, llama::WHOLE_HEADS],
        config: from_json,
    },
    gguf: Card {
        reads: &[],
        only: &[llama::CAUSAL],
        config: from_gguf,
    },
};

const LAYERS: &str = "no_rope_layers";
const INTERVAL: usize = 4;
const THETA: f64 = 2_000_000.0;

fn from_json(fields: &Json<'_>, names: &'static Names) -> Result<DecoderConfig> {
    fields.stated("num_key_value_heads", sizes::NO_DEFAULT)?;
    let config = sizes::from_json(fields, names)?;
    let mut config = DecoderConfig {
        ropes: vec![rope::from_json_or(fields, &config, THETA)?],
        biases: llama::biases(fields)?,
        tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(true),
        ..config
    };
    match fields.list(LAYERS)? {
        Some(listed) => as_listed(fields, listed, &mut config)?,
        None => {
            let interval = fields.optional_size("no_rope_layer_interval")?;
            every(interval.unwrap_or(INTERVAL), &mut config);
        }
    }
    let window = windows::in_use(fields, None)?;
    let unturned: Vec<bool> = config.layers.iter().map(|one| one.rope.is_none()).collect();
    windows::give(fields, &mut config, window, |layer| unturned[layer])?;
    Ok(config)
}

fn from_gguf(keys: &Keys<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = sizes::from_gguf(keys, names)?;
    let mut config = DecoderConfig {
        ropes: vec![rope::from_gguf(keys, &config)?],
        ..config
    };
    every(INTERVAL, &mut config);
    Ok(config)
}

/// No rope in layers interval − 1, 2 interval − 1, …
fn every(interval: usize, config: &mut DecoderConfig) {
    for (layer, of_layer) in config.layers.iter_mut().enumerate() {
        of_layer.rope = (!(layer + 1).is_multiple_of(interval)).then_some(0);
    }
}

/// No rope where the list has a 0; what it has beyond the layers is left over from larger models.
fn as_listed(fields: &Json<'_>, listed: &[Value], config: &mut DecoderConfig) -> Result<()> {
    if listed.len() < config.layers.len() {
        let found = format!("a list of {}", listed.len());
        let supported = format!("one for each of the {} layers", config.num_layers);
        return Err(fields.refuse(LAYERS, found, &supported));
    }
    for (turned, of_layer) in listed.iter().zip(&mut config.layers) {
        of_layer.rope = match (turned.as_u64(), turned.as_bool()) {
            (Some(0), _) | (_, Some(false)) => None,
            (Some(1), _) | (_, Some(true)) => Some(0),
            _ => return Err(fields.refuse(LAYERS, turned, "0 and 1")),
        };
    }
    Ok(())
}
