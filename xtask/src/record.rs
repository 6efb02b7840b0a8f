//! `cargo xtask record`: the run that the page plays before a model is there.

use std::env;
use std::fs;
use std::process::Command;

use crate::coding::{Coding, Effort};
use crate::failure::{Failure, OrMend, Result};
use crate::model;
use crate::process::{run, say};
use crate::workspace::Workspace;

/// What is recorded, and where the page has it.
const PLAN: &str = "xtask/recording.json";
const RECORDING: &str = "www/recorded/smollm2-135m.json";

/// Gzipped, as a host sends it. It comes with the page, so it must be small.
const MOST_BYTES: usize = 300_000;

/// Records the plan with this build. With `check` nothing is written: the committed recording must be
/// the same, byte for byte, which only the processor that made it promises.
pub fn command(workspace: &Workspace, check: bool) -> Result {
    let model = model::fetch(workspace)?;
    run(
        workspace
            .cargo()
            .args(["build", "--release", "--bin", "steer"]),
        "mend what the compiler says",
    )?;
    let steer = workspace.target.join("release").join("steer");
    let made = workspace.target.join("recording.json");
    say("recording", PLAN);
    run(
        Command::new(steer.with_extension(env::consts::EXE_EXTENSION))
            .arg("record")
            .arg("--model")
            .arg(model)
            .arg("--plan")
            .arg(workspace.root.join(PLAN))
            .arg("--out")
            .arg(&made),
        "mend the plan as the message above says",
    )?;

    let mend = "check the folder's rights and the free disk space";
    let bytes = fs::read(&made).or_mend(format!("could not read {}", made.display()), mend)?;
    let zipped = Coding::Gzip.compress(&bytes, Effort::Best).len();
    say(
        "size",
        format!(
            "{} bytes, {zipped} gzipped (at most {MOST_BYTES})",
            bytes.len()
        ),
    );
    if zipped > MOST_BYTES {
        return Err(Failure::new(
            format!("the recording is {zipped} bytes, gzipped, of {MOST_BYTES}"),
            "let the plan keep fewer `top` tokens, or fewer coefficients",
        ));
    }

    let committed = workspace.root.join(RECORDING);
    if !check {
        return fs::create_dir_all(workspace.www().join("recorded"))
            .and_then(|()| fs::write(&committed, bytes))
            .or_mend(format!("could not write {}", committed.display()), mend);
    }
    if fs::read(&committed).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    Err(Failure::new(
        format!("{RECORDING} is not what this build records"),
        "`cargo xtask record` writes it again; on another processor than the one that made it, \
             near ties may differ, and `cargo test` says whether more does",
    ))
}
