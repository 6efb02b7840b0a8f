//! Which tokens of a text an adapter may act on.

use std::fmt;

use crate::error::{Error, Result};

/// Tokens of a text, by their positions. The default is all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tokens {
    /// Each.
    #[default]
    All,
    /// Those of the prompt. In a conversation these are all turns before the answer.
    Prompt,
    /// Those after the prompt. The first of them is chosen by the prompt's last token, and so as
    /// without the adapter.
    Generated,
    /// Those from this position on, counted from 0.
    From(usize),
}

impl Tokens {
    /// Reads `prompt`, `generated` or `from:12`; an empty text and `all` mean all.
    ///
    /// # Errors
    /// [`Error::BadOption`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || Error::BadOption {
            name: "positions",
            expected: "all, prompt, generated, or a first token as from:12, counted from 0",
            found: text.into(),
        };
        match text.trim() {
            "" | "all" => Ok(Self::All),
            "prompt" => Ok(Self::Prompt),
            "generated" => Ok(Self::Generated),
            other => {
                let first = other.strip_prefix("from:").ok_or_else(bad)?;
                Ok(Self::From(first.trim().parse().map_err(|_| bad())?))
            }
        }
    }

    /// Whether the token at `position` is one of them, in a text whose prompt has `prompt` tokens.
    #[must_use]
    pub fn contains(self, position: usize, prompt: usize) -> bool {
        match self {
            Self::All => true,
            Self::Prompt => position < prompt,
            Self::Generated => position >= prompt,
            Self::From(first) => position >= first,
        }
    }
}

/// As [`Tokens::parse`] reads them.
impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Prompt => f.write_str("prompt"),
            Self::Generated => f.write_str("generated"),
            Self::From(first) => write!(f, "from:{first}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_read_their_own_text() {
        for tokens in [
            Tokens::All,
            Tokens::Prompt,
            Tokens::Generated,
            Tokens::From(12),
        ] {
            let again = Tokens::parse(&tokens.to_string());
            assert_eq!(again.expect("its own text"), tokens);
        }
        assert_eq!(Tokens::parse(" ").expect("all"), Tokens::All);
        for text in ["answer", "from", "from:", "from:-1", "from:x", "12"] {
            let refused = Tokens::parse(text).map_err(|error| error.code());
            assert_eq!(refused, Err("bad-option"), "{text}");
        }
    }

    /// A text of 5 tokens, of which 3 are the prompt's.
    #[test]
    fn positions_are_counted_from_0() {
        let chosen = |tokens: Tokens| -> Vec<usize> {
            (0..5).filter(|&at| tokens.contains(at, 3)).collect()
        };
        assert_eq!(chosen(Tokens::All), [0, 1, 2, 3, 4]);
        assert_eq!(chosen(Tokens::Prompt), [0, 1, 2]);
        assert_eq!(chosen(Tokens::Generated), [3, 4]);
        assert_eq!(chosen(Tokens::From(2)), [2, 3, 4]);
        assert_eq!(chosen(Tokens::From(5)), [0; 0]);
    }
}
