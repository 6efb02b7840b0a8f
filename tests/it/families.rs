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
use steering_playground::device;
use steering_playground::model::Weights;
use steering_playground::session::Session;
use steering_playground::weights::NativeFile;

use crate::common::{best, golden_dir, last};

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
    ("gpt2", "config.json"),
    ("gpt2", "model.gguf"),
    ("gpt_neox", "config.json"),
    ("gpt_neox", "config_4.json"),
    ("gpt_neox", "model.gguf"),
    ("granite", "model.gguf"),
    ("granite4", "config.json"),
    ("granite4", "config_4.json"),
    ("olmo2", "config.json"),
    ("qwen2", "config.json"),
    ("qwen2", "config_4.json"),
    ("qwen2", "model.gguf"),
    ("qwen3", "config.json"),
    ("qwen3", "config_4.json"),
    ("qwen3", "model.gguf"),
    ("smollm3", "config.json"),
    ("smollm3", "model.gguf"),
    ("mistral_window8", "config.json"),
];

/// What a model says, as a script beside the goldens writes it.
#[derive(Deserialize)]
pub struct Expected {
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

fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.map(f32::abs).fold(0.0, f32::max)
}

/// The largest difference, in parts of the largest logit.
pub fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len(), "the vocabulary");
    let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    // In the total order what is no number is the largest.
    apart.max_by(f32::total_cmp).unwrap_or(f32::NAN) / largest(expected.iter().copied())
}

/// The logits behind the text, the greedy tokens one by one, and the logits behind these.
pub fn compare(session: &Session, expected: &Expected, tolerance: f32, what: &str) {
    let mut cache = session.model.new_cache();
    let mut logits = last(session, &mut cache, &expected.tokens);
    let off = difference(&logits, &expected.logits_last);
    println!("{what}: {off:.1e} of the largest logit");
    assert!(off < tolerance, "{what}: {off:.1e}");
    for id in &expected.greedy {
        assert_eq!(best(&logits), *id, "{what}: greedy");
        logits = last(session, &mut cache, &[*id]);
    }
    let off = difference(&logits, &expected.logits_after_greedy);
    println!("{what}, after {} more: {off:.1e}", expected.greedy.len());
    assert!(off < tolerance, "{what}, later: {off:.1e}");
}

#[test]
fn every_family_equals_transformers() {
    // The slices of the quantised path round keys and values to half precision.
    for (weights, tolerance) in [(Weights::Dense, TOLERANCE), (Weights::Quantised, 5e-3)] {
        for &(name, file) in CASES {
            let expected = expected(name);
            let session = session(&open(name, file), weights);
            let what = format!("{name}/{file}, {weights:?}");
            compare(&session, &expected, tolerance, &what);
        }
    }
}

/// Logits without a feature are as far from those expected as transformers' own.
fn compare_without(name: &str, feature: &str, config: &Value) {
    let expected = expected(name);
    let session = session(&with_config(name, config), Weights::Dense);
    let logits = last(&session, &mut session.model.new_cache(), &expected.tokens);
    let off = difference(&logits, &expected.logits_last);
    let told = expected.if_ignored[feature] / largest(expected.logits_last.iter().copied());
    assert!(off > 100.0 * TOLERANCE, "{name}: {off:.1e}");
    assert!(
        (off / told - 1.0).abs() < 0.01,
        "{name}: {off} is not {told}"
    );
}

/// What these models are there for shows in their logits.
#[test]
fn without_its_scaling_a_model_says_something_different() {
    for &(name, file) in CASES {
        let is_scaled = expected(name).if_ignored.contains_key("no_scaling");
        if !is_scaled || file.ends_with(".gguf") {
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
        compare_without(name, "no_scaling", &config);
    }
}

#[test]
fn without_what_is_its_own_a_model_says_something_different() {
    let whole =
        json!({"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0});
    for (name, feature, field, value) in [
        ("gpt2", "unscaled", "scale_attn_weights", json!(false)),
        (
            "gpt_neox",
            "sequential",
            "use_parallel_residual",
            json!(false),
        ),
        ("gpt_neox", "whole_heads", "rope_parameters", whole),
        (
            "mistral_window8",
            "no_window",
            "sliding_window",
            json!(null),
        ),
        (
            "smollm3",
            "rope_everywhere",
            "no_rope_layers",
            json!([1, 1, 1, 1]),
        ),
    ] {
        let mut config = config(name, "config.json");
        config[field] = value;
        compare_without(name, feature, &config);
    }
}

fn read_config(config: &Value) -> Result<DecoderConfig, String> {
    config_from_json(config.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// `layers` as text: w for a window, n for no rope, . for neither.
fn layers(config: &DecoderConfig) -> String {
    let layers = config.layers.iter();
    let kinds = layers.map(|layer| match (layer.window, layer.rope) {
        (None, Some(_)) => '.',
        (Some(_), Some(_)) => 'w',
        (None, None) => 'n',
        (Some(_), None) => 'b',
    });
    kinds.collect()
}

/// What published models have in their config.json, whole but for `architectures`.
#[test]
fn configs_of_published_models_are_read() {
    let llama = json!({"attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 128_000,
        "eos_token_id": [128_001, 128_008, 128_009], "head_dim": 64, "hidden_act": "silu",
        "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192,
        "max_position_embeddings": 131_072, "mlp_bias": false, "model_type": "llama",
        "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8,
        "pretraining_tp": 1, "rms_norm_eps": 1e-5, "rope_scaling": {"factor": 32.0,
        "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3"}, "rope_theta": 500_000.0, "tie_word_embeddings": true,
        "torch_dtype": "bfloat16", "transformers_version": "4.45.0.dev0", "use_cache": true,
        "vocab_size": 128_256});
    let qwen2 = json!({"attention_dropout": 0.0, "bos_token_id": 151_643, "eos_token_id": 151_645,
        "hidden_act": "silu", "hidden_size": 896, "initializer_range": 0.02,
        "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 21,
        "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1_000_000.0,
        "sliding_window": 32768, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "transformers_version": "4.43.1", "use_cache": true, "use_sliding_window": false,
        "vocab_size": 151_936});
    let qwen3 = json!({"attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 151_643,
        "eos_token_id": 151_645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024,
        "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 40960,
        "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16,
        "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-6,
        "rope_scaling": null, "rope_theta": 1_000_000, "sliding_window": null,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.51.0",
        "use_cache": true, "use_sliding_window": false, "vocab_size": 151_936});
    // Transformers 4 leaves out what its own default is: that embeddings are tied.
    let (full, no_rope) = (["full_attention"].repeat(36), [1, 1, 1, 0].repeat(9));
    let smollm3 = json!({"attention_bias": false, "attention_dropout": 0.0, "eos_token_id": 128_012,
        "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
        "intermediate_size": 11008, "layer_types": full,
        "max_position_embeddings": 65536, "max_window_layers": 28, "mlp_bias": false,
        "model_type": "smollm3", "no_rope_layer_interval": 4,
        "no_rope_layers": no_rope, "num_attention_heads": 16,
        "num_hidden_layers": 36, "num_key_value_heads": 4, "pad_token_id": 128_004,
        "pretraining_tp": 2, "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 5_000_000.0,
        "sliding_window": null, "torch_dtype": "bfloat16", "use_cache": false,
        "use_sliding_window": false, "vocab_size": 128_256});
    let mistral = json!({"bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
        "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
        "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32,
        "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 32000});
    let gpt2 = json!({"activation_function": "gelu_new", "attn_pdrop": 0.1, "bos_token_id": 50256,
        "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-5, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12,
        "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null,
        "summary_first_dropout": 0.1, "summary_proj_to_labels": true, "summary_type": "cls_index",
        "summary_use_proj": true, "task_specific_params": {"text-generation": {"do_sample": true,
        "max_length": 50}}, "vocab_size": 50257});
    let pythia = json!({"bos_token_id": 0, "eos_token_id": 0, "hidden_act": "gelu",
        "hidden_size": 768, "initializer_range": 0.02, "intermediate_size": 3072,
        "layer_norm_eps": 1e-5, "max_position_embeddings": 2048, "model_type": "gpt_neox",
        "num_attention_heads": 12, "num_hidden_layers": 12, "rotary_emb_base": 10000,
        "rotary_pct": 0.25, "tie_word_embeddings": false, "torch_dtype": "float16",
        "transformers_version": "4.24.0", "use_cache": true, "use_parallel_residual": true,
        "vocab_size": 50304});
    for (config, widths, tied, kinds) in [
        (gpt2, [64, 768, 768], true, "n".repeat(12)),
        (pythia, [64, 768, 768], false, ".".repeat(12)),
        (llama, [64, 2048, 512], true, ".".repeat(16)),
        (qwen2, [64, 896, 128], true, ".".repeat(24)),
        (qwen3, [128, 2048, 1024], true, ".".repeat(28)),
        (smollm3, [128, 2048, 512], true, "...n".repeat(9)),
        (mistral, [128, 4096, 1024], false, "w".repeat(32)),
    ] {
        let name = config["model_type"].clone();
        let read = read_config(&config).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = [read.head_dim, read.q_width(), read.kv_width()];
        assert_eq!(found, widths, "{name}");
        assert_eq!(read.tie_word_embeddings, tied, "{name}");
        assert_eq!(layers(&read), kinds, "{name}");
    }
}

/// A change of some fields of a tiny model's config, and the layers that it then has, or a part of the
/// refusal.
#[test]
fn windows_and_layers_without_rope_are_where_the_config_says() {
    const SLIDES: &str = "sliding_attention";
    const FULL: &str = "full_attention";
    for (name, change, expected) in [
        (
            "qwen2",
            json!({"use_sliding_window": true, "sliding_window": 8}),
            Ok("..."),
        ),
        (
            "qwen2",
            json!({"use_sliding_window": true, "sliding_window": 8, "max_window_layers": 1,
                "layer_types": null}),
            Ok(".ww"),
        ),
        (
            "qwen3",
            json!({"use_sliding_window": true, "sliding_window": 8,
                "layer_types": [SLIDES, FULL, SLIDES]}),
            Ok("w.w"),
        ),
        // No window is in use.
        (
            "qwen3",
            json!({"sliding_window": 8, "layer_types": [SLIDES, FULL, FULL]}),
            Err("`layer_types`"),
        ),
        ("qwen3", json!({"layer_types": [FULL]}), Err("1 of them")),
        (
            "qwen3",
            json!({"layer_types": [FULL, FULL, "linear_attention"]}),
            Err("linear_attention"),
        ),
        (
            "qwen2",
            json!({"model_type": "qwen2_moe"}),
            Err("qwen2_moe"),
        ),
        (
            "qwen2",
            json!({"partial_rotary_factor": 0.5}),
            Err("whole heads"),
        ),
        (
            "qwen2",
            json!({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}),
            Err("dynamic by 2"),
        ),
        ("smollm3", json!({"no_rope_layers": null}), Ok("...n")),
        (
            "smollm3",
            json!({"no_rope_layers": null, "no_rope_layer_interval": 2}),
            Ok(".n.n"),
        ),
        (
            "smollm3",
            json!({"no_rope_layers": [0, 1, 1, 0, 1]}),
            Ok("n..n"),
        ),
        (
            "smollm3",
            json!({"no_rope_layers": [1, 1]}),
            Err("a list of 2"),
        ),
        (
            "smollm3",
            json!({"no_rope_layers": [1, 1, 2, 1]}),
            Err("0 and 1"),
        ),
        (
            "smollm3",
            json!({"use_sliding_window": true, "sliding_window": 8, "layer_types": null}),
            Ok("...b"),
        ),
        (
            "mistral_window8",
            json!({"sliding_window": null}),
            Ok("..."),
        ),
        (
            "mistral_window8",
            json!({"layer_types": [SLIDES, FULL, SLIDES]}),
            Err("every layer"),
        ),
        (
            "mistral_window8",
            json!({"sliding_window": 0}),
            Err("sizes from 1"),
        ),
    ] {
        let mut config = config(name, "config.json");
        for (field, value) in change.as_object().expect("an object") {
            config[field] = value.clone();
        }
        match (read_config(&config), expected) {
            (Ok(read), Ok(kinds)) => assert_eq!(layers(&read), kinds, "{name}: {change}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{change}: {error}"),
            (found, expected) => panic!("{name}: {change}: {found:?} is not {expected:?}"),
        }
    }
    // Absent: 4096 in a Mistral; in others what transformers would take from another size.
    let mut mistral = config("mistral_window8", "config.json");
    mistral
        .as_object_mut()
        .expect("fields")
        .remove("sliding_window");
    let read = read_config(&mistral).expect("reads");
    assert_eq!(read.layers[2].window, Some(4096));
    for (name, field) in [("qwen3", "head_dim"), ("qwen2", "num_key_value_heads")] {
        let mut config = config(name, "config.json");
        config.as_object_mut().expect("fields").remove(field);
        let error = read_config(&config).expect_err("refused");
        assert!(error.contains(field), "{error}");
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
        ("gpt2", "scale_attn_by_inverse_layer_idx", json!(true)),
        ("gpt2", "add_cross_attention", json!(true)),
        ("gpt2", "activation_function", json!("relu")),
        ("gpt2", "n_head", json!(5)),
        ("gpt_neox", "hidden_act", json!("relu")),
        (
            "gpt_neox",
            "rope_parameters",
            json!({"partial_rotary_factor": 0.2}),
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

/// A family without a golden model is a family that nobody has checked.
#[test]
fn every_family_has_a_golden_model() {
    let list = fs::read_to_string("src/arch/mod.rs").expect("src/arch/mod.rs");
    let listed = list.lines().filter_map(|line| {
        let name = line.trim().strip_prefix('&')?;
        name.strip_suffix("::FAMILY,")
    });
    let shown: Vec<&str> = CASES
        .iter()
        .map(|(name, file)| open(name, file).config().family.family)
        .collect();
    let without: Vec<&str> = listed.filter(|name| !shown.contains(name)).collect();
    assert!(without.is_empty(), "no golden model of {without:?}");
}
