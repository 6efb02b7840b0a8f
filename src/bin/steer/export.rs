//! `steer export`: an adapter as a GGUF file for llama.cpp, or as a folder that PEFT reads.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use steering_playground::checkpoint::BASES_FILE;
use steering_playground::error::{Error, Result};
use steering_playground::export::{Export as GgufExport, Folder, PeftExport};

use crate::args::SessionArgs;
use crate::files::io_error;
use crate::load::open_with_files;

const CONFIG_FILE: &str = "adapter_config.json";
const WEIGHTS_FILE: &str = "adapter_model.safetensors";

#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    session: SessionArgs,
    /// What to write of the one --adapter at its --coeff: a file whose name ends in .gguf, for llama.cpp,
    /// or a folder, for PEFT.
    #[arg(long)]
    to: PathBuf,
}

pub(crate) async fn run(args: &Export) -> Result<()> {
    let is_gguf = args
        .to
        .extension()
        .is_some_and(|ext| ext.eq_ignore_ascii_case("gguf"));
    if !is_gguf
        && [CONFIG_FILE, WEIGHTS_FILE]
            .iter()
            .any(|file| args.to.join(file).exists())
    {
        return Err(Error::BadOption {
            name: "to",
            expected: "a folder without an adapter in it, or a name that ends in .gguf",
            found: args.to.display().to_string(),
        });
    }
    let (session, files) = open_with_files(&args.session).await?;
    let [files] = &files[..] else {
        return Err(Error::BadOption {
            name: "adapter",
            expected: "exactly one to export",
            found: files.len().to_string(),
        });
    };
    if is_gguf {
        let export = GgufExport::new(&session.stack.borrow().entries()[0]);
        let bytes = export.gguf(&session.model).await?;
        fs::write(&args.to, bytes).map_err(|error| io_error(&args.to, &error))
    } else {
        let export = PeftExport::new(files, &session.stack.borrow().entries()[0])?;
        write(&args.to, &export.folder(&session.model).await?)
    }
}

fn write(to: &Path, folder: &Folder) -> Result<()> {
    fs::create_dir_all(to).map_err(|error| io_error(to, &error))?;
    let put = |name: &str, bytes: &[u8]| {
        let path = to.join(name);
        fs::write(&path, bytes).map_err(|error| io_error(&path, &error))
    };
    put(CONFIG_FILE, folder.config.as_bytes())?;
    put(WEIGHTS_FILE, &folder.weights)?;
    if let Some(bases) = &folder.bases {
        put(BASES_FILE, bases)?;
    }
    for (number, expert) in folder.experts.iter().enumerate() {
        write(&to.join(number.to_string()), expert)?;
    }
    Ok(())
}
