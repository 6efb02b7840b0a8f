//! What a chat template reads besides the messages, found by rendering it and looking for a difference.
//! Its text alone does not say whether a name is a switch or a text, nor what it means when left out.

use std::collections::BTreeMap;

use minijinja::value::Value;
use minijinja::{Environment, Error};
use serde::Serialize;

use super::environment::environment;
use super::extent;
use super::generation::without_generation_marks;
use super::{GIVEN, Message, context};

/// A variable of a chat template that changes what is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateVariable {
    /// As the template calls it, such as `enable_thinking`.
    pub name: String,
    /// What it holds.
    pub kind: VariableKind,
    /// Of a switch: what leaving it out means; `None` where that is a third thing.
    pub default: Option<bool>,
}

/// What a variable of a template holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariableKind {
    /// True or false.
    Switch,
    /// A text, which the template writes out.
    Text,
}

/// What a chat template makes of a chat, besides the chat.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateFacts {
    /// Whether it has a place for a message of the role `system`.
    pub takes_system: bool,
    /// Its variables, by the alphabet.
    pub variables: Vec<TemplateVariable>,
}

/// Variables that are looked at; a template of more is none of a model's.
const MAX_VARIABLES: usize = 32;

/// What stands nowhere in a template.
const MARK: &str = "x7f3q";

/// Renders `template` as often as it takes to learn what it reads. `tokens` as in [`super::render`].
///
/// # Errors
/// The template's own complaint, if it cannot be read at all.
pub(in crate::text) fn facts(
    template: &str,
    tokens: &BTreeMap<String, String>,
) -> Result<TemplateFacts, Error> {
    extent::check(template)?;
    let environment = environment()?;
    let source = without_generation_marks(template);
    let compiled = environment.template_from_str(&source)?;
    // What it refuses to render says nothing.
    let render = |chat: &[Message], more: Option<(&str, Value)>| {
        let mut context = context(chat, tokens);
        context.extend(more);
        compiled.render(Value::from_pairs(context)).ok()
    };
    let chats = chats();
    let known = |name: &str| is_known(name, &environment, tokens);
    let mut names: Vec<String> = compiled.undeclared_variables(false).into_iter().collect();
    names.retain(|name| !known(name));
    names.sort();
    names.truncate(MAX_VARIABLES);
    let variables = names.into_iter().filter_map(|name| {
        let with = |value: Value| -> Vec<Option<String>> {
            let values = chats.iter();
            values
                .map(|chat| render(chat, Some((name.as_str(), value.clone()))))
                .collect()
        };
        let written = with(MARK.into())
            .iter()
            .flatten()
            .any(|text| text.contains(MARK));
        if written {
            return Some(TemplateVariable {
                name,
                kind: VariableKind::Text,
                default: None,
            });
        }
        let (on, off) = (with(true.into()), with(false.into()));
        let mut pairs = on.iter().zip(&off);
        if !pairs.any(|(on, off)| on.is_some() && off.is_some() && on != off) {
            return None;
        }
        let without: Vec<_> = chats.iter().map(|chat| render(chat, None)).collect();
        let default = match (without == on, without == off) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        Some(TemplateVariable {
            name,
            kind: VariableKind::Switch,
            default,
        })
    });
    let variables = variables.collect();
    let with_system = [message("system", MARK), message("user", "a")];
    let takes_system = render(&with_system, None).is_some_and(|text| text.contains(MARK));
    Ok(TemplateFacts {
        takes_system,
        variables,
    })
}

/// What every rendering has, and functions.
fn is_known(name: &str, environment: &Environment, tokens: &BTreeMap<String, String>) -> bool {
    GIVEN.contains(&name)
        || tokens.contains_key(name)
        || name.ends_with("_token")
        || environment.globals().any(|(global, _)| global == name)
}

fn message(role: &str, content: &str) -> Message {
    let (role, content) = (role.into(), content.into());
    Message { role, content }
}

/// Chats that make a difference to templates: with and without a system prompt, one turn and two,
/// thoughts in an earlier answer.
fn chats() -> Vec<Vec<Message>> {
    let turns = [
        message("system", "s"),
        message("user", "a"),
        message("assistant", "<think>\nb\n</think>\n\nc"),
        message("user", "d"),
    ];
    vec![turns[1..2].to_vec(), turns[1..].to_vec(), turns.to_vec()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(template: &str) -> TemplateFacts {
        facts(template, &BTreeMap::new()).unwrap()
    }

    fn names(template: &str) -> Vec<(String, VariableKind, Option<bool>)> {
        let variables = read(template).variables;
        variables
            .into_iter()
            .map(|one| (one.name, one.kind, one.default))
            .collect()
    }

    const CHAT: &str = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";

    #[test]
    fn a_switch_is_one_and_its_default_is_what_leaving_it_out_means() {
        let on = "{{ bos_token }}{% if enable_thinking is defined and enable_thinking is false %}-{% endif %}";
        assert_eq!(
            names(on),
            [("enable_thinking".into(), VariableKind::Switch, Some(true))]
        );
        let off = "{% if thinking %}-{% endif %}{{ raise_exception('no') if tools }}";
        assert_eq!(
            names(off),
            [("thinking".into(), VariableKind::Switch, Some(false))]
        );
        let third = "{% if mode is not defined %}a{% elif mode %}b{% else %}c{% endif %}";
        assert_eq!(names(third), [("mode".into(), VariableKind::Switch, None)]);
    }

    #[test]
    fn what_is_written_out_is_a_text_and_what_changes_nothing_is_left_out() {
        let template = format!(
            "{{% if not today is defined %}}{{% set today = 'x' %}}{{% endif %}}{{{{ today }}}}\
             {{% if documents or controls %}}{{% endif %}}{{% set ns = namespace(a=1) %}}{CHAT}"
        );
        assert_eq!(
            names(&template),
            [("today".into(), VariableKind::Text, None)]
        );
    }

    #[test]
    fn thoughts_of_earlier_answers_count() {
        let template = "{% for m in messages %}{% if m.role == 'assistant' and not keep_thoughts %}\
                        {{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}{% endfor %}";
        assert_eq!(
            names(template),
            [("keep_thoughts".into(), VariableKind::Switch, Some(false))]
        );
    }

    #[test]
    fn a_place_for_a_system_prompt_is_seen() {
        assert!(read(CHAT).takes_system);
        let refuses = format!(
            "{{% if messages[0].role == 'system' %}}{{{{ raise_exception('no') }}}}{{% endif %}}{CHAT}"
        );
        assert!(!read(&refuses).takes_system);
        let passes_over =
            "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}";
        assert!(!read(passes_over).takes_system);
        // A switch of a template that takes no system prompt is found all the same.
        let both = format!("{{% if short %}}-{{% endif %}}{refuses}");
        assert_eq!(
            names(&both),
            [("short".into(), VariableKind::Switch, Some(false))]
        );
    }

    #[test]
    fn a_template_that_cannot_be_read_is_told() {
        assert!(facts("{% if %}", &BTreeMap::new()).is_err());
    }
}
