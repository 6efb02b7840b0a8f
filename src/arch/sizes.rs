//! What all families say in the same words: the sizes. From each format a plain decoder (norms in
//! front of attention and MLP, SwiGLU, one rotary embedding in every layer, nothing scaled or
//! windowed), which a family's file completes.

use super::config::{Activation, Biases, DecoderConfig, LayerConfig};
use super::fields::{Fields, Json, Keys, sized};
use super::names::Names;
use super::places::NormPlaces;
use crate::error::{Error, Result};

/// The fields of config.json that [`from_json`] reads.
pub(super) const JSON: &[&str] = &[
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
];

/// The metadata that [`from_gguf`] reads.
pub(super) const GGUF: &[&str] = &[
    "embedding_length",
    "feed_forward_length",
    "block_count",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "context_length",
    "attention.layer_norm_rms_epsilon",
];

/// What a field that must be there is, where transformers would take that of one size of the family.
pub(super) const NO_DEFAULT: &str =
    "a size of the model, which is not the same for all of its family";

/// More blocks than any model has: what a file says is not yet compared with the tensors it holds.
pub(super) const MAX_LAYERS: usize = 1 << 16;

/// Reads the sizes of config.json. The rotary embeddings are still to be filled in.
pub(super) fn from_json(fields: &Json<'_>, family: &'static Names) -> Result<DecoderConfig> {
    let hidden_size = fields.size("hidden_size")?;
    let num_heads = fields.size("num_attention_heads")?;
    let head_dim = match fields.optional_size("head_dim")? {
        Some(head_dim) => head_dim,
        None => default_head_dim(fields, "num_attention_heads", hidden_size, num_heads)?,
    };
    let kv_heads = fields.optional_size("num_key_value_heads")?;
    let num_layers = fields.size("num_hidden_layers")?;
    let config = DecoderConfig {
        hidden_size,
        intermediate_size: fields.size("intermediate_size")?,
        num_heads,
        num_kv_heads: kv_heads.unwrap_or(num_heads),
        vocab_size: fields.size("vocab_size")?,
        context: fields.size("max_position_embeddings")?,
        norm_eps: fields.positive("rms_norm_eps", "a number")?,
        tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
        ..plain(family, num_layers, head_dim)
    };
    checked(fields, config, "num_key_value_heads", "head_dim")
}

/// Reads the sizes of a GGUF file. The rotary embeddings are still to be filled in.
pub(super) fn from_gguf(keys: &Keys<'_>, family: &'static Names) -> Result<DecoderConfig> {
    from_gguf_with(keys, family, "attention.layer_norm_rms_epsilon")
}

/// The same where the norms' epsilon is called so.
pub(super) fn from_gguf_with(
    keys: &Keys<'_>,
    family: &'static Names,
    epsilon: &str,
) -> Result<DecoderConfig> {
    const HEADS: &str = "attention.head_count";
    const KV_HEADS: &str = "attention.head_count_kv";
    const HEAD_DIM: &str = "attention.key_length";
    const INNER: &str = "feed_forward_length";
    let needed = |field: &str, found: Option<usize>| {
        found.ok_or_else(|| keys.missing(field, "a size of the model"))
    };
    let num_layers = keys.size("block_count")?;
    let hidden_size = keys.size("embedding_length")?;
    let num_heads = needed(HEADS, keys.size_of_blocks(HEADS, num_layers)?)?;
    let head_dim = match keys.optional_size(HEAD_DIM)? {
        Some(head_dim) => head_dim,
        None => default_head_dim(keys, HEADS, hidden_size, num_heads)?,
    };
    same_as_head(keys, "attention.value_length", head_dim)?;
    let embedding = keys.gguf.tensors.get("token_embd.weight");
    let embedding = embedding.ok_or_else(|| Error::MissingKey {
        file: keys.file().into(),
        key: "token_embd.weight".into(),
        what: "the token embeddings".into(),
    })?;
    let vocab_size = embedding.shape.first().copied().unwrap_or_default() as u64;
    let config = DecoderConfig {
        hidden_size,
        intermediate_size: needed(INNER, keys.size_of_blocks(INNER, num_layers)?)?,
        num_heads,
        num_kv_heads: keys
            .size_of_blocks(KV_HEADS, num_layers)?
            .unwrap_or(num_heads),
        vocab_size: sized(
            keys.file(),
            "the vocabulary (token_embd.weight)",
            vocab_size,
        )?,
        context: keys.size("context_length")?,
        norm_eps: keys.positive(epsilon, "the norms' epsilon")?,
        tie_word_embeddings: !keys.gguf.tensors.contains_key("output.weight"),
        biases: Biases {
            qkv: ["attn_q.", "attn_k.", "attn_v.", "attn_qkv."]
                .into_iter()
                .any(|part| keys.has_bias(part)),
            o: keys.has_bias("attn_output."),
            mlp: keys.has_bias("ffn_"),
        },
        ..plain(family, num_layers, head_dim)
    };
    checked(keys, config, KV_HEADS, HEAD_DIM)
}

/// Refuses a size that is not the head's width.
pub(super) fn same_as_head(keys: &Keys<'_>, field: &str, head_dim: usize) -> Result<()> {
    match keys.optional_size(field)? {
        Some(found) if found != head_dim => {
            Err(keys.refuse(field, found, &format!("the head width, {head_dim}")))
        }
        _ => Ok(()),
    }
}

/// Checks what the sizes say together.
pub(super) fn checked(
    fields: &impl Fields,
    config: DecoderConfig,
    kv_field: &str,
    head_field: &str,
) -> Result<DecoderConfig> {
    if !config.num_heads.is_multiple_of(config.num_kv_heads) {
        let supported = format!("divisors of the {} query heads", config.num_heads);
        return Err(fields.refuse(kv_field, config.num_kv_heads, &supported));
    }
    if !config.head_dim.is_multiple_of(2) {
        return Err(fields.refuse(head_field, config.head_dim, "even head widths"));
    }
    Ok(config)
}

/// The width of a head where the file does not say it.
pub(super) fn default_head_dim(
    fields: &impl Fields,
    field: &str,
    hidden: usize,
    heads: usize,
) -> Result<usize> {
    if hidden.is_multiple_of(heads) {
        return Ok(hidden / heads);
    }
    let supported = format!("divisors of the width {hidden} when no head width is given");
    Err(fields.refuse(field, heads, &supported))
}

/// A plain decoder without sizes.
pub(super) fn plain(family: &'static Names, num_layers: usize, head_dim: usize) -> DecoderConfig {
    DecoderConfig {
        family,
        hidden_size: 0,
        intermediate_size: 0,
        num_layers,
        num_heads: 0,
        num_kv_heads: 0,
        head_dim,
        vocab_size: 0,
        context: 0,
        norm_eps: 0.0,
        layer_norm: false,
        norms: NormPlaces::Before,
        gain_offset: 0.0,
        adapter_gain_offset: 0.0,
        qk_norm: None,
        fused: None,
        parallel: false,
        gated: true,
        activation: Activation::Silu,
        attention_scale: (head_dim as f64).sqrt().recip(),
        embedding_scale: 1.0,
        virtual_scale: 1.0,
        residual_scale: 1.0,
        logit_divisor: 1.0,
        attention_cap: None,
        logit_cap: None,
        learned_positions: false,
        ropes: Vec::new(),
        layers: vec![
            LayerConfig {
                window: None,
                rope: Some(0),
            };
            num_layers.min(MAX_LAYERS)
        ],
        biases: Biases::default(),
        tie_word_embeddings: false,
        tied_by_config_alone: false,
    }
}
