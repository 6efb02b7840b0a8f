//! Token ids becoming text, up to a stop text.

use super::{Detokenizer, Text};

/// Token ids becoming text, with anything held back that may still become a stop text.
///
/// Special tokens are left out of the text, but a stop text may contain some. So the text is made
/// twice, and `pieces` records which positions of the two correspond.
#[derive(Debug, Clone)]
pub struct Speech {
    stops: Vec<String>,
    /// The text that is shown: without special tokens.
    shown: Option<Stream>,
    /// With special tokens, if there are stop texts to look for.
    spelled: Option<Stream>,
    /// Where each token's text begins: bytes into the held text of `spelled` and of `shown`.
    pieces: Vec<(usize, usize)>,
}

/// One way of decoding, and its text.
#[derive(Debug, Clone)]
struct Stream {
    detokenizer: Option<Detokenizer>,
    /// Not emitted yet.
    held: String,
}

impl Stream {
    fn new(text: &Text, skip_special: bool) -> Self {
        Self {
            detokenizer: Some(text.detokenizer(skip_special)),
            held: String::new(),
        }
    }

    fn push(&mut self, id: u32, last: bool) {
        if let Some(detokenizer) = &mut self.detokenizer {
            self.held.push_str(&detokenizer.push(id));
        }
        if last && let Some(detokenizer) = self.detokenizer.take() {
            self.held.push_str(&detokenizer.finish());
        }
    }

    /// Where the first stop text is.
    fn find(&self, stops: &[String]) -> Option<usize> {
        let found = stops.iter().filter_map(|stop| self.held.find(stop));
        found.min()
    }

    /// Where the longest end of the text begins that may become a stop text; else its end.
    fn open(&self, stops: &[String]) -> usize {
        let mut starts = self.held.char_indices().map(|(at, _)| at);
        let open = starts.find(|&at| stops.iter().any(|stop| stop.starts_with(&self.held[at..])));
        open.unwrap_or(self.held.len())
    }
}

impl Speech {
    /// An answer that ends where one of `stops` appears; empty ones never do.
    #[must_use]
    pub fn new(text: Option<&Text>, stops: &[String]) -> Self {
        let stops: Vec<String> = stops
            .iter()
            .filter(|stop| !stop.is_empty())
            .cloned()
            .collect();
        let spelled = text.filter(|_| !stops.is_empty());
        Self {
            shown: text.map(|text| Stream::new(text, true)),
            spelled: spelled.map(|text| Stream::new(text, false)),
            stops,
            pieces: Vec::new(),
        }
    }

    /// Takes the next token; gives the text that can no longer change, and whether a stop text
    /// appeared. With `last`, nothing more follows and nothing is held back.
    pub fn push(&mut self, id: u32, last: bool) -> (String, bool) {
        let Some(shown) = &mut self.shown else {
            return (String::new(), false);
        };
        let Some(spelled) = &mut self.spelled else {
            shown.push(id, last);
            return (std::mem::take(&mut shown.held), false);
        };
        self.pieces.push((spelled.held.len(), shown.held.len()));
        shown.push(id, last);
        spelled.push(id, last);
        let ends = (spelled.held.len(), shown.held.len());
        let in_shown = |at: usize| in_shown(&self.pieces, ends, &shown.held, at);

        let found = [
            shown.find(&self.stops),
            spelled.find(&self.stops).map(in_shown),
        ];
        if let Some(at) = found.into_iter().flatten().min() {
            shown.held.truncate(at);
            return (std::mem::take(&mut shown.held), true);
        }
        if last {
            return (std::mem::take(&mut shown.held), false);
        }
        let spelled_open = spelled.open(&self.stops);
        let spelled_at = in_shown(spelled_open);
        let open = shown.open(&self.stops).min(spelled_at);
        // Positions are counted from the new starts of the held texts.
        let later = self.pieces.iter().filter(|(at, _)| *at > spelled_open);
        let later = later.map(|(a, b)| (a - spelled_open, b.saturating_sub(open)));
        self.pieces = std::iter::once((0, spelled_at - open))
            .chain(later)
            .collect();
        spelled.held.drain(..spelled_open);
        let rest = shown.held.split_off(open);
        (std::mem::replace(&mut shown.held, rest), false)
    }
}

/// The byte of the shown text that corresponds to byte `at` of the spelled one; for a special token,
/// where it would stand.
fn in_shown(pieces: &[(usize, usize)], ends: (usize, usize), shown: &str, at: usize) -> usize {
    let after = pieces.partition_point(|(spelled, _)| *spelled <= at);
    let start = after.checked_sub(1).map_or((0, 0), |index| pieces[index]);
    let end = pieces.get(after).copied().unwrap_or(ends);
    // Counted from the end: what is stripped off a text, such as its first space, is at its start.
    let found = end.1.saturating_sub(end.0.saturating_sub(at)).max(start.1);
    shown.floor_char_boundary(found)
}
