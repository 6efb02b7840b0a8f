//! The order of a decoder block, written once, over the few operations that three executors
//! implement: burn tensors ([`tensors`](super::tensors)), slices in host memory with quantised
//! weights ([`host`](super::host)), fused kernels on a GPU ([`gpu`](super::gpu)).
//!
//! ```text
//! h = h + s · after(o(attention(q(x), k(x), v(x))))     x = before(h)
//! h = h + s · after(down(act(gate(x)) ∘ up(x)))         x = before(h)
//! h = step(h)                                           what adapters do to the residual stream
//! ```
//! In a parallel block the second line's x is of the first line's h.

use crate::arch::{DecoderConfig, Norm, NormPlaces, Projection};

/// What an executor can do with the rows of all lanes: activations `[t, width]`, where adapters act as
/// the plans of the pass say.
pub(super) trait Executor {
    /// Activations `[t, width]`.
    type Rows;
    /// Queries, keys and values, before they are rotated.
    type Heads;

    /// The decoder's sizes and constants.
    fn config(&self) -> &DecoderConfig;

    /// The norm of a place: `[t, d] -> [t, d]`.
    fn norm(&mut self, place: Norm, h: &Self::Rows) -> Self::Rows;

    /// The input of a block that has no norm in front.
    fn copy(&mut self, h: &Self::Rows) -> Self::Rows;

    /// `q(x)`, `k(x)` and `v(x)`.
    fn heads(&mut self, x: Self::Rows) -> Self::Heads;

    /// Rotates, extends the caches, and attends: `[t, heads·hd]`.
    fn attend(&mut self, heads: Self::Heads) -> Self::Rows;

    /// `act(gate(x)) ∘ up(x)`, without a gate `act(up(x))`: `[t, d] -> [t, ffn]`.
    fn gated(&mut self, x: Self::Rows) -> Self::Rows;

    /// The product of one linear layer.
    fn project(&mut self, projection: Projection, x: Self::Rows) -> Self::Rows;

    /// `h + s · y`, s the residual scale.
    fn add(&mut self, h: Self::Rows, y: Self::Rows) -> Self::Rows;

    /// `h + s · norm(y)`, for executors that do both at once.
    fn add_normed(&mut self, h: Self::Rows, place: Norm, y: Self::Rows) -> Self::Rows {
        let y = self.norm(place, &y);
        self.add(h, y)
    }

    /// `h + s · W x`, likewise.
    fn add_projected(
        &mut self,
        h: Self::Rows,
        projection: Projection,
        x: Self::Rows,
    ) -> Self::Rows {
        let y = self.project(projection, x);
        self.add(h, y)
    }

    /// The steps of the residual stream at the output of the block.
    fn step(&mut self, h: Self::Rows) -> Self::Rows;
}

/// `h [t, d] -> [t, d]`, the rows of all lanes.
pub(super) fn forward<E: Executor>(on: &mut E, h: E::Rows) -> E::Rows {
    let beside = on.config().parallel;
    let beside = beside.then(|| before(on, Norm::PostAttention, &h));
    let x = before(on, Norm::Input, &h);
    let heads = on.heads(x);
    let mixed = on.attend(heads);
    let h = after(on, Norm::AfterAttention, h, Projection::O, mixed);

    let x = beside.unwrap_or_else(|| before(on, Norm::PostAttention, &h));
    let inner = on.gated(x);
    let h = after(on, Norm::AfterMlp, h, Projection::Down, inner);
    on.step(h)
}

/// What attention and the MLP read.
fn before<E: Executor>(on: &mut E, place: Norm, h: &E::Rows) -> E::Rows {
    if on.config().norms == NormPlaces::After {
        on.copy(h)
    } else {
        on.norm(place, h)
    }
}

/// What they add to the residual stream.
fn after<E: Executor>(
    on: &mut E,
    place: Norm,
    h: E::Rows,
    projection: Projection,
    x: E::Rows,
) -> E::Rows {
    if on.config().norms == NormPlaces::Before {
        return on.add_projected(h, projection, x);
    }
    let y = on.project(projection, x);
    on.add_normed(h, place, y)
}
