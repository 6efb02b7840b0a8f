//! All that acts on a decoder in one pass.

use std::any::Any;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::iter::once;
use std::ops::Range;
use std::rc::Rc;

use burn::tensor::Tensor;

use super::effect::{Effect, Gain, Gate, Lookup, Sited};
use super::law::Law;
use super::mask::Mask;
use super::plan::{LayerPlan, SitePlan};
use super::tokens::Tokens;

/// One adapter that acts, and how: passes under two different lists of these compute different
/// numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Acting {
    /// Its handle.
    pub id: u32,
    /// How often other files were put in its place.
    pub reading: u32,
    /// c, never 0.
    pub coefficient: f32,
    /// How c acts.
    pub law: Law,
    /// Where it acts. In the stamps of a cache its tokens are all: they are those that are stamped.
    pub mask: Mask,
}

/// The adapters that were active, in stack order, and how they acted; empty for the base.
pub type Stamp = Rc<[Acting]>;

/// A gate and the pass that it reads.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The gate.
    pub gate: Rc<Gate>,
    /// The effects in the pass that it reads.
    pub scout: Rc<Steering>,
}

/// What acts from a position on, on tokens of the prompt and on those after it.
#[derive(Debug, Clone)]
struct Part {
    first: usize,
    prompt: Rc<Steering>,
    generated: Rc<Steering>,
}

/// All effects at fixed coefficients: what a forward pass reads. Where adapters act on some tokens only,
/// these are the effects of all of them, and a pass reads the part that acts on its tokens.
#[derive(Debug, Clone)]
pub struct Steering {
    /// Changes of the embedding.
    pub embedding: Vec<Lookup>,
    layers: Vec<LayerPlan>,
    /// Changes of the gain of the norm before the head.
    pub gains: Vec<Tensor<1>>,
    /// The plan of the output head.
    pub head: SitePlan,
    /// Gates that weight experts, run before each pass.
    pub gates: Vec<Listener>,
    stamp: Stamp,
    /// Absent where all act on all tokens; else from position 0 on, ascending.
    parts: Vec<Part>,
    /// Whether a tensor among them tracks gradients.
    tracks_gradients: bool,
    none: LayerPlan,
    /// What an executor prepared, once for all passes.
    memo: OnceCell<Rc<dyn Any>>,
}

impl Steering {
    /// No effect at all: the base model.
    #[must_use]
    pub fn base() -> Self {
        Self {
            embedding: Vec::new(),
            layers: Vec::new(),
            gains: Vec::new(),
            head: SitePlan::default(),
            gates: Vec::new(),
            stamp: Rc::from([]),
            parts: Vec::new(),
            tracks_gradients: false,
            none: LayerPlan::default(),
            memo: OnceCell::new(),
        }
    }

    /// What an executor prepares from the plans of all layers, made at the first call and kept; one
    /// type for each steering.
    pub(crate) fn memo<T: 'static>(&self, make: impl FnOnce(&[LayerPlan]) -> T) -> Option<&T> {
        let made = self.memo.get_or_init(|| Rc::new(make(&self.layers)));
        made.downcast_ref()
    }

    /// Whether a pass depends on the ids of its tokens beyond the base's embeddings.
    #[must_use]
    pub fn reads_tokens(&self) -> bool {
        !self.embedding.is_empty() || !self.gates.is_empty()
    }

    /// Which adapters this is, and how and where they act.
    #[must_use]
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Whether a tensor among the effects tracks gradients: a pass then runs over tensors alone.
    #[must_use]
    pub fn tracks_gradients(&self) -> bool {
        self.tracks_gradients
    }

    /// The plan of one block.
    #[must_use]
    pub fn layer(&self, layer: usize) -> &LayerPlan {
        self.layers.get(layer).unwrap_or(&self.none)
    }

    fn layer_mut(&mut self, layer: usize) -> &mut LayerPlan {
        if self.layers.len() <= layer {
            self.layers.resize(layer + 1, LayerPlan::default());
        }
        &mut self.layers[layer]
    }

    /// These effects, under the base's stamp.
    #[must_use]
    pub fn of<E: Into<Sited>>(effects: impl IntoIterator<Item = E>) -> Self {
        let mut steering = Self::base();
        for effect in effects {
            steering.add(effect.into());
        }
        steering
    }

    /// The effects of adapters, in their order, each on the tokens of its mask.
    #[must_use]
    pub(crate) fn of_adapters(adapters: &[(Acting, Vec<Sited>)]) -> Self {
        let tokens = || adapters.iter().map(|(acting, _)| acting.mask.positions);
        let whole = Self {
            stamp: adapters.iter().map(|(acting, _)| acting.clone()).collect(),
            ..Self::of(adapters.iter().flat_map(|(_, effects)| effects.clone()))
        };
        if tokens().all(|tokens| tokens == Tokens::All) {
            return whole;
        }
        // How an adapter acts on a token does not depend on the others: no stamp of a part names tokens.
        let there = |position, prompt| {
            let acts = |acting: &Acting| acting.mask.positions.contains(position, prompt);
            let there = adapters.iter().filter(|(acting, _)| acts(acting));
            let there = there.map(|(acting, effects)| {
                let mut acting = acting.clone();
                acting.mask.positions = Tokens::All;
                (acting, effects.clone())
            });
            Rc::new(Self::of_adapters(&there.collect::<Vec<_>>()))
        };
        let firsts = tokens().filter_map(|tokens| match tokens {
            Tokens::From(first) => Some(first),
            _ => None,
        });
        let firsts: BTreeSet<usize> = once(0).chain(firsts).collect();
        let part = |first| Part {
            first,
            prompt: there(first, usize::MAX),
            generated: there(first, 0),
        };
        Self {
            parts: firsts.into_iter().map(part).collect(),
            ..whole
        }
    }

    /// What acts on the token at `position` of a text whose prompt has `prompt` tokens. Its stamp is
    /// of the adapters that act there.
    #[must_use]
    pub(crate) fn at(&self, position: usize, prompt: usize) -> &Self {
        let part = self.parts.iter().rfind(|part| part.first <= position);
        match part {
            None => self,
            Some(part) if position < prompt => &part.prompt,
            Some(part) => &part.generated,
        }
    }

    /// The positions `tokens`, cut before each one on which something else acts than on the one before.
    pub(crate) fn pieces(&self, tokens: Range<usize>, prompt: usize) -> Vec<Range<usize>> {
        let acting = |position| self.at(position, prompt).stamp();
        let firsts = self.parts.iter().map(|part| part.first).chain([prompt]);
        let inside = firsts.filter(|at| tokens.start < *at && *at < tokens.end);
        let cuts: BTreeSet<usize> = inside.filter(|&at| acting(at - 1) != acting(at)).collect();
        let starts = once(tokens.start).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([tokens.end]);
        starts.zip(ends).map(|(start, end)| start..end).collect()
    }

    /// The same with the weights `[t, slots, experts]` that each gate gives in this pass.
    #[must_use]
    pub fn weighed(&self, weights: &[Tensor<3>]) -> Self {
        let mut steering = self.clone();
        let of = |gate: &Rc<Gate>| {
            let is_it = |known: &Listener| Rc::ptr_eq(&known.gate, gate);
            weights.get(self.gates.iter().position(is_it)?)
        };
        let linears = steering.layers.iter_mut().flat_map(LayerPlan::linears_mut);
        for plan in linears.chain([&mut steering.head]) {
            plan.weigh(of);
        }
        steering
    }

    fn add(&mut self, effect: Sited) {
        self.tracks_gradients |= effect.tracks_gradients();
        match effect {
            Sited::Linear(place, effect) => {
                if let Effect::Experts(mixture) = &effect {
                    self.listen(&mixture.gate);
                }
                let plan = match place {
                    Some((layer, projection)) => self.layer_mut(layer).linear_mut(projection),
                    None => &mut self.head,
                };
                plan.add(effect);
            }
            Sited::Residual(layer, shift) => self.layer_mut(layer).residual.push(shift),
            Sited::KeyValue(layer, extra) => self.layer_mut(layer).extra.push(extra),
            Sited::Embedding(lookup) => self.embedding.push(lookup),
            Sited::Gain(Some((layer, norm)), Gain(change)) => {
                self.layer_mut(layer).gains[norm as usize].push(change);
            }
            Sited::Gain(None, Gain(change)) => self.gains.push(change),
        }
    }

    /// Runs a gate before each pass.
    fn listen(&mut self, gate: &Rc<Gate>) {
        if !self.gates.iter().any(|known| Rc::ptr_eq(&known.gate, gate)) {
            self.gates.push(Listener {
                gate: gate.clone(),
                scout: Rc::new(Self::of(gate.scout.iter().cloned())),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adapters without effects that act on these tokens.
    fn steering(tokens: &[Tokens]) -> Steering {
        let adapter = |(id, &positions)| {
            let acting = Acting {
                id,
                reading: 0,
                coefficient: 1.0,
                law: Law::Linear,
                mask: Mask {
                    positions,
                    ..Mask::default()
                },
            };
            (acting, Vec::new())
        };
        let adapters: Vec<_> = (1..).zip(tokens).map(adapter).collect();
        Steering::of_adapters(&adapters)
    }

    fn ids(steering: &Steering) -> Vec<u32> {
        steering.stamp().iter().map(|acting| acting.id).collect()
    }

    /// Where the pieces of some positions begin.
    fn cuts(steering: &Steering, tokens: Range<usize>, prompt: usize) -> Vec<usize> {
        let end = tokens.end;
        let pieces = steering.pieces(tokens, prompt);
        assert_eq!(pieces.last().expect("a piece").end, end);
        assert!(pieces.windows(2).all(|two| two[0].end == two[1].start));
        pieces.iter().map(|piece| piece.start).collect()
    }

    /// A text of 10 tokens, of which 4 are the prompt's.
    #[test]
    fn each_token_has_the_adapters_that_act_there() {
        use Tokens::{All, From, Generated, Prompt};
        let all = steering(&[All, Prompt, Generated, From(2), From(7)]);
        assert_eq!(ids(&all), [1, 2, 3, 4, 5], "the whole knows them all");
        for (positions, acting) in [
            (0..2, &[1, 2][..]),
            (2..4, &[1, 2, 4]),
            (4..7, &[1, 3, 4]),
            (7..10, &[1, 3, 4, 5]),
        ] {
            for at in positions {
                assert_eq!(ids(all.at(at, 4)), acting, "token {at}");
            }
        }
        assert_eq!(cuts(&all, 0..10, 4), [0, 2, 4, 7]);
        assert_eq!(cuts(&all, 3..7, 4), [3, 4]);
        assert_eq!(cuts(&all, 4..5, 4), [4], "one token is one piece");
    }

    #[test]
    fn no_pass_is_cut_where_nothing_changes() {
        use Tokens::{All, From, Generated, Prompt};
        assert_eq!(cuts(&steering(&[All]), 0..9, 4), [0]);
        assert_eq!(cuts(&Steering::base(), 0..9, 4), [0]);
        let from = steering(&[From(4)]);
        assert_eq!(cuts(&from, 0..9, 6), [0, 4], "not at the prompt's end");
        let generated = steering(&[Generated]);
        assert_eq!(from.at(5, 4).stamp(), generated.at(5, 4).stamp());
        assert!(generated.at(3, 4).stamp().is_empty(), "as the base");
        assert_eq!(cuts(&steering(&[Prompt]), 0..9, usize::MAX), [0]);
    }
}
