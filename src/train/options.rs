//! What is trained, how long, and with which weights of the loss.

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Method, Wish};
use crate::error::{Error, Result};
use crate::hooks::Mask;

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TrainOptions {
    /// The rank, or what the method has in its place: virtual tokens, blocks.
    pub rank: usize,
    /// Blocks to train, as `9-20`; empty for all.
    pub layers: String,
    /// Modules to train, as `v_proj,o_proj`; empty for those that suit the method.
    pub modules: String,
    /// Steps at most; with 0 the adapter stays as it begins.
    pub steps: usize,
    /// Pairs in a step.
    pub batch: usize,
    /// The learning rate of AdamW; the method's own unless given.
    pub rate: Option<f64>,
    /// Of everything that is drawn: initial numbers, order, signs.
    pub seed: u64,
    /// How sharply the difference between the answers counts.
    pub beta: f64,
    /// The weight of the wanted answer's own likelihood.
    pub nll: f64,
    /// The weight of the distance from the base on neutral answers.
    pub kl: f64,
    /// The longest gradient, over all parameters.
    pub clip: f64,
    /// Steps between two looks at the stop rows; 0 for none.
    pub check_every: usize,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            rank: 4,
            layers: String::new(),
            modules: String::new(),
            steps: 48,
            batch: 2,
            rate: None,
            seed: 0,
            beta: 3.0,
            nll: 0.5,
            kl: 0.5,
            clip: 1.0,
            check_every: 12,
        }
    }
}

impl TrainOptions {
    /// What the method begins with, the tokens that tell the answers apart, for how many behaviours, over how
    /// many experts.
    ///
    /// # Errors
    /// [`Error::BadOption`] for blocks and modules that are none.
    pub(super) fn wish(&self, tokens: Vec<u32>, [tasks, experts]: [usize; 2]) -> Result<Wish> {
        Ok(Wish {
            tokens,
            tasks,
            experts,
            rank: self.rank,
            mask: Mask::parse(&self.layers, &self.modules)?,
            seed: self.seed,
        })
    }

    /// The learning rate for a method.
    ///
    /// # Errors
    /// [`Error::BadOption`] for numbers with which nothing can be trained.
    pub(super) fn checked_rate(&self, method: &Method) -> Result<f64> {
        let bad = |name, expected, found: String| Error::BadOption {
            name,
            expected,
            found,
        };
        if self.batch == 0 {
            return Err(bad("batch", "at least 1", "0".into()));
        }
        let weights = [("beta", self.beta), ("nll", self.nll), ("kl", self.kl)];
        for (name, weight) in weights {
            if !(0.0..=1e3).contains(&weight) {
                return Err(bad(name, "a weight from 0 to 1000", weight.to_string()));
            }
        }
        if self.clip.is_nan() || self.clip <= 0.0 {
            return Err(bad("clip", "a length above 0", self.clip.to_string()));
        }
        let rate = self.rate.or(method.trains.rate()).unwrap_or(0.0);
        if self.rate.is_some() && !(1e-8..=10.0).contains(&rate) {
            return Err(bad("rate", "a number from 1e-8 to 10", rate.to_string()));
        }
        Ok(rate)
    }
}
