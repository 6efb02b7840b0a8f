//! `steer layers`: which blocks carry an effect.

use clap::Args;
use steering_playground::dose::layer_map;
use steering_playground::error::Result;

use crate::args::number;
use crate::calibrate::words;
use crate::dosed::{DoseArgs, told};

#[derive(Args)]
pub(crate) struct Layers {
    #[command(flatten)]
    dosed: DoseArgs,
    /// The strength of each block alone: the 95th percentile of the KL from the base.
    #[arg(long, default_value_t = 0.25, allow_hyphen_values = true,
          value_parser = |text: &str| number::<f64>("nats", "a strength above 0, up to 20", text))]
    nats: f64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Layers) -> Result<()> {
    let dosed = args.dosed.open().await?;
    let found = layer_map(&dosed.subject(), &dosed.contrast, args.nats, told).await?;
    if args.json {
        println!("{}", serde_json::json!(found));
        return Ok(());
    }
    println!("each block alone at {} nats", found.target_nats);
    println!();
    println!("block        c   d(c) - d(-c), nats");
    let effects = found.layers.iter().filter_map(|layer| layer.effect_nats);
    let largest = effects.fold(1e-9, |largest: f64, effect| largest.max(effect.abs()));
    for layer in &found.layers {
        match (layer.c, layer.effect_nats) {
            (Some(c), Some(effect)) => {
                let long = (effect.abs() / largest * WIDTH).round() as usize;
                let bar = if effect < 0.0 { "░" } else { "█" }.repeat(long);
                println!("{:5}  {c:7.2}  {effect:+7.3}  {bar}", layer.layer);
            }
            _ => println!(
                "{:5}  does not reach it: {:.3} nats at most",
                layer.layer, layer.kl_p95_nats
            ),
        }
    }
    println!();
    match found.suggestion {
        Some(found) => println!("suggested: layers {}, {}", found.layers, words(&found.dose)),
        None => println!("no block carries an effect above 0"),
    }
    Ok(())
}

/// Columns of the longest bar.
const WIDTH: f64 = 30.0;
