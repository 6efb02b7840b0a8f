//! OLMo 2. Team OLMo 2025, <https://arxiv.org/abs/2501.00656>.
//!
//! What differs from Llama:
//!
//! - **Norms** stand after attention and the MLP, on what these add; there are none in front.
//! - **Queries and keys** are normed too, all heads together, before they are rotated.
//! - **llama.cpp** leaves the rows of queries and keys in place.
//!
//! - **Checked on** a tiny model, against transformers 5.23; OLMo 2 1B to 32B have configs of this kind.
//! - **Refused**: windows, which OLMo 3 has under the same name in GGUF.

use super::config::{Biases, DecoderConfig, QkNorm};
use super::family::{Card, Family, Only};
use super::fields::{Fields, Json, Keys};
use super::gemma2::{AFTER_ATTENTION_NORM, AFTER_MLP_NORM};
use super::llama::{CAUSAL, LINEARS, SILU, WHOLE_HEADS};
use super::names::Names;
use super::places::NormPlaces;
use super::qwen3::{KEY_NORM, QUERY_NORM};
use super::{rope, sizes};
use crate::error::Result;

pub(super) static FAMILY: Family = Family {
    names: Names {
        family: "olmo2",
        gguf: "olmo2",
        linears: LINEARS,
        norms: &[AFTER_ATTENTION_NORM, AFTER_MLP_NORM, QUERY_NORM, KEY_NORM],
        stacks: &[],
        permuted: false,
        body: None,
    },
    model_types: &["olmo2"],
    architectures: &["Olmo2ForCausalLM", "Olmo2Model"],
    json: Card {
        reads: &["attention_bias"],
        only: &[SILU, WHOLE_HEADS],
        config: from_json,
    },
    gguf: Card {
        reads: &[],
        only: &[
            CAUSAL,
            Only::number("attention.sliding_window", 0.0, "OLMo 2, without windows"),
        ],
        config: from_gguf,
    },
};

fn from_json(fields: &Json<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = sizes::from_json(fields, names)?;
    let attention_bias = fields.flag("attention_bias")?.unwrap_or(false);
    Ok(DecoderConfig {
        ropes: vec![rope::from_json(fields, &config)?],
        biases: Biases {
            qkv: attention_bias,
            o: attention_bias,
            mlp: false,
        },
        ..after(config)
    })
}

fn from_gguf(keys: &Keys<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = sizes::from_gguf(keys, names)?;
    Ok(DecoderConfig {
        ropes: vec![rope::from_gguf(keys, &config)?],
        ..after(config)
    })
}

fn after(config: DecoderConfig) -> DecoderConfig {
    DecoderConfig {
        norms: NormPlaces::After,
        qk_norm: Some(QkNorm::Whole),
        ..config
    }
}
