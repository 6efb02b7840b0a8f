//! X-LoRA's gate, read from its file.

use crate::checkpoint::{Config, Loader};
use crate::error::{Error, Result};
use crate::hooks::{Effect, Gate, Site};

/// What the names of the network's tensors begin with.
pub(crate) const CLASSIFIER: &str = "base_model.internal_xlora_classifier.";

/// Weight and bias of a linear layer of the network. The ReLU between two of them, and a dropout if
/// there is one, count in the numbers of their names.
fn keys(config: &Config, at: usize) -> [String; 2] {
    let step = if config.flag("xlora_dropout_p") { 3 } else { 2 };
    ["weight", "bias"].map(|part| format!("{CLASSIFIER}layers.{}.{part}", at * step))
}

/// Refuses a network of which PEFT saved only a part.
pub(crate) fn check(config: &Config, has: impl Fn(&str) -> bool) -> Result<()> {
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

/// Reads the network for so many layers and experts.
///
/// # Errors
/// Missing tensors, wrong shapes, options outside their range.
pub(crate) fn read(
    loader: &Loader<'_>,
    scout: Vec<(Site, Effect)>,
    layers: usize,
    experts: usize,
) -> Result<Gate> {
    let config = loader.config;
    check(config, |key| loader.shape(key).is_some())?;
    let slots = if config.flag("layerwise_scalings") {
        layers
    } else {
        1
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
    let top = if config.flag("top_k_lora") {
        Some(config.count("top_k_lora")?)
    } else {
        None
    };
    if top.is_some_and(|top| top > experts) {
        return Err(config.bad(
            "top_k_lora",
            &format!("at most {experts}, one for each expert"),
        ));
    }
    Ok(Gate {
        layers: (0..depth).map(linear).collect::<Result<_>>()?,
        experts,
        temperature,
        top,
        softmax_top: config.flag("enable_softmax_topk"),
        scout,
    })
}
