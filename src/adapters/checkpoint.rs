//! A checkpoint on its way in: `adapter_config.json`, its tensors, and strictness about both.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use serde::Serialize;
use serde_json::{Map as JsonMap, Value};

use super::patterns::{Fault, Patterns};
use super::{Card, Law, Method, Site, defaults, keys, mlx_lora, reach};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::weights::{self, HostData, HostTensor, gguf, safetensors};

/// The files of one adapter, as bytes.
#[derive(Debug, Clone, Default)]
pub struct AdapterFiles {
    /// A name for the user, usually the folder's.
    pub name: String,
    /// `adapter_config.json`, of PEFT or mlx-lm; a control vector and a `.gguf` may come without.
    pub config: Option<Vec<u8>>,
    /// `adapter_model.safetensors`, mlx-lm's `adapters.safetensors`, or a `.gguf` of llama.cpp's: a
    /// LoRA or a control vector.
    pub weights: Vec<u8>,
    /// A second file of tensors that belongs to it: AntiPaSTO's `0_svd_bases.safetensors`.
    pub bases: Option<Vec<u8>>,
    /// Which of its tasks to run, counted from 0, for a method that was trained for several.
    pub task: Option<usize>,
    /// The experts of a mixture, in order: PEFT's subfolders `0`, `1`, ….
    pub experts: Vec<AdapterFiles>,
    /// Weights for X-LoRA's experts in place of its gate's, or for Poly's skills in place of a task's.
    pub expert_weights: Option<Vec<f32>>,
}

/// The file beside the weights in which AntiPaSTO keeps singular vectors of the base.
pub const BASES_FILE: &str = "0_svd_bases.safetensors";

const CONFIG_FILE: &str = "adapter_config.json";
const WEIGHTS_FILE: &str = "adapter_model.safetensors";
pub(super) const PREFIX: &str = "base_model.model.";

/// Fields of every `adapter_config.json` that say nothing about the forward pass, or that the
/// keys of the file already answer (which modules, which layers).
const COMMON_INERT: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    // Linear layers are stored [out, in]: PEFT sets it to false for them.
    "fan_in_fan_out",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "revision",
    "target_modules",
    "task_type",
    // Of PEFT before 0.3: when to merge.
    "merge_weights",
    // Of the base model or its tokenizer; the tensors' shapes answer.
    "num_attention_heads",
    "num_layers",
    "num_transformer_submodules",
    "token_dim",
    "tokenizer_kwargs",
    "tokenizer_name_or_path",
];

/// Config fields that say for how many tasks a method was trained, and how many skills these share.
const TASK_COUNTS: &[&str] = &["n_tasks", "num_tasks"];
const SKILL_COUNTS: &[&str] = &["n_skills"];

/// Tasks whose answer is a class and no text, and the modules that give it.
const CLASSIFIES: &[&str] = &["SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS"];
const CLASSIFIERS: &[&str] = &["score", "classifier", "qa_outputs"];

/// `adapter_config.json`, read by field; what it leaves out is as PEFT takes it.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file's name, for messages.
    pub file: String,
    /// The name of the weights' file, for messages.
    pub(super) weights: String,
    fields: JsonMap<String, Value>,
    patterns: Patterns,
    /// What stands in front of `layers` in the names that its patterns are for.
    inside: String,
    /// The file's own names of tensors that have PEFT's now.
    own: BTreeMap<String, String>,
    /// Whether it is mlx-lm's, in which a head that is the embedding follows the embedding's LoRA.
    pub(super) is_mlx: bool,
}

impl Config {
    pub(super) fn parse(name: &str, json: &[u8]) -> Result<Self> {
        let file = format!("{name}/{CONFIG_FILE}");
        let bad = |found: String| Error::BadConfig {
            file: file.clone(),
            field: "the file".into(),
            expected: "a JSON object".into(),
            found,
        };
        match serde_json::from_slice(json) {
            Ok(Value::Object(fields)) => Ok(Self::of(name, fields)),
            Ok(other) => Err(bad(describe(&other))),
            Err(error) => Err(bad(match weights::not_weights(json) {
                Some(what) => what.into(),
                None => format!("not valid JSON ({error})"),
            })),
        }
    }

    fn of(name: &str, mut fields: JsonMap<String, Value>) -> Self {
        defaults::fill(&mut fields);
        Self {
            file: format!("{name}/{CONFIG_FILE}"),
            weights: format!("{name}/{WEIGHTS_FILE}"),
            fields,
            patterns: Patterns::default(),
            inside: "model.".into(),
            own: BTreeMap::new(),
            is_mlx: false,
        }
    }

    /// A module's path in the base that the file was trained on, for which its patterns are.
    #[must_use]
    pub fn own_path(&self, path: &str) -> String {
        match path.strip_prefix("model.") {
            Some(rest) => format!("{}{rest}", self.inside),
            None => path.into(),
        }
    }

    /// The file's own name of a tensor.
    fn own_key(&self, key: &str) -> String {
        self.own.get(key).map_or(key, String::as_str).into()
    }

    /// PEFT's name of a tensor, from the file's own.
    pub(super) fn peft_key<'a>(&'a self, own: &'a str) -> &'a str {
        let found = self.own.iter().find(|(_, known)| *known == own);
        found.map_or(own, |(key, _)| key)
    }

    /// The refusal of an entry of a field that is an object.
    #[must_use]
    pub fn bad_part(&self, field: &str, part: &str, expected: &str) -> Error {
        let found = self.fields.get(field).and_then(|value| value.get(part));
        Error::BadConfig {
            file: self.file.clone(),
            field: format!("{field}.{part}"),
            expected: expected.into(),
            found: found.map_or_else(|| "missing".into(), describe),
        }
    }

    /// The refusal of a field that is not what it should be.
    #[must_use]
    pub fn bad(&self, field: &str, expected: &str) -> Error {
        let found = self
            .fields
            .get(field)
            .map_or_else(|| "missing".into(), describe);
        Error::BadConfig {
            file: self.file.clone(),
            field: field.into(),
            expected: expected.into(),
            found,
        }
    }

    /// A text field.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when absent or of another type.
    pub fn text(&self, field: &str) -> Result<String> {
        let text = self.fields.get(field).and_then(Value::as_str);
        text.map(Into::into)
            .ok_or_else(|| self.bad(field, "a text"))
    }

    /// A count.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when absent, of another type, or 0.
    pub fn count(&self, field: &str) -> Result<usize> {
        let count = self.fields.get(field).and_then(Value::as_u64);
        // No file holds more, and an address of the browser's has 32 bits.
        let count = count.and_then(|n| u32::try_from(n).ok()).filter(|&n| n > 0);
        count
            .map(|n| n as usize)
            .ok_or_else(|| self.bad(field, "a whole number from 1 to 4294967295"))
    }

    /// A seed of a random generator.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when absent or no whole number.
    pub fn seed(&self, field: &str) -> Result<u64> {
        let value = self.fields.get(field);
        // Torch counts a negative seed from 2^64 down.
        let signed = value.and_then(Value::as_i64).map(i64::cast_unsigned);
        let seed = value.and_then(Value::as_u64).or(signed);
        seed.ok_or_else(|| self.bad(field, "a whole number"))
    }

    /// Token ids below `vocab`: `value`, which stands in the field.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for anything else.
    pub fn ids(&self, field: &str, value: Option<&Value>, vocab: usize) -> Result<Vec<u32>> {
        let ids = value.and_then(Value::as_array).map(|ids| {
            let id = |id: &Value| id.as_u64().filter(|&id| id < vocab as u64);
            ids.iter().map(|value| Some(id(value)? as u32)).collect()
        });
        let expected = format!(
            "a list of token ids below {vocab}, the size of the model's vocabulary (if it was \
             extended before training, extend this model alike)"
        );
        ids.flatten().ok_or_else(|| self.bad(field, &expected))
    }

    /// A finite number.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when absent or of another type.
    pub fn number(&self, field: &str) -> Result<f32> {
        let number = self.fields.get(field).and_then(finite);
        number.ok_or_else(|| self.bad(field, "a finite number, in f32 too"))
    }

    /// `base_model_name_or_path`, where it names something.
    pub(super) fn base_model(&self) -> Option<String> {
        let name = self.text("base_model_name_or_path").ok();
        name.filter(|name| !name.trim().is_empty())
    }

    /// Lets a field go, and says whether it was there.
    pub(super) fn remove(&mut self, field: &str) -> bool {
        self.fields.shift_remove(field).is_some()
    }

    /// Lets a module of `modules_to_save` go, and says whether it was there.
    pub(super) fn remove_saved(&mut self, module: &str) -> bool {
        let field = self.fields.get_mut("modules_to_save");
        let Some(names) = field.and_then(Value::as_array_mut) else {
            return false;
        };
        let before = names.len();
        names.retain(|name| name.as_str() != Some(module));
        names.len() < before
    }

    /// A switch; absent and `null` mean off.
    #[must_use]
    pub fn flag(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|value| !is_off(value))
    }

    /// Refuses blocks that do not divide both widths of a layer.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the field that gave their number or size.
    pub fn check_divides(&self, field: &str, blocks: usize, target: &Target) -> Result<()> {
        let (i, o) = (target.i, target.o);
        match blocks > 0 && i.is_multiple_of(blocks) && o.is_multiple_of(blocks) {
            true => Ok(()),
            false => Err(self.bad(
                field,
                &format!("a divisor of {i} and {o}, the widths of {}", target.path),
            )),
        }
    }

    /// r and α/r of a module, for the methods that write α as `alpha`.
    ///
    /// # Errors
    /// As [`Self::patterned`], and [`Error::BadConfig`] for a rank that is no count.
    pub fn rank_and_scale(&self, target: &Target) -> Result<(usize, f32)> {
        let rank = self.patterned("rank_pattern", &target.path, "r")?;
        let alpha = self.patterned("alpha_pattern", &target.path, "alpha")?;
        Ok((self.whole("r", rank)?, alpha / rank))
    }

    /// The number for a module: the first entry of `pattern` whose key matches the module path
    /// as PEFT matches it, `^(.*\.)?(KEY)$`, else `field`.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for keys that are no regular expression and values that are no number.
    pub fn patterned(&self, pattern: &str, path: &str, field: &str) -> Result<f32> {
        let path = self.own_path(path);
        let found = self.first_match(pattern, |key| self.patterns.ends(&path, key))?;
        found.map_or_else(|| self.number(field), Ok)
    }

    /// The count for a module as FourierFT and C3A match it: the first entry of `pattern` with
    /// `.*\.KEY$` at the start of the module path, else the one that is the path, else `field`.
    ///
    /// # Errors
    /// As [`Self::patterned`], and [`Error::BadConfig`] for a number that is no count.
    pub fn patterned_suffix(&self, pattern: &str, path: &str, field: &str) -> Result<usize> {
        let path = self.own_path(path);
        let by_suffix =
            self.first_match(pattern, |key| self.patterns.ends_after_dot(&path, key))?;
        let number = match by_suffix {
            Some(number) => number,
            None => {
                let by_name = self.first_match(pattern, |key| Ok(key == path))?;
                by_name.map_or_else(|| self.number(field), Ok)?
            }
        };
        self.whole(field, number)
    }

    /// A number that has to be a count above 0, after patterns.
    fn whole(&self, field: &str, number: f32) -> Result<usize> {
        match number >= 1.0 && number.fract() == 0.0 {
            true => Ok(number as usize),
            false => Err(self.bad(field, "a whole number above 0")),
        }
    }

    fn first_match(
        &self,
        pattern: &str,
        matches: impl Fn(&str) -> Result<bool, Fault>,
    ) -> Result<Option<f32>> {
        let Some(value) = self.fields.get(pattern).filter(|value| !is_off(value)) else {
            return Ok(None);
        };
        let expected = "an object from module patterns to numbers";
        let entries = value
            .as_object()
            .ok_or_else(|| self.bad(pattern, expected))?;
        for (key, value) in entries {
            let fault = |fault| Error::BadConfig {
                file: self.file.clone(),
                field: pattern.into(),
                expected: match fault {
                    Fault::NotAPattern => "an object whose keys are Python's regular expressions",
                    Fault::TooManySteps => "keys that are matched in a bounded number of steps",
                }
                .into(),
                found: format!("the key `{key}`"),
            };
            if matches(key).map_err(fault)? {
                let number = finite(value).ok_or_else(|| self.bad(pattern, expected))?;
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Refuses every field that is switched on and that nothing would honour.
    pub(super) fn check_fields(&self, method: &Method) -> Result<()> {
        self.refusals(method).into_iter().next().map_or(Ok(()), Err)
    }

    fn refusals(&self, method: &Method) -> Vec<Error> {
        let known = |field: &str| {
            [COMMON_INERT, method.reads, method.inert]
                .iter()
                .any(|list| list.contains(&field))
        };
        let mut refusals: Vec<Error> = self
            .fields
            .iter()
            .filter(|(field, value)| !known(field) && !is_off(value))
            .map(|(field, value)| {
                self.refuse(
                    method,
                    field,
                    value,
                    "this build does not know what it changes",
                )
            })
            .collect();
        let named = self.fields.get("modules_to_save").and_then(Value::as_array);
        let mut named = named.into_iter().flatten().filter_map(Value::as_str);
        if named.any(|name| CLASSIFIERS.contains(&name)) {
            refusals.extend(self.classifies());
        }
        refusals
    }

    /// The refusal of an adapter that answers with a class.
    fn classifies(&self) -> Option<Error> {
        let task = self.text("task_type").ok()?;
        CLASSIFIES.contains(&&task[..]).then(|| {
            let expected = "CAUSAL_LM: this adapter belongs to a classifier, whose answer comes from \
                            a head of its own (score, classifier) and not from the vocabulary";
            self.bad("task_type", expected)
        })
    }

    fn refuse(&self, method: &Method, field: &str, value: &Value, why: &'static str) -> Error {
        Error::UnsupportedOption {
            file: self.file.clone(),
            method: method.card().title.into(),
            field: field.into(),
            found: describe(value),
            why,
        }
    }

    /// The refusal of a field that a method reads but cannot honour at its present value.
    #[must_use]
    pub fn unsupported(&self, method: &Method, field: &str, why: &'static str) -> Error {
        self.refuse(
            method,
            field,
            self.fields.get(field).unwrap_or(&Value::Null),
            why,
        )
    }

    /// The raw value of a field.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }
}

/// Whether a tensor belongs to the head of a classifier.
pub(super) fn is_classifier(key: &str) -> bool {
    key.split('.').any(|part| CLASSIFIERS.contains(&part))
}

/// A number that is finite in f32 too.
fn finite(value: &Value) -> Option<f32> {
    let number = value.as_f64()? as f32;
    number.is_finite().then_some(number)
}

/// Values by which PEFT writes "not used".
pub(super) fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn describe(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

/// Reads config and tensors, whichever container they came in, under PEFT's names. The head's width
/// is that of the model they are for, if there is one.
pub(super) fn read(
    files: &AdapterFiles,
    head_dim: Option<usize>,
) -> Result<(Config, BTreeMap<String, HostTensor>)> {
    let vector = br#"{"peft_type":"CONTROL_VECTOR"}"#;
    if files.weights.starts_with(b"GGUF") {
        let file = format!("{}.gguf", files.name);
        if files.bases.is_some() {
            return Err(Error::BadOption {
                name: "bases",
                expected: "left out: a .gguf holds all its tensors itself",
                found: format!("{BASES_FILE} beside {file}"),
            });
        }
        // A whole model is refused before its tensors are read.
        let header = gguf::read_header(&file, &files.weights)?;
        let is_lora = header.metadata.string("general.type")? == Some("adapter");
        if !is_lora {
            super::control_vector::check_gguf(&header.metadata)?;
        }
        let (metadata, tensors) = gguf::read_all(&file, &files.weights)?;
        let (json, tensors, own) = match is_lora {
            true => {
                let (json, tensors, own) = super::gguf_lora::read(&metadata, tensors, head_dim)?;
                (json.to_string().into_bytes(), tensors, own)
            }
            false => (vector.to_vec(), tensors, BTreeMap::new()),
        };
        let json = files.config.as_ref().unwrap_or(&json);
        let config = Config::parse(&files.name, json)?;
        let weights = file.clone();
        return Ok((
            Config {
                file,
                weights,
                own,
                ..config
            },
            tensors,
        ));
    }
    let config = files.config.as_ref();
    let config = config.map(|json| Config::parse(&files.name, json));
    let mut config = config.transpose()?;
    let is_mlx = config.as_ref().is_some_and(mlx_lora::is);
    let file = match is_mlx {
        true => format!("{}/{}", files.name, mlx_lora::WEIGHTS_FILE),
        false => format!("{}/{WEIGHTS_FILE}", files.name),
    };
    weights::check_is_weights(&file, &files.weights)?;
    let mut tensors = safetensors::read_all(&file, &files.weights)?;
    if let Some(bases) = &files.bases {
        let file = format!("{}/{BASES_FILE}", files.name);
        let bases = safetensors::read_all(&file, bases)?;
        let twice: Vec<String> = bases
            .keys()
            .filter(|key| tensors.contains_key(*key))
            .cloned()
            .collect();
        if !twice.is_empty() {
            return Err(Error::UnexpectedKeys { file, keys: twice });
        }
        tensors.extend(bases);
    }
    let mut names = BTreeMap::new();
    if let Some(mlx) = config.as_ref().filter(|_| is_mlx) {
        let (fields, renamed, own) = mlx_lora::read(mlx, &file, tensors)?;
        config = Some(Config::of(&files.name, fields));
        (tensors, names) = (renamed, own);
    }
    keys::check(&file, &tensors)?;
    let keys::Named {
        tensors,
        mut own,
        inside,
    } = keys::named(&file, tensors)?;
    for name in own.values_mut() {
        if let Some(first) = names.remove(name) {
            *name = first;
        }
    }
    own.extend(names);
    let config = match config {
        Some(config) => config,
        None if tensors.keys().all(|key| key.starts_with("direction.")) => {
            Config::parse(&files.name, vector)?
        }
        None => {
            return Err(Error::MissingKey {
                file: files.name.clone(),
                key: CONFIG_FILE.into(),
                what: "it names the method; give it together with the weights".into(),
            });
        }
    };
    let config = Config {
        weights: file,
        inside: if is_mlx { config.inside } else { inside },
        own,
        is_mlx,
        ..config
    };
    Ok((config, tensors))
}

pub(super) fn count(tensors: &BTreeMap<String, HostTensor>) -> usize {
    tensors
        .values()
        .map(|tensor| tensor.shape.iter().product::<usize>())
        .sum()
}

/// A linear layer that a checkpoint adapts.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it is.
    pub site: Site,
    /// Its path, `model.layers.0.self_attn.q_proj`.
    pub path: String,
    /// Input width.
    pub i: usize,
    /// Output width.
    pub o: usize,
    key: String,
}

/// Hands a checkpoint's tensors to a method, each once and only in the expected shape.
#[derive(Debug)]
pub struct Loader<'a> {
    /// The checkpoint's config.
    pub config: &'a Config,
    /// The model it is loaded for.
    pub model: &'a Model,
    file: String,
    tensors: RefCell<BTreeMap<String, HostTensor>>,
    task: Cell<Option<usize>>,
    weights: RefCell<BTreeMap<Site, Vec<f32>>>,
    experts: Cell<&'a [AdapterFiles]>,
    expert_weights: Cell<Option<&'a [f32]>>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        config: &'a Config,
        tensors: BTreeMap<String, HostTensor>,
        model: &'a Model,
        files: &'a AdapterFiles,
        weights: BTreeMap<Site, Vec<f32>>,
    ) -> Self {
        Self {
            config,
            model,
            file: config.weights.clone(),
            tensors: RefCell::new(tensors),
            weights: RefCell::new(weights),
            task: Cell::new(files.task),
            experts: Cell::new(&files.experts),
            expert_weights: Cell::new(files.expert_weights.as_deref()),
        }
    }

    /// Takes the files of a mixture's experts.
    ///
    /// # Errors
    /// [`Error::MissingKey`] unless there are `count`, and at least one.
    pub fn experts(&self, count: usize) -> Result<&'a [AdapterFiles]> {
        let experts = self.experts.take();
        match experts.len() == count && count > 0 {
            true => Ok(experts),
            false => Err(Error::MissingKey {
                file: self.config.file.clone(),
                key: format!("{}/", experts.len().min(count)),
                what: format!("{count} experts are named, {} were given", experts.len()),
            }),
        }
    }

    /// Takes weights of the user's own for the `count` parts that a method mixes; `parts` names them
    /// in the refusal.
    ///
    /// # Errors
    /// [`Error::BadOption`] unless there is one finite number for each.
    pub fn expert_weights(&self, parts: &str, count: usize) -> Result<Option<&'a [f32]>> {
        match self.expert_weights.take() {
            Some(own) if own.len() != count || !own.iter().all(|weight| weight.is_finite()) => {
                Err(Error::BadOption {
                    name: "expert weights",
                    expected: "one finite number for each",
                    found: format!("{own:?} for {count} {parts}"),
                })
            }
            own => Ok(own),
        }
    }

    /// Takes, unread, every tensor whose name begins so.
    pub fn drop_all(&self, prefix: &str) {
        let mut tensors = self.tensors.borrow_mut();
        tensors.retain(|key, _| !key.starts_with(prefix));
    }

    /// Takes the number of the task to run, for a method that was trained for `tasks` of them.
    /// Where there is only one it need not be given.
    ///
    /// # Errors
    /// [`Error::BadTask`] when several are there and none was chosen, or one that is not there.
    pub fn task(&self, tasks: usize) -> Result<usize> {
        let asked = self.task.take();
        match asked {
            Some(task) if task < tasks => Ok(task),
            None if tasks == 1 => Ok(0),
            _ => Err(Error::BadTask {
                file: self.file.clone(),
                found: asked.map_or_else(|| "not given".into(), |task| task.to_string()),
                expected: format!(
                    "0 to {}: it was trained for {tasks}",
                    tasks.saturating_sub(1)
                ),
            }),
        }
    }

    /// Refuses a task that nothing took, for this reason.
    ///
    /// # Errors
    /// [`Error::BadTask`] when one was given.
    pub fn no_task(&self, why: &str) -> Result<()> {
        match self.task.take() {
            None => Ok(()),
            Some(task) => Err(Error::BadTask {
                file: self.file.clone(),
                found: task.to_string(),
                expected: format!("left out: {why}"),
            }),
        }
    }

    /// The linear layers for which the file has a tensor of this name, in model order.
    ///
    /// # Errors
    /// [`Error::NoSuchModule`] for layers that the model lacks, [`Error::MissingKey`] when there
    /// is none at all.
    pub fn targets(&self, parameter: &str) -> Result<Vec<Target>> {
        self.targets_of_any(&[parameter])
    }

    /// The linear layers for which the file has a tensor of one of these names, in model order.
    ///
    /// # Errors
    /// As [`Self::targets`].
    pub fn targets_of_any(&self, parameters: &[&str]) -> Result<Vec<Target>> {
        let targets = self.tables_of_any(parameters)?;
        match targets.iter().find(|target| target.site == Site::Embedding) {
            Some(target) => Err(self.no_such_module(&self.key(target, parameters[0]))),
            None => Ok(targets),
        }
    }

    /// As [`Self::targets`], and the embedding besides, as a matrix of one row per token.
    ///
    /// # Errors
    /// As [`Self::targets`].
    pub fn tables(&self, parameter: &str) -> Result<Vec<Target>> {
        self.tables_of_any(&[parameter])
    }

    fn tables_of_any(&self, parameters: &[&str]) -> Result<Vec<Target>> {
        let module = |key: &str| {
            let stem = parameters.iter().find_map(|name| key.strip_suffix(name));
            stem?.strip_suffix('.').map(str::len)
        };
        let mut targets = self
            .tensors
            .borrow()
            .keys()
            .filter_map(|key| Some((key, &key[..module(key)?])))
            .map(|(key, module)| self.target(key, module))
            .collect::<Result<Vec<_>>>()?;
        targets.sort_by_key(|target| target.site);
        targets.dedup_by_key(|target| target.site);
        match targets.is_empty() {
            true => Err(self.no_module_has(&parameters.join(" or "))),
            false => Ok(targets),
        }
    }

    /// The blocks for which the file has a tensor of this name: number and path, in model order.
    ///
    /// # Errors
    /// [`Error::NoSuchModule`] for blocks that the model lacks, [`Error::MissingKey`] when there
    /// is none at all.
    pub fn blocks(&self, parameter: &str) -> Result<Vec<(usize, String)>> {
        let number = |block: &str| {
            let number = block.strip_prefix(PREFIX)?.strip_prefix("model.layers.")?;
            let number = number.parse::<usize>().ok()?;
            (number < self.model.config().num_layers).then_some(number)
        };
        let mut blocks = self
            .keys()
            .into_iter()
            .filter_map(|key| {
                let block = key.strip_suffix(parameter)?.strip_suffix('.')?.to_owned();
                Some((key, block))
            })
            .map(|(key, block)| {
                let number = number(&block).ok_or_else(|| self.no_such_module(&key))?;
                Ok((number, block))
            })
            .collect::<Result<Vec<_>>>()?;
        blocks.sort();
        match blocks.is_empty() {
            true => Err(self.no_module_has(parameter)),
            false => Ok(blocks),
        }
    }

    /// The error of a key whose module the model lacks.
    pub(super) fn no_such_module(&self, key: &str) -> Error {
        Error::NoSuchModule {
            file: self.file.clone(),
            key: self.config.own_key(key),
            model: self.model.name().into(),
            layers: self.model.config().num_layers,
            trained_on: match self.config.text("base_model_name_or_path") {
                Ok(base) if !base.is_empty() => format!("it was trained on {base}"),
                _ => "was it trained on another model?".into(),
            },
        }
    }

    /// The error of a tensor that is nowhere in the file.
    pub(super) fn no_module_has(&self, parameter: &str) -> Error {
        Error::MissingKey {
            file: self.file.clone(),
            key: format!("{PREFIX}<module>.{parameter}"),
            what: "no module has it".into(),
        }
    }

    /// The error of a tensor that a field of the config promises.
    pub(super) fn named_but_absent(&self, field: &str, key: String) -> Error {
        let found = self.config.get(field).map(describe).unwrap_or_default();
        Error::MissingKey {
            file: self.file.clone(),
            key,
            what: format!("{field} = {found} in the config says that it is there"),
        }
    }

    /// The layer of a module's path, which stands in `key`.
    pub(super) fn target(&self, key: &str, module: &str) -> Result<Target> {
        let config = self.model.config();
        let missing = || self.no_such_module(key);
        let path = module.strip_prefix(PREFIX).ok_or_else(missing)?;
        let site = Site::parse(path).ok_or_else(missing)?;
        let (i, o) = match site {
            Site::Linear(layer, projection) if layer < config.num_layers => {
                projection.widths(config)
            }
            Site::Head | Site::Embedding => (config.hidden_size, config.vocab_size),
            _ => return Err(missing()),
        };
        Ok(Target {
            site,
            path: path.into(),
            i,
            o,
            key: module.into(),
        })
    }

    /// Takes `<module>.<parameter>` of the given shape.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::WrongShape`], [`Error::UnsupportedDtype`] for integers.
    pub fn tensor<const D: usize>(
        &self,
        target: &Target,
        parameter: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>> {
        self.shared(&format!("{}.{parameter}", target.key), shape)
    }

    /// Takes a whole-named tensor of the given shape.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn shared<const D: usize>(&self, key: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        Ok(self.upload(self.host(key, shape)?, shape))
    }

    /// Takes a whole-named tensor of the given shape and leaves it in host memory.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn host<const D: usize>(&self, key: &str, shape: [usize; D]) -> Result<Vec<f32>> {
        match self.take(key, shape)? {
            HostData::Float(values) => Ok(values),
            HostData::Int(_) => Err(Error::UnsupportedDtype {
                file: self.file.clone(),
                key: key.into(),
                found: "integers".into(),
                known: "floating-point numbers here",
            }),
        }
    }

    /// Takes whole numbers from 0 to below `end`, stored as such or as floats.
    ///
    /// # Errors
    /// As [`Self::tensor`], but for integers; [`Error::BadValue`] for any other number.
    pub fn indices<const D: usize>(
        &self,
        key: &str,
        shape: [usize; D],
        end: usize,
    ) -> Result<Vec<usize>> {
        let bad = |found: String| {
            self.bad_value(key, found, format!("whole numbers from 0 to below {end}"))
        };
        match self.take(key, shape)? {
            HostData::Int(values) => values
                .into_iter()
                .map(|value| {
                    let index = usize::try_from(value).ok().filter(|index| *index < end);
                    index.ok_or_else(|| bad(value.to_string()))
                })
                .collect(),
            HostData::Float(values) => values
                .into_iter()
                .map(
                    |value| match value >= 0.0 && value.fract() == 0.0 && value < end as f32 {
                        true => Ok(value as usize),
                        false => Err(bad(value.to_string())),
                    },
                )
                .collect(),
        }
    }

    /// Takes a tensor whatever its dtype, if it has this shape.
    fn take<const D: usize>(&self, key: &str, shape: [usize; D]) -> Result<HostData> {
        let missing = || Error::MissingKey {
            file: self.file.clone(),
            key: key.into(),
            what: format!("expected with shape {shape:?}"),
        };
        let found = self.shape(key).ok_or_else(missing)?;
        if found != shape {
            return Err(self.misfit(key, &found, &shape));
        }
        let taken = self.tensors.borrow_mut().remove(key);
        taken.map(|tensor| tensor.data).ok_or_else(missing)
    }

    /// Drops a tensor that repeats what is read elsewhere, if it is there.
    pub fn skip(&self, key: &str) {
        self.tensors.borrow_mut().remove(key);
    }

    /// Checks one extent of a module's tensor before numbers are made to fit it.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::WrongShape`].
    pub fn check_extent(
        &self,
        target: &Target,
        parameter: &str,
        dim: usize,
        expected: usize,
    ) -> Result<()> {
        if self.extent(target, parameter, dim)? == expected {
            return Ok(());
        }
        let key = self.key(target, parameter);
        let found = self.shape(&key).unwrap_or_default();
        let mut shape = found.clone();
        shape[dim] = expected;
        Err(self.misfit(&key, &found, &shape))
    }

    /// The refusal of a tensor that was made for another rank, another vocabulary or another model.
    fn misfit(&self, key: &str, found: &[usize], shape: &[usize]) -> Error {
        let mut apart: Vec<(usize, usize)> = found
            .iter()
            .copied()
            .zip(shape.iter().copied())
            .filter(|(found, expected)| found != expected)
            .collect();
        apart.dedup();
        let one = match apart[..] {
            [one] if found.len() == shape.len() => Some(one),
            _ => None,
        };
        let vocab = self.model.config().vocab_size;
        let (mut expected, mut hint) = (format!("{shape:?}"), "was it trained on another model?");
        if let Some((found, rows)) = one {
            let is_table = [".embed_tokens.", ".lm_head."]
                .iter()
                .any(|part| key.contains(part));
            if is_table && rows == vocab && found > vocab {
                let more = found - vocab;
                expected += &format!(", as the model has {vocab} tokens: {more} fewer");
                hint = "the model's vocabulary was extended before training \
                        (resize_token_embeddings): extend this model alike, save it, and load that";
            } else if self.ranks().contains(&rows) && !self.ranks().contains(&found) {
                expected += &format!(" with the config's rank of {rows}");
                hint = "the file has another rank: mend r, init_r or rank_pattern in the config";
            }
        }
        Error::WrongShape {
            file: self.file.clone(),
            key: self.config.own_key(key),
            expected,
            found: found.to_vec(),
            hint,
        }
    }

    /// Every rank that the config names.
    fn ranks(&self) -> Vec<usize> {
        let count = |value: &Value| usize::try_from(value.as_u64()?).ok();
        let named = ["r", "init_r"].map(|field| self.config.get(field).and_then(count));
        let patterns = self.config.get("rank_pattern").and_then(Value::as_object);
        let patterns = patterns.into_iter().flat_map(JsonMap::values);
        named
            .into_iter()
            .flatten()
            .chain(patterns.filter_map(count))
            .collect()
    }

    /// The refusal of a tensor for its shape.
    #[must_use]
    pub fn wrong_shape(&self, key: &str, expected: String) -> Error {
        Error::WrongShape {
            file: self.file.clone(),
            key: self.config.own_key(key),
            expected,
            found: self.shape(key).unwrap_or_default(),
            hint: "was it trained on another model?",
        }
    }

    /// The refusal of a tensor for a number in it.
    #[must_use]
    pub fn bad_value(&self, key: &str, found: String, expected: String) -> Error {
        Error::BadValue {
            file: self.file.clone(),
            key: key.into(),
            found,
            expected,
        }
    }

    /// Puts numbers onto the model's device.
    #[must_use]
    pub fn upload<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), &self.model.device())
    }

    /// The full name of a module's tensor.
    #[must_use]
    pub fn key(&self, target: &Target, parameter: &str) -> String {
        format!("{}.{parameter}", target.key)
    }

    /// The shape of a tensor that is still there.
    #[must_use]
    pub fn shape(&self, key: &str) -> Option<Vec<usize>> {
        self.tensors
            .borrow()
            .get(key)
            .map(|tensor| tensor.shape.clone())
    }

    /// One extent of a module's tensor, for sizes that only the file knows.
    ///
    /// # Errors
    /// [`Error::MissingKey`] without the tensor or the dimension.
    pub fn extent(&self, target: &Target, parameter: &str, dim: usize) -> Result<usize> {
        let key = self.key(target, parameter);
        let extent = self.shape(&key).and_then(|shape| shape.get(dim).copied());
        extent.ok_or_else(|| Error::MissingKey {
            file: self.file.clone(),
            key,
            what: format!("expected with at least {} dimensions", dim + 1),
        })
    }

    /// Whether some module has a tensor of this name.
    #[must_use]
    pub fn any(&self, parameter: &str) -> bool {
        self.keys().iter().any(|key| key.ends_with(parameter))
    }

    /// The names of all tensors not yet taken.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.tensors.borrow().keys().cloned().collect()
    }

    /// A linear layer's weight `[o, i]`, for the methods whose formula needs it.
    #[must_use]
    pub fn base_weight(&self, target: &Target) -> Tensor<2> {
        match target.site {
            Site::Linear(layer, projection) => self.model.linear(layer, projection).weight.dense(),
            Site::Embedding => self.model.embedding_weight(),
            _ => self.model.head_weight(),
        }
    }

    /// A linear layer's bias `[o]`, where it has one.
    #[must_use]
    pub fn base_bias(&self, target: &Target) -> Option<Tensor<1>> {
        match target.site {
            Site::Linear(layer, projection) => {
                let bias = self.model.linear(layer, projection).bias.as_ref();
                bias.map(|bias| bias.val())
            }
            _ => None,
        }
    }

    /// The same weight in host memory, for linear algebra. Where a device cannot be waited for,
    /// [`super::load_waiting`] has read it before.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when the device does not give it.
    pub fn base_weight_on_host(&self, target: &Target) -> Result<Vec<f32>> {
        self.on_host(target.site, || self.base_weight(target))
    }

    /// The gain `[d]` of a norm, whose new gain stands in `key`.
    ///
    /// # Errors
    /// [`Error::NoSuchModule`] for blocks that the model lacks.
    pub fn base_gain(&self, site: Site, key: &str) -> Result<Tensor<1>> {
        let inside = |layer| layer < self.model.config().num_layers;
        match site {
            Site::Norm(norm) if norm.is_none_or(|(layer, _)| inside(layer)) => {
                Ok(self.model.gain(norm))
            }
            _ => Err(self.no_such_module(key)),
        }
    }

    /// The same gain in host memory, as [`Self::base_weight_on_host`].
    ///
    /// # Errors
    /// As [`Self::base_gain`], and [`Error::DeviceLost`] when the device does not give it.
    pub fn base_gain_on_host(&self, site: Site, key: &str) -> Result<Vec<f32>> {
        let gain = self.base_gain(site, key)?;
        self.on_host(site, || gain.unsqueeze())
    }

    fn on_host(&self, site: Site, base: impl FnOnce() -> Tensor<2>) -> Result<Vec<f32>> {
        if let Some(weight) = self.weights.borrow_mut().remove(&site) {
            return Ok(weight);
        }
        let data = base().try_into_data().map_err(Error::device_lost)?;
        data.try_into_vec()
            .map_err(|error| Error::device_lost(format!("{error:?}")))
    }

    /// Refuses what nothing took.
    pub(super) fn finish(self) -> Result<()> {
        self.no_task("this method has no tasks")?;
        let (experts, weights) = (self.experts.take(), self.expert_weights.take());
        if !experts.is_empty() {
            return Err(Error::BadOption {
                name: "experts",
                expected: "left out: this method mixes none",
                found: experts.len().to_string(),
            });
        }
        if let Some(weights) = weights {
            return Err(Error::BadOption {
                name: "expert weights",
                expected: "left out: this method mixes nothing",
                found: format!("{weights:?}"),
            });
        }
        let keys = self.keys();
        if keys.iter().any(|key| is_classifier(key))
            && let Some(error) = self.config.classifies()
        {
            return Err(error);
        }
        match keys.is_empty() {
            true => Ok(()),
            false => Err(Error::UnexpectedKeys {
                keys: keys.iter().map(|key| self.config.own_key(key)).collect(),
                file: self.file,
            }),
        }
    }
}

/// What `steer inspect` and the page tell of a checkpoint, without a model.
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
    /// Blocks for which the file has entries, as `0-2, 5`; absent when its keys name none.
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

/// What can be said of a checkpoint without a model, but for the refusals, which come beside it.
pub(super) fn explain(
    files: &AdapterFiles,
    config: &Config,
    tensors: &BTreeMap<String, HostTensor>,
) -> (Inspection, Vec<Error>) {
    let method = super::method_of(config);
    let mut refused: Vec<Error> = Vec::new();
    let mut modules = Vec::new();
    match &method {
        Err(error) => refused.push(error.clone()),
        Ok(method) => {
            refused.extend(config.refusals(method));
            let misnamed = keys::check_names(config, method, tensors).err();
            let is_told = misnamed.is_some();
            refused.extend(misnamed);
            if method.name == super::xlora::METHOD.name && files.expert_weights.is_none() {
                let has = |key: &str| tensors.contains_key(key);
                refused.extend(super::gate::check(config, has).err());
            }
            let mut unused = Vec::new();
            for key in tensors.keys() {
                if super::lora::is_of_training(config, key) {
                    continue;
                }
                match method.keys.iter().find_map(|name| key.strip_suffix(name)) {
                    Some("") => {}
                    Some(module) => modules.push(module.trim_end_matches('.').replace(PREFIX, "")),
                    None if method.keys.iter().any(|name| key.starts_with(name)) => {}
                    None => match super::saved::module(key) {
                        Some(module) => modules.push(module.replace(PREFIX, "")),
                        None if super::saved::repeated(key).is_some() => {}
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
            if !unused.is_empty() && !is_told {
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
    let counted = |fields: &[&str]| {
        let known = |field: &&&str| matches!(&method, Ok(method) if method.reads.contains(field));
        let mut known = fields.iter().filter(known);
        known.find_map(|field| config.count(field).ok())
    };
    let (tasks, skills) = (counted(TASK_COUNTS), counted(SKILL_COUNTS));
    let experts = config.get("adapters").and_then(Value::as_object);
    let layers = reach::entries(tensors.keys());
    let found = Inspection {
        name: files.name.clone(),
        experts: experts.map(JsonMap::len),
        tasks,
        skills,
        law: method.as_ref().ok().map(|method| method.law),
        method: method.ok().map(Method::card),
        base_model: config.base_model(),
        modules,
        layers: (!layers.is_empty()).then(|| reach::ranges(&layers)),
        model: None,
        layers_reached: None,
        warnings: Vec::new(),
        parameters: count(tensors),
        refused: Vec::new(),
    };
    (found, refused)
}
