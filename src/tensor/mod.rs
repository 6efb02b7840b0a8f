//! Between tensors and numbers in host memory.

pub(crate) mod slices;

use burn::backend::{BackendTensor, DispatchTensorKind};
use burn::tensor::{Tensor, TensorData};

use crate::device;

/// The same numbers, but NaN for an infinity: a division by infinity gives 0, which looks like a
/// result.
pub(crate) fn telling<const D: usize>(divisor: Tensor<D>) -> Tensor<D> {
    divisor.clone() * 0.0 + divisor
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
