//! X-LoRA's gate, read from its file.

use serde_json::{Map as JsonMap, Value};

use crate::checkpoint::{Config, Extras, Init, Loader, Parts, Start};
use crate::error::{Error, Result};
use crate::hooks::{Gate, Sited};

/// The experts that it weighs.
pub(super) const EXTRAS: Extras = Extras {
    parts: Some(Parts::Experts {
        field: "adapters",
        weighed: check,
    }),
    ..Extras::NONE
};

/// What the names of the network's tensors begin with.
pub(super) const CLASSIFIER: &str = "base_model.internal_xlora_classifier.";

/// Weight and bias of a linear layer of the network. The ReLU between two of them, and a dropout if
/// there is one, count in the numbers of their names.
fn keys(config: &Config, at: usize) -> [String; 2] {
    let step = if config.flag("xlora_dropout_p") { 3 } else { 2 };
    ["weight", "bias"].map(|part| format!("{CLASSIFIER}layers.{}.{part}", at * step))
}

/// Begins with one linear layer, which makes of the base's last state the weights of the experts.
pub(super) fn start(start: &mut Start<'_>) -> Result<()> {
    // Its experts say where it acts.
    start.whole()?;
    let (experts, d) = (start.experts, start.model.config().hidden_size);
    let numbers = (0..experts).map(|number| number.to_string());
    let named = numbers.map(|number| (number.clone(), Value::from(number)));
    start.set("adapters", named.collect::<JsonMap<_, _>>());
    start.set("hidden_size", d);
    start.set("xlora_depth", 1);
    start.set("enable_softmax", true);
    start.set("softmax_temperature", 1.0);
    start.set("layerwise_scalings", false);
    start.set("scaling_pass_value", 0.0);
    start.set("global_scaling_weight", 1.0);
    start.set("xlora_dropout_p", 0.0);
    let key = |part: &str| format!("{CLASSIFIER}layers.0.{part}");
    start.learn_whole(&key("weight"), [experts, d], Init::Kaiming);
    start.learn_whole(&key("bias"), [experts], Init::Zeros);
    Ok(())
}

/// Refuses a network of which PEFT saved only a part.
fn check(config: &Config, has: &dyn Fn(&str) -> bool) -> Result<()> {
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
pub(super) fn read(
    loader: &Loader<'_>,
    scout: Vec<Sited>,
    layers: usize,
    experts: usize,
) -> Result<Gate> {
    let config = loader.config;
    check(config, &|key| loader.shape(key).is_some())?;
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
