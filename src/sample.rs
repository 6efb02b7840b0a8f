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
        if self.temperature <= 0.0 && !self.penalises() {
            return argmax(logits.iter().copied().enumerate());
        }
        let mut logits = logits.to_vec();
        self.penalise(&mut logits, so_far);
        if self.temperature <= 0.0 {
            return argmax(logits.into_iter().enumerate());
        }
        logits
            .iter_mut()
            .for_each(|logit| *logit /= self.temperature);
        let (floor, key) = (self.floor(&logits), noise_key(self.seed, position));
        let kept = logits.iter().copied().enumerate();
        let kept = kept.filter(|(_, logit)| *logit >= floor);
        argmax(kept.map(|(id, logit)| (id, logit + gumbel(key, id as u32))))
    }

    /// Whether tokens already in the text are treated in another way.
    #[must_use]
    pub fn penalises(&self) -> bool {
        self.repetition_penalty != 1.0
    }

    fn penalise(&self, logits: &mut [f32], so_far: &[u32]) {
        if !self.penalises() {
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

    /// The smallest logit that passes top-k, then top-p among what top-k leaves, then min-p. Of
    /// equal logits all pass or none.
    fn floor(&self, logits: &[f32]) -> f32 {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut floor = match self.min_p > 0.0 {
            true => max + self.min_p.ln(),
            false => f32::NEG_INFINITY,
        };
        let top_k = self.top_k > 0 && self.top_k < logits.len();
        if !top_k && self.top_p >= 1.0 {
            return floor;
        }
        let descending = |a: &f32, b: &f32| b.total_cmp(a);
        let mut largest = logits.to_vec();
        if top_k {
            largest.select_nth_unstable_by(self.top_k - 1, descending);
            largest.truncate(self.top_k);
            floor = largest
                .iter()
                .copied()
                .fold(f32::INFINITY, f32::min)
                .max(floor);
        }
        if self.top_p < 1.0 {
            let weight = |logit: &f32| f64::from((logit - max).exp());
            let wanted = f64::from(self.top_p) * largest.iter().map(weight).sum::<f64>();
            // Only as many are put in order as it takes: few, as a rule.
            let mut count = 64.min(largest.len());
            while count < largest.len() {
                largest.select_nth_unstable_by(count - 1, descending);
                if largest[..count].iter().map(weight).sum::<f64>() >= wanted {
                    break;
                }
                count = (count * 8).min(largest.len());
            }
            largest.truncate(count);
            largest.sort_unstable_by(descending);
            let mut reached = 0.0;
            let mut passing = largest.iter().take_while(|logit| {
                let before = reached;
                reached += weight(logit);
                before < wanted
            });
            let last = passing.by_ref().last();
            floor = last.map_or(floor, |last| last.max(floor));
        }
        floor
    }
}

fn argmax(scores: impl Iterator<Item = (usize, f32)>) -> u32 {
    let best = scores.fold((0, f32::NEG_INFINITY), |best, next| match next.1 > best.1 {
        true => next,
        false => best,
    });
    best.0 as u32
}

/// What the noise of all tokens at a position is made from (SplitMix64).
#[must_use]
pub fn noise_key(seed: u64, position: usize) -> [u32; 2] {
    let mut z = seed.wrapping_add((position as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    [z as u32, (z >> 32) as u32]
}

/// Standard Gumbel noise that depends on its arguments only. A GPU computes the same from the
/// same 32-bit operations (`kernels/choose.rs`).
fn gumbel([first, second]: [u32; 2], id: u32) -> f32 {
    let mix = |mut x: u32| {
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x ^ (x >> 16)
    };
    let hash = mix(mix(id.wrapping_add(first)) ^ second);
    // 23 bits, never 0 and never 1.
    let v = ((hash >> 9) as f32 + 0.5) / 8_388_608.0;
    // -ln(1 - v), whose logarithm is large where v is small: there the difference would lose digits.
    let exponential = match v < 1.0 / 64.0 {
        true => v * (1.0 + v * (0.5 + v * (1.0 / 3.0 + v * 0.25))),
        false => -(1.0 - v).ln(),
    };
    -exponential.ln()
}

/// What a step wants to know of its rows of logits, one row for each stream.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// How tokens are chosen.
    pub sampling: &'a Sampling,
    /// Counts tokens from 0.
    pub position: usize,
    /// The ids so far of each row's stream.
    pub so_far: Vec<&'a [u32]>,
    /// The row whose distribution the first row's is compared with; it may be the first itself.
    pub reference: Option<usize>,
    /// How many of the most probable tokens to report of the first row and of its reference.
    pub top: usize,
}

/// What the logits say about the next tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// `(id, ln p(id))` of the token chosen for each row; p is before temperature and filters.
    pub chosen: Vec<(u32, f64)>,
    /// KL(first row ‖ reference), in nats.
    pub kl_nats: Option<f64>,
    /// The most probable tokens of the first row and then those of the reference, each with its
    /// probability in both; no token twice.
    pub top: Vec<(u32, f64, Option<f64>)>,
}

impl Answer {
    /// From all logits `[rows, vocab]`.
    #[must_use]
    pub fn of(question: &Question<'_>, logits: &[f32]) -> Self {
        let vocab = logits.len() / question.so_far.len();
        let rows: Vec<&[f32]> = logits.chunks_exact(vocab).collect();
        let log_p: Vec<Vec<f64>> = rows.iter().map(|row| log_softmax(row)).collect();
        let each = rows.iter().zip(&log_p).zip(&question.so_far);
        let chosen = each.map(|((row, log_p), so_far)| {
            let id = question.sampling.choose(row, question.position, so_far);
            (id, log_p[id as usize])
        });
        let reference = question.reference.map(|at| &log_p[at]);
        let mut ids = top(&log_p[0], question.top);
        ids.extend(
            reference
                .map(|log_q| top(log_q, question.top))
                .unwrap_or_default(),
        );
        let mut seen = std::collections::HashSet::new();
        ids.retain(|&id| seen.insert(id));
        let probability = |log_p: &Vec<f64>, id: u32| log_p[id as usize].exp();
        Self {
            chosen: chosen.collect(),
            kl_nats: reference.map(|log_q| kl_nats(&log_p[0], log_q)),
            top: ids
                .into_iter()
                .map(|id| {
                    let base = reference.map(|log_q| probability(log_q, id));
                    (id, probability(&log_p[0], id), base)
                })
                .collect(),
        }
    }
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
        let kept = |top_k, top_p, min_p| {
            let sampling = Sampling {
                top_k,
                top_p,
                min_p,
                ..Sampling::default()
            };
            let floor = sampling.floor(&LOGITS);
            let ids = (0..LOGITS.len()).filter(|&id| LOGITS[id] >= floor);
            ids.collect::<Vec<_>>()
        };
        assert_eq!(kept(2, 1.0, 0.0), [1, 4], "top-k");
        assert_eq!(kept(0, 0.5, 0.0), [1, 4], "0.47 does not reach 0.5 alone");
        assert_eq!(kept(0, 0.01, 0.0), [1], "one token always stays");
        assert_eq!(kept(0, 1.0, 0.3), [1, 2, 4], "min-p: e^-1 = 0.37 stays");
        assert_eq!(kept(3, 0.8, 0.0), [1, 4], "0.81 of what top-k leaves");
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
