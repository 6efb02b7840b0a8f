//! Control vectors made of texts: against numpy, scikit-learn and repeng (`tests/golden/vectors.py`),
//! what is refused, files and sums.

use std::collections::BTreeMap;
use std::fs;

use pollster::block_on;
use serde::Deserialize;
use serde_json::{Value, json};
use steering_playground::adapters::{self, Stack};
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::error::Error;
use steering_playground::extract::{
    At, ControlVector, Extraction, Length, Method, Options, Pair, Pairs, Passage, Personas, Texts,
    control_vector, encoded,
};
use steering_playground::model::Weights;
use steering_playground::session::Session;
use steering_playground::text::Text;

use crate::common::{adapter_files, golden_dir, logits, tiny, tiny_quantised};
use crate::golden::worst;

/// `1 − cos` to the references, per block.
const TOLERANCE: f64 = 1e-4;

const BOTH: [(At, &str); 2] = [(At::Mean, "mean"), (At::Last, "last")];

/// What `vectors.py` wrote.
#[derive(Deserialize)]
struct Golden {
    base: String,
    pairs: Vec<(Vec<u32>, Vec<u32>)>,
    /// The block whose contrast was pulled back.
    target: usize,
    /// Mean lengths of the states, per block.
    lengths: BTreeMap<String, Vec<f64>>,
    /// Per block.
    directions: BTreeMap<String, Vec<Vec<f64>>>,
}

fn golden() -> Golden {
    let json = fs::read(golden_dir().join("vectors.json")).expect("vectors.json");
    serde_json::from_slice(&json).expect("JSON")
}

fn passage(ids: &[u32]) -> Passage {
    Passage {
        ids: ids.to_vec(),
        from: 1,
        words: format!("{ids:?}"),
    }
}

fn pairs_of(list: &[(Vec<u32>, Vec<u32>)]) -> Vec<Pair> {
    let pair = |(positive, negative): &(Vec<u32>, Vec<u32>)| Pair {
        positive: passage(positive),
        negative: passage(negative),
    };
    list.iter().map(pair).collect()
}

fn options(method: Method, at: At, layers: usize, length: Length) -> Options {
    Options {
        method,
        at,
        layers: 0..=layers - 1,
        length,
        target: None,
    }
}

fn extract(session: &Session, pairs: Vec<Pair>, options: Options) -> Result<ControlVector, Error> {
    block_on(control_vector(session, pairs, options, |_| {}))
}

fn length(v: &[f32]) -> f64 {
    v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

fn cosine(a: &[f32], b: &[f64]) -> f64 {
    let product: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum();
    product / length(a) / b.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn directions_equal_the_references() {
    let golden = golden();
    let session = tiny(&golden.base);
    let mut failures = Vec::new();
    let of_states = Method::ALL
        .into_iter()
        .filter(|method| *method != Method::Vjp);
    for method in of_states {
        for (at, place) in BOTH {
            let expected = &golden.directions[&format!("{}:{place}", method.name())];
            let made = |length| {
                let options = options(method, at, expected.len(), length);
                extract(&session, pairs_of(&golden.pairs), options).expect("extracts")
            };
            let (natural, share) = (made(Length::Natural), made(Length::Share(0.2)));
            for (layer, expected) in expected.iter().enumerate() {
                let (own, scaled) = (&natural.directions[&layer], &share.directions[&layer]);
                let apart = 1.0 - cosine(own, expected);
                if apart.is_nan() || apart > TOLERANCE {
                    failures.push(format!("{method:?} {place} block {layer}: {apart:.1e}"));
                }
                let theirs = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
                assert!(
                    (length(own) / theirs - 1.0).abs() < 1e-4,
                    "{method:?} {place} block {layer}: natural length {} for {theirs}",
                    length(own)
                );
                let wanted = 0.2 * golden.lengths[place][layer];
                assert!((length(scaled) / wanted - 1.0).abs() < 1e-4, "a share");
                assert!(cosine(scaled, expected) > 1.0 - TOLERANCE, "scaled only");
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_contrast_pulled_back_equals_autograd() {
    let golden = golden();
    let session = tiny(&golden.base);
    let expected = &golden.directions["vjp"];
    let with = |layers: usize, target| {
        let options = Options {
            target,
            ..options(Method::Vjp, At::Last, layers, Length::Natural)
        };
        extract(&session, pairs_of(&golden.pairs), options)
    };
    let vector = with(expected.len(), Some(golden.target)).expect("extracts");
    for (layer, expected) in expected.iter().enumerate() {
        let cosine = cosine(&vector.directions[&layer], expected);
        assert!(cosine > 1.0 - TOLERANCE, "block {layer}: {cosine}");
    }
    for (layers, target) in [(3, Some(2)), (2, Some(3)), (2, None)] {
        let words = with(layers, target).expect_err("refused").to_string();
        assert!(words.contains("target"), "{words}");
    }
    let options = options(Method::Vjp, At::Last, 1, Length::Natural);
    let options = Options {
        target: Some(2),
        ..options
    };
    let short = pairs_of(&[(vec![5, 6, 7], vec![5, 9])]);
    let words = extract(&session, short, options)
        .expect_err("refused")
        .to_string();
    assert!(words.contains("pair 1, negative"), "{words}");
}

/// Quantised weights on the host read what f32 reads, but for the rounding of activations.
#[test]
fn quantised_weights_give_the_same_directions() {
    let [dense, packed] = [Weights::Dense, Weights::Quantised].map(tiny_quantised);
    let pairs = pairs_of(&golden().pairs);
    for (method, at) in [(Method::Mean, At::Mean), (Method::PcaCenter, At::Last)] {
        let made = |session| {
            let options = options(method, at, 2, Length::default());
            extract(session, pairs.clone(), options).expect("extracts")
        };
        let (expected, found) = (made(&dense), made(&packed));
        for (layer, expected) in &expected.directions {
            let expected: Vec<f64> = expected.iter().map(|x| f64::from(*x)).collect();
            let cosine = cosine(&found.directions[layer], &expected);
            assert!(cosine > 0.999, "{method:?} block {layer}: {cosine}");
        }
    }
}

/// A tokenizer of single letters for a tiny model.
fn with_letters(base: &str) -> Session {
    let letters = ('a'..='z').chain(['Ġ']).zip(3..);
    let vocab: serde_json::Map<_, _> = letters
        .map(|(letter, id)| (letter.to_string(), Value::from(id)))
        .collect();
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [],
        "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    });
    let tokenizer = tokenizer.to_string();
    let text = Text::from_files(&[("tokenizer.json", tokenizer.as_bytes().to_vec())].into());
    Session {
        text: text.expect("a tokenizer"),
        ..tiny(base)
    }
}

fn texts(session: &Session, list: &[(&str, &str)]) -> Vec<Pair> {
    let (positive, negative) = list.iter().map(|(a, b)| ((*a).into(), (*b).into())).unzip();
    let texts = Texts::Pairs(Pairs { positive, negative });
    let pairs = texts.pairs(session.text.as_ref().expect("text"));
    encoded(session, &pairs.expect("pairs")).expect("encodes")
}

#[test]
fn what_gives_no_direction_is_refused_with_the_reason() {
    let session = with_letters("base");
    let good = ("good day", "bad day");
    let long = "a".repeat(300);
    let refused = |list: &[(&str, &str)], method, share: f32| {
        let options = options(method, At::Mean, 2, Length::Share(share));
        let error = extract(&session, texts(&session, list), options).expect_err("refused");
        assert_eq!(error.code(), "bad-option", "{error}");
        error.to_string()
    };
    for share in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, 0.0, -0.1] {
        let words = refused(&[good], Method::Mean, share);
        assert!(words.contains("share"), "{words}");
    }
    let swapped = [("ab", "cd"), ("cd", "ab")];
    for (list, method, expected) in [
        (
            vec![good, ("same", "same")],
            Method::Mean,
            "pair 2 twice \"same\"",
        ),
        (vec![good, ("a", "good")], Method::Mean, "pair 2, positive"),
        (vec![good, ("good", "b")], Method::Probe, "pair 2, negative"),
        (vec![("", "good"), good], Method::Mean, "pair 1, positive"),
        (
            vec![good, good, (&long, "good")],
            Method::Mean,
            "pair 3, positive",
        ),
        (swapped.to_vec(), Method::Mean, "cancel each other"),
        (swapped.to_vec(), Method::Probe, "nothing tells them apart"),
        (vec![good], Method::PcaDiff, "one pair has no variation"),
        (vec![good, good], Method::PcaDiff, "the same difference"),
    ] {
        let words = refused(&list, method, 0.1);
        assert!(words.contains(expected), "{expected}: {words}");
    }
    for (layers, pairs) in [(0..=2, vec![good]), (0..=1, vec![])] {
        let options = Options {
            layers,
            ..options(Method::Mean, At::Mean, 1, Length::default())
        };
        let refused = Extraction::new(&session, texts_or_none(&session, &pairs), options);
        assert_eq!(
            refused.map(|_| ()).expect_err("refused").code(),
            "bad-option"
        );
    }
}

fn texts_or_none(session: &Session, list: &[(&str, &str)]) -> Vec<Pair> {
    if list.is_empty() {
        Vec::new()
    } else {
        texts(session, list)
    }
}

/// One pair is enough for what does not look at variation.
#[test]
fn one_pair_is_enough_for_most() {
    let session = with_letters("base");
    for method in [Method::Mean, Method::PcaCenter, Method::Probe] {
        let options = options(method, At::Last, 2, Length::default());
        let vector = extract(&session, texts(&session, &[("good", "bad")]), options);
        assert!(vector.is_ok(), "{method:?}: {vector:?}");
    }
}

#[test]
fn an_extraction_reads_step_by_step() {
    let session = with_letters("base");
    let long = "abcdefghij ".repeat(12);
    let list: Vec<(String, String)> = (0..4)
        .map(|k| (long[k..].to_owned(), long[2 * k + 1..].to_owned()))
        .collect();
    let pairs = encoded(&session, &list).expect("encodes");
    let options = options(Method::Mean, At::Mean, 2, Length::default());
    let early = Extraction::new(&session, pairs.clone(), options.clone()).expect("starts");
    let words = early.finish().expect_err("nothing was read").to_string();
    assert!(words.contains("0 of 8 read"), "{words}");
    let mut extraction = Extraction::new(&session, pairs, options).expect("starts");
    let mut seen = vec![0];
    while block_on(extraction.step()).expect("reads") {
        seen.push(extraction.progress().texts);
    }
    assert!(seen.len() > 3 && seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&8), "all");
    assert!(extraction.finish().is_ok(), "made");
}

/// repeng's loop: each suffix cut after 1, 2, … tokens, and for each cut every pair of personas.
#[test]
fn suffixes_are_cut_at_every_token() {
    let session = with_letters("base");
    let text = session.text.as_ref().expect("text");
    let personas = Personas {
        template: "be {persona}: {suffix}".into(),
        positive: vec!["glad".into(), "merry".into()],
        negative: vec!["sad".into(), "low".into()],
        suffixes: vec!["abc".into(), "x".into(), "pq".into()],
        cut: 1,
    };
    let pairs = Texts::Personas(personas.clone()).pairs(text).expect("cuts");
    let pair = |a: &str, b: &str, cut: &str| (format!("be {a}: {cut}"), format!("be {b}: {cut}"));
    let expected: Vec<_> = ["a", "ab", "p"]
        .iter()
        .flat_map(|cut| [pair("glad", "sad", cut), pair("merry", "low", cut)])
        .collect();
    assert_eq!(pairs, expected);
    let whole = Personas {
        cut: 0,
        ..personas.clone()
    };
    let pairs = Texts::Personas(whole).pairs(text).expect("cuts");
    assert_eq!(pairs.len(), 12, "up to the last token");
    type Change = fn(&mut Personas);
    let broken: [(Change, &str); 4] = [
        (|p| p.template = "be {persona}".into(), "{suffix}"),
        (|p| p.negative.truncate(1), "2 and 1"),
        (|p| p.cut = 6, "leave nothing"),
        (|p| p.suffixes.clear(), "leave nothing"),
    ];
    for (change, expected) in broken {
        let mut personas = personas.clone();
        change(&mut personas);
        let refused = Texts::Personas(personas).pairs(text);
        let words = refused.expect_err(expected).to_string();
        assert!(words.contains(expected), "{expected}: {words}");
    }
}

fn files(vector: &ControlVector) -> AdapterFiles {
    AdapterFiles {
        name: "vector".into(),
        config: Some(vector.config().into_bytes()),
        weights: vector.safetensors().expect("writes"),
        ..AdapterFiles::default()
    }
}

fn at(session: &Session, adapters: &[(&AdapterFiles, f32)]) -> Vec<f32> {
    let mut stack = Stack::default();
    for (files, c) in adapters {
        let id = stack.add(adapters::load(files, &session.model).expect("loads"));
        stack.set_coefficient(id, *c).expect("finite");
    }
    logits(session, &[5, 9, 3, 17, 20], &stack.steering())
}

#[test]
fn files_give_back_the_vector_and_a_sum_does_what_its_parts_do() {
    let golden = golden();
    let session = tiny(&golden.base);
    let made = |method, layers| {
        let options = Options {
            method,
            at: At::Mean,
            layers,
            length: Length::Share(0.3),
            target: None,
        };
        extract(&session, pairs_of(&golden.pairs), options).expect("extracts")
    };
    let (a, b) = (made(Method::Mean, 1..=2), made(Method::PcaDiff, 2..=2));
    let gguf = AdapterFiles {
        name: "vector".into(),
        weights: a.gguf().expect("writes"),
        ..AdapterFiles::default()
    };
    for files in [&files(&a), &gguf] {
        assert_eq!(ControlVector::read(files).expect("reads"), a, "read back");
    }
    for c in [-1.0, 0.5, 1.0] {
        let expected = at(&session, &[(&files(&a), c)]);
        assert_eq!(at(&session, &[(&gguf, c)]), expected, "GGUF at {c}");
    }
    let sum = ControlVector::sum(&[(0.5, &a), (-0.3, &b)]).expect("adds");
    let found = at(&session, &[(&files(&sum), 1.0)]);
    let parts = at(&session, &[(&files(&a), 0.5), (&files(&b), -0.3)]);
    assert!(worst(&found, &parts) < 2e-5, "{}", worst(&found, &parts));
    assert!(
        worst(&found, &at(&session, &[])) > 0.01,
        "it does something"
    );
    let first = made(Method::Mean, 0..=1).gguf().expect_err("llama.cpp");
    assert!(first.to_string().contains("block 0"), "{first}");
}

#[test]
fn only_steps_that_are_added_have_a_sum() {
    for (case, expected) in [
        ("control_vector", None),
        ("bipo", None),
        ("control_vector_normalize", Some("normalize")),
        ("control_vector_ablate", Some("action")),
        ("lora", Some("peft_type")),
    ] {
        let read = ControlVector::read(&adapter_files(&golden_dir().join(case)));
        match (read, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(field)) => {
                assert!(error.to_string().contains(field), "{case}: {error}");
            }
            (read, _) => panic!("{case}: {read:?}"),
        }
    }
}

#[test]
fn an_action_is_one_of_three_and_needs_a_direction() {
    let golden = golden();
    let session = tiny(&golden.base);
    let options = options(Method::Mean, At::Mean, 3, Length::default());
    let vector = extract(&session, pairs_of(&golden.pairs), options).expect("extracts");
    let with = |action: Value, vector: &ControlVector| {
        let config = json!({ "peft_type": "CONTROL_VECTOR", "action": action });
        let files = AdapterFiles {
            config: Some(config.to_string().into_bytes()),
            ..files(vector)
        };
        adapters::load(&files, &session.model)
    };
    for action in [json!("add"), json!(null), json!("ablate"), json!("clamp")] {
        assert!(with(action.clone(), &vector).is_ok(), "{action}");
    }
    for action in [json!("project"), json!(true), json!(["add"])] {
        let error = with(action, &vector).expect_err("refused");
        assert!(
            error.to_string().contains("add, ablate or clamp"),
            "{error}"
        );
    }
    let mut nothing = vector;
    nothing.directions.insert(1, vec![0.0; 40]);
    assert!(with(json!("add"), &nothing).is_ok(), "a step of nothing");
    let error = with(json!("clamp"), &nothing).expect_err("no direction");
    assert!(error.to_string().contains("direction.1"), "{error}");
}
