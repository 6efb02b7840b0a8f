//! ETHER: finetuning by hyperplane reflections. Bini et al. 2024.
//! <https://arxiv.org/abs/2405.20271>
//!
//! # Formula
//! ```text
//! y = W x',   x' = x + c·(x H − x),   H = blockdiag(I − 2·u_k u_kᵀ/‖u_k‖²)
//! ```
//! # Shapes
//! ```text
//! <module>.ether_u   [nb, i/nb], u_k its rows
//! ```
//! The authors published no adapter file; these names are this program's own, with the config
//! `{"peft_type": "ETHER", "nb": nb}`.
//! # Coefficient
//! Linear: one mirror is no rotation and has no path from the identity that keeps lengths. At
//! c = ½ the mirrored direction is gone, at 1 it is reversed, at −1 tripled.
//! # Invariant
//! ‖x H‖ = ‖x‖
//! # Intuition
//! One mirror before each part of the input. However it is trained it stays a mirror, so it changes
//! every layer by the same amount and cannot diverge.
//! # Differs from the paper's code
//! For nb > 1 that code cuts W into blocks of rows instead of columns; here the blocks are those
//! of the paper, on the input.

use crate::checkpoint::{Family, Loaded, Loader, Method, Target, room_doc};
use crate::error::Result;
use crate::hooks::{Effect, Law, Map, Placed};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "ether",
    peft_type: "ETHER",
    matches: |_| true,
    family: Family::Rotate,
    law: Law::Linear,
    keys: &["ether_u"],
    reads: &["nb"],
    inert: &[],
    doc: room_doc!("ether.rs"),
    load,
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let place = |target: Target| {
        let (nb, i) = (loader.config.count("nb")?, target.i);
        let u = units(loader, &target, "ether_u", nb, i)?;
        let basis = loader.upload(columns(&[&u], i), [i, nb]);
        let mirror = loader.upload(diagonal(&vec![-2.0; nb]), [nb, nb]);
        let placed = Placed::new(target.site, move |c| {
            vec![Effect::Input(Map::Span {
                basis: basis.clone(),
                kernel: mirror.clone() * c,
            })]
        });
        Ok(placed.cannot(Law::Geodesic, "one mirror is no rotation"))
    };
    let placed = loader
        .targets("ether_u")?
        .into_iter()
        .map(place)
        .collect::<Result<_>>()?;
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}

/// Takes vectors `[nb, width/nb]`, each stretched to length 1 and padded to its place in `width`.
pub(super) fn units(
    loader: &Loader<'_>,
    target: &Target,
    name: &str,
    nb: usize,
    width: usize,
) -> Result<Vec<Vec<f32>>> {
    if !width.is_multiple_of(nb) {
        let expected = format!("a divisor of {width}, a width of {}", target.path);
        return Err(loader.config.bad("nb", &expected));
    }
    let (key, b) = (loader.key(target, name), width / nb);
    let rows = loader.host(&key, [nb, b])?;
    let unit = |(k, row): (usize, &[f32])| {
        let length = row
            .iter()
            .map(|x| f64::from(*x).powi(2))
            .sum::<f64>()
            .sqrt();
        if length == 0.0 || !length.is_finite() {
            let expected = "vectors of some length".into();
            return Err(loader.bad_value(&key, format!("one of length {length}"), expected));
        }
        let mut unit = vec![0.0; width];
        for (place, x) in unit[k * b..].iter_mut().zip(row) {
            *place = (f64::from(*x) / length) as f32;
        }
        Ok(unit)
    };
    rows.chunks_exact(b).enumerate().map(unit).collect()
}

/// Vectors side by side as the columns of a matrix `[width, all]`.
pub(super) fn columns(groups: &[&[Vec<f32>]], width: usize) -> Vec<f32> {
    let vectors: Vec<&Vec<f32>> = groups.iter().copied().flatten().collect();
    (0..width)
        .flat_map(|row| vectors.iter().map(move |vector| vector[row]))
        .collect()
}

pub(super) fn diagonal(values: &[f32]) -> Vec<f32> {
    let n = values.len();
    let mut matrix = vec![0.0; n * n];
    for (at, value) in values.iter().enumerate() {
        matrix[at * n + at] = *value;
    }
    matrix
}
