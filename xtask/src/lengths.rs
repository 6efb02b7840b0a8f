//! No file of ours is longer than a reader wants to hold in mind.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use crate::workspace::Workspace;

/// The most lines of a source file.
const MOST_LINES: usize = 700;
/// Where our sources are.
const FOLDERS: [&str; 4] = ["src", "tests", "www", "xtask"];
/// What counts as one.
const ENDINGS: [&str; 3] = [".rs", ".js", ".mjs"];

/// A failure that names every source file of more than [`MOST_LINES`] lines.
pub fn check(workspace: &Workspace) -> Result {
    let long = FOLDERS
        .iter()
        .flat_map(|folder| too_long(&workspace.root.join(folder)))
        .map(|(path, lines)| {
            let path = path.strip_prefix(&workspace.root).unwrap_or(&path);
            format!("{} ({lines} lines)", path.display())
        })
        .collect::<Vec<_>>();
    if long.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        format!("longer than {MOST_LINES} lines: {}", long.join(", ")),
        "split it along its ideas, each into a file that one sentence describes",
    ))
}

/// The source files below `folder` that are too long, each with its lines.
fn too_long(folder: &Path) -> Vec<(PathBuf, usize)> {
    let mut sources = Vec::new();
    for ending in ENDINGS {
        collect(folder, ending, &mut sources);
    }
    sources.sort();
    let lines = |path: &Path| fs::read(path).map(|bytes| bytes.split(|b| *b == b'\n').count() - 1);
    sources
        .into_iter()
        .filter_map(|path| {
            let lines = lines(&path).ok()?;
            (lines > MOST_LINES).then_some((path, lines))
        })
        .collect()
}

/// Adds the files below `folder` whose names end in `suffix`.
pub fn collect(folder: &Path, suffix: &str, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            collect(&path, suffix, files);
        } else if path.to_string_lossy().ends_with(suffix) {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_source_is_named_with_its_lines() {
        let folder = std::env::temp_dir().join(format!("xtask-lengths-{}", std::process::id()));
        fs::create_dir_all(folder.join("sub")).unwrap();
        for (name, lines) in [
            ("fits.rs", MOST_LINES),
            ("sub/long.mjs", MOST_LINES + 1),
            ("data.json", 2 * MOST_LINES),
        ] {
            fs::write(folder.join(name), "\n".repeat(lines)).unwrap();
        }
        let found = too_long(&folder);
        assert_eq!(found, [(folder.join("sub/long.mjs"), MOST_LINES + 1)]);
        fs::remove_dir_all(folder).unwrap();
    }
}
