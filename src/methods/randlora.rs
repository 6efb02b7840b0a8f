//! RandLoRA: full-rank updates from scaled random bases. Albert et al. 2025.
//! <https://arxiv.org/abs/2502.00987>
//!
//! # Formula
//! ```text
//! n = min(i, o), m = max(i, o), N = ⌈n/r⌉ bases
//! R = rows λ[p, q]·A[p]∘γ[q], counted (p, q)   [r·N, n]
//! L = columns B[:, q, p], counted (q, p)       [m, N·r]
//! y = W x + c·α/r·Δ x,   Δ = L R, transposed where the output is the narrower side
//! ```
//! # Shapes
//! ```text
//! <module>.randlora_lambda   λ [r, N]
//! <module>.randlora_gamma    γ [N, n]
//! base_model.randlora_A      A [r, 1, widest n], the first n columns are used; shared
//! base_model.randlora_B      B [widest m, most N, r], its first rows and bases are used; shared
//! ```
//! # Coefficient
//! Linear: c multiplies Δ.
//! # Hypothesis
//! A behaviour needs all directions, not a few. It is the rank that low-rank changes lack and not the
//! count of numbers, so well-weighted sums of random directions will do.
//! # Intuition
//! Many random low-rank matrices that nobody trained are added up; each layer learns how much of
//! each. Together they reach full rank, with as few numbers as a LoRA.
//! # Limits
//! Any rank is reached, but its numbers are few: of all changes of full rank it has those that its
//! random bases happen to span.
//! # Cost
//! One whole matrix per module.
//! # Differs from PEFT
//! PEFT multiplies rows counted (p, q) with columns counted (q, p), and so does this. The copies of
//! A and B that it writes into every layer are not read. Files without A and B
//! (save_projection = false) are completed from the seed as torch draws on a CPU with bfloat16.

use burn::tensor::Tensor;

use super::starts::USUAL;
use super::torch_random::TorchRandom;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "randlora",
    peft_type: "RANDLORA",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &[
        "randlora_lambda",
        "randlora_gamma",
        A,
        B,
        "randlora_A",
        "randlora_B",
    ],
    reads: &[
        "r",
        "randlora_alpha",
        "save_projection",
        "projection_prng_key",
        "sparse",
        "very_sparse",
    ],
    inert: &["init_weights", "randlora_dropout"],
    doc: room_doc!("randlora.rs"),
    load,
    trains: Trains::From { start, rate: 2e-2 },
    extras: None,
    folds: Folds::Into(&[("randlora_lambda", Fold::Times)]),
};

const A: &str = "base_model.randlora_A";
const B: &str = "base_model.randlora_B";

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("r", r);
    start.set("randlora_alpha", 20 * r);
    start.set("projection_prng_key", 0);
    start.set("save_projection", true);
    let targets = start.targets(USUAL)?;
    let (a, b, [n, m, count]) = drawn(0, None, &targets, r);
    start.keep(A, [r, 1, n], Init::Given(a));
    start.keep(B, [m, count, r], Init::Given(b));
    for target in targets {
        let (n, m) = (target.i.min(target.o), target.i.max(target.o));
        let count = n.div_ceil(r);
        start.learn(&target, "randlora_lambda", [r, count], Init::Zeros);
        start.learn(
            &target,
            "randlora_gamma",
            [count, n],
            Init::Filled(1.0 / m as f32),
        );
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let r = loader.config.count("r")?;
    let scale = loader.config.number("randlora_alpha")? / r as f32;
    let (bases_a, bases_b) = bases(loader, &loader.targets("randlora_lambda")?, r)?;
    Loaded::linear(loader, &["randlora_lambda"], |target| {
        let (n, m) = (target.i.min(target.o), target.i.max(target.o));
        let count = n.div_ceil(r);
        for copy in ["randlora_A", "randlora_B"] {
            loader.skip(&loader.key(target, copy));
        }
        let lambda = loader.tensor(target, "randlora_lambda", [r, count])?;
        let gamma = loader.tensor(target, "randlora_gamma", [count, n])?;
        let a = bases_a.clone().slice([0..r, 0..1, 0..n]);
        let right: Tensor<3> = a * gamma.reshape([1, count, n]) * lambda.reshape([r, count, 1]);
        let left = bases_b.clone().slice([0..m, 0..count, 0..r]);
        let delta = left
            .reshape([m, count * r])
            .matmul(right.reshape([r * count, n]));
        let delta = if n == target.i {
            delta
        } else {
            delta.transpose()
        };
        Ok(vec![Delta::Dense { delta, scale }])
    })
}

/// A `[r, 1, widest n]` and B `[widest m, most bases, r]`, from the file or from the seed.
fn bases(loader: &Loader<'_>, targets: &[Target], r: usize) -> Result<(Tensor<3>, Tensor<3>)> {
    let config = loader.config;
    let share = if config.flag("very_sparse") {
        Some(Share::Root)
    } else {
        config.flag("sparse").then_some(Share::Third)
    };
    if loader.shape(A).is_some() {
        let [n, m, count] = widest(targets, r);
        return Ok((
            loader.shared(A, [r, 1, n])?,
            loader.shared(B, [m, count, r])?,
        ));
    }
    for target in targets {
        loader.check_extent(target, "randlora_lambda", 0, r)?;
    }
    let (a, b, [n, m, count]) = drawn(config.seed("projection_prng_key")?, share, targets, r);
    Ok((loader.upload(a, [r, 1, n]), loader.upload(b, [m, count, r])))
}

/// Which numbers of sparse bases are not 0: one in three, or one in √n.
#[derive(Clone, Copy)]
enum Share {
    Third,
    Root,
}

/// The widest n and m of the layers, and how many bases n needs.
fn widest(targets: &[Target], r: usize) -> [usize; 3] {
    let widest = |width: fn(&Target) -> usize| targets.iter().map(width).max().unwrap_or(0);
    let (i, o) = (widest(|target| target.i), widest(|target| target.o));
    let (n, m) = (i.min(o), i.max(o));
    [n, m, n.div_ceil(r)]
}

/// A `[r, 1, n]` and B `[m, count, r]` as PEFT draws them.
fn drawn(
    seed: u64,
    share: Option<Share>,
    targets: &[Target],
    r: usize,
) -> (Vec<f32>, Vec<f32>, [usize; 3]) {
    let sizes @ [n, m, count] = widest(targets, r);
    let mut random = TorchRandom::new(seed);
    let share = share.map(|share| match share {
        Share::Third => 1.0 / 3.0,
        Share::Root => 1.0 / (n as f64).sqrt(),
    });
    let (a, b) = match share {
        Some(share) => (
            unit_deviation(random.signs(r * n, share), |x| x),
            unit_deviation(random.signs(m * count * r, share), |x| x),
        ),
        None => {
            let a = random.bf16_uniform(r * n, n);
            // B is drawn basis by basis, [m, r] each.
            let slabs: Vec<Vec<f32>> = (0..count).map(|_| random.bf16_uniform(m * r, r)).collect();
            let row = |at: usize| {
                slabs
                    .iter()
                    .flat_map(move |slab| &slab[at * r..(at + 1) * r])
            };
            let b = (0..m).flat_map(row).copied().collect();
            (unit_deviation(a, bf16), unit_deviation(b, bf16))
        }
    };
    (a, b, sizes)
}

/// To bfloat16 and back.
fn bf16(x: f32) -> f32 {
    half::bf16::from_f32(x).to_f32()
}

/// Numbers divided by their standard deviation, both rounded as the tensor's type does.
fn unit_deviation(values: Vec<f32>, round: fn(f32) -> f32) -> Vec<f32> {
    let count = values.len() as f64;
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
    let deviation = round((squares / (count - 1.0)).sqrt() as f32);
    values.into_iter().map(|x| round(x / deviation)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// Two bases of rank 1: L = [1 1; 0 1] and R = diag(2, 3), the scales of the one row of A. L R is
    /// [2 3; 0 3], of rank 2.
    #[test]
    fn bases_of_rank_one_make_a_change_of_full_rank() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "r": 1, "randlora_alpha": 1 }),
            IDENTITY,
            &[
                ("base_model.randlora_A", [[[1.0, 1.0]]].into()),
                (
                    "base_model.randlora_B",
                    [[[1.0], [1.0]], [[0.0], [1.0]]].into(),
                ),
                ("randlora_lambda", [[2.0, 3.0]].into()),
                ("randlora_gamma", IDENTITY.into()),
            ],
        );
        near(adapter.y(1.0, [1.0, 1.0]), [6.0, 4.0]);
        near(adapter.y(-1.0, [1.0, 1.0]), [-4.0, -2.0]);
        near(adapter.y(1.0, [3.0, -2.0]), [3.0, -8.0]);
    }
}
