//! `{% generation %}` blocks, which transformers adds to Jinja.

use std::borrow::Cow;

/// `{% generation %}` … `{% endgeneration %}` marks an assistant's text, for training; its content is
/// rendered as it is, with variables of its own. A `with` block does the same, so only these two
/// words are replaced, and the signs that strip whitespace stay.
pub(super) fn without_generation_marks(template: &str) -> Cow<'_, str> {
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
                let replacement = match word {
                    "generation" => "with",
                    "endgeneration" => "endwith",
                    _ => word,
                };
                if replacement != word {
                    out.push_str(&template[copied..at + start]);
                    out.push_str(replacement);
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
pub(super) fn first_word(block: &str) -> (&str, usize) {
    let inner = block[2..].trim_start_matches(['-', '+']).trim_start();
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_');
    (
        &inner[..end.unwrap_or(inner.len())],
        block.len() - inner.len(),
    )
}

/// Bytes up to the block that ends a `{% raw %}`.
pub(super) fn raw_bytes(raw: &str) -> usize {
    let blocks = raw.match_indices("{%").map(|(at, _)| at).skip(1);
    let mut ends = blocks.filter(|&at| first_word(&raw[at..]).0 == "endraw");
    ends.next().unwrap_or(raw.len())
}

/// Bytes up to and with `end`, wherever it is neither in a string nor in brackets.
pub(super) fn expression_bytes(text: &str, end: &str) -> usize {
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
