//! The claims that the project grew from, each judged by numbers.

use std::cmp::Ordering;

use super::rows::Row;
use super::zoo::{
    DOSE, LINEARITY, Measure, ORDERED, RANGE, SYMMETRY, WORST_NLL, Zoo, holds, way, wins,
};

/// What is shown beside every claim.
pub const SHOWN: [Measure; 6] = [RANGE, SYMMETRY, ORDERED, WORST_NLL, DOSE, LINEARITY];

/// What a claim says of its methods.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Says {
    Best,
    Avoid,
    Fixable,
}

/// A claim of the list.
pub struct Claim {
    /// In the list's words.
    pub text: &'static str,
    pub says: Says,
    /// Methods by name; or a whole family.
    methods: Named,
    /// What its reason speaks of: by these the methods are compared.
    pub grounds: &'static [Measure],
}

enum Named {
    Methods(&'static [&'static str]),
    Family(&'static str),
}

/// The list's claims.
pub const CLAIMS: [Claim; 6] = [
    Claim {
        text: "best are ROAD, DeLoRA, VeRA and IA3: linear scaling, clean reversal",
        says: Says::Best,
        methods: Named::Methods(&["road", "delora", "vera", "ia3"]),
        grounds: &[LINEARITY, SYMMETRY, DOSE],
    },
    Claim {
        text: "to avoid are OFT, BOFT and HRA: orthogonality breaks under scaling",
        says: Says::Avoid,
        methods: Named::Methods(&["oft", "boft", "hra"]),
        grounds: &[SYMMETRY, WORST_NLL, DOSE],
    },
    Claim {
        text: "to avoid are LoHa and LoKr: nonlinear",
        says: Says::Avoid,
        methods: Named::Methods(&["loha", "lokr"]),
        grounds: &[LINEARITY, SYMMETRY, DOSE],
    },
    Claim {
        text: "to avoid are prompt methods: the wrong paradigm",
        says: Says::Avoid,
        methods: Named::Family("prompt"),
        grounds: &[SYMMETRY, ORDERED, DOSE],
    },
    Claim {
        text: "to avoid are FourierFT and C3A: complex scaling",
        says: Says::Avoid,
        methods: Named::Methods(&["fourierft", "c3a"]),
        grounds: &[LINEARITY, SYMMETRY, DOSE],
    },
    Claim {
        text: "LoRA is fixable",
        says: Says::Fixable,
        methods: Named::Methods(&["lora"]),
        grounds: &[],
    },
];

/// How [`judge`] decides, for the reader.
pub const RULES: [&str; 6] = [
    "The rows named are compared with the rows of all other methods of the same behaviour, by what the claim's reason speaks of and by d at equal dose: of all pairs of a row named and another, the share in which the one named has the better number. **Better** is a share from three of four on, **worse** one up to one of four, else they are **alike**. A pair that differs by no more than a second seed moves that number in the median counts half.",
    "A claim of being **best** is supported where at least three of four rows named hold the judging rule and they are better by one of these numbers and worse by none. It is not supported where they are better by none, or fewer than half of them hold the judging rule.",
    "A claim of being **to avoid** is supported where fewer than three of four rows named hold the judging rule and they are worse by one number and better by none; also where fewer than half of them hold it and at least half of the others do. It is not supported where at least three of four hold it and they are worse by no number.",
    "That LoRA is **fixable** is supported where all its rows, of any rank and seed, hold the judging rule, and not where none does: the fix is this project's law and its training in both directions.",
    "Anything else is undecided, and so is a claim where fewer than half of the methods named have a row. A row that failed has no numbers and does not hold the rule.",
    "A verdict over several behaviours is that of those which decide, where they agree.",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Supported,
    NotSupported,
    Undecided,
}

impl Verdict {
    pub fn words(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::NotSupported => "not supported",
            Self::Undecided => "undecided",
        }
    }

    /// Of what speaks for a claim and what speaks against it.
    pub fn of(yes: bool, no: bool) -> Self {
        match (yes, no) {
            (true, false) => Self::Supported,
            (false, true) => Self::NotSupported,
            _ => Self::Undecided,
        }
    }
}

/// A claim and the rows of one behaviour.
pub struct Judged<'a> {
    pub verdict: Verdict,
    /// The measured rows of the methods named.
    pub named: Vec<&'a Row>,
    /// Names of methods whose row failed.
    pub failed: Vec<&'a str>,
    /// Names of methods without a row.
    pub missing: Vec<&'a str>,
    /// The rows of all other methods.
    pub others: Vec<&'a Row>,
    /// By each of the claim's grounds the share of pairs that the rows named win.
    pub compared: Vec<(Measure, Option<f64>)>,
}

pub fn judge<'a>(claim: &Claim, zoo: &'a Zoo, behaviour: &str) -> Judged<'a> {
    let names: Vec<&str> = match claim.methods {
        Named::Methods(names) => names.to_vec(),
        Named::Family(family) => {
            let of = zoo.methods.iter().filter(|method| {
                let trained = method.trains_not.is_none();
                let there = zoo.standing(behaviour, &method.name).is_some();
                method.family == family && (trained || there)
            });
            of.map(|method| method.name.as_str()).collect()
        }
    };
    let standing = zoo.standing_rows(behaviour);
    let (mut named, others): (Vec<&Row>, Vec<&Row>) = standing
        .into_iter()
        .partition(|row| names.contains(&row.method.as_str()));
    let without = names
        .iter()
        .copied()
        .filter(|name| named.iter().all(|row| row.method != *name));
    let (failed, missing) = without.partition(|name| zoo.standing(behaviour, name).is_some());
    if claim.says == Says::Fixable {
        named = zoo.measured(behaviour);
        named.retain(|row| {
            let of_ranks_or_seeds = row.name == row.method || row.name.starts_with("lora-");
            names.contains(&row.method.as_str()) && of_ranks_or_seeds
        });
    }
    let compared: Vec<_> = claim
        .grounds
        .iter()
        .map(|measure| {
            let noise = zoo.noise(*measure).map_or(0.0, |[median, _]| median);
            (*measure, wins(*measure, &named, &others, noise))
        })
        .collect();
    let mut judged = Judged {
        verdict: Verdict::Undecided,
        named,
        failed,
        missing,
        others,
        compared,
    };
    judged.verdict = judged.decide(claim.says);
    judged
}

impl Judged<'_> {
    /// See [`RULES`].
    fn decide(&self, says: Says) -> Verdict {
        let (all, good) = (self.all(), self.holding());
        if all == 0 || all < self.missing.len() {
            return Verdict::Undecided;
        }
        let any = |expected| {
            let mut ways = self.compared.iter().filter_map(|(_, wins)| wins.map(way));
            ways.any(|found| found == expected)
        };
        let (better, worse) = (any(Ordering::Greater), any(Ordering::Less));
        let has_numbers = self.compared.iter().any(|(_, wins)| wins.is_some());
        let others_good = self.others.iter().filter(|row| holds(row)).count();
        let others_mostly = !self.others.is_empty() && others_good * 2 >= self.others.len();
        let (most, few) = (good * 4 >= all * 3, good * 2 < all);
        match says {
            Says::Best => Verdict::of(most && better && !worse, few || has_numbers && !better),
            Says::Avoid => Verdict::of(
                !most && worse && !better || few && others_mostly,
                most && has_numbers && !worse,
            ),
            Says::Fixable => Verdict::of(good == all, good == 0),
        }
    }

    /// How many rows named there are, failed ones among them.
    pub fn all(&self) -> usize {
        self.named.len() + self.failed.len()
    }

    /// How many of them hold the judging rule.
    pub fn holding(&self) -> usize {
        self.named.iter().filter(|row| holds(row)).count()
    }
}

/// That of the behaviours which decide, where they agree.
pub fn together(verdicts: &[Verdict]) -> Verdict {
    let has = |verdict| verdicts.contains(&verdict);
    Verdict::of(has(Verdict::Supported), has(Verdict::NotSupported))
}
