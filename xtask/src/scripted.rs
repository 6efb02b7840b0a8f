//! Scripts that drive the page in Chromium: what they are run with.

use std::process::Command;

use crate::bundle;
use crate::failure::Result;
use crate::model;
use crate::node;
use crate::process::say;
use crate::serve;
use crate::tools;
use crate::workspace::Workspace;

/// Node with a script of the repository, which finds the page, as it is now, and the browser in its environment.
pub fn command(workspace: &Workspace, script: &str) -> Result<Command> {
    bundle::build(workspace)?;
    model::fetch(workspace)?;
    let browser = tools::browser()?;
    let playwright = node::playwright_core(workspace)?;
    let address = serve::in_background(workspace)?;
    say("serving", &address);
    let mut command = Command::new(node::require()?);
    command
        .current_dir(&workspace.root)
        .arg(script)
        .env("PLAYGROUND_URL", &address)
        .env("PLAYWRIGHT_CORE", &playwright)
        .env("CHROMIUM", &browser.chromium);
    Ok(command)
}
