//! Mistral. Jiang et al. 2023. <https://arxiv.org/abs/2310.06825>
//!
//! - **Window** in every layer: `sliding_window`, 4096 where the field is absent, none where it is
//!   `null`, as from version 0.2 on.
//! - **Biases** none.
//! - **llama.cpp** files it under `llama`, without the window: there it is read as one.
//! - **Checked on** a tiny model with a window of 8; Mistral-7B v0.1 to v0.3 and Nemo have configs
//!   of this kind.
//! - **Refused**: `layer_types` that deny the window to some layer, since transformers computes it in
//!   every layer of a Mistral and others do not. Mixtral, Ministral and Mistral 3 are other
//!   `model_type`s.

use super::config::DecoderConfig;
use super::family::{Card, Family};
use super::fields::{Fields, Json};
use super::names::Names;
use super::{llama, rope, sizes, windows};
use crate::error::Result;

pub(super) static FAMILY: Family = Family {
    names: Names {
        family: "mistral",
        gguf: "llama",
        linears: llama::LINEARS,
        norms: &[llama::INPUT_NORM, llama::MLP_NORM],
        stacks: &[],
        permuted: true,
        body: None,
    },
    model_types: &["mistral"],
    architectures: &["MistralForCausalLM", "MistralModel"],
    json: Card {
        reads: &["sliding_window", windows::JSON],
        only: &[llama::SILU, llama::WHOLE_HEADS],
        config: from_json,
    },
    gguf: llama::GGUF,
};

fn from_json(fields: &Json<'_>, names: &'static Names) -> Result<DecoderConfig> {
    fields.stated("num_key_value_heads", sizes::NO_DEFAULT)?;
    let config = sizes::from_json(fields, names)?;
    let mut config = DecoderConfig {
        ropes: vec![rope::from_json(fields, &config)?],
        ..config
    };
    let window = fields.size_or("sliding_window", 4096)?;
    windows::give(fields, &mut config, window, |_| true)?;
    if config.layers.iter().any(|layer| layer.window != window) {
        let supported = "sliding_attention in every layer, as transformers computes a Mistral";
        return Err(fields.refuse(windows::JSON, "full_attention", supported));
    }
    Ok(config)
}
