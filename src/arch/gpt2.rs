//! GPT-2. Radford et al. 2019. <https://openai.com/index/better-language-models/>
//!
//! What differs from Llama:
//!
//! - **Norms** take off the mean and have biases (LayerNorm); so have all linear layers.
//! - **Positions** are rows of a table that are added to the embeddings; nothing is rotated.
//! - **Queries, keys and values** are one layer, `attn.c_attn`. The weights of linear layers lie as
//!   `[i, o]` in Hugging Face's files and are turned round; adapters on them do not notice.
//! - **MLP** without a gate, four times as wide unless `n_inner` says otherwise, with the tanh form of
//!   GELU (`gelu_new`), or the exact one where `activation_function` says `gelu`.
//! - **The head** is the embedding unless the config denies it.
//! - **llama.cpp** turns the weights round itself and leaves all rows in place.
//!
//! - **Checked on** a tiny model, against transformers 5.23; GPT-2 small to XL and DistilGPT-2 have
//!   configs of this kind.
//! - **Refused**: scores divided by the number of the layer, cross-attention; of adapters what stands
//!   in front of the text (its positions would begin later, in the embeddings already) and new biases
//!   of norms.

use super::config::{Activation, Biases, DecoderConfig, Fused, LayerConfig};
use super::family::{Card, Family, Only};
use super::fields::{Fields, Json, Keys};
use super::llama::CAUSAL;
use super::names::{Body, Names};
use super::places::{Norm, Projection};
use super::sizes;
use crate::error::Result;

pub(super) static FAMILY: Family = Family {
    names: Names {
        family: "gpt2",
        gguf: "gpt2",
        linears: &[
            (Projection::Qkv, "attn.c_attn", "attn_qkv"),
            (Projection::O, "attn.c_proj", "attn_output"),
            (Projection::Up, "mlp.c_fc", "ffn_up"),
            (Projection::Down, "mlp.c_proj", "ffn_down"),
        ],
        norms: &[
            (Norm::Input, "ln_1", "attn_norm"),
            (Norm::PostAttention, "ln_2", "ffn_norm"),
        ],
        stacks: &[],
        permuted: false,
        body: Some(&Body {
            name: "transformer",
            modules: &[
                ("h", "layers"),
                ("wte", "embed_tokens"),
                ("wpe", "embed_positions"),
                ("ln_f", "norm"),
            ],
            transposed: true,
        }),
    },
    model_types: &["gpt2"],
    architectures: &["GPT2LMHeadModel", "GPT2Model"],
    json: Card {
        reads: &[
            "n_embd",
            "n_layer",
            "n_head",
            "n_positions",
            "n_inner",
            EPSILON,
            ACTIVATION,
            "scale_attn_weights",
        ],
        only: &[
            Only::flag(
                "scale_attn_by_inverse_layer_idx",
                false,
                "false: all layers scale alike",
            ),
            Only::flag("add_cross_attention", false, "false: decoders alone"),
        ],
        config: from_json,
    },
    gguf: Card {
        reads: &[LAYER_NORM],
        only: &[CAUSAL],
        config: from_gguf,
    },
};

const EPSILON: &str = "layer_norm_epsilon";
const ACTIVATION: &str = "activation_function";

/// llama.cpp's name of LayerNorm's epsilon.
pub(super) const LAYER_NORM: &str = "attention.layer_norm_epsilon";

fn from_json(fields: &Json<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let (hidden_size, num_heads) = (fields.size("n_embd")?, fields.size("n_head")?);
    let head_dim = sizes::default_head_dim(fields, "n_head", hidden_size, num_heads)?;
    let inner = fields.optional_size("n_inner")?;
    let plain = sizes::plain(names, fields.size("n_layer")?, head_dim);
    let config = DecoderConfig {
        hidden_size,
        intermediate_size: inner.unwrap_or(4 * hidden_size),
        num_heads,
        num_kv_heads: num_heads,
        vocab_size: fields.size("vocab_size")?,
        context: fields.size("n_positions")?,
        norm_eps: fields.positive(EPSILON, "the norms' epsilon")?,
        attention_scale: match fields.flag("scale_attn_weights")? {
            Some(false) => 1.0,
            _ => plain.attention_scale,
        },
        activation: activation(fields, ACTIVATION, "gelu_new")?,
        tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(true),
        ..plain
    };
    Ok(with_parts(sizes::checked(
        fields, config, "n_head", "n_embd",
    )?))
}

fn from_gguf(keys: &Keys<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = sizes::from_gguf_with(keys, names, LAYER_NORM)?;
    Ok(with_parts(DecoderConfig {
        activation: Activation::GeluTanh,
        ..config
    }))
}

/// What every GPT-2 has.
fn with_parts(config: DecoderConfig) -> DecoderConfig {
    let unrotated = LayerConfig {
        window: None,
        rope: None,
    };
    DecoderConfig {
        layers: vec![unrotated; config.layers.len()],
        learned_positions: true,
        ..ungated(config, Fused::ByPart)
    }
}

/// LayerNorm, one layer for queries, keys and values, no gate, biases everywhere.
pub(super) fn ungated(config: DecoderConfig, fused: Fused) -> DecoderConfig {
    DecoderConfig {
        layer_norm: true,
        fused: Some(fused),
        gated: false,
        biases: Biases {
            qkv: true,
            o: true,
            mlp: true,
        },
        ..config
    }
}

/// A kind of GELU.
pub(super) fn activation(fields: &Json<'_>, field: &str, default: &str) -> Result<Activation> {
    match fields.text(field)?.unwrap_or(default) {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        found => Err(fields.refuse(field, found, "gelu, gelu_new, gelu_fast, gelu_pytorch_tanh")),
    }
}
