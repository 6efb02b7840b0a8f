//! Gemma 2. Gemma Team 2024, <https://arxiv.org/abs/2408.00118>.
//!
//! What differs from Gemma, and so from Llama:
//!
//! - **Norms** also on what attention and the MLP add. `post_attention_layernorm` is one of these, the
//!   one in front of the MLP is `pre_feedforward_layernorm`.
//! - **Windows** of keys in every other block, the first among them.
//! - **Caps** on the scores of attention and on the logits.
//! - **Scores** times `query_pre_attn_scalar^(−1/2)`; in GGUF, which does not tell, as llama.cpp: of
//!   27B, known by its 46 blocks, d / heads in place of the width of a head.
//!
//! - **Checked on** a tiny model, against transformers 5.23; Gemma 2 2B, 9B and 27B have configs of this
//!   kind.
//! - **Refused**: attention in both directions.

use super::config::{DecoderConfig, LayerConfig};
use super::family::{Card, Family};
use super::fields::{Fields, Json, Keys};
use super::gemma::{ONE_WAY, common_gguf, common_json};
use super::llama::{CAUSAL, INPUT_NORM, LINEARS, WHOLE_HEADS};
use super::names::Names;
use super::places::{Norm, NormPlaces};
use super::{rope, windows};
use crate::error::Result;

pub(super) static FAMILY: Family = Family {
    names: Names {
        family: "gemma2",
        gguf: "gemma2",
        linears: LINEARS,
        norms: &[
            INPUT_NORM,
            AFTER_ATTENTION_NORM,
            BEFORE_MLP_NORM,
            AFTER_MLP_NORM,
        ],
        stacks: &[],
        permuted: false,
        body: None,
    },
    model_types: &["gemma2"],
    architectures: &["Gemma2ForCausalLM", "Gemma2Model"],
    json: Card {
        reads: &[
            "attention_bias",
            "hidden_activation",
            SCALAR,
            "sliding_window",
            windows::JSON,
            ATTENTION_CAP,
            LOGIT_CAP,
        ],
        only: &[ONE_WAY, WHOLE_HEADS],
        config: from_json,
    },
    gguf: Card {
        reads: &[
            "attention.sliding_window",
            "attention.sliding_window_pattern",
            ATTENTION_CAP,
            LOGIT_CAP,
        ],
        only: &[CAUSAL],
        config: from_gguf,
    },
};

/// The norm on what attention adds.
pub(super) const AFTER_ATTENTION_NORM: (Norm, &str, &str) = (
    Norm::AfterAttention,
    "post_attention_layernorm",
    "post_attention_norm",
);

/// The norm before the MLP, where one stands on what attention adds.
pub(super) const BEFORE_MLP_NORM: (Norm, &str, &str) =
    (Norm::PostAttention, "pre_feedforward_layernorm", "ffn_norm");

/// The norm on what the MLP adds.
pub(super) const AFTER_MLP_NORM: (Norm, &str, &str) = (
    Norm::AfterMlp,
    "post_feedforward_layernorm",
    "post_ffw_norm",
);

/// Queries are divided by its square root.
pub(super) const SCALAR: &str = "query_pre_attn_scalar";
pub(super) const ATTENTION_CAP: &str = "attn_logit_softcapping";
pub(super) const LOGIT_CAP: &str = "final_logit_softcapping";

/// Where a file does not say it, in transformers and llama.cpp alike.
const DEFAULT_WINDOW: usize = 4096;
const DEFAULT_ATTENTION_CAP: f64 = 50.0;
const DEFAULT_LOGIT_CAP: f64 = 30.0;
const PERIOD: usize = 2;

fn from_json(fields: &Json<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = common_json(fields, names, "hidden_activation")?;
    let window = fields.optional_size("sliding_window")?;
    let windowed = windows::from_json(fields, config.num_layers, PERIOD)?;
    // `null` is no cap.
    let cap = |field, default| {
        if fields.is_null(field) {
            Ok(None)
        } else {
            Ok(Some(fields.optional_positive(field)?.unwrap_or(default)))
        }
    };
    Ok(DecoderConfig {
        ropes: vec![rope::from_json(fields, &config)?],
        attention_scale: attention_scale(fields)?,
        attention_cap: cap(ATTENTION_CAP, DEFAULT_ATTENTION_CAP)?,
        logit_cap: cap(LOGIT_CAP, DEFAULT_LOGIT_CAP)?,
        ..around(config, window.unwrap_or(DEFAULT_WINDOW), &windowed)
    })
}

fn from_gguf(keys: &Keys<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = common_gguf(keys, names)?;
    let window = keys.optional_size("attention.sliding_window")?;
    let period = keys.optional_size("attention.sliding_window_pattern")?;
    let windowed = windows::all_but_each(period.unwrap_or(PERIOD), config.num_layers);
    let cap = |field, default| Ok(Some(keys.optional_positive(field)?.unwrap_or(default)));
    Ok(DecoderConfig {
        ropes: vec![rope::from_gguf(keys, &config)?],
        attention_scale: gguf_attention_scale(&config, 46),
        attention_cap: cap(ATTENTION_CAP, DEFAULT_ATTENTION_CAP)?,
        logit_cap: cap(LOGIT_CAP, DEFAULT_LOGIT_CAP)?,
        ..around(config, window.unwrap_or(DEFAULT_WINDOW), &windowed)
    })
}

/// `query_pre_attn_scalar^(−1/2)`
pub(super) fn attention_scale(fields: &Json<'_>) -> Result<f64> {
    let scalar = fields.optional_positive(SCALAR)?;
    Ok(scalar.unwrap_or(256.0).sqrt().recip())
}

/// The same where only the sizes tell it; the 27B of a generation is known by its blocks.
pub(super) fn gguf_attention_scale(config: &DecoderConfig, blocks_of_27b: usize) -> f64 {
    let width = if config.num_layers == blocks_of_27b {
        config.hidden_size / config.num_heads
    } else {
        config.head_dim
    };
    (width as f64).sqrt().recip()
}

/// Norms around attention and MLP, and windows in these blocks.
pub(super) fn around(config: DecoderConfig, window: usize, windowed: &[bool]) -> DecoderConfig {
    let layer = |windowed: &bool| LayerConfig {
        window: windowed.then_some(window),
        rope: Some(0),
    };
    DecoderConfig {
        norms: NormPlaces::Around,
        layers: windowed.iter().map(layer).collect(),
        ..config
    }
}
