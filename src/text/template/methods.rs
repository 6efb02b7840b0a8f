//! Methods of Python's strings, lists and dicts, as far as the library lacks them or differs from
//! Python.

use minijinja::value::{Kwargs, Tuple, Value, ValueKind, from_args};
use minijinja::{Error, State};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::invalid;
use super::python::{Side, View, pad};

/// Calls a method of Python's strings, lists and dicts. Those that change a list or dict are refused,
/// as transformers' sandbox refuses them.
pub(super) fn call_method(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let found = match value.kind() {
        ValueKind::String => string_method(state, value, name, args)?,
        ValueKind::Map => dict_method(state, value, name, args)?,
        ValueKind::Seq | ValueKind::Iterable => list_method(state, value, name, args)?,
        _ => None,
    };
    match found {
        Some(found) => Ok(found),
        None => unknown_method_callback(state, value, name, args),
    }
}

fn string_method(
    state: &State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    let text = value.as_str().unwrap_or_default();
    let parts = |parts: [&str; 3]| Value::from(Tuple::from(parts.map(Value::from)));
    let found = match name {
        "split" | "rsplit" => {
            let (sep, max, options): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
            let sep = match sep {
                Some(sep) => Some(sep),
                None => options.get("sep")?,
            };
            let max = match max {
                Some(max) => Some(max),
                None => options.get("maxsplit")?,
            };
            options.assert_all_used()?;
            let sep = sep.filter(|sep| !sep.is_none());
            let max = max.and_then(|max| usize::try_from(max).ok());
            let sep = match &sep {
                Some(sep) => Some(
                    sep.as_str()
                        .ok_or_else(|| invalid("the separator is no text"))?,
                ),
                None => None,
            };
            let pieces = split(text, sep, max.unwrap_or(usize::MAX), name == "rsplit")?;
            state.consume_fuel(pieces.len() as u64)?;
            pieces.into_iter().map(Value::from).collect()
        }
        "partition" => {
            let (sep,): (&str,) = from_args(args)?;
            let (before, after) = text.split_once(sep).unwrap_or((text, ""));
            parts([before, if text.contains(sep) { sep } else { "" }, after])
        }
        "rpartition" => {
            let (sep,): (&str,) = from_args(args)?;
            let (before, after) = text.rsplit_once(sep).unwrap_or(("", text));
            parts([before, if text.contains(sep) { sep } else { "" }, after])
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            text.strip_prefix(prefix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            text.strip_suffix(suffix).unwrap_or(text).into()
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<char>) = from_args(args)?;
            let side = match name {
                "ljust" => Side::Right,
                "rjust" => Side::Left,
                _ => Side::Both,
            };
            pad(state, text, width, fill.unwrap_or(' '), side)?.into()
        }
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let digits = text.trim_start_matches(['+', '-']);
            let sign = match text.len() - digits.len() {
                0 => "",
                _ => &text[..1],
            };
            let rest = &text[sign.len()..];
            let width = width.saturating_sub(sign.len());
            (sign.to_owned() + &pad(state, rest, width, '0', Side::Left)?).into()
        }
        // The library would allocate whatever width is asked for.
        "format" => {
            let wide = |part: &str| {
                let field = part.split('}').next().unwrap_or_default();
                let mut digits = field.split(|c: char| !c.is_ascii_digit());
                digits.any(|digits| digits.len() > 4)
            };
            if text.split('{').skip(1).any(wide) {
                return Err(invalid("a field of a format is too wide"));
            }
            return Ok(None);
        }
        "title" => {
            let () = from_args(args)?;
            title(text).into()
        }
        "swapcase" => {
            let () = from_args(args)?;
            let swap = |c: char| -> String {
                if c.is_uppercase() {
                    c.to_lowercase().collect()
                } else {
                    c.to_uppercase().collect()
                }
            };
            text.chars().map(swap).collect::<String>().into()
        }
        "casefold" => {
            let () = from_args(args)?;
            text.to_lowercase().replace('ß', "ss").into()
        }
        "isdecimal" => {
            let () = from_args(args)?;
            (!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())).into()
        }
        "index" | "rindex" => {
            let (what,): (&str,) = from_args(args)?;
            let found = match name {
                "index" => text.find(what),
                _ => text.rfind(what),
            };
            let found = found.ok_or_else(|| invalid("substring not found"))?;
            text[..found].chars().count().into()
        }
        _ => return Ok(None),
    };
    Ok(Some(found))
}

fn dict_method(
    state: &State,
    dict: &Value,
    name: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    let name = match name {
        "keys" => "dict_keys",
        "values" => "dict_values",
        "items" => "dict_items",
        "copy" => {
            let () = from_args(args)?;
            return Ok(Some(dict.clone()));
        }
        _ => return Ok(None),
    };
    let () = from_args(args)?;
    let mut items = Vec::new();
    for key in dict.try_iter()? {
        state.consume_fuel(1)?;
        let value = dict.get_item(&key)?;
        items.push(match name {
            "dict_keys" => key,
            "dict_values" => value,
            _ => Tuple::from([key, value]).into(),
        });
    }
    Ok(Some(Value::from_object(View { name, items })))
}

fn list_method(
    state: &State,
    list: &Value,
    name: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    match name {
        "index" => {
            let (what,): (&Value,) = from_args(args)?;
            for (index, item) in list.try_iter()?.enumerate() {
                state.consume_fuel(1)?;
                if item == *what {
                    return Ok(Some(index.into()));
                }
            }
            Err(invalid(format!("{what:?} is not in list")))
        }
        "copy" => {
            let () = from_args(args)?;
            Ok(Some(list.clone()))
        }
        _ => Ok(None),
    }
}

/// `str.split` and, from the right, `str.rsplit`.
fn split<'a>(
    text: &'a str,
    sep: Option<&str>,
    max: usize,
    right: bool,
) -> Result<Vec<&'a str>, Error> {
    let pieces = max.saturating_add(1);
    let mut found: Vec<&str> = match sep {
        Some("") => return Err(invalid("empty separator")),
        Some(sep) if right => text.rsplitn(pieces, sep).collect(),
        Some(sep) => text.splitn(pieces, sep).collect(),
        None => {
            let mut found = Vec::new();
            let trim = |text: &'a str| {
                if right {
                    text.trim_end()
                } else {
                    text.trim_start()
                }
            };
            let mut rest = trim(text);
            while !rest.is_empty() && found.len() < max {
                let cut = if right {
                    rest.rfind(char::is_whitespace).map(|at| {
                        let space = rest[at..].chars().next().map_or(0, char::len_utf8);
                        (&rest[at + space..], &rest[..at])
                    })
                } else {
                    rest.find(char::is_whitespace)
                        .map(|at| (&rest[..at], &rest[at..]))
                };
                let (piece, left) = cut.unwrap_or((rest, ""));
                found.push(piece);
                rest = trim(left);
            }
            if !rest.is_empty() {
                found.push(rest);
            }
            found
        }
    };
    if right {
        found.reverse();
    }
    Ok(found)
}

/// `str.title`: each run of letters begins with a capital.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}
