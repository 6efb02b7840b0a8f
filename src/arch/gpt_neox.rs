//! GPT-NeoX and Pythia. Black et al. 2022, <https://arxiv.org/abs/2204.06745>; Biderman et al.
//! 2023, <https://arxiv.org/abs/2304.01373>.
//!
//! What differs from Llama:
//!
//! - **Norms** take off the mean and have biases (LayerNorm); so have all linear layers, those of
//!   attention unless `attention_bias` denies them.
//! - **Parallel**: the MLP reads the stream that attention reads, through a norm of its own; one after
//!   the other where `use_parallel_residual` is false.
//! - **Rope** turns the first quarter of each head, or the share that `rotary_pct` says.
//! - **Queries, keys and values** are one layer, `attention.query_key_value`, whose rows go head by head.
//! - **MLP** without a gate, with the exact GELU, or the tanh form where `hidden_act` says so.
//! - **llama.cpp** puts the rows of all queries first, then keys, then values: they are put back. Its
//!   GELU is the tanh form whatever the model has; here a GGUF file gets the exact one.
//!
//! - **Checked on** a tiny model, against transformers 5.23; Pythia 14M to 12B have configs of this kind.
//! - **Refused**: of adapters new biases of norms.

use super::config::{Activation, DecoderConfig, Fused, RopeConfig};
use super::family::{Card, Family};
use super::fields::{Fields, Json, Keys};
use super::gpt2::{LAYER_NORM, activation, ungated};
use super::llama::CAUSAL;
use super::names::{Body, Names};
use super::places::{Norm, Projection};
use super::{rope, sizes};
use crate::error::Result;

pub(super) static FAMILY: Family = Family {
    names: Names {
        family: "gpt_neox",
        gguf: "gptneox",
        linears: &[
            (Projection::Qkv, "attention.query_key_value", "attn_qkv"),
            (Projection::O, "attention.dense", "attn_output"),
            (Projection::Up, "mlp.dense_h_to_4h", "ffn_up"),
            (Projection::Down, "mlp.dense_4h_to_h", "ffn_down"),
        ],
        norms: &[
            (Norm::Input, "input_layernorm", "attn_norm"),
            (Norm::PostAttention, "post_attention_layernorm", "ffn_norm"),
        ],
        stacks: &[],
        permuted: true,
        body: Some(&Body {
            name: "gpt_neox",
            modules: &[
                ("layers", "layers"),
                ("embed_in", "embed_tokens"),
                ("final_layer_norm", "norm"),
                ("embed_out", "lm_head"),
            ],
            transposed: false,
        }),
    },
    model_types: &["gpt_neox"],
    architectures: &["GPTNeoXForCausalLM", "GPTNeoXModel"],
    json: Card {
        reads: &[
            "layer_norm_eps",
            "hidden_act",
            "attention_bias",
            PARALLEL,
            SHARE,
            BASE,
        ],
        only: &[],
        config: from_json,
    },
    gguf: Card {
        reads: &[LAYER_NORM, PARALLEL],
        only: &[CAUSAL],
        config: from_gguf,
    },
};

const PARALLEL: &str = "use_parallel_residual";
const SHARE: &str = "rotary_pct";
const BASE: &str = "rotary_emb_base";

fn from_json(fields: &Json<'_>, names: &'static Names) -> Result<DecoderConfig> {
    const HEADS: &str = "num_attention_heads";
    let (hidden_size, num_heads) = (fields.size("hidden_size")?, fields.size(HEADS)?);
    let head_dim = sizes::default_head_dim(fields, HEADS, hidden_size, num_heads)?;
    let config = DecoderConfig {
        hidden_size,
        intermediate_size: fields.size("intermediate_size")?,
        num_heads,
        num_kv_heads: num_heads,
        vocab_size: fields.size("vocab_size")?,
        context: fields.size("max_position_embeddings")?,
        norm_eps: fields.positive("layer_norm_eps", "the norms' epsilon")?,
        activation: activation(fields, "hidden_act", "gelu")?,
        tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
        ..sizes::plain(names, fields.size("num_hidden_layers")?, head_dim)
    };
    let config = sizes::checked(fields, config, HEADS, "hidden_size")?;
    let parallel = fields.flag(PARALLEL)?.unwrap_or(true);
    let rope = rope_from_json(fields, &config)?;
    let mut config = with_parts(config, parallel, rope);
    if fields.flag("attention_bias")? == Some(false) {
        config.biases.qkv = false;
        config.biases.o = false;
    }
    Ok(config)
}

/// Over the share of each head that `rotary_pct` says, or since transformers 5 `rope_parameters`.
fn rope_from_json(fields: &Json<'_>, config: &DecoderConfig) -> Result<RopeConfig> {
    const INSIDE: &str = "partial_rotary_factor";
    let inside = match fields.object("rope_parameters")? {
        Some(inside) => inside.optional_positive(INSIDE)?,
        None => None,
    };
    let outside = fields.optional_positive(SHARE)?;
    let share = inside.or(outside).unwrap_or(0.25);
    let width = (config.head_dim as f64 * share) as usize;
    if share > 1.0 || width == 0 || !width.is_multiple_of(2) {
        let supported = format!("an even part of the head width, {}", config.head_dim);
        let field = inside.map_or(SHARE, |_| "rope_parameters.partial_rotary_factor");
        return Err(fields.refuse(field, share, &supported));
    }
    let rotated = DecoderConfig {
        head_dim: width,
        ..config.clone()
    };
    let theta = fields.optional_positive(BASE)?.unwrap_or(10_000.0);
    rope::of_share(fields, &rotated, theta, share)
}

fn from_gguf(keys: &Keys<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = sizes::from_gguf_with(keys, names, LAYER_NORM)?;
    let config = DecoderConfig {
        activation: Activation::Gelu,
        ..config
    };
    let width = keys.size("rope.dimension_count")?;
    if width > config.head_dim || !width.is_multiple_of(2) {
        let supported = format!("an even part of the head width, {}", config.head_dim);
        return Err(keys.refuse("rope.dimension_count", width, &supported));
    }
    let rotated = DecoderConfig {
        head_dim: width,
        ..config.clone()
    };
    let rope = rope::from_gguf(keys, &rotated)?;
    let (biases, parallel) = (config.biases, keys.flag(PARALLEL)?.unwrap_or(true));
    Ok(DecoderConfig {
        biases,
        ..with_parts(config, parallel, rope)
    })
}

fn with_parts(config: DecoderConfig, parallel: bool, rope: RopeConfig) -> DecoderConfig {
    DecoderConfig {
        parallel,
        ropes: vec![rope],
        ..ungated(config, Fused::ByHead)
    }
}
