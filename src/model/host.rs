//! A block of the decoder over plain slices, for weights that are quantised in host memory.
//!
//! The same computation as [`Block::forward`], which stays the reference and is run wherever an
//! adapter gives extra keys and values. The small steps between the products (norm, rotation,
//! attention, SwiGLU) cost more as forty tensor operations than as loops. At the sites where an
//! adapter acts, the linear layer is the very one of the tensor path.

use std::cell::OnceCell;

use burn::nn::RmsNorm;
use burn::tensor::Tensor;

use super::cache::Turn;
use super::weight::{Weight, from_host, to_host};
use super::{Block, KvCache, Linear, LlamaConfig, Projection};
use crate::adapters::{LayerPlan, SitePlan};
use crate::quantised::Activations;

/// Rows of activations, rounded once for all the products that read them.
struct Rows {
    values: Vec<f32>,
    width: usize,
    codes: OnceCell<Activations>,
}

impl Rows {
    fn new(values: Vec<f32>, width: usize) -> Self {
        let codes = OnceCell::new();
        Self {
            values,
            width,
            codes,
        }
    }

    /// `x Wᵀ + b` and the effects of the plan, `[t, o]`.
    fn through(&self, linear: &Linear, plan: &SitePlan) -> Vec<f32> {
        match (&linear.weight, &linear.bias) {
            (Weight::Packed(weight), None) if plan.is_empty() => {
                let codes = self
                    .codes
                    .get_or_init(|| Activations::new(&self.values, self.width));
                weight.product(codes)
            }
            _ => to_host(linear.forward(from_host(self.values.clone(), self.width), plan)),
        }
    }
}

/// Cosines and sines `[t, hd/2]` of one forward pass.
pub(super) struct HostRope {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl HostRope {
    pub(super) fn new(turn: &Turn) -> Self {
        let (cos, sin) = turn.rope.clone();
        Self {
            cos: to_host(cos),
            sin: to_host(sin),
        }
    }

    /// Rotates `x [t, heads, hd]`: the halves of each head form the pairs.
    fn rotate(&self, x: &mut [f32], heads: usize, hd: usize) {
        let tables = self
            .cos
            .chunks_exact(hd / 2)
            .zip(self.sin.chunks_exact(hd / 2));
        for (row, (cos, sin)) in x.chunks_exact_mut(heads * hd).zip(tables) {
            for head in row.chunks_exact_mut(hd) {
                let (first, second) = head.split_at_mut(hd / 2);
                let pairs = first.iter_mut().zip(second);
                for ((a, b), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }
}

impl Block {
    /// Whether [`Self::on_host`] can run this plan: it has no extra keys and values.
    pub(super) fn runs_on_host(plan: &LayerPlan) -> bool {
        plan.extra.is_empty()
    }

    /// `h [t, d] -> [t, d]`, without the plan's steps in the residual stream.
    pub(super) fn on_host(
        &self,
        h: Tensor<2>,
        (layer, cache): (usize, &mut KvCache),
        (turn, rope): (&Turn, &HostRope),
        config: &LlamaConfig,
        plan: &LayerPlan,
    ) -> Tensor<2> {
        let (d, hd) = (config.hidden_size, config.head_dim);
        let mut h = to_host(h);

        let x = normed(&self.input_layernorm, &h, d);
        let mut q = x.through(&self.attention.q, plan.linear(Projection::Q));
        let mut k = x.through(&self.attention.k, plan.linear(Projection::K));
        let v = x.through(&self.attention.v, plan.linear(Projection::V));
        rope.rotate(&mut q, config.num_heads, hd);
        rope.rotate(&mut k, config.num_kv_heads, hd);
        cache.append_on_host(layer, turn, &k, &v);
        let (keys, values) = cache.rows_on_host(layer);
        let mixed = Rows::new(attend(&q, keys, values, config), config.num_heads * hd);
        add(
            &mut h,
            &mixed.through(&self.attention.o, plan.linear(Projection::O)),
        );

        let x = normed(&self.post_attention_layernorm, &h, d);
        let mut inner = x.through(&self.mlp.gate, plan.linear(Projection::Gate));
        let up = x.through(&self.mlp.up, plan.linear(Projection::Up));
        inner
            .iter_mut()
            .zip(&up)
            .for_each(|(gate, up)| *gate = silu(*gate) * up);
        let inner = Rows::new(inner, config.intermediate_size);
        add(
            &mut h,
            &inner.through(&self.mlp.down, plan.linear(Projection::Down)),
        );
        from_host(h, d)
    }
}

fn add(h: &mut [f32], y: &[f32]) {
    h.iter_mut().zip(y).for_each(|(h, y)| *h += y);
}

/// `x / √(mean x² + ε) ∘ γ`
fn normed(norm: &RmsNorm, h: &[f32], d: usize) -> Rows {
    let gamma = to_host(norm.gamma.val());
    let mut x = Vec::with_capacity(h.len());
    for row in h.chunks_exact(d) {
        let mean = dot(row, row) / d as f32;
        let scale = 1.0 / (mean + norm.epsilon as f32).sqrt();
        x.extend(row.iter().zip(&gamma).map(|(h, gamma)| h * scale * gamma));
    }
    Rows::new(x, d)
}

/// Causal attention of the newest t positions: `q [t, heads, hd]`, keys and values
/// `[start + t, kv_heads, hd]`, gives `[t, heads·hd]`.
fn attend(q: &[f32], keys: &[f32], values: &[f32], config: &LlamaConfig) -> Vec<f32> {
    let (heads, hd) = (config.num_heads, config.head_dim);
    let (kv_width, groups) = (config.num_kv_heads * hd, heads / config.num_kv_heads);
    let start = keys.len() / kv_width - q.len() / (heads * hd);
    let scale = 1.0 / (hd as f32).sqrt();
    let mut out = vec![0.0; q.len()];
    let mut shares = Vec::new();
    for (at, (q, out)) in q.chunks_exact(hd).zip(out.chunks_exact_mut(hd)).enumerate() {
        let (seen, head) = (start + at / heads + 1, at % heads);
        let column = head / groups * hd;
        shares.clear();
        shares.extend(
            keys.chunks_exact(kv_width)
                .take(seen)
                .map(|key| dot(q, &key[column..column + hd]) * scale),
        );
        let largest = shares.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        shares
            .iter_mut()
            .for_each(|score| *score = exp(*score - largest));
        let total: f32 = shares.iter().sum();
        for (share, value) in shares.iter().zip(values.chunks_exact(kv_width)) {
            let value = &value[column..column + hd];
            out.iter_mut()
                .zip(value)
                .for_each(|(out, value)| *out += share * value);
        }
        out.iter_mut().for_each(|out| *out /= total);
    }
    out
}

/// `Σ a b` in eight interleaved sums, which fill SIMD registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for n in 0..8 {
            sums[n] += a[n] * b[n];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// `x / (1 + e⁻ˣ)`
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// eˣ within 2 units in the last place, without branches or calls, so that loops over it become
/// SIMD: `2ⁿ · e^r` with |r| ≤ ln 2 / 2, and Cephes' polynomial for e^r. Saturates outside ±87.
fn exp(x: f32) -> f32 {
    const ROUNDER: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 87.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = rounded - ROUNDER;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 0.166_666_66;
    let p = p * r + 0.5;
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000));
    (p * r * r + r + 1.0) * power
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exp_is_near_the_true_one() {
        for step in -87_000..=87_000 {
            let x = step as f32 / 1000.0;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(
                (found / expected - 1.0).abs() < 3e-7,
                "exp({x}) is {found}, not {expected}"
            );
        }
        assert!(exp(f32::NAN).is_nan(), "NaN stays visible");
    }
}
