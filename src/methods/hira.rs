//! HiRA: Hadamard high-rank adaptation. Huang et al. 2025.
//! <https://openreview.net/forum?id=TwJrTz9cRS>
//!
//! # Formula
//! ```text
//! linear layers:   y = W x + c·(W∘(B A)) x
//! the embedding:   row_t = W_t + c·W_t∘(B A_t),   A_t the column of token t
//! ```
//! # Shapes
//! ```text
//! <module>.hira_A             A [r, i]
//! <module>.hira_B             B [o, r]
//! <module>.hira_embedding_A   A [r, vocabulary]
//! <module>.hira_embedding_B   B [d, r]
//! ```
//! # Coefficient
//! Linear: c multiplies W∘(B A), so that each weight moves by c times a share of itself.
//! # Invariant
//! A weight that is 0 stays 0.
//! # Hypothesis
//! A network keeps what it knows in all directions of its weights at once, too many for a matrix of
//! low rank; so a change should stretch the weights that are there, which keeps their high rank.
//! # Intuition
//! A LoRA that does not add to the weights but says by how many per cent each of them grows or
//! shrinks.
//! # Limits
//! It stretches what is there: a weight that is 0 stays 0, and a weight much smaller than the rest
//! can hardly matter.
//! # Cost
//! One whole matrix per module; it needs the base's weights, as the device has them.
//!
//! A tied head keeps its weight, as in PEFT. Where the embedding's module scales its rows, as in a
//! Gemma, PEFT leaves the change unscaled, and so does this.

use burn::tensor::Tensor;

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law, Lookup, Placed, Site};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "hira",
    peft_type: "HIRA",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &["hira_A", "hira_B", EMBEDDING_A, EMBEDDING_B],
    reads: &[],
    inert: &["r", "rank_pattern", "init_weights", "hira_dropout"],
    doc: room_doc!("hira.rs"),
    load,
    trains: Trains::From { start, rate: 1e-2 },
    extras: None,
    folds: Folds::Into(&[("hira_B", Fold::Times), (EMBEDDING_B, Fold::Times)]),
};

const EMBEDDING_A: &str = "hira_embedding_A";
const EMBEDDING_B: &str = "hira_embedding_B";

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("r", r);
    for target in start.targets(USUAL)? {
        start.learn(&target, "hira_A", [r, target.i], Init::Kaiming);
        start.learn(&target, "hira_B", [target.o, r], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    // The file's: PEFT 0.21.2 reads rank_pattern and passes over it.
    let rank = |target: &Target, a: &str| loader.extent(target, a, 0);
    let mut placed = Vec::new();
    if loader.any(EMBEDDING_A) {
        for target in loader.tables(EMBEDDING_A)? {
            if target.site != Site::Embedding {
                return Err(loader.no_such_module(&loader.key(&target, EMBEDDING_A)));
            }
            let r = rank(&target, EMBEDDING_A)?;
            // One row per token: i is the width of the stream, o the vocabulary.
            let a = loader.tensor::<2>(&target, EMBEDDING_A, [r, target.o])?;
            let b = loader.tensor::<2>(&target, EMBEDDING_B, [target.i, r])?;
            let shares = a.transpose().matmul(b.transpose());
            let model = loader.model.config();
            // The scale that an embedding's own module applies, which PEFT's change goes around.
            let scale = (model.embedding_scale / model.virtual_scale) as f32;
            let change = loader.base_weight(&target) * shares / scale;
            let lookup = Lookup::table(change, None);
            placed.push(Placed::new(target.site, move |c| lookup.times(c)));
        }
    }
    if placed.is_empty() || loader.any("hira_A") {
        for target in loader.targets("hira_A")? {
            let r = rank(&target, "hira_A")?;
            let a = loader.tensor::<2>(&target, "hira_A", [r, target.i])?;
            let b = loader.tensor::<2>(&target, "hira_B", [target.o, r])?;
            let delta = stretched(loader.base_weight(&target), a, b);
            let deltas = vec![Delta::Dense { delta, scale: 1.0 }];
            placed.push(Placed::linear(target.site, deltas));
        }
    }
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}

/// `W∘(B A)`
fn stretched(w: Tensor<2>, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    w * b.matmul(a)
}

#[cfg(test)]
mod tests {
    use super::super::pencil::{matrix, numbers};
    use super::stretched;

    /// B A has the rows (1, 2) and (3, 6). The weights 5 and −2 move by once and six times
    /// themselves; the zeros stay.
    #[test]
    fn weights_move_by_shares_of_themselves() {
        let w = matrix([[5.0, 0.0], [0.0, -2.0]]);
        let (a, b) = (matrix([[1.0, 2.0]]), matrix([[1.0], [3.0]]));
        assert_eq!(numbers(stretched(w, a, b)), [5.0, 0.0, 0.0, -12.0]);
    }
}
