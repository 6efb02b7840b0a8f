//! c for a strength: the 95th percentile of the KL from the base on neutral answers, in nats. Equal
//! strength is the fair way to compare methods of different reach.

use serde::Serialize;

use super::pairs::Contrast;
use super::strength::{Shift, Strengths};
use super::subject::{AdapterFacts, Progress, Steps, Subject};
use crate::error::{Error, Result};

/// No side is searched beyond.
const LARGEST: f32 = 64.0;

/// A strength this close to the target, as a share of it, is the target.
const CLOSE: f64 = 0.02;

/// Readings of one side at most.
const TRIES: usize = 16;

/// The c of one side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Where the strength is the target; null where none reaches it.
    pub c: Option<f32>,
    /// The strength there, or the largest that was found.
    pub kl_p95_nats: f64,
    /// The mean strength there.
    pub kl_mean_nats: f64,
    /// What neutral answers cost in likelihood there, in nats per token.
    pub nll_shift_nats: f64,
    /// How far it was looked, where no c reaches the target, in words.
    pub note: Option<String>,
}

/// The doses of both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// The strength that was asked for.
    pub target_nats: f64,
    /// What c turned.
    pub adapters: Vec<AdapterFacts>,
    /// Below 0.
    pub negative: Side,
    /// Above 0.
    pub positive: Side,
}

/// Finds c on each side. `progress` is told before each text, and its error ends the search.
///
/// # Errors
/// [`Error::BadOption`] for a target that is no strength, what is wrong with the texts, and
/// `progress`'s own.
pub async fn calibrate(
    subject: &Subject<'_>,
    contrast: &Contrast,
    target_nats: f64,
    mut progress: impl AsyncFnMut(Progress) -> Result<()>,
) -> Result<Calibration> {
    // Each is half of the work.
    let told = async |Progress { done, total }| {
        progress(Progress {
            done,
            total: 2 * total,
        })
        .await
    };
    let negative = calibrate_side(subject, contrast, -1.0, target_nats, told).await?;
    let told = async |Progress { done, total }| {
        let done = done + total;
        progress(Progress {
            done,
            total: 2 * total,
        })
        .await
    };
    let positive = calibrate_side(subject, contrast, 1.0, target_nats, told).await?;
    Ok(Calibration {
        target_nats,
        adapters: subject.facts()?,
        negative,
        positive,
    })
}

/// As [`calibrate`], for the c of one sign alone.
///
/// # Errors
/// As [`calibrate`].
pub async fn calibrate_side(
    subject: &Subject<'_>,
    contrast: &Contrast,
    sign: f32,
    target_nats: f64,
    progress: impl AsyncFnMut(Progress) -> Result<()>,
) -> Result<Side> {
    check_target(target_nats)?;
    let mut strengths = Strengths::new(subject, contrast, contrast.neutral.len())?;
    // Most sides take five readings.
    let mut steps = Steps::new(5 * strengths.count(), progress);
    let mut step = async |count| steps.next(count).await;
    side(subject, &mut strengths, sign, target_nats, CLOSE, &mut step).await
}

pub(super) fn check_target(target_nats: f64) -> Result<()> {
    if target_nats > 0.0 && target_nats <= 20.0 {
        return Ok(());
    }
    Err(Error::BadOption {
        name: "nats",
        expected: "a strength above 0, up to 20",
        found: target_nats.to_string(),
    })
}

/// The shortest first step upwards, as a share of c.
const LEAST_GROWTH: f32 = 0.05;

/// A c that was tried; `None` where its logits are no numbers, which is beyond every strength.
struct Tried {
    c: f32,
    shift: Option<Shift>,
}

impl Tried {
    fn nats(&self) -> f64 {
        let nats = self.shift.as_ref().map(Shift::p95_kl_nats);
        nats.unwrap_or(f64::INFINITY)
    }
}

/// Searches one side, `sign` times c. For small c the strength grows as c², so the next guess is
/// `c · √(target / strength)`; between two readings it is where the power of c that goes through both
/// meets the target, or their middle where that is too near to one of them. Where the strength hardly
/// grows, each step is twice as long as the one before, up to double c.
pub(super) async fn side(
    subject: &Subject<'_>,
    strengths: &mut Strengths<'_>,
    sign: f32,
    target: f64,
    close: f64,
    mut step: impl AsyncFnMut(usize) -> Result<()>,
) -> Result<Side> {
    let (mut low, mut high) = (0.0, None::<f32>);
    // The strengths there.
    let (mut below, mut above) = (0.0, f64::INFINITY);
    let mut best: Option<Tried> = None;
    let mut c = 1.0;
    let mut least = LEAST_GROWTH;
    let mut end = None;
    for _ in 0..TRIES {
        let steering = match subject.at(sign * c) {
            Ok(steering) => steering,
            // Beyond the law's domain: what is left ends there.
            Err(Error::BadCoefficient { expected, .. }) => {
                end = Some(expected);
                if c - low < 0.01 * c {
                    break;
                }
                c = f32::midpoint(low, c);
                continue;
            }
            Err(error) => return Err(error),
        };
        let shift = match strengths.shift(&steering, &mut step).await {
            Ok(shift) => Some(shift),
            Err(Error::Diverged { .. }) => None,
            Err(error) => return Err(error),
        };
        let tried = Tried { c, shift };
        let nats = tried.nats();
        if (nats - target).abs() <= close * target {
            return Ok(found(sign, &tried));
        }
        if nats > target {
            (high, above) = (Some(c), nats);
        } else {
            (low, below) = (c, nats);
            if best.as_ref().is_none_or(|best| best.nats() < nats) {
                best = Some(tried);
            }
        }
        let quadratic = c * (target / nats).sqrt() as f32;
        c = match high {
            Some(high) if high - low < 1e-4 * high => break,
            Some(high) => {
                let guess = if below > 0.0 && above.is_finite() {
                    let power = (above / below).ln() / f64::from(high / low).ln();
                    low * (target / below).powf(power.recip()) as f32
                } else {
                    quadratic
                };
                let margin = 0.05 * (high - low);
                let inside = low + margin..high - margin;
                if inside.contains(&guess) {
                    guess
                } else {
                    f32::midpoint(low, high)
                }
            }
            None if low >= LARGEST => break,
            // Nothing moves yet: no guess can be made of it.
            None if nats <= 0.0 => low * 8.0,
            None => {
                let shortest = low * (1.0 + least);
                if quadratic < shortest {
                    least = (2.0 * least).min(1.0);
                }
                quadratic.clamp(shortest, low * 8.0)
            }
        }
        .min(LARGEST);
    }
    // A jump over the target is between two c that are as good as equal: the lower one is told.
    let jumps = high.is_some_and(|high| high - low < 1e-2 * high);
    let Some(best) = best else {
        return Ok(Side {
            c: None,
            kl_p95_nats: f64::INFINITY,
            kl_mean_nats: f64::INFINITY,
            nll_shift_nats: f64::INFINITY,
            note: Some("every c that was tried is beyond it".into()),
        });
    };
    if jumps {
        return Ok(Side {
            note: Some("the strength jumps over the target here".into()),
            ..found(sign, &best)
        });
    }
    let furthest = sign * low.max(best.c);
    let why = end.map_or(String::new(), |end| format!(": c must be {end}"));
    Ok(Side {
        c: None,
        note: Some(format!("no c up to {furthest:.2} reaches it{why}")),
        ..found(sign, &best)
    })
}

fn found(sign: f32, tried: &Tried) -> Side {
    let number = |read: fn(&Shift) -> f64| tried.shift.as_ref().map_or(f64::INFINITY, read);
    Side {
        c: Some(sign * tried.c),
        kl_p95_nats: number(Shift::p95_kl_nats),
        kl_mean_nats: number(Shift::mean_kl_nats),
        nll_shift_nats: number(Shift::nll_shift_nats),
        note: None,
    }
}
