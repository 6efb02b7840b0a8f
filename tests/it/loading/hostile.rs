//! Configs that are made to cost much: each ends soon, in little room, with a refusal that names its file.

use serde_json::{Map, Value, json};
use steering_playground::adapters;
use steering_playground::checkpoint::AdapterFiles;

use super::{lora, with_field};
use crate::common::tiny;
use crate::mutations::peak;

/// Room that is small beside what these configs ask for, and large beside what a config has.
const ROOM: usize = 256 << 20;

fn with_config(config: String) -> AdapterFiles {
    AdapterFiles {
        config: Some(config.into_bytes()),
        ..lora()
    }
}

/// Ranks for so many patterns.
fn ranks(count: usize, pattern: impl Fn(usize) -> String) -> Value {
    let entries = (0..count).map(|at| (pattern(at), Value::from(2)));
    Value::Object(entries.collect::<Map<_, _>>())
}

#[test]
fn configs_that_would_cost_much_are_refused_in_little_room() {
    let model = tiny("base").model;
    let nested = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let cases: Vec<(&str, AdapterFiles, &str)> = vec![
        (
            "lists in lists",
            with_config(nested.clone()),
            "recursion limit",
        ),
        (
            "lists in lists in a field",
            with_config(format!(r#"{{"peft_type":"LORA","r":{nested}}}"#)),
            "recursion limit",
        ),
        (
            "objects in objects",
            with_config(r#"{"a":"#.repeat(200_000)),
            "recursion limit",
        ),
        (
            "patterns that are short and large",
            with_field(
                lora(),
                "rank_pattern",
                ranks(20_000, |at| format!(r"(?:x|\w{{9}}){at}")),
            ),
            "rank_pattern",
        ),
        (
            "more patterns than modules",
            with_field(
                lora(),
                "rank_pattern",
                ranks(5_000, |at| format!("^nowhere{at}$")),
            ),
            "at most 1024 keys",
        ),
        (
            "a pattern of many parts",
            with_field(
                lora(),
                "alpha_pattern",
                ranks(1, |_| r"(?=x)\w{9}".repeat(5_000)),
            ),
            "4096 letters",
        ),
        (
            "a pattern in brackets",
            with_field(
                lora(),
                "rank_pattern",
                ranks(1, |_| {
                    format!("{}a{}", "(".repeat(50_000), ")".repeat(50_000))
                }),
            ),
            "rank_pattern",
        ),
        (
            "a pattern that goes on for ever",
            with_field(lora(), "rank_pattern", json!({r"(?:(?=\w)\w+\.?)+!": 2})),
            "bounded number of steps",
        ),
    ];
    for (what, files, part) in cases {
        let mut said = String::new();
        let took = peak(|| {
            let error = adapters::load(&files, &model).map(drop).expect_err(what);
            said = format!("{}: {error}", error.code());
        });
        assert!(
            said.starts_with("bad-config: lora/adapter_config.json") && said.contains(part),
            "{what}: {said}"
        );
        assert!(took < ROOM, "{what}: took {took} bytes");
    }
}

/// What a config says of its modules is only told where it cannot be read: it ends, too.
#[test]
fn a_choice_of_modules_that_goes_on_for_ever_is_given_up() {
    let model = tiny("base").model;
    for pattern in [
        r"(?:(?=\w)\w+\.?)+!".to_owned(),
        "(".repeat(50_000),
        r"\w{9}".repeat(20_000),
    ] {
        let files = with_field(lora(), "target_modules", pattern.as_str().into());
        let took = peak(|| {
            let _ = adapters::inspect(&files);
            let _ = adapters::load(&files, &model);
        });
        assert!(took < ROOM, "took {took} bytes");
    }
}

/// A config says what an adapter is, never where a file lies: names of paths in it are words.
#[test]
fn paths_in_a_config_are_words() {
    let model = tiny("base").model;
    for path in [
        "/etc/passwd",
        "../../secret",
        "https://evil.example/x",
        "C:\\x",
    ] {
        let files = with_field(lora(), "base_model_name_or_path", path.into());
        assert!(adapters::load(&files, &model).is_ok(), "{path}");
    }
}
