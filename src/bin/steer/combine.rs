//! `steer combine`: a weighted sum of control vectors, as one vector.

use std::path::PathBuf;

use clap::Args;
use steering_playground::error::{Error, Result};
use steering_playground::extract::ControlVector;

use crate::adapter_files::adapter_files;
use crate::args::number;
use crate::vector_files::write;

#[derive(Args)]
pub(crate) struct Combine {
    /// A control vector: its folder or file; repeat for several.
    #[arg(long = "vector", required = true)]
    vectors: Vec<PathBuf>,
    /// The weight of the vector at the same place, as --weight=-0.3; 1 where none is given.
    #[arg(long = "weight", allow_hyphen_values = true,
          value_parser = |text: &str| number::<f32>("weight", "a finite number", text))]
    weights: Vec<f32>,
    /// Folder to write adapter_config.json and adapter_model.safetensors into; or a .gguf file, as
    /// repeng and llama.cpp read it.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(args: &Combine) -> Result<()> {
    let (vectors, weights) = (args.vectors.len(), args.weights.len());
    if weights > vectors {
        return Err(Error::BadOption {
            name: "weight",
            expected: "at most one for each --vector",
            found: format!("{weights} for {vectors}"),
        });
    }
    let read = |path: &PathBuf| ControlVector::read(&adapter_files(path)?);
    let vectors: Vec<ControlVector> = args.vectors.iter().map(read).collect::<Result<_>>()?;
    let mut hints: Vec<&str> = vectors.iter().map(|vector| &*vector.model_hint).collect();
    hints.retain(|hint| !hint.is_empty());
    hints.dedup();
    if hints.len() > 1 {
        let hints = hints.join(", ");
        eprintln!("steer: warning: the vectors are for models of several families: {hints}");
    }
    let weights = args.weights.iter().copied().chain(std::iter::repeat(1.0));
    let terms: Vec<(f32, &ControlVector)> = weights.zip(&vectors).collect();
    write(&args.out, &ControlVector::sum(&terms)?)
}
