//! A loaded model, its text, its stack of adapters, and the streams they produce.
//!
//! Nothing here reads files, knows the time or a browser. A [`Generation`] owns its share of the
//! session, so coefficients may change while one of its steps is under way: they act from the
//! next step on.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::adapters::Stack;
use crate::arch::ModelFile;
use crate::device::{gpu_is_software, read_back};
use crate::error::{Error, Result};
use crate::hooks::{Acting, Stamp, Steering};
use crate::kernels::Asked;
use crate::model::{self, KvCache, Model, Positions, Weights};
use crate::sample::{Answer, Question, Sampling, all_finite};
use crate::text::{Message, Speech, Text};
use crate::weights::ByteSource;

/// Prompt tokens per forward pass, so that a long prompt can be stopped and shows its progress.
const PREFILL_TOKENS: usize = 128;
/// The same on a GPU that a program imitates, which takes seconds for more.
const SOFTWARE_PREFILL_TOKENS: usize = 32;

/// A model ready to speak.
#[derive(Debug, Clone)]
pub struct Session {
    /// The weights.
    pub model: Rc<Model>,
    /// Its tokenizer and chat template, when the file has them.
    pub text: Option<Text>,
    /// The adapters.
    pub stack: Rc<RefCell<Stack>>,
}

/// How far loading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadState {
    /// Weights go to the device.
    Uploading,
    /// First tokens are computed, so that the user's are not slower.
    WarmingUp,
    /// Done.
    Ready,
}

/// One report of [`Session::load`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadProgress {
    /// The present state.
    pub state: LoadState,
    /// File bytes consumed so far.
    pub bytes: u64,
    /// File bytes in all.
    pub total_bytes: u64,
}

impl Session {
    /// Loads weights to a device and runs a few tokens. `text` is what lies beside safetensors
    /// weights; a GGUF file brings its own.
    ///
    /// # Errors
    /// What reading and the device report.
    pub async fn load<S: ByteSource>(
        file: &ModelFile<S>,
        text: Option<Text>,
        device: &Device,
        weights: Weights,
        mut progress: impl FnMut(LoadProgress),
    ) -> Result<Self> {
        let text = match (text, file.metadata()) {
            (None, Some(metadata)) => Text::from_gguf(file.name(), metadata)?,
            (text, _) => text,
        };
        let total_bytes = file.total_bytes();
        let mut report = |state, bytes| {
            progress(LoadProgress {
                state,
                bytes,
                total_bytes,
            })
        };
        let uploaded = |bytes| report(LoadState::Uploading, bytes);
        let model = Model::load(file, device, weights, uploaded).await?;
        report(LoadState::WarmingUp, total_bytes);
        for &tokens in model.warm_up_tokens() {
            let mut cache = model.new_cache();
            let warm_up = vec![0; tokens.min(model.config().context)];
            let base = Steering::base();
            let logits = model.forward(&warm_up, &mut cache, &base, Positions::Last)?;
            let Some(logits) = logits else { continue };
            if model.is_on_gpu() {
                let question = Question {
                    sampling: &Sampling::default(),
                    position: 0,
                    so_far: vec![&[]],
                    reference: None,
                    top: 0,
                };
                let vocab = model.config().vocab_size;
                let asked = Asked::new(&question, None, false, vocab, device);
                asked.answer(logits, None).1.await?;
            } else {
                read_back(logits).await?;
            }
        }
        report(LoadState::Ready, total_bytes);
        let stack = Rc::new(RefCell::new(Stack::default()));
        Ok(Self {
            model: Rc::new(model),
            text,
            stack,
        })
    }

    /// Starts a stream.
    ///
    /// # Errors
    /// Options outside their range, an empty prompt, one beyond the context, text without a
    /// tokenizer.
    pub fn generate(&self, request: Request) -> Result<Generation> {
        request.sampling.check()?;
        let prompt = self.prompt_ids(&request)?;
        let context = self.model.config().context;
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if prompt.len() >= context {
            return Err(Error::PromptTooLong {
                tokens: prompt.len(),
                context,
            });
        }
        let room = context - prompt.len();
        Ok(Generation {
            model: self.model.clone(),
            text: self.text.clone(),
            stack: self.stack.clone(),
            max_tokens: request.max_tokens.min(room),
            steered: Lane::new(&self.model, self.text.as_ref(), &prompt, &request.stop),
            base: None,
            shadow: None,
            ahead: None,
            failed: None,
            prompt_tokens: prompt.len(),
            index: 0,
            request,
        })
    }

    /// Whether logits `[n, vocab]` behind the tokens from `first` on can be told, which the stack's
    /// adapters had a part in as far as `steering` has them.
    ///
    /// # Errors
    /// [`Error::Diverged`] names the first token behind which they are not all finite.
    pub fn check_logits(&self, logits: &[f32], first: usize, steering: &Steering) -> Result<()> {
        let mut rows = logits.chunks(self.model.config().vocab_size);
        match rows.position(|row| !all_finite(row)) {
            None => Ok(()),
            Some(row) => Err(Error::Diverged {
                token: first + row,
                coefficients: self.stack.borrow().words(steering.stamp()),
            }),
        }
    }

    /// The token ids that a request starts from.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn prompt_ids(&self, request: &Request) -> Result<Vec<u32>> {
        if let Some(ids) = &request.ids {
            return Ok(ids.clone());
        }
        let no_tokenizer = || Error::NoTokenizer {
            file: self.model.name().into(),
        };
        let text = self.text.as_ref().ok_or_else(no_tokenizer)?;
        match (&request.chat, &request.prompt) {
            (Some(chat), _) if chat.iter().all(|message| message.content.trim().is_empty()) => {
                Err(Error::EmptyPrompt)
            }
            (Some(chat), _) => text.encode_chat(chat),
            (None, Some(prompt)) if prompt.is_empty() => Err(Error::EmptyPrompt),
            (None, Some(prompt)) => text.encode(prompt, true),
            (None, None) => Err(Error::EmptyPrompt),
        }
    }
}

/// What to say, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Request {
    /// Plain text to continue.
    pub prompt: Option<String>,
    /// A conversation to answer, through the model's chat template.
    pub chat: Option<Vec<Message>>,
    /// Token ids to continue; beats the other two.
    pub ids: Option<Vec<u32>>,
    /// Tokens at most.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end a stream; they are not part of it. Special tokens count as they are spelled.
    pub stop: Vec<String>,
    /// What happens to cached keys and values when coefficients change.
    pub cache: CachePolicy,
    /// Whether the base model speaks beside the steered one.
    pub compare: bool,
    /// Whether the KL goes on behind the first difference (a third forward pass per token).
    pub kl_after_split: bool,
    /// How many of the most probable tokens to report for each step.
    pub top: usize,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: None,
            chat: None,
            ids: None,
            max_tokens: 128,
            sampling: Sampling::default(),
            stop: Vec::new(),
            cache: CachePolicy::Keep,
            compare: false,
            kl_after_split: true,
            top: 0,
        }
    }
}

/// What a change of coefficients does to the keys and values computed before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CachePolicy {
    /// "From here on": they stay, computed under the old coefficients.
    #[default]
    Keep,
    /// "As if from the start": they are computed again under the new ones.
    Recompute,
}

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

/// One report of a [`Generation`].
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
    /// Each stream that still speaks said one token.
    Token {
        /// Counts tokens from 0.
        index: usize,
        /// The steered stream, while it speaks.
        steered: Option<LaneStep>,
        /// The base stream, while it speaks.
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
    /// The model said so.
    EndOfText,
    /// The asked number of tokens is reached.
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
}

/// A stream under way. Dropping it stops it.
#[derive(Debug)]
pub struct Generation {
    model: Rc<Model>,
    text: Option<Text>,
    stack: Rc<RefCell<Stack>>,
    request: Request,
    prompt_tokens: usize,
    max_tokens: usize,
    index: usize,
    steered: Lane,
    /// Absent while the base would do exactly what the steered stream does.
    base: Option<Lane>,
    /// The base model reading the steered text, once the two texts differ.
    shadow: Option<Lane>,
    /// On a GPU: the pass behind the newest token, which all lanes' caches hold already.
    ahead: Option<Ahead>,
    /// Why nothing more can be said.
    failed: Option<Error>,
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

    /// Lets the stream start from a cache that holds the whole prompt but its last token; whatever
    /// steered its entries is kept.
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
        self.steered.cache = cache;
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
    /// [`Error::DeviceLost`] when results cannot be read back; [`Error::Diverged`], from then on for
    /// ever, when the logits of one of the streams are no longer finite, so that there is no next token.
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
            self.take_back();
        }
        let stale = !self.steered.cache.is_all(steering.stamp());
        let recompute = stale && self.request.cache == CachePolicy::Recompute;
        if recompute && self.steered.finish.is_none() {
            self.take_back();
            self.fork_base();
            self.steered.cache = self.model.new_cache();
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
        let [speaks, own, _] = pending.speaks;
        let answer = match pending.answer {
            Answering::Gpu { answer, .. } => answer.await?,
            Answering::Host(logits) => {
                let logits = read_back(logits).await?;
                Answer::of(&self.question(self.index, pending.speaks), &logits)
            }
        };
        if let Some(row) = answer.diverged {
            return Err(self.fail(row, pending.speaks, &steering));
        }
        let was_split = self.split();
        let steered_step = speaks.then(|| self.say(false, answer.chosen[0]));
        let base_step = match self.request.compare && self.base.is_none() {
            true => steered_step.clone(),
            false => own.then(|| self.say(true, answer.chosen[usize::from(speaks)])),
        };
        let splits = !was_split && self.split();
        let ends = |step: &Option<LaneStep>| step.as_ref().is_some_and(|s| s.finish.is_some());
        if let (Some(shadow), Some(step)) = (&mut self.shadow, &steered_step) {
            shadow.ids.push(step.id);
        }
        match splits || ends(&steered_step) || ends(&base_step) {
            // Other streams go on now than those that run ahead.
            true => self.take_back(),
            false => self.learn(),
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

    /// Ends all streams: one of those that took part in a pass has no next token.
    fn fail(&mut self, row: usize, speaks: [bool; 3], steering: &Steering) -> Error {
        self.ahead = None;
        let lanes = self.lanes().into_iter().zip(speaks).enumerate();
        let lane = lanes.filter(|(_, (_, speaks))| *speaks).nth(row);
        let mut acting = Vec::new();
        if let Some((0, (Some(lane), _))) = lane {
            acting.extend_from_slice(steering.stamp());
            // What acted while its cache was filled is in it.
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

    fn base(&self) -> &Lane {
        self.base.as_ref().unwrap_or(&self.steered)
    }

    /// Whether the two texts differ.
    fn split(&self) -> bool {
        self.base
            .as_ref()
            .is_some_and(|base| base.ids != self.steered.ids)
    }

    /// Gives the base its own stream. Until now no adapter has acted, so all that the steered
    /// stream computed is the base's too.
    fn fork_base(&mut self) {
        if self.base.is_some() || !self.request.compare {
            return;
        }
        self.base = Some(self.steered.clone());
    }

    /// The base's cache behind the steered text. At the first difference only the newest token,
    /// which no cache holds yet, is another.
    fn fork_shadow(&self) -> Option<Lane> {
        let mut shadow = self.base.clone()?;
        shadow.ids.clone_from(&self.steered.ids);
        shadow.finish = None;
        Some(shadow)
    }

    /// Reads one more piece of a long prompt, in the stream that has read the least of those that
    /// have one before them.
    async fn prefill(&mut self, steering: &Steering, base: &Steering) -> Result<Option<Step>> {
        // A GPU would take all pieces at once and be heard of after the last: it is waited for.
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
        let long = |lane: &Lane| match lane.cache.len() {
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

    /// Steered stream, base, and base behind the steered text, as far as they are there.
    fn lanes(&self) -> [Option<&Lane>; 3] {
        let base = self.base.as_ref().filter(|_| self.request.compare);
        [Some(&self.steered), base, self.shadow.as_ref()]
    }

    fn lanes_mut(&mut self) -> [Option<&mut Lane>; 3] {
        let compare = self.request.compare;
        let base = self.base.as_mut().filter(|_| compare);
        [Some(&mut self.steered), base, self.shadow.as_mut()]
    }

    /// What a pass of these lanes is asked, for the token at `position`.
    fn question(&self, position: usize, speaks: [bool; 3]) -> Question<'_> {
        let lanes = self.lanes().into_iter().zip(speaks);
        let so_far: Vec<&[u32]> = lanes
            .filter_map(|(lane, speaks)| Some(&lane.filter(|_| speaks)?.ids[..]))
            .collect();
        let reference = match speaks {
            [false, ..] => None,
            [_, _, true] => Some(so_far.len() - 1),
            // Behind the split the base reads another text.
            _ if self.split() || !self.request.compare => None,
            [_, own, _] => Some(usize::from(own)),
        };
        Question {
            sampling: &self.request.sampling,
            position,
            so_far,
            reference,
            top: if speaks[0] { self.request.top } else { 0 },
        }
    }

    /// The same for a GPU, if it can answer. With `newest`, each lane has a token more than we know.
    fn asked(&self, position: usize, speaks: [bool; 3], newest: bool) -> Option<Asked> {
        let question = self.question(position, speaks);
        if !self.model.is_on_gpu() || !Asked::suits(&question) {
            return None;
        }
        let shadow = speaks[2].then(|| question.so_far.len() - 1);
        let (vocab, device) = (self.model.config().vocab_size, self.model.device());
        Some(Asked::new(&question, shadow, newest, vocab, &device))
    }

    /// Begins to compute what waits in all streams, in one pass.
    fn encode(&mut self, steering: &Steering, base: &Steering) -> Result<Pending> {
        let mut speaks = self
            .lanes()
            .map(|lane| lane.is_some_and(|lane| lane.waiting() > 0));
        speaks[2] &= speaks[0];
        let asked = self.asked(self.index, speaks, false);
        let model = self.model.clone();
        let passes = self.lanes_mut().into_iter().zip([steering, base, base]);
        let passes = passes.zip(speaks).filter(|(_, speaks)| *speaks);
        let passes = passes.filter_map(|((lane, steering), _)| lane?.pass(steering));
        let logits = model.forward_lanes(passes.collect(), Positions::Last)?;
        let logits = logits.ok_or(Error::EmptyPrompt)?;
        let answer = match asked {
            Some(asked) => Answering::on_gpu(asked.answer(logits, None)),
            None => Answering::Host(logits),
        };
        Ok(Pending { speaks, answer })
    }

    /// Begins to compute the token behind the one that is `pending`, whose id only the GPU knows, so
    /// that the GPU never waits for us. `None` where that token must be known first, or is the last.
    fn encode_ahead(
        &mut self,
        pending: &Pending,
        steering: &Steering,
        base: &Steering,
    ) -> Result<Option<Ahead>> {
        let Answering::Gpu { ids, .. } = &pending.answer else {
            return Ok(None);
        };
        // In a browser a software GPU holds back what is read until all that was submitted is done.
        let holds_back = cfg!(target_arch = "wasm32") && gpu_is_software();
        if holds_back || self.index + 1 >= self.max_tokens || steering.reads_tokens() {
            return Ok(None);
        }
        let Some(asked) = self.asked(self.index + 1, pending.speaks, true) else {
            return Ok(None);
        };
        let model = self.model.clone();
        let lanes = self.lanes_mut().into_iter().zip([steering, base, base]);
        let lanes = lanes.zip(pending.speaks).filter(|(_, speaks)| *speaks);
        let lanes = lanes.filter_map(|((lane, steering), _)| Some((&mut lane?.cache, steering)));
        let logits = model.forward_next(ids, lanes.collect())?;
        let answer = logits.map(|logits| asked.answer(logits, Some(ids)));
        Ok(answer.map(|answer| Ahead {
            pending: Pending {
                speaks: pending.speaks,
                answer: Answering::on_gpu(answer),
            },
            stamp: steering.stamp().clone(),
        }))
    }

    /// Undoes [`Self::encode_ahead`].
    fn take_back(&mut self) {
        let Some(ahead) = self.ahead.take() else {
            return;
        };
        for (lane, spoke) in self.lanes_mut().into_iter().zip(ahead.pending.speaks) {
            if let Some(lane) = lane.filter(|_| spoke) {
                lane.cache.take_back();
            }
        }
    }

    /// Tells the caches which tokens [`Self::encode_ahead`] gave them.
    fn learn(&mut self) {
        let Some(Ahead { pending, .. }) = &self.ahead else {
            return;
        };
        let speaks = pending.speaks;
        for (lane, speaks) in self.lanes_mut().into_iter().zip(speaks) {
            if let Some(lane) = lane.filter(|_| speaks)
                && let Some(&id) = lane.ids.last()
            {
                lane.cache.learn(id);
            }
        }
    }

    fn say(&mut self, base: bool, (id, log_p): (u32, f64)) -> LaneStep {
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
        });
        each.collect()
    }
}

/// A pass under way.
#[derive(Debug)]
struct Pending {
    /// Which of [`Generation::lanes`] take part.
    speaks: [bool; 3],
    answer: Answering,
}

enum Answering {
    /// The logits, one row for each lane.
    Host(Tensor<2>),
    /// The chosen ids, one for each lane, and what is being read of them.
    Gpu {
        ids: Tensor<1, Int>,
        answer: Pin<Box<dyn Future<Output = Result<Answer>>>>,
    },
}

impl Answering {
    fn on_gpu(
        (ids, answer): (
            Tensor<1, Int>,
            impl Future<Output = Result<Answer>> + 'static,
        ),
    ) -> Self {
        let answer = Box::pin(answer);
        Self::Gpu { ids, answer }
    }
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Host(_) => "Host",
            Self::Gpu { .. } => "Gpu",
        })
    }
}

/// A pass behind a token that is not known yet.
#[derive(Debug)]
struct Ahead {
    pending: Pending,
    /// What steers it.
    stamp: Stamp,
}

/// One text in the making and its cache.
#[derive(Debug, Clone)]
struct Lane {
    /// Prompt and answer; those behind `cache.len()` are still to be computed.
    ids: Vec<u32>,
    cache: KvCache,
    speech: Speech,
    finish: Option<Finish>,
}

impl Lane {
    fn new(model: &Model, text: Option<&Text>, prompt: &[u32], stops: &[String]) -> Self {
        Self {
            ids: prompt.to_vec(),
            cache: model.new_cache(),
            speech: Speech::new(text, stops),
            finish: None,
        }
    }

    fn waiting(&self) -> usize {
        match self.finish {
            Some(_) => 0,
            None => self.ids.len() - self.cache.len(),
        }
    }

    /// What is waiting, for a pass of the model; `None` after the end.
    fn pass<'a>(&'a mut self, steering: &'a Steering) -> Option<model::Lane<'a>> {
        (self.waiting() > 0).then(|| model::Lane {
            tokens: &self.ids[self.cache.len()..],
            cache: &mut self.cache,
            steering,
        })
    }
}
