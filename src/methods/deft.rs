//! DEFT: decompositional efficient fine-tuning. Kumar et al. 2025; PaRa: Chen et al. 2024.
//! <https://arxiv.org/abs/2509.22793>
//!
//! # Formula
//! ```text
//! y = W x + c·Q (s·R − Nᵀ W) x,   s = α/r, or 1 without α;   PaRa: without R
//! "relu":  Q = P,  N = max(P, 0)
//! "qr":    Q = N = the orthonormal columns of P = Q·(upper triangle)
//! ```
//! # Shapes
//! ```text
//! <module>.deft_P   P [o, r]
//! <module>.deft_R   R [r, i], none with para
//! ```
//! # Coefficient
//! Linear: c multiplies both what is taken away and what is put in its place.
//! # Invariant
//! "qr": outputs at right angles to Q do not move.
//! # Hypothesis
//! Something new needs room: what a layer says in a few directions of its output is taken away, and
//! the new knowledge is written there, so that it does not mix with the old.
//! # Intuition
//! A few directions of the output are wiped, and a small matrix says what they carry from now on.
//! At c = −1 the old content of these directions is doubled instead.
//! # Limits
//! It acts on a few directions of the output. What they carried is lost at c = 1, and all other
//! outputs stay as they are.
//! # Cost
//! Loading multiplies with the base's weights, as the device has them; then it runs as a LoRA.
//! # Differs from PEFT
//! The signs of Q are those of LAPACK's QR, as R was trained for them.

use burn::tensor::{Tensor, activation::relu};

use super::starts::USUAL;
use crate::checkpoint::{Family, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc};
use crate::error::Result;
use crate::hooks::{Delta, Law};
use crate::linalg::matrix::{self, Matrix};
use crate::tensor::from_host;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "deft",
    peft_type: "DEFT",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &["deft_P", "deft_R"],
    reads: &["r", "alpha", "decomposition_method", "para"],
    inert: &["init_weights", "init_scale", "deft_dropout"],
    doc: room_doc!("deft.rs"),
    load,
    trains: Trains::From { start, rate: 1e-3 },
    extras: None,
    folds: Folds::Not("what P takes away it takes away in full"),
};

/// R is what P takes away, so that nothing changes.
fn start(start: &mut Start<'_>) -> Result<()> {
    let rank = start.rank;
    start.set("r", rank);
    start.set("decomposition_method", "relu");
    start.set("para", false);
    for target in start.targets(USUAL)? {
        let r = rank.min(target.o);
        let p = (0..target.o * r).map(|_| start.uniform() as f32 - 0.5);
        let p: Vec<f32> = p.map(|x| x * 0.2).collect();
        let n = p.iter().map(|x| x.max(0.0)).collect();
        let removed = start.weight(&target).transpose().matmul(from_host(n, r));
        let removed = Init::Given(start.numbers(removed.transpose())?);
        start.learn(&target, "deft_P", [target.o, r], Init::Given(p));
        start.learn(&target, "deft_R", [r, target.i], removed);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let rank = config.count("r")?;
    let orthonormal = match config.text("decomposition_method")?.as_str() {
        "relu" => false,
        "qr" => true,
        _ => return Err(config.bad("decomposition_method", "\"relu\" or \"qr\"")),
    };
    Loaded::linear(loader, &["deft_P"], |target| {
        let (i, o) = (target.i, target.o);
        let r = rank.min(o);
        let key = loader.key(target, "deft_P");
        let p = loader.host(&key, [o, r])?;
        let (q, n): (Tensor<2>, Tensor<2>) = if orthonormal {
            let q = loader.upload(leading(&p, r), [o, r]);
            (q.clone(), q)
        } else {
            let p = loader.on_device(&key, p, [o, r]);
            (p.clone(), relu(p))
        };
        let removed = n.transpose().matmul(loader.base_weight(target));
        let inner = if config.flag("para") {
            -removed
        } else {
            let scale = if config.flag("alpha") {
                config.number("alpha")? / r as f32
            } else {
                1.0
            };
            loader.tensor::<2>(target, "deft_R", [r, i])? * scale - removed
        };
        Ok(vec![Delta::product(inner, q, 1.0)])
    })
}

/// Q of P = Q·(upper triangle), `[o, r]` both, by Householder's reflections (Golub and Van Loan
/// 2013, 5.2): each turns a column to the side opposite to where its first number points, so that
/// nothing cancels. LAPACK does the same, hence the signs.
fn leading(p: &[f32], r: usize) -> Vec<f32> {
    let mut columns = matrix::transposed(&matrix::rows(p, r));
    let o = p.len() / r;
    let mut mirrors = Matrix::new();
    for k in 0..r {
        let mut v = columns[k].clone();
        v[..k].fill(0.0);
        let length = matrix::dot(&v, &v).sqrt();
        // A column that is upright already stays.
        if v[k + 1..].iter().all(|x| *x == 0.0) {
            v[k] = 0.0;
        } else {
            v[k] += length.copysign(v[k]);
        }
        for column in &mut columns {
            reflect(column, &v);
        }
        mirrors.push(v);
    }
    let unit = |k: usize| (0..o).map(move |row| f64::from(u8::from(row == k)));
    let mut q: Matrix = (0..r).map(|k| unit(k).collect()).collect();
    for v in mirrors.iter().rev() {
        for column in &mut q {
            reflect(column, v);
        }
    }
    matrix::flat(&matrix::transposed(&q))
}

/// `x − 2·v (v·x)/(v·v)`, or x for v = 0.
fn reflect(x: &mut [f64], v: &[f64]) {
    let square = matrix::dot(v, v);
    if square > 0.0 {
        let along = 2.0 * matrix::dot(v, x) / square;
        x.iter_mut().zip(v).for_each(|(x, v)| *x -= along * v);
    }
}

#[cfg(test)]
mod tests {
    use super::leading;

    /// (3, 4) has the length 5; the first number is positive, so Q points the other way.
    #[test]
    fn one_column_becomes_a_unit_vector() {
        let q = leading(&[3.0, 4.0], 1);
        assert!(
            (q[0] + 0.6).abs() < 1e-7 && (q[1] + 0.8).abs() < 1e-7,
            "{q:?}"
        );
    }

    /// The columns (0, 2) and (3, 5): the second keeps only what is at right angles to the first.
    #[test]
    fn columns_end_up_at_right_angles() {
        let q = leading(&[0.0, 3.0, 2.0, 5.0], 2);
        let across = q[0] * q[1] + q[2] * q[3];
        assert!(across.abs() < 1e-7, "{q:?}");
        assert!((q[2].abs() - 1.0).abs() < 1e-7 && (q[1].abs() - 1.0).abs() < 1e-7);
    }
}
