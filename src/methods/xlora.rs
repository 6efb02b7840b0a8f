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
//! # Hypothesis
//! Each field of knowledge is a few added directions of its own, and which of them a text needs can
//! be read off the model's own hidden states, token by token.
//! # Intuition
//! Several specialists and a gate, which reads the text first and then decides, token by token, how
//! much each of them counts.
//! # Limits
//! It mixes what its experts can and adds nothing of its own. The gate reads each token twice,
//! which costs a second pass.
//! # Differs from PEFT
//! Both passes keep what they computed of earlier tokens; PEFT computes all of it again for every
//! token, to the same numbers. PEFT 0.21.2 leaves layers.0 of the gate out of the file, as it takes
//! the 0 for the name of an expert; such a file is refused unless weights are given.

use std::collections::BTreeMap;
use std::rc::Rc;

use burn::tensor::Tensor;

use super::lora_factors::Factors;
use super::{gate, lora, topk};
use crate::checkpoint::{
    Config, Family, Fold, Folds, Loaded, Loader, Method, Trains, keys, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Effect, Gate, Law, Mixture, Placed, Site, Sited};

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
    trains: Trains::Over {
        start: gate::start,
        rate: 1e-3,
        why: "a method of its own numbers: X-LoRA mixes adapters that are trained already",
    },
    extras: Some(&gate::EXTRAS),
    folds: Folds::By(fold),
};

/// The factors of those experts that have some for one layer.
struct Layer {
    site: Site,
    experts: Vec<(usize, Factors)>,
}

fn fold(loader: &Loader<'_>, _: f32) -> Folds {
    match loader.config.number("scaling_pass_value") {
        Ok(0.0) => Folds::Into(&[("global_scaling_weight", Fold::Times)]),
        _ => Folds::Not("what scales its experts scales them in the pass that the gate reads, too"),
    }
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let experts = loader.experts.len();
    let layers = layers(loader)?;
    let global = config.number("global_scaling_weight")?;
    let weights = match loader.part_weights {
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
    let place = |(number, layer): (usize, &Layer)| match &weights {
        Err(own) => {
            let deltas = with_weights(&layer.experts, |expert| own[expert] * global);
            Placed::linear(layer.site, deltas)
        }
        Ok(gate) => {
            let slot = if layerwise { number } else { 0 };
            let mixture = mixed(loader, layer, gate.clone(), slot, global);
            Placed::new(layer.site, move |c| vec![Effect::Experts(mixture.times(c))])
        }
    };
    let placed = layers.iter().enumerate().map(place).collect();
    let law = Law::Gate;
    Ok(Loaded { law, placed })
}

/// Reads every expert, an ordinary LoRA.
fn layers(loader: &Loader<'_>) -> Result<Vec<Layer>> {
    let mut by_site: BTreeMap<Site, Vec<(usize, Factors)>> = BTreeMap::new();
    for (number, files) in loader.experts.iter().enumerate() {
        let (config, tensors) = super::read(files, Some(loader.model.config()))?;
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
        let expert = Loader::new(lora::METHOD.extras(), &config, tensors, loader.model, files)?;
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
fn scout(config: &Config, layers: &[Layer], experts: usize, global: f32) -> Result<Vec<Sited>> {
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
        Sited::of(layer.site, deltas.map(Effect::Weight).collect::<Vec<_>>())
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
fn mixed(loader: &Loader<'_>, layer: &Layer, gate: Rc<Gate>, slot: usize, scale: f32) -> Mixture {
    let (mut a, mut b, mut owner) = (Vec::new(), Vec::new(), Vec::new());
    for (expert, factors) in &layer.experts {
        owner.extend(std::iter::repeat_n(*expert as i32, factors.a.dims()[0]));
        a.push(factors.a.clone());
        b.push(factors.b.clone() * factors.scale);
    }
    Mixture {
        a: Tensor::cat(a, 0),
        b: Tensor::cat(b, 1),
        owner: loader.upload_indices(owner),
        gate,
        slot,
        scale,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use super::gate::CLASSIFIER;
    use crate::checkpoint::AdapterFiles;
    use crate::methods::pencil::{Pencil, near, safetensors};

    const VALUES: &str = "base_model.model.model.layers.0.self_attn.v_proj";

    /// Two experts of the values: one adds 8 times the first number of e to it, one of the second.
    fn adapter(weights: Option<Vec<f32>>) -> Pencil {
        let expert = |a: [[f32; 2]; 1], b: [[f32; 1]; 2]| AdapterFiles {
            config: Some(br#"{"peft_type": "LORA", "r": 1, "lora_alpha": 1}"#.into()),
            weights: safetensors(&[
                (&format!("{VALUES}.lora_A.weight"), a.into()),
                (&format!("{VALUES}.lora_B.weight"), b.into()),
            ]),
            ..AdapterFiles::default()
        };
        let files = AdapterFiles {
            experts: vec![
                expert([[1.0, 0.0]], [[8.0], [0.0]]),
                expert([[0.0, 1.0]], [[0.0], [8.0]]),
            ],
            expert_weights: weights,
            ..AdapterFiles::default()
        };
        let gate = [[0.0, 3.0_f32.ln()], [0.0, 0.0]];
        Pencil::block_with(
            &METHOD,
            json!({ "adapters": { "0": "0", "1": "1" }, "hidden_size": 2 }),
            &[
                (&format!("{CLASSIFIER}layers.0.weight"), gate.into()),
                (&format!("{CLASSIFIER}layers.0.bias"), [0.0, 0.0].into()),
            ],
            &files,
        )
    }

    /// The gate reads the normed last state, here e itself. Of (1, 1) it makes the logits (ln 3, 0)
    /// and the weights (¾, ¼), of (1, −1) the weights (¼, ¾). The base is e + e.
    #[test]
    fn every_token_has_weights_of_its_own() {
        let adapter = adapter(None);
        near(adapter.h(1.0, &[0]), [2.0 + 6.0, 2.0 + 2.0]);
        near(adapter.h(1.0, &[1]), [2.0 + 2.0, -2.0 - 6.0]);
        near(adapter.h(-1.0, &[0]), [2.0 - 6.0, 2.0 - 2.0]);
    }

    #[test]
    fn given_weights_take_the_gates_place() {
        let adapter = adapter(Some(vec![1.0, 0.5]));
        near(adapter.h(1.0, &[0]), [2.0 + 8.0, 2.0 + 4.0]);
        near(adapter.h(-1.0, &[1]), [2.0 - 8.0, -2.0 + 4.0]);
    }
}
