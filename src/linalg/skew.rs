//! Functions of a skew-symmetric matrix, its rotations and their powers: host maths in f64.

use super::matrix::{Matrix, dot};
use super::svd::{norm, strongest};

/// A skew-symmetric K `[k, k]` as quarter turns: `K q = κ·w`, for an orthonormal basis of q.
pub(crate) struct Skew {
    /// `(κ, q, w)`; where K does nothing, w is 0.
    turns: Vec<(f64, Vec<f64>, Vec<f64>)>,
}

impl Skew {
    /// Of finite numbers.
    pub(crate) fn new(k: &Matrix) -> Self {
        let apply = |x: &[f64]| -> Vec<f64> { k.iter().map(|row| dot(row, x)).collect() };
        // −K² is symmetric and positive semidefinite, and its eigenvectors lie in the planes that K
        // rotates.
        let squared = |x: &[f64]| apply(&apply(x)).into_iter().map(|x| -x).collect();
        let turn = |q: Vec<f64>| {
            let mut w = apply(&q);
            let speed = norm(&w);
            for x in &mut w {
                *x /= speed.max(f64::MIN_POSITIVE);
            }
            (speed, q, w)
        };
        let basis = strongest(squared, k.len(), k.len());
        Self {
            turns: basis.into_iter().map(turn).collect(),
        }
    }

    /// f(K), where `of(κ)` is the complex number (re, im) that f makes of iκ.
    pub(crate) fn map(&self, of: impl Fn(f64) -> (f64, f64)) -> Matrix {
        let k = self.turns.len();
        let mut sum = vec![vec![0.0; k]; k];
        for (speed, q, w) in &self.turns {
            let (re, im) = of(*speed);
            for (row, (q_row, w_row)) in sum.iter_mut().zip(q.iter().zip(w)) {
                let left = re * q_row + im * w_row;
                row.iter_mut().zip(q).for_each(|(x, q)| *x += left * q);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::{add, exponential, scaled, skew};
    use super::Skew;

    #[test]
    fn the_exponential_is_one_of_them() {
        // In the first, one κ occurs twice and the fifth dimension is fixed.
        let twice = skew(&[0.7, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.7, 0.0, 0.0], 5);
        let above: Vec<f32> = (0..28)
            .map(|k| ((k * 7 + 3) % 11) as f32 / 4.0 - 1.3)
            .collect();
        for k in [twice, skew(&above, 8), skew(&[], 1)] {
            let turned = Skew::new(&k).map(|angle| (angle.cos(), angle.sin()));
            let apart = add(&turned, &scaled(&exponential(&k), -1.0));
            let worst = apart
                .iter()
                .flatten()
                .fold(0.0_f64, |most, x| most.max(x.abs()));
            assert!(worst < 1e-10, "{worst:.1e} of {k:?}");
        }
    }
}
