//! CPT: context-aware prompt tuning, written examples refined by small steps. Blau et al. 2024.
//! <https://arxiv.org/abs/2410.17222>
//!
//! # Formula
//! ```text
//! k, v = what each layer of the base keeps of E at positions 0 … n−1; the text starts at n
//! attn(c) = attn₀ + c·(attn_with_kv − attn₀)
//! ```
//! # Shapes
//! ```text
//! prompt_embeddings   E [n, d]: the examples' embeddings with their trained steps added
//! ```
//! # Coefficient
//! Attention mix in every layer: at 0 the virtual tokens are not seen and positions count from 0, at
//! 1 it is PEFT's forward pass, below 0 attention moves away from them. The base model alone reads
//! the virtual tokens, also when other adapters act beside this one.
//! # Hypothesis
//! Examples before a question teach the model, and better ones lie near them. Staying close to real
//! words keeps a few examples from being learned by heart.
//! # Intuition
//! It starts from examples in plain words, as one would write them before a question, and moves the
//! embedding of each word a little in the direction that makes the answers better.
//! # Limits
//! It can say what a text before yours can say, and no more. Its tokens stay near those of the
//! examples.

use super::virtual_tokens::{self, EMBEDDINGS};
use crate::checkpoint::{Family, Folds, Loaded, Loader, Method, Start, Trains, room_doc};
use crate::error::Result;
use crate::hooks::Law;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "cpt",
    peft_type: "CPT",
    matches: |_| true,
    family: Family::Prompt,
    law: Law::AttentionMix,
    keys: &[EMBEDDINGS],
    reads: &["num_virtual_tokens"],
    inert: &[
        "cpt_mask",
        "cpt_token_ids",
        "cpt_tokens_type_mask",
        "opt_loss_decay_factor",
        "opt_projection_epsilon",
        "opt_projection_format_epsilon",
        "opt_weighted_loss_type",
    ],
    doc: room_doc!("cpt.rs"),
    load,
    trains: Trains::From { start, rate: 1e-2 },
    extras: None,
    folds: Folds::Not(virtual_tokens::IN_FULL),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let ones = vec![1; start.rank];
    start.set("cpt_token_ids", vec![0; start.rank]);
    start.set("cpt_mask", ones.clone());
    start.set("cpt_tokens_type_mask", ones);
    virtual_tokens::start(start)
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let embeddings = virtual_tokens::embeddings(loader, &METHOD)?;
    Ok(virtual_tokens::with_prompt(loader, embeddings))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::EMBEDDINGS;
    use super::METHOD;
    use crate::methods::pencil::{Pencil, near};

    /// Before training the examples are words: token 1 in front of token 0.
    #[test]
    fn examples_start_as_real_words() {
        let tensors = [(EMBEDDINGS, [[1.0, -1.0]].into())];
        let adapter = Pencil::block(&METHOD, json!({ "num_virtual_tokens": 1 }), &tensors);
        near(adapter.h(1.0, &[0]), adapter.h(0.0, &[1, 0]));
        near(adapter.h(1.0, &[0]), [2.0, 1.0]);
        near(adapter.h(-1.0, &[0]), [2.0, 3.0]);
    }
}
