//! Text to token ids and back: the tokenizer, the chat template, and decoding as tokens arrive,
//! up to a stop text.
//!
//! A model's tokenizer comes from its GGUF metadata ([`Text::from_gguf`]) or from the files of a
//! Hugging Face folder ([`Text::from_files`]).

mod detokenizer;
mod json_model;
mod model;
mod pieces;
mod speech;
mod template;
mod tokenizer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use tokenizers::Model as _;

use crate::error::{Error, Result};
use crate::weights::gguf::Metadata;
pub use detokenizer::Detokenizer;
use detokenizer::{decode, is_byte_level};
use model::Tokenizer;
pub use speech::Speech;
pub use template::{Message, TemplateFacts, TemplateVariable, VariableKind, Variables};
use template::{facts, render};
use tokenizer::{add_tokens, bad_json, byte_level_bpe, read_folder, read_json, sentence_piece_bpe};

/// A model's tokenizer, chat template and special ids. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Text {
    tokenizer: Arc<Tokenizer>,
    template: Option<Arc<str>>,
    stop_ids: Vec<u32>,
    bos: Option<u32>,
    around: Around,
    /// Special tokens by the names that chat templates know, such as `bos_token`.
    named: Arc<BTreeMap<String, String>>,
}

/// The tokens added around a text that is to be continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    /// Those of the post-processor of `tokenizer.json`.
    PostProcessor,
    /// Those that llama.cpp adds.
    Tokens { bos: Option<u32>, eos: Option<u32> },
}

/// Tokens that end an answer, besides the file's `eos`.
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
        let (mut tokenizer, add_bos) = match model {
            "gpt2" => {
                let merges = metadata.strings(&key("merges"))?.unwrap_or_default();
                let pre = metadata.string(&key("pre"))?.unwrap_or("default");
                byte_level_bpe(tokens, merges, pre).map_err(bad)?
            }
            "llama" => {
                let scores = metadata
                    .floats(&key("scores"))?
                    .filter(|scores| scores.len() == tokens.len())
                    .ok_or_else(|| bad("`tokenizer.ggml.scores` does not fit the tokens".into()))?;
                let prefix = metadata.flag(&key("add_space_prefix"))?.unwrap_or(true);
                sentence_piece_bpe(tokens, types, scores, prefix).map_err(bad)?
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
        let of_type = |wanted: &'static [i32]| {
            let typed = (0..).zip(types);
            typed.filter(move |(_, kind)| wanted.contains(kind))
        };
        let special = of_type(&[UNKNOWN, CONTROL]).map(|(id, _)| (id, true));
        let plain = of_type(&[USER_DEFINED]).map(|(id, _)| (id, false));
        let text = |(id, special)| Some((tokenizer.id_to_token(id)?, special));
        let added: Vec<(String, bool)> = special.chain(plain).filter_map(text).collect();
        add_tokens(&mut tokenizer, added.into_iter());

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
        // llama.cpp's ids where a SentencePiece file has none.
        let usual = |id: u32| (model == "llama" && (id as usize) < tokens.len()).then_some(id);
        let (bos, eos) = (id("bos")?.or(usual(1)), id("eos")?.or(usual(2)));
        let stops = [eos, id("eot")?, id("eom")?]
            .into_iter()
            .flatten()
            .collect();
        let add_bos = metadata.flag(&key("add_bos_token"))?.unwrap_or(add_bos);
        let add_eos = metadata.flag(&key("add_eos_token"))?.unwrap_or(false);
        let around = Around::Tokens {
            bos: bos.filter(|_| add_bos),
            eos: eos.filter(|_| add_eos),
        };
        let named = [("bos_token", bos), ("eos_token", eos)]
            .into_iter()
            .filter_map(|(name, id)| Some((name.to_owned(), tokenizer.id_to_token(id?)?)));
        let named = named.collect();
        let template = metadata.string("tokenizer.chat_template")?.map(Arc::from);
        Ok(Some(Self::new(
            tokenizer, template, stops, bos, around, named,
        )))
    }

    /// The files of a Hugging Face folder that [`Self::from_files`] reads, of which only the first
    /// must be there.
    pub const FILES: [&str; 7] = [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "generation_config.json",
        "config.json",
        "chat_template.jinja",
    ];

    /// The tokenizer of a Hugging Face folder, from its [`Self::FILES`] by name; `None` without
    /// `tokenizer.json`. As in transformers 5:
    ///
    /// * tokens that stand only in `tokenizer_config.json` (`added_tokens_decoder` and special
    ///   tokens by name), `special_tokens_map.json` or `added_tokens.json` are added;
    /// * an answer ends at `eos_token` and at the `eos_token_id` of `generation_config.json`, or
    ///   where that has none, of `config.json`;
    /// * only the post-processor of `tokenizer.json` decides what is put around a text:
    ///   `add_bos_token` in `tokenizer_config.json` changes nothing.
    ///
    /// # Errors
    /// [`Error::BadTokenizer`] with what is wrong in which file.
    pub fn from_files(files: &BTreeMap<&str, Vec<u8>>) -> Result<Option<Self>> {
        let Some(tokenizer_json) = files.get("tokenizer.json") else {
            return Ok(None);
        };
        let (tokenizer, named) = read_folder(tokenizer_json, files)?;
        let [tokenizer_config, generation, config] = [
            read_json("tokenizer_config.json", files)?,
            read_json("generation_config.json", files)?,
            read_json("config.json", files)?,
        ];
        let ids = |value: &Value| -> Vec<u32> {
            let one = value
                .as_array()
                .map_or(std::slice::from_ref(value), Vec::as_slice);
            one.iter()
                .filter_map(|id| u32::try_from(id.as_u64()?).ok())
                .collect()
        };
        let id = |name: &str| tokenizer.token_to_id(named.get(name)?);
        let eos_ids = [
            &generation["eos_token_id"],
            &config["eos_token_id"],
            &config["text_config"]["eos_token_id"],
        ];
        let eos_ids = eos_ids.into_iter().find(|value| !value.is_null());
        let stops = eos_ids.map(ids).unwrap_or_default();
        let stops = stops.into_iter().chain(id("eos_token")).collect();
        let bos = id("bos_token").or_else(|| ids(&generation["bos_token_id"]).first().copied());
        let file = files.get("chat_template.jinja");
        let template = match (file, &tokenizer_config["chat_template"]) {
            (Some(template), _) => Some(String::from_utf8_lossy(template).into()),
            (None, Value::String(template)) => Some(Arc::from(template.as_str())),
            // Several named templates; `default` is the one for plain chats.
            (None, Value::Array(named)) => named
                .iter()
                .find(|entry| entry["name"] == "default")
                .and_then(|entry| entry["template"].as_str())
                .map(Arc::from),
            _ => None,
        };
        Ok(Some(Self::new(
            tokenizer,
            template,
            stops,
            bos,
            Around::PostProcessor,
            named,
        )))
    }

    fn new(
        tokenizer: Tokenizer,
        template: Option<Arc<str>>,
        mut stops: BTreeSet<u32>,
        bos: Option<u32>,
        around: Around,
        named: BTreeMap<String, String>,
    ) -> Self {
        // By name only among the special tokens: "</s>" can be ordinary text elsewhere.
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        let ends = added
            .iter()
            .filter(|(_, token)| token.special && STOP_TOKENS.contains(&token.content.as_str()));
        stops.extend(ends.map(|(id, _)| *id));
        Self {
            tokenizer: Arc::new(tokenizer),
            template,
            stop_ids: stops.into_iter().collect(),
            bos,
            around,
            named: Arc::new(named),
        }
    }

    /// Text to token ids. Special tokens that are spelled out in the text are recognised.
    /// `add_special` adds the tokens that the model expects around a text that is to be continued,
    /// mostly the beginning-of-sequence token: in a folder those of the post-processor of
    /// `tokenizer.json`, in a GGUF file `tokenizer.ggml.add_bos_token` and `add_eos_token`,
    /// or without them those that llama.cpp adds for that kind of tokenizer. For a chat there is
    /// [`Self::encode_chat`].
    ///
    /// Characters for which a vocabulary has neither a token nor bytes are left out, as everywhere
    /// else; the byte-level vocabularies of Llama models have all bytes.
    ///
    /// # Errors
    /// [`Error::BadTokenizer`] with the tokenizer's own complaint.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let post_process = add_special && self.around == Around::PostProcessor;
        let encoding = self
            .tokenizer
            .encode_fast(text, post_process)
            .map_err(|error| bad_json(&error))?;
        let mut ids = encoding.get_ids().to_vec();
        if add_special && let Around::Tokens { bos, eos } = self.around {
            ids.splice(0..0, bos);
            ids.extend(eos);
        }
        Ok(ids)
    }

    /// A chat to token ids, through [`Self::chat_with`]. In a folder that is all: transformers leaves
    /// it to the template to spell out the beginning-of-sequence token. In a GGUF file, as in
    /// llama.cpp, [`Self::encode`] puts it there; where the template spells it out, there is
    /// still only one.
    ///
    /// # Errors
    /// As [`Self::chat_with`] and [`Self::encode`].
    pub fn encode_chat(&self, messages: &[Message], variables: &Variables) -> Result<Vec<u32>> {
        let rendered = self.chat_with(messages, variables)?;
        let Around::Tokens { bos, eos } = self.around else {
            return self.encode(&rendered, false);
        };
        let token = |id: Option<u32>| self.tokenizer.id_to_token(id?);
        let mut text = rendered.as_str();
        if let Some(bos) = token(bos) {
            text = text.strip_prefix(&bos).unwrap_or(text);
        }
        if let Some(eos) = token(eos) {
            text = text.strip_suffix(&eos).unwrap_or(text);
        }
        self.encode(text, true)
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

    /// One token as a table shows it: its text with its leading space, special tokens spelled
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
        self.chat_with(messages, &Variables::new())
    }

    /// As [`Self::chat`], with variables that the template reads, such as `enable_thinking`. One that
    /// it does not read changes nothing.
    ///
    /// # Errors
    /// As [`Self::chat`]; also for a variable that is called `messages`.
    pub fn chat_with(&self, messages: &[Message], variables: &Variables) -> Result<String> {
        let template = self.template.as_deref().ok_or(Error::NoChatTemplate)?;
        let rendered = render(template, messages, &self.named, variables);
        rendered.map_err(|error| Error::BadChatTemplate {
            why: error.to_string(),
        })
    }

    /// What the chat template reads besides a chat's turns; nothing where there is none, or where it
    /// cannot be read: then [`Self::chat`] says why.
    #[must_use]
    pub fn template_facts(&self) -> TemplateFacts {
        let template = self.template.as_deref();
        let found = template.and_then(|template| facts(template, &self.named).ok());
        found.unwrap_or_default()
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
        let empty = self.encode("", true).unwrap_or_default();
        self.bos.is_some() && empty.first().copied() == self.bos
    }

    /// The beginning-of-sequence token.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Number of tokens; a model may have more rows than this, never fewer.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        let model = self.tokenizer.get_model();
        let added = self.tokenizer.get_added_vocabulary().get_vocab().keys();
        let new = added.filter(|token| model.token_to_id(token).is_none());
        model.get_vocab_size() + new.count()
    }
}
