//! Chat templates against Jinja2 with what transformers gives it.

use steering_playground::text::{Message, Text};
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

#[test]
fn the_date_is_the_same_every_day() {
    let text = with_template("{{ strftime_now('%d %b %Y') }}");
    assert_eq!(text.chat(&[]).expect("renders"), "26 Jul 2024");
}
