//! The tokenizer's type: the library's, with one more kind of vocabulary.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokenizers::models::bpe::BPE;
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::{
    DecoderWrapper, Model, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Result,
    Token, TokenizerImpl,
};

use super::pieces::Pieces;

/// Splits a text, gives the parts their ids, and puts ids back together.
pub(super) type Tokenizer = TokenizerImpl<
    Vocabulary,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// What gives the parts of a text their ids.
#[derive(Debug)]
pub(super) enum Vocabulary {
    /// A GGUF file's, and almost any BPE of a `tokenizer.json`.
    Pieces(Pieces),
    /// Any other of a `tokenizer.json`.
    Library(Box<ModelWrapper>),
}

impl Model for Vocabulary {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, text: &str) -> Result<Vec<Token>> {
        match self {
            Self::Pieces(pieces) => Ok(pieces.tokenize(text)),
            Self::Library(model) => model.tokenize(text),
        }
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        match self {
            Self::Pieces(pieces) => pieces.id(token),
            Self::Library(model) => model.token_to_id(token),
        }
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            Self::Pieces(pieces) => pieces.text(id).map(str::to_owned),
            Self::Library(model) => model.id_to_token(id),
        }
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        match self {
            Self::Pieces(pieces) => {
                let ids = 0..pieces.len() as u32;
                ids.filter_map(|id| Some((pieces.text(id)?.to_owned(), id)))
                    .collect()
            }
            Self::Library(model) => model.get_vocab(),
        }
    }

    fn get_vocab_size(&self) -> usize {
        match self {
            Self::Pieces(pieces) => pieces.len(),
            Self::Library(model) => model.get_vocab_size(),
        }
    }

    fn save(&self, _: &Path, _: Option<&str>) -> Result<Vec<PathBuf>> {
        Err("vocabularies are only read here".into())
    }

    fn get_trainer(&self) -> TrainerWrapper {
        match self {
            Self::Pieces(_) => ModelWrapper::BPE(BPE::default()).get_trainer(),
            Self::Library(model) => model.get_trainer(),
        }
    }
}
