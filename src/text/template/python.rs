//! Values as text, as Python writes them.

use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, State};

use super::{MAX_DEPTH, invalid};

/// The result of `dict.items()` and the like, whose text begins with its name.
#[derive(Debug)]
pub(super) struct View {
    pub(super) name: &'static str,
    pub(super) items: Vec<Value>,
}

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.items.clone())
    }
}

/// Python's `str`. Fuel is consumed as text is written: a few lists that contain each other can become
/// arbitrarily long text.
pub(super) fn python_text(state: &State, value: &Value) -> Result<Value, Error> {
    let mut out = String::new();
    match value.kind() {
        ValueKind::String => return Ok(value.clone()),
        ValueKind::Undefined => {}
        _ => python_repr(state, value, &mut out, 0)?,
    }
    Ok(out.into())
}

fn python_repr(state: &State, value: &Value, out: &mut String, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(invalid("lists are nested too deeply"));
    }
    let before = out.len();
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let view = value.downcast_object_ref::<View>().map(|view| view.name);
            let (open, close) = if value.is_tuple() {
                ("(", ")")
            } else {
                ("[", "]")
            };
            out.extend(view.into_iter().flat_map(|name| [name, "("]));
            out.push_str(open);
            let mut items = 0;
            for item in value.try_iter()? {
                out.push_str(if items > 0 { ", " } else { "" });
                python_repr(state, &item, out, depth + 1)?;
                items += 1;
            }
            out.push_str(if value.is_tuple() && items == 1 {
                ","
            } else {
                ""
            });
            out.push_str(close);
            out.push_str(if view.is_some() { ")" } else { "" });
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                python_repr(state, &key, out, depth + 1)?;
                out.push_str(": ");
                python_repr(state, &value.get_item(&key)?, out, depth + 1)?;
            }
            out.push('}');
        }
        ValueKind::Number if !value.is_integer() => {
            out.push_str(&float_text(f64::try_from(value.clone())?));
        }
        ValueKind::Undefined => out.push_str("Undefined"),
        _ => out.push_str(&format!("{value:?}")),
    }
    state.consume_fuel(1 + (out.len() - before) as u64 / 64)
}

/// A float as Python writes it: an exponent has a sign and at least two digits.
pub(super) fn float_text(number: f64) -> String {
    let text = format!("{number:?}").to_lowercase();
    match text.split_once('e') {
        Some((digits, power)) => format!("{digits}e{:+03}", power.parse::<i32>().unwrap_or(0)),
        None => text,
    }
}

/// The side on which [`pad`] adds characters.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Left,
    Right,
    Both,
}

/// `text` with `fill` added up to a width in characters.
pub(super) fn pad(
    state: &State,
    text: &str,
    width: usize,
    fill: char,
    side: Side,
) -> Result<String, Error> {
    let missing = width.saturating_sub(text.chars().count());
    state.consume_fuel(missing as u64 / 16)?;
    let left = match side {
        Side::Left => missing,
        Side::Right => 0,
        // Python's rounding.
        Side::Both => missing / 2 + (missing & width & 1),
    };
    let fill = |count: usize| std::iter::repeat_n(fill, count);
    Ok(fill(left)
        .chain(text.chars())
        .chain(fill(missing - left))
        .collect())
}
