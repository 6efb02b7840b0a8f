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
//! and in 0_svd_bases.safetensors, which belongs to it:
//! svd_bases.<module, dots as underscores>.u   U [o, r]
//! svd_bases.<module, dots as underscores>.v   V [i, r]
//! svd_bases.<module, dots as underscores>.s   S [r]
//! ```
//! # Coefficient
//! Spectral: c is the method's own α, which training sets to +1 and −1 in turn, so that both ends
//! mean something. R(−c) undoes R(c). Linear on request: c·(W(1) − W).
//! # Intuition
//! A few of the patterns that a layer knows are turned into each other and made stronger or weaker.
//! It is trained on both signs at once: one way for a trait, the other way against it.
//! # Differs from the authors' code
//! At c = 0 nothing is computed at all; only the change of the weight is added, so that W itself
//! need not be taken apart. A bias of the base stays, which the authors' layer leaves out.

use serde_json::Value;

use super::spectrum;
use crate::checkpoint::{BASES_FILE, Family, Loaded, Loader, Method, Target, room_doc};
use crate::error::{Error, Result};
use crate::hooks::Law;
use crate::linalg::matrix::{self, Matrix};

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
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let by_cayley = match config.text("rotation_method")?.as_str() {
        "cayley" => true,
        "matrix_exp" => false,
        _ => return Err(config.bad("rotation_method", "cayley or matrix_exp")),
    };
    let widest = match config.get("max_rotation_angle") {
        None | Some(Value::Null) => f64::INFINITY,
        Some(_) => f64::from(config.number("max_rotation_angle")?),
    };
    if widest <= 0.0 {
        return Err(config.bad("max_rotation_angle", "a number above 0, or null"));
    }
    let limit = (widest < std::f64::consts::PI - 1e-6).then(|| 2.0 * (widest / 2.0).tan());
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

/// The prefix of a module's singular vectors; the authors' code accepts paths with and without
/// PEFT's prefix.
fn bases(loader: &Loader<'_>, target: &Target) -> Result<String> {
    let path = target.path.replace('.', "_");
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
