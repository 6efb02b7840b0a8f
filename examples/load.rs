//! Loads a model, says what it is, and lets it go on with a text.
//!
//! ```sh
//! cargo run --release --example load -- "$(cargo xtask model)"
//! ```
#![cfg_attr(target_arch = "wasm32", no_main)]
#![cfg(not(target_arch = "wasm32"))]

use std::env;
use std::error::Error;

use pollster::block_on;
use steering_playground::arch::ModelFile;
use steering_playground::device::cpu;
use steering_playground::model::Weights;
use steering_playground::session::{Request, Session, Step};
use steering_playground::weights::NativeFile;

fn main() -> Result<(), Box<dyn Error>> {
    block_on(run(&env::args().collect::<Vec<_>>()))
}

async fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let [_, model] = args else {
        return Err("name a .gguf file".into());
    };
    let file = ModelFile::open_gguf(NativeFile::open(model.as_ref())?).await?;
    let formats = file.formats().join(", ");
    println!("{}: {} numbers, {formats}", file.name(), file.parameters());

    // As the page computes; `Weights::Dense` widens all of them to f32, which is the reference.
    let session = Session::load(&file, None, &cpu(), Weights::Quantised, |_| {}).await?;
    let mut generation = session.generate(Request {
        prompt: Some("Once upon a time".into()),
        max_tokens: 24,
        ..Request::default()
    })?;
    while let Some(step) = generation.next().await? {
        if let Step::Token {
            steered: Some(token),
            ..
        } = step
        {
            print!("{}", token.text);
        }
    }
    println!();
    Ok(())
}
