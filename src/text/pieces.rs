//! A vocabulary and its merges in a few flat arrays.
//!
//! The library's own BPE takes every merge as two strings and keeps every token as two more: 80 MB
//! and 0.6 s for a vocabulary like Gemma's, of 262,144 tokens. This needs 11 MB and 0.1 s. The ids are
//! the same: the tests compare.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};

use tokenizers::Token;

/// No id, no place.
const NONE: u32 = u32::MAX;

/// Many short texts, one after the other.
#[derive(Default)]
pub(super) struct Texts {
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Texts {
    pub(super) fn with_capacity(bytes: usize, count: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            ends: Vec::with_capacity(count),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(super) fn push(&mut self, text: &str) -> Result<(), String> {
        self.text.push_str(text);
        let end = u32::try_from(self.text.len()).map_err(|_| "its texts are beyond 4 GB")?;
        self.ends.push(end);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, index: u32) -> Option<&str> {
        ((index as usize) < self.len()).then(|| self.at(index))
    }

    /// As [`Self::get`], for one that is there.
    fn at(&self, index: u32) -> &str {
        let index = index as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[index] as usize]
    }
}

/// Tokens, and which two of them are merged first.
pub(super) struct Pieces {
    texts: Texts,
    by_text: Table,
    spelling: Spelling,
    order: Order,
}

/// What becomes of a word and its characters before the merges.
#[derive(Default)]
pub(super) struct Spelling {
    /// Whether a word that is a token skips the merges.
    pub(super) whole_words: bool,
    /// Whether a character without a token is spelled in bytes, `<0x00>` to `<0xFF>`.
    pub(super) bytes: bool,
    /// Stands for characters that have neither; they are left out where there is none.
    pub(super) unknown: Option<u32>,
    /// Whether one unknown token stands for several characters in a row.
    pub(super) fuse_unknown: bool,
}

/// Which two pieces are merged first.
enum Order {
    /// By a list of pairs.
    Merges {
        /// Left piece, right piece, and what they make; the first merges first.
        merges: Vec<[u32; 3]>,
        by_pair: Table,
    },
    /// SentencePiece's: by the score of what two pieces make, the highest first. NaN for a token
    /// that no merge makes.
    Scores(Vec<f32>),
}

impl Pieces {
    fn new(texts: Texts, order: Order, spelling: Spelling) -> Result<Self, String> {
        let mut by_text = Table::for_items(texts.len());
        for id in 0..texts.len() as u32 {
            // Two ids for one token would make decoding and encoding disagree; llama.cpp refuses
            // them too.
            let token = texts.at(id);
            if let Some(first) = by_text.insert(token, id, |id| texts.at(id)) {
                return Err(format!("token {token:?} occurs twice, as {first} and {id}"));
            }
        }
        Ok(Self {
            texts,
            by_text,
            spelling,
            order,
        })
    }

    /// A BPE by a list of pairs, the first to merge first.
    pub(super) fn with_merges<'a>(
        texts: Texts,
        pairs: impl ExactSizeIterator<Item = Option<(&'a str, &'a str)>>,
        spelling: Spelling,
    ) -> Result<Self, String> {
        let mut merges: Vec<[u32; 3]> = Vec::with_capacity(pairs.len());
        let mut by_pair = Table::for_items(pairs.len());
        let mut pieces = Self::new(texts, Order::Scores(Vec::new()), spelling)?;
        let id = |token: &str| {
            let missing = || format!("a merge needs the token {token:?}, which is not there");
            pieces.id(token).ok_or_else(missing)
        };
        for (rank, pair) in (0..).zip(pairs) {
            let (left, right) =
                pair.ok_or("a merge is not two tokens with a space between them")?;
            let made = id(&[left, right].concat())?;
            let (left, right) = (id(left)?, id(right)?);
            merges.push([left, right, made]);
            by_pair.insert((left, right), rank, |rank| pair_of(&merges, rank));
        }
        pieces.order = Order::Merges { merges, by_pair };
        Ok(pieces)
    }

    /// SentencePiece's BPE. `scores` are NaN for tokens that no merge makes.
    pub(super) fn with_scores(
        texts: Texts,
        scores: Vec<f32>,
        spelling: Spelling,
    ) -> Result<Self, String> {
        Self::new(texts, Order::Scores(scores), spelling)
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn text(&self, id: u32) -> Option<&str> {
        self.texts.get(id)
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.by_text.find(&token, |id| self.texts.at(id)).ok()
    }

    /// What two neighbours become, if they can be merged.
    fn merge(&self, word: &Word, at: u32) -> Option<Merge> {
        let left = &word.parts[at as usize];
        let right = word.parts.get(left.next as usize)?;
        let (rank, made) = match &self.order {
            Order::Merges { merges, by_pair } => {
                let pair = |rank| pair_of(merges, rank);
                let rank = by_pair.find(&(left.id, right.id), pair).ok()?;
                (rank, merges[rank as usize][2])
            }
            Order::Scores(scores) => {
                let made = self.id(&word.text[left.start..right.end])?;
                let score = scores.get(made as usize).filter(|score| !score.is_nan())?;
                (!ascending(*score), made)
            }
        };
        Some(Merge {
            rank,
            left: left.id,
            right: right.id,
            at,
            made,
        })
    }

    /// The characters of a text as tokens, before any merge.
    fn spell(&self, text: &str) -> Word {
        let mut word = Word::default();
        let mut unknown_bytes = 0;
        for (at, c) in text.char_indices() {
            let bytes = c.len_utf8();
            let character = &text[at..at + bytes];
            if let Some(id) = self.id(character) {
                self.push_unknown(&mut word, &mut unknown_bytes);
                word.push(id, character, bytes);
            } else if let Some(ids) = self.bytes(character) {
                // As in the library, unknown characters before these come after them.
                for id in ids {
                    word.push(id, self.texts.at(id), 1);
                }
            } else {
                if !self.spelling.fuse_unknown {
                    self.push_unknown(&mut word, &mut unknown_bytes);
                }
                unknown_bytes += bytes;
            }
        }
        self.push_unknown(&mut word, &mut unknown_bytes);
        word
    }

    /// The tokens of a character's bytes, if there are all.
    fn bytes(&self, character: &str) -> Option<Vec<u32>> {
        let names = character.bytes().map(|byte| format!("<0x{byte:02X}>"));
        self.spelling
            .bytes
            .then(|| names.map(|name| self.id(&name)).collect())?
    }

    fn push_unknown(&self, word: &mut Word, bytes: &mut usize) {
        let bytes = std::mem::take(bytes);
        if let Some(id) = self.spelling.unknown
            && bytes > 0
        {
            word.push(id, self.texts.at(id), bytes);
        }
    }

    /// The tokens of a text that was split from a longer one.
    pub(super) fn tokenize(&self, text: &str) -> Vec<Token> {
        if self.spelling.whole_words
            && let Some(id) = self.id(text)
        {
            return vec![Token::new(id, text.to_owned(), (0, text.len()))];
        }
        let mut word = self.spell(text);
        let places = 0..word.parts.len() as u32;
        let merges = places.filter_map(|at| self.merge(&word, at));
        let mut queue: BinaryHeap<Reverse<Merge>> = merges.map(Reverse).collect();
        while let Some(Reverse(merge)) = queue.pop() {
            if let Some(before) = word.apply(&merge) {
                let around = [before, merge.at].into_iter().filter(|at| *at != NONE);
                queue.extend(around.filter_map(|at| self.merge(&word, at).map(Reverse)));
            }
        }
        let mut start = 0;
        let parts = word.parts.iter().filter(|part| part.id != NONE);
        let tokens = parts.map(|part| {
            let end = start + part.bytes;
            let token = Token::new(part.id, self.texts.at(part.id).to_owned(), (start, end));
            start = end;
            token
        });
        tokens.collect()
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Pieces");
        shown.field("tokens", &self.len());
        shown.finish_non_exhaustive()
    }
}

fn pair_of(merges: &[[u32; 3]], rank: u32) -> (u32, u32) {
    let [left, right, _] = merges[rank as usize];
    (left, right)
}

/// Numbers in the order of [`f32::total_cmp`].
fn ascending(score: f32) -> u32 {
    const SIGN: u32 = 1 << 31;
    let bits = score.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// A word on its way to tokens.
#[derive(Default)]
struct Word {
    /// The texts of `parts`, one after the other.
    text: String,
    parts: Vec<Part>,
}

/// A token of a word.
struct Part {
    /// [`NONE`] after it was merged into the one before.
    id: u32,
    /// Where its text is in [`Word::text`].
    start: usize,
    end: usize,
    /// Of the original text.
    bytes: usize,
    previous: u32,
    next: u32,
}

impl Word {
    fn push(&mut self, id: u32, text: &str, bytes: usize) {
        let at = self.parts.len() as u32;
        let last = self.parts.last_mut();
        let previous = last.map_or(NONE, |last| {
            last.next = at;
            at - 1
        });
        let start = self.text.len();
        self.text.push_str(text);
        self.parts.push(Part {
            id,
            start,
            end: self.text.len(),
            bytes,
            previous,
            next: NONE,
        });
    }

    /// Merges two neighbours, if they are still what they were; gives the place before them.
    fn apply(&mut self, merge: &Merge) -> Option<u32> {
        let at = merge.at as usize;
        let place = self.parts[at].next;
        let right = self.parts.get_mut(place as usize)?;
        if right.id != merge.right {
            return None;
        }
        let (end, bytes, next) = (right.end, right.bytes, right.next);
        if self.parts[at].id != merge.left {
            return None;
        }
        self.parts[place as usize].id = NONE;
        if let Some(after) = self.parts.get_mut(next as usize) {
            after.previous = merge.at;
        }
        let left = &mut self.parts[at];
        left.id = merge.made;
        left.end = end;
        left.bytes += bytes;
        left.next = next;
        Some(left.previous)
    }
}

/// A merge that is possible. The least is done first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Merge {
    rank: u32,
    left: u32,
    right: u32,
    at: u32,
    made: u32,
}

/// Finds a number by what it stands for, without keeping that: open addressing.
struct Table {
    /// At most half of them are taken; [`NONE`] is free.
    slots: Vec<u32>,
    /// Random keys, so that no file can make all its tokens collide.
    hasher: RandomState,
}

impl Table {
    fn for_items(count: usize) -> Self {
        Self {
            slots: vec![NONE; (2 * count).next_power_of_two()],
            hasher: RandomState::new(),
        }
    }

    /// The number of `item`, or the free slot where it belongs. `of` gives what a number stands for.
    fn find<T: Hash + Eq>(&self, item: &T, of: impl Fn(u32) -> T) -> Result<u32, usize> {
        let last = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(item) as usize & last;
        loop {
            match self.slots[slot] {
                NONE => return Err(slot),
                number if of(number) == *item => return Ok(number),
                _ => slot = (slot + 1) & last,
            }
        }
    }

    /// Adds a number; gives the one that is already there for the same item, which stays.
    fn insert<T: Hash + Eq>(&mut self, item: T, number: u32, of: impl Fn(u32) -> T) -> Option<u32> {
        match self.find(&item, of) {
            Ok(first) => Some(first),
            Err(slot) => {
                self.slots[slot] = number;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::Model;
    use tokenizers::models::bpe::{BPE, Merges, Vocab};

    use super::{Pieces, Spelling, Texts};

    /// xorshift64: the same vocabularies in every run.
    struct Noise(u64);

    impl Noise {
        fn below(&mut self, count: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % count as u64) as usize
        }
    }

    const ALPHABET: [&str; 8] = ["a", "b", "c", "d", "\u{2581}", "é", "灯", "😀"];

    /// Tokens (`<unk>`, some of the alphabet, and what merges make) and merges.
    fn vocabulary(noise: &mut Noise) -> (Vec<String>, Vec<(usize, usize)>) {
        let known = 2 + noise.below(ALPHABET.len() - 1);
        let characters = ALPHABET[..known].iter().map(|text| (*text).to_owned());
        let mut tokens: Vec<String> = std::iter::once("<unk>".to_owned())
            .chain(characters)
            .collect();
        let mut merges = Vec::new();
        for _ in 0..noise.below(80) {
            let [left, right] = [0; 2].map(|_| 1 + noise.below(tokens.len() - 1));
            let made = [&*tokens[left], &*tokens[right]].concat();
            if !tokens.contains(&made) {
                tokens.push(made);
            }
            if !merges.contains(&(left, right)) {
                merges.push((left, right));
            }
        }
        // No order of the tokens themselves.
        for last in (1..merges.len()).rev() {
            merges.swap(last, noise.below(last + 1));
        }
        (tokens, merges)
    }

    fn texts(tokens: &[String]) -> Texts {
        let mut texts = Texts::default();
        for token in tokens {
            texts.push(token).expect("is short");
        }
        texts
    }

    fn text(noise: &mut Noise) -> String {
        let length = noise.below(30);
        (0..length)
            .map(|_| ALPHABET[noise.below(ALPHABET.len())])
            .collect()
    }

    fn library(
        tokens: &[String],
        merges: &[(usize, usize)],
    ) -> tokenizers::models::bpe::BpeBuilder {
        let vocab: Vocab = tokens.iter().cloned().zip(0..).collect();
        let texts =
            |(left, right): &(usize, usize)| (tokens[*left].clone(), tokens[*right].clone());
        let merges: Merges = merges.iter().map(texts).collect();
        BPE::builder().vocab_and_merges(vocab, merges)
    }

    fn compare(pieces: &Pieces, library: &BPE, noise: &mut Noise) {
        for _ in 0..40 {
            let text = text(noise);
            let expected = library.tokenize(&text).expect("the library splits");
            assert_eq!(pieces.tokenize(&text), expected, "{text:?}, {pieces:?}");
        }
    }

    #[test]
    fn merges_in_a_list_give_the_library_s_tokens() {
        let mut noise = Noise(0x2026_1129);
        for round in 0..200 {
            let (tokens, merges) = vocabulary(&mut noise);
            let whole_words = round % 2 == 0;
            let pairs = merges.iter();
            let pairs = pairs.map(|(left, right)| Some((&*tokens[*left], &*tokens[*right])));
            let unknown = round % 3 > 0;
            let spelling = Spelling {
                whole_words,
                unknown: unknown.then_some(0),
                fuse_unknown: round % 5 > 2,
                ..Spelling::default()
            };
            let mut builder = library(&tokens, &merges).ignore_merges(whole_words);
            builder = builder.fuse_unk(spelling.fuse_unknown);
            if unknown {
                builder = builder.unk_token("<unk>".into());
            }
            let pieces = Pieces::with_merges(texts(&tokens), pairs, spelling).expect("builds");
            let library = builder.build();
            compare(&pieces, &library.expect("the library builds"), &mut noise);
        }
    }

    #[test]
    fn merges_by_score_give_the_library_s_tokens() {
        let mut noise = Noise(0x1129_2026);
        for round in 0..200 {
            let (mut tokens, _) = vocabulary(&mut noise);
            if round % 2 == 0 {
                tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
            }
            // Few different scores, so that many are equal.
            let scores: Vec<f32> = tokens.iter().map(|_| -(noise.below(9) as f32)).collect();
            // The library wants a list: the highest score first, then the earlier pieces.
            let place = |text: &str| tokens.iter().position(|token| token == text);
            let mut merges = Vec::new();
            for (token, score) in tokens.iter().zip(&scores) {
                for (cut, _) in token.char_indices().skip(1) {
                    let (left, right) = token.split_at(cut);
                    if let (Some(left), Some(right)) = (place(left), place(right)) {
                        merges.push((-score, left, right));
                    }
                }
            }
            merges.sort_by(|x, y| x.partial_cmp(y).expect("numbers"));
            let merges: Vec<(usize, usize)> = merges
                .into_iter()
                .map(|(_, left, right)| (left, right))
                .collect();
            let unknown = (round % 3 > 0).then_some(0);
            let mut builder = library(&tokens, &merges).byte_fallback(true).fuse_unk(true);
            if unknown.is_some() {
                builder = builder.unk_token("<unk>".into());
            }
            let spelling = Spelling {
                bytes: true,
                unknown,
                fuse_unknown: true,
                ..Spelling::default()
            };
            let pieces = Pieces::with_scores(texts(&tokens), scores, spelling).expect("builds");
            compare(
                &pieces,
                &builder.build().expect("the library builds"),
                &mut noise,
            );
        }
    }

    #[test]
    fn the_least_merge_comes_first_and_the_first_place_of_two_equal_ones() {
        let tokens = ["a", "b", "ab", "ba", "aba"].map(str::to_owned);
        let pairs = [("b", "a"), ("a", "b"), ("ab", "a")].map(Some).into_iter();
        let pieces = Pieces::with_merges(texts(&tokens), pairs, Spelling::default());
        let pieces = pieces.expect("builds");
        let found =
            |text| -> Vec<u32> { pieces.tokenize(text).iter().map(|token| token.id).collect() };
        assert_eq!(found("aba"), [0, 3], "`b a` comes before `a b`");
        assert_eq!(found("ab"), [2]);
        assert_eq!(found("baba"), [3, 3]);
        assert_eq!(found(""), [0; 0]);
    }
}
