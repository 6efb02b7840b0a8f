//! Which blocks of a model an adapter reaches, and what speaks against its being made for that model.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::arch::{Names, all_names};
use crate::checkpoint::{Choice, Config, PREFIX};
use crate::hooks::{Module, Placed, Site, ranges};

/// The blocks on which something acts.
pub(super) fn reached(placed: &[Placed]) -> BTreeSet<usize> {
    let layers = placed.iter().filter_map(|placed| placed.site.layer());
    layers.collect()
}

/// The blocks that a file's keys name. Frozen copies of the base are no entries of the adapter.
pub(super) fn entries<'a>(keys: impl IntoIterator<Item = &'a String>) -> BTreeSet<usize> {
    let own = keys.into_iter().filter(|key| !key.contains(".base_layer."));
    own.filter_map(|key| block(key)).collect()
}

/// The block that a key names.
fn block(key: &str) -> Option<usize> {
    let behind = |prefix: &str| key.split_once(prefix).map(|(_, rest)| rest);
    let rest = behind("model.layers.").or(key.strip_prefix("direction."))?;
    rest.split('.').next()?.parse().ok()
}

/// The kinds of places on which something acts, each with its blocks, in the model's order.
pub(super) fn places(placed: &[Placed]) -> Vec<(&'static str, Vec<usize>)> {
    let mut places: BTreeMap<Module, BTreeSet<usize>> = BTreeMap::new();
    for placed in placed {
        let blocks = places.entry(placed.site.module()).or_default();
        blocks.extend(placed.site.layer());
    }
    let named = places.into_iter();
    named
        .map(|(module, blocks)| (module.name(), blocks.into_iter().collect()))
        .collect()
}

/// The tensors of a place alone, and those of no place: what all places share.
pub(super) fn tensors_at<'a>(
    tensors: &'a [(String, Vec<usize>)],
    site: Site,
    names: &Names,
) -> [Vec<(&'a str, &'a [usize])>; 2] {
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    for (key, shape) in tensors {
        let named = place(key, names);
        let in_block = || named.is_none() && block(key) == site.layer();
        let list = match site {
            _ if named == Some(site) => &mut own,
            Site::Attention(_) | Site::Residual(_) if in_block() => &mut own,
            _ if named.is_none() && block(key).is_none() => &mut shared,
            _ => continue,
        };
        list.push((key.as_str(), shape.as_slice()));
    }
    [own, shared]
}

/// The place of a key: that of the path with which it begins.
fn place(key: &str, names: &Names) -> Option<Site> {
    let path = key.strip_prefix(PREFIX)?;
    let ends = path.match_indices('.').map(|(end, _)| end);
    ends.map(|end| &path[..end])
        .find_map(|path| Site::parse(path).or_else(|| Site::parse_norm(names, path)))
}

/// What speaks against an adapter's being made for a model of so many blocks: entries that it does
/// not reach, and blocks that its config wants and its file does not have, as when it comes from a
/// model of fewer.
pub(super) fn doubts(
    config: &Config,
    entries: &BTreeSet<usize>,
    reached: &BTreeSet<usize>,
    blocks: usize,
) -> Vec<String> {
    let mut doubts = Vec::new();
    let ask = "was it trained on another model?";
    if !entries.is_subset(reached) {
        doubts.push(format!(
            "it has entries for layers {}, of which it reaches {}; {ask}",
            ranges(entries),
            ranges(reached)
        ));
    }
    let wanted = wanted(config, blocks);
    if !wanted.is_subset(reached) {
        doubts.push(format!(
            "its config wants layers {} of this model, it reaches {}; {ask}",
            ranges(&wanted),
            ranges(reached)
        ));
    }
    // Of a prompt's keys and values the base's depth is written down.
    if let Some(of) = config.get("num_layers").and_then(Value::as_u64)
        && of != blocks as u64
    {
        let s = if of == 1 { "" } else { "s" };
        doubts.push(format!(
            "its config says {of} layer{s}, the model has {blocks}; {ask}"
        ));
    }
    doubts
}

/// The blocks of such a model that PEFT would adapt: those of the modules that `target_modules`,
/// `exclude_modules` and `layers_to_transform` choose, or the last `adapter_layers`. Empty where
/// the config does not say.
fn wanted(config: &Config, blocks: usize) -> BTreeSet<usize> {
    if let Some(top) = config.get("adapter_layers").and_then(Value::as_u64) {
        let top = usize::try_from(top).unwrap_or(usize::MAX);
        return (blocks.saturating_sub(top)..blocks).collect();
    }
    let Some(choice) = Choice::read(config) else {
        return BTreeSet::new();
    };
    let modules: BTreeSet<&str> = all_names().flat_map(Names::paths).collect();
    let adapted = |layer: &usize| {
        let mut modules = modules.iter();
        modules.any(|module| choice.adapts(config, *layer, module))
    };
    (0..blocks).filter(adapted).collect()
}

/// What to say of linear layers that act and that the config leaves out: PEFT passes over their
/// tensors. Nothing where the config does not choose by modules alone.
pub(super) fn left_out(config: &Config, placed: &[Placed]) -> Option<String> {
    let set = |field: &str| config.get(field).is_some_and(|value| !value.is_null());
    // Trained biases of all layers, parameters by their own names, and what goes by whole
    // attentions lie outside on purpose.
    let biases = config.get("bias").and_then(Value::as_str) == Some("all");
    if !set("target_modules") || set("target_parameters") || set("adapter_layers") || biases {
        return None;
    }
    let choice = Choice::read(config)?;
    let mut outside = placed.iter().filter_map(|placed| match placed.site {
        Site::Linear(layer, projection) => {
            // Without a model any family's name may be meant.
            let mut paths = all_names().flat_map(|names| names.paths_of(projection));
            let first = paths.next()?;
            let adapts = |path| choice.adapts(config, layer, path);
            let outside = !adapts(first) && !paths.any(adapts);
            outside.then(|| format!("model.layers.{layer}.{first}"))
        }
        _ => None,
    });
    let first = outside.next()?;
    let more = match outside.count() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    Some(format!(
        "its config does not choose {first}{more}, for which its file has tensors: they act here, PEFT \
         passes over them"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_told_in_runs() {
        for (layers, text) in [
            (&[][..], "none"),
            (&[4], "4"),
            (&[0, 1, 2], "0-2"),
            (&[7, 0, 1, 3, 4, 5], "0-1, 3-5, 7"),
        ] {
            assert_eq!(ranges(&layers.iter().copied().collect()), text);
        }
    }

    #[test]
    fn a_config_wants_what_peft_would_adapt() {
        let cases = [
            (r#"{"target_modules": ["q_proj"]}"#, "0-3"),
            (r#"{"target_modules": ["self_attn.q_proj"]}"#, "0-3"),
            (r#"{"target_modules": "all-linear"}"#, "0-3"),
            (r#"{"target_modules": ["proj"]}"#, "none"),
            (r#"{"target_modules": ["lm_head"]}"#, "none"),
            (
                r#"{"target_modules": ["model.layers.2.self_attn.q_proj"]}"#,
                "2",
            ),
            (r#"{"target_modules": ["input_layernorm"]}"#, "0-3"),
            (
                r#"{"target_modules": ".*\\.layers\\.[12]\\..*q_proj"}"#,
                "1-2",
            ),
            (r#"{"target_modules": "layers.1"}"#, "none"),
            (r#"{"target_modules": "(?=.*layers\\.1\\.).*q_proj"}"#, "1"),
            (r#"{"target_modules": "(.*q_proj"}"#, "none"),
            (
                r#"{"target_modules": ["q_proj"], "layers_to_transform": [1, 3]}"#,
                "1, 3",
            ),
            (
                r#"{"target_modules": ["q_proj"], "layers_to_transform": 2}"#,
                "2",
            ),
            (
                r#"{"target_modules": ["q_proj"], "layers_to_transform": []}"#,
                "0-3",
            ),
            (
                r#"{"target_modules": ["q_proj"], "layers_to_transform": [1, 9]}"#,
                "1",
            ),
            (
                r#"{"target_modules": ["q_proj"], "exclude_modules": ["q_proj"]}"#,
                "none",
            ),
            (
                r#"{"target_modules": ["q_proj"], "exclude_modules": ".*layers\\.0\\..*"}"#,
                "1-3",
            ),
            (r#"{"target_modules": null}"#, "none"),
            (
                r#"{"adapter_layers": 2, "target_modules": "self_attn"}"#,
                "2-3",
            ),
            (r#"{"adapter_layers": 9}"#, "0-3"),
            ("{}", "none"),
        ];
        for (json, layers) in cases {
            let config = Config::parse("test", json.as_bytes()).expect(json);
            assert_eq!(ranges(&wanted(&config, 4)), layers, "{json}");
        }
    }
}
