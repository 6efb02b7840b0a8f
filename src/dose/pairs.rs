//! The file of contrasting answers: `{BEHAVIOUR: [{prompt, positive, negative, split}], neutral:
//! [{prompt, completion}], prompting: {BEHAVIOUR: {positive, negative}}}`.
//!
//! A teacher writes one by hand, so every complaint names the row. `docs/contrast.schema.json` says the
//! same to an editor.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::weights::sha256;

/// The file that is used where another lacks a part.
const SHIPPED: &str = include_str!("../../www/adapters/contrast.json");

/// What it is called in a complaint.
const SHIPPED_NAME: &str = "the shipped pairs";

/// Keys of the file that are no behaviours; the last two are for people and editors.
const RESERVED: [&str; 4] = ["neutral", "prompting", "note", "$schema"];

/// What a pair is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Gradients, and the directions of vectors.
    Train,
    /// Choices: when to stop, which rate.
    Stop,
    /// Published numbers, never used to choose.
    Test,
}

impl Split {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Train, Self::Stop, Self::Test];

    /// The name in a file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Stop => "stop",
            Self::Test => "test",
        }
    }

    /// The split of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|split| split.name() == name)
    }
}

/// One prompt with two opposite answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The row in the file, from 0.
    pub row: usize,
    /// What a user says.
    pub prompt: String,
    /// The answer that c = 1 shall make likelier.
    pub positive: String,
    /// The answer that c = −1 shall make likelier.
    pub negative: String,
    /// What it is for.
    pub split: Split,
}

/// A prompt whose answer has nothing to do with any behaviour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neutral {
    /// What a user says.
    pub prompt: String,
    /// The answer.
    pub completion: String,
}

/// System messages that ask for the same as an adapter does: what it is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instructions {
    /// Asks for c = 1.
    pub positive: String,
    /// Asks for c = −1.
    pub negative: String,
}

/// One behaviour of a file, and the neutral texts beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contrast {
    /// The file's name.
    pub file: String,
    /// The behaviour.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
    /// Its pairs, in the file's order.
    pub pairs: Vec<Pair>,
    /// Neutral texts: the file's, or the shipped ones.
    pub neutral: Vec<Neutral>,
    /// The file's instructions, or the shipped ones of a behaviour of that name.
    pub prompting: Option<Instructions>,
}

impl Contrast {
    /// Of what a caller gives: a file's text, the object that it says, or nothing, for the shipped one.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn given(name: &str, pairs: Option<&Value>, behaviour: &str) -> Result<Self> {
        match pairs {
            None => Self::shipped(behaviour),
            Some(Value::String(text)) => Self::read(name, text.as_bytes(), behaviour),
            Some(pairs) => Self::read(name, pairs.to_string().as_bytes(), behaviour),
        }
    }

    /// Reads one behaviour.
    ///
    /// # Errors
    /// [`Error::BadConfig`] names the file and the row or field, what was expected and what is there.
    pub fn read(file: &str, bytes: &[u8], behaviour: &str) -> Result<Self> {
        let root = root(file, bytes)?;
        let names = names(&root);
        let named = RESERVED.contains(&behaviour);
        let Some(rows) = root.get(behaviour).filter(|_| !named) else {
            return Err(Error::BadConfig {
                file: file.into(),
                field: behaviour.into(),
                expected: format!("one of its behaviours: {}", names.join(", ")),
                found: "not there".into(),
            });
        };
        let pairs = pairs(file, behaviour, rows)?;
        let shipped = self::root(SHIPPED_NAME, SHIPPED.as_bytes())?;
        let neutral = match root.get("neutral") {
            Some(rows) => neutral(file, rows)?,
            None => neutral(SHIPPED_NAME, &shipped["neutral"])?,
        };
        let own = instructions(file, &root, behaviour)?;
        let prompting = match own {
            None => instructions(SHIPPED_NAME, &shipped, behaviour)?,
            own => own,
        };
        Ok(Self {
            file: file.into(),
            name: behaviour.into(),
            sha256: sha256(bytes),
            pairs,
            neutral,
            prompting,
        })
    }

    /// One of the shipped behaviours.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when there is none of that name.
    pub fn shipped(behaviour: &str) -> Result<Self> {
        Self::read(SHIPPED_NAME, SHIPPED.as_bytes(), behaviour)
    }

    /// The names of a file's behaviours, in its order.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for what is not such a file.
    pub fn behaviours(file: &str, bytes: &[u8]) -> Result<Vec<String>> {
        let root = root(file, bytes)?;
        Ok(names(&root).into_iter().map(Into::into).collect())
    }

    /// The pairs of one split.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when there are none.
    pub fn split(&self, split: Split) -> Result<Vec<&Pair>> {
        let found: Vec<&Pair> = self
            .pairs
            .iter()
            .filter(|pair| pair.split == split)
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let count = |split: Split| self.pairs.iter().filter(|pair| pair.split == split).count();
        let counts = Split::ALL.map(|split| format!("{} {}", count(split), split.name()));
        Err(Error::BadConfig {
            file: self.file.clone(),
            field: self.name.clone(),
            expected: format!("rows for the split `{}`", split.name()),
            found: counts.join(", "),
        })
    }
}

fn root(file: &str, bytes: &[u8]) -> Result<Map<String, Value>> {
    let expected =
        "{BEHAVIOUR: [{prompt, positive, negative, split}], neutral: [{prompt, completion}]}";
    let bad = |found: String| Error::BadConfig {
        file: file.into(),
        field: "the file".into(),
        expected: expected.into(),
        found,
    };
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(root)) if !names(&root).is_empty() => Ok(root),
        Ok(Value::Object(_)) => Err(bad("a file without a behaviour".into())),
        Ok(other) => Err(bad(kind(&other).into())),
        Err(error) => Err(bad(error.to_string())),
    }
}

fn names(root: &Map<String, Value>) -> Vec<&str> {
    let names = root.keys().map(String::as_str);
    names.filter(|name| !RESERVED.contains(name)).collect()
}

fn pairs(file: &str, behaviour: &str, rows: &Value) -> Result<Vec<Pair>> {
    let rows = list(file, behaviour, rows)?;
    // Without any mark a list is there to be measured on.
    let marked = |row: &Value| row.get("split").is_some() || row.get("held_out").is_some();
    let unmarked = if rows.iter().any(marked) {
        Split::Train
    } else {
        Split::Test
    };
    let read = |(row, value): (usize, &Value)| {
        let at = Row {
            file,
            list: behaviour,
            row,
        };
        let known = [
            "prompt", "positive", "negative", "split", "held_out", "note",
        ];
        let fields = at.fields(value, &known)?;
        let pair = Pair {
            row,
            prompt: at.text(fields, "prompt")?,
            positive: at.text(fields, "positive")?,
            negative: at.text(fields, "negative")?,
            split: at.split(fields, unmarked)?,
        };
        if pair.positive == pair.negative {
            return Err(at.bad("negative", "another text than `positive`", "the same text"));
        }
        Ok(pair)
    };
    rows.iter().enumerate().map(read).collect()
}

fn neutral(file: &str, rows: &Value) -> Result<Vec<Neutral>> {
    let rows = list(file, "neutral", rows)?;
    let read = |(row, value): (usize, &Value)| {
        let at = Row {
            file,
            list: "neutral",
            row,
        };
        let fields = at.fields(value, &["prompt", "completion", "note"])?;
        Ok(Neutral {
            prompt: at.text(fields, "prompt")?,
            completion: at.text(fields, "completion")?,
        })
    };
    rows.iter().enumerate().map(read).collect()
}

fn instructions(
    file: &str,
    root: &Map<String, Value>,
    behaviour: &str,
) -> Result<Option<Instructions>> {
    let bad = |field: String, expected: &str, found: &Value| Error::BadConfig {
        file: file.into(),
        field,
        expected: expected.into(),
        found: kind(found).into(),
    };
    let all = match root.get("prompting") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(all)) => all,
        Some(other) => {
            let expected = "{BEHAVIOUR: {positive, negative}}";
            return Err(bad("prompting".into(), expected, other));
        }
    };
    let side = |side: &str| {
        let found = &all[behaviour][side];
        let text = found.as_str().filter(|text| !text.trim().is_empty());
        let field = format!("prompting.{behaviour}.{side}");
        text.map(String::from)
            .ok_or_else(|| bad(field, "a system message, a text that is not empty", found))
    };
    match all.get(behaviour) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(_)) => Ok(Some(Instructions {
            positive: side("positive")?,
            negative: side("negative")?,
        })),
        Some(other) => {
            let field = format!("prompting.{behaviour}");
            Err(bad(field, "{positive, negative}", other))
        }
    }
}

fn list<'a>(file: &str, name: &str, rows: &'a Value) -> Result<&'a Vec<Value>> {
    let found = match rows {
        Value::Array(rows) if !rows.is_empty() => return Ok(rows),
        Value::Array(_) => "an empty list",
        other => kind(other),
    };
    Err(Error::BadConfig {
        file: file.into(),
        field: name.into(),
        expected: "a list of rows".into(),
        found: found.into(),
    })
}

/// Where a row stands, for its complaints.
struct Row<'a> {
    file: &'a str,
    list: &'a str,
    row: usize,
}

impl Row<'_> {
    fn bad(&self, field: &str, expected: &str, found: &str) -> Error {
        let Self { list, row, .. } = self;
        let dot = if field.is_empty() { "" } else { "." };
        Error::BadConfig {
            file: self.file.into(),
            field: format!("{list}[{row}]{dot}{field}"),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// The row's fields, all of them known: a misspelt mark would be a silent choice.
    fn fields<'v>(&self, value: &'v Value, known: &[&str]) -> Result<&'v Map<String, Value>> {
        let expected = format!("{{{}}}", known.join(", "));
        let Value::Object(fields) = value else {
            return Err(self.bad("", &expected, kind(value)));
        };
        match fields.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(self.bad(key, &format!("no such field, only {expected}"), "there")),
            None => Ok(fields),
        }
    }

    fn text(&self, fields: &Map<String, Value>, field: &str) -> Result<String> {
        let expected = "a text that is not empty";
        match fields.get(field) {
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
            Some(Value::String(_)) => Err(self.bad(field, expected, "an empty text")),
            Some(other) => Err(self.bad(field, expected, kind(other))),
            None => Err(self.bad(field, expected, "missing")),
        }
    }

    fn split(&self, fields: &Map<String, Value>, unmarked: Split) -> Result<Split> {
        let held_out = match fields.get("held_out") {
            None => None,
            Some(Value::Bool(held_out)) => Some(*held_out),
            Some(other) => return Err(self.bad("held_out", "true or false", kind(other))),
        };
        let expected = "train, stop or test";
        let split = match fields.get("split") {
            None => None,
            Some(Value::String(name)) => {
                let split = Split::named(name);
                Some(split.ok_or_else(|| self.bad("split", expected, &format!("{name:?}")))?)
            }
            Some(other) => return Err(self.bad("split", expected, kind(other))),
        };
        match (split, held_out) {
            (None, None) => Ok(unmarked),
            (None, Some(true)) => Ok(Split::Test),
            (None, Some(false)) => Ok(Split::Train),
            (Some(split), Some(held_out)) if held_out != (split == Split::Test) => {
                let found = format!("{} beside held_out: {held_out}", split.name());
                Err(self.bad("split", "what `held_out` says too", &found))
            }
            (Some(split), _) => Ok(split),
        }
    }
}

/// A JSON value's kind, for a message.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Contrast> {
        Contrast::read("mine.json", json.as_bytes(), "kind")
    }

    fn complaint(json: &str) -> String {
        read(json).expect_err(json).to_string()
    }

    #[test]
    fn every_shipped_behaviour_is_read() {
        let names = Contrast::behaviours("shipped", SHIPPED.as_bytes()).expect("a file");
        assert!(names.contains(&"tone".into()), "{names:?}");
        for name in names {
            let found = Contrast::read("shipped", SHIPPED.as_bytes(), &name).expect("read");
            assert!(found.split(Split::Test).expect("test rows").len() >= 8);
            assert!(
                found.split(Split::Train).is_ok() && found.prompting.is_some(),
                "{name}"
            );
            assert!(found.neutral.len() >= 12);
        }
    }

    #[test]
    fn what_is_missing_is_the_shipped_file_s() {
        let row = r#"{"prompt": "a", "positive": "b", "negative": "c"}"#;
        let found = read(&format!(r#"{{"kind": [{row}]}}"#)).expect("read");
        assert_eq!(found.pairs[0].split, Split::Test, "without marks");
        assert_eq!(found.prompting, None);
        assert!(found.neutral.len() >= 12);
        assert_eq!(found.sha256.len(), 64);
        let own = r#""neutral": [{"prompt": "p", "completion": "q"}], "prompting": {"kind": {"positive": "be", "negative": "be not"}}"#;
        let found = read(&format!(r#"{{"kind": [{row}], {own}}}"#)).expect("read");
        assert_eq!(found.neutral.len(), 1);
        assert_eq!(found.prompting.expect("own").negative, "be not");
    }

    #[test]
    fn marks_are_read() {
        let marked = |mark: &str| {
            let row = r#""prompt": "a", "positive": "b", "negative": "c""#;
            let json = format!(r#"{{"kind": [{{{row}{mark}}}, {{{row}, "split": "stop"}}]}}"#);
            read(&json).map(|found| found.pairs[0].split)
        };
        assert_eq!(marked(""), Ok(Split::Train));
        assert_eq!(marked(r#", "held_out": true"#), Ok(Split::Test));
        assert_eq!(marked(r#", "held_out": false"#), Ok(Split::Train));
        assert_eq!(marked(r#", "split": "train""#), Ok(Split::Train));
        assert_eq!(
            marked(r#", "split": "stop", "held_out": false"#),
            Ok(Split::Stop)
        );
        assert!(marked(r#", "split": "stop", "held_out": true"#).is_err());
        assert!(marked(r#", "split": "dev""#).is_err());
    }

    #[test]
    fn complaints_name_the_row() {
        let cases = [
            (
                r#"{"kind": [{"prompt": "a", "positive": "b"}]}"#,
                "kind[0].negative",
            ),
            (
                r#"{"kind": [{"prompt": "a", "positive": "b", "negative": "b"}]}"#,
                "kind[0].negative",
            ),
            (
                r#"{"kind": [{"prompt": "a", "positive": " ", "negative": "b"}]}"#,
                "kind[0].positive",
            ),
            (
                r#"{"kind": [{"prompt": "a", "positive": "b", "negative": "c", "spilt": "test"}]}"#,
                "kind[0].spilt",
            ),
            (r#"{"kind": [7]}"#, "kind[0]"),
            (r#"{"kind": []}"#, "an empty list"),
            (r#"{"other": []}"#, "one of its behaviours: other"),
            (r#"{"neutral": []}"#, "without a behaviour"),
            ("[]", "a list"),
            (r#"{"kind": "#, "EOF"),
        ];
        for (json, named) in cases {
            let complaint = complaint(json);
            assert!(complaint.contains(named), "{json}: {complaint}");
            assert!(complaint.contains("mine.json"), "{complaint}");
        }
        let neutral = r#"{"kind": [{"prompt": "a", "positive": "b", "negative": "c"}], "neutral": [{"prompt": "a"}]}"#;
        assert!(complaint(neutral).contains("neutral[0].completion"));
        let asked = r#"{"kind": [{"prompt": "a", "positive": "b", "negative": "c"}], "prompting": {"kind": {"positive": ""}}}"#;
        assert!(complaint(asked).contains("prompting.kind.positive"));
    }
}
