//! `new-method`: a method's file with its headings, entered into the two lists.

use std::fs;

use crate::failure::{Failure, OrMend, Result};
use crate::workspace::Workspace;

/// Where methods are, and the file there with their two lists.
const FOLDER: &str = "src/methods";
const LISTS: &str = "src/methods/mod.rs";
const TEMPLATE: &str = include_str!("method.rs.txt");

/// Writes `src/methods/NAME.rs` and enters it into `src/methods/mod.rs`.
pub fn command(workspace: &Workspace, name: &str) -> Result {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(letters) {
        return Err(Failure::new(
            format!("`{name}` cannot be the name of a Rust file"),
            "use small letters, digits and underscores, such as `my_method`",
        ));
    }
    let file = workspace.root.join(FOLDER).join(format!("{name}.rs"));
    let lists = workspace.root.join(LISTS);
    if file.exists() {
        let problem = format!("{} is already there", file.display());
        return Err(Failure::new(
            problem,
            "choose another name, or edit that file",
        ));
    }
    let mend = "run this in a clone of the repository that you may write to";
    let text = fs::read_to_string(&lists).or_mend(format!("{LISTS} cannot be read"), mend)?;
    let text = entered(&text, name).ok_or_else(|| {
        let mend = "add `pub mod NAME;` and `&NAME::METHOD,` to it by hand";
        Failure::new(format!("{LISTS} has no list of methods"), mend)
    })?;
    let room = TEMPLATE
        .replace("NAME", name)
        .replace("TYPE", &name.to_uppercase());
    fs::write(&file, room).or_mend(format!("{} cannot be written", file.display()), mend)?;
    fs::write(&lists, text).or_mend(format!("{LISTS} cannot be written"), mend)?;
    eprintln!("wrote {FOLDER}/{name}.rs and entered it into {LISTS}");
    eprintln!("it builds; `cargo test --release --test it` now lists what is still missing");
    eprintln!("CONTRIBUTING.md goes on from here");
    Ok(())
}

/// The text of `mod.rs` with the method in both lists: modules by the alphabet, methods last.
fn entered(text: &str, name: &str) -> Option<String> {
    let module = format!("pub mod {name};");
    let mut lines: Vec<&str> = text.lines().collect();
    let is_module = |line: &&str| line.starts_with("pub mod ");
    let first = lines.iter().position(is_module)?;
    let count = lines[first..]
        .iter()
        .take_while(|line| is_module(line))
        .count();
    let place = lines[first..first + count].partition_point(|line| **line < *module);
    lines.insert(first + place, &module);
    let list = lines
        .iter()
        .position(|line| line.starts_with("pub static METHODS"))?;
    let end = list + lines[list..].iter().position(|line| *line == "];")?;
    let method = format!("    &{name}::METHOD,");
    lines.insert(end, &method);
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::entered;

    #[test]
    fn a_method_enters_both_lists() {
        let text = entered(include_str!("../../src/methods/mod.rs"), "aaa").expect("lists");
        let module = text.find("pub mod aaa;\npub mod a");
        assert!(module.is_some(), "first of the modules");
        assert!(
            text.contains("    &aaa::METHOD,\n];"),
            "last of the methods"
        );
    }
}
