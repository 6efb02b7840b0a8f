//! What is chosen by a rule: the rank that comes nearest to the budget, the rate that does best.

use serde_json::{Value, json};

/// What neutral answers may cost in likelihood, in nats per token.
const MOST_NLL_NATS: f64 = 0.2;
/// Share of rows whose d must be in order.
const LEAST_ORDERED: f64 = 0.8;
/// Bytes of a file's numbers in half precision; its header comes on top.
const MOST_BYTES: usize = 1_950_000;

/// What an adapter of a rank holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count {
    pub rank: usize,
    pub parameters: usize,
    /// With what is not trained.
    pub floats: usize,
    pub integers: usize,
}

impl Count {
    /// Of an entry of `steer methods --json`; none for a rank that is refused.
    pub fn of(entry: &Value) -> Option<Self> {
        let number = |field: &str| entry[field].as_u64().map(|n| n as usize);
        Some(Self {
            rank: number("rank")?,
            parameters: number("parameters")?,
            floats: number("floats")?,
            integers: number("integers")?,
        })
    }
}

/// The one whose parameters are nearest to the budget as a ratio, the first of equal ones. A file that
/// would be too large counts only where all are.
pub fn nearest(counts: &[Count], budget: usize) -> Option<Count> {
    let far = |count: &&Count| {
        ((count.parameters.max(1)) as f64 / budget.max(1) as f64)
            .ln()
            .abs()
    };
    let fits = |count: &&Count| 2 * count.floats + 8 * count.integers <= MOST_BYTES;
    let of = |counts: &mut dyn Iterator<Item = &Count>| {
        counts.min_by(|a, b| far(a).total_cmp(&far(b))).copied()
    };
    of(&mut counts.iter().filter(fits)).or_else(|| of(&mut counts.iter()))
}

/// The rates of a sweep around a method's own.
pub fn rates(own: f64) -> Vec<f64> {
    [own / 9.0, own / 3.0, own, own * 3.0].map(short).to_vec()
}

/// A rate to three digits: what is read back from a file is the same number.
pub fn short(rate: f64) -> f64 {
    format!("{rate:.2e}").parse().unwrap_or(rate)
}

/// What the stop rows say at c = −1, 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub d_nats: [f64; 3],
    /// Share of rows in order; without a trained reverse: of rows with d(0) < d(1).
    pub ordered_share: f64,
    /// At c = −1 and 1.
    pub nll_shift_nats: [f64; 2],
    /// What training took.
    pub seconds: f64,
}

impl Seen {
    /// How far d moves.
    fn width(&self, reverse: bool) -> f64 {
        let [low, base, high] = self.d_nats;
        high - if reverse { low } else { base }
    }

    /// What neutral answers cost.
    fn cost(&self, reverse: bool) -> f64 {
        let [low, high] = self.nll_shift_nats;
        if reverse { low.max(high) } else { high }
    }
}

/// One value of a sweep: what came of it, or the sentence that ended it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    pub rate: f64,
    pub outcome: Result<Seen, String>,
}

impl Tried {
    /// As `row.json` has it.
    pub fn json(&self) -> Value {
        match &self.outcome {
            Ok(seen) => json!({
                "rate": self.rate, "dNats": seen.d_nats, "orderedShare": seen.ordered_share,
                "nllShiftNats": seen.nll_shift_nats, "seconds": seen.seconds,
            }),
            Err(why) => json!({ "rate": self.rate, "failed": why }),
        }
    }
}

/// What a sweep chooses, and what is to be said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen<'a> {
    pub rate: f64,
    pub seen: &'a Seen,
    pub note: Option<&'static str>,
}

/// The widest of those that order the rows and leave neutral answers alone; where there is none, the one
/// that costs neutral answers least. None where all ended in an error.
pub fn winner(tried: &[Tried], reverse: bool) -> Option<Chosen<'_>> {
    let whole = || {
        let each = tried.iter();
        each.filter_map(|tried| Some((tried.rate, tried.outcome.as_ref().ok()?)))
    };
    let good = whole().filter(|(_, seen)| {
        seen.ordered_share >= LEAST_ORDERED && seen.cost(reverse) <= MOST_NLL_NATS
    });
    let chosen = |(rate, seen), note| Chosen { rate, seen, note };
    let widest = good.max_by(|(_, a), (_, b)| a.width(reverse).total_cmp(&b.width(reverse)));
    widest.map(|found| chosen(found, None)).or_else(|| {
        let cheapest =
            whole().min_by(|(_, a), (_, b)| a.cost(reverse).total_cmp(&b.cost(reverse)))?;
        let note = "no rate ordered 80 % of the stop rows at an NLL shift of at most 0.2 nats: \
                    this one costs neutral answers least";
        Some(chosen(cheapest, Some(note)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(rank: usize, parameters: usize, floats: usize) -> Count {
        Count {
            rank,
            parameters,
            floats,
            integers: 0,
        }
    }

    #[test]
    fn the_rank_is_the_nearest_by_ratio() {
        let counts = [1, 2, 4, 8].map(|rank| count(rank, 100 * rank, 100 * rank));
        assert_eq!(nearest(&counts, 400).unwrap().rank, 4);
        // 283 is the middle of 200 and 400 by ratio.
        assert_eq!(nearest(&counts, 282).unwrap().rank, 2);
        assert_eq!(nearest(&counts, 284).unwrap().rank, 4);
        assert_eq!(nearest(&counts, 9_999).unwrap().rank, 8);
        // A method that has no rank.
        let equal = [4, 8, 2].map(|rank| count(rank, 7, 7));
        assert_eq!(nearest(&equal, 400).unwrap().rank, 4);
        assert_eq!(nearest(&[], 400), None);
    }

    #[test]
    fn a_file_that_would_be_too_large_is_the_last_choice() {
        let large = count(8, 800, 2_000_000);
        assert_eq!(nearest(&[count(4, 400, 400), large], 800).unwrap().rank, 4);
        assert_eq!(nearest(&[large], 800), Some(large));
    }

    #[test]
    fn a_refused_rank_has_no_count() {
        assert_eq!(Count::of(&json!({ "rank": 3, "refused": "no" })), None);
        let entry = json!({ "rank": 4, "parameters": 5, "floats": 6, "integers": 0 });
        assert_eq!(Count::of(&entry), Some(count(4, 5, 6)));
    }

    #[test]
    fn rates_have_three_digits() {
        assert_eq!(rates(0.002), [0.000_222, 0.000_667, 0.002, 0.006]);
    }

    fn tried(rate: f64, d_nats: [f64; 3], ordered_share: f64, nll_shift_nats: [f64; 2]) -> Tried {
        Tried {
            rate,
            outcome: Ok(Seen {
                d_nats,
                ordered_share,
                nll_shift_nats,
                seconds: 1.0,
            }),
        }
    }

    #[test]
    fn the_widest_that_is_ordered_and_cheap_wins() {
        let all = [
            tried(1.0, [-1.0, 0.0, 1.0], 1.0, [0.0, 0.1]),
            tried(2.0, [-2.0, 0.0, 1.0], 0.8, [0.2, -0.1]),
            tried(3.0, [-3.0, 0.0, 3.0], 0.7, [0.0, 0.0]),
            tried(4.0, [-4.0, 0.0, 4.0], 1.0, [0.0, 0.3]),
            Tried {
                rate: 5.0,
                outcome: Err("NaN".into()),
            },
        ];
        let chosen = winner(&all, true).unwrap();
        assert_eq!((chosen.rate, chosen.note), (2.0, None));
        // None is good: the larger cost of each decides.
        let chosen = winner(&all[2..], true).unwrap();
        assert_eq!(chosen.rate, 3.0);
        assert!(chosen.note.is_some());
        assert_eq!(winner(&all[4..], true), None);
    }

    #[test]
    fn without_a_trained_reverse_its_end_does_not_count() {
        let all = [
            tried(1.0, [-9.0, 0.0, 1.0], 1.0, [0.0, 0.1]),
            tried(2.0, [1.5, 0.0, 2.0], 1.0, [9.0, 0.1]),
        ];
        assert_eq!(winner(&all, false).unwrap().rate, 2.0);
        assert_eq!(winner(&all, true).unwrap().rate, 1.0);
    }
}
