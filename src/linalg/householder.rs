//! Householder reflections and the rotations that pairs of them make: host maths in f64.

use super::matrix::{Matrix, add, dot, matmul};

/// Products of reflections written as `M = I + B K Bᵀ`: the basis B stays, only the small K
/// depends on the coefficient.
pub(crate) struct Reflections {
    /// Columns of B, orthonormal inside each pair `(2k, 2k+1)`.
    pub(crate) basis: Vec<Vec<f64>>,
    /// The unit vectors u_k in that basis: `(along column k or its pair's first, along second)`.
    angles: Vec<f64>,
    /// `BᵀB`
    gram: Matrix,
}

impl Reflections {
    pub(crate) fn new(u: &[f32], i: usize, r: usize, gram_schmidt: bool) -> Self {
        let mut units: Vec<Vec<f64>> = Vec::with_capacity(r);
        for k in 0..r {
            let mut v: Vec<f64> = (0..i).map(|row| f64::from(u[row * r + k])).collect();
            if gram_schmidt {
                for w in &units {
                    let along = dot(&v, w);
                    v.iter_mut().zip(w).for_each(|(v, w)| *v -= along * w);
                }
            }
            units.push(unit(v));
        }
        // Second vectors of a pair are replaced by their part orthogonal to the first.
        let mut angles = vec![0.0; r];
        for k in (1..r).step_by(2) {
            let along = dot(&units[k - 1], &units[k]).clamp(-1.0, 1.0);
            let (first, rest) = units.split_at_mut(k);
            let upright: Vec<f64> = rest[0]
                .iter()
                .zip(&first[k - 1])
                .map(|(v, w)| v - along * w)
                .collect();
            let across = dot(&upright, &upright).sqrt();
            angles[k] = across.atan2(along);
            rest[0] = unit(upright);
        }
        let gram = units
            .iter()
            .map(|v| units.iter().map(|w| dot(v, w)).collect())
            .collect();
        Self {
            basis: units,
            angles,
            gram,
        }
    }

    /// K of the product of the reflections themselves.
    pub(crate) fn reflected(&self) -> Matrix {
        let r = self.angles.len();
        let mirrors = (0..r).map(|k| {
            // u_k in its pair's plane is (cos, sin); the first of a pair is (1, 0).
            let (cos, sin) = (self.angles[k].cos(), self.angles[k].sin());
            let mut mirror = vec![vec![0.0; r]; r];
            if k % 2 == 0 {
                mirror[k][k] = -2.0;
            } else {
                let plane = [(k - 1, cos), (k, sin)];
                for (a, x) in plane {
                    for (b, y) in plane {
                        mirror[a][b] = -2.0 * x * y;
                    }
                }
            }
            mirror
        });
        self.product(mirrors)
    }

    /// K of the product of the pairs' rotations, each by c times its angle; for c < 0 in reverse
    /// order, which makes it the exact inverse.
    pub(crate) fn turned(&self, c: f64) -> Matrix {
        let r = self.angles.len();
        let rotation = |k: usize| {
            // H_a H_b rotates by −2∠(a, b) in the plane of a and the direction orthogonal to it.
            let (sin, cos) = (2.0 * c * self.angles[k + 1]).sin_cos();
            let mut rotation = vec![vec![0.0; r]; r];
            rotation[k][k] = cos - 1.0;
            rotation[k + 1][k + 1] = cos - 1.0;
            rotation[k][k + 1] = sin;
            rotation[k + 1][k] = -sin;
            rotation
        };
        let pairs = (0..r).step_by(2);
        if c < 0.0 {
            self.product(pairs.rev().map(rotation))
        } else {
            self.product(pairs.map(rotation))
        }
    }

    /// `(I + B K Bᵀ)(I + B C Bᵀ) = I + B (K + C + K G C) Bᵀ`, folded over the factors.
    fn product(&self, factors: impl Iterator<Item = Matrix>) -> Matrix {
        let r = self.angles.len();
        factors.fold(vec![vec![0.0; r]; r], |k, c| {
            let kgc = matmul(&matmul(&k, &self.gram), &c);
            add(&add(&k, &c), &kgc)
        })
    }
}

/// A vector of length 0 has no direction and reflects nothing.
fn unit(v: Vec<f64>) -> Vec<f64> {
    let length = dot(&v, &v).sqrt();
    v.into_iter()
        .map(|x| if length > 1e-12 { x / length } else { 0.0 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Reflections {
        let u: Vec<f32> = (0..20)
            .map(|k| ((k * 37 + 11) % 17) as f32 / 7.0 - 1.2)
            .collect();
        Reflections::new(&u, 5, 4, false)
    }

    /// `I + B K Bᵀ` written out.
    fn dense(reflections: &Reflections, kernel: &Matrix) -> Matrix {
        let (n, basis) = (reflections.basis[0].len(), &reflections.basis);
        let entry = |row: usize, column: usize| {
            let mut sum = f64::from(u8::from(row == column));
            for (a, va) in basis.iter().enumerate() {
                for (b, vb) in basis.iter().enumerate() {
                    sum += va[row] * kernel[a][b] * vb[column];
                }
            }
            sum
        };
        (0..n)
            .map(|row| (0..n).map(|column| entry(row, column)).collect())
            .collect()
    }

    fn worst_from_identity(matrix: &Matrix) -> f64 {
        let identity = |row, column| f64::from(u8::from(row == column));
        let rows = matrix.iter().enumerate();
        rows.flat_map(|(r, row)| {
            row.iter()
                .enumerate()
                .map(move |(c, x)| (x - identity(r, c)).abs())
        })
        .fold(0.0, f64::max)
    }

    #[test]
    fn two_mirrors_are_one_turn() {
        let reflections = example();
        let turned = dense(&reflections, &reflections.turned(1.0));
        let mirrored = dense(&reflections, &reflections.reflected());
        let pairs = turned.iter().flatten().zip(mirrored.iter().flatten());
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(
            worst < 1e-12,
            "M(1) differs from the reflections by {worst}"
        );
    }

    #[test]
    fn the_law_is_a_rotation_and_minus_c_undoes_c() {
        let reflections = example();
        for c in [0.3, 1.0, 2.7] {
            let forth = dense(&reflections, &reflections.turned(c));
            let back = dense(&reflections, &reflections.turned(-c));
            let there_and_back = worst_from_identity(&matmul(&forth, &back));
            assert!(
                there_and_back < 1e-12,
                "M(c) M(-c) at {c}: {there_and_back}"
            );
            let columns = (0..5)
                .map(|c| forth.iter().map(|row| row[c]).collect())
                .collect();
            let length = worst_from_identity(&matmul(&columns, &forth));
            assert!(length < 1e-12, "Mᵀ M at {c}: {length}");
        }
        let still = dense(&reflections, &reflections.turned(0.0));
        assert!(worst_from_identity(&still) < 1e-15, "M(0)");
    }
}
