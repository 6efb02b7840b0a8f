//! Control vectors from pairs of contrasting texts: the mean difference of the residual stream.
//!
//! For each block L, `v_L` is the mean over pairs of `h_L(positive) − h_L(negative)`, each the mean
//! over its text's tokens but the first (whose huge stream is the same in all texts), brought to the
//! length `share · mean ‖h_L‖`. Mean differences were the best detectors in AxBench (Wu et al. 2025),
//! and lengths relative to the stream make one share mean the same in every block.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use burn::tensor::Tensor;
use safetensors::{Dtype, SafeTensorError, serialize, tensor::TensorView};
use serde::Deserialize;

use crate::device::read_back;
use crate::error::{Error, Result};
use crate::hooks::Steering;
use crate::sample::all_finite;
use crate::session::Session;

/// Texts paired by place: the same situation, told in two opposite ways.
#[derive(Debug, Clone, Deserialize)]
pub struct Pairs {
    /// What c = 1 shall bring more of.
    pub positive: Vec<String>,
    /// What c = −1 shall bring more of.
    pub negative: Vec<String>,
}

/// The blocks that steering acts on unless told otherwise: the middle 20 to 80 %.
#[must_use]
pub fn middle_layers(num_layers: usize) -> RangeInclusive<usize> {
    num_layers / 5..=(num_layers * 4 / 5).saturating_sub(1)
}

/// Extracts `direction.L [d]` for the given blocks.
///
/// # Errors
/// [`Error::BadOption`] for pairs that do not pair, a share that is no length, layers beyond the
/// model, a text too short or too long, pairs that show no difference; and what reading the texts
/// reports.
pub async fn control_vector(
    session: &Session,
    pairs: &Pairs,
    layers: RangeInclusive<usize>,
    share: f32,
) -> Result<BTreeMap<String, Vec<f32>>> {
    let bad = |name, expected, found: String| Error::BadOption {
        name,
        expected,
        found,
    };
    let (n, opposite) = (pairs.positive.len(), pairs.negative.len());
    if n == 0 || n != opposite {
        return Err(bad(
            "pairs",
            "as many positive as negative texts",
            format!("{n} and {opposite}"),
        ));
    }
    if !(share > 0.0 && share <= LONGEST) {
        return Err(bad(
            "share",
            "a number above 0, up to 100: how long the step is beside the stream; what points the \
             other way is a coefficient below 0",
            share.to_string(),
        ));
    }
    let config = session.model.config();
    let num_layers = config.num_layers;
    if *layers.end() >= num_layers || layers.is_empty() {
        return Err(bad(
            "layers",
            "first and last block of the model",
            format!("{layers:?}"),
        ));
    }
    let Some(text) = &session.text else {
        return Err(Error::NoTokenizer {
            file: session.model.name().into(),
        });
    };
    let sides = [
        (1.0, "positive", &pairs.positive),
        (-1.0, "negative", &pairs.negative),
    ];
    // All are looked at before the first is read, which takes long.
    let mut texts = Vec::with_capacity(2 * n);
    for pair in 0..n {
        for (sign, side, list) in sides {
            let ids = text.encode(&list[pair], true)?;
            let which = format!("pair {}, {side}", pair + 1);
            if ids.len() < 2 || ids.len() > config.context {
                let count = ids.len();
                return Err(bad(
                    "pairs",
                    "texts of at least two tokens (the first does not count: its stream is huge in \
                     all texts) that fit into the context",
                    format!("{count} in {which}: {:?}", shown(&list[pair])),
                ));
            }
            texts.push((sign, which, ids));
        }
    }
    let d = config.hidden_size;
    let mut sums: Vec<(Vec<f64>, f64)> = vec![(vec![0.0; d], 0.0); num_layers];
    for (sign, which, ids) in texts {
        let streams = session.model.residuals(&ids, &Steering::base())?;
        let mean = |h: Tensor<2>| h.narrow(0, 1, ids.len() - 1).mean_dim(0);
        let means = Tensor::cat(streams.into_iter().map(mean).collect(), 0);
        let means = read_back(means).await?;
        if !all_finite(&means) {
            let found = format!("numbers that are not finite in {which}");
            return Err(bad("pairs", "texts that the model can read", found));
        }
        for ((sum, length), h) in sums.iter_mut().zip(means.chunks(d)) {
            let h = h.iter().map(|x| f64::from(*x));
            *length += norm(h.clone()) / (2 * n) as f64;
            sum.iter_mut().zip(h).for_each(|(sum, h)| *sum += sign * h);
        }
    }
    let equal = (0..n).find(|&pair| pairs.positive[pair] == pairs.negative[pair]);
    let direction = |layer: usize| {
        let (sum, length) = &sums[layer];
        let difference = norm(sum.iter().copied());
        // What is left then is rounding, and stretching it would give a direction of noise.
        if difference / n as f64 <= SMALLEST * length {
            let why = equal.map_or_else(
                || "they cancel each other".into(),
                |pair| format!("the texts of pair {} are the same", pair + 1),
            );
            return Err(bad(
                "pairs",
                "texts whose streams differ",
                format!("without a difference at block {layer}: {why}"),
            ));
        }
        let scale = f64::from(share) * length / difference;
        let step: Vec<f32> = sum.iter().map(|x| (x * scale) as f32).collect();
        Ok((format!("direction.{layer}"), step))
    };
    layers.map(direction).collect()
}

/// The longest step, in lengths of the residual stream: beyond it a model says nothing any more.
const LONGEST: f32 = 100.0;

/// The smallest mean difference, in lengths of the residual stream, that is more than rounding.
const SMALLEST: f64 = 1e-6;

/// The beginning of a text, for a message.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The `adapter_config.json` of a vector for this model.
#[must_use]
pub fn adapter_config(session: &Session) -> String {
    let family = session.model.config().family;
    let config = serde_json::json!({ "peft_type": "CONTROL_VECTOR", "model_hint": family.gguf });
    format!("{config:#}\n")
}

/// The vector as a safetensors file.
///
/// # Errors
/// [`Error::BadHeader`] if the container refuses a tensor.
pub fn to_safetensors(directions: &BTreeMap<String, Vec<f32>>) -> Result<Vec<u8>> {
    let bytes: Vec<(&String, Vec<u8>)> = directions
        .iter()
        .map(|(key, values)| (key, values.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let bad = |error: SafeTensorError| Error::BadHeader {
        file: "adapter_model.safetensors".into(),
        why: error.to_string(),
    };
    let views = bytes
        .iter()
        .map(|(key, bytes)| {
            let shape = vec![bytes.len() / size_of::<f32>()];
            Ok((
                key.as_str(),
                TensorView::new(Dtype::F32, shape, bytes).map_err(bad)?,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    serialize(views, None).map_err(bad)
}

fn norm(v: impl Iterator<Item = f64>) -> f64 {
    v.map(|x| x * x).sum::<f64>().sqrt()
}
