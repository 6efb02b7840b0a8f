//! A logistic probe: the direction w that tells positive states from negative ones.
//!
//! ```text
//! x_i = (h_i − mean h) / s,   s² = mean ‖h_i − mean h‖²      one s, which turns no direction
//! minimise  mean_i ln(1 + exp(−y_i (w·x_i + b))) + λ/2 ‖w‖²,   λ = 0.01, b free
//! ```
//! scikit-learn's `LogisticRegression(C = 1 / (λ n))` on the same x, n of them. It is strictly convex in w:
//! Newton's method, each step by conjugate gradients and shortened until the loss falls, until the gradient
//! is below 1e-9 or rounding lets it fall no further.

use super::contrast::Contrast;
use crate::linalg::svd::norm;

/// λ
const DECAY: f64 = 0.01;
/// The gradient at which it is done.
const ENOUGH: f64 = 1e-9;
/// Newton steps, far more than any data has needed.
const MOST_STEPS: usize = 200;

/// `[d]`, of length 1, or why there is none.
pub(super) fn direction(contrast: &Contrast) -> Result<Vec<f64>, String> {
    let (mut rows, labels) = contrast.labelled();
    let (n, d) = (rows.len() as f64, rows[0].len());
    let mut mean = vec![0.0; d];
    for row in &rows {
        add(&mut mean, 1.0 / n, row);
    }
    for row in &mut rows {
        add(row, -1.0, &mean);
    }
    let spread = (rows.iter().map(|row| dot(row, row)).sum::<f64>() / n).sqrt();
    if spread <= contrast.smallest() {
        return Err("all texts have the same state, so that nothing tells them apart".into());
    }
    for row in &mut rows {
        for x in row.iter_mut() {
            *x /= spread;
        }
        row.push(1.0);
    }
    let mut w = Probe { rows, labels }.fit();
    w.pop();
    let length = norm(&w);
    if length <= 1e-6 {
        return Err("both sides have the same texts, so that nothing tells them apart".into());
    }
    Ok(w.iter().map(|x| x / length).collect())
}

/// States `[n][d + 1]`, the last number 1, whose weight is b.
struct Probe {
    rows: Vec<Vec<f64>>,
    labels: Vec<f64>,
}

impl Probe {
    /// w and b.
    fn fit(&self) -> Vec<f64> {
        let mut w = vec![0.0; self.rows[0].len()];
        let mut loss = self.loss(&w);
        for _ in 0..MOST_STEPS {
            let (gradient, curvature) = self.slope(&w);
            if norm(&gradient) <= ENOUGH {
                break;
            }
            let step = self.newton(&gradient, &curvature);
            let falls = dot(&gradient, &step);
            let shorter = (0..40).map(|halvings| 0.5_f64.powi(halvings));
            let tried = shorter.map(|by| {
                let mut there = w.clone();
                add(&mut there, by, &step);
                (by, self.loss(&there), there)
            });
            let mut enough = tried.filter(|(by, new, _)| *new <= loss + 1e-4 * by * falls);
            let Some((_, new, there)) = enough.next() else {
                break;
            };
            (loss, w) = (new, there);
        }
        w
    }

    fn loss(&self, w: &[f64]) -> f64 {
        let each = self.rows.iter().zip(&self.labels);
        let losses = each.map(|(row, y)| {
            let margin = y * dot(row, w);
            // ln(1 + e^−m), which does not overflow.
            (-margin).max(0.0) + (-margin.abs()).exp().ln_1p()
        });
        losses.sum::<f64>() / self.rows.len() as f64 + DECAY / 2.0 * decayed(w, w)
    }

    /// The gradient `[d + 1]`, and of each row how much its loss is curved, `[n]`.
    fn slope(&self, w: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let n = self.rows.len() as f64;
        let mut gradient = decay(w);
        let mut curvature = Vec::with_capacity(self.rows.len());
        for (row, y) in self.rows.iter().zip(&self.labels) {
            let wrong = 1.0 / (1.0 + (y * dot(row, w)).exp());
            add(&mut gradient, -y * wrong / n, row);
            curvature.push(wrong * (1.0 - wrong) / n);
        }
        (gradient, curvature)
    }

    /// `−H⁻¹ g` by conjugate gradients.
    fn newton(&self, gradient: &[f64], curvature: &[f64]) -> Vec<f64> {
        let product = |v: &[f64]| {
            let mut y = decay(v);
            for (row, curved) in self.rows.iter().zip(curvature) {
                add(&mut y, curved * dot(row, v), row);
            }
            y
        };
        let mut step = vec![0.0; gradient.len()];
        let mut rest: Vec<f64> = gradient.iter().map(|x| -x).collect();
        let mut along = rest.clone();
        let start = norm(gradient);
        let mut left = dot(&rest, &rest);
        // In exact numbers as many as there are rows, and b.
        for _ in 0..2 * self.rows.len() + 10 {
            if left.sqrt() <= start * start.min(1e-2) {
                break;
            }
            let curved = product(&along);
            let by = left / dot(&along, &curved);
            add(&mut step, by, &along);
            add(&mut rest, -by, &curved);
            let new = dot(&rest, &rest);
            let scale = new / left;
            for (along, rest) in along.iter_mut().zip(&rest) {
                *along = rest + scale * *along;
            }
            left = new;
        }
        step
    }
}

/// λ w, and nothing of b.
fn decay(w: &[f64]) -> Vec<f64> {
    let mut y: Vec<f64> = w.iter().map(|x| DECAY * x).collect();
    if let Some(b) = y.last_mut() {
        *b = 0.0;
    }
    y
}

/// `v·w` without b.
fn decayed(v: &[f64], w: &[f64]) -> f64 {
    let last = v.len() - 1;
    dot(&v[..last], &w[..last])
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(x, y)| *x += factor * y);
}

#[cfg(test)]
mod tests {
    use super::{DECAY, Probe, norm};

    /// By symmetry b = 0, and in one dimension the gradient is `λw − σ(−w)`.
    #[test]
    fn one_dimension_can_be_done_with_a_pencil() {
        let rows = vec![vec![1.0, 1.0], vec![-1.0, 1.0]];
        let labels = vec![1.0, -1.0];
        let probe = Probe { rows, labels };
        let w = probe.fit();
        let slope = DECAY * w[0] - 1.0 / (1.0 + w[0].exp());
        assert!(slope.abs() < 1e-9 && w[1].abs() < 1e-9, "{w:?}");
        assert!(norm(&probe.slope(&w).0) < 1e-9, "the gradient is 0");
    }
}
