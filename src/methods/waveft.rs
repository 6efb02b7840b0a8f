//! WaveFT: fine-tuning with sparse updates in the wavelet domain. Bilican et al. 2025.
//! <https://arxiv.org/abs/2505.12532>
//!
//! # Formula
//! ```text
//! S [o, i] holds the spectrum at n random places, everywhere else 0
//! y = W x + c·s·T(S) x,   T one level of the inverse wavelet transform, s = scaling
//! use_idwt = false: T(S) = S
//! ```
//! # Shapes
//! ```text
//! <module>.waveft_spectrum   [n]
//! ```
//! The places are the first n of a shuffle of o·i that random_loc_seed starts, the same in every
//! layer of a shape.
//! # Coefficient
//! Linear: c multiplies the transformed matrix.
//! # Hypothesis
//! What a task changes is sparse, seen at the right scale: a few patches of neighbouring weights
//! rather than a few directions of the whole layer.
//! # Intuition
//! The change is taken as a picture and stored as a few wavelets, each of which lights up one small
//! spot and nothing else, where FourierFT's waves run through the whole picture.
//! # Limits
//! A few patches of weights change. What runs through the whole layer would take more patches than
//! it has.
//! # Cost
//! One whole matrix per module.
//! # Differs from PEFT
//! wavelet_family is db1, PEFT's default, or db2; others are refused.

use burn::tensor::{IndexingUpdateOp, Tensor};

use super::starts::USUAL;
use super::torch_random::TorchRandom;
use crate::checkpoint::{
    Config, Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "waveft",
    peft_type: "WAVEFT",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &["waveft_spectrum"],
    reads: &["scaling", "random_loc_seed", "use_idwt", "wavelet_family"],
    // How many places there are; the spectrum's length answers.
    inert: &[
        "init_weights",
        "n_frequency",
        "n_frequency_pattern",
        "proportional_parameters",
    ],
    doc: room_doc!("waveft.rs"),
    load,
    trains: Trains::From { start, rate: 2e-3 },
    extras: None,
    folds: Folds::Into(&[("waveft_spectrum", Fold::Times)]),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("n_frequency", 256 * r);
    start.set("scaling", 25.0);
    start.set("random_loc_seed", 777);
    start.set("use_idwt", true);
    start.set("wavelet_family", "db1");
    for target in start.targets(USUAL)? {
        start.learn(&target, "waveft_spectrum", [256 * r], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let seed = config.seed("random_loc_seed")?;
    let scale = config.number("scaling")?;
    let low = if config.flag("use_idwt") {
        low_wave(config)?
    } else {
        Vec::new()
    };
    Loaded::linear(loader, &["waveft_spectrum"], |target| {
        let (i, o) = (target.i, target.o);
        let key = loader.key(target, "waveft_spectrum");
        let n = loader.extent(target, "waveft_spectrum", 0)?;
        if n > o * i {
            let expected = format!("at most {}, the weights of {}", o * i, target.path);
            return Err(loader.wrong_shape(&key, expected));
        }
        let spectrum = loader.host(&key, [n])?;
        let places = TorchRandom::new(seed).shuffle_start(o * i, n);
        if let Some(leaf) = loader.leaf(&key) {
            let delta = assembled(loader, &places, &leaf, &low, [o, i]);
            return Ok(vec![Delta::Dense { delta, scale }]);
        }
        let places = places.into_iter().zip(spectrum);
        let delta = loader.upload(transformed(places, &low, [o, i]), [o, i]);
        Ok(vec![Delta::Dense { delta, scale }])
    })
}

/// The low wave of a wavelet that the config names (Daubechies 1988).
fn low_wave(config: &Config) -> Result<Vec<f64>> {
    let root = 3_f64.sqrt();
    match config.text("wavelet_family")?.as_str() {
        "db1" => Ok(vec![0.5_f64.sqrt(); 2]),
        "db2" => {
            let wave = [1.0 + root, 3.0 + root, 3.0 - root, 1.0 - root];
            Ok(wave.map(|x| x / 32_f64.sqrt()).to_vec())
        }
        _ => Err(config.bad("wavelet_family", "db1 or db2; others are not computed here")),
    }
}

/// The change `[o, i]` of numbers at places row·i + column.
fn transformed(
    numbers: impl Iterator<Item = (usize, f32)>,
    low: &[f64],
    [o, i]: [usize; 2],
) -> Vec<f32> {
    let mut delta = vec![0.0; o * i];
    let pictures = Pictures::new(low, [o, i]);
    for (place, number) in numbers {
        pictures.each(place, |at, share| {
            delta[at] += (f64::from(number) * share) as f32;
        });
    }
    delta
}

/// The same of numbers that are trained.
fn assembled(
    loader: &Loader<'_>,
    places: &[usize],
    numbers: &Tensor<1>,
    low: &[f64],
    [o, i]: [usize; 2],
) -> Tensor<2> {
    let pictures = Pictures::new(low, [o, i]);
    let (mut from, mut to, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for (number, place) in places.iter().enumerate() {
        pictures.each(*place, |at, share| {
            from.push(number as i32);
            to.push(at as i32);
            shares.push(share as f32);
        });
    }
    let count = shares.len();
    let from = numbers.clone().select(0, loader.upload_indices(from));
    let parts = from * loader.upload(shares, [count]);
    let nothing: Tensor<1> = loader.upload(vec![0.0; o * i], [o * i]);
    let to = loader.upload_indices(to);
    let delta = nothing.select_assign(0, to, parts, IndexingUpdateOp::Add);
    delta.reshape([o, i])
}

/// What a number at a place adds: one small picture, made of the low and the high wave along both
/// sides; the number itself without waves.
struct Pictures<'a> {
    low: &'a [f64],
    high: Vec<f64>,
    sides: [Side; 2],
    columns: usize,
}

impl<'a> Pictures<'a> {
    fn new(low: &'a [f64], [o, i]: [usize; 2]) -> Self {
        let sign = |at: usize| if at.is_multiple_of(2) { 1.0 } else { -1.0 };
        let mirrored = |at| sign(at) * low[low.len() - 1 - at];
        // Without waves the sides are not used.
        let wave = low.len().max(2);
        Self {
            high: (0..low.len()).map(mirrored).collect(),
            sides: [Side::new(o, wave), Side::new(i, wave)],
            columns: i,
            low,
        }
    }

    /// Calls `add` with each place of the picture and the share of the number that goes there.
    fn each(&self, place: usize, mut add: impl FnMut(usize, f64)) {
        if self.low.is_empty() {
            return add(place, 1.0);
        }
        let [rows, columns] = &self.sides;
        let (top, is_lower) = rows.half(place / self.columns);
        let (left, is_right) = columns.half(place % self.columns);
        // As PEFT has it, the right half is high from row to row, the lower one from column to
        // column.
        let wave = |is_high: bool| if is_high { &self.high[..] } else { self.low };
        for (row, a) in rows.reached(top, wave(is_right)) {
            for (column, b) in columns.reached(left, wave(is_lower)) {
                add(row * self.columns + column, a * b);
            }
        }
    }
}

/// One side of the matrix, padded so that the waves at its ends are whole.
struct Side {
    size: usize,
    padded: usize,
    /// How much of what the waves reach lies before the matrix.
    before: usize,
}

impl Side {
    fn new(size: usize, wave: usize) -> Self {
        let padded = (size + wave - 2).next_multiple_of(2);
        // The transform gives 2·(padded/2) + 2 − wave numbers, of which the middle is kept.
        let before = wave - 2 + (padded + 2 - wave - size) / 2;
        Self {
            size,
            padded,
            before,
        }
    }

    /// Where a place is inside its half, and whether it is the second.
    fn half(&self, place: usize) -> (usize, bool) {
        let place = place + (self.padded - self.size) / 2;
        let half = self.padded / 2;
        (place % half, place >= half)
    }

    /// The places that a wave reaches, with its numbers there.
    fn reached(&self, start: usize, wave: &[f64]) -> impl Iterator<Item = (usize, f64)> {
        let (size, before) = (self.size, self.before);
        let numbers = wave.iter().copied().enumerate();
        numbers.filter_map(move |(at, number)| {
            let place = (2 * start + at).checked_sub(before)?;
            (place < size).then_some((place, number))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::transformed;

    fn of(place: usize) -> Vec<f32> {
        let low = [0.5_f64.sqrt(); 2];
        transformed([(place, 2.0)].into_iter(), &low, [2, 2])
    }

    /// 2 in each quarter of a 2 × 2 matrix, in Haar's wavelets: 2·½ everywhere, with the signs of a
    /// sum, of a difference of rows, of one of columns, and of both.
    #[test]
    fn each_quarter_has_its_picture() {
        let expected = [
            [1.0, 1.0, 1.0, 1.0],
            [1.0, 1.0, -1.0, -1.0],
            [1.0, -1.0, 1.0, -1.0],
            [1.0, -1.0, -1.0, 1.0],
        ];
        for (place, expected) in expected.iter().enumerate() {
            for (found, expected) in of(place).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{place}: {:?}", of(place));
            }
        }
    }
}
