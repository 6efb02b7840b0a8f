//! How a coefficient acts: the laws, where they act, and which of them a checkpoint can follow.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::effect::{Delta, Effect, Effects, Sited};
use super::site::Site;

/// How the coefficient `c` acts. Every law is the base at 0 and the trained adapter at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// `y₀ + c·(y₁ − y₀)` at every site.
    Linear,
    /// The generator of a rotation is scaled: `R(c)`, with `R(−c) = R(c)⁻¹`.
    Geodesic,
    /// Gains are raised to the c-th power: `f(c) f(−c) = 1`.
    Power,
    /// Stretches are raised to the c-th power, angles multiplied by c.
    LogPolar,
    /// A weight's own singular values move and its singular vectors turn by c times as much.
    Spectral,
    /// A vector or an inner gate is multiplied by c.
    Gate,
    /// `attn₀ + c·(attn_with_prefix − attn₀)` in every layer.
    AttentionMix,
}

impl Law {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Linear,
        Self::Geodesic,
        Self::Power,
        Self::LogPolar,
        Self::Spectral,
        Self::Gate,
        Self::AttentionMix,
    ];

    /// The name by which a user chooses it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Geodesic => "geodesic",
            Self::Power => "power",
            Self::LogPolar => "log-polar",
            Self::Spectral => "spectral",
            Self::Gate => "gate",
            Self::AttentionMix => "attention-mix",
        }
    }

    /// The law in plain words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Linear => {
                "c stretches the trained change: twice c is twice the change, −c is its mirror image"
            }
            Self::Geodesic => {
                "c turns the trained rotation further or back: lengths never change, −c undoes c"
            }
            Self::Power => {
                "c applies the trained gains c times over: they are raised to the power c, −c \
                 undoes c"
            }
            Self::LogPolar => {
                "c turns by c times the trained angle and raises the trained stretch to the power \
                 c: −c turns back and shrinks what c stretches"
            }
            Self::Spectral => {
                "c turns the layer's own directions by c times the trained angle and moves their \
                 strengths c times as far: −c turns back"
            }
            Self::Gate => "c is the length of the step: 0 is no step, −c steps the opposite way",
            Self::AttentionMix => {
                "c blends attention without and with the prefix: 0 ignores it, a negative c pushes \
                 away from it"
            }
        }
    }
}

/// The coefficients for which a law means something, and why no others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Domain {
    /// Contains −1 … 1 at least.
    pub range: RangeInclusive<f32>,
    /// What happens outside.
    pub why: &'static str,
}

/// A law that a checkpoint can follow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Offer {
    /// The law.
    pub law: Law,
    /// The law in plain words.
    pub words: &'static str,
    /// Absent when every finite coefficient will do.
    pub domain: Option<Domain>,
}

type LawFn = Box<dyn Fn(f32) -> Vec<Sited>>;

/// One law at one site. `None` stands for the law of `Loaded::law`.
struct Offered {
    law: Option<Law>,
    at: LawFn,
    domain: Option<Domain>,
}

/// A site and its laws: the effects for a coefficient. Never called with c = 0, which is the base.
pub struct Placed {
    /// Where.
    pub site: Site,
    /// Bytes of whole matrices that it keeps on the device.
    pub dense_bytes: u64,
    /// Whether it follows whatever law is chosen in the one way it has.
    always: bool,
    /// Why its effects cannot act at the site, if they are of another kind.
    misplaced: Option<&'static str>,
    offered: Vec<Offered>,
    impossible: Vec<(Law, &'static str)>,
}

impl Placed {
    /// The law that the checkpoint follows unless the user chooses another. Effects that are not of the
    /// site's kind are refused when the method has loaded.
    pub fn new<E: Effects + 'static>(site: Site, at: impl Fn(f32) -> E + 'static) -> Self {
        let placed = Self {
            site,
            dense_bytes: 0,
            always: false,
            misplaced: None,
            offered: Vec::new(),
            impossible: Vec::new(),
        };
        placed.offering(None, at)
    }

    fn offering<E: Effects + 'static>(
        mut self,
        law: Option<Law>,
        at: impl Fn(f32) -> E + 'static,
    ) -> Self {
        match E::place(self.site) {
            None => self.misplaced = Some(E::ELSEWHERE),
            Some(place) => self.offered.push(Offered {
                law,
                at: Box::new(move |c| at(c).at(place)),
                domain: None,
            }),
        }
        self
    }

    /// Why its effects cannot act at its site, if that is so.
    pub(crate) fn misplaced(&self) -> Option<&'static str> {
        self.misplaced
    }

    /// The linear law: c times changes of a weight.
    #[must_use]
    pub fn linear(site: Site, deltas: Vec<Delta>) -> Self {
        let dense_bytes = deltas.iter().map(Delta::dense_bytes).sum();
        let at = move |c| {
            let scaled = deltas.iter().map(|delta| delta.times(c));
            scaled.map(Effect::Weight).collect::<Vec<_>>()
        };
        Self {
            dense_bytes,
            ..Self::new(site, at)
        }
    }

    /// For what a method brings along that acts in one way under all of its laws.
    #[must_use]
    pub(crate) fn always(mut self) -> Self {
        self.always = true;
        self
    }

    /// Another law that the user may choose.
    #[must_use]
    pub fn or<E: Effects + 'static>(self, law: Law, at: impl Fn(f32) -> E + 'static) -> Self {
        self.offering(Some(law), at)
    }

    /// A law that raises these gains to the power c, as far as they admit it: numbers of 0 and below have no
    /// powers, and large powers of the others leave what f32 activations can hold.
    #[must_use]
    pub fn or_powers<E: Effects + 'static>(
        self,
        law: Law,
        gains: &[f32],
        at: impl Fn(f32) -> E + 'static,
    ) -> Self {
        if !gains.iter().all(|gain| *gain > 0.0 && gain.is_finite()) {
            let why = "one of its gains is not above 0 and has no powers";
            return self.cannot(law, why);
        }
        self.or(law, at).within_powers_of(gains)
    }

    /// Limits the law named last to where powers of these gains, all above 0, stay below a
    /// million and above a millionth.
    #[must_use]
    pub fn within_powers_of(self, gains: &[f32]) -> Self {
        let steepest = gains.iter().map(|gain| gain.ln().abs()).fold(0.0, f32::max);
        let why = "beyond it a gain would pass a million or fall below a millionth";
        self.within(1e6_f32.ln() / steepest, why)
    }

    /// Limits the law named last to `−limit … limit`; a limit below 1 is taken as 1, since the
    /// trained adapter itself must stay in reach.
    #[must_use]
    pub fn within(mut self, limit: f32, why: &'static str) -> Self {
        let limit = limit.max(1.0);
        if let (Some(offered), true) = (self.offered.last_mut(), limit.is_finite()) {
            let range = -limit..=limit;
            offered.domain = Some(Domain { range, why });
        }
        self
    }

    /// Says why this site cannot follow a law that other checkpoints of its method can.
    #[must_use]
    pub fn cannot(mut self, law: Law, why: &'static str) -> Self {
        self.impossible.push((law, why));
        self
    }

    /// Fixes which law [`Placed::new`] meant.
    pub(crate) fn settle(&mut self, law: Law) {
        if let Some(first) = self.offered.first_mut() {
            first.law = Some(law);
        }
    }

    /// The effects at coefficient c. A law that is not offered here has none.
    #[must_use]
    pub fn effects(&self, law: Law, c: f32) -> Vec<Sited> {
        let follows = |offered: &&Offered| self.always || offered.law == Some(law);
        let offered = self.offered.iter().find(follows);
        offered.map_or_else(Vec::new, |offered| (offered.at)(c))
    }
}

impl std::fmt::Debug for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Placed")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// The laws that every site can follow, the default first, inside the narrowest domain of each.
pub(crate) fn offers(default: Law, placed: &[Placed]) -> Vec<Offer> {
    let mut laws = vec![default];
    for offered in placed.iter().flat_map(|placed| &placed.offered) {
        laws.extend(offered.law.filter(|law| !laws.contains(law)));
    }
    let everywhere = |law: Law| {
        let follows = |placed: &Placed| placed.offered.iter().any(|o| o.law == Some(law));
        placed.iter().all(|placed| placed.always || follows(placed))
    };
    let domain = |law: Law| {
        let offered = placed.iter().flat_map(|placed| &placed.offered);
        let domains = offered
            .filter(|o| o.law == Some(law))
            .filter_map(|o| o.domain.as_ref());
        domains
            .min_by(|a, b| a.range.end().total_cmp(b.range.end()))
            .cloned()
    };
    laws.into_iter()
        .filter(|law| everywhere(*law))
        .map(|law| Offer {
            law,
            words: law.words(),
            domain: domain(law),
        })
        .collect()
}

/// Why the method's other laws are not offered.
pub(crate) fn impossible(placed: &[Placed]) -> Vec<(Law, &'static str)> {
    let mut reasons: Vec<(Law, &'static str)> = Vec::new();
    for &(law, why) in placed.iter().flat_map(|placed| &placed.impossible) {
        if reasons.iter().all(|(known, _)| *known != law) {
            reasons.push((law, why));
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;
    use crate::device::cpu;
    use crate::hooks::Gain;

    #[test]
    fn effects_act_at_sites_of_their_kind_alone() {
        let gain = |_| Gain(Tensor::zeros([2], &cpu()));
        let norm = Placed::new(Site::Norm(None), gain);
        assert_eq!(norm.misplaced(), None);
        let other = norm.or(Law::Power, |_| Vec::<Effect>::new());
        assert!(other.misplaced().is_some(), "no change of a linear layer");
        for site in [Site::Head, Site::Embedding, Site::Residual(0)] {
            let mut placed = Placed::new(site, gain);
            assert!(placed.misplaced().is_some(), "{site:?}");
            placed.settle(Law::Linear);
            assert!(placed.effects(Law::Linear, 1.0).is_empty(), "{site:?}");
        }
    }
}
