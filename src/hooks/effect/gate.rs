//! The gate of a mixture, which weights its experts token by token: a small network that reads the
//! last hidden state of a first pass, in which the weights are fixed.

use std::rc::Rc;

use burn::tensor::{Int, Tensor, activation};

use super::{Delta, Sited};

/// The network and the pass that it reads.
#[derive(Debug)]
pub struct Gate {
    /// Weight `[o, i]` and bias `[o]` of each linear layer.
    pub layers: Vec<(Tensor<2>, Tensor<1>)>,
    /// How many experts it weights.
    pub experts: usize,
    /// T of the softmax over all experts, if there is one.
    pub temperature: Option<f32>,
    /// How many experts, those of largest weight, keep it.
    pub top: Option<usize>,
    /// Whether the kept weights are normalised by softmax.
    pub softmax_top: bool,
    /// The effects of the pass whose last hidden state the network reads.
    pub scout: Vec<Sited>,
}

impl Gate {
    /// The normed last hidden state `[t, d]` to weights `[t, slots, experts]`: one slot for all
    /// layers, or one for each.
    #[must_use]
    pub fn weigh(&self, h: Tensor<2>) -> Tensor<3> {
        let t = h.dims()[0];
        // 0, or NaN where h is not finite: on a GPU the maximum of NaN and 0 is 0.
        let nan_or_zero = h.clone().sum_dim(1) * 0.0;
        let linear = |h: Tensor<2>, (weight, bias): &(Tensor<2>, Tensor<1>)| {
            h.matmul(weight.clone().transpose()) + bias.clone().unsqueeze()
        };
        let logits = self
            .layers
            .iter()
            .enumerate()
            .fold(h, |h, (at, layer)| match at {
                0 => linear(h, layer),
                _ => linear(activation::relu(h), layer),
            });
        let (e, slots) = (self.experts, logits.dims()[1] / self.experts);
        let mut weights = logits.reshape([t, slots, e]);
        if let Some(temperature) = self.temperature {
            weights = activation::softmax(weights / temperature, 2);
        }
        if let Some(top) = self.top {
            // An expert's rank is the number of those with a larger weight.
            let shape = [t, slots, e, e];
            let others = weights.clone().unsqueeze_dim::<4>(2).expand(shape);
            let own = weights.clone().unsqueeze_dim::<4>(3).expand(shape);
            let place = others.greater(own).float().sum_dim(3).squeeze_dim::<3>(3);
            weights = weights * place.lower_elem(top as f32).float();
        }
        if self.softmax_top {
            let out = weights.clone().equal_elem(0.0);
            let kept = weights.mask_fill(out.clone(), -1e30);
            weights = activation::softmax(kept, 2).mask_fill(out, 0.0);
        }
        weights + nan_or_zero.unsqueeze_dim(2)
    }
}

/// Experts of a linear layer side by side, whose weights w a gate gives in each pass:
/// `scale · ((x Aᵀ) ∘ w) Bᵀ`.
#[derive(Debug, Clone)]
pub struct Mixture {
    /// A `[r, i]`, r the sum over all experts
    pub a: Tensor<2>,
    /// B `[o, r]`
    pub b: Tensor<2>,
    /// The expert of each row of A, `[r]`
    pub owner: Tensor<1, Int>,
    /// What weighs them.
    pub gate: Rc<Gate>,
    /// Which of the gate's weights are this layer's.
    pub slot: usize,
    /// carries the coefficient
    pub scale: f32,
}

impl Mixture {
    /// The same change times c.
    #[must_use]
    pub fn times(&self, c: f32) -> Self {
        Self {
            scale: self.scale * c,
            ..self.clone()
        }
    }

    pub(super) fn tracks_gradients(&self) -> bool {
        let mut gate = self.gate.layers.iter();
        let is_trained = gate.any(|(weight, bias)| weight.is_autodiff() || bias.is_autodiff());
        is_trained || self.a.is_autodiff() || self.b.is_autodiff()
    }

    /// What it is in a pass in which the gate gives the weights `[t, slots, experts]`.
    pub(in crate::hooks) fn weighed(self, weights: &Tensor<3>) -> Delta {
        let now = weights.clone().narrow(1, self.slot, 1).squeeze_dim::<2>(1);
        Delta::Experts {
            a: self.a,
            b: self.b,
            weights: now.select(1, self.owner),
            scale: self.scale,
        }
    }
}
