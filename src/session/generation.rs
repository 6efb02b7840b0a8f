//! Up to three texts in lockstep, one token of each at a time.

use std::cell::RefCell;
use std::rc::Rc;

use super::passes::{Ahead, Answering, Pending};
use super::request::{CachePolicy, Request};
use super::step::{CacheUse, Candidate, Finish, LaneStep, Step};
use super::stream::{Stream, Taking};
use crate::adapters::Stack;
use crate::device::{gpu_is_software, read_back};
use crate::error::{Error, Result};
use crate::hooks::{Acting, Steering};
use crate::kernels::Asked;
use crate::measure::log_ratio_nats;
use crate::model::{KvCache, Model, Positions};
use crate::sample::{Answer, Question};
use crate::text::Text;

/// Prompt tokens per forward pass, so that a long prompt can be stopped and shows its progress.
const PREFILL_TOKENS: usize = 128;
/// The same on a software GPU, which takes seconds for more.
const SOFTWARE_PREFILL_TOKENS: usize = 32;

/// A generation under way. Dropping it stops it.
#[derive(Debug)]
pub struct Generation {
    pub(super) model: Rc<Model>,
    pub(super) text: Option<Text>,
    pub(super) stack: Rc<RefCell<Stack>>,
    pub(super) request: Request,
    pub(super) prompt_tokens: usize,
    pub(super) max_tokens: usize,
    pub(super) index: usize,
    pub(super) steered: Stream,
    /// Absent while the base would do exactly what the steered stream does.
    pub(super) base: Option<Stream>,
    /// The base model reading the steered text, once the two texts differ.
    pub(super) shadow: Option<Stream>,
    /// On a GPU: the pass after the newest token; the caches of its lanes hold that token already.
    pub(super) ahead: Option<Ahead>,
    /// The error that ended it.
    pub(super) failed: Option<Error>,
}

impl Generation {
    /// The ids that the streams continue.
    #[must_use]
    pub fn prompt_ids(&self) -> &[u32] {
        &self.steered.ids[..self.prompt_tokens]
    }

    /// Sets what the next change of coefficients does to the cache.
    pub fn set_cache_policy(&mut self, cache: CachePolicy) {
        self.request.cache = cache;
    }

    /// Starts from a cache that holds the whole prompt but its last token, under whatever steering
    /// it was computed.
    ///
    /// # Errors
    /// [`Error::BadOption`] when the cache holds another number of tokens.
    pub fn start_from(&mut self, cache: KvCache) -> Result<()> {
        if cache.len() + 1 != self.prompt_tokens || self.index > 0 {
            return Err(Error::BadOption {
                name: "cache",
                expected: "one that holds the prompt but its last token",
                found: format!("{} of {} tokens", cache.len(), self.prompt_tokens),
            });
        }
        self.steered.cache = cache.with_prompt(self.prompt_tokens);
        Ok(())
    }

    /// Memory of all caches, in bytes.
    #[must_use]
    pub fn cache_bytes(&self) -> u64 {
        let lanes = [
            Some(&self.steered),
            self.base.as_ref(),
            self.shadow.as_ref(),
        ];
        lanes
            .into_iter()
            .flatten()
            .map(|lane| lane.cache.bytes())
            .sum()
    }

    /// Computes the next step; `None` when every stream has ended.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when results cannot be read back; [`Error::Diverged`], at this and
    /// every later call, when the logits of one of the streams are no longer finite, so that there
    /// is no next token.
    pub async fn next(&mut self) -> Result<Option<Step>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let base_done = !self.request.compare || self.base().finish.is_some();
        if (self.steered.finish.is_some() && base_done) || self.max_tokens == 0 {
            return Ok(None);
        }
        let steering = self.stack.borrow_mut().steering();
        let base = Steering::base();
        if self
            .ahead
            .as_ref()
            .is_some_and(|ahead| ahead.stamp != *steering.stamp())
        {
            self.roll_back();
        }
        let stale = !self.steered.cache.is_all(&steering);
        let recompute = stale && self.request.cache == CachePolicy::Recompute;
        if recompute && self.steered.finish.is_none() {
            self.roll_back();
            self.fork_base();
            self.steered.cache = self.model.new_cache().with_prompt(self.prompt_tokens);
        }
        if !steering.stamp().is_empty() {
            self.fork_base();
        }
        if let Some(step) = self.prefill(&steering, &base).await? {
            return Ok(Some(step));
        }

        let pending = match self.ahead.take() {
            Some(ahead) => ahead.pending,
            None => self.encode(&steering, &base)?,
        };
        self.ahead = self.encode_ahead(&pending, &steering, &base)?;
        let taking = pending.taking;
        let answer = match pending.answer {
            Answering::Gpu { answer, .. } => answer.await?,
            Answering::Host(logits) => {
                let logits = read_back(logits).await?;
                Answer::of(&self.question(self.index, pending.taking), &logits)
            }
        };
        if let Some(row) = answer.diverged {
            return Err(self.fail(row, pending.taking, &steering));
        }
        let was_split = self.split();
        let steered_step = taking.steered.then(|| self.commit(false, answer.chosen[0]));
        let base_step = if self.request.compare && self.base.is_none() {
            steered_step.clone()
        } else {
            let row = usize::from(taking.steered);
            taking.base.then(|| self.commit(true, answer.chosen[row]))
        };
        let splits = !was_split && self.split();
        let ends = |step: &Option<LaneStep>| step.as_ref().is_some_and(|s| s.finish.is_some());
        if let (Some(shadow), Some(step)) = (&mut self.shadow, &steered_step) {
            shadow.ids.push(step.id);
        }
        if splits || ends(&steered_step) || ends(&base_step) {
            // The pass that runs ahead is not of the streams that go on.
            self.roll_back();
        } else {
            self.resolve();
        }
        if self.request.kl_after_split && splits {
            self.shadow = self.fork_shadow();
        }
        let (kl_nats, top) = (answer.kl_nats, self.candidates(answer.top));
        let cache = match (recompute, stale) {
            (true, _) => CacheUse::Recomputed,
            (false, true) => CacheUse::Kept,
            (false, false) => CacheUse::Current,
        };
        let index = self.index;
        self.index += 1;
        let acting = steering.stamp().iter();
        let coefficients = acting
            .map(|acting| (acting.id, acting.coefficient))
            .collect();
        Ok(Some(Step::Token {
            index,
            steered: steered_step,
            base: base_step,
            kl_nats,
            coefficients,
            cache,
            top,
        }))
    }

    /// Ends all streams: row `row` of a pass has no next token.
    fn fail(&mut self, row: usize, taking: Taking, steering: &Steering) -> Error {
        self.ahead = None;
        let lanes = self.lanes().into_iter().zip(taking.each()).enumerate();
        let lane = lanes.filter(|(_, (_, takes_part))| *takes_part).nth(row);
        let mut acting = Vec::new();
        if let Some((0, (Some(lane), _))) = lane {
            acting.extend_from_slice(steering.stamp());
            // The cache depends on what acted while it was filled.
            let before = lane.cache.stamps().iter().flat_map(|(_, stamp)| &**stamp);
            for one in before {
                let same =
                    |known: &Acting| (known.id, known.coefficient) == (one.id, one.coefficient);
                if !acting.iter().any(same) {
                    acting.push(one.clone());
                }
            }
        }
        let error = Error::Diverged {
            token: self.index,
            coefficients: self.stack.borrow().words(&acting),
        };
        self.failed = Some(error.clone());
        error
    }

    fn base(&self) -> &Stream {
        self.base.as_ref().unwrap_or(&self.steered)
    }

    /// Whether the two texts differ.
    fn split(&self) -> bool {
        self.base
            .as_ref()
            .is_some_and(|base| base.ids != self.steered.ids)
    }

    /// Gives the base its own stream. No adapter has acted yet, so the base's is a copy of the
    /// steered stream.
    fn fork_base(&mut self) {
        if self.base.is_some() || !self.request.compare {
            return;
        }
        self.base = Some(self.steered.clone());
    }

    /// A stream of the base that reads the steered text, made at the first difference: only the
    /// newest token differs then, which no cache holds yet.
    fn fork_shadow(&self) -> Option<Stream> {
        let mut shadow = self.base.clone()?;
        shadow.ids.clone_from(&self.steered.ids);
        shadow.finish = None;
        Some(shadow)
    }

    /// The steered stream, the base's, and the base reading the steered text, as far as they exist.
    fn lanes(&self) -> [Option<&Stream>; 3] {
        let base = self.base.as_ref().filter(|_| self.request.compare);
        [Some(&self.steered), base, self.shadow.as_ref()]
    }

    fn lanes_mut(&mut self) -> [Option<&mut Stream>; 3] {
        let compare = self.request.compare;
        let base = self.base.as_mut().filter(|_| compare);
        [Some(&mut self.steered), base, self.shadow.as_mut()]
    }

    fn commit(&mut self, base: bool, (id, log_p): (u32, f64)) -> LaneStep {
        let last = self.index + 1 >= self.max_tokens;
        let lane = match &mut self.base {
            Some(lane) if base => lane,
            _ => &mut self.steered,
        };
        lane.ids.push(id);
        let ends = self
            .text
            .as_ref()
            .is_some_and(|text| text.stop_ids().contains(&id));
        let (text, stopped) = lane.speech.push(id, ends || last);
        lane.finish = match (ends, stopped, last) {
            (true, ..) => Some(Finish::EndOfText),
            (_, true, _) => Some(Finish::StopText),
            (_, _, true) if self.max_tokens < self.request.max_tokens => Some(Finish::Context),
            (_, _, true) => Some(Finish::Length),
            _ => None,
        };
        LaneStep {
            id,
            text,
            probability: log_p.exp(),
            finish: lane.finish,
        }
    }

    fn candidates(&self, top: Vec<(u32, f64, Option<f64>)>) -> Vec<Candidate> {
        let text = |id| self.text.as_ref().and_then(|text| text.token_text(id));
        let each = top.into_iter().map(|(id, steered, base)| Candidate {
            id,
            text: text(id).unwrap_or_default(),
            steered,
            base,
            difference_nats: base.and_then(|base| log_ratio_nats(steered, base)),
        });
        each.collect()
    }

    /// Reads one more piece of a long prompt, in the stream that has read the least.
    async fn prefill(&mut self, steering: &Steering, base: &Steering) -> Result<Option<Step>> {
        // Passes are queued on a GPU: without waiting for each, there would be no progress to show.
        let on_gpu = self.model.is_on_gpu();
        let (positions, piece_tokens) = match on_gpu && gpu_is_software() {
            true => (Positions::Last, SOFTWARE_PREFILL_TOKENS),
            false if on_gpu => (Positions::Last, PREFILL_TOKENS),
            false => (Positions::None, PREFILL_TOKENS),
        };
        let mut lanes = [
            (Some(&mut self.steered), steering),
            (self.base.as_mut(), base),
        ];
        let long = |lane: &Stream| match lane.cache.len() {
            0 => lane.waiting() > PREFILL_TOKENS,
            _ => lane.waiting() > piece_tokens,
        };
        let next = lanes.iter_mut().filter_map(|(lane, steering)| {
            let lane = lane.as_deref_mut().filter(|lane| long(lane))?;
            Some((lane, *steering))
        });
        let Some((lane, steering)) = next.min_by_key(|(lane, _)| lane.cache.len()) else {
            return Ok(None);
        };
        let start = lane.cache.len();
        let piece = &lane.ids[start..start + piece_tokens];
        let logits = self
            .model
            .forward(piece, &mut lane.cache, steering, positions)?;
        if let Some(logits) = logits {
            read_back(logits.slice([0..1, 0..1])).await?;
        }
        let total_tokens = self.steered.ids.len();
        let read = [Some(&self.steered), self.base.as_ref()];
        let read = read.into_iter().flatten().map(|lane| lane.cache.len());
        let (lanes, done) = read.fold((0, 0), |(lanes, done), len| (lanes + 1, done + len));
        Ok(Some(Step::Prefill {
            done_tokens: done / lanes,
            total_tokens,
        }))
    }

    /// The question to the logits of a pass of these lanes, for the token at `position`.
    fn question(&self, position: usize, taking: Taking) -> Question<'_> {
        let lanes = self.lanes().into_iter().zip(taking.each());
        let so_far: Vec<&[u32]> = lanes
            .filter_map(|(lane, takes_part)| Some(&lane.filter(|_| takes_part)?.ids[..]))
            .collect();
        let reference = if !taking.steered {
            None
        } else if taking.shadow {
            Some(so_far.len() - 1)
        } else if self.split() || !self.request.compare {
            // After the split the base reads another text.
            None
        } else {
            Some(usize::from(taking.base))
        };
        Question {
            sampling: &self.request.sampling,
            position,
            so_far,
            reference,
            top: if taking.steered { self.request.top } else { 0 },
        }
    }

    /// The same for a GPU, if its kernel can answer it. With `newest`, each lane has one more token,
    /// whose id only the GPU knows.
    fn asked(&self, position: usize, taking: Taking, newest: bool) -> Option<Asked> {
        let question = self.question(position, taking);
        if !self.model.is_on_gpu() || !Asked::suits(&question) {
            return None;
        }
        let shadow = taking.shadow.then(|| question.so_far.len() - 1);
        let (vocab, device) = (self.model.config().vocab_size, self.model.device());
        Some(Asked::new(&question, shadow, newest, vocab, &device))
    }

    /// Starts one pass over the waiting tokens of all streams.
    fn encode(&mut self, steering: &Steering, base: &Steering) -> Result<Pending> {
        let waits = |lane: Option<&Stream>| lane.is_some_and(|lane| lane.waiting() > 0);
        let [steered, own, shadow] = self.lanes().map(waits);
        let taking = Taking {
            steered,
            base: own,
            shadow: shadow && steered,
        };
        let asked = self.asked(self.index, taking, false);
        let model = self.model.clone();
        let passes = self.lanes_mut().into_iter().zip([steering, base, base]);
        let passes = passes
            .zip(taking.each())
            .filter(|(_, takes_part)| *takes_part);
        let passes = passes.filter_map(|((lane, steering), _)| lane?.pass(steering));
        let logits = model.forward_lanes(passes.collect(), Positions::Last)?;
        let logits = logits.ok_or(Error::EmptyPrompt)?;
        let answer = match asked {
            Some(asked) => Answering::on_gpu(asked.answer(logits, None)),
            None => Answering::Host(logits),
        };
        Ok(Pending { taking, answer })
    }

    /// Starts the pass after the token of `pending`, whose id only the GPU knows, so that the GPU
    /// never waits for the host. `None` where the host must know that token first, or where it is
    /// the last.
    fn encode_ahead(
        &mut self,
        pending: &Pending,
        steering: &Steering,
        base: &Steering,
    ) -> Result<Option<Ahead>> {
        let Answering::Gpu { ids, .. } = &pending.answer else {
            return Ok(None);
        };
        // In a browser a software GPU returns what is read only after all submitted work is done.
        let holds_back = cfg!(target_arch = "wasm32") && gpu_is_software();
        if holds_back || self.index + 1 >= self.max_tokens || steering.reads_tokens() {
            return Ok(None);
        }
        let Some(asked) = self.asked(self.index + 1, pending.taking, true) else {
            return Ok(None);
        };
        let model = self.model.clone();
        let lanes = self.lanes_mut().into_iter().zip([steering, base, base]);
        let lanes = lanes
            .zip(pending.taking.each())
            .filter(|(_, takes_part)| *takes_part);
        let lanes = lanes.filter_map(|((lane, steering), _)| Some((&mut lane?.cache, steering)));
        let logits = model.forward_next(ids, lanes.collect())?;
        let answer = logits.map(|logits| asked.answer(logits, Some(ids)));
        Ok(answer.map(|answer| Ahead {
            pending: Pending {
                taking: pending.taking,
                answer: Answering::on_gpu(answer),
            },
            stamp: steering.stamp().clone(),
        }))
    }

    /// Undoes [`Self::encode_ahead`].
    fn roll_back(&mut self) {
        let Some(ahead) = self.ahead.take() else {
            return;
        };
        for (lane, spoke) in self
            .lanes_mut()
            .into_iter()
            .zip(ahead.pending.taking.each())
        {
            if let Some(lane) = lane.filter(|_| spoke) {
                lane.cache.take_back();
            }
        }
    }

    /// Gives the caches the ids of the tokens that [`Self::encode_ahead`] added.
    fn resolve(&mut self) {
        let Some(Ahead { pending, .. }) = &self.ahead else {
            return;
        };
        let taking = pending.taking.each();
        for (lane, takes_part) in self.lanes_mut().into_iter().zip(taking) {
            if let Some(lane) = lane.filter(|_| takes_part)
                && let Some(&id) = lane.ids.last()
            {
                lane.cache.resolve(id);
            }
        }
    }
}
