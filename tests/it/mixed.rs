//! A file of mixed kinds, Q4_K and Q6_K as llama.cpp's Q4_K_M has them, against numpy, which widens the same blocks
//! (`tests/golden/q4_k_m.py`); `kinds.rs` has more mixes, against our own f32. Each greedy token is ahead of the second
//! by a hundredth of the largest logit or more. The committed file is tiny; `PLAYGROUND_Q4_K_M` may name a large one of
//! `convert/llama1b_q4km.py` that has its `.expected.json` beside it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use pollster::block_on;
use steering_playground::arch::ModelFile;
use steering_playground::device;
use steering_playground::model::Weights;
use steering_playground::session::Session;
use steering_playground::weights::NativeFile;

use crate::common::{golden_dir, lacks_gpu};
use crate::families::{Expected, compare};

fn expected(path: &Path) -> Expected {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).expect("what q4_k_m.py writes")
}

fn load(path: &Path, device: &Device, weights: Weights) -> Session {
    let session = block_on(async {
        let file = ModelFile::open_gguf(NativeFile::open(path)?).await?;
        Session::load(&file, None, device, weights, |_| {}).await
    });
    session.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Activations are rounded to 16 bits, keys and values to 14; Q6_K may be rounded to 8.
const ROUNDED: f32 = 2e-2;

#[test]
fn a_file_of_mixed_kinds_equals_its_widened_weights() {
    let folder = golden_dir().join("q4_k_m");
    let (model, expected) = (
        folder.join("model.gguf"),
        expected(&folder.join("expected.json")),
    );
    let cpu = device::cpu();
    for (weights, tolerance) in [(Weights::Dense, 2e-5), (Weights::Quantised, ROUNDED)] {
        let session = load(&model, &cpu, weights);
        compare(&session, &expected, tolerance, &format!("{weights:?}"));
    }
}

#[test]
fn a_gpu_makes_the_same_of_a_file_of_mixed_kinds() {
    if lacks_gpu() {
        return;
    }
    let folder = golden_dir().join("q4_k_m");
    let expected = expected(&folder.join("expected.json"));
    let gpu = block_on(device::gpu()).expect("a GPU");
    let session = load(&folder.join("model.gguf"), &gpu, Weights::Quantised);
    compare(&session, &expected, ROUNDED, "on the GPU");
}

#[test]
fn a_large_file_of_mixed_kinds_equals_its_widened_weights() {
    let Some(model) = env::var_os("PLAYGROUND_Q4_K_M").map(PathBuf::from) else {
        eprintln!("LEFT OUT: PLAYGROUND_Q4_K_M names no file");
        return;
    };
    let mut beside = model.clone().into_os_string();
    beside.push(".expected.json");
    let expected = expected(Path::new(&beside));
    let session = load(&model, &device::cpu(), Weights::Quantised);
    compare(&session, &expected, ROUNDED, "the large one");
}
