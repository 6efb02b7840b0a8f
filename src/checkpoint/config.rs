//! `adapter_config.json`, read by field.

use std::collections::BTreeMap;

use serde_json::{Map as JsonMap, Value};

use super::patterns::{Fault, Patterns};
use super::target::Target;
use crate::arch::Names;
use crate::error::{Error, Result};
use crate::weights;

/// The config's file in an adapter's folder.
pub(crate) const CONFIG_FILE: &str = "adapter_config.json";
/// The weights' file in an adapter's folder.
pub(crate) const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// Tasks whose result is a class and no text, and the modules that compute it.
const CLASSIFIES: &[&str] = &["SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS"];
pub(super) const CLASSIFIERS: &[&str] = &["score", "classifier", "qa_outputs"];

/// `adapter_config.json`, read by field.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file's name, for messages.
    pub file: String,
    /// The name of the weights' file, for messages.
    pub(crate) weights: String,
    pub(super) fields: JsonMap<String, Value>,
    pub(super) patterns: Patterns,
    /// What precedes `layers` in the names that its patterns are for.
    pub(super) inside: String,
    /// The base's family, where that has names of its own for what is around the layers.
    pub(super) names: Option<&'static Names>,
    /// The file's own names of tensors that are read under PEFT's.
    pub(super) own: BTreeMap<String, String>,
    /// Whether it is mlx-lm's, in which a tied head follows the embedding's LoRA.
    pub(crate) is_mlx: bool,
}

impl Config {
    pub(crate) fn parse(name: &str, json: &[u8]) -> Result<Self> {
        let file = format!("{name}/{CONFIG_FILE}");
        let bad = |found: String| Error::BadConfig {
            file: file.clone(),
            field: "the file".into(),
            expected: "a JSON object".into(),
            found,
        };
        match serde_json::from_slice(json) {
            Ok(Value::Object(fields)) => Ok(Self::of(name, fields)),
            Ok(other) => Err(bad(describe(&other))),
            Err(error) => Err(bad(match weights::not_weights(json) {
                Some(what) => what.into(),
                None => format!("not valid JSON ({error})"),
            })),
        }
    }

    pub(crate) fn of(name: &str, fields: JsonMap<String, Value>) -> Self {
        Self {
            file: format!("{name}/{CONFIG_FILE}"),
            weights: format!("{name}/{WEIGHTS_FILE}"),
            fields,
            patterns: Patterns::default(),
            inside: "model.".into(),
            names: None,
            own: BTreeMap::new(),
            is_mlx: false,
        }
    }

    /// A module's path in the base that the file was trained on; its patterns match these.
    #[must_use]
    pub fn own_path(&self, path: &str) -> String {
        if let Some(names) = self.names {
            return names.own(path);
        }
        match path.strip_prefix("model.") {
            Some(rest) => format!("{}{rest}", self.inside),
            None => path.into(),
        }
    }

    /// A module that a field names, as most families call it: `wte` is `embed_tokens`.
    pub(crate) fn usual_module(&self, module: &str) -> String {
        self.names
            .map_or_else(|| module.into(), |names| names.bare(module))
    }

    /// The file's own name of a tensor.
    pub(crate) fn own_key(&self, key: &str) -> String {
        self.own.get(key).map_or(key, String::as_str).into()
    }

    /// PEFT's name of a tensor, from the file's own.
    pub(crate) fn peft_key<'a>(&'a self, own: &'a str) -> &'a str {
        let found = self.own.iter().find(|(_, known)| *known == own);
        found.map_or(own, |(key, _)| key)
    }

    /// The refusal of an entry of a field that is an object.
    #[must_use]
    pub fn bad_part(&self, field: &str, part: &str, expected: &str) -> Error {
        let found = self.fields.get(field).and_then(|value| value.get(part));
        Error::BadConfig {
            file: self.file.clone(),
            field: format!("{field}.{part}"),
            expected: expected.into(),
            found: found.map_or_else(|| "missing".into(), describe),
        }
    }

    /// The refusal of a field that is not what it should be.
    #[must_use]
    pub fn bad(&self, field: &str, expected: &str) -> Error {
        let found = self
            .fields
            .get(field)
            .map_or_else(|| "missing".into(), describe);
        Error::BadConfig {
            file: self.file.clone(),
            field: field.into(),
            expected: expected.into(),
            found,
        }
    }

    /// A text field.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when absent or of another type.
    pub fn text(&self, field: &str) -> Result<String> {
        let text = self.fields.get(field).and_then(Value::as_str);
        text.map(Into::into)
            .ok_or_else(|| self.bad(field, "a text"))
    }

    /// A count.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when absent, of another type, or 0.
    pub fn count(&self, field: &str) -> Result<usize> {
        let count = self.fields.get(field).and_then(Value::as_u64);
        // No file holds more, and an address of the browser's has 32 bits.
        let count = count.and_then(|n| u32::try_from(n).ok()).filter(|&n| n > 0);
        count
            .map(|n| n as usize)
            .ok_or_else(|| self.bad(field, "a whole number from 1 to 4294967295"))
    }

    /// A seed of a random generator.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when absent or no whole number.
    pub fn seed(&self, field: &str) -> Result<u64> {
        let value = self.fields.get(field);
        // Torch counts a negative seed from 2^64 down.
        let signed = value.and_then(Value::as_i64).map(i64::cast_unsigned);
        let seed = value.and_then(Value::as_u64).or(signed);
        seed.ok_or_else(|| self.bad(field, "a whole number"))
    }

    /// The token ids below `vocab` in `value`, which is in the field.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for anything else.
    pub fn ids(&self, field: &str, value: Option<&Value>, vocab: usize) -> Result<Vec<u32>> {
        let ids = value.and_then(Value::as_array).map(|ids| {
            let id = |id: &Value| id.as_u64().filter(|&id| id < vocab as u64);
            ids.iter().map(|value| Some(id(value)? as u32)).collect()
        });
        let expected = format!(
            "a list of token ids below {vocab}, the size of the model's vocabulary (if it was \
             extended before training, extend this model alike)"
        );
        ids.flatten().ok_or_else(|| self.bad(field, &expected))
    }

    /// A finite number.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when absent or of another type.
    pub fn number(&self, field: &str) -> Result<f32> {
        let number = self.fields.get(field).and_then(finite);
        number.ok_or_else(|| self.bad(field, "a finite number, in f32 too"))
    }

    /// `base_model_name_or_path`, unless it is empty.
    pub(crate) fn base_model(&self) -> Option<String> {
        let name = self.text("base_model_name_or_path").ok();
        name.filter(|name| !name.trim().is_empty())
    }

    /// Adds a field that is not there.
    pub(crate) fn fill(&mut self, field: String, value: Value) {
        self.fields.entry(field).or_insert(value);
    }

    /// Removes a field; returns whether it was there.
    pub(crate) fn remove(&mut self, field: &str) -> bool {
        self.fields.shift_remove(field).is_some()
    }

    /// Removes a module of `modules_to_save`; returns whether it was there.
    pub(crate) fn remove_saved(&mut self, module: &str) -> bool {
        let field = self.fields.get_mut("modules_to_save");
        let Some(names) = field.and_then(Value::as_array_mut) else {
            return false;
        };
        let before = names.len();
        names.retain(|name| name.as_str() != Some(module));
        names.len() < before
    }

    /// A switch; absent and `null` mean off.
    #[must_use]
    pub fn flag(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|value| !is_off(value))
    }

    /// Refuses blocks that do not divide both widths of a layer.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the field that gave their number or size.
    pub fn check_divides(&self, field: &str, blocks: usize, target: &Target) -> Result<()> {
        let (i, o) = (target.i, target.o);
        if blocks > 0 && i.is_multiple_of(blocks) && o.is_multiple_of(blocks) {
            Ok(())
        } else {
            Err(self.bad(
                field,
                &format!("a divisor of {i} and {o}, the widths of {}", target.path),
            ))
        }
    }

    /// r and α/r of a module, for the methods that write α as `alpha`.
    ///
    /// # Errors
    /// As [`Self::patterned`], and [`Error::BadConfig`] for a rank that is no count.
    pub fn rank_and_scale(&self, target: &Target) -> Result<(usize, f32)> {
        let rank = self.patterned("rank_pattern", &target.path, "r")?;
        let alpha = self.patterned("alpha_pattern", &target.path, "alpha")?;
        Ok((self.whole("r", rank)?, alpha / rank))
    }

    /// The number for a module: the first entry of `pattern` whose key matches the module path
    /// as PEFT matches it, `^(.*\.)?(KEY)$`, else `field`.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for keys that are no regular expression and values that are no number.
    pub fn patterned(&self, pattern: &str, path: &str, field: &str) -> Result<f32> {
        let path = self.own_path(path);
        let found = self.first_match(pattern, |key| self.patterns.ends(&path, key))?;
        found.map_or_else(|| self.number(field), Ok)
    }

    /// The count for a module as FourierFT and C3A match it: the first entry of `pattern` with
    /// `.*\.KEY$` at the start of the module path, else the one that is the path, else `field`.
    ///
    /// # Errors
    /// As [`Self::patterned`], and [`Error::BadConfig`] for a number that is no count.
    pub fn patterned_suffix(&self, pattern: &str, path: &str, field: &str) -> Result<usize> {
        let path = self.own_path(path);
        let by_suffix =
            self.first_match(pattern, |key| self.patterns.ends_after_dot(&path, key))?;
        let number = match by_suffix {
            Some(number) => number,
            None => {
                let by_name = self.first_match(pattern, |key| Ok(key == path))?;
                by_name.map_or_else(|| self.number(field), Ok)?
            }
        };
        self.whole(field, number)
    }

    /// A number that has to be a count above 0, after patterns.
    pub(crate) fn whole(&self, field: &str, number: f32) -> Result<usize> {
        if number >= 1.0 && number.fract() == 0.0 {
            Ok(number as usize)
        } else {
            Err(self.bad(field, "a whole number above 0"))
        }
    }

    fn first_match(
        &self,
        pattern: &str,
        matches: impl Fn(&str) -> Result<bool, Fault>,
    ) -> Result<Option<f32>> {
        let Some(value) = self.fields.get(pattern).filter(|value| !is_off(value)) else {
            return Ok(None);
        };
        let expected = "an object from module patterns to numbers";
        let entries = value
            .as_object()
            .ok_or_else(|| self.bad(pattern, expected))?;
        for (key, value) in entries {
            let fault = |fault| Error::BadConfig {
                file: self.file.clone(),
                field: pattern.into(),
                expected: match fault {
                    Fault::NotAPattern => "an object whose keys are Python's regular expressions",
                    Fault::TooManySteps => "keys that are matched in a bounded number of steps",
                    Fault::TooMany => {
                        "at most 1024 keys that are patterns, and 4096 letters of those that look \
                         around or back: write modules by their names"
                    }
                }
                .into(),
                found: format!("the key `{}`", key.chars().take(60).collect::<String>()),
            };
            if matches(key).map_err(fault)? {
                let number = finite(value).ok_or_else(|| self.bad(pattern, expected))?;
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// The refusal of an adapter for a classifier.
    pub(crate) fn classifies(&self) -> Option<Error> {
        let task = self.text("task_type").ok()?;
        CLASSIFIES.contains(&&task[..]).then(|| {
            let expected = "CAUSAL_LM: this adapter belongs to a classifier, whose answer comes from \
                            a head of its own (score, classifier) and not from the vocabulary";
            self.bad("task_type", expected)
        })
    }

    /// The refusal of an option of the method with this title whose value is not supported.
    pub(crate) fn refuse(&self, title: &str, field: &str, why: &'static str) -> Error {
        Error::UnsupportedOption {
            file: self.file.clone(),
            method: title.into(),
            field: field.into(),
            found: describe(self.fields.get(field).unwrap_or(&Value::Null)),
            why,
        }
    }

    /// The raw value of a field.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }
}

/// Whether a tensor belongs to the head of a classifier.
pub(crate) fn is_classifier(key: &str) -> bool {
    key.split('.').any(|part| CLASSIFIERS.contains(&part))
}

/// A number that is finite in f32 too.
fn finite(value: &Value) -> Option<f32> {
    let number = value.as_f64()? as f32;
    number.is_finite().then_some(number)
}

/// Values by which PEFT writes "not used".
pub(crate) fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

pub(super) fn describe(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
