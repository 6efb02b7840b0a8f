//! Granite, 3 and the dense ones of 4. IBM 2024, <https://arxiv.org/abs/2405.04324> and
//! <https://huggingface.co/ibm-granite>.
//!
//! What differs from Llama:
//!
//! - **Scales**, four of them: embeddings (of an adapter's virtual tokens too) times
//!   `embedding_multiplier`, what a block adds times
//!   `residual_multiplier`, scores times `attention_multiplier` in place of `1/√hd`, logits divided by
//!   `logits_scaling`. Without its field each is 1 in config.json; in GGUF the scores have `1/√hd` then.
//! - **Granite 4** (`granitemoehybrid`) has gate and up in one tensor, its width is
//!   `shared_intermediate_size`, and it rotates only where `position_embedding_type` is `rope`; in GGUF
//!   unless `rope.scaling.finetuned` is false.
//! - **Adapters** know the MLP of a Granite 4 by the names of Llama or, as PEFT trains them, by
//!   `shared_mlp.input_linear` and `shared_mlp.output_linear`. The first is taken apart into gate and up
//!   for the methods of which each half is known; all others are refused.
//! - **llama.cpp** pairs neighbouring rows of queries and keys, as for Llama.
//!
//! - **Checked on** tiny models of 3 and of 4, against transformers 5.23; Granite 3.0 to 3.3 and 4.0
//!   Micro have configs of this kind.
//! - **Refused**: experts, Mamba layers.

use super::config::{Biases, DecoderConfig, LayerConfig};
use super::family::{Card, Family};
use super::fields::{Fields, Json, Keys};
use super::llama::{CAUSAL, INPUT_NORM, LINEARS, MLP_NORM, NO_EXPERTS, SILU, WHOLE_HEADS};
use super::names::{Names, Stack};
use super::places::Projection;
use super::{rope, sizes, windows};
use crate::error::Result;

pub(super) static FAMILY: Family = Family {
    names: Names {
        family: "granite",
        gguf: "granite",
        linears: LINEARS,
        norms: &[INPUT_NORM, MLP_NORM],
        // llama.cpp's converter takes them apart: no GGUF file has them.
        stacks: &[
            Stack {
                path: "shared_mlp.input_linear",
                gguf: "ffn_gate_up",
                parts: &[Projection::Gate, Projection::Up],
            },
            Stack {
                path: "shared_mlp.output_linear",
                gguf: "ffn_output",
                parts: &[Projection::Down],
            },
        ],
        permuted: true,
        body: None,
    },
    model_types: &["granite", "granitemoehybrid"],
    architectures: &[
        "GraniteForCausalLM",
        "GraniteModel",
        "GraniteMoeHybridForCausalLM",
        "GraniteMoeHybridModel",
    ],
    json: Card {
        reads: &[
            "model_type",
            "attention_bias",
            "mlp_bias",
            "embedding_multiplier",
            "residual_multiplier",
            "attention_multiplier",
            "logits_scaling",
            EXPERTS,
            "shared_intermediate_size",
            POSITIONS,
            windows::JSON,
        ],
        only: &[SILU, WHOLE_HEADS],
        config: from_json,
    },
    gguf: Card {
        reads: &[
            "embedding_scale",
            "residual_scale",
            "attention.scale",
            "logit_scale",
            "rope.scaling.finetuned",
        ],
        only: &[NO_EXPERTS, CAUSAL],
        config: from_gguf,
    },
};

/// Granite 4, with Mamba layers and experts or without.
const HYBRID: &str = "granitemoehybrid";
const EXPERTS: &str = "num_local_experts";
const POSITIONS: &str = "position_embedding_type";

fn from_json(fields: &Json<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = sizes::from_json(fields, names)?;
    let scale = |field| Ok(fields.optional_positive(field)?.unwrap_or(1.0));
    let flag = |field| Ok(fields.flag(field)?.unwrap_or(false));
    let attention_bias = flag("attention_bias")?;
    let embedding_scale = scale("embedding_multiplier")?;
    let mut config = DecoderConfig {
        ropes: vec![rope::from_json(fields, &config)?],
        embedding_scale,
        virtual_scale: embedding_scale,
        residual_scale: scale("residual_multiplier")?,
        attention_scale: scale("attention_multiplier")?,
        logit_divisor: scale("logits_scaling")?,
        biases: Biases {
            qkv: attention_bias,
            o: attention_bias,
            mlp: false,
        },
        ..config
    };
    if fields.text("model_type")? != Some(HYBRID) {
        config.biases.mlp = flag("mlp_bias")?;
        return Ok(config);
    }
    check_dense(fields, config.num_layers)?;
    let width = fields.optional_size("shared_intermediate_size")?;
    config.intermediate_size = width.unwrap_or(1024);
    match fields.text(POSITIONS)? {
        Some("rope") => {}
        None | Some("nope") => unrotated(&mut config.layers),
        Some(found) => return Err(fields.refuse(POSITIONS, found, "rope, nope or no such field")),
    }
    Ok(config)
}

/// Refuses experts and Mamba layers, which a Granite 4 has unless it says that it has none.
fn check_dense(fields: &Json<'_>, num_layers: usize) -> Result<()> {
    match fields.unsigned(EXPERTS)? {
        Some(0) => {}
        Some(found) => return Err(fields.refuse(EXPERTS, found, "0: models without experts")),
        None => return Err(fields.refuse(EXPERTS, "no such field, so 8", "0")),
    }
    const SUPPORTED: &str = "attention in every block: Mamba is not computed";
    let Some(listed) = fields.list(windows::JSON)? else {
        return Err(fields.refuse(windows::JSON, "no such field, so Mamba", SUPPORTED));
    };
    if listed.len() != num_layers {
        let supported = format!("one for each of the {num_layers} blocks");
        let found = format!("{} of them", listed.len());
        return Err(fields.refuse(windows::JSON, found, &supported));
    }
    let other = listed
        .iter()
        .find(|kind| !matches!(kind.as_str(), Some("attention" | "full_attention")));
    match other {
        Some(found) => Err(fields.refuse(windows::JSON, found, SUPPORTED)),
        None => Ok(()),
    }
}

fn unrotated(layers: &mut [LayerConfig]) {
    for layer in layers {
        layer.rope = None;
    }
}

fn from_gguf(keys: &Keys<'_>, names: &'static Names) -> Result<DecoderConfig> {
    let config = sizes::from_gguf(keys, names)?;
    // As llama.cpp: 0 is as good as absent.
    let scale = |field: &str, default: f64| match keys.number(field)? {
        None | Some(0.0) => Ok(default),
        Some(_) => keys.positive(field, ""),
    };
    let embedding_scale = scale("embedding_scale", 1.0)?;
    let mut config = DecoderConfig {
        ropes: vec![rope::from_gguf(keys, &config)?],
        embedding_scale,
        virtual_scale: embedding_scale,
        residual_scale: scale("residual_scale", 1.0)?,
        attention_scale: scale("attention.scale", config.attention_scale)?,
        logit_divisor: keys.positive("logit_scale", "by which logits are divided")?,
        ..config
    };
    if keys.flag("rope.scaling.finetuned")? == Some(false) {
        unrotated(&mut config.layers);
    }
    Ok(config)
}
