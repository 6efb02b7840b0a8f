//! The small steps of a block over plain slices, in loops that compilers turn into SIMD.

use crate::quantised::Floats;

/// `h += y`
pub fn add(h: &mut [f32], y: &[f32]) {
    h.iter_mut().zip(y).for_each(|(h, y)| *h += y);
}

/// `x / √(mean x² + ε) ∘ γ` for rows as wide as γ; NaN for a row whose squares overflow, which would
/// all become 0 and look like a result.
#[must_use]
pub fn rms_norm(h: &[f32], gamma: &[f32], epsilon: f32) -> Vec<f32> {
    let mut x = Vec::with_capacity(h.len());
    for row in h.chunks_exact(gamma.len()) {
        let mean = dot(row, row) / row.len() as f32;
        let scale = if mean.is_finite() {
            1.0 / (mean + epsilon).sqrt()
        } else {
            f32::NAN
        };
        x.extend(row.iter().zip(gamma).map(|(h, gamma)| h * scale * gamma));
    }
    x
}

/// `h += by · y`
pub fn add_scaled(h: &mut [f32], y: &[f32], by: f32) {
    h.iter_mut().zip(y).for_each(|(h, y)| *h += by * y);
}

/// `gate = silu(gate) ∘ up`
pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exp(-*gate)) * up;
    }
}

/// `gate = gelu(gate) ∘ up`, by the hyperbolic tangent: `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`,
/// which is `x / (1 + e^−2z)` for that z.
pub fn geglu_tanh(gate: &mut [f32], up: &[f32]) {
    const TWICE: f32 = 1.595_769_2;
    for (gate, up) in gate.iter_mut().zip(up) {
        let x = *gate;
        let twice_z = TWICE * (x + 0.044_715 * x * x * x);
        *gate = x / (1.0 + exp(-twice_z)) * up;
    }
}

/// `x Wᵀ` for W `[o, i]` and two or three rows of `x [t, i]`: each number of W is read once for all of
/// them.
#[must_use]
pub fn products(w: &[f32], x: &[f32], i: usize) -> Vec<f32> {
    match x.len() / i {
        2 => products_of::<2>(w, x, i),
        _ => products_of::<3>(w, x, i),
    }
}

fn products_of<const T: usize>(w: &[f32], x: &[f32], i: usize) -> Vec<f32> {
    let o = w.len() / i;
    let x: [&[f32]; T] = std::array::from_fn(|t| &x[t * i..(t + 1) * i]);
    let whole = i / 8 * 8;
    let eights = x.map(|x| x[..whole].as_chunks::<8>().0);
    let mut y = vec![0.0; T * o];
    for (row, w) in w.chunks_exact(i).enumerate() {
        let mut sums = [[Floats::ZERO; 2]; T];
        for (at, w) in w[..whole].as_chunks::<8>().0.iter().enumerate() {
            let w = w.as_chunks::<4>().0;
            let w = [Floats::load(w[0]), Floats::load(w[1])];
            for (sums, x) in sums.iter_mut().zip(&eights) {
                let x = x[at].as_chunks::<4>().0;
                for n in 0..2 {
                    sums[n] = sums[n] + w[n] * Floats::load(x[n]);
                }
            }
        }
        for (t, [a, b]) in sums.into_iter().enumerate() {
            let [a, b, c, d] = (a + b).store();
            y[t * o + row] = (a + b) + (c + d) + dot(&w[whole..], &x[t][whole..]);
        }
    }
    y
}

/// `y += scale · (x Aᵀ) Bᵀ` for `x [t, i]`, `y [t, o]`, A `[r, i]` and B `[o, r]`.
pub fn low_rank([i, o, r]: [usize; 3], y: &mut [f32], x: &[f32], [a, b]: [&[f32]; 2], scale: f32) {
    let mut z = Vec::with_capacity(r);
    for (x, y) in x.chunks_exact(i).zip(y.chunks_exact_mut(o)) {
        z.clear();
        z.extend(a.chunks_exact(i).map(|a| dot(a, x) * scale));
        add_product(y, b, &z);
    }
}

/// `y += B z` for B `[o, r]`: four rows at a time, whose sums are the columns of one transposed
/// square.
fn add_product(y: &mut [f32], b: &[f32], z: &[f32]) {
    let r = z.len();
    let (fours, columns) = (y.len() / 4 * 4, r / 4 * 4);
    let (y, y_rest) = y.split_at_mut(fours);
    let (b, b_rest) = b.split_at(fours * r);
    for (y, b) in y
        .as_chunks_mut::<4>()
        .0
        .iter_mut()
        .zip(b.chunks_exact(4 * r))
    {
        let mut sums = [Floats::ZERO; 4];
        for (sum, b) in sums.iter_mut().zip(b.chunks_exact(r)) {
            for (b, z) in b.as_chunks::<4>().0.iter().zip(z.as_chunks::<4>().0) {
                *sum = *sum + Floats::load(*b) * Floats::load(*z);
            }
        }
        *y = (Floats::load(*y) + Floats::sum_each(sums)).store();
        for (y, b) in y.iter_mut().zip(b.chunks_exact(r)) {
            let rest = b[columns..].iter().zip(&z[columns..]);
            *y += rest.map(|(b, z)| b * z).sum::<f32>();
        }
    }
    for (y, b) in y_rest.iter_mut().zip(b_rest.chunks_exact(r)) {
        *y += dot(b, z);
    }
}

/// Replaces the first `seen` scores by their exponentials, less the largest, and the rest by 0;
/// returns the sum. The number of scores is a multiple of four.
pub fn softmax(scores: &mut [f32], seen: usize) -> f32 {
    scores[seen..].fill(f32::NEG_INFINITY);
    let mut largest = [f32::NEG_INFINITY; 4];
    for scores in scores.as_chunks::<4>().0 {
        for (largest, score) in largest.iter_mut().zip(scores) {
            *largest = if score > largest { *score } else { *largest };
        }
    }
    let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    for score in &mut scores[..seen] {
        *score = exp(*score - largest);
    }
    scores[seen..].fill(0.0);
    let mut sums = [0.0; 4];
    for shares in scores.as_chunks::<4>().0 {
        for (sum, share) in sums.iter_mut().zip(shares) {
            *sum += share;
        }
    }
    let [x, y, z, w] = sums;
    (x + y) + (z + w)
}

/// `Σ a b` in sixteen interleaved sums, four SIMD registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [Floats::splat(0.0); 4];
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a.as_chunks::<4>().0, b.as_chunks::<4>().0);
        for n in 0..4 {
            sums[n] = sums[n] + Floats::load(a[n]) * Floats::load(b[n]);
        }
    }
    let ((a, a_rest), (b, b_rest)) = (a_rest.as_chunks::<4>(), b_rest.as_chunks::<4>());
    for (a, b) in a.iter().zip(b) {
        sums[0] = sums[0] + Floats::load(*a) * Floats::load(*b);
    }
    let [x, y, z, w] = ((sums[0] + sums[1]) + (sums[2] + sums[3])).store();
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    (x + y) + (z + w) + rest
}

/// eˣ within 2 units in the last place, without branches or calls, so that loops over it become
/// SIMD: `2ⁿ · e^r` with |r| ≤ ln 2 / 2, and Cephes' polynomial for e^r. Saturates outside ±87.
#[must_use]
pub fn exp(x: f32) -> f32 {
    const ROUNDER: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 87.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = rounded - ROUNDER;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 0.166_666_66;
    let p = p * r + 0.5;
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000));
    (p * r * r + r + 1.0) * power
}

#[cfg(test)]
mod tests {
    use super::{exp, geglu_tanh, rms_norm};

    #[test]
    fn a_norm_that_overflows_is_no_number() {
        let rows = [1.0, 2.0, 1e20, 0.0, f32::INFINITY, 0.0];
        let found = rms_norm(&rows, &[1.0, 1.0], 1e-5);
        assert!(found[..2].iter().all(|x| x.is_finite()), "{found:?}");
        assert!(found[2..].iter().all(|x| x.is_nan()), "{found:?}");
    }

    #[test]
    fn gelu_is_the_tanh_formula() {
        for step in -1200..=1200 {
            let x = step as f32 / 100.0;
            let mut found = [x];
            geglu_tanh(&mut found, &[1.0]);
            let x = f64::from(x);
            let z = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            let expected = x / 2.0 * (1.0 + z.tanh());
            assert!(
                (f64::from(found[0]) - expected).abs() < 1e-6 * x.abs().max(1.0),
                "gelu({x}) is {}, not {expected}",
                found[0]
            );
        }
    }

    #[test]
    fn exp_is_near_the_true_one() {
        for step in -87_000..=87_000 {
            let x = step as f32 / 1000.0;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(
                (found / expected - 1.0).abs() < 3e-7,
                "exp({x}) is {found}, not {expected}"
            );
        }
        assert!(exp(f32::NAN).is_nan(), "NaN stays visible");
    }
}
