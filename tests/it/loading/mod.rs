//! Adapters that load, that must not, and what is said of them: the files that the tests change.

mod folders;
mod gguf;
mod hostile;
mod inspect;
mod refusals;
mod same_numbers;

use std::path::Path;

use steering_playground::checkpoint::AdapterFiles;

use crate::common::{adapter_files, golden_dir};

pub fn golden(case: &str) -> AdapterFiles {
    adapter_files(&golden_dir().join(case))
}

fn lora() -> AdapterFiles {
    golden("lora")
}

fn with_field(mut files: AdapterFiles, field: &str, value: serde_json::Value) -> AdapterFiles {
    let mut config: serde_json::Value =
        serde_json::from_slice(&files.config.expect("config")).expect("JSON");
    config[field] = value;
    files.config = Some(config.to_string().into_bytes());
    files
}

/// Renames, removes or cuts tensors by editing the header of a safetensors file.
pub fn with_header(mut files: AdapterFiles, edit: impl Fn(&str) -> String) -> AdapterFiles {
    let length = u64::from_le_bytes(files.weights[..8].try_into().expect("8 bytes")) as usize;
    let header = std::str::from_utf8(&files.weights[8..8 + length]).expect("UTF-8");
    let header = edit(header);
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend(header.bytes());
    weights.extend(&files.weights[8 + length..]);
    files.weights = weights;
    files
}

/// What another tool wrote, or PEFT in an unusual way (`tests/faults/make.py`).
pub fn fault(name: &str) -> AdapterFiles {
    let dir = Path::new("tests/faults").join(name);
    let read = |name: &str| std::fs::read(dir.join(name)).ok();
    let weights = read("adapter_model.safetensors").or(read("adapters.safetensors"));
    AdapterFiles {
        name: name.into(),
        config: read("adapter_config.json"),
        weights: weights.expect("weights"),
        ..AdapterFiles::default()
    }
}
