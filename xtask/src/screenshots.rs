//! `cargo xtask screenshots`: the pictures in `docs/screens/`, of the page as it is.

use std::process::Command;

use crate::bundle;
use crate::failure::Result;
use crate::model;
use crate::node;
use crate::process::{run, say};
use crate::serve;
use crate::tools;
use crate::workspace::Workspace;

/// Takes the pictures of `names`, or all of them.
pub fn command(workspace: &Workspace, names: &[String]) -> Result {
    bundle::build(workspace)?;
    model::fetch(workspace)?;
    let browser = tools::browser()?;
    let playwright = node::playwright_core(workspace)?;
    let address = serve::in_background(workspace)?;
    say("serving", &address);
    run(
        Command::new(node::require()?)
            .current_dir(&workspace.root)
            .arg("tests/screens.mjs")
            .args(names)
            .env("PLAYGROUND_URL", &address)
            .env("PLAYWRIGHT_CORE", &playwright)
            .env("CHROMIUM", &browser.chromium),
        "see what the script says above",
    )
}
