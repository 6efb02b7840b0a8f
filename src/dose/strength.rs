//! How far steering moves the reading of neutral answers: KL from the base, and what they cost in
//! likelihood.

use std::rc::Rc;

use super::pairs::{Contrast, Neutral};
use super::statistics::{mean, percentile};
use super::subject::{Passage, Reader, Subject, answers, packs};
use crate::error::Result;
use crate::hooks::Steering;
use crate::measure::Distribution;

/// The base's logits are kept as long as they do not take more; beyond that it reads a text again.
const KEPT_BYTES: usize = 128 << 20;

/// The neutral answers, and how the base reads them.
#[derive(Debug)]
pub(crate) struct Strengths<'a> {
    subject: Subject<'a>,
    passages: Vec<Passage>,
    base: Reader<'a>,
    /// By pass, as far as they fit.
    kept: Vec<Option<Vec<f32>>>,
    kept_bytes: usize,
}

/// What steering does to the reading of neutral answers, token by token.
#[derive(Debug, Default)]
pub(crate) struct Shift {
    /// KL(steered ‖ base) before each token, in nats; infinite where it overflows f32 logits.
    kl_nats: Vec<f64>,
    /// −ln p of each token, steered minus base, in nats.
    nll_nats: Vec<f64>,
    /// The largest difference of two logits.
    pub(super) largest: f32,
}

impl<'a> Strengths<'a> {
    /// On the first `count` neutral answers.
    pub(crate) fn new(subject: &Subject<'a>, contrast: &Contrast, count: usize) -> Result<Self> {
        let passage = |(row, text): (usize, &Neutral)| {
            let named = || format!("{}: neutral[{row}]", contrast.file);
            subject.passage(named, &text.prompt, None, &[&text.completion])
        };
        let rows = contrast.neutral.iter().take(count).enumerate();
        let passages = rows.map(passage).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            subject: subject.clone(),
            base: subject.reader(Rc::new(Steering::base()), &passages)?,
            kept: Vec::new(),
            kept_bytes: 0,
            passages,
        })
    }

    /// How many answers are read.
    pub(super) fn count(&self) -> usize {
        self.passages.len()
    }

    /// What steering does to them. `step` is called before each pass with the number of its answers.
    pub(crate) async fn shift(
        &mut self,
        steering: &Rc<Steering>,
        mut step: impl AsyncFnMut(usize) -> Result<()>,
    ) -> Result<Shift> {
        let reader = self.subject.reader(steering.clone(), &self.passages)?;
        let vocab = self.subject.session.model.config().vocab_size;
        let mut shift = Shift::default();
        let packs = packs(&self.passages, vocab);
        self.kept.resize(packs.len(), None);
        for (pack, kept) in packs.into_iter().zip(&mut self.kept) {
            step(pack.len()).await?;
            let steered = reader.logits(pack).await?;
            let read;
            let base = match kept {
                Some(base) => base,
                None => {
                    let base = self.base.logits(pack).await?;
                    self.kept_bytes += size_of_val(base.as_slice());
                    if self.kept_bytes <= KEPT_BYTES {
                        kept.insert(base)
                    } else {
                        read = base;
                        &read
                    }
                }
            };
            let both = answers(&steered, vocab, pack).zip(answers(base, vocab, pack));
            for ((steered, tokens), (base, _)) in both {
                shift.add(steered, base, vocab, tokens);
            }
        }
        Ok(shift)
    }
}

impl Shift {
    /// Adds a text's rows `[n, vocab]`, steered and of the base.
    fn add(&mut self, steered: &[f32], base: &[f32], vocab: usize, tokens: &[u32]) {
        let rows = steered.chunks_exact(vocab).zip(base.chunks_exact(vocab));
        for ((steered, base), &id) in rows.zip(tokens) {
            let apart = steered.iter().zip(base).map(|(a, b)| (a - b).abs());
            self.largest = apart.fold(self.largest, f32::max);
            let (steered, base) = (Distribution::new(steered), Distribution::new(base));
            let kl = steered.kl_nats(&base).unwrap_or(f64::INFINITY);
            self.kl_nats.push(kl);
            let nll = base.log_probability(id) - steered.log_probability(id);
            self.nll_nats.push(nll);
        }
    }

    /// The mean KL over tokens, in nats.
    pub(super) fn mean_kl_nats(&self) -> f64 {
        mean(&self.kl_nats)
    }

    /// The 95th percentile of the KL over tokens, in nats.
    pub(super) fn p95_kl_nats(&self) -> f64 {
        let mut ascending = self.kl_nats.clone();
        ascending.sort_unstable_by(f64::total_cmp);
        percentile(&ascending, 95.0)
    }

    /// The mean over tokens of −ln p, steered minus base, in nats.
    pub(crate) fn nll_shift_nats(&self) -> f64 {
        mean(&self.nll_nats)
    }
}
