//! From logits to a token: pure functions on host numbers, deterministic in their arguments.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the next token is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most probable token always.
    pub temperature: f32,
    /// Keeps the k most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the most probable tokens that together reach this probability; 1 keeps all.
    pub top_p: f32,
    /// Drops tokens below this share of the most probable one's probability; 0 drops none.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens already in the text; 1 is off.
    pub repetition_penalty: f32,
    /// Seed of the noise, shared by all streams.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

impl Sampling {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::BadOption`] names the first option outside its range.
    pub fn check(&self) -> Result<()> {
        let in_range =
            |name, value: f32, range: std::ops::RangeInclusive<f32>, expected| match range
                .contains(&value)
            {
                true => Ok(()),
                false => Err(Error::BadOption {
                    name,
                    expected,
                    found: value.to_string(),
                }),
            };
        in_range(
            "temperature",
            self.temperature,
            0.0..=100.0,
            "a number from 0 to 100",
        )?;
        in_range(
            "topP",
            self.top_p,
            f32::MIN_POSITIVE..=1.0,
            "a number above 0, up to 1",
        )?;
        in_range("minP", self.min_p, 0.0..=1.0, "a number from 0 to 1")?;
        in_range(
            "repetitionPenalty",
            self.repetition_penalty,
            0.01..=100.0,
            "0.01 to 100",
        )
    }

    /// Chooses the token at `position`, given the logits and the ids so far.
    ///
    /// The choice is the largest of `logit/temperature + g(seed, position, id)` with Gumbel noise
    /// `g`, which is a draw from the softmax; two streams that pass the same position see the same
    /// noise, so only a difference of their logits can make them differ.
    #[must_use]
    pub fn choose(&self, logits: &[f32], position: usize, so_far: &[u32]) -> u32 {
        let mut logits = logits.to_vec();
        self.penalise(&mut logits, so_far);
        if self.temperature <= 0.0 {
            return argmax(logits.iter().copied().enumerate());
        }
        logits
            .iter_mut()
            .for_each(|logit| *logit /= self.temperature);
        let kept = self.keep(&logits);
        argmax(
            kept.into_iter()
                .map(|id| (id, logits[id] + gumbel(self.seed, position, id))),
        )
    }

    fn penalise(&self, logits: &mut [f32], so_far: &[u32]) {
        if self.repetition_penalty == 1.0 {
            return;
        }
        let mut seen: Vec<usize> = so_far.iter().map(|&id| id as usize).collect();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            let Some(logit) = logits.get_mut(id) else {
                continue;
            };
            *logit = match *logit > 0.0 {
                true => *logit / self.repetition_penalty,
                false => *logit * self.repetition_penalty,
            };
        }
    }

    /// Ids that pass top-k, then top-p, then min-p.
    fn keep(&self, logits: &[f32]) -> Vec<usize> {
        if self.top_k == 0 && self.top_p >= 1.0 && self.min_p <= 0.0 {
            return (0..logits.len()).collect();
        }
        let mut ids: Vec<usize> = (0..logits.len()).collect();
        ids.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        if self.top_k > 0 {
            ids.truncate(self.top_k);
        }
        let max = logits[ids[0]];
        let weights: Vec<f32> = ids.iter().map(|&id| (logits[id] - max).exp()).collect();
        let total: f32 = weights.iter().sum();
        let mut reached = 0.0;
        let nucleus = weights.iter().take_while(|&&weight| {
            let before = reached;
            reached += weight / total;
            before < self.top_p
        });
        let kept = nucleus.count();
        let kept = weights[..kept]
            .iter()
            .take_while(|&&weight| weight >= self.min_p)
            .count();
        ids.truncate(kept.max(1));
        ids
    }
}

fn argmax(scores: impl Iterator<Item = (usize, f32)>) -> u32 {
    let best = scores.fold((0, f32::NEG_INFINITY), |best, next| match next.1 > best.1 {
        true => next,
        false => best,
    });
    best.0 as u32
}

/// Standard Gumbel noise that depends on its arguments only (a SplitMix64 hash of them).
fn gumbel(seed: u64, position: usize, id: usize) -> f32 {
    let mut z = seed
        .wrapping_add((position as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add((id as u64).wrapping_mul(0xd1b5_4a32_d192_ed03));
    for _ in 0..2 {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
    }
    // 53 bits, never 0 and never 1.
    let uniform = ((z >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -(-uniform.ln()).ln() as f32
}

/// `ln softmax(logits)`, in f64 so that sums over a vocabulary keep their digits.
#[must_use]
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|&logit| f64::from(logit - max).exp())
        .sum();
    let log_sum = f64::from(max) + sum.ln();
    logits
        .iter()
        .map(|&logit| f64::from(logit) - log_sum)
        .collect()
}

/// `KL(p ‖ q) = Σ p (ln p − ln q)` in nats, from log-probabilities of equal length.
#[must_use]
pub fn kl_nats(log_p: &[f64], log_q: &[f64]) -> f64 {
    log_p
        .iter()
        .zip(log_q)
        .map(|(p, q)| p.exp() * (p - q))
        .sum::<f64>()
        .max(0.0)
}

/// The `n` most probable ids, most probable first.
#[must_use]
pub fn top(log_p: &[f64], n: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..log_p.len() as u32).collect();
    let order = |&a: &u32, &b: &u32| log_p[b as usize].total_cmp(&log_p[a as usize]);
    if n < ids.len() {
        ids.select_nth_unstable_by(n, order);
        ids.truncate(n);
    }
    ids.sort_by(order);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, -1.0, 2.5];

    #[test]
    fn temperature_zero_takes_the_largest() {
        assert_eq!(
            Sampling::default().choose(&LOGITS, 7, &[]),
            1,
            "largest logit"
        );
    }

    #[test]
    fn the_penalty_makes_a_seen_token_lose() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            ..Sampling::default()
        };
        assert_eq!(sampling.choose(&LOGITS, 0, &[1]), 4, "3.0 / 2 < 2.5");
    }

    #[test]
    fn filters_keep_what_they_say() {
        let sampling = |top_k, top_p, min_p| Sampling {
            top_k,
            top_p,
            min_p,
            ..Sampling::default()
        };
        assert_eq!(sampling(2, 1.0, 0.0).keep(&LOGITS), [1, 4], "top-k");
        assert_eq!(
            sampling(0, 0.5, 0.0).keep(&LOGITS),
            [1, 4],
            "0.47 does not reach 0.5 alone"
        );
        assert_eq!(
            sampling(0, 0.01, 0.0).keep(&LOGITS),
            [1],
            "one token always stays"
        );
        assert_eq!(
            sampling(0, 1.0, 0.3).keep(&LOGITS),
            [1, 4, 2],
            "min-p: e^-1 = 0.37 stays"
        );
    }

    #[test]
    fn draws_follow_the_softmax() {
        let sampling = Sampling {
            temperature: 1.0,
            seed: 3,
            ..Sampling::default()
        };
        let draws = 20_000;
        let mut counts = [0_u32; 5];
        for position in 0..draws {
            counts[sampling.choose(&LOGITS, position, &[]) as usize] += 1;
        }
        for (count, log_p) in counts.iter().zip(log_softmax(&LOGITS)) {
            let share = f64::from(*count) / draws as f64;
            assert!(
                (share - log_p.exp()).abs() < 0.015,
                "{share} is not {}",
                log_p.exp()
            );
        }
    }

    #[test]
    fn kl_of_a_distribution_with_itself_is_zero() {
        let p = log_softmax(&LOGITS);
        assert_eq!(kl_nats(&p, &p), 0.0, "identity");
        let q = log_softmax(&[0.0; 5]);
        let entropy: f64 = p.iter().map(|p| -p.exp() * p).sum();
        assert!(
            (kl_nats(&p, &q) - (5_f64.ln() - entropy)).abs() < 1e-9,
            "KL to uniform"
        );
    }

    #[test]
    fn ranges_are_checked() {
        let error = Sampling {
            top_p: 0.0,
            ..Sampling::default()
        }
        .check()
        .err();
        assert_eq!(
            error.map(|error| error.code()),
            Some("bad-option"),
            "top-p 0 keeps nothing"
        );
        let error = Sampling {
            temperature: f32::NAN,
            ..Sampling::default()
        }
        .check()
        .err();
        assert_eq!(
            error.map(|error| error.code()),
            Some("bad-option"),
            "NaN is no temperature"
        );
    }

    #[test]
    fn top_sorts() {
        assert_eq!(top(&log_softmax(&LOGITS), 3), [1, 4, 2], "three largest");
    }
}
