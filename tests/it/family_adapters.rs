//! Adapters on the tiny models of the families, at c = 1 (`tests/golden/families.py`):
//! `tests/golden/families/adapters/BASE/METHOD` holds the files and `expected.json`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pollster::block_on;
use serde::Deserialize;
use serde_json::json;
use steering_playground::adapters::{self, Stack};
use steering_playground::arch::ModelFile;
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::device::{self, read_back};
use steering_playground::export::Export;
use steering_playground::hooks::Steering;
use steering_playground::model::{Positions, Weights};
use steering_playground::session::Session;
use steering_playground::weights::{Bytes, HostData, NativeFile, gguf, safetensors};

use crate::common::{adapter_files, golden_dir};

/// In parts of the largest logit.
const TOLERANCE: f32 = 2e-4;

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<u32>,
    logits_last: Vec<f32>,
    moved_by: f32,
}

/// The folders in a folder, by name.
fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<PathBuf> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The model in a folder, in whichever of the two formats it is there.
fn model(folder: &Path) -> Session {
    let file = |name: &str| NativeFile::open(&folder.join(name)).expect("a file");
    let load = async {
        let file = match fs::read(folder.join("config.json")) {
            Ok(config) => {
                ModelFile::open_folder(&config, vec![file("model.safetensors")], None).await
            }
            Err(_) => ModelFile::open_gguf(file("model.gguf")).await,
        }?;
        Session::load(&file, None, &device::cpu(), Weights::Dense, |_| {}).await
    };
    block_on(load).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// The GGUF file of a model that is there in both formats.
fn gguf_model(folder: &Path) -> Session {
    let load = async {
        let file = NativeFile::open(&folder.join("model.gguf"))?;
        let file = ModelFile::open_gguf(file).await?;
        Session::load(&file, None, &device::cpu(), Weights::Dense, |_| {}).await
    };
    block_on(load).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// Logits behind the last of these tokens.
fn last(session: &Session, tokens: &[u32], steering: &Steering) -> Vec<f32> {
    let mut cache = session.model.new_cache();
    let logits = session
        .model
        .forward(tokens, &mut cache, steering, Positions::Last);
    block_on(read_back(logits.expect("runs").expect("logits"))).expect("read")
}

fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.map(f32::abs).fold(0.0, f32::max)
}

/// Reports all failing cases, not only the first.
#[test]
fn adapters_of_every_family_equal_peft() {
    let families = golden_dir().join("families");
    let mut failures = Vec::new();
    for of_base in folders(&families.join("adapters")) {
        let base = of_base.file_name().expect("a name");
        let session = model(&families.join(base));
        for folder in folders(&of_base) {
            let name = folder.display();
            let expected = fs::read(folder.join("expected.json")).expect("expected.json");
            let expected: Expected = serde_json::from_slice(&expected).expect("expected.json");
            let adapter = match adapters::load(&adapter_files(&folder), &session.model) {
                Ok(adapter) => adapter,
                Err(error) => {
                    failures.push(format!("{name}: {error}"));
                    continue;
                }
            };
            let mut stack = Stack::default();
            let id = stack.add(adapter);
            stack.set_coefficient(id, 1.0).expect("finite");
            let found = last(&session, &expected.tokens, &stack.steering());
            let apart = found.iter().zip(&expected.logits_last).map(|(a, b)| a - b);
            let largest_logit = largest(expected.logits_last.iter().copied());
            let off = largest(apart) / largest_logit;
            println!("{name}: {off:.1e}");
            if off.is_nan() || off > TOLERANCE {
                failures.push(format!("{name}: {off:.1e}"));
            }
            stack.set_coefficient(id, 0.0).expect("finite");
            let base = last(&session, &expected.tokens, &Steering::base());
            if last(&session, &expected.tokens, &stack.steering()) != base {
                failures.push(format!("{name}: c = 0 is not the base"));
            }
            let apart = base.iter().zip(&found).map(|(a, b)| a - b);
            let moved = largest(apart);
            if (moved / expected.moved_by - 1.0).abs() > 0.01 {
                let told = expected.moved_by;
                failures.push(format!("{name}: moves logits by {moved}, not by {told}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// An adapter of one file.
fn alone(name: &str, weights: Vec<u8>) -> AdapterFiles {
    AdapterFiles {
        name: name.into(),
        weights,
        ..AdapterFiles::default()
    }
}

/// What llama.cpp's convert_lora_to_gguf.py made of PEFT's files does the same, and is refused for
/// a model of another architecture.
#[test]
fn loras_that_llama_cpp_converted_equal_peft() {
    let families = golden_dir().join("families");
    let mut seen = Vec::new();
    for of_base in folders(&families.join("adapters")) {
        let base = of_base.file_name().expect("a name").to_string_lossy();
        for folder in folders(&of_base) {
            let Ok(weights) = fs::read(folder.join("llama_cpp.gguf")) else {
                continue;
            };
            let session = model(&families.join(&*base));
            let expected = fs::read(folder.join("expected.json")).expect("expected.json");
            let expected: Expected = serde_json::from_slice(&expected).expect("expected.json");
            let files = alone(&base, weights);
            let adapter = adapters::load(&files, &session.model).expect("loads");
            let mut stack = Stack::default();
            let id = stack.add(adapter);
            stack.set_coefficient(id, 1.0).expect("finite");
            let found = last(&session, &expected.tokens, &stack.steering());
            let apart = found.iter().zip(&expected.logits_last).map(|(a, b)| a - b);
            let off = largest(apart) / largest(expected.logits_last.iter().copied());
            println!("{base}: {off:.1e}");
            assert!(off < TOLERANCE, "{base}: {off:.1e}");
            let other = model(&families.join(if base == "gemma3" { "qwen3" } else { "gemma3" }));
            let error = adapters::load(&files, &other.model).expect_err("another architecture");
            let said = error.to_string();
            assert!(
                said.contains("`general.architecture` is ") && said.contains("that of the model"),
                "{said}"
            );
            seen.push(base.to_string());
        }
    }
    assert_eq!(seen, ["gemma3", "granite4", "olmo2", "qwen3"]);
}

/// A LoRA and a vector of every family, written for llama.cpp and read back, on both formats of the
/// model where there are both.
#[test]
fn exports_of_every_family_come_back() {
    let families = golden_dir().join("families");
    let mut seen = BTreeSet::new();
    for folder in folders(&families) {
        if folder.ends_with("adapters") {
            continue;
        }
        let session = model(&folder);
        let config = session.model.config();
        let family = config.family;
        let tokens = [3, 17, 42, 99, 5, 61, 7, 88, 23];
        let numbers = |count: usize, step: f32| -> Vec<f32> {
            let number = |at: usize| (at as f32 * step).sin() * 0.3;
            (0..count).map(number).collect()
        };
        let mut tensors = Vec::new();
        for layer in 0..config.num_layers {
            for (at, &(projection, path, _)) in family.linears.iter().enumerate() {
                let (i, o) = projection.widths(config);
                let key =
                    |x| format!("base_model.model.model.layers.{layer}.{path}.lora_{x}.weight");
                let step = 0.3 + (layer * 7 + at) as f32 * 0.07;
                tensors.push((key('A'), vec![2, i], numbers(2 * i, step)));
                tensors.push((key('B'), vec![o, 2], numbers(2 * o, step + 0.03)));
            }
        }
        let lora = AdapterFiles {
            config: Some(br#"{"peft_type": "LORA", "r": 2, "lora_alpha": 3}"#.to_vec()),
            ..alone("lora", file_of(&tensors))
        };
        let d = config.hidden_size;
        let directions = (1..config.num_layers).map(|layer| {
            (
                format!("direction.{layer}"),
                vec![d],
                numbers(d, 0.7 + layer as f32),
            )
        });
        let vector = alone("vector", file_of(&directions.collect::<Vec<_>>()));
        let mut sessions = vec![session];
        if folder.join("config.json").exists() && folder.join("model.gguf").exists() {
            sessions.push(gguf_model(&folder));
        }
        for (files, field) in [
            (lora, "general.architecture"),
            (vector, "controlvector.model_hint"),
        ] {
            let name = format!("{}, {}", folder.display(), files.name);
            let logits = |session: &Session, files: &AdapterFiles, c: f32| {
                let adapter = adapters::load(files, &session.model);
                let adapter = adapter.unwrap_or_else(|error| panic!("{name}: {error}"));
                let mut stack = Stack::default();
                let id = stack.add(adapter);
                stack.set_coefficient(id, c).expect("finite");
                let found = last(session, &tokens, &stack.steering());
                let bytes = Export::new(&stack.entries()[0]).gguf(&session.model);
                (
                    found,
                    block_on(bytes).unwrap_or_else(|error| panic!("{name}: {error}")),
                )
            };
            let (steered, written) = logits(&sessions[0], &files, 0.7);
            let (metadata, _) = gguf::read_all("written", &written).expect("a file");
            assert_eq!(
                metadata.string(field).expect("text"),
                Some(family.gguf),
                "{name}"
            );
            let base = last(&sessions[0], &tokens, &Steering::base());
            for session in &sessions {
                let (again, _) = logits(session, &alone("written", written.clone()), 1.0);
                let apart = |other: &[f32]| largest(again.iter().zip(other).map(|(a, b)| a - b));
                let all = largest(steered.iter().copied());
                assert!(
                    apart(&steered) < 1e-4 * all,
                    "{name}: {}",
                    apart(&steered) / all
                );
                assert!(apart(&base) > 0.01 * all, "{name} does something");
            }
        }
        seen.insert(family.family);
    }
    let all = [
        "gemma", "gemma2", "gemma3", "gpt2", "gpt_neox", "granite", "llama", "mistral", "olmo2",
        "qwen2", "qwen3", "smollm3",
    ];
    assert_eq!(seen, BTreeSet::from(all));
}

/// Methods of which the numbers for gate and up together say nothing of each are refused by the
/// module's name.
#[test]
fn what_cannot_be_taken_apart_is_refused_by_name() {
    let families = golden_dir().join("families");
    let session = model(&families.join("granite4"));
    let files = adapter_files(&families.join("adapters/granite4/lora"));
    let mut config: serde_json::Value =
        serde_json::from_slice(files.config.as_ref().expect("a config")).expect("JSON");
    config["init_lora_weights"] = json!("pissa");
    let pissa = AdapterFiles {
        config: Some(config.to_string().into_bytes()),
        ..files.clone()
    };
    let error = adapters::load(&pissa, &session.model).expect_err("refused");
    assert_eq!(error.code(), "unsupported-option");
    assert!(
        error.to_string().contains("shared_mlp.input_linear"),
        "{error}"
    );
    // A family without the module knows none such, and no part of it.
    let llama = model(&families.join("llama_rope_llama3"));
    let error = adapters::load(&files, &llama.model).expect_err("refused");
    assert_eq!(error.code(), "no-such-module");
    assert!(error.to_string().contains("shared_mlp"), "{error}");
    let taken = adapters::load(&files, &session.model).expect("loads");
    assert_eq!(taken.warnings, Vec::<String>::new());
}

/// The norms of queries and keys that another family has are no modules of this one.
#[test]
fn a_norm_that_the_family_lacks_is_refused() {
    let families = golden_dir().join("families");
    let session = model(&families.join("qwen2"));
    let files = adapter_files(&families.join("adapters/qwen3/ln_tuning"));
    let error = adapters::load(&files, &session.model).expect_err("refused");
    assert!(error.to_string().contains("k_norm"), "{error}");
}

/// What cannot be exact in models with learned positions, fused layers or biases of norms is refused,
/// with the reason.
#[test]
fn adapters_that_ask_for_more_than_a_family_has_are_refused_with_the_reason() {
    let families = golden_dir().join("families");
    let prompt = [("prompt_embeddings".to_owned(), vec![3, 32], vec![0.5; 96])];
    let inside = "base_model.model.transformer.h.0.";
    let norm = ["weight", "bias"].map(|part| {
        let key = format!("{inside}ln_1.ln_tuning_layers.{part}");
        (key, vec![32], vec![0.5; 32])
    });
    let of_llama = [
        (
            format!("{inside}attn.adaption_prompt"),
            vec![1, 3, 32],
            vec![0.5; 96],
        ),
        (format!("{inside}attn.adaption_gate"), vec![1], vec![0.5]),
    ];
    // LoRA with biases trained along.
    let biases = [
        (
            format!("{inside}attn.c_attn.lora_A.weight"),
            vec![1, 32],
            vec![0.5; 32],
        ),
        (
            format!("{inside}attn.c_attn.lora_B.weight"),
            vec![96, 1],
            vec![0.5; 96],
        ),
        (format!("{inside}ln_1.bias"), vec![32], vec![0.5; 32]),
    ];
    let session = model(&families.join("gpt2"));
    for (config, tensors, part) in [
        (
            json!({"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 3}),
            &prompt[..],
            "learned row for each position",
        ),
        (
            json!({"peft_type": "LN_TUNING", "task_type": "CAUSAL_LM", "target_modules": ["ln_1"]}),
            &norm[..],
            "biases of norms",
        ),
        (
            json!({"peft_type": "ADAPTION_PROMPT", "task_type": "CAUSAL_LM", "adapter_len": 3,
                "adapter_layers": 1}),
            &of_llama[..],
            "in one with the queries",
        ),
        (
            json!({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 1, "lora_alpha": 1,
                "bias": "all", "target_modules": ["c_attn"]}),
            &biases[..],
            "transformer.h.0.ln_1.bias",
        ),
    ] {
        let files = AdapterFiles {
            name: "asks".into(),
            config: Some(config.to_string().into_bytes()),
            weights: file_of(tensors),
            ..AdapterFiles::default()
        };
        let error = adapters::load(&files, &session.model).expect_err("refused");
        assert!(error.to_string().contains(part), "{config}: {error}");
    }
}

/// Written for llama.cpp under its names and in its order of rows, and read again.
#[test]
fn loras_of_fused_layers_go_to_llama_cpp_and_back() {
    let families = golden_dir().join("families");
    for (name, key) in [
        ("gpt2", "blk.0.attn_qkv.weight.lora_b"),
        ("gpt_neox", "blk.1.ffn_up.weight.lora_a"),
    ] {
        let session = model(&families.join(name));
        let load = |files: &AdapterFiles| {
            let mut stack = Stack::default();
            let id = stack.add(adapters::load(files, &session.model).expect("loads"));
            stack.set_coefficient(id, 1.0).expect("finite");
            stack
        };
        let files = adapter_files(&families.join("adapters").join(name).join("lora"));
        let mut stack = load(&files);
        let written = Export::new(&stack.entries()[0]).gguf(&session.model);
        let written = block_on(written).expect("writes");
        let (_, tensors) = gguf::read_all("written", &written).expect("reads");
        assert!(tensors.contains_key(key), "{:?}", tensors.keys());
        let files = AdapterFiles {
            name: "written".into(),
            weights: written,
            ..AdapterFiles::default()
        };
        let tokens = [3, 17, 42, 99, 5];
        let expected = last(&session, &tokens, &stack.steering());
        let found = last(&session, &tokens, &load(&files).steering());
        let apart = largest(found.iter().zip(&expected).map(|(a, b)| a - b));
        let all = largest(expected.iter().copied());
        assert!(apart < TOLERANCE * all, "{name}: {apart}");
    }
}

/// A safetensors file of these tensors, in f32.
fn file_of(tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (key, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let about = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(key.clone(), about);
    }
    let header = serde_json::Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), &data].concat()
}

/// A LoRA of Gemma's embedding is what a table with other rows is, of which the head keeps the old ones:
/// as in PEFT, √d multiplies the change too.
#[test]
fn changes_of_embeddings_are_scaled_with_them() {
    const EMBEDDING: &str = "model.embed_tokens.weight";
    const RANK: usize = 2;
    let folder = golden_dir().join("families/gemma");
    let weights = fs::read(folder.join("model.safetensors")).expect("a file");
    let weights = safetensors::read_all("model.safetensors", &weights).expect("safetensors");
    let [vocab, d] = weights[EMBEDDING].shape[..] else {
        panic!("a matrix")
    };
    let numbers = |count: usize, step: f32| -> Vec<f32> {
        (0..count)
            .map(|at| (at as f32 * step).sin() * 0.1)
            .collect()
    };
    let (a, b) = (numbers(RANK * vocab, 0.7), numbers(d * RANK, 1.3));
    let mut tensors = Vec::new();
    for (key, tensor) in weights {
        let HostData::Float(mut values) = tensor.data else {
            panic!("floats")
        };
        if key == EMBEDDING {
            let head = ("lm_head.weight".into(), vec![vocab, d], values.clone());
            tensors.push(head);
            for (at, value) in values.iter_mut().enumerate() {
                let (token, column) = (at / d, at % d);
                let change = |r| b[column * RANK + r] * a[r * vocab + token];
                *value += 3.0 * (0..RANK).map(change).sum::<f32>();
            }
        }
        tensors.push((key, tensor.shape, values));
    }
    let config = fs::read(folder.join("config.json")).expect("config.json");
    let file = Bytes {
        name: "changed".into(),
        bytes: file_of(&tensors),
    };
    let changed = block_on(async {
        let file = ModelFile::open_folder(&config, vec![file], None).await?;
        Session::load(&file, None, &device::cpu(), Weights::Dense, |_| {}).await
    });
    let changed = changed.expect("loads");

    let base = model(&folder);
    let prefix = "base_model.model.model.embed_tokens.lora_embedding_";
    let config = json!({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 6,
        "target_modules": ["embed_tokens"]});
    let adapter = AdapterFiles {
        name: "embedding".into(),
        config: Some(config.to_string().into_bytes()),
        weights: file_of(&[
            (format!("{prefix}A"), vec![RANK, vocab], a),
            (format!("{prefix}B"), vec![d, RANK], b),
        ]),
        ..AdapterFiles::default()
    };
    let mut stack = Stack::default();
    let id = stack.add(adapters::load(&adapter, &base.model).expect("loads"));
    stack.set_coefficient(id, 1.0).expect("finite");
    let tokens = [3, 17, 42, 99, 5];
    let found = last(&base, &tokens, &stack.steering());
    let expected = last(&changed, &tokens, &Steering::base());
    let of_base = last(&base, &tokens, &Steering::base());
    let apart = |other: &[f32]| largest(found.iter().zip(other).map(|(a, b)| a - b));
    let all = largest(expected.iter().copied());
    assert!(apart(&expected) < TOLERANCE * all, "{}", apart(&expected));
    assert!(apart(&of_base) > 0.1 * all, "{}", apart(&of_base));
}
