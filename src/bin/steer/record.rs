//! `steer record`: what a model writes at the coefficients of some adapters, as one JSON file that a
//! page can play without the model. `docs/RECORDING.md` describes the plan and the file.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::copy;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use steering_playground::adapters::load as load_adapter;
use steering_playground::device::cpu;
use steering_playground::error::{Error, Result};
use steering_playground::hooks::Mask;
use steering_playground::model::Weights;
use steering_playground::sample::Sampling;
use steering_playground::session::{CachePolicy, Finish, LaneStep, Request, Session, Step};
use steering_playground::text::Message;

use crate::adapter_files::adapter_files;
use crate::files::{io_error, read};
use crate::load::load_model;

#[derive(Args)]
pub(crate) struct Record {
    /// A .gguf file, or the weights in a folder with config.json and tokenizer.json.
    #[arg(long)]
    model: PathBuf,
    /// JSON: the prompts, the adapters and their coefficients (docs/RECORDING.md).
    #[arg(long)]
    plan: PathBuf,
    /// The file to write.
    #[arg(long)]
    out: PathBuf,
}

/// What to record. Nothing has a default but where and when an adapter acts: the plan states all that
/// the file depends on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Plan {
    /// What the model is called.
    model: String,
    prompts: Vec<String>,
    /// Whether the prompts are a user's messages to answer; else they are texts to continue.
    chat: bool,
    adapters: Vec<PlannedAdapter>,
    coefficients: Vec<f32>,
    max_tokens: usize,
    /// How many of the likeliest tokens of each stream to keep for a step.
    top: usize,
    kl_after_split: bool,
    #[serde(with = "EverySampling")]
    sampling: Sampling,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlannedAdapter {
    /// Its folder or file, as a path from the plan's own folder.
    path: PathBuf,
    /// What it does, in a few words.
    title: String,
    /// The blocks that it may touch, as `5-20`; all where that is left out.
    layers: Option<String>,
    /// The token before which it is turned, counted from 0, while the text is written; where that is
    /// left out, before the prompt is read.
    from: Option<usize>,
    /// What is done then with what was computed before; goes with `from`.
    cache: Option<CachePolicy>,
}

/// [`Sampling`] without its defaults.
#[derive(Deserialize)]
#[serde(remote = "Sampling", rename_all = "camelCase", deny_unknown_fields)]
struct EverySampling {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    repetition_penalty: f32,
    seed: u64,
}

impl Plan {
    fn read(path: &Path) -> Result<Self> {
        let bad = |field: &str, expected: &str, found: String| Error::BadConfig {
            file: path.display().to_string(),
            field: field.into(),
            expected: expected.into(),
            found,
        };
        let plan: Self = serde_json::from_slice(&read(path)?).map_err(|error| {
            let expected = "a plan as docs/RECORDING.md describes it";
            bad("the plan", expected, format!("refused ({error})"))
        })?;
        for (field, count) in [
            ("prompts", plan.prompts.len()),
            ("adapters", plan.adapters.len()),
            ("coefficients", plan.coefficients.len()),
            ("maxTokens", plan.max_tokens),
        ] {
            if count == 0 {
                let found = if field == "maxTokens" { "0" } else { "empty" };
                return Err(bad(field, "at least one", found.into()));
            }
        }
        for (at, adapter) in plan.adapters.iter().enumerate() {
            let late = matches!(adapter.from, Some(from) if from == 0 || from >= plan.max_tokens);
            if late || adapter.from.is_some() != adapter.cache.is_some() {
                let expected = "a token after the first and before `maxTokens`, with a `cache`";
                let found = match (adapter.from, adapter.cache) {
                    (Some(from), Some(_)) => from.to_string(),
                    (Some(_), None) => "without a `cache`".into(),
                    (None, _) => "missing".into(),
                };
                return Err(bad(&format!("adapters[{at}].from"), expected, found));
            }
        }
        plan.sampling.check()?;
        Ok(plan)
    }

    fn request(&self, prompt: &str, adapter: &PlannedAdapter) -> Request {
        let message = || Message {
            role: "user".into(),
            content: prompt.into(),
        };
        Request {
            prompt: (!self.chat).then(|| prompt.into()),
            chat: self.chat.then(|| vec![message()]),
            max_tokens: self.max_tokens,
            sampling: self.sampling.clone(),
            compare: true,
            kl_after_split: self.kl_after_split,
            top: self.top,
            cache: adapter.cache.unwrap_or_default(),
            ..Request::default()
        }
    }
}

/// The file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recording<'a> {
    format: &'static str,
    version: u32,
    model: ModelFacts<'a>,
    by: String,
    chat: bool,
    max_tokens: usize,
    kl_after_split: bool,
    sampling: &'a Sampling,
    coefficients: &'a [f32],
    adapters: Vec<AdapterFacts<'a>>,
    tokens: Vec<(u32, String)>,
    prompts: Vec<Prompt<'a>>,
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct ModelFacts<'a> {
    name: &'a str,
    file: String,
    sha256: String,
    bytes: u64,
}

#[derive(Serialize)]
struct AdapterFacts<'a> {
    name: String,
    title: &'a str,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<CachePolicy>,
}

#[derive(Serialize)]
struct Prompt<'a> {
    text: &'a str,
    base: Lane,
}

/// One prompt, adapter (both by index) and coefficient, and the text that they gave.
#[derive(Default, Serialize)]
struct Run {
    prompt: usize,
    adapter: usize,
    coefficient: f32,
    steered: Lane,
    /// For each step, in thousandths of a nat.
    kl: Vec<Option<u64>>,
    /// For each step: token, its probability in the base and in the steered stream, next token, …
    top: Vec<Vec<Option<u64>>>,
}

/// One stream: its tokens as indices into [`Recording::tokens`], and their probabilities in
/// thousandths.
#[derive(Clone, Default, Serialize)]
struct Lane {
    tokens: Vec<u64>,
    probability: Vec<u64>,
    finish: Option<Finish>,
}

impl Lane {
    fn push(&mut self, step: Option<LaneStep>, tokens: &mut Tokens) {
        let Some(step) = step else { return };
        self.tokens.push(tokens.index(step.id, step.text));
        self.probability.push(thousandths(step.probability));
        self.finish = step.finish;
    }
}

fn thousandths(value: f64) -> u64 {
    (value * 1e3).round() as u64
}

/// Every pair of a token and a text that occurs, once. A token's text may differ between positions,
/// since the first bytes of a character are held back until the last one arrives.
#[derive(Default)]
struct Tokens {
    indices: HashMap<(u32, String), u64>,
    all: Vec<(u32, String)>,
}

impl Tokens {
    fn index(&mut self, id: u32, text: String) -> u64 {
        let next = self.all.len() as u64;
        *self.indices.entry((id, text)).or_insert_with_key(|key| {
            self.all.push(key.clone());
            next
        })
    }
}

pub(crate) async fn run(args: &Record) -> Result<()> {
    let plan = Plan::read(&args.plan)?;
    if !args.model.is_file() {
        return Err(Error::BadOption {
            name: "model",
            expected: "one file, whose SHA-256 the recording names",
            found: args.model.display().to_string(),
        });
    }
    // As the page computes on a CPU.
    let session = load_model(&args.model, &cpu(), Weights::Quantised).await?;
    let mut facts = Vec::new();
    for planned in &plan.adapters {
        let folder = args.plan.parent().unwrap_or(Path::new(""));
        let files = adapter_files(&folder.join(&planned.path))?;
        let adapter = load_adapter(&files, &session.model)?;
        let id = session.stack.borrow_mut().add(adapter);
        let mask = Mask::parse(planned.layers.as_deref().unwrap_or_default(), "")?;
        session.stack.borrow_mut().set_mask(id, mask)?;
        // Check all coefficients now, not after minutes.
        for &coefficient in &plan.coefficients {
            session
                .stack
                .borrow_mut()
                .set_coefficient(id, coefficient)?;
        }
        session.stack.borrow_mut().set_coefficient(id, 0.0)?;
        facts.push(AdapterFacts {
            sha256: format!("{:x}", Sha256::digest(&files.weights)),
            name: files.name,
            title: &planned.title,
            layers: planned.layers.as_deref(),
            from: planned.from,
            cache: planned.cache,
        });
    }
    let ids: Vec<u32> = {
        let stack = session.stack.borrow();
        stack.entries().iter().map(|entry| entry.id).collect()
    };

    let mut tokens = Tokens::default();
    let (mut prompts, mut runs) = (Vec::new(), Vec::new());
    for (prompt, text) in plan.prompts.iter().enumerate() {
        let mut base_lane: Option<Lane> = None;
        for (adapter, &id) in ids.iter().enumerate() {
            let planned = &plan.adapters[adapter];
            eprintln!("steer: {:?}, {}", text, facts[adapter].name);
            for &coefficient in &plan.coefficients {
                let turn = Turn {
                    id,
                    coefficient,
                    from: planned.from.unwrap_or(0),
                };
                let request = plan.request(text, planned);
                let (run, base) = generate(&session, request, &turn, &mut tokens).await?;
                // The file has the base's text once for each prompt.
                let first = base_lane.get_or_insert(base.clone());
                if (&first.tokens, first.finish) != (&base.tokens, base.finish) {
                    return Err(unstable_seed(args, text, &facts[adapter].name, coefficient));
                }
                runs.push(Run {
                    prompt,
                    adapter,
                    coefficient,
                    ..run
                });
            }
        }
        prompts.extend(base_lane.map(|base| Prompt { text, base }));
    }

    let recording = Recording {
        format: "steering-recording",
        version: 1,
        model: model_facts(&plan.model, &args.model)?,
        by: format!("steer {} record, cpu", env!("CARGO_PKG_VERSION")),
        chat: plan.chat,
        max_tokens: plan.max_tokens,
        kl_after_split: plan.kl_after_split,
        sampling: &plan.sampling,
        coefficients: &plan.coefficients,
        adapters: facts,
        tokens: tokens.all,
        prompts,
        runs,
    };
    write(&args.out, &recording)
}

/// Which adapter is turned, how far, and before which token.
struct Turn {
    id: u32,
    coefficient: f32,
    from: usize,
}

/// The run of a request under one turned adapter, and the base's stream beside it.
async fn generate(
    session: &Session,
    request: Request,
    turn: &Turn,
    tokens: &mut Tokens,
) -> Result<(Run, Lane)> {
    let (mut run, mut base_lane) = (Run::default(), Lane::default());
    let set = |c: f32| session.stack.borrow_mut().set_coefficient(turn.id, c);
    if turn.from == 0 {
        set(turn.coefficient)?;
    }
    let mut generation = session.generate(request)?;
    while let Some(step) = generation.next().await? {
        let Step::Token {
            steered,
            base,
            kl_nats,
            top,
            ..
        } = step
        else {
            continue;
        };
        base_lane.push(base, tokens);
        run.steered.push(steered, tokens);
        run.kl.push(kl_nats.map(thousandths));
        let candidates = top.into_iter().flat_map(|one| {
            let index = tokens.index(one.id, one.text);
            [
                Some(index),
                one.base.map(thousandths),
                Some(thousandths(one.steered)),
            ]
        });
        run.top.push(candidates.collect());
        if run.top.len() == turn.from {
            set(turn.coefficient)?;
        }
    }
    set(0.0)?;
    Ok((run, base_lane))
}

/// The error for a seed whose noise leads to a near tie: streams that are computed together round
/// differently from one alone, which can decide the tie either way.
fn unstable_seed(args: &Record, prompt: &str, adapter: &str, coefficient: f32) -> Error {
    Error::BadConfig {
        file: args.plan.display().to_string(),
        field: "sampling.seed".into(),
        expected: "one with which rounding decides nothing: take another".into(),
        found: format!(
            "a seed with which the base answers {prompt:?} in another way beside {adapter} \
             at {coefficient}"
        ),
    }
}

fn model_facts<'a>(name: &'a str, path: &Path) -> Result<ModelFacts<'a>> {
    let mut hasher = Sha256::new();
    let file = File::open(path).and_then(|mut file| copy(&mut file, &mut hasher));
    Ok(ModelFacts {
        name,
        file: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        bytes: file.map_err(|error| io_error(path, &error))?,
        sha256: format!("{:x}", hasher.finalize()),
    })
}

fn write(path: &Path, recording: &Recording) -> Result<()> {
    let text = serde_json::to_string(recording).map_err(|error| Error::Io {
        file: path.display().to_string(),
        why: error.to_string(),
    })?;
    fs::write(path, text + "\n").map_err(|error| io_error(path, &error))
}
