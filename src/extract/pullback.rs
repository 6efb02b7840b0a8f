//! VJP delta: the contrast at a later block, pulled back through the Jacobian. After wassname,
//! <https://github.com/wassname/vjp-steering>.
//!
//! ```text
//! c   = mean h_T(positive) − mean h_T(negative)                         at block T, where texts are read
//! q_L = mean_t ∇_{h_L,t} Σ_s c·h_T,s                                     of one text, t and s over its tokens
//! v_L = mean q_L(positive) − mean q_L(negative)                          at each block L before T
//! ```
//! Which way the stream at L has to move for the stream at T to move along c, as far as that differs between
//! the two kinds of text. Tokens: all but the last and those before a text counts; there it leaves out the
//! first 16, which is more than a short text has.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use burn::tensor::{Tensor, TensorData};

use super::options::{Method, Options};
use super::passage::Passage;
use super::refusal::{bad, not_finite, place};
use crate::device::read_back;
use crate::error::Result;
use crate::linalg::svd::norm;
use crate::model::Model;

/// The gradients so far.
#[derive(Debug)]
pub(super) struct Pullback {
    /// T
    target: usize,
    layers: RangeInclusive<usize>,
    /// What is still to be done.
    texts: VecDeque<usize>,
    /// v, `[blocks][d]`
    sums: Vec<Vec<f64>>,
    /// Half the number of texts.
    pairs: f64,
    /// The mean length of all q, per block.
    lengths: Vec<f64>,
}

impl Pullback {
    /// `None` for the other methods.
    ///
    /// # Errors
    /// [`crate::Error::BadOption`] for a target that is not after all blocks, and for a text without a
    /// token between its first and its last.
    pub(super) fn new(
        model: &Model,
        texts: &[&Passage],
        options: &Options,
    ) -> Result<Option<Self>> {
        if options.method != Method::Vjp {
            return Ok(None);
        }
        let config = model.config();
        let last_but_two = config.num_layers.saturating_sub(3);
        let target = options.target.unwrap_or(last_but_two);
        let layers = options.layers.clone();
        if target >= config.num_layers || *layers.end() >= target {
            return Err(bad(
                "target",
                "a block of the model after all those to act on",
                format!("block {target} for {layers:?}"),
            ));
        }
        let short = |passage: &&Passage| passage.from + 2 > passage.ids.len();
        if let Some(text) = texts.iter().position(short) {
            return Err(bad(
                "pairs",
                "texts of at least three tokens: neither the first nor the last is pulled back to",
                place(text),
            ));
        }
        let blocks = layers.clone().count();
        Ok(Some(Self {
            target,
            layers,
            texts: (0..texts.len()).collect(),
            sums: vec![vec![0.0; config.hidden_size]; blocks],
            pairs: texts.len() as f64 / 2.0,
            lengths: vec![0.0; blocks],
        }))
    }

    /// T
    pub(super) fn target(&self) -> usize {
        self.target
    }

    /// The next text to be pulled back.
    pub(super) fn next(&mut self) -> Option<usize> {
        self.texts.pop_front()
    }

    /// Adds the gradients of a text; a positive one has an even number.
    ///
    /// # Errors
    /// What the model reports, and gradients that are not finite.
    pub(super) async fn add(
        &mut self,
        model: &Model,
        text: usize,
        Passage { ids, from, .. }: &Passage,
        contrast: &[f64],
    ) -> Result<()> {
        let contrast: Vec<f32> = contrast.iter().map(|x| *x as f32).collect();
        let d = contrast.len();
        let contrast = Tensor::from_data(TensorData::new(contrast, [d]), &model.device());
        let rows = *from..ids.len() - 1;
        let along = (rows.clone(), &contrast);
        let pulled = model.pulled_back(ids, along, self.layers.clone(), self.target)?;
        let means = pulled.into_iter().map(|gradient| {
            let rows = gradient.narrow(0, rows.start, rows.len());
            rows.mean_dim(0)
        });
        let means = read_back(Tensor::cat(means.collect(), 0)).await?;
        if !means.iter().all(|x| x.is_finite()) {
            return Err(not_finite(text));
        }
        let sign = if text.is_multiple_of(2) { 1.0 } else { -1.0 };
        let blocks = self.sums.iter_mut().zip(&mut self.lengths);
        for ((sum, length), q) in blocks.zip(means.chunks(d)) {
            let q: Vec<f64> = q.iter().map(|x| f64::from(*x) / self.pairs).collect();
            *length += norm(&q) / 2.0;
            sum.iter_mut().zip(q).for_each(|(sum, q)| *sum += sign * q);
        }
        Ok(())
    }

    /// `[d]`, of length 1, or why there is none.
    pub(super) fn direction(&self, layer: usize) -> Result<Vec<f64>, String> {
        let place = layer - self.layers.start();
        let sum = &self.sums[place];
        let length = norm(sum);
        // What is left then is rounding.
        if length <= 1e-6 * self.lengths[place] || length == 0.0 {
            let target = self.target;
            return Err(format!(
                "block {target} depends on it alike in both kinds of text"
            ));
        }
        Ok(sum.iter().map(|x| x / length).collect())
    }
}
