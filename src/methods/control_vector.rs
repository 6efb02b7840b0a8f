//! Control vector: a direction added to the residual stream, after repeng. Vogel 2024.
//! <https://github.com/vgel/repeng>
//!
//! # Formula
//! ```text
//! h_L ← h_L + c·v_L   at the output of block L
//! with normalize:  h_L ← (h_L + c·v_L)·‖h_L‖ / ‖h_L + c·v_L‖
//! ```
//! # Shapes
//! ```text
//! direction.L   v_L [d] or [1, d], for each block L it acts on (GGUF or safetensors)
//! ```
//! # Coefficient
//! Gate: c is the length of the step along the direction, in units of the stored vector. With
//! normalize in the config the stream keeps its length and only turns.
//! # Intuition
//! The difference between what the model thinks while reading one kind of text and its opposite
//! is an arrow. Adding the arrow makes every token a little more of that kind.

use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
use crate::error::Result;
use crate::hooks::{Effect, Law, Placed, Shift, Site};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "control_vector",
    peft_type: "CONTROL_VECTOR",
    matches: |_| true,
    family: Family::Vector,
    law: Law::Gate,
    keys: &[DIRECTION],
    reads: &["normalize"],
    inert: &["model_hint", "layer_count"],
    doc: room_doc!("control_vector.rs"),
    load,
};

pub(super) const DIRECTION: &str = "direction.";

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    directions(loader, loader.config.flag("normalize"))
}

/// The steps at the output of each block that has a direction.
pub(super) fn directions(loader: &Loader<'_>, keep_length: bool) -> Result<Loaded> {
    let config = loader.model.config();
    let place = |key: String| {
        let layer: Option<usize> = key
            .strip_prefix(DIRECTION)
            .and_then(|layer| layer.parse().ok());
        let layer = layer
            .filter(|&layer| layer < config.num_layers)
            .ok_or_else(|| loader.no_such_module(&key))?;
        // Some files have it as a matrix of one row.
        let direction = if loader.shape(&key).is_some_and(|shape| shape.len() == 2) {
            loader.shared(&key, [1, config.hidden_size])?.squeeze_dim(0)
        } else {
            loader.shared(&key, [config.hidden_size])?
        };
        Ok(Placed::new(Site::Residual(layer), move |scale| {
            vec![Effect::Residual(Shift {
                direction: direction.clone(),
                scale,
                keep_length,
            })]
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
