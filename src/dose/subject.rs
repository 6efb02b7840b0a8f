//! Which adapters c turns, and the passes that read texts under them.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::rc::Rc;

use serde::Serialize;

use super::pairs::{Contrast, Pair};
use super::statistics::mean;
use crate::adapters::Entry;
use crate::device::read_back;
use crate::error::{Error, Result};
use crate::hooks::{Law, Site, Steering};
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

    /// Tells of the next `count` steps.
    pub(super) async fn next(&mut self, count: usize) -> Result<()> {
        let done = self.done;
        self.done += count;
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
    /// Tokens on which it may act; those of an answer count as generated.
    pub positions: String,
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
            positions: entry.mask.positions.to_string(),
        })
    }

    /// The blocks on which any of them acts, ascending.
    pub(super) fn layers_reached(&self) -> Result<BTreeSet<usize>> {
        let each = self.entries(|entry, _| {
            let sites = entry.adapter.placed.iter().map(|placed| placed.site);
            let inside = sites.filter(|&site| entry.mask.allows(site));
            inside.filter_map(Site::layer).collect::<Vec<_>>()
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
    pub(crate) fn passage(
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
    pub(crate) fn passages(
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
    pub(crate) fn reader(
        &self,
        steering: Rc<Steering>,
        passages: &[Passage],
    ) -> Result<Reader<'a>> {
        let prefix = Passage::common(passages);
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
pub(crate) struct Passage {
    pub(crate) before: Vec<u32>,
    pub(crate) answers: Vec<Vec<u32>>,
}

impl Passage {
    /// What all of them begin with. One token of each prompt is left, from which the logits come.
    pub(crate) fn common(passages: &[Self]) -> &[u32] {
        let mut common: &[u32] = passages.first().map_or(&[], |first| &first.before);
        for Self { before, .. } in passages {
            let same = common.iter().zip(before).take_while(|(a, b)| a == b);
            common = &common[..same.count().min(before.len() - 1)];
        }
        common
    }

    /// The tokens before each of an answer's: the prompt's last, and all of the answer but its last.
    pub(crate) fn told(&self, answer: &[u32]) -> Vec<u32> {
        let last = &self.before[self.before.len() - 1..];
        [last, &answer[..answer.len() - 1]].concat()
    }
}

/// Texts are read under one steering; what they have in common is read already.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    session: &'a Session,
    pub(super) steering: Rc<Steering>,
    cache: KvCache,
}

/// Bytes of the logits of one pass.
const PASS_BYTES: usize = 24 << 20;

impl Reader<'_> {
    /// The caches of passages' prompts, all but the last token of each.
    pub(super) fn opened(&self, passages: &[Passage]) -> Result<Vec<KvCache>> {
        let read = self.cache.len();
        let opened = passages.iter().map(|passage| {
            let cache = self.cache.clone();
            cache.with_prompt(passage.before.len())
        });
        let mut caches: Vec<KvCache> = opened.collect();
        let rest = |passage: &'_ Passage| read..passage.before.len() - 1;
        let lanes = passages.iter().zip(&mut caches);
        let lanes = lanes.filter(|(passage, _)| !rest(passage).is_empty());
        let lanes: Vec<Lane<'_>> = lanes
            .map(|(passage, cache)| Lane {
                tokens: &passage.before[rest(passage)],
                cache,
                steering: &self.steering,
            })
            .collect();
        if !lanes.is_empty() {
            let model = &self.session.model;
            model.forward_lanes(lanes, Positions::None)?;
        }
        Ok(caches)
    }

    /// The logits `[n, vocab]` before each token of all answers, in one pass.
    pub(super) async fn logits(&self, passages: &[Passage]) -> Result<Vec<f32>> {
        let opened = self.opened(passages)?;
        let mut texts = Vec::new();
        let mut caches = Vec::new();
        for (passage, opened) in passages.iter().zip(opened) {
            let answers = passage.answers.iter();
            texts.extend(answers.map(|answer| passage.told(answer)));
            caches.extend(vec![opened; passage.answers.len()]);
        }
        let lanes = texts.iter().zip(&mut caches);
        let lanes = lanes.map(|(tokens, cache)| Lane {
            tokens,
            cache,
            steering: &self.steering,
        });
        let model = &self.session.model;
        let logits = model.forward_lanes(lanes.collect(), Positions::All)?;
        let logits = match logits {
            Some(logits) => read_back(logits).await?,
            None => Vec::new(),
        };
        let position = passages[0].before.len() - 1;
        self.session
            .check_logits(&logits, position, &self.steering)?;
        Ok(logits)
    }

    /// The mean log-probability of each passage's first answer minus that of its second, in nats per
    /// token.
    pub(crate) async fn differences(
        &self,
        passages: &[Passage],
        mut step: impl AsyncFnMut(usize) -> Result<()>,
    ) -> Result<Vec<f64>> {
        let vocab = self.session.model.config().vocab_size;
        let mut differences = Vec::with_capacity(passages.len());
        for pack in packs(passages, vocab) {
            step(pack.len()).await?;
            let logits = self.logits(pack).await?;
            let means = answers(&logits, vocab, pack)
                .map(|(logits, answer)| mean(&log_probabilities(logits, vocab, answer)));
            let means: Vec<f64> = means.collect();
            differences.extend(means.chunks_exact(2).map(|both| both[0] - both[1]));
        }
        Ok(differences)
    }
}

/// Passages apart by passes: as many in one as its logits have room for.
pub(super) fn packs(passages: &[Passage], vocab: usize) -> Vec<&[Passage]> {
    let most = PASS_BYTES / size_of::<f32>() / vocab;
    let mut packs = Vec::new();
    let mut rest = passages;
    while !rest.is_empty() {
        let mut tokens = 0;
        let fits = rest.iter().take_while(|passage| {
            tokens += passage.answers.iter().map(Vec::len).sum::<usize>();
            tokens <= most
        });
        let (pack, others) = rest.split_at(fits.count().max(1));
        packs.push(pack);
        rest = others;
    }
    packs
}

/// Each answer's logits `[n, vocab]` with its n tokens, of those that one pass gave.
pub(super) fn answers<'a>(
    logits: &'a [f32],
    vocab: usize,
    passages: &'a [Passage],
) -> impl Iterator<Item = (&'a [f32], &'a [u32])> {
    let mut rest = logits;
    let each = passages.iter().flat_map(|passage| &passage.answers);
    each.map(move |answer| {
        let (own, others) = rest.split_at(answer.len() * vocab);
        rest = others;
        (own, &answer[..])
    })
}
