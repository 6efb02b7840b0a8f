//! From pairs to a vector, one pass of the model at a time, so that a caller can show progress and stop
//! between them.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;

use super::contrast::Contrast;
use super::options::{Length, Method, Options};
use super::passage::{Pair, Passage};
use super::pullback::Pullback;
use super::refusal::{bad, no_direction, not_finite, shown};
use super::states::{Reader, States};
use super::vector::ControlVector;
use super::{mean, pca, probe};
use crate::error::Result;
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
    /// [`Error::BadOption`](crate::Error::BadOption) for no pairs, a pair of equal texts, a text too short or too long, a share
    /// that is no length, blocks beyond the model; [`Error::BadToken`](crate::Error::BadToken).
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
        let pullback = Pullback::new(&session.model, &texts, &options)?;
        let reader = Reader::new(&texts, !session.model.is_on_gpu());
        let progress = Progress {
            texts: 0,
            total_texts: texts.len() * if pullback.is_some() { 2 } else { 1 },
        };
        let last = pullback.as_ref().map_or(*layers.end(), Pullback::target);
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
    /// [`Error::BadOption`](crate::Error::BadOption) that names the text whose states are not finite; [`Error::DeviceLost`](crate::Error::DeviceLost).
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
    async fn pull_back(&mut self) -> Result<bool> {
        let Some(pullback) = &mut self.pullback else {
            return Ok(false);
        };
        let Some(text) = pullback.next() else {
            return Ok(false);
        };
        let target = pullback.target();
        let contrast = contrast(&self.states, self.pairs.len(), target);
        let found = mean::direction(&contrast).map_err(|why| no_direction(target, &why))?;
        let passage = passages(&self.pairs)[text];
        pullback.add(&self.model, text, passage, &found).await?;
        self.progress.texts += 1;
        Ok(true)
    }

    /// The vector, once every text was read.
    ///
    /// # Errors
    /// [`Error::BadOption`](crate::Error::BadOption) for pairs that show no difference, with the block and the reason; also where
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
