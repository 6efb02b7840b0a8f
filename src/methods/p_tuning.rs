//! P-tuning: embeddings before the text, trained as the output of a small network. Liu et al. 2021.
//! <https://arxiv.org/abs/2103.10385>
//!
//! # Formula
//! ```text
//! k, v = what each layer of the base keeps of E at positions 0 … n−1; the text starts at n
//! attn(c) = attn₀ + c·(attn_with_kv − attn₀)
//! ```
//! # Shapes
//! ```text
//! prompt_embeddings   E [n, d]: what the network (MLP or LSTM) gave, saved instead of it
//! ```
//! # Coefficient
//! Attention mix in every layer: at 0 the virtual tokens are not seen and positions count from 0, at
//! 1 it is PEFT's forward pass, below 0 attention moves away from them. The base model alone reads
//! the virtual tokens, also when other adapters act beside this one.
//! # Hypothesis
//! A frozen model knows more than fixed wordings get out of it. The tokens that ask for it belong
//! together, as the words of a sentence do, so one network makes them all.
//! # Intuition
//! Virtual tokens are easier to train when one network produces all of them. After training only
//! its output is kept.
//! # Limits
//! It can say what words before yours could say, and no more. No weight changes.

use super::virtual_tokens::{self, EMBEDDINGS};
use crate::checkpoint::{Family, Folds, Loaded, Loader, Method, Start, Trains, room_doc};
use crate::error::Result;
use crate::hooks::Law;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "p_tuning",
    peft_type: "P_TUNING",
    matches: |_| true,
    family: Family::Prompt,
    law: Law::AttentionMix,
    keys: &[EMBEDDINGS],
    reads: &["num_virtual_tokens"],
    inert: &[
        "encoder_dropout",
        "encoder_hidden_size",
        "encoder_num_layers",
        "encoder_reparameterization_type",
    ],
    doc: room_doc!("p_tuning.rs"),
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

    /// Token 0 sees itself, (1, 1), and two virtual tokens that cancel: a third of (1, 1) is left.
    #[test]
    fn all_tokens_of_the_network_are_seen_alike() {
        let tensors = [(EMBEDDINGS, [[1.0, -1.0], [-1.0, 1.0]].into())];
        let adapter = Pencil::block(&METHOD, json!({ "num_virtual_tokens": 2 }), &tensors);
        near(adapter.h(1.0, &[0]), [4.0 / 3.0, 4.0 / 3.0]);
        near(adapter.h(-1.0, &[0]), [8.0 / 3.0, 8.0 / 3.0]);
    }
}
