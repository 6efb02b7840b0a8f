//! Starting other programs.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use crate::failure::{Failure, OrMend, Result};

/// Prints the line that a step says what it does with.
pub fn say(step: &str, what: impl std::fmt::Display) {
    eprintln!("{step:>14}  {what}");
}

/// Runs `command` with the terminal's streams; a non-zero exit is a failure.
///
/// Its standard output goes to our standard error: standard output is kept
/// for the results of our own commands.
pub fn run(command: &mut Command, mend: &str) -> Result {
    run_printing(command.stdout(std::io::stderr()), mend)
}

/// Runs `command` as [`run`] does; what it prints is our result.
pub fn run_printing(command: &mut Command, mend: &str) -> Result {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .status()
        .or_mend(format!("could not start {name}"), mend)?;
    judge(command, status, mend)
}

/// How `command` ended: a non-zero exit is a failure.
pub fn judge(command: &Command, status: ExitStatus, mend: &str) -> Result {
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(
            format!("`{}` failed ({status})", line(command)),
            mend,
        ))
    }
}

/// Standard output of `command`, trimmed, or `None` if it cannot be run or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// True if `command` can be run and succeeds; it prints nothing.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The program called `name` on the search path.
pub fn find(name: &str) -> Option<PathBuf> {
    let name = format!("{name}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(&name))
        .find(|candidate| candidate.is_file())
}

/// The search path with `folders` in front.
pub fn path_with(folders: &[PathBuf]) -> OsString {
    let old = env::var_os("PATH").unwrap_or_default();
    let all = folders.iter().cloned().chain(env::split_paths(&old));
    env::join_paths(all).unwrap_or(old)
}

/// The command as a person would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
