//! Prefix tuning: trained keys and values before every layer's own. Li and Liang 2021.
//! <https://arxiv.org/abs/2101.00190>
//!
//! # Formula
//! ```text
//! attn(c) = attn₀ + c·(attn_with_prefix − attn₀)
//! ```
//! # Shapes
//! ```text
//! prompt_embeddings   [n, layers·2·kv_heads·hd]: per layer a key, then a value, for n tokens
//! ```
//! # Coefficient
//! Attention mix: at 0 the prefix is not seen and positions count from 0, at 1 it is PEFT's
//! forward pass, below 0 attention moves away from the prefix.
//! # Hypothesis
//! A behaviour is something already said, as each layer would remember it. Layers remember different
//! things, so each one has a reminder of its own.
//! # Intuition
//! Every layer remembers a few words that were never said. The text is then read as if they had
//! been.
//! # Limits
//! Attention sees more, and no weight changes. Where attention does not look, nothing acts; and a
//! short text hears a prefix more than a long one.

use super::virtual_tokens::{self, EMBEDDINGS};
use crate::checkpoint::{Family, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc};
use crate::error::Result;
use crate::hooks::Law;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "prefix_tuning",
    peft_type: "PREFIX_TUNING",
    matches: |_| true,
    family: Family::Prompt,
    law: Law::AttentionMix,
    keys: &[EMBEDDINGS],
    reads: &["num_virtual_tokens"],
    inert: &[
        "encoder_hidden_size",
        "init_weights",
        // The projection is already multiplied out in the saved file.
        "prefix_projection",
    ],
    doc: room_doc!("prefix_tuning.rs"),
    load,
    trains: Trains::From { start, rate: 1e-2 },
    extras: None,
    folds: Folds::Not(virtual_tokens::IN_FULL),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let model = start.model.config();
    let width = model.num_layers * 2 * model.kv_width();
    virtual_tokens::facts(start)?;
    let shape = [start.rank, width];
    start.learn_whole(EMBEDDINGS, shape, Init::Normal(0.02));
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let model = loader.model.config();
    let (layers, heads, hd) = (model.num_layers, model.num_kv_heads, model.head_dim);
    let n = virtual_tokens::count(loader, &METHOD)?;
    let prefix = loader
        .shared(EMBEDDINGS, [n, layers * 2 * heads * hd])?
        .reshape([n, 2 * layers, heads, hd])
        .permute([1, 2, 0, 3]);
    let part = |at| prefix.clone().narrow(0, at, 1).reshape([heads, n, hd]);
    let place = |layer| virtual_tokens::in_layer(layer, part(2 * layer), part(2 * layer + 1));
    Ok(Loaded {
        law: Law::AttentionMix,
        placed: (0..layers).map(place).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::EMBEDDINGS;
    use super::METHOD;
    use crate::methods::pencil::{Pencil, near};

    /// After a key comes the value (3, 5): token 0 sees the mean (2, 3) of it and its own (1, 1).
    #[test]
    fn a_layer_remembers_what_nobody_said() {
        let tensors = [(EMBEDDINGS, [[9.0, 9.0, 3.0, 5.0]].into())];
        let adapter = Pencil::block(&METHOD, json!({ "num_virtual_tokens": 1 }), &tensors);
        near(adapter.h(0.0, &[0]), [1.0 + 1.0, 1.0 + 1.0]);
        near(adapter.h(1.0, &[0]), [1.0 + 2.0, 1.0 + 3.0]);
        near(adapter.h(-1.0, &[0]), [1.0 + 0.0, 1.0 - 1.0]);
    }
}
