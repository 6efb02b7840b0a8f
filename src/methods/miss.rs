//! MiSS: matrix shard sharing, formerly Bone. Kang and Yin 2024.
//! <https://arxiv.org/abs/2409.15371>
//!
//! # Formula
//! ```text
//! y = W x + c·Δ x
//! standard:  Δ[n, j] = D[j mod r, n]
//! "mini":    the same with D = [M M …], repeated to the layer's o columns
//! "bat":     Δ tile (m, n) = W tile (m, n)·D_m + D_m, on r × r tiles
//! ```
//! # Shapes
//! ```text
//! <module>.miss_block   D [r, o];  "mini": M [r, mini_r];  "bat": D_m [o/r, r, r]
//! ```
//! In older files the key is bone_block and the method BONE.
//! # Coefficient
//! Linear: c multiplies Δ. init_weights names the form.
//! # Hypothesis
//! A layer's inputs are alike enough to share one small change. So the change of a whole weight is
//! the same piece again and again.
//! # Intuition
//! The input is folded: numbers that are r places apart are added up, and one small matrix reads
//! the r sums. "bat" lets the layer's own weights say how each tile changes.
//! # Limits
//! All groups of inputs are read alike. Two inputs that are r places apart cannot be told from each
//! other, but with "bat", where the base's weights tell them apart.
//! # Cost
//! "bat" needs the base's weights, as the device has them, and keeps one whole matrix per module.

use burn::tensor::Tensor;

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "miss",
    peft_type: "MISS",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: KEYS,
    reads: &["r", "init_weights", "mini_r"],
    inert: &["miss_dropout"],
    doc: room_doc!("miss.rs"),
    load,
    trains: Trains::From { start, rate: 1e-3 },
    extras: None,
    folds: Folds::Into(&[(KEYS[0], Fold::Times), (KEYS[1], Fold::Times)]),
};

const KEYS: &[&str] = &["miss_block", "bone_block"];

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("r", r);
    start.set("init_weights", true);
    for target in start.targets(USUAL)? {
        start.learn(&target, KEYS[0], [r, target.o], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let r = config.count("r")?;
    let form = config.get("init_weights").and_then(|form| form.as_str());
    Loaded::linear(loader, KEYS, |target| {
        let (i, o) = (target.i, target.o);
        let is_old = loader.shape(&loader.key(target, "bone_block")).is_some();
        let block = KEYS[usize::from(is_old)];
        if form == Some("bat") {
            config.check_divides("r", r, target)?;
            let d: Tensor<3> = loader.tensor(target, block, [o / r, r, r])?;
            let d = d.reshape([o / r, 1, r, r]);
            // [o, i] as tiles [o/r, i/r, r, r]
            let tiles = loader.base_weight(target).reshape([o / r, r, i / r, r]);
            let tiles = tiles.swap_dims(1, 2);
            let delta = tiles.matmul(d.clone().repeat_dim(1, i / r)) + d;
            let delta = delta.swap_dims(1, 2).reshape([o, i]);
            return Ok(vec![Delta::Dense { delta, scale: 1.0 }]);
        }
        let d: Tensor<2> = match form {
            Some("mini") => {
                let mini = config.count("mini_r")?;
                if !o.is_multiple_of(mini) {
                    let expected = format!("a divisor of {o}, the output of {}", target.path);
                    return Err(config.bad("mini_r", &expected));
                }
                let d: Tensor<2> = loader.tensor(target, block, [r, mini])?;
                d.repeat_dim(1, o / mini)
            }
            _ => loader.tensor(target, block, [r, o])?,
        };
        let fold = (0..r * i).map(|at| f32::from(u8::from(at % i % r == at / i)));
        let fold = loader.upload(fold.collect(), [r, i]);
        Ok(vec![Delta::product(fold, d.transpose(), 1.0)])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{Pencil, near};

    /// Inputs two places apart are added up: (1 + 3, 2 + 4), times 1 and times 10.
    #[test]
    fn the_input_is_folded() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "r": 2 }),
            [[0.0; 4]; 2],
            &[("miss_block", [[1.0, 0.0], [0.0, 10.0]].into())],
        );
        near(adapter.y(1.0, [1.0, 2.0, 3.0, 4.0]), [4.0, 60.0]);
        near(adapter.y(-1.0, [1.0, 2.0, 3.0, 4.0]), [-4.0, -60.0]);
    }

    /// W D + D = 2·D + D for W = 2·I, and D sends the second number to the first place.
    #[test]
    fn bat_asks_the_weight_itself() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "r": 2, "init_weights": "bat" }),
            [[2.0, 0.0], [0.0, 2.0]],
            &[("miss_block", [[[0.0, 1.0], [0.0, 0.0]]].into())],
        );
        near(adapter.y(1.0, [0.0, 1.0]), [3.0, 2.0]);
        near(adapter.y(-1.0, [0.0, 1.0]), [-3.0, 2.0]);
    }
}
