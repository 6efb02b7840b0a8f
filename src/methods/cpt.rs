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
//! # Intuition
//! It starts from examples in plain words, as one would write them before a question, and moves the
//! embedding of each word a little in the direction that makes the answers better.

use super::virtual_tokens::{self, EMBEDDINGS};
use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
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
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let embeddings = virtual_tokens::embeddings(loader, &METHOD)?;
    Ok(virtual_tokens::with_prompt(loader, embeddings))
}
