//! Gemma 3, its text. Gemma Team 2025, <https://arxiv.org/abs/2503.19786>.
//!
//! What differs from Gemma 2, and so from Llama:
//!
//! - **Norms** of each head of queries and keys, before they are rotated.
//! - **Windows** in five blocks of six.
//! - **Rope** of two bases: in blocks with a window `rope_local_base_freq`, never stretched. Transformers
//!   5 writes both into `rope_parameters`. GGUF tells neither the local base nor the period of windows:
//!   10000 and 6, as in llama.cpp.
//! - **Caps** none, unless the file has some.
//!
//! - **Checked on** Gemma 3 270M (Q4_K_M) and tiny models, against transformers 5.23; 1B has a config of
//!   this kind, and the text of 4B and up in GGUF.
//! - **Refused**: models that see images as well, in their folders (their text alone can be saved as
//!   `gemma3_text`, or converted to GGUF); attention in both directions, as of EmbeddingGemma.

use super::config::{DecoderConfig, LayerConfig, QkNorm, RopeConfig};
use super::family::{Card, Family};
use super::fields::{Fields, Json, Keys};
use super::gemma::{ONE_WAY, common_gguf, common_json};
use super::gemma2::{AFTER_ATTENTION_NORM, AFTER_MLP_NORM, BEFORE_MLP_NORM};
use super::gemma2::{
    ATTENTION_CAP, LOGIT_CAP, SCALAR, around, attention_scale, gguf_attention_scale,
};
use super::llama::{CAUSAL, INPUT_NORM, LINEARS, WHOLE_HEADS};
use super::names::Names;
use super::qwen3::{KEY_NORM, QUERY_NORM};
use super::{rope, windows};
use crate::error::Result;

pub(super) static FAMILY: Family = Family {
    names: Names {
        family: "gemma3",
        gguf: "gemma3",
        linears: LINEARS,
        norms: &[
            INPUT_NORM,
            AFTER_ATTENTION_NORM,
            BEFORE_MLP_NORM,
            AFTER_MLP_NORM,
            QUERY_NORM,
            KEY_NORM,
        ],
        stacks: &[],
        permuted: false,
        body: None,
    },
    model_types: &["gemma3_text", "gemma3"],
    architectures: &[
        "Gemma3ForCausalLM",
        "Gemma3TextModel",
        "Gemma3ForConditionalGeneration",
        "Gemma3Model",
    ],
    json: Card {
        reads: &[
            "model_type",
            "attention_bias",
            "hidden_activation",
            SCALAR,
            "sliding_window",
            PATTERN,
            windows::JSON,
            LOCAL_THETA,
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
            "rope.freq_base_swa",
            LOGIT_CAP,
        ],
        only: &[CAUSAL],
        config: from_gguf,
    },
};

const PATTERN: &str = "sliding_window_pattern";
const LOCAL_THETA: &str = "rope_local_base_freq";
const ROPES: &str = "rope_parameters";

/// Where a file does not say it.
const DEFAULT_WINDOW: usize = 4096;
const DEFAULT_PERIOD: usize = 6;
const DEFAULT_THETA: f64 = 1e6;
const DEFAULT_LOCAL_THETA: f64 = 1e4;

fn from_json(fields: &Json<'_>, names: &'static Names) -> Result<DecoderConfig> {
    if fields.text("model_type")? == Some("gemma3") {
        let supported = "gemma3_text: this one sees images as well; its text can be saved as one, or \
                         converted to GGUF";
        return Err(fields.refuse("model_type", "gemma3", supported));
    }
    let config = common_json(fields, names, "hidden_activation")?;
    let window = fields.optional_size("sliding_window")?;
    let period = fields.optional_size(PATTERN)?.unwrap_or(DEFAULT_PERIOD);
    let windowed = windows::from_json(fields, config.num_layers, period)?;
    let ropes = ropes_of_json(fields, &config)?;
    Ok(DecoderConfig {
        attention_scale: attention_scale(fields)?,
        attention_cap: fields.optional_positive(ATTENTION_CAP)?,
        logit_cap: fields.optional_positive(LOGIT_CAP)?,
        ..local(config, window.unwrap_or(DEFAULT_WINDOW), &windowed, ropes)
    })
}

/// The ropes of blocks that see everything, and of those with a window.
fn ropes_of_json(fields: &Json<'_>, config: &DecoderConfig) -> Result<[RopeConfig; 2]> {
    const KINDS: [&str; 2] = ["full_attention", "sliding_attention"];
    let positive = |field, default| Ok(fields.optional_positive(field)?.unwrap_or(default));
    let theta = positive("rope_theta", DEFAULT_THETA)?;
    let local_theta = positive(LOCAL_THETA, DEFAULT_LOCAL_THETA)?;
    let local = RopeConfig::plain(local_theta, config.head_dim);
    let filled = |field| Ok(fields.object(field)?.filter(|inside| !inside.is_empty()));
    let both = match (filled("rope_scaling")?, filled(ROPES)?) {
        (None, None) => return Ok([RopeConfig::plain(theta, config.head_dim), local]),
        (Some(scaling), None) => {
            let full = rope::parameters(fields, &scaling, theta, 1.0, config)?;
            return Ok([full, local]);
        }
        (None, Some(both)) => both,
        (Some(_), Some(_)) => {
            let supported = "configs with one of this and `rope_scaling`";
            return Err(fields.refuse(ROPES, "both", supported));
        }
    };
    if KINDS.iter().all(|kind| both.present(kind).is_none()) {
        let supported = "`full_attention` and `sliding_attention` in it";
        return Err(fields.refuse(ROPES, "one rotary embedding for all blocks", supported));
    }
    let [full, local] =
        [(KINDS[0], theta), (KINDS[1], local_theta)].map(|(kind, theta)| {
            match both.object(kind)? {
                Some(own) => rope::parameters(fields, &own, theta, 1.0, config),
                None => Ok(RopeConfig::plain(theta, config.head_dim)),
            }
        });
    Ok([full?, local?])
}

fn from_gguf(keys: &Keys<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = common_gguf(keys, names)?;
    // Without a window, or one of 0, no block has one.
    let window = keys.unsigned("attention.sliding_window")?.unwrap_or(0);
    let window = match window {
        0 => None,
        _ => keys.optional_size("attention.sliding_window")?,
    };
    let period = keys.optional_size("attention.sliding_window_pattern")?;
    let windowed = match window {
        Some(_) => windows::all_but_each(period.unwrap_or(DEFAULT_PERIOD), config.num_layers),
        None => windows::all_but_each(1, config.num_layers),
    };
    let local_theta = keys.optional_positive("rope.freq_base_swa")?;
    let local_theta = local_theta.unwrap_or(DEFAULT_LOCAL_THETA);
    let ropes = [
        rope::from_gguf(keys, &config)?,
        RopeConfig::plain(local_theta, config.head_dim),
    ];
    Ok(DecoderConfig {
        attention_scale: gguf_attention_scale(&config, 62),
        logit_cap: keys.number(LOGIT_CAP)?.filter(|cap| *cap != 0.0),
        ..local(config, window.unwrap_or(DEFAULT_WINDOW), &windowed, ropes)
    })
}

/// The second of two ropes in the blocks with a window, and norms of the heads.
fn local(
    config: DecoderConfig,
    window: usize,
    windowed: &[bool],
    ropes: [RopeConfig; 2],
) -> DecoderConfig {
    let config = around(config, window, windowed);
    let layer = |layer: &LayerConfig| LayerConfig {
        rope: Some(usize::from(layer.window.is_some())),
        ..*layer
    };
    DecoderConfig {
        qk_norm: Some(QkNorm::Head),
        ropes: ropes.into(),
        layers: config.layers.iter().map(layer).collect(),
        ..config
    }
}
