//! The key-value part of a GGUF file.

use std::collections::BTreeMap;

use super::{ARRAY, BOOL, STRING};
use crate::error::{Error, Result};

macro_rules! values {
    ($($name:ident($kind:ty) = $code:literal,)*) => {
        /// One value of a GGUF file's metadata.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "the variants are named after the types they hold")]
        pub enum Value {
            $($name($kind),)*
            Bool(bool),
            String(String),
            Array(Array),
        }

        /// A list of values of one type.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "the variants are named after the types they hold")]
        pub enum Array {
            $($name(Vec<$kind>),)*
            Bool(Vec<bool>),
            String(Vec<String>),
            Array(Vec<Array>),
        }

        impl Value {
            /// GGUF's number of the type.
            pub(super) fn code(&self) -> u32 {
                match self {
                    $(Self::$name(_) => $code,)*
                    Self::Bool(_) => BOOL,
                    Self::String(_) => STRING,
                    Self::Array(_) => ARRAY,
                }
            }
        }

        impl Array {
            /// The items as whole numbers, if they are.
            fn integers(&self) -> Option<Vec<i64>> {
                match self {
                    $(Self::$name(items) => {
                        items.iter().map(|&item| Value::$name(item).integer()).collect()
                    })*
                    _ => None,
                }
            }
        }
    };
}

for_numbers!(values);

impl Value {
    fn integer(&self) -> Option<i64> {
        Some(match *self {
            Self::U8(value) => value.into(),
            Self::I8(value) => value.into(),
            Self::U16(value) => value.into(),
            Self::I16(value) => value.into(),
            Self::U32(value) => value.into(),
            Self::I32(value) => value.into(),
            Self::U64(value) => value.try_into().ok()?,
            Self::I64(value) => value,
            _ => return None,
        })
    }

    /// The value in a few words, for messages.
    fn shown(&self) -> String {
        match self {
            Self::String(text) => format!("\"{}\"", text.chars().take(40).collect::<String>()),
            Self::Array(_) => "an array".into(),
            Self::Bool(value) => value.to_string(),
            Self::F32(value) => value.to_string(),
            Self::F64(value) => value.to_string(),
            _ => self
                .integer()
                .map_or_else(|| "beyond 2^63".into(), |value| value.to_string()),
        }
    }
}

/// The key-value part of a GGUF file. Getters give `None` for an absent key and
/// [`Error::BadConfig`] for a value of another type.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    /// The file's name, for messages.
    pub file: String,
    /// Every pair.
    pub entries: BTreeMap<String, Value>,
}

impl Metadata {
    fn get<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.entries.get(key) else {
            return Ok(None);
        };
        convert(value).map(Some).ok_or_else(|| Error::BadConfig {
            file: self.file.clone(),
            field: key.into(),
            expected: expected.into(),
            found: value.shown(),
        })
    }

    /// A string.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is no string.
    pub fn string(&self, key: &str) -> Result<Option<&str>> {
        self.get(key, "a string", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A whole number of at least 0, whatever its width.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is none.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>> {
        self.get(key, "a whole number", |value| {
            value.integer()?.try_into().ok()
        })
    }

    /// A whole number of at least 0, or one for each of several things, such as blocks.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is neither.
    pub fn unsigned_each(&self, key: &str) -> Result<Option<Vec<u64>>> {
        self.get(key, "a whole number, or a list of them", |value| {
            let items = match value {
                Value::Array(items) => items.integers()?,
                value => vec![value.integer()?],
            };
            items.into_iter().map(|item| item.try_into().ok()).collect()
        })
    }

    /// A real number; whole numbers are taken too.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is no number.
    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a number", |value| match *value {
            Value::F32(value) => Some(value.into()),
            Value::F64(value) => Some(value),
            _ => value.integer().map(|value| value as f64),
        })
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is none.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "true or false", |value| match *value {
            Value::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// A list of strings.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is none.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>> {
        self.get(key, "a list of strings", |value| match value {
            Value::Array(Array::String(items)) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// A list of `f32`.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is none.
    pub fn floats(&self, key: &str) -> Result<Option<&[f32]>> {
        self.get(key, "a list of f32", |value| match value {
            Value::Array(Array::F32(items)) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// A list of `i32` (the type in which GGUF writes token types).
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is none.
    pub fn integers(&self, key: &str) -> Result<Option<&[i32]>> {
        self.get(key, "a list of i32", |value| match value {
            Value::Array(Array::I32(items)) => Some(items.as_slice()),
            _ => None,
        })
    }
}
