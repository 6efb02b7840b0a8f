//! Between tensors and numbers in host memory.

mod pull;

use burn::backend::{BackendTensor, DispatchTensorKind};
use burn::tensor::{Tensor, TensorData};

use crate::device;
use crate::linalg::matrix;

/// The same numbers, but NaN for an infinity: a division by infinity gives 0, which looks like a
/// result.
pub(crate) fn telling<const D: usize>(divisor: Tensor<D>) -> Tensor<D> {
    divisor.clone() * 0.0 + divisor
}

/// Where the hyperbolic tangent is 1 to the last digit.
const TANH_IS_1: f32 = 10.0;

/// `tanh(x)`. A GPU may compute it as a quotient of exponentials, which far from 0 is inf / inf: there it
/// is told what it is.
pub(crate) fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if let DispatchTensorKind::Flex(_) = x.clone().into_dispatch().kind {
        return x.tanh();
    }
    // NaN is far from nothing, and stays NaN.
    let far = x.clone().abs().greater_scalar(TANH_IS_1);
    let ends = x.clone().sign();
    x.mask_fill(far.clone(), 0.0).tanh().mask_where(far, ends)
}

/// The numbers of a tensor of the CPU device; no copy unless the tensor is shared.
pub(crate) fn to_host<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data()
        .try_into_vec()
        .unwrap_or_else(|_| unreachable!("the CPU device holds f32 in host memory"))
}

/// Shows the numbers of a tensor of the CPU device; no copy unless they lie out of order.
pub(crate) fn on_host<const D: usize, R>(x: &Tensor<D>, read: impl FnOnce(&[f32]) -> R) -> R {
    match x.clone().into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(held)) => match held.as_slice() {
            Some(values) => read(values),
            None => read(&to_host(x.clone())),
        },
        _ => read(&to_host(x.clone())),
    }
}

/// Rows of numbers as a tensor of the CPU device, without a copy.
pub(crate) fn from_host(values: Vec<f32>, width: usize) -> Tensor<2> {
    let rows = values.len() / width;
    Tensor::from_data(TensorData::new(values, [rows, width]), &device::cpu())
}

/// `y`, computed from `x` without a graph, as a function of `x` whose gradient `pull` gives where `x`
/// tracks one.
pub(crate) fn pulled<const I: usize, const O: usize>(
    x: Tensor<I>,
    y: Tensor<O>,
    pull: impl Fn(Tensor<O>) -> Tensor<I> + Send + Sync + 'static,
) -> Tensor<O> {
    if x.is_autodiff() {
        pull::pulled(x, y, pull)
    } else {
        y
    }
}

/// The inverses of square matrices `[n, b, b]`, in f64 on the host.
pub(crate) fn inverse(x: Tensor<3>) -> Tensor<3> {
    let inverse = inverted(x.clone().without_autodiff());
    let back = inverse.clone();
    // d(X⁻¹) = −X⁻¹ dX X⁻¹
    pulled(x, inverse, move |dy| {
        let transposed = back.clone().swap_dims(1, 2);
        -transposed.clone().matmul(dy).matmul(transposed)
    })
}

fn inverted(x: Tensor<3>) -> Tensor<3> {
    let ([n, b, _], device) = (x.dims(), x.device());
    let values = to_host(x);
    let solved = values.chunks_exact(b * b).flat_map(|matrix| {
        // Rows of the solution x of X x = e, for each unit vector: columns of the inverse.
        let rows = matrix::rows(matrix, b);
        matrix::flat(&matrix::transposed(&matrix::solve(
            rows,
            matrix::identity(b),
        )))
    });
    let solved: Vec<f32> = solved.collect();
    Tensor::from_data(TensorData::new(solved, [n, b, b]), &device)
}
