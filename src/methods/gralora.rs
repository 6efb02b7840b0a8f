//! GraLoRA: granular low-rank adaptation. Jung et al. 2025.
//! <https://arxiv.org/abs/2505.20355>
//!
//! # Formula
//! ```text
//! inputs and outputs in k parts each, q = r/k
//! Δ part (m, n) = B_m[n·q … n·q+q]ᵀ A_n[…, m·q … m·q+q]ᵀ
//! y = W x + c·s·(Δ + B A) x,   s = α/(r + hybrid_r);   B A with hybrid_r alone
//! ```
//! # Shapes
//! ```text
//! <module>.gralora_A                  A_n [k, i/k, r]
//! <module>.gralora_B                  B_m [k, r, o/k]
//! <module>.gralora_A_general.weight   A [hybrid_r, i]
//! <module>.gralora_B_general.weight   B [o, hybrid_r]
//! ```
//! # Coefficient
//! Linear: c multiplies the finished change.
//! # Hypothesis
//! Different parts of the input need changes of their own: one small set of directions for a whole
//! layer is pulled about by the few inputs that are largest.
//! # Intuition
//! The layer is cut into k × k tiles, and each tile has its own little LoRA. An input that is far
//! too large spoils the tiles that read it and no others.
//! # Limits
//! Each tile has a low rank of its own. What runs through the whole layer has to be put together
//! from all tiles.
//! # Cost
//! It runs as a LoRA of rank k·r; where that would be more than the layer itself, the change is one
//! whole matrix per module.

use burn::tensor::Tensor;

use super::starts::{USUAL, common_divisor};
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "gralora",
    peft_type: "GRALORA",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &["gralora_A", "gralora_B", GENERAL_A, GENERAL_B],
    reads: &["r", "hybrid_r", "gralora_k", "alpha"],
    inert: &["init_weights", "gralora_dropout"],
    doc: room_doc!("gralora.rs"),
    load,
    trains: Trains::From { start, rate: 2e-3 },
    extras: None,
    folds: Folds::Into(&[("gralora_B", Fold::Times), (GENERAL_B, Fold::Times)]),
};

const GENERAL_A: &str = "gralora_A_general.weight";
const GENERAL_B: &str = "gralora_B_general.weight";

fn start(start: &mut Start<'_>) -> Result<()> {
    let targets = start.targets(USUAL)?;
    let widths = targets.iter().flat_map(|target| [target.i, target.o]);
    let k = common_divisor(widths, 2);
    let r = start.rank.next_multiple_of(k);
    start.set("r", r);
    start.set("hybrid_r", 0);
    start.set("gralora_k", k);
    start.set("alpha", 2 * r);
    for target in targets {
        let (i, o) = (target.i / k, target.o / k);
        let bound = Init::Uniform(1.0 / (i as f32).sqrt());
        start.learn(&target, "gralora_A", [k, i, r], bound);
        start.learn(&target, "gralora_B", [k, r, o], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let (r, k) = (config.count("r")?, config.count("gralora_k")?);
    if !r.is_multiple_of(k) {
        return Err(config.bad("r", &format!("a multiple of gralora_k, which is {k}")));
    }
    let hybrid = if config.flag("hybrid_r") {
        config.count("hybrid_r")?
    } else {
        0
    };
    let scale = config.number("alpha")? / (r as f32 + hybrid as f32);
    Loaded::linear(loader, &["gralora_A"], |target| {
        let (i, o) = (target.i, target.o);
        config.check_divides("gralora_k", k, target)?;
        let a: Tensor<3> = loader.tensor(target, "gralora_A", [k, i / k, r])?;
        let b: Tensor<3> = loader.tensor(target, "gralora_B", [k, r, o / k])?;
        let (of_a, of_b) = places([o, i], k, r);
        let nothing = || loader.upload(vec![0.0], [1]);
        let widened = |tiles: Tensor<3>, places: Vec<i32>, shape| {
            let count = tiles.shape().num_elements();
            let tiles = Tensor::cat(vec![tiles.reshape([count]), nothing()], 0);
            let all = tiles.select(0, loader.upload_indices(places));
            Tensor::<1>::reshape::<2, _>(all, shape)
        };
        let (a, b) = (widened(a, of_a, [k * r, i]), widened(b, of_b, [o, k * r]));
        let mut deltas = vec![Delta::product(a, b, scale)];
        if hybrid > 0 {
            let a = loader.tensor(target, GENERAL_A, [hybrid, i])?;
            let b = loader.tensor(target, GENERAL_B, [o, hybrid])?;
            deltas.push(Delta::product(a, b, scale));
        }
        Ok(deltas)
    })
}

/// All tiles as one pair of factors, A `[k·r, i]` and B `[o, k·r]`, each direction of which is 0
/// outside its tile: direction `n·r + m·q + p` leads from part n of the input to part m of the output.
/// For each of their numbers its place in the file's tensor, the one after its end for 0.
fn places([o, i]: [usize; 2], k: usize, r: usize) -> (Vec<i32>, Vec<i32>) {
    let (q, inputs, outputs) = (r / k, i / k, o / k);
    let (mut of_a, mut of_b) = (
        vec![(i * r) as i32; k * r * i],
        vec![(r * o) as i32; o * k * r],
    );
    for direction in 0..k * r {
        let (n, inside) = (direction / r, direction % r);
        let (m, p) = (inside / q, inside % q);
        for x in 0..inputs {
            of_a[direction * i + n * inputs + x] = ((n * inputs + x) * r + inside) as i32;
        }
        for y in 0..outputs {
            let row = m * outputs + y;
            of_b[row * k * r + direction] = ((m * r + n * q + p) * outputs + y) as i32;
        }
    }
    (of_a, of_b)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{Pencil, near};

    /// k = r = 2 and a layer of two inputs and outputs: four tiles of one number each, and tile
    /// (m, n) is `B_m[n]·A_n[m]`.
    #[test]
    fn every_tile_has_its_own_product() {
        let config = json!({ "r": 2, "gralora_k": 2, "alpha": 2, "hybrid_r": 0 });
        let a = [[[1.0, 2.0]], [[3.0, 4.0]]];
        let b = [[[5.0], [6.0]], [[7.0], [8.0]]];
        let tensors = [("gralora_A", a.into()), ("gralora_B", b.into())];
        let tiles = Pencil::layer(&METHOD, config, [[0.0, 0.0], [0.0, 0.0]], &tensors);
        near(tiles.y(1.0, [1.0, 0.0]), [5.0 * 1.0, 7.0 * 2.0]);
        near(tiles.y(1.0, [0.0, 1.0]), [6.0 * 3.0, 8.0 * 4.0]);
        near(tiles.y(-1.0, [1.0, 0.0]), [-5.0, -14.0]);
    }
}
