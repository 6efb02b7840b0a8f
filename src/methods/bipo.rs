//! BiPO: steering vectors trained by bidirectional preference optimisation. Cao et al. 2024.
//! <https://arxiv.org/abs/2406.00045>
//!
//! # Formula
//! ```text
//! h_L ← h_L + c·v_L   at the output of block L
//! ```
//! # Shapes
//! ```text
//! direction.L   v_L [d], usually one block only; convert/bipo.py makes it from the authors' .pt
//! ```
//! # Coefficient
//! Gate: c is the length of the step. While v was trained its sign was drawn at random in every
//! step, so +c and −c were trained alike; the authors measure at ±1 and ±2.
//! # Hypothesis
//! A behaviour is a direction in the residual stream, but not the one that separates texts best: it
//! is the one that moves the model's choice between two answers, forth and back.
//! # Intuition
//! Two answers, one wanted and one not: the vector is trained until adding it makes the wanted one
//! likelier, and subtracting it the other. So one vector serves both directions.
//! # Limits
//! The step is the same at every token and in every text. It cannot tell one context from another,
//! and a long step breaks the language.

use super::control_vector::{Action, DIRECTION, directions};
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Law, Module};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "bipo",
    peft_type: "BIPO",
    matches: |_| true,
    family: Family::Vector,
    law: Law::Gate,
    keys: &[DIRECTION],
    reads: &[],
    inert: &[],
    doc: room_doc!("bipo.rs"),
    load,
    trains: Trains::From { start, rate: 5e-2 },
    extras: None,
    folds: Folds::Into(&[(DIRECTION, Fold::Times)]),
};

/// One block, a little before the middle, unless others are asked for.
fn start(start: &mut Start<'_>) -> Result<()> {
    let blocks = start.layers(Module::Residual)?;
    let all = blocks.len() == start.model.config().num_layers;
    let chosen = if all {
        vec![blocks[blocks.len() * 2 / 5]]
    } else {
        blocks
    };
    let d = start.model.config().hidden_size;
    for layer in chosen {
        start.learn_whole(&format!("{DIRECTION}{layer}"), [d], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    directions(loader, Action::Add, false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{Pencil, near};

    /// Token 0 leaves the block as (2, 2), halfway between the two ends.
    #[test]
    fn one_vector_serves_both_directions() {
        let adapter = Pencil::block(&METHOD, json!({}), &[("direction.0", [1.0, -1.0].into())]);
        near(adapter.h(1.0, &[0]), [3.0, 1.0]);
        near(adapter.h(-1.0, &[0]), [1.0, 3.0]);
    }
}
