//! ROAD: rotary adaptation of representations, variants 1, 2 and 4. Liao and Monz 2024.
//! <https://arxiv.org/abs/2409.00119>
//!
//! # Formula
//! ```text
//! y' = a(c)∘y + b(c)∘turn(y),   y = W x
//! a = α cos θ, b = α sin θ;   a(c) = 1 + c·(a − 1), b(c) = c·b
//! turn: inside each group the halves (y₁, y₂) become (−y₂, y₁)
//! ```
//! # Shapes
//! ```text
//! <module>.road_theta, <module>.road_alpha
//!   road_1 [o/2]  one pair for both halves
//!   road_2 [o]    one for each number
//!   road_4 [2o]   own ones for a and for b
//! ```
//! # Coefficient
//! Linear: the change of the output is multiplied by c. At small angles that is a turn by c·θ;
//! at large ones it also changes length.
//! # Intuition
//! Pairs of output numbers are turned like the hands of a clock and stretched. Turning moves
//! information between two features instead of making either louder.

use burn::tensor::Tensor;

use super::{Effect, Family, Law, Loaded, Loader, Map, Method, Placed, Target, room_doc};
use crate::error::Result;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "road",
    peft_type: "ROAD",
    matches: |_| true,
    family: Family::Rotate,
    law: Law::Linear,
    keys: &["road_theta", "road_alpha"],
    reads: &["variant", "group_size"],
    inert: &["init_weights"],
    doc: room_doc!("road.rs"),
    load,
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let variant = loader.config.text("variant")?;
    let group = loader.config.count("group_size")?;
    let place = |target: Target| {
        let o = target.o;
        if !group.is_multiple_of(2) || !o.is_multiple_of(group) {
            let why = "the group size must be even and divide the width of every adapted layer";
            return Err(loader.config.unsupported(&METHOD, "group_size", why));
        }
        let read = |name, n| loader.tensor(&target, name, [n]);
        let (along, across) = match variant.as_str() {
            "road_1" => {
                let both = |half: Tensor<1>| {
                    let half = half.reshape([o / group, 1, group / 2]);
                    Tensor::cat(vec![half.clone(), half], 1).reshape([o])
                };
                let theta = both(read("road_theta", o / 2)?);
                let alpha = both(read("road_alpha", o / 2)?);
                (alpha.clone() * theta.clone().cos(), alpha * theta.sin())
            }
            "road_2" => {
                let (theta, alpha) = (read("road_theta", o)?, read("road_alpha", o)?);
                (alpha.clone() * theta.clone().cos(), alpha * theta.sin())
            }
            "road_4" => {
                let part = |both: Tensor<1>, at| {
                    both.reshape([o / group, 2, group])
                        .narrow(1, at, 1)
                        .reshape([o])
                };
                let theta = read("road_theta", 2 * o)?;
                let alpha = read("road_alpha", 2 * o)?;
                let along = part(alpha.clone(), 0) * part(theta.clone(), 0).cos();
                (along, part(alpha, 1) * part(theta, 1).sin())
            }
            _ => {
                let why = "known are road_1, road_2 and road_4";
                return Err(loader.config.unsupported(&METHOD, "variant", why));
            }
        };
        let change = along - 1.0;
        Ok(Placed::new(target.site, move |c| {
            let (along, across) = (change.clone() * c + 1.0, across.clone() * c);
            vec![Effect::Output(Map::Rotate {
                along,
                across,
                group,
            })]
        }))
    };
    let placed = loader
        .targets("road_theta")?
        .into_iter()
        .map(place)
        .collect::<Result<_>>()?;
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}
