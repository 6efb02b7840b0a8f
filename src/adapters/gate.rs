//! What weighs the experts of a mixture, token by token: a small network that reads what a scout,
//! the model with fixed weights, makes of the text.

use std::rc::Rc;

use burn::tensor::{Tensor, activation};

use super::{Config, Loader, Steering};
use crate::error::{Error, Result};

/// What the names of the network's tensors begin with.
pub(super) const CLASSIFIER: &str = "base_model.internal_xlora_classifier.";

/// The network and what it listens to.
#[derive(Debug)]
pub struct Gate {
    /// Weight `[o, i]` and bias `[o]` of each linear layer.
    pub layers: Vec<(Tensor<2>, Tensor<1>)>,
    /// How many experts it weighs.
    pub experts: usize,
    /// T of the softmax over all experts, if there is one.
    pub temperature: Option<f32>,
    /// How many experts, the heaviest, keep their weight.
    pub top: Option<usize>,
    /// Whether those that keep a weight share 1 among them, by softmax.
    pub softmax_top: bool,
    /// The pass whose last hidden state the network reads.
    pub scout: Steering,
}

/// Weight and bias of a linear layer of the network. In between lie a ReLU and, where there is any,
/// a dropout, which count.
fn keys(config: &Config, at: usize) -> [String; 2] {
    let step = if config.flag("xlora_dropout_p") { 3 } else { 2 };
    ["weight", "bias"].map(|part| format!("{CLASSIFIER}layers.{}.{part}", at * step))
}

/// Refuses a network of which PEFT saved only a part.
pub(super) fn check(config: &Config, has: impl Fn(&str) -> bool) -> Result<()> {
    let depth = config.count("xlora_depth")?;
    let mut weights = (0..depth).flat_map(|at| keys(config, at));
    match weights.find(|key| !has(key)) {
        None => Ok(()),
        Some(key) => Err(Error::MissingKey {
            file: config.file.clone(),
            key,
            what: "PEFT 0.21.2 forgets a part of the gate when it saves; give each expert a \
                   weight of your own"
                .into(),
        }),
    }
}

impl Gate {
    /// Reads the network for so many layers and experts.
    ///
    /// # Errors
    /// Missing tensors, wrong shapes, options outside their range.
    pub(super) fn read(
        loader: &Loader<'_>,
        scout: Steering,
        layers: usize,
        experts: usize,
    ) -> Result<Self> {
        let config = loader.config;
        check(config, |key| loader.shape(key).is_some())?;
        let slots = match config.flag("layerwise_scalings") {
            true => layers,
            false => 1,
        };
        let depth = config.count("xlora_depth")?;
        let linear = |at: usize| {
            let size = || config.count("xlora_size");
            let i = match at {
                0 => loader.model.config().hidden_size,
                _ => size()?,
            };
            let o = if at + 1 == depth {
                experts.saturating_mul(slots)
            } else {
                size()?
            };
            let [weight, bias] = keys(config, at);
            Ok((loader.shared(&weight, [o, i])?, loader.shared(&bias, [o])?))
        };
        let temperature = match config.flag("enable_softmax") {
            true if !config.flag("softmax_temperature") => {
                return Err(config.bad("softmax_temperature", "a number other than 0"));
            }
            true => Some(config.number("softmax_temperature")?),
            false => None,
        };
        let top = match config.flag("top_k_lora") {
            true => Some(config.count("top_k_lora")?),
            false => None,
        };
        if top.is_some_and(|top| top > experts) {
            return Err(config.bad(
                "top_k_lora",
                &format!("at most {experts}, one for each expert"),
            ));
        }
        Ok(Self {
            layers: (0..depth).map(linear).collect::<Result<_>>()?,
            experts,
            temperature,
            top,
            softmax_top: config.flag("enable_softmax_topk"),
            scout,
        })
    }

    /// The normed last hidden state `[t, d]` to weights `[t, slots, experts]`: one slot for all
    /// layers, or one for each.
    #[must_use]
    pub fn weigh(&self, h: Tensor<2>) -> Tensor<3> {
        let t = h.dims()[0];
        // 0, or NaN: a GPU's maximum with 0 would lose it.
        let told = h.clone().sum_dim(1) * 0.0;
        let linear = |h: Tensor<2>, (weight, bias): &(Tensor<2>, Tensor<1>)| {
            h.matmul(weight.clone().transpose()) + bias.clone().unsqueeze()
        };
        let logits = self
            .layers
            .iter()
            .enumerate()
            .fold(h, |h, (at, layer)| match at {
                0 => linear(h, layer),
                _ => linear(activation::relu(h), layer),
            });
        let (e, slots) = (self.experts, logits.dims()[1] / self.experts);
        let mut weights = logits.reshape([t, slots, e]);
        if let Some(temperature) = self.temperature {
            weights = activation::softmax(weights / temperature, 2);
        }
        if let Some(top) = self.top {
            // An expert's place is the number of those that are heavier.
            let shape = [t, slots, e, e];
            let others = weights.clone().unsqueeze_dim::<4>(2).expand(shape);
            let own = weights.clone().unsqueeze_dim::<4>(3).expand(shape);
            let place = others.greater(own).float().sum_dim(3).squeeze_dim::<3>(3);
            weights = weights * place.lower_elem(top as f32).float();
        }
        if self.softmax_top {
            let out = weights.clone().equal_elem(0.0);
            let kept = weights.mask_fill(out.clone(), -1e30);
            weights = activation::softmax(kept, 2).mask_fill(out, 0.0);
        }
        weights + told.unsqueeze_dim(2)
    }
}

/// The weights of a layer's experts.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "a tensor handle is large; there is one for each layer"
)]
pub enum ExpertWeights {
    /// Not known before the pass: slot of a gate.
    Gate(Rc<Gate>, usize),
    /// Of this pass, for each token and each row of A: `[t, r]`.
    Now(Tensor<2>),
}
