//! From a model file to weights on a device, one tensor at a time.

use burn::module::Param;
use burn::tensor::{Device, TensorData};

use super::fused::Fused;
use super::weight::Arithmetic;
use super::{Weight, Weights};
use crate::arch::{DecoderConfig, ModelFile, Projection};
use crate::device;
use crate::error::Result;
use crate::kernels::Packed;
use crate::weights::ByteSource;
use crate::weights::quant::Kind;

/// Reads, and counts what it has read.
pub(super) struct Reader<'a, S, P> {
    file: &'a ModelFile<S>,
    device: &'a Device,
    weights: Weights,
    done_bytes: u64,
    progress: P,
    /// Which formats there were, and what became of them.
    pub arithmetic: Arithmetic,
}

impl<'a, S: ByteSource, P: FnMut(u64)> Reader<'a, S, P> {
    pub fn new(file: &'a ModelFile<S>, device: &'a Device, weights: Weights, progress: P) -> Self {
        Self {
            file,
            device,
            weights,
            done_bytes: 0,
            progress,
            arithmetic: Arithmetic::default(),
        }
    }

    fn count(&mut self, name: &str) {
        self.done_bytes += self.file.tensor_bytes(name);
        (self.progress)(self.done_bytes);
    }

    /// A vector `[width]`.
    pub async fn vector(&mut self, name: &str, width: usize) -> Result<TensorData> {
        let values = self.file.tensor(name, &[width]).await?;
        self.count(name);
        Ok(TensorData::new(values, [width]))
    }

    /// The matrix `path.weight [o, i]`: quantised where the device has kernels for that.
    pub async fn weight(&mut self, path: &str, shape: [usize; 2]) -> Result<Weight> {
        if self.packs(shape[1]) {
            let (kind, bytes) = self.matrix(path, shape).await?;
            let packed = Packed::new(&[(kind, &bytes)], shape[1], self.device);
            return Ok(Weight::Gpu(packed));
        }
        let name = format!("{path}.weight");
        let packed = match self.weights {
            Weights::Quantised if *self.device == device::cpu() => {
                self.file.packed(&name, shape).await?
            }
            _ => None,
        };
        self.arithmetic
            .count(self.file.kind(&name), packed.is_some());
        let weight = match packed {
            Some(packed) => Weight::Packed(packed),
            None => {
                let values = TensorData::new(self.file.tensor(&name, &shape).await?, shape);
                Weight::Dense(Param::from_data(values, self.device))
            }
        };
        self.count(&name);
        Ok(weight)
    }

    /// The seven weights of a block, in order; on a GPU also on top of each other.
    pub async fn block(
        &mut self,
        layer: usize,
        config: &DecoderConfig,
    ) -> Result<(Vec<Weight>, Option<Fused>)> {
        let path = |projection: Projection| format!("model.layers.{layer}.{}", projection.path());
        let shape = |projection: Projection| {
            let (i, o) = projection.widths(config);
            [o, i]
        };
        let fits = config.head_dim.is_multiple_of(4)
            && Projection::ALL
                .into_iter()
                .all(|projection| self.packs(shape(projection)[1]));
        let mut weights = Vec::with_capacity(7);
        if !fits {
            for projection in Projection::ALL {
                weights.push(self.weight(&path(projection), shape(projection)).await?);
            }
            return Ok((weights, None));
        }
        let mut stacks = Vec::with_capacity(4);
        for group in Fused::GROUPS {
            let mut parts = Vec::with_capacity(group.len());
            for &projection in group {
                parts.push(self.matrix(&path(projection), shape(projection)).await?);
            }
            let parts: Vec<(Kind, &[u8])> = parts
                .iter()
                .map(|(kind, bytes)| (*kind, &bytes[..]))
                .collect();
            let packed = Packed::new(&parts, shape(group[0])[1], self.device);
            let mut first = 0;
            for &projection in group {
                let [o, _] = shape(projection);
                weights.push(Weight::Gpu(packed.part(first..first + o)));
                first += o;
            }
            stacks.push(packed);
        }
        Ok((weights, Some(Fused::new(stacks))))
    }

    fn packs(&self, i: usize) -> bool {
        Packed::suits(i, self.device)
    }

    async fn matrix(&mut self, path: &str, shape: [usize; 2]) -> Result<(Kind, Vec<u8>)> {
        let name = format!("{path}.weight");
        let (kind, bytes) = self.file.matrix(&name, shape).await?;
        self.arithmetic.count_widened(kind);
        self.count(&name);
        Ok((kind, bytes))
    }
}
