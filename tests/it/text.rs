//! Tokenizers and chat templates against what Python's `tokenizers`, `sentencepiece` and Jinja2
//! make of the same text (`tests/fixtures/make_text.py`), and incremental decoding.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use steering_playground::error::Result;
use steering_playground::text::{Message, Speech, Text};
use steering_playground::weights::gguf::{Array, Metadata, Value};

use crate::common::lacks_model;

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

// ---- tokenizers -------------------------------------------------------------------------------

#[test]
fn every_way_of_splitting_equals_hugging_face_s() {
    let tiny = goldens().tiny;
    assert_eq!(tiny.cases.len(), 5);
    for (pre, cases) in &tiny.cases {
        check(pre, &read(tiny_pairs(&tiny, pre)), cases);
    }
    check("tokenizer.json", &tiny_json(), &tiny.cases["smollm"]);
    // A GGUF file without the field gets llama.cpp's default.
    let mut pairs = tiny_pairs(&tiny, "default");
    pairs.retain(|(key, _)| *key != "pre");
    check("no field", &read(pairs), &tiny.cases["default"]);
}

#[test]
fn a_sentence_piece_vocabulary_gives_sentence_piece_s_ids() {
    let piece = goldens().sentence_piece;
    check(
        "sentence piece",
        &read(sentence_piece_pairs(&piece)),
        &piece.cases,
    );
}

#[test]
fn bos_is_put_first_only_where_the_model_wants_it() {
    let tiny = goldens().tiny;
    let piece = goldens().sentence_piece;
    let with = |pairs: &[(&'static str, Value)], more: &[(&'static str, Value)]| {
        read(pairs.iter().chain(more).cloned().collect())
    };
    let yes = [("add_bos_token", Value::Bool(true))];
    let no = [("add_bos_token", Value::Bool(false))];
    let smollm = tiny_pairs(&tiny, "smollm");
    let llama3 = tiny_pairs(&tiny, "llama-bpe");
    let spm = sentence_piece_pairs(&piece);
    for (name, text, expected) in [
        ("smollm", with(&smollm, &[]), false),
        ("smollm, said so", with(&smollm, &yes), true),
        ("llama 3", with(&llama3, &[]), true),
        ("sentence piece", with(&spm, &[]), true),
        ("sentence piece, said not", with(&spm, &no), false),
        ("tokenizer.json", tiny_json(), false),
    ] {
        assert_eq!(text.add_bos(), expected, "{name}");
        let plain = text.encode("a b", false).expect("encodes");
        let special = text.encode("a b", true).expect("encodes");
        let bos: &[u32] = if expected { &[1] } else { &[] };
        assert_eq!(special, [bos, &plain].concat(), "{name}");
    }
}

#[test]
fn folders_say_bos_stops_and_template_in_several_files() {
    let json = fixture("tiny_tokenizer.json");
    let read = |config: &str, generation: &str, jinja: Option<&str>| {
        let mut files = vec![
            ("tokenizer_config.json", config),
            ("generation_config.json", generation),
        ];
        files.extend(jinja.map(|jinja| ("chat_template.jinja", jinja)));
        folder(&json, &files).expect("reads")
    };
    let config = r#"{"bos_token": {"content": "<|im_start|>"}, "eos_token": "<|im_end|>",
                     "add_bos_token": true, "chat_template": "config {{ bos_token }}"}"#;
    let text = read(
        config,
        r#"{"eos_token_id": [2, 7], "bos_token_id": 1}"#,
        None,
    );
    assert_eq!(
        (text.bos(), text.add_bos(), text.stop_ids()),
        (Some(1), false, &[0, 2, 7][..])
    );
    assert_eq!(text.chat(&[]).expect("renders"), "config <|im_start|>");
    assert_eq!(text.vocab_size(), 600);

    let text = read(config, "{}", Some("file {{ eos_token }}"));
    assert_eq!(
        text.chat(&[]).expect("renders"),
        "file <|im_end|>",
        "the file of its own wins"
    );

    let named = r#"{"chat_template": [{"name": "rag", "template": "no"},
                                      {"name": "default", "template": "yes"}]}"#;
    let text = read(named, r#"{"eos_token_id": 2}"#, None);
    assert_eq!(text.chat(&[]).expect("renders"), "yes");
    assert_eq!((text.bos(), text.add_bos()), (None, false));

    // A post-processor that adds bos is believed, one of truncation or padding is not.
    let mut with_bos: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    with_bos["post_processor"] = serde_json::json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
                   {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|im_start|>":
            {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}}});
    with_bos["truncation"] = serde_json::json!({"direction": "Right", "max_length": 3,
        "strategy": "LongestFirst", "stride": 0});
    with_bos["padding"] = serde_json::json!({"strategy": {"Fixed": 9}, "direction": "Right",
        "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"});
    let with_bos = with_bos.to_string();
    let config = r#"{"bos_token": "<|im_start|>", "add_bos_token": false}"#;
    let config = [("tokenizer_config.json", config)];
    let text = folder(with_bos.as_bytes(), &config).expect("reads");
    assert!(text.add_bos());
    let long = "the sea, the open sea";
    let plain = tiny_json().encode(long, false).expect("encodes");
    assert_eq!(
        text.encode(long, true).expect("encodes"),
        [&[1], &plain[..]].concat()
    );
    assert_eq!(
        text.encode("a", true).expect("encodes").len(),
        2,
        "no padding"
    );
}

/// What `transformers` 5.23 makes of the same folders.
#[test]
fn tokens_beside_tokenizer_json_are_added_as_transformers_adds_them() {
    const CONFIG: &str = "tokenizer_config.json";
    let decoder = r#"{"added_tokens_decoder": {
        "600": {"content": "<tool>", "special": true, "normalized": false},
        "602": {"content": "[L]", "lstrip": true, "rstrip": true, "normalized": false},
        "601": {"content": "sea", "single_word": true, "normalized": false},
        "603": {"content": "<keep>", "normalized": false}},
        "pad_token": "<|pad|>", "image_token": "<img>",
        "eos_token": "<|im_end|>", "chat_template": "{{ pad_token }}{{ image_token }}"}"#;
    let gap = r#"{"added_tokens_decoder": {"610": {"content": "<tool>", "special": true},
                                           "605": {"content": "<keep>"}}}"#;
    let map = r#"{"pad_token": "<|pad|>", "eos_token": {"content": "<|im_end|>"},
                  "additional_special_tokens": ["<tool>", "<more>"]}"#;
    let legacy = [
        ("special_tokens_map.json", map),
        ("added_tokens.json", r#"{"<tool>": 600, "<keep>": 601}"#),
    ];
    let both = r#"{"extra_special_tokens": {"tool_token": "<tool>"},
                   "additional_special_tokens": ["<keep>"]}"#;
    let flags = r#"{"added_tokens_decoder": {"2": {"content": "<|im_end|>", "special": true,
                   "lstrip": true, "rstrip": true, "normalized": false}}}"#;
    let word = r#"{"eos_token": "sea", "bos_token": "<|im_start|>", "add_bos_token": true}"#;
    type Case<'a> = (&'a [(&'static str, &'a str)], &'a str, &'a [u32], &'a str);
    let cases: [Case<'_>; 17] = [
        (
            &[(CONFIG, decoder)],
            "a <tool> b",
            &[67, 223, 600, 280],
            "a  b",
        ),
        (
            &[(CONFIG, decoder)],
            "seas sea the sea",
            &[85, 275, 85, 223, 601, 262, 223, 601],
            "seas sea the sea",
        ),
        (&[(CONFIG, decoder)], "x [L] y", &[90, 602, 91], "x[L]y"),
        (
            &[(CONFIG, decoder)],
            "x <|pad|> y<img>z",
            &[90, 223, 604, 223, 91, 605, 92],
            "x  yz",
        ),
        (
            &[(CONFIG, decoder)],
            "one <keep> two",
            &[430, 223, 603, 223, 86, 89, 81],
            "one <keep> two",
        ),
        (&[(CONFIG, gap)], "a <tool> b", &[67, 223, 601, 280], "a  b"),
        (
            &[(CONFIG, gap)],
            "one <keep> two",
            &[430, 223, 600, 223, 86, 89, 81],
            "one <keep> two",
        ),
        (&legacy, "a <tool> b", &[67, 223, 600, 280], "a <tool> b"),
        (&legacy, "x <|pad|> y", &[90, 223, 602, 223, 91], "x  y"),
        (&legacy, "the <|im_end|>", &[261, 223, 2], "the "),
        (
            &legacy,
            "one <keep> two",
            &[430, 223, 601, 223, 86, 89, 81],
            "one <keep> two",
        ),
        (
            &[(CONFIG, both)],
            "a <tool> b",
            &[67, 223, 600, 280],
            "a  b",
        ),
        (
            &[(CONFIG, both)],
            "one <keep> two",
            &[430, 223, 601, 223, 86, 89, 81],
            "one  two",
        ),
        (&[(CONFIG, flags)], "the <|im_end|>", &[261, 2], "the"),
        (
            &[(CONFIG, word)],
            "seas sea the sea",
            &[600, 85, 223, 600, 262, 223, 600],
            "s  the ",
        ),
        (
            &[],
            "a <tool> b",
            &[67, 223, 30, 86, 81, 81, 78, 32, 280],
            "a <tool> b",
        ),
        (&[], "the <|im_end|>", &[261, 223, 2], "the "),
    ];
    let json = fixture("tiny_tokenizer.json");
    for (files, text, ids, plain) in cases {
        let read = folder(&json, files).expect("reads");
        let found = read.encode(text, true).expect("encodes");
        assert_eq!(found, ids, "{text:?} with {files:?}");
        assert_eq!(read.decode(ids, true), plain, "{text:?} with {files:?}");
        check_stream(text, &read, ids);
    }
    let read = folder(&json, &[(CONFIG, decoder)]).expect("reads");
    assert_eq!(read.chat(&[]).expect("renders"), "<|pad|><img>");
    assert_eq!(read.vocab_size(), 606);
    let bad = r#"{"added_tokens_decoder": {"600": {"name": "<tool>"}}}"#;
    let error = folder(&json, &[(CONFIG, bad)]).expect_err("no content");
    assert!(error.to_string().contains("600"), "{error}");
}

#[test]
fn an_answer_ends_where_generation_config_or_else_config_says() {
    let json = fixture("tiny_tokenizer.json");
    let stops = |generation: Option<&'static str>, config: &'static str| {
        let mut files = vec![("config.json", config)];
        files.extend(generation.map(|text| ("generation_config.json", text)));
        folder(&json, &files).expect("reads").stop_ids().to_vec()
    };
    let list = r#"{"eos_token_id": [2, 9, 11]}"#;
    assert_eq!(stops(None, list), [0, 2, 9, 11]);
    assert_eq!(stops(Some("{}"), list), [0, 2, 9, 11]);
    assert_eq!(
        stops(Some(r#"{"eos_token_id": null}"#), list),
        [0, 2, 9, 11]
    );
    assert_eq!(
        stops(Some(r#"{"eos_token_id": 12}"#), list),
        [0, 2, 12],
        "it knows better"
    );
    let inner = r#"{"text_config": {"eos_token_id": [7]}}"#;
    assert_eq!(stops(None, inner), [0, 2, 7]);
    assert_eq!(stops(None, "{}"), [0, 2]);
}

#[test]
fn a_folder_s_post_processor_decides_what_is_put_around_a_text() {
    let mut json: serde_json::Value =
        serde_json::from_slice(&fixture("tiny_tokenizer.json")).expect("JSON");
    let special =
        |name: &str, id: u32| serde_json::json!({"id": name, "ids": [id], "tokens": [name]});
    let part = |name: &str| serde_json::json!({"SpecialToken": {"id": name, "type_id": 0}});
    let text = serde_json::json!({"Sequence": {"id": "A", "type_id": 0}});
    let other = serde_json::json!({"Sequence": {"id": "B", "type_id": 1}});
    json["post_processor"] = serde_json::json!({"type": "TemplateProcessing",
        "single": [part("<|im_start|>"), text, part("<|im_end|>")], "pair": [text, other],
        "special_tokens": {"<|im_start|>": special("<|im_start|>", 1),
                           "<|im_end|>": special("<|im_end|>", 2)}});
    let config = r#"{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "add_bos_token": false,
        "chat_template": "{{ bos_token }}{{ messages[0].content }}"}"#;
    let files = [("tokenizer_config.json", config)];
    let text = folder(json.to_string().as_bytes(), &files).expect("reads");
    assert_eq!(text.encode("the", true).expect("encodes"), [1, 261, 2]);
    assert_eq!(text.encode("the", false).expect("encodes"), [261]);
    let chat = [Message {
        role: "user".into(),
        content: "the".into(),
    }];
    assert_eq!(
        text.encode_chat(&chat).expect("encodes"),
        [1, 261],
        "what the template says is all"
    );
}

/// llama.cpp adds `bos` to a chat too, once.
#[test]
fn a_gguf_file_s_chat_begins_with_one_bos() {
    let tiny = goldens().tiny;
    let chat = [Message {
        role: "user".into(),
        content: "the".into(),
    }];
    let ids = |template: &str, more: &[(&'static str, Value)]| {
        let mut pairs = tiny_pairs(&tiny, "smollm");
        pairs.push(("tokenizer.chat_template", string(template)));
        pairs.extend(more.iter().cloned());
        let text = read(pairs);
        let plain = text.encode("the", true).expect("encodes");
        (plain, text.encode_chat(&chat).expect("encodes"))
    };
    let with = "{{ bos_token }}{{ messages[0].content }}";
    let without = "{{ messages[0].content }}";
    let bos = [("add_bos_token", Value::Bool(true))];
    let eos = [("add_eos_token", Value::Bool(true))];
    assert_eq!(ids(with, &bos), (vec![1, 261], vec![1, 261]));
    assert_eq!(ids(without, &bos), (vec![1, 261], vec![1, 261]));
    assert_eq!(ids(with, &[]), (vec![261], vec![1, 261]));
    assert_eq!(ids(without, &[]), (vec![261], vec![261]));
    assert_eq!(ids(without, &eos), (vec![261, 2], vec![261, 2]));
    let both = "{{ messages[0].content }}{{ eos_token }}";
    assert_eq!(ids(both, &eos), (vec![261, 2], vec![261, 2]));

    // A SentencePiece file that names no bos means 1, as in llama.cpp.
    let piece = goldens().sentence_piece;
    let mut pairs = sentence_piece_pairs(&piece);
    pairs.retain(|(key, _)| !key.ends_with("_token_id"));
    let text = read(pairs);
    assert_eq!(
        (text.bos(), text.add_bos(), text.stop_ids()),
        (Some(1), true, &[2][..])
    );
}

#[test]
fn empty_tokens_get_a_name() {
    let tiny = goldens().tiny;
    let mut tokens = tiny.tokens.clone();
    tokens.extend([String::new(), String::new()]);
    let mut pairs = tiny_pairs(&tiny, "smollm");
    pairs.retain(|(key, _)| !["tokens", "token_type"].contains(key));
    pairs.push(("tokens", strings(&tokens)));
    let text = read(pairs);
    assert_eq!(text.vocab_size(), 602);
    assert_eq!(text.token_text(601).as_deref(), Some("[EMPTY_601]"));
    let case = &tiny.cases["smollm"][4];
    assert_eq!(text.encode(&case.text, false).expect("encodes"), case.ids);

    let mut piece = goldens().sentence_piece;
    piece.tokens.extend([String::new(), String::new()]);
    piece.scores.extend([0.0, 0.0]);
    piece.types.extend([1, 1]);
    let cases = std::mem::take(&mut piece.cases);
    check(
        "sentence piece",
        &read(sentence_piece_pairs(&piece)),
        &cases,
    );
}

#[test]
fn what_stands_in_place_of_a_tokenizer_has_a_name() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    let error = folder(pointer, &[]).expect_err("a pointer");
    assert!(error.to_string().contains("git lfs pull"), "{error}");
    let page = [("tokenizer_config.json", "<!DOCTYPE html><html></html>")];
    let error = folder(&fixture("tiny_tokenizer.json"), &page).expect_err("a page");
    assert!(error.to_string().contains("web page"), "{error}");
}

#[test]
fn tokenizers_that_cannot_be_right_are_refused() {
    let tiny = goldens().tiny;
    let piece = goldens().sentence_piece;
    let change = |pairs: Vec<(&'static str, Value)>, key: &'static str, value: Option<Value>| {
        let kept = pairs.into_iter().filter(|(name, _)| *name != key);
        metadata(kept.chain(value.map(|value| (key, value))).collect())
    };
    let bpe = |key, value| change(tiny_pairs(&tiny, "smollm"), key, value);
    let spm = |key, value| change(sentence_piece_pairs(&piece), key, value);
    let mut twice = tiny.tokens.clone();
    twice[599] = twice[300].clone();
    let list = |items: &[&str]| {
        Some(Value::Array(Array::String(
            items.iter().map(|item| (*item).into()).collect(),
        )))
    };
    let long = vec!["x".repeat(5000); 1];
    for (name, metadata, code, part) in [
        (
            "bert",
            bpe("model", Some(string("bert"))),
            "bad-tokenizer",
            "bert",
        ),
        ("no tokens", bpe("tokens", None), "bad-tokenizer", "tokens"),
        (
            "tokens of numbers",
            bpe("tokens", Some(Value::U8(1))),
            "bad-config",
            "tokens",
        ),
        (
            "twice",
            bpe("tokens", Some(strings(&twice))),
            "bad-tokenizer",
            "occurs twice",
        ),
        (
            "unknown splitting",
            bpe("pre", Some(string("tekken"))),
            "bad-tokenizer",
            "tekken",
        ),
        (
            "one-sided merge",
            bpe("merges", list(&["ab"])),
            "bad-tokenizer",
            "merge",
        ),
        (
            "merge of nothing",
            bpe("merges", list(&["qqq zzz"])),
            "bad-tokenizer",
            "qqq",
        ),
        (
            "eos outside",
            bpe("eos_token_id", Some(Value::U32(600))),
            "bad-tokenizer",
            "eos",
        ),
        ("no scores", spm("scores", None), "bad-tokenizer", "scores"),
        (
            "equal scores",
            spm("scores", Some(Value::Array(Array::F32(vec![0.0; 420])))),
            "bad-tokenizer",
            "equal",
        ),
        (
            "few scores",
            spm("scores", Some(Value::Array(Array::F32(vec![1.0])))),
            "bad-tokenizer",
            "scores",
        ),
        (
            "a long token",
            metadata(vec![
                ("model", string("llama")),
                ("tokens", strings(&long)),
                ("scores", Value::Array(Array::F32(vec![0.0]))),
            ]),
            "bad-tokenizer",
            "5000",
        ),
    ] {
        let error = Text::from_gguf("file.gguf", &metadata).expect_err(name);
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(error.to_string().contains(part), "{name}: {error}");
    }
    assert!(
        Text::from_gguf("file.gguf", &metadata(vec![]))
            .expect("reads")
            .is_none()
    );
    let none = metadata(vec![("model", string("none"))]);
    assert!(
        Text::from_gguf("file.gguf", &none)
            .expect("reads")
            .is_none()
    );

    let json = String::from_utf8(fixture("tiny_tokenizer.json")).expect("UTF-8");
    let bad = |json: &str| folder(json.as_bytes(), &[]).expect_err("bad");
    for cut in [0, 1, json.len() / 2, json.len() - 1] {
        assert_eq!(
            bad(&json[..cut]).code(),
            "bad-tokenizer",
            "cut to {cut} bytes"
        );
    }
    let decoder = r#""decoder":{"type":"ByteLevel""#;
    assert!(json.contains(decoder), "the decoder is where it was");
    for broken in [
        r#""decoder":{"type":"Nothing""#,
        r#""decoder":{"typ"#,
        r#""decoder":{7"#,
    ] {
        assert_eq!(
            bad(&json.replace(decoder, broken)).code(),
            "bad-tokenizer",
            "{broken}"
        );
    }
    let precompiled = r#""normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"}"#;
    let error = bad(&json.replace(r#""normalizer":null"#, precompiled));
    assert!(error.to_string().contains("Precompiled"), "{error}");
    let config = folder(json.as_bytes(), &[("tokenizer_config.json", "{")]).expect_err("cut");
    assert!(
        config.to_string().contains("tokenizer_config.json"),
        "{config}"
    );
}

#[test]
fn user_defined_tokens_are_found_in_text_and_shown() {
    let tiny = goldens().tiny;
    let mut tokens = tiny.tokens.clone();
    tokens.push("open sea!".into());
    let mut types: Vec<i32> = vec![1; 601];
    types[600] = 4;
    types[..3].fill(3);
    let mut pairs = tiny_pairs(&tiny, "smollm");
    pairs.retain(|(key, _)| !["tokens", "token_type"].contains(key));
    pairs.push(("tokens", strings(&tokens)));
    pairs.push(("token_type", Value::Array(Array::I32(types))));
    let text = read(pairs);
    let ids = text
        .encode("the open sea!<|im_end|>", false)
        .expect("encodes");
    assert_eq!(ids[ids.len() - 2..], [600, 2]);
    assert_eq!(text.decode(&ids, true), "the open sea!");
    assert_eq!(text.decode(&ids, false), "the open sea!<|im_end|>");
}

#[test]
fn token_text_shows_leading_spaces_and_special_tokens() {
    let text = tiny_gguf("smollm");
    let the = text.encode(" the", false).expect("encodes");
    assert_eq!(text.token_text(the[0]).as_deref(), Some(" the"));
    assert_eq!(text.token_text(2).as_deref(), Some("<|im_end|>"));
    let part = text.encode("😀", false).expect("encodes");
    assert_eq!(text.token_text(part[0]).as_deref(), Some("\u{fffd}"));
    assert_eq!(text.token_text(600), None);

    let piece = goldens().sentence_piece;
    let text = read(sentence_piece_pairs(&piece));
    let ids = text.encode("the the", false).expect("encodes");
    assert_eq!(text.token_text(ids[0]).as_deref(), Some(" the"));
}

#[test]
fn stop_ids_are_the_eos_and_the_known_ends_of_turns() {
    assert_eq!(tiny_gguf("smollm").stop_ids(), [0, 2]);
    assert_eq!(
        tiny_json().stop_ids(),
        [0, 2],
        "by name, with no config at all"
    );
    let piece = goldens().sentence_piece;
    assert_eq!(read(sentence_piece_pairs(&piece)).stop_ids(), [2]);
}

#[test]
fn incremental_decoding_of_any_tokens_equals_decoding_the_whole() {
    let piece = goldens().sentence_piece;
    let texts = [
        ("bytes", tiny_gguf("smollm"), 600),
        ("json", tiny_json(), 600),
        (
            "sentence piece",
            read(sentence_piece_pairs(&piece)),
            piece.tokens.len() as u64,
        ),
    ];
    // xorshift64: the same lists of tokens in every run.
    let mut state = 0x2026_1123_u64;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for (name, text, vocab) in &texts {
        for round in 0..400 {
            // Half of them from the single-byte tokens only, where characters go wrong.
            let (first, count) = if round % 2 == 0 {
                (0, *vocab)
            } else {
                (3, 256)
            };
            let length = next(12) + 1;
            let ids: Vec<u32> = (0..length).map(|_| (first + next(count)) as u32).collect();
            check_stream(name, text, &ids);
        }
    }
}

#[test]
fn characters_of_several_tokens_arrive_whole() {
    let text = tiny_gguf("smollm");
    let ids = text.encode("a😀b", false).expect("encodes");
    assert!(ids.len() > 3, "the emoji is several tokens: {ids:?}");
    let mut stream = text.detokenizer(true);
    let pieces: Vec<String> = ids.iter().map(|id| stream.push(*id)).collect();
    let shown: Vec<&str> = pieces
        .iter()
        .map(String::as_str)
        .filter(|piece| !piece.is_empty())
        .collect();
    assert_eq!(shown, ["a", "😀", "b"]);

    // What never becomes a character is not lost.
    let mut stream = text.detokenizer(true);
    assert_eq!(stream.push(ids[1]), "");
    assert_eq!(stream.finish(), "\u{fffd}");
}

/// What is said of `ids` until a stop text appears, and whether one did.
fn said(text: &Text, ids: &[u32], stops: &[&str]) -> (String, bool) {
    let stops: Vec<String> = stops.iter().map(|stop| (*stop).into()).collect();
    let mut speech = Speech::new(Some(text), &stops);
    let mut said = String::new();
    for (index, id) in ids.iter().enumerate() {
        let (more, stopped) = speech.push(*id, index + 1 == ids.len());
        said.push_str(&more);
        if stopped {
            return (said, true);
        }
    }
    (said, false)
}

#[test]
fn stop_texts_may_be_contain_and_cross_special_tokens() {
    let piece = goldens().sentence_piece;
    let gguf = tiny_gguf("smollm");
    for (text, stops, expected) in [
        (
            "the sea<|im_start|> the",
            &["<|im_start|>"][..],
            Some("the sea"),
        ),
        (
            "the sea<|im_start|> the",
            &["sea<|im_start|>"],
            Some("the "),
        ),
        (
            "the sea<|im_start|> the",
            &["a<|im_start|> th"],
            Some("the se"),
        ),
        (
            "the sea<|im_start|> the",
            &["<|im_start|> the"],
            Some("the sea"),
        ),
        ("the sea<|im_start|> the", &["<|im_"], Some("the sea")),
        ("the sea<|im_start|> the", &["_start|>"], Some("the sea")),
        ("the sea<|im_start|> the", &["sea the"], Some("the ")),
        (
            "the sea<|im_start|> the",
            &["zzz", "he", "<|im_start|>"],
            Some("t"),
        ),
        (
            "the sea<|im_start|> the",
            &["<|im_start|>", "sea"],
            Some("the "),
        ),
        (
            "the sea<|im_start|> the",
            &["sea<|im_end|>", "", "<|im_start|>!"],
            None,
        ),
        ("the sea<|im_start|> the", &[], None),
        (
            "x<|im_start|><|im_end|>y",
            &["<|im_start|><|im_end|>"],
            Some("x"),
        ),
        ("x<|im_start|><|im_end|>y", &["<|im_end|>"], Some("x")),
        ("x<|im_start|><|im_end|>y", &["x<|im_end|>"], None),
        ("<|im_end|>", &["<|im_end|>"], Some("")),
        ("a😀<|im_end|>b", &["😀<|im_end|>"], Some("a")),
        ("a😀<|im_end|>b😀c", &["b😀"], Some("a😀")),
        ("the open sea", &["open"], Some("the ")),
        ("the open sea", &["pen se"], Some("the o")),
    ] {
        let ids = gguf.encode(text, false).expect("encodes");
        let whole = gguf.decode(&ids, true);
        let expected = expected.map_or((whole, false), |text| (text.to_owned(), true));
        assert_eq!(said(&gguf, &ids, stops), expected, "{text:?}, {stops:?}");
    }
    let text = read(sentence_piece_pairs(&piece));
    let mut ids = text.encode("the sea", false).expect("encodes");
    ids.push(2);
    ids.extend(text.encode("the", false).expect("encodes"));
    for (stop, expected) in [("</s>", "the sea"), ("sea</s>", "the "), ("e s", "th")] {
        assert_eq!(
            said(&text, &ids, &[stop]),
            (expected.into(), true),
            "{stop:?}"
        );
    }
    // What no stop text can begin with is said at once.
    let ids = gguf
        .encode("the sea<|im_start|> the", false)
        .expect("encodes");
    let mut speech = Speech::new(Some(&gguf), &["<|im_start|>".into()]);
    assert_eq!(speech.push(ids[0], false), ("the".into(), false));
}

#[test]
fn long_runs_of_whitespace_and_signs_are_split_as_a_whole() {
    let text = tiny_gguf("smollm");
    for (unit, count) in [
        (" ", 50_000),
        ("\n ", 20_000),
        ("!", 50_000),
        ("a", 20_000),
        ("é", 9_000),
    ] {
        let long = format!("x{}y", unit.repeat(count));
        let ids = text.encode(&long, false).expect("encodes");
        assert_eq!(text.decode(&ids, false), long, "{count} times {unit:?}");
    }
}

// ---- chat templates ---------------------------------------------------------------------------

fn with_template(template: &str) -> Text {
    let mut pairs = tiny_pairs(&goldens().tiny, "smollm");
    pairs.retain(|(key, _)| *key != "bos_token_id");
    pairs.push(("bos_token_id", Value::U32(0)));
    pairs.push(("tokenizer.chat_template", string(template)));
    read(pairs)
}

#[test]
fn templates_render_as_jinja2_renders_them() {
    let templates = goldens().templates;
    assert_eq!(templates.len(), 14);
    for Template {
        name,
        template,
        messages,
        rendered,
        error,
    } in templates
    {
        let found = with_template(&template).chat(&messages);
        match (rendered, error) {
            (Some(rendered), _) => assert_eq!(found.as_deref(), Ok(rendered.as_str()), "{name}"),
            (_, Some(error)) => {
                let found = found.expect_err(&name);
                assert_eq!(found.code(), "bad-chat-template", "{name}");
                assert!(found.to_string().contains(&error), "{name}: {found}");
            }
            _ => panic!("{name} has neither result"),
        }
    }
}

/// Python's methods and ways of writing, `tojson`, the date, `{% generation %}`
/// (`tests/fixtures/make_templates.py`).
#[test]
fn templates_may_use_what_python_and_transformers_give_them() {
    let cases: Vec<Template> =
        serde_json::from_slice(&fixture("templates.json")).expect("the fixture reads");
    assert!(cases.len() > 70, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let name = &case.name;
        match (
            with_template(&case.template).chat(&case.messages),
            case.rendered,
            case.error,
        ) {
            (Ok(found), Some(rendered), _) if found == rendered => {}
            (Err(found), None, Some(error)) if found.to_string().contains(&error) => {}
            (found, rendered, error) => {
                wrong.push(format!(
                    "{name}: {found:?}, expected {rendered:?} {error:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hostile_and_broken_templates_end_with_an_error() {
    let chat = [Message {
        role: "user".into(),
        content: "hello".into(),
    }];
    for (name, template) in [
        (
            "a long loop",
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
        ),
        (
            "doubling",
            "{% set n = namespace(s='0123456789') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
        ),
        ("repeating", "{{ 'x' * 99999999999 }}"),
        (
            "recursion",
            "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        ),
        (
            "lists in lists",
            "{% set n = namespace(x=[]) %}{% for i in range(2000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
        ),
        (
            "lists twice in lists",
            "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        ),
        (
            "the same as JSON",
            "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
        ),
        (
            "itself",
            "{% set n = namespace() %}{% set n.x = [n] %}{{ n.x }}",
        ),
        ("padding", "{{ 'x'.center(99999999999) }}"),
        ("indenting", "{{ [1] | tojson(indent=99999999999) }}"),
        ("a wide field", "{{ '{:>99999999999}'.format('a') }}"),
        ("an unknown date", "{{ strftime_now('%Q') }}"),
        ("half a date", "{{ strftime_now('100%') }}"),
        ("an open mark", "{% generation %}a"),
        ("syntax", "{% if %}"),
        ("unclosed", "{% for m in messages %}"),
        ("undefined call", "{{ open('/etc/passwd') }}"),
        ("attribute of nothing", "{{ messages[9].role }}"),
    ] {
        let error = with_template(template).chat(&chat).expect_err(name);
        assert_eq!(error.code(), "bad-chat-template", "{name}: {error}");
    }
    assert_eq!(
        tiny_gguf("smollm")
            .chat(&chat)
            .expect_err("has none")
            .code(),
        "no-chat-template"
    );
    assert!(!tiny_gguf("smollm").has_chat_template() && with_template("").has_chat_template());
}

#[test]
fn the_date_is_the_same_every_day() {
    let text = with_template("{{ strftime_now('%d %b %Y') }}");
    assert_eq!(text.chat(&[]).expect("renders"), "26 Jul 2024");
}

// ---- the real model -------------------------------------------------------------------------

fn real_text() -> Text {
    let model = super::weights::real_model();
    let metadata = model.metadata().expect("a GGUF file");
    Text::from_gguf(model.name(), metadata)
        .expect("reads")
        .expect("there is a tokenizer")
}

#[test]
fn the_real_model_s_prompts_and_ids_equal_transformers() {
    #[derive(Deserialize)]
    struct Prompt {
        name: String,
        messages: Vec<Message>,
        prompt_text: String,
        prompt_ids: Vec<u32>,
        greedy_ids: Vec<u32>,
        greedy_text: String,
    }
    #[derive(Deserialize)]
    struct Reference {
        prompts: Vec<Prompt>,
    }
    if lacks_model() {
        return;
    }
    let reference: Reference =
        serde_json::from_slice(&fixture("smollm2_greedy.json")).expect("the fixture reads");
    let text = real_text();
    assert_eq!(
        (text.vocab_size(), text.bos(), text.add_bos()),
        (49152, Some(1), false)
    );
    assert_eq!(text.stop_ids(), [0, 2]);
    assert!(!reference.prompts.is_empty());
    for prompt in reference.prompts {
        let name = &prompt.name;
        let rendered = text.chat(&prompt.messages).expect("renders");
        assert_eq!(rendered, prompt.prompt_text, "{name}");
        assert_eq!(
            text.encode(&rendered, false).expect("encodes"),
            prompt.prompt_ids,
            "{name}"
        );
        assert_eq!(
            text.decode(&prompt.greedy_ids, false),
            prompt.greedy_text,
            "{name}"
        );
        check_stream(name, &text, &prompt.prompt_ids);
        check_stream(name, &text, &prompt.greedy_ids);
    }
}

#[test]
fn the_real_model_s_tokens_equal_hugging_face_s() {
    if lacks_model() {
        return;
    }
    check("smollm2", &real_text(), &goldens().smollm2);
}
