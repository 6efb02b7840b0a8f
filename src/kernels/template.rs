//! WGSL with holes: what the `.wgsl` files beside the kernels are written in.
//!
//! A file is WGSL, but for holes and for what follows `//!`:
//!
//! | written | meaning |
//! |---|---|
//! | `{{d}}` | the value named d |
//! | `line //! for n in heads` | the line once for each of `heads`: `{{n}}` counts from 0, `{{n.of}}` is a field |
//! | `line //! for r in rows, t in tile` | for each of `rows`, for each of `tile` |
//! | `line //! for s in 1..split` | without the first |
//! | `line //! if split`, `//! if not split` | the line, or nothing: empty texts, empty lists and 0 count as no |
//! | `//! for …` or `//! if …` on a line of its own | the same for all lines down to `//! end`; an `if` may have an `//! else` |
//! | `//! put place` | the file named `place`, its holes filled as if it stood there |
//!
//! Comments and indentation stay in the file. A hole without a value is an error, and so is a value
//! that nothing asks for.

use std::borrow::Cow;
use std::collections::HashSet;

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A text, as it is to stand there.
    Text(String),
    /// A number; a loop takes it for so many rows without fields.
    Number(usize),
    /// What an `if` asks for.
    Flag(bool),
    /// What a `for` runs over.
    Rows(Vec<Row>),
    /// What a `put` puts: another file.
    File(&'static str),
}

/// Names and what they stand for; [`row!`] writes one.
pub(super) type Row = Vec<(&'static str, Value)>;

/// `row![d = 576, name = value, …]`
macro_rules! row {
    ($($name:ident = $value:expr),* $(,)?) => {
        vec![$((stringify!($name), $crate::kernels::template::Value::from($value))),*]
    };
}
pub(super) use row;

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl Value {
    /// What a loop runs over.
    pub(super) fn rows(rows: impl IntoIterator<Item = Row>) -> Self {
        Self::Rows(rows.into_iter().collect())
    }
}

/// `1 / √mean`, and NaN where the mean overflowed: a file to put.
pub(super) const INVERSE_ROOT: Value = Value::File(include_str!("inverse_root.wgsl"));

/// The ε of a norm as WGSL has it.
pub(super) fn epsilon(bits: u32) -> String {
    format!("{:e}", f32::from_bits(bits))
}

/// A factor as WGSL has it; empty, which `if` takes for no, where it changes nothing.
pub(super) fn factor(by: f32) -> String {
    if by == 1.0 {
        String::new()
    } else {
        format!("{by:e}")
    }
}

/// The text of a kernel. The files are part of the program: one that does not fit its values is a
/// slip in the program, which the kernels' tests find.
pub(super) fn fill(file: &str, values: Row) -> String {
    try_fill(file, &values).unwrap_or_else(|slip| unreachable!("{slip}"))
}

fn try_fill(file: &str, values: &Row) -> Result<String, String> {
    let mut mentioned = HashSet::new();
    mention(file, &mut mentioned);
    for (_, value) in values {
        if let Value::File(file) = value {
            mention(file, &mut mentioned);
        }
    }
    all_mentioned(values, &mentioned)?;
    let mut text = String::new();
    let lines: Vec<&str> = file.lines().collect();
    write(&lines, &Scope::All(values), &mut text)?;
    Ok(text)
}

/// Collects the words of all holes and directives.
fn mention<'a>(file: &'a str, mentioned: &mut HashSet<&'a str>) {
    for line in file.lines() {
        let (code, directive) = line.split_once("//!").unwrap_or((line, ""));
        let holes = code
            .split("{{")
            .skip(1)
            .filter_map(|hole| hole.split("}}").next());
        for words in holes.chain([directive]) {
            mentioned.extend(words.split([' ', ',', '.']));
        }
    }
}

fn all_mentioned(values: &Row, mentioned: &HashSet<&str>) -> Result<(), String> {
    for (name, value) in values {
        if !mentioned.contains(name) {
            return Err(format!("nothing asks for `{name}`"));
        }
        if let Value::Rows(rows) = value {
            for row in rows {
                all_mentioned(row, mentioned)?;
            }
        }
    }
    Ok(())
}

/// The names that hold where a line stands.
enum Scope<'a> {
    All(&'a Row),
    Loop {
        name: &'a str,
        index: usize,
        /// None where the loop runs over a number.
        row: Option<&'a Row>,
        outer: &'a Self,
    },
}

impl<'a> Scope<'a> {
    fn find(&self, path: &str) -> Result<Cow<'a, Value>, String> {
        let (among, name) = match *self {
            Self::All(row) => (Some(row), path),
            Self::Loop {
                name,
                index,
                row,
                outer,
            } => match path.strip_prefix(name) {
                Some("") => return Ok(Cow::Owned(Value::Number(index))),
                Some(field) if field.starts_with('.') => (row, &field[1..]),
                _ => return outer.find(path),
            },
        };
        let found = among
            .into_iter()
            .flatten()
            .find(|(known, _)| *known == name);
        let value = found.map(|(_, value)| Cow::Borrowed(value));
        value.ok_or_else(|| format!("`{path}` has no value"))
    }

    fn holds(&self, path: &str) -> Result<bool, String> {
        Ok(match &*self.find(path)? {
            Value::Flag(flag) => *flag,
            Value::Text(text) => !text.is_empty(),
            Value::Number(number) => *number > 0,
            Value::Rows(rows) => !rows.is_empty(),
            Value::File(_) => return Err(format!("`{path}` is a file")),
        })
    }
}

fn write(lines: &[&str], scope: &Scope<'_>, text: &mut String) -> Result<(), String> {
    let mut rest = lines;
    while let Some((line, after)) = rest.split_first() {
        rest = after;
        let Some((code, directive)) = line.split_once("//!") else {
            write_line(line, scope, text)?;
            continue;
        };
        let directive = directive.trim();
        if let Some(name) = directive.strip_prefix("put ") {
            let Value::File(file) = *scope.find(name)? else {
                return Err(format!("`{name}` is no file"));
            };
            write(&file.lines().collect::<Vec<_>>(), scope, text)?;
            continue;
        }
        // The lines that the directive is about, and those that hold else.
        let (then, or): (&[&str], &[&str]) = if code.trim().is_empty() {
            let block = block(rest).ok_or_else(|| format!("`{directive}` has no end"))?;
            rest = &rest[block.end + 1..];
            (block.then, block.or)
        } else {
            (&[code], &[])
        };
        match directive.split_once(' ') {
            Some(("for", loops)) => repeat(loops, then, scope, text)?,
            Some(("if", name)) => {
                let holds = match name.strip_prefix("not ") {
                    Some(name) => !scope.holds(name)?,
                    None => scope.holds(name)?,
                };
                write(if holds { then } else { or }, scope, text)?;
            }
            _ => return Err(format!("`{directive}` is no directive")),
        }
    }
    Ok(())
}

struct Block<'a> {
    then: &'a [&'a str],
    or: &'a [&'a str],
    /// The line of the end.
    end: usize,
}

/// The lines down to the end of a block.
fn block<'a>(lines: &'a [&'a str]) -> Option<Block<'a>> {
    let (mut depth, mut middle) = (0, None);
    for (at, line) in lines.iter().enumerate() {
        let directive = line.trim().strip_prefix("//!").unwrap_or_default();
        match (directive.split_whitespace().next(), depth) {
            (Some("for" | "if"), _) => depth += 1,
            (Some("else"), 0) => middle = Some(at),
            (Some("end"), 0) => {
                return Some(Block {
                    then: &lines[..middle.unwrap_or(at)],
                    or: middle.map_or(&[], |middle| &lines[middle + 1..at]),
                    end: at,
                });
            }
            (Some("end"), _) => depth -= 1,
            _ => {}
        }
    }
    None
}

fn repeat(loops: &str, lines: &[&str], scope: &Scope<'_>, text: &mut String) -> Result<(), String> {
    let (this, inner) = match loops.split_once(", ") {
        Some((this, inner)) => (this, Some(inner)),
        None => (loops, None),
    };
    let (name, list) = this
        .split_once(" in ")
        .ok_or_else(|| format!("`for {this}` does not say what it runs over"))?;
    let (first, list) = match list.split_once("..") {
        Some((first, list)) => (first.parse().map_err(|_| format!("`{this}`"))?, list),
        None => (0, list),
    };
    let over = scope.find(list)?;
    let (count, rows): (usize, &[Row]) = match &*over {
        Value::Rows(rows) => (rows.len(), rows),
        Value::Number(count) => (*count, &[]),
        _ => return Err(format!("`{list}` cannot be run over")),
    };
    for index in first..count {
        let scope = Scope::Loop {
            name,
            index,
            row: rows.get(index),
            outer: scope,
        };
        match inner {
            Some(inner) => repeat(inner, lines, &scope, text)?,
            None => write(lines, &scope, text)?,
        }
    }
    Ok(())
}

fn write_line(line: &str, scope: &Scope<'_>, text: &mut String) -> Result<(), String> {
    let mut rest = line.split("//").next().unwrap_or_default().trim();
    if rest.is_empty() {
        return Ok(());
    }
    while let Some((before, after)) = rest.split_once("{{") {
        let (path, after) = after
            .split_once("}}")
            .ok_or_else(|| format!("`{line}` leaves a hole open"))?;
        *text += before;
        match &*scope.find(path)? {
            Value::Text(value) => *text += value,
            Value::Number(value) => *text += &value.to_string(),
            _ => return Err(format!("`{path}` is no text")),
        }
        rest = after;
    }
    *text += rest;
    text.push('\n');
    Ok(())
}

/// Workgroup memory that every WebGPU has, in bytes.
#[cfg(test)]
pub(super) const LEAST_WORKGROUP_BYTES: usize = 16_384;

/// Bytes of workgroup memory that a filled kernel declares as arrays, each of which is so many as a
/// product of constants above it says.
#[cfg(test)]
pub(super) fn workgroup_bytes(text: &str) -> usize {
    let mut known: std::collections::HashMap<&str, &str> = std::collections::HashMap::new();
    let mut bytes = 0;
    for line in text.lines() {
        let line = line.trim_end_matches(';');
        let named = ["const ", "alias "];
        let named = named.iter().find_map(|word| line.strip_prefix(word));
        if let Some((name, value)) = named.and_then(|rest| rest.split_once(" = ")) {
            known.insert(name, value);
        }
        let array = line.strip_prefix("var<workgroup> ");
        let array = array.and_then(|array| array.split_once(": array<")?.1.strip_suffix('>'));
        if let Some((element, length)) = array.and_then(|array| array.rsplit_once(", ")) {
            let element = known.get(element).unwrap_or(&element);
            let each = match element.get(..4) {
                Some("vec2") => 8,
                Some("vec3" | "vec4") => 16,
                _ => 4,
            };
            bytes += each * value_of(length, &known);
        }
    }
    bytes
}

/// A product or quotient of numbers and constants.
#[cfg(test)]
fn value_of(text: &str, known: &std::collections::HashMap<&str, &str>) -> usize {
    let factor = |word: &str| match (word.trim_end_matches('u').parse(), known.get(word)) {
        (Ok(number), _) => number,
        (_, Some(value)) => value_of(value, known),
        (Err(_), None) => panic!("`{word}` of `{text}` is no constant"),
    };
    let mut words = text.split(' ');
    let mut value = words.next().map_or(1, factor);
    while let (Some(sign), Some(word)) = (words.next(), words.next()) {
        value = match sign {
            "*" => value * factor(word),
            "/" => value / factor(word),
            _ => panic!("`{text}` is more than a product"),
        };
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workgroup_memory_is_counted() {
        let text = "alias Each = vec3<f32>;\nconst N = 8u;\nconst TWICE = 2u * N;\n\
                    var<workgroup> a: array<f32, TWICE * N / 4u>;\n\
                    var<workgroup> b: array<Each, N>;\nvar<workgroup> c: vec2<u32>;\n";
        assert_eq!(workgroup_bytes(text), 4 * 32 + 16 * 8);
    }

    /// A file, its values, and the text or the slip.
    #[test]
    fn files_are_filled_and_slips_are_told() {
        let rows = || Value::Rows(vec![vec![("of", "[0]".into())], vec![("of", "[1]".into())]]);
        let cases: [(&str, Row, Result<&str, &str>); 18] = [
            (
                "// Why.\nconst D = {{d}}u; // how many\n",
                vec![("d", 576.into())],
                Ok("const D = 576u;\n"),
            ),
            (
                "    a{{n}} *= b{{n.of}}; //! for n in heads",
                vec![("heads", rows())],
                Ok("a0 *= b[0];\na1 *= b[1];\n"),
            ),
            (
                "a{{r}}_{{t}}; //! for r in rows, t in tile",
                vec![("rows", 2.into()), ("tile", 2.into())],
                Ok("a0_0;\na0_1;\na1_0;\na1_1;\n"),
            ),
            (
                "s{{s}}; //! for s in 1..split",
                vec![("split", 3.into())],
                Ok("s1;\ns2;\n"),
            ),
            (
                "//! for n in two\n{\n//! if n\nlater;\n//! else\nfirst;\n//! end\n}\n//! end\nout;",
                vec![("two", 2.into())],
                Ok("{\nfirst;\n}\n{\nlater;\n}\nout;\n"),
            ),
            (
                "a; //! if yes\nb; //! if not yes\nc; //! if text",
                vec![("yes", true.into()), ("text", "".into())],
                Ok("a;\n"),
            ),
            (
                "//! for n in two\n//! put other\n//! end",
                vec![
                    ("two", 2.into()),
                    ("other", Value::File("x{{n}}{{d}};")),
                    ("d", 3.into()),
                ],
                Ok("x03;\nx13;\n"),
            ),
            ("{{d}}", vec![], Err("`d` has no value")),
            ("a; //! if d", vec![], Err("`d` has no value")),
            ("//! put d", vec![], Err("`d` has no value")),
            (
                "{{n.of}} //! for n in two",
                vec![("two", 2.into())],
                Err("`n.of` has no value"),
            ),
            (
                "{{n.off}} {{n.of}} //! for n in heads",
                vec![("heads", rows())],
                Err("`n.off` has no value"),
            ),
            ("a;", vec![("d", 1.into())], Err("nothing asks for `d`")),
            (
                "a; //! for n in heads",
                vec![("heads", rows())],
                Err("nothing asks for `of`"),
            ),
            (
                "//! if d\na;",
                vec![("d", 1.into())],
                Err("`if d` has no end"),
            ),
            (
                "a; //! unless d",
                vec![("d", 1.into())],
                Err("`unless d` is no directive"),
            ),
            (
                "{{d",
                vec![("d", 1.into())],
                Err("`{{d` leaves a hole open"),
            ),
            ("{{d}}", vec![("d", true.into())], Err("`d` is no text")),
        ];
        for (file, values, expected) in cases {
            let found = try_fill(file, &values);
            let found = found.as_ref().map(String::as_str).map_err(String::as_str);
            assert_eq!(found, expected, "{file}");
        }
    }
}
