//! Which blocks see a window of keys only: `layer_types` in config.json, or every block but each nth.

use super::fields::{Fields, Json};
use super::sizes::MAX_LAYERS;
use crate::error::Result;

/// The field of config.json that [`from_json`] reads.
pub(super) const JSON: &str = "layer_types";

/// Block by block whether it has a window, as config.json lists them; where it does not, all but
/// each `period`th.
pub(super) fn from_json(fields: &Json<'_>, num_layers: usize, period: usize) -> Result<Vec<bool>> {
    let Some(listed) = fields.list(JSON)? else {
        return Ok(all_but_each(period, num_layers));
    };
    if listed.len() != num_layers {
        let supported = format!("one for each of the {num_layers} blocks");
        return Err(fields.refuse(JSON, format!("{} of them", listed.len()), &supported));
    }
    let is_windowed = |kind: &serde_json::Value| match kind.as_str() {
        Some("sliding_attention") => Ok(true),
        Some("full_attention") => Ok(false),
        _ => Err(fields.refuse(JSON, kind, "sliding_attention and full_attention")),
    };
    listed.iter().map(is_windowed).collect()
}

/// True but for each `period`th block.
pub(super) fn all_but_each(period: usize, num_layers: usize) -> Vec<bool> {
    let blocks = 1..=num_layers.min(MAX_LAYERS);
    blocks.map(|block| !block.is_multiple_of(period)).collect()
}
