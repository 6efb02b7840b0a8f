//! Which adapters c turns, and the passes that read texts under them.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::rc::Rc;

use serde::Serialize;

use super::pairs::{Contrast, Pair};
use crate::adapters::Entry;
use crate::device::read_back;
use crate::error::{Error, Result};
use crate::hooks::{Law, Steering};
use crate::measure::log_probabilities;
use crate::model::{KvCache, Lane, Positions};
use crate::session::Session;
use crate::text::{Message, Text, Variables};

/// How far a long computation is: told before each step, which an error ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Steps done.
    pub done: usize,
    /// Steps in all, as far as is known.
    pub total: usize,
}

/// Counts steps and tells them, before each of them.
pub(super) struct Steps<P> {
    done: usize,
    /// As many as are expected.
    guess: usize,
    progress: P,
}

impl<P: AsyncFnMut(Progress) -> Result<()>> Steps<P> {
    pub(super) fn new(guess: usize, progress: P) -> Self {
        Self {
            done: 0,
            guess,
            progress,
        }
    }

    pub(super) async fn next(&mut self) -> Result<()> {
        let done = self.done;
        self.done += 1;
        let total = self.guess.max(self.done);
        (self.progress)(Progress { done, total }).await
    }
}

/// An adapter of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdapterFacts {
    /// The name it was loaded under.
    pub name: String,
    /// Its method.
    pub method: &'static str,
    /// How c acts.
    pub law: &'static str,
    /// SHA-256 of its file of weights.
    pub sha256: String,
    /// What c is multiplied by for it.
    pub scale: f32,
    /// Blocks on which it may act.
    pub layers: String,
    /// Modules on which it may act.
    pub modules: String,
}

/// Adapters that one coefficient turns together.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    pub(super) session: &'a Session,
    /// Each adapter's id, and its share of c.
    pub(super) scaled: Vec<(u32, f32)>,
    variables: &'a Variables,
    /// The only blocks on which they act, besides their masks.
    layers: Option<RangeInclusive<usize>>,
}

impl<'a> Subject<'a> {
    /// Each adapter of `scaled` is turned to c times its number; all others are left out. `variables`
    /// are what a chat template reads beside the messages.
    #[must_use]
    pub fn new(session: &'a Session, scaled: Vec<(u32, f32)>, variables: &'a Variables) -> Self {
        Self {
            session,
            scaled,
            variables,
            layers: None,
        }
    }

    /// The same in some blocks alone.
    #[must_use]
    pub fn within(&self, layers: RangeInclusive<usize>) -> Self {
        Self {
            layers: Some(layers),
            ..self.clone()
        }
    }

    /// The effects at c.
    ///
    /// # Errors
    /// [`Error::NoSuchAdapter`], and [`Error::BadCoefficient`] outside the domain of a law.
    pub fn at(&self, c: f32) -> Result<Rc<Steering>> {
        let coefficients = self.scaled.iter().map(|&(id, share)| (id, c * share));
        let stack = self.session.stack.borrow();
        let steering = stack.steering_of(coefficients, self.layers.as_ref())?;
        Ok(Rc::new(steering))
    }

    /// The law of each adapter.
    pub(super) fn laws(&self) -> Result<Vec<Law>> {
        self.entries(|entry, _| entry.law)
    }

    /// What is turned.
    pub(super) fn facts(&self) -> Result<Vec<AdapterFacts>> {
        self.entries(|entry, scale| AdapterFacts {
            name: entry.adapter.name.clone(),
            method: entry.adapter.method.name,
            law: entry.law.name(),
            sha256: entry.adapter.sha256.clone(),
            scale,
            layers: entry.mask.layers_text(),
            modules: entry.mask.modules_text(),
        })
    }

    /// The blocks on which any of them acts, ascending.
    pub(super) fn layers_reached(&self) -> Result<BTreeSet<usize>> {
        let each = self.entries(|entry, _| {
            let allowed = entry.mask.layers.clone();
            let inside =
                move |layer: &usize| allowed.as_ref().is_none_or(|range| range.contains(layer));
            entry
                .adapter
                .layers_reached()
                .into_iter()
                .filter(inside)
                .collect::<Vec<_>>()
        })?;
        Ok(each.into_iter().flatten().collect())
    }

    fn entries<T>(&self, read: impl Fn(&Entry, f32) -> T) -> Result<Vec<T>> {
        let stack = self.session.stack.borrow();
        let find = |id: u32| stack.entries().iter().find(|entry| entry.id == id);
        let scaled = self.scaled.iter();
        scaled
            .map(|&(id, share)| {
                let entry = find(id).ok_or(Error::NoSuchAdapter { id })?;
                Ok(read(entry, share))
            })
            .collect()
    }

    pub(super) fn text(&self) -> Result<&'a Text> {
        let text = self.session.text.as_ref();
        text.ok_or_else(|| Error::NoTokenizer {
            file: self.session.model.name().into(),
        })
    }

    /// Whether prompts go through a chat template; without one they are plain text with a line break
    /// after it.
    pub(super) fn is_chat(&self) -> bool {
        let text = self.session.text.as_ref();
        text.is_some_and(Text::has_chat_template)
    }

    /// The tokens after which an answer stands.
    pub(super) fn prompt(&self, prompt: &str, system: Option<&str>) -> Result<Vec<u32>> {
        let text = self.text()?;
        if !self.is_chat() {
            let system = system.map_or(String::new(), |system| format!("{system}\n"));
            return text.encode(&format!("{system}{prompt}\n"), true);
        }
        let message = |role: &str, content: &str| Message {
            role: role.into(),
            content: content.into(),
        };
        let system = system.map(|content| message("system", content));
        let messages: Vec<Message> = system
            .into_iter()
            .chain([message("user", prompt)])
            .collect();
        text.encode_chat(&messages, self.variables)
    }

    /// A prompt and its answers as tokens; `named` says which row they are.
    pub(super) fn passage(
        &self,
        named: impl Fn() -> String,
        prompt: &str,
        system: Option<&str>,
        answers: &[&str],
    ) -> Result<Passage> {
        let before = self.prompt(prompt, system)?;
        let encode = |answer: &&str| self.text()?.encode(answer, false);
        let answers = answers.iter().map(encode).collect::<Result<Vec<_>>>()?;
        let context = self.session.model.config().context;
        let longest = answers.iter().map(Vec::len).max().unwrap_or(0) + before.len();
        let bad = |expected: String, found: String| Error::BadConfig {
            file: "the pairs".into(),
            field: named(),
            expected,
            found,
        };
        if before.is_empty() || answers.iter().any(Vec::is_empty) {
            let expected = "texts of at least one token".into();
            return Err(bad(expected, "one without tokens".into()));
        }
        if longest > context {
            let expected = format!("at most the {context} tokens that the model can read");
            return Err(bad(expected, format!("{longest} tokens")));
        }
        Ok(Passage { before, answers })
    }

    /// The pairs of a file as passages, the positive answer first; `system` asks for something before each.
    pub(super) fn passages(
        &self,
        contrast: &Contrast,
        pairs: &[&Pair],
        system: Option<&str>,
    ) -> Result<Vec<Passage>> {
        let passage = |pair: &&Pair| {
            let named = || format!("{}: {}[{}]", contrast.file, contrast.name, pair.row);
            let answers = [&*pair.positive, &*pair.negative];
            self.passage(named, &pair.prompt, system, &answers)
        };
        pairs.iter().map(passage).collect()
    }

    /// Reads what all passages begin with, once.
    pub(super) fn reader(
        &self,
        steering: Rc<Steering>,
        passages: &[Passage],
    ) -> Result<Reader<'a>> {
        let mut prefix: &[u32] = passages.first().map_or(&[], |first| &first.before);
        for Passage { before, .. } in passages {
            let same = prefix.iter().zip(before).take_while(|(a, b)| a == b);
            // One token has to be left that the logits come from.
            prefix = &prefix[..same.count().min(before.len() - 1)];
        }
        let mut cache = self.session.model.new_cache();
        if !prefix.is_empty() {
            let model = &self.session.model;
            model.forward(prefix, &mut cache, &steering, Positions::None)?;
        }
        Ok(Reader {
            session: self.session,
            steering,
            cache,
        })
    }
}

/// A prompt and answers to it, as tokens.
#[derive(Debug)]
pub(super) struct Passage {
    pub(super) before: Vec<u32>,
    pub(super) answers: Vec<Vec<u32>>,
}

/// Texts are read under one steering; what they have in common is read already.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    session: &'a Session,
    pub(super) steering: Rc<Steering>,
    cache: KvCache,
}

impl Reader<'_> {
    /// The cache of a passage's prompt, all but its last token.
    pub(super) fn opened(&self, before: &[u32]) -> Result<KvCache> {
        let mut cache = self.cache.clone();
        let rest = &before[cache.len()..before.len() - 1];
        if !rest.is_empty() {
            let model = &self.session.model;
            model.forward(rest, &mut cache, &self.steering, Positions::None)?;
        }
        Ok(cache)
    }

    /// The logits `[n, vocab]` before each of the n tokens of each answer.
    pub(super) async fn logits(&self, passage: &Passage) -> Result<Vec<Vec<f32>>> {
        let Passage { before, answers } = passage;
        let opened = self.opened(before)?;
        let last = before.len() - 1;
        let texts: Vec<Vec<u32>> = answers
            .iter()
            .map(|answer| [&before[last..], &answer[..answer.len() - 1]].concat())
            .collect();
        let mut caches = vec![opened; texts.len()];
        let lanes = texts.iter().zip(&mut caches);
        let lanes = lanes.map(|(tokens, cache)| Lane {
            tokens,
            cache,
            steering: &self.steering,
        });
        let model = &self.session.model;
        let logits = model.forward_lanes(lanes.collect(), Positions::All)?;
        let mut logits = match logits {
            Some(logits) => read_back(logits).await?,
            None => Vec::new(),
        };
        self.session.check_logits(&logits, last, &self.steering)?;
        let vocab = model.config().vocab_size;
        let mut rows = Vec::with_capacity(answers.len());
        for answer in answers.iter().rev() {
            rows.push(logits.split_off(logits.len() - answer.len() * vocab));
        }
        rows.reverse();
        Ok(rows)
    }

    /// The mean log-probability of the first answer's tokens minus that of the second's, in nats.
    pub(super) async fn difference(&self, passage: &Passage) -> Result<f64> {
        let means = self.log_probabilities(passage).await?;
        Ok(means[0] - means[1])
    }

    /// The mean log-probability of each answer's tokens, in nats.
    pub(super) async fn log_probabilities(&self, passage: &Passage) -> Result<Vec<f64>> {
        let vocab = self.session.model.config().vocab_size;
        let logits = self.logits(passage).await?;
        let each = logits.iter().zip(&passage.answers);
        let means = each.map(|(logits, answer)| {
            let found = log_probabilities(logits, vocab, answer);
            found.iter().sum::<f64>() / found.len() as f64
        });
        Ok(means.collect())
    }
}
