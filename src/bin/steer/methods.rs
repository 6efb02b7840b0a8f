//! `steer methods`: the tables of docs/methods.md, or what is known of the methods.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use steering_playground::checkpoint::{Method, Trains, Wish};
use steering_playground::error::Result;
use steering_playground::hooks::Mask;
use steering_playground::methods::{METHODS, method_table};
use steering_playground::model::{Model, Weights};
use steering_playground::weights::{HostData, HostTensor};

use crate::args::{DeviceArg, whole};
use crate::load::{load_model, open_device};

#[derive(Args)]
pub(crate) struct Methods {
    /// Print one JSON object for each method: its card and the learning rate that it is trained with.
    #[arg(long)]
    json: bool,
    /// With --json: how many numbers each would train of this model, before training; a .gguf file, or a
    /// folder with config.json and safetensors.
    #[arg(long, requires = "json")]
    model: Option<PathBuf>,
    /// With --model: blocks to train: 9-20, 7, or all.
    #[arg(
        long,
        default_value = "",
        allow_hyphen_values = true,
        requires = "model"
    )]
    layers: String,
    /// With --model: ranks to count at, with commas between them. Where the first two make no
    /// difference, the others are left out.
    #[arg(long, value_delimiter = ',', default_value = "4", value_parser = whole::<usize>("ranks"),
          requires = "model")]
    ranks: Vec<usize>,
    /// With --ranks: once a rank has more numbers than this, with what is not trained, larger ones are not
    /// counted: some take minutes to begin.
    #[arg(long, value_parser = whole::<u64>("most"), requires = "ranks")]
    most: Option<u64>,
    /// With --json: these methods alone, by their files' names, with commas between them.
    #[arg(long, value_delimiter = ',', requires = "json")]
    only: Vec<String>,
}

pub(crate) async fn run(args: &Methods) -> Result<()> {
    if !args.json {
        print!("{}", method_table());
        return Ok(());
    }
    let session = match &args.model {
        Some(path) => {
            let device = open_device(DeviceArg::Cpu).await?;
            Some(load_model(path, &device, Weights::Quantised).await?)
        }
        None => None,
    };
    let mask = Mask::parse(&args.layers, "")?;
    let wanted = |method: &&&Method| {
        args.only.is_empty() || args.only.iter().any(|name| name == method.name)
    };
    for method in METHODS.iter().filter(wanted) {
        let mut facts = json!(method.card());
        if let Some(rate) = method.trains.rate() {
            facts["rate"] = json!(rate);
        }
        if let (Trains::From { .. }, Some(session)) = (method.trains, &session) {
            let mut counts: Vec<Value> = Vec::new();
            let mut too_many = usize::MAX;
            for &rank in &args.ranks {
                if rank > too_many {
                    continue;
                }
                counts.push(count(method, &session.model, &mask, rank));
                let last = counts.last();
                let numbers = |field: &str| last.and_then(|count| count[field].as_u64());
                let all = numbers("floats").unwrap_or(0) + numbers("integers").unwrap_or(0);
                if args.most.is_some_and(|most| all > most) {
                    too_many = rank;
                }
                if let [first, second] = &counts[..]
                    && first["parameters"].is_number()
                    && first["parameters"] == second["parameters"]
                {
                    break;
                }
            }
            facts["counts"] = counts.into();
        }
        println!("{facts}");
    }
    Ok(())
}

/// What the method's adapter holds before training, or why there is none of this rank.
fn count(method: &Method, model: &Model, mask: &Mask, rank: usize) -> Value {
    let wish = Wish {
        rank,
        mask: mask.clone(),
        seed: 0,
        // As many as a rank may ask for: which ones does not matter here.
        tokens: (0..1024).collect(),
        tasks: 1,
        experts: 0,
    };
    let made = match method.untrained(model, &wish) {
        Ok(made) => made,
        Err(error) => return json!({ "rank": rank, "refused": error.to_string() }),
    };
    let size = |tensor: &HostTensor| tensor.shape.iter().product::<usize>();
    let parameters: usize = made.parameters.values().map(size).sum();
    let all = || made.parameters.values().chain(made.constants.values());
    let whole = |tensor: &&HostTensor| matches!(tensor.data, HostData::Int(_));
    let integers: usize = all().filter(whole).map(size).sum();
    let floats = all().map(size).sum::<usize>() - integers;
    json!({ "rank": rank, "parameters": parameters, "floats": floats, "integers": integers })
}
