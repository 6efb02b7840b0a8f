//! From logits to a token: pure functions on host numbers, deterministic in their arguments.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::measure::{Distribution, largest, sum};
use processor::quantised::largest as largest_magnitude;
use processor::slices::exp;

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
        let in_range = |name, value: f32, range: std::ops::RangeInclusive<f32>, expected| {
            if range.contains(&value) {
                Ok(())
            } else {
                Err(Error::BadOption {
                    name,
                    expected,
                    found: value.to_string(),
                })
            }
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

    /// Chooses the token at `position`, given finite logits and the ids so far.
    ///
    /// The choice is the largest of `logit/temperature + g(seed, position, id)` with Gumbel noise
    /// `g`, which is a draw from the softmax; two streams that pass the same position see the same
    /// noise, so only a difference of their logits can make them differ.
    #[must_use]
    pub fn choose(&self, logits: &[f32], position: usize, so_far: &[u32]) -> u32 {
        self.draw(&self.scores(logits, so_far), position)
    }

    /// The logits after the penalty, divided by the temperature.
    fn scores<'a>(&self, logits: &'a [f32], so_far: &[u32]) -> Cow<'a, [f32]> {
        let temperature = self.divisor();
        if temperature == 0.0 && !self.penalises() {
            return Cow::Borrowed(logits);
        }
        let mut scores = logits.to_vec();
        self.penalise(&mut scores, so_far);
        if temperature > 0.0 {
            for score in &mut scores {
                *score /= temperature;
            }
        }
        Cow::Owned(scores)
    }

    /// The temperature, 0 where it is so small that logits divided by it would overflow, and no noise
    /// could change which is the largest.
    pub(crate) fn divisor(&self) -> f32 {
        if self.temperature > COLDEST {
            self.temperature
        } else {
            0.0
        }
    }

    fn draw(&self, logits: &[f32], position: usize) -> u32 {
        if self.divisor() == 0.0 {
            return argmax(logits.iter().copied().enumerate());
        }
        let (floor, key) = (self.floor(logits), noise_key(self.seed, position));
        let noisy = |id: usize| logits[id] + gumbel(key, id as u32);
        // Tokens that cannot reach the score of the likeliest need no noise of their own.
        let likeliest = argmax(logits.iter().copied().enumerate()) as usize;
        let floor = floor.max(noisy(likeliest) - MOST_NOISE);
        let kept = (0..logits.len()).filter(|&id| logits[id] >= floor);
        argmax(kept.map(|id| (id, noisy(id))))
    }

    /// Whether tokens already in the text are penalised.
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
            *logit = if *logit > 0.0 {
                *logit / self.repetition_penalty
            } else {
                *logit * self.repetition_penalty
            };
        }
    }

    /// The smallest logit that passes top-k, then top-p among what top-k leaves, then min-p. Of
    /// equal logits all pass or none.
    fn floor(&self, logits: &[f32]) -> f32 {
        let max = largest(logits);
        let mut floor = f32::NEG_INFINITY;
        if self.top_k > 0 && self.top_k < logits.len() {
            floor = reach(logits, max, floor, self.top_k as f64, |_| 1.0);
        }
        if self.top_p < 1.0 {
            let weight = |logit: f32| exp(logit - max);
            let kept = |logit, _| if logit >= floor { weight(logit) } else { 0.0 };
            let wanted = f64::from(self.top_p) * sum(logits, logits, kept);
            floor = reach(logits, max, floor, wanted, |logit| f64::from(weight(logit)));
        }
        if self.min_p > 0.0 {
            floor.max(max + self.min_p.ln())
        } else {
            floor
        }
    }
}

/// The smallest of the largest logits whose probabilities add up to `wanted`, none below `floor`.
/// Logits are sorted into buckets by their distance from the largest; only one bucket is sorted.
fn reach(logits: &[f32], max: f32, floor: f32, wanted: f64, weight: impl Fn(f32) -> f64) -> f32 {
    const BUCKETS: usize = 512;
    let bucket = |logit: f32| (((max - logit) * 16.0) as usize).min(BUCKETS - 1);
    let kept = || logits.iter().copied().filter(|logit| *logit >= floor);
    let mut weights = [0.0; BUCKETS];
    kept().for_each(|logit| weights[bucket(logit)] += weight(logit));
    let mut before = 0.0;
    let Some(last) = weights.iter().position(|weight| {
        before += weight;
        before >= wanted
    }) else {
        return floor;
    };
    before -= weights[last];
    let mut inside: Vec<f32> = kept().filter(|logit| bucket(*logit) == last).collect();
    inside.sort_unstable_by(|a, b| b.total_cmp(a));
    let reached = inside.iter().position(|logit| {
        before += weight(*logit);
        before >= wanted
    });
    // By rounding the last one may not reach the sum of the bucket.
    let last = reached.map_or(inside.last(), |at| inside.get(at));
    last.copied().unwrap_or(floor)
}

fn argmax(scores: impl Iterator<Item = (usize, f32)>) -> u32 {
    let best = scores.fold((0, f32::NEG_INFINITY), |best, next| {
        if next.1 > best.1 { next } else { best }
    });
    best.0 as u32
}

/// Whether there is no infinity or NaN among these.
pub(crate) fn all_finite(numbers: &[f32]) -> bool {
    largest_magnitude(numbers).is_finite()
}

/// The seed of the noise of all tokens at a position (SplitMix64).
#[must_use]
pub fn noise_key(seed: u64, position: usize) -> [u32; 2] {
    let mut z = seed.wrapping_add((position as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    [z as u32, (z >> 32) as u32]
}

/// Temperatures from here down are 0.
const COLDEST: f32 = 1e-20;

/// No noise is larger than this.
const MOST_NOISE: f32 = 16.64;

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
    let exponential = if v < 1.0 / 64.0 {
        v * (1.0 + v * (0.5 + v * (1.0 / 3.0 + v * 0.25)))
    } else {
        -(1.0 - v).ln()
    };
    -exponential.ln()
}

/// What a step asks of its rows of logits, one row for each stream.
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
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The first row that has no next token, since its logits, or its scores, are not all finite.
    /// All else is empty then.
    pub diverged: Option<usize>,
    /// `(id, ln p(id))` of the token chosen for each row; p is before temperature and filters.
    pub chosen: Vec<(u32, f64)>,
    /// KL(first row ‖ reference), in nats; `None` too where it is beyond the range of f32 logits.
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
        let mut rows = Vec::with_capacity(question.so_far.len());
        let mut chosen = Vec::with_capacity(question.so_far.len());
        for (logits, so_far) in logits.chunks_exact(vocab).zip(&question.so_far) {
            let scores = question.sampling.scores(logits, so_far);
            if !all_finite(&scores) {
                return Self::diverged(rows.len());
            }
            let row = Distribution::new(logits);
            let id = question.sampling.draw(&scores, question.position);
            chosen.push((id, row.log_probability(id)));
            rows.push(row);
        }
        let reference = question.reference.map(|at| &rows[at]);
        let lists = [
            Some(&rows[0]),
            reference.filter(|_| question.reference > Some(0)),
        ];
        let mut ids = Vec::new();
        for id in lists
            .into_iter()
            .flatten()
            .flat_map(|row| row.top(question.top))
        {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let listed = ids.into_iter().map(|id| {
            let base = reference.map(|row| row.log_probability(id).exp());
            (id, rows[0].log_probability(id).exp(), base)
        });
        Self {
            diverged: None,
            kl_nats: reference.and_then(|row| rows[0].kl_nats(row)),
            top: listed.collect(),
            chosen,
        }
    }

    /// There is no next token in this row.
    pub(crate) fn diverged(row: usize) -> Self {
        Self {
            diverged: Some(row),
            ..Self::default()
        }
    }
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
        for (count, id) in counts.iter().zip(0..) {
            let share = f64::from(*count) / draws as f64;
            let p = Distribution::new(&LOGITS).log_probability(id).exp();
            assert!((share - p).abs() < 0.015, "{share} is not {p}");
        }
    }

    #[test]
    fn no_token_is_chosen_among_what_is_not_finite() {
        let hot = Sampling {
            temperature: 1.0,
            top_p: 0.9,
            repetition_penalty: 1.5,
            ..Sampling::default()
        };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for (at, row) in [(0, 0), (7, 1), (4, 0)] {
                for sampling in [&Sampling::default(), &hot] {
                    let mut logits = [LOGITS, LOGITS].concat();
                    logits[at] = bad;
                    let question = Question {
                        sampling,
                        position: 0,
                        so_far: vec![&[1], &[]],
                        reference: Some(1),
                        top: 2,
                    };
                    let found = Answer::of(&question, &logits);
                    assert_eq!(found, Answer::diverged(row), "{bad} at {at}");
                }
            }
        }
        let question = Question {
            sampling: &Sampling {
                repetition_penalty: 100.0,
                ..Sampling::default()
            },
            position: 0,
            so_far: vec![&[3]],
            reference: None,
            top: 0,
        };
        let found = Answer::of(&question, &[1.0, 2.0, 3.0, -1e37]);
        assert_eq!(found.diverged, Some(0), "the penalty overflows");
    }

    #[test]
    fn a_temperature_next_to_nothing_is_none() {
        for temperature in [f32::from_bits(1), 1e-38, 1e-30, 1e-20] {
            let sampling = Sampling {
                temperature,
                ..Sampling::default()
            };
            assert!(sampling.check().is_ok(), "{temperature:e} is a temperature");
            assert_eq!(sampling.choose(&LOGITS, 7, &[]), 1, "{temperature:e}");
        }
    }

    /// Filters and noise over a whole vocabulary, against their definitions: everything sorted.
    #[test]
    fn a_large_vocabulary_is_filtered_as_sorting_would() {
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 24) * 2.0 - 1.0
        };
        for scale in [0.1, 3.0, 40.0] {
            let logits: Vec<f32> = (0..5003)
                .map(|_| (scale * noise().powi(3)) as f32)
                .collect();
            let mut sorted = logits.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            for (top_k, top_p) in [(0, 0.5), (0, 0.95), (0, 0.999), (40, 1.0), (700, 0.9)] {
                let kept = &sorted[..if top_k > 0 { top_k } else { sorted.len() }];
                let weight = |logit: &f32| f64::from(logit - sorted[0]).exp();
                let wanted = f64::from(top_p) * kept.iter().map(weight).sum::<f64>();
                let mut reached = 0.0;
                let expected = kept.iter().find(|logit| {
                    reached += weight(logit);
                    reached >= wanted * (1.0 - 1e-6)
                });
                let sampling = Sampling {
                    temperature: 1.0,
                    top_k,
                    top_p,
                    ..Sampling::default()
                };
                let floor = sampling.floor(&logits);
                let expected = if top_p < 1.0 {
                    expected.copied()
                } else {
                    kept.last().copied()
                };
                let apart = (floor - expected.expect("reached")).abs();
                assert!(
                    apart < 1e-3,
                    "top-k {top_k}, top-p {top_p}, {scale}: {apart}"
                );
                let ids = (0..).zip(&logits).filter(|(_, logit)| **logit >= floor);
                let key = noise_key(0, 7);
                let noisy = ids.map(|(id, logit)| (id, logit + gumbel(key, id)));
                let best = noisy
                    .max_by(|a, b| a.1.total_cmp(&b.1))
                    .expect("one is kept");
                assert_eq!(sampling.choose(&logits, 7, &[]), best.0, "with the noise");
            }
        }
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
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let with = |set: fn(&mut Sampling) -> &mut f32| {
                let mut sampling = Sampling::default();
                *set(&mut sampling) = bad;
                sampling.check().map_err(|error| error.code())
            };
            let refused = Err("bad-option");
            assert_eq!(with(|s| &mut s.temperature), refused, "temperature {bad}");
            assert_eq!(with(|s| &mut s.top_p), refused, "top-p {bad}");
            assert_eq!(with(|s| &mut s.min_p), refused, "min-p {bad}");
            assert_eq!(
                with(|s| &mut s.repetition_penalty),
                refused,
                "penalty {bad}"
            );
        }
    }
}
