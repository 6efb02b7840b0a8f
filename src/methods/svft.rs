//! SVFT: singular vectors guided fine-tuning. Lingam et al. 2024.
//! <https://arxiv.org/abs/2405.19597>
//!
//! # Formula
//! ```text
//! W' = U (diag(S) + σ(g)·M) V,   M[row_k, column_k] = m_k, everywhere else 0
//! y = W x + c·(W' − W) x
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
//! under their own names, out of it; the config is `{"peft_type": "SVFT"}`.
//! # Coefficient
//! Linear: c multiplies W' − W, with the base's weights as the device has them.
//! # Intuition
//! The layer is seen in its own coordinates, from input patterns to output patterns, each with a
//! strength. Only these strengths are trained, and how a few of the patterns mix.
//! # Cost
//! One whole matrix per module; U and V make the file as large as the layers it changes.

use burn::tensor::Tensor;

use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
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
    reads: &[],
    inert: &[],
    doc: room_doc!("svft.rs"),
    load,
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    Loaded::linear(loader, &["svft_layer.s_pre"], |target| {
        let k = loader.extent(target, "svft_layer.s_pre", 0)?;
        let n = loader.extent(target, "svft_layer.s", 0)?;
        let key = |name: &str| loader.key(target, &format!("svft_layer.{name}"));
        let u: Tensor<2> = loader.shared(&key("u"), [target.o, k])?;
        let v: Tensor<2> = loader.shared(&key("v"), [k, target.i])?;
        let strengths = loader.host(&key("s_pre"), [k])?;
        let m = loader.host(&key("s"), [n])?;
        let rows = loader.indices(&key("s_row"), [n], k)?;
        let columns = loader.indices(&key("s_col"), [n], k)?;
        let gate = loader.host(&key("gate"), [1])?[0];
        let gate = 1.0 / (1.0 + (-gate).exp());
        let mut inner = vec![0.0; k * k];
        for (at, strength) in strengths.iter().enumerate() {
            inner[at * k + at] = *strength;
        }
        for ((row, column), m) in rows.iter().zip(&columns).zip(m) {
            inner[row * k + column] += gate * m;
        }
        let trained = u.matmul(loader.upload(inner, [k, k])).matmul(v);
        let delta = trained - loader.base_weight(target);
        Ok(vec![Delta::Dense { delta, scale: 1.0 }])
    })
}
