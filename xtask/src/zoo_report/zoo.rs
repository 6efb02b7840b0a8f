//! All rows beside each other: which stands for a method, what holds the judging rule, medians.

use std::cmp::Ordering;

use super::catalogue::Method;
use super::rows::{MOST_NLL_SHIFT, Row};
use super::trials::Trial;

/// Rows, and what the methods say about themselves.
pub struct Zoo {
    /// By behaviour and name.
    pub rows: Vec<Row>,
    /// In the catalogue's order.
    pub methods: Vec<Method>,
    /// What was measured besides the rows.
    pub trials: Vec<Trial>,
}

/// The least share of prompts in order.
pub const LEAST_ORDERED: f64 = 0.8;
/// The least d(1) − d(−1), in nats per token.
const LEAST_RANGE: f64 = 1.0;
/// Numbers nearer than this are the same.
const ROUNDING: f64 = 1e-9;

/// The conditions of the judging rule, as the table's columns name them.
pub const CONDITIONS: [&str; 6] = [
    "slope > 0 (95 %)",
    "ordered ≥ 80 %",
    "d(1) − d(−1) ≥ 1 nat",
    "more than prompting",
    "NLL shift ≤ 0.2 at ±1",
    "same order at equal dose",
];

/// Which of [`CONDITIONS`] a row holds; `None` where a number that it takes is missing.
pub fn conditions(row: &Row) -> [Option<bool>; 6] {
    let Some(measured) = &row.measured else {
        return [None; 6];
    };
    let range = measured.range();
    let more = |range: f64| Some(range > measured.prompting_range()?);
    let dose = row.dose.as_ref().and_then(|dose| {
        let [low, base, high] = dose.ends()?;
        Some(low < base && base < high && dose.ordered_share? >= LEAST_ORDERED)
    });
    [
        measured.slope.low.map(|low| low > 0.0),
        Some(measured.ordered_share >= LEAST_ORDERED),
        range.map(|range| range >= LEAST_RANGE),
        range.and_then(more),
        measured.worst_nll().map(|shift| shift <= MOST_NLL_SHIFT),
        dose,
    ]
}

/// Whether a row holds all of [`CONDITIONS`].
pub fn holds(row: &Row) -> bool {
    conditions(row).iter().all(|holds| *holds == Some(true))
}

/// A number by which rows are compared.
#[derive(Clone, Copy)]
pub struct Measure {
    pub name: &'static str,
    /// Whether more is better.
    pub more: bool,
    pub of: fn(&Row) -> Option<f64>,
}

pub const RANGE: Measure = Measure {
    name: "d(1) − d(−1)",
    more: true,
    of: |row| row.number(super::rows::Measured::range),
};
pub const SYMMETRY: Measure = Measure {
    name: "symmetry",
    more: true,
    of: |row| row.number(|measured| measured.symmetry),
};
pub const ORDERED: Measure = Measure {
    name: "ordered share",
    more: true,
    of: |row| row.number(|measured| Some(measured.ordered_share)),
};
pub const WORST_NLL: Measure = Measure {
    name: "worst NLL shift at ±1",
    more: false,
    of: |row| row.number(super::rows::Measured::worst_nll),
};
pub const DOSE: Measure = Measure {
    name: "d at equal dose",
    more: true,
    of: Row::dose_range,
};
pub const LINEARITY: Measure = Measure {
    name: "linearity",
    more: true,
    of: |row| row.number(super::rows::Measured::linearity),
};

/// Of all pairs of a row of the group and another row, the share in which the group's has the better number; one
/// in which the two are within `noise` counts half. `None` where no row of the group has the number, or fewer
/// than four others have it.
pub fn wins(measure: Measure, group: &[&Row], others: &[&Row], noise: f64) -> Option<f64> {
    let sign = if measure.more { 1.0 } else { -1.0 };
    let good = |row: &&Row| (measure.of)(row).map(|value| sign * value);
    let [group, others] =
        [group, others].map(|rows| -> Vec<f64> { rows.iter().filter_map(good).collect() });
    if group.is_empty() || others.len() < 4 {
        return None;
    }
    let pairs = group
        .iter()
        .flat_map(|own| others.iter().map(move |other| own - other));
    let points = pairs.map(|apart| {
        if apart.abs() <= noise.max(ROUNDING) {
            0.5
        } else {
            f64::from(u8::from(apart > 0.0))
        }
    });
    Some(points.sum::<f64>() / (group.len() * others.len()) as f64)
}

/// What a share of pairs says of a group: `Greater` from three of four on, `Less` up to one of four.
pub fn way(wins: f64) -> Ordering {
    if wins >= 0.75 {
        Ordering::Greater
    } else if wins <= 0.25 {
        Ordering::Less
    } else {
        Ordering::Equal
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Of ascending numbers, at least one; between two of them as far as it lies between them.
fn quantile(ascending: &[f64], share: f64) -> f64 {
    let at = (ascending.len() - 1) as f64 * share;
    let (low, high) = (
        ascending[at.floor() as usize],
        ascending[at.ceil() as usize],
    );
    low + (high - low) * at.fract()
}

/// How far the middle half of them reaches; `None` of fewer than four.
pub fn spread(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values = sorted(values);
    (values.len() >= 4).then(|| quantile(&values, 0.75) - quantile(&values, 0.25))
}

/// The median; `None` of nothing.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values = sorted(values);
    (!values.is_empty()).then(|| quantile(&values, 0.5))
}

impl Zoo {
    /// The behaviours, that with most rows first.
    pub fn behaviours(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.behaviour.as_str()).collect();
        names.dedup();
        let count = |name: &str| self.of(name).count();
        names.sort_by(|a, b| count(b).cmp(&count(a)).then(a.cmp(b)));
        names
    }

    /// The rows of a behaviour.
    pub fn of(&self, behaviour: &str) -> impl Iterator<Item = &Row> {
        self.rows
            .iter()
            .filter(move |row| row.behaviour == behaviour)
    }

    /// The measured rows of a behaviour, the strongest at equal dose first.
    pub fn measured(&self, behaviour: &str) -> Vec<&Row> {
        let rows = self.of(behaviour).filter(|row| row.measured.is_some());
        let mut rows: Vec<&Row> = rows.collect();
        let strength = |row: &Row| row.dose_range().unwrap_or(f64::NEG_INFINITY);
        rows.sort_by(|a, b| {
            let by_strength = strength(b).total_cmp(&strength(a));
            by_strength.then_with(|| a.name.cmp(&b.name))
        });
        rows
    }

    /// The row that stands for a method: that of its own name, else the first variant that repeats
    /// no other.
    pub fn standing(&self, behaviour: &str, method: &str) -> Option<&Row> {
        let rows = || self.of(behaviour).filter(|row| row.method == method);
        let own = rows().find(|row| row.name == method);
        own.or_else(|| rows().find(|row| row.repeats().is_none()))
    }

    /// The measured rows that stand for methods, the strongest at equal dose first.
    pub fn standing_rows(&self, behaviour: &str) -> Vec<&Row> {
        let mut rows = self.measured(behaviour);
        rows.retain(|row| {
            let standing = self.standing(behaviour, &row.method);
            standing.is_some_and(|standing| standing.name == row.name)
        });
        rows
    }

    /// Measured rows and those that repeat them with another seed.
    pub fn seeds(&self) -> impl Iterator<Item = (&Row, &Row)> {
        self.rows.iter().filter_map(|second| {
            let name = second.repeats()?;
            let first = self.of(&second.behaviour).find(|row| row.name == name)?;
            (first.measured.is_some() && second.measured.is_some()).then_some((first, second))
        })
    }

    /// How far another seed moves a number: the median and the most; `None` without a second seed.
    pub fn noise(&self, measure: Measure) -> Option<[f64; 2]> {
        let apart = |(first, second): (&Row, &Row)| {
            Some(((measure.of)(first)? - (measure.of)(second)?).abs())
        };
        let apart: Vec<f64> = self.seeds().filter_map(apart).collect();
        let most = apart.iter().copied().fold(0.0, f64::max);
        Some([median(apart.into_iter())?, most])
    }

    /// A method of the catalogue.
    pub fn method(&self, name: &str) -> Option<&Method> {
        self.methods.iter().find(|method| method.name == name)
    }

    /// The family of a row's method.
    pub fn family(&self, row: &Row) -> &str {
        let method = self.method(&row.method);
        method.map_or("–", |method| method.family.as_str())
    }

    /// The families, in the catalogue's order.
    pub fn families(&self) -> Vec<&str> {
        let mut families: Vec<&str> = Vec::new();
        for method in &self.methods {
            if !families.contains(&method.family.as_str()) {
                families.push(&method.family);
            }
        }
        families
    }
}
