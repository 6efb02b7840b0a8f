//! Numbers that are not finite: refused in files, told of in streams, never written.

use std::collections::BTreeMap;

use burn::tensor::Device;
use pollster::block_on;
use safetensors::{Dtype, serialize, tensor::TensorView};
use serde_json::{Value, json};
use steering_playground::adapters::{self, Stack};
use steering_playground::arch::ModelFile;
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::device;
use steering_playground::error::Error;
use steering_playground::export::Export;
use steering_playground::model::Weights;
use steering_playground::sample::Sampling;
use steering_playground::session::{CachePolicy, Request, Session, Step};
use steering_playground::weights::{Bytes, HostData, HostTensor, gguf};

use crate::common::{adapter_files, golden_dir, logits, tiny, tiny_on};
use crate::golden::{cases, worst};

const PROMPT: [u32; 5] = [5, 9, 3, 17, 20];

/// The number that takes the place of another, in the bytes of each type.
fn bytes_of(number: f32, dtype: &str) -> Option<Vec<u8>> {
    Some(match dtype {
        "F64" => f64::from(number).to_le_bytes().to_vec(),
        "F32" => number.to_le_bytes().to_vec(),
        "F16" => half::f16::from_f32(number).to_le_bytes().to_vec(),
        "BF16" => half::bf16::from_f32(number).to_le_bytes().to_vec(),
        _ => return None,
    })
}

/// For each tensor of floats: its name, and the file with this number in the tensor's middle.
fn with_number(file: &[u8], number: f32) -> Vec<(String, Vec<u8>)> {
    let length = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + length]).expect("a header");
    let tensors = header.as_object().expect("an object").iter();
    let each = tensors.filter_map(|(key, about)| {
        let number = bytes_of(number, about["dtype"].as_str()?)?;
        let range = about["data_offsets"].as_array()?;
        let [start, end] = [0, 1].map(|at| range[at].as_u64().expect("an offset") as usize);
        let items = (end - start) / number.len();
        let at = 8 + length + start + items / 2 * number.len();
        let mut file = file.to_vec();
        file[at..at + number.len()].copy_from_slice(&number);
        (items > 0).then(|| (key.clone(), file))
    });
    each.collect()
}

fn refusal(files: &AdapterFiles, session: &Session) -> Option<Error> {
    adapters::load(files, &session.model).err()
}

#[test]
fn every_tensor_of_every_method_is_looked_at() {
    let sessions = ["base", "base_untied"].map(|base| (base, tiny(base)));
    for case in cases() {
        let Some((_, session)) = sessions.iter().find(|(base, _)| *base == case.base) else {
            continue;
        };
        let files = case.files();
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut damaged = Vec::new();
            for (key, weights) in with_number(&files.weights, number) {
                let files = files.clone();
                damaged.push((key, AdapterFiles { weights, ..files }));
            }
            for (key, bases) in files
                .bases
                .iter()
                .flat_map(|file| with_number(file, number))
            {
                let (files, bases) = (files.clone(), Some(bases));
                damaged.push((key, AdapterFiles { bases, ..files }));
            }
            for (at, expert) in files.experts.iter().enumerate() {
                for (key, weights) in with_number(&expert.weights, number) {
                    let mut files = files.clone();
                    files.experts[at].weights = weights;
                    damaged.push((key, files));
                }
            }
            for (key, files) in damaged {
                let ln_0 = key.contains("vblora_logits") && !key.contains("_topk_");
                if ln_0 && number == f32::NEG_INFINITY {
                    continue;
                }
                let error = refusal(&files, session);
                let error = error.unwrap_or_else(|| panic!("{}: {number} in {key}", case.name));
                assert_eq!(error.code(), "not-finite", "{}: {error}", case.name);
                assert!(error.to_string().contains(&key), "{}: {error}", case.name);
                assert!(adapters::inspect(&files).is_err() || !files.experts.is_empty());
            }
        }
    }
}

/// A vector bank's logit of −∞ is how a share of 0 is written, and says what a very small one does.
#[test]
fn a_share_of_nothing_may_be_written_as_its_logarithm() {
    let session = tiny("base");
    let files = adapter_files(&golden_dir().join("vblora"));
    let at = |number| {
        let loaded = with_number(&files.weights, number)
            .into_iter()
            .filter(|(key, _)| key.contains("vblora_logits"));
        let each = loaded.map(|(_, weights)| {
            let files = files.clone();
            let adapter = adapters::load(&AdapterFiles { weights, ..files }, &session.model);
            let mut stack = Stack::default();
            let id = stack.add(adapter.expect("loads"));
            stack.set_coefficient(id, 1.0).expect("finite");
            logits(&session, &PROMPT, &stack.steering())
        });
        each.collect::<Vec<_>>()
    };
    assert_eq!(at(f32::NEG_INFINITY), at(-1e30));
}

#[test]
fn what_does_not_fit_into_f32_is_not_finite() {
    let session = tiny("base");
    let files = adapter_files(&golden_dir().join("control_vector"));
    let with = |number: f64| {
        let numbers: Vec<u8> = (0..48).flat_map(|_| number.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F64, vec![48], &numbers).expect("a tensor");
        let weights = serialize([("direction.1", view)], None).expect("a file");
        AdapterFiles {
            name: "wide".into(),
            config: files.config.clone(),
            weights,
            ..AdapterFiles::default()
        }
    };
    assert_eq!(refusal(&with(1e30), &session), None, "f32 holds it");
    let error = refusal(&with(1e300), &session).expect("f32 does not");
    let words = error.to_string();
    assert!(
        words.contains("1e300") && words.contains("direction.1"),
        "{words}"
    );
}

#[test]
fn numbers_of_a_config_are_finite_in_f32() {
    let session = tiny("base");
    let files = adapter_files(&golden_dir().join("lora"));
    let with = |field: &str, value: Value| {
        let config = files.config.as_ref().expect("a config");
        let mut config: Value = serde_json::from_slice(config).expect("JSON");
        config[field] = value;
        AdapterFiles {
            config: Some(config.to_string().into_bytes()),
            ..files.clone()
        }
    };
    for (field, value) in [
        ("lora_alpha", json!(1e300)),
        ("lora_alpha", json!(-1e39)),
        ("alpha_pattern", json!({ "q_proj": 1e300 })),
        ("r", json!(1e300)),
    ] {
        let error = refusal(&with(field, value), &session).expect("refused");
        assert_eq!(error.code(), "bad-config", "{error}");
        assert!(error.to_string().contains(field), "{error}");
    }
}

#[test]
fn a_gguf_is_looked_at_too() {
    for (base, case) in [("base", "lora"), ("base_untied", "control_vector")] {
        let session = tiny(base);
        let mut bytes = exported(&session, case, 1.0).expect("exports");
        // The data ends with padding to 32 bytes, which begins behind its last number.
        let at = bytes.len() - 32;
        bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        let error = refusal(&gguf_files(bytes), &session).expect("refused");
        assert_eq!(error.code(), "not-finite", "{error}");
        assert!(error.to_string().contains(".gguf"), "{error}");
    }
    for alpha in [f32::NAN, f32::INFINITY] {
        let session = tiny("base");
        let bytes = exported(&session, "lora", 1.0).expect("exports");
        let (_, tensors) = gguf::read_all("lora", &bytes).expect("reads");
        let text = |key: &str, value: &str| (key.into(), gguf::Value::String(value.into()));
        let metadata = [
            text("general.architecture", "llama"),
            text("general.type", "adapter"),
            text("adapter.type", "lora"),
            ("adapter.lora.alpha".into(), gguf::Value::F32(alpha)),
        ];
        let tensors: Vec<_> = tensors.into_iter().collect();
        let bytes = gguf::write(&metadata, &tensors).expect("writes");
        let error = refusal(&gguf_files(bytes), &session).expect("refused");
        assert_eq!(error.code(), "not-finite", "{error}");
    }
}

// ---- streams -------------------------------------------------------------------------------------

fn with_adapter(session: Session, case: &str) -> Session {
    let files = adapter_files(&golden_dir().join(case));
    let adapter = adapters::load(&files, &session.model).expect("loads");
    session.stack.borrow_mut().add(adapter);
    session
}

fn request(compare: bool) -> Request {
    Request {
        ids: Some(PROMPT.to_vec()),
        max_tokens: 12,
        compare,
        ..Request::default()
    }
}

fn turn(session: &Session, c: f32) {
    let mut stack = session.stack.borrow_mut();
    stack.set_coefficient(1, c).expect("finite");
}

/// A stream under a coefficient that is turned too far at a token.
fn diverges(session: &Session, far: f32, at: usize, request: Request) {
    let what = format!("{request:?} turned to {far} at {at}");
    turn(session, 0.0);
    let mut generation = session.generate(request).expect("starts");
    for index in 0..at {
        let step = block_on(generation.next()).expect("c is 0");
        let Some(Step::Token { steered, .. }) = step else {
            panic!("{what}: no token {index}")
        };
        assert!(steered.expect("speaks").probability > 0.0, "{what}");
    }
    turn(session, far);
    // The next token may have been computed already, but not be told.
    let error = block_on(generation.next()).expect_err(&what);
    let adapter = session.stack.borrow().entries()[0].adapter.name.clone();
    let expected = Error::Diverged {
        token: at,
        coefficients: format!("{adapter} at {far:?}"),
    };
    assert_eq!(error, expected, "{what}");
    turn(session, 0.0);
    let again = block_on(generation.next()).expect_err(&what);
    assert_eq!(again, expected, "{what}: it is over");
    // Another stream of the same session is none the worse.
    let mut fresh = session.generate(self::request(false)).expect("starts");
    assert!(block_on(fresh.next()).is_ok(), "{what}: afterwards");
}

fn every_stream_diverges(device: &Device, weights: Weights) {
    for case in [
        "lora",
        "control_vector",
        "control_vector_normalize",
        "ia3",
        "xlora",
    ] {
        let golden = cases().into_iter().find(|golden| golden.name == case);
        let base = golden.expect("a golden case").base;
        let session = with_adapter(tiny_on(&base, device, weights), case);
        for far in [3e38, -3e38] {
            for at in [0, 3] {
                for compare in [false, true] {
                    diverges(&session, far, at, request(compare));
                }
            }
        }
        let hot = Sampling {
            temperature: 0.7,
            top_p: 0.9,
            repetition_penalty: 1.3,
            ..Sampling::default()
        };
        let asked = Request {
            sampling: hot,
            top: 4,
            cache: CachePolicy::Recompute,
            ..request(true)
        };
        diverges(&session, 3e38, 2, asked);
        // More than a GPU lists: it reads all logits.
        let asked = Request {
            top: 40,
            ..request(true)
        };
        diverges(&session, 3e38, 2, asked);
    }
}

#[test]
fn a_stream_that_diverges_ends_with_coefficient_and_token() {
    every_stream_diverges(&device::cpu(), Weights::Dense);
}

#[test]
fn a_stream_over_quantised_weights_does_so_too() {
    every_stream_diverges(&device::cpu(), Weights::Quantised);
}

#[test]
fn a_stream_on_a_gpu_does_so_too() {
    let gpu = block_on(device::gpu()).expect("no GPU, not even a software one");
    every_stream_diverges(&gpu, Weights::Dense);
}

/// What was read under a coefficient stays in the cache, and is named when nothing acts any more.
#[test]
fn what_filled_the_cache_is_named() {
    let session = with_adapter(tiny("base"), "lora");
    let long = Request {
        ids: Some((0..150).map(|at| at % 90).collect()),
        ..request(false)
    };
    let mut generation = session.generate(long).expect("starts");
    turn(&session, 3e38);
    let step = block_on(generation.next()).expect("a piece of the prompt");
    assert!(matches!(step, Some(Step::Prefill { .. })));
    turn(&session, 0.0);
    let error = block_on(generation.next()).expect_err("the cache holds no numbers");
    assert!(error.to_string().contains("lora at 3e38"), "{error}");
}

/// A base whose own numbers overflow: finite weights, and nobody else to blame.
#[test]
fn a_base_that_diverges_blames_no_adapter() {
    let dir = golden_dir().join("base");
    let config = std::fs::read(dir.join("config.json")).expect("config.json");
    let mut bytes = std::fs::read(dir.join("model.safetensors")).expect("model.safetensors");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
    let range = &header["model.embed_tokens.weight"]["data_offsets"];
    let [start, end] = [0, 1].map(|at| 8 + length + range[at].as_u64().expect("one") as usize);
    for number in bytes[start..end].chunks_exact_mut(4) {
        number.copy_from_slice(&1e30_f32.to_le_bytes());
    }
    let gpu = block_on(device::gpu()).expect("no GPU, not even a software one");
    for (device, weights) in [
        (device::cpu(), Weights::Dense),
        (device::cpu(), Weights::Quantised),
        (gpu, Weights::Dense),
    ] {
        let file = vec![Bytes {
            name: "model.safetensors".into(),
            bytes: bytes.clone(),
        }];
        let session = block_on(async {
            let file = ModelFile::open_folder(&config, file, None).await?;
            Session::load(&file, None, &device, weights, |_| {}).await
        });
        let session = session.expect("loads");
        let mut generation = session.generate(request(true)).expect("starts");
        let error = block_on(generation.next()).expect_err("no number is left");
        let expected = Error::Diverged {
            token: 0,
            coefficients: "no adapter".into(),
        };
        assert_eq!(error, expected);
    }
}

/// However far a coefficient is turned, what overflows inside must not come out as numbers: a norm
/// that divides by infinity would give zeros, and all logits alike.
#[test]
fn nothing_swallows_an_infinity() {
    let mut sessions: BTreeMap<String, Session> = BTreeMap::new();
    for case in cases() {
        let base = case.base.clone();
        let session = sessions.entry(base).or_insert_with_key(|base| tiny(base));
        let adapter = adapters::load(&case.files(), &session.model).expect("loads");
        let laws: Vec<_> = adapter.laws.iter().map(|offer| offer.law).collect();
        let mut stack = Stack::default();
        stack.add(adapter);
        for law in laws {
            stack.set_coefficient(1, 0.0).expect("0");
            stack.set_law(1, law).expect("offered");
            for c in [1e10, 1e18, 1e20, 1e25, 1e30, 3e38, -1e20, -3e38] {
                if stack.set_coefficient(1, c).is_err() {
                    continue;
                }
                let found = logits(session, &PROMPT[..2], &stack.steering());
                let vocab = session.model.config().vocab_size;
                for row in found.chunks(vocab) {
                    let finite = row.iter().all(|x| x.is_finite());
                    let alike = row.iter().all(|x| *x == row[0]);
                    assert!(!(finite && alike), "{} under {law:?} at {c}", case.name);
                }
            }
        }
    }
}

// ---- export --------------------------------------------------------------------------------------

fn exported(session: &Session, case: &str, c: f32) -> Result<Vec<u8>, Error> {
    exported_files(session, &adapter_files(&golden_dir().join(case)), c).map(|(bytes, _)| bytes)
}

/// The file, and the logits that it should give.
fn exported_files(
    session: &Session,
    files: &AdapterFiles,
    c: f32,
) -> Result<(Vec<u8>, Vec<f32>), Error> {
    let mut stack = Stack::default();
    let id = stack.add(adapters::load(files, &session.model)?);
    stack.set_coefficient(id, c)?;
    let bytes = block_on(Export::new(&stack.entries()[0]).gguf(&session.model))?;
    Ok((bytes, logits(session, &PROMPT, &stack.steering())))
}

fn gguf_files(weights: Vec<u8>) -> AdapterFiles {
    AdapterFiles {
        name: "exported".into(),
        weights,
        ..AdapterFiles::default()
    }
}

fn at_one(session: &Session, files: &AdapterFiles) -> Vec<f32> {
    let mut stack = Stack::default();
    let id = stack.add(adapters::load(files, &session.model).expect("loads"));
    stack.set_coefficient(id, 1.0).expect("finite");
    logits(session, &PROMPT, &stack.steering())
}

/// A GGUF LoRA as llama.cpp reads it, in PEFT's form: `scale = alpha ? alpha / rank : 1` for each pair,
/// where rank is the pair's own, in B. Every module gets α = r, so that nothing scales B but this.
fn as_llama_cpp_reads(bytes: &[u8], head_dim: usize) -> AdapterFiles {
    let (metadata, tensors) = gguf::read_all("exported", bytes).expect("reads");
    let alpha = match metadata.entries.get("adapter.lora.alpha") {
        Some(gguf::Value::F32(alpha)) => *alpha,
        other => panic!("llama.cpp reads an f32 here: {other:?}"),
    };
    let (mut ranks, mut out) = (serde_json::Map::new(), Vec::new());
    for (name, HostTensor { shape, data }) in tensors {
        let HostData::Float(mut values) = data else {
            panic!("integers")
        };
        let (module, part) = name.split_once(".weight.").expect("a pair");
        let path = module
            .replace("blk.", "model.layers.")
            .replace("attn_output", "self_attn.o_proj")
            .replace("attn_q", "self_attn.q_proj")
            .replace("attn_k", "self_attn.k_proj")
            .replace("attn_v", "self_attn.v_proj")
            .replace("ffn_gate", "mlp.gate_proj")
            .replace("ffn_up", "mlp.up_proj")
            .replace("ffn_down", "mlp.down_proj")
            .replace("token_embd", "model.embed_tokens");
        let path = if path == "output" {
            "lm_head".into()
        } else {
            path
        };
        let embedding = path == "model.embed_tokens";
        let (rows, columns) = (shape[0], shape[1]);
        if part == "lora_b" {
            let rank = columns as f32;
            let scale = if alpha == 0.0 { 1.0 } else { alpha / rank };
            for x in &mut values {
                *x *= scale;
            }
            if path.ends_with("q_proj") || path.ends_with("k_proj") {
                // llama.cpp puts the pairs of a rotation beside each other, Hugging Face half a head
                // apart.
                let old = values.clone();
                for row in 0..rows {
                    let (head, at) = (row / head_dim, row % head_dim);
                    let from = head * head_dim + 2 * (at % (head_dim / 2)) + at / (head_dim / 2);
                    let (to, from) = (row * columns, from * columns);
                    values[to..to + columns].copy_from_slice(&old[from..from + columns]);
                }
            }
            ranks.insert(path.clone(), columns.into());
        }
        let (mut shape, mut parameter) = (
            shape.clone(),
            match part {
                "lora_a" => "lora_A.weight",
                _ => "lora_B.weight",
            },
        );
        if embedding {
            parameter = if part == "lora_a" {
                "lora_embedding_A"
            } else {
                "lora_embedding_B"
            };
            if part == "lora_a" {
                let column = |at| (0..rows).map(move |row| row * columns + at);
                values = (0..columns).flat_map(column).map(|at| values[at]).collect();
                shape.reverse();
            }
        }
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        out.push((format!("base_model.model.{path}.{parameter}"), shape, bytes));
    }
    let views = out.iter().map(|(key, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        (key, view.expect("a tensor"))
    });
    let config = json!({
        "peft_type": "LORA", "r": 1, "lora_alpha": 1,
        "rank_pattern": ranks, "alpha_pattern": ranks,
    });
    AdapterFiles {
        name: "as llama.cpp reads it".into(),
        config: Some(config.to_string().into_bytes()),
        weights: serialize(views, None).expect("a file"),
        ..AdapterFiles::default()
    }
}

#[test]
fn an_export_is_read_alike_by_llama_cpp_and_by_us() {
    let patterns = |alphas: Value| {
        let files = adapter_files(&golden_dir().join("lora_rslora_patterns"));
        let config = files.config.as_ref().expect("a config");
        let mut config: Value = serde_json::from_slice(config).expect("JSON");
        for (field, value) in alphas.as_object().expect("fields") {
            config[field] = value.clone();
        }
        AdapterFiles {
            config: Some(config.to_string().into_bytes()),
            ..files
        }
    };
    let golden = |case: &str| adapter_files(&golden_dir().join(case));
    let inputs = [
        ("base", golden("lora")),
        ("base", golden("lora_bf16")),
        ("base", golden("lora_embedding")),
        ("base", golden("vera")),
        ("base", golden("adalora")),
        ("base_untied", golden("lora_untied")),
        ("base_untied", golden("lora_embedding_head")),
        ("base_untied", golden("delora_patterns")),
        ("base", golden("lora_rslora_patterns")),
        ("base", patterns(json!({ "lora_alpha": 0 }))),
        (
            "base",
            patterns(json!({ "lora_alpha": 0, "alpha_pattern": {} })),
        ),
        (
            "base",
            patterns(json!({ "alpha_pattern": { "layers.0.self_attn.q_proj": 0 } })),
        ),
        (
            "base",
            patterns(json!({ "alpha_pattern": { "layers.0.*": 0 } })),
        ),
        (
            "base",
            patterns(json!({ "alpha_pattern": { "layers.0.*": -7, "q_proj": 1e-30 } })),
        ),
    ];
    for (base, files) in inputs {
        let session = tiny(base);
        for c in [1.0, -0.7, 0.0, 1e-30, 1e-44, 3.0] {
            let what = format!("{} at {c}: {:?}", files.name, files.config);
            let (bytes, expected) = exported_files(&session, &files, c).expect(&what);
            let theirs = as_llama_cpp_reads(&bytes, session.model.config().head_dim);
            for files in [theirs, gguf_files(bytes)] {
                let found = at_one(&session, &files);
                let apart = worst(&found, &expected);
                assert!(apart < 1e-5, "{what}: {apart:.1e} apart, {}", files.name);
            }
        }
    }
}

#[test]
fn an_exported_vector_is_the_vector_at_its_coefficient() {
    let session = tiny("base_untied");
    let files = adapter_files(&golden_dir().join("control_vector"));
    for c in [1.0, -0.7, 0.0, 1e-44] {
        let (bytes, expected) = exported_files(&session, &files, c).expect("exports");
        let found = at_one(&session, &gguf_files(bytes));
        assert!(worst(&found, &expected) < 1e-5, "{c}");
    }
}

#[test]
fn an_export_without_numbers_is_refused() {
    for (base, case) in [
        ("base", "lora"),
        ("base", "vera"),
        ("base_untied", "control_vector"),
    ] {
        let error = exported(&tiny(base), case, 3e38).map(|_| ());
        let error = error.expect_err("too far");
        assert_eq!(error.code(), "unsupported-option", "{case}: {error}");
        assert!(error.to_string().contains("infinite"), "{case}: {error}");
    }
}
