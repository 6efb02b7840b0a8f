//! The environment of a template: transformers' whitespace rules, a bound on the work, and the filters,
//! tests and functions of Jinja2 and transformers as far as the library lacks them or differs.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Environment, Error, Output, State, filters};
use minijinja_contrib::filters::striptags;
use minijinja_contrib::globals;

use super::date::strftime;
use super::invalid;
use super::json::tojson;
use super::methods::call_method;
use super::python::{Side, View, pad, python_text};

/// The fuel of a chat template; ordinary ones need a few thousand. Strings count too (one unit for
/// 64 bytes), so this also bounds memory.
const TEMPLATE_FUEL: u64 = 1_000_000;

pub(super) fn environment() -> Result<Environment<'static>, Error> {
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_fuel(Some(TEMPLATE_FUEL));
    environment.set_unknown_method_callback(call_method);
    environment.set_formatter(|out: &mut Output, state: &mut State, value: &Value| {
        match value.as_str() {
            Some(text) => out.write_str(text)?,
            None => out.write_str(python_text(state, value)?.as_str().unwrap_or_default())?,
        }
        Ok(())
    });
    environment.add_filter("tojson", tojson);
    environment.add_filter(
        "center",
        |state: &State, text: &Value, width: Option<usize>| {
            pad(
                state,
                &text.to_string(),
                width.unwrap_or(80),
                ' ',
                Side::Both,
            )
        },
    );
    environment.add_filter("wordcount", |text: &Value| {
        text.to_string().split_whitespace().count()
    });
    environment.add_filter("truncate", truncate);
    environment.add_filter("indent", indent);
    environment.add_filter("string", python_text);
    // As in Jinja2, what is no number gives the default.
    environment.add_filter(
        "int",
        |state: &State, value: &Value, default: Option<Value>, base: Option<u32>, more: Kwargs| {
            let fallback = default.clone().or_else(|| more.peek("default").ok());
            let found = filters::int(state, value, default, base, more);
            found.unwrap_or_else(|_| fallback.unwrap_or(0.into()))
        },
    );
    environment.add_filter(
        "float",
        |state: &State, value: &Value, default: Option<Value>, more: Kwargs| {
            let fallback = default.clone().or_else(|| more.peek("default").ok());
            let found = filters::float(state, value, default, more);
            found.unwrap_or_else(|_| fallback.unwrap_or(0.0.into()))
        },
    );
    environment.add_filter("striptags", striptags);
    environment.add_test("iterable", |value: &Value| {
        !value.is_none() && value.try_iter().is_ok()
    });
    // Python's strings and dicts have a length and items, which is all that Jinja2 asks for.
    environment.add_test("sequence", |value: &Value| {
        use ValueKind::{Iterable, Map, Seq, String, Undefined};
        let view = value.downcast_object_ref::<View>().is_some();
        matches!(value.kind(), Iterable | Map | Seq | String | Undefined) && !view
    });
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    environment.add_function("cycler", |items: Rest<Value>| globals::cycler(items.0));
    environment.add_function("joiner", globals::joiner);
    environment.add_function("raise_exception", |why: String| -> Result<Value, _> {
        Err(invalid(why))
    });
    environment.add_function("strftime_now", strftime);
    Ok(environment)
}

/// Jinja2's `indent`, by a number of spaces or by a text.
fn indent(state: &State, text: &Value, args: Rest<ValueOrKwargs>) -> Result<String, Error> {
    type Arguments = (Option<Value>, Option<bool>, Option<bool>, Kwargs);
    let args = args.into_values();
    let (width, first, blank, options): Arguments = from_args(&args)?;
    let width = width.or(options.get("width")?).unwrap_or(4.into());
    let first = first.or(options.get("first")?).unwrap_or(false);
    let blank = blank.or(options.get("blank")?).unwrap_or(false);
    options.assert_all_used()?;
    let margin = match width.as_str() {
        Some(margin) => margin.to_owned(),
        None => pad(state, "", width.try_into()?, ' ', Side::Left)?,
    };
    let mut out = String::new();
    for (index, line) in (text.to_string() + "\n").lines().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let is_indented = match index {
            0 => first,
            _ => blank || !line.is_empty(),
        };
        if is_indented {
            state.consume_fuel(1 + margin.len() as u64 / 64)?;
            out.push_str(&margin);
        }
        out.push_str(line);
    }
    Ok(out)
}

/// Jinja2's `truncate`, which cuts at a word's end unless `killwords`.
fn truncate(
    value: &Value,
    length: Option<usize>,
    killwords: Option<bool>,
    end: Option<String>,
    options: Kwargs,
) -> Result<String, Error> {
    fn option<T>(given: Option<T>, named: Option<T>, usual: T) -> T {
        given.or(named).unwrap_or(usual)
    }
    let length = option(length, options.get("length")?, 255);
    let killwords = option(killwords, options.get("killwords")?, false);
    let end = option(end, options.get("end")?, "...".into());
    let leeway: usize = option(None, options.get("leeway")?, 5);
    options.assert_all_used()?;
    let text = value.to_string();
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text);
    }
    let kept = length.saturating_sub(end.chars().count());
    let cut: String = text.chars().take(kept).collect();
    Ok(match cut.rsplit_once(' ') {
        Some((words, _)) if !killwords => words.to_owned() + &end,
        _ => cut + &end,
    })
}
