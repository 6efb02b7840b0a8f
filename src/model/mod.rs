//! A decoder over burn tensors, described by data ([`DecoderConfig`]): the order of its block is
//! written once, in `block`, over operations that three executors implement.
//!
//! Every tensor here belongs to one sequence: activations are `[t, width]`, there is no batch
//! dimension. Adapters enter at named places only ([`Steering`](crate::hooks::Steering)); the model
//! knows the few shapes an effect can have, never the method it came from.

mod block;
mod cache;
mod folded;
mod gpu;
mod host;
mod lanes;
mod layer;
mod linear;
mod load;
mod norm;
mod pass;
mod room;
mod rope;
mod tensors;
mod turn;
mod weight;

pub use cache::KvCache;
pub use lanes::{Begun, Lane};
pub use linear::Linear;
pub use room::GpuRoom;
pub use rope::EXTRA_POSITIONS;
pub use weight::{Ids, Weight, Weights};

use burn::tensor::{Device, Tensor};

use crate::arch::{DecoderConfig, Norm, Projection};
use crate::kernels::{self, Cut};
use host::Host;
use layer::Block;
use norm::NormLayer;
use rope::Ropes;

/// Which positions' logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// Only the last: `[1, vocab]`.
    Last,
    /// Every position: `[t, vocab]`.
    All,
    /// None: only the cache is filled.
    None,
}

/// A decoder-only language model.
#[derive(Debug)]
pub struct Model {
    embed_tokens: Weight,
    /// A row for each position, `[context, d]`, in families that learn them.
    positions: Option<Tensor<2>>,
    layers: Vec<Block>,
    norm: NormLayer,
    lm_head: Option<Weight>,
    ropes: Ropes,
    config: DecoderConfig,
    name: String,
    names: Vec<String>,
    arithmetic: String,
    weights: Weights,
}

impl Model {
    /// Sizes and constants.
    #[must_use]
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Lays the blocks out over a GPU's threads otherwise than the GPU that was opened suggests, to check a
    /// layout where there is no such GPU.
    pub fn lay_out(&mut self, cut: Cut) {
        let stacks = self.layers.iter_mut().flat_map(|block| &mut block.stacks);
        let groups = stacks.flat_map(|stacks| &mut stacks.groups);
        groups.for_each(|packed| packed.cut = cut);
    }

    /// The name of the file it came from.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the model is called, as [`ModelFile::names`](crate::arch::ModelFile::names).
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The device that holds the weights.
    #[must_use]
    pub fn device(&self) -> Device {
        self.embed_tokens.device()
    }

    /// Which numbers are multiplied, in words: f32, or the quantised formats and how.
    #[must_use]
    pub fn arithmetic(&self) -> &str {
        &self.arithmetic
    }

    /// The linear layer of a block.
    #[must_use]
    pub fn linear(&self, layer: usize, projection: Projection) -> &Linear {
        self.layers[layer].linear(projection)
    }

    /// The gain of a norm: of a block, or, without one, of the norm in front of the head.
    #[must_use]
    pub fn gain(&self, norm: Option<(usize, Norm)>) -> Tensor<1> {
        let norm = match norm {
            Some((layer, place)) => self.layers[layer].norm(place),
            None => &self.norm,
        };
        norm.gain.clone()
    }

    /// The embedding `[vocab, d]`.
    #[must_use]
    pub fn embedding_weight(&self) -> Tensor<2> {
        self.embed_tokens.dense()
    }

    /// The embeddings of these tokens, `[n, d]`, before they are scaled.
    #[must_use]
    pub fn embeddings(&self, ids: &[u32]) -> Tensor<2> {
        self.embed_tokens.select(Ids::Host(ids))
    }

    /// The head's weight `[vocab, d]`: `lm_head`, or the embedding when they are tied.
    #[must_use]
    pub fn head_weight(&self) -> Tensor<2> {
        self.head().dense()
    }

    fn head(&self) -> &Weight {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens)
    }

    /// Bytes of weights that computing one token reads: every linear layer and the head.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let linears = self.layers.iter().flat_map(|block| &block.linears);
        let bytes = linears.flatten().map(|linear| linear.weight.bytes());
        bytes.sum::<u64>() + self.head().bytes()
    }

    /// Whether logits are on a GPU.
    #[must_use]
    pub fn is_on_gpu(&self) -> bool {
        kernels::is_gpu(&self.norm.gain)
    }

    /// Whether blocks run over slices in host memory where they can.
    fn on_host(&self) -> bool {
        self.weights == Weights::Quantised
            && !self.embed_tokens.is_on_gpu()
            && Host::suits(&self.config)
    }

    /// Numbers of tokens whose passes warm a model up: on a GPU, as many as make it build every
    /// kernel of the base.
    #[must_use]
    pub fn warm_up_tokens(&self) -> &'static [usize] {
        if self.embed_tokens.is_on_gpu() {
            &kernels::WARM_UP_TOKENS
        } else {
            &[1]
        }
    }

    /// An empty cache for one sequence.
    #[must_use]
    pub fn new_cache(&self) -> KvCache {
        KvCache::new(&self.config, &self.device(), self.on_host())
    }
}
