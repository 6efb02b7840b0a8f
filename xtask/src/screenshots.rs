//! `cargo xtask screenshots`: the pictures in `docs/screens/`, of the page as it is.

use crate::failure::Result;
use crate::process::run;
use crate::scripted;
use crate::workspace::Workspace;

/// Takes the pictures of `names`, or all of them.
pub fn command(workspace: &Workspace, names: &[String]) -> Result {
    run(
        scripted::command(workspace, "tests/screens.mjs")?.args(names),
        "see what the script says above",
    )
}
