//! LoHa: low-rank Hadamard product adaptation. Yeh et al. 2023; FedPara: Hyeon-Woo et al. 2021.
//! <https://arxiv.org/abs/2309.14859>
//!
//! # Formula
//! ```text
//! y = W x + c·α/r·((A1 B1)∘(A2 B2)) x
//! ```
//! # Shapes
//! ```text
//! <module>.hada_w1_a   A1 [o, r]
//! <module>.hada_w1_b   B1 [r, i]
//! <module>.hada_w2_a   A2 [o, r]
//! <module>.hada_w2_b   B2 [r, i]
//! ```
//! # Coefficient
//! Linear: c multiplies the finished product, not the factors in it. r and α may differ per
//! module (rank_pattern, alpha_pattern).
//! # Hypothesis
//! A behaviour is more than a few directions: its change has a high rank. But it has a pattern, which
//! two simple matrices can cut out of each other.
//! # Intuition
//! Two low-rank matrices are multiplied number by number: each masks the other. The result can
//! have the rank r², with the numbers of two LoRAs.
//! # Limits
//! The rank of its change is at most the square of r, and both factors share every number. It
//! cannot change one direction and leave all others alone as a LoRA can.
//! # Cost
//! Small ranks run as a LoRA of rank r²; where that would be more than the layer itself, the
//! change is one whole matrix per module.

use burn::tensor::Tensor;

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "loha",
    peft_type: "LOHA",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"],
    reads: &["r", "alpha", "rank_pattern", "alpha_pattern"],
    // The effective form exists for convolutions only.
    inert: &[
        "init_weights",
        "rank_dropout",
        "module_dropout",
        "use_effective_conv2d",
    ],
    doc: room_doc!("loha.rs"),
    load,
    trains: Trains::From { start, rate: 5e-3 },
    extras: None,
    folds: Folds::Into(&[("hada_w1_a", Fold::Times)]),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("r", r);
    start.set("alpha", 2 * r);
    for target in start.targets(USUAL)? {
        let (i, o) = (target.i, target.o);
        start.learn(&target, "hada_w1_a", [o, r], Init::Kaiming);
        start.learn(&target, "hada_w1_b", [r, i], Init::Kaiming);
        start.learn(&target, "hada_w2_a", [o, r], Init::Kaiming);
        start.learn(&target, "hada_w2_b", [r, i], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    loader.take_apart(&["hada_w1_a", "hada_w2_a"])?;
    Loaded::linear(loader, &["hada_w1_a"], |target| {
        let (i, o) = (target.i, target.o);
        let (r, scale) = loader.config.rank_and_scale(target)?;
        let [a1, a2] = ["hada_w1_a", "hada_w2_a"].map(|name| loader.tensor(target, name, [o, r]));
        let [b1, b2] = ["hada_w1_b", "hada_w2_b"].map(|name| loader.tensor(target, name, [r, i]));
        let (a1, a2, b1, b2): (Tensor<2>, Tensor<2>, Tensor<2>, Tensor<2>) = (a1?, a2?, b1?, b2?);
        Ok(vec![if r * r * (i + o) < i * o {
            // (A1 B1)∘(A2 B2) = Σ_pq (A1_p∘A2_q)(B1_p∘B2_q)
            let a = a1.reshape([o, r, 1]) * a2.reshape([o, 1, r]);
            let b = b1.reshape([r, 1, i]) * b2.reshape([1, r, i]);
            Delta::product(b.reshape([r * r, i]), a.reshape([o, r * r]), scale)
        } else {
            let delta = a1.matmul(b1) * a2.matmul(b2);
            Delta::Dense { delta, scale }
        }])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// A1 B1 = [1 1; 2 2] and A2 B2 = [3 0; 3 0], number by number [3 0; 6 0]; α/r = 2.
    #[test]
    fn one_product_masks_the_other() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "r": 1, "alpha": 2 }),
            IDENTITY,
            &[
                ("hada_w1_a", [[1.0], [2.0]].into()),
                ("hada_w1_b", [[1.0, 1.0]].into()),
                ("hada_w2_a", [[1.0], [1.0]].into()),
                ("hada_w2_b", [[3.0, 0.0]].into()),
            ],
        );
        near(adapter.y(1.0, [1.0, 1.0]), [7.0, 13.0]);
        near(adapter.y(-1.0, [1.0, 1.0]), [-5.0, -11.0]);
    }
}
