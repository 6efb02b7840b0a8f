//! `steer inspect`: what an adapter is, and what loading it would refuse or warn of.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use steering_playground::adapters::{inspect, inspect_for};
use steering_playground::device::cpu;
use steering_playground::error::Result;
use steering_playground::model::Weights;

use crate::adapter_files::adapter_files;
use crate::load::load_model;

#[derive(Args)]
pub(crate) struct Inspect {
    /// Folder with adapter_config.json and adapter_model.safetensors, or a .gguf file.
    dir: PathBuf,
    /// A .gguf file, or a folder: find all that loading for this model would refuse or warn of.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Inspect) -> Result<()> {
    let files = adapter_files(&args.dir)?;
    let found = match &args.model {
        Some(model) => {
            let session = load_model(model, &cpu(), Weights::Dense).await?;
            inspect_for(&files, &session.model)?
        }
        None => inspect(&files)?,
    };
    if args.json {
        println!("{}", json!(found));
        return Ok(());
    }
    println!("{}", found.name);
    if let Some(card) = &found.method {
        println!("method      {} ({})", card.title, card.summary);
        println!("paper       {}", card.paper);
        println!(
            "formula     {}",
            card.formula.replace('\n', "\n            ")
        );
        println!("law         {}", card.law_words);
    }
    if let Some(base) = &found.base_model {
        println!("base        {base}");
    }
    println!("parameters  {}", found.parameters);
    if let Some(tasks) = found.tasks {
        println!("tasks       {tasks}, choose one with --task");
    }
    if let Some(skills) = found.skills {
        println!("skills      {skills}, or weigh them yourself with --experts");
    }
    if let Some(layers) = &found.layers {
        println!("layers      {layers}");
    }
    if let Some(model) = &found.model {
        println!("model       {model}");
    }
    if let Some(layers) = &found.layers_reached {
        println!("reaches     layers {layers}");
    }
    for warning in &found.warnings {
        println!("warning     {warning}");
    }
    println!("modules     {}", found.modules.len());
    for module in &found.modules {
        println!("            {module}");
    }
    if found.refused.is_empty() {
        println!("refused     nothing");
    }
    for (code, why) in &found.refused {
        println!("refused     [{code}] {why}");
    }
    Ok(())
}
