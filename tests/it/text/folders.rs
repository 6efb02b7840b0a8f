//! What the files beside `tokenizer.json` say.

use steering_playground::text::{Message, Variables};

use super::{check_stream, fixture, folder, tiny_json};

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
        text.encode_chat(&chat, &Variables::new()).expect("encodes"),
        [1, 261],
        "what the template says is all"
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
