//! What a vector is made of: pairs of texts that tell the same in opposite ways.
//!
//! ```text
//! {"positive": [texts], "negative": [texts]}                  paired by place
//! {"template": "… {persona} … {suffix}", "positive": [personas], "negative": [personas],
//!  "suffixes": [texts], "cut": 1}                             repeng's form
//! ```
//! In repeng's form (<https://github.com/vgel/repeng>, its notebooks) every suffix is cut after each of
//! its tokens, from the first up to `cut` before the last, and stands in the template once for each pair of
//! personas. A suffix of too few tokens gives nothing, as there.

use serde::Deserialize;
use serde_json::Value;

use super::passage::{Pair, Passage};
use crate::error::{Error, Result};
use crate::session::Session;
use crate::text::Text;

/// Texts paired by place: the same situation, told in two opposite ways.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Pairs {
    /// What c = 1 shall bring more of.
    pub positive: Vec<String>,
    /// What c = −1 shall bring more of.
    pub negative: Vec<String>,
}

/// repeng's form: personas in a template, with the beginnings of texts that any of them may say.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Personas {
    /// Holds `{persona}` and `{suffix}`; the marks of a chat are spelled out in it.
    pub template: String,
    /// What c = 1 shall bring more of, paired by place with the others.
    pub positive: Vec<String>,
    /// What c = −1 shall bring more of.
    pub negative: Vec<String>,
    /// What is said.
    pub suffixes: Vec<String>,
    /// How many tokens the longest cut of a suffix leaves out: 1 in repeng's notebook on emotions, 6
    /// in the one on honesty.
    #[serde(default = "one")]
    pub cut: usize,
}

fn one() -> usize {
    1
}

/// Either form.
#[derive(Debug, Clone, PartialEq)]
pub enum Texts {
    /// Two lists of texts.
    Pairs(Pairs),
    /// Two lists of personas.
    Personas(Personas),
}

const FORMS: &str = r#"{"positive": [texts], "negative": [texts]}, or {"template": "… {persona} … {suffix}", "positive": [personas], "negative": [personas], "suffixes": [texts]}"#;

impl Texts {
    /// Reads a JSON file of either form.
    ///
    /// # Errors
    /// [`Error::BadConfig`] that names what does not fit.
    pub fn from_json(file: &str, json: &[u8]) -> Result<Self> {
        let bad = |field: &str, found: String| Error::BadConfig {
            file: file.into(),
            field: field.into(),
            expected: FORMS.into(),
            found,
        };
        let whole = |error: serde_json::Error| bad("the file", error.to_string());
        let value: Value = serde_json::from_slice(json).map_err(whole)?;
        let has = |field: &str| value.get(field).is_some();
        let is_personas = has("template") || has("suffixes");
        // A field that is misspelled would be as good as absent.
        let known = ["positive", "negative", "id", "title", "behaviour"];
        let known_besides = ["template", "suffixes", "cut"];
        let is_known =
            |field: &str| known.contains(&field) || is_personas && known_besides.contains(&field);
        let fields = value
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.keys());
        if let Some(field) = fields.into_iter().find(|field| !is_known(field)) {
            return Err(bad(field, "a field that nothing reads".into()));
        }
        if is_personas {
            serde_json::from_value(value).map(Self::Personas)
        } else {
            serde_json::from_value(value).map(Self::Pairs)
        }
        .map_err(whole)
    }

    /// Two texts of one entry a line; empty lines at the end do not count.
    #[must_use]
    pub fn from_lines(positive: &str, negative: &str) -> Self {
        let [positive, negative] = [positive, negative].map(lines);
        Self::Pairs(Pairs { positive, negative })
    }

    /// The pairs, positive first.
    ///
    /// # Errors
    /// [`Error::BadOption`] for lists that do not pair, a template without its two places, suffixes
    /// that leave nothing.
    pub fn pairs(&self, text: &Text) -> Result<Vec<(String, String)>> {
        match self {
            Self::Pairs(Pairs { positive, negative }) => paired(
                "pairs",
                "as many positive as negative texts",
                positive,
                negative,
            )
            .map(|pairs| pairs.map(|(a, b)| (a.clone(), b.clone())).collect()),
            Self::Personas(personas) => personas.pairs(text),
        }
    }
}

/// The entries of a list that is written one a line.
#[must_use]
pub fn lines(text: &str) -> Vec<String> {
    text.trim_end().lines().map(str::to_owned).collect()
}

fn paired<'a>(
    name: &'static str,
    expected: &'static str,
    positive: &'a [String],
    negative: &'a [String],
) -> Result<impl Iterator<Item = (&'a String, &'a String)> + Clone> {
    if positive.is_empty() || positive.len() != negative.len() {
        return Err(Error::BadOption {
            name,
            expected,
            found: format!("{} and {}", positive.len(), negative.len()),
        });
    }
    Ok(positive.iter().zip(negative))
}

impl Personas {
    fn pairs(&self, text: &Text) -> Result<Vec<(String, String)>> {
        if !(self.template.contains("{persona}") && self.template.contains("{suffix}")) {
            return Err(Error::BadOption {
                name: "template",
                expected: "a text with {persona} and {suffix} in it",
                found: self.template.clone(),
            });
        }
        let expected = "as many positive as negative personas";
        let personas = paired("personas", expected, &self.positive, &self.negative)?;
        let mut pairs = Vec::new();
        for suffix in &self.suffixes {
            let ids = text.encode(suffix, false)?;
            for tokens in 1..(ids.len() + 1).saturating_sub(self.cut) {
                let beginning = text.decode(&ids[..tokens], false);
                let filled = |persona: &String| self.filled(persona, &beginning);
                pairs.extend(personas.clone().map(|(a, b)| (filled(a), filled(b))));
            }
        }
        if pairs.is_empty() {
            return Err(Error::BadOption {
                name: "suffixes",
                expected: "texts of at least two tokens, which can be cut; one more for each that \
                           `cut` adds to 1",
                found: format!("{} that leave nothing", self.suffixes.len()),
            });
        }
        Ok(pairs)
    }

    /// The template's places in one pass, so that what is put into one is not searched for the other.
    fn filled(&self, persona: &str, suffix: &str) -> String {
        let parts = self.template.split("{persona}");
        let parts: Vec<String> = parts.map(|part| part.replace("{suffix}", suffix)).collect();
        parts.join(persona)
    }
}

/// Pairs of texts as tokens, every token but the first counting: the stream of that one is huge and the same
/// in all texts.
///
/// # Errors
/// [`Error::NoTokenizer`], and what the tokenizer reports.
pub fn encoded(session: &Session, pairs: &[(String, String)]) -> Result<Vec<Pair>> {
    let no_tokenizer = || Error::NoTokenizer {
        file: session.model.name().into(),
    };
    let text = session.text.as_ref().ok_or_else(no_tokenizer)?;
    let passage = |words: &String| {
        Ok(Passage {
            ids: text.encode(words, true)?,
            from: 1,
            words: words.clone(),
        })
    };
    let pair = |(positive, negative): &(String, String)| {
        Ok(Pair {
            positive: passage(positive)?,
            negative: passage(negative)?,
        })
    };
    pairs.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::{Personas, Texts, lines};

    #[test]
    fn what_is_filled_in_is_not_searched() {
        let personas = Personas {
            template: "{persona}: {suffix} ({persona})".into(),
            positive: vec![],
            negative: vec![],
            suffixes: vec![],
            cut: 1,
        };
        let filled = personas.filled("a {suffix}", "b {persona}");
        assert_eq!(filled, "a {suffix}: b {persona} (a {suffix})");
    }

    #[test]
    fn files_of_either_form_are_told_apart_and_others_refused() {
        let json = br#"{"title": "t", "positive": ["a"], "negative": ["b"]}"#;
        let pairs = Texts::from_json("p", json);
        assert!(matches!(pairs, Ok(Texts::Pairs(_))), "{pairs:?}");
        let json = br#"{"template": "t", "positive": [], "negative": [], "suffixes": []}"#;
        let personas = Texts::from_json("p", json);
        assert!(matches!(personas, Ok(Texts::Personas(_))), "{personas:?}");
        for json in [
            &br#"{"positive": ["a"]}"#[..],
            br#"{"positive": ["a"], "negative": [1]}"#,
            br#"{"positive": ["a"], "negative": ["b"], "neutral": []}"#,
            br#"{"template": "t", "positive": [], "negative": []}"#,
            b"[]",
            b"{",
        ] {
            let error = Texts::from_json("my.json", json).expect_err("refused");
            assert!(error.to_string().contains("my.json"), "{error}");
        }
        assert_eq!(
            lines("a\n\nb\n\n"),
            ["a", "", "b"],
            "blank ones inside count"
        );
    }
}
