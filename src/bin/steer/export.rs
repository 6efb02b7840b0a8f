//! `steer export`: an adapter as a GGUF file for llama.cpp.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use steering_playground::error::{Error, Result};
use steering_playground::export::Export as GgufExport;

use crate::args::SessionArgs;
use crate::files::io_error;
use crate::load::open;

#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    session: SessionArgs,
    /// The file to write; it holds the one --adapter at its --coeff.
    #[arg(long)]
    to: PathBuf,
}

pub(crate) async fn run(args: &Export) -> Result<()> {
    let session = open(&args.session).await?;
    let export = match session.stack.borrow().entries() {
        [entry] => GgufExport::new(entry),
        entries => {
            return Err(Error::BadOption {
                name: "adapter",
                expected: "exactly one to export",
                found: entries.len().to_string(),
            });
        }
    };
    let bytes = export.gguf(&session.model).await?;
    fs::write(&args.to, bytes).map_err(|error| io_error(&args.to, &error))
}
