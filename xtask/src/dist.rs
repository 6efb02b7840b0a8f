//! `cargo xtask dist`: one folder that any static host can serve, below any
//! path, as the page refers to its parts by relative addresses only.
//!
//! The page's modules are one script there ([`crate::joined`]), without comments ([`crate::slim`]).
//!
//! All names but a few that are known from outside have a hash of the content
//! ([`crate::hashed`]), so that a browser may keep each file for ever. Beside every file that gets smaller by it lie `.br` and `.gz`,
//! for hosts that send those. The model has neither: its 98 MB of 4-bit
//! numbers would become 95 MB, and a download that breaks off is continued in
//! the bytes of the file. Nor have the weights of the zoo, which are fetched one
//! at a time: compressing all of them would take minutes for a tenth less.

use std::fs;
use std::io;
use std::path::Path;

use crate::bundle;
use crate::coding::{Coding, write_beside};
use crate::failure::{Failure, OrMend, Result};
use crate::guide;
use crate::hashed::{self, Files};
use crate::joined;
use crate::model;
use crate::process::say;
use crate::size;
use crate::slim;
use crate::workspace::Workspace;

/// How the names of TypeScript's projects end: the page has one, and its workers.
pub const PROJECT: &str = "jsconfig.json";

/// Marks a folder that this command made and may replace.
const MARK: &str = ".playground-dist";

/// Builds everything and writes it into `folder`.
pub fn command(workspace: &Workspace, folder: &Path, with_model: bool) -> Result {
    may_replace(folder)?;
    bundle::build_optimised(workspace)?;
    size::check(workspace)?;
    let model = with_model.then(|| model::fetch(workspace)).transpose()?;
    write(workspace, folder, model.as_deref())
}

/// Writes the page, what is in `pkg/` and `model` into `folder`.
pub fn write(workspace: &Workspace, folder: &Path, model: Option<&Path>) -> Result {
    may_replace(folder)?;
    let module = bundle::module(workspace);
    let compressed = bundle::compressed_module(workspace)?;
    let mut files = site(workspace).or_mend(
        "the page or its package could not be read",
        "run `cargo xtask build`, then this again",
    )?;
    files.extend(guide::pages(&workspace.root)?);
    slim::slim(&mut files);
    joined::join(&mut files)?;
    let renamed = hashed::rename(&files)?;
    let save = || -> io::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        fs::write(folder.join(MARK), "")?;
        for (old, (path, bytes)) in &renamed {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(&path, bytes)?;
            if is_of_zoo(old) {
                continue;
            }
            let is_module = module == workspace.root.join(old);
            write_beside(&path, bytes, |coding| {
                (is_module && coding == Coding::Brotli).then(|| compressed.clone())
            })?;
        }
        if let Some(model) = model {
            let models = folder.join("models");
            fs::create_dir_all(&models)?;
            fs::copy(model, models.join(model::FILE))?;
        }
        Ok(())
    };
    save().or_mend(
        format!("could not write {}", folder.display()),
        "check the folder's rights and the free disk space",
    )?;
    say("dist", folder.display());
    let shell = renamed.iter().filter(|(old, _)| is_of_shell(old));
    let sizes = shell.map(|(old, (path, bytes))| {
        let coded = Coding::Brotli.beside(&folder.join(path));
        let travels = fs::metadata(coded).map_or(bytes.len() as u64, |coded| coded.len());
        (old.as_str(), travels)
    });
    size::check_shell(&sizes.collect::<Vec<_>>())
}

/// Whether a file has the weights of an adapter of the zoo, `adapters/BEHAVIOUR/NAME/`; what the page
/// loads at its start lies in `adapters/NAME/`.
fn is_of_zoo(path: &str) -> bool {
    path.ends_with(".safetensors") && path.split('/').count() > 3
}

/// Whether a file comes with every first visit, besides the engine, recordings and adapters: the document, and
/// the styles and scripts of those who read it in English. The rest is for pages of others, and for those who
/// choose it.
fn is_of_shell(path: &str) -> bool {
    let other = ["pkg/", "words/de", "element.js", "zoo", "guide"];
    (path == "index.html" || path.ends_with(".css") || path.ends_with(".js"))
        && !other.iter().any(|start| path.starts_with(start))
}

/// A failure if `folder` has files that no dist has written.
fn may_replace(folder: &Path) -> Result {
    let filled = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if !filled || folder.join(MARK).is_file() {
        return Ok(());
    }
    Err(Failure::new(
        format!(
            "{} has files that are not of an earlier dist",
            folder.display()
        ),
        "empty it or name another folder",
    ))
}

/// The files of the page and of its package, as they lie beside each other.
fn site(workspace: &Workspace) -> io::Result<Files> {
    let mut files = page(&workspace.www())?;
    read(&workspace.pkg(), "pkg/", &mut files, &|name| {
        name.ends_with(".js") || name.ends_with(".wasm")
    })?;
    Ok(files)
}

/// The files of the page alone.
pub fn page(www: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    read(www, "", &mut files, &|name| {
        // The latter two tell Node that these scripts are modules, and TypeScript what they use.
        !name.ends_with(".test.js") && name != "package.json" && !name.ends_with(PROJECT)
    })?;
    Ok(files)
}

/// Reads a folder's files whose names are `wanted` and not hidden.
fn read(
    folder: &Path,
    below: &str,
    files: &mut Files,
    wanted: &dyn Fn(&str) -> bool,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            read(&path, &format!("{below}{name}/"), files, wanted)?;
        } else if wanted(&name) {
            files.insert(format!("{below}{name}"), fs::read(&path)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_is_what_every_first_visit_loads() {
        for (path, expected) in [
            ("index.html", true),
            ("sw.js", true),
            ("words/en.js", true),
            ("panels/zoo.js", true),
            ("words/de.js", false),
            ("words/de/page.js", false),
            ("pkg/steering_playground.js", false),
            ("zoo.html", false),
            ("guide.css", false),
            ("recorded/smollm2-135m.json", false),
        ] {
            assert_eq!(is_of_shell(path), expected, "{path}");
        }
    }

    #[test]
    fn weights_of_the_zoo_are_told_from_those_of_the_start() {
        for (path, expected) in [
            ("adapters/tone/lora/adapter_model.safetensors", true),
            ("adapters/tone/lora/row.json", false),
            ("adapters/tone-lora/adapter_model.safetensors", false),
        ] {
            assert_eq!(is_of_zoo(path), expected, "{path}");
        }
    }
}
