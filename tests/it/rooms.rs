//! No method outside its room: what other rooms need to know of a method stands in its table of facts, and
//! they serve it without knowing whose it is. So `src` names no method's file, no `peft_type` and no name of
//! a method, except in `src/methods`.

use std::collections::BTreeSet;

use proc_macro2::TokenTree;
use steering_playground::methods::METHODS;

use crate::floors::{House, ours, paths, tokens};

/// Files that name methods all the same, which, and why.
const NAMED: &[(&str, &[&str], &str)] = &[
    (
        "checkpoint/container",
        &["CONTROL_VECTOR"],
        "files of directions come without a config",
    ),
    (
        "checkpoint/gguf_lora",
        &["LORA", "lora"],
        "llama.cpp's files hold LoRAs",
    ),
    (
        "checkpoint/mlx_lora",
        &["LORA", "lora", "dora"],
        "mlx-lm's files hold LoRAs and DoRAs",
    ),
    (
        "checkpoint/written",
        &["LORA"],
        "mlx-lm's and llama.cpp's LoRAs are written as PEFT's",
    ),
    (
        "bin/steer/bench",
        &["lora"],
        "what a training is timed with, here and in PyTorch",
    ),
    ("export/gguf", &["lora"], "llama.cpp's word in the file"),
    (
        "export/peft",
        &["original"],
        "no method: the base's own numbers",
    ),
    ("extract/vector", &["control_vector"], "it makes them"),
];

/// The methods that a file's tokens name: modules of `src/methods`, words of texts that are a `peft_type`,
/// and texts that are a method's name.
fn named(file: &[String], trees: &[TokenTree], house: &House) -> BTreeSet<String> {
    let mut found = Vec::new();
    paths(file, trees, &mut found);
    let module = |path: &Vec<String>| {
        let inside = path.first().is_some_and(|room| room == "methods");
        let file = path
            .get(..2)
            .filter(|file| inside && house.contains_key(*file))?;
        Some(file[1].clone())
    };
    let mut named: BTreeSet<String> = found.iter().filter_map(module).collect();
    let mut texts = Vec::new();
    literals(trees, &mut texts);
    for text in texts {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let is_type = |word: &&str| METHODS.iter().any(|method| method.peft_type == *word);
        named.extend(words.filter(is_type).map(str::to_owned));
        let text = text.trim_matches('"');
        if METHODS.iter().any(|method| method.name == text) {
            named.insert(text.to_owned());
        }
    }
    named
}

/// The texts in some tokens as they are written, without those of documentation.
fn literals(trees: &[TokenTree], found: &mut Vec<String>) {
    for (at, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Literal(literal) => found.push(literal.to_string()),
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let is_doc = matches!(inner.first(), Some(TokenTree::Ident(word)) if word == "doc");
                let after_mark = at > 0
                    && matches!(&trees[at - 1], TokenTree::Punct(punct) if "#!".contains(punct.as_char()));
                if !(is_doc && after_mark) {
                    literals(&inner, found);
                }
            }
            _ => {}
        }
    }
}

/// What breaks the rule, in words.
fn faults(house: &House) -> Vec<String> {
    let mut faults = Vec::new();
    for (file, trees) in house {
        if file.first().is_some_and(|room| room == "methods") {
            continue;
        }
        let path = file.join("/");
        let allowed = NAMED.iter().find(|(known, ..)| *known == path);
        let allowed = allowed.map_or(&[][..], |(_, names, _)| names);
        let named = named(file, trees, house);
        for name in &named {
            if !allowed.contains(&name.as_str()) {
                faults.push(format!("src/{path} names {name}"));
            }
        }
        for name in allowed {
            if !named.contains(*name) {
                faults.push(format!("src/{path} may name {name} and does not"));
            }
        }
    }
    faults
}

#[test]
fn no_method_is_named_outside_its_room() {
    let (_, house) = ours();
    let faults = faults(&house);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (path, _, why) in NAMED {
        let there = house.keys().any(|file| file.join("/") == *path);
        assert!(there, "{path} is not there any more ({why})");
    }
}

/// Each way to name a method, planted into the house as it is.
#[test]
fn planted_names_are_found() {
    let (_, house) = ours();
    for (source, name) in [
        ("use crate::methods::pissa;", "pissa"),
        ("use crate::methods::{METHODS, gate::Gate};", "gate"),
        ("fn f() { crate::methods::xlora::g(); }", "xlora"),
        ("fn f() -> bool { kind == \"XLORA\" }", "XLORA"),
        ("const C: &[u8] = br#\"{\"peft_type\":\"OFT\"}\"#;", "OFT"),
        ("fn f() -> bool { method.name == \"road\" }", "road"),
    ] {
        let mut house = house.clone();
        let file = vec!["adapters".to_owned()];
        let adapters = house.get_mut(&file).expect("src/adapters/mod.rs");
        adapters.extend(tokens(source));
        let told = format!("src/adapters names {name}");
        assert_eq!(faults(&house), [told], "{source}");
    }
    let mut house = house;
    let quiet =
        "/// LORA and XLORA.\nfn f() {}\n#[cfg(test)] mod tests { use crate::methods::lora; }";
    let adapters = house.get_mut(&vec!["adapters".to_owned()]);
    adapters.expect("src/adapters/mod.rs").extend(tokens(quiet));
    assert!(faults(&house).is_empty(), "documentation and tests");
}
