//! Hands a checkpoint's tensors to a method, and is strict about them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Int, Tensor, TensorData};
use serde_json::{Map as JsonMap, Value};

use super::config::{Config, describe, is_classifier};
use super::extras::{Choices, Extras};
use super::files::{AdapterFiles, PREFIX};
use super::known::Known;
use super::target::Target;
use crate::error::{Error, Result};
use crate::hooks::Site;
use crate::model::Model;
use crate::weights::{HostData, HostTensor};

/// Hands a checkpoint's tensors to a method, each once and only in the expected shape.
#[derive(Debug)]
pub struct Loader<'a> {
    /// The checkpoint's config.
    pub config: &'a Config,
    /// The model it is loaded for.
    pub model: &'a Model,
    /// The task to run, counted from 0; 0 for a method without tasks.
    pub task: usize,
    /// The files of a mixture's experts, in order.
    pub experts: &'a [AdapterFiles],
    /// The user's weights for the parts that the method mixes.
    pub part_weights: Option<&'a [f32]>,
    pub(super) file: String,
    pub(super) tensors: RefCell<BTreeMap<String, HostTensor>>,
    /// What was read of the base into host memory, by site.
    pub(super) base: BTreeMap<Site, Vec<f32>>,
    /// What is being trained, by key: stands for the numbers of the same key.
    leaves: BTreeMap<String, Tensor<1>>,
    /// What was computed of the base.
    pub(super) known: Known,
    /// The modules that were taken apart, by the modules that came of them.
    pub(super) stacks: RefCell<BTreeMap<String, String>>,
}

impl<'a> Loader<'a> {
    /// For a method with these extras, with what the files' user chose of its tasks and parts.
    ///
    /// # Errors
    /// Those of [`Choices::of`].
    pub(crate) fn new(
        extras: &Extras,
        config: &'a Config,
        mut tensors: BTreeMap<String, HostTensor>,
        model: &'a Model,
        files: &'a AdapterFiles,
    ) -> Result<Self> {
        let choices = Choices::of(extras, config, files)?;
        tensors.retain(|key, _| !extras.is_of_training(config, key));
        Ok(Self {
            config,
            model,
            task: choices.task,
            experts: choices.experts,
            part_weights: choices.weights,
            file: config.weights.clone(),
            tensors: RefCell::new(tensors),
            base: BTreeMap::new(),
            leaves: BTreeMap::new(),
            known: Known::default(),
            stacks: RefCell::default(),
        })
    }

    /// The same with tensors in place of the numbers of their keys, which carry gradients: what the method
    /// makes of them is a function of them. What is `known` of the base is not computed again.
    #[must_use]
    pub(crate) fn of_leaves(self, leaves: BTreeMap<String, Tensor<1>>, known: &Known) -> Self {
        let known = known.clone();
        Self {
            leaves,
            known,
            ..self
        }
    }

    /// Marks every tensor with this prefix as taken, without reading it.
    pub fn drop_all(&self, prefix: &str) {
        let mut tensors = self.tensors.borrow_mut();
        tensors.retain(|key, _| !key.starts_with(prefix));
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
        if targets.is_empty() {
            Err(self.no_module_has(&parameters.join(" or ")))
        } else {
            Ok(targets)
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
        if blocks.is_empty() {
            Err(self.no_module_has(parameter))
        } else {
            Ok(blocks)
        }
    }

    /// The norms for which the file has a tensor of this name, and its key, in model order. Linear layers
    /// and the embedding are passed over.
    ///
    /// # Errors
    /// [`Error::NoSuchModule`] for modules that the model lacks, [`Error::MissingKey`] when no module at
    /// all has one.
    pub fn norms(&self, parameter: &str) -> Result<Vec<(Site, String)>> {
        let names = self.model.config().family;
        let norm = |key: String| {
            let path = key.strip_suffix(parameter)?.strip_suffix('.')?;
            let path = path.strip_prefix(PREFIX);
            let site = path.and_then(|path| Site::parse_norm(names, path));
            match site {
                Some(site) => Some(Ok((site, key))),
                None if path.and_then(Site::parse).is_some() => None,
                None => Some(Err(self.no_such_module(&key))),
            }
        };
        let norms = self.keys().into_iter().filter_map(norm);
        let mut norms = norms.collect::<Result<Vec<_>>>()?;
        norms.sort();
        if norms.is_empty() && !self.any(parameter) {
            Err(self.no_module_has(parameter))
        } else {
            Ok(norms)
        }
    }

    /// The error of a key whose module the model lacks.
    pub(crate) fn no_such_module(&self, key: &str) -> Error {
        Error::NoSuchModule {
            file: self.file.clone(),
            key: self.config.own_key(&self.whole(key)),
            model: self.model.name().into(),
            layers: self.model.config().num_layers,
            trained_on: match self.config.text("base_model_name_or_path") {
                Ok(base) if !base.is_empty() => format!("it was trained on {base}"),
                _ => "was it trained on another model?".into(),
            },
        }
    }

    /// The error of a tensor that no module has in the file.
    pub(crate) fn no_module_has(&self, parameter: &str) -> Error {
        Error::MissingKey {
            file: self.file.clone(),
            key: format!("{PREFIX}<module>.{parameter}"),
            what: "no module has it".into(),
        }
    }

    /// The error of a tensor that a field of the config promises.
    pub(crate) fn named_but_absent(&self, field: &str, key: String) -> Error {
        let found = self.config.get(field).map(describe).unwrap_or_default();
        Error::MissingKey {
            file: self.file.clone(),
            key,
            what: format!("{field} = {found} in the config says that it is there"),
        }
    }

    /// The layer of a module's path, which is in `key`.
    pub(crate) fn target(&self, key: &str, module: &str) -> Result<Target> {
        let config = self.model.config();
        let missing = || self.no_such_module(key);
        let path = module.strip_prefix(PREFIX).ok_or_else(missing)?;
        let site = Site::parse(path);
        if Site::is_stack(path) {
            let inside = path.split('.').skip(3).collect::<Vec<_>>().join(".");
            let stack = config.family.stack_at(&inside).ok_or_else(missing)?;
            if stack.parts.len() > 1 {
                return Err(self.undivided(stack));
            }
        }
        let site = site.ok_or_else(missing)?;
        let (i, o) = match site {
            Site::Linear(layer, projection) if layer < config.num_layers => {
                projection.widths(config)
            }
            Site::Head | Site::Embedding => (config.hidden_size, config.vocab_size),
            _ => return Err(missing()),
        };
        Ok(Target {
            site,
            path: self.whole(module)[PREFIX.len()..].into(),
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
        Ok(self.on_device(key, self.host(key, shape)?, shape))
    }

    /// The tensor of this key that is trained, flat, while it is.
    #[must_use]
    pub fn leaf(&self, key: &str) -> Option<Tensor<1>> {
        self.leaves.get(key).cloned()
    }

    /// Numbers that were taken from `key`, on the model's device: the tensor that is trained, while it is.
    #[must_use]
    pub fn on_device<const D: usize>(
        &self,
        key: &str,
        values: Vec<f32>,
        shape: [usize; D],
    ) -> Tensor<D> {
        match self.leaves.get(key) {
            Some(leaf) => leaf.clone().reshape(shape),
            None => self.upload(values, shape),
        }
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
                .map(|value| {
                    if value >= 0.0 && value.fract() == 0.0 && value < end as f32 {
                        Ok(value as usize)
                    } else {
                        Err(bad(value.to_string()))
                    }
                })
                .collect(),
        }
    }

    /// Takes a tensor whatever its dtype, if it has this shape.
    fn take<const D: usize>(&self, key: &str, shape: [usize; D]) -> Result<HostData> {
        let missing = || Error::MissingKey {
            file: self.file.clone(),
            key: self.whole(key),
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
            key: self.config.own_key(&self.whole(key)),
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
            key: self.config.own_key(&self.whole(key)),
            expected,
            found: self.shape(key).unwrap_or_default(),
            hint: "was it trained on another model?",
        }
    }

    /// The refusal of a tensor for one of its numbers.
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

    /// Puts indices onto the model's device.
    #[must_use]
    pub fn upload_indices(&self, indices: Vec<i32>) -> Tensor<1, Int> {
        let count = indices.len();
        Tensor::from_data(TensorData::new(indices, [count]), &self.model.device())
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
                bias.cloned()
            }
            _ => None,
        }
    }

    /// The same weight in host memory, for linear algebra. In a browser a device has to be waited for:
    /// the method says in [`Extras::base`] that it needs it.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when the device does not give it.
    pub fn base_weight_on_host(&self, target: &Target) -> Result<Cow<'_, [f32]>> {
        self.on_host(target.site, || self.base_weight(target))
    }

    /// The gain of a norm, as wide as what it norms, whose new gain is in `key`.
    ///
    /// # Errors
    /// [`Error::NoSuchModule`] for blocks and norms that the model lacks.
    pub fn base_gain(&self, site: Site, key: &str) -> Result<Tensor<1>> {
        let Site::Norm(norm) = site else {
            return Err(self.no_such_module(key));
        };
        let config = self.model.config();
        match norm {
            Some((layer, place))
                if layer >= config.num_layers || config.family.norm(place).is_none() =>
            {
                Err(self.no_such_module(key))
            }
            _ => Ok(self.model.gain(norm)),
        }
    }

    /// The same gain in host memory, as [`Self::base_weight_on_host`].
    ///
    /// # Errors
    /// As [`Self::base_gain`], and [`Error::DeviceLost`] when the device does not give it.
    pub fn base_gain_on_host(&self, site: Site, key: &str) -> Result<Cow<'_, [f32]>> {
        let gain = self.base_gain(site, key)?;
        self.on_host(site, || gain.unsqueeze())
    }

    /// Takes a trained gain `[width]`, as it multiplies, on the host and on the device: adapters for some
    /// families hold less.
    ///
    /// # Errors
    /// As [`Self::host`].
    pub fn gain(&self, key: &str, width: usize) -> Result<(Vec<f32>, Tensor<1>)> {
        let offset = self.model.config().adapter_gain_offset;
        let mut values = self.host(key, [width])?;
        for gain in &mut values {
            *gain += offset;
        }
        let gain = match self.leaf(key) {
            Some(leaf) => leaf + offset,
            None => self.upload(values.clone(), [width]),
        };
        Ok((values, gain))
    }

    fn on_host(&self, site: Site, base: impl FnOnce() -> Tensor<2>) -> Result<Cow<'_, [f32]>> {
        if let Some(numbers) = self.base.get(&site) {
            return Ok(numbers.into());
        }
        let data = base().try_into_data().map_err(Error::device_lost)?;
        let numbers: Result<Vec<f32>, _> = data.try_into_vec();
        let numbers = numbers.map_err(|error| Error::device_lost(format!("{error:?}")))?;
        Ok(numbers.into())
    }

    /// Refuses what nothing took.
    pub(crate) fn finish(self) -> Result<()> {
        let keys = self.keys();
        if keys.iter().any(|key| is_classifier(key))
            && let Some(error) = self.config.classifies()
        {
            return Err(error);
        }
        let own: BTreeSet<String> = keys.iter().map(|key| self.whole(key)).collect();
        let own = own.iter().map(|key| self.config.own_key(key)).collect();
        if keys.is_empty() {
            Ok(())
        } else {
            Err(Error::UnexpectedKeys {
                keys: own,
                file: self.file,
            })
        }
    }
}
