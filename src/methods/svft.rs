//! SVFT: singular vectors guided fine-tuning. Lingam et al. 2024.
//! <https://arxiv.org/abs/2405.19597>
//!
//! # Formula
//! ```text
//! W' = U (diag(S) + σ(g)·M) V,   M[row_k, column_k] = m_k, everywhere else 0
//! y = W x + c·(W' − W) x;   residual: y = W x + c·U σ(g)·M V x
//! ```
//! # Shapes
//! ```text
//! <module>.svft_layer.u       U [o, k]
//! <module>.svft_layer.v       V [k, i]
//! <module>.svft_layer.s_pre   S [k]
//! <module>.svft_layer.s       m [n]
//! <module>.svft_layer.s_row   [n], whole numbers
//! <module>.svft_layer.s_col   [n], whole numbers
//! <module>.svft_layer.gate    g [1]
//! ```
//! There is no file format but the authors' whole model: `convert/svft.py` takes these tensors,
//! under their own names, out of it; the config is `{"peft_type": "SVFT"}`. The authors keep all
//! directions. Training here takes the strongest alone, four for each of the rank, with a whole M, and
//! sets `residual` in the config: what they leave out of W stays.
//! # Coefficient
//! Linear: c multiplies W' − W, with the base's weights as the device has them, or M.
//! # Hypothesis
//! A layer's own input and output patterns are already the right ones. A behaviour is how strongly
//! they are joined, and which with which.
//! # Intuition
//! The layer is seen in its own coordinates, from input patterns to output patterns, each with a
//! strength. Only these strengths are trained, and how a few of the patterns mix.
//! # Limits
//! It mixes patterns that the layer has, each with those that the file's places allow. Nothing from
//! outside them comes in.
//! # Cost
//! One whole matrix per module; U and V make the file as large as the layers it changes. Not so with
//! `residual`.

use burn::tensor::activation::sigmoid;
use burn::tensor::{IndexingUpdateOp, Tensor};

use super::starts::{USUAL, strongest};
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "svft",
    peft_type: "SVFT",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &[
        "svft_layer.u",
        "svft_layer.v",
        "svft_layer.s_pre",
        "svft_layer.s",
        "svft_layer.s_row",
        "svft_layer.s_col",
        "svft_layer.gate",
    ],
    reads: &["residual"],
    inert: &[],
    doc: room_doc!("svft.rs"),
    load,
    trains: Trains::From { start, rate: 1e-2 },
    extras: None,
    folds: Folds::By(|loader, _| {
        if loader.config.flag("residual") {
            Folds::Into(&[("svft_layer.s", Fold::Times)])
        } else {
            Folds::Not(
                "what its singular values leave out of W would have to come back, for which it has no numbers",
            )
        }
    }),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    start.set("residual", true);
    for target in start.targets(USUAL)? {
        let (k, parts) = strongest(start, &target)?;
        let key = |name: &str| format!("{}.svft_layer.{name}", target.key);
        let place = |of: fn(usize, usize) -> usize| (0..k * k).map(|at| of(at, k) as i64).collect();
        start.keep(&key("u"), [target.o, k], Init::Given(parts.u));
        start.keep(&key("v"), [k, target.i], Init::Given(parts.v));
        start.keep(&key("s_pre"), [k], Init::Given(parts.s));
        start.keep_indices(&key("s_row"), [k * k], place(|at, k| at / k));
        start.keep_indices(&key("s_col"), [k * k], place(|at, k| at % k));
        start.learn_whole(&key("s"), [k * k], Init::Zeros);
        start.learn_whole(&key("gate"), [1], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    Loaded::linear(loader, &["svft_layer.s_pre"], |target| {
        let k = loader.extent(target, "svft_layer.s_pre", 0)?;
        let n = loader.extent(target, "svft_layer.s", 0)?;
        let key = |name: &str| loader.key(target, &format!("svft_layer.{name}"));
        let u: Tensor<2> = loader.shared(&key("u"), [target.o, k])?;
        let v: Tensor<2> = loader.shared(&key("v"), [k, target.i])?;
        let strengths = loader.host(&key("s_pre"), [k])?;
        let m: Tensor<1> = loader.shared(&key("s"), [n])?;
        let rows = loader.indices(&key("s_row"), [n], k)?;
        let columns = loader.indices(&key("s_col"), [n], k)?;
        let gate: Tensor<1> = loader.shared(&key("gate"), [1])?;
        let is_residual = loader.config.flag("residual");
        let mut inner = vec![0.0; k * k];
        if !is_residual {
            for (at, strength) in strengths.iter().enumerate() {
                inner[at * k + at] = *strength;
            }
        }
        let places = rows.iter().zip(&columns);
        let places = places.map(|(row, column)| (row * k + column) as i32);
        let places = loader.upload_indices(places.collect());
        let inner: Tensor<1> = loader.upload(inner, [k * k]);
        let inner = inner.select_assign(0, places, sigmoid(gate) * m, IndexingUpdateOp::Add);
        let trained = u.matmul(inner.reshape([k, k]));
        if is_residual {
            return Ok(vec![Delta::product(v, trained, 1.0)]);
        }
        let delta = trained.matmul(v) - loader.base_weight(target);
        Ok(vec![Delta::Dense { delta, scale: 1.0 }])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// W = diag(3, 1) is its own S. σ(0)·4 = 2 lets the second input pattern speak through the first
    /// output pattern: W' = [3 2; 0 1].
    #[test]
    fn patterns_are_joined_anew() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({}),
            [[3.0, 0.0], [0.0, 1.0]],
            &[
                ("svft_layer.u", IDENTITY.into()),
                ("svft_layer.v", IDENTITY.into()),
                ("svft_layer.s_pre", [3.0, 1.0].into()),
                ("svft_layer.s", [4.0].into()),
                ("svft_layer.s_row", [0].into()),
                ("svft_layer.s_col", [1].into()),
                ("svft_layer.gate", [0.0].into()),
            ],
        );
        near(adapter.y(1.0, [1.0, 1.0]), [5.0, 1.0]);
        near(adapter.y(-1.0, [1.0, 1.0]), [1.0, 1.0]);
    }

    /// Of W = diag(3, 1) only the first direction is there: σ(0)·4 = 2 makes its strength 5, and the
    /// other stays.
    #[test]
    fn what_is_left_out_stays() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "residual": true }),
            [[3.0, 0.0], [0.0, 1.0]],
            &[
                ("svft_layer.u", [[1.0], [0.0]].into()),
                ("svft_layer.v", [[1.0, 0.0]].into()),
                ("svft_layer.s_pre", [3.0].into()),
                ("svft_layer.s", [4.0].into()),
                ("svft_layer.s_row", [0].into()),
                ("svft_layer.s_col", [0].into()),
                ("svft_layer.gate", [0.0].into()),
            ],
        );
        near(adapter.y(1.0, [1.0, 1.0]), [5.0, 1.0]);
        near(adapter.y(-0.5, [1.0, 1.0]), [2.0, 1.0]);
    }
}
