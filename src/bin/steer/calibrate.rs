//! `steer calibrate`: the coefficients of a strength.

use clap::Args;
use steering_playground::dose::{Side, calibrate};
use steering_playground::error::Result;

use crate::args::number;
use crate::dosed::{DoseArgs, told};

#[derive(Args)]
pub(crate) struct Calibrate {
    #[command(flatten)]
    dosed: DoseArgs,
    /// The strength: the 95th percentile of the KL from the base on neutral answers.
    #[arg(long, default_value_t = 1.0, allow_hyphen_values = true,
          value_parser = |text: &str| number::<f64>("nats", "a strength above 0, up to 20", text))]
    nats: f64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Calibrate) -> Result<()> {
    let dosed = args.dosed.open().await?;
    let found = calibrate(&dosed.subject(), &dosed.contrast, args.nats, told).await?;
    if args.json {
        println!("{}", serde_json::json!(found));
        return Ok(());
    }
    println!("below 0: {}", words(&found.negative));
    println!("above 0: {}", words(&found.positive));
    Ok(())
}

/// One side in words.
pub(crate) fn words(side: &Side) -> String {
    let (kl, nll) = (side.kl_p95_nats, side.nll_shift_nats);
    let cost = format!("KL {kl:.3} nats (95th percentile), NLL shift {nll:+.3}");
    let note = side.note.as_ref();
    match (side.c, note) {
        (Some(c), None) => format!("c = {c:.3}: {cost}"),
        (Some(c), Some(note)) => format!("c = {c:.3}: {cost}; {note}"),
        (None, note) => format!("{}; {cost}", note.map_or("none", |note| note)),
    }
}
