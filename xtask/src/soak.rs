//! `cargo xtask soak`: random sessions with the page, faults included, until the time is over.

use std::process::Command;

use crate::bundle;
use crate::failure::Result;
use crate::model;
use crate::node;
use crate::process::{run, say};
use crate::serve;
use crate::tools;
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
    bundle::build(workspace)?;
    model::fetch(workspace)?;
    let browser = tools::browser()?;
    let playwright = node::playwright_core(workspace)?;
    let address = serve::in_background(workspace)?;
    say("serving", &address);
    let mut soak = Command::new(node::require()?);
    soak.current_dir(&workspace.root)
        .arg("tests/soak.mjs")
        .env("PLAYGROUND_URL", &address)
        .env("PLAYWRIGHT_CORE", &playwright)
        .env("CHROMIUM", &browser.chromium)
        .env("SOAK_PICTURES", workspace.target.join("soak"));
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
