//! FourierFT: fine-tuning in the discrete Fourier domain. Gao et al. 2024.
//! <https://arxiv.org/abs/2405.03003>
//!
//! # Formula
//! ```text
//! F [o, i] holds the spectrum at n random places, everywhere else 0
//! y = W x + c·s·Re(F⁻¹) x,   F⁻¹ the inverse two-dimensional Fourier transform, s = scaling
//! ```
//! # Shapes
//! ```text
//! <module>.fourierft_spectrum   [n]
//! ```
//! The places are the first n of a shuffle of o·i that random_loc_seed starts, the same in every
//! layer of a shape; n may differ per module (n_frequency_pattern).
//! # Coefficient
//! Linear: c multiplies the transformed matrix.
//! # Hypothesis
//! Seen as a picture, the change of a weight is made of waves, and a few of them carry nearly all
//! that was learned.
//! # Intuition
//! The change of a weight is taken as a picture, and the picture is stored as a few waves, like
//! a strongly compressed photograph.
//! # Limits
//! A few waves run through the whole weight. A change of one small spot takes all of them, and so
//! is out of reach.
//! # Cost
//! One whole matrix per module.

use super::torch_random::TorchRandom;
use burn::tensor::Tensor;

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "fourierft",
    peft_type: "FOURIERFT",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &["fourierft_spectrum"],
    reads: &[
        "n_frequency",
        "n_frequency_pattern",
        "scaling",
        "random_loc_seed",
    ],
    inert: &["init_weights"],
    doc: room_doc!("fourierft.rs"),
    load,
    trains: Trains::From { start, rate: 1e-2 },
    extras: None,
    folds: Folds::Into(&[("fourierft_spectrum", Fold::Times)]),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("n_frequency", 64 * r);
    start.set("scaling", 150.0);
    start.set("random_loc_seed", 777);
    for target in start.targets(USUAL)? {
        start.learn(&target, "fourierft_spectrum", [64 * r], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let seed = config.seed("random_loc_seed")?;
    let scale = config.number("scaling")?;
    Loaded::linear(loader, &["fourierft_spectrum"], |target| {
        let (i, o) = (target.i, target.o);
        let n = config.patterned_suffix("n_frequency_pattern", &target.path, "n_frequency")?;
        if n > o * i {
            let expected = format!("at most {}, the weights of {}", o * i, target.path);
            return Err(config.bad("n_frequency", &expected));
        }
        let key = loader.key(target, "fourierft_spectrum");
        let spectrum = loader.host(&key, [n])?;
        let places = TorchRandom::new(seed).shuffle_start(o * i, n);
        if let Some(leaf) = loader.leaf(&key) {
            return Ok(waves(loader, &places, &leaf, [o, i], scale));
        }
        let delta = loader.upload(inverse(&places, &spectrum, o, i), [o, i]);
        Ok(vec![Delta::Dense { delta, scale }])
    })
}

/// The same as sums of waves, `cos(x + y) = cos x cos y − sin x sin y`: n directions in and n out, what
/// training differentiates.
fn waves(
    loader: &Loader<'_>,
    places: &[usize],
    spectrum: &Tensor<1>,
    [o, i]: [usize; 2],
    scale: f32,
) -> Vec<Delta> {
    let n = places.len();
    let (rows, columns) = (roots(o), roots(i));
    let part = |of: fn(&Complex) -> f64, sign: f32| {
        let a = places.iter().flat_map(|place| {
            let columns = &columns;
            (0..i).map(move |at| of(&columns[place % i * at % i]) as f32)
        });
        let b = (0..o).flat_map(|at| {
            let rows = &rows;
            places
                .iter()
                .map(move |place| of(&rows[place / i * at % o]) as f32)
        });
        Delta::LowRank {
            a: loader.upload(a.collect(), [n, i]),
            b: loader.upload(b.collect(), [o, n]),
            mid: Some(spectrum.clone()),
            out: None,
            scale: sign * scale / (o * i) as f32,
        }
    };
    vec![part(|root| root.0, 1.0), part(|root| root.1, -1.0)]
}

/// A complex number.
type Complex = (f64, f64);

/// Real part of the inverse transform `[o, i]` of a sparse spectrum, place = row·i + column.
fn inverse(places: &[usize], spectrum: &[f32], o: usize, i: usize) -> Vec<f32> {
    // Along the rows there are few waves, so they are summed one by one …
    let row_roots = roots(i);
    let mut half = vec![Vec::new(); o];
    for (place, value) in places.iter().zip(spectrum) {
        let (row, column) = (place / i, place % i);
        let sums: &mut Vec<Complex> = &mut half[row];
        sums.resize(i, (0.0, 0.0));
        for (at, sum) in sums.iter_mut().enumerate() {
            let (re, im) = row_roots[column * at % i];
            sum.0 += f64::from(*value) * re;
            sum.1 += f64::from(*value) * im;
        }
    }
    // … and along the columns by a fast transform.
    let column_roots = roots(o);
    let mut delta = vec![0.0; o * i];
    for at in 0..i {
        let column: Vec<Complex> = half
            .iter()
            .map(|sums| sums.get(at).copied().unwrap_or_default())
            .collect();
        for (row, (re, _)) in transform(&column, 0, 1, &column_roots).iter().enumerate() {
            delta[row * i + at] = (re / (o * i) as f64) as f32;
        }
    }
    delta
}

/// `exp(2πi·k/n)` for every k.
fn roots(n: usize) -> Vec<Complex> {
    let angle = |k: usize| std::f64::consts::TAU * k as f64 / n as f64;
    (0..n).map(|k| (angle(k).cos(), angle(k).sin())).collect()
}

/// Unscaled inverse transform of every `step`-th number from `start`: split by the smallest prime
/// p of its length into p shorter ones (Cooley and Tukey 1965).
fn transform(values: &[Complex], start: usize, step: usize, roots: &[Complex]) -> Vec<Complex> {
    let n = values.len() / step;
    let Some(p) = (2..=n).find(|p| n.is_multiple_of(*p)) else {
        return vec![values[start]];
    };
    let parts: Vec<Vec<Complex>> = (0..p)
        .map(|part| transform(values, start + part * step, step * p, roots))
        .collect();
    let wave = |k: usize| {
        parts
            .iter()
            .enumerate()
            .fold((0.0, 0.0), |sum, (part, values)| {
                let (re, im) = values[k % (n / p)];
                let (cos, sin) = roots[part * k % n * step];
                (sum.0 + re * cos - im * sin, sum.1 + re * sin + im * cos)
            })
    };
    (0..n).map(wave).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{METHOD, inverse};
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// A spectrum that is 6 everywhere, in whatever order, is one peak: Δ[0, 0] = ½·6, all else 0.
    #[test]
    fn all_waves_alike_are_a_peak() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "n_frequency": 4, "scaling": 0.5 }),
            IDENTITY,
            &[("fourierft_spectrum", [6.0; 4].into())],
        );
        near(adapter.y(1.0, [1.0, 1.0]), [4.0, 1.0]);
        near(adapter.y(-1.0, [1.0, 1.0]), [-2.0, 1.0]);
    }

    /// One number 6 of a 2 × 3 spectrum: 6/6·cos(2π·k/3) along each row.
    #[test]
    fn one_number_is_one_wave() {
        near(inverse(&[0], &[6.0], 2, 3), [1.0; 6]);
        near(
            inverse(&[1], &[6.0], 2, 3),
            [1.0, -0.5, -0.5, 1.0, -0.5, -0.5],
        );
        near(
            inverse(&[3], &[6.0], 2, 3),
            [1.0, 1.0, 1.0, -1.0, -1.0, -1.0],
        );
    }
}
