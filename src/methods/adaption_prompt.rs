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
//! # Intuition
//! A note pinned beside the text, which every word may look at. How much the note counts is learned,
//! starting from not at all, so that nothing breaks in the beginning.

use burn::tensor::Tensor;

use crate::arch::Projection;
use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
use crate::error::Result;
use crate::hooks::{Delta, Effect, ExtraKeyValue, Join, Law, Placed, Site, SitePlan};

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
};

const PROMPT: &str = "self_attn.adaption_prompt";
const GATE: &str = "self_attn.adaption_gate";

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
        let gate = loader.host(&format!("{block}.{GATE}"), [1])?[0];
        let project = |projection| {
            let linear = model.linear(layer, projection);
            let rows = linear.forward(prompt.clone().squeeze_dim(0), &SitePlan::default());
            rows.reshape([n, heads, hd]).swap_dims(0, 1)
        };
        let (keys, values) = (project(Projection::K), project(Projection::V));
        placed.push(Placed::new(Site::Attention(layer), move |c| {
            vec![Effect::KeyValue(ExtraKeyValue {
                keys: keys.clone(),
                values: values.clone(),
                coefficient: c * gate,
                join: Join::Beside,
            })]
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
