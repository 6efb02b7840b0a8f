//! Tokenizers and chat templates against what Python's `tokenizers`, `sentencepiece` and Jinja2
//! make of the same text (`tests/fixtures/make_text.py`), and incremental decoding.

mod folders;
mod real;
mod stream;
mod templates;
mod tokenizers;

use std::fs;
use std::path::Path;

use serde::Deserialize;
use steering_playground::error::Result;
use steering_playground::text::{Message, Text};
use steering_playground::weights::gguf::{Array, Metadata, Value};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new("tests/fixtures").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    decoded: String,
    plain: Option<String>,
}

#[derive(Deserialize)]
struct Tiny {
    tokens: Vec<String>,
    merges: Vec<String>,
    specials: Vec<String>,
    cases: std::collections::BTreeMap<String, Vec<Case>>,
}

#[derive(Deserialize)]
struct SentencePiece {
    tokens: Vec<String>,
    scores: Vec<f32>,
    types: Vec<i32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Template {
    name: String,
    template: String,
    messages: Vec<Message>,
    rendered: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Fixture {
    smollm2: Vec<Case>,
    tiny: Tiny,
    sentence_piece: SentencePiece,
    templates: Vec<Template>,
}

fn goldens() -> Fixture {
    serde_json::from_slice(&fixture("text.json")).expect("the fixture reads")
}

/// What an ordinary GGUF file says of its tokenizer.
fn metadata(pairs: Vec<(&str, Value)>) -> Metadata {
    let pairs = pairs.into_iter().map(|(key, value)| {
        let key = if key.contains('.') {
            key.into()
        } else {
            format!("tokenizer.ggml.{key}")
        };
        (key, value)
    });
    Metadata {
        file: "file.gguf".into(),
        entries: pairs.collect(),
    }
}

fn string(value: &str) -> Value {
    Value::String(value.into())
}

fn strings(values: &[String]) -> Value {
    Value::Array(Array::String(values.to_vec()))
}

fn tiny_pairs(tiny: &Tiny, pre: &str) -> Vec<(&'static str, Value)> {
    let kind = |token: &String| if tiny.specials.contains(token) { 3 } else { 1 };
    vec![
        ("model", string("gpt2")),
        ("pre", string(pre)),
        ("tokens", strings(&tiny.tokens)),
        ("merges", strings(&tiny.merges)),
        (
            "token_type",
            Value::Array(Array::I32(tiny.tokens.iter().map(kind).collect())),
        ),
        ("bos_token_id", Value::U32(1)),
        ("eos_token_id", Value::U32(2)),
    ]
}

fn read(pairs: Vec<(&str, Value)>) -> Text {
    Text::from_gguf("file.gguf", &metadata(pairs))
        .expect("reads")
        .expect("there is a tokenizer")
}

fn tiny_gguf(pre: &str) -> Text {
    read(tiny_pairs(&goldens().tiny, pre))
}

fn sentence_piece_pairs(piece: &SentencePiece) -> Vec<(&'static str, Value)> {
    vec![
        ("model", string("llama")),
        ("tokens", strings(&piece.tokens)),
        ("scores", Value::Array(Array::F32(piece.scores.clone()))),
        ("token_type", Value::Array(Array::I32(piece.types.clone()))),
        ("bos_token_id", Value::U32(1)),
        ("eos_token_id", Value::U32(2)),
    ]
}

/// A folder with `tokenizer.json` and these files.
fn folder(tokenizer: &[u8], more: &[(&'static str, &str)]) -> Result<Text> {
    let files = more
        .iter()
        .map(|(name, text)| (*name, text.as_bytes().to_vec()));
    let tokenizer = ("tokenizer.json", tokenizer.to_vec());
    let files = files.chain([tokenizer]).collect();
    Ok(Text::from_files(&files)?.expect("there is a tokenizer"))
}

fn tiny_json() -> Text {
    folder(&fixture("tiny_tokenizer.json"), &[]).expect("reads")
}

fn check(name: &str, text: &Text, cases: &[Case]) {
    assert!(cases.len() > 40, "{name}: {} cases", cases.len());
    for case in cases {
        let ids = text.encode(&case.text, false).expect("encodes");
        assert_eq!(ids, case.ids, "{name}: {:?}", case.text);
        assert_eq!(
            text.decode(&ids, false),
            case.decoded,
            "{name}: {:?}",
            case.text
        );
        if let Some(plain) = &case.plain {
            assert_eq!(text.decode(&ids, true), *plain, "{name}: {:?}", case.text);
        }
        check_stream(name, text, &ids);
    }
}

/// The pieces of incremental decoding, put together, are the whole, and none of them is half a
/// character.
fn check_stream(name: &str, text: &Text, ids: &[u32]) {
    for skip_special in [false, true] {
        let whole = text.decode(ids, skip_special);
        let mut stream = text.detokenizer(skip_special);
        let mut joined = String::new();
        for id in ids {
            joined.push_str(&stream.push(*id));
            assert!(
                whole.starts_with(&joined),
                "{name}: {joined:?} of {whole:?}"
            );
        }
        joined.push_str(&stream.finish());
        assert_eq!(joined, whole, "{name}: {ids:?}");
    }
}
