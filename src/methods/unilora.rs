//! Uni-LoRA: one vector is all you need. Li et al. 2025.
//! <https://arxiv.org/abs/2506.00799>
//!
//! # Formula
//! ```text
//! every number of every A and B is θ_k/√n_k, where n_k of all these numbers share θ_k
//! y = W x + c·B A x
//! ```
//! # Shapes
//! ```text
//! base_model.unilora_theta_d    θ [theta_d_length], shared by all modules
//! with save_indices, for A [r, i] and B [o, r]:
//! <module>.unilora_indices_A    which θ stands where, whole numbers;  unilora_indices_B
//! <module>.unilora_scales_A     1/√n there;  unilora_scales_B
//! ```
//! # Coefficient
//! Linear: c multiplies the products B A.
//! # Invariant
//! The squares of all numbers in all A and B add up to ‖θ‖².
//! # Hypothesis
//! All layers learn the same thing: a task is one point in a space of a few hundred numbers, and a
//! random way to spread it over the network loses nothing.
//! # Intuition
//! Take a LoRA for each layer and let a fixed lottery say which of its numbers are equal. What is
//! trained is one short list.
//! # Limits
//! Numbers all over the network are tied together by lot. A change in one place alone is out of
//! reach.
//! # Differs from PEFT
//! Files without the places (save_indices = false, the usual case) are completed from the seed
//! proj_seed, with the numbers that numpy's generator draws, for the modules that target_modules
//! chooses; these must be the same as in training.

use std::ops::Range;

use burn::tensor::Tensor;

use super::numpy_random::NumpyRandom;
use super::starts::USUAL;
use crate::checkpoint::{
    Family, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law, Placed};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "unilora",
    peft_type: "UNILORA",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &[
        "unilora_indices_A",
        "unilora_indices_B",
        "unilora_scales_A",
        "unilora_scales_B",
        THETA,
    ],
    reads: &["r", "theta_d_length", "proj_seed", "save_indices"],
    inert: &["init_weights", "init_theta_d_bound", "unilora_dropout"],
    doc: room_doc!("unilora.rs"),
    load,
    trains: Trains::From { start, rate: 1e-2 },
    extras: None,
    folds: Folds::Not("A and B both come out of one vector, where c would count twice"),
};

const THETA: &str = "base_model.unilora_theta_d";

/// Every number of θ stands at random places of all factors.
fn start(start: &mut Start<'_>) -> Result<()> {
    let (r, length) = (start.rank, 256 * start.rank);
    start.set("r", r);
    start.set("theta_d_length", length);
    start.set("proj_seed", 42);
    start.set("save_indices", true);
    let targets = start.targets(USUAL)?;
    let mut often = vec![0_usize; length];
    let mut factors = Vec::new();
    for target in &targets {
        for (name, shape) in [("A", [r, target.i]), ("B", [target.o, r])] {
            let place = |_| (start.uniform() * length as f64) as usize;
            let places: Vec<usize> = (0..shape[0] * shape[1]).map(place).collect();
            for place in &places {
                often[*place] += 1;
            }
            let key = move |kind: &str| format!("{}.unilora_{kind}_{name}", target.key);
            factors.push((key, shape, places));
        }
    }
    start.learn_whole(THETA, [length], Init::Uniform(0.02));
    for (key, shape, places) in factors {
        let scales = places
            .iter()
            .map(|place| 1.0 / (often[*place] as f32).sqrt());
        start.keep(&key("scales"), shape, Init::Given(scales.collect()));
        let places = places.into_iter().map(|place| place as i64);
        start.keep_indices(&key("indices"), shape, places.collect());
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let (r, length) = (config.count("r")?, config.count("theta_d_length")?);
    let theta = loader.host(THETA, [length])?;
    if config.flag("save_indices") {
        let all: Tensor<1> = loader.on_device(THETA, theta, [length]);
        return Loaded::linear(loader, &["unilora_indices_A"], |target| {
            let factor = |name: &str, shape: [usize; 2]| {
                let key = |kind: &str| loader.key(target, &format!("unilora_{kind}_{name}"));
                let places = loader.indices(&key("indices"), shape, length)?;
                let scales = loader.host(&key("scales"), shape)?;
                let places = places.into_iter().map(|at| at as i32).collect();
                let numbers = all.clone().select(0, loader.upload_indices(places));
                let scales: Tensor<2> = loader.upload(scales, shape);
                Ok(numbers.reshape(shape) * scales)
            };
            let (a, b) = (factor("A", [r, target.i])?, factor("B", [target.o, r])?);
            Ok(vec![Delta::product(a, b, 1.0)])
        });
    }
    let targets = loader.chosen()?;
    // Nothing in the file says how high the factors are, so that no sense of theirs is lost.
    if let Some(narrow) = targets.iter().find(|target| r > target.i.min(target.o)) {
        let most = narrow.i.min(narrow.o);
        return Err(config.bad("r", &format!("at most {most}, the rank of {}", narrow.path)));
    }
    let size = |target: &Target| r * (target.i + target.o);
    let count = targets.iter().map(size).sum();
    let numbers = spread(&theta, count, config.seed("proj_seed")?);
    let mut start = 0;
    let mut taken = |size: usize| -> Range<usize> {
        start += size;
        start - size..start
    };
    let place = |target: &Target| {
        let (a, b) = (taken(r * target.i), taken(target.o * r));
        let a = loader.upload(numbers[a].to_vec(), [r, target.i]);
        let b = loader.upload(numbers[b].to_vec(), [target.o, r]);
        Placed::linear(target.site, vec![Delta::product(a, b, 1.0)])
    };
    Ok(Loaded {
        law: Law::Linear,
        placed: targets.iter().map(place).collect(),
    })
}

/// θ over `count` places, each of its numbers as often as the others or once more, divided by the
/// root of how often.
fn spread(theta: &[f32], count: usize, seed: u64) -> Vec<f32> {
    let (all, some) = (count / theta.len(), count % theta.len());
    let mut random = NumpyRandom::new(seed);
    let each = (0..theta.len()).flat_map(|at| std::iter::repeat_n(at, all));
    let mut places: Vec<usize> = each.collect();
    let mut often = vec![all; theta.len()];
    if some > 0 {
        for at in random.choice(theta.len(), some) {
            often[at] += 1;
            places.push(at);
        }
    }
    random.shuffle(&mut places);
    let share = |at: usize| theta[at] / (often[at] as f32).sqrt();
    places.into_iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::spread;

    /// Nine places for two numbers: five and four of them, so 10/√5 and 6/√4, or the other way
    /// round. Their squares add up to 100 + 36 whichever it is.
    #[test]
    fn the_length_stays() {
        for seed in 0..4 {
            let numbers = spread(&[10.0, 6.0], 9, seed);
            let first = numbers.iter().filter(|x| **x > 4.0).count();
            assert!(first == 5 || first == 4, "{numbers:?}");
            let squares: f32 = numbers.iter().map(|x| x * x).sum();
            assert!((squares - 136.0).abs() < 1e-4, "{squares}");
        }
    }
}
