//! BEFT: bias-efficient fine-tuning. Huang, Balashankar and Aminifar 2025.
//! <https://arxiv.org/abs/2509.15974>
//!
//! # Formula
//! ```text
//! y = W x + c·b, besides a bias that the layer may have
//! ```
//! # Shapes
//! ```text
//! <module>.beft_bias   b [1, o]
//! ```
//! # Coefficient
//! Linear: c multiplies b.
//! # Invariant
//! y(c) − y(0) is the same for every input x.
//! # Hypothesis
//! What a task needs is known already; a fixed step at the values that attention mixes is enough to
//! bring it out, at least where there are few examples.
//! # Intuition
//! The same few numbers are added to the layer's output whatever it reads, as a steering vector is
//! added to the stream. PEFT puts them on the value projections.
//! # Limits
//! It takes the same step whatever is read. So it can set a tone, and it cannot make one word
//! depend on another.

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "beft",
    peft_type: "BEFT",
    matches: |_| true,
    family: Family::Vector,
    law: Law::Linear,
    keys: &["beft_bias"],
    reads: &[],
    inert: &["init_weights"],
    doc: room_doc!("beft.rs"),
    load,
    trains: Trains::From { start, rate: 2e-2 },
    extras: None,
    folds: Folds::Into(&[("beft_bias", Fold::Times)]),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    for target in start.targets(USUAL)? {
        start.learn(&target, "beft_bias", [1, target.o], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    Loaded::linear(loader, &["beft_bias"], |target| {
        let bias = loader.tensor(target, "beft_bias", [1, target.o])?;
        let bias = bias.reshape([target.o]);
        Ok(vec![Delta::Bias { bias, scale: 1.0 }])
    })
}

#[cfg(test)]
mod tests {
    use super::super::pencil::{matrix, numbers};
    use super::*;

    #[test]
    fn every_input_gets_the_same_step() {
        let bias = matrix([[1.0, -2.0]]).reshape([2]);
        let half_back = Delta::Bias { bias, scale: 1.0 }.times(-0.5);
        for x in [[3.0, 4.0], [0.0, -1.0]] {
            let x = matrix([x]);
            let step = half_back.apply(&x, &x, |x| x);
            assert_eq!(numbers(step), [-0.5, 1.0]);
        }
    }
}
