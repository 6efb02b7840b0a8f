//! What a checkpoint is, without a model.

use std::collections::BTreeMap;

use serde::Serialize;

use super::reach;
use crate::checkpoint::{
    AdapterFiles, Card, Config, Method, PREFIX, Parts, count, is_classifier, keys, saved,
};
use crate::error::{Error, Result};
use crate::hooks::{Law, ranges};
use crate::methods::{method_of, read};
use crate::weights::HostTensor;

/// What `steer inspect` and the page show of a checkpoint, without a model.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// The name it was given under.
    pub name: String,
    /// The method, absent when it is unknown.
    pub method: Option<Card>,
    /// How c acts.
    pub law: Option<Law>,
    /// `base_model_name_or_path` of the config.
    pub base_model: Option<String>,
    /// Modules that it changes.
    pub modules: Vec<String>,
    /// Blocks for which the file has tensors, as `0-2, 5`; absent when its keys name none.
    pub layers: Option<String>,
    /// The model for which it was looked at, if it was: see [`super::inspect_for`].
    pub model: Option<String>,
    /// Blocks of that model on which it would act; absent when loading would fail.
    pub layers_reached: Option<String>,
    /// What speaks against its being made for that model, though it may fit.
    pub warnings: Vec<String>,
    /// Numbers in the file.
    pub parameters: usize,
    /// How many tasks it was trained for, where one of them has to be chosen.
    pub tasks: Option<usize>,
    /// How many skills its tasks share; weights for these may be given in a task's place.
    pub skills: Option<usize>,
    /// How many experts it mixes, whose files must be given with it.
    pub experts: Option<usize>,
    /// Why loading would fail, if it would: `(code, sentence)`.
    pub refused: Vec<(String, String)>,
}

/// Explains a checkpoint.
///
/// # Errors
/// Only when the files cannot be read at all; what they ask for and cannot get is listed in
/// [`Inspection::refused`].
pub fn inspect(files: &AdapterFiles) -> Result<Inspection> {
    let (config, tensors) = read(files, None)?;
    let (mut found, refused) = explain(files, &config, &tensors);
    found.refuse(&refused);
    Ok(found)
}

impl Inspection {
    pub(super) fn refuse(&mut self, refused: &[Error]) {
        let why = |error: &Error| (error.code().into(), error.to_string());
        self.refused.extend(refused.iter().map(why));
    }
}

/// What is known of a checkpoint without a model, and the refusals beside it.
pub(super) fn explain(
    files: &AdapterFiles,
    config: &Config,
    tensors: &BTreeMap<String, HostTensor>,
) -> (Inspection, Vec<Error>) {
    let method = method_of(config);
    let mut refused: Vec<Error> = Vec::new();
    let mut modules = Vec::new();
    match &method {
        Err(error) => refused.push(error.clone()),
        Ok(method) => {
            refused.extend(method.refusals(config));
            let misnamed = keys::check_names(config, method, tensors).err();
            let is_reported = misnamed.is_some();
            refused.extend(misnamed);
            if let Some(Parts::Experts { weighed, .. }) = method.extras().parts
                && files.expert_weights.is_none()
            {
                refused.extend(weighed(config, &|key| tensors.contains_key(key)).err());
            }
            let mut unused = Vec::new();
            for key in tensors.keys() {
                if method.extras().is_of_training(config, key) {
                    continue;
                }
                match method.keys.iter().find_map(|name| key.strip_suffix(name)) {
                    Some("") => {}
                    Some(module) => modules.push(module.trim_end_matches('.').replace(PREFIX, "")),
                    None if method.keys.iter().any(|name| key.starts_with(name)) => {}
                    None => match saved::module(key) {
                        Some(module) => modules.push(module.replace(PREFIX, "")),
                        None if saved::repeated(key).is_some() => {}
                        None => unused.push(config.own_key(key)),
                    },
                }
            }
            if let Some(error) = config
                .classifies()
                .filter(|_| unused.iter().any(|key| is_classifier(key)))
            {
                unused.retain(|key| !is_classifier(key));
                if !refused.contains(&error) {
                    refused.push(error);
                }
            }
            if !unused.is_empty() && !is_reported {
                let file = files.name.clone();
                refused.push(Error::UnexpectedKeys { file, keys: unused });
            }
            if modules.is_empty() {
                modules.extend(tensors.keys().cloned());
            }
            modules.sort();
            modules.dedup();
        }
    }
    let extras = method.as_ref().ok().map(|method| method.extras());
    let tasks = extras.and_then(|extras| config.count(extras.tasks?).ok());
    let parts = extras.and_then(|extras| extras.parts);
    let count_of = |parts: Parts| parts.count(config).ok();
    let (experts, skills) = match parts {
        None => (None, None),
        Some(parts @ Parts::Experts { .. }) => (count_of(parts), None),
        Some(parts @ Parts::Skills { .. }) => (None, count_of(parts)),
    };
    let layers = reach::entries(tensors.keys());
    let found = Inspection {
        name: files.name.clone(),
        experts,
        tasks,
        skills,
        law: method.as_ref().ok().map(|method| method.law),
        method: method.ok().map(Method::card),
        base_model: config.base_model(),
        modules,
        layers: (!layers.is_empty()).then(|| ranges(&layers)),
        model: None,
        layers_reached: None,
        warnings: Vec::new(),
        parameters: count(tensors.values().map(|tensor| &tensor.shape)),
        refused: Vec::new(),
    };
    (found, refused)
}
