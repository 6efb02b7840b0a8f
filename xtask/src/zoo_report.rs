//! The zoo's report: `docs/zoo.md` with its drawings, the page `www/zoo.html`, and the list from which
//! the playground chooses, `www/adapters/zoo.json`; all are made of every `www/adapters/*/*/row.json`,
//! of `www/adapters/zoo-claims.json`, of the methods' own words, and of what `docs/zoo.notes.md` says by hand.
//!
//! ```text
//! rows.rs        a row, and what is read off it alone
//! catalogue.rs   the methods' families and hypotheses
//! zoo.rs         all rows beside each other, the judging rule
//! claims.rs      the list's claims and their verdicts
//! verdicts.rs    what is said of them
//! trials.rs      the claims that took measurements of their own
//! sections.rs    the report's parts
//! plots.rs       its drawings
//! document.rs    Markdown and HTML from one text
//! listed.rs      the playground's list
//! written.rs     how numbers are written
//! ```

mod catalogue;
mod claims;
mod document;
mod listed;
mod plots;
mod rows;
mod sections;
#[cfg(test)]
mod tests;
mod trials;
mod verdicts;
mod written;
mod zoo;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrMend, Result};
use crate::process::say;
use crate::workspace::Workspace;
use document::Block;
use zoo::Zoo;

/// The report's files by their paths from the root.
type Files = BTreeMap<PathBuf, String>;

const DOC: &str = "docs/zoo.md";
const NOTES: &str = "docs/zoo.notes.md";
const DRAWINGS: &str = "docs/zoo";
const PAGE: &str = "www/zoo.html";
const LIST: &str = "www/adapters/zoo.json";
const MEND: &str = "run `cargo xtask zoo --report`, and commit what it writes";

/// Writes the report; drawings of earlier ones that it no longer has are removed.
pub fn write(workspace: &Workspace) -> Result {
    let files = made(&workspace.root)?;
    if files.is_empty() {
        return Err(Failure::new(
            "no www/adapters/BEHAVIOUR/NAME/row.json is there to report",
            "measure the zoo's rows first",
        ));
    }
    let save = || -> io::Result<()> {
        for old in drawings(&workspace.root) {
            if !files.contains_key(&old) {
                fs::remove_file(workspace.root.join(old))?;
            }
        }
        fs::create_dir_all(workspace.root.join(DRAWINGS))?;
        for (path, text) in &files {
            fs::write(workspace.root.join(path), text)?;
        }
        Ok(())
    };
    save().or_mend(
        "the report could not be written",
        "check the folders' rights and the free disk space",
    )?;
    say("zoo", DOC);
    say("zoo", PAGE);
    say("zoo", LIST);
    Ok(())
}

/// A failure that names the report's files that are not what the rows give now.
pub fn is_current(workspace: &Workspace) -> Result {
    let stale = stale(&workspace.root, &made(&workspace.root)?);
    if stale.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = stale
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Err(Failure::new(
        format!("not what the zoo's rows give: {}", names.join(", ")),
        MEND,
    ))
}

/// The files that differ from `files`, are missing, or are there without being in it.
fn stale(root: &Path, files: &Files) -> Vec<PathBuf> {
    let differs = |path: &&PathBuf| {
        let found = fs::read_to_string(root.join(path));
        // A checkout may have other line ends.
        found.ok().map(|text| text.replace("\r\n", "\n")).as_ref() != files.get(*path)
    };
    let mut stale: Vec<PathBuf> = files.keys().filter(differs).cloned().collect();
    let others = [DOC, PAGE, LIST].map(PathBuf::from);
    let others = others.into_iter().chain(drawings(root));
    stale.extend(others.filter(|path| !files.contains_key(path) && root.join(path).is_file()));
    stale
}

/// The drawings that are there, by their paths from the root.
fn drawings(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(DRAWINGS)).into_iter().flatten();
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let paths = names.map(|name| Path::new(DRAWINGS).join(name));
    let mut found: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "svg"))
        .collect();
    found.sort();
    found
}

/// The report of the rows that lie in a repository; nothing where there is none.
fn made(root: &Path) -> Result<Files> {
    let rows = rows::read(&root.join("www"))?;
    if rows.is_empty() {
        return Ok(Files::new());
    }
    let notes = match fs::read_to_string(root.join(NOTES)) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(Failure::new(
                format!("{NOTES}: {error}"),
                "make it a file of UTF-8 text, or remove it",
            ));
        }
    };
    let methods = catalogue::read(root)?;
    let trials = trials::read(&root.join("www"))?;
    let zoo = Zoo {
        rows,
        methods,
        trials,
    };
    Ok(rendered(&zoo, notes.as_deref()))
}

/// Pure: the same rows and words give the same files.
fn rendered(zoo: &Zoo, notes: Option<&str>) -> Files {
    let mut blocks = sections::opening(zoo);
    blocks.extend(sections::learnt(zoo));
    let notes = notes.map(document::notes).unwrap_or_default();
    if !notes.is_empty() {
        blocks.push(Block::Heading(2, "What surprised".into()));
        blocks.extend(notes);
    }
    blocks.extend(verdicts::blocks(zoo));
    blocks.extend(trials::blocks(zoo));
    blocks.extend(sections::hypotheses(zoo));
    blocks.extend(sections::judging(zoo));
    for behaviour in zoo.behaviours() {
        blocks.extend(sections::behaviour(zoo, behaviour));
    }
    blocks.extend(sections::two_seeds(zoo));
    blocks.extend(sections::failures(zoo));
    blocks.extend(sections::not_there(zoo));

    let mut files = Files::new();
    for block in &blocks {
        if let Block::Figure(figure) = block {
            let path = Path::new(DRAWINGS).join(format!("{}.svg", figure.name));
            files.insert(path, document::svg_file(figure));
        }
    }
    let folder = DRAWINGS.rsplit('/').next().unwrap_or(DRAWINGS);
    files.insert(DOC.into(), document::markdown(&blocks, folder));
    files.insert(PAGE.into(), document::page(&blocks));
    files.insert(LIST.into(), listed::text(zoo));
    files
}
