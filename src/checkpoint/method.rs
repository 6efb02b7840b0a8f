//! What a method is: its facts, how its checkpoints are read, and the card made from the head of
//! its file.

use serde::Serialize;
use serde_json::Value;

use super::config::{CLASSIFIERS, Config, is_off};
use super::extras::Extras;
use super::folds::Folds;
use super::loader::Loader;
use super::start::{Start, Trains, Untrained, Wish};
use super::target::Target;
use crate::error::{Error, Result};
use crate::hooks::{Delta, Law, Placed};
use crate::model::Model;

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
    // PEFT before 0.3: when to merge.
    "merge_weights",
    // Of the base model or its tokenizer; the tensors' shapes answer.
    "num_attention_heads",
    "num_layers",
    "num_transformer_submodules",
    "token_dim",
    "tokenizer_kwargs",
    "tokenizer_name_or_path",
];

/// What a method does to a layer, for grouping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// A low-rank matrix is added to the weight.
    LowRank,
    /// A whole matrix, written in few numbers, is added to the weight.
    FullRank,
    /// Activations are multiplied number by number.
    Scale,
    /// Activations are turned.
    Rotate,
    /// The model is given extra keys and values.
    Prompt,
    /// A direction is added to the residual stream or to a layer's output.
    Vector,
}

/// One method of the catalogue: its facts, and how its checkpoints are read.
#[derive(Debug)]
pub struct Method {
    /// The file of the method, without `.rs`.
    pub name: &'static str,
    /// `peft_type` in `adapter_config.json`.
    pub peft_type: &'static str,
    /// Distinguishes methods of one `peft_type`.
    pub matches: fn(&Config) -> bool,
    /// What it does to a layer.
    pub family: Family,
    /// How the coefficient acts.
    pub law: Law,
    /// Names of its tensors after the module path (or whole names of shared tensors).
    pub keys: &'static [&'static str],
    /// Config fields that change the forward pass and are read.
    pub reads: &'static [&'static str],
    /// Config fields that only matter in training.
    pub inert: &'static [&'static str],
    /// The head of the method's file, from `room_doc!`.
    pub doc: &'static [u8],
    /// Reads a checkpoint for a model: a function from its tensors to effects at any c.
    pub load: fn(&Loader<'_>) -> Result<Loaded>,
    /// Its parameters before training.
    pub trains: Trains,
    /// What few methods have.
    pub extras: Option<&'static Extras>,
    /// Where c can be part of its numbers.
    pub folds: Folds,
}

/// What [`Method::load`] gives back.
#[derive(Debug)]
pub struct Loaded {
    /// The law that this checkpoint follows unless the user chooses another (a method may have
    /// to fall back, and says so).
    pub law: Law,
    /// The laws of each site.
    pub placed: Vec<Placed>,
}

impl Loaded {
    /// The linear law: the changes of each linear layer that has one of `parameters` in the file.
    ///
    /// # Errors
    /// Those of [`Loader::targets`] and of `deltas`.
    pub fn linear(
        loader: &Loader<'_>,
        parameters: &[&str],
        deltas: impl Fn(&Target) -> Result<Vec<Delta>>,
    ) -> Result<Self> {
        let place = |target: &Target| Ok(Placed::linear(target.site, deltas(target)?));
        Ok(Self {
            law: Law::Linear,
            placed: loader
                .targets_of_any(parameters)?
                .iter()
                .map(place)
                .collect::<Result<_>>()?,
        })
    }
}

impl Loaded {
    /// The same with each site under its law.
    ///
    /// # Errors
    /// [`Error::UnsupportedOption`] for a site at which what the file has cannot act.
    pub(crate) fn settled(mut self, method: &Method, config: &Config) -> Result<Self> {
        for placed in &mut self.placed {
            if let Some(why) = placed.misplaced() {
                let found = match placed.site.layer() {
                    Some(layer) => format!("{} of block {layer}", placed.site.module().name()),
                    None => placed.site.module().name().into(),
                };
                return Err(Error::UnsupportedOption {
                    file: config.weights.clone(),
                    method: method.card().title.into(),
                    field: "the keys".into(),
                    found,
                    why,
                });
            }
            placed.settle(self.law);
        }
        Ok(self)
    }
}

impl Method {
    /// What it has of what few methods have.
    pub(crate) fn extras(&self) -> &'static Extras {
        self.extras.unwrap_or(&Extras::NONE)
    }

    /// Refuses every field that is switched on and that nothing reads.
    pub(crate) fn check_fields(&self, config: &Config) -> Result<()> {
        self.refusals(config).into_iter().next().map_or(Ok(()), Err)
    }

    pub(crate) fn refusals(&self, config: &Config) -> Vec<Error> {
        let known = |field: &str| {
            [COMMON_INERT, self.reads, self.inert]
                .iter()
                .any(|list| list.contains(&field))
        };
        let mut refusals: Vec<Error> = config
            .fields
            .iter()
            .filter(|(field, value)| !known(field) && !is_off(value))
            .map(|(field, _)| {
                self.unsupported(config, field, "this build does not know what it changes")
            })
            .collect();
        let named = config
            .fields
            .get("modules_to_save")
            .and_then(Value::as_array);
        let mut named = named.into_iter().flatten().filter_map(Value::as_str);
        if named.any(|name| CLASSIFIERS.contains(&name)) {
            refusals.extend(config.classifies());
        }
        refusals
    }

    /// The refusal of a field that the method reads but cannot honour at its present value.
    #[must_use]
    pub fn unsupported(&self, config: &Config, field: &str, why: &'static str) -> Error {
        config.refuse(self.card().title, field, why)
    }
}

impl Method {
    /// This method's adapter before training.
    ///
    /// # Errors
    /// [`Error::BadOption`] where it cannot be trained here or not at these places, or not with this
    /// rank.
    pub fn untrained(&self, model: &Model, wish: &Wish) -> Result<Untrained> {
        let start = match self.trains {
            Trains::From { start, .. } => start,
            Trains::Over { start, .. } if wish.experts > 0 => start,
            Trains::Over { why, .. } | Trains::Not(why) => {
                return Err(Error::BadOption {
                    name: "method",
                    expected: why,
                    found: self.name.into(),
                });
            }
        };
        let mut made = Start::new(model, wish, self.peft_type)?;
        start(&mut made)?;
        Ok(made.finish())
    }
}

/// The facts of a method, read from the head of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    /// File name.
    pub name: &'static str,
    /// Short name as the field writes it.
    pub title: &'static str,
    /// What the letters mean, and who wrote it when.
    pub summary: &'static str,
    /// Address of the paper or the code.
    pub paper: &'static str,
    /// What it does to a layer.
    pub family: Family,
    /// Name of the law.
    pub law: Law,
    /// The law in plain words.
    pub law_words: &'static str,
    /// The forward pass.
    pub formula: String,
    /// Tensors of the checkpoint.
    pub shapes: String,
    /// What c does, in this method's own terms.
    pub coefficient: String,
    /// What stays as it is; empty where the head names nothing.
    pub invariant: String,
    /// What the method believes about how a network keeps what it knows.
    pub hypothesis: String,
    /// Two plain sentences.
    pub intuition: String,
    /// What it cannot do.
    pub limits: String,
    /// Whether it can be trained here, of pairs alone.
    pub trains: bool,
    /// What training takes and this method is not, in words; empty where it can be trained.
    pub trains_not: &'static str,
}

impl Method {
    /// The card of the page and the row of `docs/methods.md`.
    #[must_use]
    pub fn card(&self) -> Card {
        let doc = std::str::from_utf8(self.doc).unwrap_or_default();
        let mut lines = doc
            .lines()
            .map(|line| line.trim_start_matches("//!").trim());
        let (title, summary) = lines
            .next()
            .unwrap_or_default()
            .split_once(": ")
            .unwrap_or_default();
        let paper = lines.next().unwrap_or_default().trim_matches(['<', '>']);
        let trains_not = match self.trains {
            Trains::From { .. } => "",
            Trains::Over { why, .. } | Trains::Not(why) => why,
        };
        Card {
            name: self.name,
            title,
            summary,
            paper,
            family: self.family,
            law: self.law,
            law_words: self.law.words(),
            formula: section(doc, "Formula"),
            shapes: section(doc, "Shapes"),
            coefficient: section(doc, "Coefficient"),
            invariant: section(doc, "Invariant"),
            hypothesis: section(doc, "Hypothesis").replace('\n', " "),
            intuition: section(doc, "Intuition").replace('\n', " "),
            limits: section(doc, "Limits").replace('\n', " "),
            trains: matches!(self.trains, Trains::From { .. }),
            trains_not,
        }
    }
}

/// The text under a heading of a file's head, without code fences.
fn section(doc: &str, heading: &str) -> String {
    let lines: Vec<&str> = doc
        .lines()
        .map(|line| line.strip_prefix("//!").unwrap_or(line))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .skip_while(|line| line.strip_prefix("# ") != Some(heading))
        .skip(1)
        .take_while(|line| !line.starts_with("# "))
        .filter(|line| !line.starts_with("```"))
        .collect();
    lines.join("\n").trim().to_owned()
}

/// Bytes of the leading `//!` lines of a source file.
pub(crate) const fn head_len(source: &str) -> usize {
    let bytes = source.as_bytes();
    let mut at = 0;
    while at + 2 < bytes.len()
        && bytes[at] == b'/'
        && bytes[at + 1] == b'/'
        && bytes[at + 2] == b'!'
    {
        while at < bytes.len() && bytes[at] != b'\n' {
            at += 1;
        }
        at += 1;
    }
    at
}

/// Copies the head, so that the rest of the source is not part of the program.
pub(crate) const fn head<const N: usize>(source: &str) -> [u8; N] {
    let mut out = [0; N];
    let mut at = 0;
    while at < N {
        out[at] = source.as_bytes()[at];
        at += 1;
    }
    out
}

/// The `//!` head of a method's file, for [`Method::doc`].
macro_rules! room_doc {
    ($file:literal) => {{
        const SOURCE: &str = include_str!($file);
        const HEAD: &[u8] =
            &$crate::checkpoint::head::<{ $crate::checkpoint::head_len(SOURCE) }>(SOURCE);
        HEAD
    }};
}
pub(crate) use room_doc;
