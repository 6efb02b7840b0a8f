//! The small steps of a block over plain slices, in loops that compilers turn into SIMD.

use crate::quantised::Floats;

/// `h += y`
pub fn add(h: &mut [f32], y: &[f32]) {
    h.iter_mut().zip(y).for_each(|(h, y)| *h += y);
}

/// `x / √(mean x² + ε) ∘ γ` for rows as wide as γ.
pub fn rms_norm(h: &[f32], gamma: &[f32], epsilon: f32) -> Vec<f32> {
    let mut x = Vec::with_capacity(h.len());
    for row in h.chunks_exact(gamma.len()) {
        let mean = dot(row, row) / row.len() as f32;
        let scale = 1.0 / (mean + epsilon).sqrt();
        x.extend(row.iter().zip(gamma).map(|(h, gamma)| h * scale * gamma));
    }
    x
}

/// `gate = silu(gate) ∘ up`
pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exp(-*gate)) * up;
    }
}

/// How attention is divided.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Query heads.
    pub all: usize,
    /// Query heads that share a key head.
    pub groups: usize,
    /// Numbers in a head.
    pub width: usize,
}

/// Causal attention of the newest t positions: `q [t, heads, hd]`, keys and values
/// `[start + t, kv_heads, hd]`, gives `[t, heads·hd]`.
pub fn attend(q: &[f32], keys: &[f32], values: &[f32], heads: Heads) -> Vec<f32> {
    let Heads {
        all: heads,
        groups,
        width: hd,
    } = heads;
    let kv_width = heads / groups * hd;
    let start = keys.len() / kv_width - q.len() / (heads * hd);
    let scale = 1.0 / (hd as f32).sqrt();
    let mut out = vec![0.0; q.len()];
    let mut shares = Vec::new();
    for (at, (q, out)) in q.chunks_exact(hd).zip(out.chunks_exact_mut(hd)).enumerate() {
        let (seen, head) = (start + at / heads + 1, at % heads);
        let column = head / groups * hd;
        shares.clear();
        shares.extend(
            keys.chunks_exact(kv_width)
                .take(seen)
                .map(|key| dot(q, &key[column..column + hd]) * scale),
        );
        let largest = shares.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        shares
            .iter_mut()
            .for_each(|score| *score = exp(*score - largest));
        let total: f32 = shares.iter().sum();
        let of_head = |at: usize| &values[at * kv_width + column..][..hd];
        let (fours, rest) = shares.as_chunks::<4>();
        for (at, shares) in fours.iter().enumerate() {
            let rows = [4 * at, 4 * at + 1, 4 * at + 2, 4 * at + 3].map(of_head);
            add_scaled(out, *shares, rows);
        }
        for (at, share) in (4 * fours.len()..).zip(rest) {
            add_scaled(out, [*share], [of_head(at)]);
        }
        out.iter_mut().for_each(|out| *out /= total);
    }
    out
}

/// `out += Σ share · value`: several at a time, so that `out` is written less often.
fn add_scaled<const N: usize>(out: &mut [f32], shares: [f32; N], values: [&[f32]; N]) {
    let fours = out.len() / 4 * 4;
    let (out, rest) = out.as_chunks_mut::<4>();
    let vectors = values.map(|value| value.as_chunks::<4>().0);
    for (at, out) in out.iter_mut().enumerate() {
        let mut sum = Floats::load(*out);
        for n in 0..N {
            sum = sum + Floats::splat(shares[n]) * Floats::load(vectors[n][at]);
        }
        *out = sum.store();
    }
    for (at, out) in (fours..).zip(rest) {
        *out += (0..N).map(|n| shares[n] * values[n][at]).sum::<f32>();
    }
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
    let [x, y, z, w] = ((sums[0] + sums[1]) + (sums[2] + sums[3])).store();
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    (x + y) + (z + w) + rest
}

/// eˣ within 2 units in the last place, without branches or calls, so that loops over it become
/// SIMD: `2ⁿ · e^r` with |r| ≤ ln 2 / 2, and Cephes' polynomial for e^r. Saturates outside ±87.
fn exp(x: f32) -> f32 {
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
    use super::exp;

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
