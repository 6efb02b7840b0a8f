//! The states of one block, in pairs, as the methods read them.

use crate::linalg::svd::norm;

/// The states `[d]` of all pairs at one block.
#[derive(Debug)]
pub(super) struct Contrast<'a> {
    positive: Vec<&'a [f32]>,
    negative: Vec<&'a [f32]>,
    /// Their mean length.
    pub(super) length: f64,
}

/// The smallest difference, in lengths of the residual stream, that is more than rounding.
const SMALLEST: f64 = 1e-6;

impl<'a> Contrast<'a> {
    /// Of as many positive as negative states.
    pub(super) fn new(positive: Vec<&'a [f32]>, negative: Vec<&'a [f32]>) -> Self {
        let all = positive.iter().chain(&negative);
        let lengths = all.map(|state| norm(&wide(state)));
        let length = lengths.sum::<f64>() / (2 * positive.len()) as f64;
        Self {
            positive,
            negative,
            length,
        }
    }

    /// A difference of this length or less is rounding.
    pub(super) fn smallest(&self) -> f64 {
        SMALLEST * self.length
    }

    /// What each positive state has more than the negative one of its pair, `[pairs][d]`.
    pub(super) fn differences(&self) -> Vec<Vec<f64>> {
        let pairs = self.positive.iter().zip(&self.negative);
        pairs
            .map(|(a, b)| {
                let each = a.iter().zip(*b);
                each.map(|(a, b)| f64::from(*a) - f64::from(*b)).collect()
            })
            .collect()
    }

    /// Their mean, `[d]`.
    pub(super) fn mean_difference(&self) -> Vec<f64> {
        let differences = self.differences();
        let mut mean = vec![0.0; differences[0].len()];
        for x in &differences {
            let each = mean.iter_mut().zip(x);
            each.for_each(|(mean, x)| *mean += x / differences.len() as f64);
        }
        mean
    }

    /// All states with 1 for a positive and −1 for a negative one, `[2·pairs][d]`.
    pub(super) fn labelled(&self) -> (Vec<Vec<f64>>, Vec<f64>) {
        let positive = self.positive.iter().map(|state| (wide(state), 1.0));
        let negative = self.negative.iter().map(|state| (wide(state), -1.0));
        positive.chain(negative).unzip()
    }
}

fn wide(state: &[f32]) -> Vec<f64> {
    state.iter().map(|x| f64::from(*x)).collect()
}
