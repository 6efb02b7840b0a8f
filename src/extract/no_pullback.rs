//! In place of `pullback.rs` in a browser, whose module computes no gradients: there is none.

use super::options::{Method, Options};
use super::passage::Passage;
use super::refusal::bad;
use crate::error::Result;
use crate::model::Model;

/// Never there.
#[derive(Debug)]
pub(super) enum Pullback {}

impl Pullback {
    /// `None` for the other methods.
    ///
    /// # Errors
    /// [`crate::Error::BadOption`] for this one.
    pub(super) fn new(_: &Model, _: &[&Passage], options: &Options) -> Result<Option<Self>> {
        if options.method != Method::Vjp {
            return Ok(None);
        }
        Err(bad(
            "method",
            "mean, pca-diff, pca-center or probe: a browser's module computes no gradients, the command \
             `steer extract` does",
            options.method.name().into(),
        ))
    }

    pub(super) fn target(&self) -> usize {
        match *self {}
    }

    pub(super) fn next(&mut self) -> Option<usize> {
        match *self {}
    }

    #[allow(clippy::unused_async, reason = "it is called as the other is")]
    pub(super) async fn add(&mut self, _: &Model, _: usize, _: &Passage, _: &[f64]) -> Result<()> {
        match *self {}
    }

    pub(super) fn direction(&self, _: usize) -> Result<Vec<f64>, String> {
        match *self {}
    }
}
