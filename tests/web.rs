//! The package in a browser's worker: what JavaScript gets to see, on the CPU and on WebGPU.
//! `wasm-pack test --headless --chrome` runs it with a software GPU (`webdriver.json`); in a browser
//! without WebGPU or relaxed SIMD the tests of these say so and end.
#![cfg(target_arch = "wasm32")]
#![allow(
    unreachable_pub,
    reason = "nothing is outside of a test: `pub` is for its other modules"
)]
#![allow(
    clippy::unwrap_used,
    reason = "what JavaScript throws says itself what went wrong"
)]

#[path = "checks/kernels.rs"]
mod kernels;
#[path = "checks/quantised.rs"]
mod quantised;

use std::collections::BTreeMap;

use js_sys::{Array, Function, Object, Promise, Reflect, Symbol, Uint8Array};
use steering_playground::arch::QkNorm;
use steering_playground::device;
use steering_playground::kernels::{Asked, Cut};
use steering_playground::web::{Playground, relaxed};
use steering_playground::weights::quant::Kind;
use steering_playground::weights::{HostData, HostTensor, safetensors};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const CONFIG: &[u8] = include_bytes!("golden/base_untied/config.json");
const WEIGHTS: &[u8] = include_bytes!("golden/base_untied/model.safetensors");
/// A Gemma, whose gates are GELU by the hyperbolic tangent, and a LoRA for it.
const GEMMA: [&[u8]; 2] = [
    include_bytes!("golden/families/gemma3/config.json"),
    include_bytes!("golden/families/gemma3/model.safetensors"),
];
const GEMMA_LORA: [&[u8]; 2] = [
    include_bytes!("golden/families/adapters/gemma3/lora/adapter_config.json"),
    include_bytes!("golden/families/adapters/gemma3/lora/adapter_model.safetensors"),
];
const VECTOR: &[u8] = include_bytes!("golden/control_vector/control_vector.gguf");
const EXPECTED: &[u8] = include_bytes!("golden/control_vector/expect.safetensors");
const VOCAB: usize = 64;

type Outcome = Result<JsValue, JsValue>;

// ---- JavaScript, from the outside ------------------------------------------------------------------

fn get(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap()
}

fn number(object: &JsValue, name: &str) -> f64 {
    get(object, name)
        .as_f64()
        .unwrap_or_else(|| panic!("`{name}` is no number"))
}

fn text(object: &JsValue, name: &str) -> String {
    get(object, name)
        .as_string()
        .unwrap_or_else(|| panic!("`{name}` is no text"))
}

/// Calls a method and waits for its promise, if it gives one.
async fn call(object: &JsValue, name: &str, arguments: &[JsValue]) -> Outcome {
    let method: Function = get(object, name).dyn_into().unwrap();
    let arguments: Array = arguments.iter().cloned().collect();
    let value = method.apply(object, &arguments)?;
    match value.dyn_into::<Promise>() {
        Ok(promise) => JsFuture::from(promise).await,
        Err(value) => Ok(value),
    }
}

fn json(text: &str) -> JsValue {
    js_sys::JSON::parse(text).unwrap()
}

fn keys(object: &JsValue) -> Vec<String> {
    let mut keys: Vec<String> = Object::keys(object.unchecked_ref::<Object>())
        .iter()
        .filter_map(|key| key.as_string())
        .collect();
    keys.sort();
    keys
}

async fn create(options: &str) -> Outcome {
    JsFuture::from(Playground::create(json(options))).await
}

fn file(name: &str, bytes: &[u8]) -> JsValue {
    let class: Function = get(&js_sys::global(), "File").dyn_into().unwrap();
    let parts = Array::of1(&Uint8Array::from(bytes));
    Reflect::construct(&class, &Array::of2(&parts, &name.into())).unwrap()
}

const WEBGPU: &str = r#"{"device":"webgpu","allowSoftwareGpu":true}"#;

/// A playground on WebGPU, `None` where the browser has none.
async fn with_webgpu() -> Option<JsValue> {
    let created = create(WEBGPU).await;
    created
        .map_err(|error| left_out(&text(&error, "message")))
        .ok()
}

/// Says that the rest of a test is left out. Chromium can do all that we need.
fn left_out(why: &str) {
    let agent = text(&get(&js_sys::global(), "navigator"), "userAgent");
    assert!(!agent.contains("Chrome"), "{why}");
    console_log!("LEFT OUT: {why}");
}

async fn with_model(options: &str) -> JsValue {
    with_folder(options, [CONFIG, WEIGHTS]).await
}

async fn with_folder(options: &str, [config, weights]: [&[u8]; 2]) -> JsValue {
    let playground = create(options).await.unwrap();
    let files = Array::of2(
        &file("config.json", config),
        &file("model.safetensors", weights),
    );
    let info = call(&playground, "loadModelFolder", &[files.into()])
        .await
        .unwrap();
    assert_eq!(
        get(&info, "cached"),
        JsValue::FALSE,
        "a file of the user is not kept"
    );
    assert_eq!(
        get(&info, "hasTokenizer"),
        JsValue::FALSE,
        "the folder has no tokenizer"
    );
    playground
}

async fn with_vector(playground: &JsValue) -> f64 {
    with_adapter(playground, &[("weights", VECTOR)]).await
}

async fn with_adapter(playground: &JsValue, given: &[(&str, &[u8])]) -> f64 {
    let files = Object::new();
    Reflect::set(&files, &"name".into(), &"adapter".into()).unwrap();
    for (name, bytes) in given {
        Reflect::set(&files, &(*name).into(), &Uint8Array::from(*bytes)).unwrap();
    }
    let entry = call(playground, "loadAdapter", &[files.into()])
        .await
        .unwrap();
    assert_eq!(
        number(&entry, "coefficient"),
        0.0,
        "an adapter starts as the base model"
    );
    number(&entry, "id")
}

/// Every step of a request.
async fn steps(playground: &JsValue, request: &JsValue) -> Result<Vec<JsValue>, JsValue> {
    let stream = call(playground, "generate", std::slice::from_ref(request)).await?;
    assert!(
        Reflect::has(&stream, &Symbol::async_iterator()).unwrap(),
        "generate must give something for `for await`"
    );
    let mut steps = Vec::new();
    loop {
        let item = call(&stream, "next", &[]).await?;
        if get(&item, "done").is_truthy() {
            return Ok(steps);
        }
        steps.push(get(&item, "value"));
    }
}

fn assert_code(outcome: Outcome, code: &str) {
    let error = outcome.expect_err(code);
    assert!(
        error.is_instance_of::<js_sys::Error>(),
        "{code}: must be an Error"
    );
    assert_eq!(text(&error, "name"), "PlaygroundError", "{code}");
    assert_eq!(text(&error, "code"), code, "{}", text(&error, "message"));
    assert!(
        text(&error, "message").len() > 6,
        "{code}: the message must be a sentence"
    );
}

// ---- what must be true -------------------------------------------------------------------------------

#[wasm_bindgen_test]
async fn the_cpu_is_described_in_words() {
    let playground = create(r#"{"device":"cpu"}"#).await.unwrap();
    let device = get(&playground, "device");
    assert_eq!(
        keys(&device),
        ["features", "kind", "limits", "name", "software", "why"]
    );
    assert_eq!(text(&device, "kind"), "cpu");
    assert_eq!(text(&device, "why"), "the CPU was asked for");
}

#[wasm_bindgen_test]
async fn a_software_gpu_is_not_taken_unasked() {
    let playground = create("{}").await.unwrap();
    let device = get(&playground, "device");
    let why = text(&device, "why");
    console_log!("auto: {} because {why}", text(&device, "kind"));
    assert_ne!(why, "", "the choice must have a reason");
    assert_eq!(
        get(&device, "software"),
        JsValue::FALSE,
        "software only when allowed: {why}"
    );
    if text(&device, "kind") == "cpu" {
        assert_code(create(r#"{"device":"webgpu"}"#).await, "device-unavailable");
    }
}

#[wasm_bindgen_test]
async fn wrong_options_are_refused_by_name() {
    assert_code(create(r#"{"device":"abacus"}"#).await, "bad-option");
    let playground = with_model(r#"{"device":"cpu"}"#).await;
    let wrong = [
        (r#"{"ids":[1],"maxTokens":-1}"#, "bad-option"),
        (r#"{"ids":[1],"cache":"forget"}"#, "bad-option"),
        (r#"{"ids":[1],"sampling":{"temperature":-1}}"#, "bad-option"),
        (r#"{"ids":[]}"#, "empty-prompt"),
        ("{}", "no-tokenizer"),
        (r#"{"prompt":"Hello"}"#, "no-tokenizer"),
    ];
    for (request, code) in wrong {
        console_log!("{request}");
        assert_code(
            steps(&playground, &json(request))
                .await
                .map(|_| JsValue::NULL),
            code,
        );
    }
}

#[wasm_bindgen_test]
async fn errors_carry_stable_codes() {
    let playground = create(r#"{"device":"cpu"}"#).await.unwrap();
    assert_code(call(&playground, "adapters", &[]).await, "no-model");
    let bad = file("model.gguf", b"this is no model at all, it is a sentence");
    assert_code(call(&playground, "loadModel", &[bad]).await, "wrong-magic");
    let short = file("model.gguf", b"GGUF\x03\0\0\0");
    assert_code(call(&playground, "loadModel", &[short]).await, "truncated");
    assert_code(
        call(&playground, "loadModel", &[7.into()]).await,
        "bad-option",
    );
    let nowhere = "http://localhost:1/nowhere.gguf";
    assert_code(
        call(&playground, "loadModel", &[nowhere.into()]).await,
        "network",
    );

    let playground = with_model(r#"{"device":"cpu"}"#).await;
    let id = with_vector(&playground).await;
    for c in [f64::NAN, f64::INFINITY, 1e300] {
        let outcome = call(&playground, "setCoefficient", &[id.into(), c.into()]).await;
        assert_code(outcome, "bad-coefficient");
    }
    let outcome = call(&playground, "setCoefficient", &[999.into(), 1.into()]).await;
    assert_code(outcome, "no-such-adapter");
    let adapter = json(r#"{"name":"x","config":"{\"peft_type\":\"NOPE\"}"}"#);
    assert_code(
        call(&playground, "loadAdapter", std::slice::from_ref(&adapter)).await,
        "bad-option",
    );
    Reflect::set(&adapter, &"weights".into(), &Uint8Array::from(VECTOR)).unwrap();
    assert_code(
        call(&playground, "loadAdapter", &[adapter]).await,
        "unknown-method",
    );
}

#[wasm_bindgen_test]
async fn of_files_that_are_chosen_together_only_the_model_s_count() {
    let playground = create(r#"{"device":"cpu"}"#).await.unwrap();
    let load = async |files: &[(&str, &[u8])]| {
        let files: Array = files
            .iter()
            .map(|(name, bytes)| file(name, bytes))
            .collect();
        call(&playground, "loadModelFolder", &[files.into()]).await
    };
    let stray: (&str, &[u8]) = ("consolidated.safetensors", b"nothing of the kind");
    let config = ("config.json", CONFIG);
    assert!(
        load(&[config, stray, ("model.safetensors", WEIGHTS)])
            .await
            .is_ok()
    );
    let index = br#"{"weight_map":{"a":"model-00001-of-00001.safetensors"}}"#;
    let indexed: [(&str, &[u8]); 4] = [
        ("model-00001-of-00001.safetensors", WEIGHTS),
        stray,
        ("model.safetensors.index.json", index),
        config,
    ];
    assert!(load(&indexed).await.is_ok());
    assert!(load(&[config, ("mine.safetensors", WEIGHTS)]).await.is_ok());
    assert_code(load(&[config, stray]).await, "wrong-magic");
    assert_code(load(&[("model.safetensors", WEIGHTS)]).await, "missing-key");
    let vector = ("control_vector.gguf", VECTOR);
    assert_code(load(&[vector]).await, "unsupported-model");
}

#[wasm_bindgen_test]
async fn a_step_has_the_shape_of_its_type() {
    let playground = with_model(r#"{"device":"cpu"}"#).await;
    let id = with_vector(&playground).await;
    call(&playground, "setCoefficient", &[id.into(), 0.5.into()])
        .await
        .unwrap();
    let request = json(r#"{"ids":[1,2,3],"maxTokens":3,"compare":true,"top":2}"#);
    let steps = steps(&playground, &request).await.unwrap();
    assert_eq!(steps.len(), 3, "one step a token");
    let step = &steps[0];
    let expected = [
        "base",
        "cache",
        "coefficients",
        "index",
        "kind",
        "klNats",
        "steered",
        "top",
    ];
    assert_eq!(keys(step), expected);
    assert_eq!(text(step, "kind"), "token");
    assert_eq!(text(step, "cache"), "current");
    assert_eq!(
        keys(&get(step, "base")),
        ["finish", "id", "probability", "text"]
    );
    assert_eq!(get(&get(step, "base"), "finish"), JsValue::NULL);
    assert!(
        number(step, "klNats") > 0.0,
        "a turned adapter is some way from the base"
    );
    let pair = Array::from(&Array::from(&get(step, "coefficients")).get(0));
    assert_eq!(
        (pair.get(0).as_f64(), pair.get(1).as_f64()),
        (Some(id), Some(0.5))
    );
    let top = Array::from(&get(step, "top")).get(0);
    assert_eq!(
        keys(&top),
        ["base", "differenceNats", "id", "steered", "text"]
    );
    assert_eq!(text(&get(&steps[2], "base"), "finish"), "length");
}

#[wasm_bindgen_test]
async fn an_aborted_stream_says_so_and_leaves_the_model_usable() {
    let playground = with_model(r#"{"device":"cpu"}"#).await;
    let class: Function = get(&js_sys::global(), "AbortController")
        .dyn_into()
        .unwrap();
    let control = Reflect::construct(&class, &Array::new()).unwrap();
    let request = json(r#"{"ids":[1,2,3],"maxTokens":20}"#);
    Reflect::set(&request, &"signal".into(), &get(&control, "signal")).unwrap();
    let stream = call(&playground, "generate", std::slice::from_ref(&request))
        .await
        .unwrap();
    call(&stream, "next", &[]).await.unwrap();
    call(&control, "abort", &[]).await.unwrap();
    assert_code(call(&stream, "next", &[]).await, "aborted");
    assert_code(call(&playground, "generate", &[request]).await, "aborted");
    let fresh = json(r#"{"ids":[1,2,3],"maxTokens":2}"#);
    assert_eq!(
        steps(&playground, &fresh).await.unwrap().len(),
        2,
        "it must still run"
    );
}

#[wasm_bindgen_test]
async fn methods_and_memory_are_reported() {
    let playground = with_model(r#"{"device":"cpu"}"#).await;
    let methods = Array::from(&call(&playground, "methods", &[]).await.unwrap());
    assert!(methods.length() >= 9, "every method has its card");
    for method in methods.iter() {
        for field in [
            "name",
            "title",
            "paper",
            "formula",
            "law",
            "lawWords",
            "hypothesis",
            "intuition",
            "shapes",
        ] {
            assert_ne!(
                text(&method, field),
                "",
                "{field} of {}",
                text(&method, "name")
            );
        }
    }
    let memory = call(&playground, "memory", &[]).await.unwrap();
    assert!(number(&memory, "wasmHeapPeakBytes") >= number(&memory, "wasmHeapBytes"));
    assert!(
        number(&memory, "wasmHeapBytes") > 1e6,
        "a heap of some size"
    );
}

/// The module's memory never shrinks: what is refused must not have been in it.
#[wasm_bindgen_test]
async fn a_vast_adapter_that_is_refused_is_not_read() {
    let playground = with_model(r#"{"device":"cpu"}"#).await;
    let heap = async || {
        let memory = call(&playground, "memory", &[]).await.unwrap();
        number(&memory, "wasmHeapBytes")
    };
    let before = heap().await;
    let vast = Uint8Array::new_with_length(200 << 20);
    vast.set(&Uint8Array::from(&b"a text, and a long one"[..]), 0);
    let files =
        json(r#"{"name":"mine","config":"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8}"}"#);
    Reflect::set(&files, &"weights".into(), &vast).unwrap();
    for name in ["inspectAdapter", "loadAdapter"] {
        let outcome = call(&playground, name, std::slice::from_ref(&files)).await;
        assert_code(outcome, "wrong-magic");
    }
    let json = br#"{"base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight":{"dtype":"F32","shape":[4,13107200],"data_offsets":[0,209715200]}}"#;
    let head = [&(json.len() as u64).to_le_bytes()[..], json].concat();
    let parts = Array::of2(&Uint8Array::from(&head[..]), &vast);
    let class: Function = get(&js_sys::global(), "Blob").dyn_into().unwrap();
    let blob = Reflect::construct(&class, &Array::of1(&parts)).unwrap();
    Reflect::set(&files, &"weights".into(), &blob).unwrap();
    let inspection = call(&playground, "inspectAdapter", std::slice::from_ref(&files)).await;
    assert_eq!(
        number(&inspection.unwrap(), "parameters"),
        f64::from(200 << 18)
    );
    let outcome = call(&playground, "loadAdapter", &[files]).await;
    assert_code(outcome, "no-such-module");
    let grown = heap().await - before;
    assert!(grown < 16e6, "the heap grew by {grown} bytes");
}

// ---- numbers ------------------------------------------------------------------------------------------

fn probabilities(expected: &BTreeMap<String, HostTensor>, key: &str) -> Vec<f64> {
    let HostData::Float(logits) = &expected[key].data else {
        panic!("{key} has no floats")
    };
    let last = &logits[logits.len() - VOCAB..];
    let most = last.iter().copied().fold(f32::MIN, f32::max);
    let raised: Vec<f64> = last
        .iter()
        .map(|logit| f64::from(logit - most).exp())
        .collect();
    let sum: f64 = raised.iter().sum();
    raised.iter().map(|value| value / sum).collect()
}

/// Both streams' whole distributions after the golden prompt, against the reference.
async fn equals_the_reference(options: &str, tolerance: f64) {
    let expected = safetensors::read_all("expect", EXPECTED).unwrap();
    let HostData::Int(ids) = &expected["input_ids"].data else {
        panic!("ids are integers")
    };
    let playground = with_model(options).await;
    let id = with_vector(&playground).await;
    let request = format!(r#"{{"ids":{ids:?},"maxTokens":1,"compare":true,"top":{VOCAB}}}"#);
    for (c, key) in [
        (1.0, "logits"),
        (-1.0, "logits_c_-1"),
        (0.5, "logits_c_0.5"),
        (0.0, "base_logits"),
    ] {
        call(&playground, "setCoefficient", &[id.into(), c.into()])
            .await
            .unwrap();
        let steps = steps(&playground, &json(&request)).await.unwrap();
        let steered = probabilities(&expected, key);
        let base = probabilities(&expected, "base_logits");
        let top = Array::from(&get(&steps[0], "top"));
        assert_eq!(
            top.length() as usize,
            VOCAB,
            "the whole vocabulary was asked for"
        );
        for row in top.iter() {
            let token = number(&row, "id") as usize;
            let close = |name: &str, wanted: f64| {
                let found = number(&row, name);
                assert!(
                    (found - wanted).abs() < tolerance,
                    "c = {c}, {name}, token {token}: {found} instead of {wanted}"
                );
            };
            close("steered", steered[token]);
            close("base", base[token]);
        }
    }
}

#[wasm_bindgen_test]
async fn the_cpu_equals_the_reference() {
    // The page's default rounds keys and values.
    equals_the_reference(r#"{"device":"cpu"}"#, 5e-4).await;
    equals_the_reference(r#"{"device":"cpu","exact":true}"#, 1e-4).await;
}

/// As the browser multiplies, without relaxed SIMD and with it.
#[wasm_bindgen_test]
async fn products_equal_plain_integers_bit_for_bit() {
    quantised::products_equal_plain_integers_bit_for_bit(None);
    let relaxed = relaxed::load().await;
    if relaxed.is_none() {
        return left_out("no relaxed SIMD");
    }
    quantised::products_equal_plain_integers_bit_for_bit(relaxed);
}

#[wasm_bindgen_test]
async fn webgpu_equals_the_reference() {
    let Some(playground) = with_webgpu().await else {
        return;
    };
    equals_the_reference(WEBGPU, 1e-2).await;
    let memory = call(&playground, "memory", &[]).await.unwrap();
    assert!(
        number(&memory, "gpuPeakBytes") > WEIGHTS.len() as f64,
        "the weights were there"
    );
}

/// What a far too large coefficient gives is finite on the processor, and so it is on a GPU, whose own hyperbolic
/// tangent may be a quotient of infinities there.
#[wasm_bindgen_test]
async fn far_from_0_webgpu_says_what_the_processor_says() {
    if with_webgpu().await.is_none() {
        return;
    }
    let mut found = Vec::new();
    for options in [r#"{"device":"cpu","exact":true}"#, WEBGPU] {
        let playground = with_folder(options, GEMMA).await;
        let [config, weights] = GEMMA_LORA;
        let id = with_adapter(&playground, &[("config", config), ("weights", weights)]).await;
        call(&playground, "setCoefficient", &[id.into(), 300.0.into()])
            .await
            .unwrap();
        let request = r#"{"ids":[3,40,77,114,151],"maxTokens":1,"top":160}"#;
        let steps = steps(&playground, &json(request)).await.unwrap();
        let top = Array::from(&get(&steps[0], "top"));
        let mut rows: Vec<(usize, f64)> = top
            .iter()
            .map(|row| (number(&row, "id") as usize, number(&row, "steered")))
            .collect();
        rows.sort_by_key(|(id, _)| *id);
        assert_eq!(rows.len(), 160);
        found.push(rows);
    }
    for (cpu, gpu) in found[0].iter().zip(&found[1]) {
        assert!((cpu.1 - gpu.1).abs() < 1e-2, "{cpu:?} and {gpu:?}");
    }
}

/// The checks that run natively too, through the browser's own compiler of shaders.
#[wasm_bindgen_test]
async fn kernels_equal_the_host() {
    if with_webgpu().await.is_none() {
        return;
    }
    let device = device::gpu().await.unwrap();
    kernels::probes(&device).await;
    for t in [1, 2, 7, 23] {
        kernels::norm(&device, t, 97).await;
        for kind in [Kind::Q4_1, Kind::Q8_0] {
            let cuts = kernels::software_cuts();
            kernels::linear(&device, &[kind], (200, 576, t, 64..192), &cuts).await;
        }
    }
    // Rows that no buffer can be bound from.
    kernels::linear(
        &device,
        &[Kind::Q4_1],
        (50, 32, 5, 0..50),
        &kernels::software_cuts(),
    )
    .await;
    // Codes of five and six bits, factors of 16 numbers, and floats of two bytes.
    for kinds in [&[Kind::Q5_0][..], &[Kind::Q4_K, Kind::Q6_K], &[Kind::BF16]] {
        let cuts = kernels::software_cuts();
        kernels::linear(&device, kinds, (40, 256, 3, 7..39), &cuts).await;
        kernels::pulled_back(&device, kinds, ([40, 256], 7..39), &[3], &cuts).await;
    }
    // The layout for hardware too: its barriers are what browsers' compilers are strict about.
    let both = [Cut::SOFTWARE, Cut::HARDWARE];
    for kind in [Kind::Q4_1, Kind::Q8_0, Kind::F32] {
        let rows = ([200, 96], 64..151);
        kernels::pulled_back(&device, &[kind], rows, &[1, 37], &both).await;
    }
    let head = ([9001, 32], 0..9001);
    kernels::pulled_back(&device, &[Kind::Q8_0], head, &[3], &both).await;
    let mut cuts = kernels::software_cuts();
    cuts.push(Cut::HARDWARE);
    kernels::linear(
        &device,
        &[Kind::Q4_1],
        (200, 576, 9, 64..192),
        &[Cut::HARDWARE],
    )
    .await;
    for place in [(0, 1), (0, 17), (16, 2), (2047, 1), (2031, 17)] {
        kernels::attention(&device, [9, 3, 64], place, kernels::PLAIN, &cuts).await;
    }
    // What other families ask for.
    for (norm, window, place) in [
        (QkNorm::Head, 5, (16, 2)),
        (QkNorm::Whole, 300, (600, 2)),
        (QkNorm::Head, 5, (0, 17)),
    ] {
        let how = kernels::Attention {
            norm: Some(norm),
            rotates: norm == QkNorm::Head,
            window: Some(window),
            cap: Some(0.5),
        };
        kernels::attention(&device, [6, 2, 8], place, how, &cuts).await;
    }
    for cut in cuts {
        kernels::biases(&device, Kind::Q4_1, 2, cut).await;
        kernels::biases(&device, Kind::F32, 17, cut).await;
        kernels::head_norm_overflows(&device, cut).await;
        kernels::riders(&device, 2, [8, 4], Some(1), cut).await;
        kernels::riders(&device, 20, [8, 5], None, cut).await;
    }
    for at_once in [1, Asked::HARDWARE_AT_ONCE] {
        kernels::choose(&device, 1000, at_once).await;
    }
    kernels::choose_diverges(&device, 1000).await;
    kernels::norm_overflows(&device).await;
}
