//! What several targets share.

use std::collections::BTreeMap;
use std::rc::Rc;

use steering_playground::adapters::{self, Stack};
use steering_playground::arch::ModelFile;
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::device;
use steering_playground::error::Result;
use steering_playground::model::{Model, Weights};
use steering_playground::session::Session;
use steering_playground::text::Text;
use steering_playground::weights::Bytes;

const CONFIG: &[u8] = include_bytes!("../tests/golden/base/config.json");
/// Of the tiny model.
pub const WEIGHTS: &[u8] = include_bytes!("../tests/golden/base/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../tests/fixtures/tiny_tokenizer.json");

/// An input of two files: all up to its first zero byte, and what follows.
#[must_use]
pub fn two_files(input: &[u8]) -> (&[u8], &[u8]) {
    let zero = input.iter().position(|&byte| byte == 0);
    let (first, second) = input.split_at(zero.unwrap_or(input.len()));
    (first, second.get(1..).unwrap_or_default())
}

/// The tiny model of the golden files.
///
/// # Panics
/// Where it does not load: then there is nothing to fuzz.
#[must_use]
pub fn tiny() -> Rc<Model> {
    open_folder(CONFIG, WEIGHTS.to_vec())
        .expect("the tiny model loads")
        .model
}

/// Loads a folder's config and its one file of weights.
///
/// # Errors
/// What is wrong with them.
pub fn open_folder(config: &[u8], weights: Vec<u8>) -> Result<Session> {
    pollster::block_on(async {
        let file = ModelFile::open_folder(config, vec![named(weights)], None).await?;
        Session::load(&file, None, &device::cpu(), Weights::Dense, |_| {}).await
    })
}

/// Loads a GGUF file of a model, with its text.
///
/// # Errors
/// What is wrong with it.
pub fn open_gguf(bytes: Vec<u8>) -> Result<Session> {
    pollster::block_on(async {
        let file = ModelFile::open_gguf(named(bytes)).await?;
        Session::load(&file, None, &device::cpu(), Weights::Dense, |_| {}).await
    })
}

/// Inspects an adapter, and turns it if it loads.
pub fn turn(config: Option<&[u8]>, weights: &[u8], model: &Model) {
    let files = AdapterFiles {
        name: "input".into(),
        config: config.map(<[u8]>::to_vec),
        weights: weights.to_vec(),
        ..AdapterFiles::default()
    };
    let _ = adapters::inspect(&files);
    if let Ok(adapter) = adapters::load(&files, model) {
        let mut stack = Stack::default();
        let id = stack.add(adapter);
        let _ = stack.set_coefficient(id, -0.5);
        stack.steering();
    }
}

/// A tokenizer of a model's files.
///
/// # Errors
/// What is wrong with them.
pub fn text(tokenizer: Option<&[u8]>, template: Option<&[u8]>) -> Result<Option<Text>> {
    let tokenizer = tokenizer.unwrap_or(TOKENIZER).to_vec();
    let mut files = BTreeMap::from([("tokenizer.json", tokenizer)]);
    files.extend(template.map(|template| ("chat_template.jinja", template.to_vec())));
    Text::from_files(&files)
}

fn named(bytes: Vec<u8>) -> Bytes {
    Bytes {
        name: "input".into(),
        bytes,
    }
}
