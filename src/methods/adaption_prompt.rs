//! LLaMA-Adapter: prompts in the upper layers, let in through a gate that starts closed. Zhang et al. 2023.
//! <https://arxiv.org/abs/2303.16199>
//!
//! # Formula
//! ```text
//! attn(c) = attn₀ + c·g·softmax(q kᵀ/√hd) v,   k = W_k P, v = W_v P
//! ```
//! # Shapes
//! ```text
//! <self_attn>.adaption_prompt   P [1, n, d], in the top layers only
//! <self_attn>.adaption_gate     g [1]
//! ```
//! # Coefficient
//! Gate: c multiplies the trained gate g, exactly and linearly. k is not rotated, so the prompt is
//! equally near to every token.
//! # Hypothesis
//! To follow instructions is a matter of the upper layers, where meaning is. It can be let in beside
//! what they attend to, little by little, without disturbing it.
//! # Intuition
//! A note pinned beside the text, which every word may look at. How much the note counts is learned,
//! starting from not at all, so that nothing breaks in the beginning.
//! # Limits
//! It acts through attention in the upper layers alone. No weight changes, so what those layers
//! cannot do with something more to look at stays out of reach.

use burn::tensor::Tensor;

use crate::arch::Projection;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, PREFIX, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Effect, ExtraKeyValue, Join, Law, Module, Placed, Site, SitePlan};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "adaption_prompt",
    peft_type: "ADAPTION_PROMPT",
    matches: |_| true,
    family: Family::Prompt,
    law: Law::Gate,
    keys: &[PROMPT, GATE],
    reads: &["adapter_len"],
    // The keys say which layers these are.
    inert: &["adapter_layers"],
    doc: room_doc!("adaption_prompt.rs"),
    load,
    trains: Trains::From { start, rate: 2e-2 },
    extras: None,
    folds: Folds::By(fold),
};

const PROMPT: &str = "self_attn.adaption_prompt";
const GATE: &str = "self_attn.adaption_gate";

fn start(start: &mut Start<'_>) -> Result<()> {
    let (n, d) = (start.rank, start.model.config().hidden_size);
    let layers = start.layers(Module::Attention)?;
    let blocks = start.model.config().num_layers;
    // PEFT knows the last blocks alone.
    let first = layers.first().copied().unwrap_or(0);
    start.set("adapter_len", n);
    start.set("adapter_layers", blocks - first);
    for layer in first..blocks {
        let block = format!("{PREFIX}model.layers.{layer}");
        start.learn_whole(&format!("{block}.{PROMPT}"), [1, n, d], Init::Normal(0.02));
        start.learn_whole(&format!("{block}.{GATE}"), [1], Init::Zeros);
    }
    Ok(())
}

fn fold(loader: &Loader<'_>, _: f32) -> Folds {
    if loader.model.linear(0, Projection::O).bias.is_some() {
        return Folds::Not("PEFT adds o_proj's bias once more, whatever the gate is");
    }
    Folds::Into(&[(GATE, Fold::Times)])
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let model = loader.model;
    let (heads, hd) = (model.config().num_kv_heads, model.config().head_dim);
    if model.config().fused.is_some() {
        let why = "the keys and values of its prompt come from layers of their own, which this model \
                   has in one with the queries";
        return Err(METHOD.unsupported(loader.config, "adapter_len", why));
    }
    let n = loader.config.count("adapter_len")?;
    let mut placed = Vec::new();
    for (layer, block) in loader.blocks(PROMPT)? {
        let prompt: Tensor<3> = loader.shared(
            &format!("{block}.{PROMPT}"),
            [1, n, model.config().hidden_size],
        )?;
        let gate: Tensor<1> = loader.shared(&format!("{block}.{GATE}"), [1])?;
        let project = |projection| {
            let linear = model.linear(layer, projection);
            let rows = linear.forward(prompt.clone().squeeze_dim(0), &SitePlan::default());
            rows.reshape([n, heads, hd]).swap_dims(0, 1)
        };
        let (keys, values) = (project(Projection::K), project(Projection::V));
        let values = values * gate.unsqueeze();
        placed.push(Placed::new(Site::Attention(layer), move |c| {
            ExtraKeyValue {
                keys: keys.clone(),
                values: values.clone(),
                coefficient: c,
                join: Join::Beside,
            }
        }));
        // PEFT sends the prompt's part through o_proj on its own, which adds o_proj's bias again.
        if let Some(bias) = &model.linear(layer, Projection::O).bias {
            let bias = bias.clone();
            placed.push(Placed::new(Site::Linear(layer, Projection::O), move |c| {
                let bias = bias.clone();
                vec![Effect::Weight(Delta::Bias { bias, scale: c })]
            }));
        }
    }
    Ok(Loaded {
        law: Law::Gate,
        placed,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use super::{GATE, PROMPT};
    use crate::methods::pencil::{Pencil, near};

    /// The gate lets half of (4, 2) in, beside what token 0 sees already.
    #[test]
    fn a_gate_says_how_much_the_prompt_counts() {
        let key = |name: &str| format!("base_model.model.model.layers.0.{name}");
        let with = |gate: f32| {
            Pencil::block(
                &METHOD,
                json!({ "adapter_len": 1 }),
                &[
                    (&key(PROMPT), [[[4.0, 2.0]]].into()),
                    (&key(GATE), [gate].into()),
                ],
            )
        };
        near(with(0.5).h(1.0, &[0]), [2.0 + 2.0, 2.0 + 1.0]);
        near(with(0.5).h(-1.0, &[0]), [2.0 - 2.0, 2.0 - 1.0]);
        // As training starts.
        near(with(0.0).h(1.0, &[0]), [2.0, 2.0]);
    }
}
