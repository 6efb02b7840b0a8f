//! Chat templates against Jinja2 with what transformers gives it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use steering_playground::text::{Message, Text, Variables};
use steering_playground::weights::gguf::Value;

use super::{Template, fixture, goldens, read, string, tiny_gguf, tiny_pairs};

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

/// What the library would read one level deeper for each sign.
#[test]
fn templates_that_go_on_for_ever_end_with_an_error() {
    let many = 100_000;
    for template in [
        format!("{{{{ {}1 }}}}", "-".repeat(many)),
        format!("{{{{ 1{} }}}}", "+1".repeat(many)),
        format!("{{{{ messages{} }}}}", ".a".repeat(many)),
        format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(many)),
        format!("{{{{ {}", "(".repeat(many)),
        "{% if a %}".repeat(many),
    ] {
        let text = with_template(&template);
        let error = text.chat(&[]).expect_err(&template[..20]);
        assert_eq!(error.code(), "bad-chat-template", "{}", &template[..20]);
        // Nor when it is only looked at.
        assert!(text.template_facts().variables.is_empty());
    }
}

#[test]
fn the_date_is_the_same_every_day() {
    let text = with_template("{{ strftime_now('%d %b %Y') }}");
    assert_eq!(text.chat(&[]).expect("renders"), "26 Jul 2024");
}

/// One template a line: what it reads, and what comes of it.
#[test]
fn variables_reach_a_template_and_win_over_what_is_there() {
    let chat = [Message {
        role: "user".into(),
        content: "hello".into(),
    }];
    for (template, variables, expected) in [
        ("{{ enable_thinking is defined }}", "{}", "False"),
        (
            "{{ enable_thinking }}",
            r#"{"enable_thinking": false}"#,
            "False",
        ),
        (
            "{% if enable_thinking is defined and enable_thinking is false %}no{% endif %}",
            r#"{"enable_thinking": false}"#,
            "no",
        ),
        (
            "{{ effort | upper }}{{ n + 1 }}{{ x }}{{ none_ is none }}",
            r#"{"effort": "low", "n": 2, "x": 0.5, "none_": null}"#,
            "LOW30.5True",
        ),
        (
            "{% for tool in tools %}{{ tool.name }}{{ tool | tojson }}{% endfor %}",
            r#"{"tools": [{"name": "sum", "of": [1, 2.0]}]}"#,
            r#"sum{"name": "sum", "of": [1, 2.0]}"#,
        ),
        (
            "{% if add_generation_prompt %}answer{% endif %}{{ bos_token }}",
            r#"{"add_generation_prompt": false, "bos_token": "B"}"#,
            "B",
        ),
    ] {
        let variables: Variables = serde_json::from_str(variables).expect("JSON");
        let found = with_template(template).chat_with(&chat, &variables);
        assert_eq!(found.as_deref(), Ok(expected), "{template}");
    }
    let messages = Variables::from_iter([("messages".to_owned(), "no".into())]);
    let error = with_template("").chat_with(&chat, &messages);
    assert_eq!(error.expect_err("taken").code(), "bad-chat-template");
}

/// llama.cpp's `models/templates` against transformers (`tests/fixtures/make_template_hashes.py`), if
/// `PLAYGROUND_TEMPLATES` names a folder with them; they are not ours to keep here.
#[test]
fn llama_cpp_s_templates_render_as_transformers_renders_them() {
    /// Templates with renderings that differ, how many, and why.
    const DIFFERENT: [(&str, usize, &str); 5] = [
        ("CohereForAI-c4ai-command-r-plus-tool_use", 36, NONE),
        ("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", 36, NONE),
        ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", 36, NONE),
        (
            "llama-cpp-deepseek-r1",
            6,
            "`map` gives a list here, which `tojson` can write",
        ),
        (
            "meetkai-functionary-medium-v3.1",
            6,
            "text that is added to `safe` text is not escaped here",
        ),
    ];
    const NONE: &str = "`tools` that are none are gone through as if they were empty, not refused";

    #[derive(Deserialize)]
    struct Hashes {
        template: String,
        /// For each chat and each set of variables; `None` where the template refuses.
        rendered: Vec<Vec<Option<String>>>,
    }

    #[derive(Deserialize)]
    struct Fixture {
        chats: Vec<Vec<Message>>,
        variables: Vec<Variables>,
        templates: BTreeMap<String, Hashes>,
    }

    fn short(text: &str) -> String {
        let digest = Sha256::digest(text.as_bytes());
        let bytes = digest[..16].iter();
        let hex: Vec<String> = bytes.map(|byte| format!("{byte:02x}")).collect();
        hex.concat()
    }

    let Some(folder) = std::env::var_os("PLAYGROUND_TEMPLATES").map(PathBuf::from) else {
        eprintln!("skipped: PLAYGROUND_TEMPLATES names no folder");
        return;
    };
    let fixture: Fixture =
        serde_json::from_slice(&fixture("template_hashes.json")).expect("the fixture reads");
    let (mut compared, mut wrong) = (0, Vec::new());
    let different = DIFFERENT.map(|(name, count, _)| (name, count));
    let different = BTreeMap::from(different);
    for (name, hashes) in &fixture.templates {
        let Ok(template) = std::fs::read_to_string(folder.join(format!("{name}.jinja"))) else {
            continue;
        };
        if short(&template) != hashes.template {
            eprintln!("{name}: another version than the one compared");
            continue;
        }
        let text = with_template(&template);
        let mut found = Vec::new();
        for (chat, row) in fixture.chats.iter().zip(&hashes.rendered) {
            for (variables, expected) in fixture.variables.iter().zip(row) {
                let rendered = text.chat_with(chat, variables);
                compared += 1;
                if rendered.as_deref().ok().map(short) != *expected {
                    found.push(format!("{name} {variables:?} {chat:?}: {rendered:?}"));
                }
            }
        }
        let expected = different.get(name.as_str()).copied().unwrap_or(0);
        if found.len() != expected {
            wrong.push(format!("{} of {name} differ, not {expected}", found.len()));
            wrong.extend(found);
        }
    }
    assert!(compared > 0, "no template of {} is known", folder.display());
    assert!(
        wrong.is_empty(),
        "{} differ: {}",
        wrong.len(),
        wrong.join("\n")
    );
}
