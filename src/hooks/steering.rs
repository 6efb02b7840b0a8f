//! All that acts on a decoder in one pass.

use std::any::Any;
use std::cell::OnceCell;
use std::rc::Rc;

use burn::tensor::Tensor;

use super::effect::{Delta, Effect, ExpertWeights, Gate, Lookup};
use super::law::Law;
use super::mask::Mask;
use super::plan::{LayerPlan, SitePlan};
use super::site::Site;

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
    /// Where it acts.
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

/// All effects at fixed coefficients: what a forward pass reads.
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
    pub fn of(effects: impl IntoIterator<Item = (Site, Effect)>) -> Self {
        let mut steering = Self::base();
        for (site, effect) in effects {
            steering.add(site, effect);
        }
        steering
    }

    /// The same under the stamp of the adapters whose effects these are.
    #[must_use]
    pub(crate) fn stamped(self, stamp: Stamp) -> Self {
        Self { stamp, ..self }
    }

    /// The same with the weights `[t, slots, experts]` that each gate gives in this pass.
    #[must_use]
    pub fn weighed(&self, weights: &[Tensor<3>]) -> Self {
        let mut steering = self.clone();
        let linears = steering.layers.iter_mut().flat_map(LayerPlan::linears_mut);
        let plans = linears.chain([&mut steering.head]);
        for delta in plans.flat_map(|plan| &mut plan.deltas) {
            delta.weigh(|gate| {
                let at = self
                    .gates
                    .iter()
                    .position(|known| Rc::ptr_eq(&known.gate, gate))?;
                weights.get(at).cloned()
            });
        }
        steering
    }

    fn add(&mut self, site: Site, effect: Effect) {
        self.tracks_gradients |= effect.tracks_gradients();
        if let Effect::Weight(Delta::Experts { weights, .. }) = &effect
            && let ExpertWeights::Gate(gate, _) = weights
            && !self.gates.iter().any(|known| Rc::ptr_eq(&known.gate, gate))
        {
            self.gates.push(Listener {
                gate: gate.clone(),
                scout: Rc::new(Self::of(gate.scout.iter().cloned())),
            });
        }
        match (site, effect) {
            (Site::Residual(layer), Effect::Residual(shift)) => {
                self.layer_mut(layer).residual.push(shift);
            }
            (Site::Attention(layer), Effect::KeyValue(extra)) => {
                self.layer_mut(layer).extra.push(extra);
            }
            (Site::Linear(layer, projection), effect) => {
                add_linear(self.layer_mut(layer).linear_mut(projection), effect);
            }
            (Site::Norm(Some((layer, norm))), Effect::Gain(change)) => {
                self.layer_mut(layer).gains[norm as usize].push(change);
            }
            (Site::Norm(None), Effect::Gain(change)) => self.gains.push(change),
            (Site::Embedding, Effect::Embedding(lookup)) => self.embedding.push(lookup),
            (Site::Head, effect) => add_linear(&mut self.head, effect),
            (site, effect) => unreachable!("{effect:?} cannot act at {site:?}"),
        }
    }
}

fn add_linear(plan: &mut SitePlan, effect: Effect) {
    match effect {
        Effect::Weight(delta) => plan.deltas.push(delta),
        Effect::Input(map) => plan.inputs.push(map),
        Effect::Output(map) => plan.outputs.push(map),
        effect => unreachable!("{effect:?} does not act on a linear layer"),
    }
}
