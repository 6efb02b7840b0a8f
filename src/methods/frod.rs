//! FRoD: full-rank fine-tuning with rotational degrees. Wan et al. 2025.
//! <https://arxiv.org/abs/2512.23485>
//!
//! # Formula
//! ```text
//! W V⁻ᵀ = U diag(l₀), the columns of U of length one;   S[row_k, column_k] = s_k, else 0
//! y = W x + c·(U (diag(l) + S) Vᵀ − W) x
//! ```
//! # Shapes
//! ```text
//! <module>.frod_lambda_l           l [i]
//! <module>.frod_lambda_s_values    s [n]
//! base_model.frod_V.KIND           V [i, i], shared by the modules of a kind, as self_attn_q_proj
//! base_model.frod_s_indices.KIND   [2, n], rows and columns of S, whole numbers
//! base_model.frod_s_size.KIND      [2], i and i
//! ```
//! # Coefficient
//! Linear: c multiplies the difference between the weight as put together again and W.
//! # Hypothesis
//! Layers of one kind speak one language: they share a basis, and a task needs each to stretch it a
//! little and to mix a few pairs of its directions.
//! # Intuition
//! The inputs of all layers of a kind are written in the same coordinates. Every coordinate gets a
//! new strength, and a few of them are mixed, which turns the layer.
//! # Limits
//! All layers of a kind share their coordinates. A layer that would need others can only stretch
//! and mix these.
//! # Cost
//! One whole matrix per module; loading inverts V once for each kind.
//! # Differs from PEFT
//! Files without V (save_projection = false) are refused: its directions come from a decomposition
//! that leaves their signs open, and S was trained for one choice of them.

use std::collections::HashMap;

use burn::tensor::Tensor;

use crate::checkpoint::{Config, Family, Folds, Loaded, Loader, Method, Target, Trains, room_doc};
use crate::error::Result;
use crate::hooks::{Delta, Law, Placed};
use crate::linalg::matrix;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "frod",
    peft_type: "FROD",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &[
        "frod_lambda_l",
        "frod_lambda_s_values",
        BASES,
        PLACES,
        SIZES,
    ],
    reads: &["save_projection"],
    inert: &[
        "init_weights",
        "frod_dropout",
        "progressbar",
        "runtime_offload_base_weight",
        // How V and the places were made; the file has them.
        "projection_prng_key",
        "regularization_alpha",
        "sparse_rate",
    ],
    doc: room_doc!("frod.rs"),
    load,
    trains: Trains::Not(
        "a method without a basis that all layers of a kind share: FRoD's V has i·i numbers, which makes the file as large as layers, and PEFT computes it from all of them",
    ),
    extras: None,
    folds: Folds::Not(
        "how strong the base is along V, from where c would move l, stands in no file",
    ),
};

const BASES: &str = "base_model.frod_V.";
const PLACES: &str = "base_model.frod_s_indices.";
const SIZES: &str = "base_model.frod_s_size.";

/// What the modules of a kind share.
struct Kind {
    /// Vᵀ
    basis: Tensor<2>,
    /// V⁻ᵀ
    inverse: Tensor<2>,
    /// row·i + column of each number of S
    places: Vec<usize>,
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    if !config.flag("save_projection") {
        let why = "the basis of the layers is not in the file; save it again with true";
        return Err(METHOD.unsupported(config, "save_projection", why));
    }
    let mut kinds: HashMap<String, Kind> = HashMap::new();
    let mut placed = Vec::new();
    for target in loader.targets("frod_lambda_l")? {
        let i = target.i;
        let name = kind_of(config, &target);
        if !kinds.contains_key(&name) {
            kinds.insert(name.clone(), read(loader, &target, &name)?);
        }
        let kind = &kinds[&name];
        let strengths = loader.host(&loader.key(&target, "frod_lambda_l"), [i])?;
        let key = loader.key(&target, "frod_lambda_s_values");
        let mixing = loader.host(&key, [kind.places.len()])?;
        let middle = loader.upload(middle(&strengths, &kind.places, &mixing), [i, i]);
        let w = loader.base_weight(&target);
        let directions = w.clone().matmul(kind.inverse.clone());
        // PEFT's bound, below which a direction is nothing.
        let lengths = directions.clone().square().sum_dim(0).sqrt();
        let directions = directions / lengths.clamp_min(1e-12);
        let delta = directions.matmul(middle).matmul(kind.basis.clone()) - w;
        let deltas = vec![Delta::Dense { delta, scale: 1.0 }];
        placed.push(Placed::linear(target.site, deltas));
    }
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}

/// The last two words of a module's path, with which PEFT names what its kind shares.
fn kind_of(config: &Config, target: &Target) -> String {
    let path = config.own_path(&target.path);
    let mut words: Vec<&str> = path.rsplit('.').take(2).collect();
    words.reverse();
    words.join("_")
}

fn read(loader: &Loader<'_>, target: &Target, kind: &str) -> Result<Kind> {
    let i = target.i;
    let key = format!("{BASES}{kind}");
    let basis = loader.host(&key, [i, i])?;
    let rows = matrix::rows(&basis, i);
    let inverse = matrix::flat(&matrix::solve(rows, matrix::identity(i)));
    if !inverse.iter().all(|x| x.is_finite()) {
        let found = "a matrix without an inverse".into();
        return Err(loader.bad_value(&key, found, "a basis".into()));
    }
    let size = format!("{SIZES}{kind}");
    let sides = loader.indices(&size, [2], i + 1)?;
    if sides != [i, i] {
        return Err(loader.bad_value(&size, format!("{sides:?}"), format!("[{i}, {i}]")));
    }
    let places = format!("{PLACES}{kind}");
    let n = loader
        .shape(&places)
        .and_then(|shape| shape.get(1).copied());
    let places = loader.indices(&places, [2, n.unwrap_or(0)], i)?;
    let (rows, columns) = places.split_at(places.len() / 2);
    let places = rows
        .iter()
        .zip(columns)
        .map(|(row, column)| row * i + column);
    Ok(Kind {
        basis: loader.upload(basis, [i, i]).transpose(),
        inverse: loader.upload(inverse, [i, i]),
        places: places.collect(),
    })
}

/// `diag(l) + S`, row by row.
fn middle(strengths: &[f32], places: &[usize], mixing: &[f32]) -> Vec<f32> {
    let i = strengths.len();
    let mut middle = vec![0.0; i * i];
    for (at, strength) in strengths.iter().enumerate() {
        middle[at * i + at] = *strength;
    }
    for (place, value) in places.iter().zip(mixing) {
        middle[*place] += value;
    }
    middle
}

#[cfg(test)]
mod tests {
    use super::middle;

    /// Strengths 2 and 3, and 0.5 at place 1, row 0 and column 1.
    #[test]
    fn strengths_and_mixing_meet() {
        assert_eq!(middle(&[2.0, 3.0], &[1], &[0.5]), [2.0, 0.5, 0.0, 3.0]);
    }
}
