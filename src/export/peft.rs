//! An adapter at one coefficient as the folder that PEFT reads, whatever container it came in. At c = 1
//! its numbers are those that were read; at another c they become those that do the same at 1.

use std::collections::{BTreeMap, BTreeSet};

use crate::adapters::{Adapter, Entry};
use crate::checkpoint::{
    AdapterFiles, BASES_FILE, Config, Fold, Loader, Method, WEIGHTS_FILE, Written, is_parameter,
    saved,
};
use crate::error::{Error, Result};
use crate::hooks::Mask;
use crate::methods::original::{is_of_tokens, is_whole, original};
use crate::methods::{method_of, read};
use crate::model::Model;
use crate::sample::all_finite;
use crate::weights::{HostData, HostTensor, safetensors};

/// What the names of AntiPaSTO's singular vectors begin with; they lie in a file of their own.
const BASES: &str = "svd_bases.";

/// A folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Folder {
    /// `adapter_config.json`
    pub config: String,
    /// `adapter_model.safetensors`, floats in f32.
    pub weights: Vec<u8>,
    /// [`BASES_FILE`], for the method that has one.
    pub bases: Option<Vec<u8>>,
    /// The folders `0`, `1`, … of a mixture's experts.
    pub experts: Vec<Folder>,
}

/// An entry of a stack, to be written as a folder that does at c = 1 of the method's own law what the entry
/// does at its coefficient.
#[derive(Debug)]
pub struct PeftExport<'a> {
    files: &'a AdapterFiles,
    method: &'static Method,
    c: f32,
    /// Why this checkpoint does not follow its method's law.
    other_law: Option<&'static str>,
}

impl<'a> PeftExport<'a> {
    /// From an entry and the files that it was loaded from.
    ///
    /// # Errors
    /// [`Error::BadOption`] for a mask, another law, or weights of the user's own, for which a folder has no
    /// place.
    pub fn new(files: &'a AdapterFiles, entry: &Entry) -> Result<Self> {
        let Adapter {
            method,
            laws,
            laws_refused,
            ..
        } = &entry.adapter;
        let left_out = |name, expected, found| {
            Err(Error::BadOption {
                name,
                expected,
                found,
            })
        };
        let own = laws[0].law;
        if entry.law != own {
            let expected = "left out: a folder is read under its method's own law";
            return left_out("law", expected, entry.law.name().into());
        }
        if entry.mask != Mask::default() {
            let expected = "left out: a folder acts wherever it has tensors, on all tokens";
            return left_out(
                "layers, modules, positions",
                expected,
                entry.mask.to_string(),
            );
        }
        if let Some(weights) = &files.expert_weights {
            let expected = "left out: a folder has the weights of its own gate or tasks";
            return left_out("experts", expected, format!("{weights:?}"));
        }
        let other_law = (own != method.law).then(|| {
            let why = laws_refused.iter().find(|(law, _)| *law == method.law);
            why.map_or("its numbers do not admit its method's law", |(_, why)| why)
        });
        let c = entry.coefficient;
        Ok(Self {
            files,
            method,
            c,
            other_law,
        })
    }

    /// The folder.
    ///
    /// # Errors
    /// [`Error::UnsupportedOption`] with the reason where c cannot become part of the numbers, or where PEFT's
    /// names of the layers are not known; [`Error::DeviceLost`].
    pub async fn folder(&self, model: &Model) -> Result<Folder> {
        let (mut config, mut tensors) = read(self.files, Some(model.config()))?;
        let keys: BTreeSet<String> = tensors.keys().cloned().collect();
        // What is there twice is read once.
        tensors.retain(|key, _| !saved::repeated(key).is_some_and(|plain| keys.contains(&plain)));
        self.check_names(&tensors, model)?;
        if self.c != 1.0 {
            self.fold(&mut config, &mut tensors, model).await?;
        }
        let mut folder = written(&config, self.method, tensors, model)?;
        for expert in &self.files.experts {
            let (config, tensors) = read(expert, Some(model.config()))?;
            let method = method_of(&config)?;
            folder
                .experts
                .push(written(&config, method, tensors, model)?);
        }
        Ok(folder)
    }

    /// Refuses llama.cpp's names of layers that PEFT may know as parts of another.
    fn check_names(&self, tensors: &BTreeMap<String, HostTensor>, model: &Model) -> Result<()> {
        let names = model.config().family;
        let parts = names.stacks.iter().flat_map(|stack| stack.parts);
        let parts: Vec<String> = parts
            .map(|part| format!(".{}.", names.linear(*part)))
            .collect();
        let is_part = |key: &&String| parts.iter().any(|part| key.contains(part));
        match tensors.keys().find(is_part) {
            Some(key) if self.files.weights.starts_with(b"GGUF") => {
                let why = "the MLP of a Granite 4 has other names in PEFT than that of a Granite 3, and \
                           llama.cpp's file does not say which it is for";
                Err(self.refusal("target_modules", key, why))
            }
            _ => Ok(()),
        }
    }

    fn refusal(&self, field: &str, found: &str, why: &'static str) -> Error {
        Error::UnsupportedOption {
            file: self.files.name.clone(),
            method: self.method.card().title.into(),
            field: field.into(),
            found: found.into(),
            why,
        }
    }

    /// Makes c part of the numbers.
    async fn fold(
        &self,
        config: &mut Config,
        tensors: &mut BTreeMap<String, HostTensor>,
        model: &Model,
    ) -> Result<()> {
        let c = self.c;
        let refuse = |why| self.refusal("coeff", &c.to_string(), why);
        let extras = self.method.extras();
        let loader = Loader::new(extras, config, tensors.clone(), model, self.files)?;
        let parameters = self.method.folds.at(&loader, c).map_err(refuse)?;
        if let Some(why) = self.other_law {
            return Err(refuse(why));
        }
        for (key, tensor) in tensors.iter_mut() {
            let named = parameters.iter().find(|(name, _)| is_parameter(key, name));
            let whole = || is_whole(key).then_some(Fold::FromBase);
            let fold = named.map(|(_, fold)| *fold).or_else(whole);
            let (Some(fold), HostData::Float(values)) = (fold, &mut tensor.data) else {
                continue;
            };
            let mut base = Vec::new();
            if fold == Fold::FromBase {
                if is_of_tokens(key) && model.config().tied_by_config_alone {
                    return Err(refuse(
                        "the rows count for the embedding and for a head of other numbers, which move differently",
                    ));
                }
                base = original(&loader, key).await?;
            }
            fold.apply(values, &base, c);
            if !all_finite(values) {
                return Err(refuse(
                    "some of its numbers would be infinite; turn it towards 0",
                ));
            }
        }
        for (name, _) in parameters {
            if !tensors.keys().any(|key| is_parameter(key, name)) {
                config.multiply(name, c);
            }
        }
        Ok(())
    }
}

/// The files of what was read, or became of it.
fn written(
    config: &Config,
    method: &Method,
    tensors: BTreeMap<String, HostTensor>,
    model: &Model,
) -> Result<Folder> {
    let Written { fields, tensors } =
        Written::new(config, method.peft_type, tensors, model.config());
    let (bases, tensors): (BTreeMap<_, _>, BTreeMap<_, _>) = tensors
        .into_iter()
        .partition(|(key, _)| key.starts_with(BASES));
    let mut config = serde_json::to_string_pretty(&fields).unwrap_or_default();
    config.push('\n');
    let file = |name, tensors| safetensors::write(name, tensors, &[("format", "pt")]);
    Ok(Folder {
        config,
        weights: file(WEIGHTS_FILE, &tensors)?,
        bases: (!bases.is_empty())
            .then(|| file(BASES_FILE, &bases))
            .transpose()?,
        experts: Vec::new(),
    })
}
