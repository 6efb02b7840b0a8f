//! `steer measure`: what coefficients do to the answers of a behaviour, and to neutral ones.

use std::time::Instant;

use clap::Args;
use steering_playground::dose::{MeasureOptions, Measurement, Split, measure};
use steering_playground::error::{Error, Result};

use crate::args::{number, whole};
use crate::dosed::{DoseArgs, told};

#[derive(Args)]
pub(crate) struct Measure {
    #[command(flatten)]
    dosed: DoseArgs,
    /// Which rows: train, stop or test.
    #[arg(long, default_value = "test", value_parser = split)]
    split: Split,
    /// Values of c with commas between them; -1, 0 and 1 are added. From -2 to 2 in halves unless
    /// given, as far as the laws admit them.
    #[arg(id = "coeffs", long = "coeffs", value_delimiter = ',', allow_hyphen_values = true,
          value_parser = |text: &str| number::<f32>("coeffs", "finite numbers with commas", text))]
    coefficients: Option<Vec<f32>>,
    /// Seed of the interval and of the texts whose repetitions are counted.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true, value_parser = whole::<u64>("seed"))]
    seed: u64,
    /// Leave out what takes long: the repetitions in generated texts, and asking by a system message.
    #[arg(long)]
    brief: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn split(name: &str) -> Result<Split> {
    Split::named(name).ok_or_else(|| Error::BadOption {
        name: "split",
        expected: "train, stop or test",
        found: name.into(),
    })
}

pub(crate) async fn run(args: &Measure) -> Result<()> {
    let dosed = args.dosed.open().await?;
    let mut options = MeasureOptions {
        coefficients: args.coefficients.clone(),
        split: args.split,
        seed: args.seed,
        ..MeasureOptions::default()
    };
    if args.brief {
        options.repetition_tokens = 0;
        options.prompting = false;
    }
    let started = Instant::now();
    let mut found = measure(&dosed.subject(), &dosed.contrast, &options, told).await?;
    found.seconds = Some(started.elapsed().as_secs_f64());
    if args.json {
        println!("{}", serde_json::json!(found));
    } else {
        print(&found);
    }
    Ok(())
}

/// A table with a small plot, and what the numbers say.
fn print(found: &Measurement) {
    for adapter in &found.adapters {
        let scale = if adapter.scale == 1.0 {
            String::new()
        } else {
            format!(", times {}", adapter.scale)
        };
        println!(
            "{} ({}, {} law{scale})",
            adapter.name, adapter.method, adapter.law
        );
    }
    let (prompts, split) = (found.prompts.len(), found.split.name());
    println!("{}: {prompts} {split} prompts", found.behaviour);
    println!();
    println!("     c   d, nats  {:WIDTH$}  KL p95  NLL shift", "");
    let all = || found.d_nats.iter().copied();
    let low = all().fold(0.0, f64::min);
    let range = (all().fold(0.0, f64::max) - low).max(1e-9);
    let column = |d: f64| ((d - low) / range * (WIDTH - 1) as f64).round() as usize;
    for (at, (c, d)) in found.coefficients.iter().zip(&found.d_nats).enumerate() {
        let (zero, here) = (column(0.0), column(*d));
        let cell = |at: usize| match at {
            at if at == here => '●',
            at if at == zero => '│',
            at if (zero.min(here)..zero.max(here)).contains(&at) => '─',
            _ => ' ',
        };
        let bar: String = (0..WIDTH).map(cell).collect();
        let (kl, nll) = (found.kl_nats.p95[at], found.nll_shift_nats[at]);
        println!("{c:6.2}  {d:8.3}  {bar}  {kl:6.3}  {nll:+9.3}");
    }
    for c in &found.coefficients_left_out {
        println!("{c:6.2}  outside the law's domain");
    }
    println!();
    let slope = &found.slope;
    println!(
        "slope {:.3} nats for each unit of c (95 % of resampled prompts: {:.3} to {:.3})",
        slope.mean, slope.low, slope.high
    );
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    println!(
        "ordered -1 < 0 < 1: {} of prompts; wrong way: {}; Kendall's tau {:.2}",
        percent(found.ordered_share),
        percent(found.wrong_way_share),
        found.kendall_tau
    );
    if let Some(symmetry) = found.symmetry {
        println!("symmetry {symmetry:.2} (1: -1 takes away what 1 adds)");
    }
    if let Some(error) = found.inverse_error {
        println!("inverse error {error:.1e} (how far -1 is from undoing 1)");
    }
    if let Some(asked) = &found.prompting {
        println!(
            "asked for by a system message instead: d {:.3} for more, {:.3} for less",
            asked.positive, asked.negative
        );
    }
    if let Some(repeats) = &found.repetition {
        println!(
            "repeated 4-grams at -1, 0, 1: {}, {}, {}",
            percent(repeats.reversed),
            percent(repeats.base),
            percent(repeats.trained)
        );
    }
}

/// Columns of the plot.
const WIDTH: usize = 33;
