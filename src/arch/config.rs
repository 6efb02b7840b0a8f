//! A decoder, described by data: what the block of `model` reads, whichever family and file it was
//! read from.
//!
//! ```text
//! h = s_e · E[token]
//! h = h + s_r · after(o(attention(rope(norm_q(q(before(h)))), rope(norm_k(k)), v)))
//! h = h + s_r · after(down(act(gate(before(h))) ∘ up(before(h))))
//! logits = cap(head(norm(h)) / s_l)
//! ```
//! with the parts that a family lacks left out. Older families have LayerNorm, no gate, and queries,
//! keys and values in one layer; some add to E a row for each position, or give both sublayers the
//! same h.

use super::names::Names;
use super::places::{Norm, NormPlaces, Projection};

/// Sizes and constants of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// What its parts are called.
    pub family: &'static Names,
    /// Width of the residual stream, `d`.
    pub hidden_size: usize,
    /// Width of the MLP between its gate/up and down projections.
    pub intermediate_size: usize,
    /// Number of decoder blocks.
    pub num_layers: usize,
    /// Number of query heads.
    pub num_heads: usize,
    /// Number of key/value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head, `hd`; `num_heads * head_dim` need not equal `hidden_size`.
    pub head_dim: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Longest sequence in tokens that the model was made for.
    pub context: usize,
    /// Added to the mean square or the variance by which a norm divides.
    pub norm_eps: f64,
    /// Whether norms take off the mean first and have biases, as LayerNorm; else RMSNorm.
    pub layer_norm: bool,
    /// Where the norms of a block stand.
    pub norms: NormPlaces,
    /// Added to every gain of the file: 1 where it holds `w` of `1 + w`.
    pub gain_offset: f32,
    /// Added to every gain of an adapter: these are Hugging Face's, whichever file the model is in.
    pub adapter_gain_offset: f32,
    /// The norm of queries and keys, if there is one.
    pub qk_norm: Option<QkNorm>,
    /// How the rows of [`Projection::Qkv`] lie, where that takes the place of three layers.
    pub fused: Option<Fused>,
    /// Whether the MLP reads what attention reads, before attention has added to it.
    pub parallel: bool,
    /// Whether the MLP has a gate; without one it is `down(act(up(x)))`.
    pub gated: bool,
    /// What the MLP does to its gate.
    pub activation: Activation,
    /// Multiplies the scores of attention; `1/√hd` in most families.
    pub attention_scale: f64,
    /// Multiplies the embeddings of tokens, s_e.
    pub embedding_scale: f64,
    /// Multiplies embeddings that an adapter puts in front of the text: s_e where transformers scales
    /// all that the first block gets, 1 where its table of tokens does.
    pub virtual_scale: f64,
    /// Multiplies what a block adds to the residual stream, s_r.
    pub residual_scale: f64,
    /// Divides the logits, s_l.
    pub logit_divisor: f64,
    /// Scores of attention are `cap · tanh(score / cap)`.
    pub attention_cap: Option<f64>,
    /// Logits are `cap · tanh(logit / cap)`.
    pub logit_cap: Option<f64>,
    /// Whether a learned row for each position up to the context is added to the embeddings.
    pub learned_positions: bool,
    /// The rotary embeddings that layers use.
    pub ropes: Vec<RopeConfig>,
    /// What differs from layer to layer: as many as there are blocks.
    pub layers: Vec<LayerConfig>,
    /// Which linear layers have biases.
    pub biases: Biases,
    /// Whether the output head is the embedding matrix.
    pub tie_word_embeddings: bool,
    /// Whether the config says that it is, though the file has a head of its own, which counts:
    /// PEFT still puts trained rows of the embedding into both.
    pub tied_by_config_alone: bool,
}

impl DecoderConfig {
    /// Whether blocks are of the kind that the fast executors are written for: RMSNorm, three layers
    /// for queries, keys and values, a gate, one sublayer after the other.
    #[must_use]
    pub fn is_gated_rms(&self) -> bool {
        !self.layer_norm && self.fused.is_none() && self.gated && !self.parallel
    }

    /// The width of a norm of a block, which is that of its gain.
    #[must_use]
    pub fn norm_width(&self, norm: Norm) -> usize {
        match (norm, self.qk_norm) {
            (Norm::Query | Norm::Key, Some(QkNorm::Head)) => self.head_dim,
            (Norm::Query, _) => self.q_width(),
            (Norm::Key, _) => self.kv_width(),
            _ => self.hidden_size,
        }
    }

    /// Every tensor of such a model: bare name and shape, slowest dimension first. `all_biases` adds
    /// those of linear layers that the config denies.
    pub(super) fn tensors(&self, all_biases: bool) -> Vec<(String, Vec<usize>)> {
        let d = self.hidden_size;
        let mut all = vec![("embed_tokens.weight".into(), vec![self.vocab_size, d])];
        if self.learned_positions {
            all.push(("embed_positions.weight".into(), vec![self.context, d]));
        }
        let norm = |all: &mut Vec<_>, path: &str, width| {
            all.push((format!("{path}.weight"), vec![width]));
            if self.layer_norm {
                all.push((format!("{path}.bias"), vec![width]));
            }
        };
        for layer in 0..self.num_layers {
            for (place, path, _) in self.family.norms {
                let path = format!("layers.{layer}.{path}");
                norm(&mut all, &path, self.norm_width(*place));
            }
            for (projection, linear, _) in self.family.linears {
                let (i, o) = projection.widths(self);
                all.push((format!("layers.{layer}.{linear}.weight"), vec![o, i]));
                if self.biases.of(*projection) || all_biases {
                    all.push((format!("layers.{layer}.{linear}.bias"), vec![o]));
                }
            }
        }
        norm(&mut all, "norm", d);
        if !self.tie_word_embeddings {
            all.push(("lm_head.weight".into(), vec![self.vocab_size, d]));
        }
        all
    }

    /// Width of all query heads together.
    #[must_use]
    pub fn q_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of all key heads together, which is that of the value heads.
    #[must_use]
    pub fn kv_width(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }
}

impl Projection {
    /// `(i, o)`: input and output width of this projection.
    #[must_use]
    pub fn widths(self, config: &DecoderConfig) -> (usize, usize) {
        let (d, ffn) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.q_width(), config.kv_width());
        match self {
            Self::Q => (d, q),
            Self::K | Self::V => (d, kv),
            Self::O => (q, d),
            Self::Gate | Self::Up => (d, ffn),
            Self::Down => (ffn, d),
            Self::Qkv => (d, q + 2 * kv),
        }
    }
}

/// What a norm of queries and keys is taken over, before they are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNorm {
    /// Each head, gain `[hd]`.
    Head,
    /// All heads together, gains `[heads·hd]` and `[kv_heads·hd]`.
    Whole,
}

/// How the rows of a layer of queries, keys and values lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fused {
    /// All queries, all keys, all values.
    ByPart,
    /// Head by head its query, key and value; there are as many of each.
    ByHead,
}

/// What the MLP does to its gate, or without one to what goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`
    Silu,
    /// `x · Φ(x)`
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`
    GeluTanh,
}

/// A rotary embedding: the pair k of a head turns by `position · inverse_wavelengths[k]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// In radians per position, `[rotated/2]`; fewer than `hd/2` leave the rest of a head unrotated.
    pub inverse_wavelengths: Vec<f32>,
    /// Multiplies cosines and sines.
    pub factor: f64,
}

impl RopeConfig {
    /// The plain one of base theta over heads of this width: `theta^(−2k/hd)`.
    #[must_use]
    pub fn plain(theta: f64, head_dim: usize) -> Self {
        let width = head_dim as f64;
        let inverse = |k: usize| theta.powf(-(2.0 * k as f64) / width) as f32;
        Self {
            inverse_wavelengths: (0..head_dim / 2).map(inverse).collect(),
            factor: 1.0,
        }
    }
}

/// What differs from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerConfig {
    /// A query sees this many keys, its own among them; all where there is none.
    pub window: Option<usize>,
    /// Which of [`DecoderConfig::ropes`] turns its queries and keys; none turns none.
    pub rope: Option<usize>,
}

/// Which linear layers have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Biases {
    /// q, k and v.
    pub qkv: bool,
    /// o.
    pub o: bool,
    /// gate, up and down.
    pub mlp: bool,
}

impl Biases {
    /// Whether this layer has one.
    #[must_use]
    pub fn of(self, projection: Projection) -> bool {
        match projection {
            Projection::Q | Projection::K | Projection::V | Projection::Qkv => self.qkv,
            Projection::O => self.o,
            Projection::Gate | Projection::Up | Projection::Down => self.mlp,
        }
    }
}
