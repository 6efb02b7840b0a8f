//! Steps, choices on the stop rows, the best state.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::slice;

use burn::tensor::Tensor;

use super::leaves::{Gradients, Leaves};
use super::loss::{differences, loss};
use super::options::TrainOptions;
use super::report::{Check, Estimate, TrainStep};
use super::texts::Texts;
use super::written::{Files, Record, State};
use crate::adapters::placed;
use crate::checkpoint::{AdapterFiles, Config, Family, Known, Method, Parts, Untrained};
use crate::device::read_back;
use crate::dose::{Contrast, Pair, Passage, Split, Strengths, Subject};
use crate::error::{Error, Result};
use crate::hooks::{Law, Placed, Site, Steering};
use crate::methods::METHODS;
use crate::sample::noise_key;
use crate::session::Session;
use crate::text::Variables;
use crate::weights::{HostTensor, sha256};

/// What neutral answers may cost in likelihood, in nats per token.
const MOST_NLL_NATS: f64 = 0.2;

/// A training under way.
pub struct Trainer {
    session: Session,
    /// One for each task.
    contrasts: Vec<Contrast>,
    /// The experts that the method mixes, if it does, and the task: one for each behaviour where the method has
    /// tasks, else one for all.
    choices: Vec<AdapterFiles>,
    variables: Variables,
    method: &'static Method,
    options: TrainOptions,
    rate: f64,
    untrained: Untrained,
    config: Config,
    /// What its method computes of the base.
    known: Known,
    leaves: Leaves,
    /// Pairs, one behaviour's after the other's, then neutral answers.
    texts: Texts,
    /// The pairs of each behaviour.
    pairs: Vec<Range<usize>>,
    /// d at c = 0 of each pair.
    base: Vec<f32>,
    /// Logits of each neutral answer without adapter.
    neutral: Vec<Tensor<2>>,
    step: usize,
    best: Option<(Check, Leaves, usize)>,
    last: Option<Check>,
    /// Looks in a row that found neutral answers too dear.
    too_dear: usize,
    /// d at c = 0 of each behaviour's stop rows, once a look has read them.
    stop_base: Vec<Vec<f64>>,
}

/// What a look finds for one behaviour.
struct Look {
    /// d at c = −1, 0 and 1 of each stop row.
    curves: Vec<[f64; 3]>,
    /// At c = −1 and 1.
    nll_shift_nats: [f64; 2],
}

impl Trainer {
    /// Begins: the method's untrained adapter, and the texts as they come into its first block.
    ///
    /// # Errors
    /// [`Error::BadOption`] for what cannot be trained, what is wrong with the pairs.
    pub async fn new(
        session: &Session,
        contrast: &Contrast,
        method: &str,
        options: &TrainOptions,
        variables: &Variables,
    ) -> Result<Self> {
        let one = slice::from_ref(contrast);
        Self::of_several(session, one, method, &[], options, variables).await
    }

    /// The same for several behaviours, each of which is a task of the method's, in this order; or over experts,
    /// which a method mixes that has no tasks. Neutral answers are those of the first behaviour.
    ///
    /// # Errors
    /// As [`Self::new`], and [`Error::BadOption`] for a method that has neither, or mixes none.
    pub async fn of_several(
        session: &Session,
        contrasts: &[Contrast],
        method: &str,
        experts: &[AdapterFiles],
        options: &TrainOptions,
        variables: &Variables,
    ) -> Result<Self> {
        let method = find(method)?;
        check_behaviours(method, contrasts)?;
        let model = &session.model;
        let subject = Subject::new(session, Vec::new(), variables);
        let mut passages = Vec::new();
        let mut pairs = Vec::with_capacity(contrasts.len());
        for contrast in contrasts {
            let (first, rows) = (passages.len(), contrast.split(Split::Train)?);
            passages.extend(subject.passages(contrast, &rows, None)?);
            pairs.push(first..passages.len());
        }
        let all = passages.len();
        let wish = options.wish(telling_tokens(&passages), [contrasts.len(), experts.len()])?;
        let untrained = method.untrained(model, &wish)?;
        let rate = options.checked_rate(method)?;
        let config = Config::of(method.name, untrained.config.clone());
        let leaves = Leaves::new(&untrained.parameters, &model.device());
        let neutral = neutral(&contrasts[0], true);
        for (row, text) in &neutral {
            let named = || format!("{}: neutral[{row}]", contrasts[0].file);
            passages.push(subject.passage(named, &text.prompt, None, &[&text.completion])?);
        }
        let numbers = untrained.parameters.clone();
        let known = Known::default();
        let choices = choices(method, experts, contrasts.len());
        // All tasks act in the same places.
        let placed = placed(
            &config,
            method,
            tensors(&untrained, numbers),
            BTreeMap::new(),
            &choices[0],
            &known,
            model,
        )?;
        let first = first_block(&placed.1, model.config().num_layers);
        let gated = !steering(&placed, 1.0).gates.is_empty();
        let texts = Texts::new(model, first, &passages, gated)?;
        let base = Steering::base();
        let mut trainer = Self {
            session: session.clone(),
            contrasts: contrasts.to_vec(),
            choices,
            variables: variables.clone(),
            method,
            options: options.clone(),
            rate,
            untrained,
            config,
            known,
            leaves,
            texts,
            pairs,
            base: Vec::new(),
            neutral: Vec::new(),
            step: 0,
            best: None,
            last: None,
            too_dear: 0,
            stop_base: vec![Vec::new(); contrasts.len()],
        };
        for pair in 0..all {
            let read = trainer.texts.read(model, &base, &[pair])?;
            trainer.base.extend(differences(&read).await?);
        }
        for at in 0..neutral.len() {
            let read = trainer.texts.read(model, &base, &[all + at])?;
            trainer.neutral.push(read.logits);
        }
        Ok(trainer)
    }

    /// Steps made.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.step
    }

    /// Numbers that are trained.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let sizes = self.untrained.parameters.values();
        sizes.map(|it| it.shape.iter().product::<usize>()).sum()
    }

    /// Whether there is nothing more to do: all steps are made, or two looks in a row found neutral
    /// answers too dear.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.step >= self.options.steps || self.too_dear >= 2
    }

    /// What all steps to come take: the coming one is computed, and nothing moves. `now` is a clock in
    /// seconds, `begun` how long [`Self::new`] took, which read every answer once: so the looks at the stop
    /// rows are told by their answers, which each look reads at three coefficients.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub async fn estimate(&self, begun: f64, now: impl Fn() -> f64) -> Result<Estimate> {
        // A GPU builds the kernels of a step in the first one.
        if self.session.model.is_on_gpu() {
            self.gradients().await?;
        }
        let started = now();
        self.gradients().await?;
        let step_seconds = now() - started;
        let stop: usize = self.contrasts.iter().map(|it| stop_rows(it).len()).sum();
        let looks = if stop == 0 { 0 } else { self.looks() };
        let first = &self.contrasts[0];
        let read = 2 * self.base.len() + neutral(first, true).len();
        let look = 3 * (2 * stop + self.contrasts.len() * neutral(first, false).len());
        let steps = self.options.steps.saturating_sub(self.step);
        let looked = begun * (looks * look) as f64 / read as f64;
        Ok(Estimate {
            steps,
            step_seconds,
            seconds: steps as f64 * step_seconds + looked,
        })
    }

    /// Looks at the stop rows to come, where there are rows.
    fn looks(&self) -> usize {
        let (every, last) = (self.options.check_every, self.options.steps);
        if every == 0 || self.step >= last {
            return 0;
        }
        last.div_ceil(every) - self.step / every
    }

    /// Begins with these numbers instead of the method's own.
    ///
    /// # Errors
    /// [`Error::MissingKey`] where a parameter is not among them in its shape.
    pub fn begin_from(&mut self, numbers: &BTreeMap<String, HostTensor>) -> Result<()> {
        let device = self.session.model.device();
        self.leaves.restore(numbers, &BTreeMap::new(), 0, &device)
    }

    /// One step, and a look at the stop rows where one is due.
    ///
    /// # Errors
    /// [`Error::NotTrained`] names the parameter and the step where numbers stop being finite; the state
    /// before the step is kept.
    pub async fn step(&mut self) -> Result<TrainStep> {
        let sign = self.sign();
        let tracked = self.leaves.tracked();
        let loss = self.graph(self.numbers().await?, tracked.clone())?;
        let value = read_back(loss.clone().without_autodiff()).await?[0];
        if !value.is_finite() {
            return Err(Error::NotTrained {
                key: format!("the loss of step {}", self.step + 1),
                why: "it is not finite: try a smaller rate",
            });
        }
        let gradients = Gradients::of(loss, &tracked).await?;
        self.leaves.step(&gradients, self.rate, self.options.clip);
        self.step += 1;
        let every = self.options.check_every;
        let is_due = every > 0 && (self.step.is_multiple_of(every) || self.is_done());
        let check = if is_due { self.check().await? } else { None };
        Ok(TrainStep {
            step: self.step,
            sign,
            loss: value,
            gradient: gradients.length,
            check,
        })
    }

    /// The numbers of all parameters now.
    ///
    /// # Errors
    /// What reading back reports.
    pub async fn numbers(&self) -> Result<BTreeMap<String, HostTensor>> {
        self.leaves.numbers().await
    }

    /// The loss of the coming step, and its gradient for each parameter, flat; nothing moves.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub async fn gradients(&self) -> Result<(f32, BTreeMap<String, Vec<f32>>)> {
        let tracked = self.leaves.tracked();
        let loss = self.graph(self.numbers().await?, tracked.clone())?;
        let value = read_back(loss.clone().without_autodiff()).await?[0];
        let mut found = BTreeMap::new();
        for (key, gradient) in Gradients::of(loss, &tracked).await?.each {
            found.insert(key, read_back(gradient).await?);
        }
        Ok((value, found))
    }

    /// The loss of the coming step with other numbers, as a loaded adapter of these has it.
    ///
    /// # Errors
    /// What the method refuses.
    pub async fn loss_of(&self, numbers: BTreeMap<String, HostTensor>) -> Result<f32> {
        let loss = self.graph(numbers, BTreeMap::new())?;
        Ok(read_back(loss).await?[0])
    }

    /// The loss of the coming step: of `leaves`, where there are some.
    fn graph(
        &self,
        numbers: BTreeMap<String, HostTensor>,
        leaves: BTreeMap<String, Tensor<1>>,
    ) -> Result<Tensor<1>> {
        let model = &self.session.model;
        let placed = self.effects(self.behaviour(), numbers, leaves)?;
        let sign = self.sign();
        let steering = steering(&placed, sign);
        let chosen = self.chosen();
        let neutral = self.neutral_of_step();
        let mut texts = chosen.clone();
        texts.extend(neutral.map(|at| self.base.len() + at));
        let read = self.texts.read(model, &steering, &texts)?;
        let base: Vec<f32> = chosen.iter().map(|&pair| self.base[pair]).collect();
        let neutral = neutral.map(|at| &self.neutral[at]);
        Ok(loss(&read, sign.into(), &base, neutral, &self.options))
    }

    /// The law and the effects of numbers for a behaviour.
    fn effects(
        &self,
        behaviour: usize,
        numbers: BTreeMap<String, HostTensor>,
        leaves: BTreeMap<String, Tensor<1>>,
    ) -> Result<(Law, Vec<Placed>)> {
        placed(
            &self.config,
            self.method,
            tensors(&self.untrained, numbers),
            leaves,
            self.choices.get(behaviour).unwrap_or(&self.choices[0]),
            &self.known,
            &self.session.model,
        )
    }

    /// Reads the stop rows; `None` where there are none.
    ///
    /// # Errors
    /// What reading reports.
    async fn check(&mut self) -> Result<Option<Check>> {
        let mut curves = Vec::new();
        let mut nll_shift_nats = [f64::NEG_INFINITY; 2];
        for behaviour in 0..self.contrasts.len() {
            let Some(look) = self.look(behaviour).await? else {
                continue;
            };
            self.stop_base[behaviour] = look.curves.iter().map(|row| row[1]).collect();
            curves.extend(look.curves);
            // Of several the dearest.
            nll_shift_nats = [0, 1].map(|at| look.nll_shift_nats[at].max(nll_shift_nats[at]));
        }
        if curves.is_empty() {
            return Ok(None);
        }
        let count = curves.len() as f64;
        let d_nats = [0, 1, 2].map(|at| curves.iter().map(|row| row[at]).sum::<f64>() / count);
        let ordered = curves.iter().filter(|[a, b, c]| a < b && b < c).count() as f64;
        let dear = nll_shift_nats.iter().any(|nll| *nll > MOST_NLL_NATS);
        self.too_dear = if dear { self.too_dear + 1 } else { 0 };
        let width = |check: &Check| check.d_nats[2] - check.d_nats[0];
        let mut check = Check {
            d_nats,
            ordered_share: ordered / count,
            nll_shift_nats,
            is_best: false,
        };
        let best = self.best.as_ref().map_or(0.0, |(best, ..)| width(best));
        check.is_best = !dear && check.ordered_share >= 0.8 && width(&check) > best;
        if check.is_best {
            self.best = Some((check, self.leaves.clone(), self.step));
        }
        self.last = Some(check);
        Ok(Some(check))
    }

    /// Reads the stop rows of a behaviour, if it has some.
    async fn look(&self, behaviour: usize) -> Result<Option<Look>> {
        let contrast = &self.contrasts[behaviour];
        let rows = stop_rows(contrast);
        if rows.is_empty() {
            return Ok(None);
        }
        let subject = Subject::new(&self.session, Vec::new(), &self.variables);
        let passages = subject.passages(contrast, &rows, None)?;
        let numbers = self.leaves.numbers().await?;
        let placed = self.effects(behaviour, numbers, BTreeMap::new())?;
        let others = Contrast {
            neutral: neutral(&self.contrasts[0], false)
                .into_iter()
                .map(|(_, text)| text.clone())
                .collect(),
            ..contrast.clone()
        };
        let mut strengths = Strengths::new(&subject, &others, others.neutral.len())?;
        let mut curves = vec![[0.0; 3]; rows.len()];
        let mut nll_shift_nats = [0.0; 2];
        for (at, c) in [-1.0, 0.0, 1.0].into_iter().enumerate() {
            // The base does not change.
            let known = &self.stop_base[behaviour];
            let found = if c == 0.0 && !known.is_empty() {
                known.clone()
            } else {
                let steering = match c {
                    0.0 => Rc::new(Steering::base()),
                    c => Rc::new(steering(&placed, c)),
                };
                let reader = subject.reader(steering.clone(), &passages)?;
                if c != 0.0 {
                    let shift = strengths.shift(&steering, async |_| Ok(())).await?;
                    nll_shift_nats[at / 2] = shift.nll_shift_nats();
                }
                reader.differences(&passages, async |_| Ok(())).await?
            };
            curves
                .iter_mut()
                .zip(&found)
                .for_each(|(row, d)| row[at] = *d);
        }
        Ok(Some(Look {
            curves,
            nll_shift_nats,
        }))
    }

    /// The adapter as files: the best state of the looks at the stop rows, else the last.
    ///
    /// # Errors
    /// What reading back reports.
    pub async fn files(&self) -> Result<Files> {
        let (leaves, step, check) = match &self.best {
            Some((check, leaves, step)) => (leaves, *step, Some(*check)),
            None => (&self.leaves, self.step, self.last),
        };
        let several = self.contrasts.iter().filter(|_| self.contrasts.len() > 1);
        let record = Record {
            method: self.method.name,
            behaviour: self.behaviours(),
            behaviours: several.map(|contrast| contrast.name.clone()).collect(),
            pairs_sha256: self.contrasts[0].sha256.clone(),
            model: self.session.model.name().into(),
            model_sha256: self.session.file_sha256.clone(),
            options: self.options.clone(),
            parameters: self.parameters(),
            rate: self.rate,
            steps: step,
            seconds: None,
            stop_rows: check,
            version: env!("CARGO_PKG_VERSION"),
        };
        let all = tensors(&self.untrained, leaves.numbers().await?);
        let names = self.session.model.config().family;
        Files::new(names, &self.untrained.config, &all, record)
    }

    /// All that is needed to go on later: bytes for [`Self::resume`].
    ///
    /// # Errors
    /// What reading back reports.
    pub async fn state(&self) -> Result<Vec<u8>> {
        let (moments, time) = self.leaves.moments().await?;
        let best = match &self.best {
            Some((check, leaves, step)) => Some((*check, leaves.numbers().await?, *step)),
            None => None,
        };
        State {
            step: self.step,
            time,
            numbers: self.leaves.numbers().await?,
            moments,
            best,
            last: self.last,
            too_dear: self.too_dear,
        }
        .bytes(&self.identity())
    }

    /// Goes on from a state of the same training.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for a state of another one.
    pub fn resume(&mut self, bytes: &[u8]) -> Result<()> {
        let state = State::read(bytes, &self.identity())?;
        let device = self.session.model.device();
        self.leaves
            .restore(&state.numbers, &state.moments, state.time, &device)?;
        self.best = match state.best {
            Some((check, numbers, step)) => {
                let mut leaves = self.leaves.clone();
                leaves.restore(&numbers, &BTreeMap::new(), 0, &device)?;
                Some((check, leaves, step))
            }
            None => None,
        };
        self.step = state.step;
        self.last = state.last;
        self.too_dear = state.too_dear;
        Ok(())
    }

    /// What makes a training another one.
    fn identity(&self) -> String {
        let of = (
            self.method.name,
            self.behaviours(),
            &self.contrasts[0].sha256,
            self.session.model.name(),
            TrainOptions {
                steps: 0,
                ..self.options.clone()
            },
        );
        let experts = self.choices[0].experts.iter();
        let experts: Vec<String> = experts.map(|it| sha256(&it.weights)).collect();
        if experts.is_empty() {
            serde_json::json!(of).to_string()
        } else {
            serde_json::json!((of, experts)).to_string()
        }
    }

    /// −1 or 1, by chance; what has no trained reverse learns 1 alone.
    fn sign(&self) -> f32 {
        let has_reverse = self.method.family != Family::Prompt;
        let [draw, _] = noise_key(self.options.seed ^ 0x5169, self.step);
        if has_reverse && draw % 2 == 0 {
            -1.0
        } else {
            1.0
        }
    }

    /// The names of all behaviours, with commas between them.
    fn behaviours(&self) -> String {
        let names: Vec<&str> = self.contrasts.iter().map(|it| &*it.name).collect();
        names.join(", ")
    }

    /// The behaviour of this step: all of them in turn.
    fn behaviour(&self) -> usize {
        self.step % self.contrasts.len()
    }

    /// The pairs of this step, all of its behaviour: each once in every round, in an order of its own.
    fn chosen(&self) -> Vec<usize> {
        let pairs = &self.pairs[self.behaviour()];
        let count = pairs.len();
        let first = self.step / self.contrasts.len() * self.options.batch;
        let pair = |at: usize| pairs.start + self.shuffled(at / count, count)[at % count];
        (first..first + self.options.batch).map(pair).collect()
    }

    fn shuffled(&self, round: usize, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&pair| noise_key(self.options.seed, round * count + pair));
        order
    }

    /// Each behaviour comes by all neutral answers.
    fn neutral_of_step(&self) -> Option<usize> {
        let has = !self.neutral.is_empty() && self.options.kl > 0.0;
        let at = self.step / self.contrasts.len() + self.behaviour();
        has.then(|| at % self.neutral.len())
    }
}

/// The experts, and the task of each behaviour where the method has tasks and there are several.
fn choices(method: &Method, experts: &[AdapterFiles], behaviours: usize) -> Vec<AdapterFiles> {
    let choice = |task| AdapterFiles {
        task,
        experts: experts.to_vec(),
        ..AdapterFiles::default()
    };
    if method.extras().tasks.is_some() && behaviours > 1 {
        (0..behaviours).map(|task| choice(Some(task))).collect()
    } else {
        vec![choice(None)]
    }
}

/// Refuses behaviours that are not as many as the method can take.
fn check_behaviours(method: &Method, contrasts: &[Contrast]) -> Result<()> {
    let extras = method.extras();
    let takes_several =
        extras.tasks.is_some() || matches!(extras.parts, Some(Parts::Experts { .. }));
    let expected = match contrasts.len() {
        0 => "at least one",
        1 => return Ok(()),
        _ if takes_several => return Ok(()),
        _ => "one, as the method has no tasks and mixes no experts",
    };
    let names: Vec<&str> = contrasts.iter().map(|it| &*it.name).collect();
    Err(Error::BadOption {
        name: "behaviour",
        expected,
        found: names.join(", "),
    })
}

fn stop_rows(contrast: &Contrast) -> Vec<&Pair> {
    let rows = contrast.pairs.iter();
    rows.filter(|pair| pair.split == Split::Stop).collect()
}

/// The method of that name.
pub(super) fn find(name: &str) -> Result<&'static Method> {
    let found = METHODS.iter().find(|known| known.name == name);
    found.copied().ok_or_else(|| Error::BadOption {
        name: "method",
        expected: "a method of `steer methods`",
        found: name.into(),
    })
}

/// Neutral answers for the gradient, every other one; the rest say what the adapter costs.
fn neutral(contrast: &Contrast, trains: bool) -> Vec<(usize, &crate::dose::Neutral)> {
    let rows = contrast.neutral.iter().enumerate();
    let wanted = usize::from(!trains);
    let alone = contrast.neutral.len() < 2;
    rows.filter(|(row, _)| alone || row % 2 == wanted).collect()
}

/// The tokens of the pairs' answers, first those of which one side has the most more than the other.
fn telling_tokens(pairs: &[Passage]) -> Vec<u32> {
    let mut more: BTreeMap<u32, i32> = BTreeMap::new();
    for pair in pairs {
        for (answer, side) in pair.answers.iter().zip([1, -1]) {
            for token in answer {
                *more.entry(*token).or_default() += side;
            }
        }
    }
    let mut tokens: Vec<u32> = more.keys().copied().collect();
    tokens.sort_by_key(|token| std::cmp::Reverse(more[token].abs()));
    tokens
}

/// All tensors of the file.
pub(super) fn tensors(
    untrained: &Untrained,
    mut numbers: BTreeMap<String, HostTensor>,
) -> BTreeMap<String, HostTensor> {
    numbers.extend(untrained.constants.clone());
    numbers
}

/// All effects at c, under the method's law.
pub(super) fn steering((law, placed): &(Law, Vec<Placed>), c: f32) -> Steering {
    Steering::of(placed.iter().flat_map(|placed| placed.effects(*law, c)))
}

/// The first block on which something acts.
pub(super) fn first_block(placed: &[Placed], blocks: usize) -> usize {
    let of = |site: Site| match site {
        Site::Embedding => 0,
        // At its output.
        Site::Residual(layer) => layer,
        Site::Head | Site::Norm(None) => blocks,
        site => site.layer().unwrap_or(0),
    };
    let firsts = placed.iter().map(|placed| of(placed.site));
    firsts.min().unwrap_or(0)
}
