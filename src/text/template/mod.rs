//! Chat templates: Jinja, rendered as transformers renders it.
//!
//! ```text
//! environment.rs  filters, tests and functions, as Jinja2 and transformers have them
//! methods.rs      Python's methods of strings, lists and dicts
//! python.rs       values as Python writes them
//! json.rs         the filter `tojson`
//! date.rs         the function `strftime_now`
//! generation.rs   `{% generation %}` blocks
//! ```
//!
//! A template is data from a stranger, so it runs with a bounded amount of work.

mod date;
mod environment;
mod generation;
mod json;
mod methods;
mod python;

use std::borrow::Cow;
use std::collections::BTreeMap;

use minijinja::value::Value;
use minijinja::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

use environment::environment;
use generation::without_generation_marks;

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

/// Renders a chat template as transformers does: its whitespace rules, its variables, Python's
/// string and dict methods. `tokens` are the special tokens by their names, such as `bos_token`.
///
/// # Errors
/// The template's own complaint, and what exceeds the bounds on its work.
pub(super) fn render(
    template: &str,
    messages: &[Message],
    tokens: &BTreeMap<String, String>,
) -> Result<String, Error> {
    let turns: Value = messages
        .iter()
        .map(|Message { role, content }| {
            Value::from_pairs([("role", role.as_str()), ("content", content.as_str())])
        })
        .collect();
    // Templates ask whether `tools` is none; transformers always passes it.
    let mut context: Vec<(&str, Value)> = vec![
        ("messages", turns),
        ("add_generation_prompt", true.into()),
        ("tools", ().into()),
        ("documents", ().into()),
    ];
    context.extend(
        tokens
            .iter()
            .map(|(name, token)| (name.as_str(), token.as_str().into())),
    );
    environment()?
        .template_from_str(&without_generation_marks(template))?
        .render(Value::from_pairs(context))
}

/// The error for a use that Python or transformers would refuse.
fn invalid(why: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}
