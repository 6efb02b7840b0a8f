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
//! # Intuition
//! Every layer remembers a few words that were never said. The text is then read as if they had
//! been.

use super::virtual_tokens::{self, EMBEDDINGS};
use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
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
};

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
