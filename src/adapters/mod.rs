//! Adapters: from an adapter's files to an adapter of a model, what is said of them before, and the
//! stack of those in use.
//!
//! A method makes of a checkpoint a list of [`Placed`] laws, each of which gives the effects at one
//! site for any coefficient.
//!
//! ```text
//! inspect.rs     what a checkpoint is, without a model
//! trial.rs       the same for a model, with every refusal
//! header.rs      the same from the header of a large file
//! reach.rs       the blocks that an adapter acts on
//! base_model.rs  whether it was made for another model, by names
//! stack.rs       the adapters in use, each with its coefficient
//! ```

mod base_model;
mod header;
mod inspect;
mod reach;
mod stack;
mod trial;

pub use header::{Headed, LARGE_BYTES};
pub use inspect::{Inspection, inspect};
pub use stack::{Entry, EntryView, Stack};
pub use trial::inspect_for;

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::{self, AdapterFiles, Config, Loaded, Loader, Method, keys};
use crate::device::read_back;
use crate::error::Result;
use crate::hooks::{self, Law, Offer, Placed, Site, ranges};
use crate::methods::{ln_tuning, method_of, pissa, saved};
use crate::model::Model;
use crate::weights::{HostTensor, sha256};

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
    /// SHA-256 of its file of weights, in hexadecimal digits.
    pub sha256: String,
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

    /// The same in words, as `0-2, 5`; `none` when it acts on the embedding, the head or the last
    /// norm only.
    #[must_use]
    pub fn layers_text(&self) -> String {
        ranges(&self.layers_reached())
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
/// As [`load`], and [`DeviceLost`](crate::Error::DeviceLost).
pub async fn load_waiting(files: &AdapterFiles, model: &Model) -> Result<Adapter> {
    let (config, tensors) = checkpoint::read(files, Some(model.config()))?;
    let loader = Loader::new(&config, tensors, model, files, BTreeMap::new());
    let mut wanted = saved::frozen(&loader);
    if pissa::matches(&config) {
        // `load` returns the error of a bad file.
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
    let (config, tensors) = checkpoint::read(files, Some(model.config()))?;
    let method = method_of(&config)?;
    method.check_fields(&config)?;
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
    for placed in &mut placed {
        placed.settle(law);
    }
    let (blocks, base_model) = (model.config().num_layers, config.base_model());
    let other = base_model
        .as_ref()
        .and_then(|base| base_model::another(base, model.names()));
    let doubts = reach::doubts(config, &entries, &reach::reached(&placed), blocks);
    Ok(Adapter {
        name: files.name.clone(),
        method,
        laws: hooks::offers(law, &placed),
        laws_refused: hooks::impossible(&placed),
        parameters,
        sha256: sha256(&files.weights),
        placed,
        base_model,
        blocks,
        warnings: other.into_iter().chain(doubts).chain(left_out).collect(),
    })
}
