//! What each reader begins with besides its corpus: the files that the tests have anyway.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::failure::{OrMend, Result};
use crate::lengths;

/// Beginnings for the reader `name`, none of more than `most` bytes.
pub fn seeds(root: &Path, name: &str, most: usize) -> Result<Vec<Vec<u8>>> {
    let golden = root.join("tests").join("golden");
    let fixtures = root.join("tests").join("fixtures");
    let named = |end: &str| {
        let mut paths = Vec::new();
        lengths::collect(&golden, end, &mut paths);
        paths.sort();
        paths
    };
    let mut seeds = Vec::new();
    match name {
        "adapter" => {
            for config in named("adapter_config.json") {
                let weights = config.with_file_name("adapter_model.safetensors");
                if weights.is_file() {
                    seeds.push([read(&config)?, vec![0], read(&weights)?].concat());
                }
            }
            for gguf in named(".gguf") {
                seeds.push([vec![0], read(&gguf)?].concat());
            }
        }
        "config" => {
            for config in named("/config.json") {
                seeds.push(read(&config)?);
            }
        }
        "gguf" => {
            for gguf in named(".gguf") {
                seeds.push(read(&gguf)?);
            }
        }
        "pairs" => seeds.push(read(&root.join("www/adapters/contrast.json"))?),
        "safetensors" => {
            for weights in named("adapter_model.safetensors") {
                seeds.push(read(&weights)?);
            }
            seeds.push(read(&fixtures.join("quant.safetensors"))?);
        }
        "template" => {
            for file in ["text.json", "templates.json"].map(|file| fixtures.join(file)) {
                let told: Value = serde_json::from_slice(&read(&file)?)
                    .or_mend(file.display(), "restore it with git")?;
                let templates = told.get("templates").unwrap_or(&told).as_array();
                let templates = templates.into_iter().flatten();
                let texts = templates.filter_map(|template| template["template"].as_str());
                seeds.extend(texts.map(|text| text.as_bytes().to_vec()));
            }
        }
        "tokenizer" => seeds.push(read(&fixtures.join("tiny_tokenizer.json"))?),
        _ => {}
    }
    seeds.retain(|seed| seed.len() <= most);
    Ok(seeds)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).or_mend(path.display(), "restore it with git")
}
