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
//! # Hypothesis
//! A large model can already do the task and only has to be told. The best way to tell it need not be
//! made of words.
//! # Intuition
//! A few words at the beginning set the tone of a whole answer. These words were not written but
//! searched for, and need not be in any dictionary.
//! # Limits
//! It can say what words before yours could say, and no more. It acts through attention, so far
//! into a long text it fades.

use super::virtual_tokens::{self, EMBEDDINGS};
use crate::checkpoint::{Family, Folds, Loaded, Loader, Method, Start, Trains, room_doc};
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
    trains: Trains::From { start, rate: 1e-2 },
    extras: None,
    folds: Folds::Not(virtual_tokens::IN_FULL),
};

fn start(start: &mut Start<'_>) -> Result<()> {
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

    /// Token 0 sees itself, (1, 1), and the virtual token (1, −1) alike: (1, 0) in place of (1, 1).
    #[test]
    fn the_text_sees_a_token_that_nobody_wrote() {
        let tensors = [(EMBEDDINGS, [[1.0, -1.0]].into())];
        let adapter = Pencil::block(&METHOD, json!({ "num_virtual_tokens": 1 }), &tensors);
        near(adapter.h(0.0, &[0]), [2.0, 2.0]);
        near(adapter.h(1.0, &[0]), [2.0, 1.0]);
        near(adapter.h(0.5, &[0]), [2.0, 1.5]);
        near(adapter.h(-1.0, &[0]), [2.0, 3.0]);
    }
}
