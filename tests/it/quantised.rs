//! Quantised weights: the products against plain arithmetic, the real model against f32, adapters.

#[path = "../checks/quantised.rs"]
mod checks;

use std::fs;

use serde_json::Value;
use steering_playground::adapters::{self, Stack};
use steering_playground::device::read_back;
use steering_playground::hooks::Steering;
use steering_playground::model::{Positions, Weights};
use steering_playground::quantised::{Activations, Packed, Width};
use steering_playground::session::Session;
use steering_playground::weights::quant::{self, Kind};

use crate::common::{
    adapter_files, golden_dir, lacks_model, logits, smollm2, smollm2_with, tiny, tiny_quantised,
    tiny_with,
};
use crate::golden::cases;
use crate::kernels::checks::blocks;

#[test]
fn products_equal_plain_integers_bit_for_bit() {
    checks::products_equal_plain_integers_bit_for_bit(None);
}

/// The file's numbers in memory, in at most 2.5 times its bytes, and products with them: activations are rounded
/// to 16 bits, Q6_K to 8.
#[test]
fn every_kind_of_a_file_has_products() {
    for (kind, cols, most) in [
        (Kind::Q4_0, 96, 1.4),
        (Kind::Q4_1, 96, 1.2),
        (Kind::Q5_0, 96, 1.7),
        (Kind::Q5_1, 96, 1.7),
        (Kind::Q8_0, 96, 1.1),
        (Kind::IQ4_NL, 96, 2.0),
        (Kind::Q2_K, 768, 2.0),
        (Kind::Q3_K, 768, 1.6),
        (Kind::Q4_K, 768, 1.4),
        (Kind::Q5_K, 768, 1.9),
        (Kind::Q6_K, 768, 1.4),
    ] {
        // As many as fill whole panels, and some that do not.
        for rows in [64, 13] {
            let bytes = blocks::blocks(kind, rows * cols, 3);
            let w = quant::dequantise(kind, &bytes).expect("whole blocks");
            let width = kind.packed_width().expect("codes");
            let mut packed = Packed::new(rows, cols, width).expect("memory");
            let mut places = (0..rows * cols / 32).map(|at| (at / (cols / 32), at % (cols / 32)));
            quant::halves(kind, &bytes, |block| {
                let (row, at) = places.next().expect("a place");
                packed.set_halves(row, at, &block);
            })
            .expect("whole blocks");
            quant::blocks(kind, &bytes, |block| {
                let (row, at) = places.next().expect("a place");
                packed.set(row, at, &block);
            })
            .expect("whole blocks");
            assert_eq!(places.next(), None, "{kind:?}: every block");
            if rows == 64 {
                let ratio = packed.bytes() as f64 / bytes.len() as f64;
                assert!(ratio <= most, "{kind:?}: {ratio} of the file");
            }
            if kind.keeps_codes() {
                assert_eq!(packed.dequantise(), w, "{kind:?}");
            }
            for tokens in [1, 2, 3, 5] {
                let x = blocks::noise(tokens * cols, 5);
                let y = packed.product(&Activations::new(&x, cols));
                let expected = x.chunks(cols).flat_map(|x| {
                    w.chunks(cols).map(move |w| {
                        let each = w.iter().zip(x);
                        each.map(|(w, x)| f64::from(*w) * f64::from(*x))
                            .sum::<f64>() as f32
                    })
                });
                let expected: Vec<f32> = expected.collect();
                let largest = expected.iter().fold(0.0_f32, |most, y| most.max(y.abs()));
                let found = largest_difference(&y, &expected) / largest;
                let bound = if kind.keeps_codes() { 1e-4 } else { 1e-2 };
                assert!(found < bound, "{kind:?}, {tokens} tokens: {found:.1e}");
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_visible() {
    let (_, packed) = checks::matrix(&mut checks::Random(2), [8, 64], Width::Four, true, None);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![1.0; 128];
        x[70] = bad;
        let y = packed.product(&Activations::new(&x, 64));
        assert!(
            y[..8].iter().all(|y| y.is_finite()),
            "the other token is untouched"
        );
        assert!(
            y[8..].iter().all(|y| !y.is_finite()),
            "{bad} must not become a number"
        );
    }
}

#[test]
fn rows_of_broken_blocks_are_refused() {
    assert!(
        Packed::new(4, 48, Width::Eight).is_none(),
        "48 columns are no whole blocks"
    );
    assert!(Packed::new(4, 0, Width::Eight).is_none(), "no columns");
}

fn last_logits(session: &Session, ids: &[u32], steering: &Steering) -> Vec<f32> {
    let mut cache = session.model.new_cache();
    let logits = session
        .model
        .forward(ids, &mut cache, steering, Positions::Last);
    pollster::block_on(read_back(logits.expect("runs").expect("logits"))).expect("read")
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "same number of logits");
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |max, d| {
        if d.is_nan() {
            f32::INFINITY
        } else {
            max.max(d)
        }
    })
}

/// The real model with quantised weights: greedy ids as transformers has them in f32, logits within
/// 0.02 (they are around 20), the file's own numbers in memory.
#[test]
fn smollm2_quantised_says_what_f32_says() {
    if lacks_model() {
        return;
    }
    let reference = include_str!("../fixtures/smollm2_greedy.json");
    let reference: Value = serde_json::from_str(reference).expect("JSON");
    let (fast, exact) = (smollm2_with(Weights::Quantised), smollm2());
    assert!(
        fast.model.weight_bytes() < 125_000_000,
        "{} bytes",
        fast.model.weight_bytes()
    );
    assert!(
        fast.model
            .arithmetic()
            .starts_with("Q4_1, Q8_0 weights as in the file"),
        "{}",
        fast.model.arithmetic()
    );
    for &(projection, ..) in fast.model.config().family.linears {
        let dense = |session: &Session| session.model.linear(11, projection).weight.dense();
        let difference = (dense(&fast) - dense(&exact))
            .abs()
            .max()
            .into_scalar::<f32>();
        assert_eq!(difference, 0.0, "{projection:?} is the file's");
    }
    let base = Steering::base();
    let mut worst = 0.0_f32;
    for prompt in reference["prompts"].as_array().expect("prompts") {
        let ids =
            |key: &str| -> Vec<u32> { serde_json::from_value(prompt[key].clone()).expect("ids") };
        let (prompt_ids, expected) = (ids("prompt_ids"), ids("greedy_ids"));
        let difference = largest_difference(
            &last_logits(&fast, &prompt_ids, &base),
            &last_logits(&exact, &prompt_ids, &base),
        );
        worst = worst.max(difference);
        let request = steering_playground::session::Request {
            ids: Some(prompt_ids),
            max_tokens: expected.len(),
            ..Default::default()
        };
        let mut generation = fast.generate(request).expect("starts");
        let mut found = Vec::new();
        while let Some(step) = pollster::block_on(generation.next()).expect("steps") {
            if let steering_playground::session::Step::Token {
                steered: Some(step),
                ..
            } = step
            {
                found.push(step.id);
            }
        }
        assert_eq!(found, expected, "{}: greedy ids", prompt["name"]);
    }
    println!("largest difference of a logit: {worst:.1e}");
    assert!(worst < 0.02, "a logit differs by {worst:.1e}");
}

/// One token at a time gives the bits of all at once, and c = 0 those of the base.
#[test]
fn the_cache_and_a_switched_off_adapter_change_no_bit() {
    if lacks_model() {
        return;
    }
    let session = smollm2_with(Weights::Quantised);
    let ids = [1, 4093, 198, 2683, 359, 260, 5575, 30];
    let base = Steering::base();
    let whole = last_logits(&session, &ids, &base);
    let mut cache = session.model.new_cache();
    let mut last = Vec::new();
    for id in ids {
        let row = session
            .model
            .forward(&[id], &mut cache, &base, Positions::Last);
        last = pollster::block_on(read_back(row.expect("runs").expect("logits"))).expect("read");
    }
    assert!(
        last == whole,
        "one at a time: {:.1e}",
        largest_difference(&last, &whole)
    );

    let exact = smollm2();
    for name in ["tone-lora", "register-ia3", "mood-vector"] {
        let files = adapter_files(&std::path::Path::new("www/adapters").join(name));
        let [mut fast, mut slow] = [&session, &exact].map(|session| {
            let mut stack = Stack::default();
            stack.add(adapters::load(&files, &session.model).expect("loads"));
            stack
        });
        assert!(
            last_logits(&session, &ids, &fast.steering()) == whole,
            "{name} at 0"
        );
        for c in [1.0, -1.0] {
            for stack in [&mut fast, &mut slow] {
                stack.set_coefficient(1, c).expect("finite");
            }
            let found = last_logits(&session, &ids, &fast.steering());
            let expected = last_logits(&exact, &ids, &slow.steering());
            let difference = largest_difference(&found, &expected);
            assert!(found != whole, "{name} acts at {c}");
            assert!(
                difference < 0.05,
                "{name} at {c}: a logit differs by {difference:.1e}"
            );
        }
        fast.set_coefficient(1, 0.0).expect("finite");
        assert!(
            last_logits(&session, &ids, &fast.steering()) == whole,
            "{name} back at 0"
        );
    }
}

/// Every golden case over the slices of the quantised path, with f32 weights (these tiny models have
/// no others): all kinds of effects act there as on the tensor path, but for the rounding of keys
/// and values.
#[test]
fn every_effect_acts_on_the_host_path() {
    let mut seen = 0;
    for entry in fs::read_dir(golden_dir()).expect("tests/golden") {
        let dir = entry.expect("entry").path();
        let Ok(expect) = fs::read(dir.join("expect.safetensors")) else {
            continue;
        };
        let Some(metadata) = crate::common::metadata(&expect) else {
            continue;
        };
        let Some(base) = metadata["base"].as_str() else {
            continue;
        };
        let (host, tensors) = (tiny_with(base, Weights::Quantised), tiny(base));
        let ids = [5, 9, 3, 20, 11];
        let mut found = Vec::new();
        for session in [&host, &tensors] {
            let Ok(adapter) = adapters::load(&adapter_files(&dir), &session.model) else {
                continue;
            };
            let mut stack = Stack::default();
            let id = stack.add(adapter);
            stack.set_coefficient(id, 0.7).expect("finite");
            found.push(logits(session, &ids, &stack.steering()));
        }
        if let [host, tensors] = found.as_slice() {
            let difference = largest_difference(host, tensors);
            assert!(difference < 5e-3, "{}: {difference:.1e}", dir.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} cases");
}

/// Adapters on a quantised GGUF: with the weights widened, they are PEFT on those weights; with the
/// weights kept as they are, nearly so. Some of these methods read the base's weights.
#[test]
fn adapters_on_a_quantised_base_are_those_on_its_widened_weights() {
    let (dense, packed) = (
        tiny_quantised(Weights::Dense),
        tiny_quantised(Weights::Quantised),
    );
    let arithmetic = packed.model.arithmetic();
    assert!(
        arithmetic.contains("Q8_0") && arithmetic.contains("Q4_1"),
        "{arithmetic}"
    );
    let cases = cases()
        .into_iter()
        .filter(|case| case.base == "base_quantised");
    let mut seen = 0;
    for case in cases {
        seen += 1;
        for (session, tolerance) in [(&dense, 1e-4), (&packed, 5e-3)] {
            let adapter = adapters::load(&case.files(), &session.model).expect("loads");
            let mut stack = Stack::default();
            let id = stack.add(adapter);
            let base = logits(session, &case.ids(), &stack.steering());
            for (c, key) in [
                (1.0, "logits"),
                (-1.0, "logits_c_-1"),
                (0.5, "logits_c_0.5"),
            ] {
                stack.set_coefficient(id, c).expect("in the domain");
                let found = logits(session, &case.ids(), &stack.steering());
                let expected = case.floats(key).expect("golden logits");
                let difference = largest_difference(&found, expected);
                println!("{} at {c}: {difference:.1e}", case.name);
                assert!(
                    difference < tolerance,
                    "{} at {c}: {difference:.1e}",
                    case.name
                );
            }
            stack.set_coefficient(id, 0.0).expect("0");
            assert!(
                logits(session, &case.ids(), &stack.steering()) == base,
                "{} back at 0",
                case.name
            );
        }
    }
    assert!(seen > 4, "{seen} cases");
}
