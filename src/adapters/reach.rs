//! Which blocks of a model an adapter reaches, and what speaks against its being made for that model.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::arch::{Names, all_names};
use crate::checkpoint::Config;
use crate::checkpoint::patterns::Patterns;
use crate::hooks::{Placed, Site, ranges};

/// The blocks on which something acts.
pub(super) fn reached(placed: &[Placed]) -> BTreeSet<usize> {
    let layers = placed.iter().filter_map(|placed| placed.site.layer());
    layers.collect()
}

/// The blocks that a file's keys name. Frozen copies of the base are no entries of the adapter.
pub(super) fn entries<'a>(keys: impl IntoIterator<Item = &'a String>) -> BTreeSet<usize> {
    let layer = |key: &String| -> Option<usize> {
        let behind = |prefix: &str| key.split_once(prefix).map(|(_, rest)| rest);
        let rest = behind("model.layers.").or(key.strip_prefix("direction."))?;
        if key.contains(".base_layer.") {
            return None;
        }
        rest.split('.').next()?.parse().ok()
    };
    keys.into_iter().filter_map(layer).collect()
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

/// Which modules a config chooses.
struct Choice {
    targets: Modules,
    excluded: Modules,
    layers: Option<Vec<Option<u64>>>,
}

impl Choice {
    /// None where the config chooses in a way that is not understood here.
    fn read(config: &Config) -> Option<Self> {
        let chosen = |field: &str| {
            config
                .get(field)
                .map_or(Some(Modules::List(Vec::new())), Modules::read)
        };
        let targets = chosen("target_modules")?;
        let layers = match config.get("layers_to_transform") {
            Some(Value::Number(layer)) => Some(vec![layer.as_u64()]),
            Some(Value::Array(layers)) if !layers.is_empty() => {
                Some(layers.iter().map(Value::as_u64).collect())
            }
            _ => None,
        };
        // PEFT reads a pattern without looking at layers_to_transform.
        let layers = layers.filter(|_| matches!(targets, Modules::List(_)));
        Some(Self {
            targets,
            excluded: chosen("exclude_modules")?,
            layers,
        })
    }

    /// Whether PEFT adapts a module of a block.
    fn adapts(&self, config: &Config, layer: usize, module: &str) -> bool {
        let path = config.own_path(&format!("model.layers.{layer}.{module}"));
        let inside = self.layers.as_ref();
        inside.is_none_or(|layers| layers.contains(&Some(layer as u64)))
            && self.targets.has(&path)
            && !self.excluded.has(&path)
    }
}

/// Modules as PEFT's configs choose them.
enum Modules {
    /// By the end of their paths.
    List(Vec<String>),
    /// By the whole path.
    Pattern(String, Patterns),
}

impl Modules {
    /// None for a choice that is not understood here.
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::List(Vec::new())),
            Value::Array(names) => {
                let names = names.iter().map(|name| name.as_str().map(str::to_owned));
                names.collect::<Option<_>>().map(Self::List)
            }
            Value::String(all) if all == "all-linear" => {
                let paths = all_names().flat_map(|names| names.linears);
                let paths = paths.map(|(_, path, _)| *path);
                let name = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
                let names: BTreeSet<String> = paths.map(name).collect();
                Some(Self::List(names.into_iter().collect()))
            }
            Value::String(pattern) => {
                let patterns = Patterns::default();
                patterns.whole("", pattern).ok()?;
                Some(Self::Pattern(pattern.clone(), patterns))
            }
            _ => None,
        }
    }

    fn has(&self, path: &str) -> bool {
        match self {
            Self::List(names) => names.iter().any(|name| {
                let before = path.strip_suffix(name.as_str());
                before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }),
            Self::Pattern(pattern, patterns) => patterns.whole(path, pattern) == Ok(true),
        }
    }
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
