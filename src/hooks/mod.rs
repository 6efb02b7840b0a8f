//! What may act on a decoder, and where: the few shapes that an effect can have, the places where it
//! acts, the laws by which it follows a coefficient, and all of it gathered for a pass.

mod effect;
mod law;
mod mask;
mod plan;
mod site;
mod steering;

pub use effect::{Delta, Effect, ExpertWeights, ExtraKeyValue, Gate, Join, Lookup, Map, Shift};
pub use law::{Domain, Law, Offer, Placed};
pub(crate) use law::{impossible, offers};
pub use mask::Mask;
pub use plan::{LayerPlan, SitePlan};
pub(crate) use site::ranges;
pub use site::{Module, Site};
pub use steering::{Acting, Listener, Stamp, Steering};
