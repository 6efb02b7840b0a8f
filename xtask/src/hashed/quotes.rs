//! The quoted texts of scripts, pages, style sheets and web manifests.
//!
//! In scripts, comments are skipped, since they refer to types, in circles too, and so are the keys of
//! objects: the module knows by such what it imports. Escapes are not undone and template literals are
//! no references: addresses must be written plainly.

use crate::failure::{Failure, Result};

/// A quoted text.
#[derive(Debug, PartialEq)]
pub struct Quote {
    pub at: usize,
    pub text: String,
    /// Whether `from` or `import` stands in front.
    pub import: bool,
}

/// The quoted texts of a file that can have references; none of others.
pub fn quoted(path: &str, bytes: &[u8]) -> Result<Vec<Quote>> {
    let script = path.ends_with(".js");
    if !script
        && ![".html", ".css", ".webmanifest"]
            .iter()
            .any(|end| path.ends_with(end))
    {
        return Ok(Vec::new());
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Failure::new(format!("{path} is not UTF-8"), "save it as UTF-8"))?;
    if script {
        return script_quotes(text).map_err(|line| {
            Failure::new(
                format!("a text, comment or expression of {path}, line {line}, does not end"),
                "mend the script, or teach xtask/src/hashed/quotes.rs what it has there",
            )
        });
    }
    Ok(plain_quotes(text))
}

/// What stands between quotes of one kind on one line. An apostrophe in a page's words begins none
/// that names a file.
fn plain_quotes(text: &str) -> Vec<Quote> {
    let mut quotes = Vec::new();
    for mark in ['"', '\''] {
        let marks: Vec<usize> = text.match_indices(mark).map(|(at, _)| at).collect();
        quotes.extend(marks.windows(2).map(|pair| Quote {
            at: pair[0] + 1,
            text: text[pair[0] + 1..pair[1]].to_owned(),
            import: false,
        }));
    }
    quotes.sort_by_key(|quote| quote.at);
    quotes
}

/// The quoted texts of a script, or the number of the line that could not be read.
fn script_quotes(text: &str) -> std::result::Result<Vec<Quote>, usize> {
    let quotes = pieces(text)?
        .into_iter()
        .filter_map(|piece| match piece.kind {
            Kind::Quote { import, key: false } => Some(Quote {
                at: piece.at + 1,
                text: text[piece.at + 1..piece.end - 1].to_owned(),
                import,
            }),
            _ => None,
        });
    Ok(quotes.collect())
}

/// What a piece of a script is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Comment,
    Space,
    /// A text in quotes: whether `from` or `import` stands in front, and whether it is an object's key.
    Quote {
        import: bool,
        key: bool,
    },
    /// A template literal, up to a value in it, between two, or from one on.
    Template,
    /// A regular expression.
    Expression,
    /// A name or a number.
    Word,
    /// One byte of anything else.
    Sign,
}

/// A piece of a script, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub kind: Kind,
    pub at: usize,
    pub end: usize,
}

/// The pieces of a script, one after the other, or the number of the line that could not be read. It
/// knows comments, template literals and regular expressions as far as not to take a quote in them for
/// one.
pub fn pieces(text: &str) -> std::result::Result<Vec<Piece>, usize> {
    let bytes = text.as_bytes();
    let mut pieces = Vec::new();
    // Open braces; true for one in a template literal, which goes on after it.
    let mut braces = Vec::new();
    let mut before = Before::default();
    let mut at = 0;
    let failed = |at: usize| 1 + text[..at].matches('\n').count();
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let rest = &text[at..];
        let (kind, end) = match byte {
            b'/' if rest.starts_with("//") => {
                let length = rest.find('\n').unwrap_or(rest.len());
                (Kind::Comment, at + length)
            }
            b'/' if rest.starts_with("/*") => {
                let length = rest.find("*/").ok_or_else(|| failed(start))? + 2;
                (Kind::Comment, at + length)
            }
            b'/' if before.expects_value => {
                before = Before::value();
                let end = expression(bytes, at).ok_or_else(|| failed(start))?;
                (Kind::Expression, end)
            }
            b'"' | b'\'' => {
                let end = until(bytes, at + 1, byte).ok_or_else(|| failed(start))? + 1;
                let kind = Kind::Quote {
                    import: before.imports,
                    key: before.may_be_key && text[end..].trim_start().starts_with(':'),
                };
                before = Before::value();
                (kind, end)
            }
            // After `}` a template literal goes on, if it opened the brace.
            b'`' | b'}' if byte == b'`' || braces.pop() == Some(true) => {
                let (end, opens) = template(bytes, at + 1).ok_or_else(|| failed(start))?;
                if opens {
                    braces.push(true);
                }
                before = if opens {
                    Before::default()
                } else {
                    Before::value()
                };
                (Kind::Template, end)
            }
            b'{' => {
                braces.push(false);
                before = Before::key();
                (Kind::Sign, at + 1)
            }
            b',' => {
                before = Before::key();
                (Kind::Sign, at + 1)
            }
            _ if is_word(byte) => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|byte| is_word(**byte))
                    .count();
                before = Before::word(&text[at..at + length]);
                (Kind::Word, at + length)
            }
            _ if byte.is_ascii_whitespace() => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_whitespace())
                    .count();
                (Kind::Space, at + length)
            }
            // After a bracket comes an operator; after a brace more often a statement.
            b')' | b']' => {
                before = Before::value();
                (Kind::Sign, at + 1)
            }
            _ => {
                before = Before::default();
                (Kind::Sign, at + 1)
            }
        };
        pieces.push(Piece { kind, at, end });
        at = end;
    }
    Ok(pieces)
}

/// What the token before means for the one that follows.
struct Before {
    /// Whether a slash begins a regular expression.
    expects_value: bool,
    /// Whether a quoted text names a module.
    imports: bool,
    /// Whether a quoted text with a colon after it is an object's key.
    may_be_key: bool,
}

/// After an operator.
impl Default for Before {
    fn default() -> Self {
        Self {
            expects_value: true,
            imports: false,
            may_be_key: false,
        }
    }
}

impl Before {
    fn value() -> Self {
        Self {
            expects_value: false,
            ..Self::default()
        }
    }

    fn key() -> Self {
        Self {
            may_be_key: true,
            ..Self::default()
        }
    }

    fn word(word: &str) -> Self {
        const OPERATORS: [&str; 13] = [
            "return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "else", "do",
            "await", "yield",
        ];
        Self {
            expects_value: OPERATORS.contains(&word),
            imports: ["from", "import"].contains(&word),
            may_be_key: false,
        }
    }
}

/// Bytes of names and numbers; those beyond ASCII are taken for letters.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// The place of the `mark` that ends a text on its line.
fn until(bytes: &[u8], mut at: usize, mark: u8) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'\n' => return None,
            b'\\' => at += 2,
            byte if *byte == mark => return Some(at),
            _ => at += 1,
        }
    }
}

/// The place after a regular expression that begins at `at`.
fn expression(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut class = false;
    loop {
        at += 1;
        match bytes.get(at)? {
            b'\n' => return None,
            b'\\' => at += 1,
            b'[' => class = true,
            b']' => class = false,
            b'/' if !class => return Some(at + 1),
            _ => {}
        }
    }
}

/// The place after a template literal, or after the next `${` in it, and whether it is the latter.
fn template(bytes: &[u8], mut at: usize) -> Option<(usize, bool)> {
    loop {
        match bytes.get(at)? {
            b'`' => return Some((at + 1, false)),
            b'$' if bytes.get(at + 1) == Some(&b'{') => return Some((at + 2, true)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_keys_and_other_texts_of_scripts_stay() {
        let text = r#"// "./a.js" and it's
/** @type {import("./a.js").A} */
const keys = { "./a.js": 1, 'b': x ? "./yes.js" : "./no.js" };
const pattern = /["'`/]/.test(y), half = 1 / 2 / "./no.js".length;
const words = `"./a.js" ${f({ at: "./yes.js", more: `${"./no.js"}` })} "./a.js"`;
const escaped = "\"./a.js\"", apostrophe = 'it\'s "./a.js"';
"#;
        let quotes = script_quotes(text).unwrap();
        let texts: Vec<&str> = quotes.iter().map(|quote| quote.text.as_str()).collect();
        let (yes, no) = ("./yes.js", "./no.js");
        let escaped = [r#"\"./a.js\""#, r#"it\'s "./a.js""#];
        assert_eq!(texts, [&[yes, no, no, yes, no], &escaped[..]].concat());
        for (bad, line) in [
            ("\n\"open", 2),
            ("`open", 1),
            ("\n\n/* open", 3),
            ("x = /open\n/", 1),
        ] {
            assert_eq!(script_quotes(bad), Err(line), "{bad:?}");
        }
    }
}
