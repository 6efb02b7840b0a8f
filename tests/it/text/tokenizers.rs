//! Tokenizers of GGUF files and of `tokenizer.json`: the ids of a text, and which are refused.

use steering_playground::text::{Message, Text, Variables};
use steering_playground::weights::gguf::{Array, Value};

use crate::mutations::peak;

use super::{
    SentencePiece, check, fixture, folder, goldens, metadata, read, sentence_piece_pairs, string,
    strings, tiny_gguf, tiny_json, tiny_pairs,
};

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

/// No space in front of a text, and runs of spaces and line ends as tokens of their own
/// (`tests/fixtures/make_gemma_pieces.py`).
#[test]
fn a_vocabulary_with_gemma_s_flags_gives_sentence_piece_s_ids() {
    let piece: SentencePiece =
        serde_json::from_slice(&fixture("gemma_pieces.json")).expect("the fixture reads");
    let mut pairs = sentence_piece_pairs(&piece);
    pairs.push(("add_space_prefix", Value::Bool(false)));
    check("gemma", &read(pairs), &piece.cases);
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
        (
            plain,
            text.encode_chat(&chat, &Variables::new()).expect("encodes"),
        )
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
            bpe("pre", Some(string("kimi-k2"))),
            "bad-tokenizer",
            "kimi-k2",
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

/// The tiny tokenizer, with a part of it replaced.
fn with_part(pointer: &str, part: serde_json::Value) -> Vec<u8> {
    let json = fixture("tiny_tokenizer.json");
    let mut json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    *json.pointer_mut(pointer).expect("is there") = part;
    json.to_string().into_bytes()
}

#[test]
fn a_tokenizer_costs_no_more_than_its_file_and_its_text() {
    // Lists in lists, in each of the files.
    let nested = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let error = folder(nested.as_bytes(), &[]).expect_err("nested");
    assert_eq!(error.code(), "bad-tokenizer", "{error}");
    for name in ["tokenizer_config.json", "generation_config.json"] {
        let json = fixture("tiny_tokenizer.json");
        let error = folder(&json, &[(name, nested.as_str())]).expect_err("nested");
        assert!(
            error.code() == "bad-tokenizer" && error.to_string().contains(name),
            "{error}"
        );
    }
    // Ids that no list could have room for.
    let mut took = 0;
    for id in [1_u64 << 20, u64::from(u32::MAX)] {
        let file = with_part("/model/vocab/a", id.into());
        let added = format!(
            r#"{{"added_tokens_decoder":{{"{}":{{"content":"<far>"}}}}}}"#,
            u64::MAX
        );
        took = took.max(peak(|| {
            if let Ok(text) = folder(&file, &[("tokenizer_config.json", added.as_str())]) {
                let ids = text.encode("a b <far>", false).unwrap_or_default();
                let _ = text.decode(&ids, false);
            }
        }));
    }
    assert!(took < 64 << 20, "took {took} bytes");
    // A pattern that would try every way of splitting gives up.
    let endless = serde_json::json!({
        "type": "Split", "pattern": {"Regex": r"(?:(?=a)a+)+!"}, "behavior": "Isolated", "invert": false
    });
    let text = folder(&with_part("/pre_tokenizer", endless), &[]).expect("reads");
    let _ = text.encode(&"a".repeat(2_000), false);
    // A pattern that is short beside what is made of it.
    let large = serde_json::json!({"type": "Sequence", "pretokenizers": [{
        "type": "Split", "pattern": {"Regex": r"\w".repeat(500_000)}, "behavior": "Isolated", "invert": false
    }]});
    let file = with_part("/pre_tokenizer", large);
    let mut said = String::new();
    let took = peak(|| said = folder(&file, &[]).expect_err("large").to_string());
    assert!(said.contains("at most 16384"), "{said}");
    assert!(took < 64 << 20, "took {took} bytes");
}
