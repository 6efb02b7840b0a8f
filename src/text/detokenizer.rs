//! Token ids back to text, all at once or as they arrive.

use std::sync::Arc;
use tokenizers::DecoderWrapper;

use super::model::Tokenizer;

/// Decodes a growing list of tokens. The pieces together are what [`super::Text::decode`] gives for
/// the whole list; a character is held back until all its bytes are there.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    skip_special: bool,
    ids: Vec<u32>,
    /// Bytes of the decoded `ids` that were emitted.
    emitted: usize,
    /// Whether the last token that can be seen is a [byte token](is_byte_token).
    in_bytes: bool,
}

impl Detokenizer {
    pub(super) fn new(tokenizer: Arc<Tokenizer>, skip_special: bool) -> Self {
        Self {
            tokenizer,
            skip_special,
            ids: Vec::new(),
            emitted: 0,
            in_bytes: false,
        }
    }

    /// Takes the next token; returns the text that can no longer change, often one word, sometimes
    /// none.
    pub fn push(&mut self, id: u32) -> String {
        self.ids.push(id);
        let added = self.tokenizer.get_added_vocabulary();
        if let Some(token) = self.tokenizer.id_to_token(id)
            && !(self.skip_special && added.is_special_token(&token))
        {
            self.in_bytes = is_byte_token(&token);
        }
        // One more byte token can turn the byte tokens before it into U+FFFD: wait for their end.
        if self.in_bytes {
            return String::new();
        }
        let text = decode(&self.tokenizer, &self.ids, self.skip_special);
        let certain = text.trim_end_matches('\u{fffd}');
        let new = certain.get(self.emitted..).unwrap_or_default().to_owned();
        self.emitted += new.len();
        // Between whole characters byte-level decoding starts again: drop what is decoded, so that a
        // long answer costs no more per token than a short one.
        if certain.len() == text.len() && is_byte_level(&self.tokenizer) {
            self.ids.clear();
            self.emitted = 0;
        }
        new
    }

    /// The rest: U+FFFD for what was held back and never became a character.
    #[must_use]
    pub fn finish(self) -> String {
        let text = decode(&self.tokenizer, &self.ids, self.skip_special);
        text.get(self.emitted..).unwrap_or_default().to_owned()
    }
}

/// Token ids to text, all at once.
pub(super) fn decode(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> String {
    // No decoder of a causal model can fail.
    tokenizer.decode(ids, skip_special).unwrap_or_default()
}

/// Whether the decoder reads tokens as bytes, as GPT-2's does.
pub(super) fn is_byte_level(tokenizer: &Tokenizer) -> bool {
    matches!(tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_)))
}

/// `<0x00>` to `<0xFF>`, which stand for single bytes in SentencePiece vocabularies.
fn is_byte_token(token: &str) -> bool {
    token.len() == 6 && token.starts_with("<0x") && token.ends_with('>')
}
