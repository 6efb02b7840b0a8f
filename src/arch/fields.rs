//! The two sources of a config, with errors that name file and field: a JSON object, and the
//! metadata of a GGUF file under the prefix of its family (`llama.block_count` is `block_count`).

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::weights::gguf::Gguf;

/// Bounds that no model comes near; products of these stay far inside 64 bits.
const MAX_EXTENT: u64 = 1 << 24;

/// Fields by name. An absent one is `None`.
pub(super) trait Fields {
    /// The file, for messages.
    fn file(&self) -> &str;
    /// The field's whole name, for messages.
    fn name<'a>(&self, field: &'a str) -> Cow<'a, str>;
    /// A whole number of at least 0.
    fn unsigned(&self, field: &str) -> Result<Option<u64>>;
    /// A real number.
    fn number(&self, field: &str) -> Result<Option<f64>>;
    /// A string.
    fn text(&self, field: &str) -> Result<Option<&str>>;
    /// True or false.
    fn flag(&self, field: &str) -> Result<Option<bool>>;

    /// A refusal of what a field says.
    fn refuse(&self, field: &str, found: impl ToString, supported: &str) -> Error
    where
        Self: Sized,
    {
        Error::UnsupportedModel {
            file: self.file().into(),
            field: self.name(field).into_owned(),
            found: found.to_string(),
            supported: supported.into(),
        }
    }

    /// [`Error::MissingKey`].
    fn missing(&self, field: &str, what: &str) -> Error {
        Error::MissingKey {
            file: self.file().into(),
            key: self.name(field).into_owned(),
            what: what.into(),
        }
    }

    /// A size: at least 1, and not absurd.
    fn optional_size(&self, field: &str) -> Result<Option<usize>>
    where
        Self: Sized,
    {
        let found = self.unsigned(field)?;
        let sized = |found| sized(self.file(), &self.name(field), found);
        found.map(sized).transpose()
    }

    /// A size that must be there.
    fn size(&self, field: &str) -> Result<usize>
    where
        Self: Sized,
    {
        let found = self.optional_size(field)?;
        found.ok_or_else(|| self.missing(field, "a size of the model"))
    }

    /// A number above 0.
    fn optional_positive(&self, field: &str) -> Result<Option<f64>>
    where
        Self: Sized,
    {
        match self.number(field)? {
            Some(found) if !(found.is_finite() && found > 0.0) => {
                Err(self.refuse(field, found, "positive numbers"))
            }
            found => Ok(found),
        }
    }

    /// A number above 0 that must be there.
    fn positive(&self, field: &str, what: &str) -> Result<f64>
    where
        Self: Sized,
    {
        let found = self.optional_positive(field)?;
        found.ok_or_else(|| self.missing(field, what))
    }
}

/// Checks a size that was read.
pub(super) fn sized(file: &str, name: &str, found: u64) -> Result<usize> {
    match usize::try_from(found) {
        Ok(size) if (1..=MAX_EXTENT).contains(&found) => Ok(size),
        _ => Err(Error::UnsupportedModel {
            file: file.into(),
            field: name.into(),
            found: found.to_string(),
            supported: "sizes from 1 to 2^24".into(),
        }),
    }
}

/// The fields of a JSON object. `null` is the same as absent.
pub(super) struct Json<'a> {
    file: &'static str,
    /// The object's own place in the file, with a dot after it.
    inside: String,
    fields: &'a Map<String, Value>,
    /// The fields that somebody has a use for; inside of an object all.
    known: Option<Vec<&'static str>>,
}

impl<'a> Json<'a> {
    /// The outermost object of a file.
    pub(super) fn new(file: &'static str, fields: &'a Map<String, Value>) -> Self {
        Self {
            file,
            inside: String::new(),
            fields,
            known: None,
        }
    }

    /// The same, of which only these fields may be asked for.
    pub(super) fn of(&self, known: Vec<&'static str>) -> Self {
        Self {
            file: self.file,
            inside: self.inside.clone(),
            fields: self.fields,
            known: Some(known),
        }
    }

    /// Refuses a field that is not even `null`, where its absence means a number to transformers.
    pub(super) fn stated(&self, field: &str, what: &str) -> Result<()> {
        if self.fields.contains_key(field) {
            Ok(())
        } else {
            Err(self.missing(field, what))
        }
    }

    /// A size; the default only where the field is absent, `null` being none.
    pub(super) fn size_or(&self, field: &str, default: usize) -> Result<Option<usize>> {
        if self.fields.contains_key(field) {
            self.optional_size(field)
        } else {
            Ok(Some(default))
        }
    }

    /// Whether there is anything.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether the field is there and says `null`.
    pub(super) fn is_null(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(Value::is_null)
    }

    /// What stands there.
    pub(super) fn present(&self, field: &str) -> Option<&'a Value> {
        let known = |known: &Vec<&str>| known.contains(&field);
        assert!(
            self.known.as_ref().is_none_or(known),
            "`{field}` is in no list of its family"
        );
        self.fields.get(field).filter(|value| !value.is_null())
    }

    fn get<T>(
        &self,
        field: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.present(field) else {
            return Ok(None);
        };
        convert(value).map(Some).ok_or_else(|| Error::BadConfig {
            file: self.file.into(),
            field: self.name(field).into_owned(),
            expected: expected.into(),
            found: value.to_string().chars().take(60).collect(),
        })
    }

    /// A list.
    pub(super) fn list(&self, field: &str) -> Result<Option<&'a [Value]>> {
        self.get(field, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    /// The fields of an object inside.
    pub(super) fn object(&self, field: &str) -> Result<Option<Self>> {
        let fields = self.get(field, "an object", Value::as_object)?;
        Ok(fields.map(|fields| Self {
            file: self.file,
            inside: format!("{}{field}.", self.inside),
            fields,
            known: None,
        }))
    }
}

impl Fields for Json<'_> {
    fn file(&self) -> &str {
        self.file
    }

    fn name<'a>(&self, field: &'a str) -> Cow<'a, str> {
        if self.inside.is_empty() {
            field.into()
        } else {
            format!("{}{field}", self.inside).into()
        }
    }

    fn unsigned(&self, field: &str) -> Result<Option<u64>> {
        self.get(field, "a whole number", Value::as_u64)
    }

    fn number(&self, field: &str) -> Result<Option<f64>> {
        self.get(field, "a number", Value::as_f64)
    }

    fn text(&self, field: &str) -> Result<Option<&str>> {
        self.get(field, "a string", Value::as_str)
    }

    fn flag(&self, field: &str) -> Result<Option<bool>> {
        self.get(field, "true or false", Value::as_bool)
    }
}

/// The metadata of a GGUF file that begin with its family's name, and its tensors.
pub(super) struct Keys<'a> {
    file: &'a str,
    /// The header.
    pub gguf: &'a Gguf,
    family: &'static str,
    known: Vec<&'static str>,
}

impl<'a> Keys<'a> {
    /// The metadata of this family, of which only these may be asked for.
    pub(super) fn new(
        file: &'a str,
        gguf: &'a Gguf,
        family: &'static str,
        known: Vec<&'static str>,
    ) -> Self {
        Self {
            file,
            gguf,
            family,
            known,
        }
    }

    fn key(&self, field: &str) -> String {
        assert!(
            self.known.contains(&field),
            "`{field}` is in no list of its family"
        );
        self.name(field).into_owned()
    }

    /// A size that llama.cpp lets differ from block to block, here one for all.
    pub(super) fn size_of_blocks(&self, field: &str, num_layers: usize) -> Result<Option<usize>> {
        let key = self.key(field);
        let Some(found) = self.gguf.metadata.unsigned_each(&key)? else {
            return Ok(None);
        };
        let is_list = self.gguf.metadata.unsigned(&key).is_err();
        match found.as_slice() {
            [first, rest @ ..]
                if rest.iter().all(|other| other == first)
                    && (!is_list || found.len() == num_layers) =>
            {
                sized(self.file, &key, *first).map(Some)
            }
            _ => {
                let shown: Vec<String> = found.iter().take(8).map(u64::to_string).collect();
                let more = if found.len() > 8 { ", ..." } else { "" };
                let shown = format!("[{}{more}]", shown.join(", "));
                let supported = format!("the same number for each of the {num_layers} blocks");
                Err(self.refuse(field, shown, &supported))
            }
        }
    }

    /// Whether some linear layer whose name has this part has a bias.
    pub(super) fn has_bias(&self, part: &str) -> bool {
        let linear = |key: &String| key.contains(part) && !key.contains("_norm");
        let mut keys = self.gguf.tensors.keys();
        keys.any(|key| key.ends_with(".bias") && linear(key))
    }
}

impl Fields for Keys<'_> {
    fn file(&self) -> &str {
        self.file
    }

    fn name<'a>(&self, field: &'a str) -> Cow<'a, str> {
        format!("{}.{field}", self.family).into()
    }

    fn unsigned(&self, field: &str) -> Result<Option<u64>> {
        self.gguf.metadata.unsigned(&self.key(field))
    }

    fn number(&self, field: &str) -> Result<Option<f64>> {
        self.gguf.metadata.float(&self.key(field))
    }

    fn text(&self, field: &str) -> Result<Option<&str>> {
        self.gguf.metadata.string(&self.key(field))
    }

    fn flag(&self, field: &str) -> Result<Option<bool>> {
        self.gguf.metadata.flag(&self.key(field))
    }
}
