//! Where training begins: a method's parameters at the places that are to be trained, with the config
//! under which they are read again.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use serde_json::{Map as JsonMap, Value, json};

use super::files::PREFIX;
use super::target::Target;
use crate::arch::{Norm, Projection};
use crate::error::{Error, Result};
use crate::hooks::{Mask, Module, Site};
use crate::model::Model;
use crate::sample::noise_key;
use crate::weights::{HostData, HostTensor};

/// How a method begins, as its file says; or why it cannot be trained here.
#[derive(Debug, Clone, Copy)]
pub enum Trains {
    /// Names its parameters and their numbers.
    From {
        /// Adds config, parameters and constants.
        start: fn(&mut Start<'_>) -> Result<()>,
        /// A learning rate of AdamW that suits its numbers.
        rate: f64,
    },
    /// As [`From`](Self::From), over adapters that are trained already, its experts.
    Over {
        /// Adds config, parameters and constants.
        start: fn(&mut Start<'_>) -> Result<()>,
        /// A learning rate of AdamW that suits its numbers.
        rate: f64,
        /// Why not without them.
        why: &'static str,
    },
    /// Not here, for this reason.
    Not(&'static str),
}

impl Trains {
    /// The usual learning rate; `None` for what is not trained here.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        match *self {
            Self::From { rate, .. } | Self::Over { rate, .. } => Some(rate),
            Self::Not(_) => None,
        }
    }
}

/// What is to be trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The rank, or what the method has in its place.
    pub rank: usize,
    /// Blocks and modules; without modules those that suit the method.
    pub mask: Mask,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Of the answers, what tells them apart most first.
    pub tokens: Vec<u32>,
    /// Behaviours, each of which is a task where the method has tasks.
    pub tasks: usize,
    /// How many experts are given.
    pub experts: usize,
}

/// The numbers that a parameter has before the first step.
#[derive(Debug, Clone)]
pub enum Init {
    /// 0
    Zeros,
    /// One number everywhere.
    Filled(f32),
    /// Uniform in `±1/√fan_in`, the last dimension: PEFT's `kaiming_uniform_(a = √5)`.
    Kaiming,
    /// Normal with this deviation.
    Normal(f32),
    /// Uniform in ± this.
    Uniform(f32),
    /// These.
    Given(Vec<f32>),
}

/// An adapter before training, under PEFT's names.
#[derive(Debug, Clone, Default)]
pub struct Untrained {
    /// `adapter_config.json`
    pub config: JsonMap<String, Value>,
    /// What is trained.
    pub parameters: BTreeMap<String, HostTensor>,
    /// What is not, and belongs into the file all the same.
    pub constants: BTreeMap<String, HostTensor>,
}

/// An adapter in the making.
#[derive(Debug)]
pub struct Start<'a> {
    /// The model that it is for.
    pub model: &'a Model,
    /// The rank, or what the method has in its place.
    pub rank: usize,
    /// How many tasks it is for, at least 1.
    pub tasks: usize,
    /// How many experts it mixes; 0 for what mixes none.
    pub experts: usize,
    wish: &'a Wish,
    /// Numbers drawn so far.
    drawn: usize,
    made: Untrained,
}

impl<'a> Start<'a> {
    /// Of a method of PEFT's of this name, without parameters yet.
    ///
    /// # Errors
    /// [`Error::BadOption`] for a rank of 0.
    pub(super) fn new(model: &'a Model, wish: &'a Wish, peft_type: &str) -> Result<Self> {
        if wish.rank == 0 {
            return Err(Error::BadOption {
                name: "rank",
                expected: "at least 1",
                found: "0".into(),
            });
        }
        let mut start = Self {
            model,
            rank: wish.rank,
            tasks: wish.tasks.max(1),
            experts: wish.experts,
            wish,
            drawn: 0,
            made: Untrained::default(),
        };
        start.set("peft_type", peft_type);
        start.set("task_type", "CAUSAL_LM");
        start.set("base_model_name_or_path", model.name());
        start.set("peft_version", "0.21.2");
        start.set("inference_mode", true);
        Ok(start)
    }

    pub(super) fn finish(self) -> Untrained {
        self.made
    }
}

impl Start<'_> {
    /// Sets a field of the config.
    pub fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.made.config.insert(field.into(), value.into());
    }

    /// The linear layers to train, in model order: of the modules that were asked for, else of `usual`
    /// ones. They become `target_modules`.
    ///
    /// # Errors
    /// [`Error::BadOption`] where there is none.
    pub fn targets(&mut self, usual: &[Projection]) -> Result<Vec<Target>> {
        let config = self.model.config();
        let is_wanted = |site: Site, projection: Projection| {
            let named = !self.wish.mask.modules.is_empty();
            self.wish.mask.allows(site) && (named || usual.contains(&projection))
        };
        let mut targets = Vec::new();
        for layer in 0..config.num_layers {
            for &(projection, inside, _) in config.family.linears {
                let site = Site::Linear(layer, projection);
                if !is_wanted(site, projection) {
                    continue;
                }
                let (i, o) = projection.widths(config);
                let path = format!("model.layers.{layer}.{inside}");
                targets.push(Target {
                    site,
                    key: format!("{PREFIX}{path}"),
                    path,
                    i,
                    o,
                });
            }
        }
        if targets.is_empty() {
            return Err(self.nowhere("linear layers of the model"));
        }
        let paths: Vec<&str> = targets.iter().map(|target| &*target.path).collect();
        self.set("target_modules", json!(paths));
        Ok(targets)
    }

    /// The norms to train, each with its path, in model order: `(site, path, width)`. They become
    /// `target_modules`.
    ///
    /// # Errors
    /// [`Error::BadOption`] where there is none.
    pub fn norms(&mut self, usual: &[Norm]) -> Result<Vec<(Site, String, usize)>> {
        let config = self.model.config();
        let mut norms = Vec::new();
        for layer in 0..config.num_layers {
            for &(norm, inside, _) in config.family.norms {
                let site = Site::Norm(Some((layer, norm)));
                let named = !self.wish.mask.modules.is_empty();
                if self.wish.mask.allows(site) && (named || usual.contains(&norm)) {
                    let width = self.model.gain(Some((layer, norm))).dims()[0];
                    norms.push((site, format!("model.layers.{layer}.{inside}"), width));
                }
            }
        }
        if norms.is_empty() {
            return Err(self.nowhere("norms of the model"));
        }
        let paths: Vec<&str> = norms.iter().map(|(_, path, _)| &**path).collect();
        self.set("target_modules", json!(paths));
        Ok(norms)
    }

    /// The blocks to train, for what acts at `module` of a block.
    ///
    /// # Errors
    /// [`Error::BadOption`] where there is none.
    pub fn layers(&self, module: Module) -> Result<Vec<usize>> {
        let site = |layer| match module {
            Module::Attention => Site::Attention(layer),
            _ => Site::Residual(layer),
        };
        let blocks = 0..self.model.config().num_layers;
        let layers: Vec<usize> = blocks
            .filter(|&layer| self.wish.mask.allows(site(layer)))
            .collect();
        if layers.is_empty() {
            return Err(self.nowhere("blocks of the model"));
        }
        Ok(layers)
    }

    /// The tokens that tell the answers apart, at most this many, in the vocabulary's order.
    #[must_use]
    pub fn tokens(&self, most: usize) -> Vec<u32> {
        let mut tokens: Vec<u32> = self.wish.tokens.iter().copied().take(most).collect();
        tokens.sort_unstable();
        tokens
    }

    /// Refuses a choice of blocks or modules, for what is trained as a whole.
    ///
    /// # Errors
    /// [`Error::BadOption`] where there is one.
    pub fn whole(&self) -> Result<()> {
        if self.wish.mask == Mask::default() {
            return Ok(());
        }
        Err(Error::BadOption {
            name: "layers, modules",
            expected: "left out: this method acts on all blocks",
            found: self.wish.mask.to_string(),
        })
    }

    /// A layer's weight `[o, i]` in f32.
    #[must_use]
    pub fn weight(&self, target: &Target) -> Tensor<2> {
        match target.site {
            Site::Linear(layer, projection) => self.model.linear(layer, projection).weight.dense(),
            _ => self.model.head_weight(),
        }
    }

    /// A tensor's numbers.
    ///
    /// # Errors
    /// [`Error::DeviceUnavailable`] where the device gives them only later, as a browser's GPU does.
    pub fn numbers<const D: usize>(&self, x: Tensor<D>) -> Result<Vec<f32>> {
        let later = |why: String| Error::DeviceUnavailable {
            asked: "this device".into(),
            why: format!(
                "the method begins with numbers of the base: train on the processor ({why})"
            ),
        };
        let data = x
            .try_into_data()
            .map_err(|error| later(format!("{error:?}")))?;
        data.try_into_vec()
            .map_err(|error| later(format!("{error:?}")))
    }

    fn nowhere(&self, what: &str) -> Error {
        Error::BadOption {
            name: "layers, modules",
            expected: "places that the model has and that this method can train",
            found: format!("{}, where no {what} are", self.wish.mask),
        }
    }

    /// Adds what is trained of a layer.
    pub fn learn<const D: usize>(
        &mut self,
        target: &Target,
        name: &str,
        shape: [usize; D],
        init: Init,
    ) {
        self.learn_whole(&format!("{}.{name}", target.key), shape, init);
    }

    /// Adds what is trained, under a whole name.
    pub fn learn_whole<const D: usize>(&mut self, key: &str, shape: [usize; D], init: Init) {
        let tensor = self.drawn(&shape, init);
        self.made.parameters.insert(key.into(), tensor);
    }

    /// Adds what belongs into the file and is not trained.
    pub fn keep<const D: usize>(&mut self, key: &str, shape: [usize; D], init: Init) {
        let tensor = self.drawn(&shape, init);
        self.made.constants.insert(key.into(), tensor);
    }

    /// Adds whole numbers that belong into the file.
    pub fn keep_indices<const D: usize>(&mut self, key: &str, shape: [usize; D], ids: Vec<i64>) {
        let tensor = HostTensor {
            shape: shape.to_vec(),
            data: HostData::Int(ids),
        };
        self.made.constants.insert(key.into(), tensor);
    }

    /// A number of 0 … 1, other than all before it.
    pub fn uniform(&mut self) -> f64 {
        let [number, _] = noise_key(self.wish.seed, self.drawn);
        self.drawn += 1;
        (f64::from(number) + 0.5) / 4_294_967_296.0
    }

    fn drawn(&mut self, shape: &[usize], init: Init) -> HostTensor {
        let count: usize = shape.iter().product();
        let values = match init {
            Init::Zeros => vec![0.0; count],
            Init::Filled(value) => vec![value; count],
            Init::Kaiming => {
                let fan_in = shape.last().copied().unwrap_or(1);
                return self.drawn(shape, Init::Uniform(1.0 / (fan_in as f32).sqrt()));
            }
            Init::Normal(deviation) => (0..count)
                .map(|_| {
                    let (u, v) = (self.uniform(), self.uniform());
                    let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                    normal as f32 * deviation
                })
                .collect(),
            Init::Uniform(bound) => (0..count)
                .map(|_| (2.0 * self.uniform() - 1.0) as f32 * bound)
                .collect(),
            Init::Given(values) => values,
        };
        HostTensor {
            shape: shape.to_vec(),
            data: HostData::Float(values),
        }
    }
}
