//! SSVD: structured singular value decomposition, a rotation of the input side of a weight. Wang et al. 2025.
//! <https://arxiv.org/abs/2509.02830>
//!
//! # Formula
//! ```text
//! W = U diag(S) V,   W(c) = U diag(S + c·σ(g)·s) (I − 2c·K) V in the first k directions
//! o < i: the same for Wᵀ
//! ```
//! # Shapes
//! ```text
//! <module>.ssvd_layer.u       U [max(o, i), n]
//! <module>.ssvd_layer.v       V [n, min(o, i)]
//! <module>.ssvd_layer.s_pre   S [n], n from k on; only the first k matter
//! <module>.ssvd_layer.s       s [k]
//! <module>.ssvd_layer.gate    g [1]
//! <module>.ssvd_layer.K_vec   [k(k−1)/2], the numbers above the diagonal of the skew-symmetric K
//! ```
//! ESPnet, where it is published, saves whole models only; these are the names of its layer's
//! tensors behind `ssvd_layer.`, and the config is `{"peft_type": "SSVD"}`. `convert/ssvd.py` makes
//! such files. U and V are in them since K is written in them: another decomposition of the same
//! weight has other signs.
//! # Coefficient
//! Spectral: c multiplies both the steps of the singular values and the angles. I − 2c·K is a
//! rotation to first order only, as in ESPnet. Linear on request: c·(W(1) − W).
//! # Intuition
//! A layer hears some patterns and answers with others, more or less loudly. Trained is what it
//! listens to and how loudly it answers; the answers stay its own.

use super::matrix::{self, Matrix};
use super::{Family, Law, Loaded, Loader, Method, Target, room_doc, spectrum};
use crate::error::Result;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "ssvd",
    peft_type: "SSVD",
    matches: |_| true,
    family: Family::Rotate,
    law: Law::Spectral,
    keys: &[
        "ssvd_layer.u",
        "ssvd_layer.v",
        "ssvd_layer.s_pre",
        "ssvd_layer.s",
        "ssvd_layer.gate",
        "ssvd_layer.K_vec",
    ],
    reads: &[],
    inert: &[],
    doc: room_doc!("ssvd.rs"),
    load,
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let place = |target: Target| {
        let key = |name: &str| loader.key(&target, &format!("ssvd_layer.{name}"));
        let (wide, narrow) = (target.o.max(target.i), target.o.min(target.i));
        let n = loader.extent(&target, "ssvd_layer.s_pre", 0)?;
        let k = loader.extent(&target, "ssvd_layer.s", 0)?;
        if k > n || k == 0 {
            return Err(loader.wrong_shape(&key("s"), format!("[k], k from 1 to {n}")));
        }
        let u = loader.shared::<2>(&key("u"), [wide, n])?.narrow(1, 0, k);
        let v = loader.shared::<2>(&key("v"), [n, narrow])?.narrow(0, 0, k);
        let strengths = loader.host(&key("s_pre"), [n])?;
        let steps = loader.host(&key("s"), [k])?;
        let gate = f64::from(loader.host(&key("gate"), [1])?[0]);
        let gate = 1.0 / (1.0 + (-gate).exp());
        let turns = matrix::skew(&loader.host(&key("K_vec"), [k * (k - 1) / 2])?, k);
        let flipped = target.o < target.i;
        let inner = move |c: f64| -> Matrix {
            let moved = |at: usize| f64::from(strengths[at]) + c * gate * f64::from(steps[at]);
            let moved: Vec<f64> = (0..k).map(moved).collect();
            let turned = matrix::add(&matrix::identity(k), &matrix::scaled(&turns, -2.0 * c));
            let old: Vec<f64> = strengths[..k].iter().map(|s| -f64::from(*s)).collect();
            let new = matrix::matmul(&matrix::diagonal(&moved), &turned);
            let change = matrix::add(&new, &matrix::diagonal(&old));
            match flipped {
                true => matrix::transposed(&change),
                false => change,
            }
        };
        let (left, right) = match flipped {
            true => (v.transpose(), u.transpose()),
            false => (u, v),
        };
        Ok(spectrum::placed(loader, target.site, left, right, inner))
    };
    let placed = loader
        .targets("ssvd_layer.s")?
        .into_iter()
        .map(place)
        .collect::<Result<_>>()?;
    Ok(Loaded {
        law: Law::Spectral,
        placed,
    })
}
