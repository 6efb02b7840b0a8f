//! From pairs to a vector, one pass of the model at a time, so that a caller can show progress and stop
//! between them.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;

use super::contrast::Contrast;
use super::options::{Length, Method, Options};
use super::passage::{Pair, Passage};
use super::pullback::Pullback;
use super::states::{Reader, States};
use super::vector::ControlVector;
use super::{mean, pca, probe};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::sample::all_finite;
use crate::session::Session;

/// The longest step, in lengths of the residual stream: beyond it a model says nothing any more.
const LONGEST: f32 = 100.0;

/// How far an extraction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Texts that were read; twice over for [`Method::Vjp`].
    pub texts: usize,
    /// Of how many.
    pub total_texts: usize,
}

/// A vector in the making. Dropping it stops it.
#[derive(Debug)]
pub struct Extraction {
    model: Rc<Model>,
    pairs: Vec<Pair>,
    options: Options,
    reader: Reader,
    states: States,
    /// For [`Method::Vjp`].
    pullback: Option<Pullback>,
    progress: Progress,
}

/// Does all of it; `progress` is called after each pass.
///
/// # Errors
/// Those of [`Extraction::new`], [`Extraction::step`] and [`Extraction::finish`].
pub async fn control_vector(
    session: &Session,
    pairs: Vec<Pair>,
    options: Options,
    mut progress: impl FnMut(Progress),
) -> Result<ControlVector> {
    let mut extraction = Extraction::new(session, pairs, options)?;
    while extraction.step().await? {
        progress(extraction.progress());
    }
    extraction.finish()
}

impl Extraction {
    /// Checks everything that can be checked before the first text is read, which takes long.
    ///
    /// # Errors
    /// [`Error::BadOption`] for no pairs, a pair of equal texts, a text too short or too long, a share
    /// that is no length, blocks beyond the model; [`Error::BadToken`].
    pub fn new(session: &Session, pairs: Vec<Pair>, options: Options) -> Result<Self> {
        let config = session.model.config();
        let (layers, d) = (options.layers.clone(), config.hidden_size);
        if let Length::Share(share) = options.length
            && !(share > 0.0 && share <= LONGEST)
        {
            return Err(bad(
                "share",
                "a number above 0, up to 100: how long the step is beside the stream; what points the \
                 other way is a coefficient below 0",
                share.to_string(),
            ));
        }
        if *layers.end() >= config.num_layers || layers.is_empty() {
            return Err(bad(
                "layers",
                "first and last block of the model",
                format!("{layers:?}"),
            ));
        }
        if pairs.is_empty() {
            return Err(bad("pairs", "at least one pair of texts", "none".into()));
        }
        for (number, Pair { positive, negative }) in (1..).zip(&pairs) {
            for (side, passage) in [("positive", positive), ("negative", negative)] {
                check(passage, number, side, session)?;
            }
            if positive.ids == negative.ids {
                let found = format!("pair {number} twice {:?}", shown(&positive.words));
                return Err(bad(
                    "pairs",
                    "two different texts in each: equal ones have no difference",
                    found,
                ));
            }
        }
        let texts = passages(&pairs);
        let pullback = pullback(session, &texts, &options)?;
        let reader = Reader::new(&texts, !session.model.is_on_gpu());
        let progress = Progress {
            texts: 0,
            total_texts: texts.len() * if pullback.is_some() { 2 } else { 1 },
        };
        let last = pullback
            .as_ref()
            .map_or(*layers.end(), |pullback| pullback.target);
        Ok(Self {
            model: session.model.clone(),
            states: States::new(texts.len(), *layers.start()..=last, d),
            pullback,
            pairs,
            options,
            reader,
            progress,
        })
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Reads the texts of the next pass; false when there was none left.
    ///
    /// # Errors
    /// [`Error::BadOption`] that names the text whose states are not finite; [`Error::DeviceLost`].
    pub async fn step(&mut self) -> Result<bool> {
        let texts = passages(&self.pairs);
        let (reader, at) = (&mut self.reader, self.options.at);
        let read = reader.step(&self.model, &texts, at, &mut self.states);
        let Some(read) = read.await? else {
            return self.pull_back().await;
        };
        for &text in &read {
            if !all_finite(self.states.of_text(text)) {
                return Err(not_finite(text));
            }
        }
        self.progress.texts += read.len();
        Ok(true)
    }

    /// Pulls the contrast back through the next text; false when there was none left.
    #[cfg(not(target_arch = "wasm32"))]
    async fn pull_back(&mut self) -> Result<bool> {
        let Some(pullback) = &mut self.pullback else {
            return Ok(false);
        };
        let Some(text) = pullback.next() else {
            return Ok(false);
        };
        let target = pullback.target;
        let contrast = contrast(&self.states, self.pairs.len(), target);
        let found = mean::direction(&contrast).map_err(|why| no_direction(target, &why))?;
        let passage = passages(&self.pairs)[text];
        if !pullback.add(&self.model, text, passage, &found).await? {
            return Err(not_finite(text));
        }
        self.progress.texts += 1;
        Ok(true)
    }

    #[cfg(target_arch = "wasm32")]
    #[expect(clippy::unused_async, reason = "as it is natively")]
    async fn pull_back(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// The vector, once every text was read.
    ///
    /// # Errors
    /// [`Error::BadOption`] for pairs that show no difference, with the block and the reason; also where
    /// texts are left to read.
    pub fn finish(self) -> Result<ControlVector> {
        if self.progress.texts < self.progress.total_texts {
            let Progress { texts, total_texts } = self.progress;
            return Err(bad(
                "pairs",
                "every text read before the vector is made",
                format!("{texts} of {total_texts} read"),
            ));
        }
        let mut directions = BTreeMap::new();
        for layer in self.options.layers.clone() {
            directions.insert(layer, self.direction(layer)?);
        }
        let model_hint = self.model.config().family.gguf.to_owned();
        Ok(ControlVector {
            model_hint,
            directions,
        })
    }

    fn direction(&self, layer: usize) -> Result<Vec<f32>> {
        let contrast = contrast(&self.states, self.pairs.len(), layer);
        let direction = match (self.options.method, &self.pullback) {
            (_, Some(pullback)) => pullback.direction(layer),
            (Method::PcaDiff, _) => pca::direction(&contrast, true),
            (Method::PcaCenter, _) => pca::direction(&contrast, false),
            (Method::Probe, _) => probe::direction(&contrast),
            (Method::Mean | Method::Vjp, _) => mean::direction(&contrast),
        };
        let direction = direction.map_err(|why| no_direction(layer, &why))?;
        let own = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        let scale = match self.options.length {
            Length::Share(share) => f64::from(share) * contrast.length / own,
            Length::Natural => 1.0,
        };
        Ok(direction.iter().map(|x| (x * scale) as f32).collect())
    }
}

/// The states at one block.
fn contrast(states: &States, pairs: usize, layer: usize) -> Contrast<'_> {
    let side = |first: usize| {
        let texts = (first..2 * pairs).step_by(2);
        texts.map(|text| states.state(text, layer)).collect()
    };
    Contrast::new(side(0), side(1))
}

/// What [`Method::Vjp`] asks for besides.
#[cfg(not(target_arch = "wasm32"))]
fn pullback(session: &Session, texts: &[&Passage], options: &Options) -> Result<Option<Pullback>> {
    if options.method != Method::Vjp {
        return Ok(None);
    }
    let config = session.model.config();
    let target = options
        .target
        .unwrap_or(config.num_layers.saturating_sub(3));
    let layers = options.layers.clone();
    if target >= config.num_layers || *layers.end() >= target {
        return Err(bad(
            "target",
            "a block of the model after all those to act on",
            format!("block {target} for {layers:?}"),
        ));
    }
    let short = |passage: &&Passage| passage.from + 2 > passage.ids.len();
    if let Some(text) = texts.iter().position(short) {
        return Err(bad(
            "pairs",
            "texts of at least three tokens: neither the first nor the last is pulled back to",
            place(text),
        ));
    }
    let d = config.hidden_size;
    Ok(Some(Pullback::new(texts.len(), layers, target, d)))
}

#[cfg(target_arch = "wasm32")]
fn pullback(_: &Session, _: &[&Passage], options: &Options) -> Result<Option<Pullback>> {
    match options.method {
        Method::Vjp => Err(bad(
            "method",
            "mean, pca-diff, pca-center or probe: a browser's module computes no gradients, the \
             command `steer extract` does",
            options.method.name().into(),
        )),
        _ => Ok(None),
    }
}

/// Text 2i is the positive one of pair i, text 2i + 1 the negative one.
fn passages(pairs: &[Pair]) -> Vec<&Passage> {
    let each = pairs.iter();
    each.flat_map(|pair| [&pair.positive, &pair.negative])
        .collect()
}

fn check(passage: &Passage, number: usize, side: &str, session: &Session) -> Result<()> {
    let config = session.model.config();
    let count = passage.ids.len();
    if count < 2 || count > config.context {
        return Err(bad(
            "pairs",
            "texts of at least two tokens (the first does not count: its stream is huge in all texts) \
             that fit into the context",
            format!(
                "{count} in pair {number}, {side}: {:?}",
                shown(&passage.words)
            ),
        ));
    }
    if !(1..count).contains(&passage.from) {
        return Err(bad(
            "pairs",
            "texts that count from a token after the first on",
            format!("pair {number}, {side}, from {} of {count}", passage.from),
        ));
    }
    Ok(())
}

/// Which text it is.
fn place(text: usize) -> String {
    let side = if text.is_multiple_of(2) {
        "positive"
    } else {
        "negative"
    };
    format!("pair {}, {side}", text / 2 + 1)
}

fn not_finite(text: usize) -> Error {
    let found = format!("numbers that are not finite in {}", place(text));
    bad("pairs", "texts that the model can read", found)
}

fn no_direction(layer: usize, why: &str) -> Error {
    let found = format!("without a direction at block {layer}: {why}");
    bad("pairs", "texts whose streams differ", found)
}

fn bad(name: &'static str, expected: &'static str, found: String) -> Error {
    Error::BadOption {
        name,
        expected,
        found,
    }
}

/// The beginning of a text, for a message.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}
