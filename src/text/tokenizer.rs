//! Builds the tokenizer: from Hugging Face's `tokenizer.json`, or from a GGUF file's metadata.

use std::collections::BTreeMap;

use serde_json::Value;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::normalizers::{Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
};

use super::model::{Tokenizer, Vocabulary};
use super::pieces::{Pieces, Spelling, Texts};
use crate::error::{Error, Result};
use crate::weights::not_weights;

/// The error for `tokenizer.json`.
pub(super) fn bad_json(why: &impl ToString) -> Error {
    Error::BadTokenizer {
        file: "tokenizer.json".into(),
        why: why.to_string(),
    }
}

/// The tokenizer of a folder with all tokens that its files add to it, and the special tokens by
/// name (`bos_token` and the like), as transformers' `TokenizersBackend` reads them.
pub(super) fn read_folder(
    tokenizer_json: &[u8],
    files: &BTreeMap<&str, Vec<u8>>,
) -> Result<(Tokenizer, BTreeMap<String, String>)> {
    let mut tokenizer = read_tokenizer_json(tokenizer_json)?;
    // Padding and truncation are for batches; here they would change the prompt.
    tokenizer.with_padding(None);
    tokenizer
        .with_truncation(None)
        .map_err(|error| bad_json(&error))?;

    const CONFIG: &str = "tokenizer_config.json";
    const ADDITIONAL: &str = "additional_special_tokens";
    let mut config = read_json(CONFIG, files)?;
    let listed = config["added_tokens_decoder"].as_object().cloned();
    let mut tokens: BTreeMap<u64, AddedToken> = BTreeMap::new();
    if let Some(listed) = listed {
        for (id, token) in &listed {
            let bad = || Error::BadTokenizer {
                file: CONFIG.into(),
                why: format!("`added_tokens_decoder` has {token} at `{id}`, which is no token"),
            };
            let id = id.parse().map_err(|_| bad())?;
            tokens.insert(id, added_token(token).ok_or_else(bad)?);
        }
    } else {
        // Before transformers 4.34 they were in two more files.
        let map = read_json("special_tokens_map.json", files)?;
        let mut additional = None;
        if let (Some(config), Value::Object(mut map)) = (object(&mut config), map) {
            additional = map.remove(ADDITIONAL);
            config.extend(map);
        }
        let special = special_tokens(&config);
        if let Some(additional) = additional {
            config[ADDITIONAL] = additional;
        }
        let added = read_json("added_tokens.json", files)?;
        for (content, id) in added.as_object().into_iter().flatten() {
            let is_special = special.iter().any(|(_, token)| token.content == *content);
            let token = AddedToken::from(content.clone(), is_special).normalized(!is_special);
            tokens.extend(id.as_u64().map(|id| (id, token)));
        }
    }

    let special = special_tokens(&config);
    let mut added: Vec<AddedToken> = tokens.into_values().collect();
    for token in &mut added {
        let named = |(name, special): &(Option<String>, AddedToken)| {
            name.is_some() && special.content == token.content
        };
        token.special |= special.iter().any(named);
    }
    let known = tokenizer.get_added_tokens_decoder();
    let is_known = |token: &AddedToken| {
        let same = |other: &AddedToken| other.content == token.content;
        known.values().any(same) || added.iter().any(same)
    };
    let unknown = special.iter().map(|(_, token)| token.clone());
    let unknown: Vec<AddedToken> = unknown.filter(|token| !is_known(token)).collect();
    tokenizer.add_tokens(&added);
    tokenizer.add_tokens(&unknown);
    let named = special
        .into_iter()
        .filter_map(|(name, token)| Some((name?, token.content)));
    Ok((tokenizer, named.collect()))
}

/// The object in `value`, which becomes an empty one if it was null.
fn object(value: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    if value.is_null() {
        *value = Value::Object(serde_json::Map::new());
    }
    value.as_object_mut()
}

/// The special tokens of `tokenizer_config.json`, first those with a name, then the others.
fn special_tokens(config: &Value) -> Vec<(Option<String>, AddedToken)> {
    const NAMES: [&str; 7] = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"];
    let extra = &config["extra_special_tokens"];
    let special = |token: &Value| {
        let token = match token.as_str() {
            Some(content) => AddedToken::from(content, true),
            None => added_token(token)?,
        };
        Some(AddedToken {
            special: true,
            ..token
        })
    };
    let usual = NAMES.iter().map(|name| format!("{name}_token"));
    let of_model = config.as_object().into_iter().flatten();
    let of_model = of_model.map(|(key, _)| key.clone());
    let of_model = of_model.filter(|key| key.ends_with("_token"));
    let names: Vec<String> = usual.clone().chain(of_model).collect();
    let mut found: Vec<(Option<String>, AddedToken)> = Vec::new();
    for name in names {
        if found.iter().any(|(other, _)| other.as_ref() == Some(&name)) {
            continue;
        }
        found.extend(special(&config[&name]).map(|token| (Some(name), token)));
    }
    if let Some(extra) = extra.as_object() {
        let named = extra.iter();
        found.extend(named.filter_map(|(name, token)| Some((Some(name.clone()), special(token)?))));
    }
    let additional = &config["additional_special_tokens"];
    let lists = [extra, additional].into_iter().filter_map(Value::as_array);
    let list = lists.flatten();
    found.extend(list.filter_map(|token| Some((None, special(token)?))));
    found
}

/// A token with its flags, as the JSON files write one.
fn added_token(token: &Value) -> Option<AddedToken> {
    let flag = |name: &str| token[name].as_bool();
    let special = flag("special").unwrap_or(false);
    Some(
        AddedToken::from(token["content"].as_str()?, special)
            .single_word(flag("single_word").unwrap_or(false))
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .normalized(flag("normalized").unwrap_or(!special)),
    )
}

/// Reads `tokenizer.json`, after a look at the parts on which the library panics when they are
/// not well-formed.
pub(super) fn read_tokenizer_json(json: &[u8]) -> Result<Tokenizer> {
    #[derive(serde::Deserialize)]
    struct Probe {
        normalizer: Option<Value>,
        pre_tokenizer: Option<Value>,
        decoder: Option<Value>,
    }
    let probe: Probe = parse("tokenizer.json", json)?;
    let parts = [&probe.normalizer, &probe.pre_tokenizer, &probe.decoder];
    let letters: usize = parts.into_iter().flatten().map(pattern_letters).sum();
    if letters > PATTERN_LETTERS {
        return Err(bad_json(&format!(
            "its patterns have {letters} letters together, at most {PATTERN_LETTERS} are read"
        )));
    }
    if probe
        .normalizer
        .is_some_and(|part| part.to_string().contains("\"Precompiled\""))
    {
        return Err(bad_json(&"its normalizer `Precompiled` is not supported"));
    }
    Tokenizer::from_bytes(json).map_err(|error| bad_json(&error))
}

/// Letters of all patterns of a tokenizer; those of models have a few hundred. Two letters such as `\w` take
/// kilobytes once they are read, and the library has no bound for them.
const PATTERN_LETTERS: usize = 16_384;

/// Letters of all patterns in a part of `tokenizer.json`.
fn pattern_letters(part: &Value) -> usize {
    match part {
        Value::Array(items) => items.iter().map(pattern_letters).sum(),
        Value::Object(fields) => {
            let own = fields.get("Regex").and_then(Value::as_str);
            own.map_or(0, str::len) + fields.values().map(pattern_letters).sum::<usize>()
        }
        _ => 0,
    }
}

/// A JSON file that need not be there; absent is `null`.
pub(super) fn read_json(file: &str, files: &BTreeMap<&str, Vec<u8>>) -> Result<Value> {
    files
        .get(file)
        .map_or(Ok(Value::Null), |json| parse(file, json))
}

fn parse<T: serde::de::DeserializeOwned>(file: &str, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| Error::BadTokenizer {
        file: file.into(),
        why: match not_weights(json) {
            Some(what) => format!("this is {what}"),
            None => error.to_string(),
        },
    })
}

/// Adds tokens that are found in a text before it is normalised, each with whether it is special.
pub(super) fn add_tokens(tokenizer: &mut Tokenizer, tokens: impl Iterator<Item = (String, bool)>) {
    let added: Vec<AddedToken> = tokens
        .map(|(token, special)| AddedToken::from(token, special).normalized(false))
        .collect();
    tokenizer.add_tokens(&added);
}

/// What a GGUF file's name for a splitting (`tokenizer.ggml.pre`) means.
struct Splitting {
    /// Regular expressions that are applied one after the other, before the merges.
    patterns: &'static [&'static str],
    /// Whether a word that is a token skips the merges.
    whole_words: bool,
    /// Whether prompts begin with the bos token unless the file says otherwise.
    bos: bool,
}

impl Splitting {
    fn steps(&self) -> Result<Vec<PreTokenizerWrapper>, String> {
        let patterns = self.patterns.iter().map(|pattern| {
            let pattern = SplitPattern::Regex((*pattern).into());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
            Ok(split.map_err(|error| error.to_string())?.into())
        });
        patterns.collect()
    }
}

/// The splitting of a name, as llama.cpp knows it. The expressions are those of the models'
/// `tokenizer.json`, which llama.cpp in part simplifies.
fn splitting(pre: &str) -> Option<Splitting> {
    const GPT2: &str =
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    // Every digit is a token of its own.
    const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    // Marks belong to the letters before them.
    const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    // A word ends where a capital follows a small letter.
    const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const THREE_DIGITS: &str = r"\p{N}{1,3}";
    // Of digits, only three at most are left.
    const MINICPM5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const HAN_AND_KANA: &str = r"[一-龥぀-ゟ゠-ヿ]+";
    const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
    let (patterns, whole_words, bos): (&'static [&'static str], bool, bool) = match pre {
        "gpt-2" | "phi-2" | "olmo" | "mpt" | "exaone4" | "jais" | "trillion" | "gigachat"
        | "mellum" | "a.x-4.0" | "granite-docling" => (&[GPT2], false, false),
        // Every digit is a token of its own.
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b"
        | "mellum2" => (&[r"\p{N}", GPT2], false, false),
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0"
        | "lfm2" => (&[LLAMA3], true, true),
        // Granite 4, OLMo 2, Phi 4; SmolLM 3; GLM 4.
        "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe" => (&[LLAMA3], false, false),
        "qwen2" | "deepseek-r1-qwen" | "stablelm2" | "hunyuan" | "megrez" | "kormo"
        | "solar-open" | "grok-2" => (&[QWEN2], false, false),
        "qwen35" => (&[QWEN35], false, false),
        "tekken" => (&[TEKKEN], true, true),
        "gpt-4o" | "llama4" | "kanana2" => (&[GPT4O], false, false),
        "minicpm5" => (&[THREE_DIGITS, MINICPM5], true, false),
        "hunyuan-dense" | "deepseek-v3" | "joyai-llm" => {
            (&[THREE_DIGITS, HAN_AND_KANA, DEEPSEEK3], false, false)
        }
        // What llama.cpp does with files from before the field existed.
        "default" => (
            &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
            false,
            false,
        ),
        _ => return None,
    };
    Some(Splitting {
        patterns,
        whole_words,
        bos,
    })
}

/// The tokens of a GGUF file; empty ones get a name, as in llama.cpp.
fn texts(tokens: &[String]) -> Result<Texts, String> {
    let bytes = tokens.iter().map(String::len).sum();
    let mut texts = Texts::with_capacity(bytes, tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "" => texts.push(&format!("[EMPTY_{id}]"))?,
            token => texts.push(token)?,
        }
    }
    Ok(texts)
}

/// GPT-2's byte-level BPE (`tokenizer.ggml.model` = gpt2), and whether prompts begin with bos.
pub(super) fn byte_level_bpe(
    tokens: &[String],
    merges: &[String],
    pre: &str,
) -> Result<(Tokenizer, bool), String> {
    let Some(splitting) = splitting(pre) else {
        return Err(format!(
            "`tokenizer.ggml.pre` is {pre}, a splitting that is not known here"
        ));
    };
    let spelling = Spelling {
        whole_words: splitting.whole_words,
        ..Spelling::default()
    };
    let pairs = merges.iter().map(|merge| merge.split_once(' '));
    let pieces = Pieces::with_merges(texts(tokens)?, pairs, spelling)?;
    let mut steps = splitting.steps()?;
    steps.push(ByteLevel::new(false, false, false).into());
    let mut tokenizer = Tokenizer::new(Vocabulary::Pieces(pieces));
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(steps)));
    tokenizer.with_decoder(Some(ByteLevel::new(false, false, false)));
    Ok((tokenizer, splitting.bos))
}

/// SentencePiece's BPE (`tokenizer.ggml.model` = llama): a piece's score says how early it is
/// merged, whichever two pieces make it. Spaces are written as U+2581, one is put in front of the
/// text (`prefix`; Gemma's files say no), and what has no piece is spelled in bytes.
pub(super) fn sentence_piece_bpe(
    tokens: &[String],
    types: &[i32],
    scores: &[f32],
    prefix: bool,
) -> Result<(Tokenizer, bool), String> {
    const SPACE: &str = "\u{2581}";
    const NORMAL: i32 = 1;
    const UNKNOWN: i32 = 2;
    let is_normal = |id: usize| types.get(id).is_none_or(|kind| *kind == NORMAL);
    let scores: Vec<f32> = (0..)
        .zip(scores)
        .map(|(id, score)| if is_normal(id) { *score } else { f32::NAN })
        .collect();
    let made = tokens.iter().zip(&scores);
    let mut made = made.filter(|(token, score)| token.chars().nth(1).is_some() && !score.is_nan());
    if let Some((_, first)) = made.next()
        && let mut others = made.peekable()
        && others.peek().is_some()
        && others.all(|(_, score)| score == first)
    {
        return Err("its scores are all equal and give no order of merging".into());
    }
    let unknown = (0..).zip(types).find(|(_, kind)| **kind == UNKNOWN);
    let spelling = Spelling {
        bytes: true,
        unknown: unknown
            .map(|(id, _)| id)
            .filter(|id| (*id as usize) < tokens.len()),
        fuse_unknown: true,
        ..Spelling::default()
    };
    let pieces = Pieces::with_scores(texts(tokens)?, scores, spelling)?;

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
    let mut tokenizer = Tokenizer::new(Vocabulary::Pieces(pieces));
    tokenizer.with_normalizer(Some(Normalizers::new(normalizers)));
    tokenizer.with_decoder(Some(Decoders::new(decoders)));
    Ok((tokenizer, true))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use tokenizers::pre_tokenizers::sequence::Sequence;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::splitting;

    #[derive(Deserialize)]
    struct Fixture {
        texts: Vec<String>,
        /// The texts with a `¦` between two parts, for each name.
        ways: BTreeMap<String, Vec<String>>,
    }

    fn parts(pre: &str, text: &str) -> String {
        let splitting = splitting(pre).expect("a known name");
        let mut parts = PreTokenizedString::from(text);
        let steps = Sequence::new(splitting.steps().expect("the expressions are right"));
        steps.pre_tokenize(&mut parts).expect("splits");
        let parts = parts.get_splits(OffsetReferential::Original, OffsetType::Byte);
        let parts: Vec<&str> = parts.into_iter().map(|(part, ..)| part).collect();
        parts.join("¦")
    }

    /// `tests/fixtures/make_splittings.py`
    #[test]
    fn every_name_splits_as_hugging_face_s_tokenizers_split() {
        let fixture = include_str!("../../tests/fixtures/splittings.json");
        let fixture: Fixture = serde_json::from_str(fixture).expect("the fixture reads");
        assert_eq!(fixture.ways.len(), 9);
        let mut wrong = Vec::new();
        for (pre, expected) in &fixture.ways {
            for (text, expected) in fixture.texts.iter().zip(expected) {
                let found = parts(pre, text);
                if found != *expected {
                    wrong.push(format!("{pre}: {found:?}, expected {expected:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn names_of_one_splitting_differ_in_bos_and_whole_words() {
        for (name, like, whole_words, bos) in [
            ("exaone4", "gpt-2", false, false),
            ("refact", "smollm", false, false),
            ("falcon-h1", "llama-bpe", true, true),
            ("lfm2", "llama-bpe", true, true),
            ("dbrx", "llama-bpe", false, false),
            ("smaug-bpe", "llama-bpe", false, false),
            ("tekken", "tekken", true, true),
            ("gpt-4o", "gpt-4o", false, false),
            ("minicpm5", "minicpm5", true, false),
            ("deepseek-v3", "hunyuan-dense", false, false),
        ] {
            let [found, like] = [name, like].map(|name| splitting(name).expect("a known name"));
            assert_eq!(found.patterns, like.patterns, "{name}");
            assert_eq!((found.whole_words, found.bos), (whole_words, bos), "{name}");
        }
        assert!(splitting("kimi-k2").is_none());
    }
}
