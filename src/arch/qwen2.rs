//! Qwen2 and Qwen2.5. Yang et al. 2024. <https://arxiv.org/abs/2407.10671>
//!
//! - **Biases** on queries, keys and values, on nothing else.
//! - **Window**: only with `use_sliding_window`, and then in the layers from `max_window_layers` on,
//!   or in those of which `layer_types` says so. llama.cpp computes none.
//! - **llama.cpp** pairs rows half a head apart, as Hugging Face does: nothing is moved.
//! - **Checked on** tiny models with configs of transformers 4 and 5, and on GGUF; Qwen2-0.5B to 72B
//!   and Qwen2.5 have configs of this kind, their long-context variants with yarn.
//! - **Refused**: attention to what comes later (embedding models). Mixtures of experts are another
//!   `model_type`.

use super::config::{Biases, DecoderConfig};
use super::family::{Card, Family};
use super::fields::{Fields, Json, Keys};
use super::names::Names;
use super::{llama, rope, sizes, windows};
use crate::error::Result;

pub(super) static FAMILY: Family = Family {
    names: Names {
        family: "qwen2",
        gguf: "qwen2",
        linears: llama::LINEARS,
        norms: &[llama::INPUT_NORM, llama::MLP_NORM],
        stacks: &[],
        permuted: false,
        body: None,
    },
    model_types: &["qwen2"],
    architectures: &["Qwen2ForCausalLM", "Qwen2Model"],
    json: Card {
        reads: &[
            "use_sliding_window",
            "sliding_window",
            windows::JSON,
            "max_window_layers",
        ],
        only: &[llama::SILU, llama::WHOLE_HEADS],
        config: from_json,
    },
    gguf: Card {
        reads: &[],
        only: &[llama::CAUSAL, llama::NO_EXPERTS],
        config: from_gguf,
    },
};

fn from_json(fields: &Json<'_>, names: &'static Names) -> Result<DecoderConfig> {
    fields.stated("num_key_value_heads", sizes::NO_DEFAULT)?;
    let config = sizes::from_json(fields, names)?;
    let mut config = DecoderConfig {
        ropes: vec![rope::from_json(fields, &config)?],
        biases: Biases {
            qkv: true,
            ..Biases::default()
        },
        ..config
    };
    windows_from_json(fields, &mut config)?;
    Ok(config)
}

/// Windows in the last layers, which Qwen3 has too.
pub(super) fn windows_from_json(fields: &Json<'_>, config: &mut DecoderConfig) -> Result<()> {
    let window = windows::in_use(fields, Some(4096))?;
    let first = fields.unsigned("max_window_layers")?.unwrap_or(28);
    windows::give(fields, config, window, |layer| layer as u64 >= first)
}

fn from_gguf(keys: &Keys<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = sizes::from_gguf(keys, names)?;
    Ok(DecoderConfig {
        ropes: vec![rope::from_gguf(keys, &config)?],
        ..config
    })
}
