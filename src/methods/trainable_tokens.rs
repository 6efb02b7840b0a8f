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
//! Training takes the tokens of which one side of the answers has most more than the other.
//! # Hypothesis
//! What a word means is kept in its own row of the embedding. To teach new words, nothing else of the
//! network has to change.
//! # Intuition
//! A few words get another meaning; the rest of the language stays as it was. Texts without these
//! words are read as before.
//! # Limits
//! Texts without these tokens do not change at all. What a model makes of a word beyond its meaning
//! stays as it was.

use serde_json::json;

use super::tokens::trained_rows;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, PREFIX, Start, Target, Trains, room_doc,
};
use crate::error::{Error, Result};
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
    trains: Trains::From { start, rate: 2e-3 },
    extras: None,
    folds: Folds::Into(&[(ROWS, Fold::FromBase)]),
};

/// The old rows of the tokens that tell the answers apart, eight for each of the rank. Where the head has
/// rows of its own, a step may read none of them.
fn start(start: &mut Start<'_>) -> Result<()> {
    start.whole()?;
    if !start.model.config().tie_word_embeddings {
        return Err(Error::BadOption {
            name: "method",
            expected: "one that acts inside the blocks: tokens are trained where the head is the embedding",
            found: METHOD.name.into(),
        });
    }
    let ids = start.tokens(start.rank.saturating_mul(8));
    let rows = Init::Given(start.numbers(start.model.embeddings(&ids))?);
    let width = start.model.config().hidden_size;
    let key = format!("{PREFIX}model.embed_tokens.{ROWS}");
    start.set("target_modules", json!(["model.embed_tokens"]));
    start.set("token_indices", json!(ids));
    start.learn_whole(&key, [ids.len(), width], rows);
    Ok(())
}

pub(super) const ROWS: &str = "trainable_tokens_delta";

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    Ok(Loaded {
        law: Law::Linear,
        placed: trained_rows(loader, ROWS, |target| ids(loader, target))?,
    })
}

/// The tokens whose rows a module has.
pub(super) fn ids(loader: &Loader<'_>, target: &Target) -> Result<Vec<u32>> {
    let (field, config) = ("token_indices", loader.config);
    config.ids(field, config.get(field), target.o)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{Pencil, near};

    /// Token 1 moves from (1, −1) to (3, −3); attention adds (1, −1) again, since a norm hides lengths.
    #[test]
    fn a_listed_token_moves_and_the_others_stay() {
        let rows = "base_model.model.model.embed_tokens.trainable_tokens_delta";
        let tensors = [(rows, [[3.0, -3.0]].into())];
        let adapter = Pencil::block(&METHOD, json!({ "token_indices": [1] }), &tensors);
        near(adapter.h(1.0, &[1]), [3.0 + 1.0, -3.0 - 1.0]);
        near(adapter.h(-0.25, &[1]), [0.5 + 1.0, -0.5 - 1.0]);
        near(adapter.h(1.0, &[0]), [2.0, 2.0]);
    }
}
