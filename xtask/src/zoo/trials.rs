//! Claims that take measurements besides the rows: an adapter while others are on, vectors as their sum, ROAD
//! by its α alone. All on the test rows, into `www/adapters/zoo-claims.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::half::changed;
use super::index::WEIGHTS;
use super::make::{CONFIG, MEND};
use super::measured::{at, column, ordered_share};
use super::steer::{Answer, Trouble};
use super::{FIRST, Opened, put_file};
use crate::failure::{OrMend, Result};
use crate::model::sha256;
use crate::process::say;

/// Below all adapters.
const FILE: &str = "zoo-claims.json";
/// The trained vector whose paper claims that several act at once, and beside a LoRA.
const VECTOR: &str = "bipo";
const ENDS: [f64; 3] = [-1.0, 0.0, 1.0];
/// c of ROAD by its α.
const ALPHA_AT: [f64; 5] = [-1.0, -0.5, 0.0, 0.5, 1.0];
const ALPHA: &str = "road_alpha";

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
enum Trial {
    /// One row at −1, 0 and 1, alone and while others are at 1.
    Beside { turned: String, held: Vec<String> },
    /// Vectors as one, beside all of them at once.
    Sum { vectors: Vec<String> },
    /// A trained ROAD with other α.
    Alpha { row: String, reading: Reading },
}

/// How c changes α; θ stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// c·α
    Times,
    /// 1 + c(α − 1)
    FromOne,
}

impl Reading {
    fn words(self) -> &'static str {
        match self {
            Self::Times => "c·α",
            Self::FromOne => "1 + c(α − 1)",
        }
    }

    fn of(self, c: f64, alpha: f32) -> f32 {
        let c = c as f32;
        match self {
            Self::Times => c * alpha,
            Self::FromOne => 1.0 + c * (alpha - 1.0),
        }
    }
}

impl Trial {
    /// Its name in the file.
    fn name(&self) -> String {
        match self {
            Self::Beside { turned, held } => format!("{turned} beside {}", held.join(" and ")),
            Self::Sum { vectors } => format!("the sum of {}", vectors.join(" and ")),
            Self::Alpha { row, reading } => format!("{row} by {}", reading.words()),
        }
    }

    /// The rows that it takes.
    fn rows(&self) -> Vec<&String> {
        match self {
            Self::Beside { turned, held } => [turned].into_iter().chain(held).collect(),
            Self::Sum { vectors } => vectors.iter().collect(),
            Self::Alpha { row, .. } => vec![row],
        }
    }
}

/// All of them.
fn trials(behaviours: &[String]) -> Vec<Trial> {
    let of = |behaviour: &String| format!("{behaviour}/{VECTOR}");
    let vectors: Vec<String> = behaviours.iter().map(of).collect();
    let mut trials = Vec::new();
    if vectors.len() > 1 {
        for turned in &vectors {
            let held = vectors.iter().filter(|it| *it != turned).cloned();
            trials.push(Trial::Beside {
                turned: turned.clone(),
                held: held.collect(),
            });
        }
        trials.push(Trial::Sum {
            vectors: vectors.clone(),
        });
        let (vector, lora) = (vectors[0].clone(), format!("{}/lora", behaviours[1]));
        for [turned, held] in [[&vector, &lora], [&lora, &vector]] {
            trials.push(Trial::Beside {
                turned: turned.clone(),
                held: vec![held.clone()],
            });
        }
    }
    for reading in [Reading::Times, Reading::FromOne] {
        trials.push(Trial::Alpha {
            row: format!("{FIRST}/road"),
            reading,
        });
    }
    trials
}

/// Measures what is missing, or was measured of other files.
pub fn measure(opened: &Opened, behaviours: &[String], redo: bool) -> Result {
    let path = opened.adapters.join(FILE);
    let of_same = |file: &Value| {
        file["pairsSha256"] == opened.pairs_sha256 && file["modelSha256"] == opened.model_sha256
    };
    let old = fs::read(&path).ok().filter(|_| !redo);
    let old: Option<Value> = old.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let old = old.filter(of_same);
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for trial in old
        .iter()
        .filter_map(|file| file["trials"].as_array())
        .flatten()
    {
        let name = trial["name"].as_str().unwrap_or_default();
        found.insert(name.to_owned(), trial.clone());
    }
    let trials = trials(behaviours);
    for trial in &trials {
        let name = trial.name();
        let mut hashes = BTreeMap::new();
        for row in trial.rows() {
            let weights = opened.adapters.join(row).join(WEIGHTS);
            hashes.insert(row.clone(), sha256(&weights).ok());
        }
        let missing = hashes.iter().find(|(_, hash)| hash.is_none());
        if let Some((row, _)) = missing {
            say("zoo", format!("{name}: waits for the row {row}"));
            continue;
        }
        let is_there = found.get(&name).filter(|it| it["sha256"] == json!(hashes));
        if is_there.is_some() {
            continue;
        }
        let mut told = match opened.tried(trial) {
            Ok(told) => told,
            Err(Trouble::Refused(why)) => json!({ "failed": why }),
            Err(Trouble::Ended(failure)) => return Err(failure),
        };
        told["name"] = name.clone().into();
        told["sha256"] = json!(hashes);
        say("zoo", format!("{name}: measured"));
        found.insert(name, told);
        // In their order, without what is no longer asked.
        let all: Vec<&Value> = trials
            .iter()
            .filter_map(|it| found.get(&it.name()))
            .collect();
        let file = json!({ "pairsSha256": opened.pairs_sha256, "modelSha256": opened.model_sha256,
                           "trials": all });
        put_file(&path, format!("{file:#}\n").as_bytes())?;
    }
    Ok(())
}

/// d, costs and every prompt's d at one setting.
struct Seen {
    d: Option<f64>,
    kl_mean: Option<f64>,
    kl_p95: Option<f64>,
    nll: Option<f64>,
    prompts: Vec<Option<f64>>,
}

impl Seen {
    /// The column of c of what `steer measure` says.
    fn at(measured: &Value, c: f64) -> Answer<Self> {
        let column = column(measured, c)
            .ok_or_else(|| Trouble::Refused(format!("`steer measure` says nothing of c = {c}")))?;
        let rows = measured["per_prompt"].as_array().into_iter().flatten();
        Ok(Self {
            d: at(measured, "d_nats", &[c])[0],
            kl_mean: measured["kl_nats"]["mean"][column].as_f64(),
            kl_p95: measured["kl_nats"]["p95"][column].as_f64(),
            nll: at(measured, "nll_shift_nats", &[c])[0],
            prompts: rows.map(|row| row[column].as_f64()).collect(),
        })
    }
}

/// What there is at several settings, as the file has it.
fn curve(seen: &[Seen]) -> Value {
    let list = |of: &dyn Fn(&Seen) -> Option<f64>| seen.iter().map(of).collect::<Vec<_>>();
    json!({
        "dNats": list(&|it| it.d), "klMeanNats": list(&|it| it.kl_mean),
        "klP95Nats": list(&|it| it.kl_p95), "nllShiftNats": list(&|it| it.nll),
    })
}

/// Share of prompts whose d rises from each to the next.
fn ordered(seen: &[&Seen]) -> Option<f64> {
    let rows: Vec<Value> = (0..seen.first()?.prompts.len())
        .map(|prompt| json!(seen.iter().map(|it| it.prompts[prompt]).collect::<Vec<_>>()))
        .collect();
    let places: Vec<f64> = (0..seen.len()).map(|at| at as f64).collect();
    ordered_share(
        &json!({ "coefficients": places, "per_prompt": rows }),
        &places,
    )
}

impl Opened {
    fn tried(&self, trial: &Trial) -> Answer<Value> {
        match trial {
            Trial::Beside { turned, held } => self.beside(turned, held),
            Trial::Sum { vectors } => self.sum(vectors),
            Trial::Alpha { row, reading } => self.alpha(row, *reading),
        }
    }

    /// What adapters do at these coefficients.
    fn seen(&self, behaviour: &str, adapters: &[(PathBuf, f64)]) -> Answer<Seen> {
        let rest = ["--split", "test", "--brief", "--coeffs=1"];
        let found = self.steer.stack("measure", behaviour, adapters, &rest)?;
        Seen::at(&found, 1.0)
    }

    fn beside(&self, turned: &str, held: &[String]) -> Answer<Value> {
        let behaviour = behaviour(turned);
        let place = |row: &str| self.adapters.join(row);
        let rest = ["--split", "test", "--brief", "--coeffs=1"];
        let alone = self
            .steer
            .dose("measure", behaviour, &place(turned), &rest)?;
        let alone: Vec<Seen> = ENDS
            .iter()
            .map(|c| Seen::at(&alone, *c))
            .collect::<Answer<_>>()?;
        let beside: Vec<Seen> = ENDS
            .iter()
            .map(|c| {
                let others = held.iter().map(|row| (place(row), 1.0));
                let all: Vec<_> = [(place(turned), *c)].into_iter().chain(others).collect();
                self.seen(behaviour, &all)
            })
            .collect::<Answer<_>>()?;
        let told = |seen: &[Seen]| {
            let mut told = curve(seen);
            told["orderedShare"] = ordered(&seen.iter().collect::<Vec<_>>()).into();
            told
        };
        Ok(
            json!({ "kind": "beside", "behaviour": behaviour, "turned": turned, "held": held,
                   "alone": told(&alone), "beside": told(&beside) }),
        )
    }

    /// Of the first vector's behaviour, at 1.
    fn sum(&self, vectors: &[String]) -> Answer<Value> {
        let behaviour = behaviour(&vectors[0]);
        let folder = self.work.join("claims").join("sum");
        drop(fs::remove_dir_all(&folder));
        let mut arguments = Vec::new();
        for vector in vectors {
            let place = self.adapters.join(vector).to_string_lossy().into_owned();
            arguments.extend(["--vector".to_owned(), place]);
        }
        arguments.extend(["--out".to_owned(), folder.to_string_lossy().into_owned()]);
        let arguments: Vec<&str> = arguments.iter().map(|text| &**text).collect();
        self.steer.without_model("combine", &arguments)?;
        let all: Vec<_> = vectors
            .iter()
            .map(|row| (self.adapters.join(row), 1.0))
            .collect();
        let together = self.seen(behaviour, &all)?;
        let sum = self.seen(behaviour, &[(folder, 1.0)])?;
        Ok(
            json!({ "kind": "sum", "behaviour": behaviour, "vectors": vectors,
                   "together": curve(&[together]), "sum": curve(&[sum]) }),
        )
    }

    fn alpha(&self, row: &str, reading: Reading) -> Answer<Value> {
        let behaviour = behaviour(row);
        let from = self.adapters.join(row);
        let weights = fs::read(from.join(WEIGHTS)).or_mend(WEIGHTS, MEND)?;
        let mut seen = Vec::new();
        for c in ALPHA_AT {
            let folder = self.work.join("claims").join("alpha");
            fs::create_dir_all(&folder).or_mend(folder.display(), MEND)?;
            fs::copy(from.join(CONFIG), folder.join(CONFIG)).or_mend(CONFIG, MEND)?;
            let bytes = changed(&weights, ALPHA, |alpha| reading.of(c, alpha));
            let bytes = bytes.map_err(Trouble::Refused)?;
            fs::write(folder.join(WEIGHTS), bytes).or_mend(WEIGHTS, MEND)?;
            seen.push(self.seen(behaviour, &[(folder, 1.0)])?);
        }
        let is_end = |at: &usize| ENDS.contains(&ALPHA_AT[*at]);
        let ends: Vec<&Seen> = (0..seen.len()).filter(is_end).map(|at| &seen[at]).collect();
        let mut told = curve(&seen);
        told["orderedShare"] = ordered(&ends).into();
        told["kind"] = "alpha".into();
        told["behaviour"] = behaviour.into();
        told["row"] = row.into();
        told["reading"] = reading.words().into();
        told["coefficients"] = json!(ALPHA_AT);
        Ok(told)
    }
}

/// Of BEHAVIOUR/NAME.
fn behaviour(row: &str) -> &str {
    row.split('/').next().unwrap_or(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vector_is_turned_while_the_others_are_on() {
        let three = ["tone", "register", "certainty"].map(str::to_owned);
        let names: Vec<String> = trials(&three).iter().map(Trial::name).collect();
        assert_eq!(
            names,
            [
                "tone/bipo beside register/bipo and certainty/bipo",
                "register/bipo beside tone/bipo and certainty/bipo",
                "certainty/bipo beside tone/bipo and register/bipo",
                "the sum of tone/bipo and register/bipo and certainty/bipo",
                "tone/bipo beside register/lora",
                "register/lora beside tone/bipo",
                "tone/road by c·α",
                "tone/road by 1 + c(α − 1)",
            ]
        );
        assert_eq!(
            trials(&three[..1]).len(),
            2,
            "of one behaviour ROAD's alone"
        );
        assert_eq!(trials(&three)[4].rows(), ["tone/bipo", "register/lora"]);
    }

    #[test]
    fn alpha_is_what_c_changes() {
        let of = |reading: Reading| [-1.0, 0.0, 1.0].map(|c| reading.of(c, 1.25));
        assert_eq!(of(Reading::Times), [-1.25, 0.0, 1.25]);
        assert_eq!(of(Reading::FromOne), [0.75, 1.0, 1.25]);
    }

    #[test]
    fn a_setting_is_a_column_and_order_goes_over_settings() {
        let measured = json!({
            "coefficients": [-1.0, 0.0, 1.0], "d_nats": [0.0, 1.0, 2.0],
            "kl_nats": { "mean": [0.1, 0.0, 0.2], "p95": [0.5, 0.0, null] },
            "nll_shift_nats": [0.3, 0.0, 0.4], "per_prompt": [[0.0, 1.0, 3.0], [0.0, 1.0, 1.0]],
        });
        let seen = ENDS.map(|c| Seen::at(&measured, c).unwrap());
        assert_eq!(seen[2].prompts, [Some(3.0), Some(1.0)]);
        assert_eq!((seen[2].kl_mean, seen[2].kl_p95), (Some(0.2), None));
        assert_eq!(ordered(&seen.iter().collect::<Vec<_>>()), Some(0.5));
        assert_eq!(curve(&seen)["nllShiftNats"], json!([0.3, 0.0, 0.4]));
        assert!(matches!(Seen::at(&measured, 2.0), Err(Trouble::Refused(_))));
        assert_eq!(behaviour("tone/road"), "tone");
    }
}
