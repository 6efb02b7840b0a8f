//! What a step and a look at the stop rows say, and what all take.

use serde::{Deserialize, Serialize};

/// What a training takes, as its first step says before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Steps to come.
    pub steps: usize,
    /// Seconds of one.
    pub step_seconds: f64,
    /// Seconds of all, looks at the stop rows included.
    pub seconds: f64,
}

/// What a look at the stop rows found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Mean d at c = −1, 0 and 1, in nats per token.
    pub d_nats: [f64; 3],
    /// Share of rows with d(−1) < d(0) < d(1).
    pub ordered_share: f64,
    /// What neutral answers cost in likelihood at c = −1 and 1, in nats per token.
    pub nll_shift_nats: [f64; 2],
    /// Whether these are the best numbers so far: the widest difference of d at both ends that is ordered
    /// and costs at most 0.2 nats.
    pub is_best: bool,
}

/// A step that was made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainStep {
    /// Counted from 1.
    pub step: usize,
    /// The c at which it was made, −1 or 1.
    pub sign: f32,
    /// The loss before it.
    pub loss: f32,
    /// The length of its gradient.
    pub gradient: f64,
    /// What the stop rows say, where they were read after this step.
    pub check: Option<Check>,
}
