//! Control vector: a direction added to the residual stream, after repeng. Vogel 2024.
//! <https://github.com/vgel/repeng>
//!
//! # Formula
//! ```text
//! at the output of block L, v̂ = v_L / ‖v_L‖, by `action` in the config:
//! add (without one)  h_L ← h_L + c·v_L
//! ablate             h_L ← h_L − c·(h_L·v̂)·v̂
//! clamp              h_L ← h_L − a·(h_L·v̂)·v̂ + c·v_L,   a = min(|c|, 1)
//! with normalize:    h_L ← h'_L·‖h_L‖ / ‖h'_L‖,   h'_L what the lines above give
//! ```
//! # Shapes
//! ```text
//! direction.L   v_L [d] or [1, d], for each block L it acts on (GGUF or safetensors)
//! ```
//! # Coefficient
//! Gate: c is the length of the step along the direction, in units of the stored vector. To ablate, c = 1
//! leaves h nothing along the direction, and −1 doubles what it has there; the vector's length does not
//! matter. To clamp, what h has along it becomes c·‖v_L‖ from |c| = 1 on, whatever it was, so that −1 sets
//! the opposite; below, h is on the way there. With normalize in the config the stream keeps its length and
//! only turns.
//! # Hypothesis
//! A concept is a direction in the residual stream, the same one in every text. How far the stream
//! lies along it is how much of the concept there is.
//! # Intuition
//! The difference between what the model thinks while reading one kind of text and its opposite
//! is an arrow. Adding the arrow makes every token a little more of that kind; ablating it takes the
//! question away; clamping gives every token the same answer.
//! # Limits
//! The step is the same in every context, so it cannot act in one and not in another. Far out the
//! language breaks, and some prompts move the other way.

use serde_json::Value;

use crate::checkpoint::{Family, Fold, Folds, Loaded, Loader, Method, Trains, room_doc};
use crate::error::Result;
use crate::hooks::{Law, Placed, Shift, Site};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "control_vector",
    peft_type: "CONTROL_VECTOR",
    matches: |_| true,
    family: Family::Vector,
    law: Law::Gate,
    keys: &[DIRECTION],
    reads: &["normalize", "action"],
    inert: &["model_hint", "layer_count"],
    doc: room_doc!("control_vector.rs"),
    load,
    trains: Trains::Not(
        "a method that is trained: a control vector is made of hidden states (`steer extract`); BiPO trains one",
    ),
    extras: None,
    folds: Folds::By(fold),
};

pub(crate) const DIRECTION: &str = "direction.";

/// What c does with a direction: the step along it, and the share of what is there that is removed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Add,
    Ablate,
    Clamp,
}

impl Action {
    fn at(self, c: f32) -> (f32, f32) {
        match self {
            Self::Add => (c, 0.0),
            Self::Ablate => (0.0, c),
            Self::Clamp => (c, c.abs().min(1.0)),
        }
    }
}

fn fold(loader: &Loader<'_>, _: f32) -> Folds {
    match loader.config.text("action").as_deref() {
        Ok("ablate" | "clamp") => {
            Folds::Not("how much of the stream it takes away does not depend on its numbers")
        }
        _ => Folds::Into(&[(DIRECTION, Fold::Times)]),
    }
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let action = loader.config.get("action").filter(|value| !value.is_null());
    let action = match action.map(Value::as_str) {
        None | Some(Some("add")) => Action::Add,
        Some(Some("ablate")) => Action::Ablate,
        Some(Some("clamp")) => Action::Clamp,
        Some(_) => return Err(loader.config.bad("action", "add, ablate or clamp")),
    };
    directions(loader, action, loader.config.flag("normalize"))
}

/// The steps at the output of each block that has a direction.
pub(super) fn directions(loader: &Loader<'_>, action: Action, keep_length: bool) -> Result<Loaded> {
    let config = loader.model.config();
    let place = |key: String| {
        let layer: Option<usize> = key
            .strip_prefix(DIRECTION)
            .and_then(|layer| layer.parse().ok());
        let layer = layer
            .filter(|&layer| layer < config.num_layers)
            .ok_or_else(|| loader.no_such_module(&key))?;
        // Some files have it as a matrix of one row.
        let numbers = if loader.shape(&key).is_some_and(|shape| shape.len() == 2) {
            loader.host(&key, [1, config.hidden_size])?
        } else {
            loader.host(&key, [config.hidden_size])?
        };
        let squares = numbers.iter().map(|x| f64::from(*x) * f64::from(*x));
        let length = squares.sum::<f64>().sqrt();
        // Its square has to be an f32.
        if !matches!(action, Action::Add) && !(1e-15..=1e15).contains(&length) {
            let expected = "a direction to ablate or clamp: a length of 1e-15 to 1e15";
            return Err(loader.bad_value(&key, format!("one of {length:e}"), expected.into()));
        }
        let direction = loader.on_device(&key, numbers, [config.hidden_size]);
        Ok(Placed::new(Site::Residual(layer), move |c| {
            let (scale, removed) = action.at(c);
            Shift {
                direction: direction.clone(),
                scale,
                removed,
                keep_length,
            }
        }))
    };
    let keys = loader
        .keys()
        .into_iter()
        .filter(|key| key.starts_with(DIRECTION));
    let placed = keys.map(place).collect::<Result<Vec<_>>>()?;
    Ok(Loaded {
        law: Law::Gate,
        placed,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::METHOD;
    use crate::methods::pencil::{Pencil, length, near};

    fn adapter(config: Value, direction: [f32; 2]) -> Pencil {
        Pencil::block(&METHOD, config, &[("direction.0", direction.into())])
    }

    /// Token 0 leaves the block as (2, 2).
    #[test]
    fn a_step_along_the_direction() {
        let add = adapter(json!({}), [3.0, 4.0]);
        near(add.h(1.0, &[0]), [5.0, 6.0]);
        near(add.h(-1.0, &[0]), [-1.0, -2.0]);
        // To (2, 0), then stretched to the length √8 again.
        let turned = adapter(json!({ "normalize": true }), [0.0, -2.0]);
        near(turned.h(1.0, &[0]), [8.0_f32.sqrt(), 0.0]);
        near([length(turned.h(-3.0, &[0]))], [8.0_f32.sqrt()]);
    }

    #[test]
    fn a_direction_is_removed_or_set() {
        let ablate = adapter(json!({ "action": "ablate" }), [0.0, 5.0]);
        near(ablate.h(1.0, &[0]), [2.0, 0.0]);
        near(ablate.h(-1.0, &[0]), [2.0, 4.0]);
        let clamp = adapter(json!({ "action": "clamp" }), [0.0, 5.0]);
        near(clamp.h(1.0, &[0]), [2.0, 5.0]);
        near(clamp.h(-1.0, &[0]), [2.0, -5.0]);
    }
}
