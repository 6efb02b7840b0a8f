//! A text as tokens.

/// A text as tokens, and which of them count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The tokens.
    pub ids: Vec<u32>,
    /// The first place that a mean counts, at least 1: the stream of the first token is huge and the same in all
    /// texts. For an answer, the length of its prompt.
    pub from: usize,
    /// The text, for messages.
    pub words: String,
}

/// The same situation, told in two opposite ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What c = 1 shall bring more of.
    pub positive: Passage,
    /// What c = −1 shall bring more of.
    pub negative: Passage,
}
