//! What one block of a decoder gets, by kind of place.

use std::rc::Rc;

use burn::tensor::Tensor;

use super::effect::{Delta, Effect, ExtraKeyValue, Gate, Map, Mixture, Shift};
use crate::arch::{Norm, Projection};

/// What one linear layer gets, by kind; inside a kind in stack order.
#[derive(Debug, Clone, Default)]
pub struct SitePlan {
    /// Maps of the input, before the base product.
    pub inputs: Vec<Map>,
    /// Weight deltas, of the mapped input.
    pub deltas: Vec<Delta>,
    /// Maps of the output, after everything.
    pub outputs: Vec<Map>,
    /// Experts that are not weighed yet, each with the number of deltas before it.
    mixtures: Vec<(usize, Mixture)>,
}

impl SitePlan {
    /// Whether the base layer is all there is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            inputs,
            deltas,
            outputs,
            mixtures,
        } = self;
        inputs.is_empty() && deltas.is_empty() && outputs.is_empty() && mixtures.is_empty()
    }

    pub(super) fn add(&mut self, effect: Effect) {
        match effect {
            Effect::Weight(delta) => self.deltas.push(delta),
            Effect::Experts(mixture) => self.mixtures.push((self.deltas.len(), mixture)),
            Effect::Input(map) => self.inputs.push(map),
            Effect::Output(map) => self.outputs.push(map),
        }
    }

    /// Puts experts with the weights of a pass to the other deltas, in stack order; `of` gives a gate's
    /// `[t, slots, experts]`.
    pub(super) fn weigh<'a>(&mut self, of: impl Fn(&Rc<Gate>) -> Option<&'a Tensor<3>>) {
        // The last one first: the places before it stay what they are.
        for (at, mixture) in std::mem::take(&mut self.mixtures).into_iter().rev() {
            if let Some(weights) = of(&mixture.gate) {
                self.deltas.insert(at, mixture.weighed(weights));
            }
        }
    }

    /// The changes `scale · B A` of a layer, as `(A [r, i], B [o, r], scale)`, if these are all
    /// that acts there.
    #[must_use]
    pub fn low_rank(&self) -> Option<Vec<(&Tensor<2>, &Tensor<2>, f32)>> {
        let others = [self.inputs.len(), self.outputs.len(), self.mixtures.len()];
        if others != [0; 3] {
            return None;
        }
        let parts = self.deltas.iter().map(|delta| match delta {
            Delta::LowRank {
                a,
                b,
                mid: None,
                out: None,
                scale,
            } => Some((a, b, *scale)),
            _ => None,
        });
        parts.collect()
    }
}

/// What one block gets.
#[derive(Debug, Clone, Default)]
pub struct LayerPlan {
    linears: [SitePlan; Projection::COUNT],
    /// Changes of the gains of its norms.
    pub gains: [Vec<Tensor<1>>; Norm::COUNT],
    /// Extra keys and values of its attention.
    pub extra: Vec<ExtraKeyValue>,
    /// Steps at its output.
    pub residual: Vec<Shift>,
}

impl LayerPlan {
    /// Whether the base block is all there is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            linears,
            gains,
            extra,
            residual,
        } = self;
        linears.iter().all(SitePlan::is_empty)
            && gains.iter().all(Vec::is_empty)
            && extra.is_empty()
            && residual.is_empty()
    }

    /// The plan of one linear layer.
    #[must_use]
    pub fn linear(&self, projection: Projection) -> &SitePlan {
        &self.linears[projection as usize]
    }

    pub(super) fn linear_mut(&mut self, projection: Projection) -> &mut SitePlan {
        &mut self.linears[projection as usize]
    }

    pub(super) fn linears_mut(&mut self) -> impl Iterator<Item = &mut SitePlan> {
        self.linears.iter_mut()
    }
}
