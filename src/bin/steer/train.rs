//! `steer train`: an adapter of any method from pairs of contrasting answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::Value;
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::dose::Contrast;
use steering_playground::error::Result;
use steering_playground::model::Weights;
use steering_playground::text::Variables;
use steering_playground::train::{Check, Estimate, TrainOptions, Trainer};

use crate::adapter_files::adapter_files;
use crate::args::{DeviceArg, number, variable, whole};
use crate::dosed::model_sha256;
use crate::files::{io_error, read};
use crate::load::{load_model, open_device};
use crate::report::peak_bytes;

#[derive(Args)]
pub(crate) struct Train {
    /// A .gguf file (of a split one any part), or a folder with config.json and safetensors, or
    /// the weights in such a folder.
    #[arg(long)]
    model: PathBuf,
    /// The method, by its file's name: `steer methods` lists them.
    #[arg(long)]
    method: String,
    /// A file of contrasting answers (docs/measuring.md); the shipped one unless given. Its train rows are
    /// trained on, its stop rows choose the best step.
    #[arg(long)]
    pairs: Option<PathBuf>,
    /// Which of its behaviours; repeat for several, which become the tasks of a method that has tasks (Poly,
    /// multitask prompt tuning), in this order, or which a gate tells apart (X-LoRA).
    #[arg(long = "behaviour", value_name = "BEHAVIOUR", required = true)]
    behaviours: Vec<String>,
    /// A trained LoRA's folder; repeat for several, which a gate mixes (X-LoRA). They are written into the
    /// subfolders 0, 1, … as they are.
    #[arg(long = "expert", value_name = "FOLDER")]
    experts: Vec<PathBuf>,
    /// Folder to write adapter_config.json, adapter_model.safetensors and training.json into.
    #[arg(long)]
    out: PathBuf,
    /// Blocks to train: 9-20, 7, or all.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    layers: String,
    /// Modules to train, as v_proj,o_proj,down_proj; those that suit the method unless given.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    modules: String,
    /// The rank, or what the method has in its place: virtual tokens, blocks.
    #[arg(long, default_value_t = TrainOptions::default().rank, value_parser = whole::<usize>("rank"))]
    rank: usize,
    /// Steps at most; 0 writes the adapter as it begins.
    #[arg(long, default_value_t = TrainOptions::default().steps, value_parser = whole::<usize>("steps"))]
    steps: usize,
    /// Pairs in a step.
    #[arg(long, default_value_t = TrainOptions::default().batch, value_parser = whole::<usize>("batch"))]
    batch: usize,
    /// The learning rate of AdamW; the method's own unless given.
    #[arg(long, allow_hyphen_values = true,
          value_parser = |text: &str| number::<f64>("rate", "a number above 0", text))]
    rate: Option<f64>,
    /// Seed of initial numbers, order and signs.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true, value_parser = whole::<u64>("seed"))]
    seed: u64,
    /// How sharply the difference between the two answers counts.
    #[arg(long, default_value_t = TrainOptions::default().beta,
          value_parser = |text: &str| number::<f64>("beta", "a weight from 0", text))]
    beta: f64,
    /// The weight of the wanted answer's own likelihood.
    #[arg(long, default_value_t = TrainOptions::default().nll,
          value_parser = |text: &str| number::<f64>("nll", "a weight from 0", text))]
    nll: f64,
    /// The weight of the distance from the base on neutral answers.
    #[arg(long, default_value_t = TrainOptions::default().kl,
          value_parser = |text: &str| number::<f64>("kl", "a weight from 0", text))]
    kl: f64,
    /// Steps between two looks at the stop rows; 0 for none.
    #[arg(long, default_value_t = TrainOptions::default().check_every,
          value_parser = whole::<usize>("check-every"))]
    check_every: usize,
    /// Where to compute.
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceArg,
    /// Widen all weights to f32 before: more memory, no rounding of activations. Otherwise quantised
    /// weights stay as they are.
    #[arg(long)]
    dense: bool,
    /// A variable that the chat template reads, as NAME=VALUE; repeat for several.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, Value)>,
    /// Go on from the state that an interrupted training left in the folder.
    #[arg(long)]
    resume: bool,
    /// Print JSON: an object with what it will take, then one for each step.
    #[arg(long)]
    json: bool,
}

/// A state to go on from, beside the adapter.
const STATE: &str = "training_state.safetensors";

/// Steps between two of these.
const SAVED_EVERY: usize = 10;

pub(crate) async fn run(args: &Train) -> Result<()> {
    let file = match &args.pairs {
        Some(path) => Some((path.display().to_string(), read(path)?)),
        None => None,
    };
    let contrast = |name: &String| match &file {
        Some((path, bytes)) => Contrast::read(path, bytes, name),
        None => Contrast::shipped(name),
    };
    let contrasts: Vec<Contrast> = args
        .behaviours
        .iter()
        .map(contrast)
        .collect::<Result<_>>()?;
    let options = TrainOptions {
        rank: args.rank,
        layers: args.layers.clone(),
        modules: args.modules.clone(),
        steps: args.steps,
        batch: args.batch,
        rate: args.rate,
        seed: args.seed,
        beta: args.beta,
        nll: args.nll,
        kl: args.kl,
        check_every: args.check_every,
        ..TrainOptions::default()
    };
    let weights = if args.dense {
        Weights::Dense
    } else {
        Weights::Quantised
    };
    let device = open_device(args.device).await?;
    let mut session = load_model(&args.model, &device, weights).await?;
    session.file_sha256 = model_sha256(&args.model)?;
    let variables: Variables = args.variables.iter().cloned().collect();
    let started = Instant::now();
    let experts = args.experts.iter().map(|path| adapter_files(path));
    let experts: Vec<AdapterFiles> = experts.collect::<Result<_>>()?;
    let mut trainer = Trainer::of_several(
        &session,
        &contrasts,
        &args.method,
        &experts,
        &options,
        &variables,
    )
    .await?;
    let begun = started.elapsed().as_secs_f64();
    let state = args.out.join(STATE);
    if args.resume && state.is_file() {
        trainer.resume(&read(&state)?)?;
        eprintln!("steer: goes on after step {}", trainer.steps());
    }
    fs::create_dir_all(&args.out).map_err(|error| io_error(&args.out, &error))?;
    if !trainer.is_done() {
        foretell(&trainer, begun, args.json).await?;
    }
    while !trainer.is_done() {
        let step = trainer.step().await?;
        if args.json {
            println!("{}", serde_json::json!(step));
        } else {
            let (number, sign, loss) = (step.step, step.sign, step.loss);
            println!("step {number:4}  c = {sign:+}  loss {loss:.4}");
            if let Some(check) = &step.check {
                println!("{}", words(check));
            }
        }
        if trainer.steps().is_multiple_of(SAVED_EVERY) {
            put(&state, &trainer.state().await?)?;
        }
    }
    let mut files = trainer.files().await?;
    files.record.seconds = Some(started.elapsed().as_secs_f64());
    put(
        &args.out.join("adapter_config.json"),
        files.config.as_bytes(),
    )?;
    put(&args.out.join("adapter_model.safetensors"), &files.weights)?;
    for (number, expert) in experts.iter().enumerate() {
        let folder = args.out.join(number.to_string());
        fs::create_dir_all(&folder).map_err(|error| io_error(&folder, &error))?;
        put(&folder.join("adapter_model.safetensors"), &expert.weights)?;
        if let Some(config) = &expert.config {
            put(&folder.join("adapter_config.json"), config)?;
        }
    }
    let record = format!("{:#}\n", serde_json::json!(files.record));
    put(&args.out.join("training.json"), record.as_bytes())?;
    if state.is_file() {
        fs::remove_file(&state).map_err(|error| io_error(&state, &error))?;
    }
    let (steps, out) = (files.record.steps, args.out.display());
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("steer: step {steps} is in {out}, {seconds:.1} s in all");
    Ok(())
}

/// What the training will take, from its first step, which is computed and not made.
async fn foretell(trainer: &Trainer, begun: f64, json: bool) -> Result<()> {
    let clock = Instant::now();
    let now = || clock.elapsed().as_secs_f64();
    let estimate = trainer.estimate(begun, now).await?;
    let (parameters, peak) = (trainer.parameters(), peak_bytes());
    if json {
        let mut told = serde_json::json!(estimate);
        told["parameters"] = parameters.into();
        told["peakBytes"] = peak.into();
        println!("{}", serde_json::json!({ "estimate": told }));
        return Ok(());
    }
    let Estimate {
        steps,
        step_seconds,
        seconds,
    } = estimate;
    let memory = peak.map_or(String::new(), |bytes| {
        format!(" and {} MB", bytes / 1_000_000)
    });
    eprintln!(
        "steer: about {seconds:.0} s{memory} for {steps} steps, {step_seconds:.2} s each; {parameters} numbers"
    );
    Ok(())
}

/// What the stop rows say.
fn words(check: &Check) -> String {
    let [low, base, high] = check.d_nats;
    let [left, right] = check.nll_shift_nats;
    let percent = check.ordered_share * 100.0;
    let best = if check.is_best {
        "; the best so far"
    } else {
        ""
    };
    format!(
        "           d {low:.2}, {base:.2}, {high:.2} at c = -1, 0, 1 on the stop rows, ordered {percent:.0} %, \
         NLL {left:+.3} and {right:+.3}{best}"
    )
}

/// Writes beside and moves into place: a file is whole or the one before.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).map_err(|error| io_error(&beside, &error))?;
    fs::rename(&beside, path).map_err(|error| io_error(path, &error))
}
