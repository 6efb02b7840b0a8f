//! From a model file to weights on a device, one tensor at a time.

use burn::tensor::{Device, Tensor, TensorData};

use super::Model;
use super::gpu::Gpu;
use super::layer::{Block, GROUPS, Stacks};
use super::linear::Linear;
use super::norm::NormLayer;
use super::rope::Ropes;
use super::weight::{Arithmetic, Weight, Weights};
use crate::arch::{DecoderConfig, ModelFile, Norm, Projection};
use crate::device;
use crate::error::Result;
use crate::kernels::Packed;
use crate::weights::ByteSource;
use crate::weights::quant::Kind;

/// Reads, and counts what it has read.
struct Reader<'a, S, P> {
    file: &'a ModelFile<S>,
    device: &'a Device,
    weights: Weights,
    done_bytes: u64,
    progress: P,
    /// Which formats there were, and what became of them.
    arithmetic: Arithmetic,
}

impl<'a, S: ByteSource, P: FnMut(u64)> Reader<'a, S, P> {
    fn new(file: &'a ModelFile<S>, device: &'a Device, weights: Weights, progress: P) -> Self {
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

    /// The numbers of a vector.
    async fn values(&mut self, name: &str, width: usize) -> Result<Vec<f32>> {
        let values = self.file.tensor(name, &[width]).await?;
        self.count(name);
        Ok(values)
    }

    fn upload(&self, values: Vec<f32>) -> Tensor<1> {
        let width = values.len();
        Tensor::from_data(TensorData::new(values, [width]), self.device)
    }

    /// The norm `path.weight` of this width.
    async fn norm(&mut self, path: &str, width: usize) -> Result<NormLayer> {
        let config = self.file.config();
        let (offset, epsilon) = (config.gain_offset, config.norm_eps);
        let gain = self.values(&format!("{path}.weight"), width).await?;
        let gain = self.upload(gain);
        let bias = self.bias(path, width).await?;
        Ok(NormLayer {
            gain: if offset == 0.0 { gain } else { gain + offset },
            epsilon,
            centred: config.layer_norm,
            bias: bias.map(|values| self.upload(values)),
        })
    }

    /// The numbers of `path.bias`, if it is there.
    async fn bias(&mut self, path: &str, width: usize) -> Result<Option<Vec<f32>>> {
        let name = format!("{path}.bias");
        if self.file.has(&name) {
            self.values(&name, width).await.map(Some)
        } else {
            Ok(None)
        }
    }

    /// The matrix `path.weight [o, i]`: quantised where the device has kernels for that.
    async fn weight(&mut self, path: &str, shape: [usize; 2]) -> Result<Weight> {
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
                Weight::Dense(Tensor::from_data(values, self.device))
            }
        };
        self.count(&name);
        Ok(weight)
    }

    /// A block, with its weights on top of each other where a GPU's kernels can run it.
    async fn block(&mut self, layer: usize) -> Result<Block> {
        let config = self.file.config();
        let mut biases = [const { None }; Projection::COUNT];
        for (projection, path, _) in config.family.linears {
            let path = format!("model.layers.{layer}.{path}");
            let bias = self.bias(&path, projection.widths(config).1).await?;
            biases[*projection as usize] = bias;
        }
        let (weights, groups) = self.weights(layer, config, &biases).await?;
        let mut linears: Vec<_> = Projection::ALL.map(|_| None).into();
        for (projection, weight) in weights {
            let bias = biases[projection as usize].take();
            linears[projection as usize] = Some(Linear {
                weight,
                bias: bias.map(|values| self.upload(values)),
            });
        }
        let mut norms = [const { None }; Norm::COUNT];
        for (place, path, _) in config.family.norms {
            let path = format!("model.layers.{layer}.{path}");
            norms[*place as usize] = Some(self.norm(&path, config.norm_width(*place)).await?);
        }
        let stacks = groups.map(|groups| {
            let of = |place: Norm| Some(norms[place as usize].as_ref()?.gain.clone());
            let gains = of(Norm::Query).zip(of(Norm::Key));
            let gains = gains.map(|(query, key)| Tensor::cat(vec![query, key], 0));
            Stacks { groups, gains }
        });
        Ok(Block {
            norms,
            linears,
            stacks,
        })
    }

    /// The weights of a block; on a GPU also on top of each other, with the biases.
    async fn weights(
        &mut self,
        layer: usize,
        config: &DecoderConfig,
        biases: &[Option<Vec<f32>>],
    ) -> Result<(Vec<(Projection, Weight)>, Option<[Packed; 4]>)> {
        let path = |projection: Projection| {
            format!("model.layers.{layer}.{}", config.family.linear(projection))
        };
        let shape = |projection: Projection| {
            let (i, o) = projection.widths(config);
            [o, i]
        };
        let all = config.family.linears.iter();
        let all = all.map(|(projection, ..)| *projection);
        let mut widths = all.clone().map(|projection| shape(projection)[1]);
        let fits = Gpu::suits(config) && widths.all(|i| self.packs(i));
        let mut weights = Vec::with_capacity(Projection::COUNT);
        if !fits {
            for projection in all {
                let weight = self.weight(&path(projection), shape(projection)).await?;
                weights.push((projection, weight));
            }
            return Ok((weights, None));
        }
        let mut stacks = Vec::with_capacity(4);
        for group in GROUPS {
            let mut parts = Vec::with_capacity(group.len());
            for &projection in group {
                parts.push(self.matrix(&path(projection), shape(projection)).await?);
            }
            let parts: Vec<(Kind, &[u8])> = parts
                .iter()
                .map(|(kind, bytes)| (*kind, &bytes[..]))
                .collect();
            let biases = stacked(group, biases, config);
            let packed = Packed::with_biases(&parts, &biases, shape(group[0])[1], self.device);
            let mut first = 0;
            for &projection in group {
                let [o, _] = shape(projection);
                weights.push((projection, Weight::Gpu(packed.part(first..first + o))));
                first += o;
            }
            stacks.push(packed);
        }
        let stacks = stacks.try_into();
        Ok((
            weights,
            Some(stacks.unwrap_or_else(|_| unreachable!("four groups"))),
        ))
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

/// The biases of a group one after the other, 0 where a layer has none; nothing where all have none.
fn stacked(group: &[Projection], biases: &[Option<Vec<f32>>], config: &DecoderConfig) -> Vec<f32> {
    let of = |projection: Projection| biases[projection as usize].as_deref();
    if group.iter().all(|&projection| of(projection).is_none()) {
        return Vec::new();
    }
    let each = group.iter().map(|&projection| match of(projection) {
        Some(bias) => bias.to_vec(),
        None => vec![0.0; projection.widths(config).1],
    });
    each.collect::<Vec<_>>().concat()
}

impl Model {
    /// Streams the weights of `file` to `device`, one tensor at a time: at no moment does host
    /// memory hold more than one tensor besides those already on the device. `progress` gets
    /// the file bytes consumed so far.
    ///
    /// # Errors
    /// Whatever reading meets: missing tensors, wrong shapes, truncated files.
    pub async fn load<S: ByteSource>(
        file: &ModelFile<S>,
        device: &Device,
        weights: Weights,
        progress: impl FnMut(u64),
    ) -> Result<Self> {
        let config = file.config().clone();
        let mut read = Reader::new(file, device, weights, progress);
        let table = [config.vocab_size, config.hidden_size];

        let embed_tokens = read.weight("model.embed_tokens", table).await?;
        let positions = if config.learned_positions {
            let (name, shape) = (
                "model.embed_positions.weight",
                [config.context, config.hidden_size],
            );
            let values = file.tensor(name, &shape).await?;
            read.count(name);
            Some(Tensor::from_data(TensorData::new(values, shape), device))
        } else {
            None
        };
        let mut layers = Vec::with_capacity(config.num_layers);
        for layer in 0..config.num_layers {
            layers.push(read.block(layer).await?);
        }
        let norm = read.norm("model.norm", config.hidden_size).await?;
        let lm_head = if config.tie_word_embeddings {
            None
        } else {
            Some(read.weight("lm_head", table).await?)
        };
        let mut model = Self {
            embed_tokens,
            positions,
            layers,
            norm,
            lm_head,
            ropes: Ropes::new(&config, device),
            config,
            name: file.name().into(),
            names: file.names().to_vec(),
            arithmetic: read.arithmetic.words(),
            weights,
        };
        if model.on_host() {
            model.arithmetic += "; keys and values rounded to 14 bits";
        }
        Ok(model)
    }
}
