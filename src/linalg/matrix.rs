//! Small dense matrices on the host, in f64: what is too small for a device and has to be exact.

/// Rows.
pub(crate) type Matrix = Vec<Vec<f64>>;

pub(crate) fn identity(n: usize) -> Matrix {
    diagonal(&vec![1.0; n])
}

pub(crate) fn diagonal(values: &[f64]) -> Matrix {
    let mut matrix = vec![vec![0.0; values.len()]; values.len()];
    for (at, value) in values.iter().enumerate() {
        matrix[at][at] = *value;
    }
    matrix
}

pub(crate) fn transposed(a: &Matrix) -> Matrix {
    let columns = a.first().map_or(0, Vec::len);
    (0..columns)
        .map(|j| a.iter().map(|row| row[j]).collect())
        .collect()
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn matmul(a: &Matrix, b: &Matrix) -> Matrix {
    let columns = transposed(b);
    a.iter()
        .map(|row| columns.iter().map(|column| dot(row, column)).collect())
        .collect()
}

pub(crate) fn add(a: &Matrix, b: &Matrix) -> Matrix {
    a.iter()
        .zip(b)
        .map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect())
        .collect()
}

pub(crate) fn scaled(a: &Matrix, by: f64) -> Matrix {
    a.iter()
        .map(|row| row.iter().map(|x| x * by).collect())
        .collect()
}

/// Numbers row by row as a matrix of rows `width` wide.
pub(crate) fn rows(values: &[f32], width: usize) -> Matrix {
    let row = |row: &[f32]| row.iter().copied().map(f64::from).collect();
    values.chunks_exact(width.max(1)).map(row).collect()
}

/// Row by row, for a device.
pub(crate) fn flat(a: &Matrix) -> Vec<f32> {
    a.iter().flatten().map(|x| *x as f32).collect()
}

/// `Q − Qᵀ` of the numbers above the diagonal of Q `[n, n]`, row by row.
pub(crate) fn skew(above: &[f32], n: usize) -> Matrix {
    let mut matrix = vec![vec![0.0; n]; n];
    let places = (0..n).flat_map(|row| (row + 1..n).map(move |column| (row, column)));
    for ((row, column), value) in places.zip(above) {
        matrix[row][column] = f64::from(*value);
        matrix[column][row] = -f64::from(*value);
    }
    matrix
}

/// Cayley's rotation `(I − Q)(I + Q)⁻¹` of a skew-symmetric Q: R(−Q) is its inverse.
pub(crate) fn cayley(q: &Matrix) -> Matrix {
    let identity = identity(q.len());
    // Both factors are made of Q and commute. Sides and solutions are columns.
    let right = transposed(&add(&identity, &scaled(q, -1.0)));
    transposed(&solve(add(&identity, q), right))
}

/// `e^A`: Taylor's series of `A / 2ⁿ`, squared n times.
pub(crate) fn exponential(a: &Matrix) -> Matrix {
    let largest = a.iter().map(|row| row.iter().map(|x| x.abs()).sum());
    let norm: f64 = largest.fold(0.0, f64::max);
    let halvings = norm.max(1.0).log2().ceil() as i32 + 1;
    let small = scaled(a, 0.5_f64.powi(halvings));
    let mut term = identity(a.len());
    let mut sum = term.clone();
    for k in 1..=18 {
        term = scaled(&matmul(&term, &small), 1.0 / f64::from(k));
        sum = add(&sum, &term);
    }
    (0..halvings).fold(sum, |root, _| matmul(&root, &root))
}

/// Solves `M x = n` for every given n, by elimination with row exchanges.
pub(crate) fn solve(mut m: Matrix, mut sides: Matrix) -> Matrix {
    let r = m.len();
    for k in 0..r {
        let pivot = (k..r).fold(k, |best, at| {
            if m[at][k].abs() > m[best][k].abs() {
                at
            } else {
                best
            }
        });
        m.swap(k, pivot);
        for n in &mut sides {
            n.swap(k, pivot);
        }
        for row in (0..r).filter(|row| *row != k) {
            let factor = m[row][k] / m[k][k];
            let pivot = m[k].clone();
            let columns = m[row].iter_mut().zip(pivot);
            columns.for_each(|(x, pivot)| *x -= factor * pivot);
            for n in &mut sides {
                n[row] -= factor * n[k];
            }
        }
    }
    for n in &mut sides {
        (0..r).for_each(|k| n[k] /= m[k][k]);
    }
    sides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(a: &Matrix, b: &Matrix) -> f64 {
        let difference = add(a, &scaled(b, -1.0));
        difference
            .iter()
            .flatten()
            .fold(0.0, |most, x| most.max(x.abs()))
    }

    #[test]
    fn both_rotations_of_a_skew_matrix_are_undone_by_its_negative() {
        let above: Vec<f32> = (0..10)
            .map(|k| ((k * 7 + 3) % 11) as f32 / 4.0 - 1.3)
            .collect();
        let q = skew(&above, 5);
        for turn in [cayley, exponential] {
            let (there, back) = (turn(&q), turn(&scaled(&q, -1.0)));
            assert!(
                apart(&matmul(&there, &back), &identity(5)) < 1e-12,
                "undone"
            );
            assert!(apart(&transposed(&there), &back) < 1e-12, "a rotation");
        }
    }

    #[test]
    fn a_plane_turns_by_the_angle() {
        let turned = exponential(&skew(&[0.7], 2));
        assert!(
            (turned[0][0] - 0.7_f64.cos()).abs() < 1e-6,
            "cos 0.7 (of an f32)"
        );
        assert!((turned[0][1] - 0.7_f64.sin()).abs() < 1e-6, "sin 0.7");
    }
}
