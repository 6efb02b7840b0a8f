//! Windows out of config.json: how many keys a query of each layer sees.

use serde_json::Value;

use super::config::DecoderConfig;
use super::fields::{Fields, Json};
use crate::error::Result;

const WINDOW: &str = "sliding_window";
const TYPES: &str = "layer_types";

/// The window where `use_sliding_window` says that there is one.
pub(super) fn optional(fields: &Json<'_>, default: Option<usize>) -> Result<Option<usize>> {
    match (fields.flag("use_sliding_window")?, default) {
        (None | Some(false), _) => Ok(None),
        (Some(true), Some(default)) => fields.size_or(WINDOW, default),
        (Some(true), None) => fields.optional_size(WINDOW),
    }
}

/// Gives it to the layers of which `layer_types` says so, or without that list to those of which
/// the family does.
pub(super) fn of_layers(
    fields: &Json<'_>,
    config: &mut DecoderConfig,
    window: Option<usize>,
    by_default: impl Fn(usize) -> bool,
) -> Result<()> {
    let types = fields.list(TYPES)?;
    if let Some(types) = types
        && types.len() != config.num_layers
    {
        let supported = format!("one for each of the {} layers", config.num_layers);
        return Err(fields.refuse(TYPES, format!("a list of {}", types.len()), &supported));
    }
    for (at, layer) in config.layers.iter_mut().enumerate() {
        let slides = match types.and_then(|types| types.get(at)) {
            None => by_default(at),
            Some(kind) => match kind.as_str() {
                Some("full_attention") => false,
                Some("sliding_attention") if window.is_some() => true,
                Some("sliding_attention") => {
                    let supported = "full_attention where no window is in use (`sliding_window`, \
                                     `use_sliding_window`)";
                    return Err(fields.refuse(TYPES, "sliding_attention", supported));
                }
                _ => return Err(fields.refuse(TYPES, shown(kind), KINDS)),
            },
        };
        layer.window = window.filter(|_| slides);
    }
    Ok(())
}

const KINDS: &str = "full_attention, sliding_attention";

fn shown(value: &Value) -> String {
    value.as_str().map_or(value.to_string(), str::to_owned)
}
