//! A block on a GPU: eight launches where nothing steers.

use burn::tensor::{Tensor, activation};

use super::folded::Folded;
use super::lanes::{self, Plans, Run};
use super::{Block, LlamaConfig, Norm, Projection, normed};
use crate::adapters::LayerPlan;
use crate::kernels::{self, After, Cut, Heads, LowRank, Packed, Riders, STREAMS};

/// The weights of a block, those with a common input on top of each other.
#[derive(Debug)]
pub struct Fused {
    qkv: Packed,
    o: Packed,
    gate_up: Packed,
    down: Packed,
}

impl Fused {
    /// The projections that share an input, in the order of [`Projection::ALL`].
    pub(super) const GROUPS: [&[Projection]; 4] = [
        &[Projection::Q, Projection::K, Projection::V],
        &[Projection::O],
        &[Projection::Gate, Projection::Up],
        &[Projection::Down],
    ];

    /// From the stacked weights of [`Self::GROUPS`].
    pub(super) fn new(stacks: Vec<Packed>) -> Self {
        let [qkv, o, gate_up, down]: [Packed; 4] = stacks
            .try_into()
            .unwrap_or_else(|_| unreachable!("four groups"));
        Self {
            qkv,
            o,
            gate_up,
            down,
        }
    }

    /// `h [t, d] -> [t, d]`: what [`Block::forward`] computes. Lanes beside each other have one row
    /// each.
    pub(super) fn forward(
        &self,
        block: &Block,
        h: Tensor<2>,
        layer: usize,
        runs: &mut [Run],
        plans: &Plans<LayerPlan>,
        config: &LlamaConfig,
    ) -> Tensor<2> {
        let steered = Steered::find(layer, runs, plans, config);
        let is_base = |group: usize| {
            let mut group = Self::GROUPS[group].iter();
            group.all(|&p| {
                let idle = plans.iter().all(|(_, plan)| plan.linear(p).is_empty());
                idle && block.linear(p).bias.is_none()
            })
        };
        let cut = self.qkv.cut;
        // `Some(None)` where nothing acts, `None` where more acts than low-rank changes.
        let low_rank = |x: &Tensor<2>, group: usize| match is_base(group) {
            true => Some(None),
            false => Some(Some(steered.as_ref()?.low_rank(x, group, cut)?)),
        };
        let row = steered.as_ref().and_then(|steered| steered.row);
        let product = |x, weight, after, low_rank| product(x, weight, after, low_rank, row);
        let project = |x: &Tensor<2>, group: usize| {
            let outputs = Self::GROUPS[group].iter();
            let outputs = outputs.map(|&p| {
                let plans = lanes::of_site(plans, p);
                block.linear(p).forward_lanes(x.clone(), &plans)
            });
            Tensor::cat(outputs.collect(), 1)
        };

        let heads = heads(config);
        let gains = lanes::of_norm(plans, Norm::Input);
        let x = normed(&block.input_layernorm, h.clone(), &gains);
        let h = if plans.iter().all(|(_, plan)| plan.extra.is_empty()) {
            let qkv = match low_rank(&x, 0) {
                Some(changes) => product(x, &self.qkv, After::Plain, changes),
                None => project(&x, 0),
            };
            let each = runs.iter_mut().map(|run| {
                let (keys, values) = run.cache.take(layer, &run.turn);
                let (keys, values) = (kernels::unshared(keys), kernels::unshared(values));
                let q = kernels::rotate_and_store(
                    lanes::rows(&qkv, &run.rows),
                    run.turn.tables(),
                    (&keys, &values),
                    run.turn.place(),
                    heads,
                );
                let mixed = kernels::attend(q, (&keys, &values), run.turn.place(), heads, cut);
                run.cache.put(layer, keys, values);
                mixed
            });
            let mixed = lanes::join(each.collect());
            match low_rank(&mixed, 1) {
                Some(changes) => product(mixed, &self.o, After::Residual(h), changes),
                None => h + project(&mixed, 1),
            }
        } else {
            h + block.attention.forward(x, layer, runs, plans, config)
        };

        let gains = lanes::of_norm(plans, Norm::PostAttention);
        let x = normed(&block.post_attention_layernorm, h.clone(), &gains);
        let inner = match low_rank(&x, 2) {
            Some(changes) => product(x, &self.gate_up, After::SwiGlu, changes),
            None => swiglu(&project(&x, 2)),
        };
        match (
            low_rank(&inner, 3),
            steered.as_ref().and_then(Steered::shift),
        ) {
            (Some(None), Some(shift)) => {
                kernels::linear(inner, &self.down, After::Residual(h), shift)
            }
            (Some(changes), _) => {
                let h = product(inner, &self.down, After::Residual(h), changes);
                super::moved(h, plans)
            }
            (None, _) => super::moved(h + project(&inner, 3), plans),
        }
    }
}

/// The heads as the kernels want them.
fn heads(config: &LlamaConfig) -> Heads {
    Heads {
        heads: config.num_heads,
        kv_heads: config.num_kv_heads,
        head_dim: config.head_dim,
        scale: 1.0 / (config.head_dim as f32).sqrt(),
    }
}

/// `silu(gate) ∘ up` of both side by side, `[t, 2·ffn] -> [t, ffn]`.
fn swiglu(both: &Tensor<2>) -> Tensor<2> {
    let ffn = both.dims()[1] / 2;
    let [gate, up] = [0, ffn].map(|start| both.clone().narrow(1, start, ffn));
    activation::silu(gate) * up
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
            After::SwiGlu => {
                let both = kernels::linear(x, weight, After::Plain, Riders::default());
                swiglu(&kernels::expand(both, &changes))
            }
            after => {
                let y = kernels::linear(x, weight, after, Riders::default());
                kernels::expand(y, &changes)
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
    fn find(
        layer: usize,
        runs: &[Run<'a>],
        plans: &Plans<LayerPlan>,
        config: &LlamaConfig,
    ) -> Option<Self> {
        let mut acting = plans
            .iter()
            .zip(runs)
            .filter(|((_, plan), _)| !plan.is_empty());
        let ((rows, _), run) = acting.next()?;
        let alone = runs.len() == 1;
        if acting.next().is_some() || !(alone || runs.len() <= STREAMS) {
            return None;
        }
        Some(Self {
            folded: run.steering.folded(config, &run.turn.place().device()),
            layer,
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
