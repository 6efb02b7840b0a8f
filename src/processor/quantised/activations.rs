//! Activations as 16-bit integers, one factor for each 32 of them.

use std::cell::OnceCell;

use super::BLOCK;
use super::bytes::WORDS;

/// The largest code: the largest that is `256·high + low` with two signed bytes.
const LARGEST: f32 = 32639.0;

/// Adding this to a float of at most 2²² leaves the nearest integer in its low bits.
const ROUNDER: f32 = 12_582_912.0;

/// Rows `x [t, cols]`, in the order in which the products read them.
#[derive(Debug)]
pub struct Activations {
    tokens: usize,
    pub(super) tiles: Tiles,
    words: OnceCell<Vec<i32>>,
}

/// How many tokens are multiplied at a time.
#[derive(Debug)]
pub(super) enum Tiles {
    One(Tiled<1>),
    Two(Tiled<2>),
    /// One pass of three streams; more tokens go by twos.
    Three(Tiled<3>),
}

/// Blocks of 32 columns of T tokens, column block by column block; the last tile may hold fewer
/// tokens and is filled with zeros.
#[derive(Debug)]
pub(super) struct Tiled<const T: usize> {
    /// Tiles of T tokens.
    pub count: usize,
    /// `[cols / 32 · count]`: 16 pairs of codes of each token.
    pub pairs: Vec<[[i32; T]; BLOCK / 2]>,
    /// `[cols / 32 · count]`: of each token the factor, and the factor times the sum of the codes.
    pub factors: Vec<[[f32; T]; 2]>,
    /// Likewise the factor times the sums of the first and the last 16 codes.
    pub half_sums: Vec<[[f32; T]; 2]>,
}

impl Activations {
    /// Rounds `x [t, cols]`, whose width is a multiple of 32. A block with an infinity or NaN has a
    /// factor that is not finite either, so neither can vanish.
    #[must_use]
    pub fn new(x: &[f32], cols: usize) -> Self {
        let tokens = x.len() / cols.max(1);
        let tiles = match tokens {
            1 => Tiles::One(Tiled::new(x, cols)),
            3 => Tiles::Three(Tiled::new(x, cols)),
            _ => Tiles::Two(Tiled::new(x, cols)),
        };
        Self {
            tokens,
            tiles,
            words: OnceCell::new(),
        }
    }

    /// In bytes, for products of bytes.
    pub(super) fn words(&self) -> &[i32] {
        self.words.get_or_init(|| match &self.tiles {
            Tiles::One(x) => words(x),
            Tiles::Two(x) => words(x),
            Tiles::Three(x) => words(x),
        })
    }

    /// t
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

impl Tiles {
    /// Tokens of a tile, and tiles.
    pub(super) fn shape(&self) -> (usize, usize) {
        match self {
            Self::One(x) => (1, x.count),
            Self::Two(x) => (2, x.count),
            Self::Three(x) => (3, x.count),
        }
    }
}

impl<const T: usize> Tiled<T> {
    fn new(x: &[f32], cols: usize) -> Self {
        let count = x.len().div_ceil(cols * T);
        let blocks = cols / BLOCK;
        let mut pairs = vec![[[0; T]; BLOCK / 2]; blocks * count];
        let mut factors = vec![[[0.0; T]; 2]; blocks * count];
        let mut half_sums = factors.clone();
        for (token, row) in x.chunks_exact(cols).enumerate() {
            let (tile, lane) = (token / T, token % T);
            for (block, x) in row.as_chunks::<BLOCK>().0.iter().enumerate() {
                let (codes, factor) = rounded(x);
                let at = block * count + tile;
                let sum = |codes: &[i16]| codes.iter().map(|&code| i32::from(code)).sum::<i32>();
                let sums = [sum(&codes[..BLOCK / 2]), sum(&codes[BLOCK / 2..])];
                let codes: [i32; BLOCK / 2] = bytemuck::cast(codes);
                for (pair, codes) in pairs[at].iter_mut().zip(codes) {
                    pair[lane] = codes;
                }
                factors[at][0][lane] = factor;
                factors[at][1][lane] = factor * (sums[0] + sums[1]) as f32;
                half_sums[at][0][lane] = factor * sums[0] as f32;
                half_sums[at][1][lane] = factor * sums[1] as f32;
            }
        }
        Self {
            count,
            pairs,
            factors,
            half_sums,
        }
    }
}

/// Tiles of activations as [`Call::x`](super::Call::x) wants them.
fn words<const T: usize>(x: &Tiled<T>) -> Vec<i32> {
    let mut words = Vec::with_capacity(x.pairs.len() * WORDS * T);
    for (pairs, [factors, factor_sums]) in x.pairs.iter().zip(&x.factors) {
        let mut low = [[0; T]; BLOCK / 4];
        for (low, pairs) in low.iter_mut().zip(pairs.as_chunks::<2>().0) {
            for t in 0..T {
                let codes: [i16; 4] = bytemuck::cast(pairs.map(|pair| pair[t]));
                let high = codes.map(|code| ((i32::from(code) + 128) >> 8) as i8);
                words.push(bytemuck::cast(high));
                // The rest has the code's own low byte.
                low[t] = bytemuck::cast(codes.map(|code| code as i8));
            }
        }
        words.extend(low.as_flattened());
        words.extend(factors.map(|x| x.to_bits().cast_signed()));
        words.extend(factor_sums.map(|x| x.to_bits().cast_signed()));
    }
    words
}

/// 32 numbers as codes and their factor.
fn rounded(x: &[f32; BLOCK]) -> ([i16; BLOCK], f32) {
    let factor = largest(x) / LARGEST;
    let mut codes = [0; BLOCK];
    for (place, code) in codes.iter_mut().zip(round(x, factor)) {
        *place = code;
    }
    (codes, factor)
}

/// The largest magnitude; an infinity or NaN where there is one.
#[must_use]
pub fn largest(x: &[f32]) -> f32 {
    // As integers, the bits of positive floats are in the floats' order, with infinity and NaN
    // above all numbers.
    let bits = x
        .iter()
        .fold(0, |max, x| max.max(x.to_bits() as i32 & i32::MAX));
    f32::from_bits(bits as u32)
}

/// Codes of 16 bits: `x ≈ factor · codes`, within half of the factor.
pub fn round(x: &[f32], factor: f32) -> impl Iterator<Item = i16> {
    let inverse = if factor < f32::MIN_POSITIVE {
        0.0
    } else {
        1.0 / factor
    };
    x.iter()
        .map(move |x| (x * inverse + ROUNDER).to_bits() as i16)
}
