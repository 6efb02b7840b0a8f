//! Effects that ride along in the kernels of the base, gathered once for each set of coefficients.

use burn::tensor::{Device, Tensor, TensorData};

use super::layer::GROUPS;
use crate::arch::DecoderConfig;
use crate::hooks::LayerPlan;
use crate::kernels::{self, SHIFT_SCALE};

/// Low-rank changes that ride along with each group: with them, and with the residual stream of the
/// second and the last, a launch has eight buffers, which every GPU can bind.
const MOST_PARTS: [usize; 4] = [3, 2, 3, 2];

/// Numbers of a slot of scales: buffers may be bound from every 256th byte on.
const SLOT: usize = 64;

/// What rides along in each layer.
#[derive(Debug)]
pub(super) struct Folded {
    /// A slot for each group of each layer: the factors of its low-rank changes, and, of the
    /// last group, that of the step in the residual stream.
    scales: Tensor<1>,
    layers: Vec<FoldedLayer>,
}

/// What rides along in one layer.
#[derive(Debug, Default)]
struct FoldedLayer {
    groups: [Option<Vec<Part>>; 4],
    shift: Option<Tensor<1>>,
}

/// A low-rank change of the rows from `first` on.
#[derive(Debug)]
pub(super) struct Part {
    pub first: usize,
    pub a: Tensor<2>,
    pub b: Tensor<2>,
}

impl Folded {
    /// Gathers them out of the plans of a model's layers, onto its device.
    pub(crate) fn new(plans: &[LayerPlan], config: &DecoderConfig, device: &Device) -> Self {
        let mut scales = vec![0.0; plans.len() * 4 * SLOT];
        let layers = plans.iter().zip(scales.chunks_exact_mut(4 * SLOT));
        let layers = layers
            .map(|(plan, scales)| FoldedLayer::new(plan, scales, config))
            .collect();
        let length = scales.len();
        Self {
            scales: Tensor::from_data(TensorData::new(scales, [length]), device),
            layers,
        }
    }

    /// The changes of a group of a layer, if they can ride along.
    pub(super) fn group(&self, layer: usize, group: usize) -> Option<&[Part]> {
        self.layers.get(layer)?.groups[group].as_deref()
    }

    /// The step of the residual stream, if that is all that happens there.
    pub(super) fn shift(&self, layer: usize) -> Option<Tensor<1>> {
        self.layers.get(layer)?.shift.clone()
    }

    /// The factors of a group of a layer.
    pub(super) fn scales(&self, layer: usize, group: usize) -> Tensor<1> {
        let slot = layer * 4 + group;
        self.scales.clone().narrow(0, slot * SLOT, SLOT)
    }
}

impl FoldedLayer {
    /// Reads a layer's plan, and writes its factors to its four slots.
    fn new(plan: &LayerPlan, scales: &mut [f32], config: &DecoderConfig) -> Self {
        let mut layer = Self::default();
        let groups = layer.groups.iter_mut().zip(MOST_PARTS);
        let slots = scales.chunks_exact_mut(SLOT);
        for ((projections, (group, most)), scales) in GROUPS.into_iter().zip(groups).zip(slots) {
            let mut first = 0;
            let mut parts = Some(Vec::new());
            for &projection in projections {
                let found = plan.linear(projection).low_rank();
                parts = parts.zip(found).map(|(mut parts, found)| {
                    for (a, b, scale) in found {
                        if let Some(slot) = scales.get_mut(parts.len()) {
                            *slot = scale;
                        }
                        let [a, b] = [a, b].map(|matrix| kernels::contiguous(matrix.clone()));
                        parts.push(Part { first, a, b });
                    }
                    parts
                });
                first += projection.widths(config).1;
            }
            *group = parts.filter(|parts| (1..=most).contains(&parts.len()));
        }
        if let [shift] = &plan.residual[..]
            && shift.is_constant()
        {
            scales[3 * SLOT + SHIFT_SCALE] = shift.scale;
            layer.shift = Some(kernels::contiguous(shift.direction.clone()));
        }
        layer
    }
}
