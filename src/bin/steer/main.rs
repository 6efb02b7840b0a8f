//! `steer`: the playground's core in a terminal. One file per subcommand; what several of them need
//! is in these:
//!
//! ```text
//! args.rs           shared arguments, and how values are read
//! load.rs           paths -> a session: device, model, adapters
//! adapter_files.rs  a path -> the files of an adapter
//! dosed.rs          what measuring subcommands share: pairs, a subject, progress
//! vector_files.rs   a control vector -> files
//! hub.rs            a model or adapter of the Hub, or by its address -> a path
//! download.rs       an address -> a file, verified
//! files.rs          reading, and errors that name files
//! report.rs         standard output, times and memory
//! ```
#![cfg_attr(target_arch = "wasm32", no_main)]
#![cfg(not(target_arch = "wasm32"))]

#[macro_use]
mod report;

mod adapter_files;
mod args;
mod bench;
mod calibrate;
mod combine;
mod dosed;
mod download;
mod export;
mod extract;
mod files;
mod generate;
mod gpu;
mod hub;
mod inspect;
mod layers;
mod load;
mod logits;
mod measure;
mod methods;
mod record;
mod train;
mod vector_files;

use std::error::Error as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pollster::block_on;
use steering_playground::error::Error;

use bench::Bench;
use calibrate::Calibrate;
use combine::Combine;
use export::Export;
use extract::Extract;
use generate::Generate;
use gpu::Gpu;
use inspect::Inspect;
use layers::Layers;
use logits::Logits;
use measure::Measure;
use methods::Methods;
use record::Record;
use train::Train;

#[derive(Parser)]
#[command(
    version,
    about = "Turn adapters from -1 through 0 to +1 while a small model speaks"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Continue a text or answer a chat.
    Generate(Generate),
    /// Print the logits after given tokens.
    Logits(Logits),
    /// Explain an adapter folder.
    Inspect(Inspect),
    /// Measure what coefficients do to the answers of a behaviour, and to neutral ones.
    Measure(Measure),
    /// Find the coefficients of a strength in nats.
    Calibrate(Calibrate),
    /// Find out which blocks carry an effect.
    Layers(Layers),
    /// Extract a control vector from pairs of contrasting texts.
    Extract(Extract),
    /// Train an adapter of any method from pairs of contrasting answers.
    Train(Train),
    /// Add control vectors, each times a weight, into one.
    Combine(Combine),
    /// Write an adapter at a coefficient, as a GGUF file for llama.cpp or as a folder for PEFT.
    Export(Export),
    /// Record what a model generates along the coefficients of adapters, for a page to play.
    Record(Record),
    /// Measure loading, prefill and decoding.
    Bench(Bench),
    /// Measure a GPU: what it gives at best, and what a token makes of that.
    Gpu(Gpu),
    /// Print the table of methods, or what is known of the methods.
    Methods(Methods),
}

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(Cli { command }) => command,
        // An option that our own parsers refuse is printed as every other error.
        Err(error) => match error.source().and_then(|why| why.downcast_ref()) {
            Some(refused) => return fail(refused),
            None => error.exit(),
        },
    };
    let result = match command {
        Command::Generate(args) => block_on(generate::run(&args)),
        Command::Logits(args) => block_on(logits::run(&args)),
        Command::Inspect(args) => block_on(inspect::run(&args)),
        Command::Measure(args) => block_on(measure::run(&args)),
        Command::Calibrate(args) => block_on(calibrate::run(&args)),
        Command::Layers(args) => block_on(layers::run(&args)),
        Command::Extract(args) => block_on(extract::run(&args)),
        Command::Train(args) => block_on(train::run(&args)),
        Command::Combine(args) => combine::run(&args),
        Command::Export(args) => block_on(export::run(&args)),
        Command::Record(args) => block_on(record::run(&args)),
        Command::Bench(args) => block_on(bench::run(&args)),
        Command::Gpu(args) => block_on(gpu::run(&args)),
        Command::Methods(args) => block_on(methods::run(&args)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("steer: {error} [{}]", error.code());
    ExitCode::FAILURE
}
