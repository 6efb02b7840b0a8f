//! `steer`: the playground's core in a terminal.
#![cfg_attr(target_arch = "wasm32", no_main)]
#![cfg(not(target_arch = "wasm32"))]

mod record;

use std::fs;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::str::FromStr;
use std::task::Poll;
use std::time::Instant;

use burn::tensor::Device;
use clap::{Args, Parser, Subcommand, ValueEnum};
use playground::adapters::{self, AdapterFiles, Law, Mask};
use playground::device;
use playground::error::{Error, Result};
use playground::export;
use playground::extract;
use playground::kernels;
use playground::model::{KvCache, Positions, Weights};
use playground::sample::Sampling;
use playground::session::{Request, Session, Step, read_back};
use playground::text::Message;
use playground::weights::{NativeFile, check_is_weights};
use serde_json::{Value, json};

/// Writes to standard output. Who reads it may have had enough, as `head` has: then this ends too.
fn put(text: std::fmt::Arguments) {
    if let Err(error) = std::io::stdout().write_fmt(text) {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("steer: standard output: {error} [io]");
        std::process::exit(1);
    }
}

// Those of the standard library panic where nobody reads.
macro_rules! print {
    ($($text:tt)*) => { put(format_args!($($text)*)) };
}
macro_rules! println {
    () => { put(format_args!("\n")) };
    ($($text:tt)*) => { put(format_args!("{}\n", format_args!($($text)*))) };
}

#[derive(Parser)]
#[command(
    version,
    about = "Turn adapters from -1 through 0 to +1 while a small model speaks"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Continue a text or answer a chat.
    Generate(Generate),
    /// Print the logits behind given tokens.
    Logits(Logits),
    /// Explain an adapter folder.
    Inspect {
        /// Folder with adapter_config.json and adapter_model.safetensors, or a .gguf file.
        dir: PathBuf,
        /// A .gguf file, or a folder: find all that loading for this model would refuse or warn of.
        #[arg(long)]
        model: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Extract a control vector from pairs of contrasting texts.
    Extract(Extract),
    /// Write an adapter as a GGUF file for llama.cpp: a LoRA or a control vector.
    Export(Export),
    /// Record what a model says along the coefficients of adapters, for a page to play.
    Record(record::Record),
    /// Measure loading, prefill and decoding.
    Bench(Bench),
    /// Print the method table of the README.
    Methods,
}

#[derive(Args, Clone)]
struct Source {
    /// A .gguf file (of a split one any part), or a folder with config.json and safetensors, or
    /// the weights in such a folder.
    #[arg(long)]
    model: PathBuf,
    /// Where to compute; f32 on either.
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceArg,
    /// Keep quantised weights quantised, on the CPU, as the page does: faster, in a fifth of the
    /// memory, and close to f32 (`bench --fast` says how close).
    #[arg(long)]
    fast: bool,
    /// An adapter folder or control-vector file; repeat for several, they act in this order.
    #[arg(long = "adapter")]
    adapters: Vec<PathBuf>,
    /// The coefficient of the adapter at the same place; 1 where none is given.
    #[arg(long = "coeff", allow_hyphen_values = true,
          value_parser = |text: &str| number::<f32>("coeff", "a finite number", text))]
    coefficients: Vec<f32>,
    /// The task of the adapter at the same place, from 0, if it was trained for several; `none`
    /// for one without tasks.
    #[arg(long = "task", allow_hyphen_values = true, value_parser = task)]
    tasks: Vec<Task>,
    /// Weights, separated by commas, for the experts of the adapter at the same place instead of
    /// its gate's (X-LoRA), or for its skills instead of a task's (Poly); `none` chooses none.
    #[arg(long = "experts", value_parser = experts, allow_hyphen_values = true)]
    experts: Vec<Experts>,
    /// How the coefficient of the adapter at the same place acts, such as linear or geodesic;
    /// its default where none is given.
    #[arg(long = "law", value_parser = law)]
    laws: Vec<Law>,
    /// Blocks on which the adapter at the same place acts: 5-20, 7, or all. What is in no block
    /// (embedding, head, last norm) takes part only if these are all blocks.
    #[arg(long, allow_hyphen_values = true)]
    layers: Vec<String>,
    /// Modules on which the adapter at the same place acts: q_proj,v_proj or all. Besides linear
    /// layers: lm_head, embed_tokens, input_layernorm, post_attention_layernorm, norm, attention
    /// (prefixes, prompts), residual (vectors).
    #[arg(long, allow_hyphen_values = true)]
    modules: Vec<String>,
}

/// Weights of experts or skills, or none.
#[derive(Clone)]
struct Experts(Option<Vec<f32>>);

fn experts(text: &str) -> Result<Experts> {
    let expected = "numbers with commas between them, or none";
    let numbers = text
        .split(',')
        .map(|text| number("experts", expected, text));
    Ok(Experts(match text {
        "none" => None,
        _ => Some(numbers.collect::<Result<_>>()?),
    }))
}

/// A task's number, or none.
#[derive(Clone, Copy)]
struct Task(Option<usize>);

fn task(text: &str) -> Result<Task> {
    let expected = "a whole number from 0, or none";
    Ok(Task(match text {
        "none" => None,
        _ => Some(number("task", expected, text)?),
    }))
}

/// An option's number; what is none, or does not fit into its type, is refused by the option's name.
fn number<T: FromStr>(name: &'static str, expected: &'static str, text: &str) -> Result<T> {
    text.trim().parse().map_err(|_| Error::BadOption {
        name,
        expected,
        found: text.into(),
    })
}

fn whole<T: FromStr>(name: &'static str) -> impl Fn(&str) -> Result<T> + Clone {
    move |text| number(name, "a whole number from 0", text)
}

/// As [`whole`], but at least 1.
fn count(name: &'static str) -> impl Fn(&str) -> Result<usize> + Clone {
    let expected = "a whole number from 1";
    move |text| match number(name, expected, text)? {
        0 => Err(Error::BadOption {
            name,
            expected,
            found: text.into(),
        }),
        count => Ok(count),
    }
}

/// An option of [`Sampling`], in the range that it has there.
fn sampled(
    option: &'static str,
    set: fn(&mut Sampling, f32),
) -> impl Fn(&str) -> Result<f32> + Clone {
    move |text| {
        let value = number(option, "a number", text);
        let mut sampling = Sampling::default();
        // What is no number is refused with the range too.
        set(&mut sampling, value.clone().unwrap_or(f32::NAN));
        match sampling.check() {
            Err(Error::BadOption { expected, .. }) => Err(Error::BadOption {
                name: option,
                expected,
                found: text.into(),
            }),
            checked => checked.and(value),
        }
    }
}

fn law(name: &str) -> Result<Law, String> {
    let found = Law::ALL.into_iter().find(|law| law.name() == name);
    let names = Law::ALL.map(Law::name).join(", ");
    found.ok_or_else(|| format!("known are {names}"))
}

#[derive(Clone, Copy, ValueEnum)]
enum DeviceArg {
    Cpu,
    Gpu,
}

#[derive(Args)]
struct Generate {
    #[command(flatten)]
    source: Source,
    /// Plain text to continue.
    #[arg(long, conflicts_with = "chat")]
    prompt: Option<String>,
    /// A user's message to answer.
    #[arg(long)]
    chat: Option<String>,
    #[arg(long, default_value_t = 64, allow_hyphen_values = true,
          value_parser = whole::<usize>("max-tokens"))]
    max_tokens: usize,
    #[arg(long, default_value_t = 0.0, allow_hyphen_values = true,
          value_parser = sampled("temperature", |to, value| to.temperature = value))]
    temperature: f32,
    #[arg(long, default_value_t = 0, allow_hyphen_values = true,
          value_parser = whole::<usize>("top-k"))]
    top_k: usize,
    #[arg(long, default_value_t = 1.0, allow_hyphen_values = true,
          value_parser = sampled("top-p", |to, value| to.top_p = value))]
    top_p: f32,
    #[arg(long, default_value_t = 0.0, allow_hyphen_values = true,
          value_parser = sampled("min-p", |to, value| to.min_p = value))]
    min_p: f32,
    #[arg(long, default_value_t = 1.0, allow_hyphen_values = true,
          value_parser = sampled("repetition-penalty", |to, value| to.repetition_penalty = value))]
    repetition_penalty: f32,
    #[arg(long, default_value_t = 0, allow_hyphen_values = true,
          value_parser = |text: &str| number::<u64>(
              "seed", "a whole number from 0 to 18446744073709551615", text))]
    seed: u64,
    /// A text that ends the answer, with special tokens as they are spelled; repeat for several.
    #[arg(long)]
    stop: Vec<String>,
    /// Let the base model speak beside the steered one.
    #[arg(long)]
    compare: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Logits {
    #[command(flatten)]
    source: Source,
    /// Token ids, separated by commas.
    #[arg(long, value_delimiter = ',', required = true, allow_hyphen_values = true,
          value_parser = |text: &str| number::<u32>(
              "tokens", "token ids, whole numbers from 0, with commas", text))]
    tokens: Vec<u32>,
    /// Every position's logits instead of the last one's.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Extract {
    /// A .gguf file (of a split one any part), or a folder with config.json and safetensors, or
    /// the weights in such a folder.
    #[arg(long)]
    model: PathBuf,
    /// JSON `{"positive": [texts], "negative": [texts]}`, paired line by line.
    #[arg(long)]
    pairs: PathBuf,
    /// First and last block to act on; the middle 20 to 80 % unless given.
    #[arg(long, num_args = 2, allow_hyphen_values = true,
          value_parser = |text: &str| number::<usize>(
              "layers", "the first and the last block, whole numbers from 0", text))]
    layers: Option<Vec<usize>>,
    /// Length of the whole step, as a share of the mean length of the residual stream.
    #[arg(long, default_value_t = 0.1, allow_hyphen_values = true,
          value_parser = |text: &str| number::<f32>("share", "a number above 0", text))]
    share: f32,
    /// Folder to write adapter_config.json and adapter_model.safetensors into.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
struct Export {
    #[command(flatten)]
    source: Source,
    /// The file to write; it holds the one --adapter at its --coeff.
    #[arg(long)]
    to: PathBuf,
}

#[derive(Args)]
struct Bench {
    #[command(flatten)]
    source: Source,
    /// Prompt tokens to read.
    #[arg(long, default_value_t = 128, allow_hyphen_values = true, value_parser = count("prefill"))]
    prefill: usize,
    /// Tokens to say in each round.
    #[arg(long, default_value_t = 32, allow_hyphen_values = true, value_parser = count("decode"))]
    decode: usize,
    /// Rounds, in which the base, the steered model and both in lockstep take turns.
    #[arg(long, default_value_t = 3, allow_hyphen_values = true, value_parser = whole::<usize>("rounds"))]
    rounds: usize,
    /// Time the base behind 2048 tokens too.
    #[arg(long)]
    long: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(Cli { command }) => command,
        // An option that we refuse is told as every other error.
        Err(error) => match std::error::Error::source(&error).and_then(|why| why.downcast_ref()) {
            Some(refused) => return fail(refused),
            None => error.exit(),
        },
    };
    let result = match command {
        Command::Generate(args) => pollster::block_on(generate(&args)),
        Command::Logits(args) => pollster::block_on(logits(&args)),
        Command::Inspect { dir, model, json } => {
            pollster::block_on(inspect(&dir, model.as_deref(), json))
        }
        Command::Extract(args) => pollster::block_on(extract_vector(&args)),
        Command::Export(args) => pollster::block_on(export_gguf(&args)),
        Command::Record(args) => pollster::block_on(record::record(&args)),
        Command::Bench(args) => pollster::block_on(bench(&args)),
        Command::Methods => {
            print!("{}", adapters::method_table());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("steer: {error} [{}]", error.code());
    ExitCode::FAILURE
}

async fn open_device(device: DeviceArg) -> Result<Device> {
    match device {
        DeviceArg::Cpu => Ok(device::cpu()),
        DeviceArg::Gpu => device::gpu().await,
    }
}

async fn load_model(path: &Path, device: &Device, weights: Weights) -> Result<Session> {
    let (folder, asked) = match path.is_dir() {
        true => (path, None),
        false => {
            // Opened for the sake of its errors: there may be no such file.
            NativeFile::open(path)?;
            let name = path.file_name().map(|name| name.to_string_lossy());
            (path.parent().unwrap_or(Path::new("")), name)
        }
    };
    let mut names = Vec::new();
    // Beside a file only its own folder matters; of a folder without a model it is told where
    // inside there are some.
    list(folder, "", if asked.is_some() { 0 } else { 3 }, &mut names);
    let called = match folder.as_os_str().is_empty() {
        true => ".".into(),
        false => folder.display().to_string(),
    };
    let called = called.trim_end_matches('/');
    let source = |name: &str| NativeFile::open(&folder.join(name));
    let (mut file, text) =
        playground::open::open(called, &names, asked.as_deref(), false, source).await?;
    if file.metadata().is_none() {
        let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        file.also_called(path.to_string_lossy());
    }
    if let Some(left_out) = file.left_out() {
        eprintln!("steer: warning: {}: {left_out}", file.name());
    }
    Session::load(&file, text, device, weights, |_| {}).await
}

/// The files of a folder and of those inside it, a few floors deep, as paths from the first on.
fn list(folder: &Path, inside: &str, floors: usize, names: &mut Vec<String>) {
    const MOST: usize = 10_000;
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    // What cannot be listed may still be opened by its name.
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut folders = Vec::new();
    for entry in entries.flatten() {
        let own = entry.file_name().to_string_lossy().into_owned();
        match entry.path().is_dir() {
            true if own.starts_with('.') => {}
            true => folders.push((entry.path(), format!("{inside}{own}/"))),
            false => names.push(format!("{inside}{own}")),
        }
    }
    for (folder, name) in folders {
        if floors > 0 && names.len() < MOST {
            list(&folder, &name, floors - 1, names);
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| io(path, &error))
}

fn io(path: &Path, error: &std::io::Error) -> Error {
    Error::Io {
        file: path.display().to_string(),
        why: error.to_string(),
    }
}

/// What a user calls an adapter: its folder's name, or its file's without the ending, dots and all.
fn adapter_name(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let name = whole.file_name().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy();
    let ending = [".gguf", ".safetensors"].into_iter().find(|ending| {
        let start = name.len().saturating_sub(ending.len());
        let end = name.get(start..);
        start > 0 && path.is_file() && end.is_some_and(|end| end.eq_ignore_ascii_case(ending))
    });
    name[..name.len() - ending.map_or(0, str::len)].to_owned()
}

/// A folder as PEFT or mlx-lm writes it, its config or its weights alone, or a single file.
fn adapter_files(path: &Path) -> Result<AdapterFiles> {
    if path.is_file() {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if path.file_name().is_some_and(|name| name == CONFIG_FILE) {
            return adapter_files(folder);
        }
        // A GGUF file is whole by itself.
        let is_gguf = path.extension().is_some_and(|ext| ext == "gguf");
        let config = Some(folder.join(CONFIG_FILE)).filter(|config| !is_gguf && config.exists());
        let files = files_of(path, path, config)?;
        let experts = match weights_in(folder)
            .is_some_and(|weights| weights.file_name() == path.file_name())
        {
            true => experts_in(folder, &files)?,
            false => Vec::new(),
        };
        return Ok(AdapterFiles { experts, ..files });
    }
    let weights = weights_in(path).ok_or_else(|| no_adapter(path))?;
    let config = Some(path.join(CONFIG_FILE)).filter(|config| config.exists());
    let files = files_of(path, &weights, config)?;
    let experts = experts_in(path, &files)?;
    let others: Vec<String> = subfolders(path)
        .into_iter()
        .filter(|folder| experts.is_empty() && weights_in(folder).is_some())
        .map(|folder| folder.display().to_string())
        .collect();
    if !others.is_empty() {
        eprintln!(
            "steer: {} is the adapter in that folder itself; others are in {}",
            path.display(),
            others.join(", ")
        );
    }
    Ok(AdapterFiles { experts, ..files })
}

const CONFIG_FILE: &str = "adapter_config.json";

/// One adapter's own files.
fn files_of(named: &Path, weights: &Path, config: Option<PathBuf>) -> Result<AdapterFiles> {
    let bases = weights.with_file_name(adapters::BASES_FILE);
    let bases = Some(bases).filter(|file| config.is_some() && file.exists());
    Ok(AdapterFiles {
        name: adapter_name(named),
        config: config.map(|file| read(&file)).transpose()?,
        weights: read(weights)?,
        bases: bases.map(|file| read(&file)).transpose()?,
        ..AdapterFiles::default()
    })
}

/// The experts of a mixture, which lie in numbered subfolders. Those of another method are adapters
/// of their own.
fn experts_in(folder: &Path, files: &AdapterFiles) -> Result<Vec<AdapterFiles>> {
    let config: Value = match &files.config {
        Some(json) => serde_json::from_slice(json).unwrap_or_default(),
        None => Value::Null,
    };
    if config["peft_type"] != adapters::xlora::METHOD.peft_type {
        return Ok(Vec::new());
    }
    (0..)
        .map(|number: usize| folder.join(number.to_string()))
        .map_while(|folder| Some((weights_in(&folder)?, folder)))
        .map(|(weights, folder)| {
            let config = Some(folder.join(CONFIG_FILE)).filter(|config| config.exists());
            files_of(&folder, &weights, config)
        })
        .collect()
}

/// PEFT's or mlx-lm's weights in a folder.
fn weights_in(folder: &Path) -> Option<PathBuf> {
    let names = ["adapter_model.safetensors", "adapters.safetensors"];
    let mut paths = names.into_iter().map(|name| folder.join(name));
    paths.find(|path| path.is_file())
}

/// The folders in a folder, by name.
fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

/// What a folder without an adapter holds instead, and what to do.
fn no_adapter(folder: &Path) -> Error {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten(),
        Err(error) => return io(folder, &error),
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let has = |name: &str| names.iter().any(|found| found == name);
    let ends = |end: &str| names.iter().any(|found| found.ends_with(end));
    let file = folder.display().to_string();
    let deeper: Vec<String> = subfolders(folder)
        .into_iter()
        .flat_map(|folder| std::iter::once(folder.clone()).chain(subfolders(&folder)))
        .filter(|folder| weights_in(folder).is_some())
        .map(|folder| folder.display().to_string())
        .collect();
    if let Some(name) = names.iter().find(|name| {
        name.starts_with("adapter_model") && (name.ends_with(".bin") || name.ends_with(".pt"))
    }) {
        let path = folder.join(name);
        let is_weights = |head: Vec<u8>| check_is_weights(&path.display().to_string(), &head);
        if let Err(error) = read(&path).and_then(is_weights) {
            return error;
        }
    }
    let what = if !deeper.is_empty() {
        format!(
            "adapters are deeper, in {}: name one of these folders",
            deeper.join(", ")
        )
    } else if has("config.json") && (ends(".safetensors") || ends(".bin")) {
        "this is a whole model (config.json and its weights), not an adapter: give it as --model"
            .into()
    } else if let [one] = &names
        .iter()
        .filter(|name| name.ends_with(".gguf"))
        .collect::<Vec<_>>()[..]
    {
        format!("there is {one}: name that file")
    } else {
        names.truncate(12);
        match names.is_empty() {
            true => "the folder is empty".into(),
            false => format!("there are {}", names.join(", ")),
        }
    };
    Error::MissingKey {
        file,
        key: "adapter_model.safetensors".into(),
        what,
    }
}

async fn open(source: &Source) -> Result<Session> {
    let device = open_device(source.device).await?;
    let weights = match source.fast {
        true => Weights::Quantised,
        false => Weights::Dense,
    };
    let session = load_model(&source.model, &device, weights).await?;
    for (at, path) in source.adapters.iter().enumerate() {
        let task = source.tasks.get(at).and_then(|Task(number)| *number);
        let weights = source.experts.get(at);
        let files = AdapterFiles {
            task,
            expert_weights: weights.and_then(|Experts(weights)| weights.clone()),
            ..adapter_files(path)?
        };
        let adapter = adapters::load(&files, &session.model)?;
        let name = adapter.name.clone();
        for warning in &adapter.warnings {
            eprintln!("steer: warning: {name}: {warning}");
        }
        let mut stack = session.stack.borrow_mut();
        let id = stack.add(adapter);
        if let Some(&law) = source.laws.get(at) {
            stack.set_law(id, law)?;
        }
        let text = |list: &[String]| list.get(at).cloned().unwrap_or_default();
        let mask = Mask::parse(&text(&source.layers), &text(&source.modules))?;
        stack.set_mask(id, mask)?;
        let remarks = stack.entries().last().map(|entry| &entry.mask_remarks);
        for remark in remarks.into_iter().flatten() {
            eprintln!("steer: note: {name}: {remark}");
        }
        stack.set_coefficient(id, source.coefficients.get(at).copied().unwrap_or(1.0))?;
    }
    for (name, given) in [
        ("coeff", source.coefficients.len()),
        ("task", source.tasks.len()),
        ("experts", source.experts.len()),
        ("law", source.laws.len()),
        ("layers", source.layers.len()),
        ("modules", source.modules.len()),
    ] {
        if given > source.adapters.len() {
            return Err(Error::BadOption {
                name,
                expected: "at most one for each --adapter",
                found: format!("{given} for {}", source.adapters.len()),
            });
        }
    }
    Ok(session)
}

async fn generate(args: &Generate) -> Result<()> {
    let started = Instant::now();
    let session = open(&args.source).await?;
    let load_ms = ms(started);
    let chat = args.chat.clone().map(|content| {
        vec![Message {
            role: "user".into(),
            content,
        }]
    });
    let mut generation = session.generate(Request {
        prompt: args.prompt.clone(),
        chat,
        max_tokens: args.max_tokens,
        sampling: Sampling {
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            min_p: args.min_p,
            repetition_penalty: args.repetition_penalty,
            seed: args.seed,
        },
        stop: args.stop.clone(),
        compare: args.compare,
        ..Request::default()
    })?;
    let prompt_ids = generation.prompt_ids().to_vec();
    let started = Instant::now();
    let mut first_token_ms = None;
    let (mut ids, mut text, mut base_text) = (Vec::new(), String::new(), String::new());
    // What was said before an error is shown all the same.
    let mut end = Ok(());
    loop {
        let step = match generation.next().await {
            Ok(Some(step)) => step,
            Ok(None) => break,
            Err(error) => {
                end = Err(error);
                break;
            }
        };
        let Step::Token { steered, base, .. } = step else {
            continue;
        };
        first_token_ms.get_or_insert_with(|| ms(started));
        if let Some(step) = steered {
            ids.push(step.id);
            text.push_str(&step.text);
            if !args.json {
                print!("{}", step.text);
                let _ = std::io::stdout().flush();
            }
        }
        base_text.extend(base.map(|step| step.text));
    }
    let total_ms = ms(started);
    if args.json {
        let timings = json!({
            "load_ms": load_ms, "first_token_ms": first_token_ms, "total_ms": total_ms,
        });
        let mut out =
            json!({ "prompt_ids": prompt_ids, "ids": ids, "text": text, "timings": timings });
        if args.compare {
            out["base_text"] = base_text.into();
        }
        if let Err(error) = &end {
            out["error"] = json!({ "code": error.code(), "message": error.to_string() });
        }
        println!("{out}");
    } else {
        println!();
        if args.compare {
            println!("\n--- base ---\n{base_text}");
        }
    }
    end
}

async fn logits(args: &Logits) -> Result<()> {
    let session = open(&args.source).await?;
    let steering = session.stack.borrow_mut().steering();
    let positions = if args.all {
        Positions::All
    } else {
        Positions::Last
    };
    let mut cache = session.model.new_cache();
    let logits = session
        .model
        .forward(&args.tokens, &mut cache, &steering, positions)?;
    let Some(logits) = logits else { return Ok(()) };
    let logits = read_back(logits).await?;
    let first = if args.all { 0 } else { args.tokens.len() - 1 };
    session.check_logits(&logits, first, &steering)?;
    let vocab = session.model.config().vocab_size;
    let rows: Vec<&[f32]> = logits.chunks(vocab).collect();
    match (args.json, args.all) {
        (true, true) => println!("{}", json!({ "logits": rows })),
        (true, false) => println!("{}", json!({ "logits": rows[0] })),
        (false, _) => {
            for row in rows {
                let numbers: Vec<String> = row.iter().map(f32::to_string).collect();
                println!("{}", numbers.join(" "));
            }
        }
    }
    Ok(())
}

async fn inspect(dir: &Path, model: Option<&Path>, json: bool) -> Result<()> {
    let files = adapter_files(dir)?;
    let found = match model {
        Some(model) => {
            let session = load_model(model, &device::cpu(), Weights::Dense).await?;
            adapters::inspect_for(&files, &session.model)?
        }
        None => adapters::inspect(&files)?,
    };
    if json {
        println!("{}", json!(found));
        return Ok(());
    }
    println!("{}", found.name);
    if let Some(card) = &found.method {
        println!("method      {} ({})", card.title, card.summary);
        println!("paper       {}", card.paper);
        println!(
            "formula     {}",
            card.formula.replace('\n', "\n            ")
        );
        println!("law         {}", card.law_words);
    }
    if let Some(base) = &found.base_model {
        println!("base        {base}");
    }
    println!("parameters  {}", found.parameters);
    if let Some(tasks) = found.tasks {
        println!("tasks       {tasks}, choose one with --task");
    }
    if let Some(skills) = found.skills {
        println!("skills      {skills}, or weigh them yourself with --experts");
    }
    if let Some(layers) = &found.layers {
        println!("layers      {layers}");
    }
    if let Some(model) = &found.model {
        println!("model       {model}");
    }
    if let Some(layers) = &found.layers_reached {
        println!("reaches     layers {layers}");
    }
    for warning in &found.warnings {
        println!("warning     {warning}");
    }
    println!("modules     {}", found.modules.len());
    for module in &found.modules {
        println!("            {module}");
    }
    match found.refused.is_empty() {
        true => println!("refused     nothing"),
        false => found
            .refused
            .iter()
            .for_each(|(code, why)| println!("refused     [{code}] {why}")),
    }
    Ok(())
}

async fn extract_vector(args: &Extract) -> Result<()> {
    let session = load_model(&args.model, &device::cpu(), Weights::Dense).await?;
    let pairs = serde_json::from_slice(&read(&args.pairs)?).map_err(|error| Error::BadConfig {
        file: args.pairs.display().to_string(),
        field: "the file".into(),
        expected: r#"{"positive": [texts], "negative": [texts]}"#.into(),
        found: error.to_string(),
    })?;
    let layers = match args.layers.as_deref() {
        Some(&[first, last]) => first..=last,
        _ => extract::middle_layers(session.model.config().num_layers),
    };
    let vector = extract::control_vector(&session, &pairs, layers, args.share).await?;
    fs::create_dir_all(&args.out).map_err(|error| io(&args.out, &error))?;
    let config = json!({ "peft_type": "CONTROL_VECTOR", "model_hint": "llama" });
    let write = |name: &str, bytes: &[u8]| {
        let path = args.out.join(name);
        fs::write(&path, bytes).map_err(|error| io(&path, &error))
    };
    write("adapter_config.json", format!("{config:#}\n").as_bytes())?;
    write(
        "adapter_model.safetensors",
        &extract::to_safetensors(&vector)?,
    )
}

async fn export_gguf(args: &Export) -> Result<()> {
    let session = open(&args.source).await?;
    let export = match session.stack.borrow().entries() {
        [entry] => export::Export::new(entry),
        entries => {
            return Err(Error::BadOption {
                name: "adapter",
                expected: "exactly one to export",
                found: entries.len().to_string(),
            });
        }
    };
    let bytes = export.gguf(&session.model).await?;
    fs::write(&args.to, bytes).map_err(|error| io(&args.to, &error))
}

/// Tokens behind which `--long` decodes.
const LONG: usize = 2048;

/// Decoding that is timed against the others, round by round.
struct Course<'a> {
    name: &'static str,
    session: Session,
    /// Whether the base speaks in lockstep.
    compare: bool,
    /// Where all streams start.
    start: &'a KvCache,
    /// Milliseconds per token: [`ALL`], and [`ENCODE`], until everything was handed to the device.
    rounds: Vec<[f64; 2]>,
    /// Kernel launches of the last round.
    launches: u64,
}

/// Places in [`Course::rounds`].
const ALL: usize = 0;
const ENCODE: usize = 1;

impl Course<'_> {
    async fn round(&mut self, tokens: usize) -> Result<()> {
        let mut generation = self.session.generate(Request {
            ids: Some(vec![11; self.start.len() + 1]),
            // One in front that is not timed, since it finds caches that must be copied before they
            // can be written to; one behind, since the last has no successor to work on.
            max_tokens: tokens + 2,
            compare: self.compare,
            kl_after_split: false,
            ..Request::default()
        })?;
        generation.start_from(self.start.clone())?;
        generation.next().await?;
        let launched = kernels::launches();
        let (mut all_ms, mut encode_ms) = (0.0, 0.0);
        for _ in 0..tokens {
            let started = Instant::now();
            let mut next = pin!(generation.next());
            // What is done before the first wait.
            let first = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
            encode_ms += ms(started);
            match first {
                Poll::Ready(step) => step?,
                Poll::Pending => next.await?,
            };
            all_ms += ms(started);
        }
        self.rounds
            .push([all_ms, encode_ms].map(|ms| ms / tokens as f64));
        self.launches = (kernels::launches() - launched) / tokens as u64;
        Ok(())
    }

    /// All rounds in order.
    fn sorted(&self, of: usize) -> Vec<f64> {
        let mut all: Vec<f64> = self.rounds.iter().map(|round| round[of]).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn median(&self, of: usize) -> f64 {
        self.sorted(of)[self.rounds.len() / 2]
    }

    fn report(&self) -> Value {
        let all = self.sorted(ALL);
        json!({
            "name": self.name,
            "streams": 1 + usize::from(self.compare),
            "behind_tokens": self.start.len(),
            "ms_per_token": { "min": all[0], "median": self.median(ALL), "max": all[all.len() - 1] },
            "encode_ms": self.median(ENCODE),
            "wait_ms": self.median(ALL) - self.median(ENCODE),
        })
    }
}

async fn bench(args: &Bench) -> Result<()> {
    let started = Instant::now();
    let session = open(&args.source).await?;
    let load_ms = ms(started);
    let vocab = session.model.config().vocab_size as u32;
    let ids = |count: usize| -> Vec<u32> {
        (0..count as u32)
            .map(|at| (at * 7919 + 11) % vocab)
            .collect()
    };
    let read = async |steering: &adapters::Steering, count: usize| -> Result<(KvCache, f64)> {
        let mut cache = session.model.new_cache();
        let started = Instant::now();
        let ids = ids(count);
        let logits = session
            .model
            .forward(&ids, &mut cache, steering, Positions::Last)?;
        if let Some(logits) = logits {
            let logits = read_back(logits).await?;
            session.check_logits(&logits, count - 1, steering)?;
        }
        Ok((cache, ms(started)))
    };

    let changed = Instant::now();
    let steering = session.stack.borrow_mut().steering();
    let change_ms = ms(changed);
    let base = adapters::Steering::base();
    let (near, prefill_ms) = read(&steering, args.prefill).await?;
    let far = match args.long {
        true => Some(read(&base, LONG).await?.0),
        false => None,
    };
    // Without a tokenizer nothing ends a stream.
    let steered = Session {
        text: None,
        ..session.clone()
    };
    let alone = Session {
        stack: Rc::default(),
        ..steered.clone()
    };
    let course = |name, session: &Session, compare, start| Course {
        name,
        session: session.clone(),
        compare,
        start,
        rounds: Vec::new(),
        launches: 0,
    };
    let mut courses = vec![course("base", &alone, false, &near)];
    if !steering.stamp().is_empty() {
        courses.push(course("steered", &steered, false, &near));
        courses.push(course("lockstep", &steered, true, &near));
    }
    if let Some(far) = &far {
        courses.push(course("long", &alone, false, far));
    }
    for _ in 0..args.rounds.max(1) {
        for course in &mut courses {
            course.round(args.decode).await?;
        }
    }
    let per_second = |tokens: usize, ms: f64| tokens as f64 / ms * 1e3;
    let ratios = courses[1..].iter().map(|course| {
        let ratio = course.median(ALL) / courses[0].median(ALL);
        (format!("{}_over_base", course.name), json!(ratio))
    });
    // What was asked for: with the adapters, if there are any.
    let own = courses.iter().find(|course| course.name == "steered");
    let own = own.unwrap_or(&courses[0]);
    let mut report = json!({
        "model": session.model.name(),
        "device": format!("{:?}", session.model.device()),
        "arithmetic": session.model.arithmetic(),
        "load_ms": load_ms,
        "prefill_tokens": args.prefill,
        "prefill_tok_s": per_second(args.prefill, prefill_ms),
        "decode_tokens": args.decode,
        "decode_tok_s": per_second(1, own.median(ALL)),
        "weight_bytes_per_token": session.model.weight_bytes(),
        "launches_per_token": own.launches,
        "cache_bytes": near.bytes(),
        "change_coefficient_ms": change_ms,
        "decode": courses.iter().map(Course::report).collect::<Vec<_>>(),
        "ratios": ratios.collect::<serde_json::Map<_, _>>(),
    });
    if args.source.fast {
        let ids = ids(args.prefill);
        report["deviation_from_f32"] = deviation(&session, &args.source, &ids, args.decode).await?;
    }
    match args.json {
        true => println!("{report}"),
        false => println!("{report:#}"),
    }
    Ok(())
}

/// How far a session is from f32: the largest difference of a logit behind any of `ids`, and the
/// first of `tokens` greedy tokens behind them that differs.
async fn deviation(
    session: &Session,
    source: &Source,
    ids: &[u32],
    tokens: usize,
) -> Result<Value> {
    let exact = Source {
        fast: false,
        ..source.clone()
    };
    let exact = open(&exact).await?;
    let mut found = Vec::new();
    for session in [session, &exact] {
        let steering = session.stack.borrow_mut().steering();
        let mut cache = session.model.new_cache();
        let all = Positions::All;
        let logits = session.model.forward(ids, &mut cache, &steering, all)?;
        let Some(logits) = logits else { continue };
        let logits = read_back(logits).await?;
        session.check_logits(&logits, 0, &steering)?;
        let last = &logits[logits.len() - session.model.config().vocab_size..];
        let mut said = vec![Sampling::default().choose(last, 0, &[])];
        while said.len() < tokens {
            let newest = &said[said.len() - 1..];
            let logits = session
                .model
                .forward(newest, &mut cache, &steering, Positions::Last)?;
            let Some(logits) = logits else { break };
            let logits = read_back(logits).await?;
            session.check_logits(&logits, ids.len() + said.len() - 1, &steering)?;
            said.push(Sampling::default().choose(&logits, 0, &[]));
        }
        found.push((logits, said));
    }
    let [(fast, fast_ids), (exact, exact_ids)] = found.as_slice() else {
        return Ok(Value::Null);
    };
    let differences = fast
        .iter()
        .zip(exact)
        .map(|(fast, exact)| (fast - exact).abs());
    let mut pairs = fast_ids.iter().zip(exact_ids);
    Ok(json!({
        "positions": ids.len(),
        "largest_logit_difference": differences.fold(0.0, f32::max),
        "greedy_tokens": exact_ids.len(),
        "first_different_token": pairs.position(|(fast, exact)| fast != exact),
    }))
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
