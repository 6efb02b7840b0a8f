//! Reading texts: the hidden states that a vector is made of, `[texts, blocks, d]`.
//!
//! Attention looks back only. So a text that another one begins with is read together with it: of a suffix cut
//! at every token only the longest cut is computed. And what several texts begin with, a system prompt or a
//! pair's question, is computed once; each goes on from a copy of its cache. Short pieces share a pass.

use std::ops::{Range, RangeInclusive};
use std::rc::Rc;

use burn::tensor::Tensor;

use super::options::At;
use super::passage::Passage;
use crate::device::read_back;
use crate::error::Result;
use crate::model::{KvCache, Model};

/// Tokens of a pass that several pieces share.
const ROWS: usize = 192;

/// A beginning of fewer tokens is not worth a pass of its own.
const WORTH: usize = 8;

/// The states of all texts, one number for each text, block and place.
#[derive(Debug)]
pub(super) struct States {
    layers: RangeInclusive<usize>,
    d: usize,
    values: Vec<f32>,
}

impl States {
    pub(super) fn new(texts: usize, layers: RangeInclusive<usize>, d: usize) -> Self {
        let values = vec![0.0; texts * layers.clone().count() * d];
        Self { layers, d, values }
    }

    /// All blocks of a text, `[blocks, d]`.
    pub(super) fn of_text(&self, text: usize) -> &[f32] {
        let width = self.layers.clone().count() * self.d;
        &self.values[text * width..(text + 1) * width]
    }

    /// One block of a text, `[d]`.
    pub(super) fn state(&self, text: usize, layer: usize) -> &[f32] {
        let first = (layer - self.layers.start()) * self.d;
        &self.of_text(text)[first..first + self.d]
    }

    /// Adds what the streams `[blocks][rows, d]` of the places `read` have for a text.
    fn add(&mut self, text: usize, streams: &[&[f32]], read: Range<usize>, share: f32) {
        let (d, count) = (self.d, streams.len());
        let own = &mut self.values[text * count * d..(text + 1) * count * d];
        for (own, stream) in own.chunks_mut(d).zip(streams) {
            for row in stream[read.start * d..read.end * d].chunks(d) {
                let each = own.iter_mut().zip(row);
                each.for_each(|(own, x)| *own += share * x);
            }
        }
    }
}

/// Texts of which each begins the longest.
#[derive(Debug)]
struct Sequence {
    longest: usize,
    texts: Vec<usize>,
}

/// A piece of text to compute: what some sequences have in common from a place on, after what all of them
/// begin with.
#[derive(Debug)]
struct Piece {
    sequences: Range<usize>,
    places: Range<usize>,
    before: Option<Rc<KvCache>>,
}

/// Reads texts, some in each pass.
#[derive(Debug)]
pub(super) struct Reader {
    /// In the order of their tokens, so that those with a common beginning lie together; none begins another.
    sequences: Vec<Sequence>,
    /// What is still to be read, the next last.
    pieces: Vec<Piece>,
    /// Whether a pass may have several pieces, and a piece go on from another's cache.
    shares: bool,
}

impl Reader {
    pub(super) fn new(texts: &[&Passage], shares: bool) -> Self {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by(|&a, &b| texts[a].ids.cmp(&texts[b].ids));
        let mut sequences: Vec<Sequence> = Vec::new();
        // Whatever a text begins comes right after it in this order.
        for text in order.into_iter().rev() {
            match sequences.last_mut() {
                Some(last) if texts[last.longest].ids.starts_with(&texts[text].ids) => {
                    last.texts.push(text);
                }
                _ => sequences.push(Sequence {
                    longest: text,
                    texts: vec![text],
                }),
            }
        }
        sequences.reverse();
        let mut reader = Self {
            pieces: Vec::new(),
            shares,
            sequences,
        };
        reader.open(texts, 0, 0..reader.sequences.len(), None);
        reader
    }

    /// Adds the pieces of sequences that have their first `start` tokens in common.
    fn open(
        &mut self,
        texts: &[&Passage],
        start: usize,
        sequences: Range<usize>,
        before: Option<&Rc<KvCache>>,
    ) {
        let ids = |at: usize| &texts[self.sequences[at].longest].ids;
        let (first, last) = (ids(sequences.start), ids(sequences.end - 1));
        let same = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        if sequences.len() == 1 || self.shares && same >= start + WORTH {
            self.pieces.push(Piece {
                sequences,
                places: start..same,
                before: before.cloned(),
            });
            return;
        }
        for group in self.groups(texts, sequences, same) {
            self.open(texts, start, group, before);
        }
    }

    /// The sequences apart by what they have at a place, the last group first.
    fn groups(
        &self,
        texts: &[&Passage],
        mut sequences: Range<usize>,
        place: usize,
    ) -> Vec<Range<usize>> {
        let token = |at: usize| texts[self.sequences[at].longest].ids[place];
        let mut groups = Vec::new();
        while !sequences.is_empty() {
            let last = token(sequences.end - 1);
            let others = sequences
                .clone()
                .take_while(|&at| token(at) != last)
                .count();
            groups.push(sequences.start + others..sequences.end);
            sequences.end = sequences.start + others;
        }
        groups
    }

    /// The pieces of the next pass.
    fn next(&mut self) -> Vec<Piece> {
        let mut rows = 0;
        let mut pass = Vec::new();
        while let Some(piece) = self.pieces.pop() {
            rows += piece.places.len();
            if !pass.is_empty() && (rows > ROWS || !self.shares) {
                self.pieces.push(piece);
                break;
            }
            pass.push(piece);
        }
        pass
    }

    /// Runs the next pass, and returns the texts that are read to their end by it; `None` when there was
    /// nothing left.
    pub(super) async fn step(
        &mut self,
        model: &Model,
        texts: &[&Passage],
        at: At,
        states: &mut States,
    ) -> Result<Option<Vec<usize>>> {
        let pass = self.next();
        if pass.is_empty() {
            return Ok(None);
        }
        let cache = |piece: &Piece| match &piece.before {
            Some(before) => KvCache::clone(before),
            None => model.new_cache(),
        };
        let mut caches: Vec<KvCache> = pass.iter().map(cache).collect();
        let ids = |piece: &Piece| {
            let longest = self.sequences[piece.sequences.start].longest;
            &texts[longest].ids[piece.places.clone()]
        };
        let lanes = pass.iter().map(ids).zip(&mut caches).collect();
        let mut streams = model.base_residuals(lanes, *states.layers.end())?;
        let streams = streams.split_off(*states.layers.start());
        let values = read_back(Tensor::cat(streams, 0)).await?;
        let rows: usize = pass.iter().map(|piece| piece.places.len()).sum();
        let d = states.d;
        let mut first = 0;
        let mut read = Vec::new();
        for (piece, cache) in pass.into_iter().zip(caches) {
            let own = first * d..(first + piece.places.len()) * d;
            first += piece.places.len();
            let streams = values.chunks(rows * d).map(|block| &block[own.clone()]);
            let streams: Vec<&[f32]> = streams.collect();
            for &text in self.sequences[piece.sequences.clone()]
                .iter()
                .flat_map(|sequence| &sequence.texts)
            {
                let (wanted, share) = counted(texts[text], at);
                let Range { start, end } = piece.places;
                if wanted.start < end && wanted.end > start {
                    let inside = wanted.start.max(start) - start..wanted.end.min(end) - start;
                    states.add(text, &streams, inside, share);
                }
            }
            if let [sequence] = &self.sequences[piece.sequences.clone()] {
                read.extend(&sequence.texts);
            } else {
                let cache = Rc::new(cache);
                for group in self.groups(texts, piece.sequences, piece.places.end) {
                    self.open(texts, piece.places.end, group, Some(&cache));
                }
            }
        }
        Ok(Some(read))
    }
}

/// The places of a text that count, and how much each.
fn counted(Passage { ids, from, .. }: &Passage, at: At) -> (Range<usize>, f32) {
    let from = match at {
        At::Mean => *from,
        At::Last => ids.len() - 1,
    };
    let places = from..ids.len();
    let share = 1.0 / places.len() as f32;
    (places, share)
}

#[cfg(test)]
mod tests {
    use super::Reader;
    use crate::extract::Passage;

    fn passage(ids: &[u32]) -> Passage {
        Passage {
            ids: ids.to_vec(),
            from: 1,
            words: String::new(),
        }
    }

    #[test]
    fn what_texts_have_in_common_is_read_once() {
        let begin: Vec<u32> = (0..20).collect();
        let with = |end: &[u32]| passage(&[&begin, end].concat());
        let texts = [
            with(&[30, 31]),
            with(&[30, 31, 32]),
            with(&[40]),
            passage(&[7, 8, 9]),
            passage(&begin),
        ];
        let texts: Vec<&_> = texts.iter().collect();
        let mut reader = Reader::new(&texts, true);
        assert_eq!(reader.sequences.len(), 3, "two begin another");
        let pass = reader.next();
        let places: Vec<_> = pass.iter().map(|piece| piece.places.clone()).collect();
        assert_eq!(
            places,
            [0..20, 0..3],
            "the beginning, and what stands alone"
        );
        let mut apart = Reader::new(&texts, false);
        let lengths = [0, 1, 2].map(|_| apart.next()).map(|pass| {
            assert_eq!(pass.len(), 1, "one at a time");
            pass[0].places.clone()
        });
        assert_eq!(lengths, [0..23, 0..21, 0..3], "each from its start");
        assert!(apart.next().is_empty(), "and no more");
    }
}
