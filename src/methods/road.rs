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
//! # Hypothesis
//! A behaviour is a small turn of what a layer says, two features at a time: training changes the
//! angles of representations far more than their lengths.
//! # Intuition
//! Pairs of output numbers are turned like the hands of a clock and stretched. Turning moves
//! information between two features instead of making either louder.
//! # Limits
//! Each number of the output meets one other and no more. It cannot carry something from one half
//! of the layer to another.

use burn::tensor::Tensor;

use super::starts::{USUAL, common_divisor};
use crate::checkpoint::{
    Family, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
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
    trains: Trains::From { start, rate: 2e-2 },
    extras: None,
    folds: Folds::Not(
        "c moves α cos θ and α sin θ along straight lines, and no multiples of α and θ do that",
    ),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let targets = start.targets(USUAL)?;
    let group = common_divisor(targets.iter().map(|target| target.o), 64);
    start.set("variant", "road_1");
    start.set("group_size", group);
    for target in targets {
        start.learn(&target, "road_theta", [target.o / 2], Init::Zeros);
        start.learn(&target, "road_alpha", [target.o / 2], Init::Filled(1.0));
    }
    Ok(())
}

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
        let [theta, alpha] = ["road_theta", "road_alpha"].map(|name| loader.key(&target, name));
        let (angles, stretches) = (loader.host(&theta, [n])?, loader.host(&alpha, [n])?);
        // From the file's order to one number for each output.
        let spread = |key: &str, numbers: &[f32], row: usize| {
            let numbers: Tensor<1> = loader.on_device(key, numbers.to_vec(), [n]);
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
        let part = |row| {
            (
                spread(&alpha, &stretches, row),
                spread(&theta, &angles, row),
            )
        };
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::hooks::Law;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// A quarter turn that doubles the length: (1, 0) -> (0, 2).
    fn adapter() -> Pencil {
        Pencil::layer(
            &METHOD,
            json!({ "variant": "road_1", "group_size": 2 }),
            IDENTITY,
            &[
                ("road_theta", [std::f32::consts::FRAC_PI_2].into()),
                ("road_alpha", [2.0].into()),
            ],
        )
    }

    /// At c = −1 the change (−1, 2) is taken off.
    #[test]
    fn a_pair_is_turned_and_stretched() {
        near(adapter().y(1.0, [1.0, 0.0]), [0.0, 2.0]);
        near(adapter().y(-1.0, [1.0, 0.0]), [2.0, -2.0]);
    }

    #[test]
    fn under_the_log_polar_law_minus_c_turns_back() {
        let adapter = adapter().under(Law::LogPolar);
        near(adapter.y(1.0, [1.0, 0.0]), [0.0, 2.0]);
        near(adapter.y(-1.0, [1.0, 0.0]), [0.0, -0.5]);
        near(adapter.y(-1.0, adapter.y(1.0, [3.0, 4.0])), [3.0, 4.0]);
    }
}
