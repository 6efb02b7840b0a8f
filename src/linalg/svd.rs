//! The strongest directions of a weight: host maths in f64.

use std::ops::Range;

/// A symmetric tridiagonal matrix: its diagonal and its off-diagonal.
type Tridiagonal = (Vec<f64>, Vec<f64>);

/// Singular values of a matrix `[o, i]`, with their vectors.
pub(crate) struct Parts {
    /// `[o, r]`, columns of length one.
    pub(crate) u: Vec<f32>,
    /// `[r]`, falling.
    pub(crate) s: Vec<f32>,
    /// `[r, i]`, rows of length one.
    pub(crate) v: Vec<f32>,
}

/// A range of the singular values of W `[o, i]`, by falling size, with their vectors.
pub(crate) fn parts(w: &[f32], [o, i]: [usize; 2], range: Range<usize>) -> Parts {
    let (q, mut other) = sides(w, [o, i], range);
    let mut s = Vec::with_capacity(q.len());
    for x in &mut other {
        let length = norm(x);
        s.push(length as f32);
        for x in x {
            *x /= length.max(f64::MIN_POSITIVE);
        }
    }
    let (v, u) = if i <= o { (q, other) } else { (other, q) };
    let (v, u) = stacked(&v, &u);
    Parts { u, s, v }
}

/// Thin factors `(A [r, i], B [o, r])` whose product B A is what W `[o, i]` is in a range of its
/// singular values, by falling size: the best approximation of rank r, if they are the first.
pub(crate) fn truncated(
    w: &[f32],
    [o, i]: [usize; 2],
    range: Range<usize>,
) -> (Vec<f32>, Vec<f32>) {
    let (q, other) = sides(w, [o, i], range);
    let (a, b) = if i <= o { (q, other) } else { (other, q) };
    stacked(&a, &b)
}

/// Directions of the narrower side of W, orthonormal, and what W makes of each, on the other side: W Q Qᵀ
/// or Q Qᵀ W is their part of W.
fn sides(w: &[f32], [o, i]: [usize; 2], range: Range<usize>) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let rows = Rows::new(w, i);
    let q = strongest(|x| rows.squared(x), i.min(o), range.end).split_off(range.start);
    let other = q
        .iter()
        .map(|q| if i <= o { rows.of(q) } else { rows.back(q) })
        .collect();
    (q, other)
}

/// W `[o, i]`, row by row.
struct Rows {
    rows: Vec<Vec<f64>>,
    i: usize,
}

impl Rows {
    fn new(w: &[f32], i: usize) -> Self {
        let row = |row: &[f32]| row.iter().copied().map(f64::from).collect();
        let rows = w.chunks(i).map(row).collect();
        Self { rows, i }
    }

    /// W x
    fn of(&self, x: &[f64]) -> Vec<f64> {
        self.rows.iter().map(|row| dot(row, x)).collect()
    }

    /// Wᵀ y
    fn back(&self, y: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; self.i];
        for (row, y) in self.rows.iter().zip(y) {
            add(&mut x, *y, row);
        }
        x
    }

    /// WᵀW x or WWᵀ x, on the narrower side.
    fn squared(&self, x: &[f64]) -> Vec<f64> {
        if self.i <= self.rows.len() {
            self.back(&self.of(x))
        } else {
            self.of(&self.back(x))
        }
    }
}

/// How many multiplications [`values`] takes for one matrix, about: a second in a browser's module.
const WORK: usize = 600_000_000;

/// The largest singular values of W `[o, i]`, falling, `most` at most: all of them where it has no more. Of
/// a large matrix fewer come: those that are certain after as many steps as there is time for, by a bound of a
/// thousandth, of which their true error is about the square.
pub(crate) fn values(w: &[f32], [o, i]: [usize; 2], most: usize) -> Vec<f64> {
    let (rows, n) = (Rows::new(w, i), o.min(i));
    let steps = (WORK / (2 * o * i).max(1))
        .clamp(32, 4 * most.max(32))
        .min(n);
    let mut lanczos = Lanczos::new(|x| rows.squared(x), n);
    for _ in 0..steps {
        lanczos.step();
    }
    let last = steps - 1;
    let (squares, ends) = eigen(lanczos.tridiagonal.clone(), last..steps);
    let mut order: Vec<usize> = (0..steps).collect();
    order.sort_by(|a, b| squares[*b].total_cmp(&squares[*a]));
    let off = |k: usize| (lanczos.rest * ends[k][0]).abs();
    let certain = |k: &usize| steps == n || off(*k) <= 1e-3 * squares[*k];
    let found = order.into_iter().take(most).take_while(certain);
    found.map(|k| squares[k].max(0.0).sqrt()).collect()
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
    let mut lanczos = Lanczos::new(apply, n);
    let mut check = (2 * r + 16).min(n);
    loop {
        lanczos.step();
        let Lanczos { basis, rest, .. } = &lanczos;
        if basis.len() >= check {
            let (values, vectors) = eigen(lanczos.tridiagonal.clone(), 0..basis.len());
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
            order.truncate(r);
            let off = |k: &usize| (rest * vectors[*k][basis.len() - 1]).abs();
            let enough = order.iter().all(|k| off(k) <= 1e-12 * values[order[0]]);
            if enough || basis.len() == n {
                return order.iter().map(|k| mix(basis, &vectors[*k])).collect();
            }
            check = (check * 3 / 2).min(n);
        }
    }
}

/// Lanczos' method: an orthonormal basis, one vector for each step, in which the operator is tridiagonal.
struct Lanczos<F> {
    apply: F,
    n: usize,
    /// Of the random numbers.
    state: u64,
    basis: Vec<Vec<f64>>,
    tridiagonal: Tridiagonal,
    next: Vec<f64>,
    /// What the basis leaves out: the length of the next vector.
    rest: f64,
}

impl<F: Fn(&[f64]) -> Vec<f64>> Lanczos<F> {
    fn new(apply: F, n: usize) -> Self {
        let mut made = Self {
            apply,
            n,
            state: 1,
            basis: Vec::new(),
            tridiagonal: (Vec::new(), Vec::new()),
            next: Vec::new(),
            rest: 0.0,
        };
        made.next = made.random();
        made
    }

    fn random(&mut self) -> Vec<f64> {
        let mut draw = || {
            self.state = self
                .state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.state >> 33) as f64 / 2_f64.powi(31) - 0.5
        };
        (0..self.n).map(|_| draw()).collect()
    }

    /// Adds a vector to a basis of fewer than n.
    fn step(&mut self) {
        if !self.basis.is_empty() {
            self.tridiagonal.1.push(self.rest);
        }
        let mut next = std::mem::take(&mut self.next);
        let length = norm(&next);
        for x in &mut next {
            *x /= length;
        }
        self.basis.push(next);
        let last = &self.basis[self.basis.len() - 1];
        let mut next = (self.apply)(last);
        self.tridiagonal.0.push(dot(last, &next));
        upright(&mut next, &self.basis);
        self.rest = norm(&next);
        let diagonal = &self.tridiagonal.0;
        let largest = diagonal.iter().fold(0.0_f64, |max, x| max.max(*x));
        if self.rest <= 1e-14 * largest && self.basis.len() < self.n {
            // The space so far is invariant: go on in its complement.
            self.rest = 0.0;
            next = self.random();
            upright(&mut next, &self.basis);
        }
        self.next = next;
    }
}

/// Eigenvalues and eigenvectors (one per entry) of a symmetric tridiagonal matrix, by implicit
/// QL steps with Wilkinson's shift. Of the vectors only these numbers are computed.
fn eigen((mut d, mut e): Tridiagonal, kept: Range<usize>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = d.len();
    e.resize(n, 0.0);
    let unit = |k| kept.clone().map(move |at| f64::from(u8::from(at == k)));
    let mut vectors: Vec<Vec<f64>> = (0..n).map(|k| unit(k).collect()).collect();
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

/// `Σ a b` in eight interleaved sums, which become SIMD.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for n in 0..8 {
            sums[n] += a[n] * b[n];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

pub(crate) fn norm(v: &[f64]) -> f64 {
    dot(v, v).sqrt()
}

#[cfg(test)]
mod tests {
    use super::{leading_columns, norm, parts, truncated, values};

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
            let (a, b) = truncated(&w, shape, 0..4);
            let error = worst(&product(&a, &b, shape, 4), &sum(o, i, 4));
            assert!(error < 1e-5, "{shape:?}: {error}");
            let (a, b) = truncated(&w, shape, 4..90);
            let rest: Vec<f32> = w.iter().zip(sum(o, i, 4)).map(|(w, x)| w - x).collect();
            let error = worst(&product(&a, &b, shape, 86), &rest);
            assert!(error < 1e-5, "{shape:?}, the others: {error}");
        }
    }

    #[test]
    fn values_come_with_their_vectors() {
        for shape @ [o, i] in [[150, 90], [90, 150]] {
            let found = parts(&sum(o, i, 90), shape, 0..4);
            for k in 0..4 {
                let wanted = 3.0 * 0.97_f64.powi(k as i32);
                assert!(
                    (f64::from(found.s[k]) - wanted).abs() < 1e-5,
                    "{:?}",
                    found.s
                );
                let u: Vec<f64> = (0..o).map(|row| found.u[row * 4 + k].into()).collect();
                let v: Vec<f64> = found.v[k * i..][..i].iter().map(|x| (*x).into()).collect();
                assert!((norm(&u) - 1.0).abs() < 1e-5, "{shape:?}: |u|");
                assert!((norm(&v) - 1.0).abs() < 1e-5, "{shape:?}: |v|");
            }
            let a: Vec<f32> = (0..4 * i).map(|at| found.s[at / i] * found.v[at]).collect();
            let error = worst(&product(&a, &found.u, shape, 4), &sum(o, i, 4));
            assert!(error < 1e-5, "{shape:?}: {error}");
        }
    }

    #[test]
    fn the_largest_values_come_alone() {
        for shape @ [o, i] in [[150, 90], [90, 150]] {
            let found = values(&sum(o, i, 90), shape, 64);
            assert_eq!(found.len(), 64, "{shape:?}");
            for (k, found) in found.iter().enumerate() {
                let wanted = 3.0 * 0.97_f64.powi(k as i32);
                assert!((found - wanted).abs() < 1e-5, "{shape:?}, {k}: {found}");
            }
            // Of rank 3: what is left is rounding.
            let few = values(&sum(o, i, 3), shape, 64);
            assert!(few[2] > 2.8 && few[3] < 1e-5, "{:?}", &few[..4]);
        }
        // As large as a model's: fewer steps than it is wide, and no number that is not certain.
        let large = values(&sum(340, 360, 340), [340, 360], 64);
        assert!(large.len() >= 32, "{} are certain", large.len());
        for (k, found) in large.iter().enumerate() {
            let wanted = 3.0 * 0.97_f64.powi(k as i32);
            assert!((found / wanted - 1.0).abs() < 1e-5, "{k}: {found}");
        }
    }

    #[test]
    fn degenerate_matrices_are_no_trouble() {
        assert_eq!(values(&[0.0; 12], [3, 4], 64), [0.0; 3], "nothing");
        let unit: Vec<f32> = (0..9).map(|at| f32::from(u8::from(at % 4 == 0))).collect();
        let equal = values(&unit, [3, 3], 64);
        assert!(equal.iter().all(|x| (x - 1.0).abs() < 1e-9), "{equal:?}");
        let (a, b) = truncated(&[0.0; 12], [3, 4], 0..2);
        assert_eq!(product(&a, &b, [3, 4], 2), [0.0; 12], "nothing");
        let unit: Vec<f32> = (0..9).map(|at| f32::from(u8::from(at % 4 == 0))).collect();
        let (a, b) = truncated(&unit, [3, 3], 0..3);
        assert!(
            worst(&product(&a, &b, [3, 3], 3), &unit) < 1e-6,
            "equal singular values"
        );
        let (a, b) = leading_columns(&[0.0; 12], [3, 4], 2);
        assert_eq!(product(&a, &b, [3, 4], 2), [0.0; 12], "no columns");
    }
}
