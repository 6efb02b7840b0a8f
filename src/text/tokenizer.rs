//! Builds the tokenizer: from Hugging Face's `tokenizer.json`, or from what a GGUF file says.

use crate::error::{Error, Result};
use serde_json::Value;
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

pub(super) fn bad_json(why: &impl ToString) -> Error {
    Error::BadTokenizer {
        file: "tokenizer.json".into(),
        why: why.to_string(),
    }
}

/// Reads `tokenizer.json`, after a look at the parts on which the library panics when they are
/// not well-formed.
pub(super) fn read_tokenizer_json(json: &[u8]) -> Result<Tokenizer> {
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
pub(super) fn read_json(file: &str, json: Option<&[u8]>) -> Result<Value> {
    json.map_or(Ok(Value::Null), |json| {
        serde_json::from_slice(json).map_err(|error| Error::BadTokenizer {
            file: file.into(),
            why: error.to_string(),
        })
    })
}

/// Token to id. Two ids for one token would make decoding and encoding disagree.
pub(super) fn vocab(tokens: &[String]) -> Result<Vocab, String> {
    let mut vocab = Vocab::default();
    for (id, token) in (0..).zip(tokens) {
        if let Some(first) = vocab.insert(token.clone(), id) {
            return Err(format!("token {token:?} occurs twice, as {first} and {id}"));
        }
    }
    Ok(vocab)
}

pub(super) fn add_tokens(tokenizer: &mut Tokenizer, tokens: Vec<String>, special: bool) {
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
pub(super) fn byte_level_bpe(
    vocab: Vocab,
    merges: &[String],
    pre: &str,
) -> Result<(Tokenizer, bool), String> {
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
pub(super) fn sentence_piece_bpe(
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
