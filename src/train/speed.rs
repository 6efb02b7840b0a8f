//! A forward and a backward pass over texts of one length, for timing beside other programs.

use std::collections::BTreeMap;

use super::leaves::{Gradients, Leaves};
use super::loss::log_probabilities;
use super::options::TrainOptions;
use super::texts::Texts;
use super::trainer::{find, first_block, steering, tensors};
use crate::adapters::placed;
use crate::checkpoint::{AdapterFiles, Config, Known, Method, Untrained};
use crate::device::read_back;
use crate::dose::Passage;
use crate::error::{Error, Result};
use crate::model::Model;

/// Texts and an untrained adapter.
pub struct Passes<'a> {
    model: &'a Model,
    method: &'static Method,
    untrained: Untrained,
    config: Config,
    known: Known,
    leaves: Leaves,
    texts: Texts,
    count: usize,
}

impl<'a> Passes<'a> {
    /// An adapter as it begins, and `texts` as token ids, each of at least two: all tokens but the last of
    /// each are read, packed, and each next one is asked for.
    ///
    /// # Errors
    /// [`Error::BadOption`] for what cannot be trained, [`Error::EmptyPrompt`] for a text that is too short.
    pub fn new(
        model: &'a Model,
        method: &str,
        options: &TrainOptions,
        texts: &[Vec<u32>],
    ) -> Result<Self> {
        let method = find(method)?;
        let untrained = method.untrained(model, &options.wish(Vec::new(), [1, 0])?)?;
        let config = Config::of(method.name, untrained.config.clone());
        let numbers = tensors(&untrained, untrained.parameters.clone());
        let known = Known::default();
        let acts = placed(
            &config,
            method,
            numbers,
            BTreeMap::new(),
            &AdapterFiles::default(),
            &known,
            model,
        )?;
        let first = first_block(&acts.1, model.config().num_layers);
        let passage = |text: &Vec<u32>| match text.split_first() {
            Some((&start, rest)) if !rest.is_empty() => Ok(Passage {
                before: vec![start],
                answers: vec![rest.to_vec()],
            }),
            _ => Err(Error::EmptyPrompt),
        };
        let passages = texts.iter().map(passage).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            leaves: Leaves::new(&untrained.parameters, &model.device()),
            texts: Texts::new(model, first, &passages, false)?,
            count: texts.len(),
            model,
            method,
            untrained,
            config,
            known,
        })
    }

    /// One forward and backward pass at c = 1: the mean −ln p of all next tokens, in nats, whose gradient
    /// for each parameter is computed, and dropped.
    ///
    /// # Errors
    /// [`Error::NotTrained`] for gradients that are not finite.
    pub async fn run(&self) -> Result<f32> {
        let tracked = self.leaves.tracked();
        let numbers = tensors(&self.untrained, self.leaves.numbers().await?);
        let acts = placed(
            &self.config,
            self.method,
            numbers,
            tracked.clone(),
            &AdapterFiles::default(),
            &self.known,
            self.model,
        )?;
        let all: Vec<usize> = (0..self.count).collect();
        let read = self.texts.read(self.model, &steering(&acts, 1.0), &all)?;
        let loss = -log_probabilities(&read).mean();
        let value = read_back(loss.clone().without_autodiff()).await?[0];
        Gradients::of(loss, &tracked).await?;
        Ok(value)
    }
}
