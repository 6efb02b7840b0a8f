//! Text as its tokens come: incremental decoding, and where a stop text ends it.

use steering_playground::text::{Speech, Text};

use super::{check_stream, goldens, read, sentence_piece_pairs, tiny_gguf, tiny_json};

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
