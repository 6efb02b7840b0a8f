//! Measures, doses, maps of blocks: against readings of whole texts, and against transformers.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use pollster::block_on;
use serde_json::{Value, json};
use steering_playground::adapters;
use steering_playground::dose::{
    Contrast, MeasureOptions, Measurement, Pair, Progress, Split, Subject, calibrate, layer_map,
    measure,
};
use steering_playground::error::{Error, Result};
use steering_playground::hooks::{Law, Mask, Tokens};
use steering_playground::model::Weights;
use steering_playground::session::Session;
use steering_playground::text::Variables;

use crate::common::{adapter_files, golden_dir, lacks_model, logits, reading, smollm2_with, tiny};
use crate::session::{kl_nats, log_softmax};

/// A tiny model that reads symbols, with golden cases at c = 1.
fn fixture(cases: &[&str]) -> (Session, Vec<(u32, f32)>) {
    let session = reading(tiny("base"));
    let ids = cases.iter().map(|case| load(&session, case)).collect();
    (session, ids)
}

fn load(session: &Session, case: &str) -> (u32, f32) {
    let files = adapter_files(&golden_dir().join(case));
    let adapter = adapters::load(&files, &session.model).expect(case);
    (session.stack.borrow_mut().add(adapter), 1.0)
}

/// Pairs of symbols, which are single tokens.
fn contrast(rows: &[Value]) -> Contrast {
    let neutral = [
        json!({ "prompt": "(A)", "completion": "B1)" }),
        json!({ "prompt": "(7", "completion": "!!B" }),
    ];
    let file = json!({
        "kind": rows, "neutral": neutral,
        "prompting": { "kind": { "positive": "A!", "negative": "B?" } },
    });
    Contrast::read("mine.json", file.to_string().as_bytes(), "kind").expect("pairs")
}

fn rows() -> Vec<Value> {
    vec![
        json!({ "prompt": "A1!", "positive": "B2)", "negative": "7(" }),
        json!({ "prompt": "A1?", "positive": "!", "negative": "9B8" }),
        json!({ "prompt": "(B)", "positive": "2!", "negative": "B" }),
    ]
}

/// Without texts of random tokens.
fn plain() -> MeasureOptions {
    MeasureOptions {
        repetition_tokens: 0,
        ..MeasureOptions::default()
    }
}

async fn quiet(_: Progress) -> Result<()> {
    Ok(())
}

fn measured(
    session: &Session,
    scaled: &[(u32, f32)],
    contrast: &Contrast,
    options: &MeasureOptions,
) -> Result<Measurement> {
    let variables = Variables::new();
    let subject = Subject::new(session, scaled.to_vec(), &variables);
    block_on(measure(&subject, contrast, options, quiet))
}

/// The log-probabilities before each of an answer's tokens, from one pass over the whole text.
fn read(
    session: &Session,
    scaled: &[(u32, f32)],
    c: f32,
    texts: [&str; 2],
) -> Vec<(Vec<f64>, u32)> {
    let text = session.text.as_ref().expect("a tokenizer");
    let head = text.encode(texts[0], false).expect("ids");
    let tail = text.encode(texts[1], false).expect("ids");
    let ids = [&head[..], &tail[..]].concat();
    let mut stack = session.stack.borrow_mut();
    for &(id, scale) in scaled {
        stack.set_coefficient(id, c * scale).expect("in the domain");
    }
    let all = logits(session, &ids, &stack.steering());
    let vocab = session.model.config().vocab_size;
    let rows = all.chunks(vocab).skip(head.len() - 1);
    rows.zip(tail)
        .map(|(row, id)| (log_softmax(row), id))
        .collect()
}

/// Every number of a measurement is what reading whole texts one by one gives.
#[test]
fn a_measurement_is_what_whole_texts_say() {
    let (session, mut scaled) = fixture(&["lora", "ia3"]);
    scaled[1].1 = -0.5;
    let contrast = contrast(&rows());
    let found = measured(&session, &scaled, &contrast, &plain()).expect("measures");
    assert_eq!(
        found.coefficients,
        [-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
    );
    assert_eq!(found.prompts, ["A1!", "A1?", "(B)"]);
    assert_eq!(json!(found)["base_identity"], json!(true));
    assert_eq!((found.split, found.prompt_form), (Split::Test, "chat"));
    assert_eq!(found.inverse_error, None, "no law that undoes");
    let mean = |rows: &[(Vec<f64>, u32)]| {
        let all = rows.iter().map(|(row, id)| row[*id as usize]);
        all.sum::<f64>() / rows.len() as f64
    };
    for (at, &c) in found.coefficients.iter().enumerate() {
        for (pair, curve) in contrast.pairs.iter().zip(&found.per_prompt) {
            let side = |answer: &str| mean(&read(&session, &scaled, c, [&pair.prompt, answer]));
            let d = side(&pair.positive) - side(&pair.negative);
            assert!((d - curve[at]).abs() < 1e-5, "{c}: {d} and {}", curve[at]);
        }
        let mut kls = Vec::new();
        let mut shift = 0.0;
        for text in &contrast.neutral {
            let texts = [&*text.prompt, &*text.completion];
            let steered = read(&session, &scaled, c, texts);
            let base = read_base(&session, texts);
            for ((p, id), (q, _)) in steered.iter().zip(&base) {
                kls.push(kl_nats(p, q));
                shift += q[*id as usize] - p[*id as usize];
            }
        }
        let kl = kls.iter().sum::<f64>() / kls.len() as f64;
        assert!((kl - found.kl_nats.mean[at]).abs() < 1e-5, "KL at {c}");
        kls.sort_by(f64::total_cmp);
        let (last, before) = (kls[kls.len() - 1], kls[kls.len() - 2]);
        // Six tokens: the 95th percentile lies at 4.75.
        let p95 = before + 0.75 * (last - before);
        assert!((p95 - found.kl_nats.p95[at]).abs() < 1e-5, "p95 at {c}");
        let shift = shift / kls.len() as f64;
        assert!(
            (shift - found.nll_shift_nats[at]).abs() < 1e-5,
            "NLL at {c}"
        );
    }
    let asked = found.prompting.expect("instructions");
    let told = |system: &str, pair: &Pair| {
        let prompt = format!("{system}{}", pair.prompt);
        let side = |answer: &str| mean(&read_base(&session, [&prompt, answer]));
        side(&pair.positive) - side(&pair.negative)
    };
    let ds = contrast.pairs.iter().map(|pair| told("A!", pair));
    assert!(
        (ds.sum::<f64>() / 3.0 - asked.positive).abs() < 1e-5,
        "prompting"
    );
}

/// The same without adapters.
fn read_base(session: &Session, texts: [&str; 2]) -> Vec<(Vec<f64>, u32)> {
    let bare = Session {
        stack: Rc::default(),
        ..session.clone()
    };
    read(&bare, &[], 0.0, texts)
}

/// Slope, order, symmetry and τ are those of the curves beside them.
#[test]
fn the_summary_is_of_the_curves() {
    let (session, scaled) = fixture(&["lora"]);
    let options = MeasureOptions {
        coefficients: Some(vec![0.5]),
        seed: 3,
        ..plain()
    };
    let found = measured(&session, &scaled, &contrast(&rows()), &options).expect("measures");
    assert_eq!(
        found.coefficients,
        [-1.0, 0.0, 0.5, 1.0],
        "the ends are always there"
    );
    let curve = &found.per_prompt;
    let slope = |y: &[f64]| {
        let (x, n) = ([-1.0, 0.0, 0.5, 1.0], 4.0);
        let (mx, my) = (0.125, y.iter().sum::<f64>() / n);
        let top: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
        top / x.iter().map(|x| (x - mx) * (x - mx)).sum::<f64>()
    };
    let slopes: Vec<f64> = curve.iter().map(|y| slope(y)).collect();
    let mean = slopes.iter().sum::<f64>() / 3.0;
    assert!((found.slope.mean - mean).abs() < 1e-9);
    assert!(found.slope.low <= mean && mean <= found.slope.high);
    let wrong = slopes.iter().filter(|slope| **slope < 0.0).count() as f64 / 3.0;
    assert_eq!(found.wrong_way_share, wrong);
    let ordered = curve.iter().filter(|y| y[0] < y[1] && y[1] < y[3]).count() as f64 / 3.0;
    assert_eq!(found.ordered_share, ordered);
    let (up, down) = (
        found.d_nats[3] - found.d_nats[1],
        found.d_nats[0] - found.d_nats[1],
    );
    let symmetry = 1.0 - (up + down).abs() / (up.abs() + down.abs());
    assert!((found.symmetry.expect("it moves") - symmetry).abs() < 1e-9);
    let again = measured(&session, &scaled, &contrast(&rows()), &options).expect("measures");
    assert_eq!(found, again, "the same seed");
}

/// Rotations and powers undo themselves; what is left is rounding.
#[test]
fn laws_that_undo_have_an_inverse_error() {
    for (case, law, largest) in [
        ("oft_cayley", Law::Geodesic, 1e-5),
        ("hra_even", Law::Geodesic, 1e-5),
        ("road_1", Law::LogPolar, 1e-5),
        ("ia3", Law::Power, 1e-5),
        ("ln_tuning", Law::Power, 1e-5),
    ] {
        let (session, scaled) = fixture(&[case]);
        let set = session.stack.borrow_mut().set_law(scaled[0].0, law);
        set.unwrap_or_else(|error| panic!("{case}: {error}"));
        let found = measured(&session, &scaled, &contrast(&rows()), &plain()).expect(case);
        let error = found
            .inverse_error
            .unwrap_or_else(|| panic!("{case} undoes"));
        assert!(error < largest, "{case}: {error}");
    }
    // The linear law of a rotation does not undo, and is not said to.
    let (session, scaled) = fixture(&["hra_even"]);
    let set = session.stack.borrow_mut().set_law(scaled[0].0, Law::Linear);
    set.expect("offered");
    let found = measured(&session, &scaled, &contrast(&rows()), &plain()).expect("measures");
    assert_eq!(found.inverse_error, None);
}

/// Of the usual grid what a law does not admit is left out and told; what was asked for is refused.
#[test]
fn coefficients_outside_a_law_are_told() {
    let (session, scaled) = fixture(&["ia3"]);
    let id = scaled[0].0;
    let law = session.stack.borrow_mut().set_law(id, Law::Power);
    law.expect("offered");
    let far = 1e6;
    let scaled = vec![(id, far)];
    let error = measured(&session, &scaled, &contrast(&rows()), &plain()).expect_err("refused");
    // Even −1 and 1 are too far then.
    assert!(matches!(error, Error::BadCoefficient { .. }), "{error}");
    let asked = MeasureOptions {
        coefficients: Some(vec![f32::NAN]),
        ..plain()
    };
    let error = measured(&session, &[(id, 1.0)], &contrast(&rows()), &asked).expect_err("refused");
    assert!(error.to_string().contains("finite"), "{error}");
    let error =
        measured(&session, &[(77, 1.0)], &contrast(&rows()), &plain()).expect_err("refused");
    assert!(matches!(error, Error::NoSuchAdapter { id: 77 }), "{error}");
}

/// Repetitions are counted in texts that the seed fixes.
#[test]
fn repetition_is_counted_at_three_coefficients() {
    let (session, scaled) = fixture(&["lora"]);
    let options = MeasureOptions {
        repetition_tokens: 24,
        seed: 5,
        ..MeasureOptions::default()
    };
    let contrast = contrast(&rows());
    let first = measured(&session, &scaled, &contrast, &options).expect("measures");
    let second = measured(&session, &scaled, &contrast, &options).expect("measures");
    assert_eq!(first.repetition, second.repetition);
    let shown = json!(first)["repetition"].clone();
    for c in ["-1", "0", "1"] {
        let share = shown[c].as_f64().expect("a share");
        assert!((0.0..=1.0).contains(&share), "{c}: {share}");
    }
}

/// Whoever turns a coefficient meanwhile does not change what is measured, and an error of the
/// progress ends it.
#[test]
fn it_is_a_snapshot_and_can_be_stopped() {
    let (session, scaled) = fixture(&["lora"]);
    let (contrast, variables) = (contrast(&rows()), Variables::new());
    let subject = Subject::new(&session, scaled.clone(), &variables);
    let (count, last) = (Cell::new(0), Cell::new(0));
    let told = async |progress: Progress| {
        let done = progress.done;
        assert!(done == 0 || done > last.get(), "each pass is told once");
        assert!(done < progress.total, "as many readings as were told");
        last.set(done);
        count.set(count.get() + 1);
        let mut stack = session.stack.borrow_mut();
        stack.set_coefficient(scaled[0].0, count.get() as f32)
    };
    let turned = block_on(measure(&subject, &contrast, &plain(), told)).expect("measures");
    let still = measured(&session, &scaled, &contrast, &plain()).expect("measures");
    assert_eq!(turned, still);
    let stop = async |progress: Progress| match progress.done {
        ..4 => Ok(()),
        _ => Err(Error::Aborted),
    };
    let stopped = block_on(measure(&subject, &contrast, &plain(), stop));
    assert_eq!(stopped, Err(Error::Aborted));
}

/// A text that the model cannot read is named by its row.
#[test]
fn a_text_beyond_the_context_is_named() {
    let (session, scaled) = fixture(&["lora"]);
    let mut rows = rows();
    rows[1]["negative"] = json!("B".repeat(5000));
    let error = measured(&session, &scaled, &contrast(&rows), &plain()).expect_err("refused");
    let sentence = error.to_string();
    assert!(sentence.contains("mine.json: kind[1]"), "{sentence}");
    assert!(sentence.contains("tokens"), "{sentence}");
    let error = contrast(&rows).split(Split::Stop).expect_err("none there");
    assert!(error.to_string().contains("3 test"), "{error}");
}

/// The dose that is found has the strength that was asked for, on both sides.
#[test]
fn a_dose_has_its_strength() {
    for case in [
        "lora",
        "ia3",
        "hra_even",
        "control_vector_normalize",
        "fourierft",
    ] {
        let (session, scaled) = fixture(&[case]);
        let (contrast, variables) = (contrast(&rows()), Variables::new());
        let subject = Subject::new(&session, scaled.clone(), &variables);
        let nats = 0.05;
        let found = block_on(calibrate(&subject, &contrast, nats, quiet)).expect(case);
        for (side, sign) in [(&found.negative, -1.0), (&found.positive, 1.0)] {
            let Some(c) = side.c else {
                assert!(side.note.is_some(), "{case}: {side:?}");
                continue;
            };
            assert!(c * sign > 0.0, "{case}: {c}");
            assert!(
                (side.kl_p95_nats - nats).abs() <= 0.02 * nats,
                "{case}: {side:?}"
            );
            let options = MeasureOptions {
                coefficients: Some(vec![c]),
                ..plain()
            };
            let measured = measured(&session, &scaled, &contrast, &options).expect(case);
            let at = measured.coefficients.iter().position(|other| *other == c);
            let again = measured.kl_nats.p95[at.expect("there")];
            assert!((again - side.kl_p95_nats).abs() < 1e-6, "{case}: {again}");
        }
    }
    let (session, scaled) = fixture(&["lora"]);
    let variables = Variables::new();
    let subject = Subject::new(&session, scaled, &variables);
    let nothing = block_on(calibrate(&subject, &contrast(&rows()), 0.0, quiet));
    assert!(nothing.expect_err("refused").to_string().contains("nats"));
}

/// Where no c reaches a strength, it says how far it looked.
#[test]
fn a_strength_out_of_reach_is_told() {
    let (session, scaled) = fixture(&["control_vector_normalize"]);
    let variables = Variables::new();
    let subject = Subject::new(&session, vec![(scaled[0].0, 1e-6)], &variables);
    let found = block_on(calibrate(&subject, &contrast(&rows()), 1.0, quiet)).expect("searches");
    assert_eq!(found.positive.c, None);
    let note = found.positive.note.expect("a note");
    assert!(note.contains("no c up to 64.00"), "{note}");
}

/// A block that carries the effect is found by the map.
#[test]
fn the_map_has_one_row_for_each_block() {
    let (session, scaled) = fixture(&["lora"]);
    let (contrast, variables) = (contrast(&rows()), Variables::new());
    let subject = Subject::new(&session, scaled.clone(), &variables);
    let found = block_on(layer_map(&subject, &contrast, 0.02, quiet)).expect("maps");
    let blocks = session.model.config().num_layers;
    let layers: Vec<usize> = found.layers.iter().map(|layer| layer.layer).collect();
    assert_eq!(layers, (0..blocks).collect::<Vec<_>>());
    assert_eq!(found.split, Split::Test, "there are no other rows");
    for layer in &found.layers {
        let (Some(c), Some(effect)) = (layer.c, layer.effect_nats) else {
            continue;
        };
        // The same through a mask.
        let mask = Mask::parse(&layer.layer.to_string(), "all").expect("a mask");
        let masked = session.stack.borrow_mut().set_mask(scaled[0].0, mask);
        masked.expect("a block that it acts on");
        let options = MeasureOptions {
            coefficients: Some(vec![-c, c]),
            ..plain()
        };
        let measured = measured(&session, &scaled, &contrast, &options).expect("measures");
        let place = |c: f32| measured.coefficients.iter().position(|other| *other == c);
        let d = |c: f32| measured.d_nats[place(c).expect("there")];
        assert!(
            (d(c) - d(-c) - effect).abs() < 1e-5,
            "block {}",
            layer.layer
        );
    }
    assert!(found.layers.iter().any(|layer| layer.effect_nats.is_some()));
    // What a mask leaves out is not in the map.
    let mask = Mask::parse("1", "all").expect("a mask");
    let masked = session.stack.borrow_mut().set_mask(scaled[0].0, mask);
    masked.expect("a block that it acts on");
    let found = block_on(layer_map(&subject, &contrast, 0.02, quiet)).expect("maps");
    assert_eq!(found.layers.len(), 1);
}

/// Answers of one token are told by the prompt's last: what acts on generated tokens alone cannot move
/// them, what acts on the prompt alone does all of it.
#[test]
fn an_answer_counts_as_generated() {
    let (session, scaled) = fixture(&["lora"]);
    let rows = [
        json!({ "prompt": "A1!", "positive": "B", "negative": "7" }),
        json!({ "prompt": "(B)", "positive": "2", "negative": "!" }),
    ];
    let contrast = contrast(&rows);
    let under = |positions| {
        let mask = Mask {
            positions,
            ..Mask::default()
        };
        let set = session.stack.borrow_mut().set_mask(scaled[0].0, mask);
        set.expect("it acts on rows of tokens");
        measured(&session, &scaled, &contrast, &plain()).expect("measures")
    };
    let (all, prompt) = (under(Tokens::All), under(Tokens::Prompt));
    let generated = under(Tokens::Generated);
    let place = all.coefficients.iter().position(|c| *c == 0.0);
    let base = all.d_nats[place.expect("always there")];
    assert!(all.d_nats.iter().any(|d| (d - base).abs() > 1e-3));
    for (at, d) in all.d_nats.iter().enumerate() {
        assert!((prompt.d_nats[at] - d).abs() < 1e-6, "on the prompt");
        assert!((generated.d_nats[at] - base).abs() < 1e-6, "as the base");
    }
    assert_eq!(all.adapters[0].positions, "all");
    assert_eq!(generated.adapters[0].positions, "generated");
    let moved = |found: &Measurement| found.kl_nats.mean[0];
    assert!(moved(&generated) > 1e-6, "longer answers are moved");
    assert_ne!(moved(&generated), moved(&all));
}

/// The page's cards and docs/adapters.md quote the means of what transformers and PEFT say of the test prompts.
#[test]
fn the_cards_of_shipped_adapters_quote_the_golden_numbers() {
    let read =
        |path: &str| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let golden: Value = serde_json::from_str(&read("tests/golden/measure.json")).expect("JSON");
    assert_eq!(golden["coefficients"], serde_json::json!([-1.0, 0.0, 1.0]));
    let document = read("docs/adapters.md");
    for case in golden["cases"].as_array().expect("cases") {
        let name = case["adapter"].as_str().expect("a name");
        let card = read(&format!("www/adapters/{name}/card.json"));
        let card: Value = serde_json::from_str(&card).expect("JSON");
        let prompts = case["per_prompt"].as_array().expect("a list");
        let mut columns = Vec::new();
        for at in 0..3 {
            let sum: f64 = prompts
                .iter()
                .map(|d| d[at].as_f64().expect("a number"))
                .sum();
            let mean = sum / prompts.len() as f64;
            let told = card["measured"]["value"][at].as_f64().expect("a number");
            assert!((told - mean).abs() < 1e-4, "{name}: {told}, not {mean}");
            columns.push(format!("{mean:.2}").replace('-', "−"));
        }
        let row = columns.join(" | ");
        assert!(document.contains(&row), "docs/adapters.md: {name}: {row}");
    }
}

/// The three shipped adapters, on four prompts each, are what transformers and PEFT say, within 1e-3
/// nats; quantised weights stay within 1e-2 of that.
#[test]
fn shipped_adapters_measure_as_in_peft() {
    if lacks_model() {
        return;
    }
    let golden = fs::read("tests/golden/measure.json").expect("tests/golden/measure.py made it");
    let golden: Value = serde_json::from_slice(&golden).expect("JSON");
    let coefficients: Vec<f64> = golden["coefficients"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| c.as_f64().expect("a number"))
        .collect();
    const PROMPTS: usize = 4;
    for (weights, tolerance) in [(Weights::Dense, 1e-3), (Weights::Quantised, 1e-2)] {
        let session = smollm2_with(weights);
        for case in golden["cases"].as_array().expect("cases") {
            let name = case["adapter"].as_str().expect("a name");
            let behaviour = case["behaviour"].as_str().expect("a name");
            let files = adapter_files(&Path::new("www/adapters").join(name));
            let adapter = adapters::load(&files, &session.model).expect(name);
            let scaled = [(session.stack.borrow_mut().add(adapter), 1.0)];
            let mut contrast = Contrast::shipped(behaviour).expect("shipped");
            contrast.pairs.retain(|pair| pair.split == Split::Test);
            contrast.pairs.truncate(PROMPTS);
            let options = MeasureOptions {
                coefficients: Some(vec![]),
                prompting: false,
                ..plain()
            };
            let found = measured(&session, &scaled, &contrast, &options).expect(name);
            let mut worst: f64 = 0.0;
            for (at, c) in [-1.0, 0.0, 1.0].into_iter().enumerate() {
                let there = coefficients.iter().position(|other| *other == c);
                let there = there.expect("in the golden file");
                for (row, curve) in found.per_prompt.iter().enumerate() {
                    let expected = case["per_prompt"][row][there].as_f64().expect("a number");
                    worst = worst.max((curve[at] - expected).abs());
                }
                for (numbers, key) in [
                    (&found.kl_nats.mean, "kl_mean"),
                    (&found.kl_nats.p95, "kl_p95"),
                    (&found.nll_shift_nats, "nll_shift"),
                ] {
                    let expected = case[key][there].as_f64().expect("a number");
                    worst = worst.max((numbers[at] - expected).abs());
                }
            }
            println!("{name}, {weights:?}: {worst:.1e} nats");
            assert!(
                worst < tolerance,
                "{name}, {weights:?}: {worst:.1e} nats off"
            );
        }
    }
}
