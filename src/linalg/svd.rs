//! The strongest directions of a weight: host maths in f64.

/// A symmetric tridiagonal matrix: its diagonal and its off-diagonal.
type Tridiagonal = (Vec<f64>, Vec<f64>);

/// Thin factors `(A [r, i], B [o, r])` whose product B A is the best approximation of rank r to
/// W `[o, i]`: its r largest singular values with their vectors.
pub(crate) fn truncated(w: &[f32], [o, i]: [usize; 2], r: usize) -> (Vec<f32>, Vec<f32>) {
    let rows: Vec<Vec<f64>> = w
        .chunks(i)
        .map(|row| row.iter().copied().map(f64::from).collect())
        .collect();
    let by_row = |x: &[f64]| -> Vec<f64> { rows.iter().map(|row| dot(row, x)).collect() };
    let by_column = |y: &[f64]| {
        let mut x = vec![0.0; i];
        for (row, y) in rows.iter().zip(y) {
            add(&mut x, *y, row);
        }
        x
    };
    // Q spans the strongest directions of the narrower side; W Q Qᵀ or Q Qᵀ W is the approximation.
    let narrow = i <= o;
    let q = if narrow {
        strongest(|x| by_column(&by_row(x)), i, r)
    } else {
        strongest(|y| by_row(&by_column(y)), o, r)
    };
    let other: Vec<Vec<f64>> = if narrow {
        q.iter().map(|x| by_row(x)).collect()
    } else {
        q.iter().map(|y| by_column(y)).collect()
    };
    let (a, b) = if narrow { (q, other) } else { (other, q) };
    stacked(&a, &b)
}

/// Thin factors `(A [r, i], B [o, r])` of W `[o, i]` projected onto the span of its first r
/// columns: the first r rows and columns of its QR decomposition.
pub(crate) fn leading_columns(w: &[f32], [o, i]: [usize; 2], r: usize) -> (Vec<f32>, Vec<f32>) {
    let column = |k: usize| -> Vec<f64> { (0..o).map(|row| w[row * i + k].into()).collect() };
    let mut q: Vec<Vec<f64>> = Vec::with_capacity(r);
    for k in 0..r {
        let mut v = column(k);
        let length = norm(&v);
        upright(&mut v, &q);
        // A column inside the span of those before it adds no direction.
        let left = norm(&v);
        if left > 1e-9 * length {
            for x in &mut v {
                *x /= left;
            }
            q.push(v);
        } else {
            q.push(vec![0.0; o]);
        }
    }
    let columns: Vec<Vec<f64>> = (0..i).map(column).collect();
    let a: Vec<Vec<f64>> = q
        .iter()
        .map(|q| columns.iter().map(|column| dot(q, column)).collect())
        .collect();
    stacked(&a, &q)
}

/// Rows `[r][i]` as A `[r, i]`, and `[r][o]` as B `[o, r]`.
fn stacked(a: &[Vec<f64>], b: &[Vec<f64>]) -> (Vec<f32>, Vec<f32>) {
    let o = b.first().map_or(0, Vec::len);
    let a = a.iter().flatten().map(|x| *x as f32).collect();
    let b = (0..o).flat_map(|row| b.iter().map(move |column| column[row] as f32));
    (a, b.collect())
}

/// The r eigenvectors of largest eigenvalue of a symmetric positive semidefinite operator on `[n]`,
/// by Lanczos' method with full reorthogonalisation.
pub(crate) fn strongest(apply: impl Fn(&[f64]) -> Vec<f64>, n: usize, r: usize) -> Vec<Vec<f64>> {
    let r = r.min(n);
    let mut state = 1_u64;
    let mut random = || -> Vec<f64> {
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as f64 / 2_f64.powi(31) - 0.5
        };
        (0..n).map(|_| draw()).collect()
    };
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let (mut diagonal, mut beside): Tridiagonal = (Vec::new(), Vec::new());
    let mut next = random();
    let mut check = (2 * r + 16).min(n);
    loop {
        let length = norm(&next);
        for x in &mut next {
            *x /= length;
        }
        basis.push(next);
        let last = &basis[basis.len() - 1];
        next = apply(last);
        diagonal.push(dot(last, &next));
        upright(&mut next, &basis);
        let mut rest = norm(&next);
        let largest = diagonal.iter().fold(0.0_f64, |max, x| max.max(*x));
        if rest <= 1e-14 * largest && basis.len() < n {
            // The space so far is invariant: go on in its complement.
            rest = 0.0;
            next = random();
            upright(&mut next, &basis);
        }
        if basis.len() >= check {
            let (values, vectors) = eigen((diagonal.clone(), beside.clone()));
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
            order.truncate(r);
            let off = |k: &usize| (rest * vectors[*k][basis.len() - 1]).abs();
            let enough = order.iter().all(|k| off(k) <= 1e-12 * values[order[0]]);
            if enough || basis.len() == n {
                return order.iter().map(|k| mix(&basis, &vectors[*k])).collect();
            }
            check = (check * 3 / 2).min(n);
        }
        beside.push(rest);
    }
}

/// Eigenvalues and eigenvectors (one per entry) of a symmetric tridiagonal matrix, by implicit
/// QL steps with Wilkinson's shift.
fn eigen((mut d, mut e): Tridiagonal) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = d.len();
    e.resize(n, 0.0);
    let mut vectors: Vec<Vec<f64>> = (0..n)
        .map(|k| (0..n).map(|at| f64::from(u8::from(at == k))).collect())
        .collect();
    for l in 0..n {
        loop {
            let small = |m: &usize| e[*m].abs() <= f64::EPSILON * (d[*m].abs() + d[*m + 1].abs());
            let m = (l..n - 1).find(small).unwrap_or(n - 1);
            if m == l {
                break;
            }
            let half = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let shift = half + half.hypot(1.0).copysign(half);
            let (mut g, mut sin, mut cos, mut p) = (d[m] - d[l] + e[l] / shift, 1.0, 1.0, 0.0);
            let mut is_split = false;
            for k in (l..m).rev() {
                let (f, b) = (sin * e[k], cos * e[k]);
                let length = f.hypot(g);
                e[k + 1] = length;
                if length == 0.0 {
                    d[k + 1] -= p;
                    e[m] = 0.0;
                    is_split = true;
                    break;
                }
                (sin, cos) = (f / length, g / length);
                g = d[k + 1] - p;
                let turn = (d[k] - g) * sin + 2.0 * cos * b;
                p = sin * turn;
                d[k + 1] = g + p;
                g = cos * turn - b;
                let (before, after) = vectors.split_at_mut(k + 1);
                for (x, y) in before[k].iter_mut().zip(&mut after[0]) {
                    (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
                }
            }
            if !is_split {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
    (d, vectors)
}

/// Subtracts from v its part in the span of orthonormal vectors; twice, against rounding.
fn upright(v: &mut [f64], basis: &[Vec<f64>]) {
    for q in basis.iter().chain(basis) {
        add(v, -dot(v, q), q);
    }
}

/// `Σ_k weight_k · basis_k`
fn mix(basis: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; basis[0].len()];
    for (vector, weight) in basis.iter().zip(weights) {
        add(&mut sum, *weight, vector);
    }
    sum
}

fn add(to: &mut [f64], factor: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(x, y)| *x += factor * y);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

pub(crate) fn norm(v: &[f64]) -> f64 {
    dot(v, v).sqrt()
}

#[cfg(test)]
mod tests {
    use super::{leading_columns, truncated};

    /// The k-th vector of the discrete cosine basis of `[n]`.
    fn wave(k: usize, n: usize) -> impl Fn(usize) -> f64 {
        let length = if k == 0 { n as f64 } else { n as f64 / 2.0 };
        let angle = std::f64::consts::PI * k as f64 / n as f64;
        move |at| (angle * (at as f64 + 0.5)).cos() / length.sqrt()
    }

    /// `Σ_k σ_k u_k v_kᵀ` of known orthonormal vectors, with a slowly falling σ.
    fn sum(o: usize, i: usize, terms: usize) -> Vec<f32> {
        let term = |k: usize| {
            (
                wave(k, o),
                wave((k + 5) % i, i),
                3.0 * 0.97_f64.powi(k as i32),
            )
        };
        let terms: Vec<_> = (0..terms).map(term).collect();
        let at = |row: usize, column: usize| {
            terms
                .iter()
                .map(|(u, v, s)| s * u(row) * v(column))
                .sum::<f64>()
        };
        (0..o * i)
            .map(|place| at(place / i, place % i) as f32)
            .collect()
    }

    fn product(a: &[f32], b: &[f32], [o, i]: [usize; 2], r: usize) -> Vec<f32> {
        let at =
            |row: usize, column: usize| (0..r).map(|k| b[row * r + k] * a[k * i + column]).sum();
        (0..o * i).map(|place| at(place / i, place % i)).collect()
    }

    fn worst(a: &[f32], b: &[f32]) -> f32 {
        a.iter()
            .zip(b)
            .fold(0.0, |worst, (a, b)| worst.max((a - b).abs()))
    }

    #[test]
    fn the_strongest_directions_are_found() {
        for shape @ [o, i] in [[150, 90], [90, 150]] {
            let w = sum(o, i, 90);
            let (a, b) = truncated(&w, shape, 4);
            let error = worst(&product(&a, &b, shape, 4), &sum(o, i, 4));
            assert!(error < 1e-5, "{shape:?}: {error}");
        }
    }

    #[test]
    fn degenerate_matrices_are_no_trouble() {
        let (a, b) = truncated(&[0.0; 12], [3, 4], 2);
        assert_eq!(product(&a, &b, [3, 4], 2), [0.0; 12], "nothing");
        let unit: Vec<f32> = (0..9).map(|at| f32::from(u8::from(at % 4 == 0))).collect();
        let (a, b) = truncated(&unit, [3, 3], 3);
        assert!(
            worst(&product(&a, &b, [3, 3], 3), &unit) < 1e-6,
            "equal singular values"
        );
        let (a, b) = leading_columns(&[0.0; 12], [3, 4], 2);
        assert_eq!(product(&a, &b, [3, 4], 2), [0.0; 12], "no columns");
    }
}
