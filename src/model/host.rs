//! A block of the decoder over plain slices, for weights that are quantised in host memory.
//!
//! The same computation as [`Block::forward`], which stays the reference and is run wherever an
//! adapter gives extra keys and values or changes a norm. The small steps between the products (norm, rotation,
//! attention, SwiGLU) cost more as forty tensor operations than as loops. At the sites where an
//! adapter acts, the linear layer is the very one of the tensor path.

use std::cell::OnceCell;

use burn::nn::RmsNorm;
use burn::tensor::Tensor;

use super::cache::Turn;
use super::history::attend;
use super::slices::{self, add};
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
    /// Whether [`Self::on_host`] can run this plan: it has no extra keys and values and leaves the
    /// norms alone.
    pub(super) fn runs_on_host(plan: &LayerPlan) -> bool {
        plan.extra.is_empty() && plan.gains.iter().all(Vec::is_empty)
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
        let mixed = attend(&q, config.num_heads, cache.on_host(layer));
        let mixed = Rows::new(mixed, config.num_heads * hd);
        add(
            &mut h,
            &mixed.through(&self.attention.o, plan.linear(Projection::O)),
        );

        let x = normed(&self.post_attention_layernorm, &h, d);
        let mut inner = x.through(&self.mlp.gate, plan.linear(Projection::Gate));
        let up = x.through(&self.mlp.up, plan.linear(Projection::Up));
        slices::swiglu(&mut inner, &up);
        let inner = Rows::new(inner, config.intermediate_size);
        add(
            &mut h,
            &inner.through(&self.mlp.down, plan.linear(Projection::Down)),
        );
        from_host(h, d)
    }
}

/// `x / √(mean x² + ε) ∘ γ`
fn normed(norm: &RmsNorm, h: &[f32], d: usize) -> Rows {
    let gamma = to_host(norm.gamma.val());
    Rows::new(slices::rms_norm(h, &gamma, norm.epsilon as f32), d)
}
