//! One object: what a grid of coefficients does to the answers of a behaviour, to neutral text and to
//! fluency. Its fields are the JSON that `steer measure --json` prints and the package's `measure()`
//! gives.

use std::rc::Rc;

use serde::Serialize;

use super::pairs::{Contrast, Split};
use super::statistics::{Slope, bootstrap, kendall_tau, mean, repeated_4_grams, share, slope};
use super::strength::{Shift, Strengths};
use super::subject::{AdapterFacts, Passage, Progress, Reader, Steps, Subject};
use super::undone::inverse_error;
use crate::device::read_back;
use crate::error::{Error, Result};
use crate::hooks::Steering;
use crate::model::{Lane, Positions};
use crate::sample::{Answer, Question, Sampling};

/// The grid unless another is asked for.
const GRID: [f32; 9] = [-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0];

/// Always among the coefficients: symmetry, order and repetition are read off them.
const ENDS: [f32; 3] = [-1.0, 0.0, 1.0];

/// Prompts whose answers are generated to count repetitions.
const REPETITION_PROMPTS: usize = 8;

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasureOptions {
    /// Values of c; −1, 0 and 1 are added. Without them −2 … 2 in steps of a half, as far as the laws
    /// admit them.
    pub coefficients: Option<Vec<f32>>,
    /// Which pairs.
    pub split: Split,
    /// Seed of the interval's resampling and of the texts whose repetitions are counted.
    pub seed: u64,
    /// Tokens of each such text, sampled at temperature 0.8; 0 leaves the count out.
    pub repetition_tokens: usize,
    /// Whether the prompting baseline is read too.
    pub prompting: bool,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self {
            coefficients: None,
            split: Split::Test,
            seed: 0,
            repetition_tokens: 48,
            prompting: true,
        }
    }
}

/// The model of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelFacts {
    /// The file's name.
    pub name: String,
    /// SHA-256 of the file, where whoever measures knows it.
    pub sha256: Option<String>,
    /// Which numbers are multiplied.
    pub arithmetic: String,
    /// Where: `cpu` or `gpu`.
    pub device: &'static str,
}

/// KL from the base on neutral answers, by coefficient; null where it is beyond what f32 can say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Strength {
    /// Mean over tokens.
    pub mean: Vec<f64>,
    /// 95th percentile over tokens.
    pub p95: Vec<f64>,
}

/// What a system message that asks for the behaviour does to the base.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prompting {
    /// d when asked for c = 1.
    pub positive: f64,
    /// d when asked for c = −1.
    pub negative: f64,
}

/// Whether c = 0 is the base.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum BaseIdentity {
    /// `true`: bit for bit.
    Exact(bool),
    /// The largest difference of two logits.
    Apart(f32),
}

/// Repeated 4-grams of generated texts, as shares of all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Repetition {
    /// At c = −1.
    #[serde(rename = "-1")]
    pub reversed: f64,
    /// At c = 0.
    #[serde(rename = "0")]
    pub base: f64,
    /// At c = 1.
    #[serde(rename = "1")]
    pub trained: f64,
}

/// What was measured. `k` coefficients, prompts in the file's order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// The model.
    pub model: ModelFacts,
    /// The adapters that c turned.
    pub adapters: Vec<AdapterFacts>,
    /// The behaviour.
    pub behaviour: String,
    /// Its split.
    pub split: Split,
    /// SHA-256 of the file of pairs.
    pub pairs_sha256: String,
    /// `chat` where prompts went through the model's chat template, else `plain`.
    pub prompt_form: &'static str,
    /// The prompts.
    pub prompts: Vec<String>,
    /// c, ascending `[k]`.
    pub coefficients: Vec<f32>,
    /// Coefficients of the usual grid that a law does not admit, left out.
    pub coefficients_left_out: Vec<f32>,
    /// Mean over prompts of the mean log-probability of the positive answer minus that of the negative
    /// one, in nats per token `[k]`.
    pub d_nats: Vec<f64>,
    /// The same of each prompt `[prompt][k]`.
    pub per_prompt: Vec<Vec<f64>>,
    /// Least squares of d over c: mean of the prompts' slopes, with a 95 % bootstrap over prompts.
    pub slope: Slope,
    /// Kendall's τ of the mean curve.
    pub kendall_tau: f64,
    /// Share of prompts with d(−1) < d(0) < d(1).
    pub ordered_share: f64,
    /// Share of prompts whose slope is below 0.
    pub wrong_way_share: f64,
    /// `1 − |Δ(1) + Δ(−1)| / (|Δ(1)| + |Δ(−1)|)` with `Δ(c) = mean d(c) − d(0)`: 1 where −1 takes
    /// away what 1 adds; null where c does nothing.
    pub symmetry: Option<f64>,
    /// For laws that undo: the largest `‖M(1) M(−1) x − x‖ / ‖x‖` over the maps of all places, of a
    /// fixed random x; null where no law undoes, or where what it undoes is a weight.
    pub inverse_error: Option<f64>,
    /// Strength on neutral answers.
    pub kl_nats: Strength,
    /// Mean over the tokens of neutral answers of −ln p, steered minus base, in nats `[k]`.
    pub nll_shift_nats: Vec<f64>,
    /// Fluency; null where it was not asked for.
    pub repetition: Option<Repetition>,
    /// Whether c = 0 is the base.
    pub base_identity: BaseIdentity,
    /// The prompting baseline; null without instructions for this behaviour.
    pub prompting: Option<Prompting>,
    /// How long it took; filled in by whoever has a clock.
    pub seconds: Option<f64>,
    /// The version of this program.
    pub version: &'static str,
    /// The seed.
    pub seed: u64,
}

/// Measures. `progress` is told before each step, and its error ends the measurement.
///
/// # Errors
/// [`Error::BadOption`] for coefficients that are no grid, [`Error::BadCoefficient`] for asked ones
/// outside a law's domain, what is wrong with the pairs, [`Error::Diverged`], and `progress`'s own.
pub async fn measure(
    subject: &Subject<'_>,
    contrast: &Contrast,
    options: &MeasureOptions,
    progress: impl AsyncFnMut(Progress) -> Result<()>,
) -> Result<Measurement> {
    let pairs = contrast.split(options.split)?;
    let (coefficients, left_out) = grid(subject, options.coefficients.as_deref())?;
    // One snapshot of all adapters: whoever turns them meanwhile does not change what is measured.
    let steerings = coefficients.iter().map(|&c| subject.at(c));
    let steerings = steerings.collect::<Result<Vec<_>>>()?;
    let instructions = contrast.prompting.as_ref().filter(|_| options.prompting);
    let repeats = if options.repetition_tokens == 0 { 0 } else { 3 };
    let total = pairs.len() * (coefficients.len() + instructions.map_or(0, |_| 2))
        + contrast.neutral.len() * coefficients.len()
        + repeats;
    let mut steps = Steps::new(total, progress);
    let mut step = async |count| steps.next(count).await;

    let passages = subject.passages(contrast, &pairs, None)?;
    let mut per_prompt = vec![Vec::with_capacity(coefficients.len()); pairs.len()];
    for steering in &steerings {
        let reader = subject.reader(steering.clone(), &passages)?;
        let differences = reader.differences(&passages, &mut step).await?;
        for (curve, d) in per_prompt.iter_mut().zip(differences) {
            curve.push(d);
        }
    }
    let mut prompting = None;
    if let Some(asked) = instructions {
        let mut ds = [0.0; 2];
        for (system, d) in [&asked.positive, &asked.negative].into_iter().zip(&mut ds) {
            let passages = subject.passages(contrast, &pairs, Some(system))?;
            let reader = subject.reader(Rc::new(Steering::base()), &passages)?;
            *d = mean(&reader.differences(&passages, &mut step).await?);
        }
        let [positive, negative] = ds;
        prompting = Some(Prompting { positive, negative });
    }

    let mut strengths = Strengths::new(subject, contrast, contrast.neutral.len())?;
    let mut shifts = Vec::with_capacity(steerings.len());
    for steering in &steerings {
        shifts.push(strengths.shift(steering, &mut step).await?);
    }
    let zero = at(&coefficients, 0.0);
    let base_identity = match shifts[zero].largest {
        0.0 => BaseIdentity::Exact(true),
        apart => BaseIdentity::Apart(apart),
    };
    let mut repetition = None;
    if options.repetition_tokens > 0 {
        let mut shares = [0.0; 3];
        for (c, share) in ENDS.into_iter().zip(&mut shares) {
            step(1).await?;
            let reader = subject.reader(steerings[at(&coefficients, c)].clone(), &passages)?;
            let texts = generated(subject, &reader, &passages, options).await?;
            let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
            *share = repeated_4_grams(&texts);
        }
        let [reversed, base, trained] = shares;
        repetition = Some(Repetition {
            reversed,
            base,
            trained,
        });
    }

    let curve = Curve::of(&coefficients, &per_prompt, options.seed);
    let session = subject.session;
    Ok(Measurement {
        model: ModelFacts {
            name: session.model.name().into(),
            sha256: session.file_sha256.clone(),
            arithmetic: session.model.arithmetic().into(),
            device: if session.model.is_on_gpu() {
                "gpu"
            } else {
                "cpu"
            },
        },
        adapters: subject.facts()?,
        behaviour: contrast.name.clone(),
        split: options.split,
        pairs_sha256: contrast.sha256.clone(),
        prompt_form: if subject.is_chat() { "chat" } else { "plain" },
        prompts: pairs.iter().map(|pair| pair.prompt.clone()).collect(),
        d_nats: curve.d_nats,
        slope: curve.slope,
        kendall_tau: curve.kendall_tau,
        ordered_share: curve.ordered_share,
        wrong_way_share: curve.wrong_way_share,
        symmetry: curve.symmetry,
        inverse_error: inverse_error(subject).await?,
        kl_nats: Strength {
            mean: shifts.iter().map(Shift::mean_kl_nats).collect(),
            p95: shifts.iter().map(Shift::p95_kl_nats).collect(),
        },
        nll_shift_nats: shifts.iter().map(Shift::nll_shift_nats).collect(),
        repetition,
        base_identity,
        prompting,
        seconds: None,
        version: env!("CARGO_PKG_VERSION"),
        seed: options.seed,
        coefficients,
        coefficients_left_out: left_out,
        per_prompt,
    })
}

/// The coefficients, ascending, and those of the usual grid that a law does not admit.
fn grid(subject: &Subject<'_>, asked: Option<&[f32]>) -> Result<(Vec<f32>, Vec<f32>)> {
    let mut left_out = Vec::new();
    let mut all = Vec::new();
    for &c in asked.unwrap_or(&GRID) {
        match subject.at(c) {
            Ok(_) => all.push(c),
            Err(Error::BadCoefficient { .. }) if asked.is_none() => left_out.push(c),
            Err(error) => return Err(error),
        }
    }
    all.extend(ENDS);
    // −0 is 0.
    for c in &mut all {
        *c += 0.0;
    }
    all.sort_unstable_by(f32::total_cmp);
    all.dedup();
    Ok((all, left_out))
}

/// The place of a coefficient that is always there.
fn at(coefficients: &[f32], c: f32) -> usize {
    coefficients
        .iter()
        .position(|other| *other == c)
        .expect("-1, 0 and 1 are in every grid")
}

/// Texts generated after the first prompts, all in lockstep.
async fn generated(
    subject: &Subject<'_>,
    reader: &Reader<'_>,
    passages: &[Passage],
    options: &MeasureOptions,
) -> Result<Vec<Vec<u32>>> {
    let session = subject.session;
    let sampling = Sampling {
        temperature: 0.8,
        seed: options.seed,
        ..Sampling::default()
    };
    let ends = subject.text()?.stop_ids();
    let passages = &passages[..passages.len().min(REPETITION_PROMPTS)];
    let context = session.model.config().context;
    let mut caches = reader.opened(passages)?;
    let mut texts: Vec<Vec<u32>> = vec![Vec::new(); passages.len()];
    let mut ended = vec![false; passages.len()];
    for position in 0..options.repetition_tokens {
        let newest: Vec<[u32; 1]> = passages
            .iter()
            .zip(&texts)
            .map(|(passage, text)| {
                [*text
                    .last()
                    .unwrap_or(&passage.before[passage.before.len() - 1])]
            })
            .collect();
        let alive = caches.iter_mut().enumerate().filter(|(at, cache)| {
            ended[*at] |= cache.len() == context;
            !ended[*at]
        });
        let (places, lanes): (Vec<usize>, Vec<Lane<'_>>) = alive
            .map(|(at, cache)| {
                let steering = &reader.steering;
                let tokens = &newest[at];
                let lane = Lane {
                    tokens,
                    cache,
                    steering,
                };
                (at, lane)
            })
            .unzip();
        if places.is_empty() {
            break;
        }
        let logits = session.model.forward_lanes(lanes, Positions::Last)?;
        let logits = match logits {
            Some(logits) => read_back(logits).await?,
            None => Vec::new(),
        };
        let question = Question {
            sampling: &sampling,
            position,
            so_far: vec![&[]; places.len()],
            reference: None,
            top: 0,
        };
        let answer = Answer::of(&question, &logits);
        if answer.diverged.is_some() {
            session.check_logits(&logits, position, &reader.steering)?;
        }
        for (&at, (id, _)) in places.iter().zip(answer.chosen) {
            ended[at] = ends.contains(&id);
            if !ended[at] {
                texts[at].push(id);
            }
        }
    }
    Ok(texts)
}

/// What is read off the curves of all prompts.
#[derive(Debug)]
struct Curve {
    d_nats: Vec<f64>,
    slope: Slope,
    kendall_tau: f64,
    ordered_share: f64,
    wrong_way_share: f64,
    symmetry: Option<f64>,
}

impl Curve {
    fn of(coefficients: &[f32], per_prompt: &[Vec<f64>], seed: u64) -> Self {
        let c: Vec<f64> = coefficients.iter().map(|&c| c.into()).collect();
        let [reversed, base, trained] = ENDS.map(|c| at(coefficients, c));
        let column = |at: usize| per_prompt.iter().map(|curve| curve[at]).collect::<Vec<_>>();
        let d_nats: Vec<f64> = (0..c.len()).map(|at| mean(&column(at))).collect();
        let slopes: Vec<f64> = per_prompt.iter().map(|curve| slope(&c, curve)).collect();
        let ordered =
            |curve: &Vec<f64>| curve[reversed] < curve[base] && curve[base] < curve[trained];
        let up = d_nats[trained] - d_nats[base];
        let down = d_nats[reversed] - d_nats[base];
        let moved = up.abs() + down.abs();
        Self {
            slope: bootstrap(&slopes, seed),
            kendall_tau: kendall_tau(&c, &d_nats),
            ordered_share: share(per_prompt, ordered),
            wrong_way_share: share(&slopes, |slope| *slope < 0.0),
            symmetry: (moved > 0.0).then(|| 1.0 - (up + down).abs() / moved),
            d_nats,
        }
    }
}
