//! Effects where they act. What a method gives has a kind, and each kind has its sites: one at another
//! site cannot be made.

use burn::tensor::Tensor;

use super::{Effect, ExtraKeyValue, Gain, Lookup, Shift};
use crate::arch::{Norm, Projection};
use crate::hooks::site::Site;

/// An effect where it acts.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "a tensor handle is large; effects are few and built once per coefficient"
)]
pub enum Sited {
    /// On a linear layer of a block, or on the head.
    Linear(Option<(usize, Projection)>, Effect),
    /// At the output of a block.
    Residual(usize, Shift),
    /// In the attention of a block.
    KeyValue(usize, ExtraKeyValue),
    /// On the embedding.
    Embedding(Lookup),
    /// On the gain of a norm of a block, or of the one before the head.
    Gain(Option<(usize, Norm)>, Gain),
}

/// Effects of one kind.
pub trait Effects: Sized {
    /// What tells the sites of this kind apart.
    type Place: Copy + 'static;
    /// Why they cannot act at other sites.
    const ELSEWHERE: &'static str;

    /// Which of its places a site is; none for a site of another kind.
    fn place(site: Site) -> Option<Self::Place>;

    /// The effects at a place.
    fn at(self, place: Self::Place) -> Vec<Sited>;
}

impl Effects for Vec<Effect> {
    type Place = Option<(usize, Projection)>;
    const ELSEWHERE: &'static str = "it changes a linear layer, and there is none";

    fn place(site: Site) -> Option<Self::Place> {
        match site {
            Site::Linear(layer, projection) => Some(Some((layer, projection))),
            Site::Head => Some(None),
            _ => None,
        }
    }

    fn at(self, place: Self::Place) -> Vec<Sited> {
        let effects = self.into_iter();
        effects.map(|effect| Sited::Linear(place, effect)).collect()
    }
}

impl Effects for Shift {
    type Place = usize;
    const ELSEWHERE: &'static str = "it is a step of the residual stream at the output of a block";

    fn place(site: Site) -> Option<usize> {
        match site {
            Site::Residual(layer) => Some(layer),
            _ => None,
        }
    }

    fn at(self, layer: usize) -> Vec<Sited> {
        vec![Sited::Residual(layer, self)]
    }
}

impl Effects for ExtraKeyValue {
    type Place = usize;
    const ELSEWHERE: &'static str = "it gives keys and values to the attention of a block";

    fn place(site: Site) -> Option<usize> {
        match site {
            Site::Attention(layer) => Some(layer),
            _ => None,
        }
    }

    fn at(self, layer: usize) -> Vec<Sited> {
        vec![Sited::KeyValue(layer, self)]
    }
}

impl Effects for Lookup {
    type Place = ();
    const ELSEWHERE: &'static str =
        "it changes embeddings of tokens, which the embedding alone gives";

    fn place(site: Site) -> Option<()> {
        (site == Site::Embedding).then_some(())
    }

    fn at(self, (): ()) -> Vec<Sited> {
        vec![Sited::Embedding(self)]
    }
}

impl Effects for Gain {
    type Place = Option<(usize, Norm)>;
    const ELSEWHERE: &'static str = "it changes the gain of a norm, and there is none";

    fn place(site: Site) -> Option<Self::Place> {
        match site {
            Site::Norm(norm) => Some(norm),
            _ => None,
        }
    }

    fn at(self, norm: Self::Place) -> Vec<Sited> {
        vec![Sited::Gain(norm, self)]
    }
}

impl Sited {
    /// Effects at a site; none at a site of another kind.
    pub fn of<E: Effects>(site: Site, effects: E) -> Vec<Self> {
        E::place(site).map_or_else(Vec::new, |place| effects.at(place))
    }

    /// Where it acts.
    #[must_use]
    pub fn site(&self) -> Site {
        match self {
            Self::Linear(Some((layer, projection)), _) => Site::Linear(*layer, *projection),
            Self::Linear(None, _) => Site::Head,
            Self::Residual(layer, _) => Site::Residual(*layer),
            Self::KeyValue(layer, _) => Site::Attention(*layer),
            Self::Embedding(_) => Site::Embedding,
            Self::Gain(norm, _) => Site::Norm(*norm),
        }
    }

    /// Whether one of its tensors tracks gradients.
    pub(in crate::hooks) fn tracks_gradients(&self) -> bool {
        match self {
            Self::Linear(_, effect) => effect.tracks_gradients(),
            Self::Residual(_, shift) => shift.direction.is_autodiff(),
            Self::KeyValue(_, extra) => extra.keys.is_autodiff() || extra.values.is_autodiff(),
            Self::Embedding(lookup) => {
                let b = lookup.b.as_ref();
                lookup.table.is_autodiff() || b.is_some_and(Tensor::is_autodiff)
            }
            Self::Gain(_, Gain(change)) => change.is_autodiff(),
        }
    }
}
