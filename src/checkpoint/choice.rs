//! Which modules a config chooses, as PEFT reads `target_modules`, `exclude_modules` and
//! `layers_to_transform`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::config::Config;
use super::files::PREFIX;
use super::loader::Loader;
use super::patterns::Patterns;
use super::target::Target;
use crate::arch::{Stack, all_names};
use crate::error::Result;

/// Which modules a config chooses.
pub(crate) struct Choice {
    targets: Modules,
    excluded: Modules,
    layers: Option<Vec<Option<u64>>>,
}

impl Choice {
    /// None where the config chooses in a way that is not understood here.
    pub(crate) fn read(config: &Config) -> Option<Self> {
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
    pub(crate) fn adapts(&self, config: &Config, layer: usize, module: &str) -> bool {
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

impl Loader<'_> {
    /// The linear layers that the config chooses, in the order in which torch walks through the
    /// model: for files that have no tensor of each.
    ///
    /// # Errors
    /// [`Error::BadConfig`](crate::Error::BadConfig) when it chooses none, or in a way that is not
    /// understood here; [`Error::UnsupportedOption`](crate::Error::UnsupportedOption) for modules
    /// that hold several layers.
    pub fn chosen(&self) -> Result<Vec<Target>> {
        let (config, model) = (self.config, self.model.config());
        let bad = || {
            let expected = "a list or a pattern that chooses linear layers of the model";
            config.bad("target_modules", expected)
        };
        let choice = Choice::read(config).ok_or_else(bad)?;
        let mut targets = Vec::new();
        for layer in 0..model.num_layers {
            let several = |stack: &&Stack| stack.parts.len() > 1;
            let mut stacks = model.family.stacks.iter().filter(several);
            if let Some(stack) = stacks.find(|stack| choice.adapts(config, layer, stack.path)) {
                return Err(self.undivided(stack));
            }
            for (_, path, _) in model.family.linears {
                if choice.adapts(config, layer, path) {
                    let module = format!("{PREFIX}model.layers.{layer}.{path}");
                    targets.push(self.target(&module, &module)?);
                }
            }
        }
        if choice.targets.has("lm_head") && !choice.excluded.has("lm_head") {
            let module = format!("{PREFIX}lm_head");
            targets.push(self.target(&module, &module)?);
        }
        targets.sort_by_key(Target::torch_order);
        if targets.is_empty() {
            Err(bad())
        } else {
            Ok(targets)
        }
    }
}
