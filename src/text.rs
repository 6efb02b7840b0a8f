//! Text to token ids and back: the tokenizer, the chat template, and decoding as tokens arrive.
//!
//! A model's tokenizer comes from its GGUF metadata ([`Text::from_gguf`]) or from Hugging Face's
//! `tokenizer.json` ([`Text::from_files`]). Chat templates are Jinja; they are data from a
//! stranger, so they run with a bounded amount of work.

use crate::error::{Error, Result};
use crate::weights::gguf::Metadata;
use minijinja::Value as JinjaValue;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::{Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
    Tokenizer,
};

/// Work that a chat template may do; ordinary ones need a few thousand. Strings count too (one
/// unit for 64 bytes), so this also bounds memory.
const TEMPLATE_FUEL: u64 = 1_000_000;

/// One turn of a chat.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

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

/// Decodes a growing list of tokens. The pieces, put together, are what [`Text::decode`] gives for
/// the whole list; a character is held back until all its bytes are there.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    skip_special: bool,
    ids: Vec<u32>,
    /// Bytes of the decoded `ids` that were given out.
    given: usize,
    /// Whether the last token that can be seen is a [byte token](is_byte_token).
    in_bytes: bool,
}

impl Detokenizer {
    fn new(tokenizer: Arc<Tokenizer>, skip_special: bool) -> Self {
        Self {
            tokenizer,
            skip_special,
            ids: Vec::new(),
            given: 0,
            in_bytes: false,
        }
    }

    /// Takes the next token; gives the text that is certain now, often one word, sometimes none.
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
        let new = certain.get(self.given..).unwrap_or_default().to_owned();
        self.given += new.len();
        // Between whole characters byte-level decoding starts anew: drop what is done, so that a
        // long answer costs no more per token than a short one.
        if certain.len() == text.len() && is_byte_level(&self.tokenizer) {
            self.ids.clear();
            self.given = 0;
        }
        new
    }

    /// The rest: U+FFFD for what was held back and never became a character.
    pub fn finish(self) -> String {
        let text = decode(&self.tokenizer, &self.ids, self.skip_special);
        text.get(self.given..).unwrap_or_default().to_owned()
    }
}

fn decode(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> String {
    // Of the decoders there are, none that a causal model uses can fail.
    tokenizer.decode(ids, skip_special).unwrap_or_default()
}

fn is_byte_level(tokenizer: &Tokenizer) -> bool {
    matches!(tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_)))
}

/// `<0x00>` to `<0xFF>`, which stand for single bytes in SentencePiece vocabularies.
fn is_byte_token(token: &str) -> bool {
    token.len() == 6 && token.starts_with("<0x") && token.ends_with('>')
}

fn bad_json(why: &impl ToString) -> Error {
    Error::BadTokenizer {
        file: "tokenizer.json".into(),
        why: why.to_string(),
    }
}

/// Reads `tokenizer.json`, after a look at the parts on which the library panics when they are
/// not well-formed.
fn read_tokenizer_json(json: &[u8]) -> Result<Tokenizer> {
    #[derive(serde::Deserialize)]
    #[allow(dead_code, reason = "`decoder` is read to see that it can be")]
    struct Probe {
        normalizer: Option<Value>,
        decoder: Option<Value>,
    }
    let probe: Probe = serde_json::from_slice(json).map_err(|error| bad_json(&error))?;
    if probe
        .normalizer
        .is_some_and(|part| part.to_string().contains("\"Precompiled\""))
    {
        return Err(bad_json(&"its normalizer `Precompiled` is not supported"));
    }
    Tokenizer::from_bytes(json).map_err(|error| bad_json(&error))
}

/// A JSON file that need not be there; absent is `null`.
fn read_json(file: &str, json: Option<&[u8]>) -> Result<Value> {
    json.map_or(Ok(Value::Null), |json| {
        serde_json::from_slice(json).map_err(|error| Error::BadTokenizer {
            file: file.into(),
            why: error.to_string(),
        })
    })
}

/// Token to id. Two ids for one token would make decoding and encoding disagree.
fn vocab(tokens: &[String]) -> Result<Vocab, String> {
    let mut vocab = Vocab::default();
    for (id, token) in (0..).zip(tokens) {
        if let Some(first) = vocab.insert(token.clone(), id) {
            return Err(format!("token {token:?} occurs twice, as {first} and {id}"));
        }
    }
    Ok(vocab)
}

fn add_tokens(tokenizer: &mut Tokenizer, tokens: Vec<String>, special: bool) {
    let added: Vec<AddedToken> = tokens
        .into_iter()
        .map(|token| AddedToken::from(token, special).normalized(false))
        .collect();
    tokenizer.add_tokens(&added);
}

/// The splitting before the merges, by llama.cpp's name for it: regular expressions that are
/// applied one after the other, whether whole words skip the merges, and whether prompts begin
/// with the bos token unless the file says otherwise.
fn splitting(pre: &str) -> Option<(&'static [&'static str], bool, bool)> {
    const GPT2: &str =
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    Some(match pre {
        "gpt-2" | "olmo" | "mpt" => (&[GPT2], false, false),
        // Every digit is a token of its own.
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => {
            (&[r"\p{N}", GPT2], false, false)
        }
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" => (&[LLAMA3], true, true),
        "qwen2" | "deepseek-r1-qwen" | "stablelm2" => (&[QWEN2], false, false),
        // What llama.cpp does with files from before the field existed.
        "default" => (
            &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
            false,
            false,
        ),
        _ => return None,
    })
}

/// GPT-2's byte-level BPE (`tokenizer.ggml.model` = gpt2).
fn byte_level_bpe(vocab: Vocab, merges: &[String], pre: &str) -> Result<(Tokenizer, bool), String> {
    let Some((patterns, ignore_merges, add_bos)) = splitting(pre) else {
        return Err(format!(
            "`tokenizer.ggml.pre` is {pre}, a splitting that is not known here"
        ));
    };
    let merges: Option<Merges> = merges
        .iter()
        .map(|merge| {
            merge
                .split_once(' ')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
        })
        .collect();
    let merges = merges.ok_or("a merge is not two tokens with a space between them")?;
    let model = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .ignore_merges(ignore_merges)
        .build()
        .map_err(|error| error.to_string())?;

    let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
    for pattern in patterns {
        let pattern = SplitPattern::Regex((*pattern).into());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
        steps.push(split.map_err(|error| error.to_string())?.into());
    }
    steps.push(ByteLevel::new(false, false, false).into());
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(steps)));
    tokenizer.with_decoder(Some(ByteLevel::new(false, false, false)));
    Ok((tokenizer, add_bos))
}

/// SentencePiece's BPE (`tokenizer.ggml.model` = llama): a piece's score says how early it is
/// merged, whichever two pieces make it. Spaces are written as U+2581, one is put in front of the
/// text, and what has no piece is spelled in bytes.
fn sentence_piece_bpe(
    vocab: Vocab,
    tokens: &[String],
    types: &[i32],
    scores: &[f32],
    prefix: bool,
) -> Result<(Tokenizer, bool), String> {
    const SPACE: &str = "\u{2581}";
    const NORMAL: i32 = 1;
    const MAX_PIECE_BYTES: usize = 1024;
    let mut ranked = Vec::new();
    for (index, (token, score)) in tokens.iter().zip(scores).enumerate() {
        if types.get(index).is_some_and(|kind| *kind != NORMAL) {
            continue;
        }
        if token.len() > MAX_PIECE_BYTES {
            return Err(format!("token {index} is {} bytes long", token.len()));
        }
        for (cut, _) in token.char_indices().skip(1) {
            let (a, b) = token.split_at(cut);
            if let (Some(a), Some(b)) = (vocab.get(a), vocab.get(b)) {
                ranked.push((*score, *a, *b));
            }
        }
    }
    if ranked.len() > 1
        && ranked
            .iter()
            .all(|(score, ..)| Some(score) == scores.last())
    {
        return Err("its scores are all equal and give no order of merging".into());
    }
    // Highest score first; of the ways to make one piece, the earlier pieces first.
    ranked.sort_by(|(x, a, b), (y, c, d)| y.total_cmp(x).then((a, b).cmp(&(c, d))));
    let piece = |id: u32| tokens.get(id as usize).cloned().unwrap_or_default();
    let merges: Merges = ranked
        .into_iter()
        .map(|(_, a, b)| (piece(a), piece(b)))
        .collect();

    let mut model = BPE::builder().byte_fallback(true).fuse_unk(true);
    if let Some(unknown) = types.iter().position(|kind| *kind == 2) {
        model = model.unk_token(piece(unknown as u32));
    }
    let model = model
        .vocab_and_merges(vocab, merges)
        .build()
        .map_err(|error| error.to_string())?;

    let replace = |from: &str, to: &str| Replace::new(from, to).map_err(|error| error.to_string());
    let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
    let mut decoders: Vec<DecoderWrapper> = vec![
        replace(SPACE, " ")?.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ];
    if prefix {
        normalizers.push(Prepend::new(SPACE.into()).into());
        decoders.push(Strip::new(' ', 1, 0).into());
    }
    normalizers.push(replace(" ", SPACE)?.into());
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(Normalizers::new(normalizers)));
    tokenizer.with_decoder(Some(Decoders::new(decoders)));
    Ok((tokenizer, true))
}

/// Renders a chat template as transformers does: its whitespace rules, its variables, Python's
/// string and dict methods.
fn render(
    template: &str,
    messages: &[Message],
    bos_token: Option<String>,
    eos_token: Option<String>,
) -> Result<String, minijinja::Error> {
    let syntax = minijinja::syntax::SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    let mut environment = minijinja::Environment::new();
    environment.set_syntax(syntax);
    environment.set_fuel(Some(TEMPLATE_FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |why: String| -> Result<JinjaValue, _> {
        Err(minijinja::Error::new(
            minijinja::ErrorKind::InvalidOperation,
            why,
        ))
    });
    environment.add_function("strftime_now", |format: &str| strftime(format));
    let turns: JinjaValue = messages
        .iter()
        .map(|Message { role, content }| {
            JinjaValue::from_pairs([("role", role.as_str()), ("content", content.as_str())])
        })
        .collect();
    // Templates ask whether `tools` is none; transformers always passes it.
    let mut context = vec![
        ("messages", turns),
        ("add_generation_prompt", true.into()),
        ("tools", ().into()),
        ("documents", ().into()),
    ];
    context.extend(bos_token.map(|token| ("bos_token", token.into())));
    context.extend(eos_token.map(|token| ("eos_token", token.into())));
    environment
        .template_from_str(template)?
        .render(JinjaValue::from_pairs(context))
}

/// "Today" for templates that print it: always 26 July 2024, the day that Llama 3.2's template
/// falls back to. A playground gives the same answer tomorrow, and its core has no clock.
fn strftime(format: &str) -> String {
    const PARTS: [(&str, &str); 10] = [
        ("%d", "26"),
        ("%m", "07"),
        ("%y", "24"),
        ("%Y", "2024"),
        ("%b", "Jul"),
        ("%B", "July"),
        ("%H", "12"),
        ("%M", "00"),
        ("%S", "00"),
        ("%A", "Friday"),
    ];
    PARTS.iter().fold(format.to_owned(), |text, (part, value)| {
        text.replace(part, value)
    })
}
