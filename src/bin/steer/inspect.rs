//! `steer inspect`: what an adapter is, and what loading it would refuse or warn of.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use steering_playground::adapters::{inspect, inspect_for, load as load_adapter};
use steering_playground::device::cpu;
use steering_playground::dose::{Place, What, picture};
use steering_playground::error::Result;
use steering_playground::model::Weights;

use crate::adapter_files::adapter_files;
use crate::args::{number, whole};
use crate::load::load_model;

#[derive(Args)]
pub(crate) struct Inspect {
    /// Folder with adapter_config.json and adapter_model.safetensors, or a .gguf file.
    dir: PathBuf,
    /// A .gguf file, or a folder: find all that loading for this model would refuse or warn of.
    #[arg(long)]
    model: Option<PathBuf>,
    /// With --model: what it makes of one weight, as q_proj, in a block, as 12:q_proj; of the first one unless
    /// named.
    #[arg(long, requires = "model", num_args = 0..=1, default_missing_value = "")]
    picture: Option<String>,
    /// With --picture: the coefficient.
    #[arg(long, requires = "picture", default_value_t = 1.0, allow_hyphen_values = true,
          value_parser = |text: &str| number::<f32>("coeff", "a finite number", text))]
    coeff: f32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The picture of a place, alone.
async fn show(args: &Inspect, model: &Path, place: &str) -> Result<()> {
    let session = load_model(model, &cpu(), Weights::Dense).await?;
    let adapter = load_adapter(&adapter_files(&args.dir)?, &session.model)?;
    let id = session.stack.borrow_mut().add(adapter);
    let (layer, module) = match place.split_once(':') {
        Some((layer, module)) => (Some(whole("picture")(layer)?), module),
        None => (None, place),
    };
    let place = Place {
        layer,
        module: (!module.is_empty()).then_some(module),
    };
    let found = picture(&session, id, place, args.coeff).await?;
    if args.json {
        println!("{}", json!(found));
        return Ok(());
    }
    let block = found.layer.map(|layer| format!(" of block {layer}"));
    println!(
        "{}{}, c = {}",
        found.module,
        block.unwrap_or_default(),
        found.c
    );
    let What::Weight(weight) = &found.what else {
        println!("{}", json!(found.what));
        return Ok(());
    };
    let [o, i] = weight.shape;
    let rank = weight.change.len();
    let or_more = if weight.is_whole { "" } else { " or more" };
    let list = |values: &[f64]| {
        let values = values.iter().take(8).map(|value| format!("{value:.4}"));
        values.collect::<Vec<_>>().join(" ")
    };
    println!("weight      {o} x {i}");
    println!(
        "change      {:.3} % of it, rank {rank}{or_more}",
        100.0 * weight.relative
    );
    println!("before      {}", list(&weight.base));
    println!("after       {}", list(&weight.steered));
    println!("of change   {}", list(&weight.change));
    println!("checks      {}", json!(weight.checks));
    Ok(())
}

pub(crate) async fn run(args: &Inspect) -> Result<()> {
    if let (Some(place), Some(model)) = (&args.picture, &args.model) {
        return show(args, model, place).await;
    }
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
        println!("hypothesis  {}", card.hypothesis);
        println!("limits      {}", card.limits);
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
