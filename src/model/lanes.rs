//! Several sequences in one pass: every weight is read once for all of them.

use std::ops::Range;

use burn::tensor::Tensor;

use super::cache::KvCache;
use super::rope::HostRope;
use super::turn::Turn;
use crate::arch::{Norm, Projection};
use crate::hooks::{LayerPlan, SitePlan, Steering};

/// One sequence of a pass: tokens after what its cache holds, and what acts on them.
#[derive(Debug)]
pub struct Lane<'a> {
    /// The new tokens.
    pub tokens: &'a [u32],
    /// What was computed before; grows by these tokens.
    pub cache: &'a mut KvCache,
    /// Its effects.
    pub steering: &'a Steering,
}

/// One sequence in the midst of a pass.
#[derive(Debug)]
pub struct Begun<'a> {
    /// What comes into the block, `[t, d]`.
    pub rows: Tensor<2>,
    /// What was computed before, of this block and those behind it; grows by these rows.
    pub cache: &'a mut KvCache,
    /// [`Model::last_states`](super::Model::last_states) of the rows, where a gate reads them.
    pub states: Option<Tensor<2>>,
}

/// A lane under way: its rows among those of all lanes.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub rows: Range<usize>,
    pub cache: &'a mut KvCache,
    pub turn: Turn,
    /// For blocks that run over host memory.
    pub ropes: Option<Vec<HostRope>>,
    pub steering: &'a Steering,
}

/// What acts on which rows, lane by lane; together all rows in order.
pub(super) type Plans<'a, P> = [(Range<usize>, &'a P)];

/// The plans of one layer.
pub(super) fn of_layer<'a>(runs: &[Run<'a>], layer: usize) -> Vec<(Range<usize>, &'a LayerPlan)> {
    let each = runs.iter();
    each.map(|run| (run.rows.clone(), run.steering.layer(layer)))
        .collect()
}

/// The plans of one linear layer.
pub(super) fn of_site<'a>(
    plans: &Plans<'a, LayerPlan>,
    projection: Projection,
) -> Vec<(Range<usize>, &'a SitePlan)> {
    let each = plans.iter();
    each.map(|(rows, plan)| (rows.clone(), plan.linear(projection)))
        .collect()
}

/// The changes of one norm's gain.
pub(super) fn of_norm<'a>(
    plans: &Plans<'a, LayerPlan>,
    norm: Norm,
) -> Vec<(Range<usize>, &'a Vec<Tensor<1>>)> {
    let each = plans.iter();
    each.map(|(rows, plan)| (rows.clone(), &plan.gains[norm as usize]))
        .collect()
}

/// Some rows; all of them without a copy.
pub(super) fn rows(x: &Tensor<2>, rows: &Range<usize>) -> Tensor<2> {
    if rows.len() == x.dims()[0] {
        x.clone()
    } else {
        x.clone().narrow(0, rows.start, rows.len())
    }
}

/// Lanes' rows on top of each other again.
pub(super) fn join(mut parts: Vec<Tensor<2>>) -> Tensor<2> {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => Tensor::cat(parts, 0),
    }
}

/// Changes the rows of each lane by its plan; where all are idle, nothing is touched.
pub(super) fn change<P>(
    x: Tensor<2>,
    plans: &Plans<P>,
    is_idle: impl Fn(&P) -> bool,
    mut change: impl FnMut(Tensor<2>, &P) -> Tensor<2>,
) -> Tensor<2> {
    if plans.iter().all(|(_, plan)| is_idle(plan)) {
        return x;
    }
    let parts = plans.iter();
    join(parts.map(|(at, plan)| change(rows(&x, at), plan)).collect())
}
