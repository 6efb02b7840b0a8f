//! Recordings: `steer record`, and the one that comes with the page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use steering_playground::adapters::{self};
use steering_playground::hooks::Steering;
use steering_playground::model::Weights;
use steering_playground::sample::Sampling;
use steering_playground::session::{Request, Session, Step};
use steering_playground::text::{Message, Text};

use crate::common::{adapter_files, golden_dir, lacks_model, logits, smollm2_with, tiny_with};
use crate::session::{kl_nats, log_softmax};

/// A folder with a model of 96 tokens whose tokenizer writes letters with the first of them.
fn fixture(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("steer-record-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a folder");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(golden_dir().join("base").join(name), dir.join(name)).expect("a copy");
    }
    let tokenizer = "tests/fixtures/tiny_tokenizer.json";
    fs::copy(tokenizer, dir.join("tokenizer.json")).expect("a copy");
    dir
}

fn plan() -> Value {
    let adapter = |case: &str| {
        let path = fs::canonicalize(golden_dir().join(case)).expect("a case");
        json!({ "path": path, "title": format!("The {case}") })
    };
    json!({
        "model": "tiny", "prompts": ["A1!", "(B)"], "chat": false,
        "adapters": [adapter("lora"), adapter("ia3")],
        "coefficients": [-1.5, 0, 1], "maxTokens": 12, "top": 3, "klAfterSplit": true,
        "sampling": {
            "temperature": 0.8, "topK": 0, "topP": 0.95, "minP": 0, "repetitionPenalty": 1.1,
            "seed": 5,
        },
    })
}

fn record(dir: &Path, model: &Path, plan: &Value) -> Output {
    fs::write(dir.join("plan.json"), plan.to_string()).expect("a plan");
    let mut command = Command::new(env!("CARGO_BIN_EXE_steer"));
    command.arg("record").arg("--model").arg(model);
    command.arg("--plan").arg(dir.join("plan.json"));
    command.arg("--out").arg(dir.join("out.json"));
    command.output().expect("the program starts")
}

/// Places in a list of tokens, as the tokens.
fn tokens<'a>(recording: &'a Value, places: &Value) -> Vec<&'a Value> {
    let places = places.as_array().expect("places").iter();
    let token = |place: &Value| &recording["tokens"][place.as_u64().expect("a place") as usize];
    places.map(token).collect()
}

/// What a session says, written as a recording has it.
fn expected(session: &Session, request: Request) -> Value {
    let thousandths = |value: f64| (value * 1e3).round() as u64;
    let mut generation = session.generate(request).expect("starts");
    let (mut steered, mut own) = (json!([[], [], null]), json!([[], [], null]));
    let (mut kl, mut top) = (Vec::new(), Vec::new());
    while let Some(step) = pollster::block_on(generation.next()).expect("steps") {
        let Step::Token {
            steered: said,
            base,
            kl_nats,
            top: candidates,
            ..
        } = step
        else {
            continue;
        };
        for (lane, step) in [(&mut steered, said), (&mut own, base)] {
            let Some(step) = step else { continue };
            let [ids, probability] = [0, 1].map(|at| lane[at].as_array().expect("a list").clone());
            let ids = [ids, vec![json!([step.id, step.text])]].concat();
            let probability = [probability, vec![thousandths(step.probability).into()]].concat();
            *lane = json!([ids, probability, step.finish]);
        }
        kl.push(kl_nats.map(thousandths));
        let one = candidates.into_iter().map(|one| {
            let base = one.base.map(thousandths);
            json!([[one.id, one.text], base, thousandths(one.steered)])
        });
        top.push(Value::Array(one.collect()));
    }
    json!({ "steered": steered, "base": own, "kl": kl, "top": top })
}

/// A run of a recording in the same words.
fn heard(recording: &Value, run: &Value) -> Value {
    let lane = |lane: &Value| {
        json!([
            tokens(recording, &lane["tokens"]),
            lane["probability"],
            lane["finish"]
        ])
    };
    let base = &recording["prompts"][run["prompt"].as_u64().expect("a place") as usize]["base"];
    let top = run["top"].as_array().expect("steps").iter().map(|step| {
        let each = step.as_array().expect("a list").chunks(3).map(|one| {
            let token = tokens(recording, &json!([one[0]]))[0];
            json!([token, one[1], one[2]])
        });
        Value::Array(each.collect())
    });
    json!({
        "steered": lane(&run["steered"]), "base": lane(base), "kl": run["kl"],
        "top": top.collect::<Vec<_>>(),
    })
}

#[test]
fn a_recording_is_what_the_library_says_and_always_the_same() {
    let dir = fixture("tiny");
    let model = dir.join("model.safetensors");
    let run = || {
        let output = record(&dir, &model, &plan());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
        fs::read(dir.join("out.json")).expect("the recording")
    };
    let bytes = run();
    assert_eq!(bytes, run(), "twice");
    let recording: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(recording["format"], "steering-recording");
    assert_eq!(recording["version"], 1);
    assert_eq!(recording["model"]["file"], "model.safetensors");
    assert_eq!(recording["adapters"][1]["name"], "ia3");

    let tokenizer = (
        "tokenizer.json",
        fs::read(dir.join("tokenizer.json")).expect("read"),
    );
    let session = Session {
        text: Text::from_files(&[tokenizer].into()).expect("a tokenizer"),
        ..tiny_with("base", Weights::Quantised)
    };
    let ids = ["lora", "ia3"].map(|case| {
        let adapter = adapters::load(&adapter_files(&golden_dir().join(case)), &session.model);
        session.stack.borrow_mut().add(adapter.expect("loads"))
    });
    let mut runs = recording["runs"].as_array().expect("runs").iter();
    for prompt in ["A1!", "(B)"] {
        for id in ids {
            for coefficient in [-1.5, 0.0, 1.0] {
                let set = |c| session.stack.borrow_mut().set_coefficient(id, c);
                set(coefficient).expect("finite");
                let request = Request {
                    prompt: Some(prompt.into()),
                    max_tokens: 12,
                    sampling: serde_json::from_value(plan()["sampling"].clone()).expect("all"),
                    compare: true,
                    top: 3,
                    ..Request::default()
                };
                let run = runs.next().expect("a run");
                let name = format!("{prompt} {id} {coefficient}");
                let (found, expected) = (heard(&recording, run), expected(&session, request));
                assert_eq!(found, expected, "{name}");
                assert_eq!(run["coefficient"], json!(coefficient), "{name}");
                set(0.0).expect("finite");
            }
        }
    }
    assert!(runs.next().is_none(), "no more runs");
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn bad_plans_are_refused_by_file_and_key() {
    let dir = fixture("bad");
    let model = dir.join("model.safetensors");
    let mut failures = Vec::new();
    for (pointer, value, parts) in [
        (
            "/prompts",
            json!([]),
            ["`prompts` is empty", "[bad-config]"],
        ),
        (
            "/adapters",
            json!([]),
            ["`adapters` is empty", "[bad-config]"],
        ),
        (
            "/coefficients",
            json!([]),
            ["`coefficients` is empty", "[bad-config]"],
        ),
        (
            "/coefficients",
            json!([1e39]),
            ["adapter lora", "[bad-coefficient]"],
        ),
        ("/maxTokens", json!(0), ["`maxTokens` is 0", "[bad-config]"]),
        (
            "/maxTokens",
            json!("many"),
            ["invalid type: string \"many\"", "[bad-config]"],
        ),
        ("/seed", json!(3), ["unknown field `seed`", "[bad-config]"]),
        (
            "/sampling",
            json!({ "seed": 3 }),
            ["missing field `temperature`", "[bad-config]"],
        ),
        (
            "/sampling/topP",
            json!(2),
            ["`topP` is 2, expected a number above 0", "[bad-option]"],
        ),
        (
            "/sampling/tpoP",
            json!(1),
            ["unknown field `tpoP`", "[bad-config]"],
        ),
        ("/adapters/0/path", json!("nowhere"), ["nowhere", "[io]"]),
        (
            "/prompts/1",
            json!(""),
            ["the prompt is empty", "[empty-prompt]"],
        ),
        (
            "/chat",
            json!(true),
            ["no chat template", "[no-chat-template]"],
        ),
    ] {
        let mut plan = plan();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = plan.pointer_mut(parent).expect("a place");
        match key.parse::<usize>() {
            Ok(at) => parent[at] = value.clone(),
            Err(_) => parent[key] = value.clone(),
        }
        let run = record(&dir, &model, &plan);
        let error = String::from_utf8_lossy(&run.stderr);
        if run.status.success() || parts.iter().any(|part| !error.contains(part)) {
            failures.push(format!("{pointer} {value}: {error}"));
        }
    }
    for (what, model, part) in [
        ("a folder", &dir, "expected one file, whose SHA-256"),
        (
            "no model",
            &dir.join("none.gguf"),
            "expected one file, whose SHA-256",
        ),
    ] {
        let error = record(&dir, model, &plan()).stderr;
        let error = String::from_utf8_lossy(&error);
        if !error.contains(part) {
            failures.push(format!("{what}: {error}"));
        }
    }
    assert!(!dir.join("out.json").exists(), "nothing is written");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    fs::remove_dir_all(dir).expect("removed");
}

fn json_file(path: &str) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_slice(&bytes).expect("JSON")
}

fn committed() -> Value {
    json_file("www/recorded/smollm2-135m.json")
}

/// An adapter that comes with the page.
fn shipped(name: &Value) -> PathBuf {
    Path::new("www/adapters").join(name.as_str().expect("a name"))
}

/// Whoever changes the plan or an adapter is told to record anew.
#[test]
fn the_committed_recording_is_of_the_plan_and_the_adapters() {
    let (recording, plan) = (committed(), json_file("xtask/recording.json"));
    let numbers = |value: &Value| -> Vec<Option<f64>> {
        let list = value.as_array().expect("a list");
        list.iter().map(Value::as_f64).collect()
    };
    for key in ["chat", "maxTokens", "klAfterSplit"] {
        assert_eq!(recording[key], plan[key], "{key}");
    }
    let coefficients = numbers(&plan["coefficients"]);
    assert_eq!(numbers(&recording["coefficients"]), coefficients);
    for (key, value) in plan["sampling"].as_object().expect("an object") {
        assert_eq!(recording["sampling"][key].as_f64(), value.as_f64(), "{key}");
    }
    let list = |value: &Value, key: &str| -> Vec<Value> {
        let each = value.as_array().expect("a list").iter();
        each.map(|one| one[key].clone()).collect()
    };
    assert_eq!(
        Value::Array(list(&recording["prompts"], "text")),
        plan["prompts"]
    );
    let adapters = recording["adapters"].as_array().expect("a list");
    assert_eq!(
        list(&recording["adapters"], "title"),
        list(&plan["adapters"], "title")
    );
    for adapter in adapters {
        let weights = shipped(&adapter["name"]).join("adapter_model.safetensors");
        let sha256 = format!("{:x}", Sha256::digest(fs::read(weights).expect("weights")));
        assert_eq!(adapter["sha256"], json!(sha256), "{}", adapter["name"]);
    }
    let runs = recording["runs"].as_array().expect("runs");
    let each = plan["prompts"].as_array().expect("a list").len();
    assert_eq!(runs.len(), each * adapters.len() * coefficients.len());
}

/// How far another processor's rounding may move what is recorded.
const LOGIT: f32 = 0.1;
const PROBABILITY: f64 = 0.02;
const KL: f64 = 0.02;

/// The engine still says what the committed recording says. A stream that is sampled again would differ
/// from the first near tie on. So each recorded text is read instead, and every token judged behind
/// the recorded ones: it must be what is chosen once its own logit is raised by [`LOGIT`], its
/// probability must be within [`PROBABILITY`], and the KL within [`KL`] nats and 5 % of what is recorded.
/// Rounding is far smaller than these.
#[test]
fn the_engine_says_what_the_committed_recording_says() {
    if lacks_model() {
        return;
    }
    let recording = committed();
    let session = smollm2_with(Weights::Quantised);
    let sampling: Sampling =
        serde_json::from_value(recording["sampling"].clone()).expect("sampling");
    let ids: Vec<u32> = recording["adapters"]
        .as_array()
        .expect("adapters")
        .iter()
        .map(|adapter| {
            let files = adapter_files(&shipped(&adapter["name"]));
            let adapter = adapters::load(&files, &session.model).expect("loads");
            session.stack.borrow_mut().add(adapter)
        })
        .collect();
    let place = |value: &Value| value.as_u64().expect("a place") as usize;
    let (mut furthest, mut failures) = ([0.0_f64; 2], Vec::new());
    // All prompts, adapters and coefficients in turn, at a tenth of the time.
    for run in recording["runs"]
        .as_array()
        .expect("runs")
        .iter()
        .step_by(10)
    {
        let prompt = &recording["prompts"][place(&run["prompt"])];
        let request = Request {
            chat: Some(vec![Message {
                role: "user".into(),
                content: prompt["text"].as_str().expect("a text").into(),
            }]),
            ..Request::default()
        };
        let start = session.prompt_ids(&request).expect("a prompt");
        let id = ids[place(&run["adapter"])];
        let coefficient = run["coefficient"].as_f64().expect("a number");
        let set = |c| session.stack.borrow_mut().set_coefficient(id, c);
        set(coefficient as f32).expect("in its domain");
        let steering = session.stack.borrow_mut().steering();
        set(0.0).expect("finite");

        let rows = |said: &[u32], steering: &Steering| -> Vec<Vec<f32>> {
            let all = logits(&session, &[&start[..], said].concat(), steering);
            let rows = all.chunks(session.model.config().vocab_size);
            // The row behind the prompt is that of the first token.
            rows.skip(start.len() - 1).map(<[f32]>::to_vec).collect()
        };
        let mut judge = |lane: &Value, steering: &Steering| {
            let said: Vec<u32> = tokens(&recording, &lane["tokens"])
                .iter()
                .map(|token| token[0].as_u64().expect("an id") as u32)
                .collect();
            let rows = rows(&said, steering);
            for (at, (&id, row)) in said.iter().zip(&rows).enumerate() {
                let recorded = lane["probability"][at].as_f64().expect("a number") / 1e3;
                let off = (log_softmax(row)[id as usize].exp() - recorded).abs();
                furthest[0] = furthest[0].max(off);
                let mut raised = row.clone();
                raised[id as usize] += LOGIT;
                let chosen = sampling.choose(&raised, at, &[&start[..], &said[..at]].concat());
                if chosen != id || off > PROBABILITY {
                    let which = format!("{} {coefficient}", prompt["text"]);
                    failures.push(format!(
                        "{which}: token {at} is {chosen}, was {id}; p {off} off"
                    ));
                }
            }
            (said, rows)
        };
        judge(&prompt["base"], &Steering::base());
        let (said, steered) = judge(&run["steered"], &steering);
        let base = rows(&said, &Steering::base());
        for (at, recorded) in run["kl"].as_array().expect("a list").iter().enumerate() {
            let Some(recorded) = recorded.as_f64() else {
                continue;
            };
            let now = kl_nats(&log_softmax(&steered[at]), &log_softmax(&base[at]));
            let off = (now - recorded / 1e3).abs();
            furthest[1] = furthest[1].max(off);
            if off > KL + 0.05 * now {
                let which = format!("{} {coefficient}", prompt["text"]);
                failures.push(format!(
                    "{which}: KL {at} is {now} nats, was {recorded} thousandths"
                ));
            }
        }
    }
    println!("furthest: p {}, KL {} nats", furthest[0], furthest[1]);
    let mend = "if the engine was meant to change, `cargo xtask record` records it anew";
    assert!(failures.is_empty(), "{mend}\n{}", failures.join("\n"));
}
