//! What logits say: probabilities, distances, entropy, the most probable tokens. Pure functions of
//! numbers in host memory.

use processor::slices::exp;

/// A next-token distribution: the softmax of one position's logits `[vocab]`.
#[derive(Debug)]
pub struct Distribution<'a> {
    logits: &'a [f32],
    largest: f32,
    /// `ln Σ exp`
    log_sum: f64,
}

impl<'a> Distribution<'a> {
    /// Of logits that are all finite: what else is among them makes the measures NaN or infinite.
    #[must_use]
    pub fn new(logits: &'a [f32]) -> Self {
        let largest = largest(logits);
        let sum = sum(logits, logits, |logit, _| exp(logit - largest));
        let log_sum = f64::from(largest) + sum.ln();
        Self {
            logits,
            largest,
            log_sum,
        }
    }

    /// `ln p(id)`, in nats; the id lies inside the vocabulary.
    #[must_use]
    pub fn log_probability(&self, id: u32) -> f64 {
        f64::from(self.logits[id as usize]) - self.log_sum
    }

    /// `−Σ p ln p`, in nats: 0 where one token is certain, `ln vocab` where all are alike.
    #[must_use]
    pub fn entropy_nats(&self) -> f64 {
        let weighed = sum(self.logits, self.logits, |logit, _| {
            let below = logit - self.largest;
            exp(below) * below
        });
        // Σ p (ln p): with ln p = below − (log_sum − largest).
        let above = self.log_sum - f64::from(self.largest);
        above - weighed * (-above).exp()
    }

    /// `KL(p ‖ q) = Σ p (ln p − ln q)`, in nats, of two distributions over one vocabulary; `None`
    /// where logits lie so far apart that it overflows.
    #[must_use]
    pub fn kl_nats(&self, q: &Self) -> Option<f64> {
        let apart = sum(self.logits, q.logits, |p, q| {
            exp(p - self.largest) * (p - q)
        });
        let share = apart * (f64::from(self.largest) - self.log_sum).exp();
        known_kl(share - (self.log_sum - q.log_sum))
    }

    /// The `n` most probable ids, most probable first; of equal ones the lower id first.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<u32> {
        let mut ids: Vec<u32> = Vec::with_capacity(n + 1);
        let logit = |id: u32| self.logits[id as usize];
        for id in 0..self.logits.len() as u32 {
            if ids.len() == n && ids.last().is_none_or(|&last| logit(id) <= logit(last)) {
                continue;
            }
            let at = ids.partition_point(|&better| logit(better) >= logit(id));
            ids.insert(at, id);
            ids.truncate(n);
        }
        ids
    }
}

/// `ln p` of each token of a continuation, in nats, from the logits `[n, vocab]` of the positions
/// before each of them: row 0 is the one after which `continuation[0]` stands.
#[must_use]
pub fn log_probabilities(logits: &[f32], vocab: usize, continuation: &[u32]) -> Vec<f64> {
    let rows = logits.chunks_exact(vocab).zip(continuation);
    rows.map(|(row, &id)| Distribution::new(row).log_probability(id))
        .collect()
}

/// `ln p − ln q` of two probabilities, in nats; `None` where one of them is too small for a number.
#[must_use]
pub fn log_ratio_nats(p: f64, q: f64) -> Option<f64> {
    let ratio = p.ln() - q.ln();
    ratio.is_finite().then_some(ratio)
}

/// A KL without the errors of rounding, which can leave it a little below 0; `None` where it
/// overflowed.
#[must_use]
pub fn known_kl(nats: f64) -> Option<f64> {
    nats.is_finite().then_some(nats.max(0.0))
}

pub(crate) fn largest(logits: &[f32]) -> f32 {
    logits.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// `Σ term(p, q)`, eight at a time, which become SIMD; their sums keep their digits in f64.
pub(crate) fn sum(p: &[f32], q: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let ((p, p_rest), (q, q_rest)) = (p.as_chunks::<8>(), q.as_chunks::<8>());
    let eights = p.iter().zip(q).map(|(p, q)| {
        let [a, b, c, d, e, f, g, h] = std::array::from_fn(|at| term(p[at], q[at]));
        f64::from(((a + e) + (b + f)) + ((c + g) + (d + h)))
    });
    let rest = p_rest.iter().zip(q_rest);
    eights.sum::<f64>() + rest.map(|(p, q)| f64::from(term(*p, *q))).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, -1.0, 2.5];

    #[test]
    fn kl_of_a_distribution_with_itself_is_zero() {
        let p = Distribution::new(&LOGITS);
        assert_eq!(p.kl_nats(&p), Some(0.0), "identity");
        let q = Distribution::new(&[0.0; 5]);
        let entropy: f64 = (0..5)
            .map(|id| -p.log_probability(id).exp() * p.log_probability(id))
            .sum();
        assert!(
            (p.kl_nats(&q).expect("finite") - (5_f64.ln() - entropy)).abs() < 1e-6,
            "KL to uniform"
        );
        let far = Distribution::new(&[3e38, -3e38, 0.0, 0.0, 0.0]);
        let opposite = Distribution::new(&[-3e38, 3e38, 0.0, 0.0, 0.0]);
        assert_eq!(far.kl_nats(&opposite), None, "no number, and never 0");
    }

    #[test]
    fn a_ratio_of_probabilities_is_a_difference_of_logits() {
        let (p, q) = (Distribution::new(&LOGITS), Distribution::new(&[0.0; 5]));
        for id in 0..5 {
            let apart = p.log_probability(id) - q.log_probability(id);
            let ratio = log_ratio_nats(p.log_probability(id).exp(), q.log_probability(id).exp());
            assert!((ratio.expect("finite") - apart).abs() < 1e-9, "{id}");
        }
        assert_eq!(
            log_ratio_nats(0.0, 0.5),
            None,
            "no number, and never infinite"
        );
        assert_eq!(log_ratio_nats(0.0, 0.0), None);
    }

    #[test]
    fn top_sorts() {
        assert_eq!(
            Distribution::new(&LOGITS).top(3),
            [1, 4, 2],
            "three largest"
        );
    }

    #[test]
    fn entropy_counts_equal_choices() {
        let even = Distribution::new(&[7.0; 8]).entropy_nats();
        assert!((even - 8_f64.ln()).abs() < 1e-6, "eight alike: {even}");
        let sure = Distribution::new(&[0.0, 80.0, 0.0]).entropy_nats();
        assert!(sure.abs() < 1e-6, "one is certain: {sure}");
        let p = Distribution::new(&LOGITS);
        let terms = (0..5).map(|id| -p.log_probability(id).exp() * p.log_probability(id));
        assert!((p.entropy_nats() - terms.sum::<f64>()).abs() < 1e-6);
    }

    #[test]
    fn a_continuation_is_read_position_by_position() {
        let rows = [LOGITS, [0.0; 5]].concat();
        let found = log_probabilities(&rows, 5, &[4, 2]);
        assert_eq!(found[0], Distribution::new(&LOGITS).log_probability(4));
        assert!((found[1] + 5_f64.ln()).abs() < 1e-6, "even chances");
    }
}
