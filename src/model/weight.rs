//! A weight matrix: dense on the device, quantised in host memory, or quantised on a GPU.

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::device;
use crate::kernels::{self, After, Riders, STREAMS};
use crate::tensor::{from_host, on_host, pulled, to_host};
use crate::weights::quant::Kind;
use processor::quantised::{Activations, Packed};
use processor::slices;

/// How the CPU is to hold the weights. A GPU always holds them as the file has them, and widens
/// each number to f32 as it multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weights {
    /// In f32 on the device: the reference.
    #[default]
    Dense,
    /// As the file has them, on the CPU: what the file holds quantised stays quantised and is
    /// multiplied in integers; the rest is f32.
    Quantised,
}

/// W `[o, i]`: one row is one output.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a tensor handle is large; a model has a few hundred"
)]
pub enum Weight {
    /// f32 on the device.
    Dense(Tensor<2>),
    /// Quantised, in host memory; only for the CPU device.
    Packed(Arc<Packed>),
    /// As the file has it, on a GPU.
    Gpu(kernels::Packed),
}

/// Which formats the matrices of a model have, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Arithmetic {
    dense: BTreeSet<&'static str>,
    exact: BTreeSet<&'static str>,
    rounded: BTreeSet<&'static str>,
    widened: BTreeSet<&'static str>,
}

impl Arithmetic {
    pub(super) fn count(&mut self, kind: Option<Kind>, packed: bool) {
        let Some(kind) = kind else { return };
        let set = match packed {
            false => &mut self.dense,
            true if kind.keeps_codes() => &mut self.exact,
            true => &mut self.rounded,
        };
        set.insert(kind.name());
    }

    pub(super) fn count_on_gpu(&mut self, kind: Kind, in_f32: bool) {
        let set = if in_f32 {
            &mut self.dense
        } else {
            &mut self.widened
        };
        set.insert(kind.name());
    }

    pub(super) fn words(&self) -> String {
        let list = |set: &BTreeSet<&str>| set.iter().copied().collect::<Vec<_>>().join(", ");
        let mut parts = Vec::new();
        if !self.exact.is_empty() {
            parts.push(format!(
                "{} weights as in the file, activations rounded to 16 bits, integer products",
                list(&self.exact)
            ));
        }
        if !self.rounded.is_empty() {
            parts.push(format!(
                "{} weights rounded to 8 bits, likewise",
                list(&self.rounded)
            ));
        }
        if !self.widened.is_empty() {
            parts.push(format!(
                "{} weights as in the file, widened to f32 in the product",
                list(&self.widened)
            ));
        }
        if !self.dense.is_empty() {
            parts.push(format!("{} weights in f32", list(&self.dense)));
        }
        parts.join("; ")
    }
}

impl Weight {
    /// `x [t, i] -> x Wᵀ [t, o]`. Where x tracks gradients, so does the product; W is a constant.
    #[must_use]
    pub fn product(&self, x: Tensor<2>) -> Tensor<2> {
        if x.is_autodiff() {
            return self.tracked_product(x);
        }
        match self {
            Self::Dense(weight) => {
                let [o, i] = weight.dims();
                // For a few rows, burn's product on the CPU is slower than one for each.
                if (2..=STREAMS).contains(&x.dims()[0]) && !kernels::is_gpu(weight) {
                    return from_host(
                        on_host(weight, |w| on_host(&x, |x| slices::products(w, x, i))),
                        o,
                    );
                }
                x.matmul(weight.clone().transpose())
            }
            Self::Packed(weight) => {
                let cols = x.dims()[1];
                let y = weight.product(&Activations::new(&to_host(x), cols));
                from_host(y, weight.shape()[0])
            }
            Self::Gpu(weight) => kernels::linear(x, weight, After::Plain, Riders::default()),
        }
    }

    fn tracked_product(&self, x: Tensor<2>) -> Tensor<2> {
        let product = |x: &Tensor<2>| self.product(x.clone().without_autodiff());
        match self {
            Self::Dense(weight) => x.matmul(weight.clone().transpose()),
            Self::Packed(weight) => {
                let (y, weight) = (product(&x), weight.clone());
                pulled(x, y, move |dy| pulled_back(&weight, &dy))
            }
            Self::Gpu(weight) => {
                let (y, weight) = (product(&x), weight.clone());
                pulled(x, y, move |dy| kernels::pulled_back(dy, &weight))
            }
        }
    }

    /// W in f32 `[o, i]`; widened for this call when it is quantised.
    #[must_use]
    pub fn dense(&self) -> Tensor<2> {
        match self {
            Self::Dense(weight) => weight.clone(),
            Self::Packed(weight) => from_host(weight.dequantise(), weight.shape()[1]),
            Self::Gpu(weight) => weight.widen(),
        }
    }

    /// The rows of these ids, `[t, i]`.
    #[must_use]
    pub fn select(&self, ids: Ids<'_>) -> Tensor<2> {
        match self {
            Self::Dense(weight) => {
                let ids = ids.on_device(&weight.device());
                weight.clone().select(0, ids)
            }
            Self::Gpu(weight) => kernels::rows(weight, ids.on_device(&weight.device())),
            Self::Packed(weight) => {
                let mut rows = Vec::new();
                let ids = ids.on_host();
                for &id in ids {
                    weight.row(id as usize, &mut rows);
                }
                from_host(rows, weight.shape()[1])
            }
        }
    }

    /// Memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Dense(weight) => (weight.shape().num_elements() * size_of::<f32>()) as u64,
            Self::Packed(weight) => weight.bytes(),
            Self::Gpu(weight) => weight.bytes(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn device(&self) -> Device {
        match self {
            Self::Dense(weight) => weight.device(),
            Self::Packed(_) => device::cpu(),
            Self::Gpu(weight) => weight.device(),
        }
    }

    /// Whether it is quantised on a GPU.
    pub(super) fn is_on_gpu(&self) -> bool {
        matches!(self, Self::Gpu(_))
    }
}

/// Rows of W that are widened at once: some megabytes.
const WIDENED_ROWS: usize = 2048;

/// `dy [t, o] -> dy W [t, i]`
fn pulled_back(weight: &Packed, dy: &Tensor<2>) -> Tensor<2> {
    let [rows, cols] = weight.shape();
    let part = |start: usize| {
        let end = rows.min(start + WIDENED_ROWS);
        let tile = from_host(weight.widen(start..end), cols);
        dy.clone().narrow(1, start, end - start).matmul(tile)
    };
    let parts = (0..rows).step_by(WIDENED_ROWS).map(part);
    parts
        .reduce(|sum, part| sum + part)
        .unwrap_or_else(|| dy.clone())
}

/// Token ids, where they are.
#[derive(Debug, Clone, Copy)]
pub enum Ids<'a> {
    /// In host memory.
    Host(&'a [u32]),
    /// On the device of the weights, `[t]`.
    Device(&'a Tensor<1, Int>),
}

impl<'a> Ids<'a> {
    /// On the device of the weights. What a kernel reads must be there before the kernels in front of
    /// it are launched: sending it later cuts a pass in two.
    #[must_use]
    pub(super) fn on_device(self, device: &Device) -> Tensor<1, Int> {
        match self {
            Self::Host(ids) => {
                let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
                let length = ids.len();
                Tensor::from_data(TensorData::new(ids, [length]), device)
            }
            Self::Device(ids) => ids.clone(),
        }
    }

    fn on_host(self) -> &'a [u32] {
        match self {
            Self::Host(ids) => ids,
            Self::Device(_) => unreachable!("weights in host memory get ids from there"),
        }
    }
}
