//! Adapters of PEFT 0.21 on the tiny models of the families, at c = 1:
//! `tests/golden/families/adapters/BASE/METHOD` holds the files and `expected.json`.

use std::fs;
use std::path::{Path, PathBuf};

use pollster::block_on;
use serde::Deserialize;
use steering_playground::adapters::{self, Stack};
use steering_playground::arch::ModelFile;
use steering_playground::device::{self, read_back};
use steering_playground::hooks::Steering;
use steering_playground::model::{Positions, Weights};
use steering_playground::session::Session;
use steering_playground::weights::NativeFile;

use crate::common::{adapter_files, golden_dir};

/// In parts of the largest logit.
const TOLERANCE: f32 = 2e-4;

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<u32>,
    logits_last: Vec<f32>,
    moved_by: f32,
}

/// The folders in a folder, by name.
fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<PathBuf> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The model in a folder, in whichever of the two formats it is there.
fn model(folder: &Path) -> Session {
    let file = |name: &str| NativeFile::open(&folder.join(name)).expect("a file");
    let load = async {
        let file = match fs::read(folder.join("config.json")) {
            Ok(config) => {
                ModelFile::open_folder(&config, vec![file("model.safetensors")], None).await
            }
            Err(_) => ModelFile::open_gguf(file("model.gguf")).await,
        }?;
        Session::load(&file, None, &device::cpu(), Weights::Dense, |_| {}).await
    };
    block_on(load).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// Logits behind the last of these tokens.
fn last(session: &Session, tokens: &[u32], steering: &Steering) -> Vec<f32> {
    let mut cache = session.model.new_cache();
    let logits = session
        .model
        .forward(tokens, &mut cache, steering, Positions::Last);
    block_on(read_back(logits.expect("runs").expect("logits"))).expect("read")
}

fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.map(f32::abs).fold(0.0, f32::max)
}

/// Reports all failing cases, not only the first.
#[test]
fn adapters_of_every_family_equal_peft() {
    let families = golden_dir().join("families");
    let mut failures = Vec::new();
    for of_base in folders(&families.join("adapters")) {
        let base = of_base.file_name().expect("a name");
        let session = model(&families.join(base));
        for folder in folders(&of_base) {
            let name = folder.display();
            let expected = fs::read(folder.join("expected.json")).expect("expected.json");
            let expected: Expected = serde_json::from_slice(&expected).expect("expected.json");
            let adapter = match adapters::load(&adapter_files(&folder), &session.model) {
                Ok(adapter) => adapter,
                Err(error) => {
                    failures.push(format!("{name}: {error}"));
                    continue;
                }
            };
            let mut stack = Stack::default();
            let id = stack.add(adapter);
            stack.set_coefficient(id, 1.0).expect("finite");
            let found = last(&session, &expected.tokens, &stack.steering());
            let apart = found.iter().zip(&expected.logits_last).map(|(a, b)| a - b);
            let largest_logit = largest(expected.logits_last.iter().copied());
            let off = largest(apart) / largest_logit;
            println!("{name}: {off:.1e}");
            if off.is_nan() || off > TOLERANCE {
                failures.push(format!("{name}: {off:.1e}"));
            }
            stack.set_coefficient(id, 0.0).expect("finite");
            let base = last(&session, &expected.tokens, &Steering::base());
            if last(&session, &expected.tokens, &stack.steering()) != base {
                failures.push(format!("{name}: c = 0 is not the base"));
            }
            let apart = base.iter().zip(&found).map(|(a, b)| a - b);
            let moved = largest(apart);
            if (moved / expected.moved_by - 1.0).abs() > 0.01 {
                let told = expected.moved_by;
                failures.push(format!("{name}: moves logits by {moved}, not by {told}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The norms of queries and keys that another family has are no modules of this one.
#[test]
fn a_norm_that_the_family_lacks_is_refused() {
    let families = golden_dir().join("families");
    let session = model(&families.join("qwen2"));
    let files = adapter_files(&families.join("adapters/qwen3/ln_tuning"));
    let error = adapters::load(&files, &session.model).expect_err("refused");
    assert!(error.to_string().contains("k_norm"), "{error}");
}
