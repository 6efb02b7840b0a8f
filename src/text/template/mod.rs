//! Chat templates: Jinja, rendered as transformers renders it.
//!
//! ```text
//! environment.rs  filters, tests and functions, as Jinja2 and transformers have them
//! methods.rs      Python's methods of strings, lists and dicts
//! python.rs       values as Python writes them
//! json.rs         the filter `tojson`
//! date.rs         the function `strftime_now`
//! generation.rs   `{% generation %}` blocks
//! extent.rs       how far one tag may go
//! variables.rs    what a template reads besides the messages
//! ```
//!
//! A template is data from a stranger, so it runs with a bounded amount of work.

mod date;
mod environment;
mod extent;
mod generation;
mod json;
mod methods;
mod python;
mod variables;

use std::borrow::Cow;
use std::collections::BTreeMap;

use minijinja::value::Value;
use minijinja::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

use environment::environment;
use generation::without_generation_marks;
pub(super) use variables::facts;
pub use variables::{TemplateFacts, TemplateVariable, VariableKind};

/// The greatest depth of lists in lists that a template may write out.
const MAX_DEPTH: usize = 100;

/// One turn of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text of the turn.
    pub content: String,
}

/// What a template reads besides the messages, such as `enable_thinking`.
pub type Variables = serde_json::Map<String, serde_json::Value>;

const MESSAGES: &str = "messages";

/// What every template gets besides the special tokens.
const GIVEN: [&str; 4] = [MESSAGES, "add_generation_prompt", "tools", "documents"];

/// Renders a chat template as transformers does: its whitespace rules, its variables, Python's
/// string and dict methods. `tokens` are the special tokens by their names, such as `bos_token`;
/// `variables` win over them and over `tools`, `documents` and `add_generation_prompt`.
///
/// # Errors
/// The template's own complaint, what exceeds the bounds on its work, and variables named `messages`.
pub(super) fn render(
    template: &str,
    messages: &[Message],
    tokens: &BTreeMap<String, String>,
    variables: &Variables,
) -> Result<String, Error> {
    if variables.contains_key(MESSAGES) {
        return Err(invalid("no variable can be called `messages`"));
    }
    extent::check(template)?;
    let mut context = context(messages, tokens);
    let variables = variables.iter();
    context.extend(variables.map(|(name, value)| (name.as_str(), from_json(value))));
    environment()?
        .template_from_str(&without_generation_marks(template))?
        .render(Value::from_pairs(context))
}

/// What a template gets: the messages, the special tokens, and what transformers always passes.
fn context<'a>(
    messages: &[Message],
    tokens: &'a BTreeMap<String, String>,
) -> BTreeMap<&'a str, Value> {
    let turns: Value = messages
        .iter()
        .map(|Message { role, content }| {
            Value::from_pairs([("role", role.as_str()), ("content", content.as_str())])
        })
        .collect();
    // Templates ask whether `tools` is none.
    let given = [turns, true.into(), ().into(), ().into()];
    let mut context: BTreeMap<&str, Value> = GIVEN.into_iter().zip(given).collect();
    let tokens = tokens.iter();
    context.extend(tokens.map(|(name, token)| (name.as_str(), token.as_str().into())));
    context
}

fn from_json(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => ().into(),
        Json::Bool(value) => (*value).into(),
        Json::Number(value) => match value.as_i64() {
            Some(value) => value.into(),
            None => value.as_f64().unwrap_or(f64::NAN).into(),
        },
        Json::String(value) => value.as_str().into(),
        Json::Array(values) => values.iter().map(from_json).collect(),
        Json::Object(values) => {
            let pairs = values.iter();
            Value::from_pairs(pairs.map(|(name, value)| (name.as_str(), from_json(value))))
        }
    }
}

/// The error for a use that Python or transformers would refuse.
fn invalid(why: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}
