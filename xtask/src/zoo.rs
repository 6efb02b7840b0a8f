//! `cargo xtask zoo`: every method trained for the same behaviours and measured in the same way, a row
//! each in `www/adapters/BEHAVIOUR/NAME`.
//!
//! ```text
//! steer.rs   the program that trains and measures
//! choice.rs  the rank and the rate, by rule
//! make.rs    one row
//! several.rs an adapter for all behaviours, and its rows
//! trials.rs  claims that take measurements of their own
//! half.rs    its numbers in half precision
//! index.rs   what the page reads of all rows
//! ```

mod choice;
mod half;
mod index;
mod make;
mod measured;
mod several;
mod steer;
mod trials;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

use crate::failure::{Failure, OrMend, Result};
use crate::model::{self, sha256};
use crate::process::say;
use crate::workspace::Workspace;
use choice::{Count, nearest};
use make::{How, LAYERS, Shop, Wanted, unfinished};
use steer::{Steer, Trouble};

/// What to make.
pub struct Options {
    /// Rows of these names alone.
    pub only: Option<Vec<String>>,
    /// Of this behaviour alone.
    pub behaviour: Option<String>,
    /// Rows at a time.
    pub jobs: u32,
    /// Those that are there too.
    pub redo: bool,
    /// Another model than the one that is fetched.
    pub model: Option<PathBuf>,
    /// Only say what would be done.
    pub plan: bool,
}

/// The behaviour whose rates the others take.
const FIRST: &str = "tone";
/// The method and rank whose size is the budget.
const REFERENCE: (&str, usize) = ("lora", 4);
/// The first one is what a method without a rank is trained with.
const RANKS: [usize; 8] = [REFERENCE.1, 8, 16, 32, 64, 128, 2, 1];
/// Each virtual token costs time in every pass.
const MOST_TOKENS: usize = 16;

/// Rows of the first behaviour at another rank: one idea from small to large.
const OF_RANK: [(&str, usize); 2] = [("lora", 1), ("lora", 16)];
/// Methods of the first behaviour that a second seed trains again, to tell how much is noise.
const SEEDED: [&str; 6] = ["lora", "ia3", "hra", "road", "bipo", "fourierft"];
const SECOND_SEED: u64 = 1;
/// What is not trained: the method's file, and the row's name.
const VECTOR: (&str, &str) = ("control_vector", "mean-vector");

/// Keys of the pairs' file that are no behaviours.
const RESERVED: [&str; 4] = ["neutral", "prompting", "note", "$schema"];

/// Makes what is missing.
pub fn command(workspace: &Workspace, options: &Options) -> Result {
    if options.redo && options.only.is_none() {
        return Err(Failure::new(
            "--redo would train every row again",
            "name the rows with --only NAME,NAME",
        ));
    }
    let Opened {
        steer,
        adapters,
        work,
        kept,
        pairs_sha256,
        model_sha256,
    } = open(workspace, options.model.as_deref())?;
    let behaviours = behaviours(&steer.pairs)?;
    let only = options.only.as_deref();
    let methods = methods(&steer, &kept, |name| {
        only.is_none_or(|rows| rows.iter().any(|row| is_of(row, name)))
    })?;
    let reference = methods.iter().find(|method| method.name == REFERENCE.0);
    let budget = reference.and_then(|method| method.at(REFERENCE.1));
    let budget = budget.ok_or_else(|| {
        Failure::new(
            "the reference cannot be trained",
            "mend `steer methods --json`",
        )
    })?;
    let shop = Shop {
        steer,
        adapters,
        work,
        pairs_sha256,
        model_sha256,
        budget: budget.parameters,
    };
    let all = rows(&behaviours, &methods, shop.budget);
    let (wanted, there) = chosen(&shop, all, options)?;
    if options.plan {
        print_plan(&shop, &wanted, &there);
        return Ok(());
    }
    say(
        "zoo",
        format!("{} rows to make, {} there", wanted.len(), there.len()),
    );
    for row in &wanted {
        drop(fs::remove_dir_all(unfinished(
            &shop.adapters.join(row.place()),
        )));
        if options.redo {
            drop(fs::remove_dir_all(shop.work.join(row.place())));
            if let How::Several { .. } = row.how {
                drop(fs::remove_dir_all(
                    shop.work.join(several::folder(&row.name)),
                ));
            }
        }
    }
    // What takes another row's rate waits for that row, and a mixture for what it mixes.
    let (of_all, of_one): (Vec<_>, Vec<_>) = wanted
        .into_iter()
        .partition(|row| matches!(row.how, How::Several { .. }));
    let (later, first): (Vec<_>, Vec<_>) =
        of_one.into_iter().partition(|row| row.rate_from.is_some());
    let alone = |rows: Vec<Wanted>| rows.into_iter().map(|row| vec![row]).collect();
    let several = several::rows(&behaviours, &methods, shop.budget);
    let several = several.chunk_by(|a, b| a.name == b.name);
    let several = several.filter(|rows| of_all.iter().any(|row| row.name == rows[0].name));
    for jobs in [
        alone(first),
        alone(later),
        several.map(<[Wanted]>::to_vec).collect(),
    ] {
        make_all(&shop, jobs, options.jobs)?;
    }
    index::write(&shop.adapters)
}

/// Measures what the claims take besides the rows.
pub fn claims(workspace: &Workspace, model: Option<&Path>, redo: bool) -> Result {
    let opened = open(workspace, model)?;
    let behaviours = behaviours(&opened.steer.pairs)?;
    trials::measure(&opened, &behaviours, redo)
}

/// The program, and what it is asked about.
struct Opened {
    steer: Steer,
    /// Where rows go.
    adapters: PathBuf,
    /// Where they are made.
    work: PathBuf,
    /// Where this program's answers stay.
    kept: PathBuf,
    pairs_sha256: String,
    model_sha256: String,
}

/// Builds the program, and keeps it and the pairs: rows take hours, and what changes meanwhile must not change
/// what is made of them.
fn open(workspace: &Workspace, model: Option<&Path>) -> Result<Opened> {
    let model = match model {
        Some(model) => model.to_owned(),
        None => model::fetch(workspace)?,
    };
    let built = workspace.steer()?;
    let adapters = workspace.www().join("adapters");
    let pairs = adapters.join("contrast.json");
    let mend = "check that it is there, and the free disk space";
    let hash = |path: &Path| sha256(path).or_mend(path.display(), mend);
    let (built_sha256, model_sha256, pairs_sha256) = (hash(&built)?, hash(&model)?, hash(&pairs)?);
    let work = workspace.cache.join("zoo");
    let kept = work.join(format!(
        "of-{}-{}",
        &built_sha256[..16],
        &model_sha256[..16]
    ));
    fs::create_dir_all(&kept).or_mend(kept.display(), mend)?;
    let keep = |file: &Path, name: &str| -> Result<PathBuf> {
        let copy = kept
            .join(name)
            .with_extension(file.extension().unwrap_or_default());
        if sha256(&copy).ok() != Some(hash(file)?) {
            fs::copy(file, &copy).or_mend(copy.display(), mend)?;
        }
        Ok(copy)
    };
    let steer = Steer {
        program: keep(&built, "steer")?,
        pairs: keep(&pairs, &format!("pairs-{}", &pairs_sha256[..16]))?,
        model,
    };
    Ok(Opened {
        steer,
        adapters,
        work,
        kept,
        pairs_sha256,
        model_sha256,
    })
}

/// A method that can be trained.
struct Method {
    name: String,
    rate: f64,
    reverse: bool,
    layers: &'static str,
    counts: Vec<Count>,
}

impl Method {
    fn at(&self, rank: usize) -> Option<Count> {
        self.counts.iter().find(|it| it.rank == rank).copied()
    }
}

/// What can be trained, with what each method would hold at each rank: the reference, and what is wanted.
fn methods(steer: &Steer, kept: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Method>> {
    let text = answer(steer.without_model("methods", &["--json"]))?;
    let mut methods = Vec::new();
    for line in text.lines() {
        let Some(Method { name, .. }) = method(&told(line)?, LAYERS) else {
            continue;
        };
        if name != REFERENCE.0 && !wanted(&name) {
            continue;
        }
        let some = counted(steer, kept, &name, LAYERS)?;
        // What acts on all blocks cannot choose some.
        let is_refused = some.as_ref().is_some_and(|it| it.counts.is_empty());
        methods.extend(if is_refused {
            counted(steer, kept, &name, "")?
        } else {
            some
        });
    }
    Ok(methods)
}

/// What a method would hold at each rank in these blocks.
///
/// Some begin with directions of all weights, which takes a minute: `kept` is where the answers stay.
fn counted(steer: &Steer, kept: &Path, name: &str, layers: &'static str) -> Result<Option<Method>> {
    let blocks = if layers.is_empty() { "all" } else { layers };
    let kept = kept.join(format!("{name}-{blocks}.json"));
    if let Ok(text) = fs::read_to_string(&kept) {
        return Ok(method(&told(&text)?, layers));
    }
    say("zoo", format!("{name}: counting numbers, blocks {blocks}"));
    let ranks = RANKS.map(|rank| rank.to_string()).join(",");
    // What has more makes no file of the zoo's size.
    let most = ["--most", "2000000"];
    let asked = [
        "--json", "--only", name, "--ranks", &ranks, "--layers", layers,
    ];
    let text = answer(steer.ask("methods", &[&asked[..], &most].concat()))?;
    put_file(&kept, text.as_bytes())?;
    Ok(method(&told(&text)?, layers))
}

/// What `steer methods` says.
fn answer(text: steer::Answer<String>) -> Result<String> {
    text.map_err(|trouble| match trouble {
        Trouble::Ended(failure) => failure,
        Trouble::Refused(why) => Failure::new(why, "choose another model"),
    })
}

/// What it says of one method.
fn told(line: &str) -> Result<Value> {
    serde_json::from_str(line).or_mend("`steer methods --json` wrote no JSON", "mend it")
}

/// Whether a row of this name is one of the method's: lora, lora-r1 and lora-seed1 are.
fn is_of(row: &str, method: &str) -> bool {
    row.split('-').next() == Some(method)
}

/// Writes beside and moves into place.
fn put_file(path: &Path, bytes: &[u8]) -> Result {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes)
        .and_then(|()| fs::rename(&beside, path))
        .or_mend(
            path.display(),
            "check the folder's rights and the free disk space",
        )
}

/// An object of `steer methods --json`; none for what cannot be trained.
fn method(facts: &Value, layers: &'static str) -> Option<Method> {
    let rate = facts["rate"].as_f64()?;
    let reverse = facts["family"] != "prompt";
    let most = if reverse { usize::MAX } else { MOST_TOKENS };
    let counts = facts["counts"].as_array().into_iter().flatten();
    Some(Method {
        name: facts["name"].as_str()?.to_owned(),
        rate,
        reverse,
        layers,
        counts: counts
            .filter_map(Count::of)
            .filter(|count| count.rank <= most)
            .collect(),
    })
}

/// The behaviours of the pairs' file, the first one first.
fn behaviours(pairs: &Path) -> Result<Vec<String>> {
    let mend = "restore it with git";
    let bytes = fs::read(pairs).or_mend(pairs.display(), mend)?;
    let file: Value = serde_json::from_slice(&bytes).or_mend(pairs.display(), mend)?;
    let keys = file.as_object().into_iter().flat_map(|file| file.keys());
    let mut names: Vec<String> = keys
        .filter(|key| !RESERVED.contains(&key.as_str()))
        .cloned()
        .collect();
    names.sort_by_key(|name| name != FIRST);
    Ok(names)
}

/// Every row of the zoo.
fn rows(behaviours: &[String], methods: &[Method], budget: usize) -> Vec<Wanted> {
    let mut rows = Vec::new();
    for behaviour in behaviours {
        let is_first = behaviour == FIRST;
        let rate_from = |name: &str| (!is_first).then(|| format!("{FIRST}/{name}"));
        let of_one = methods
            .iter()
            .filter(|method| behaviours.len() < 2 || !several::is_one(&method.name));
        for method in of_one {
            let trained =
                |name: String, count: Count, seed: u64, rate_from: Option<String>| Wanted {
                    behaviour: behaviour.clone(),
                    name,
                    method: method.name.clone(),
                    how: How::Train {
                        count,
                        layers: method.layers,
                        rate: method.rate,
                    },
                    seed,
                    task: None,
                    reverse: method.reverse,
                    shipped: seed == 0,
                    rate_from,
                };
            let Some(count) = nearest(&method.counts, budget) else {
                continue;
            };
            let name = &method.name;
            rows.push(trained(name.clone(), count, 0, rate_from(name)));
            if !is_first {
                continue;
            }
            for (_, rank) in OF_RANK.iter().filter(|(of, _)| of == name) {
                let count = method.at(*rank);
                rows.extend(count.map(|count| trained(format!("{name}-r{rank}"), count, 0, None)));
            }
            if SEEDED.contains(&name.as_str()) {
                let from = Some(format!("{FIRST}/{name}"));
                let named = format!("{name}-seed{SECOND_SEED}");
                rows.push(trained(named, count, SECOND_SEED, from));
            }
        }
        let (method, name) = VECTOR;
        rows.push(Wanted {
            behaviour: behaviour.clone(),
            name: name.to_owned(),
            method: method.to_owned(),
            how: How::Extract,
            seed: 0,
            task: None,
            reverse: true,
            shipped: true,
            rate_from: rate_from(name),
        });
    }
    rows.extend(several::rows(behaviours, methods, budget));
    rows
}

/// A row that is there, and its file.
type There = (Wanted, Value);

/// Those that are asked for: to make, and there already.
fn chosen(shop: &Shop, all: Vec<Wanted>, options: &Options) -> Result<(Vec<Wanted>, Vec<There>)> {
    let unknown = |what: &str, name: &str, known: Vec<&str>| {
        let mend = format!("known are {}", known.join(", "));
        Failure::new(format!("there is no {what} `{name}`"), mend)
    };
    if let Some(name) = &options.behaviour
        && !all.iter().any(|row| row.behaviour == *name)
    {
        let mut known: Vec<&str> = all.iter().map(|row| &*row.behaviour).collect();
        known.dedup();
        return Err(unknown("behaviour", name, known));
    }
    for name in options.only.iter().flatten() {
        if !all.iter().any(|row| row.name == *name) {
            return Err(Failure::new(
                format!("there is no row `{name}`"),
                "`cargo xtask zoo --plan` lists all rows",
            ));
        }
    }
    let is_asked = |row: &Wanted| {
        let of_name = options
            .only
            .as_ref()
            .is_none_or(|it| it.contains(&row.name));
        of_name
            && options
                .behaviour
                .as_ref()
                .is_none_or(|it| *it == row.behaviour)
    };
    let (mut wanted, mut there) = (Vec::new(), Vec::new());
    for row in all.into_iter().filter(is_asked) {
        match index::row(&shop.adapters.join(row.place()))? {
            // A row of one behaviour alone is not that of a task.
            Some(found) if !options.redo && found["task"] == json!(row.task) => {
                there.push((row, found));
            }
            _ => wanted.push(row),
        }
    }
    Ok((wanted, there))
}

/// A line for each row on standard output.
fn print_plan(shop: &Shop, wanted: &[Wanted], there: &[(Wanted, Value)]) {
    println!("budget: {} parameters", shop.budget);
    for row in wanted {
        let what = match &row.how {
            How::Extract => "extracted".to_owned(),
            How::Several { rank, rate, .. } => {
                format!("for all behaviours at once, rank {rank}, around {rate}")
            }
            How::Train {
                count,
                layers,
                rate,
            } => {
                let (n, rank) = (count.parameters, count.rank);
                let times = n as f64 / shop.budget as f64;
                let blocks = if layers.is_empty() { "all" } else { layers };
                format!(
                    "rank {rank}, {n} parameters ({times:.2} of the budget), blocks {blocks}, around {rate}"
                )
            }
        };
        let from = row.rate_from.as_ref();
        let from = from.map_or(String::new(), |from| format!(", rate of {from}"));
        println!("{}: {what}{from}", row.place());
    }
    for (row, found) in there {
        let state = match found["failed"].as_str() {
            Some(why) => format!("failed: {why}"),
            None => "there".to_owned(),
        };
        println!("{}: {state}", row.place());
    }
}

/// Makes rows, some at a time; several together where they are of one adapter. The index is written after each.
fn make_all(shop: &Shop, rows: Vec<Vec<Wanted>>, jobs: u32) -> Result {
    let rows = Mutex::new(VecDeque::from(rows));
    let index = Mutex::new(());
    let trouble = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let some = lock(&rows).pop_front();
                    let Some(some) = some else { break };
                    let place = some[0].place();
                    say(&place, "begins");
                    let made = match &some[..] {
                        [one] => shop.make(one),
                        several => shop.make_several(several),
                    };
                    let done = match made {
                        Ok(()) => {
                            let _alone = lock(&index);
                            index::write(&shop.adapters)
                        }
                        Err(Trouble::Ended(failure)) => Err(failure),
                        Err(Trouble::Refused(why)) => Err(Failure::new(why, "run this again")),
                    };
                    match done {
                        Ok(()) => say(&place, "done"),
                        Err(failure) => {
                            // No row begins after it; those under way are finished.
                            lock(&rows).clear();
                            lock(&trouble).get_or_insert(failure);
                        }
                    }
                }
            });
        }
    });
    let trouble = trouble.into_inner();
    match trouble.unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str, family: &str) -> Value {
        let count = |rank: usize| json!({ "rank": rank, "parameters": 10 * rank, "floats": 10 * rank, "integers": 0 });
        let counts: Vec<Value> = RANKS.map(count).to_vec();
        json!({ "name": name, "family": family, "rate": 0.01, "counts": counts })
    }

    #[test]
    fn rows_are_methods_variants_seeds_and_a_vector() {
        let methods: Vec<Method> = [("lora", "low-rank"), ("cpt", "prompt")]
            .iter()
            .filter_map(|(name, family)| method(&facts(name, family), LAYERS))
            .collect();
        let behaviours = [FIRST, "register"].map(str::to_owned);
        let rows = rows(&behaviours, &methods, 640);
        let places: Vec<String> = rows.iter().map(Wanted::place).collect();
        assert_eq!(
            places,
            [
                "tone/lora",
                "tone/lora-r1",
                "tone/lora-r16",
                "tone/lora-seed1",
                "tone/cpt",
                "tone/mean-vector",
                "register/lora",
                "register/cpt",
                "register/mean-vector"
            ]
        );
        let rank = |at: usize| match &rows[at].how {
            How::Train { count, .. } => count.rank,
            _ => 0,
        };
        assert_eq!([0, 1, 2, 3, 4].map(rank), [64, 1, 16, 64, MOST_TOKENS]);
        let from = |at: usize| rows[at].rate_from.as_deref();
        assert_eq!([0, 1, 4, 5].map(from), [None; 4]);
        assert_eq!(from(3), Some("tone/lora"));
        assert_eq!(from(8), Some("tone/mean-vector"));
        assert!(rows[0].reverse && !rows[4].reverse);
        assert!(rows[0].shipped && !rows[3].shipped);
    }

    #[test]
    fn some_are_trained_for_all_behaviours_at_once() {
        let poly = method(&facts("poly", "low-rank"), LAYERS);
        let mut mixture = facts("xlora", "low-rank");
        mixture["counts"] = Value::Null;
        let mixture = method(&mixture, LAYERS);
        let methods: Vec<Method> = poly.into_iter().chain(mixture).collect();
        let both = [FIRST, "register"].map(str::to_owned);
        let rows = rows(&both, &methods, 40);
        let told: Vec<(String, Option<usize>)> =
            rows.iter().map(|row| (row.place(), row.task)).collect();
        let told: Vec<(&str, Option<usize>)> =
            told.iter().map(|(place, task)| (&**place, *task)).collect();
        assert_eq!(
            told,
            [
                ("tone/mean-vector", None),
                ("register/mean-vector", None),
                ("tone/poly", Some(0)),
                ("register/poly", Some(1)),
                ("tone/xlora", None),
                ("register/xlora", None),
            ]
        );
        let how = How::Several {
            rank: 4,
            layers: LAYERS,
            rate: 0.01,
        };
        assert_eq!(rows[2].how, how);
        let one = super::rows(&both[..1], &methods, 40);
        assert_eq!(one.len(), 2, "a vector, and Poly for one task");
    }

    #[test]
    fn a_row_belongs_to_the_method_that_its_name_begins_with() {
        assert!(
            ["lora", "lora-r1", "lora-seed1"]
                .iter()
                .all(|row| is_of(row, "lora"))
        );
        assert!(!is_of("loha", "lora") && !is_of("ether_plus", "ether"));
    }

    #[test]
    fn what_cannot_be_trained_is_no_row() {
        assert!(method(&json!({ "name": "osf", "trains": false }), LAYERS).is_none());
        let mut refused = facts("oft", "rotate");
        refused["counts"] = json!([{ "rank": 1, "refused": "no" }]);
        let methods: Vec<Method> = method(&refused, LAYERS).into_iter().collect();
        assert_eq!(methods.len(), 1);
        assert_eq!(rows(&["register".to_owned()], &methods, 1).len(), 1);
    }

    #[test]
    fn the_shipped_pairs_have_the_first_behaviour() {
        let pairs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../www/adapters/contrast.json");
        let found = behaviours(&pairs).unwrap();
        assert_eq!(found[0], FIRST);
        assert!(found.len() > 1 && !found.contains(&"neutral".to_owned()));
    }
}
