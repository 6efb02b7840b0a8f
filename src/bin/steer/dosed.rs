//! What measuring subcommands share: the pairs, what c turns, and how far it is.

use std::fs::File;
use std::io::{IsTerminal, Read, stderr};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use sha2::{Digest, Sha256};
use steering_playground::dose::{Contrast, Progress, Subject};
use steering_playground::error::Result;
use steering_playground::session::Session;
use steering_playground::text::Variables;
use steering_playground::weights::hex;

use crate::args::{SessionArgs, variable};
use crate::files::{io_error, read};
use crate::hub;
use crate::load::open;

#[derive(Args)]
pub(crate) struct DoseArgs {
    #[command(flatten)]
    pub(crate) session: SessionArgs,
    /// A file of contrasting answers (docs/measuring.md); the shipped one unless given.
    #[arg(long)]
    pairs: Option<PathBuf>,
    /// Which of its behaviours.
    #[arg(long)]
    behaviour: String,
    /// A variable that the chat template reads, as NAME=VALUE; repeat for several.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, Value)>,
}

/// A session, what c turns in it, and the pairs.
pub(crate) struct Dosed {
    session: Session,
    variables: Variables,
    pub(crate) contrast: Contrast,
}

impl DoseArgs {
    pub(crate) async fn open(&self) -> Result<Dosed> {
        // The pairs first: they are read in no time, and a model takes a while.
        let contrast = match &self.pairs {
            Some(path) => {
                Contrast::read(&path.display().to_string(), &read(path)?, &self.behaviour)?
            }
            None => Contrast::shipped(&self.behaviour)?,
        };
        let mut session = open(&self.session).await?;
        session.file_sha256 = model_sha256(&hub::model(&self.session.model)?)?;
        Ok(Dosed {
            session,
            variables: self.variables.iter().cloned().collect(),
            contrast,
        })
    }
}

impl Dosed {
    /// All adapters; c is multiplied by what `--coeff` gave each.
    pub(crate) fn subject(&self) -> Subject<'_> {
        let stack = self.session.stack.borrow();
        let scaled = stack.entries().iter();
        let scaled = scaled.map(|entry| (entry.id, entry.coefficient)).collect();
        Subject::new(&self.session, scaled, &self.variables)
    }
}

/// Says how far it is, where somebody looks.
pub(crate) async fn told(Progress { done, total }: Progress) -> Result<()> {
    if stderr().is_terminal() {
        eprint!("\r{done} of {total} readings \x1b[K");
        if done + 1 >= total {
            eprint!("\r\x1b[K");
        }
    }
    Ok(())
}

/// The SHA-256 of a model's file; of a folder that of its `model.safetensors`, if it has one.
pub(crate) fn model_sha256(path: &Path) -> Result<Option<String>> {
    let path = if path.is_dir() {
        path.join("model.safetensors")
    } else {
        path.to_owned()
    };
    if !path.is_file() {
        return Ok(None);
    }
    let failed = |error| io_error(&path, &error);
    let mut file = File::open(&path).map_err(failed)?;
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece).map_err(failed)? {
            0 => return Ok(Some(hex(&hasher.finalize()))),
            bytes => hasher.update(&piece[..bytes]),
        }
    }
}
