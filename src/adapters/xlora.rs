//! X-LoRA: a mixture of LoRA experts, weighted anew for every token. Buehler and Buehler 2024.
//! <https://arxiv.org/abs/2402.07148>
//!
//! # Formula
//! ```text
//! h = what the model makes of the text while every expert has the weight scaling_pass_value
//! w = gate(h): Linear, ReLU, …, Linear; softmax(·/T); the k largest, alone or softmaxed again
//! y = W x + c·g·Σ_e w_e·s_e·B_e A_e x,   g = global_scaling_weight
//! ```
//! # Shapes
//! ```text
//! base_model.internal_xlora_classifier.layers.N   weight, bias; the last one gives [experts], or
//!                                                 [layers·experts] with layerwise_scalings
//! 0/, 1/, …                                       the experts, ordinary LoRA folders
//! ```
//! # Coefficient
//! Gate: c multiplies g. The weights are those of the trained gate at any c. Weights of your own
//! take the gate's place and are the same for every token; then nothing is computed twice.
//! # Intuition
//! Several specialists and a chairman, who listens first and then says, word by word, how much
//! each of them is heard.
//! # Differs from PEFT
//! Both passes keep what they computed of earlier tokens; PEFT computes all of it again for every
//! token, to the same numbers. PEFT 0.21.2 leaves layers.0 of the gate out of the file, as it takes
//! the 0 for the name of an expert; such a file is refused unless weights of your own are given.

use std::collections::BTreeMap;
use std::rc::Rc;

use burn::tensor::{Tensor, TensorData};

use super::gate::{ExpertWeights, Gate};
use super::lora::{self, Factors};
use super::{
    Delta, Effect, Family, Law, Loaded, Loader, Method, Placed, Site, Steering, checkpoint,
    room_doc,
};
use crate::error::{Error, Result};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "xlora",
    peft_type: "XLORA",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Gate,
    keys: &[CLASSIFIER],
    reads: &[
        "adapters",
        "enable_softmax",
        "enable_softmax_topk",
        "global_scaling_weight",
        "hidden_size",
        "layerwise_scalings",
        "scaling_pass_value",
        "softmax_temperature",
        "top_k_lora",
        "xlora_depth",
        "xlora_dropout_p",
        "xlora_size",
    ],
    inert: &["use_trainable_adapters"],
    doc: room_doc!("xlora.rs"),
    load,
};

const CLASSIFIER: &str = "base_model.internal_xlora_classifier.";

/// The factors of those experts that have some for one layer.
struct Layer {
    site: Site,
    experts: Vec<(usize, Factors)>,
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let names = config.get("adapters").and_then(|names| names.as_object());
    let experts = names.map_or(0, |names| names.len());
    let layers = layers(loader, experts)?;
    let global = config.number("global_scaling_weight")?;
    let weights = match loader.expert_weights(experts)? {
        Some(own) => {
            loader.drop_all(CLASSIFIER);
            Err(own)
        }
        None => Ok(Rc::new(gate(loader, &layers, experts, global)?)),
    };
    let layerwise = config.flag("layerwise_scalings");
    let place = |(number, layer): (usize, &Layer)| {
        let deltas = match &weights {
            Err(own) => with_weights(&layer.experts, |expert| own[expert] * global),
            Ok(gate) => {
                let slot = if layerwise { number } else { 0 };
                let weights = ExpertWeights::Gate(gate.clone(), slot);
                mixed(loader, layer, weights, global)
            }
        };
        Placed::linear(layer.site, deltas)
    };
    let placed = layers.iter().enumerate().map(place).collect();
    let law = Law::Gate;
    Ok(Loaded { law, placed })
}

/// Reads every expert, an ordinary LoRA.
fn layers(loader: &Loader<'_>, experts: usize) -> Result<Vec<Layer>> {
    let files = loader.experts(experts)?;
    let mut by_site: BTreeMap<Site, Vec<(usize, Factors)>> = BTreeMap::new();
    for (number, files) in files.iter().enumerate() {
        let (config, tensors) = checkpoint::read(files, Some(loader.model.config().head_dim))?;
        if super::method_of(&config)?.name != lora::METHOD.name {
            let why = "the experts of a mixture are plain LoRAs";
            return Err(config.unsupported(&METHOD, "peft_type", why));
        }
        config.check_fields(&lora::METHOD)?;
        lora::check_init(&config, &lora::METHOD)?;
        if config.flag("lora_bias") {
            let why = "PEFT would add an expert's bias whatever its weight";
            return Err(config.unsupported(&METHOD, "lora_bias", why));
        }
        let expert = Loader::new(&config, tensors, loader.model, files, BTreeMap::new());
        for target in expert.targets("lora_A.weight")? {
            let factors = Factors::read(&expert, &target)?;
            by_site
                .entry(target.site)
                .or_default()
                .push((number, factors));
        }
        expert.finish()?;
    }
    let layer = |(site, experts)| Layer { site, experts };
    Ok(by_site.into_iter().map(layer).collect())
}

/// The experts of a layer with weights that stay.
fn with_weights(experts: &[(usize, Factors)], weight: impl Fn(usize) -> f32) -> Vec<Delta> {
    let weighed = |(expert, factors): &(usize, Factors)| {
        let deltas = factors.deltas();
        deltas
            .into_iter()
            .map(|delta| delta.times(weight(*expert)))
            .collect::<Vec<_>>()
    };
    experts.iter().flat_map(weighed).collect()
}

/// The experts of a layer side by side, each row of A with the number of its expert.
fn mixed(loader: &Loader<'_>, layer: &Layer, weights: ExpertWeights, scale: f32) -> Vec<Delta> {
    let factors = || layer.experts.iter().map(|(_, factors)| factors);
    let owner = layer
        .experts
        .iter()
        .flat_map(|(expert, factors)| std::iter::repeat_n(*expert as i32, factors.a.dims()[0]));
    let owner: Vec<i32> = owner.collect();
    let owner = TensorData::new(owner.clone(), [owner.len()]);
    vec![Delta::Experts {
        a: Tensor::cat(factors().map(|factors| factors.a.clone()).collect(), 0),
        b: Tensor::cat(
            factors()
                .map(|factors| factors.b.clone() * factors.scale)
                .collect(),
            1,
        ),
        owner: Tensor::from_data(owner, &loader.model.device()),
        weights,
        scale,
    }]
}

/// The trained gate, and the scout that it listens to.
fn gate(loader: &Loader<'_>, layers: &[Layer], experts: usize, global: f32) -> Result<Gate> {
    let config = loader.config;
    let top = config
        .flag("top_k_lora")
        .then(|| config.count("top_k_lora"))
        .transpose()?;
    let softmax_top = config.flag("enable_softmax_topk");
    let scouted = config.number("scaling_pass_value")?;
    if top.is_some_and(|top| top > experts) {
        return Err(config.unsupported(&METHOD, "top_k_lora", "there are fewer experts"));
    }
    if scouted != 0.0 && (top.is_some() || softmax_top) {
        let why = "with top_k_lora or enable_softmax_topk it does not say which experts";
        return Err(config.unsupported(&METHOD, "scaling_pass_value", why));
    }
    let slots = if config.flag("layerwise_scalings") {
        layers.len()
    } else {
        1
    };
    let (depth, d) = (
        config.count("xlora_depth")?,
        loader.model.config().hidden_size,
    );
    // In between lie a ReLU and, where there is any, a dropout.
    let step = if config.flag("xlora_dropout_p") { 3 } else { 2 };
    let linear = |at: usize| {
        let size = || config.count("xlora_size");
        let i = if at == 0 { d } else { size()? };
        let o = if at + 1 == depth {
            slots * experts
        } else {
            size()?
        };
        let key = |part| format!("{CLASSIFIER}layers.{}.{part}", at * step);
        if loader.shape(&key("weight")).is_none() {
            return Err(Error::MissingKey {
                file: config.file.clone(),
                key: key("weight"),
                what: "PEFT 0.21.2 forgets a part of the gate when it saves; give each expert a \
                       weight of your own"
                    .into(),
            });
        }
        Ok((
            loader.shared(&key("weight"), [o, i])?,
            loader.shared(&key("bias"), [o])?,
        ))
    };
    let effects = layers.iter().filter(|_| scouted != 0.0).flat_map(|layer| {
        let deltas = with_weights(&layer.experts, |_| scouted * global);
        deltas
            .into_iter()
            .map(|delta| (layer.site, Effect::Weight(delta)))
    });
    Ok(Gate {
        layers: (0..depth).map(linear).collect::<Result<_>>()?,
        experts,
        temperature: match config.flag("enable_softmax") {
            true => Some(config.number("softmax_temperature")?),
            false => None,
        },
        top,
        softmax_top,
        scout: Steering::of(effects),
    })
}
