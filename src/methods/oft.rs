//! OFT: orthogonal fine-tuning. Qiu et al. 2023; without merging: Qiu et al. 2025.
//! <https://arxiv.org/abs/2306.07280>
//!
//! # Formula
//! ```text
//! y = W x',   x' = x R block by block,   Q skew-symmetric
//! Cayley:          R = (I − Q)(I + Q)⁻¹
//! Cayley-Neumann:  R = I + 2Q + 2Q² + … + 2Qⁿ⁻² + Qⁿ⁻¹, about (I + Q)(I − Q)⁻¹
//! ```
//! # Shapes
//! ```text
//! <module>.oft_R.weight   [i/b, b(b−1)/2], the numbers above the diagonal of each block's Q;
//!                         [1, b(b−1)/2] with block_share
//! ```
//! # Coefficient
//! Geodesic: c multiplies Q, so that R(0) = I and R(−c) undoes R(c); exactly with Cayley, up to the error of the
//! series with Neumann, which is limited to where the series converges. Linear on request: x + c·(x R − x).
//! # Invariant
//! ‖x R‖ = ‖x‖, nearly so with Neumann
//! # Hypothesis
//! What a layer knows is in the angles between its neurons; a behaviour is one turn that all share, so that they stay.
//! # Intuition
//! The input is turned in small groups of numbers before the layer reads it. Angles between inputs
//! stay what they were, so that what the layer has learned is kept and only its direction changes.
//! # Limits
//! All turns keep lengths and angles, blocks never mix, and a layer cannot become stronger or weaker.
//! # Differs from PEFT
//! The two formulas turn in opposite directions, as in PEFT; a file means the one of its config.

use std::rc::Rc;

use burn::tensor::Tensor;
use serde_json::Value;

use super::starts::{USUAL, common_divisor, skew};
use crate::checkpoint::{
    Config, Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Effect, Law, Lookup, Map, Placed, Site};
use crate::linalg::matrix::{self, Matrix};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "oft",
    peft_type: "OFT",
    matches: |_| true,
    family: Family::Rotate,
    law: Law::Geodesic,
    keys: &[LINEAR, EMBEDDING],
    reads: &[
        "r",
        "oft_block_size",
        "coft",
        "eps",
        "block_share",
        "use_cayley_neumann",
        "num_cayley_neumann_terms",
    ],
    inert: &["init_weights", "module_dropout"],
    doc: room_doc!("oft.rs"),
    load,
    trains: Trains::From { start, rate: 5e-3 },
    extras: None,
    folds: Folds::By(fold),
};

const LINEAR: &str = "oft_R.weight";
const EMBEDDING: &str = "oft_embedding_R.weight";

/// Where the series converges at all, 64 terms are closer to its sum than f32 can resolve.
const MOST_TERMS: usize = 64;

const DIVERGES: &str = "beyond it the Neumann series of this checkpoint no longer converges";

fn start(start: &mut Start<'_>) -> Result<()> {
    let targets = start.targets(USUAL)?;
    let b = common_divisor(targets.iter().map(|target| target.i), 32);
    start.set("r", 0);
    start.set("oft_block_size", b);
    start.set("use_cayley_neumann", true);
    start.set("num_cayley_neumann_terms", 5);
    for target in targets {
        start.learn(
            &target,
            LINEAR,
            [target.i / b, b * (b - 1) / 2],
            Init::Zeros,
        );
    }
    Ok(())
}

fn fold(loader: &Loader<'_>, _: f32) -> Folds {
    if loader.config.flag("coft") {
        return Folds::Not("eps cuts its generators, after c would have multiplied them");
    }
    Folds::Into(&[(LINEAR, Fold::Times), (EMBEDDING, Fold::Times)])
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let terms = terms(config)?;
    loader.take_apart(&[])?;
    let place = |target: Target, name: &str| {
        let generators = generators(loader, &target, name)?;
        let steepest = generators.iter().map(steepness).fold(0.0, f64::max);
        let (count, b) = (generators.len(), generators[0].len());
        let numbers = |blocks: &[Matrix]| blocks.iter().flat_map(matrix::flat).collect();
        let device = loader.model.device();
        let shape = [count, b, b];
        let unit = loader.upload(numbers(&vec![matrix::identity(b); count]), shape);
        let q = match loader.leaf(&loader.key(&target, name)) {
            Some(above) => skew(loader, above, count, b),
            None => loader.upload(numbers(&generators), shape),
        };
        let identity = unit.clone();
        let rotation = move |c: f32| match terms {
            Some(terms) => neumann(&(q.clone() * c), &unit, terms),
            None => {
                let turned = |q: &Matrix| matrix::cayley(&matrix::scaled(q, c.into()));
                let turned: Vec<Matrix> = generators.iter().map(turned).collect();
                let data = burn::tensor::TensorData::new(numbers(&turned), shape);
                Tensor::from_data(data, &device)
            }
        };
        let limit = terms.map_or(f32::INFINITY, |_| 1.0 / steepest as f32);
        let rotation = Rc::new(rotation);
        let trained = rotation.clone();
        let linear = move |c| (trained(1.0) - identity.clone()) * c + identity.clone();
        Ok(match target.site {
            Site::Embedding => {
                let table = loader.base_weight(&target);
                let same = table.clone();
                Placed::new(target.site, move |c| turned_rows(&table, rotation(c)))
                    .within(limit, DIVERGES)
                    .or(Law::Linear, move |c| turned_rows(&same, linear(c)))
            }
            site => Placed::new(site, move |c| turned(rotation(c)))
                .within(limit, DIVERGES)
                .or(Law::Linear, move |c| turned(linear(c))),
        })
    };
    let mut placed = Vec::new();
    if loader.any(EMBEDDING) {
        for target in loader.tables(EMBEDDING)? {
            placed.push(place(target, EMBEDDING)?);
        }
    }
    if placed.is_empty() || loader.any(LINEAR) {
        for target in loader.targets(LINEAR)? {
            placed.push(place(target, LINEAR)?);
        }
    }
    Ok(Loaded {
        law: Law::Geodesic,
        placed,
    })
}

fn turned(blocks: Tensor<3>) -> Vec<Effect> {
    let order = None;
    vec![Effect::Input(Map::Blocks { blocks, order })]
}

/// Of an embedding the rows are turned as they come out of it.
fn turned_rows(table: &Tensor<2>, blocks: Tensor<3>) -> Lookup {
    let ([v, d], [count, b, _]) = (table.dims(), blocks.dims());
    let blocks = blocks.repeat_dim(0, d / b / count);
    let parts = table.clone().reshape([v, d / b, b]).swap_dims(0, 1);
    let turned = parts.matmul(blocks).swap_dims(0, 1).reshape([v, d]);
    Lookup::table(turned - table.clone(), None)
}

/// How many terms the Neumann series has; none stands for Cayley's formula.
fn terms(config: &Config) -> Result<Option<usize>> {
    if config.get("oft_block_size").is_none() {
        let expected = "a number; files from before PEFT 0.14 have another layout, train it again";
        return Err(config.bad("oft_block_size", expected));
    }
    match config.get("use_cayley_neumann") {
        Some(Value::Bool(false)) => return Ok(None),
        Some(Value::Bool(true)) => {}
        _ => return Err(config.bad("use_cayley_neumann", "true or false")),
    }
    let version = config.text("peft_version").unwrap_or_default();
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let version: [u32; 2] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
    if version < [0, 18] {
        let expected = "0.18 or newer with use_cayley_neumann, whose series was another one \
                        before; train it again";
        return Err(config.bad("peft_version", expected));
    }
    match config.count("num_cayley_neumann_terms")? {
        terms if terms <= MOST_TERMS => Ok(Some(terms)),
        _ => Err(config.bad("num_cayley_neumann_terms", "at most 64")),
    }
}

/// Q of each block.
fn generators(loader: &Loader<'_>, target: &Target, name: &str) -> Result<Vec<Matrix>> {
    let (config, key) = (loader.config, loader.key(target, name));
    let above = loader.extent(target, name, 1)?;
    // b(b−1)/2 numbers stand above the diagonal of a block b wide.
    let b = (1.0 + (1.0 + 8.0 * above as f64).sqrt()) as usize / 2;
    if b * (b - 1) / 2 != above || !target.i.is_multiple_of(b) {
        let expected = format!("[blocks, b(b−1)/2] with b a divisor of {}", target.i);
        return Err(loader.wrong_shape(&key, expected));
    }
    let count = if config.flag("block_share") {
        1
    } else {
        target.i / b
    };
    let above = loader.host(&key, [count, above])?;
    let of_block = above.len() / count;
    let block = |at: usize| matrix::skew(&above[at * of_block..][..of_block], b);
    let mut blocks: Vec<Matrix> = (0..count).map(block).collect();
    if config.flag("coft") {
        let longest = f64::from(config.number("eps")?) / (count as f64).sqrt();
        for q in &mut blocks {
            let length = length(q);
            if length > longest {
                *q = matrix::scaled(q, longest / length);
            }
        }
    }
    Ok(blocks)
}

fn length(q: &Matrix) -> f64 {
    q.iter()
        .map(|row| matrix::dot(row, row))
        .sum::<f64>()
        .sqrt()
}

/// The largest stretch ‖Q x‖/‖x‖, or a little above: the singular values of a skew matrix come in
/// pairs, and their eighth powers add up to ‖(QᵀQ)²‖².
fn steepness(q: &Matrix) -> f64 {
    let squared = matrix::matmul(&matrix::transposed(q), q);
    (length(&matrix::matmul(&squared, &squared)).powi(2) / 2.0).powf(0.125)
}

/// `I + 2Q + 2Q² + … + Qⁿ⁻¹`. As PEFT sums it: one term is I, two have no last power, and three
/// are four.
fn neumann(q: &Tensor<3>, unit: &Tensor<3>, terms: usize) -> Tensor<3> {
    let mut factors = vec![1.0, 2.0, 2.0];
    factors.truncate(terms);
    if terms > 2 {
        factors.resize(terms.max(4) - 1, 2.0);
        factors.push(1.0);
    }
    let mut factors = factors.into_iter().rev();
    let first = unit.clone() * factors.next().unwrap_or(1.0);
    factors.fold(first, |sum, factor| {
        sum.matmul(q.clone()) + unit.clone() * factor
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::methods::pencil::{IDENTITY, Pencil, length, near};

    fn adapter(mut config: Value, q: f32) -> Pencil {
        config["oft_block_size"] = 2.into();
        Pencil::layer(&METHOD, config, IDENTITY, &[(LINEAR, [[q]].into())])
    }

    /// Q = [0 1; −1 0]: (I − Q)(I + Q)⁻¹ = [0 −1; 1 0], and x R is a quarter turn.
    #[test]
    fn a_turn_keeps_lengths_and_minus_c_undoes_it() {
        let turned = adapter(json!({ "use_cayley_neumann": false }), 1.0);
        near(turned.y(1.0, [3.0, 4.0]), [4.0, -3.0]);
        near(turned.y(-1.0, [3.0, 4.0]), [-4.0, 3.0]);
        near([length(turned.y(0.3, [3.0, 4.0]))], [5.0]);
        near(turned.y(-0.3, turned.y(0.3, [3.0, 4.0])), [3.0, 4.0]);
    }

    /// At q = 0.1 the series of 5 terms is 1 − 2q² + q⁴ and 2q − 2q³: the other way round than Cayley.
    #[test]
    fn the_series_is_almost_a_turn() {
        let series = adapter(json!({ "peft_version": "0.18.0" }), 0.1);
        near(series.y(1.0, [1.0, 0.0]), [0.9801, 0.198]);
    }
}
