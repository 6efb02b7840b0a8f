//! How far a template goes in one stretch. The library reads `1 + 1 + …`, `a.b.c.…`, `- - - 1` and `elif` after
//! `elif` each one level deeper, without a bound, and a stack is no longer than it is.

use minijinja::Error;

use super::generation::{expression_bytes, first_word, raw_bytes};
use super::invalid;

/// Words and signs of one tag, those in texts apart; the longest of a model's template has some hundred.
const WORDS: usize = 1000;
/// `elif` of a whole template; those of models have some ten.
const ELIFS: usize = 200;

/// Refuses a template with a tag, or with a chain of tags, longer than any that means something.
///
/// # Errors
/// What is too long, and how long it may be.
pub(super) fn check(template: &str) -> Result<(), Error> {
    let (mut at, mut elifs) = (0, 0);
    while let Some(open) = template[at..].find('{') {
        at += open;
        let rest = &template[at..];
        let bytes = match rest.get(..2) {
            Some("{#") => rest.find("#}").unwrap_or(rest.len()),
            Some("{{") => check_tag(&rest[2..], "}}")?,
            Some("{%") => match first_word(rest).0 {
                "raw" => raw_bytes(rest),
                word => {
                    elifs += usize::from(word == "elif");
                    check_tag(&rest[2..], "%}")?
                }
            },
            _ => 1,
        };
        at += bytes.max(1);
    }
    if elifs > ELIFS {
        return Err(invalid(format!(
            "the template has {elifs} `elif`, at most {ELIFS} are read"
        )));
    }
    Ok(())
}

/// The bytes of a tag of which `inside` follows the opening, which counts too.
fn check_tag(inside: &str, end: &str) -> Result<usize, Error> {
    let bytes = expression_bytes(inside, end);
    let words = words(&inside[..bytes]);
    if words > WORDS {
        return Err(invalid(format!(
            "a tag of the template has {words} words and signs, at most {WORDS} are read: take it apart \
             with `set`"
        )));
    }
    Ok(2 + bytes)
}

/// Counts words and signs outside of texts.
fn words(tag: &str) -> usize {
    let mut count = 0;
    let mut in_word = false;
    let mut letters = tag.chars();
    while let Some(c) = letters.next() {
        let is_word = c.is_alphanumeric() || c == '_';
        count += usize::from(!(c.is_whitespace() || is_word && in_word));
        in_word = is_word;
        if c == '"' || c == '\'' {
            while let Some(inner) = letters.next().filter(|inner| *inner != c) {
                if inner == '\\' {
                    letters.next();
                }
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_signs_are_counted_outside_of_texts() {
        for (tag, expected) in [
            ("", 0),
            (" a ", 1),
            ("a.b", 3),
            ("a1_b + 'c d + e'", 3),
            (r#"- - "a\" b" -"#, 4),
            ("'open", 1),
        ] {
            assert_eq!(words(tag), expected, "{tag}");
        }
    }

    #[test]
    fn tags_and_chains_that_go_on_for_ever_are_told() {
        let many = 100_000;
        for template in [
            format!("{{{{ {}1 }}}}", "-".repeat(many)),
            format!("{{{{ 1{} }}}}", "+1".repeat(many)),
            format!("{{{{ a{} }}}}", ".a".repeat(many)),
            format!("{{{{ a{} }}}}", "|upper".repeat(many)),
            format!("{{% if {}a %}}{{% endif %}}", "not ".repeat(many)),
            format!("{{% if a{} %}}{{% endif %}}", " and a".repeat(many)),
            format!("{{{{ '}}}}'{} }}}}", "~'}}'".repeat(many)),
            format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(many)),
            format!("{{{{ {}", "(-".repeat(many)),
        ] {
            assert!(check(&template).is_err(), "{}", &template[..40]);
        }
        for template in [
            "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}".to_owned(),
            format!("{{{{ '{}' }}}}", "word ".repeat(many)),
            format!("{{# {} #}}x", "- ".repeat(many)),
            format!("{{% raw %}}{}{{% endraw %}}", "{{ - ".repeat(many)),
            "{{ a }}{% if b %}{% endif %}".repeat(many),
        ] {
            assert!(check(&template).is_ok(), "{}", &template[..8]);
        }
    }
}
