//! What the documents say can be followed: links lead to files and headings, commands are there.

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of the README: what else there is to say has a page of its own in `docs`.
const MOST_LINES: usize = 200;

/// The documents for people, each with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .iter()
        .map(PathBuf::from)
        .collect();
    let docs = fs::read_dir("docs").expect("docs").flatten();
    let docs = docs.map(|entry| entry.path());
    paths.extend(docs.filter(|path| path.extension().is_some_and(|ext| ext == "md")));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a document");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The lines outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// Where the links of a line lead.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let pieces = line.split("](").skip(1);
    pieces.filter_map(|piece| Some(piece.split_once(')')?.0))
}

/// The part after `#` by which a heading is reached.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ => letter.is_alphanumeric().then_some(letter),
    });
    kept.collect::<String>().to_lowercase()
}

fn has_heading(text: &str, anchor: &str) -> bool {
    let headings = prose(text).filter_map(|line| {
        let rest = line.trim_start_matches('#');
        (rest.len() < line.len()).then_some(rest)
    });
    headings.map(slug).any(|found| found == anchor)
}

/// The words of small letters that follow `before` in a text.
fn words_after<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let word = |rest: &'a str| {
        let end = rest.find(|letter: char| !letter.is_ascii_lowercase() && letter != '-');
        &rest[..end.unwrap_or(rest.len())]
    };
    let words = text.split(before).skip(1).map(word);
    // An option is no command.
    words
        .filter(|word| word.starts_with(|first: char| first.is_ascii_lowercase()))
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut lost = Vec::new();
    for (path, text) in documents() {
        for target in prose(&text).flat_map(targets) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => path.clone(),
                _ => path.parent().unwrap_or(Path::new("")).join(file),
            };
            let is_there = file.exists()
                && (anchor.is_empty()
                    || fs::read_to_string(&file).is_ok_and(|text| has_heading(&text, anchor)));
            if !is_there {
                lost.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(lost.is_empty(), "lead nowhere: {}", lost.join(", "));
}

#[test]
fn every_command_is_there() {
    let xtask = fs::read_to_string("xtask/src/main.rs").expect("xtask/src/main.rs");
    let mut missing = Vec::new();
    for (path, text) in documents() {
        for word in words_after(&text, "cargo xtask ") {
            if !xtask.contains(&format!("        \"{word}\" ")) {
                missing.push(format!("{}: cargo xtask {word}", path.display()));
            }
        }
        for before in ["--bin steer -- ", "`steer ", "\nsteer "] {
            for word in words_after(&text, before) {
                if !Path::new(&format!("src/bin/steer/{word}.rs")).is_file() {
                    missing.push(format!("{}: steer {word}", path.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not there: {}", missing.join(", "));
}

#[test]
fn the_readme_is_short() {
    let readme = fs::read_to_string("README.md").expect("README.md");
    let lines = readme.lines().count();
    assert!(lines <= MOST_LINES, "README.md has {lines} lines");
}
