//! What the crates that we build on may be: their licences, and what is banned.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use crate::bundle::PACKAGE;
use crate::failure::{Failure, OrMend, Result};
use crate::process::output;
use crate::wasm::TARGET;
use crate::workspace::Workspace;

/// Licences that ask for no more than to be named, and MPL-2.0, which asks for the source of the
/// files under it: they are used as published. CDLA-Permissive-2.0 is that of Mozilla's list of certificates.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not come in, each with the reason.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "rustls speaks TLS here"),
    ("openssl-sys", "rustls speaks TLS here"),
    ("native-tls", "rustls speaks TLS here"),
];

/// Crates of which there must be one version, each with the reason.
const SINGLE: &[(&str, &str)] = &[
    ("wasm-bindgen", "its program fits one version"),
    ("burn", "a tensor of one is no tensor of another"),
];

/// Crates that the module holds in several versions, each with who brings the older ones: none is ours to choose.
const REPEATED: &[(&str, &str)] = &[
    ("foldhash", "hashbrown"),
    ("getrandom", "ahash and the rand of tokenizers"),
    ("hashbrown", "text_placeholder, internment and burn"),
    ("hi_sparse_bitset", "cubecl"),
    ("itertools", "tokenizers"),
    ("nom", "spm_precompiled of tokenizers"),
    ("rand", "tokenizers"),
    ("rand_core", "the rand of tokenizers"),
    ("rustc-hash", "naga"),
];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A failure that lists all that is wrong with the crates of `Cargo.lock` and our manifests.
pub fn check(workspace: &Workspace) -> Result {
    let read = |file: &str| {
        let path = workspace.root.join(file);
        let problem = format!("could not read {}", path.display());
        fs::read_to_string(path).or_mend(problem, "restore it from git")
    };
    let mut wrong = in_lock(&read("Cargo.lock")?);
    for file in ["Cargo.toml", "src/processor/Cargo.toml", "xtask/Cargo.toml"] {
        wrong.extend(
            wildcards(&read(file)?).map(|line| format!("{file} takes any version: {line}")),
        );
    }
    // Of the computer that builds and of the browser: what others need is not downloaded here.
    for target in [None, Some(TARGET)] {
        wrong.extend(in_tree(&tree(workspace, target)?));
    }
    wrong.extend(repeated(&module(workspace)?));
    wrong.sort();
    wrong.dedup();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        wrong.join("\n       "),
        "choose another crate or version, or, where it may stay, enter it into \
         xtask/src/dependencies.rs with the reason",
    ))
}

/// A line for each crate of the builds for `target`: name, version, a bar, licence.
fn tree(workspace: &Workspace, target: Option<&str>) -> Result<String> {
    let mut arguments = vec![
        "--workspace",
        "--edges",
        "normal,build,dev",
        "--format",
        "{p}|{l}",
    ];
    arguments.extend(target.into_iter().flat_map(|target| ["--target", target]));
    listed(workspace, &arguments)
}

/// A line for each crate of the module: name and version.
fn module(workspace: &Workspace) -> Result<String> {
    let edges = "normal,no-proc-macro";
    listed(
        workspace,
        &["--package", PACKAGE, "--edges", edges, "--target", TARGET],
    )
}

fn listed(workspace: &Workspace, arguments: &[&str]) -> Result<String> {
    let mut cargo: Command = workspace.cargo();
    cargo
        .args(["tree", "--locked", "--prefix", "none"])
        .args(arguments);
    output(&mut cargo).ok_or_else(|| {
        Failure::new(
            "cargo could not list the crates",
            "run `cargo tree --locked --workspace`, which says why",
        )
    })
}

/// Crates of a tree whose licence is not allowed.
fn in_tree(tree: &str) -> Vec<String> {
    let crates = tree.lines().filter_map(|line| line.split_once('|'));
    crates
        .map(|(name, licence)| (name, licence.trim_end_matches("(*)").trim()))
        .filter(|(_, licence)| !allowed(licence))
        .map(|(name, licence)| match licence {
            "" => format!("{name} names no licence"),
            _ => format!("{name} is under {licence}"),
        })
        .collect()
}

/// Whether an SPDX expression can be met by what is [`ALLOWED`]. Old manifests write a slash for OR.
fn allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    either(&words, &mut at) == Some(true) && at == words.len()
}

/// Terms with OR between them; `None` if this is no expression. AND binds closer.
fn either(words: &[&str], at: &mut usize) -> Option<bool> {
    let mut met = all(words, at)?;
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(words, at)?;
    }
    Some(met)
}

fn all(words: &[&str], at: &mut usize) -> Option<bool> {
    let mut met = one(words, at)?;
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at)?;
    }
    Some(met)
}

/// A licence, with its exception, or an expression in brackets.
fn one(words: &[&str], at: &mut usize) -> Option<bool> {
    let word = *words.get(*at)?;
    *at += 1;
    if word == "(" {
        let met = either(words, at)?;
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return closed.then_some(met);
    }
    let mut licence = word.to_owned();
    if words.get(*at) == Some(&"WITH") {
        licence = format!("{licence} WITH {}", words.get(*at + 1)?);
        *at += 2;
    }
    Some(ALLOWED.contains(&licence.as_str()))
}

/// Banned crates, second versions and other sources than the registry in a `Cargo.lock`.
fn in_lock(lock: &str) -> Vec<String> {
    let packages = lock.split("[[package]]").skip(1).map(|package| {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim_matches([' ', '=', '"']))
        };
        (field("name").unwrap_or_default(), field("source"))
    });
    let packages: Vec<(&str, Option<&str>)> = packages.collect();
    let mut wrong = Vec::new();
    for (name, source) in &packages {
        // Our own have no source.
        if let Some(source) = source.filter(|source| *source != REGISTRY) {
            wrong.push(format!("{name} comes from {source}, not from crates.io"));
        }
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| banned == name) {
            wrong.push(format!("{name} is banned: {why}"));
        }
    }
    for (single, why) in SINGLE {
        let count = packages.iter().filter(|(name, _)| name == single).count();
        if count > 1 {
            wrong.push(format!("{single} is there {count} times: {why}"));
        }
    }
    wrong
}

/// What is in a tree in several versions without a reason, and reasons for what is there once.
fn repeated(tree: &str) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in tree.lines() {
        if let [name, version, ..] = line.split(' ').collect::<Vec<_>>()[..] {
            versions.entry(name).or_default().insert(version);
        }
    }
    let known = |name: &str| REPEATED.iter().any(|(known, _)| *known == name);
    let several = |name: &str| versions.get(name).is_some_and(|all| all.len() > 1);
    let new = versions.keys().filter(|name| several(name) && !known(name));
    let new = new.map(|name| {
        let all: Vec<&str> = versions[name].iter().copied().collect();
        format!("the module holds {name} {}", all.join(" and "))
    });
    let gone = REPEATED.iter().filter(|(name, _)| !several(name));
    let gone = gone.map(|(name, _)| format!("{name} is in the module once: drop it from the list"));
    new.chain(gone).collect()
}

/// Lines of a manifest that take any version of a crate.
fn wildcards(manifest: &str) -> impl Iterator<Item = &str> {
    manifest
        .lines()
        .filter(|line| line.replace(' ', "").contains("=\"*\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_met_by_what_is_allowed() {
        for (expression, met) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("MIT OR Apache-2.0 OR LGPL-2.1-or-later", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-3.0 OR BSD-3-Clause AND MIT", true),
            ("GPL-3.0", false),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR GPL-3.0) AND LGPL-3.0", false),
            ("MIT WITH Some-exception", false),
            ("", false),
            ("(MIT", false),
            ("MIT MIT", false),
            ("MIT OR", false),
        ] {
            assert_eq!(allowed(expression), met, "{expression}");
        }
    }

    #[test]
    fn crates_under_other_licences_are_named() {
        let tree = "one v1.0.0|MIT\n\ntwo v2.0.0 (proc-macro)|GPL-3.0 (*)\nthree v3.0.0|\n";
        assert_eq!(
            in_tree(tree),
            [
                "two v2.0.0 (proc-macro) is under GPL-3.0",
                "three v3.0.0 names no licence"
            ]
        );
    }

    #[test]
    fn what_is_banned_is_found_in_the_lock() {
        let package = |name: &str, source: &str| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n{source}\n")
        };
        let registry = format!("source = \"{REGISTRY}\"");
        let lock = [
            package("ours", ""),
            package("wasm-bindgen", &registry),
            package("wasm-bindgen-test", &registry),
            package("serde", &registry),
            package("serde", &registry),
        ]
        .concat();
        assert!(in_lock(&lock).is_empty());
        let more = [
            package("wasm-bindgen", &registry),
            package("openssl-sys", &registry),
            package("fork", "source = \"git+https://example.org/fork#0123\""),
        ]
        .concat();
        let wrong = in_lock(&(lock + &more)).join("\n");
        for part in [
            "wasm-bindgen is there 2 times",
            "openssl-sys is banned",
            "fork comes from git+",
        ] {
            assert!(wrong.contains(part), "{part}: {wrong}");
        }
    }

    #[test]
    fn a_second_version_needs_a_reason_and_a_reason_two_versions() {
        let both = |(name, _): &(&str, &str)| format!("{name} v1.0.0\n{name} v2.0.0 (*)\n");
        let known: String = REPEATED.iter().map(both).collect();
        let once = format!("{known}\nserde v1.0.0\nserde v1.0.0 (*)\n");
        assert!(repeated(&once).is_empty());
        let twice = format!("{once}serde v2.0.0\n");
        assert_eq!(
            repeated(&twice),
            ["the module holds serde v1.0.0 and v2.0.0"]
        );
        let (name, _) = REPEATED[0];
        let less = known.replace(&format!("{name} v2.0.0"), &format!("{name} v1.0.0"));
        assert_eq!(
            repeated(&less),
            [format!(
                "{name} is in the module once: drop it from the list"
            )]
        );
    }

    #[test]
    fn a_wildcard_is_a_version_not_a_profile() {
        let manifest = "a = \"1\"\nb = \"*\"\nc = { version=\"*\" }\n[profile.dev.package.\"*\"]\n";
        let found: Vec<&str> = wildcards(manifest).collect();
        assert_eq!(found, ["b = \"*\"", "c = { version=\"*\" }"]);
    }
}
