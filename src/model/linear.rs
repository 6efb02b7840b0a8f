//! A linear layer and what adapters do to it.

use burn::tensor::Tensor;

use super::lanes::{self, Plans};
use super::weight::Weight;
use crate::hooks::SitePlan;

/// `y = x Wᵀ + b` with W `[o, i]`, the layout of checkpoints, so that one row is one output.
#[derive(Debug)]
pub struct Linear {
    /// W `[o, i]`.
    pub weight: Weight,
    /// b `[o]`.
    pub bias: Option<Tensor<1>>,
}

impl Linear {
    /// `x [t, i] -> y [t, o]`, with the effects of `plan` in this order: input maps, base
    /// product, weight deltas (of the mapped input), bias, output maps; inside each kind in the
    /// order of the stack. An empty plan is the base layer and nothing else.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>, plan: &SitePlan) -> Tensor<2> {
        self.forward_lanes(x.clone(), &[(0..x.dims()[0], plan)])
    }

    /// [`Self::forward`] with a plan for the rows of each lane.
    pub(super) fn forward_lanes(&self, x: Tensor<2>, plans: &Plans<SitePlan>) -> Tensor<2> {
        project(x, &self.weight, self.bias.as_ref(), plans)
    }
}

/// As [`Linear::forward_lanes`], for a weight and a bias that stand alone.
pub(super) fn project(
    x: Tensor<2>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    plans: &Plans<SitePlan>,
) -> Tensor<2> {
    let x = lanes::change(
        x,
        plans,
        |plan| plan.inputs.is_empty(),
        |x, plan| plan.inputs.iter().fold(x, |x, map| map.apply(x)),
    );
    let base = weight.product(x.clone());
    if bias.is_none() && plans.iter().all(|(_, plan)| plan.is_empty()) {
        return base;
    }
    let each = plans.iter().map(|(rows, plan)| {
        let (x, base) = (lanes::rows(&x, rows), lanes::rows(&base, rows));
        steered(&x, base, weight, bias, plan)
    });
    lanes::join(each.collect())
}

/// What becomes of `base = x Wᵀ` for the mapped input x: deltas, bias, output maps.
pub(super) fn steered(
    x: &Tensor<2>,
    base: Tensor<2>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    plan: &SitePlan,
) -> Tensor<2> {
    let y = plan.deltas.iter().fold(base.clone(), |y, delta| {
        y + delta.apply(x, &base, |x| weight.product(x))
    });
    let y = match bias {
        Some(bias) => y + bias.clone().unsqueeze(),
        None => y,
    };
    plan.outputs.iter().fold(y, |y, map| map.apply(y))
}
