//! `steer logits`: the logits after given tokens.

use clap::Args;
use serde_json::json;
use steering_playground::device::read_back;
use steering_playground::error::Result;
use steering_playground::model::Positions;

use crate::args::{SessionArgs, number};
use crate::load::open;

#[derive(Args)]
pub(crate) struct Logits {
    #[command(flatten)]
    session: SessionArgs,
    /// Token ids, separated by commas.
    #[arg(long, value_delimiter = ',', required = true, allow_hyphen_values = true,
          value_parser = |text: &str| number::<u32>(
              "tokens", "token ids, whole numbers from 0, with commas", text))]
    tokens: Vec<u32>,
    /// Every position's logits instead of the last one's.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Logits) -> Result<()> {
    let session = open(&args.session).await?;
    let steering = session.stack.borrow_mut().steering();
    let positions = if args.all {
        Positions::All
    } else {
        Positions::Last
    };
    let mut cache = session.model.new_cache();
    let logits = session
        .model
        .forward(&args.tokens, &mut cache, &steering, positions)?;
    let Some(logits) = logits else { return Ok(()) };
    let logits = read_back(logits).await?;
    let first = if args.all { 0 } else { args.tokens.len() - 1 };
    session.check_logits(&logits, first, &steering)?;
    let vocab = session.model.config().vocab_size;
    let rows: Vec<&[f32]> = logits.chunks(vocab).collect();
    match (args.json, args.all) {
        (true, true) => println!("{}", json!({ "logits": rows })),
        (true, false) => println!("{}", json!({ "logits": rows[0] })),
        (false, _) => {
            for row in rows {
                let numbers: Vec<String> = row.iter().map(f32::to_string).collect();
                println!("{}", numbers.join(" "));
            }
        }
    }
    Ok(())
}
