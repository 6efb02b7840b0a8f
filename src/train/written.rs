//! What a training leaves: a folder that PEFT reads where it has the method, and a state to go on from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map as JsonMap, Value, json};

use super::options::TrainOptions;
use super::report::Check;
use crate::arch::Names;
use crate::checkpoint::{PREFIX, WEIGHTS_FILE};
use crate::error::{Error, Result};
use crate::weights::HostTensor;
use crate::weights::safetensors::{metadata, read_all, write};

/// How an adapter came about; `training.json` beside it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The method.
    pub method: &'static str,
    /// The behaviour that c = 1 brings more of; of several the names with commas between them.
    pub behaviour: String,
    /// All of them, where it was trained for several: the tasks, of a method that has tasks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub behaviours: Vec<String>,
    /// SHA-256 of the file of pairs.
    pub pairs_sha256: String,
    /// The model.
    pub model: String,
    /// SHA-256 of its file, where it is known.
    pub model_sha256: Option<String>,
    /// How it was trained.
    pub options: TrainOptions,
    /// Numbers that were trained.
    pub parameters: usize,
    /// The learning rate.
    pub rate: f64,
    /// Steps that lead to these numbers.
    pub steps: usize,
    /// How long it took; filled in by whoever has a clock.
    pub seconds: Option<f64>,
    /// What the stop rows said of these numbers.
    pub stop_rows: Option<Check>,
    /// The version of this program.
    pub version: &'static str,
}

/// A folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Files {
    /// `adapter_config.json`
    pub config: String,
    /// `adapter_model.safetensors`
    pub weights: Vec<u8>,
    /// `training.json`
    pub record: Record,
}

impl Files {
    /// Paths are written as the family's own: GPT-2's blocks are `transformer.h` to PEFT.
    pub(super) fn new(
        names: &Names,
        config: &JsonMap<String, Value>,
        tensors: &BTreeMap<String, HostTensor>,
        record: Record,
    ) -> Result<Self> {
        let own = |path: &str| {
            if path.starts_with("model.") {
                names.own(path)
            } else {
                path.into()
            }
        };
        let mut config = config.clone();
        let lists = config.values_mut().filter_map(Value::as_array_mut);
        for value in lists.flatten() {
            if let Value::String(path) = value {
                *path = own(path);
            }
        }
        let mut config = serde_json::to_string_pretty(&config).unwrap_or_default();
        config.push('\n');
        let named = |(key, tensor): (&String, &HostTensor)| {
            let key = match key.strip_prefix(PREFIX) {
                Some(path) => format!("{PREFIX}{}", own(path)),
                None => key.clone(),
            };
            (key, tensor.clone())
        };
        let tensors = tensors.iter().map(named).collect();
        Ok(Self {
            config,
            weights: write(WEIGHTS_FILE, &tensors, &[("format", "pt")])?,
            record,
        })
    }
}

/// A training that was interrupted.
pub(super) struct State {
    pub(super) step: usize,
    /// Steps that the moments hold.
    pub(super) time: usize,
    pub(super) numbers: BTreeMap<String, HostTensor>,
    pub(super) moments: BTreeMap<String, HostTensor>,
    pub(super) best: Option<(Check, BTreeMap<String, HostTensor>, usize)>,
    pub(super) last: Option<Check>,
    /// Looks in a row that found neutral answers too dear.
    pub(super) too_dear: usize,
}

/// What messages call it.
const STATE: &str = "the state of the training";

impl State {
    pub(super) fn bytes(&self, identity: &str) -> Result<Vec<u8>> {
        let mut tensors = BTreeMap::new();
        let best = self
            .best
            .as_ref()
            .map(|(check, numbers, step)| (numbers, (check, step)));
        let parts = [
            ("now", Some(&self.numbers)),
            ("moment", Some(&self.moments)),
        ];
        let parts = parts
            .into_iter()
            .chain([("best", best.map(|(numbers, _)| numbers))]);
        for (part, numbers) in parts {
            for (key, tensor) in numbers.into_iter().flatten() {
                tensors.insert(format!("{part}/{key}"), tensor.clone());
            }
        }
        let facts = json!({
            "step": self.step,
            "time": self.time,
            "best": best.map(|(_, facts)| facts),
            "last": self.last,
            "too_dear": self.too_dear,
        });
        let metadata = [("identity", identity), ("facts", &facts.to_string())];
        write(STATE, &tensors, &metadata)
    }

    pub(super) fn read(bytes: &[u8], identity: &str) -> Result<Self> {
        let bad = |field: &str, expected: &str, found: String| Error::BadConfig {
            file: STATE.into(),
            field: field.into(),
            expected: expected.into(),
            found,
        };
        let metadata = metadata(STATE, bytes)?;
        let own = metadata.get("identity").map_or("", String::as_str);
        if own != identity {
            let expected = format!("one of the same training, {identity}");
            return Err(bad("identity", &expected, own.into()));
        }
        let facts = metadata.get("facts").map_or("", String::as_str);
        let facts: Facts = serde_json::from_str(facts)
            .map_err(|error| bad("facts", "step, time and best", error.to_string()))?;
        let mut parts: BTreeMap<String, BTreeMap<String, HostTensor>> = BTreeMap::new();
        for (key, tensor) in read_all(STATE, bytes)? {
            if let Some((part, key)) = key.split_once('/') {
                parts
                    .entry(part.into())
                    .or_default()
                    .insert(key.into(), tensor);
            }
        }
        let mut take = |part: &str| parts.remove(part).unwrap_or_default();
        Ok(Self {
            step: facts.step,
            time: facts.time,
            numbers: take("now"),
            moments: take("moment"),
            last: facts.last,
            too_dear: facts.too_dear,
            best: facts.best.map(|(check, step)| (check, take("best"), step)),
        })
    }
}

#[derive(Deserialize)]
struct Facts {
    step: usize,
    time: usize,
    best: Option<(Check, usize)>,
    last: Option<Check>,
    too_dear: usize,
}
