//! Recordings: `steer record`, and the one that comes with the page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::rc::Rc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use steering_playground::adapters::{self};
use steering_playground::hooks::{Mask, Steering, Tokens};
use steering_playground::model::Weights;
use steering_playground::sample::Sampling;
use steering_playground::session::{CachePolicy, Request, Session, Step};
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

/// The model of such a folder, which has no adapters yet.
fn session(dir: &Path) -> Session {
    let tokenizer = (
        "tokenizer.json",
        fs::read(dir.join("tokenizer.json")).expect("read"),
    );
    Session {
        text: Text::from_files(&[tokenizer].into()).expect("a tokenizer"),
        ..tiny_with("base", Weights::Quantised)
    }
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

fn place(value: &Value) -> usize {
    value.as_u64().expect("a place") as usize
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

    let session = session(&dir);
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

/// Held to some blocks, and turned in the middle of the text with either policy.
#[test]
fn where_and_when_an_adapter_acts_is_recorded() {
    let dir = fixture("when");
    let model = dir.join("model.safetensors");
    let mut plan = plan();
    let adapter = plan["adapters"][0].clone();
    let more = |fields: &[(&str, Value)]| {
        let mut one = adapter.clone();
        for (key, value) in fields {
            one[*key] = value.clone();
        }
        one
    };
    plan["adapters"] = json!([
        more(&[("layers", json!("1"))]),
        more(&[("from", json!(5)), ("cache", json!("keep"))]),
        more(&[("from", json!(5)), ("cache", json!("recompute"))]),
    ]);
    plan["prompts"] = json!(["A1!"]);
    plan["coefficients"] = json!([1.5]);
    let output = record(&dir, &model, &plan);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    let recording = json_file(dir.join("out.json"));
    assert_eq!(recording["adapters"][0]["layers"], json!("1"));
    assert_eq!(recording["adapters"][0].get("from"), None);
    assert_eq!(recording["adapters"][1]["from"], json!(5));
    assert_eq!(recording["adapters"][1]["cache"], json!("keep"));

    let session = session(&dir);
    let adapter = adapters::load(&adapter_files(&golden_dir().join("lora")), &session.model);
    let id = session.stack.borrow_mut().add(adapter.expect("loads"));
    let request = |cache| Request {
        prompt: Some("A1!".into()),
        max_tokens: 12,
        sampling: serde_json::from_value(plan["sampling"].clone()).expect("all"),
        compare: true,
        top: 3,
        cache,
        ..Request::default()
    };
    let set = |c| session.stack.borrow_mut().set_coefficient(id, c);
    let mask = |layers| {
        let mask = Mask::parse(layers, "").expect("layers");
        session.stack.borrow_mut().set_mask(id, mask).expect("fits");
    };
    let runs = recording["runs"].as_array().expect("runs");
    mask("1");
    set(1.5).expect("finite");
    let one = expected(&session, request(CachePolicy::Keep));
    assert_eq!(heard(&recording, &runs[0]), one);
    mask("");
    let mut texts = Vec::new();
    for (run, cache) in [
        (&runs[1], CachePolicy::Keep),
        (&runs[2], CachePolicy::Recompute),
    ] {
        set(0.0).expect("finite");
        let mut generation = session.generate(request(cache)).expect("starts");
        let (mut ids, mut count) = (Vec::new(), 0);
        while let Some(step) = pollster::block_on(generation.next()).expect("steps") {
            let Step::Token { steered, .. } = step else {
                continue;
            };
            ids.extend(steered.map(|step| json!([step.id, step.text])));
            count += 1;
            if count == 5 {
                set(1.5).expect("finite");
            }
        }
        let recorded = tokens(&recording, &run["steered"]["tokens"]);
        let (recorded, ids) = (json!(recorded), Value::Array(ids));
        assert_eq!(recorded, ids, "{cache:?}");
        let base = tokens(&recording, &recording["prompts"][0]["base"]["tokens"]);
        assert_eq!(
            recorded.as_array().expect("a list")[..5],
            json!(base).as_array().expect("a list")[..5]
        );
        texts.push(run["kl"].clone());
    }
    assert_ne!(texts[0], texts[1], "the policies differ");
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
            "/adapters/0/from",
            json!(3),
            ["`adapters[0].from` is without a `cache`", "[bad-config]"],
        ),
        (
            "/adapters/0/layers",
            json!("9"),
            ["`layers`", "[bad-option]"],
        ),
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

fn json_file(path: impl AsRef<Path>) -> Value {
    let path = path.as_ref();
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Plans, and where what is made of them is committed: the page's, and those of its lessons.
fn committed() -> Vec<(PathBuf, PathBuf)> {
    let page = (
        PathBuf::from("xtask/recording.json"),
        PathBuf::from("www/recorded/smollm2-135m.json"),
    );
    let plans = fs::read_dir("xtask/recordings").expect("the plans of lessons");
    let lessons = plans.map(|entry| {
        let name = entry.expect("a plan").file_name();
        let recorded = Path::new("www/lessons/recorded").join(&name);
        (Path::new("xtask/recordings").join(name), recorded)
    });
    let mut all: Vec<_> = std::iter::once(page).chain(lessons).collect();
    all.sort();
    assert!(all.len() > 3, "{all:?}");
    all
}

/// The folder of a plan's adapter.
fn planned(plan: &Path, adapter: &Value) -> PathBuf {
    let path = adapter["path"].as_str().expect("a path");
    plan.parent().expect("a folder").join(path)
}

/// Whoever changes a plan or an adapter is told to record anew.
#[test]
fn the_committed_recordings_are_of_the_plans_and_the_adapters() {
    for (from, to) in committed() {
        let name = from.display();
        let (recording, plan) = (json_file(&to), json_file(&from));
        let numbers = |value: &Value| -> Vec<Option<f64>> {
            let list = value.as_array().expect("a list");
            list.iter().map(Value::as_f64).collect()
        };
        for key in ["chat", "maxTokens", "klAfterSplit"] {
            assert_eq!(recording[key], plan[key], "{name}: {key}");
        }
        let coefficients = numbers(&plan["coefficients"]);
        assert_eq!(numbers(&recording["coefficients"]), coefficients, "{name}");
        for (key, value) in plan["sampling"].as_object().expect("an object") {
            let recorded = recording["sampling"][key].as_f64();
            assert_eq!(recorded, value.as_f64(), "{name}: {key}");
        }
        let list = |value: &Value, key: &str| -> Vec<Value> {
            let each = value.as_array().expect("a list").iter();
            each.map(|one| one[key].clone()).collect()
        };
        let prompts = Value::Array(list(&recording["prompts"], "text"));
        assert_eq!(prompts, plan["prompts"], "{name}");
        for key in ["title", "layers", "from", "cache"] {
            let (recorded, planned) = (&recording["adapters"], &plan["adapters"]);
            assert_eq!(list(recorded, key), list(planned, key), "{name}: {key}");
        }
        let adapters = plan["adapters"].as_array().expect("a list");
        for (adapter, recorded) in adapters.iter().zip(list(&recording["adapters"], "sha256")) {
            let weights = planned(&from, adapter).join("adapter_model.safetensors");
            let sha256 = format!("{:x}", Sha256::digest(fs::read(weights).expect("weights")));
            assert_eq!(recorded, json!(sha256), "{name}: {}", adapter["path"]);
        }
        let runs = recording["runs"].as_array().expect("runs");
        let each = prompts.as_array().expect("a list").len();
        assert_eq!(runs.len(), each * adapters.len() * coefficients.len());
    }
}

/// How far another processor's rounding may move what is recorded.
const LOGIT: f32 = 0.1;
const PROBABILITY: f64 = 0.02;
const KL: f64 = 0.02;

/// The engine still says what the committed recordings say. A stream that is sampled again would differ
/// from the first near tie on. So each recorded text is read instead, and every token judged behind
/// the recorded ones: it must be what is chosen once its own logit is raised by [`LOGIT`], its
/// probability must be within [`PROBABILITY`], and the KL within [`KL`] nats and 5 % of what is recorded.
/// Rounding is far smaller than these.
#[test]
fn the_engine_says_what_the_committed_recordings_say() {
    if lacks_model() {
        return;
    }
    let (mut furthest, mut failures) = ([0.0_f64; 2], Vec::new());
    for (plan, recording) in committed() {
        let session = smollm2_with(Weights::Quantised);
        let judge = Judge::new(&session, &plan, &recording);
        // Of all prompts, adapters and coefficients in turn a tenth, to take a tenth of the time: those of
        // a lesson are fewer, and take turns themselves.
        let runs = judge.recording["runs"].as_array().expect("runs");
        for run in runs.iter().skip(1).step_by(10).chain(runs.last()) {
            judge.run(run, &mut furthest, &mut failures);
        }
    }
    println!("furthest: p {}, KL {} nats", furthest[0], furthest[1]);
    let mend = "if the engine was meant to change, `cargo xtask record` records it anew";
    assert!(failures.is_empty(), "{mend}\n{}", failures.join("\n"));
}

/// Reads again what was recorded.
struct Judge<'a> {
    session: &'a Session,
    recording: Value,
    sampling: Sampling,
    /// The adapters in the engine.
    ids: Vec<u32>,
    name: String,
}

impl<'a> Judge<'a> {
    fn new(session: &'a Session, plan: &Path, recording: &Path) -> Self {
        let name = recording.display().to_string();
        let (recording, whole) = (json_file(recording), json_file(plan));
        let adapters = whole["adapters"].as_array().expect("adapters").iter();
        let ids = adapters.map(|adapter| {
            let files = adapter_files(&planned(plan, adapter));
            let adapter = adapters::load(&files, &session.model).expect("loads");
            session.stack.borrow_mut().add(adapter)
        });
        Self {
            session,
            sampling: serde_json::from_value(recording["sampling"].clone()).expect("sampling"),
            ids: ids.collect(),
            recording,
            name,
        }
    }

    /// The steering of a run, with what is kept of a cache: while an adapter is turned in the middle of a text, a
    /// token that the cache holds was read without it.
    fn steering(&self, run: &Value, start: usize) -> Rc<Steering> {
        let at = place(&run["adapter"]);
        let adapter = &self.recording["adapters"][at];
        let layers = adapter["layers"].as_str().unwrap_or_default();
        let kept = (adapter["cache"] == json!("keep")).then(|| place(&adapter["from"]));
        let mask = Mask {
            // The newest token is in no cache yet.
            positions: kept.map_or(Tokens::All, |from| Tokens::From(start + from - 1)),
            ..Mask::parse(layers, "").expect("layers")
        };
        let coefficient = run["coefficient"].as_f64().expect("a number");
        let mut stack = self.session.stack.borrow_mut();
        stack.set_mask(self.ids[at], mask).expect("a mask");
        stack
            .set_coefficient(self.ids[at], coefficient as f32)
            .expect("in its domain");
        let steering = stack.steering();
        stack.set_coefficient(self.ids[at], 0.0).expect("finite");
        steering
    }

    fn run(&self, run: &Value, furthest: &mut [f64; 2], failures: &mut Vec<String>) {
        let prompt = &self.recording["prompts"][place(&run["prompt"])];
        let request = Request {
            chat: Some(vec![Message {
                role: "user".into(),
                content: prompt["text"].as_str().expect("a text").into(),
            }]),
            ..Request::default()
        };
        let start = self.session.prompt_ids(&request).expect("a prompt");
        let steering = self.steering(run, start.len());
        // What was written before an adapter was turned is the base's.
        let from = &self.recording["adapters"][place(&run["adapter"])]["from"];
        let from = from.as_u64().map_or(0, |from| from as usize);
        let which = format!("{}: {} {}", self.name, prompt["text"], run["coefficient"]);

        let rows = |said: &[u32], steering: &Steering| -> Vec<Vec<f32>> {
            let all = logits(self.session, &[&start[..], said].concat(), steering);
            let rows = all.chunks(self.session.model.config().vocab_size);
            // The row behind the prompt is that of the first token.
            rows.skip(start.len() - 1).map(<[f32]>::to_vec).collect()
        };
        let mut judge = |lane: &Value, steering: &Steering, from: usize| {
            let said: Vec<u32> = tokens(&self.recording, &lane["tokens"])
                .iter()
                .map(|token| token[0].as_u64().expect("an id") as u32)
                .collect();
            let mut all = rows(&said, steering);
            if from > 0 {
                let before = rows(&said, &Steering::base());
                all.splice(..from, before.into_iter().take(from));
            }
            for (at, (&id, row)) in said.iter().zip(&all).enumerate() {
                let recorded = lane["probability"][at].as_f64().expect("a number") / 1e3;
                let off = (log_softmax(row)[id as usize].exp() - recorded).abs();
                furthest[0] = furthest[0].max(off);
                let mut raised = row.clone();
                raised[id as usize] += LOGIT;
                let before = [&start[..], &said[..at]].concat();
                let chosen = self.sampling.choose(&raised, at, &before);
                if chosen != id || off > PROBABILITY {
                    failures.push(format!(
                        "{which}: token {at} is {chosen}, was {id}; p {off} off"
                    ));
                }
            }
            (said, all)
        };
        judge(&prompt["base"], &Steering::base(), 0);
        let (said, steered) = judge(&run["steered"], &steering, from);
        let base = rows(&said, &Steering::base());
        for (at, recorded) in run["kl"].as_array().expect("a list").iter().enumerate() {
            let Some(recorded) = recorded.as_f64() else {
                continue;
            };
            let now = kl_nats(&log_softmax(&steered[at]), &log_softmax(&base[at]));
            let off = (now - recorded / 1e3).abs();
            furthest[1] = furthest[1].max(off);
            if off > KL + 0.05 * now {
                failures.push(format!(
                    "{which}: KL {at} is {now} nats, was {recorded} thousandths"
                ));
            }
        }
    }
}
