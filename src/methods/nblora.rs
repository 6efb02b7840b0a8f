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
//! `{"peft_type": "NBLORA", "r": r}`.
//! # Coefficient
//! Linear: c multiplies the product, so |c|·max s bounds how strong any direction can get.
//! # Invariant
//! A Aᵀ + B Bᵀ = I, hence ‖2 Bᵀ diag(s) A‖ ≤ max s
//! # Intuition
//! A LoRA that cannot run away: however training sets its numbers, they are first turned into
//! directions of unit length, and s alone says how much each may do.

use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
use crate::error::Result;
use crate::hooks::{Delta, Law};
use crate::linalg::matrix::solve;

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
};

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
        let joined = cayley(&a, &b, r);
        let a = (0..r * i).map(|at| joined[at % i][at / i] as f32).collect();
        let b = (0..o * r)
            .map(|at| joined[i + at / r][at % r] as f32)
            .collect();
        Ok(vec![Delta::LowRank {
            a: loader.upload(a, [r, i]),
            b: loader.upload(b, [o, r]),
            mid: Some(loader.upload(s, [r])),
            out: None,
            scale: 2.0,
        }])
    })
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
