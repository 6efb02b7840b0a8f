//! The claims that took measurements besides the rows, as `cargo xtask zoo --claims` wrote them: verdicts,
//! sentences and tables.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::claims::Verdict;
use super::document::{Block, plain};
use super::rows::MOST_NLL_SHIFT;
use super::sections::{code, heading, table};
use super::written::{NONE, fixed, nats, percent, short};
use super::zoo::{LEAST_ORDERED, Zoo};
use crate::failure::{Failure, OrMend, Result};

const FILE: &str = "adapters/zoo-claims.json";

/// One of them.
#[derive(Debug, Clone, Deserialize)]
pub struct Trial {
    pub name: String,
    /// Why there are no numbers.
    pub failed: Option<String>,
    #[serde(flatten)]
    pub found: Option<Found>,
}

/// What was measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Found {
    /// One row at −1, 0 and 1, alone and while others are at 1.
    Beside {
        behaviour: String,
        turned: String,
        held: Vec<String>,
        alone: Curve,
        beside: Curve,
    },
    /// Vectors at 1 and the one that is their sum.
    Sum {
        behaviour: String,
        vectors: Vec<String>,
        together: Curve,
        sum: Curve,
    },
    /// ROAD with other α.
    Alpha {
        row: String,
        reading: String,
        coefficients: Vec<f64>,
        #[serde(flatten)]
        curve: Curve,
    },
}

/// Numbers at some settings; null is what logits cannot say.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Curve {
    pub d_nats: Vec<Option<f64>>,
    pub kl_mean_nats: Vec<Option<f64>>,
    pub kl_p95_nats: Vec<Option<f64>>,
    pub nll_shift_nats: Vec<Option<f64>>,
    pub ordered_share: Option<f64>,
}

impl Curve {
    fn d(&self, at: usize) -> Option<f64> {
        self.d_nats.get(at).copied().flatten()
    }

    fn nll(&self, at: usize) -> Option<f64> {
        self.nll_shift_nats.get(at).copied().flatten()
    }

    /// From the first setting to the last.
    fn range(&self) -> Option<f64> {
        Some(self.d(self.d_nats.len().checked_sub(1)?)? - self.d(0)?)
    }

    /// The greatest shift; `None` where one is beyond what logits can say.
    fn worst_nll(&self) -> Option<f64> {
        let all: Option<Vec<f64>> = self.nll_shift_nats.iter().copied().collect();
        all?.into_iter().reduce(f64::max)
    }
}

/// What `www` has of them; none before they are measured.
pub fn read(www: &Path) -> Result<Vec<Trial>> {
    #[derive(Deserialize)]
    struct File {
        trials: Vec<Trial>,
    }
    let path = www.join(FILE);
    let mend = "measure it again: cargo xtask zoo --claims --redo";
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.or_mend(path.display(), mend)?,
    };
    let file: File = serde_json::from_slice(&bytes).or_mend(path.display(), mend)?;
    let is_nothing = |trial: &&Trial| trial.failed.is_none() && trial.found.is_none();
    match file.trials.iter().find(is_nothing) {
        Some(trial) => Err(Failure::new(
            format!("{}: “{}” has no numbers", path.display(), trial.name),
            mend,
        )),
        None => Ok(file.trials),
    }
}

// ---- the claims ----------------------------------------------------------------------------------

/// Which of the measurements a claim is judged by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Rows of one name at once.
    AtOnce,
    /// Rows of two names.
    TwoKinds,
    /// ROAD by its α.
    Alpha,
}

struct Claim {
    text: &'static str,
    by: By,
}

const CLAIMS: [Claim; 3] = [
    Claim {
        text: "ROAD is steered by its α alone",
        by: By::Alpha,
    },
    Claim {
        text: "several BiPO vectors act at once",
        by: By::AtOnce,
    },
    Claim {
        text: "a BiPO vector acts while a LoRA is on",
        by: By::TwoKinds,
    },
];

/// How they are judged, for the reader.
const RULES: [&str; 2] = [
    "What is turned while others stay at 1 **acts beside them** where d(1) − d(−1) keeps at least 80 % of what it is alone, at least 80 % of the prompts stay in order, and the NLL shift of all together is at most 0.2 nats throughout. It does not where less than half of either is left. A claim is supported where all its measurements say so, and not where one says no.",
    "“Scale α only” is taken as the list writes it: α becomes c·α and θ stays, in the trained ROAD's own file, which is then read at c = 1. It **is the base at c = 0** where the 95th percentile of the KL on neutral answers is at most 0.01 nats there, and steers if besides at least 80 % of the prompts are in order at −1, 0 and 1 with an NLL shift of at most 0.2 nats. It does not where that KL is at least 0.1 nats or the NLL shift passes 0.2 nats between −1 and 1. The milder reading, 1 + c(α − 1), is measured beside it.",
];

/// The least share that is kept.
const LEAST_KEPT: f64 = 0.8;
/// KL at c = 0, 95th percentile in nats: the base, and certainly not the base.
const BASE_KL: f64 = 0.01;
const OTHER_KL: f64 = 0.1;

fn name(row: &str) -> &str {
    row.rsplit('/').next().unwrap_or(row)
}

fn by(found: &Found) -> Option<By> {
    match found {
        Found::Beside { turned, held, .. } => {
            let same = held.iter().all(|row| name(row) == name(turned));
            Some(if same { By::AtOnce } else { By::TwoKinds })
        }
        // Beside it the list's own reading counts.
        Found::Alpha { reading, .. } => (reading == "c·α").then_some(By::Alpha),
        Found::Sum { .. } => None,
    }
}

/// How much of a range is left.
fn kept(alone: &Curve, beside: &Curve) -> Option<f64> {
    Some(beside.range()? / alone.range().filter(|range| *range > 0.0)?)
}

fn verdict(found: &Found) -> Verdict {
    match found {
        Found::Beside { alone, beside, .. } => {
            let (Some(kept), Some(ordered)) = (kept(alone, beside), beside.ordered_share) else {
                return Verdict::Undecided;
            };
            let cheap = beside.worst_nll().is_some_and(|nll| nll <= MOST_NLL_SHIFT);
            let yes = kept >= LEAST_KEPT && ordered >= LEAST_ORDERED && cheap;
            Verdict::of(yes, kept < 0.5 || ordered < 0.5)
        }
        Found::Alpha {
            coefficients,
            curve,
            ..
        } => {
            let at = coefficients.iter().position(|c| *c == 0.0);
            let kl = at.and_then(|at| curve.kl_p95_nats.get(at).copied().flatten());
            // What logits cannot say is beyond any limit.
            let (kl, nll) = (
                kl.unwrap_or(f64::INFINITY),
                curve.worst_nll().unwrap_or(f64::INFINITY),
            );
            let ordered = curve
                .ordered_share
                .is_some_and(|share| share >= LEAST_ORDERED);
            Verdict::of(
                kl <= BASE_KL && nll <= MOST_NLL_SHIFT && ordered,
                kl >= OTHER_KL || nll > MOST_NLL_SHIFT,
            )
        }
        Found::Sum { .. } => Verdict::Undecided,
    }
}

/// Where all agree; one that says no is enough.
fn over(verdicts: &[Verdict]) -> Verdict {
    let all = !verdicts.is_empty() && verdicts.iter().all(|it| *it == Verdict::Supported);
    Verdict::of(all, verdicts.contains(&Verdict::NotSupported))
}

/// The measurements that a claim is judged by.
fn of<'a>(zoo: &'a Zoo, claim: &Claim) -> Vec<&'a Found> {
    let all = zoo.trials.iter().filter_map(|trial| trial.found.as_ref());
    all.filter(|found| by(found) == Some(claim.by)).collect()
}

/// A sentence for each claim.
pub fn sentences(zoo: &Zoo) -> Vec<String> {
    let told = CLAIMS.iter().map(|claim| {
        let found = of(zoo, claim);
        if found.is_empty() {
            return format!("“{}”: **undecided**, it is not measured.", claim.text);
        }
        let verdicts: Vec<Verdict> = found.iter().map(|found| verdict(found)).collect();
        let numbers: Vec<String> = found.iter().map(|found| evidence(found)).collect();
        format!(
            "“{}”: **{}**. {}.",
            claim.text,
            over(&verdicts).words(),
            numbers.join("; ")
        )
    });
    told.collect()
}

/// Its numbers in a sentence.
fn evidence(found: &Found) -> String {
    match found {
        Found::Beside {
            turned,
            held,
            alone,
            beside,
            ..
        } => format!(
            "`{turned}` beside {} keeps {} of its d(1) − d(−1) ({} of {} nats), {} of prompts in order, NLL shift {} at most",
            rows(held),
            kept(alone, beside).map_or_else(|| NONE.into(), percent),
            nats(beside.range()),
            nats(alone.range()),
            beside.ordered_share.map_or_else(|| NONE.into(), percent),
            nats(beside.worst_nll())
        ),
        Found::Alpha {
            row,
            coefficients,
            curve,
            ..
        } => {
            let at = |c: f64, of: &[Option<f64>]| {
                let at = coefficients.iter().position(|known| *known == c);
                at.and_then(|at| of.get(at).copied().flatten())
            };
            let d = [-1.0, 0.0, 1.0]
                .map(|c| nats(at(c, &curve.d_nats)))
                .join(", ");
            format!(
                "`{row}` with c·α at c = 0 lies {} nats of KL from the base in the mean, {} at the 95th percentile, and costs {} nats of NLL; d is {d} at −1, 0, 1",
                nats(at(0.0, &curve.kl_mean_nats)),
                nats(at(0.0, &curve.kl_p95_nats)),
                nats(at(0.0, &curve.nll_shift_nats))
            )
        }
        Found::Sum { .. } => String::new(),
    }
}

fn rows(list: &[String]) -> String {
    let list: Vec<String> = list.iter().map(|row| code(row)).collect();
    list.join(" and ")
}

// ---- the tables ----------------------------------------------------------------------------------

/// The rules, and what was measured.
pub fn blocks(zoo: &Zoo) -> Vec<Block> {
    if zoo.trials.is_empty() {
        return Vec::new();
    }
    let mut blocks = vec![
        heading("Claims that took measurements of their own"),
        Block::Text("Measured on the test rows by `cargo xtask zoo --claims`, from `www/adapters/zoo-claims.json`.".into()),
        Block::List(RULES.map(str::to_owned).to_vec()),
    ];
    blocks.extend(besides(zoo));
    blocks.extend(sums(zoo));
    blocks.extend(alphas(zoo));
    let failed = zoo.trials.iter().filter_map(|trial| {
        let why = trial.failed.as_ref()?;
        Some(format!("“{}” failed: {}", plain(&trial.name), plain(why)))
    });
    let failed: Vec<String> = failed.collect();
    if !failed.is_empty() {
        blocks.push(Block::List(failed));
    }
    blocks
}

fn besides(zoo: &Zoo) -> Option<Block> {
    let mut cells = Vec::new();
    for found in zoo.trials.iter().filter_map(|trial| trial.found.as_ref()) {
        let Found::Beside {
            behaviour,
            turned,
            held,
            alone,
            beside,
        } = found
        else {
            continue;
        };
        let ends = |curve: &Curve| [0, 1, 2].map(|at| nats(curve.d(at))).join(", ");
        let costs = [0, 1, 2].map(|at| fixed(beside.nll(at), 3)).join(", ");
        cells.push(vec![
            code(turned),
            behaviour.clone(),
            rows(held),
            ends(alone),
            ends(beside),
            kept(alone, beside).map_or_else(|| NONE.into(), percent),
            beside.ordered_share.map_or_else(|| NONE.into(), percent),
            costs,
            verdict(found).words().into(),
        ]);
    }
    (!cells.is_empty()).then(|| {
        table(
            "What is turned to −1, 0 and 1 while others stay at 1: d of its own behaviour",
            &[
                "turned",
                "behaviour",
                "at 1 beside it",
                "d alone",
                "d beside",
                "kept",
                "ordered beside",
                "NLL shift beside",
                "acts beside them",
            ],
            cells,
        )
    })
}

fn sums(zoo: &Zoo) -> Option<Block> {
    let told = zoo.trials.iter().find_map(|trial| match &trial.found {
        Some(Found::Sum {
            behaviour,
            vectors,
            together,
            sum,
        }) => {
            let apart = |of: &dyn Fn(&Curve) -> Option<f64>| Some((of(together)? - of(sum)?).abs());
            Some(format!(
                "{} at 1 together and the one vector that `steer combine` makes of them: d of `{behaviour}` {} and {}, which is {} nats apart; NLL shift {} and {}.",
                rows(vectors),
                nats(together.d(0)),
                nats(sum.d(0)),
                fixed(apart(&|curve| curve.d(0)), 4),
                fixed(together.nll(0), 3),
                fixed(sum.nll(0), 3)
            ))
        }
        _ => None,
    });
    told.map(Block::Text)
}

fn alphas(zoo: &Zoo) -> Option<Block> {
    let mut cells = Vec::new();
    for found in zoo.trials.iter().filter_map(|trial| trial.found.as_ref()) {
        let Found::Alpha {
            row,
            reading,
            coefficients,
            curve,
            ..
        } = found
        else {
            continue;
        };
        for (at, c) in coefficients.iter().enumerate() {
            let of = |list: &[Option<f64>]| list.get(at).copied().flatten();
            cells.push(vec![
                code(row),
                reading.clone(),
                short(Some(*c)),
                nats(curve.d(at)),
                format!(
                    "{} ({})",
                    nats(of(&curve.kl_mean_nats)),
                    nats(of(&curve.kl_p95_nats))
                ),
                fixed(curve.nll(at), 3),
            ]);
        }
        cells.extend(own(zoo, row));
    }
    (!cells.is_empty()).then(|| {
        table(
            "ROAD by its α alone: d, KL from the base on neutral answers (mean, 95th percentile) and NLL shift. Below each reading the same adapter under this project's law",
            &["row", "α", "c", "d", "KL", "NLL shift"],
            cells,
        )
    })
}

/// The same row as it was measured, under its own law.
fn own(zoo: &Zoo, place: &str) -> Vec<Vec<String>> {
    let Some((behaviour, name)) = place.split_once('/') else {
        return Vec::new();
    };
    let row = zoo.of(behaviour).find(|row| row.name == name);
    let Some(measured) = row.and_then(|row| row.measured.as_ref()) else {
        return Vec::new();
    };
    let told = [-1.0, 0.0, 1.0].map(|c| {
        let [mean, p95] = measured.kl(c);
        vec![
            code(place),
            format!("{} law", measured.law()),
            short(Some(c)),
            nats(measured.d(c)),
            format!("{} ({})", nats(mean), nats(p95)),
            fixed(measured.nll(c), 3),
        ]
    });
    told.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(d: [f64; 3], nll: f64, ordered: f64) -> String {
        format!(
            r#"{{ "dNats": {d:?}, "klMeanNats": [0.1, 0.0, 0.1], "klP95Nats": [0.3, 0.0, 0.3],
                  "nllShiftNats": [{nll}, 0.0, 0.1], "orderedShare": {ordered} }}"#
        )
    }

    fn beside(held: &str, d: f64, nll: f64, ordered: f64) -> Trial {
        let (alone, beside) = (
            curve([-1.0, 0.0, 1.0], 0.1, 1.0),
            curve([-d, 0.1, d], nll, ordered),
        );
        let text = format!(
            r#"{{ "name": "n", "kind": "beside", "behaviour": "tone", "turned": "tone/bipo", "held": ["{held}"],
                  "alone": {alone}, "beside": {beside}, "sha256": {{}} }}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn alpha(reading: &str, kl: f64, nll: &str) -> Trial {
        let text = format!(
            r#"{{ "name": "n", "kind": "alpha", "behaviour": "tone", "row": "tone/road", "reading": "{reading}",
                  "coefficients": [-1.0, 0.0, 1.0], "dNats": [-1.0, 0.0, 1.0], "klMeanNats": [1.0, {kl}, 1.0],
                  "klP95Nats": [2.0, {kl}, 2.0], "nllShiftNats": [{nll}, 0.0, 0.1], "orderedShare": 1.0 }}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn zoo(trials: Vec<Trial>) -> Zoo {
        Zoo {
            rows: Vec::new(),
            methods: Vec::new(),
            trials,
        }
    }

    fn said(zoo: &Zoo, text: &str) -> String {
        let all = sentences(zoo);
        all.into_iter()
            .find(|it| it.contains(text))
            .expect("a sentence")
    }

    #[test]
    fn what_is_kept_beside_others_decides() {
        let at_once = |d: f64, nll: f64, ordered: f64| {
            let zoo = zoo(vec![beside("register/bipo", d, nll, ordered)]);
            said(&zoo, "several BiPO")
        };
        let good = at_once(0.9, 0.1, 0.9);
        assert!(
            good.contains("**supported**") && good.contains("keeps 90 %"),
            "{good}"
        );
        assert!(at_once(0.9, 0.3, 0.9).contains("**undecided**"), "it costs");
        assert!(at_once(0.7, 0.1, 0.9).contains("**undecided**"));
        assert!(at_once(0.4, 0.1, 0.9).contains("**not supported**"));
        let both = zoo(vec![
            beside("register/bipo", 0.9, 0.1, 0.9),
            beside("certainty/bipo", 0.4, 0.1, 0.9),
        ]);
        assert!(said(&both, "several BiPO").contains("**not supported**"));
        assert!(said(&both, "LoRA is on").contains("not measured"));
        let lora = zoo(vec![beside("register/lora", 0.9, 0.1, 0.9)]);
        assert!(said(&lora, "LoRA is on").contains("**supported**"));
    }

    #[test]
    fn alpha_alone_must_be_the_base_at_nothing() {
        let of = |kl: f64, nll: &str| said(&zoo(vec![alpha("c·α", kl, nll)]), "α alone");
        assert!(of(0.0, "0.1").contains("**supported**"));
        assert!(of(0.05, "0.1").contains("**undecided**"));
        assert!(of(0.5, "0.1").contains("**not supported**"));
        assert!(
            of(0.0, "null").contains("**not supported**"),
            "beyond all logits"
        );
        let other = zoo(vec![alpha("1 + c(α − 1)", 0.0, "0.1")]);
        assert!(said(&other, "α alone").contains("not measured"));
        assert_eq!(blocks(&other).len(), 4);
        assert!(blocks(&zoo(Vec::new())).is_empty());
    }

    #[test]
    fn a_file_is_read_and_what_is_no_trial_is_refused() {
        let www = std::env::temp_dir().join(format!("xtask-zoo-trials-{}", std::process::id()));
        drop(fs::remove_dir_all(&www));
        assert!(read(&www).unwrap().is_empty());
        fs::create_dir_all(www.join("adapters")).unwrap();
        let put = |trials: &str| {
            fs::write(www.join(FILE), format!("{{ \"trials\": [{trials}] }}")).unwrap();
        };
        put(r#"{ "name": "a", "failed": "why", "sha256": {} }"#);
        let found = zoo(read(&www).unwrap());
        assert!(
            matches!(blocks(&found).last(), Some(Block::List(list)) if list[0].contains("why"))
        );
        put(r#"{ "name": "b", "kind": "beside" }"#);
        assert!(read(&www).unwrap_err().to_string().contains("“b”"));
        fs::remove_dir_all(www).unwrap();
    }
}
