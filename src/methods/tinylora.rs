//! TinyLoRA: learning in a handful of parameters. Morris et al. 2026.
//! <https://arxiv.org/abs/2602.04118>
//!
//! # Formula
//! ```text
//! y = W x + c·B (Σ_k v_k·P_k) A x
//! A and B hold the r strongest directions of W, each with the root of its strength
//! ```
//! # Shapes
//! ```text
//! <module>.tinylora_A      A [r, i]
//! <module>.tinylora_B      B [o, r]
//! <module>.tinylora_P      P [u, r, r], fixed random numbers; none without save_projection
//! base_model.tinylora_v.G  v [u], shared by the modules of group G
//! ```
//! # Coefficient
//! Linear: c multiplies v, the only numbers that were trained.
//! # Hypothesis
//! The model can do the task already; a dozen numbers that weigh how its own strongest directions mix
//! are enough to make it do so.
//! # Intuition
//! Each layer keeps a few of its own directions and some random ways of mixing them. Only how much
//! of each way is learned, and many layers may share that.
//! # Limits
//! It has a dozen numbers. It can bring out what the model almost does, and cannot teach what it
//! does not know.
//! # Differs from PEFT
//! Files without P (save_projection = false) are completed from the seed projection_seed, with the
//! numbers that torch's CPU generator draws. An adapted embedding is refused.

use std::collections::hash_map::{Entry, HashMap};

use burn::tensor::Tensor;

use super::starts::USUAL;
use super::torch_random::TorchRandom;
use crate::checkpoint::{
    Config, Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law, Placed};
use crate::linalg::svd::truncated;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "tinylora",
    peft_type: "TINYLORA",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &["tinylora_A", "tinylora_B", "tinylora_P", VECTORS],
    reads: &[
        "r",
        "u",
        "weight_tying",
        "save_projection",
        "projection_seed",
    ],
    inert: &["init_weights", "init_v_bound", "tinylora_dropout"],
    doc: room_doc!("tinylora.rs"),
    load,
    trains: Trains::From { start, rate: 5e-2 },
    extras: None,
    folds: Folds::Into(&[(VECTORS, Fold::Times)]),
};

const VECTORS: &str = "base_model.tinylora_v.";

/// The strongest directions of each layer, joined by projections that nobody trained.
fn start(start: &mut Start<'_>) -> Result<()> {
    let (rank, u) = (start.rank, 16);
    start.set("r", rank);
    start.set("u", u);
    start.set("weight_tying", 0.0);
    start.set("save_projection", true);
    start.set("projection_seed", 42);
    let mut targets = start.targets(USUAL)?;
    targets.sort_by_key(Target::torch_order);
    for (group, target) in targets.iter().enumerate() {
        let (i, o) = (target.i, target.o);
        let r = rank.min(i).min(o);
        let w = start.numbers(start.weight(target))?;
        let (a, b) = truncated(&w, [o, i], 0..r);
        let deviation = 1.0 / (r as f64).sqrt();
        let seed = 42 + group as u64;
        let projections = TorchRandom::new(seed).normal(u * r * r, deviation);
        let key = |name: &str| format!("{}.{name}", target.key);
        start.keep(&key("tinylora_A"), [r, i], Init::Given(a));
        start.keep(&key("tinylora_B"), [o, r], Init::Given(b));
        start.keep(&key("tinylora_P"), [u, r, r], Init::Given(projections));
        start.learn_whole(&format!("{VECTORS}{group}"), [u], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let (rank, u) = (config.count("r")?, config.count("u")?);
    let saved = config.flag("save_projection");
    let seed = config.seed("projection_seed")?;
    let mut targets = loader.targets("tinylora_A")?;
    targets.sort_by_key(Target::torch_order);
    let groups = groups(config, targets.len())?;
    let mut vectors: HashMap<usize, Tensor<1>> = HashMap::new();
    let mut placed = Vec::with_capacity(targets.len());
    for (at, (target, group)) in targets.iter().zip(groups).enumerate() {
        let r = rank.min(target.i).min(target.o);
        let a = loader.tensor(target, "tinylora_A", [r, target.i])?;
        let b: Tensor<2> = loader.tensor(target, "tinylora_B", [target.o, r])?;
        let v = match vectors.entry(group) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(loader.shared(&format!("{VECTORS}{group}"), [u])?),
        };
        let projections = if saved {
            loader.host(&loader.key(target, "tinylora_P"), [u, r, r])?
        } else {
            let deviation = 1.0 / (r as f64).sqrt();
            TorchRandom::new(seed.wrapping_add(at as u64)).normal(u * r * r, deviation)
        };
        // Σ_k v_k·P_k
        let projections: Tensor<2> = loader.upload(projections, [u, r * r]);
        let mixed = v
            .clone()
            .reshape([1, u])
            .matmul(projections)
            .reshape([r, r]);
        let deltas = vec![Delta::product(a, b.matmul(mixed), 1.0)];
        placed.push(Placed::linear(target.site, deltas));
    }
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}

/// The group of each of `count` modules: weight_tying is the share of vectors that is saved.
fn groups(config: &Config, count: usize) -> Result<Vec<usize>> {
    let tying = match config.get("weight_tying") {
        None => Some(0.0),
        Some(share) => share.as_f64().filter(|share| (0.0..=1.0).contains(share)),
    };
    let tying = tying.ok_or_else(|| config.bad("weight_tying", "a number from 0 to 1"))?;
    let groups = (count as f64 * (1.0 - tying)).round_ties_even().max(1.0) as usize;
    let size = (count / groups).max(1);
    Ok((0..count).map(|at| (at / size).min(groups - 1)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// 2 times the identity and −1 times the exchange.
    #[test]
    fn fixed_matrices_are_mixed() {
        let config = json!({ "r": 2, "u": 2, "save_projection": true, "projection_seed": 0 });
        let tensors = [
            ("tinylora_A", IDENTITY.into()),
            ("tinylora_B", IDENTITY.into()),
            ("tinylora_P", [IDENTITY, [[0.0, 1.0], [1.0, 0.0]]].into()),
            ("base_model.tinylora_v.0", [2.0, -1.0].into()),
        ];
        let mixed = Pencil::layer(&METHOD, config, [[0.0, 0.0], [0.0, 0.0]], &tensors);
        near(mixed.y(1.0, [3.0, 4.0]), [2.0, 5.0]);
        near(mixed.y(-1.0, [3.0, 4.0]), [-2.0, -5.0]);
    }

    /// Of seven modules half of the vectors saved: 3.5 groups, which Python rounds to 4, of one
    /// module each, and the rest in the last.
    #[test]
    fn modules_share_vectors() {
        let of = |tying: &str| {
            let json = format!(r#"{{"peft_type": "TINYLORA", "weight_tying": {tying}}}"#);
            groups(&Config::parse("a", json.as_bytes()).expect("JSON"), 7)
        };
        assert_eq!(of("0.5").expect("groups"), [0, 1, 2, 3, 3, 3, 3]);
        assert_eq!(of("1.0").expect("one group"), [0; 7]);
        assert!(of("1.5").is_err());
    }
}
