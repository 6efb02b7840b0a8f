//! Control vectors from pairs of contrasting texts: the mean difference of the residual stream.
//!
//! For each block L, `v_L` is the mean over pairs of `h_L(positive) − h_L(negative)`, each the mean
//! over its text's tokens but the first (whose huge stream is the same in all texts), brought to the length `share · mean ‖h_L‖`. Mean differences were the best detectors in
//! AxBench (Wu et al. 2025), and lengths relative to the stream make one share mean the same in
//! every block.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use burn::tensor::Tensor;
use safetensors::{Dtype, SafeTensorError, serialize, tensor::TensorView};
use serde::Deserialize;

use crate::adapters::Steering;
use crate::error::{Error, Result};
use crate::session::{Session, read_back};

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
/// [`Error::BadOption`] for pairs that do not pair or layers beyond the model, and what reading
/// the texts reports.
pub async fn control_vector(
    session: &Session,
    pairs: &Pairs,
    layers: RangeInclusive<usize>,
    share: f32,
) -> Result<BTreeMap<String, Vec<f32>>> {
    let bad = |name, expected, found: String| {
        Err(Error::BadOption {
            name,
            expected,
            found,
        })
    };
    let (n, opposite) = (pairs.positive.len(), pairs.negative.len());
    if n == 0 || n != opposite {
        return bad(
            "pairs",
            "as many positive as negative texts",
            format!("{n} and {opposite}"),
        );
    }
    let num_layers = session.model.config().num_layers;
    if *layers.end() >= num_layers || layers.is_empty() {
        return bad(
            "layers",
            "first and last block of the model",
            format!("{layers:?}"),
        );
    }
    let Some(text) = &session.text else {
        return Err(Error::NoTokenizer {
            file: session.model.name().into(),
        });
    };
    let d = session.model.config().hidden_size;
    let mut sums: Vec<(Vec<f32>, f32)> = vec![(vec![0.0; d], 0.0); num_layers];
    for (positive, negative) in pairs.positive.iter().zip(&pairs.negative) {
        for (sign, side) in [(1.0, positive), (-1.0, negative)] {
            let ids = text.encode(side, true)?;
            let streams = session.model.residuals(&ids, &Steering::base())?;
            let first = usize::from(ids.len() > 1);
            let mean = |h: Tensor<2>| h.narrow(0, first, ids.len() - first).mean_dim(0);
            let means = Tensor::cat(streams.into_iter().map(mean).collect(), 0);
            let means = read_back(means).await?;
            for ((sum, length), h) in sums.iter_mut().zip(means.chunks(d)) {
                sum.iter_mut().zip(h).for_each(|(sum, h)| *sum += sign * h);
                *length += norm(h) / (2 * n) as f32;
            }
        }
    }
    let directions = layers.map(|layer| {
        let (sum, length) = &sums[layer];
        let scale = share * length / norm(sum).max(f32::MIN_POSITIVE);
        (
            format!("direction.{layer}"),
            sum.iter().map(|x| x * scale).collect(),
        )
    });
    Ok(directions.collect())
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

fn norm(v: &[f32]) -> f32 {
    v.iter().map(|x| x * x).sum::<f32>().sqrt()
}
