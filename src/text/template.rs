//! Chat templates: Jinja, rendered as transformers renders it.
//!
//! A template is data from a stranger, so it runs with a bounded amount of work.

use minijinja::Value as JinjaValue;

/// Work that a chat template may do; ordinary ones need a few thousand. Strings count too (one
/// unit for 64 bytes), so this also bounds memory.
const TEMPLATE_FUEL: u64 = 1_000_000;

/// One turn of a chat.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// Renders a chat template as transformers does: its whitespace rules, its variables, Python's
/// string and dict methods.
pub(super) fn render(
    template: &str,
    messages: &[Message],
    bos_token: Option<String>,
    eos_token: Option<String>,
) -> Result<String, minijinja::Error> {
    let syntax = minijinja::syntax::SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    let mut environment = minijinja::Environment::new();
    environment.set_syntax(syntax);
    environment.set_fuel(Some(TEMPLATE_FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |why: String| -> Result<JinjaValue, _> {
        Err(minijinja::Error::new(
            minijinja::ErrorKind::InvalidOperation,
            why,
        ))
    });
    environment.add_function("strftime_now", |format: &str| strftime(format));
    let turns: JinjaValue = messages
        .iter()
        .map(|Message { role, content }| {
            JinjaValue::from_pairs([("role", role.as_str()), ("content", content.as_str())])
        })
        .collect();
    // Templates ask whether `tools` is none; transformers always passes it.
    let mut context = vec![
        ("messages", turns),
        ("add_generation_prompt", true.into()),
        ("tools", ().into()),
        ("documents", ().into()),
    ];
    context.extend(bos_token.map(|token| ("bos_token", token.into())));
    context.extend(eos_token.map(|token| ("eos_token", token.into())));
    environment
        .template_from_str(template)?
        .render(JinjaValue::from_pairs(context))
}

/// "Today" for templates that print it: always 26 July 2024, the day that Llama 3.2's template
/// falls back to. A playground gives the same answer tomorrow, and its core has no clock.
fn strftime(format: &str) -> String {
    const PARTS: [(&str, &str); 10] = [
        ("%d", "26"),
        ("%m", "07"),
        ("%y", "24"),
        ("%Y", "2024"),
        ("%b", "Jul"),
        ("%B", "July"),
        ("%H", "12"),
        ("%M", "00"),
        ("%S", "00"),
        ("%A", "Friday"),
    ];
    PARTS.iter().fold(format.to_owned(), |text, (part, value)| {
        text.replace(part, value)
    })
}
