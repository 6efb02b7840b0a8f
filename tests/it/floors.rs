//! The floors of the house: a file imports from its own folder or from lower floors, and inside a
//! folder no files form a circle. The table stands in the documentation of the crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The source files, each with the tokens of what is not a test.
pub(crate) type House = BTreeMap<Vec<String>, Vec<TokenTree>>;

/// Room -> floor, from the table in `src/lib.rs`: a row is `//! floor | room, room | what`.
fn floors(lib: &str) -> BTreeMap<String, usize> {
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! |"));
    let mut floors = BTreeMap::new();
    for row in rows {
        let mut cells = row.split('|').map(str::trim);
        let Some(Ok(floor)) = cells.next().map(str::parse::<usize>) else {
            continue;
        };
        for room in cells.next().unwrap_or_default().split(',') {
            let room = room.trim().trim_matches('`').trim_end_matches('/');
            assert!(
                floors.insert(room.to_owned(), floor).is_none(),
                "{room} stands twice in the table"
            );
        }
    }
    floors
}

/// A module's path from its file: `src/a/b.rs` and `src/a/b/mod.rs` are `[a, b]`.
fn module(path: &Path) -> Vec<String> {
    let path = path.strip_prefix("src").expect("inside src");
    let mut parts: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

fn read(folder: &Path, house: &mut House) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            read(&path, house);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path).expect("source");
            house.insert(module(&path), tokens(&text));
        }
    }
}

/// The tokens of a file without its tests.
pub(crate) fn tokens(text: &str) -> Vec<TokenTree> {
    let all: Vec<TokenTree> = TokenStream::from_str(text)
        .expect("Rust")
        .into_iter()
        .collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < all.len() {
        let is_test = matches!(&all[at], TokenTree::Punct(hash) if hash.as_char() == '#')
            && matches!(all.get(at + 1), Some(TokenTree::Group(group)) if {
                let words = group.stream().to_string().replace(' ', "");
                words == "cfg(test)"
            });
        if !is_test {
            kept.push(all[at].clone());
            at += 1;
            continue;
        }
        // Up to the end of the item.
        at += 2;
        while at < all.len() {
            let ends = match &all[at] {
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                TokenTree::Punct(punct) => punct.as_char() == ';',
                _ => false,
            };
            at += 1;
            if ends {
                break;
            }
        }
    }
    kept
}

/// The room that is a crate of its own: `crate` means itself there, and others name it.
const MEMBER: &str = "processor";

/// Every path that begins with `crate`, `super` or the crate's name, wherever it stands, as the
/// modules and the item that it leads through from the crate's root.
pub(crate) fn paths(of: &[String], trees: &[TokenTree], found: &mut Vec<Vec<String>>) {
    let word = |at: usize| match trees.get(at) {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    };
    let members = usize::from(of.first().is_some_and(|room| room == MEMBER));
    let mut at = 0;
    while at < trees.len() {
        if let TokenTree::Group(group) = &trees[at] {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            paths(of, &inner, found);
        }
        let start = match word(at).as_deref() {
            Some("crate") if is_path(trees, at + 1) => {
                Some(of.iter().take(members).cloned().collect())
            }
            Some("playground" | "steering_playground") if is_path(trees, at + 1) => {
                Some(Vec::new())
            }
            Some(MEMBER) if members == 0 && is_path(trees, at + 1) => Some(vec![MEMBER.into()]),
            Some("super") if is_path(trees, at + 1) => {
                Some(of[..of.len().saturating_sub(1)].to_vec())
            }
            Some("self") if is_path(trees, at + 1) => Some(of.to_vec()),
            _ => None,
        };
        match start {
            // `pub(super)`, `pub(crate)` and the like lead nowhere.
            Some(start) => at = tree(start, trees, at + 1, found),
            None => at += 1,
        }
    }
}

fn is_path(trees: &[TokenTree], at: usize) -> bool {
    let is_colon = |at: usize| matches!(trees.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    is_colon(at) && is_colon(at + 1)
}

/// Follows a path, and all branches of a use tree, from the `::` at `at`; gives where it ends.
fn tree(
    mut path: Vec<String>,
    trees: &[TokenTree],
    mut at: usize,
    found: &mut Vec<Vec<String>>,
) -> usize {
    while is_path(trees, at) {
        match trees.get(at + 2) {
            Some(TokenTree::Ident(ident)) if ident == "super" => {
                path.pop();
                at += 3;
            }
            Some(TokenTree::Ident(ident)) => {
                path.push(ident.to_string());
                at += 3;
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut branch = 0;
                while branch < inner.len() {
                    if let TokenTree::Ident(ident) = &inner[branch] {
                        let mut longer = path.clone();
                        if ident != "self" {
                            longer.push(ident.to_string());
                        }
                        branch = tree(longer, &inner, branch + 1, found);
                    }
                    // To the next branch.
                    while branch < inner.len() {
                        let comma = matches!(&inner[branch], TokenTree::Punct(punct) if punct.as_char() == ',');
                        branch += 1;
                        if comma {
                            break;
                        }
                    }
                }
                return at + 3;
            }
            // A glob.
            _ => {
                at += 2;
                break;
            }
        }
    }
    found.push(path);
    at
}

/// The module that a path ends in: an item of a module that is re-exported by a parent belongs to
/// the file that the parent takes it from.
fn home(house: &House, path: &[String]) -> Vec<String> {
    let longest = (0..=path.len())
        .rev()
        .find(|&length| length == 0 || house.contains_key(&path[..length]));
    let length = longest.unwrap_or(0);
    let module = path[..length].to_vec();
    let Some(item) = path.get(length) else {
        return module;
    };
    if let Some(tokens) = house.get(&module) {
        let mut uses = Vec::new();
        relative(&module, tokens, house, &mut uses);
        paths(&module, tokens, &mut uses);
        for path in uses {
            let inside = path.len() > module.len() + 1 && path.starts_with(&module);
            if inside && path.last() == Some(item) {
                return home(house, &path);
            }
        }
    }
    module
}

/// `use child::Item` of a parent, which needs neither `self` nor `crate`.
fn relative(of: &[String], trees: &[TokenTree], house: &House, found: &mut Vec<Vec<String>>) {
    for (at, token) in trees.iter().enumerate() {
        let TokenTree::Ident(ident) = token else {
            continue;
        };
        let after_use = at > 0 && matches!(&trees[at - 1], TokenTree::Ident(word) if word == "use");
        let mut child = of.to_vec();
        child.push(ident.to_string());
        if after_use && house.contains_key(&child) {
            tree(child, trees, at + 1, found);
        }
    }
}

/// What breaks the rules, in words.
fn faults(floors: &BTreeMap<String, usize>, house: &House) -> Vec<String> {
    let mut faults = Vec::new();
    let mut edges: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    // A program stands in `bin/NAME`.
    let room = |module: &[String]| match module {
        [bin, ..] if bin == "bin" => Some("bin".to_owned()),
        [room, ..] if room != "lib" => Some(room.clone()),
        _ => None,
    };
    for (file, tokens) in house {
        let Some(own) = room(file) else { continue };
        let Some(floor) = floors.get(&own) else {
            faults.push(format!("src/{own} has no floor in the table of src/lib.rs"));
            continue;
        };
        let mut found = Vec::new();
        paths(file, tokens, &mut found);
        for path in found {
            // What the crate's root re-exports is not counted.
            let Some(other) = room(&path).filter(|other| floors.contains_key(other)) else {
                continue;
            };
            let to = home(house, &path);
            if other != own {
                let below = floors[&other];
                if below >= *floor {
                    faults.push(format!(
                        "src/{} (floor {floor}) imports {} (floor {below})",
                        file.join("/"),
                        path.join("::")
                    ));
                }
                continue;
            }
            let related = to.starts_with(file) || file.starts_with(&to);
            if !related {
                edges.entry(file.clone()).or_default().insert(to);
            }
        }
    }
    for start in edges.keys() {
        if let Some(circle) = circle(&edges, start) {
            let names: Vec<String> = circle.iter().map(|file| file.join("/")).collect();
            faults.push(format!("a circle of files: {}", names.join(" -> ")));
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

/// A way from a file back to itself.
fn circle(
    edges: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
    start: &Vec<String>,
) -> Option<Vec<Vec<String>>> {
    let mut ways = vec![vec![start.clone()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let last = way.last()?;
        for next in edges.get(last).into_iter().flatten() {
            let mut longer = way.clone();
            longer.push(next.clone());
            if next == start {
                return Some(longer);
            }
            if seen.insert(next.clone()) {
                ways.push(longer);
            }
        }
    }
    None
}

pub(crate) fn ours() -> (BTreeMap<String, usize>, House) {
    let mut house = House::new();
    read(Path::new("src"), &mut house);
    let lib = fs::read_to_string("src/lib.rs").expect("src/lib.rs");
    (floors(&lib), house)
}

#[test]
fn imports_go_down() {
    let (floors, house) = ours();
    assert!(floors.len() > 15, "the table was read: {floors:?}");
    let faults = faults(&floors, &house);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for room in floors.keys() {
        let there = house.keys().any(|file| file.first() == Some(room));
        assert!(there, "{room} stands in the table and not in src");
    }
}

/// Each kind of violation, planted into the house as it is.
#[test]
fn planted_violations_are_named() {
    let (floors, house) = ours();
    let planted = [
        (
            "weights/quant",
            "use crate::session::Session;",
            "imports session",
        ),
        (
            "weights/quant",
            "fn f() { crate::model::Model::g(); }",
            "imports model::Model",
        ),
        (
            "weights/quant",
            "fn f() { super::super::adapters::load(); }",
            "imports adapters",
        ),
        (
            "weights/mod",
            "pub use crate::adapters::load;",
            "imports adapters::load",
        ),
        (
            "kernels/norm",
            "use crate::{error::Error, text::Text};",
            "imports text::Text",
        ),
        (
            "kernels/norm",
            "fn f() { assert!(crate::hooks::yes()); }",
            "imports hooks",
        ),
        (
            "hooks/plan",
            "use super::steering::Steering;",
            "a circle of files",
        ),
        ("hooks/plan", "use super::Steering;", "a circle of files"),
        ("attic", "", "src/attic has no floor"),
    ];
    for (file, source, told) in planted {
        let mut house = house.clone();
        let file = module(&Path::new("src").join(file).with_extension("rs"));
        house
            .entry(file.clone())
            .or_default()
            .extend(tokens(source));
        let faults = faults(&floors, &house);
        assert!(
            faults.iter().any(|fault| fault.contains(told)),
            "{source} in {file:?}: {faults:?}"
        );
    }
    let tests = "#[cfg(test)] mod tests { use crate::session::Session; }";
    let mut house = house;
    let file = module(Path::new("src/weights/quant.rs"));
    house.entry(file).or_default().extend(tokens(tests));
    assert!(faults(&floors, &house).is_empty(), "tests are not counted");
}
