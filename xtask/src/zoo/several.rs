//! Methods that are trained for all behaviours at once: those that have tasks, and the gate that mixes the
//! behaviours' LoRAs. The adapter is in `www/adapters/several/NAME`, with a row for each behaviour.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Method;
use super::choice::{Seen, Tried, rates};
use super::index::WEIGHTS;
use super::make::{
    Facts, How, MEND, STEPS, Shop, TRAINING, Training, Wanted, check_size, chosen, copy, failed,
    not_finite, put, record, tries,
};
use super::steer::{Answer, Trouble};
use crate::failure::{Failure, OrMend};

/// Where their adapters are.
pub const FOLDER: &str = "several";

/// The methods, by their files, and whether each behaviour is a task.
const METHODS: [(&str, bool); 3] = [
    ("poly", true),
    ("multitask_prompt_tuning", true),
    (MIXTURE, false),
];
/// The one that mixes the rows of this name.
const MIXTURE: &str = "xlora";
const EXPERT: &str = "lora";

/// Whether a method is trained for all behaviours at once.
pub fn is_one(method: &str) -> bool {
    METHODS.iter().any(|(name, _)| *name == method)
}

/// The adapter's folder below all adapters.
pub fn folder(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// Their rows, method by method; none where there is one behaviour alone.
pub fn rows(behaviours: &[String], methods: &[Method], budget: usize) -> Vec<Wanted> {
    let mut rows = Vec::new();
    for (name, has_tasks) in METHODS {
        let Some(method) = methods.iter().find(|method| method.name == name) else {
            continue;
        };
        let rank = super::nearest(&method.counts, budget).map(|count| count.rank);
        if behaviours.len() < 2 || has_tasks && rank.is_none() {
            continue;
        }
        for (number, behaviour) in behaviours.iter().enumerate() {
            rows.push(Wanted {
                behaviour: behaviour.clone(),
                name: name.to_owned(),
                method: name.to_owned(),
                how: How::Several {
                    rank: rank.unwrap_or(super::REFERENCE.1),
                    layers: if has_tasks { method.layers } else { "" },
                    rate: method.rate,
                },
                seed: 0,
                task: has_tasks.then_some(number),
                reverse: method.reverse,
                shipped: false,
                rate_from: None,
            });
        }
    }
    rows
}

impl Shop {
    /// Makes an adapter for several behaviours, and all its rows. What cannot be done becomes rows that say so.
    pub fn make_several(&self, rows: &[Wanted]) -> Answer<()> {
        let name = &rows[0].name;
        let work = self.work.join(folder(name));
        fs::create_dir_all(&work).or_mend(work.display(), MEND)?;
        let mut tried = Vec::new();
        let made = match self.several(rows, &work, &mut tried) {
            Err(Trouble::Refused(why)) => {
                rows.iter().map(|row| failed(row, &tried, &why)).collect()
            }
            made => made?,
        };
        for (row, told) in rows.iter().zip(&made) {
            let alone = work.join("row");
            drop(fs::remove_dir_all(&alone));
            fs::create_dir_all(&alone).or_mend(alone.display(), MEND)?;
            self.put_row(row, &alone, told)?;
        }
        drop(fs::remove_dir_all(&work));
        Ok(())
    }

    /// Puts the adapter into its place and gives the `row.json` of each of its rows.
    fn several(&self, rows: &[Wanted], work: &Path, tried: &mut Vec<Tried>) -> Answer<Vec<Value>> {
        let How::Several { rank, layers, rate } = rows[0].how else {
            return Ok(Vec::new());
        };
        let (name, reverse) = (&rows[0].name, rows[0].reverse);
        let experts = self.experts(rows)?;
        tries(&folder(name), &rates(rate), tried, |rate| {
            self.try_several(rows, rate, &experts, work)
        })?;
        let chosen = chosen(tried, reverse)?;
        let best = work.join(super::make::folder(chosen.rate));
        let made = work.join(name);
        drop(fs::remove_dir_all(&made));
        copy(&best, &made).or_mend(made.display(), MEND)?;
        let half = self.files(rows, &best, &made)?;
        let bytes = fs::metadata(made.join(WEIGHTS))
            .or_mend(WEIGHTS, MEND)?
            .len();
        check_size(&folder(name), bytes as usize)?;
        let record = record(&made)
            .ok_or_else(|| Trouble::Refused(format!("{} has no {TRAINING}", made.display())))?;
        let is_mixture = !experts.is_empty();
        let mut told = Vec::new();
        for row in rows {
            let (measured, dose) = self.numbers(row, &made)?;
            let facts = Facts {
                rank: (!is_mixture).then_some(rank),
                parameters: record["parameters"].as_u64().unwrap_or_default(),
                layers,
                steps: Some(STEPS * rows.len()),
                swept: &tried[..],
                taken: None,
                chosen: chosen.clone(),
                bytes: bytes as usize,
                half: &half,
            };
            told.push(self.told(row, &facts, &measured, &dose));
        }
        put(&made, &self.adapters.join(folder(name)))?;
        Ok(told)
    }

    /// The LoRAs that a mixture mixes, one of each behaviour; none for another method.
    fn experts(&self, rows: &[Wanted]) -> Answer<Vec<PathBuf>> {
        if rows[0].method != MIXTURE {
            return Ok(Vec::new());
        }
        let of = |row: &Wanted| {
            let folder = self.adapters.join(&row.behaviour).join(EXPERT);
            if folder.join(WEIGHTS).is_file() {
                return Ok(folder);
            }
            let problem = format!("{} is not there, which {MIXTURE} mixes", folder.display());
            let mend = format!("`cargo xtask zoo --only {EXPERT}` makes it");
            Err(Trouble::Ended(Failure::new(problem, mend)))
        };
        rows.iter().map(of).collect()
    }

    /// Trains with a rate, unless that was done, and reads the stop rows of every behaviour.
    fn try_several(
        &self,
        rows: &[Wanted],
        rate: f64,
        experts: &[PathBuf],
        work: &Path,
    ) -> Answer<Seen> {
        let How::Several { rank, layers, .. } = rows[0].how else {
            return Err(not_finite());
        };
        let folder = work.join(super::make::folder(rate));
        let training = Training {
            rows,
            rank,
            layers,
            rate,
            parameters: None,
            experts,
        };
        let record = self.training(&training, &folder)?;
        let seconds = record["seconds"].as_f64().unwrap_or_default();
        let seen: Answer<Vec<Seen>> = rows
            .iter()
            .map(|row| self.stop_rows(row, &folder, seconds))
            .collect();
        together(&seen?).ok_or_else(not_finite)
    }
}

/// What the stop rows of several behaviours say: the mean of d and of the ordered share, the dearest cost.
fn together(seen: &[Seen]) -> Option<Seen> {
    let first = seen.first()?;
    let count = seen.len() as f64;
    let mean = |of: &dyn Fn(&Seen) -> f64| seen.iter().map(of).sum::<f64>() / count;
    let most = |at: usize| {
        let all = seen.iter().map(|it| it.nll_shift_nats[at]);
        all.fold(f64::NEG_INFINITY, f64::max)
    };
    Some(Seen {
        d_nats: [0, 1, 2].map(|at| mean(&|it| it.d_nats[at])),
        ordered_share: mean(&|it| it.ordered_share),
        nll_shift_nats: [most(0), most(1)],
        seconds: first.seconds,
    })
}

/// What there is of them: folder, what its training says, its weights.
pub fn adapters(adapters: &Path) -> Vec<(String, Value, PathBuf)> {
    let each = METHODS.iter().filter_map(|(name, _)| {
        let place = adapters.join(folder(name));
        let weights = place.join(WEIGHTS);
        let record = record(&place).filter(|_| weights.is_file())?;
        Some((folder(name), record, weights))
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::make::CONFIG;
    use serde_json::json;

    #[test]
    fn the_dearest_of_several_counts_and_the_mean_of_d() {
        let of = |d: f64, nll: f64| Seen {
            d_nats: [-d, 0.0, d],
            ordered_share: d / 2.0,
            nll_shift_nats: [nll, -nll],
            seconds: 3.0,
        };
        let found = together(&[of(1.0, 0.1), of(2.0, -0.3)]).unwrap();
        assert_eq!(found.d_nats, [-1.5, 0.0, 1.5]);
        assert_eq!((found.ordered_share, found.seconds), (0.75, 3.0));
        assert_eq!(found.nll_shift_nats, [0.1, 0.3]);
        assert!(together(&[]).is_none());
    }

    #[test]
    fn a_folder_is_whole_once_its_record_is_there() {
        let root = std::env::temp_dir().join(format!("xtask-zoo-several-{}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        let place = root.join(folder("poly"));
        fs::create_dir_all(&place).unwrap();
        assert!(adapters(&root).is_empty());
        for (file, text) in [
            (CONFIG, "{}"),
            (WEIGHTS, "a"),
            (TRAINING, "{\"method\": \"poly\"}"),
        ] {
            fs::write(place.join(file), text).unwrap();
        }
        let [(name, record, _)] = &adapters(&root)[..] else {
            panic!("one")
        };
        assert_eq!(
            (&**name, &record["method"]),
            ("several/poly", &json!("poly"))
        );
        fs::remove_dir_all(root).unwrap();
    }
}
