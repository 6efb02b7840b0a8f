//! The filter `tojson`.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Error, State};

use super::python::{Side, float_text, pad};
use super::{MAX_DEPTH, invalid};

/// transformers' `tojson`: Python's `json.dumps`, where Jinja2's own would write `<` as `\u003c`.
pub(super) fn tojson(
    state: &State,
    value: &Value,
    args: Rest<ValueOrKwargs>,
) -> Result<String, Error> {
    type Arguments = (
        Option<Value>,
        Option<Value>,
        Option<Value>,
        Option<Value>,
        Kwargs,
    );
    let args = args.into_values();
    let (ensure_ascii, indent, separators, sort_keys, options): Arguments = from_args(&args)?;
    let option = |given: Option<Value>, name: &str| -> Result<Option<Value>, Error> {
        let value = match given {
            Some(value) => Some(value),
            None => options.get(name)?,
        };
        Ok(value.filter(|value| !value.is_none()))
    };
    let is_true = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let ensure_ascii = is_true(option(ensure_ascii, "ensure_ascii")?);
    let sort_keys = is_true(option(sort_keys, "sort_keys")?);
    let indent = match option(indent, "indent")? {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(indent) => indent.to_owned(),
            None => pad(
                state,
                "",
                i64::try_from(indent)?.try_into().unwrap_or(0),
                ' ',
                Side::Left,
            )?,
        }),
    };
    let (item, key) = match option(separators, "separators")? {
        Some(pair) => {
            let part = |index: usize| -> Result<String, Error> {
                let part = pair.get_item_by_index(index)?;
                let part = part.as_str().map(str::to_owned);
                part.ok_or_else(|| invalid("`separators` are not two texts"))
            };
            (part(0)?, part(1)?)
        }
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
    };
    options.assert_all_used()?;
    let mut json = Json {
        state,
        ensure_ascii,
        sort_keys,
        indent,
        item,
        key,
        out: String::new(),
    };
    json.write(value, 0)?;
    Ok(json.out)
}

/// Writes JSON.
struct Json<'a, 'env> {
    state: &'a State<'a, 'env>,
    ensure_ascii: bool,
    sort_keys: bool,
    indent: Option<String>,
    /// Between two items.
    item: String,
    /// Between a key and its value.
    key: String,
    out: String,
}

impl Json<'_, '_> {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(invalid("lists are nested too deeply"));
        }
        match value.kind() {
            ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                self.push(&json_word(value).unwrap_or_default())
            }
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                self.push("[")?;
                let mut empty = true;
                for item in value.try_iter()? {
                    self.next(&mut empty, depth)?;
                    self.write(&item, depth + 1)?;
                }
                self.close("]", empty, depth)
            }
            ValueKind::Map => {
                self.push("{")?;
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                let mut empty = true;
                for key in keys {
                    let name = match key.as_str() {
                        Some(name) => name.to_owned(),
                        None => json_word(&key)
                            .ok_or_else(|| invalid(format!("a key may not be {key:?}")))?,
                    };
                    self.next(&mut empty, depth)?;
                    self.string(&name)?;
                    let between = self.key.clone();
                    self.push(&between)?;
                    self.write(&value.get_item(&key)?, depth + 1)?;
                }
                self.close("}", empty, depth)
            }
            kind => Err(invalid(format!("{kind} is not JSON serializable"))),
        }
    }

    fn push(&mut self, text: &str) -> Result<(), Error> {
        self.state.consume_fuel(1 + text.len() as u64 / 64)?;
        self.out.push_str(text);
        Ok(())
    }

    /// Begins the next item: its separator, and its line.
    fn next(&mut self, empty: &mut bool, depth: usize) -> Result<(), Error> {
        if !std::mem::replace(empty, false) {
            let item = self.item.clone();
            self.push(&item)?;
        }
        self.line(depth + 1)
    }

    fn close(&mut self, end: &str, empty: bool, depth: usize) -> Result<(), Error> {
        if !empty {
            self.line(depth)?;
        }
        self.push(end)
    }

    /// A new line, if there is an indent.
    fn line(&mut self, depth: usize) -> Result<(), Error> {
        match self.indent.clone() {
            Some(indent) => self.push(&("\n".to_owned() + &indent.repeat(depth))),
            None => Ok(()),
        }
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        let mut out = String::with_capacity(text.len() + 2);
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || self.ensure_ascii && c > '~' => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
        self.push(&out)
    }
}

/// The text of a value that is written without quotes; `None` for other values.
fn json_word(value: &Value) -> Option<String> {
    Some(match value.kind() {
        ValueKind::None => "null".into(),
        ValueKind::Bool => if value.is_true() { "true" } else { "false" }.into(),
        ValueKind::Number if value.is_integer() => value.to_string(),
        ValueKind::Number => match f64::try_from(value.clone()).ok()? {
            number if number.is_nan() => "NaN".into(),
            number if number.is_infinite() && number > 0.0 => "Infinity".into(),
            number if number.is_infinite() => "-Infinity".into(),
            number => float_text(number),
        },
        _ => return None,
    })
}
