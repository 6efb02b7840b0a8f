//! Qwen3, dense. Yang et al. 2025. <https://arxiv.org/abs/2505.09388>
//!
//! - **Norm of each query and key head** before it is rotated, gain `[hd]`, with the epsilon of the
//!   other norms.
//! - **Heads** have a width of their own, 128 in all published sizes: all heads together are wider
//!   than the residual stream.
//! - **Biases** none, or with `attention_bias` on q, k, v and o.
//! - **Window** as in [Qwen2](super::qwen2); no published config uses it.
//! - **llama.cpp** pairs rows half a head apart, as Hugging Face does: nothing is moved.
//! - **Checked on** tiny models with configs of transformers 4 and 5, tied and untied, and on GGUF;
//!   Qwen3-0.6B to 32B have configs of this kind.
//! - **Adapters** reach `self_attn.q_norm` and `self_attn.k_norm` too.
//! - **Refused** as in Qwen2.

use super::config::{Biases, DecoderConfig, QkNorm};
use super::family::{Card, Family};
use super::fields::{Fields, Json, Keys};
use super::names::Names;
use super::places::Norm;
use super::{llama, qwen2, rope, sizes, windows};
use crate::error::Result;

pub(super) static FAMILY: Family = Family {
    names: Names {
        family: "qwen3",
        gguf: "qwen3",
        linears: llama::LINEARS,
        norms: &[llama::INPUT_NORM, QUERY_NORM, KEY_NORM, llama::MLP_NORM],
        stacks: &[],
        permuted: false,
        body: None,
    },
    model_types: &["qwen3"],
    architectures: &["Qwen3ForCausalLM", "Qwen3Model"],
    json: Card {
        reads: &[
            "attention_bias",
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

/// The norm of queries.
pub(super) const QUERY_NORM: (Norm, &str, &str) = (Norm::Query, "self_attn.q_norm", "attn_q_norm");

/// The norm of keys.
pub(super) const KEY_NORM: (Norm, &str, &str) = (Norm::Key, "self_attn.k_norm", "attn_k_norm");

fn from_json(fields: &Json<'_>, names: &'static Names) -> Result<DecoderConfig> {
    fields.stated("num_key_value_heads", sizes::NO_DEFAULT)?;
    fields.stated("head_dim", sizes::NO_DEFAULT)?;
    let config = sizes::from_json(fields, names)?;
    let attention_bias = fields.flag("attention_bias")?.unwrap_or(false);
    let mut config = DecoderConfig {
        ropes: vec![rope::from_json(fields, &config)?],
        qk_norm: Some(QkNorm::Head),
        biases: Biases {
            qkv: attention_bias,
            o: attention_bias,
            mlp: false,
        },
        ..config
    };
    qwen2::windows_from_json(fields, &mut config)?;
    Ok(config)
}

fn from_gguf(keys: &Keys<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = sizes::from_gguf(keys, names)?;
    Ok(DecoderConfig {
        ropes: vec![rope::from_gguf(keys, &config)?],
        qk_norm: Some(QkNorm::Head),
        ..config
    })
}
