//! A block on a GPU: eight launches where nothing steers.

use burn::nn::RmsNorm;
use burn::tensor::{Tensor, activation};

use super::cache::Turn;
use super::{Block, KvCache, LlamaConfig, Projection};
use crate::adapters::LayerPlan;
use crate::kernels::{self, After, Packed};

/// The weights of a block, those with a common input on top of each other.
#[derive(Debug)]
pub struct Fused {
    qkv: Packed,
    o: Packed,
    gate_up: Packed,
    down: Packed,
}

/// A norm, with changes of its gain, in one launch.
pub(super) fn norm(norm: &RmsNorm, x: Tensor<2>, changes: &[Tensor<1>]) -> Tensor<2> {
    kernels::norm(x, super::gain(norm, changes), norm.epsilon as f32)
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

    /// `h [t, d] -> [t, d]`: what [`Block::forward`] computes.
    pub(super) fn forward(
        &self,
        block: &Block,
        h: Tensor<2>,
        (layer, cache): (usize, &mut KvCache),
        turn: &Turn,
        config: &LlamaConfig,
        plan: &LayerPlan,
    ) -> Tensor<2> {
        let is_base = |group: usize| {
            let mut group = Self::GROUPS[group].iter();
            group.all(|&p| plan.linear(p).is_empty() && block.linear(p).bias.is_none())
        };
        let project = |x: &Tensor<2>, group: usize| {
            let outputs = Self::GROUPS[group].iter();
            let outputs = outputs.map(|&p| block.linear(p).forward(x.clone(), plan.linear(p)));
            Tensor::cat(outputs.collect(), 1)
        };
        let x = norm(&block.input_layernorm, h.clone(), &plan.gains[0]);
        let h = if let (Some(place), true) = (&turn.place, plan.extra.is_empty()) {
            let qkv = match is_base(0) {
                true => kernels::linear(x, &self.qkv, After::Plain),
                false => project(&x, 0),
            };
            let (keys, values) = cache.take(layer, turn);
            let (keys, values) = (kernels::unshared(keys), kernels::unshared(values));
            let q = kernels::rotate_and_store(
                qkv,
                turn.tables(),
                (&keys, &values),
                place.clone(),
                config,
            );
            let mixed = kernels::attend(q, (&keys, &values), place.clone(), config);
            cache.put(layer, keys, values);
            match is_base(1) {
                true => kernels::linear(mixed, &self.o, After::Residual(h)),
                false => h + project(&mixed, 1),
            }
        } else {
            h + block.attention.forward(x, layer, cache, turn, config, plan)
        };

        let x = norm(&block.post_attention_layernorm, h.clone(), &plan.gains[1]);
        let inner = match is_base(2) {
            true => kernels::linear(x, &self.gate_up, After::SwiGlu),
            false => {
                let both = project(&x, 2);
                let [gate, up] =
                    [0, self.down.i].map(|start| both.clone().narrow(1, start, self.down.i));
                activation::silu(gate) * up
            }
        };
        match is_base(3) {
            true => kernels::linear(inner, &self.down, After::Residual(h)),
            false => h + project(&inner, 3),
        }
    }
}
