//! The real Gemma 3 270M against transformers, which read the same file (`tests/golden/gemma.py`):
//! three short texts, and one of 600 tokens, longer than its window of 512. The file is large and is not
//! fetched: `PLAYGROUND_GEMMA` names it, else the test is left out.

use std::env;
use std::fs;
use std::path::PathBuf;

use pollster::block_on;
use serde::Deserialize;
use steering_playground::arch::ModelFile;
use steering_playground::device;
use steering_playground::model::Weights;
use steering_playground::session::Session;
use steering_playground::weights::NativeFile;

use crate::common::{best, golden_dir, last};

#[derive(Deserialize)]
struct Case {
    name: String,
    tokens: Vec<u32>,
    /// The largest logits behind the tokens, with their ids.
    top: Vec<(usize, f32)>,
    log_sum_exp: f64,
    greedy: Vec<u32>,
    top_after_greedy: Vec<(usize, f32)>,
    /// How far the logits move without the window.
    moved_without_window: Option<f32>,
}

/// The largest difference, in parts of the largest logit.
fn off(logits: &[f32], top: &[(usize, f32)]) -> f32 {
    let apart = top.iter().map(|(id, logit)| (logits[*id] - logit).abs());
    apart.fold(0.0, f32::max) / top[0].1.abs()
}

#[test]
fn gemma_3_270m_equals_transformers_past_its_window_too() {
    let Some(path) = env::var_os("PLAYGROUND_GEMMA").map(PathBuf::from) else {
        eprintln!("LEFT OUT: PLAYGROUND_GEMMA names no file");
        return;
    };
    let cases = fs::read(golden_dir().join("gemma_3_270m.json")).expect("gemma_3_270m.json");
    let cases: Vec<Case> = serde_json::from_slice(&cases).expect("cases");
    // The quantised path rounds activations to 8 bits: its greedy ids are its own.
    for (weights, tolerance, is_exact) in [
        (Weights::Dense, 1e-5, true),
        (Weights::Quantised, 2e-2, false),
    ] {
        let session = block_on(async {
            let file = ModelFile::open_gguf(NativeFile::open(&path)?).await?;
            Session::load(&file, None, &device::cpu(), weights, |_| {}).await
        });
        let session = session.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in &cases {
            let name = &case.name;
            let mut cache = session.model.new_cache();
            let logits = last(&session, &mut cache, &case.tokens);
            let sum = logits
                .iter()
                .map(|logit| f64::from(*logit).exp())
                .sum::<f64>();
            let found = off(&logits, &case.top);
            let sum_off = (sum.ln() - case.log_sum_exp).abs();
            println!(
                "{name}, {weights:?}: {found:.1e} of the largest logit, log-sum {sum_off:.1e}"
            );
            assert!(found < tolerance, "{name}, {weights:?}: {found:.1e}");
            assert!(
                sum_off < f64::from(tolerance * case.top[0].1),
                "{name}: {sum_off:.1e}"
            );
            if let Some(moved) = case.moved_without_window {
                assert!(moved > 100.0 * 1e-5 * case.top[0].1, "the window shows");
            }
            // Along the reference's own ids, one token at a time.
            let mut logits = logits;
            for id in &case.greedy {
                assert!(!is_exact || best(&logits) == *id, "{name}: greedy");
                logits = last(&session, &mut cache, &[*id]);
            }
            let found = off(&logits, &case.top_after_greedy);
            println!("{name}, {weights:?}, after 16 more: {found:.1e}");
            assert!(found < tolerance, "{name}, {weights:?}, after: {found:.1e}");
        }
    }
}
