//! Grouped-query attention with rotary positions, and the mix-in of extra keys and values.

use burn::tensor::{Device, Tensor, TensorData, activation};

use super::Linear;
use super::lanes::{self, Plans, Run};
use crate::arch::{DecoderConfig, Projection, RopeConfig};
use crate::hooks::{ExtraKeyValue, Join, LayerPlan};

/// How many positions beyond the context the tables hold: tokens that an adapter puts in front of
/// the text are met by queries that stand that much later.
pub const EXTRA_POSITIONS: usize = 1024;

/// Cosines and sines of the rotary embedding.
#[derive(Debug, Clone)]
pub struct Rope {
    /// `[positions, hd/2]`
    cos: Tensor<2>,
    /// `[positions, hd/2]`
    sin: Tensor<2>,
}

impl Rope {
    /// Tables for `context + EXTRA_POSITIONS` positions, in f32 as transformers computes them.
    #[must_use]
    pub fn new(config: &DecoderConfig, device: &Device) -> Self {
        let half = config.head_dim / 2;
        let rows = config.context + EXTRA_POSITIONS;
        let RopeConfig {
            inverse_wavelengths: wavelengths,
            factor,
        } = &config.ropes[0];
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f32> = (0..rows)
                .flat_map(|p| {
                    wavelengths
                        .iter()
                        .map(move |w| (f(f64::from(p as f32 * w)) * factor) as f32)
                })
                .collect();
            Tensor::from_data(TensorData::new(values, [rows, half]), device)
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }

    /// Cosines and sines, each `[positions, hd/2]`.
    pub(super) fn tables(&self) -> (Tensor<2>, Tensor<2>) {
        (self.cos.clone(), self.sin.clone())
    }

    /// The rows of positions `start .. start + t`, shaped `[t, 1, hd/2]`.
    #[must_use]
    pub fn rows(&self, start: usize, t: usize) -> (Tensor<3>, Tensor<3>) {
        let cut = |table: &Tensor<2>| table.clone().narrow(0, start, t).unsqueeze_dim(1);
        (cut(&self.cos), cut(&self.sin))
    }
}

/// Rotates `x [t, heads, hd]`: the halves of each head form the pairs (Hugging Face's layout).
fn rotate(x: Tensor<3>, (cos, sin): &(Tensor<3>, Tensor<3>)) -> Tensor<3> {
    let half = x.dims()[2] / 2;
    let (a, b) = (x.clone().narrow(2, 0, half), x.narrow(2, half, half));
    let first = a.clone() * cos.clone() - b.clone() * sin.clone();
    let second = b * cos.clone() + a * sin.clone();
    Tensor::cat(vec![first, second], 2)
}

/// Self-attention of one block.
#[derive(Debug)]
pub struct Attention {
    pub(super) q: Linear,
    pub(super) k: Linear,
    pub(super) v: Linear,
    pub(super) o: Linear,
}

impl Attention {
    /// `x [t, d] -> [t, d]`, the rows of all lanes; writes keys and values into their caches.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        layer: usize,
        runs: &mut [Run],
        plans: &Plans<LayerPlan>,
        config: &DecoderConfig,
    ) -> Tensor<2> {
        let of = |projection| lanes::of_site(plans, projection);
        let q = self.q.forward_lanes(x.clone(), &of(Projection::Q));
        let k = self.k.forward_lanes(x.clone(), &of(Projection::K));
        let v = self.v.forward_lanes(x, &of(Projection::V));
        let each = runs.iter_mut().zip(plans).map(|(run, (rows, plan))| {
            let qkv = [&q, &k, &v].map(|all| lanes::rows(all, rows));
            attend(qkv, layer, run, plan, config)
        });
        let mixed = lanes::join(each.collect());
        self.o.forward_lanes(mixed, &of(Projection::O))
    }
}

/// The heads of one lane, `[t, heads·hd]`.
fn attend(
    [q, k, v]: [Tensor<2>; 3],
    layer: usize,
    run: &mut Run,
    plan: &LayerPlan,
    config: &DecoderConfig,
) -> Tensor<2> {
    let [t, _] = q.dims();
    let (heads, kv_heads, hd) = (config.num_heads, config.num_kv_heads, config.head_dim);
    let groups = heads / kv_heads;
    let (cache, turn) = (&mut run.cache, &run.turn);

    let q = q.reshape([t, heads, hd]);
    let k = rotate(k.reshape([t, kv_heads, hd]), turn.rope());
    let v = v.reshape([t, kv_heads, hd]);
    let (keys, values) = cache.append(layer, turn, k.swap_dims(0, 1), v.swap_dims(0, 1));

    // Query heads that share a key head become rows of one matrix: `[kv, groups·t, hd]`.
    let by_kv_head = |q: Tensor<3>| {
        (q / (hd as f64).sqrt())
            .reshape([t, kv_heads, groups, hd])
            .permute([1, 2, 0, 3])
            .reshape([kv_heads, groups * t, hd])
    };
    let total = keys.dims()[1];
    let mut scores = by_kv_head(rotate(q.clone(), turn.rope())).matmul(keys.swap_dims(1, 2));
    if let Some(mask) = &turn.mask {
        scores = (scores.reshape([kv_heads, groups, t, total]) + mask.clone().unsqueeze())
            .reshape([kv_heads, groups * t, total]);
    }
    let mut mixed = activation::softmax(scores.clone(), 2).matmul(values);
    for extra in &plan.extra {
        let q = by_kv_head(rotate(q.clone(), &turn.rope_after(extra.offset())));
        mixed = mix_in(mixed, &scores, q, extra);
    }
    mixed
        .reshape([kv_heads, groups, t, hd])
        .permute([2, 0, 1, 3])
        .reshape([t, heads * hd])
}

/// Beside: `attn₀ + c·attn_extra`. In front: `attn₀ + c·w·(attn_extra − attn₀)`, where `w` is the
/// share of the softmax that the extra keys would take: at c = 1 this is softmax attention over
/// both sets of keys.
fn mix_in(base: Tensor<3>, scores: &Tensor<3>, q: Tensor<3>, extra: &ExtraKeyValue) -> Tensor<3> {
    let extra_scores = q.matmul(extra.keys.clone().swap_dims(1, 2));
    let attended = activation::softmax(extra_scores.clone(), 2).matmul(extra.values.clone());
    let step = match extra.join {
        Join::Beside => attended,
        Join::InFront => {
            let share = log_sum_exp(extra_scores) - log_sum_exp(scores.clone());
            (attended - base.clone()) * activation::sigmoid(share)
        }
    };
    base + step * extra.coefficient
}

/// `ln Σ exp` over the last dimension, `[a, b, n] -> [a, b, 1]`.
fn log_sum_exp(x: Tensor<3>) -> Tensor<3> {
    let max = x.clone().max_dim(2);
    (x - max.clone()).exp().sum_dim(2).log() + max
}
