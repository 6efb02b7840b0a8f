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
//! tensors after `ssvd_layer.`, and the config is `{"peft_type": "SSVD"}`. `convert/ssvd.py` makes
//! such files. U and V are in them since K is written in them: another decomposition of the same
//! weight has other signs. Training writes the first k directions alone, four for each of the rank.
//! # Coefficient
//! Spectral: c multiplies both the steps of the singular values and the angles. I − 2c·K is a
//! rotation to first order only, as in ESPnet, and −c undoes c to first order. On request log-polar,
//! where it does exactly: (I − 2K)^c turns each plane of K by c·atan 2κ and stretches it by
//! (1 + 4κ²)^(c/2), and S·((S + σ(g)·s)/S)^c; or linear, c·(W(1) − W).
//! # Hypothesis
//! What differs between domains is what comes in, such as another accent or another voice; what it
//! stands for stays. So input patterns turn and output patterns do not.
//! # Intuition
//! A layer responds to some input patterns with output patterns of its own, more or less strongly.
//! Training changes the inputs and the strengths; the output patterns stay.
//! # Limits
//! Output patterns stay: it can change to what the layer responds, and not what it responds.

use std::cell::OnceCell;

use burn::tensor::{Tensor, activation::sigmoid};

use super::spectrum;
use super::starts::{USUAL, skew, strongest};
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::Law;
use crate::linalg::{
    matrix::{self, Matrix},
    skew::Skew,
};

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
    trains: Trains::From { start, rate: 1e-2 },
    extras: None,
    folds: Folds::Into(&[
        ("ssvd_layer.s", Fold::Times),
        ("ssvd_layer.K_vec", Fold::Times),
    ]),
};

/// Only the directions that are trained are kept. No step of a strength and no turn is the base.
fn start(start: &mut Start<'_>) -> Result<()> {
    for target in start.targets(USUAL)? {
        let (k, parts) = strongest(start, &target)?;
        let (wide, narrow) = (target.o.max(target.i), target.o.min(target.i));
        let (u, v) = if target.o < target.i {
            let turned =
                |x: &[f32], width| matrix::flat(&matrix::transposed(&matrix::rows(x, width)));
            (turned(&parts.v, target.i), turned(&parts.u, k))
        } else {
            (parts.u, parts.v)
        };
        let key = |name: &str| format!("{}.ssvd_layer.{name}", target.key);
        start.keep(&key("u"), [wide, k], Init::Given(u));
        start.keep(&key("v"), [k, narrow], Init::Given(v));
        start.keep(&key("s_pre"), [k], Init::Given(parts.s));
        start.learn_whole(&key("s"), [k], Init::Zeros);
        start.learn_whole(&key("gate"), [1], Init::Zeros);
        start.learn_whole(&key("K_vec"), [k * (k - 1) / 2], Init::Zeros);
    }
    Ok(())
}

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
        let above = loader.host(&key("K_vec"), [k * (k - 1) / 2])?;
        if let Some(other) = above.iter().find(|x| !x.is_finite()) {
            let expected = "finite numbers".into();
            return Err(loader.bad_value(&key("K_vec"), other.to_string(), expected));
        }
        let turns = matrix::skew(&above, k);
        let old: Vec<f64> = strengths[..k].iter().copied().map(f64::from).collect();
        let steps: Vec<f64> = steps.iter().map(|s| gate * f64::from(*s)).collect();
        let flipped = target.o < target.i;
        let leaves = ["s", "gate", "K_vec"].map(|name| loader.leaf(&key(name)));
        if let [Some(s), Some(gate), Some(above)] = leaves {
            let old: Tensor<2> = loader.upload(strengths[..k].to_vec(), [k, 1]);
            let steps = (sigmoid(gate) * s).reshape([k, 1]);
            let turns = skew(loader, above, 1, k).reshape([k, k]) * 2.0;
            let identity = loader.upload(matrix::flat(&matrix::identity(k)), [k, k]);
            // diag(S + c·step)(I − 2c·K) − diag(S)
            let change = move |c: f32| {
                let step = steps.clone() * c;
                let moved = old.clone() + step.clone();
                identity.clone() * step - moved * turns.clone() * c
            };
            return Ok(if flipped {
                let (left, right) = (v.transpose(), u.transpose());
                spectrum::trained(target.site, left, right, move |c| change(c).transpose())
            } else {
                spectrum::trained(target.site, u, v, change)
            });
        }
        // What the first k directions become, less what they were.
        let change = move |new: &[f64], turned: &Matrix, old: &[f64]| {
            let new = matrix::matmul(&matrix::diagonal(new), turned);
            let change = matrix::add(&new, &matrix::scaled(&matrix::diagonal(old), -1.0));
            if flipped {
                matrix::transposed(&change)
            } else {
                change
            }
        };
        let stretch = |kappa: f64| (2.0 * kappa).hypot(1.0);
        let grown = old.iter().zip(&steps).map(|(s, step)| (s + step) / s);
        let mut gains: Vec<f32> = grown.map(|gain| gain as f32).collect();
        // No κ is above the largest sum of a row.
        let sums = turns.iter().map(|row| row.iter().map(|x| x.abs()).sum());
        gains.push(stretch(sums.fold(0.0, f64::max)) as f32);
        let (generator, planes) = (turns.clone(), OnceCell::new());
        let (first, by) = (old.clone(), steps.clone());
        let spectral = move |c: f64| {
            let moved = first.iter().zip(&by).map(|(s, step)| s + c * step);
            let moved: Vec<f64> = moved.collect();
            let turned = matrix::add(&matrix::identity(k), &matrix::scaled(&turns, -2.0 * c));
            change(&moved, &turned, &first)
        };
        let log_polar = move |c: f64| {
            let moved = old.iter().zip(&steps);
            let moved: Vec<f64> = moved
                .map(|(s, step)| s * ((s + step) / s).powf(c))
                .collect();
            // 1 − 2iκ has the length √(1 + 4κ²) and the angle −atan 2κ.
            let planes = planes.get_or_init(|| Skew::new(&generator));
            let turned = planes.map(|kappa| {
                let (length, angle) = (stretch(kappa).powf(c), c * (2.0 * kappa).atan());
                (length * angle.cos(), -length * angle.sin())
            });
            change(&moved, &turned, &old)
        };
        let (left, right) = if flipped {
            (v.transpose(), u.transpose())
        } else {
            (u, v)
        };
        let log_polar = spectrum::change(loader, left.clone(), right.clone(), log_polar);
        let placed = spectrum::placed(loader, target.site, left, right, spectral);
        Ok(placed.or_powers(Law::LogPolar, &gains, move |c| log_polar(c, 1.0)))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::hooks::Law;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// W = diag(S). The first singular value moves by σ(0)·step, and I − 2K = [1 −1; 1 1].
    fn adapter(s: [f32; 2], step: f32) -> Pencil {
        Pencil::layer(
            &METHOD,
            json!({}),
            [[s[0], 0.0], [0.0, s[1]]],
            &[
                ("ssvd_layer.u", IDENTITY.into()),
                ("ssvd_layer.v", IDENTITY.into()),
                ("ssvd_layer.s_pre", s.into()),
                ("ssvd_layer.s", [step, 0.0].into()),
                ("ssvd_layer.gate", [0.0].into()),
                ("ssvd_layer.K_vec", [0.5].into()),
            ],
        )
    }

    /// diag(4, 1)·[1 −1; 1 1] = [4 −4; 1 1], and backwards diag(2, 1)·[1 1; −1 1] = [2 2; −1 1].
    #[test]
    fn inputs_turn_and_strengths_move() {
        near(adapter([3.0, 1.0], 2.0).y(1.0, [1.0, 0.0]), [4.0, 1.0]);
        near(adapter([3.0, 1.0], 2.0).y(-1.0, [1.0, 0.0]), [2.0, -1.0]);
    }

    /// I − 2K turns by 45° and stretches by √2; twice that is [0 −2; 2 0].
    #[test]
    fn under_the_log_polar_law_minus_c_undoes_c() {
        let adapter = adapter([1.0, 1.0], 0.0).under(Law::LogPolar);
        near(adapter.y(1.0, [1.0, 0.0]), [1.0, 1.0]);
        near(adapter.y(2.0, [1.0, 0.0]), [0.0, 2.0]);
        near(adapter.y(-1.0, adapter.y(1.0, [3.0, 4.0])), [3.0, 4.0]);
    }
}
