//! What to generate, and how.

use serde::{Deserialize, Serialize};

use crate::sample::Sampling;
use crate::text::{Message, Variables};

/// What to generate, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Request {
    /// Plain text to continue.
    pub prompt: Option<String>,
    /// A conversation to answer, through the model's chat template.
    pub chat: Option<Vec<Message>>,
    /// What the chat template reads besides the messages, such as `enable_thinking`.
    pub template_variables: Variables,
    /// Token ids to continue; beats the other two.
    pub ids: Option<Vec<u32>>,
    /// Tokens at most.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end a stream; they are not part of it. Special tokens count as they are spelled.
    pub stop: Vec<String>,
    /// What happens to cached keys and values when coefficients change.
    pub cache: CachePolicy,
    /// Whether the base model generates beside the steered one.
    pub compare: bool,
    /// Whether the KL goes on after the first difference (a third forward pass per token).
    pub kl_after_split: bool,
    /// How many of the most probable tokens to report for each step.
    pub top: usize,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: None,
            chat: None,
            template_variables: Variables::new(),
            ids: None,
            max_tokens: 128,
            sampling: Sampling::default(),
            stop: Vec::new(),
            cache: CachePolicy::Keep,
            compare: false,
            kl_after_split: true,
            top: 0,
        }
    }
}

/// What a change of coefficients does to the keys and values computed before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CachePolicy {
    /// "From here on": they stay, computed under the old coefficients.
    #[default]
    Keep,
    /// "As if from the start": they are computed again under the new ones.
    Recompute,
}
