//! One text being generated, and which of the three take part in a pass.

use super::step::Finish;
use crate::hooks::Steering;
use crate::model::{self, KvCache, Model};
use crate::text::{Speech, Text};

/// Which streams take part in a pass: the steered text, the base's own, and the base reading the
/// steered text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taking {
    pub(super) steered: bool,
    pub(super) base: bool,
    pub(super) shadow: bool,
}

impl Taking {
    /// In the order of the rows of a pass.
    pub(super) fn each(self) -> [bool; 3] {
        [self.steered, self.base, self.shadow]
    }
}

/// One text being generated, and its cache.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    /// Prompt and answer; those from `cache.len()` on are still to be computed.
    pub(super) ids: Vec<u32>,
    pub(super) cache: KvCache,
    pub(super) speech: Speech,
    pub(super) finish: Option<Finish>,
}

impl Stream {
    pub(super) fn new(
        model: &Model,
        text: Option<&Text>,
        prompt: &[u32],
        stops: &[String],
    ) -> Self {
        Self {
            ids: prompt.to_vec(),
            cache: model.new_cache().with_prompt(prompt.len()),
            speech: Speech::new(text, stops),
            finish: None,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        match self.finish {
            Some(_) => 0,
            None => self.ids.len() - self.cache.len(),
        }
    }

    /// The waiting tokens as a lane of a pass; `None` after the end.
    pub(super) fn pass<'a>(&'a mut self, steering: &'a Steering) -> Option<model::Lane<'a>> {
        (self.waiting() > 0).then(|| model::Lane {
            tokens: &self.ids[self.cache.len()..],
            cache: &mut self.cache,
            steering,
        })
    }
}
