//! ROAD: rotary adaptation of representations, variants 1, 2 and 4. Liao and Monz 2024.
//! <https://arxiv.org/abs/2409.00119>
//!
//! # Formula
//! ```text
//! y' = a(c)∘y + b(c)∘turn(y),   y = W x
//! a = α cos θ, b = α sin θ;   a(c) = 1 + c·(a − 1), b(c) = c·b
//! log-polar law: a(c) = α^c cos cθ, b(c) = α^c sin cθ
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
//! at large ones it also changes length. Under the log-polar law, for road_1 and road_2, c
//! scales the angle and the logarithm of the stretch: with road_1 −c then undoes c, with road_2
//! only as far as both numbers of a pair have the same angle. road_4 is no rotation.
//! # Intuition
//! Pairs of output numbers are turned like the hands of a clock and stretched. Turning moves
//! information between two features instead of making either louder.

use burn::tensor::Tensor;

use crate::checkpoint::{Family, Loaded, Loader, Method, Target, room_doc};
use crate::error::Result;
use crate::hooks::{Effect, Law, Map, Placed};

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
            return Err(METHOD.unsupported(loader.config, "group_size", why));
        }
        let n = match variant.as_str() {
            "road_1" => o / 2,
            "road_2" => o,
            "road_4" => 2 * o,
            _ => {
                let why = "known are road_1, road_2 and road_4";
                return Err(METHOD.unsupported(loader.config, "variant", why));
            }
        };
        let read = |name| loader.host(&loader.key(&target, name), [n]);
        let (angles, stretches) = (read("road_theta")?, read("road_alpha")?);
        // From the file's order to one number for each output.
        let spread = |numbers: &[f32], row: usize| {
            let numbers: Tensor<1> = loader.upload(numbers.to_vec(), [n]);
            match n / (o / 2) {
                1 => {
                    let half = numbers.reshape([o / group, 1, group / 2]);
                    Tensor::cat(vec![half.clone(), half], 1).reshape([o])
                }
                2 => numbers,
                _ => {
                    let both = numbers.reshape([o / group, 2, group]);
                    both.narrow(1, row, 1).reshape([o])
                }
            }
        };
        let part = |row| (spread(&stretches, row), spread(&angles, row));
        let ((alpha, theta), (alpha_b, theta_b)) = (part(0), part(1));
        let effect = move |along, across| {
            vec![Effect::Output(Map::Rotate {
                along,
                across,
                group,
            })]
        };
        let change = alpha.clone() * theta.clone().cos() - 1.0;
        let across = alpha_b * theta_b.sin();
        let linear = Placed::new(target.site, move |c| {
            effect(change.clone() * c + 1.0, across.clone() * c)
        });
        if variant == "road_4" {
            let why = "road_4 has an angle for each of a and b and is no rotation";
            return Ok(linear.cannot(Law::LogPolar, why));
        }
        let exponent = alpha.log();
        Ok(linear.or_powers(Law::LogPolar, &stretches, move |c| {
            let (alpha, theta) = ((exponent.clone() * c).exp(), theta.clone() * c);
            effect(alpha.clone() * theta.clone().cos(), alpha * theta.sin())
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
