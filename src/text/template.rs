//! Chat templates: Jinja, rendered as transformers renders it.
//!
//! A template is data from a stranger, so it runs with a bounded amount of work.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{
    Enumerator, Kwargs, Object, ObjectRepr, Rest, Tuple, Value, ValueKind, ValueOrKwargs, from_args,
};
use minijinja::{Environment, Error, ErrorKind, Output, State, filters};
use minijinja_contrib::{globals, pycompat};

/// Work that a chat template may do; ordinary ones need a few thousand. Strings count too (one
/// unit for 64 bytes), so this also bounds memory.
const TEMPLATE_FUEL: u64 = 1_000_000;

/// Lists in lists, as deep as a template may write them out.
const MAX_DEPTH: usize = 100;

/// One turn of a chat.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// Renders a chat template as transformers does: its whitespace rules, its variables, Python's
/// string and dict methods. `tokens` are the special tokens by their names, such as `bos_token`.
pub(super) fn render(
    template: &str,
    messages: &[Message],
    tokens: &BTreeMap<String, String>,
) -> Result<String, Error> {
    let syntax = minijinja::syntax::SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_fuel(Some(TEMPLATE_FUEL));
    environment.set_unknown_method_callback(method);
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
    environment.add_filter("string", python_text);
    // What is no number gives the default.
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
    environment.add_filter("striptags", minijinja_contrib::filters::striptags);
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
    let turns: Value = messages
        .iter()
        .map(|Message { role, content }| {
            Value::from_pairs([("role", role.as_str()), ("content", content.as_str())])
        })
        .collect();
    // Templates ask whether `tools` is none; transformers always passes it.
    let mut context: Vec<(&str, Value)> = vec![
        ("messages", turns),
        ("add_generation_prompt", true.into()),
        ("tools", ().into()),
        ("documents", ().into()),
    ];
    context.extend(
        tokens
            .iter()
            .map(|(name, token)| (name.as_str(), token.as_str().into())),
    );
    environment
        .template_from_str(&without_generation_marks(template))?
        .render(Value::from_pairs(context))
}

fn invalid(why: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}

// ---- `{% generation %}` -------------------------------------------------------------------------

/// `{% generation %}` … `{% endgeneration %}` marks what an assistant said, for training; what is
/// inside is rendered as it is, with variables of its own. A `with` block does the same, so only
/// these two words are replaced, and the signs that strip whitespace stay.
fn without_generation_marks(template: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(open) = template[at..].find('{') {
        at += open;
        let rest = &template[at..];
        at += match rest.get(..2) {
            Some("{#") => rest.find("#}").unwrap_or(rest.len()),
            Some("{{") => 2 + expression_bytes(&rest[2..], "}}"),
            Some("{%") => {
                let (word, start) = first_word(rest);
                let instead = match word {
                    "generation" => "with",
                    "endgeneration" => "endwith",
                    _ => word,
                };
                if instead != word {
                    out.push_str(&template[copied..at + start]);
                    out.push_str(instead);
                    copied = at + start + word.len();
                }
                match word {
                    "raw" => raw_bytes(rest),
                    _ => 2 + expression_bytes(&rest[2..], "%}"),
                }
            }
            _ => 1,
        };
    }
    match copied {
        0 => template.into(),
        _ => (out + &template[copied..]).into(),
    }
}

/// The first word of a block that begins with `{%`, and where it starts.
fn first_word(block: &str) -> (&str, usize) {
    let inner = block[2..].trim_start_matches(['-', '+']).trim_start();
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_');
    (
        &inner[..end.unwrap_or(inner.len())],
        block.len() - inner.len(),
    )
}

/// Bytes up to the block that ends a `{% raw %}`.
fn raw_bytes(raw: &str) -> usize {
    let blocks = raw.match_indices("{%").map(|(at, _)| at).skip(1);
    let mut ends = blocks.filter(|&at| first_word(&raw[at..]).0 == "endraw");
    ends.next().unwrap_or(raw.len())
}

/// Bytes up to and with `end`, wherever it is neither in a string nor in brackets.
fn expression_bytes(text: &str, end: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            _ if depth == 0 && bytes[at..].starts_with(end.as_bytes()) => return at + end.len(),
            quote @ (b'"' | b'\'') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

// ---- Python's methods ---------------------------------------------------------------------------

/// Methods of Python's strings, lists and dicts. Those that change a list or dict are refused, as
/// transformers' sandbox refuses them.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let found = match value.kind() {
        ValueKind::String => string_method(state, value, name, args)?,
        ValueKind::Map => dict_method(state, value, name, args)?,
        ValueKind::Seq | ValueKind::Iterable => list_method(state, value, name, args)?,
        _ => None,
    };
    match found {
        Some(found) => Ok(found),
        None => pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// What the library lacks, or does otherwise than Python.
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
                match c.is_uppercase() {
                    true => c.to_lowercase().collect(),
                    false => c.to_uppercase().collect(),
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

/// What `dict.items()` and its like give: written out, they say what they are.
#[derive(Debug)]
struct View {
    name: &'static str,
    items: Vec<Value>,
}

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.items.clone())
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
            let trim = |text: &'a str| match right {
                true => text.trim_end(),
                false => text.trim_start(),
            };
            let mut rest = trim(text);
            while !rest.is_empty() && found.len() < max {
                let cut = match right {
                    true => rest.rfind(char::is_whitespace).map(|at| {
                        let space = rest[at..].chars().next().map_or(0, char::len_utf8);
                        (&rest[at + space..], &rest[..at])
                    }),
                    false => rest
                        .find(char::is_whitespace)
                        .map(|at| (&rest[..at], &rest[at..])),
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
        match inside {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
        inside = c.is_alphabetic();
    }
    out
}

/// Where [`pad`] puts its characters.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
    Both,
}

fn pad(state: &State, text: &str, width: usize, fill: char, side: Side) -> Result<String, Error> {
    let missing = width.saturating_sub(text.chars().count());
    state.consume_fuel(missing as u64 / 16)?;
    let left = match side {
        Side::Left => missing,
        Side::Right => 0,
        // Python's own way of rounding.
        Side::Both => missing / 2 + (missing & width & 1),
    };
    let fill = |count: usize| std::iter::repeat_n(fill, count);
    Ok(fill(left)
        .chain(text.chars())
        .chain(fill(missing - left))
        .collect())
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

/// Python's `str`. Work is paid for as it is done: a few lists that hold each other can be long
/// beyond measure when they are written out.
fn python_text(state: &State, value: &Value) -> Result<Value, Error> {
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
            let (open, close) = match value.is_tuple() {
                true => ("(", ")"),
                false => ("[", "]"),
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

/// Python signs an exponent and gives it two digits.
fn float_text(number: f64) -> String {
    let text = format!("{number:?}").to_lowercase();
    match text.split_once('e') {
        Some((digits, power)) => format!("{digits}e{:+03}", power.parse::<i32>().unwrap_or(0)),
        None => text,
    }
}

// ---- JSON ---------------------------------------------------------------------------------------

/// transformers' `tojson`: Python's `json.dumps`, where Jinja2's own would write `<` as `\u003c`.
fn tojson(state: &State, value: &Value, args: Rest<ValueOrKwargs>) -> Result<String, Error> {
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

    /// What stands before an item.
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

/// What is written without quotes.
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

// ---- the date -----------------------------------------------------------------------------------

/// "Now" for templates that print it: always noon of Friday, 26 July 2024, the day that Llama 3.2's
/// template falls back to. A playground gives the same answer tomorrow, and its core has no clock.
/// All directives of C and glibc, with glibc's flags; without a time zone, as Python's `now()`.
fn strftime(format: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(format.len() + 16);
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let mut chars = rest[at + 1..].chars();
        let (mut flag, mut directive) = (None, chars.next());
        while let Some(c @ ('-' | '_' | '0' | '^' | '#')) = directive {
            (flag, directive) = (Some(c), chars.next());
        }
        // Other calendars and digits, which the C locale does not have.
        if let Some('E' | 'O') = directive {
            directive = chars.next();
        }
        let found = directive.and_then(in_date);
        let Some(value) = found else {
            let unknown = &rest[at..rest.len() - chars.as_str().len()];
            return Err(invalid(format!("strftime_now: `{unknown}` is not known")));
        };
        rest = chars.as_str();
        let number = value.trim_start_matches(['0', ' ']);
        let number = if number.is_empty() { "0" } else { number };
        let is_number = !value.is_empty() && value.trim_start().bytes().all(|c| c.is_ascii_digit());
        let padded = |fill: &str| fill.repeat(value.len() - number.len()) + number;
        out.push_str(&match flag {
            Some('-') if is_number => number.to_owned(),
            Some('_') if is_number => padded(" "),
            Some('0') if is_number => padded("0"),
            Some('#') if value == "PM" => "pm".into(),
            Some('^' | '#') => value.to_uppercase(),
            _ => value.to_owned(),
        });
    }
    out.push_str(rest);
    Ok(out)
}

fn in_date(directive: char) -> Option<&'static str> {
    Some(match directive {
        'a' => "Fri",
        'A' => "Friday",
        'b' | 'h' => "Jul",
        'B' => "July",
        'c' => "Fri Jul 26 12:00:00 2024",
        'C' => "20",
        'd' | 'e' => "26",
        'D' | 'x' => "07/26/24",
        'f' => "000000",
        'F' => "2024-07-26",
        'g' | 'y' => "24",
        'G' | 'Y' => "2024",
        'H' | 'I' | 'k' | 'l' => "12",
        'j' => "208",
        'm' => "07",
        'M' | 'S' => "00",
        'n' => "\n",
        'p' => "PM",
        'P' => "pm",
        'r' => "12:00:00 PM",
        'R' => "12:00",
        's' => "1721995200",
        't' => "\t",
        'T' | 'X' => "12:00:00",
        'u' | 'w' => "5",
        'U' => "29",
        'V' | 'W' => "30",
        'z' | 'Z' => "",
        '%' => "%",
        _ => return None,
    })
}
