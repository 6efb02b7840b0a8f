//! NB-LoRA: norm-bounded low-rank adaptation. Wang, Dvijotham and Manchester 2025.
//! <https://arxiv.org/abs/2501.19050>
//!
//! # Formula
//! ```text
//! [X; Y] = [Ã B̃]ᵀ, X the first r rows;   Z = X − Xᵀ + YᵀY
//! [A B]ᵀ = [(I − Z)(I + Z)⁻¹; −2Y (I + Z)⁻¹]
//! y = W x + c·2·Bᵀ diag(s) A x
//! ```
//! # Shapes
//! ```text
//! <module>.nblora_A   Ã [r, i]
//! <module>.nblora_B   B̃ [r, o]
//! <module>.nblora_s   s [r], none below 0
//! ```
//! The authors published no file format; these names are this program's own, with the config
//! `{"peft_type": "NBLORA", "r": r}`. Training leaves s at 1: every change of rank r and a strength of
//! at most 1 can be had by turning A and B alone.
//! # Coefficient
//! Linear: c multiplies the product, so |c|·max s bounds how strong any direction can get.
//! # Invariant
//! A Aᵀ + B Bᵀ = I, hence ‖2 Bᵀ diag(s) A‖ ≤ max s
//! # Hypothesis
//! A behaviour is a few added directions of limited strength. What a model forgets, it forgets
//! through changes without a limit.
//! # Intuition
//! A LoRA that cannot run away: however training sets its numbers, they are first turned into
//! directions of unit length, and s alone says how much each may do.
//! # Limits
//! It has a low rank, and how far it goes has a limit. That protects what the model knows, and a
//! task that needs more is not met.

use burn::tensor::Tensor;

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};
use crate::linalg::matrix::{flat, identity, solve};
use crate::tensor::inverse;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "nblora",
    peft_type: "NBLORA",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &["nblora_A", "nblora_B", "nblora_s"],
    reads: &["r"],
    inert: &[],
    doc: room_doc!("nblora.rs"),
    load,
    trains: Trains::From { start, rate: 2e-3 },
    extras: None,
    folds: Folds::By(|_, c| {
        if c < 0.0 {
            Folds::Not("its strengths stay at 0 or above")
        } else {
            Folds::Into(&[("nblora_s", Fold::Times)])
        }
    }),
};

/// B is 0 where B̃ is, which is the base.
fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("r", r);
    for target in start.targets(USUAL)? {
        start.learn(&target, "nblora_A", [r, target.i], Init::Kaiming);
        start.learn(&target, "nblora_B", [r, target.o], Init::Zeros);
        let key = format!("{}.nblora_s", target.key);
        start.keep(&key, [r], Init::Filled(1.0));
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let r = loader.config.count("r")?;
    Loaded::linear(loader, &["nblora_A"], |target| {
        let (i, o) = (target.i, target.o);
        let a = loader.host(&loader.key(target, "nblora_A"), [r, i])?;
        let b = loader.host(&loader.key(target, "nblora_B"), [r, o])?;
        let s = loader.host(&loader.key(target, "nblora_s"), [r])?;
        if let Some(s) = s.iter().find(|s| !s.is_finite() || **s < 0.0) {
            let key = loader.key(target, "nblora_s");
            return Err(loader.bad_value(&key, s.to_string(), "numbers from 0".into()));
        }
        if r > i + o {
            return Err(loader.config.bad("r", &format!("at most {}", i + o)));
        }
        let leaves = ["nblora_A", "nblora_B"].map(|name| loader.leaf(&loader.key(target, name)));
        let (a, b) = if let [Some(a), Some(b)] = leaves {
            let both = vec![a.reshape([r, i]), b.reshape([r, o])];
            let joined = turned(loader, Tensor::cat(both, 1));
            let a = joined.clone().narrow(0, 0, i).transpose();
            (a, joined.narrow(0, i, o))
        } else {
            let joined = cayley(&a, &b, r);
            let a = (0..r * i).map(|at| joined[at % i][at / i] as f32).collect();
            let b = (0..o * r)
                .map(|at| joined[i + at / r][at % r] as f32)
                .collect();
            (loader.upload(a, [r, i]), loader.upload(b, [o, r]))
        };
        Ok(vec![Delta::LowRank {
            a,
            b,
            mid: Some(loader.upload(s, [r])),
            out: None,
            scale: 2.0,
        }])
    })
}

/// `[A B]ᵀ [i + o, r]` of `[Ã B̃] [r, i + o]` while it is trained.
fn turned(loader: &Loader<'_>, both: Tensor<2>) -> Tensor<2> {
    let [r, all] = both.dims();
    let (x, y) = (both.clone().narrow(1, 0, r), both.narrow(1, r, all - r));
    let z = x.clone().transpose() - x + y.clone().matmul(y.clone().transpose());
    let unit: Tensor<2> = loader.upload(flat(&identity(r)), [r, r]);
    let inverse = inverse((unit.clone() + z.clone()).unsqueeze()).squeeze_dim::<2>(0);
    let head = (unit - z).matmul(inverse.clone());
    let tail = y.transpose().matmul(inverse) * -2.0;
    Tensor::cat(vec![head, tail], 0)
}

/// `[A B]ᵀ [i + o, r]` of Ã `[r, i]` and B̃ `[r, o]`, in f64. I + Z always has an inverse, since
/// its symmetric part is I + YᵀY.
fn cayley(a: &[f32], b: &[f32], r: usize) -> Vec<Vec<f64>> {
    let (i, o) = (a.len() / r, b.len() / r);
    let column = |k: usize| {
        let a = (0..i).map(move |at| f64::from(a[k * i + at]));
        a.chain((0..o).map(move |at| f64::from(b[k * o + at])))
    };
    let columns: Vec<Vec<f64>> = (0..r).map(|k| column(k).collect()).collect();
    let z = |p: usize, q: usize| {
        let tail = columns[p][r..].iter().zip(&columns[q][r..]);
        columns[q][p] - columns[p][q] + tail.map(|(x, y)| x * y).sum::<f64>()
    };
    let unit = |p: usize, q: usize| f64::from(u8::from(p == q));
    // Rows of N (I + Z)⁻¹ = rows of N, then −2Y: solved as (I + Z)ᵀ xᵀ = nᵀ.
    let transposed: Vec<Vec<f64>> = (0..r)
        .map(|q| (0..r).map(|p| unit(p, q) + z(p, q)).collect())
        .collect();
    let head = (0..r).map(|p| (0..r).map(|q| unit(p, q) - z(p, q)).collect());
    let tail = (r..i + o).map(|at| columns.iter().map(|column| -2.0 * column[at]).collect());
    solve(transposed, head.chain(tail).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, length, near};

    fn adapter(a: [[f32; 2]; 1], b: [[f32; 2]; 1]) -> Pencil {
        Pencil::layer(
            &METHOD,
            json!({ "r": 1 }),
            IDENTITY,
            &[
                ("nblora_A", a.into()),
                ("nblora_B", b.into()),
                ("nblora_s", [10.0].into()),
            ],
        )
    }

    /// X = 5 and Y = (0, ½, 0), so Z = ¼. A = (¾ ÷ 1¼, 0) = (0.6, 0) and B = (−1 ÷ 1¼, 0) = (−0.8, 0),
    /// together of length 1; 2·(−0.8)·10·0.6 = −9.6.
    #[test]
    fn numbers_become_directions_of_length_one() {
        let adapter = adapter([[5.0, 0.0]], [[0.5, 0.0]]);
        near(adapter.y(1.0, [1.0, 1.0]), [-8.6, 1.0]);
        near(adapter.y(-1.0, [1.0, 1.0]), [10.6, 1.0]);
    }

    #[test]
    fn no_change_is_stronger_than_s() {
        for (a, b) in [
            ([[9.0, 0.3]], [[0.0, 0.4]]),
            ([[-2.0, 70.0]], [[40.0, 1.0]]),
        ] {
            let adapter = adapter(a, b);
            let (first, second) = (adapter.y(1.0, [1.0, 0.0]), adapter.y(1.0, [0.0, 1.0]));
            // Of rank one, and so as strong as all its numbers together are long.
            let strength = length([first[0] - 1.0, first[1], second[0], second[1] - 1.0]);
            assert!(strength <= 10.0, "{strength}");
        }
    }
}
