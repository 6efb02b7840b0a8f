//! Loading to find every refusal and not the first alone: what is refused is removed, and loading
//! goes on with the rest.

use super::inspect::{Inspection, explain};
use super::{Opened, Tensors, base_model};
use crate::checkpoint::{self, AdapterFiles, Choices, Config, Method, PREFIX, Parts, saved};
use crate::error::{Error, Result};
use crate::methods::{method_of, read};
use crate::model::Model;

/// Explains a checkpoint as [`super::inspect`](fn@super::inspect) does, and finds all for which [`super::load`] would
/// refuse it for this model, and all that it would warn of. Where one fault hides others, as an
/// unknown method does, these stay hidden.
///
/// # Errors
/// Only when the files cannot be read at all.
pub fn inspect_for(files: &AdapterFiles, model: &Model) -> Result<Inspection> {
    let (mut config, mut tensors) = read(files, Some(model.config()))?;
    let (mut found, mut refused) = explain(files, &config, &tensors);
    found.model = Some(model.name().into());
    let other = found.base_model.as_ref();
    let other = other.and_then(|base| base_model::another(base, model.names()));
    found.warnings.extend(other);
    if let Ok(method) = method_of(&config) {
        for error in &refused {
            set_aside(error, method, &mut config, &mut tensors);
        }
        // The bytes were read above.
        let mut rest = AdapterFiles {
            name: files.name.clone(),
            task: files.task,
            experts: files.experts.clone(),
            expert_weights: files.expert_weights.clone(),
            ..AdapterFiles::default()
        };
        if let Some(error) = take_back(method, &config, &mut rest) {
            refused.push(error);
        }
        loop {
            let opened = Opened::new(&config, method, tensors.clone(), &rest, model);
            match opened.and_then(Opened::load) {
                Ok(adapter) if refused.is_empty() => {
                    found.layers_reached = Some(adapter.layers_text());
                    found.warnings = adapter.warnings;
                    break;
                }
                Ok(_) => break,
                // The task is chosen when it is loaded.
                Err(Error::BadTask { .. }) if rest.task.is_none() => rest.task = Some(0),
                Err(error) => {
                    let goes_on = set_aside(&error, method, &mut config, &mut tensors);
                    // What no module has any more may be what was removed.
                    let echo = refused.iter().any(|known| same(known, &error))
                        || (is_nowhere(&error) && !goes_on && !refused.is_empty());
                    if !echo {
                        refused.push(error);
                    }
                    if !goes_on {
                        break;
                    }
                }
            }
        }
    }
    found.refuse(&refused);
    Ok(found)
}

/// Takes back what was chosen where the method has no such choice, or not with this value.
fn take_back(method: &Method, config: &Config, files: &mut AdapterFiles) -> Option<Error> {
    let error = match Choices::of(method.extras(), config, files) {
        // The task is chosen when it is loaded.
        Err(Error::BadTask { .. }) if files.task.is_none() => None,
        Err(error @ (Error::BadTask { .. } | Error::BadOption { .. })) => Some(error),
        _ => None,
    }?;
    (files.task, files.expert_weights) = (None, None);
    if !matches!(method.extras().parts, Some(Parts::Experts { .. })) {
        files.experts.clear();
    }
    Some(error)
}

/// Whether two refusals are of one field or one tensor.
fn same(known: &Error, error: &Error) -> bool {
    match (known, error) {
        (Error::BadConfig { field: a, .. }, Error::BadConfig { field: b, .. })
        | (Error::MissingKey { key: a, .. }, Error::MissingKey { key: b, .. }) => a == b,
        (a, b) => a == b,
    }
}

/// Whether an error says that no module at all has a tensor.
fn is_nowhere(error: &Error) -> bool {
    matches!(error, Error::MissingKey { key, .. } if key.contains("<module>"))
}

/// Removes what a refusal is about, of a tensor its whole module; returns whether there was
/// something to remove.
fn set_aside(error: &Error, method: &Method, config: &mut Config, tensors: &mut Tensors) -> bool {
    let before = tensors.len();
    match error {
        // A classifier's: its head goes with the task.
        Error::BadConfig { file, field, .. } if *file == config.file && field == "task_type" => {
            tensors.retain(|key, _| !checkpoint::is_classifier(key));
            config.remove("modules_to_save");
            return config.remove(field);
        }
        Error::UnsupportedOption { file, field, .. } | Error::BadConfig { file, field, .. } => {
            return *file == config.file && config.remove(field);
        }
        Error::UnexpectedKeys { keys, .. } => {
            for key in keys {
                tensors.remove(config.peft_key(key));
            }
        }
        Error::MissingKey { key, .. } if key.contains("<module>") => {
            let module = key.rsplit("<module>").next().unwrap_or_default();
            let module = module.trim_start_matches('.').trim_end_matches(".weight");
            return config.remove_saved(module);
        }
        Error::MissingKey { key, .. }
        | Error::WrongShape { key, .. }
        | Error::BadValue { key, .. }
        | Error::NotFinite { key, .. }
        | Error::UnsupportedDtype { key, .. }
        | Error::NoSuchModule { key, .. } => match module_of(method, config.peft_key(key)) {
            Some(module) => {
                let inside = |key: &str| {
                    let rest = key.strip_prefix(module);
                    rest.is_some_and(|rest| rest.starts_with('.'))
                };
                tensors.retain(|key, _| !inside(key));
            }
            // Such as one block's direction. A tensor that all modules share stays: none can do
            // without it.
            None if key.starts_with("direction.") => drop(tensors.remove(key)),
            None => {}
        },
        _ => {}
    }
    tensors.len() < before
}

/// The module of a tensor; none for a tensor of several modules.
fn module_of<'a>(method: &Method, key: &'a str) -> Option<&'a str> {
    let own = method.keys.iter().find_map(|name| key.strip_suffix(name));
    let own = own.map(|module| module.trim_end_matches('.'));
    let inner = |module: &&str| {
        let path = module.strip_prefix(PREFIX).unwrap_or(module);
        !matches!(path, "" | "model" | "base_model" | "base_model.model")
    };
    own.filter(inner).or_else(|| saved::module(key))
}
