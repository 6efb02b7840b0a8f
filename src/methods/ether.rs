//! ETHER: finetuning by hyperplane reflections. Bini et al. 2024.
//! <https://arxiv.org/abs/2405.20271>
//!
//! # Formula
//! ```text
//! y = W x',   x' = x + c·(x H − x),   H = blockdiag(I − 2·u_k u_kᵀ/‖u_k‖²)
//! ```
//! # Shapes
//! ```text
//! <module>.ether_u       [nb, i/nb], u_k its rows; or, in a module that is mirrored at its output,
//! <module>.ether_u_out   [nb, o/nb]
//! ```
//! The authors published no adapter file; these names are this program's own, with the config
//! `{"peft_type": "ETHER", "nb": nb}`. `convert/ether.py` makes them of what the authors' code saves.
//! # Coefficient
//! Linear: one mirror is no rotation and has no path from the identity that keeps lengths. At
//! c = ½ the mirrored direction is gone, at 1 it is reversed, at −1 tripled.
//! # Invariant
//! ‖x H‖ = ‖x‖
//! # Hypothesis
//! A behaviour is one direction in each part of the input, seen the other way round. A change that
//! always has the same size cannot drift away from what was known.
//! # Intuition
//! One mirror before each part of the input. However it is trained it stays a mirror, so it changes
//! every layer by the same amount and cannot diverge.
//! # Limits
//! How far it moves is fixed: a mirror is a mirror, whether the task needs much or little. It makes
//! nothing stronger or weaker.
//! # Differs from the paper's code
//! For nb > 1 that code cuts W into blocks of rows instead of columns, and mirrors all pieces of a row
//! alike; here the blocks are those of the paper, on the input. With `"cut": "rows"` they are those of
//! the code, at the price of a whole matrix for each module. Queries, keys and values it mirrors at the output.

use burn::tensor::Tensor;
use serde_json::Value;

use super::starts::{USUAL, common_divisor};
use crate::checkpoint::{
    Config, Family, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Effect, Law, Map, Placed};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "ether",
    peft_type: "ETHER",
    matches: |_| true,
    family: Family::Rotate,
    law: Law::Linear,
    keys: &["ether_u", "ether_u_out"],
    reads: &["nb", "cut"],
    inert: &[],
    doc: room_doc!("ether.rs"),
    load,
    trains: Trains::From { start, rate: 5e-3 },
    extras: None,
    folds: Folds::Not("its numbers are a direction, and no direction mirrors halfway"),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let targets = start.targets(USUAL)?;
    let nb = common_divisor(targets.iter().map(|target| target.i), start.rank);
    start.set("nb", nb);
    for target in targets {
        start.learn(&target, "ether_u", [nb, target.i / nb], Init::Normal(1.0));
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let (nb, rows) = (loader.config.count("nb")?, is_cut_by_rows(loader.config)?);
    let place = |target: Target| {
        let mirror = || loader.upload(diagonal(&vec![-2.0; nb]), [nb, nb]);
        let is_output = loader.shape(&loader.key(&target, "ether_u_out")).is_some();
        let placed = if is_output {
            let units = units(loader, &target, "ether_u_out", nb, target.o)?;
            let outputs = vec![Map::Span {
                basis: basis(loader, units),
                kernel: mirror(),
            }];
            let (inputs, scale) = (Vec::new(), 1.0);
            Placed::linear(
                target.site,
                vec![Delta::Mapped {
                    inputs,
                    outputs,
                    scale,
                }],
            )
        } else {
            let units = units(loader, &target, "ether_u", nb, target.i)?;
            if rows {
                let delta =
                    by_rows(loader, &target, &[(units, -2.0)]) - loader.base_weight(&target);
                Placed::linear(target.site, vec![Delta::Dense { delta, scale: 1.0 }])
            } else {
                let (basis, mirror) = (basis(loader, units), mirror());
                Placed::new(target.site, move |c| {
                    vec![Effect::Input(Map::Span {
                        basis: basis.clone(),
                        kernel: mirror.clone() * c,
                    })]
                })
            }
        };
        Ok(placed.cannot(Law::Geodesic, "one mirror is no rotation"))
    };
    let placed = loader
        .targets_of_any(&["ether_u", "ether_u_out"])?
        .into_iter()
        .map(place)
        .collect::<Result<_>>()?;
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}

/// Whether blocks on the input are those of the authors' code.
pub(super) fn is_cut_by_rows(config: &Config) -> Result<bool> {
    match config.get("cut").map(Value::as_str) {
        None => Ok(false),
        Some(Some("rows")) => Ok(true),
        Some(_) => Err(config.bad("cut", "rows, or left out")),
    }
}

/// W as the authors' code turns it at the input: its rows in nb parts, all pieces `w` of a row of part k,
/// each as wide as a block, become `w + s·(w u_k) u_kᵀ` for the units u and numbers s of `terms`.
pub(super) fn by_rows(
    loader: &Loader<'_>,
    target: &Target,
    terms: &[(Tensor<2>, f32)],
) -> Tensor<2> {
    let weight = loader.base_weight(target);
    let turned = terms.iter().map(|(units, share)| {
        let [nb, b] = units.dims();
        let pieces = weight.clone().reshape([nb, target.o, b]);
        let along = pieces.matmul(units.clone().reshape([nb, b, 1])) * *share;
        along
            .matmul(units.clone().reshape([nb, 1, b]))
            .reshape([target.o, target.i])
    });
    turned.fold(weight.clone(), |sum, change| sum + change)
}

/// Takes vectors `[nb, width/nb]`, each stretched to length 1.
pub(super) fn units(
    loader: &Loader<'_>,
    target: &Target,
    name: &str,
    nb: usize,
    width: usize,
) -> Result<Tensor<2>> {
    if !width.is_multiple_of(nb) {
        let expected = format!("a divisor of {width}, a width of {}", target.path);
        return Err(loader.config.bad("nb", &expected));
    }
    let (key, b) = (loader.key(target, name), width / nb);
    let mut rows = loader.host(&key, [nb, b])?;
    for row in rows.chunks_exact_mut(b) {
        let squares = row.iter().map(|x| f64::from(*x).powi(2));
        let length = squares.sum::<f64>().sqrt();
        if length == 0.0 || !length.is_finite() {
            let expected = "vectors of some length".into();
            return Err(loader.bad_value(&key, format!("one of length {length}"), expected));
        }
        for x in row {
            *x = (f64::from(*x) / length) as f32;
        }
    }
    Ok(match loader.leaf(&key) {
        Some(leaf) => {
            let rows: Tensor<2> = leaf.reshape([nb, b]);
            rows.clone() / rows.square().sum_dim(1).sqrt()
        }
        None => loader.upload(rows, [nb, b]),
    })
}

/// Units `[nb, width/nb]` as the columns of a matrix `[width, nb]` in which each stands at its place.
pub(super) fn basis(loader: &Loader<'_>, units: Tensor<2>) -> Tensor<2> {
    let [nb, b] = units.dims();
    let width = nb * b;
    let is_there = (0..width * nb).map(|at| f32::from(u8::from(at / nb / b == at % nb)));
    let is_there = loader.upload(is_there.collect(), [width, nb]);
    is_there * units.reshape([width, 1])
}

pub(super) fn diagonal(values: &[f32]) -> Vec<f32> {
    let n = values.len();
    let mut matrix = vec![0.0; n * n];
    for (at, value) in values.iter().enumerate() {
        matrix[at * n + at] = *value;
    }
    matrix
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, length, near};

    /// (5, 0) has 3 along u/‖u‖ = (0.6, 0.8): twice as much is taken off, half of that at c = ½.
    #[test]
    fn what_lies_along_u_is_mirrored() {
        let u = ("ether_u", [[3.0, 4.0]].into());
        let adapter = Pencil::layer(&METHOD, json!({ "nb": 1 }), IDENTITY, &[u]);
        near(adapter.y(1.0, [5.0, 0.0]), [1.4, -4.8]);
        near(adapter.y(0.5, [5.0, 0.0]), [3.2, -2.4]);
        near(adapter.y(-1.0, [5.0, 0.0]), [8.6, 4.8]);
        near([length(adapter.y(1.0, [5.0, 7.0]))], [length([5.0, 7.0])]);
    }

    /// The same mirror after W, which exchanges the two numbers.
    #[test]
    fn an_output_is_mirrored_likewise() {
        let u = ("ether_u_out", [[3.0, 4.0]].into());
        let exchange = [[0.0, 1.0], [1.0, 0.0]];
        let adapter = Pencil::layer(&METHOD, json!({ "nb": 1 }), exchange, &[u]);
        near(adapter.y(1.0, [0.0, 5.0]), [1.4, -4.8]);
        near(adapter.y(0.5, [0.0, 5.0]), [3.2, -2.4]);
    }

    /// Blocks of one number: on the input the signs of both columns change, and cut by rows those of both
    /// rows, which is the same.
    #[test]
    fn a_block_of_one_number_changes_its_sign() {
        for config in [json!({ "nb": 2 }), json!({ "nb": 2, "cut": "rows" })] {
            let u = ("ether_u", [[3.0], [4.0]].into());
            let adapter = Pencil::layer(&METHOD, config, [[1.0, 2.0], [3.0, 4.0]], &[u]);
            near(adapter.y(1.0, [1.0, 1.0]), [-3.0, -7.0]);
        }
    }
}
