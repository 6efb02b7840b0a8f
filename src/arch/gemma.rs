//! Gemma, and what its successors share with it. Gemma Team 2024, <https://arxiv.org/abs/2403.08295>.
//!
//! What differs from Llama:
//!
//! - **Embeddings** of tokens are multiplied by √d. Transformers rounds √d to the dtype that it loads
//!   the model in; here it is f32. Virtual tokens of an adapter are not multiplied.
//! - **Norms** multiply by 1 + w. Files of Hugging Face and adapters hold w, llama.cpp's 1 + w.
//! - **Activation** the tanh form of GELU; where `hidden_act` says `gelu`, as in some first revisions,
//!   the exact one, as transformers 5.
//! - **Heads** of a width of their own: `head_dim` must be there. The head is the embedding.
//! - **llama.cpp** leaves the rows of queries and keys in place.
//!
//! - **Checked on** a tiny model, against transformers 5.23; Gemma 2B and 7B have configs of this kind.
//! - **Refused**: attention in both directions.

use super::config::{Activation, Biases, DecoderConfig};
use super::family::{Card, Family, Only};
use super::fields::{Fields, Json, Keys};
use super::llama::{CAUSAL, INPUT_NORM, LINEARS, MLP_NORM, WHOLE_HEADS};
use super::names::Names;
use super::{rope, sizes};
use crate::error::Result;

pub(super) static FAMILY: Family = Family {
    names: Names {
        family: "gemma",
        gguf: "gemma",
        linears: LINEARS,
        norms: &[INPUT_NORM, MLP_NORM],
        stacks: &[],
        permuted: false,
        body: None,
    },
    model_types: &["gemma"],
    architectures: &["GemmaForCausalLM", "GemmaModel"],
    json: Card {
        reads: &["attention_bias", "hidden_act"],
        only: &[ONE_WAY, WHOLE_HEADS],
        config: from_json,
    },
    gguf: Card {
        reads: &[],
        only: &[CAUSAL],
        config: from_gguf,
    },
};

pub(super) const ONE_WAY: Only = Only::flag(
    "use_bidirectional_attention",
    false,
    "false: each token sees those before it",
);

fn from_json(fields: &Json<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = common_json(fields, names, "hidden_act")?;
    Ok(DecoderConfig {
        ropes: vec![rope::from_json(fields, &config)?],
        ..config
    })
}

fn from_gguf(keys: &Keys<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = common_gguf(keys, names)?;
    Ok(DecoderConfig {
        ropes: vec![rope::from_gguf(keys, &config)?],
        ..config
    })
}

/// What config.json says of every Gemma; `activation` is the field that names it.
pub(super) fn common_json(
    fields: &Json<'_>,
    names: &'static Names,
    activation: &str,
) -> Result<DecoderConfig> {
    // Their defaults are those of one model, not what follows from the other sizes.
    for field in ["head_dim", "num_key_value_heads"] {
        fields.size(field)?;
    }
    let attention_bias = fields.flag("attention_bias")?.unwrap_or(false);
    let config = scaled(sizes::from_json(fields, names)?);
    Ok(DecoderConfig {
        gain_offset: 1.0,
        activation: match fields.text(activation)? {
            None | Some("gelu_pytorch_tanh") => Activation::GeluTanh,
            Some("gelu") => Activation::Gelu,
            Some(found) => {
                return Err(fields.refuse(activation, found, "gelu_pytorch_tanh and gelu"));
            }
        },
        biases: Biases {
            qkv: attention_bias,
            o: attention_bias,
            mlp: false,
        },
        tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(true),
        ..config
    })
}

/// What a GGUF file's metadata say of every Gemma.
pub(super) fn common_gguf(keys: &Keys<'_>, names: &'static Names) -> Result<DecoderConfig> {
    Ok(scaled(sizes::from_gguf(keys, names)?))
}

fn scaled(config: DecoderConfig) -> DecoderConfig {
    DecoderConfig {
        embedding_scale: (config.hidden_size as f64).sqrt(),
        activation: Activation::GeluTanh,
        adapter_gain_offset: 1.0,
        ..config
    }
}
