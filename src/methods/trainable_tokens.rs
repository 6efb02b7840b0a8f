//! Trainable tokens: the embeddings of chosen tokens are trained. PEFT 2025.
//! <https://huggingface.co/docs/peft/package_reference/trainable_tokens>
//!
//! # Formula
//! ```text
//! E(c)[t] = E[t] + c·(T[t] − E[t])   for the listed tokens t
//! ```
//! # Shapes
//! ```text
//! <module>.trainable_tokens_delta   T [listed tokens, d]: whole rows, in spite of the name
//! ```
//! # Coefficient
//! Linear: every listed token moves from its old embedding towards the trained one, and beyond.
//! Where the head is the embedding, the tokens' logits move along.
//! # Intuition
//! A few words get another meaning; the rest of the language stays as it was. Texts without these
//! words are read as before.

use super::tokens::trained_rows;
use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
use crate::error::Result;
use crate::hooks::Law;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "trainable_tokens",
    peft_type: "TRAINABLE_TOKENS",
    matches: |_| true,
    family: Family::Prompt,
    law: Law::Linear,
    keys: &[ROWS],
    reads: &["token_indices"],
    inert: &["init_weights"],
    doc: room_doc!("trainable_tokens.rs"),
    load,
};

const ROWS: &str = "trainable_tokens_delta";

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let listed = config.get("token_indices");
    Ok(Loaded {
        law: Law::Linear,
        placed: trained_rows(loader, ROWS, |target| {
            config.ids("token_indices", listed, target.o)
        })?,
    })
}
