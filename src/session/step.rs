//! What a generation reports.

use serde::Serialize;

/// What was done about the cache at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheUse {
    /// Everything in it was computed under the present coefficients.
    Current,
    /// Some of it was computed under other coefficients and kept.
    Kept,
    /// It was computed again for this step.
    Recomputed,
}

/// One report of a [`Generation`](super::Generation).
#[derive(Debug, Clone, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Step {
    /// Part of the prompt was read, by one stream.
    Prefill {
        /// Prompt tokens read so far, the mean of all streams.
        done_tokens: usize,
        /// Prompt tokens in all.
        total_tokens: usize,
    },
    /// Each stream that has not ended gave one token.
    Token {
        /// Counts tokens from 0.
        index: usize,
        /// The steered stream, until it ends.
        steered: Option<LaneStep>,
        /// The base stream, until it ends.
        base: Option<LaneStep>,
        /// KL(steered ‖ base) of the next-token distributions after the steered text, in nats; `None`
        /// too where the logits lie so far apart that it overflows.
        kl_nats: Option<f64>,
        /// `(adapter id, coefficient)` of all active adapters at this step.
        coefficients: Vec<(u32, f32)>,
        /// What was done about the cache.
        cache: CacheUse,
        /// The most probable next tokens of both streams, if asked for.
        top: Vec<Candidate>,
    },
}

/// One token of one stream.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneStep {
    /// The token.
    pub id: u32,
    /// Text that became certain with it; may be empty or belong to earlier tokens too.
    pub text: String,
    /// Probability the model gave to it, before temperature and filters.
    pub probability: f64,
    /// Set on the last token.
    pub finish: Option<Finish>,
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// The model gave an end-of-text token.
    EndOfText,
    /// The requested number of tokens is reached.
    Length,
    /// The model's context is full before that.
    Context,
    /// One of the request's stop texts appeared.
    StopText,
}

/// A possible next token.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The token.
    pub id: u32,
    /// Its text.
    pub text: String,
    /// Its probability in the steered stream.
    pub steered: f64,
    /// Its probability after the same text without steering, where the base reads it too.
    pub base: Option<f64>,
    /// `ln steered − ln base`, in nats: how much likelier steering makes it. `None` where the base does not
    /// read the text, and where one of the two is too small for a number.
    pub difference_nats: Option<f64>,
}
