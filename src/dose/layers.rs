//! Which blocks carry an effect: each alone, at the same strength.

use std::ops::RangeInclusive;
use std::rc::Rc;

use serde::Serialize;

use super::calibrate::{Side, check_target, side};
use super::pairs::{Contrast, Pair, Split};
use super::statistics::mean;
use super::strength::Strengths;
use super::subject::{AdapterFacts, Passage, Progress, Steps, Subject};
use crate::error::{Error, Result};

/// Neutral answers that a block's strength is read on: one block after the other is many readings.
const NEUTRAL: usize = 4;

/// Prompts that its effect is read on.
const PROMPTS: usize = 6;

/// A strength this close to the target, as a share of it, is the target.
const CLOSE: f64 = 0.1;

/// A block with this share of the best one's effect carries it too.
const CARRIES: f64 = 0.5;

/// The strength that a suggestion aims at, in nats.
const SUGGESTED_NATS: f64 = 1.0;

/// One block alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerEffect {
    /// The block, from 0.
    pub layer: usize,
    /// The c at which this block alone has the strength; null where none does.
    pub c: Option<f32>,
    /// The strength at c, or the largest that was found.
    pub kl_p95_nats: f64,
    /// `d(c) − d(−c)`, in nats per token; null without a c.
    pub effect_nats: Option<f64>,
}

/// Where and how strongly to act.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suggestion {
    /// The blocks around the best one that carry at least half of its effect, as `9-14`.
    pub layers: String,
    /// The c at which these together have a strength of 1 nat, and what that costs.
    pub dose: Side,
}

/// The map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerMap {
    /// What c turned.
    pub adapters: Vec<AdapterFacts>,
    /// The behaviour.
    pub behaviour: String,
    /// The split that it was read on: a choice made on test rows would spoil them.
    pub split: Split,
    /// The strength of each block.
    pub target_nats: f64,
    /// The blocks on which the adapters act.
    pub layers: Vec<LayerEffect>,
    /// Null where no block reaches the strength with an effect above 0.
    pub suggestion: Option<Suggestion>,
}

/// Turns one block after the other to the same strength and reads the effect on the behaviour.
/// `progress` is told before each text, and its error ends it.
///
/// # Errors
/// [`Error::BadOption`] for a target that is no strength or adapters that act in no block; what is
/// wrong with the pairs, and `progress`'s own.
pub async fn layer_map(
    subject: &Subject<'_>,
    contrast: &Contrast,
    target_nats: f64,
    progress: impl AsyncFnMut(Progress) -> Result<()>,
) -> Result<LayerMap> {
    check_target(target_nats)?;
    let reached = subject.layers_reached()?;
    if reached.is_empty() {
        return Err(Error::BadOption {
            name: "adapters",
            expected: "some that act in a block",
            found: "none that does".into(),
        });
    }
    let (split, pairs) = chosen(contrast)?;
    let passages = subject.passages(contrast, &pairs, None)?;
    // Four readings of a block's strength, and both of its ends.
    let guess = (reached.len() + 2) * (4 * NEUTRAL + 2 * passages.len());
    let mut steps = Steps::new(guess, progress);
    let mut step = async |count| steps.next(count).await;
    let mut layers = Vec::with_capacity(reached.len());
    let mut strengths = Strengths::new(subject, contrast, NEUTRAL)?;
    for &layer in &reached {
        let alone = subject.within(layer..=layer);
        let dose = side(&alone, &mut strengths, 1.0, target_nats, CLOSE, &mut step).await?;
        let effect_nats = match dose.c {
            Some(c) => effect(&alone, c, &passages, &mut step).await?,
            None => None,
        };
        layers.push(LayerEffect {
            layer,
            c: dose.c,
            kl_p95_nats: dose.kl_p95_nats,
            effect_nats,
        });
    }
    let suggestion = match carriers(&layers) {
        None => None,
        Some(range) => {
            let mut strengths = Strengths::new(subject, contrast, contrast.neutral.len())?;
            let together = subject.within(range.clone());
            let nats = SUGGESTED_NATS;
            let dose = side(&together, &mut strengths, 1.0, nats, CLOSE, &mut step).await?;
            let layers = match (range.start(), range.end()) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            };
            Some(Suggestion { layers, dose })
        }
    };
    Ok(LayerMap {
        adapters: subject.facts()?,
        behaviour: contrast.name.clone(),
        split,
        target_nats,
        layers,
        suggestion,
    })
}

/// The rows that choices may be made on, as far as there are such.
fn chosen(contrast: &Contrast) -> Result<(Split, Vec<&Pair>)> {
    let order = [Split::Stop, Split::Train, Split::Test];
    let is_there = |split: &Split| contrast.pairs.iter().any(|pair| pair.split == *split);
    let split = order.into_iter().find(is_there).unwrap_or(Split::Test);
    let mut pairs = contrast.split(split)?;
    pairs.truncate(PROMPTS);
    Ok((split, pairs))
}

/// `d(c) − d(−c)`; `None` where −c is outside a law's domain or its logits are no numbers.
async fn effect(
    subject: &Subject<'_>,
    c: f32,
    passages: &[Passage],
    mut step: impl AsyncFnMut(usize) -> Result<()>,
) -> Result<Option<f64>> {
    let mut effect = 0.0;
    for (sign, c) in [(1.0, c), (-1.0, -c)] {
        let steering = match subject.at(c) {
            Ok(steering) => steering,
            Err(Error::BadCoefficient { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let reader = subject.reader(Rc::clone(&steering), passages)?;
        match reader.differences(passages, &mut step).await {
            Ok(ds) => effect += sign * mean(&ds),
            Err(Error::Diverged { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(effect))
}

/// The blocks around the one with the largest effect that carry it too.
fn carriers(layers: &[LayerEffect]) -> Option<RangeInclusive<usize>> {
    let of = |layer: &LayerEffect| layer.effect_nats.unwrap_or(0.0);
    let numbered = layers.iter().enumerate();
    let (best, top) = numbered
        .map(|(at, layer)| (at, of(layer)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, effect)| *effect > 0.0)?;
    let carries = |at: &usize| of(&layers[*at]) >= CARRIES * top;
    let next_to = |at: usize, other: usize| layers[at].layer.abs_diff(layers[other].layer) == 1;
    let (mut first, mut last) = (best, best);
    while first > 0 && carries(&(first - 1)) && next_to(first - 1, first) {
        first -= 1;
    }
    while last + 1 < layers.len() && carries(&(last + 1)) && next_to(last, last + 1) {
        last += 1;
    }
    Some(layers[first].layer..=layers[last].layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carriers_stand_around_the_best() {
        let map = |effects: &[(usize, f64)]| {
            let layer = |&(layer, effect): &(usize, f64)| LayerEffect {
                layer,
                c: Some(1.0),
                kl_p95_nats: 0.2,
                effect_nats: Some(effect),
            };
            carriers(&effects.iter().map(layer).collect::<Vec<_>>())
        };
        let found = map(&[(3, 0.9), (4, 0.1), (5, 0.6), (6, 1.0), (7, 0.5), (9, 0.8)]);
        assert_eq!(found, Some(5..=7));
        assert_eq!(map(&[(3, -0.9), (4, 0.0)]), None);
        assert_eq!(map(&[]), None);
    }
}
