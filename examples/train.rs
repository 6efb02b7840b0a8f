//! Trains a steering vector on the shipped pairs of a behaviour, and writes it as PEFT's folder (docs/training.md).
//! Any method that trains is trained alike: `steer methods` lists them.
//!
//! ```sh
//! cargo run --release --example train -- "$(cargo xtask model)" tone my-vector
//! cargo run --release --example measure -- "$(cargo xtask model)" my-vector tone
//! ```
#![cfg_attr(target_arch = "wasm32", no_main)]
#![cfg(not(target_arch = "wasm32"))]

use std::env;
use std::error::Error;
use std::fs;

use pollster::block_on;
use steering_playground::arch::ModelFile;
use steering_playground::device::cpu;
use steering_playground::dose::Contrast;
use steering_playground::model::Weights;
use steering_playground::session::Session;
use steering_playground::text::Variables;
use steering_playground::train::{TrainOptions, Trainer};
use steering_playground::weights::NativeFile;

fn main() -> Result<(), Box<dyn Error>> {
    block_on(run(&env::args().collect::<Vec<_>>()))
}

async fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let [_, model, behaviour, out] = args else {
        return Err("name a .gguf file, a behaviour and a folder to write".into());
    };
    let contrast = Contrast::shipped(behaviour)?;
    let file = ModelFile::open_gguf(NativeFile::open(model.as_ref())?).await?;
    let session = Session::load(&file, None, &cpu(), Weights::Quantised, |_| {}).await?;
    let options = TrainOptions {
        layers: "12-13".into(),
        steps: 24,
        ..TrainOptions::default()
    };
    let variables = Variables::new();
    let mut trainer = Trainer::new(&session, &contrast, "bipo", &options, &variables).await?;
    println!("{} numbers", trainer.parameters());
    while !trainer.is_done() {
        let step = trainer.step().await?;
        println!(
            "step {}: c = {:+}, loss {:.4}",
            step.step, step.sign, step.loss
        );
    }
    // The best state that the stop rows saw, else the last.
    let files = trainer.files().await?;
    fs::create_dir_all(out)?;
    fs::write(format!("{out}/adapter_config.json"), files.config)?;
    fs::write(format!("{out}/adapter_model.safetensors"), files.weights)?;
    Ok(())
}
