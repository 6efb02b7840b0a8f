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
//! # Intuition
//! Two answers, one wanted and one not: the vector is trained until adding it makes the wanted one
//! likelier, and subtracting it the other. So one vector serves both directions.

use super::control_vector::{Action, DIRECTION, directions};
use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
use crate::error::Result;
use crate::hooks::Law;

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
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    directions(loader, Action::Add, false)
}
