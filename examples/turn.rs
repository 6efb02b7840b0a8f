//! Turns an adapter: one text each at c = −1, 0 and 1, and one whose c is turned while it is written.
//!
//! ```sh
//! cargo run --release --example turn -- "$(cargo xtask model)" www/adapters/tone-lora
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
use steering_playground::model::Weights;
use steering_playground::session::{Request, Session, Step};
use steering_playground::weights::NativeFile;

fn main() -> Result<(), Box<dyn Error>> {
    block_on(run(&env::args().collect::<Vec<_>>()))
}

async fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let [_, model, folder] = args else {
        return Err("name a .gguf file and an adapter's folder".into());
    };
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
    for (first, later) in [(-1.0, -1.0), (0.0, 0.0), (1.0, 1.0), (-1.0, 1.0)] {
        session.stack.borrow_mut().set_coefficient(id, first)?;
        let mut generation = session.generate(Request {
            prompt: Some("How was my day? It was".into()),
            max_tokens: 32,
            ..Request::default()
        })?;
        print!("\nc = {first}, then {later}: ");
        while let Some(step) = generation.next().await? {
            let Step::Token { index, steered, .. } = step else {
                continue;
            };
            print!("{}", steered.map_or(String::new(), |token| token.text));
            if index == 12 {
                session.stack.borrow_mut().set_coefficient(id, later)?;
            }
        }
    }
    println!();
    Ok(())
}
