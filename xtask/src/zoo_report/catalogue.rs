//! What the methods say about themselves, read from the heads of their files: the report can be
//! checked in a moment, without building the program.

use std::fs;
use std::path::Path;

use crate::failure::{Failure, OrMend, Result};

/// A method's card, as far as the report tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// Its file, without `.rs`.
    pub name: String,
    /// As people write it.
    pub title: String,
    /// What it does to a layer, such as `low-rank`.
    pub family: String,
    /// How c acts unless the user chooses another, such as `attention-mix`.
    pub law: String,
    /// What it believes about where a behaviour lives.
    pub hypothesis: String,
    /// Why it cannot be trained here.
    pub trains_not: Option<String>,
    /// Why pairs alone cannot train it: that, or that it trains over others.
    pub not_alone: Option<String>,
}

const MEND: &str = "write the method's file as CONTRIBUTING.md says, or let xtask/src/zoo_report/catalogue.rs know its new form";

/// The methods that `src/methods/mod.rs` lists, in its order.
pub fn read(root: &Path) -> Result<Vec<Method>> {
    let folder = root.join("src").join("methods");
    let text = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).or_mend(path.display(), MEND)
    };
    let list = text("mod.rs")?;
    let names = list.lines().filter_map(|line| {
        let line = line.trim().strip_prefix('&')?;
        line.strip_suffix("::METHOD,")
    });
    let methods: Vec<Method> = names
        .map(|name| parse(name, &text(&format!("{name}.rs"))?))
        .collect::<Result<_>>()?;
    if methods.is_empty() {
        return Err(Failure::new("src/methods/mod.rs lists no method", MEND));
    }
    Ok(methods)
}

/// The card in a method's source.
fn parse(name: &str, source: &str) -> Result<Method> {
    let missing = |what: &str| Failure::new(format!("src/methods/{name}.rs has no {what}"), MEND);
    let title = source
        .strip_prefix("//! ")
        .and_then(|text| text.split_once(": "))
        .map(|(title, _)| title.to_owned())
        .ok_or_else(|| missing("title"))?;
    let fact = |what: &str, start: &str| {
        let text = source.split_once(start).map(|(_, text)| text);
        let word = text.and_then(|text| text.split_once(','));
        word.map(|(word, _)| kebab(word))
            .ok_or_else(|| missing(what))
    };
    let family = fact("family", "family: Family::")?;
    let law = fact("law", "law: Law::")?;
    let hypothesis: Vec<&str> = source
        .lines()
        .skip_while(|line| *line != "//! # Hypothesis")
        .skip(1)
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.starts_with("# "))
        .collect();
    if hypothesis.is_empty() {
        return Err(missing("hypothesis"));
    }
    let reason = |text: &str| {
        let quoted = text.trim_start().strip_prefix('"');
        quoted
            .and_then(|text| text.split_once('"'))
            .map(|(why, _)| why.to_owned())
            .ok_or_else(|| missing("reason in its Trains"))
    };
    let after = |start: &str| source.split_once(start).map(|(_, text)| text);
    let trains_not = after("trains: Trains::Not(").map(reason).transpose()?;
    let over = after("trains: Trains::Over {")
        .map(|text| reason(text.split_once("why:").map_or("", |(_, text)| text)))
        .transpose()?;
    Ok(Method {
        name: name.into(),
        title,
        family,
        law,
        hypothesis: hypothesis.join(" ").trim().to_owned(),
        not_alone: over.or_else(|| trains_not.clone()),
        trains_not,
    })
}

/// `LowRank` as `low-rank`.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && at > 0 {
            out.push('-');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "//! IA3: scales. Liu 2022.\n//! <https://x>\n//!\n//! # Hypothesis\n//! A behaviour is\n//! loudness.\n//! # Intuition\n//! Louder.\n\n    family: Family::FullRank,\n    law: Law::LogPolar,\n";

    #[test]
    fn a_head_is_read() {
        let method = parse("ia3", &format!("{SOURCE}    trains: Trains::From {{ }},\n")).unwrap();
        assert_eq!(method.title, "IA3");
        assert_eq!(method.family, "full-rank");
        assert_eq!(method.law, "log-polar");
        assert_eq!(method.hypothesis, "A behaviour is loudness.");
        assert_eq!(method.trains_not, None);
        let not = format!("{SOURCE}    trains: Trains::Not(\n        \"a list\",\n    ),\n");
        assert_eq!(
            parse("ia3", &not).unwrap().trains_not.as_deref(),
            Some("a list")
        );
        let unknown = format!("{SOURCE}    trains: Trains::Not(WHY),\n");
        assert!(parse("ia3", &unknown).is_err(), "never without its reason");
        assert!(parse("ia3", &SOURCE.replace("# Hypothesis", "# Guess")).is_err());
    }

    #[test]
    fn every_method_of_the_project_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("a root");
        let methods = read(root).unwrap();
        let of = |name: &str| methods.iter().find(|method| method.name == name);
        assert_eq!(
            of("lora").map(|method| method.family.as_str()),
            Some("low-rank")
        );
        assert!(of("frod").is_some_and(|method| method.trains_not.is_some()));
        assert!(of("xlora").is_some_and(|method| method.trains_not.is_none()));
        assert!(of("xlora").is_some_and(|method| method.not_alone.is_some()));
        assert!(of("lora").is_some_and(|method| method.not_alone.is_none()));
        assert!(methods.iter().all(|method| !method.hypothesis.is_empty()));
    }
}
