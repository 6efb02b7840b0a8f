//! A family of models: its names, and how its config is read in each format. One constant per
//! family, in a file of its own; [`super::FAMILIES`] lists them.

use serde_json::{Map, Value};

use super::FAMILIES;
use super::config::DecoderConfig;
use super::fields::{Fields, Json, Keys};
use super::names::Names;
use super::{rope, sizes};
use crate::error::{Error, Result};
use crate::weights::gguf::{Gguf, Metadata};

/// Everything that is one family's own.
#[derive(Debug)]
pub(super) struct Family {
    /// What its parts are called.
    pub names: Names,
    /// `model_type` in config.json.
    pub model_types: &'static [&'static str],
    /// `architectures` in config.json: that of a model with a head first.
    pub architectures: &'static [&'static str],
    /// config.json.
    pub json: Card<fn(&Json<'_>, &'static Names) -> Result<DecoderConfig>>,
    /// The metadata of a GGUF file, without the family's name in front of each.
    pub gguf: Card<fn(&Keys<'_>, &'static Names) -> Result<DecoderConfig>>,
}

/// How a config is read. A field that stands in no list is some tool's own and changes nothing.
#[derive(Debug)]
pub(super) struct Card<F> {
    /// Fields that `config` reads beside the sizes and the rotary embedding.
    pub reads: &'static [&'static str],
    /// Fields that would change the model, with the only value that is computed.
    pub only: &'static [Only],
    /// From fields to config.
    pub config: F,
}

/// A field that must be absent or have one value, and what is supported and why, for the refusal.
#[derive(Debug)]
pub(super) struct Only {
    field: &'static str,
    value: Plain,
    supported: &'static str,
}

#[derive(Debug)]
enum Plain {
    Text(&'static str),
    Flag(bool),
    Number(f64),
}

impl<F> Card<F> {
    fn known(&self, shared: [&[&'static str]; 2]) -> Vec<&'static str> {
        let only = self.only.iter().map(|only| only.field);
        let shared = shared.into_iter().flatten().copied();
        shared
            .chain(self.reads.iter().copied())
            .chain(only)
            .collect()
    }

    fn check(&self, fields: &impl Fields) -> Result<()> {
        for only in self.only {
            if let Some(found) = only.other(fields)? {
                return Err(fields.refuse(only.field, found, only.supported));
            }
        }
        Ok(())
    }
}

impl Only {
    /// A string.
    pub(super) const fn text(
        field: &'static str,
        plain: &'static str,
        supported: &'static str,
    ) -> Self {
        let value = Plain::Text(plain);
        Self {
            field,
            value,
            supported,
        }
    }

    /// True or false.
    pub(super) const fn flag(field: &'static str, plain: bool, supported: &'static str) -> Self {
        let value = Plain::Flag(plain);
        Self {
            field,
            value,
            supported,
        }
    }

    /// A number.
    pub(super) const fn number(field: &'static str, plain: f64, supported: &'static str) -> Self {
        let value = Plain::Number(plain);
        Self {
            field,
            value,
            supported,
        }
    }

    /// What stands there, if it is another value.
    fn other(&self, fields: &impl Fields) -> Result<Option<String>> {
        fn unlike<T: PartialEq + ToString>(found: Option<T>, plain: T) -> Option<String> {
            let found = found.filter(|found| *found != plain)?;
            Some(found.to_string())
        }
        Ok(match self.value {
            Plain::Text(plain) => unlike(fields.text(self.field)?, plain),
            Plain::Flag(plain) => unlike(fields.flag(self.field)?, plain),
            Plain::Number(plain) => unlike(fields.number(self.field)?, plain),
        })
    }
}

/// What each family calls its parts, where no model says which one counts.
pub(crate) fn all_names() -> impl Iterator<Item = &'static Names> + Clone {
    FAMILIES.iter().map(|family| &family.names)
}

/// The name of an adapter's tensor with the body of its family called as in most, and that family:
/// `base_model.model.transformer.h.0.…` -> `base_model.model.model.layers.0.…`. `None` where it is.
pub(crate) fn with_usual_body(key: &str) -> Option<(String, &'static Names)> {
    let own = |names: &'static Names| {
        let body = names.body?;
        let own = |(own, bare): &(&str, &str)| {
            let (own, usual) = match *bare {
                "lm_head" => (format!("{own}."), "lm_head.".into()),
                bare => (format!("{}.{own}.", body.name), format!("model.{bare}.")),
            };
            let at = key.find(&own)?;
            let (before, rest) = (&key[..at], &key[at + own.len()..]);
            let is_whole = before.is_empty() || before.ends_with('.');
            is_whole.then(|| (format!("{before}{usual}{rest}"), names))
        };
        body.modules.iter().find_map(own)
    };
    all_names().find_map(own)
}

/// llama.cpp's names of all families, for messages.
pub(crate) fn known_to_gguf() -> String {
    let mut names: Vec<&str> = all_names().map(|names| names.gguf).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// What to do with an adapter in a model's place.
const GIVE_AS_ADAPTER: &str =
    "models; this is an adapter: give it as one (`--adapter`), with the model that it is for";

fn unsupported(file: &str, field: &str, found: impl ToString, supported: &str) -> Error {
    Error::UnsupportedModel {
        file: file.into(),
        field: field.into(),
        found: found.to_string(),
        supported: supported.into(),
    }
}

/// Reads the metadata of a GGUF model.
pub(super) fn config_from_gguf(file: &str, gguf: &Gguf) -> Result<DecoderConfig> {
    const ARCHITECTURE: &str = "general.architecture";
    let architecture = gguf.metadata.string(ARCHITECTURE)?;
    let architecture = architecture.ok_or_else(|| Error::MissingKey {
        file: file.into(),
        key: ARCHITECTURE.into(),
        what: "the model's family".into(),
    })?;
    refuse_adapter(file, &gguf.metadata, architecture)?;
    let mut families = FAMILIES.iter().copied();
    let family = families
        .find(|family| family.names.gguf == architecture)
        .ok_or_else(|| unsupported(file, ARCHITECTURE, architecture, &known_to_gguf()))?;
    let known = family.gguf.known([sizes::GGUF, rope::GGUF]);
    let keys = Keys::new(file, gguf, family.names.gguf, known);
    family.gguf.check(&keys)?;
    (family.gguf.config)(&keys, &family.names)
}

fn refuse_adapter(file: &str, metadata: &Metadata, architecture: &str) -> Result<()> {
    let adapter = match (metadata.string("general.type")?, architecture) {
        (Some("adapter"), _) => Some(("general.type", "adapter")),
        (_, "controlvector") => Some(("general.architecture", "controlvector")),
        _ => None,
    };
    match adapter {
        Some((field, found)) => Err(unsupported(file, field, found, GIVE_AS_ADAPTER)),
        None => Ok(()),
    }
}

/// Reads Hugging Face's `config.json`.
///
/// # Errors
/// [`Error::UnsupportedModel`], [`Error::BadConfig`] and [`Error::MissingKey`] name the field.
pub fn config_from_json(json: &[u8]) -> Result<DecoderConfig> {
    const FILE: &str = "config.json";
    const OUTER: [&str; 5] = [
        "peft_type",
        "model_type",
        "architectures",
        "quantization",
        "quantization_config",
    ];
    let fields: Map<String, Value> =
        serde_json::from_slice(json).map_err(|error| Error::BadConfig {
            file: FILE.into(),
            field: "the file".into(),
            expected: "a JSON object".into(),
            found: error.to_string(),
        })?;
    let fields = Json::new(FILE, &fields);
    let outer = fields.of(OUTER.into());
    if let Some(found) = outer.present("peft_type") {
        return Err(outer.refuse("peft_type", found, GIVE_AS_ADAPTER));
    }
    let model_type = outer.text("model_type")?;
    let model_type = model_type.ok_or_else(|| outer.missing("model_type", "a string"))?;
    let mut families = FAMILIES.iter().copied();
    let Some(family) = families.find(|family| family.model_types.contains(&model_type)) else {
        let known = FAMILIES.iter().flat_map(|family| family.model_types);
        let known: Vec<&str> = known.copied().collect();
        return Err(outer.refuse("model_type", model_type, &known.join(", ")));
    };
    check_head(&outer, family)?;
    check_quantisation(&outer)?;
    let fields = fields.of(family.json.known([sizes::JSON, rope::JSON]));
    family.json.check(&fields)?;
    (family.json.config)(&fields, &family.names)
}

/// What stands in `architectures` is not needed to read the weights, only to know what they are for:
/// a model without a head is the same, and a tied one does not need it.
fn check_head(fields: &Json<'_>, family: &Family) -> Result<()> {
    let listed = fields.list("architectures")?.unwrap_or_default();
    let names = || listed.iter().filter_map(Value::as_str);
    let Some(name) = names().next() else {
        return Ok(());
    };
    if names().any(|name| family.architectures.contains(&name)) {
        return Ok(());
    }
    let judges = ["Classification", "QuestionAnswering", "Reward"];
    let found = if judges.into_iter().any(|word| name.contains(word)) {
        format!("{name}, a classifier: it judges text and writes none")
    } else {
        name.into()
    };
    let supported = family.architectures.first().copied().unwrap_or_default();
    Err(fields.refuse("architectures", found, supported))
}

fn check_quantisation(fields: &Json<'_>) -> Result<()> {
    if let Some(found) = fields.present("quantization") {
        let found = format!("{found}, MLX's own quantisation");
        let supported = "F32, F16 or BF16 weights (`mlx_lm.convert --dequantize` makes them), or a \
                         GGUF file";
        return Err(fields.refuse("quantization", found, supported));
    }
    if let Some(found) = fields.present("quantization_config") {
        let found = found.get("quant_method").unwrap_or(found);
        let supported = "F32, F16 or BF16 weights, or a GGUF file";
        return Err(fields.refuse("quantization_config", found, supported));
    }
    Ok(())
}
