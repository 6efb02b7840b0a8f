//! What several test modules share.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use steering_playground::arch::ModelFile;
use steering_playground::checkpoint::{AdapterFiles, BASES_FILE};
use steering_playground::device::{self, read_back};
use steering_playground::hooks::Steering;
use steering_playground::model::{KvCache, Lane, Positions, Weights};
use steering_playground::session::Session;
use steering_playground::text::Text;
use steering_playground::weights::NativeFile;

pub fn golden_dir() -> PathBuf {
    PathBuf::from("tests/golden")
}

/// A tiny base model of the goldens, on the CPU, without text.
pub fn tiny(base: &str) -> Session {
    tiny_with(base, Weights::Dense)
}

pub fn tiny_with(base: &str, weights: Weights) -> Session {
    tiny_on(base, &device::cpu(), weights)
}

pub fn tiny_on(base: &str, device: &Device, weights: Weights) -> Session {
    let dir = golden_dir().join(base);
    let config = fs::read(dir.join("config.json")).expect("config.json");
    let file = NativeFile::open(&dir.join("model.safetensors")).expect("model.safetensors");
    pollster::block_on(async {
        let file = ModelFile::open_folder(&config, vec![file], None).await?;
        Session::load(&file, None, device, weights, |_| {}).await
    })
    .expect("the tiny model loads")
}

/// A tiny base model in quantised blocks (Q8_0 and Q4_1), on the CPU, without text.
pub fn tiny_quantised(weights: Weights) -> Session {
    tiny_quantised_on(&device::cpu(), weights)
}

pub fn tiny_quantised_on(device: &Device, weights: Weights) -> Session {
    let path = golden_dir().join("base_quantised/model.gguf");
    let load = async {
        let file = ModelFile::open_gguf(NativeFile::open(&path)?).await?;
        Session::load(&file, None, device, weights, |_| {}).await
    };
    pollster::block_on(load).expect("the GGUF loads")
}

/// The same with symbols for words.
pub fn reading(session: Session) -> Session {
    let bytes = fs::read("tests/fixtures/tiny_tokenizer.json").expect("a tokenizer");
    // No line breaks, for which the tiny models have no row.
    let template = "{% for message in messages %}{{ message.content }}{% endfor %}";
    let config = serde_json::json!({ "chat_template": template });
    let files = [
        ("tokenizer.json", bytes),
        ("tokenizer_config.json", config.to_string().into_bytes()),
    ];
    Session {
        text: Text::from_files(&files.into()).expect("a tokenizer"),
        ..session
    }
}

/// Whether the test that asks has to be left out, since the real model is not there.
pub fn lacks_model() -> bool {
    model_path().is_none() && left_out("the model is not there: `cargo xtask model` fetches it")
}

/// Whether the test that asks has to be left out, since there is no GPU.
pub fn lacks_gpu() -> bool {
    pollster::block_on(device::gpu()).is_err()
        && left_out("no GPU, not even a software one (Debian: mesa-vulkan-drivers)")
}

/// Says so, past the test runner, which keeps to itself what tests that pass print. Where nothing may
/// be left out, as in `cargo xtask test`, this fails.
fn left_out(why: &str) -> bool {
    assert!(env::var_os("PLAYGROUND_TEST_ALL").is_none(), "{why}");
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    drop(writeln!(io::stderr(), "LEFT OUT: {name}: {why}"));
    true
}

/// The file of the real model: `$PLAYGROUND_MODEL`, or where `cargo xtask model` keeps it.
pub fn model_path() -> Option<PathBuf> {
    let named = |variable| {
        let value = env::var_os(variable).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    let cached = || {
        let cache = named("PLAYGROUND_CACHE")
            .or_else(|| Some(named("XDG_CACHE_HOME")?.join("steering-playground")))
            .or_else(|| Some(named("LOCALAPPDATA")?.join("steering-playground")))
            .or_else(|| Some(named("HOME")?.join(".cache/steering-playground")))?;
        let path = cache.join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
        path.is_file().then_some(path)
    };
    named("PLAYGROUND_MODEL").or_else(cached)
}

/// The real model. Ask [`lacks_model`] first.
pub fn smollm2() -> Session {
    smollm2_with(Weights::Dense)
}

pub fn smollm2_with(weights: Weights) -> Session {
    let path = model_path().expect("`cargo xtask model` fetches the model");
    pollster::block_on(async {
        let file = ModelFile::open_gguf(NativeFile::open(&path)?).await?;
        Session::load(&file, None, &device::cpu(), weights, |_| {}).await
    })
    .expect("the real model loads")
}

/// What a safetensors file says of itself.
pub fn metadata(bytes: &[u8]) -> Option<serde_json::Value> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(bytes.get(8..8 + length)?).ok()?;
    Some(header["__metadata__"].take())
}

/// The checkpoint of a golden case, with the task that its expectation was made for.
pub fn adapter_files(dir: &Path) -> AdapterFiles {
    let expect = fs::read(dir.join("expect.safetensors")).unwrap_or_default();
    let about = metadata(&expect);
    let task = about
        .as_ref()
        .and_then(|about| about["task"].as_str()?.parse().ok());
    // Cases of the families say it as JSON.
    let task = task.or_else(|| {
        let expected = fs::read(dir.join("expected.json")).ok()?;
        let expected: serde_json::Value = serde_json::from_slice(&expected).ok()?;
        usize::try_from(expected["task"].as_u64()?).ok()
    });
    let weights = about
        .as_ref()
        .and_then(|about| about["expert_weights"].as_str());
    let number = |weight: &str| weight.parse().expect("a weight");
    let experts = (0..).map(|number: usize| dir.join(number.to_string()));
    AdapterFiles {
        task,
        expert_weights: weights.map(|weights| weights.split(' ').map(number).collect()),
        experts: experts
            .take_while(|folder| folder.exists())
            .map(|folder| adapter_files(&folder))
            .collect(),
        name: dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        config: fs::read(dir.join("adapter_config.json")).ok(),
        bases: fs::read(dir.join(BASES_FILE)).ok(),
        weights: fs::read(dir.join("adapter_model.safetensors")).expect("adapter weights"),
    }
}

/// Logits of every position.
pub fn logits(session: &Session, ids: &[u32], steering: &Steering) -> Vec<f32> {
    let mut cache = session.model.new_cache();
    let logits = session
        .model
        .forward(ids, &mut cache, steering, Positions::All)
        .expect("runs");
    pollster::block_on(read_back(logits.expect("logits"))).expect("read")
}

/// Logits of the base behind the last of these tokens, which follow those of the cache.
pub fn last(session: &Session, cache: &mut KvCache, tokens: &[u32]) -> Vec<f32> {
    let base = Steering::base();
    let logits = session.model.forward(tokens, cache, &base, Positions::Last);
    pollster::block_on(read_back(logits.expect("runs").expect("logits"))).expect("read")
}

pub fn best(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    best.expect("a vocabulary") as u32
}

/// Logits behind the last token of each stream, run together: first all but one token of each, then
/// that one.
pub fn together(session: &Session, streams: &[(&[u32], &Steering)]) -> Vec<f32> {
    let mut caches: Vec<_> = streams.iter().map(|_| session.model.new_cache()).collect();
    let mut pass = |split: fn(usize) -> Range<usize>| {
        let lanes = streams.iter().zip(&mut caches);
        let lanes = lanes.map(|((ids, steering), cache)| Lane {
            tokens: &ids[split(ids.len())],
            cache,
            steering,
        });
        let logits = session
            .model
            .forward_lanes(lanes.collect(), Positions::Last);
        let logits = logits.expect("runs").expect("logits");
        pollster::block_on(read_back(logits)).expect("read")
    };
    pass(|n| 0..n - 1);
    pass(|n| n - 1..n)
}
