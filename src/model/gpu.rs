//! A block on a GPU: six launches where nothing steers, eight where norms stand around attention and
//! MLP, and two more on a GPU in software, where norms have launches of their own. Decoders that ask for more than [`Gpu::suits`] says run over tensors.

use burn::tensor::Tensor;

use super::block::{self, Executor};
use super::folded::Folded;
use super::lanes;
use super::layer::{GROUPS, Pass, Stacks, moved};
use super::tensors::{activated, attend, scaled};
use crate::arch::{Activation, DecoderConfig, Norm, Projection, RopeConfig};
use crate::hooks::{LayerPlan, SitePlan};
use crate::kernels::{
    self, After, Before, Cut, Gate, HeadNorm, Heads, LowRank, Packed, Riders, STREAMS,
};

/// A block in a pass, over the kernels. Lanes beside each other have one row each.
pub(super) struct Gpu<'a, 'r> {
    pass: Pass<'a, 'r>,
    stacks: &'a Stacks,
    steered: Option<Steered<'r>>,
    /// Whether the step of the residual stream rode along with the last product.
    stepped: bool,
}

/// Activations `[t, width]`.
#[derive(Clone)]
pub(super) enum Rows {
    /// As they are.
    Plain(Tensor<2>),
    /// Of a place's norm, which the product that reads it takes itself.
    Unnormed(Tensor<2>, Norm),
}

/// Which of [`GROUPS`].
const QKV: usize = 0;
const O: usize = 1;
const GATE_UP: usize = 2;
const DOWN: usize = 3;

impl<'a, 'r> Gpu<'a, 'r> {
    /// Whether it can run the blocks of such a decoder.
    pub(super) fn suits(config: &DecoderConfig) -> bool {
        let whole = |rope: &RopeConfig| rope.inverse_wavelengths.len() * 2 == config.head_dim;
        config.is_gated_rms()
            && config.ropes.iter().all(whole)
            && gate(config.activation).is_some()
            && config.head_dim.is_multiple_of(4)
    }

    pub(super) fn new(pass: Pass<'a, 'r>, stacks: &'a Stacks) -> Self {
        Self {
            steered: Steered::find(&pass),
            pass,
            stacks,
            stepped: false,
        }
    }

    /// `h [t, d] -> [t, d]`, as all executors do it.
    pub(super) fn forward(mut self, h: Tensor<2>) -> Tensor<2> {
        let h = block::forward(&mut self, Rows::Plain(h));
        self.plain(h)
    }

    /// Activations as they are.
    fn plain(&self, x: Rows) -> Tensor<2> {
        match x {
            Rows::Plain(x) => x,
            Rows::Unnormed(h, place) => self.normed(place, h),
        }
    }

    fn normed(&self, place: Norm, h: Tensor<2>) -> Tensor<2> {
        let changes = lanes::of_norm(self.pass.plans, place);
        self.pass.block.norm(place).forward(h, &changes)
    }

    /// Whether the product that reads a norm takes it itself: of few tokens, where nothing acts on either.
    /// A GPU in software computes it once, since there every workgroup's sum of squares counts.
    fn rides(&self, place: Norm, h: &Tensor<2>) -> bool {
        let group = match place {
            Norm::Input => QKV,
            Norm::PostAttention => GATE_UP,
            _ => return false,
        };
        self.cut() == Cut::HARDWARE
            && h.dims()[0] <= STREAMS
            && self.is_base(group)
            && gains(self.pass.plans, place).all(Vec::is_empty)
    }

    /// The product of a group with a norm of h.
    fn normed_product(&self, h: Tensor<2>, place: Norm, group: usize, after: After) -> Tensor<2> {
        let norm = self.pass.block.norm(place);
        let norm = (norm.gain.clone(), norm.epsilon as f32);
        kernels::normed_linear(h, norm, self.weight(group), after)
    }

    fn is_base(&self, group: usize) -> bool {
        let mut group = GROUPS[group].iter();
        group.all(|&projection| {
            let plans = self.pass.plans.iter();
            let mut plans = plans.map(|(_, plan)| plan.linear(projection));
            plans.all(SitePlan::is_empty)
        })
    }

    /// `Some(None)` where nothing acts, `None` where more acts than low-rank changes.
    #[expect(clippy::option_option, reason = "two questions, as said above")]
    fn low_rank(&self, x: &Tensor<2>, group: usize) -> Option<Option<LowRank>> {
        if self.is_base(group) {
            return Some(None);
        }
        let cut = self.cut();
        Some(Some(self.steered.as_ref()?.low_rank(x, group, cut)?))
    }

    /// A product of a group and its low-rank changes.
    fn product(
        &self,
        x: Tensor<2>,
        group: usize,
        after: After,
        low_rank: Option<LowRank>,
    ) -> Tensor<2> {
        let row = self.steered.as_ref().and_then(|steered| steered.row);
        product(x, self.weight(group), after, low_rank, row)
    }

    fn weight(&self, group: usize) -> &Packed {
        &self.stacks.groups[group]
    }

    fn cut(&self) -> Cut {
        self.weight(QKV).cut
    }

    /// `s`
    fn residual_scale(&self) -> f32 {
        self.pass.config.residual_scale as f32
    }

    /// What the MLP does to its gate.
    fn gate(&self) -> Gate {
        let known = gate(self.pass.config.activation);
        known.unwrap_or_else(|| unreachable!("such a decoder does not suit"))
    }

    /// The norm of each lane's queries and keys, with what adapters add to the gains.
    fn head_norms(&self) -> Vec<Option<HeadNorm>> {
        let lane = |plan: &LayerPlan| {
            let base = self.stacks.gains.as_ref()?;
            let changes = [Norm::Query, Norm::Key].map(|place| &plan.gains[place as usize]);
            let gains = if changes.iter().all(|changes| changes.is_empty()) {
                base.clone()
            } else {
                let places = [Norm::Query, Norm::Key].map(|place| self.pass.block.norm(place));
                let each = places.iter().zip(changes);
                let each = each.map(|(norm, changes)| norm.changed(changes));
                Tensor::cat(each.collect(), 0)
            };
            let epsilon = self.pass.config.norm_eps as f32;
            Some(HeadNorm { gains, epsilon })
        };
        let plans = self.pass.plans.iter();
        plans.map(|(_, plan)| lane(plan)).collect()
    }

    /// A group layer by layer, where more acts than can ride along.
    fn one_by_one(&self, x: &Tensor<2>, group: usize) -> Tensor<2> {
        let outputs = GROUPS[group].iter().map(|&projection| {
            let plans = lanes::of_site(self.pass.plans, projection);
            let linear = self.pass.block.linear(projection);
            linear.forward_lanes(x.clone(), &plans)
        });
        Tensor::cat(outputs.collect(), 1)
    }
}

impl Executor for Gpu<'_, '_> {
    type Rows = Rows;
    /// Side by side, `[t, (heads + 2·kv_heads)·hd]`.
    type Heads = Tensor<2>;

    fn config(&self) -> &DecoderConfig {
        self.pass.config
    }

    fn norm(&mut self, place: Norm, h: &Rows) -> Rows {
        let h = self.plain(h.clone());
        if self.rides(place, &h) {
            return Rows::Unnormed(h, place);
        }
        Rows::Plain(self.normed(place, h))
    }

    fn copy(&mut self, h: &Rows) -> Rows {
        h.clone()
    }

    fn heads(&mut self, x: Rows) -> Tensor<2> {
        let x = match x {
            Rows::Unnormed(h, place) => return self.normed_product(h, place, QKV, After::Plain),
            Rows::Plain(x) => x,
        };
        match self.low_rank(&x, QKV) {
            Some(changes) => self.product(x, QKV, After::Plain, changes),
            None => self.one_by_one(&x, QKV),
        }
    }

    fn attend(&mut self, qkv: Tensor<2>) -> Rows {
        let (config, layer) = (self.pass.config, self.pass.layer);
        if self
            .pass
            .plans
            .iter()
            .any(|(_, plan)| !plan.extra.is_empty())
        {
            let (q, kv) = (config.q_width(), config.kv_width());
            let each = (0..self.pass.runs.len()).map(|lane| {
                let (rows, plan) = &self.pass.plans[lane];
                let own = lanes::rows(&qkv, rows);
                let heads = [(0, q), (q, kv), (q + kv, kv)]
                    .map(|(start, width)| own.clone().narrow(1, start, width));
                attend(&mut self.pass, lane, heads, plan)
            });
            return Rows::Plain(lanes::join(each.collect()));
        }
        let cut = self.cut();
        let (ropes, of_layer) = (self.pass.ropes, config.layers[layer]);
        let heads = Heads {
            heads: config.num_heads,
            kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            scale: config.attention_scale as f32,
            cap: config.attention_cap.map(|cap| cap as f32),
        };
        let norms = self.head_norms();
        let each = self.pass.runs.iter_mut().zip(norms).map(|(run, norm)| {
            let (keys, values) = run.cache.take(layer, &run.turn);
            let (keys, values) = (kernels::unshared(keys), kernels::unshared(values));
            let q = kernels::rotate_and_store(
                lanes::rows(&qkv, &run.rows),
                Before {
                    norm,
                    rotation: of_layer.rope.map(|rope| run.turn.tables(ropes, rope)),
                },
                (&keys, &values),
                run.turn.place(),
                heads,
                cut,
            );
            let mixed = kernels::attend(
                q,
                (&keys, &values),
                run.turn.place(),
                heads,
                of_layer.window,
                cut,
            );
            run.cache.put(layer, keys, values);
            mixed
        });
        Rows::Plain(lanes::join(each.collect()))
    }

    fn gated(&mut self, x: Rows) -> Rows {
        let after = After::Glu(self.gate());
        let x = match x {
            Rows::Unnormed(h, place) => {
                return Rows::Plain(self.normed_product(h, place, GATE_UP, after));
            }
            Rows::Plain(x) => x,
        };
        Rows::Plain(match self.low_rank(&x, GATE_UP) {
            Some(changes) => self.product(x, GATE_UP, after, changes),
            None => gated(&self.one_by_one(&x, GATE_UP), self.gate()),
        })
    }

    fn project(&mut self, projection: Projection, x: Rows) -> Rows {
        let (x, group) = (self.plain(x), alone(projection));
        Rows::Plain(match self.low_rank(&x, group) {
            Some(changes) => self.product(x, group, After::Plain, changes),
            None => self.one_by_one(&x, group),
        })
    }

    fn add(&mut self, h: Rows, y: Rows) -> Rows {
        let (h, y) = (self.plain(h), self.plain(y));
        Rows::Plain(h + scaled(y, self.pass.config.residual_scale))
    }

    fn add_normed(&mut self, h: Rows, place: Norm, y: Rows) -> Rows {
        let norm = self.pass.block.norm(place);
        if gains(self.pass.plans, place).any(|changes| !changes.is_empty()) {
            let y = self.norm(place, &y);
            return self.add(h, y);
        }
        let (h, y) = (self.plain(h), self.plain(y));
        let shift = self.steered.as_ref().and_then(Steered::shift);
        let shift = shift.filter(|_| place == Norm::AfterMlp);
        self.stepped = shift.is_some();
        let (to, gain) = ((h, self.residual_scale()), norm.gain.clone());
        let epsilon = norm.epsilon as f32;
        let shift = shift.unwrap_or_default();
        Rows::Plain(kernels::add_normed(to, y, gain, epsilon, shift))
    }

    fn add_projected(&mut self, h: Rows, projection: Projection, x: Rows) -> Rows {
        let (h, x, group) = (self.plain(h), self.plain(x), alone(projection));
        let Some(changes) = self.low_rank(&x, group) else {
            let y = Rows::Plain(self.one_by_one(&x, group));
            return self.add(Rows::Plain(h), y);
        };
        let after = After::Residual(h, self.residual_scale());
        let shift = self.steered.as_ref().and_then(Steered::shift);
        if let (DOWN, None, Some(shift)) = (group, &changes, shift) {
            self.stepped = true;
            return Rows::Plain(kernels::linear(x, self.weight(DOWN), after, shift));
        }
        Rows::Plain(self.product(x, group, after, changes))
    }

    fn step(&mut self, h: Rows) -> Rows {
        if self.stepped {
            return h;
        }
        Rows::Plain(moved(self.plain(h), self.pass.plans))
    }
}

/// The group of a layer that shares its input with no other.
fn alone(projection: Projection) -> usize {
    if projection == Projection::O { O } else { DOWN }
}

/// What the kernels call an activation, if they know it.
fn gate(activation: Activation) -> Option<Gate> {
    match activation {
        Activation::Silu => Some(Gate::Silu),
        Activation::GeluTanh => Some(Gate::GeluTanh),
        Activation::Gelu => None,
    }
}

/// `gate(gate) ∘ up` of both side by side, `[t, 2·ffn] -> [t, ffn]`.
fn gated(both: &Tensor<2>, by: Gate) -> Tensor<2> {
    let ffn = both.dims()[1] / 2;
    let [gate, up] = [0, ffn].map(|start| both.clone().narrow(1, start, ffn));
    let by = match by {
        Gate::Silu => Activation::Silu,
        Gate::GeluTanh => Activation::GeluTanh,
    };
    activated(gate, by) * up
}

/// The changes of a norm's gain, lane by lane.
fn gains<'a>(
    plans: &lanes::Plans<'a, LayerPlan>,
    place: Norm,
) -> impl Iterator<Item = &'a Vec<Tensor<1>>> {
    plans
        .iter()
        .map(move |(_, plan)| &plan.gains[place as usize])
}

/// A product and its low-rank changes, of one row or of all. For few tokens they ride along; among
/// many, a launch more is nothing beside the work.
fn product(
    x: Tensor<2>,
    weight: &Packed,
    after: After,
    low_rank: Option<LowRank>,
    row: Option<usize>,
) -> Tensor<2> {
    match (low_rank, after) {
        (Some(changes), after) if x.dims()[0] > STREAMS => match after {
            After::Glu(gate) => {
                let both = kernels::linear(x, weight, After::Plain, Riders::default());
                gated(&kernels::expand(both, &changes, 1.0), gate)
            }
            after => {
                let by = match &after {
                    After::Residual(_, by) => *by,
                    _ => 1.0,
                };
                let y = kernels::linear(x, weight, after, Riders::default());
                kernels::expand(y, &changes, by)
            }
        },
        (low_rank, after) => {
            let riders = Riders {
                low_rank,
                shift: None,
                row,
            };
            kernels::linear(x, weight, after, riders)
        }
    }
}

/// The one lane whose effects can ride along.
struct Steered<'a> {
    folded: &'a Folded,
    layer: usize,
    /// Its row, beside other lanes of one row each.
    row: Option<usize>,
}

impl<'a> Steered<'a> {
    fn find(pass: &Pass<'_, 'a>) -> Option<Self> {
        let (plans, runs) = (pass.plans, &pass.runs);
        let mut acting = plans
            .iter()
            .zip(runs.iter())
            .filter(|((_, plan), _)| !plan.is_empty());
        let ((rows, _), run) = acting.next()?;
        let alone = runs.len() == 1;
        if acting.next().is_some() || !(alone || runs.len() <= STREAMS) {
            return None;
        }
        let device = run.turn.place().device();
        let folded = run
            .steering
            .memo(|plans| Folded::new(plans, pass.config, &device))?;
        Some(Self {
            folded,
            layer: pass.layer,
            row: (!alone).then_some(rows.start),
        })
    }

    /// The low-rank changes of a group for the input `x [t, i]` of all lanes.
    fn low_rank(&self, x: &Tensor<2>, group: usize, cut: Cut) -> Option<LowRank> {
        let parts = self.folded.group(self.layer, group)?;
        let x = match self.row {
            Some(row) => x.clone().narrow(0, row, 1),
            None => x.clone(),
        };
        let a: Vec<_> = parts.iter().map(|part| part.a.clone()).collect();
        let z = kernels::shrink(x, &a, self.folded.scales(self.layer, group), cut);
        let parts = parts.iter().map(|part| (part.first, part.b.clone()));
        Some(LowRank {
            parts: parts.collect(),
            z,
        })
    }

    /// The step in the residual stream.
    fn shift(&self) -> Option<Riders> {
        let shift = self.folded.shift(self.layer)?;
        Some(Riders {
            low_rank: None,
            shift: Some((shift, self.folded.scales(self.layer, 3))),
            row: self.row,
        })
    }
}
