//! A block over burn tensors: the reference, which runs everywhere, does all that a config can ask
//! for, and can be differentiated from end to end.

use burn::tensor::{Tensor, activation};

use super::block::Executor;
use super::lanes::{self, Run};
use super::layer::{Block, Pass, moved};
use super::rope::rotate;
use super::turn::Seen;
use crate::arch::{Activation, DecoderConfig, Fused, Norm, Projection, QkNorm};
use crate::hooks::{ExtraKeyValue, Join, LayerPlan};
use crate::tensor::tanh;

/// A block in a pass, over burn tensors.
pub(super) struct Tensors<'a, 'r>(pub(super) Pass<'a, 'r>);

impl Executor for Tensors<'_, '_> {
    type Rows = Tensor<2>;
    type Heads = [Tensor<2>; 3];

    fn config(&self) -> &DecoderConfig {
        self.0.config
    }

    fn norm(&mut self, place: Norm, h: &Tensor<2>) -> Tensor<2> {
        let changes = lanes::of_norm(self.0.plans, place);
        self.0.block.norm(place).forward(h.clone(), &changes)
    }

    fn copy(&mut self, h: &Tensor<2>) -> Tensor<2> {
        h.clone()
    }

    fn heads(&mut self, x: Tensor<2>) -> [Tensor<2>; 3] {
        let Some(fused) = self.0.config.fused else {
            return [Projection::Q, Projection::K, Projection::V]
                .map(|projection| self.project(projection, x.clone()));
        };
        let config = self.0.config;
        let (q, kv, hd) = (config.q_width(), config.kv_width(), config.head_dim);
        let qkv = self.project(Projection::Qkv, x);
        let [t, _] = qkv.dims();
        match fused {
            Fused::ByPart => {
                [(0, q), (q, kv), (q + kv, kv)].map(|(at, width)| qkv.clone().narrow(1, at, width))
            }
            Fused::ByHead => {
                let heads = qkv.reshape([t, config.num_heads, 3 * hd]);
                [0, hd, 2 * hd].map(|at| heads.clone().narrow(2, at, hd).reshape([t, q]))
            }
        }
    }

    fn attend(&mut self, heads: [Tensor<2>; 3]) -> Tensor<2> {
        let each = (0..self.0.runs.len()).map(|lane| {
            let (rows, plan) = &self.0.plans[lane];
            let heads = heads.each_ref().map(|all| lanes::rows(all, rows));
            attend(&mut self.0, lane, heads, plan)
        });
        lanes::join(each.collect())
    }

    fn gated(&mut self, x: Tensor<2>) -> Tensor<2> {
        let activation = self.0.config.activation;
        if !self.0.config.gated {
            return activated(self.project(Projection::Up, x), activation);
        }
        let gate = self.project(Projection::Gate, x.clone());
        let up = self.project(Projection::Up, x);
        activated(gate, activation) * up
    }

    fn project(&mut self, projection: Projection, x: Tensor<2>) -> Tensor<2> {
        let plans = lanes::of_site(self.0.plans, projection);
        self.0.block.linear(projection).forward_lanes(x, &plans)
    }

    fn add(&mut self, h: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
        h + scaled(y, self.0.config.residual_scale)
    }

    fn step(&mut self, h: Tensor<2>) -> Tensor<2> {
        moved(h, self.0.plans)
    }
}

/// `x · by`, without an operation where that changes nothing.
pub(super) fn scaled<const D: usize>(x: Tensor<D>, by: f64) -> Tensor<D> {
    if by == 1.0 { x } else { x * by }
}

/// `cap · tanh(x / cap)`
pub(super) fn capped<const D: usize>(x: Tensor<D>, cap: Option<f64>) -> Tensor<D> {
    match cap {
        Some(cap) => tanh(x / cap) * cap,
        None => x,
    }
}

/// What the MLP does to its gate.
pub(super) fn activated(x: Tensor<2>, by: Activation) -> Tensor<2> {
    match by {
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => {
            let cube = x.clone().powi_scalar(3) * 0.044_715;
            let inner = (x.clone() + cube) * (2.0 / std::f64::consts::PI).sqrt();
            x * (tanh(inner) + 1.0) * 0.5
        }
    }
}

/// The heads of one lane, `[t, heads·hd]`; its keys and values go into its cache.
pub(super) fn attend(
    pass: &mut Pass,
    lane: usize,
    [q, k, v]: [Tensor<2>; 3],
    plan: &LayerPlan,
) -> Tensor<2> {
    let Pass {
        block,
        layer,
        runs,
        ropes,
        config,
        ..
    } = pass;
    let Run { cache, turn, .. } = &mut runs[lane];
    let [t, _] = q.dims();
    let (heads, kv_heads, hd) = (config.num_heads, config.num_kv_heads, config.head_dim);
    let groups = heads / kv_heads;
    let of_layer = config.layers[*layer];

    let q = normed(q, block, Norm::Query, plan, config).reshape([t, heads, hd]);
    let k = normed(k, block, Norm::Key, plan, config).reshape([t, kv_heads, hd]);
    let v = v.reshape([t, kv_heads, hd]);
    // Queries stand `offset` places later where an adapter puts keys in front.
    let turned = |x: Tensor<3>, offset: usize| match of_layer.rope {
        Some(rope) => rotate(x, &turn.rotations(ropes, rope, offset)),
        None => x,
    };
    let k = turned(k, 0);
    let (keys, values) = cache.append(*layer, turn, k.swap_dims(0, 1), v.swap_dims(0, 1));

    // Query heads that share a key head become rows of one matrix: `[kv, groups·t, hd]`.
    let by_kv_head = |q: Tensor<3>| {
        (q * config.attention_scale)
            .reshape([t, kv_heads, groups, hd])
            .permute([1, 2, 0, 3])
            .reshape([kv_heads, groups * t, hd])
    };
    let scores = by_kv_head(turned(q.clone(), 0)).matmul(keys.swap_dims(1, 2));
    let mut scores = capped(scores, config.attention_cap);
    if let Some(mask) = turn.mask(of_layer.window) {
        scores = masked(scores, mask);
    }
    let mut mixed = activation::softmax(scores.clone(), 2).matmul(values);
    for extra in &plan.extra {
        let seen = match extra.join {
            Join::InFront => turn.seen_in_front(of_layer.window, extra.offset()),
            Join::Beside => Seen::All,
        };
        let mask = match seen {
            Seen::All => None,
            Seen::None => continue,
            Seen::Some(mask) => Some(mask),
        };
        let q = by_kv_head(turned(q.clone(), extra.offset()));
        let extra_scores = q.matmul(extra.keys.clone().swap_dims(1, 2));
        let extra_scores = capped(extra_scores, config.attention_cap);
        mixed = mix_in(mixed, &scores, extra_scores, mask, extra);
    }
    mixed
        .reshape([kv_heads, groups, t, hd])
        .permute([2, 0, 1, 3])
        .reshape([t, heads * hd])
}

/// Queries or keys of all heads, `[t, heads·hd]`, normed where the family norms them: each head by
/// itself or all together.
fn normed(
    x: Tensor<2>,
    block: &Block,
    place: Norm,
    plan: &LayerPlan,
    config: &DecoderConfig,
) -> Tensor<2> {
    let Some(over) = config.qk_norm else {
        return x;
    };
    let [t, width] = x.dims();
    let rows = match over {
        QkNorm::Head => t * width / config.head_dim,
        QkNorm::Whole => t,
    };
    let changes = [(0..rows, &plan.gains[place as usize])];
    let x = x.reshape([rows, t * width / rows]);
    block.norm(place).forward(x, &changes).reshape([t, width])
}

/// Beside: `attn₀ + c·attn_extra`. In front: `attn₀ + c·w·(attn_extra − attn₀)`, where `w` is the
/// share of the softmax that the extra keys would take: at c = 1 this is softmax attention over
/// both sets of keys.
fn mix_in(
    base: Tensor<3>,
    scores: &Tensor<3>,
    extra_scores: Tensor<3>,
    mask: Option<Tensor<2>>,
    extra: &ExtraKeyValue,
) -> Tensor<3> {
    let is_masked = mask.is_some();
    let extra_scores = match mask {
        Some(mask) => masked(extra_scores, mask),
        None => extra_scores,
    };
    let attended = activation::softmax(extra_scores.clone(), 2).matmul(extra.values.clone());
    let step = match extra.join {
        Join::Beside => attended,
        Join::InFront => {
            let share = log_sum_exp(extra_scores) - log_sum_exp(scores.clone());
            // Of a query that sees none of these keys it is so low that not every sigmoid is a number.
            let share = if is_masked {
                share.clamp_min(-100.0)
            } else {
                share
            };
            (attended - base.clone()) * activation::sigmoid(share)
        }
    };
    base + step * extra.coefficient
}

/// Scores `[kv, groups·t, keys]` plus a mask `[t, keys]`.
fn masked(scores: Tensor<3>, mask: Tensor<2>) -> Tensor<3> {
    let ([kv_heads, rows, keys], [t, _]) = (scores.dims(), mask.dims());
    let by_group = scores.reshape([kv_heads, rows / t, t, keys]) + mask.unsqueeze();
    by_group.reshape([kv_heads, rows, keys])
}

/// `ln Σ exp` over the last dimension, `[a, b, n] -> [a, b, 1]`.
fn log_sum_exp(x: Tensor<3>) -> Tensor<3> {
    let max = x.clone().max_dim(2);
    (x - max.clone()).exp().sum_dim(2).log() + max
}
