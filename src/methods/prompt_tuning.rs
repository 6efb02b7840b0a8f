//! Prompt tuning: trained embeddings before the text. Lester et al. 2021.
//! <https://arxiv.org/abs/2104.08691>
//!
//! # Formula
//! ```text
//! k, v = what each layer of the base keeps of E at positions 0 … n−1; the text starts at n
//! attn(c) = attn₀ + c·(attn_with_kv − attn₀)
//! ```
//! # Shapes
//! ```text
//! prompt_embeddings   E [n, d]: one row for each virtual token
//! ```
//! # Coefficient
//! Attention mix in every layer: at 0 the virtual tokens are not seen and positions count from 0, at
//! 1 it is PEFT's forward pass, below 0 attention moves away from them. The base model alone reads
//! the virtual tokens, also when other adapters act beside this one.
//! # Intuition
//! A few words at the beginning set the tone of a whole answer. These words were not written but
//! searched for, and need not be in any dictionary.

use super::virtual_tokens::{self, EMBEDDINGS};
use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
use crate::error::Result;
use crate::hooks::Law;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "prompt_tuning",
    peft_type: "PROMPT_TUNING",
    matches: |_| true,
    family: Family::Prompt,
    law: Law::AttentionMix,
    keys: &[EMBEDDINGS],
    reads: &["num_virtual_tokens"],
    inert: &["prompt_tuning_init", "prompt_tuning_init_text"],
    doc: room_doc!("prompt_tuning.rs"),
    load,
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let embeddings = virtual_tokens::embeddings(loader, &METHOD)?;
    Ok(virtual_tokens::with_prompt(loader, embeddings))
}
