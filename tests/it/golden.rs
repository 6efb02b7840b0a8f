//! Every golden case: PEFT's own checkpoint, PEFT's own numbers (`tests/golden/make.py`).
//!
//! Tolerances: a layer's output within 1e-5 of its largest number, logits within 1e-4, c = 0
//! equal to the base bit for bit.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use steering_playground::adapters::{self, Stack};
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::device::read_back;
use steering_playground::hooks::{Law, Site, Steering};
use steering_playground::methods::METHODS;
use steering_playground::model::Positions;
use steering_playground::weights::{HostData, HostTensor, safetensors};

use crate::common::{adapter_files, golden_dir, logits, metadata, tiny};

const LOGITS: f32 = 1e-4;
const LAYER: f32 = 1e-5;

pub struct Case {
    pub name: String,
    dir: PathBuf,
    pub base: String,
    expect: BTreeMap<String, HostTensor>,
}

impl Case {
    pub fn floats(&self, key: &str) -> Option<&[f32]> {
        match &self.expect.get(key)?.data {
            HostData::Float(values) => Some(values),
            HostData::Int(_) => None,
        }
    }

    pub fn files(&self) -> AdapterFiles {
        adapter_files(&self.dir)
    }

    /// What numbers under another law than the default end in.
    fn end(&self, law: Law) -> String {
        let has = |end: &String| self.expect.keys().any(|key| key.ends_with(end));
        let own = format!(":{}", law.name());
        match law {
            // What the law was called when ROAD's files were made.
            Law::LogPolar if !has(&own) => ":geodesic".into(),
            _ => own,
        }
    }

    pub fn ids(&self) -> Vec<u32> {
        match &self.expect["input_ids"].data {
            HostData::Int(ids) => ids.iter().map(|&id| id as u32).collect(),
            HostData::Float(_) => panic!("{}: input_ids must be integers", self.name),
        }
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = fs::read_dir(golden_dir())
        .expect("tests/golden")
        .filter_map(|entry| {
            let dir = entry.ok()?.path();
            let bytes = fs::read(dir.join("expect.safetensors")).ok()?;
            let name = dir.file_name()?.to_string_lossy().into_owned();
            let base = metadata(&bytes)?["base"].as_str()?.to_owned();
            let expect = safetensors::read_all(&name, &bytes).expect("expect.safetensors");
            Some(Case {
                name,
                dir,
                base,
                expect,
            })
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(
        cases.len() > 20,
        "the golden cases are there: {}",
        cases.len()
    );
    cases
}

/// The families on which every method has a case: both have norms of heads, one has norms around.
pub const ALL_METHODS: [&str; 2] = ["qwen3", "gemma3"];

/// The cases of every method on these families, named `FAMILY/CASE`. Their numbers are tested in
/// `family_adapters`.
pub fn cases_of_families() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in ALL_METHODS {
        let folder = golden_dir().join("families/adapters").join(family);
        for entry in fs::read_dir(folder).expect("a folder") {
            let dir = entry.expect("an entry").path();
            let expected = fs::read(dir.join("expected.json")).expect("expected.json");
            let expected: serde_json::Value = serde_json::from_slice(&expected).expect("JSON");
            let tokens: Vec<i64> = serde_json::from_value(expected["tokens"].clone()).expect("ids");
            let ids = HostTensor {
                shape: vec![tokens.len()],
                data: HostData::Int(tokens),
            };
            let case = dir.file_name().expect("a name").to_string_lossy();
            cases.push(Case {
                name: format!("{family}/{case}"),
                base: format!("families/{family}"),
                expect: BTreeMap::from([("input_ids".into(), ids)]),
                dir,
            });
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

pub fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len(), "same number of numbers");
    found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |worst, d| {
            if d.is_nan() {
                f32::INFINITY
            } else {
                worst.max(d)
            }
        })
}

/// How far a method's numbers are from the reference: what its card on the page tells.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Reference {
    /// Golden cases.
    cases: usize,
    /// The worst output of a layer, as a share of its largest number; 0 where no case has one.
    layer: f32,
    /// The worst logit, as a share of the largest.
    logits: f32,
}

/// Of each method, in the folder of the page.
const REFERENCE: &str = "www/reference.json";

/// How much larger a difference may be than the file says: other processors add in another order.
const ROUNDING: f32 = 4.0;

/// `UPDATE=1 cargo test --release methods_equal_peft` writes the file; else it is compared.
fn told(found: &BTreeMap<&str, Reference>) {
    if std::env::var_os("UPDATE").is_some() {
        let rows = found.iter().map(|(name, row)| {
            let Reference { cases, layer, logits } = row;
            format!(
                "  \"{name}\": {{ \"cases\": {cases}, \"layer\": {layer:.1e}, \"logits\": {logits:.1e} }}"
            )
        });
        let rows: Vec<String> = rows.collect();
        fs::write(REFERENCE, format!("{{\n{}\n}}\n", rows.join(",\n"))).expect("writable");
        return;
    }
    let bytes = fs::read(REFERENCE).expect(REFERENCE);
    let told: BTreeMap<String, Reference> = serde_json::from_slice(&bytes).expect("JSON");
    let update = "run `UPDATE=1 cargo test --release methods_equal_peft`";
    assert!(
        told.keys().eq(found.keys()),
        "{REFERENCE} has other methods: {update}"
    );
    for (name, found) in found {
        let told = &told[*name];
        assert_eq!(
            told.cases, found.cases,
            "{name}: cases in {REFERENCE}: {update}"
        );
        let is_near = |found: f32, told: f32| found <= (told * ROUNDING).max(1e-6);
        let near = is_near(found.layer, told.layer) && is_near(found.logits, told.logits);
        assert!(near, "{name}: {found:?}, told {told:?}: {update}");
    }
}

/// Reports all failing cases, not only the first.
#[test]
fn methods_equal_peft() {
    let mut failures = Vec::new();
    let mut found: BTreeMap<&str, Reference> = BTreeMap::new();
    let mut methods_seen = Vec::new();
    for case in cases() {
        let session = tiny(&case.base);
        let ids = case.ids();
        let base = logits(&session, &ids, &Steering::base());
        let files = adapter_files(&case.dir);
        let adapter = match adapters::load(&files, &session.model) {
            Ok(adapter) => adapter,
            Err(error) => {
                failures.push(format!("{}: {error}", case.name));
                continue;
            }
        };
        methods_seen.push(adapter.method.name);
        let reference = found.entry(adapter.method.name).or_default();
        reference.cases += 1;
        let share = |far: &mut f32, found: &[f32], expected: &[f32]| {
            let largest = expected
                .iter()
                .fold(f32::MIN_POSITIVE, |max, x| max.max(x.abs()));
            *far = far.max(worst(found, expected) / largest);
        };
        let mut stack = Stack::default();
        let id = stack.add(adapter);
        let mut check = |what: &str, found: &[f32], expected: &[f32], tolerance: f32| {
            let worst = worst(found, expected);
            if worst > tolerance {
                failures.push(format!("{}: {what} differs by {worst:.1e}", case.name));
            }
        };
        check(
            "base",
            &base,
            case.floats("base_logits").expect("base_logits"),
            LOGITS,
        );
        check(
            "c = 0",
            &logits(&session, &ids, &stack.steering()),
            &base,
            0.0,
        );
        // Numbers of a second law carry the name of a family of laws behind the path.
        let laws: Vec<_> = stack.entries()[0]
            .adapter
            .laws
            .iter()
            .map(|o| o.law)
            .collect();
        let under = |at: usize, law| {
            if at == 0 {
                String::new()
            } else {
                case.end(law)
            }
        };
        let points = [(1.0, ""), (-1.0, "_c_-1"), (0.5, "_c_0.5")];
        let points = points
            .iter()
            .flat_map(|point| laws.iter().enumerate().map(move |law| (point, law)));
        for (&(c, key), (at, &law)) in points {
            let suffix = if key.is_empty() {
                String::new()
            } else {
                under(at, law)
            };
            stack.set_law(id, law).expect("offered");
            stack.set_coefficient(id, c).expect("in the domain");
            let steering = stack.steering();
            if let Some(expected) = case.floats(&format!("logits{key}{suffix}")) {
                let found = logits(&session, &ids, &steering);
                share(&mut reference.logits, &found, expected);
                check(
                    &format!("logits at {c} under {law:?}"),
                    &found,
                    expected,
                    LOGITS,
                );
            }
            for (name, tensor) in &case.expect {
                let Some(path) = name.strip_prefix("layer_input:") else {
                    continue;
                };
                let Some(expected) = case.floats(&format!("layer_output{key}:{path}{suffix}"))
                else {
                    continue;
                };
                let Some(Site::Linear(layer, projection)) = Site::parse(path) else {
                    panic!("{}: {path} is no linear layer", case.name);
                };
                let HostData::Float(input) = &tensor.data else {
                    panic!("float input")
                };
                let shape = [tensor.shape[0], tensor.shape[1]];
                let x = burn::tensor::TensorData::new(input.clone(), shape);
                let x = burn::tensor::Tensor::from_data(x, &session.model.device());
                let plan = steering.layer(layer).linear(projection);
                let y = session.model.linear(layer, projection).forward(x, plan);
                let y = pollster::block_on(read_back(y)).expect("read");
                let largest = expected.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
                share(&mut reference.layer, &y, expected);
                check(
                    &format!("{path} at {c} under {law:?}"),
                    &y,
                    expected,
                    LAYER * largest,
                );
            }
        }
        stack.set_coefficient(id, 0.0).expect("finite");
        let back = logits(&session, &ids, &stack.steering());
        if back != base {
            failures.push(format!("{}: back at c = 0 is not the base", case.name));
        }
    }
    let names = METHODS.iter().map(|method| method.name);
    let missing: Vec<_> = names.filter(|name| !methods_seen.contains(name)).collect();
    assert!(
        missing.is_empty(),
        "methods without a golden case: {missing:?}"
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    told(&found);
}

/// The cache must not change anything: one token at a time equals all at once.
#[test]
fn the_cache_changes_nothing() {
    for name in [
        "lora",
        "prefix",
        "prompt_tuning",
        "adaption_prompt",
        "hra_even",
    ] {
        let case = cases()
            .into_iter()
            .find(|case| case.name == name)
            .expect("case");
        let session = tiny(&case.base);
        let adapter = adapters::load(&adapter_files(&case.dir), &session.model).expect("loads");
        let mut stack = Stack::default();
        let id = stack.add(adapter);
        stack.set_coefficient(id, 0.7).expect("finite");
        let steering = stack.steering();
        let ids = case.ids();
        let whole = logits(&session, &ids, &steering);
        let mut cache = session.model.new_cache();
        let mut last = Vec::new();
        for id in &ids {
            let row = session
                .model
                .forward(&[*id], &mut cache, &steering, Positions::Last);
            let row = row.expect("runs").expect("logits");
            last = pollster::block_on(read_back(row)).expect("read");
        }
        let worst = worst(&last, &whole[whole.len() - last.len()..]);
        assert!(
            worst < LOGITS,
            "{name}: cached logits differ by {worst:.1e}"
        );
        assert_eq!(cache.len(), ids.len(), "cache length");
    }
}

/// A mixture switched on in the middle: its scout has to read what it missed.
#[test]
fn a_scout_catches_up() {
    let find = |case: &Case| case.name == "xlora";
    let case = cases().into_iter().find(find).expect("case");
    let session = tiny(&case.base);
    let adapter = adapters::load(&adapter_files(&case.dir), &session.model).expect("loads");
    let mut stack = Stack::default();
    let id = stack.add(adapter);
    let ids = case.ids();
    let (before, after) = ids.split_at(5);
    // Two ways to the same weights: the scout reads everything at once, or along the way.
    let mut run = |first: f32| {
        let mut cache = session.model.new_cache();
        stack.set_coefficient(id, first).expect("finite");
        let steering = stack.steering();
        let forward = |ids: &[u32], cache: &mut _, steering: &Steering| {
            let logits = session.model.forward(ids, cache, steering, Positions::Last);
            pollster::block_on(read_back(logits.expect("runs").expect("logits"))).expect("read")
        };
        forward(before, &mut cache, &steering);
        stack.set_coefficient(id, 1.0).expect("finite");
        forward(after, &mut cache, &stack.steering())
    };
    let (late, early) = (run(0.0), run(1e-9));
    let worst = worst(&late, &early);
    assert!(worst < LOGITS, "differs by {worst:.1e}");
}
