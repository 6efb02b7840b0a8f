//! What may act on a decoder, and where: the few shapes that an effect can have, the places where it
//! acts, the laws by which it follows a coefficient, and all of it gathered for a pass.

mod effect;
mod law;
mod mask;
mod plan;
mod site;
mod steering;
mod tokens;

pub use effect::{
    Delta, Effect, Effects, ExtraKeyValue, Gain, Gate, Join, Lookup, Map, Mixture, Shift, Sited,
};
pub use law::{Domain, Law, Offer, Placed};
pub(crate) use law::{impossible, offers};
pub use mask::{Cells, Mask};
pub use plan::{LayerPlan, SitePlan};
pub(crate) use site::ranges;
pub use site::{Module, Site};
pub use steering::{Acting, Listener, Stamp, Steering};
pub use tokens::Tokens;
