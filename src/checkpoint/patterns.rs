//! Patterns of module names, matched as PEFT matches them with Python's `re`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use fancy_regex::{Regex, RegexBuilder};

/// Backtracking steps after which a pattern is refused: a name has some 40 letters.
const STEPS: usize = 100_000;
/// The largest size of a compiled pattern, in bytes.
const SIZE: usize = 1 << 18;
/// Letters of one pattern: a longer one is larger than [`SIZE`], and takes more than that before it is refused.
const LONGEST: usize = 8192;
/// Patterns that are read of one config. A name without operators is none: there may be one for every
/// module.
const COUNT: usize = 1024;
/// So many patterns may have [`STEPS`] and [`SIZE`] to the full; of more each has less, so that all of them
/// together stay within a few times that, however short each is to write.
const IN_FULL: usize = 64;
/// Letters of all patterns of one config that have what backtracks: the engine makes many parts of such a
/// pattern, and each of them may have [`SIZE`].
const BACKTRACKING: usize = 4096;

/// What is wrong with a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Python would refuse it, or it is too large.
    NotAPattern,
    /// Look-around, and repetitions that backtrack too often.
    TooManySteps,
    /// More than [`COUNT`], or longer than [`BACKTRACKING`].
    TooMany,
}

/// Patterns compiled once, for all the names they are tried on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patterns {
    read: RefCell<BTreeMap<String, Result<Regex, Fault>>>,
    /// Letters of those that backtrack, so far.
    backtracking: Cell<usize>,
}

impl Patterns {
    /// Whether the end of `path` from a dot on, or all of it, is the key: `re.match(r"(.*\.)?(KEY)$")`.
    pub(crate) fn ends(&self, path: &str, key: &str) -> Result<bool, Fault> {
        match plain(key) {
            Some(name) => Ok(is_ending(path, &name)
                .is_some_and(|before| before.is_empty() || before.ends_with('.'))),
            None => self.matches(path, format!(r"(.*\.)?({key})$")),
        }
    }

    /// Whether the end of `path` after a dot is the key: `re.match(r".*\.KEY$")`.
    pub(crate) fn ends_after_dot(&self, path: &str, key: &str) -> Result<bool, Fault> {
        match plain(key) {
            Some(name) => Ok(is_ending(path, &name).is_some_and(|before| before.ends_with('.'))),
            None => self.matches(path, format!(r".*\.{key}$")),
        }
    }

    /// Whether all of `path` is the pattern: `re.fullmatch(KEY)`.
    pub(crate) fn whole(&self, path: &str, key: &str) -> Result<bool, Fault> {
        self.matches(path, format!(r"(?:{key})\Z"))
    }

    fn matches(&self, path: &str, pattern: String) -> Result<bool, Fault> {
        let mut known = self.read.borrow_mut();
        let before = known.len();
        if !known.contains_key(&pattern) {
            let own = if backtracks(&pattern) {
                pattern.len()
            } else {
                0
            };
            let letters = self.backtracking.get() + own;
            if before >= COUNT || letters > BACKTRACKING {
                return Err(Fault::TooMany);
            }
            self.backtracking.set(letters);
        }
        let regex = known
            .entry(pattern)
            .or_insert_with_key(|pattern| read(pattern, before));
        let found = match regex {
            Ok(regex) => regex.is_match(path).map_err(|_| Fault::TooManySteps),
            Err(fault) => Err(*fault),
        };
        if let Err(fault) = found {
            // It would go on as long at every other name.
            *regex = Err(fault);
        }
        found
    }
}

/// Whether a pattern looks around, back, or holds on to what it took; what only may be one counts too.
fn backtracks(pattern: &str) -> bool {
    let signs = [
        "(?=", "(?!", "(?<", "(?>", "(?(", "(?P=", "++", "*+", "?+", "}+",
    ];
    let is_reference = |pair: &[u8]| pair[0] == b'\\' && pair[1].is_ascii_digit();
    signs.iter().any(|sign| pattern.contains(sign))
        || pattern.as_bytes().windows(2).any(is_reference)
}

/// A pattern at the start of a text, as `re.match` takes it; `before` others were read.
fn read(pattern: &str, before: usize) -> Result<Regex, Fault> {
    if pattern.len() > LONGEST {
        return Err(Fault::NotAPattern);
    }
    let share = |all: usize| all.min(all * IN_FULL / (before + 1));
    let pattern = from_python(pattern).ok_or(Fault::NotAPattern)?;
    RegexBuilder::new(&format!(r"\A(?:{pattern})"))
        .backtrack_limit(share(STEPS))
        .delegate_size_limit(share(SIZE))
        .delegate_dfa_size_limit(share(SIZE))
        .build()
        .map_err(|_| Fault::NotAPattern)
}

/// A key without any operator but the dot; none stands for one, any character.
fn plain(key: &str) -> Option<Vec<Option<char>>> {
    let mut name = Vec::new();
    let mut rest = key.chars();
    while let Some(c) = rest.next() {
        name.push(match c {
            '.' => None,
            '\\' => Some(rest.next().filter(|c| *c == '.')?),
            c if c.is_ascii_alphanumeric() || c == '_' => Some(c),
            _ => return None,
        });
    }
    Some(name)
}

/// What precedes this ending.
fn is_ending<'a>(path: &'a str, name: &[Option<char>]) -> Option<&'a str> {
    let mut letters = path.char_indices().rev();
    let mut cut = path.len();
    for wanted in name.iter().rev() {
        let (at, c) = letters.next()?;
        if wanted.is_some_and(|wanted| wanted != c) {
            return None;
        }
        cut = at;
    }
    Some(&path[..cut])
}

/// The same pattern for an engine that reads some characters differently from Python: `\Z` is the
/// very end, only Python's letters may be escaped, and in `[…]` there are neither sets nor
/// operators.
fn from_python(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    let mut in_class = false;
    let mut before = None;
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                let escaped = rest.next()?;
                if escaped.is_ascii_alphabetic() && !"AbBdDsSwWZafnrtvxuUN".contains(escaped) {
                    return None;
                }
                out.push('\\');
                out.push(if escaped == 'Z' { 'z' } else { escaped });
            }
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                out.extend(rest.next_if_eq(&'^'));
                if rest.next_if_eq(&']').is_some() {
                    out.push_str(r"\]");
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '[' => out.push_str(r"\["),
            '&' | '~' | '-' if in_class && before == Some(c) => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
        before = Some(c);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "model.layers.11.self_attn.q_proj";

    #[test]
    fn keys_match_as_in_python() {
        let patterns = Patterns::default();
        for (key, expected) in [
            ("q_proj", true),
            ("proj", false),
            ("self_attn.q_proj", true),
            ("self_attn.q.proj", true),
            (r"self_attn\.q_proj", true),
            (r"self_attn\.q.proj", true),
            (r"self_attn.q\.proj", false),
            (PATH, true),
            ("", false),
            (r"layers\.(?!0)\d+\.self_attn\.q_proj", true),
            (r"layers\.(?!1)\d+\.self_attn\.q_proj", false),
            (r".*(?<!k)_proj", true),
            (r".*(?<=k)_proj", false),
            (r"q_proj\Z", true),
            (r"q_proj\Z|k_proj", true),
            (r"k_proj|q_proj", true),
            (r"\Amodel\..*", true),
            ("^model.layers.11.self_attn.q_proj", true),
            ("^layers.11.self_attn.q_proj", false),
            (r"(?P<name>q)_proj", true),
            (r"layers\.(\d)\3\..*", true),
            (r"layers\.(?P<d>\d)(?P=d)\..*", true),
            (r"layers\.[[0-9&&]+\..*", true),
            (r"layers\.[]0-9]+\..*", true),
            (r"layers\.[+--01]+\..*", true),
            (r"layers\.1{2}\..*", true),
            (r"layers\.1{,2}\..*", true),
            (r"(?i:Q_PROJ)", true),
            (r"(?#c)q_proj", true),
            (r".*\.1++\..*", true),
            (r"(?>layers\.1+)\..*", true),
            (r"q_proj{", false),
            (r"q{x}_proj", false),
            (r"[^\W]*_proj", true),
            (r"layers\.(?=1)1(?(1)1|2)\..*", true),
            (r"x)|(model.*", true),
        ] {
            assert_eq!(patterns.ends(PATH, key), Ok(expected), "{key}");
        }
        assert_eq!(patterns.ends_after_dot(PATH, "q_proj"), Ok(true));
        assert_eq!(
            patterns.ends_after_dot(PATH, PATH),
            Ok(false),
            "no dot before"
        );
        assert_eq!(patterns.ends_after_dot(PATH, r"[qk]_proj"), Ok(true));
        // Before an alternative `.*\.` binds to the first.
        assert_eq!(patterns.ends_after_dot(PATH, "k_proj|.*q_proj"), Ok(true));
    }

    #[test]
    fn what_is_no_pattern_and_what_would_not_end_is_said() {
        let patterns = Patterns::default();
        for key in ["(", "*", r"\h", r"\p{L}", "[a", r"a\", r"\w{5000}"] {
            assert_eq!(patterns.ends(PATH, key), Err(Fault::NotAPattern), "{key}");
        }
        let endless = r"(?:(?=\w)\w+\.?)+!";
        assert_eq!(patterns.ends(PATH, endless), Err(Fault::TooManySteps));
        // Nor is it tried again.
        assert_eq!(patterns.ends("a", endless), Err(Fault::TooManySteps));
    }

    #[test]
    fn many_patterns_share_what_one_may_take() {
        let patterns = Patterns::default();
        for block in 0..COUNT {
            let key = format!(r"^model\.layers\.{block}\.self_attn\.q_proj");
            assert_eq!(patterns.ends(PATH, &key), Ok(block == 11), "{key}");
        }
        assert_eq!(patterns.ends(PATH, "[qk]_proj"), Err(Fault::TooMany));
        assert_eq!(
            patterns.ends(PATH, r"^model\.layers\.11\.self_attn\.q_proj"),
            Ok(true),
            "those that were read still hold"
        );
        assert_eq!(
            patterns.ends(PATH, "q_proj"),
            Ok(true),
            "a plain name is none"
        );
        // Short to write, large to keep: what the first may be, the thousandth may not.
        assert!(read(r"\w{2}", 0).is_ok());
        assert_eq!(read(r"\w{2}", 100 * COUNT).err(), Some(Fault::NotAPattern));
    }

    #[test]
    fn patterns_that_backtrack_are_few_letters_together() {
        let patterns = Patterns::default();
        let long = format!(r"(?:{}q_proj)", r"(?=\w)".repeat(BACKTRACKING / 6));
        assert_eq!(patterns.ends(PATH, &long), Err(Fault::TooMany));
        for n in 0..10 {
            let key = format!(r"(?=q)q_proj|{n}");
            assert_eq!(patterns.ends(PATH, &key), Ok(true), "{key}");
        }
        assert!(backtracks(r"(.)\1") && backtracks("a*+") && !backtracks(r"(?:a|b)+\.c"));
    }
}
