//! PEANuT: adaptation with weight-aware neural tweakers. Zhong et al. 2024.
//! <https://arxiv.org/abs/2410.01870>
//!
//! # Formula
//! ```text
//! z_0 = f(A W),   z_k = f(E_k z_k−1) for k = 1 … depth,   u_depth = z_depth
//! u_k−1 = f(D_k u_k) + z_k−1, with the decoders counted from the inside;   Δ = s·B u_0
//! y = W x + c·Δ x
//! ```
//! # Shapes
//! ```text
//! <module>.peanut_A.weight            A [r, o]
//! <module>.peanut_B.weight            B [o, r]
//! <module>.peanut_encoders.K.weight   E [r, r], K from 0 to depth − 1
//! <module>.peanut_decoders.K.weight   D [r, r]
//! ```
//! # Coefficient
//! Linear: c multiplies the finished change, not the network that computes it.
//! # Hypothesis
//! The weights themselves say how they should change: what is to be learned depends on what is
//! there, and no more simply than by a small network.
//! # Intuition
//! A small network reads the layer's own weights, column by column, and writes the change of each.
//! The same network tweaks every column.
//! # Limits
//! The change is a function of the weights that are there: columns that are alike change alike.
//! # Cost
//! Loading runs the network over the base's weights, as the device has them; then it runs as a LoRA.
//! # Differs from PEFT
//! act_fn is one of relu, silu, gelu, tanh and sigmoid, and depth at most 4; others are refused.

use burn::tensor::{Tensor, activation};

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};
use crate::tensor::tanh;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "peanut",
    peft_type: "PEANUT",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &[
        "peanut_A.weight",
        "peanut_B.weight",
        ENCODERS[0],
        ENCODERS[1],
        ENCODERS[2],
        ENCODERS[3],
        DECODERS[0],
        DECODERS[1],
        DECODERS[2],
        DECODERS[3],
    ],
    reads: &["r", "depth", "act_fn", "scaling"],
    inert: &["init_weights"],
    doc: room_doc!("peanut.rs"),
    load,
    trains: Trains::From { start, rate: 2e-3 },
    extras: None,
    folds: Folds::Into(&[("peanut_B.weight", Fold::Times)]),
};

const ENCODERS: [&str; 4] = [
    "peanut_encoders.0.weight",
    "peanut_encoders.1.weight",
    "peanut_encoders.2.weight",
    "peanut_encoders.3.weight",
];
const DECODERS: [&str; 4] = [
    "peanut_decoders.0.weight",
    "peanut_decoders.1.weight",
    "peanut_decoders.2.weight",
    "peanut_decoders.3.weight",
];

type Activation = fn(Tensor<2>) -> Tensor<2>;

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("r", r);
    start.set("depth", 0);
    start.set("act_fn", "relu");
    start.set("scaling", 1.0);
    for target in start.targets(USUAL)? {
        start.learn(&target, "peanut_A.weight", [r, target.o], Init::Kaiming);
        start.learn(&target, "peanut_B.weight", [target.o, r], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let (r, scale) = (config.count("r")?, config.number("scaling")?);
    let depth = if config.flag("depth") {
        config.count("depth")?
    } else {
        0
    };
    if depth > ENCODERS.len() {
        return Err(config.bad("depth", "at most 4"));
    }
    let act: Activation = match config.text("act_fn")?.as_str() {
        "relu" => activation::relu,
        "silu" | "swish" => activation::silu,
        "gelu" => activation::gelu,
        "tanh" => tanh,
        "sigmoid" => activation::sigmoid,
        _ => return Err(config.bad("act_fn", "relu, silu, gelu, tanh or sigmoid")),
    };
    Loaded::linear(loader, &["peanut_A.weight"], |target| {
        let a = loader.tensor(target, "peanut_A.weight", [r, target.o])?;
        let b = loader.tensor(target, "peanut_B.weight", [target.o, r])?;
        let inner = |names: &[&str]| -> Result<Vec<Tensor<2>>> {
            let inner = names[..depth].iter();
            inner
                .map(|name| loader.tensor(target, name, [r, r]))
                .collect()
        };
        let (encoders, decoders) = (inner(&ENCODERS)?, inner(&DECODERS)?);
        let read = tweaked(loader.base_weight(target), a, &encoders, &decoders, act);
        Ok(vec![Delta::product(read, b, scale)])
    })
}

/// What the network reads from W `[o, i]`: `[r, i]`.
fn tweaked(
    w: Tensor<2>,
    a: Tensor<2>,
    encoders: &[Tensor<2>],
    decoders: &[Tensor<2>],
    act: Activation,
) -> Tensor<2> {
    let mut z = act(a.matmul(w));
    let mut on_the_way = Vec::new();
    for encoder in encoders {
        on_the_way.push(z.clone());
        z = act(encoder.clone().matmul(z));
    }
    for decoder in decoders {
        let skipped = on_the_way.pop().unwrap_or_else(|| z.zeros_like());
        z = act(decoder.clone().matmul(z)) + skipped;
    }
    z
}

#[cfg(test)]
mod tests {
    use super::super::pencil::{added, matrix};
    use super::*;

    /// W has the columns (1, 2) and (−3, 1); A adds a column up, relu keeps 3 and drops −2, and B
    /// writes it to the first output.
    #[test]
    fn a_network_reads_the_columns() {
        let w = matrix([[1.0, -3.0], [2.0, 1.0]]);
        let read = tweaked(w, matrix([[1.0, 1.0]]), &[], &[], activation::relu);
        let delta = Delta::product(read, matrix([[1.0], [0.0]]), 1.0);
        assert_eq!(added(&delta, [2, 2]), [3.0, 0.0, 0.0, 0.0]);
    }

    /// One step inwards and back: 3 becomes 2·3 = 6, on the way back 0.5·6 = 3, and 3 is added.
    #[test]
    fn what_was_there_is_added_on_the_way_back() {
        let (w, one) = (matrix([[3.0]]), matrix([[1.0]]));
        let (down, up) = ([matrix([[2.0]])], [matrix([[0.5]])]);
        let read = tweaked(w, one.clone(), &down, &up, activation::relu);
        assert_eq!(added(&Delta::product(read, one, 1.0), [1, 1]), [6.0]);
    }
}
