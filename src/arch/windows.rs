//! Which blocks see a window of keys only: `layer_types` in config.json, or as the family has it.

use super::config::DecoderConfig;
use super::fields::{Fields, Json};
use super::sizes::MAX_LAYERS;
use crate::error::Result;

/// The field of config.json that [`from_json`] reads.
pub(super) const JSON: &str = "layer_types";

const WINDOW: &str = "sliding_window";
const SUPPORTED: &str = "sliding_attention and full_attention";

/// Block by block whether it has a window, as config.json lists them; where it does not, all but
/// each `period`th.
pub(super) fn from_json(fields: &Json<'_>, num_layers: usize, period: usize) -> Result<Vec<bool>> {
    let listed = listed(fields, num_layers)?;
    Ok(listed.unwrap_or_else(|| all_but_each(period, num_layers)))
}

fn listed(fields: &Json<'_>, num_layers: usize) -> Result<Option<Vec<bool>>> {
    let Some(listed) = fields.list(JSON)? else {
        return Ok(None);
    };
    if listed.len() != num_layers {
        let supported = format!("one for each of the {num_layers} blocks");
        return Err(fields.refuse(JSON, format!("{} of them", listed.len()), &supported));
    }
    let is_windowed = |kind: &serde_json::Value| match kind.as_str() {
        Some("sliding_attention") => Ok(true),
        Some("full_attention") => Ok(false),
        _ => Err(fields.refuse(JSON, kind, SUPPORTED)),
    };
    listed
        .iter()
        .map(is_windowed)
        .collect::<Result<_>>()
        .map(Some)
}

/// True but for each `period`th block.
pub(super) fn all_but_each(period: usize, num_layers: usize) -> Vec<bool> {
    let blocks = 1..=num_layers.min(MAX_LAYERS);
    blocks.map(|block| !block.is_multiple_of(period)).collect()
}

/// The window where `use_sliding_window` says that there is one.
pub(super) fn in_use(fields: &Json<'_>, default: Option<usize>) -> Result<Option<usize>> {
    match (fields.flag("use_sliding_window")?, default) {
        (None | Some(false), _) => Ok(None),
        (Some(true), Some(default)) => fields.size_or(WINDOW, default),
        (Some(true), None) => fields.optional_size(WINDOW),
    }
}

/// Gives a window, where there is one, to the blocks that config.json lists, or without that list to
/// those that the family names.
pub(super) fn give(
    fields: &Json<'_>,
    config: &mut DecoderConfig,
    window: Option<usize>,
    by_default: impl Fn(usize) -> bool,
) -> Result<()> {
    let listed = listed(fields, config.num_layers)?;
    if window.is_none() && listed.iter().flatten().any(|windowed| *windowed) {
        let supported = "full_attention where no window is in use (`sliding_window`, \
                         `use_sliding_window`)";
        return Err(fields.refuse(JSON, "sliding_attention", supported));
    }
    let is_windowed = |layer| match &listed {
        Some(listed) => listed.get(layer).copied().unwrap_or(false),
        None => by_default(layer),
    };
    for (at, layer) in config.layers.iter_mut().enumerate() {
        layer.window = window.filter(|_| is_windowed(at));
    }
    Ok(())
}
