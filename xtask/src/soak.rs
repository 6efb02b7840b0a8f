//! `cargo xtask soak`: random sessions with the page, faults included, until the time is over.

use crate::failure::Result;
use crate::process::run;
use crate::scripted;
use crate::workspace::Workspace;

/// How long, and from which seed.
pub struct Options {
    /// No action begins after so many minutes; if `None`, ten.
    pub minutes: Option<u32>,
    /// What all choices come from; if `None`, the clock says one.
    pub seed: Option<u32>,
    /// Ends after so many actions, as a failure is repeated.
    pub actions: Option<u32>,
}

/// Fails with the first action after which something does not hold, and says how to repeat it.
pub fn command(workspace: &Workspace, options: &Options) -> Result {
    let mut soak = scripted::command(workspace, "tests/soak.mjs")?;
    soak.env("SOAK_PICTURES", workspace.target.join("soak"));
    let given = [
        ("--minutes", options.minutes),
        ("--seed", options.seed),
        ("--actions", options.actions),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            soak.arg(name).arg(value.to_string());
        }
    }
    run(
        &mut soak,
        "repeat it with the command that stands above, and mend what it finds",
    )
}
