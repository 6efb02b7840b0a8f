//! A block of the decoder over plain slices, for weights that are quantised in host memory.
//!
//! The same computation as [`Block::forward`], which stays the reference and is run wherever an
//! adapter gives extra keys and values or changes a norm. The small steps between the products (norm,
//! rotation, attention, SwiGLU, low-rank changes) cost more as tensor operations than as loops. All
//! other effects are those of the tensor path.

use std::cell::OnceCell;

use burn::nn::RmsNorm;
use burn::tensor::Tensor;

use super::cache::Turn;
use super::history::attend;
use super::lanes::{self, Plans, Run};
use super::weight::Weight;
use super::{Block, Linear, steered};
use crate::arch::{DecoderConfig, Projection};
use crate::hooks::{LayerPlan, Shift, SitePlan};
use crate::quantised::Activations;
use crate::tensor::slices::{self, add};
use crate::tensor::{from_host, on_host, to_host};

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

    /// `x Wᵀ + b` and the effects of the plans, `[t, o]`.
    fn through(&self, linear: &Linear, plans: &Plans<SitePlan>) -> Vec<f32> {
        let mapped = plans.iter().any(|(_, plan)| !plan.inputs.is_empty());
        let (Weight::Packed(weight), None, false) = (&linear.weight, &linear.bias, mapped) else {
            let x = from_host(self.values.clone(), self.width);
            return to_host(linear.forward_lanes(x, plans));
        };
        let codes = self
            .codes
            .get_or_init(|| Activations::new(&self.values, self.width));
        let mut y = weight.product(codes);
        let o = weight.shape()[0];
        for (rows, plan) in plans.iter().filter(|(_, plan)| !plan.is_empty()) {
            let x = &self.values[rows.start * self.width..rows.end * self.width];
            let y = &mut y[rows.start * o..rows.end * o];
            if let Some(parts) = plan.low_rank() {
                for (a, b, scale) in parts {
                    let widths = [self.width, o, a.dims()[0]];
                    on_host(a, |a| {
                        on_host(b, |b| slices::low_rank(widths, y, x, [a, b], scale));
                    });
                }
                continue;
            }
            let (x, base) = (from_host(x.to_vec(), self.width), from_host(y.to_vec(), o));
            y.copy_from_slice(&to_host(steered(&x, base, &linear.weight, None, plan)));
        }
        y
    }
}

/// Cosines and sines `[t, hd/2]` of one forward pass.
#[derive(Debug)]
pub(super) struct HostRope {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl HostRope {
    pub(super) fn new(turn: &Turn) -> Self {
        let (cos, sin) = turn.rope().clone();
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
    /// Whether [`Self::on_host`] can run these plans: they have no extra keys and values and leave
    /// the norms alone.
    pub(super) fn runs_on_host(plans: &Plans<LayerPlan>) -> bool {
        let mut plans = plans.iter();
        plans.all(|(_, plan)| plan.extra.is_empty() && plan.gains.iter().all(Vec::is_empty))
    }

    /// `h [t, d] -> [t, d]`, the rows of all lanes.
    pub(super) fn on_host(
        &self,
        h: Tensor<2>,
        layer: usize,
        runs: &mut [Run],
        plans: &Plans<LayerPlan>,
        config: &DecoderConfig,
    ) -> Tensor<2> {
        let (d, hd) = (config.hidden_size, config.head_dim);
        let through = |x: &Rows, projection| {
            let plans = lanes::of_site(plans, projection);
            x.through(self.linear(projection), &plans)
        };
        let mut h = to_host(h);

        let x = normed(&self.input_layernorm, &h, d);
        let mut q = through(&x, Projection::Q);
        let mut k = through(&x, Projection::K);
        let v = through(&x, Projection::V);
        let (q_width, kv_width) = (config.num_heads * hd, config.num_kv_heads * hd);
        let mut mixed = Vec::with_capacity(q.len());
        for run in runs {
            let of = |width: usize| run.rows.start * width..run.rows.end * width;
            let (q, k) = (&mut q[of(q_width)], &mut k[of(kv_width)]);
            if let Some(rope) = &run.rope {
                rope.rotate(q, config.num_heads, hd);
                rope.rotate(k, config.num_kv_heads, hd);
            }
            run.cache
                .append_on_host(layer, &run.turn, k, &v[of(kv_width)]);
            mixed.extend(attend(q, config.num_heads, run.cache.on_host(layer)));
        }
        let mixed = Rows::new(mixed, q_width);
        add(&mut h, &through(&mixed, Projection::O));

        let x = normed(&self.post_attention_layernorm, &h, d);
        let mut inner = through(&x, Projection::Gate);
        let up = through(&x, Projection::Up);
        slices::swiglu(&mut inner, &up);
        let inner = Rows::new(inner, config.intermediate_size);
        add(&mut h, &through(&inner, Projection::Down));
        for (rows, plan) in plans {
            for shift in &plan.residual {
                step(&mut h[rows.start * d..rows.end * d], shift, d);
            }
        }
        from_host(h, d)
    }
}

/// A step in the residual stream `h [t, d]`.
fn step(h: &mut [f32], shift: &Shift, d: usize) {
    if shift.keep_length {
        let moved = shift.apply(from_host(h.to_vec(), d));
        h.copy_from_slice(&to_host(moved));
        return;
    }
    on_host(&shift.direction, |v| {
        for row in h.chunks_exact_mut(d) {
            let each = row.iter_mut().zip(v);
            each.for_each(|(h, v)| *h += v * shift.scale);
        }
    });
}

/// `x / √(mean x² + ε) ∘ γ`
fn normed(norm: &RmsNorm, h: &[f32], d: usize) -> Rows {
    let gamma = to_host(norm.gamma.val());
    Rows::new(slices::rms_norm(h, &gamma, norm.epsilon as f32), d)
}
