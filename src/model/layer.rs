//! The weights of a block.

use burn::tensor::Tensor;

use super::lanes::Run;
use super::linear::Linear;
use super::norm::NormLayer;
use super::rope::Ropes;
use crate::arch::{DecoderConfig, Norm, Projection};
use crate::hooks::LayerPlan;
use crate::kernels::Packed;
use std::ops::Range;

/// The projections that share an input, in the order of [`Projection::ALL`].
pub(super) const GROUPS: [&[Projection]; 4] = [
    &[Projection::Q, Projection::K, Projection::V],
    &[Projection::O],
    &[Projection::Gate, Projection::Up],
    &[Projection::Down],
];

/// One decoder block.
#[derive(Debug)]
pub(super) struct Block {
    /// By [`Norm`]; those that stand nowhere in this family are absent.
    pub(super) norms: [Option<NormLayer>; Norm::COUNT],
    /// By [`Projection`], likewise.
    pub(super) linears: Vec<Option<Linear>>,
    /// On a GPU, where the kernels can run this block.
    pub(super) stacks: Option<Stacks>,
}

/// The weights of a block as a GPU's kernels read them.
#[derive(Debug)]
pub(super) struct Stacks {
    /// The weights and biases of each of [`GROUPS`] on top of each other.
    pub(super) groups: [Packed; 4],
    /// The gains of the norms of queries and keys one after the other, if there are such norms.
    pub(super) gains: Option<Tensor<1>>,
}

impl Block {
    pub(super) fn linear(&self, projection: Projection) -> &Linear {
        let linear = self.linears[projection as usize].as_ref();
        linear.unwrap_or_else(|| unreachable!("{projection:?} is in every block that asks for it"))
    }

    pub(super) fn norm(&self, place: Norm) -> &NormLayer {
        let norm = self.norms[place as usize].as_ref();
        norm.unwrap_or_else(|| unreachable!("{place:?} stands in every block that asks for it"))
    }
}

/// A block in a pass: what every executor reads.
pub(super) struct Pass<'a, 'r> {
    pub(super) block: &'a Block,
    pub(super) layer: usize,
    pub(super) runs: &'a mut [Run<'r>],
    /// What acts on the rows of each lane.
    pub(super) plans: &'a [(Range<usize>, &'r LayerPlan)],
    pub(super) ropes: &'a Ropes,
    pub(super) config: &'a DecoderConfig,
}

/// The residual stream of each lane, moved by its plan.
pub(super) fn moved(h: Tensor<2>, plans: &[(Range<usize>, &LayerPlan)]) -> Tensor<2> {
    super::lanes::change(
        h,
        plans,
        |plan| plan.residual.is_empty(),
        |h, plan| plan.residual.iter().fold(h, |h, shift| shift.apply(h)),
    )
}
