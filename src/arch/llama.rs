//! Llama: the plain decoder that others are described against. Touvron et al. 2023.
//!
//! Norms in front of attention and MLP, SwiGLU, grouped queries, whole heads rotated in every layer.
//!
//! - **Checked on** SmolLM2-135M-Instruct (Q4_1) and tiny models of every rope scaling below, against
//!   transformers 5.23; Llama 2, Llama 3.1 and 3.2, TinyLlama and SmolLM2 have configs of this kind.
//! - **Rope** plain, linear, llama3, yarn: see [`super::rope`].
//! - **llama.cpp** pairs neighbouring rows of queries and keys, so they are put back, and files
//!   Mixtral and some relatives under the same name, so experts and scales are refused.
//! - **Refused**: another gate than SiLU, rotation of neighbours or of part of a head (no Llama of
//!   transformers computes them), experts, scaled embeddings, blocks or logits.

use super::config::{Biases, DecoderConfig};
use super::family::{Card, Family, Only};
use super::fields::{Fields, Json, Keys};
use super::names::Names;
use super::places::{Norm, Projection};
use super::{rope, sizes};
use crate::error::Result;

pub(super) static FAMILY: Family = Family {
    names: Names {
        family: "llama",
        gguf: "llama",
        linears: LINEARS,
        norms: &[INPUT_NORM, MLP_NORM],
        stacks: &[],
        permuted: true,
        body: None,
    },
    model_types: &["llama"],
    architectures: &["LlamaForCausalLM", "LlamaModel"],
    json: Card {
        reads: &["attention_bias", "mlp_bias"],
        only: &[
            SILU,
            Only::flag("rope_interleaved", false, "false: pairs half a head apart"),
            WHOLE_HEADS,
        ],
        config: from_json,
    },
    gguf: GGUF,
};

/// What the linear layers are called.
pub(super) const LINEARS: &[(Projection, &str, &str)] = &[
    (Projection::Q, "self_attn.q_proj", "attn_q"),
    (Projection::K, "self_attn.k_proj", "attn_k"),
    (Projection::V, "self_attn.v_proj", "attn_v"),
    (Projection::O, "self_attn.o_proj", "attn_output"),
    (Projection::Gate, "mlp.gate_proj", "ffn_gate"),
    (Projection::Up, "mlp.up_proj", "ffn_up"),
    (Projection::Down, "mlp.down_proj", "ffn_down"),
];

/// The norm before attention.
pub(super) const INPUT_NORM: (Norm, &str, &str) = (Norm::Input, "input_layernorm", "attn_norm");

/// The norm before the MLP.
pub(super) const MLP_NORM: (Norm, &str, &str) =
    (Norm::PostAttention, "post_attention_layernorm", "ffn_norm");

pub(super) const SILU: Only = Only::text("hidden_act", "silu", "silu");
pub(super) const WHOLE_HEADS: Only =
    Only::number("partial_rotary_factor", 1.0, "1: whole heads rotated");
pub(super) const CAUSAL: Only = Only::flag("attention.causal", true, "causal attention");
pub(super) const NO_EXPERTS: Only = Only::number("expert_count", 0.0, "models without experts");

/// The metadata of llama.cpp.
pub(super) const GGUF: Card<fn(&Keys<'_>, &'static Names) -> Result<DecoderConfig>> = Card {
    reads: &[],
    only: &[
        NO_EXPERTS,
        CAUSAL,
        Only::number("logit_scale", 1.0, UNSCALED),
        Only::number("residual_scale", 1.0, UNSCALED),
        Only::number("embedding_scale", 1.0, UNSCALED),
    ],
    config: from_gguf,
};

const UNSCALED: &str = "1 or no such field";

fn from_json(fields: &Json<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = sizes::from_json(fields, names)?;
    Ok(DecoderConfig {
        ropes: vec![rope::from_json(fields, &config)?],
        biases: biases(fields)?,
        ..config
    })
}

/// `attention_bias` and `mlp_bias`.
pub(super) fn biases(fields: &Json<'_>) -> Result<Biases> {
    let flag = |field| Ok(fields.flag(field)?.unwrap_or(false));
    let attention_bias = flag("attention_bias")?;
    Ok(Biases {
        qkv: attention_bias,
        o: attention_bias,
        mlp: flag("mlp_bias")?,
    })
}

fn from_gguf(keys: &Keys<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = sizes::from_gguf(keys, names)?;
    Ok(DecoderConfig {
        ropes: vec![rope::from_gguf(keys, &config)?],
        ..config
    })
}
