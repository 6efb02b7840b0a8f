//! Measures what an adapter's coefficient does to the answers of a behaviour (docs/measuring.md).
//!
//! ```sh
//! cargo run --release --example measure -- "$(cargo xtask model)" www/adapters/tone-lora tone
//! ```
#![cfg_attr(target_arch = "wasm32", no_main)]
#![cfg(not(target_arch = "wasm32"))]

use std::env;
use std::error::Error;
use std::fs;

use pollster::block_on;
use steering_playground::adapters::load;
use steering_playground::arch::ModelFile;
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::device::cpu;
use steering_playground::dose::{Contrast, MeasureOptions, Progress, Subject, measure};
use steering_playground::model::Weights;
use steering_playground::session::Session;
use steering_playground::text::Variables;
use steering_playground::weights::NativeFile;

fn main() -> Result<(), Box<dyn Error>> {
    block_on(run(&env::args().collect::<Vec<_>>()))
}

async fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let [_, model, folder, behaviour] = args else {
        return Err("name a .gguf file, an adapter's folder and a behaviour".into());
    };
    let contrast = Contrast::shipped(behaviour)?;
    let file = ModelFile::open_gguf(NativeFile::open(model.as_ref())?).await?;
    let session = Session::load(&file, None, &cpu(), Weights::Quantised, |_| {}).await?;
    let files = AdapterFiles {
        name: folder.clone(),
        config: Some(fs::read(format!("{folder}/adapter_config.json"))?),
        weights: fs::read(format!("{folder}/adapter_model.safetensors"))?,
        ..AdapterFiles::default()
    };
    let adapter = load(&files, &session.model)?;
    let id = session.stack.borrow_mut().add(adapter);
    let variables = Variables::new();
    let subject = Subject::new(&session, vec![(id, 1.0)], &variables);
    let options = MeasureOptions::default();
    let found = measure(&subject, &contrast, &options, told).await?;
    for (c, d) in found.coefficients.iter().zip(&found.d_nats) {
        println!("c = {c:4.1}: the positive answer is likelier by {d:.2} nats per token");
    }
    Ok(())
}

/// An error from here would end the measurement.
async fn told(Progress { done, total }: Progress) -> steering_playground::Result<()> {
    eprint!("\r{done} of {total} ");
    Ok(())
}
