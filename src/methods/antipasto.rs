//! AntiPaSTO: a reversible steering adapter that turns a weight's own singular vectors. Clark 2026.
//! <https://arxiv.org/abs/2601.07473>
//!
//! # Formula
//! ```text
//! W(c) = W − U diag(S) Vᵀ + U R_u(c) diag(S + c·δ) R_v(c)ᵀ Vᵀ
//! R(c) = (I − cA/2)⁻¹ (I + cA/2), or e^(cA),   A = a·tanh((P − Pᵀ)/a),   a = 2 tan(max_rotation_angle/2)
//! ```
//! # Shapes
//! ```text
//! <module>.antipasto_delta_s             δ [r]
//! <module>.antipasto_rotation_params_v   P of R_v [r, r], with rotate_v
//! <module>.antipasto_rotation_params_u   P of R_u [r, r], with rotate_u
//! and in 0_svd_bases.safetensors, which belongs to it, or among the weights:
//! svd_bases.<module, dots as underscores>.u   U [o, r]
//! svd_bases.<module, dots as underscores>.v   V [i, r]
//! svd_bases.<module, dots as underscores>.s   S [r]
//! ```
//! Training takes four directions for each of the rank and writes them among the weights;
//! `steer export` makes two files of them, as the authors' code reads them.
//! # Coefficient
//! Spectral: c is the method's own α, which training sets to +1 and −1 in turn, so that both ends
//! mean something. R(−c) undoes R(c). Linear on request: c·(W(1) − W).
//! # Hypothesis
//! A trait is a turn of the layer's own axes, and its opposite is the same turn backwards.
//! # Intuition
//! A few of the patterns that a layer knows are turned into each other and made stronger or weaker.
//! It is trained on both signs at once: one way for a trait, the other way against it.
//! # Limits
//! It only moves what the layer has: its own strongest directions among themselves. A direction
//! that is not among them cannot be turned, nor a new one be made.
//! # Differs from the authors' code
//! At c = 0 nothing is computed at all; only the change of the weight is added, so that W itself
//! need not be taken apart. A bias of the base stays, which the authors' layer leaves out.

use burn::tensor::Tensor;
use serde_json::Value;

use super::spectrum;
use super::starts::{USUAL, strongest};
use crate::checkpoint::{
    BASES_FILE, Config, Extras, Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target,
    Trains, room_doc,
};
use crate::error::{Error, Result};
use crate::hooks::Law;
use crate::linalg::matrix::{self, Matrix};
use crate::tensor::inverse;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "antipasto",
    peft_type: "APASTOADAPTER",
    matches: |_| true,
    family: Family::Rotate,
    law: Law::Spectral,
    keys: &[
        "antipasto_delta_s",
        "antipasto_rotation_params_v",
        "antipasto_rotation_params_u",
        "svd_bases.",
    ],
    reads: &[
        "rotate_u",
        "rotate_v",
        "rotation_method",
        "max_rotation_angle",
    ],
    // c takes the place of alpha; the singular vectors say what r is.
    inert: &["alpha", "r", "svd_aligned_init"],
    doc: room_doc!("antipasto.rs"),
    load,
    trains: Trains::From { start, rate: 1e-2 },
    extras: Some(&Extras {
        beside: Some(BASES_FILE),
        ..Extras::NONE
    }),
    folds: Folds::By(fold),
};

/// Neither steps of strengths nor turns are the base. The other fields are the authors' own defaults.
fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank.saturating_mul(4);
    start.set("r", r);
    start.set("alpha", 1.0);
    start.set("rotate_u", false);
    start.set("rotate_v", true);
    start.set("rotation_method", "cayley");
    start.set("max_rotation_angle", std::f64::consts::FRAC_PI_3);
    for target in start.targets(USUAL)? {
        let (k, parts) = strongest(start, &target)?;
        let bases = format!("svd_bases.base_model_model_{}", joined(&target));
        let v = matrix::flat(&matrix::transposed(&matrix::rows(&parts.v, target.i)));
        start.keep(&format!("{bases}.u"), [target.o, k], Init::Given(parts.u));
        start.keep(&format!("{bases}.v"), [target.i, k], Init::Given(v));
        start.keep(&format!("{bases}.s"), [k], Init::Given(parts.s));
        start.learn(&target, "antipasto_delta_s", [k], Init::Zeros);
        start.learn(&target, "antipasto_rotation_params_v", [k, k], Init::Zeros);
    }
    Ok(())
}

/// What bounds the entries of A, if anything does.
fn limit(config: &Config) -> Result<Option<f64>> {
    let widest = match config.get("max_rotation_angle") {
        None | Some(Value::Null) => f64::INFINITY,
        Some(_) => f64::from(config.number("max_rotation_angle")?),
    };
    if widest <= 0.0 {
        return Err(config.bad("max_rotation_angle", "a number above 0, or null"));
    }
    let limit = || 2.0 * (widest / 2.0).tan();
    Ok((widest < std::f64::consts::PI - 1e-6).then(limit))
}

fn fold(loader: &Loader<'_>, _: f32) -> Folds {
    let turns = ["rotate_u", "rotate_v"].map(|field| loader.config.flag(field));
    let bounded = matches!(limit(loader.config), Ok(Some(_)));
    if bounded && turns.contains(&true) {
        return Folds::Not("max_rotation_angle bends its angles before c multiplies them");
    }
    Folds::Into(&[
        ("antipasto_delta_s", Fold::Times),
        ("antipasto_rotation_params_u", Fold::Times),
        ("antipasto_rotation_params_v", Fold::Times),
    ])
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let by_cayley = match config.text("rotation_method")?.as_str() {
        "cayley" => true,
        "matrix_exp" => false,
        _ => return Err(config.bad("rotation_method", "cayley or matrix_exp")),
    };
    let limit = limit(config)?;
    let place = |target: Target| {
        let r = loader.extent(&target, "antipasto_delta_s", 0)?;
        if r == 0 {
            let key = loader.key(&target, "antipasto_delta_s");
            return Err(loader.wrong_shape(&key, "[r], r from 1 on".into()));
        }
        let steps = loader.host(&loader.key(&target, "antipasto_delta_s"), [r])?;
        let turns = |side: &str| -> Result<Option<Matrix>> {
            if !config.flag(&format!("rotate_{side}")) {
                return Ok(None);
            }
            let key = loader.key(&target, &format!("antipasto_rotation_params_{side}"));
            let p = matrix::rows(&loader.host(&key, [r, r])?, r);
            let opposite = matrix::scaled(&matrix::transposed(&p), -1.0);
            let mut a = matrix::add(&p, &opposite);
            if let Some(limit) = limit {
                let entries = a.iter_mut().flatten();
                entries.for_each(|x| *x = limit * (*x / limit).tanh());
            }
            Ok(Some(a))
        };
        let (turns_u, turns_v) = (turns("u")?, turns("v")?);
        let bases = bases(loader, &target)?;
        let u = loader.shared(&format!("{bases}.u"), [target.o, r])?;
        let v = loader.shared::<2>(&format!("{bases}.v"), [target.i, r])?;
        let strengths = loader.host(&format!("{bases}.s"), [r])?;
        if let Some(steps) = loader.leaf(&loader.key(&target, "antipasto_delta_s")) {
            let strengths: Tensor<2> = loader.upload(strengths, [r, 1]);
            let identity: Tensor<2> = loader.upload(matrix::flat(&matrix::identity(r)), [r, r]);
            let steps = steps.reshape([r, 1]);
            let turns = ["u", "v"].map(|side| {
                let key = loader.key(&target, &format!("antipasto_rotation_params_{side}"));
                let p: Tensor<2> = loader.leaf(&key)?.reshape([r, r]);
                let a = p.clone() - p.transpose();
                Some(limit.map_or(a.clone(), |limit| (a / limit).tanh() * limit))
            });
            let inner = move |c: f32| {
                let moved = identity.clone() * (strengths.clone() + steps.clone() * c);
                let [u, v] = turns
                    .each_ref()
                    .map(|a| a.as_ref().map(|a| turned(a, &identity, c)));
                let left = u.map_or(moved.clone(), |u| u.matmul(moved));
                let new = v.map_or(left.clone(), |v| left.matmul(v.transpose()));
                new - identity.clone() * strengths.clone()
            };
            return Ok(spectrum::trained(target.site, u, v.transpose(), inner));
        }
        // Cayley's formula with the other sign and A/2.
        let rotation = move |a: &Option<Matrix>, c: f64| match a {
            None => matrix::identity(r),
            Some(a) if by_cayley => matrix::cayley(&matrix::scaled(a, -c / 2.0)),
            Some(a) => matrix::exponential(&matrix::scaled(a, c)),
        };
        let inner = move |c: f64| {
            let moved = strengths.iter().zip(&steps);
            let moved: Vec<f64> = moved
                .map(|(s, d)| f64::from(*s) + c * f64::from(*d))
                .collect();
            let old: Vec<f64> = strengths.iter().map(|s| -f64::from(*s)).collect();
            let left = matrix::matmul(&rotation(&turns_u, c), &matrix::diagonal(&moved));
            let new = matrix::matmul(&left, &matrix::transposed(&rotation(&turns_v, c)));
            matrix::add(&new, &matrix::diagonal(&old))
        };
        Ok(spectrum::placed(
            loader,
            target.site,
            u,
            v.transpose(),
            inner,
        ))
    };
    let placed = loader
        .targets("antipasto_delta_s")?
        .into_iter()
        .map(place)
        .collect::<Result<_>>()?;
    Ok(Loaded {
        law: Law::Spectral,
        placed,
    })
}

/// Cayley's R(c) of A `[r, r]` while it is trained.
fn turned(a: &Tensor<2>, identity: &Tensor<2>, c: f32) -> Tensor<2> {
    let half = a.clone() * (c / 2.0);
    let inverse = inverse((identity.clone() - half.clone()).unsqueeze());
    inverse.squeeze_dim::<2>(0).matmul(identity.clone() + half)
}

/// A module's path in the names of its singular vectors.
fn joined(target: &Target) -> String {
    target.path.replace('.', "_")
}

/// The prefix of a module's singular vectors; the authors' code accepts paths with and without
/// PEFT's prefix.
fn bases(loader: &Loader<'_>, target: &Target) -> Result<String> {
    let path = joined(target);
    let name = |prefix: &str| format!("svd_bases.{prefix}{path}");
    let names = ["base_model_model_", "base_model_", ""].map(name);
    let there = |name: &&String| loader.shape(&format!("{name}.u")).is_some();
    let found = names.iter().find(there).cloned();
    found.ok_or_else(|| Error::MissingKey {
        file: loader.config.file.clone(),
        key: format!("{}.u", names[0]),
        what: format!("it lies beside the weights in {BASES_FILE}; give that file too"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, length, near};

    /// W = diag(S), whose first singular value moves by `step`; P = [0 p; 0 0].
    fn adapter(s: [f32; 2], step: f32, p: f32, widest: Option<f32>) -> Pencil {
        let bases = "svd_bases.model_layers_0_mlp_up_proj";
        Pencil::layer(
            &METHOD,
            json!({ "rotate_v": true, "rotation_method": "cayley", "max_rotation_angle": widest }),
            [[s[0], 0.0], [0.0, s[1]]],
            &[
                (&format!("{bases}.u"), IDENTITY.into()),
                (&format!("{bases}.v"), IDENTITY.into()),
                (&format!("{bases}.s"), s.into()),
                ("antipasto_delta_s", [step, 0.0].into()),
                ("antipasto_rotation_params_v", [[0.0, p], [0.0, 0.0]].into()),
            ],
        )
    }

    /// A = [0 2; −2 0] gives R = [0 1; −1 0]: W(1) = diag(4, 1)·Rᵀ and W(−1) = diag(2, 1)·R.
    #[test]
    fn axes_turn_and_strengths_move() {
        let adapter = adapter([3.0, 1.0], 1.0, 2.0, None);
        near(adapter.y(1.0, [0.0, 1.0]), [-4.0, 0.0]);
        near(adapter.y(-1.0, [0.0, 1.0]), [2.0, 0.0]);
    }

    #[test]
    fn a_turn_keeps_lengths_and_minus_c_undoes_it() {
        let adapter = adapter([1.0, 1.0], 0.0, 2.0, None);
        near([length(adapter.y(0.3, [3.0, 4.0]))], [5.0]);
        near(adapter.y(-0.3, adapter.y(0.3, [3.0, 4.0])), [3.0, 4.0]);
    }

    /// However large P is, 60° are the end.
    #[test]
    fn no_turn_is_wider_than_allowed() {
        let third = std::f32::consts::FRAC_PI_3;
        let adapter = adapter([1.0, 1.0], 0.0, 1e4, Some(third));
        near(adapter.y(1.0, [1.0, 0.0]), [0.5, 0.75_f32.sqrt()]);
    }
}
