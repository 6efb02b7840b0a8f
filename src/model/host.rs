//! A block over plain slices, for weights that are quantised in host memory.
//!
//! The small steps between the products (norm, rotation, attention, SwiGLU, low-rank changes) cost
//! more as tensor operations than as loops. All other effects are those of the tensor executor, which
//! also runs blocks where an adapter gives extra keys and values or changes a norm, and all blocks of
//! decoders that ask for more than [`Host::suits`] says.

use std::cell::OnceCell;

use super::block::Executor;
use super::lanes::{self, Plans};
use super::layer::Pass;
use super::linear::{Linear, steered};
use super::weight::Weight;
use crate::arch::{Activation, DecoderConfig, Norm, Projection, RopeConfig};
use crate::hooks::{LayerPlan, Shift, SitePlan};
use crate::tensor::{from_host, on_host, to_host};
use processor::history::attend;
use processor::quantised::Activations;
use processor::slices::{self, add, add_scaled};

/// Rows of activations, rounded once for all the products that read them.
pub(super) struct Rows {
    pub(super) values: Vec<f32>,
    width: usize,
    codes: OnceCell<Activations>,
}

impl Rows {
    pub(super) fn new(values: Vec<f32>, width: usize) -> Self {
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
        let (Weight::Packed(weight), false) = (&linear.weight, mapped) else {
            let x = from_host(self.values.clone(), self.width);
            return to_host(linear.forward_lanes(x, plans));
        };
        let codes = self
            .codes
            .get_or_init(|| Activations::new(&self.values, self.width));
        let mut y = weight.product(codes);
        let o = weight.shape()[0];
        let bias = linear.bias.as_ref();
        let acts = |plan: &SitePlan| bias.is_some() || !plan.is_empty();
        for (rows, plan) in plans.iter().filter(|(_, plan)| acts(plan)) {
            let x = &self.values[rows.start * self.width..rows.end * self.width];
            let y = &mut y[rows.start * o..rows.end * o];
            if let Some(parts) = plan.low_rank() {
                for (a, b, scale) in parts {
                    let widths = [self.width, o, a.dims()[0]];
                    on_host(a, |a| {
                        on_host(b, |b| slices::low_rank(widths, y, x, [a, b], scale));
                    });
                }
                if let Some(bias) = bias {
                    on_host(bias, |bias| {
                        y.chunks_exact_mut(o).for_each(|row| add(row, bias));
                    });
                }
                continue;
            }
            let (x, base) = (from_host(x.to_vec(), self.width), from_host(y.to_vec(), o));
            y.copy_from_slice(&to_host(steered(&x, base, &linear.weight, bias, plan)));
        }
        y
    }
}

/// A block in a pass, over slices in host memory.
pub(super) struct Host<'a, 'r>(pub(super) Pass<'a, 'r>);

impl Host<'_, '_> {
    /// Whether it can run the blocks of such a decoder.
    pub(super) fn suits(config: &DecoderConfig) -> bool {
        let whole = |rope: &RopeConfig| rope.inverse_wavelengths.len() * 2 == config.head_dim;
        config.is_gated_rms()
            && config.ropes.iter().all(whole)
            && config.activation != Activation::Gelu
            && config.attention_cap.is_none()
    }

    /// Whether it can run these plans: they have no extra keys and values and leave the norms alone.
    pub(super) fn runs(plans: &Plans<LayerPlan>) -> bool {
        let mut plans = plans.iter();
        plans.all(|(_, plan)| plan.extra.is_empty() && plan.gains.iter().all(Vec::is_empty))
    }

    fn through(&self, projection: Projection, x: &Rows) -> Vec<f32> {
        let plans = lanes::of_site(self.0.plans, projection);
        x.through(self.0.block.linear(projection), &plans)
    }
}

impl Executor for Host<'_, '_> {
    type Rows = Rows;
    type Heads = [Vec<f32>; 3];

    fn config(&self) -> &DecoderConfig {
        self.0.config
    }

    fn norm(&mut self, place: Norm, h: &Rows) -> Rows {
        Rows::new(self.0.block.norm(place).on_host(&h.values), h.width)
    }

    fn copy(&mut self, h: &Rows) -> Rows {
        Rows::new(h.values.clone(), h.width)
    }

    fn heads(&mut self, x: Rows) -> [Vec<f32>; 3] {
        [Projection::Q, Projection::K, Projection::V].map(|projection| self.through(projection, &x))
    }

    fn attend(&mut self, [mut q, mut k, v]: [Vec<f32>; 3]) -> Rows {
        let config = self.0.config;
        let of_layer = config.layers[self.0.layer];
        if config.qk_norm.is_some() {
            q = self.0.block.norm(Norm::Query).on_host(&q);
            k = self.0.block.norm(Norm::Key).on_host(&k);
        }
        let (heads, kv_heads, hd) = (config.num_heads, config.num_kv_heads, config.head_dim);
        let mut mixed = Vec::with_capacity(q.len());
        for run in self.0.runs.iter_mut() {
            let of = |width: usize| run.rows.start * width..run.rows.end * width;
            let (q, k) = (&mut q[of(heads * hd)], &mut k[of(kv_heads * hd)]);
            if let (Some(ropes), Some(rope)) = (&run.ropes, of_layer.rope) {
                ropes[rope].rotate(q, heads, hd);
                ropes[rope].rotate(k, kv_heads, hd);
            }
            let v = &v[of(kv_heads * hd)];
            run.cache.append_on_host(self.0.layer, &run.turn, k, v);
            let history = run.cache.on_host(self.0.layer);
            mixed.extend(attend(
                q,
                heads,
                config.attention_scale as f32,
                of_layer.window,
                history,
            ));
        }
        Rows::new(mixed, heads * hd)
    }

    fn gated(&mut self, x: Rows) -> Rows {
        let mut inner = self.through(Projection::Gate, &x);
        let up = self.through(Projection::Up, &x);
        match self.0.config.activation {
            Activation::Silu => slices::swiglu(&mut inner, &up),
            Activation::GeluTanh => slices::geglu_tanh(&mut inner, &up),
            Activation::Gelu => unreachable!("such a decoder does not suit"),
        }
        Rows::new(inner, self.0.config.intermediate_size)
    }

    fn project(&mut self, projection: Projection, x: Rows) -> Rows {
        let y = self.through(projection, &x);
        Rows::new(y, projection.widths(self.0.config).1)
    }

    fn add(&mut self, h: Rows, y: Rows) -> Rows {
        let Rows {
            mut values, width, ..
        } = h;
        let scale = self.0.config.residual_scale;
        if scale == 1.0 {
            add(&mut values, &y.values);
        } else {
            add_scaled(&mut values, &y.values, scale as f32);
        }
        Rows::new(values, width)
    }

    fn step(&mut self, mut h: Rows) -> Rows {
        let d = h.width;
        for (rows, plan) in self.0.plans {
            for shift in &plan.residual {
                step(&mut h.values[rows.start * d..rows.end * d], shift, d);
            }
        }
        h
    }
}

/// A step in the residual stream `h [t, d]`.
fn step(h: &mut [f32], shift: &Shift, d: usize) {
    if !shift.is_constant() {
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
