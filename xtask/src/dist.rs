//! `cargo xtask dist`: one folder that any static host can serve, below any
//! path, as the page refers to its parts by relative addresses only.

use std::fs;
use std::io;
use std::path::Path;

use crate::bundle;
use crate::failure::{Failure, OrMend, Result};
use crate::model;
use crate::process::say;
use crate::size;
use crate::workspace::Workspace;

/// Marks a folder that this command made and may replace.
const MARK: &str = ".playground-dist";

/// Builds everything and copies it into `folder`.
pub fn command(workspace: &Workspace, folder: &Path, with_model: bool) -> Result {
    let filled = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if filled && !folder.join(MARK).is_file() {
        return Err(Failure::new(
            format!(
                "{} has files that are not of an earlier dist",
                folder.display()
            ),
            "empty it or name another folder",
        ));
    }
    bundle::build_optimised(workspace)?;
    size::check(workspace)?;
    let model = with_model.then(|| model::fetch(workspace)).transpose()?;
    assemble(workspace, folder, model.as_deref()).or_mend(
        format!("could not write {}", folder.display()),
        "check the folder's rights and the free disk space",
    )?;
    say("dist", folder.display());
    Ok(())
}

fn assemble(workspace: &Workspace, folder: &Path, model: Option<&Path>) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    fs::write(folder.join(MARK), "")?;
    copy(&workspace.www(), folder, &|name| {
        !name.ends_with(".test.js")
    })?;
    copy(&workspace.pkg(), &folder.join("pkg"), &|name| {
        name.ends_with(".js") || name.ends_with(".wasm")
    })?;
    if let Some(model) = model {
        let models = folder.join("models");
        fs::create_dir_all(&models)?;
        fs::copy(model, models.join(model::FILE))?;
    }
    Ok(())
}

/// Copies a folder's files whose names are `wanted` and not hidden.
fn copy(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if text.starts_with('.') {
            continue;
        }
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(&name), wanted)?;
        } else if wanted(&text) {
            fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}
