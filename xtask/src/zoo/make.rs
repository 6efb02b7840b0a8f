//! One row: sweep, half precision, measure, dose, and its files in their place.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use super::choice::{Chosen, Count, Seen, Tried, rates, short, winner};
use super::half::{floats, halved};
use super::index::{MOST_BYTES, ROW, WEIGHTS, row, too_large};
use super::measured::{at, change, ordered_share};
use super::steer::{Answer, Steer, Trouble};
use crate::failure::OrMend;
use crate::process::say;

/// Training of every row; of one for several behaviours as many for each.
pub const STEPS: usize = 40;
pub const BATCH: usize = 1;
/// The blocks that are trained, where a method can choose; a vector's too.
pub const LAYERS: &str = "9-20";
const FIRST_AND_LAST: [&str; 2] = ["9", "20"];
/// Strengths of a vector that is not trained, in nats: in the place of rates.
const STRENGTHS: [f64; 4] = [0.25, 0.5, 1.0, 2.0];
/// The strength of the equal dose.
const DOSE_NATS: f64 = 1.0;
/// What half precision may change of any d or NLL shift.
const MOST_CHANGE_NATS: f64 = 0.01;

pub const CONFIG: &str = "adapter_config.json";
pub const TRAINING: &str = "training.json";
pub const MEND: &str = "check the folder's rights and the free disk space";

/// How a row comes about.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// Trained: with this rank, in these blocks, around this rate.
    Train {
        count: Count,
        layers: &'static str,
        rate: f64,
    },
    /// Trained for all behaviours at once: see [`several`](super::several).
    Several {
        rank: usize,
        layers: &'static str,
        rate: f64,
    },
    /// The mean difference, as `steer extract` has it.
    Extract,
}

/// A row to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub behaviour: String,
    pub name: String,
    /// The method's file.
    pub method: String,
    pub how: How,
    pub seed: u64,
    /// Which task of its adapter the behaviour is, where that has several.
    pub task: Option<usize>,
    /// Whether −1 is trained too.
    pub reverse: bool,
    pub shipped: bool,
    /// The row, as BEHAVIOUR/NAME, whose rate it takes if that is there; otherwise it sweeps itself.
    pub rate_from: Option<String>,
}

impl Wanted {
    /// BEHAVIOUR/NAME
    pub fn place(&self) -> String {
        format!("{}/{}", self.behaviour, self.name)
    }
}

/// What a row says of how its adapter came about.
pub struct Facts<'a> {
    pub rank: Option<usize>,
    pub parameters: u64,
    pub layers: &'a str,
    pub steps: Option<usize>,
    pub swept: &'a [Tried],
    /// The row whose rate it took.
    pub taken: Option<String>,
    pub chosen: Chosen<'a>,
    /// Of its weights.
    pub bytes: usize,
    pub half: &'a Half,
}

/// A training: of one row, or of an adapter that several rows share.
pub struct Training<'a> {
    pub rows: &'a [Wanted],
    pub rank: usize,
    pub layers: &'a str,
    pub rate: f64,
    /// How many numbers it has, where that is known.
    pub parameters: Option<usize>,
    /// The folders of those that it mixes.
    pub experts: &'a [PathBuf],
}

/// What all rows share.
pub struct Shop {
    pub steer: Steer,
    /// Where rows go.
    pub adapters: PathBuf,
    /// Where they are made.
    pub work: PathBuf,
    /// SHA-256 of the pairs and of the model.
    pub pairs_sha256: String,
    pub model_sha256: String,
    /// Parameters of the reference.
    pub budget: usize,
}

impl Shop {
    /// Makes the row and puts it into its place. What cannot be done becomes a row that says so.
    pub fn make(&self, wanted: &Wanted) -> Answer<()> {
        let work = self.work.join(wanted.place());
        let made = work.join(&wanted.name);
        // Unfinished.
        drop(fs::remove_dir_all(&made));
        fs::create_dir_all(&made).or_mend(made.display(), MEND)?;
        let mut tried = Vec::new();
        let row = match self.row(wanted, &work, &made, &mut tried) {
            Ok(row) => row,
            Err(Trouble::Refused(why)) => {
                for file in [CONFIG, WEIGHTS, TRAINING] {
                    drop(fs::remove_file(made.join(file)));
                }
                failed(wanted, &tried, &why)
            }
            Err(ended) => return Err(ended),
        };
        self.put_row(wanted, &made, &row)?;
        drop(fs::remove_dir_all(&work));
        Ok(())
    }

    /// Writes `row.json` into a folder, and puts that into the row's place.
    pub fn put_row(&self, wanted: &Wanted, made: &Path, row: &Value) -> Answer<()> {
        let path = made.join(ROW);
        fs::write(&path, format!("{row:#}\n")).or_mend(path.display(), MEND)?;
        put(made, &self.adapters.join(wanted.place()))
    }

    /// Fills `made` with the adapter's files and gives what `row.json` says.
    fn row(
        &self,
        wanted: &Wanted,
        work: &Path,
        made: &Path,
        tried: &mut Vec<Tried>,
    ) -> Answer<Value> {
        let (rates, taken) = self.rates(wanted)?;
        tries(&wanted.place(), &rates, tried, |rate| match wanted.how {
            How::Train { count, layers, .. } => self.trained(wanted, count, layers, rate, work),
            _ => self.extracted(wanted, rate, work),
        })?;
        let chosen = chosen(tried, wanted.reverse)?;
        let best = work.join(folder(chosen.rate));
        let half = self.files(std::slice::from_ref(wanted), &best, made)?;
        let bytes = fs::read(made.join(WEIGHTS)).or_mend(WEIGHTS, MEND)?;
        check_size(&wanted.place(), bytes.len())?;
        let (measured, dose) = self.numbers(wanted, made)?;
        if !wanted.shipped {
            for file in [CONFIG, WEIGHTS, TRAINING] {
                drop(fs::remove_file(made.join(file)));
            }
        }
        let (rank, parameters, layers) = match &wanted.how {
            How::Train { count, layers, .. } => {
                (Some(count.rank), count.parameters as u64, *layers)
            }
            _ => (None, floats(&bytes).map_err(Trouble::Refused)?, LAYERS),
        };
        let facts = Facts {
            rank,
            parameters,
            layers,
            steps: rank.map(|_| STEPS),
            swept: if taken.is_some() { &[] } else { &tried[..] },
            taken,
            chosen,
            bytes: bytes.len(),
            half: &half,
        };
        Ok(self.told(wanted, &facts, &measured, &dose))
    }

    /// `row.json` of a row that was measured.
    pub fn told(
        &self,
        wanted: &Wanted,
        facts: &Facts<'_>,
        measured: &Value,
        dose: &Value,
    ) -> Value {
        let is_trained = facts.steps.is_some();
        let swept: Vec<Value> = facts.swept.iter().map(Tried::json).collect();
        let (chosen, half) = (&facts.chosen, facts.half);
        let mut row = json!({
            "behaviour": wanted.behaviour, "name": wanted.name, "method": wanted.method,
            "seed": wanted.seed, "shipped": wanted.shipped,
            "parameters": facts.parameters, "budgetParameters": self.budget,
            "rank": facts.rank, "layers": facts.layers, "modules": "",
            "steps": facts.steps, "batch": is_trained.then_some(BATCH),
            "trainsReverse": wanted.reverse,
            "sweepOf": if is_trained { "rate" } else { "nats" },
            "sweep": swept, "rateFrom": facts.taken, "rateNote": chosen.note,
            "rate": chosen.rate, "seconds": chosen.seen.seconds,
            "bytes": facts.bytes, "half": half.is_half, "halfChangesDNats": half.changes_d_nats,
            "halfNote": half.note,
            "measured": measured, "dose": dose, "failed": null,
        });
        if matches!(wanted.how, How::Several { .. }) {
            row["folder"] = super::several::folder(&wanted.name).into();
            row["task"] = wanted.task.into();
        }
        row
    }

    /// What `steer measure` says of the test rows, and what they say at the equal dose.
    pub fn numbers(&self, wanted: &Wanted, made: &Path) -> Answer<(Value, Value)> {
        let measured = self.dose("measure", wanted, made, &["--split", "test"])?;
        say(&wanted.place(), "measured on the test rows");
        let dose = self.equal_dose(wanted, made, &measured)?;
        Ok((measured, dose))
    }

    /// [`Steer::dose`] of a row: its behaviour, and its task.
    fn dose(&self, command: &str, wanted: &Wanted, made: &Path, rest: &[&str]) -> Answer<Value> {
        let task = wanted.task.map(|task| task.to_string());
        let mut arguments = rest.to_vec();
        arguments.extend(task.iter().flat_map(|task| ["--task", &**task]));
        let behaviour = &wanted.behaviour;
        self.steer.dose(command, behaviour, made, &arguments)
    }

    /// The rates to try; of another row's rate alone, and then that row.
    fn rates(&self, wanted: &Wanted) -> Answer<(Vec<f64>, Option<String>)> {
        if let Some(from) = &wanted.rate_from {
            let other = row(&self.adapters.join(from))?;
            if let Some(rate) = other.and_then(|row| row["rate"].as_f64()) {
                let from = from.as_str();
                let (behaviour, name) = from.split_once('/').unwrap_or((from, ""));
                let from = if name == wanted.name { behaviour } else { from };
                return Ok((vec![short(rate)], Some(from.to_owned())));
            }
        }
        Ok(match &wanted.how {
            How::Train { rate, .. } | How::Several { rate, .. } => (rates(*rate), None),
            How::Extract => (STRENGTHS.to_vec(), None),
        })
    }

    /// Trains, unless that was done, and reads what the stop rows say.
    fn trained(
        &self,
        wanted: &Wanted,
        count: Count,
        layers: &str,
        rate: f64,
        work: &Path,
    ) -> Answer<Seen> {
        let folder = &work.join(folder(rate));
        let training = Training {
            rows: std::slice::from_ref(wanted),
            rank: count.rank,
            layers,
            rate,
            parameters: Some(count.parameters),
            experts: &[],
        };
        let record = self.training(&training, folder)?;
        let seconds = record["seconds"].as_f64().unwrap_or_default();
        if wanted.reverse {
            return seen(&record["stopRows"], seconds).ok_or_else(not_finite);
        }
        self.stop_rows(wanted, folder, seconds)
    }

    /// Trains, unless that was done, and gives what the training says of itself.
    pub fn training(&self, training: &Training<'_>, out: &Path) -> Answer<Value> {
        if let Some(record) = record(out).filter(|record| self.is_of(record, training)) {
            return Ok(record);
        }
        drop(fs::remove_dir_all(out));
        let Training { rows, experts, .. } = training;
        let steps = (STEPS * rows.len()).to_string();
        let (rank, rate) = (training.rank.to_string(), training.rate.to_string());
        let (batch, seed) = (BATCH.to_string(), rows[0].seed.to_string());
        let (pairs, folder) = (self.steer.pairs.to_string_lossy(), out.to_string_lossy());
        let mut arguments = vec!["--method", &rows[0].method, "--pairs", &pairs];
        arguments.extend([
            "--layers",
            training.layers,
            "--rank",
            &rank,
            "--rate",
            &rate,
        ]);
        arguments.extend(["--steps", &steps, "--batch", &batch, "--seed", &seed]);
        // One look, at the end: nothing ends early.
        arguments.extend(["--check-every", &steps, "--out", &folder]);
        for row in *rows {
            arguments.extend(["--behaviour", &row.behaviour]);
        }
        let experts: Vec<_> = experts.iter().map(|path| path.to_string_lossy()).collect();
        for expert in &experts {
            arguments.extend(["--expert", &**expert]);
        }
        self.steer.ask("train", &arguments)?;
        record(out).ok_or_else(|| Trouble::Refused(format!("the training left no {TRAINING}")))
    }

    /// Whether a training that is there is this one.
    fn is_of(&self, record: &Value, training: &Training<'_>) -> bool {
        let (rows, options) = (training.rows, &record["options"]);
        record["pairsSha256"] == self.pairs_sha256
            && record["modelSha256"] == self.model_sha256
            && record["behaviours"].as_array().map_or(1, Vec::len) == rows.len()
            && training
                .parameters
                .is_none_or(|count| record["parameters"] == count)
            && options["rate"].as_f64().map(short) == Some(training.rate)
            && options["rank"] == training.rank
            && options["layers"] == training.layers
            && options["steps"] == STEPS * rows.len()
            && options["batch"] == BATCH
            && options["seed"] == rows[0].seed
    }

    fn extracted(&self, wanted: &Wanted, nats: f64, work: &Path) -> Answer<Seen> {
        let folder = &work.join(folder(nats));
        let texts = work.join("texts.json");
        fs::write(&texts, self.texts(&wanted.behaviour)?.to_string())
            .or_mend(texts.display(), MEND)?;
        let began = Instant::now();
        let (texts, out) = (texts.to_string_lossy(), folder.to_string_lossy());
        let nats = nats.to_string();
        let [first, last] = FIRST_AND_LAST;
        let arguments = [
            &["--pairs", &texts, "--method", "mean", "--fast"][..],
            &["--layers", first, last, "--nats", &nats, "--out", &out],
        ];
        self.steer.ask("extract", &arguments.concat())?;
        let seconds = began.elapsed().as_secs_f64();
        self.stop_rows(wanted, folder, seconds)
    }

    /// The answers of the train rows, as `steer extract` reads them.
    fn texts(&self, behaviour: &str) -> Answer<Value> {
        let pairs = &self.steer.pairs;
        let bytes = fs::read(pairs).or_mend(pairs.display(), MEND)?;
        let file: Value = serde_json::from_slice(&bytes).or_mend(pairs.display(), MEND)?;
        let rows = || file[behaviour].as_array().into_iter().flatten();
        let side = |side: &str| {
            let rows = rows().filter(|row| row["split"] == "train");
            rows.map(|row| row[side].clone()).collect::<Vec<_>>()
        };
        Ok(json!({ "positive": side("positive"), "negative": side("negative") }))
    }

    /// What the stop rows say of an adapter, read by `steer measure`.
    pub fn stop_rows(&self, wanted: &Wanted, adapter: &Path, seconds: f64) -> Answer<Seen> {
        let found = self.brief(wanted, adapter, "stop", &[])?;
        let ends = [-1.0, 0.0, 1.0];
        let d = at(&found, "d_nats", &ends);
        let nll = at(&found, "nll_shift_nats", &ends);
        let ([Some(low), Some(base), Some(high)], [Some(left), _, Some(right)]) =
            (&d[..], &nll[..])
        else {
            return Err(not_finite());
        };
        let ordered = if wanted.reverse {
            &ends[..]
        } else {
            &ends[1..]
        };
        Ok(Seen {
            d_nats: [*low, *base, *high],
            ordered_share: ordered_share(&found, ordered).ok_or_else(not_finite)?,
            nll_shift_nats: [*left, *right],
            seconds,
        })
    }

    /// `steer measure` at −1, 0, 1 and these, without what takes long.
    fn brief(&self, wanted: &Wanted, adapter: &Path, split: &str, more: &[f64]) -> Answer<Value> {
        let coefficients: Vec<String> = [-1.0, 0.0, 1.0]
            .iter()
            .chain(more)
            .map(f64::to_string)
            .collect();
        let coefficients = format!("--coeffs={}", coefficients.join(","));
        let arguments = ["--split", split, "--brief", &coefficients];
        self.dose("measure", wanted, adapter, &arguments)
    }

    /// Copies the winner, in half precision where the stop rows of these do not notice.
    pub fn files(&self, wanted: &[Wanted], best: &Path, made: &Path) -> Answer<Half> {
        for file in [CONFIG, TRAINING] {
            if best.join(file).is_file() {
                fs::copy(best.join(file), made.join(file)).or_mend(file, MEND)?;
            }
        }
        let whole = best.join(WEIGHTS);
        let bytes = fs::read(&whole).or_mend(whole.display(), MEND)?;
        let to = made.join(WEIGHTS);
        let stays = |why: String, change: Option<f64>| -> Answer<Half> {
            fs::write(&to, &bytes).or_mend(to.display(), MEND)?;
            say(&wanted[0].place(), format!("stays in f32: {why}"));
            Ok(Half {
                is_half: false,
                changes_d_nats: change,
                note: Some(why),
            })
        };
        let half = match halved(&bytes) {
            Ok(half) => half,
            Err(why) => return stays(why, None),
        };
        fs::write(&to, half).or_mend(to.display(), MEND)?;
        let (mut d, mut nll) = (0.0_f64, 0.0_f64);
        for one in wanted {
            let before = self.brief(one, best, "stop", &[])?;
            let after = match self.brief(one, made, "stop", &[]) {
                Ok(after) => after,
                Err(Trouble::Refused(why)) => return stays(why, None),
                Err(ended) => return Err(ended),
            };
            let changes = ["d_nats", "nll_shift_nats"].map(|it| change(&before, &after, it));
            let [Some(of_d), Some(of_nll)] = changes else {
                return stays("not all numbers are finite".to_owned(), None);
            };
            (d, nll) = (d.max(of_d), nll.max(of_nll));
        }
        if d.max(nll) > MOST_CHANGE_NATS {
            let why = format!("half precision changes d by {d:.4} nats, the NLL shift by {nll:.4}");
            return stays(why, Some(d));
        }
        Ok(Half {
            is_half: true,
            changes_d_nats: Some(d),
            note: None,
        })
    }

    /// c on either side at which the strength is a nat, and d there on the test rows.
    fn equal_dose(&self, wanted: &Wanted, made: &Path, measured: &Value) -> Answer<Value> {
        let nats = DOSE_NATS.to_string();
        let base = at(measured, "d_nats", &[0.0])[0];
        let none = |low: Option<f64>, high: Option<f64>, why: Option<String>| {
            json!({ "nats": DOSE_NATS, "cLow": low, "cHigh": high, "dNats": [null, base, null],
                    "orderedShare": null, "note": why })
        };
        let asked = ["--nats", &*nats];
        let found = match self.dose("calibrate", wanted, made, &asked) {
            Ok(found) => found,
            Err(Trouble::Refused(why)) => return Ok(none(None, None, Some(why))),
            Err(ended) => return Err(ended),
        };
        let low = found["negative"]["c"].as_f64();
        let high = found["positive"]["c"].as_f64();
        let notes = ["negative", "positive"].map(|side| found[side]["note"].as_str());
        let notes: Vec<&str> = notes.into_iter().flatten().collect();
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        let both: Vec<f64> = low.into_iter().chain(high).collect();
        if both.is_empty() {
            return Ok(none(low, high, note));
        }
        let found = match self.brief(wanted, made, "test", &both) {
            Ok(found) => found,
            Err(Trouble::Refused(why)) => return Ok(none(low, high, Some(why))),
            Err(ended) => return Err(ended),
        };
        let d = |c: Option<f64>| c.and_then(|c| at(&found, "d_nats", &[c])[0]);
        let ordered = low
            .zip(high)
            .and_then(|(low, high)| ordered_share(&found, &[low, 0.0, high]));
        Ok(json!({ "nats": DOSE_NATS, "cLow": low, "cHigh": high,
                   "dNats": [d(low), base, d(high)], "orderedShare": ordered, "note": note }))
    }
}

/// Tries these rates, and says what came of each.
pub fn tries(
    place: &str,
    rates: &[f64],
    tried: &mut Vec<Tried>,
    seen: impl Fn(f64) -> Answer<Seen>,
) -> Answer<()> {
    for &rate in rates {
        let outcome = match seen(rate) {
            Err(Trouble::Refused(why)) => Err(why),
            seen => Ok(seen?),
        };
        let words = match &outcome {
            Ok(seen) => {
                let ([low, base, high], [left, right]) = (seen.d_nats, seen.nll_shift_nats);
                let ordered = seen.ordered_share * 100.0;
                format!(
                    "d {low:.2}, {base:.2}, {high:.2}, ordered {ordered:.0} %, NLL {left:+.3} \
                     and {right:+.3}"
                )
            }
            Err(why) => why.clone(),
        };
        say(place, format!("{rate}: {words}"));
        tried.push(Tried { rate, outcome });
    }
    Ok(())
}

/// The winner, or why there is none.
pub fn chosen(tried: &[Tried], reverse: bool) -> Answer<Chosen<'_>> {
    winner(tried, reverse).ok_or_else(|| {
        let first = tried.iter().find_map(|tried| tried.outcome.as_ref().err());
        let why = first.map_or("nothing was tried", |why| why);
        Trouble::Refused(match tried.len() {
            1 => why.to_owned(),
            _ => format!("every value of the sweep failed, the first: {why}"),
        })
    })
}

/// What a training says of itself, once all of it is there.
pub fn record(folder: &Path) -> Option<Value> {
    // The config is written first, the record last.
    let whole = folder.join(CONFIG).is_file();
    let bytes = fs::read(folder.join(TRAINING)).ok().filter(|_| whole)?;
    serde_json::from_slice(&bytes).ok()
}

/// Where a try is kept.
pub fn folder(rate: f64) -> String {
    format!("rate-{rate}")
}

/// `row.json` of a row that has no numbers.
pub fn failed(wanted: &Wanted, tried: &[Tried], why: &str) -> Value {
    say(&wanted.place(), format!("failed: {why}"));
    let sweep: Vec<Value> = tried.iter().map(Tried::json).collect();
    let mut row = json!({
        "behaviour": wanted.behaviour, "name": wanted.name, "method": wanted.method,
        "seed": wanted.seed, "sweep": sweep, "failed": why,
    });
    if let Some(task) = wanted.task {
        row["task"] = task.into();
    }
    row
}

/// Refuses weights that are too large.
pub fn check_size(place: &str, bytes: usize) -> Answer<()> {
    if (bytes as u64) < MOST_BYTES {
        return Ok(());
    }
    let failure = too_large(&PathBuf::from(place).join(WEIGHTS), bytes as u64);
    Err(Trouble::Refused(failure.problem().to_owned()))
}

/// What became of half precision.
pub struct Half {
    is_half: bool,
    changes_d_nats: Option<f64>,
    note: Option<String>,
}

pub fn not_finite() -> Trouble {
    Trouble::Refused("what the stop rows say is not finite".to_owned())
}

/// What the training says of the stop rows.
fn seen(stop: &Value, seconds: f64) -> Option<Seen> {
    Some(Seen {
        d_nats: list(&stop["dNats"])?,
        ordered_share: stop["orderedShare"].as_f64()?,
        nll_shift_nats: list(&stop["nllShiftNats"])?,
        seconds,
    })
}

fn list<const N: usize>(value: &Value) -> Option<[f64; N]> {
    let numbers: Option<Vec<f64>> = value.as_array()?.iter().map(Value::as_f64).collect();
    numbers?.try_into().ok()
}

/// What an unfinished row is called beside its place.
pub fn unfinished(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.new"))
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to)?;
        } else {
            fs::copy(from, to)?;
        }
    }
    Ok(())
}

/// Moves a whole folder into its place: there is the old row or the new one.
pub fn put(made: &Path, place: &Path) -> Answer<()> {
    let beside = unfinished(place);
    drop(fs::remove_dir_all(&beside));
    let copied = || -> std::io::Result<()> {
        copy(made, &beside)?;
        if place.exists() {
            fs::remove_dir_all(place)?;
        }
        fs::rename(&beside, place)
    };
    copied().or_mend(place.display(), MEND)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_the_place_of_the_one_before() {
        let folder = std::env::temp_dir().join(format!("xtask-zoo-put-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        let (made, place) = (folder.join("made"), folder.join("tone").join("lora"));
        for (path, text) in [(made.join("a"), "new"), (place.join("b"), "old")] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        put(&made, &place).unwrap();
        assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "new");
        assert!(!place.join("b").exists() && !unfinished(&place).exists());
        fs::remove_dir_all(folder).unwrap();
    }
}
