//! Adapters: one file per method, the effects they share, and the stack of those in use.
//!
//! A method is data plus one function from a checkpoint to a list of [`Placed`] laws, each of
//! which gives the effect at one site for any coefficient. Adding a method: write its file, put
//! its name into the two lists below.

mod base_model;
mod checkpoint;
mod defaults;
mod effect;
mod gate;
mod gguf_lora;
mod header;
mod householder;
mod keys;
mod law;
mod mask;
mod matrix;
mod mlx_lora;
mod patterns;
mod reach;
mod saved;
mod skew;
mod spectrum;
mod stack;
mod svd;
mod tokens;
mod topk;
mod torch_random;
mod trial;
mod virtual_tokens;

pub mod adalora;
pub mod adaption_prompt;
pub mod antipasto;
pub mod bipo;
pub mod boft;
pub mod c3a;
pub mod control_vector;
pub mod cpt;
pub mod delora;
pub mod dora;
pub mod ether;
pub mod ether_plus;
pub mod fourierft;
pub mod hra;
pub mod ia3;
pub mod ln_tuning;
pub mod loha;
pub mod lokr;
pub mod lora;
pub mod miss;
pub mod multitask_prompt_tuning;
pub mod nblora;
pub mod oft;
pub mod p_tuning;
pub mod pissa;
pub mod poly;
pub mod prefix_tuning;
pub mod prompt_tuning;
pub mod randlora;
pub mod road;
pub mod shira;
pub mod ssvd;
pub mod svft;
pub mod trainable_tokens;
pub mod vblora;
pub mod vera;
pub mod xlora;

pub use checkpoint::{AdapterFiles, BASES_FILE, Config, Inspection, Loader, Target, inspect};
pub use effect::{Delta, Effect, ExtraKeyValue, Join, Lookup, Map, Shift};
pub use gate::{ExpertWeights, Gate};
pub use header::{Headed, LARGE_BYTES};
pub use law::{Domain, Law, Offer, Placed};
pub use mask::{Mask, Module};
pub use stack::{Acting, Entry, LayerPlan, SitePlan, Stack, Steering};
pub use trial::inspect_for;

use checkpoint::PREFIX;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::model::{Model, Norm, Projection};
use crate::session::read_back;
use crate::weights::HostTensor;

/// Every method, in the order of the page and the README.
pub static METHODS: &[&Method] = &[
    &lora::METHOD,
    &pissa::METHOD,
    &dora::METHOD,
    &delora::METHOD,
    &adalora::METHOD,
    &vera::METHOD,
    &vblora::METHOD,
    &nblora::METHOD,
    &miss::METHOD,
    &poly::METHOD,
    &xlora::METHOD,
    &loha::METHOD,
    &lokr::METHOD,
    &randlora::METHOD,
    &fourierft::METHOD,
    &c3a::METHOD,
    &shira::METHOD,
    &svft::METHOD,
    &ia3::METHOD,
    &ln_tuning::METHOD,
    &road::METHOD,
    &oft::METHOD,
    &boft::METHOD,
    &hra::METHOD,
    &ether::METHOD,
    &ether_plus::METHOD,
    &ssvd::METHOD,
    &antipasto::METHOD,
    &prompt_tuning::METHOD,
    &p_tuning::METHOD,
    &cpt::METHOD,
    &multitask_prompt_tuning::METHOD,
    &prefix_tuning::METHOD,
    &adaption_prompt::METHOD,
    &trainable_tokens::METHOD,
    &control_vector::METHOD,
    &bipo::METHOD,
];

/// Methods that PEFT once called by another `peft_type`, and what it calls them now.
const RENAMED: &[(&str, &str)] = &[("BONE", "MISS")];

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
    /// A direction is added to the residual stream.
    Vector,
}

/// One method of the catalogue: its facts, and how its checkpoints are read.
#[derive(Debug)]
pub struct Method {
    /// The file of the method, without `.rs`.
    pub name: &'static str,
    /// `peft_type` in `adapter_config.json`.
    pub peft_type: &'static str,
    /// Tells methods of one `peft_type` apart.
    pub matches: fn(&Config) -> bool,
    /// What it does to a layer.
    pub family: Family,
    /// How the coefficient acts.
    pub law: Law,
    /// Names of its tensors behind the module path (or whole names of shared tensors).
    pub keys: &'static [&'static str],
    /// Config fields that change the forward pass and are honoured.
    pub reads: &'static [&'static str],
    /// Config fields that only matter in training.
    pub inert: &'static [&'static str],
    /// The head of the method's file, from `room_doc!`.
    pub doc: &'static [u8],
    /// Reads a checkpoint for a model.
    pub load: fn(&Loader<'_>) -> Result<Loaded>,
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

/// Where an effect acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// A linear layer of a block.
    Linear(usize, Projection),
    /// The attention of a block.
    Attention(usize),
    /// The output of a block.
    Residual(usize),
    /// The output head.
    Head,
    /// The embedding of the tokens.
    Embedding,
    /// A norm of a block, or the one in front of the head.
    Norm(Option<(usize, Norm)>),
}

impl Site {
    /// The site of a linear layer, the head or the embedding, from its path in Hugging Face's names.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        match path {
            "lm_head" => return Some(Self::Head),
            "model.embed_tokens" => return Some(Self::Embedding),
            _ => {}
        }
        let (layer, rest) = path.strip_prefix("model.layers.")?.split_once('.')?;
        let projection = Projection::ALL
            .into_iter()
            .find(|projection| projection.path() == rest)?;
        Some(Self::Linear(layer.parse().ok()?, projection))
    }

    /// The site of a norm, from its path in Hugging Face's names.
    #[must_use]
    pub fn parse_norm(path: &str) -> Option<Self> {
        if path == "model.norm" {
            return Some(Self::Norm(None));
        }
        let (layer, rest) = path.strip_prefix("model.layers.")?.split_once('.')?;
        let norm = match rest {
            "input_layernorm" => Norm::Input,
            "post_attention_layernorm" => Norm::PostAttention,
            _ => return None,
        };
        Some(Self::Norm(Some((layer.parse().ok()?, norm))))
    }

    /// What kind of place it is.
    #[must_use]
    pub fn module(self) -> Module {
        match self {
            Self::Linear(_, projection) => Module::Linear(projection),
            Self::Attention(_) => Module::Attention,
            Self::Residual(_) => Module::Residual,
            Self::Head => Module::Head,
            Self::Embedding => Module::Embedding,
            Self::Norm(norm) => Module::Norm(norm.map(|(_, norm)| norm)),
        }
    }

    /// The block it belongs to.
    #[must_use]
    pub fn layer(self) -> Option<usize> {
        match self {
            Self::Linear(layer, _) | Self::Attention(layer) | Self::Residual(layer) => Some(layer),
            Self::Norm(norm) => norm.map(|(layer, _)| layer),
            Self::Head | Self::Embedding => None,
        }
    }
}

/// A checkpoint loaded for a model.
#[derive(Debug)]
pub struct Adapter {
    /// The name it was loaded under.
    pub name: String,
    /// Its method.
    pub method: &'static Method,
    /// How c can act for this checkpoint, never empty, the default first.
    pub laws: Vec<Offer>,
    /// Laws of the method that this checkpoint's numbers do not admit, and why.
    pub laws_refused: Vec<(Law, &'static str)>,
    /// Numbers in its file.
    pub parameters: usize,
    /// Its laws, by site.
    pub placed: Vec<Placed>,
    /// `base_model_name_or_path` of its config.
    pub base_model: Option<String>,
    /// Blocks of the model that it was loaded for.
    pub blocks: usize,
    /// What speaks against its being made for that model, though it fits.
    pub warnings: Vec<String>,
}

impl Adapter {
    /// Bytes of whole matrices that it keeps on the device, as large as the layers they change;
    /// 0 for the methods that need none.
    #[must_use]
    pub fn dense_bytes(&self) -> u64 {
        self.placed.iter().map(|placed| placed.dense_bytes).sum()
    }

    /// The blocks on which it acts, counted from 0.
    #[must_use]
    pub fn layers_reached(&self) -> BTreeSet<usize> {
        reach::reached(&self.placed)
    }

    /// The same as `0-2, 5`; `none` when it acts on the embedding, the head or the last norm only.
    #[must_use]
    pub fn layers_text(&self) -> String {
        reach::ranges(&self.layers_reached())
    }
}

/// Loads a checkpoint for a model. In a browser this cannot wait for a GPU, which some methods
/// have to ask for the base's weights: use [`load_waiting`] there.
///
/// # Errors
/// An unknown method, an option that is not honoured, missing or unused keys, wrong shapes.
pub fn load(files: &AdapterFiles, model: &Model) -> Result<Adapter> {
    load_with(files, model, BTreeMap::new())
}

/// As [`load`], after waiting for the base's weights where the method needs them on the host.
///
/// # Errors
/// As [`load`], and [`Error::DeviceLost`].
pub async fn load_waiting(files: &AdapterFiles, model: &Model) -> Result<Adapter> {
    let (config, tensors) = checkpoint::read(files, Some(model.config().head_dim))?;
    let loader = Loader::new(&config, tensors, model, files, BTreeMap::new());
    let mut wanted = saved::frozen(&loader);
    if pissa::matches(&config) {
        // What is wrong with the file is told below.
        wanted.extend(loader.targets("lora_A.weight").unwrap_or_default());
    }
    let mut weights = BTreeMap::new();
    for target in wanted {
        weights.insert(target.site, read_back(loader.base_weight(&target)).await?);
    }
    if config
        .text("peft_type")
        .is_ok_and(|name| name == ln_tuning::PEFT_TYPE)
    {
        for (site, key) in ln_tuning::norms(&loader).unwrap_or_default() {
            let gain = loader.base_gain(site, &key)?;
            weights.insert(site, read_back(gain.unsqueeze()).await?);
        }
    }
    load_with(files, model, weights)
}

fn load_with(
    files: &AdapterFiles,
    model: &Model,
    weights: BTreeMap<Site, Vec<f32>>,
) -> Result<Adapter> {
    let (config, tensors) = checkpoint::read(files, Some(model.config().head_dim))?;
    let method = method_of(&config)?;
    config.check_fields(method)?;
    keys::check_names(&config, method, &tensors)?;
    build(&config, method, tensors, files, model, weights)
}

/// Loads what was read: all but the check of the config's fields.
fn build(
    config: &Config,
    method: &'static Method,
    tensors: BTreeMap<String, HostTensor>,
    files: &AdapterFiles,
    model: &Model,
    weights: BTreeMap<Site, Vec<f32>>,
) -> Result<Adapter> {
    let parameters = checkpoint::count(&tensors);
    let entries = reach::entries(tensors.keys());
    let loader = Loader::new(config, tensors, model, files, weights);
    let Loaded { law, mut placed } = (method.load)(&loader)?;
    let left_out = reach::left_out(config, &placed);
    placed.extend(saved::copies(&loader)?.into_iter().map(Placed::always));
    loader.finish()?;
    placed.iter_mut().for_each(|placed| placed.settle(law));
    let (blocks, base_model) = (model.config().num_layers, config.base_model());
    let other = base_model
        .as_ref()
        .and_then(|base| base_model::another(base, model.names()));
    let doubts = reach::doubts(config, &entries, &reach::reached(&placed), blocks);
    Ok(Adapter {
        name: files.name.clone(),
        method,
        laws: law::offers(law, &placed),
        laws_refused: law::impossible(&placed),
        parameters,
        placed,
        base_model,
        blocks,
        warnings: other.into_iter().chain(doubts).chain(left_out).collect(),
    })
}

/// What PEFT calls a `peft_type` now.
fn renamed(peft_type: &str) -> &str {
    let known = RENAMED.iter().find(|(before, _)| *before == peft_type);
    known.map_or(peft_type, |(_, now)| now)
}

fn method_of(config: &Config) -> Result<&'static Method> {
    let peft_type = config.text("peft_type")?;
    let peft_type = renamed(&peft_type);
    METHODS
        .iter()
        .find(|method| method.peft_type == peft_type && (method.matches)(config))
        .copied()
        .ok_or_else(|| {
            let mut known: Vec<&str> = METHODS.iter().map(|method| method.peft_type).collect();
            known.dedup();
            Error::UnknownMethod {
                file: config.file.clone(),
                found: peft_type.into(),
                known: known.join(", "),
            }
        })
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
    /// Two plain sentences.
    pub intuition: String,
}

impl Method {
    /// The card of the page and the row of the README.
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
            intuition: section(doc, "Intuition").replace('\n', " "),
        }
    }
}

/// The README's method table: one row per method, from the heads of their files.
#[must_use]
pub fn method_table() -> String {
    let mut table =
        String::from("| method | family | what c does | file | paper |\n|---|---|---|---|---|\n");
    for card in METHODS.iter().map(|method| method.card()) {
        let family = serde_json::to_value(card.family).ok();
        let family = family
            .as_ref()
            .and_then(|family| family.as_str())
            .unwrap_or_default();
        table += &format!(
            "| {} ({}) | {} | {} | [`{name}.rs`](src/adapters/{name}.rs) | [link]({}) |\n",
            card.title,
            card.summary.trim_end_matches('.'),
            family,
            card.law_words,
            card.paper,
            name = card.name,
        );
    }
    table
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
const fn head_len(source: &str) -> usize {
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

/// Copies the head, so that the rest of the source does not end up in the program.
const fn head<const N: usize>(source: &str) -> [u8; N] {
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
            &$crate::adapters::head::<{ $crate::adapters::head_len(SOURCE) }>(SOURCE);
        HEAD
    }};
}
use room_doc;
