//! `steer`: the playground's core in a terminal.

use std::fs;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
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
use playground::text::{Message, Text};
use playground::weights::{ModelFile, NativeFile};
use serde_json::{Value, json};

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
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Extract a control vector from pairs of contrasting texts.
    Extract(Extract),
    /// Write an adapter as a GGUF file for llama.cpp: a LoRA or a control vector.
    Export(Export),
    /// Measure loading, prefill and decoding.
    Bench(Bench),
    /// Print the method table of the README.
    Methods,
}

#[derive(Args, Clone)]
struct Source {
    /// A .gguf file, or a folder with config.json and model.safetensors.
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
    #[arg(long = "coeff", allow_negative_numbers = true)]
    coefficients: Vec<f32>,
    /// The task of the adapter at the same place, from 0, if it was trained for several; `none`
    /// for one without tasks.
    #[arg(long = "task", value_parser = task)]
    tasks: Vec<Task>,
    /// Weights, separated by commas, for the experts of the adapter at the same place instead of
    /// its gate's (X-LoRA), or for its skills instead of a task's (Poly); `none` chooses none.
    #[arg(long = "experts", value_parser = experts, allow_hyphen_values = true)]
    experts: Vec<Experts>,
    /// How the coefficient of the adapter at the same place acts, such as linear or geodesic;
    /// its default where none is given.
    #[arg(long = "law", value_parser = law)]
    laws: Vec<Law>,
    /// Blocks on which the adapter at the same place acts: 5-20, 7, or all.
    #[arg(long)]
    layers: Vec<String>,
    /// Linear layers on which the adapter at the same place acts: q_proj,v_proj or all.
    #[arg(long)]
    modules: Vec<String>,
}

/// Weights of experts or skills, or none.
#[derive(Clone)]
struct Experts(Option<Vec<f32>>);

fn experts(text: &str) -> Result<Experts, std::num::ParseFloatError> {
    match text {
        "none" => Ok(Experts(None)),
        numbers => {
            let numbers = numbers.split(',').map(|number| number.trim().parse());
            numbers
                .collect::<Result<_, _>>()
                .map(|numbers| Experts(Some(numbers)))
        }
    }
}

/// A task's number, or none.
#[derive(Clone, Copy)]
struct Task(Option<usize>);

fn task(text: &str) -> Result<Task, std::num::ParseIntError> {
    match text {
        "none" => Ok(Task(None)),
        number => number.parse().map(|number| Task(Some(number))),
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
    #[arg(long, default_value_t = 64)]
    max_tokens: usize,
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    #[arg(long, default_value_t = 1.0)]
    top_p: f32,
    #[arg(long, default_value_t = 0.0)]
    min_p: f32,
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f32,
    #[arg(long, default_value_t = 0)]
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
    #[arg(long, value_delimiter = ',', required = true)]
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
    /// A .gguf file, or a folder with config.json and model.safetensors.
    #[arg(long)]
    model: PathBuf,
    /// JSON `{"positive": [texts], "negative": [texts]}`, paired line by line.
    #[arg(long)]
    pairs: PathBuf,
    /// First and last block to act on; the middle 20 to 80 % unless given.
    #[arg(long, num_args = 2)]
    layers: Option<Vec<usize>>,
    /// Length of the whole step, as a share of the mean length of the residual stream.
    #[arg(long, default_value_t = 0.1)]
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
    #[arg(long, default_value_t = 128)]
    prefill: usize,
    /// Tokens to say in each round.
    #[arg(long, default_value_t = 32)]
    decode: usize,
    /// Rounds, in which the base, the steered model and both in lockstep take turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Time the base behind 2048 tokens too.
    #[arg(long)]
    long: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Generate(args) => pollster::block_on(generate(&args)),
        Command::Logits(args) => pollster::block_on(logits(&args)),
        Command::Inspect { dir, json } => inspect(&dir, json),
        Command::Extract(args) => pollster::block_on(extract_vector(&args)),
        Command::Export(args) => pollster::block_on(export_gguf(&args)),
        Command::Bench(args) => pollster::block_on(bench(&args)),
        Command::Methods => {
            print!("{}", adapters::method_table());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("steer: {error} [{}]", error.code());
            ExitCode::FAILURE
        }
    }
}

async fn open_device(device: DeviceArg) -> Result<Device> {
    match device {
        DeviceArg::Cpu => Ok(device::cpu()),
        DeviceArg::Gpu => device::gpu().await,
    }
}

async fn load_model(path: &Path, device: &Device, weights: Weights) -> Result<Session> {
    let (file, text) = if path.is_dir() {
        open_folder(path).await?
    } else {
        (ModelFile::open_gguf(NativeFile::open(path)?).await?, None)
    };
    Session::load(&file, text, device, weights, |_| {}).await
}

async fn open_folder(dir: &Path) -> Result<(ModelFile<NativeFile>, Option<Text>)> {
    let config = read(&dir.join("config.json"))?;
    let index_path = dir.join("model.safetensors.index.json");
    let index = if index_path.exists() {
        Some(read(&index_path)?)
    } else {
        None
    };
    let mut shards = vec![dir.join("model.safetensors")];
    if index.is_some() {
        let entries = fs::read_dir(dir).map_err(|error| io(dir, &error))?;
        shards = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ext| ext == "safetensors"))
            .collect();
        shards.sort();
    }
    let shards = shards
        .iter()
        .map(|path| NativeFile::open(path))
        .collect::<Result<_>>()?;
    let file = ModelFile::open_folder(&config, shards, index.as_deref()).await?;
    let found = Text::FILES.map(|name| Some((name, fs::read(dir.join(name)).ok()?)));
    let text = Text::from_files(&found.into_iter().flatten().collect())?;
    Ok((file, text))
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

/// A folder as PEFT writes it, or a single file.
fn adapter_files(path: &Path) -> Result<AdapterFiles> {
    let name = path
        .file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    if path.is_file() {
        return Ok(AdapterFiles {
            name,
            weights: read(path)?,
            ..AdapterFiles::default()
        });
    }
    let config = path.join("adapter_config.json");
    let config = if config.exists() {
        Some(read(&config)?)
    } else {
        None
    };
    // The experts of a mixture lie in subfolders.
    let experts = (0..)
        .map(|number: usize| path.join(number.to_string()))
        .take_while(|folder| folder.join("adapter_config.json").exists())
        .map(|folder| adapter_files(&folder))
        .collect::<Result<_>>()?;
    let bases = Some(path.join(adapters::BASES_FILE)).filter(|file| file.exists());
    Ok(AdapterFiles {
        name,
        config,
        weights: read(&path.join("adapter_model.safetensors"))?,
        bases: bases.map(|file| read(&file)).transpose()?,
        experts,
        ..AdapterFiles::default()
    })
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
        let mut stack = session.stack.borrow_mut();
        let id = stack.add(adapter);
        if let Some(&law) = source.laws.get(at) {
            stack.set_law(id, law)?;
        }
        let text = |list: &[String]| list.get(at).cloned().unwrap_or_default();
        let mask = Mask::parse(&text(&source.layers), &text(&source.modules))?;
        stack.set_mask(id, mask)?;
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
    while let Some(step) = generation.next().await? {
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
        println!("{out}");
    } else {
        println!();
        if args.compare {
            println!("\n--- base ---\n{base_text}");
        }
    }
    Ok(())
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

fn inspect(dir: &Path, json: bool) -> Result<()> {
    let found = adapters::inspect(&adapter_files(dir)?)?;
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
    println!("parameters  {}", found.parameters);
    if let Some(tasks) = found.tasks {
        println!("tasks       {tasks}, choose one with --task");
    }
    if let Some(skills) = found.skills {
        println!("skills      {skills}, or weigh them yourself with --experts");
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
            read_back(logits).await?;
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
        let last = &logits[logits.len() - session.model.config().vocab_size..];
        let mut said = vec![Sampling::default().choose(last, 0, &[])];
        while said.len() < tokens {
            let newest = &said[said.len() - 1..];
            said.push(run(session, newest, &mut cache, &steering).await?);
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

async fn run(
    session: &Session,
    ids: &[u32],
    cache: &mut KvCache,
    steering: &adapters::Steering,
) -> Result<u32> {
    let logits = session
        .model
        .forward(ids, cache, steering, Positions::Last)?;
    let Some(logits) = logits else { return Ok(0) };
    Ok(Sampling::default().choose(&read_back(logits).await?, 0, &[]))
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
