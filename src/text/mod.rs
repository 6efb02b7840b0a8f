//! Text to token ids and back: the tokenizer, the chat template, and decoding as tokens arrive.
//!
//! A model's tokenizer comes from its GGUF metadata ([`Text::from_gguf`]) or from Hugging Face's
//! `tokenizer.json` ([`Text::from_files`]).

mod detokenizer;
mod template;
mod tokenizer;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tokenizers::Tokenizer;

use crate::error::{Error, Result};
use crate::weights::gguf::Metadata;
pub use detokenizer::Detokenizer;
use detokenizer::{decode, is_byte_level};
pub use template::Message;
use template::render;
use tokenizer::{
    add_tokens, bad_json, byte_level_bpe, read_json, read_tokenizer_json, sentence_piece_bpe, vocab,
};

/// A model's tokenizer, chat template and special ids. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Text {
    tokenizer: Arc<Tokenizer>,
    template: Option<Arc<str>>,
    stop_ids: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
}

/// Tokens at which models stop speaking, beside the one that the file calls `eos`.
const STOP_TOKENS: [&str; 10] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<|assistant_end|>",
    "</s>",
];

impl Text {
    /// The tokenizer in a GGUF file's metadata; `None` when it has none.
    ///
    /// # Errors
    /// [`Error::BadTokenizer`] when it is of a kind that is not read here, or contradicts itself;
    /// [`Error::BadConfig`] when a field has the wrong type.
    pub fn from_gguf(file: &str, metadata: &Metadata) -> Result<Option<Self>> {
        let bad = |why: String| Error::BadTokenizer {
            file: file.into(),
            why,
        };
        let key = |name: &str| format!("tokenizer.ggml.{name}");
        let model = match metadata.string(&key("model"))? {
            None | Some("none" | "no_vocab") => return Ok(None),
            Some(model) => model,
        };
        let tokens = metadata
            .strings(&key("tokens"))?
            .ok_or_else(|| bad("`tokenizer.ggml.tokens` is missing".into()))?;
        let types = metadata.integers(&key("token_type"))?.unwrap_or_default();
        let vocab = vocab(tokens).map_err(bad)?;
        let (mut tokenizer, add_bos) = match model {
            "gpt2" => {
                let merges = metadata.strings(&key("merges"))?.unwrap_or_default();
                let pre = metadata.string(&key("pre"))?.unwrap_or("default");
                byte_level_bpe(vocab, merges, pre).map_err(bad)?
            }
            "llama" => {
                let scores = metadata
                    .floats(&key("scores"))?
                    .filter(|scores| scores.len() == tokens.len())
                    .ok_or_else(|| bad("`tokenizer.ggml.scores` does not fit the tokens".into()))?;
                let prefix = metadata.flag(&key("add_space_prefix"))?.unwrap_or(true);
                sentence_piece_bpe(vocab, tokens, types, scores, prefix).map_err(bad)?
            }
            _ => {
                return Err(bad(format!(
                    "`tokenizer.ggml.model` is {model}, this program reads gpt2 and llama"
                )));
            }
        };

        const UNKNOWN: i32 = 2;
        const CONTROL: i32 = 3;
        const USER_DEFINED: i32 = 4;
        let of_type = |wanted: &[i32]| -> Vec<String> {
            let typed = tokens
                .iter()
                .zip(types)
                .filter(|(_, kind)| wanted.contains(kind));
            typed.map(|(token, _)| token.clone()).collect()
        };
        add_tokens(&mut tokenizer, of_type(&[UNKNOWN, CONTROL]), true);
        add_tokens(&mut tokenizer, of_type(&[USER_DEFINED]), false);

        let id = |name: &str| -> Result<Option<u32>> {
            let name = format!("tokenizer.ggml.{name}_token_id");
            let Some(id) = metadata.unsigned(&name)? else {
                return Ok(None);
            };
            match u32::try_from(id)
                .ok()
                .filter(|id| (*id as usize) < tokens.len())
            {
                Some(id) => Ok(Some(id)),
                None => Err(bad(format!("`{name}` is {id} of {} tokens", tokens.len()))),
            }
        };
        let (bos, eos) = (id("bos")?, id("eos")?);
        let stops = [eos, id("eot")?, id("eom")?]
            .into_iter()
            .flatten()
            .collect();
        let add_bos = metadata.flag(&key("add_bos_token"))?.unwrap_or(add_bos);
        let template = metadata.string("tokenizer.chat_template")?.map(Arc::from);
        Ok(Some(Self::new(
            tokenizer, template, stops, bos, eos, add_bos,
        )))
    }

    /// The tokenizer of a Hugging Face folder: `tokenizer.json`, `tokenizer_config.json`,
    /// `generation_config.json` and `chat_template.jinja`, of which only the first must be there.
    ///
    /// # Errors
    /// [`Error::BadTokenizer`] with what is wrong in which file.
    pub fn from_files(
        tokenizer_json: &[u8],
        tokenizer_config: Option<&[u8]>,
        generation_config: Option<&[u8]>,
        chat_template_jinja: Option<&str>,
    ) -> Result<Self> {
        let mut tokenizer = read_tokenizer_json(tokenizer_json)?;
        // Padding and truncation are for batches; here they would change the prompt.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| bad_json(&error))?;

        let config = read_json("tokenizer_config.json", tokenizer_config)?;
        let generation = read_json("generation_config.json", generation_config)?;
        let special = |field: &str| -> Option<u32> {
            let token = &config[field];
            tokenizer.token_to_id(token.as_str().or_else(|| token["content"].as_str())?)
        };
        let ids = |value: &Value| -> Vec<u32> {
            let one = value
                .as_array()
                .map_or(std::slice::from_ref(value), Vec::as_slice);
            one.iter()
                .filter_map(|id| u32::try_from(id.as_u64()?).ok())
                .collect()
        };
        let stops: BTreeSet<u32> = ids(&generation["eos_token_id"])
            .into_iter()
            .chain(special("eos_token"))
            .collect();
        let eos = special("eos_token").or_else(|| stops.first().copied());
        let bos =
            special("bos_token").or_else(|| ids(&generation["bos_token_id"]).first().copied());
        // Where the config is silent, the tokenizer's own post-processor knows.
        let add_bos = match config["add_bos_token"].as_bool() {
            Some(add_bos) => add_bos,
            None => {
                let empty = tokenizer
                    .encode_fast("", true)
                    .map_err(|error| bad_json(&error))?;
                bos.is_some() && empty.get_ids().first().copied() == bos
            }
        };
        let template = match (chat_template_jinja, &config["chat_template"]) {
            (Some(template), _) => Some(template),
            (None, Value::String(template)) => Some(template.as_str()),
            // Several named templates; `default` is the one for plain chats.
            (None, Value::Array(named)) => named
                .iter()
                .find(|entry| entry["name"] == "default")
                .and_then(|entry| entry["template"].as_str()),
            _ => None,
        };
        let template = template.map(Arc::from);
        Ok(Self::new(tokenizer, template, stops, bos, eos, add_bos))
    }

    fn new(
        tokenizer: Tokenizer,
        template: Option<Arc<str>>,
        mut stops: BTreeSet<u32>,
        bos: Option<u32>,
        eos: Option<u32>,
        add_bos: bool,
    ) -> Self {
        // By name only among the special tokens: "</s>" can be ordinary text elsewhere.
        let special = tokenizer.get_added_tokens_decoder();
        let named = special
            .iter()
            .filter(|(_, token)| token.special && STOP_TOKENS.contains(&token.content.as_str()));
        stops.extend(named.map(|(id, _)| *id));
        let stop_ids = stops.into_iter().collect();
        let add_bos = add_bos && bos.is_some();
        Self {
            tokenizer: Arc::new(tokenizer),
            template,
            stop_ids,
            bos,
            eos,
            add_bos,
        }
    }

    /// Text to token ids. Special tokens that are spelled out in the text are recognised.
    /// `add_special` puts the beginning-of-sequence token first where the model wants one
    /// ([`Self::add_bos`]); leave it off for a rendered chat, which spells it out.
    ///
    /// Characters for which a vocabulary has neither a token nor bytes are left out, as everywhere
    /// else; the byte-level vocabularies of Llama models have all bytes.
    ///
    /// # Errors
    /// [`Error::BadTokenizer`] with the tokenizer's own complaint.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| bad_json(&error))?;
        let bos = self.bos.filter(|_| add_special && self.add_bos);
        Ok(bos
            .into_iter()
            .chain(encoding.get_ids().iter().copied())
            .collect())
    }

    /// Token ids to text; `skip_special` leaves special tokens out. Ids without a token (the
    /// padding rows of some models) give nothing, bytes that are not UTF-8 give U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        decode(&self.tokenizer, ids, skip_special)
    }

    /// Decodes tokens one at a time, as a model makes them.
    #[must_use]
    pub fn detokenizer(&self, skip_special: bool) -> Detokenizer {
        Detokenizer::new(Arc::clone(&self.tokenizer), skip_special)
    }

    /// What a table shows for one token: its text with its leading space, special tokens spelled
    /// out, U+FFFD for a piece of a character; `None` for an id without a token.
    #[must_use]
    pub fn token_text(&self, id: u32) -> Option<String> {
        let token = self.tokenizer.id_to_token(id)?;
        Some(if is_byte_level(&self.tokenizer) {
            self.decode(&[id], false)
        } else {
            token.replace('\u{2581}', " ")
        })
    }

    /// Renders a chat with the model's template, ready for the assistant's answer.
    ///
    /// # Errors
    /// [`Error::NoChatTemplate`], or [`Error::BadChatTemplate`] with the template's own complaint.
    pub fn chat(&self, messages: &[Message]) -> Result<String> {
        let template = self.template.as_deref().ok_or(Error::NoChatTemplate)?;
        let token = |id: Option<u32>| id.and_then(|id| self.tokenizer.id_to_token(id));
        render(template, messages, token(self.bos), token(self.eos)).map_err(|error| {
            Error::BadChatTemplate {
                why: error.to_string(),
            }
        })
    }

    /// Whether there is a chat template.
    #[must_use]
    pub fn has_chat_template(&self) -> bool {
        self.template.is_some()
    }

    /// Ids that end an answer, ascending.
    #[must_use]
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// Whether [`Self::encode`] puts the beginning-of-sequence token first.
    #[must_use]
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// The beginning-of-sequence token.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Number of tokens; a model may have more rows than this, never fewer.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }
}
