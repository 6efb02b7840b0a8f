//! A loaded model, its text, its stack of adapters, and the streams they produce.
//!
//! Nothing here reads files, a clock or a browser. A [`Generation`] shares the model and the stack
//! with the session, so coefficients may change while one of its steps is under way: they act from
//! the next step on.

mod generation;
mod passes;
mod request;
mod step;
mod stream;

pub use generation::Generation;
pub use request::{CachePolicy, Request};
pub use step::{CacheUse, Candidate, Finish, LaneStep, Step};

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::Device;
use serde::Serialize;

use crate::adapters::Stack;
use crate::arch::ModelFile;
use crate::device::read_back;
use crate::error::{Error, Result};
use crate::hooks::Steering;
use crate::kernels::Asked;
use crate::model::{Model, Positions, Weights};
use crate::sample::{Question, Sampling, all_finite};
use crate::text::Text;
use crate::weights::ByteSource;

use stream::Stream;

/// A loaded model, ready to generate.
#[derive(Debug, Clone)]
pub struct Session {
    /// The weights.
    pub model: Rc<Model>,
    /// Its tokenizer and chat template, when the file has them.
    pub text: Option<Text>,
    /// SHA-256 of the model's file, where whoever read it knows it.
    pub file_sha256: Option<String>,
    /// The adapters.
    pub stack: Rc<RefCell<Stack>>,
}

/// The stage of loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadState {
    /// Weights go to the device.
    Uploading,
    /// A few tokens are computed, so that the user's first ones are not slower.
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
    /// Loads weights to a device and runs a few tokens. `text` is read from the files beside
    /// safetensors weights; a GGUF file has its own.
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
            });
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
            file_sha256: None,
            stack,
        })
    }

    /// Starts a generation.
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
            steered: Stream::new(&self.model, self.text.as_ref(), &prompt, &request.stop),
            base: None,
            shadow: None,
            ahead: None,
            failed: None,
            prompt_tokens: prompt.len(),
            index: 0,
            request,
        })
    }

    /// Checks logits `[n, vocab]` of the tokens from `first` on, computed under `steering`.
    ///
    /// # Errors
    /// [`Error::Diverged`] names the first token whose logits are not all finite.
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
            (Some(chat), _)
                if chat
                    .last()
                    .is_none_or(|last| last.content.trim().is_empty()) =>
            {
                Err(Error::EmptyPrompt)
            }
            (Some(chat), _) => text.encode_chat(chat, &request.template_variables),
            (None, Some(prompt)) if prompt.is_empty() => Err(Error::EmptyPrompt),
            (None, Some(prompt)) => text.encode(prompt, true),
            (None, None) => Err(Error::EmptyPrompt),
        }
    }
}
