//! Changes of a weight inside some of its own singular directions: `ΔW(c) = L N(c) R`, where only
//! the small N depends on the coefficient.

use std::rc::Rc;

use burn::tensor::Tensor;

use crate::checkpoint::Loader;
use crate::hooks::{Delta, Effect, Law, Placed, Site};
use crate::linalg::matrix::{self, Matrix};

/// L `[o, r]`, R `[r, i]` and c -> N `[r, r]`, under the spectral law and, on request, the linear
/// one.
pub(super) fn placed(
    loader: &Loader<'_>,
    site: Site,
    left: Tensor<2>,
    right: Tensor<2>,
    inner: impl Fn(f64) -> Matrix + 'static,
) -> Placed {
    let change = Rc::new(change(loader, left, right, inner));
    let mirrored = change.clone();
    Placed::new(site, move |c| change(c, 1.0)).or(Law::Linear, move |c| mirrored(1.0, c))
}

/// The same while N is trained: tensors with gradients, under the method's own law.
pub(super) fn trained(
    site: Site,
    left: Tensor<2>,
    right: Tensor<2>,
    inner: impl Fn(f32) -> Tensor<2> + 'static,
) -> Placed {
    Placed::new(site, move |c| {
        let b = left.clone().matmul(inner(c));
        vec![Effect::Weight(Delta::product(right.clone(), b, 1.0))]
    })
}

/// `(c, scale) -> scale · L N(c) R`
pub(super) fn change(
    loader: &Loader<'_>,
    left: Tensor<2>,
    right: Tensor<2>,
    inner: impl Fn(f64) -> Matrix + 'static,
) -> impl Fn(f32, f32) -> Vec<Effect> + 'static {
    let r = right.dims()[0];
    let device = loader.model.device();
    move |c, scale| {
        let inner = burn::tensor::TensorData::new(matrix::flat(&inner(c.into())), [r, r]);
        vec![Effect::Weight(Delta::LowRank {
            a: right.clone(),
            b: left.clone().matmul(Tensor::from_data(inner, &device)),
            mid: None,
            out: None,
            scale,
        })]
    }
}
