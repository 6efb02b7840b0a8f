//! From a model file to weights on a device, one tensor at a time.

use std::sync::Arc;

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
use crate::kernels::{Packed, Packing};
use crate::weights::ByteSource;
use crate::weights::quant::Kind;

/// Bytes that are on their way to a GPU at once, but for a larger matrix.
const MOST_ON_THE_WAY: u64 = 32 << 20;

/// Reads, and counts what it has read.
struct Reader<'a, S, P> {
    file: &'a ModelFile<S>,
    device: &'a Device,
    weights: Weights,
    done_bytes: u64,
    /// Sent to a GPU since it was last waited for.
    on_the_way: u64,
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
            on_the_way: 0,
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
            let packed = self.stack(&[(path.to_owned(), shape)], &[]).await?;
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
            Some(packed) => Weight::Packed(Arc::new(packed)),
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
            let parts: Vec<_> = group
                .iter()
                .map(|&projection| (path(projection), shape(projection)))
                .collect();
            let biases = stacked(group, biases, config);
            let packed = self.stack(&parts, &biases).await?;
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

    /// The matrices `path.weight [o, i]` on top of each other on a GPU, with biases for all rows or none. They
    /// are regrouped as they are read.
    async fn stack(&mut self, parts: &[(String, [usize; 2])], biases: &[f32]) -> Result<Packed> {
        let part = |(path, shape): &(String, [usize; 2])| (format!("{path}.weight"), *shape);
        let parts: Vec<_> = parts.iter().map(part).collect();
        // What is missing is told when it is read.
        let kind = |name: &String| self.file.kind(name).unwrap_or(Kind::F32);
        let kinds = parts.iter().map(|(name, [o, _])| (kind(name), *o));
        let kinds: Vec<_> = kinds.collect();
        let i = parts.first().map_or(0, |(_, [_, i])| *i);
        let mut packing = Packing::new(&kinds, biases, i, self.device);
        for ((name, shape), (kind, _)) in parts.iter().zip(kinds) {
            let take = |bytes: &[u8], row: &dyn Fn(usize) -> usize| packing.take(bytes, row);
            self.file.matrix(name, *shape, take).await?;
            self.arithmetic.count_on_gpu(kind, packing.in_f32());
            self.count(name);
        }
        let packed = Packed::from(packing);
        self.on_the_way += packed.bytes();
        if self.on_the_way > MOST_ON_THE_WAY {
            packed.arrived().await?;
            self.on_the_way = 0;
        }
        Ok(packed)
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
