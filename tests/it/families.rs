//! Tiny models of every family and scaling against transformers 5.23 (f32, eager attention), from
//! each format that they come in. `tests/golden/families/NAME` holds the files and `expected.json`:
//! logits behind a text, the greedy continuation, the logits behind that, and how far the logits
//! move when the feature that a model is there for is left out.

use std::fs;
use std::path::PathBuf;

use pollster::block_on;
use serde::Deserialize;
use serde_json::{Value, json};
use steering_playground::Error;
use steering_playground::arch::{DecoderConfig, ModelFile, config_from_json};
use steering_playground::device::{self, read_back};
use steering_playground::hooks::Steering;
use steering_playground::model::{Positions, Weights};
use steering_playground::session::Session;
use steering_playground::weights::NativeFile;

use crate::common::golden_dir;

/// In parts of the largest logit.
const TOLERANCE: f32 = 2e-4;

/// A model's folder, and the file in it that says what the model is: a config or a GGUF.
const CASES: &[(&str, &str)] = &[
    ("llama_rope_linear", "config.json"),
    ("llama_rope_llama3", "config.json"),
    // As transformers 4 wrote it.
    ("llama_rope_llama3", "config_4.json"),
    ("llama_rope_llama3", "model.gguf"),
    ("llama_rope_yarn", "config.json"),
    ("llama_rope_yarn", "model.gguf"),
    ("gemma", "config.json"),
    ("gemma2", "config.json"),
    ("gemma3", "config.json"),
    ("gemma3", "config_4.json"),
    ("gemma3", "model.gguf"),
    ("granite", "model.gguf"),
    ("granite4", "config.json"),
    ("granite4", "config_4.json"),
    ("olmo2", "config.json"),
];

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<u32>,
    logits_last: Vec<f32>,
    greedy: Vec<u32>,
    logits_after_greedy: Vec<f32>,
    #[serde(default)]
    if_ignored: std::collections::BTreeMap<String, f32>,
}

fn folder(name: &str) -> PathBuf {
    golden_dir().join("families").join(name)
}

fn read(name: &str, file: &str) -> Vec<u8> {
    let path = folder(name).join(file);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn expected(name: &str) -> Expected {
    serde_json::from_slice(&read(name, "expected.json")).expect("expected.json")
}

fn config(name: &str, file: &str) -> Value {
    serde_json::from_slice(&read(name, file)).expect("JSON")
}

fn session(file: &ModelFile<NativeFile>, weights: Weights) -> Session {
    let cpu = device::cpu();
    block_on(Session::load(file, None, &cpu, weights, |_| {})).expect("loads")
}

fn open(name: &str, file: &str) -> ModelFile<NativeFile> {
    if file.ends_with(".gguf") {
        let source = NativeFile::open(&folder(name).join(file)).expect("a file");
        block_on(ModelFile::open_gguf(source)).unwrap_or_else(|error| panic!("{name}: {error}"))
    } else {
        with_config(name, &config(name, file))
    }
}

fn with_config(name: &str, config: &Value) -> ModelFile<NativeFile> {
    let weights = folder(name).join("model.safetensors");
    let weights = NativeFile::open(&weights).expect("a file");
    let config = config.to_string();
    let opened = block_on(ModelFile::open_folder(
        config.as_bytes(),
        vec![weights],
        None,
    ));
    opened.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Logits behind the last of these tokens, and a cache that goes on from there.
fn step(
    session: &Session,
    cache: &mut steering_playground::model::KvCache,
    tokens: &[u32],
) -> Vec<f32> {
    let base = Steering::base();
    let logits = session.model.forward(tokens, cache, &base, Positions::Last);
    let logits = logits.expect("runs").expect("logits");
    block_on(read_back(logits)).expect("read")
}

fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.map(f32::abs).fold(0.0, f32::max)
}

/// The largest difference, in parts of the largest logit.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len(), "the vocabulary");
    let difference = found.iter().zip(expected).map(|(a, b)| a - b);
    largest(difference) / largest(expected.iter().copied())
}

fn best(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    best.expect("a vocabulary") as u32
}

#[test]
fn every_family_equals_transformers() {
    // The slices of the quantised path round keys and values to half precision.
    for (weights, tolerance) in [(Weights::Dense, TOLERANCE), (Weights::Quantised, 5e-3)] {
        for &(name, file) in CASES {
            let expected = expected(name);
            let session = session(&open(name, file), weights);
            let mut cache = session.model.new_cache();
            let mut logits = step(&session, &mut cache, &expected.tokens);
            let off = difference(&logits, &expected.logits_last);
            assert!(off < tolerance, "{name}/{file}, {weights:?}: {off:.1e}");
            let mut greedy = Vec::new();
            for _ in &expected.greedy {
                greedy.push(best(&logits));
                logits = step(&session, &mut cache, &greedy[greedy.len() - 1..]);
            }
            assert_eq!(greedy, expected.greedy, "{name}/{file}, {weights:?}");
            let off = difference(&logits, &expected.logits_after_greedy);
            assert!(
                off < tolerance,
                "{name}/{file}, {weights:?}, later: {off:.1e}"
            );
        }
    }
}

/// What these models are there for shows in their logits.
#[test]
fn without_its_scaling_a_model_says_something_different() {
    for &(name, file) in CASES {
        let expected = expected(name);
        let Some(moved) = expected.if_ignored.get("no_scaling") else {
            continue;
        };
        if file.ends_with(".gguf") {
            continue;
        }
        let mut config = config(name, file);
        for field in ["rope_scaling", "rope_parameters"] {
            let theta = config[field]["rope_theta"].clone();
            if !theta.is_null() {
                config["rope_theta"] = theta;
            }
            config[field] = json!(null);
        }
        let session = session(&with_config(name, &config), Weights::Dense);
        let logits = step(&session, &mut session.model.new_cache(), &expected.tokens);
        let off = difference(&logits, &expected.logits_last);
        let told = moved / largest(expected.logits_last.iter().copied());
        assert!(off > 100.0 * TOLERANCE, "{name}: {off:.1e}");
        assert!(
            (off / told - 1.0).abs() < 0.01,
            "{name}: {off} is not {told}"
        );
    }
}

/// The config of a golden model with some fields changed; `null` takes a field away.
fn changed(name: &str, changes: Value) -> Result<DecoderConfig, Error> {
    let mut config = config(name, "config.json");
    let fields = config.as_object_mut().expect("an object");
    for (field, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => fields.remove(field),
            value => fields.insert(field.clone(), value.clone()),
        };
    }
    config_from_json(config.to_string().as_bytes())
}

#[test]
fn what_is_not_computed_is_refused_by_its_field() {
    let flat = json!({"rope_type": "default", "rope_theta": 1e6});
    for (name, field, value) in [
        ("gemma", "use_bidirectional_attention", json!(true)),
        ("gemma", "hidden_act", json!("relu")),
        ("gemma", "head_dim", json!(null)),
        ("gemma2", "hidden_activation", json!("relu")),
        ("gemma2", "layer_types", json!(["full_attention"])),
        ("gemma2", "layer_types", json!(["a", "b", "c", "d"])),
        ("gemma3", "model_type", json!("gemma3")),
        ("gemma3", "rope_parameters", flat),
        (
            "gemma3",
            "rope_scaling",
            json!({"type": "linear", "factor": 8}),
        ),
        ("granite4", "num_local_experts", json!(8)),
        ("granite4", "num_local_experts", json!(null)),
        (
            "granite4",
            "layer_types",
            json!(["attention", "mamba", "attention"]),
        ),
        ("granite4", "layer_types", json!(["attention"])),
        ("granite4", "layer_types", json!(null)),
        ("granite4", "position_embedding_type", json!("learned")),
        ("olmo2", "hidden_act", json!("gelu")),
    ] {
        let mut changes = json!({});
        changes[field] = value;
        let error = changed(name, changes).expect_err(field).to_string();
        let told = match field {
            "rope_scaling" => "rope_parameters",
            _ => field,
        };
        assert!(error.contains(told), "{name}, {field}: {error}");
    }
}

#[test]
fn absent_fields_are_what_transformers_makes_of_them() {
    for (name, changes) in [
        (
            "gemma2",
            json!({"layer_types": null, "tie_word_embeddings": null}),
        ),
        ("gemma3", json!({"layer_types": null})),
        ("gemma3", json!({"rope_parameters": null})),
        ("gemma3", json!({"rope_parameters": {"full_attention": {}}})),
        ("granite4", json!({"rope_parameters": null})),
    ] {
        let plain = changed(name, json!({})).expect("a config");
        assert_eq!(plain, changed(name, changes).expect("a config"), "{name}");
    }
    let absent = json!({"attn_logit_softcapping": null, "final_logit_softcapping": null,
        "sliding_window": null, "query_pre_attn_scalar": null});
    let config = changed("gemma2", absent).expect("a config");
    let caps = (config.attention_cap, config.logit_cap);
    assert_eq!(caps, (Some(50.0), Some(30.0)));
    assert_eq!(config.layers[0].window, Some(4096));
    assert_eq!(config.attention_scale, 1.0 / 16.0);
    let nope = json!({"position_embedding_type": null, "attention_multiplier": null});
    let config = changed("granite4", nope).expect("a config");
    assert!(config.layers.iter().all(|layer| layer.rope.is_none()));
    assert_eq!(config.attention_scale, 1.0);
}
