//! Numbers about numbers: slopes, intervals, orders, shares.

use serde::Serialize;

use crate::sample::noise_key;

/// A mean with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Slope {
    /// Mean over prompts, in nats per token and unit of c.
    pub mean: f64,
    /// 2.5th percentile of the means of resampled prompts.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

/// How often prompts are drawn anew for an interval.
const RESAMPLES: usize = 2000;

/// The least-squares slope of `y` over `x`.
pub(super) fn slope(x: &[f64], y: &[f64]) -> f64 {
    let (mx, my) = (mean(x), mean(y));
    let both = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my));
    let alone = x.iter().map(|x| (x - mx).powi(2));
    both.sum::<f64>() / alone.sum::<f64>()
}

/// The mean of slopes and where it lies when the prompts are others: percentiles of the means of as
/// many prompts drawn with replacement. One prompt has no interval but itself.
pub(super) fn bootstrap(slopes: &[f64], seed: u64) -> Slope {
    let n = slopes.len();
    let resampled = |at: usize| {
        let drawn = (0..n).map(|draw| {
            let [number, _] = noise_key(seed, at * n + draw);
            slopes[((u64::from(number) * n as u64) >> 32) as usize]
        });
        drawn.sum::<f64>() / n as f64
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(resampled).collect();
    means.sort_unstable_by(f64::total_cmp);
    Slope {
        mean: mean(slopes),
        low: percentile(&means, 2.5),
        high: percentile(&means, 97.5),
    }
}

/// Kendall's τ: 1 where `y` always rises with `x`, −1 where it always falls. Ties count for neither.
pub(super) fn kendall_tau(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len();
    let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
    let sign = |(i, j): (usize, usize)| {
        let product = (x[i] - x[j]) * (y[i] - y[j]);
        if product == 0.0 {
            0.0
        } else {
            product.signum()
        }
    };
    pairs.map(sign).sum::<f64>() / (n * (n - 1) / 2) as f64
}

pub(super) fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// The share of numbers for which something holds.
pub(super) fn share<T>(all: &[T], holds: impl Fn(&T) -> bool) -> f64 {
    all.iter().filter(|one| holds(one)).count() as f64 / all.len() as f64
}

/// The percentile of ascending numbers, between two of them as far as it lies between them (numpy's
/// default).
pub(super) fn percentile(ascending: &[f64], percent: f64) -> f64 {
    let at = (ascending.len() - 1) as f64 * percent / 100.0;
    let (low, high) = (
        ascending[at.floor() as usize],
        ascending[at.ceil() as usize],
    );
    // Not a weighted sum: beside an infinity it would be NaN.
    if low == high {
        low
    } else {
        low + (high - low) * at.fract()
    }
}

/// The share of the 4-grams of some texts that occurred before in the same text; 0 where none is
/// long enough.
pub(super) fn repeated_4_grams(texts: &[&[u32]]) -> f64 {
    let (mut repeated, mut all) = (0, 0);
    for text in texts {
        let mut grams: Vec<&[u32]> = text.windows(4).collect();
        all += grams.len();
        grams.sort_unstable();
        repeated += grams.len();
        grams.dedup();
        repeated -= grams.len();
    }
    if all == 0 {
        0.0
    } else {
        f64::from(repeated as u32) / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        let x = [-1.0, 0.0, 1.0, 3.0];
        let y = x.map(|x| 2.5 * x - 4.0);
        assert!((slope(&x, &y) - 2.5).abs() < 1e-12);
        assert_eq!(kendall_tau(&x, &y), 1.0);
        assert_eq!(kendall_tau(&x, &y.map(|y| -y)), -1.0);
        assert!((kendall_tau(&x, &[0.0, 0.0, 1.0, 0.5]) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn intervals_hold_the_mean_and_repeat() {
        let slopes = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let found = bootstrap(&slopes, 7);
        assert_eq!(found, bootstrap(&slopes, 7));
        assert_eq!(found.mean, 3.5);
        // The mean's standard error is 0.70.
        assert!((found.low - 2.17).abs() < 0.15, "{found:?}");
        assert!((found.high - 4.83).abs() < 0.15, "{found:?}");
        let one = bootstrap(&[2.0], 7);
        assert_eq!((one.low, one.high), (2.0, 2.0));
    }

    #[test]
    fn percentiles_lie_between_numbers() {
        let numbers = [0.0, 1.0, 2.0, 10.0];
        assert_eq!(percentile(&numbers, 50.0), 1.5);
        assert_eq!(percentile(&numbers, 100.0), 10.0);
        assert!((percentile(&numbers, 95.0) - 8.8).abs() < 1e-12);
        assert_eq!(percentile(&[1.0, f64::INFINITY], 100.0), f64::INFINITY);
    }

    #[test]
    fn repetition_counts_what_came_before() {
        assert_eq!(repeated_4_grams(&[&[1, 2, 3, 4, 5]]), 0.0);
        // Three 4-grams of one token, of which two came before; two that are new.
        let found = repeated_4_grams(&[&[1; 6], &[1, 2, 3, 4, 5]]);
        assert_eq!(found, 2.0 / 5.0);
        assert_eq!(repeated_4_grams(&[&[1, 2]]), 0.0);
    }
}
