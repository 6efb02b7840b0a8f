//! X-LoRA: a mixture of LoRA experts, with new weights for every token. Buehler and Buehler 2024.
//! <https://arxiv.org/abs/2402.07148>
//!
//! # Formula
//! ```text
//! h = the last hidden state while every expert has the weight scaling_pass_value
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
//! Gate: c multiplies g. The weights are those of the trained gate at any c. Given weights replace
//! the gate's and are the same for every token; then nothing is computed twice.
//! # Intuition
//! Several specialists and a gate, which reads the text first and then decides, token by token, how
//! much each of them counts.
//! # Differs from PEFT
//! Both passes keep what they computed of earlier tokens; PEFT computes all of it again for every
//! token, to the same numbers. PEFT 0.21.2 leaves layers.0 of the gate out of the file, as it takes
//! the 0 for the name of an expert; such a file is refused unless weights are given.

use std::collections::BTreeMap;
use std::rc::Rc;

use burn::tensor::{Tensor, TensorData};

use super::lora_factors::Factors;
use super::{gate, lora, topk};
use crate::checkpoint;
use crate::checkpoint::{Config, Family, Loaded, Loader, Method, keys, room_doc};
use crate::error::Result;
use crate::hooks::{Delta, Effect, ExpertWeights, Law, Placed, Site};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "xlora",
    peft_type: "XLORA",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Gate,
    keys: &[gate::CLASSIFIER],
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

/// The factors of those experts that have some for one layer.
struct Layer {
    site: Site,
    experts: Vec<(usize, Factors)>,
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let names = config.get("adapters").and_then(|names| names.as_object());
    let experts = names.map_or(0, serde_json::Map::len);
    let layers = layers(loader, experts)?;
    let global = config.number("global_scaling_weight")?;
    let weights = match loader.expert_weights("experts", experts)? {
        Some(own) => {
            loader.drop_all(gate::CLASSIFIER);
            Err(own)
        }
        None => {
            let scout = scout(config, &layers, experts, global)?;
            Ok(Rc::new(gate::read(loader, scout, layers.len(), experts)?))
        }
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
        let (config, tensors) = checkpoint::read(files, Some(loader.model.config()))?;
        if super::method_of(&config)?.name != lora::METHOD.name {
            let why = "the experts of a mixture are plain LoRAs";
            return Err(METHOD.unsupported(&config, "peft_type", why));
        }
        lora::METHOD.check_fields(&config)?;
        keys::check_names(&config, &lora::METHOD, &tensors)?;
        lora::check_init(&config, &lora::METHOD)?;
        if config.flag("lora_bias") {
            let why = "PEFT would add an expert's bias whatever its weight";
            return Err(METHOD.unsupported(&config, "lora_bias", why));
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

/// The effects of the pass that the gate reads: every expert at scaling_pass_value.
fn scout(
    config: &Config,
    layers: &[Layer],
    experts: usize,
    global: f32,
) -> Result<Vec<(Site, Effect)>> {
    let weight = config.number("scaling_pass_value")?;
    if weight == 0.0 {
        return Ok(Vec::new());
    }
    // All weights are equal, so which of them are the largest depends on torch's sort.
    let kept = if config.flag("top_k_lora") {
        let top = config.count("top_k_lora")?.min(experts);
        topk::places(&vec![weight; experts], top)
    } else {
        (0..experts).collect()
    };
    let each = if config.flag("enable_softmax_topk") {
        1.0 / kept.len() as f32
    } else {
        weight
    };
    let weight = |expert: usize| f32::from(u8::from(kept.contains(&expert))) * each * global;
    let each = layers.iter().flat_map(|layer| {
        let deltas = with_weights(&layer.experts, weight).into_iter();
        deltas.map(|delta| (layer.site, Effect::Weight(delta)))
    });
    Ok(each.collect())
}

/// The experts of a layer with fixed weights.
fn with_weights(experts: &[(usize, Factors)], weight: impl Fn(usize) -> f32) -> Vec<Delta> {
    let each = experts.iter().flat_map(|(expert, factors)| {
        let deltas = factors.deltas().into_iter();
        deltas.map(|delta| delta.times(weight(*expert)))
    });
    each.collect()
}

/// The experts of a layer side by side, each row of A with the number of its expert.
fn mixed(loader: &Loader<'_>, layer: &Layer, weights: ExpertWeights, scale: f32) -> Vec<Delta> {
    let (mut a, mut b, mut owner) = (Vec::new(), Vec::new(), Vec::new());
    for (expert, factors) in &layer.experts {
        owner.extend(std::iter::repeat_n(*expert as i32, factors.a.dims()[0]));
        a.push(factors.a.clone());
        b.push(factors.b.clone() * factors.scale);
    }
    let rows = TensorData::new(owner.clone(), [owner.len()]);
    vec![Delta::Experts {
        a: Tensor::cat(a, 0),
        b: Tensor::cat(b, 1),
        owner: Tensor::from_data(rows, &loader.model.device()),
        weights,
        scale,
    }]
}
