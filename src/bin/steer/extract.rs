//! `steer extract`: a control vector from pairs of contrasting texts.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use steering_playground::device::cpu;
use steering_playground::error::{Error, Result};
use steering_playground::extract::{adapter_config, control_vector, middle_layers, to_safetensors};
use steering_playground::model::Weights;

use crate::args::number;
use crate::files::{io_error, read};
use crate::load::load_model;

#[derive(Args)]
pub(crate) struct Extract {
    /// A .gguf file (of a split one any part), or a folder with config.json and safetensors, or
    /// the weights in such a folder.
    #[arg(long)]
    model: PathBuf,
    /// JSON `{"positive": [texts], "negative": [texts]}`, paired line by line.
    #[arg(long)]
    pairs: PathBuf,
    /// First and last block to act on; the middle 20 to 80 % unless given.
    #[arg(long, num_args = 2, allow_hyphen_values = true,
          value_parser = |text: &str| number::<usize>(
              "layers", "the first and the last block, whole numbers from 0", text))]
    layers: Option<Vec<usize>>,
    /// Length of the whole step, as a share of the mean length of the residual stream.
    #[arg(long, default_value_t = 0.1, allow_hyphen_values = true,
          value_parser = |text: &str| number::<f32>("share", "a number above 0", text))]
    share: f32,
    /// Folder to write adapter_config.json and adapter_model.safetensors into.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) async fn run(args: &Extract) -> Result<()> {
    let session = load_model(&args.model, &cpu(), Weights::Dense).await?;
    let pairs = serde_json::from_slice(&read(&args.pairs)?).map_err(|error| Error::BadConfig {
        file: args.pairs.display().to_string(),
        field: "the file".into(),
        expected: r#"{"positive": [texts], "negative": [texts]}"#.into(),
        found: error.to_string(),
    })?;
    let layers = match args.layers.as_deref() {
        Some(&[first, last]) => first..=last,
        _ => middle_layers(session.model.config().num_layers),
    };
    let vector = control_vector(&session, &pairs, layers, args.share).await?;
    fs::create_dir_all(&args.out).map_err(|error| io_error(&args.out, &error))?;
    let write = |name: &str, bytes: &[u8]| {
        let path = args.out.join(name);
        fs::write(&path, bytes).map_err(|error| io_error(&path, &error))
    };
    write("adapter_config.json", adapter_config(&session).as_bytes())?;
    write("adapter_model.safetensors", &to_safetensors(&vector)?)
}
