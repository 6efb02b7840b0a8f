//! Adapters: from an adapter's files to an adapter of a model, what is said of them before, and the
//! stack of those in use.
//!
//! A method makes of a checkpoint a list of [`Placed`] laws, each of which gives the effects at one
//! site for any coefficient.
//!
//! ```text
//! besides.rs     what else in its folder belongs to it
//! inspect.rs     what a checkpoint is, without a model
//! trial.rs       the same for a model, with every refusal
//! header.rs      the same from the header of a large file
//! reach.rs       the blocks that an adapter acts on
//! base_model.rs  whether it was made for another model, by names
//! stack.rs       the adapters in use, each with its coefficient
//! ```

mod base_model;
mod besides;
mod header;
mod inspect;
mod reach;
mod stack;
mod trial;

pub use besides::{Besides, besides};
pub use header::{Headed, LARGE_BYTES};
pub use inspect::{Inspection, inspect};
pub use stack::{Entry, EntryView, Stack};
pub use trial::inspect_for;

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Tensor;

use crate::arch::Names;
use crate::checkpoint::{self, AdapterFiles, Config, Known, Loaded, Loader, Method, keys, saved};
use crate::error::Result;
use crate::hooks::{self, Law, Offer, Placed, Site, ranges};
use crate::methods::{self, method_of};
use crate::model::Model;
use crate::weights::{HostTensor, sha256};

type Tensors = BTreeMap<String, HostTensor>;

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
    /// Its tensors, by name, with their shapes.
    pub tensors: Vec<(String, Vec<usize>)>,
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

    /// The kinds of places on which it acts, each with its blocks; none for what is in no block.
    #[must_use]
    pub fn places(&self) -> Vec<(&'static str, Vec<usize>)> {
        reach::places(&self.placed)
    }

    /// The tensors of its file that belong to a place alone, and those that belong to no place: what
    /// all places share.
    #[must_use]
    pub fn tensors_at(&self, site: Site, names: &Names) -> [Vec<(&str, &[usize])>; 2] {
        reach::tensors_at(&self.tensors, site, names)
    }
}

/// Loads a checkpoint for a model. In a browser this cannot wait for a GPU, which some methods
/// have to ask for the base's weights: use [`load_waiting`] there.
///
/// # Errors
/// An unknown method, an option that is not honoured, missing or unused keys, wrong shapes.
pub fn load(files: &AdapterFiles, model: &Model) -> Result<Adapter> {
    let (config, method, tensors) = read(files, model)?;
    Opened::new(&config, method, tensors, files, model)?.load()
}

/// As [`load`], after waiting for the base's weights where the method needs them on the host.
///
/// # Errors
/// As [`load`], and [`DeviceLost`](crate::Error::DeviceLost).
pub async fn load_waiting(files: &AdapterFiles, model: &Model) -> Result<Adapter> {
    let (config, method, tensors) = read(files, model)?;
    let opened = Opened::new(&config, method, tensors, files, model)?;
    opened.load_waiting().await
}

/// The law and the effects of tensors under PEFT's names, of which `leaves` are being trained; `files`
/// have the task and the experts, where the method has such.
///
/// # Errors
/// As [`load`].
pub(crate) fn placed(
    config: &Config,
    method: &Method,
    tensors: Tensors,
    leaves: BTreeMap<String, Tensor<1>>,
    files: &AdapterFiles,
    known: &Known,
    model: &Model,
) -> Result<(Law, Vec<Placed>)> {
    let config = &methods::with_defaults(config.clone());
    let loader =
        Loader::new(method.extras(), config, tensors, model, files)?.of_leaves(leaves, known);
    let loaded = (method.load)(&loader)?;
    loader.finish()?;
    let Loaded { law, placed } = loaded.settled(method, config)?;
    Ok((law, placed))
}

/// The files' config, method and tensors, checked by their names.
fn read(files: &AdapterFiles, model: &Model) -> Result<(Config, &'static Method, Tensors)> {
    let (config, tensors) = methods::read(files, Some(model.config()))?;
    let method = method_of(&config)?;
    method.check_fields(&config)?;
    keys::check_names(&config, method, &tensors)?;
    Ok((config, method, tensors))
}

/// What was read of an adapter's files, before its method has taken anything.
struct Opened<'a> {
    files: &'a AdapterFiles,
    method: &'static Method,
    shapes: Vec<(String, Vec<usize>)>,
    loader: Loader<'a>,
}

impl<'a> Opened<'a> {
    fn new(
        config: &'a Config,
        method: &'static Method,
        tensors: Tensors,
        files: &'a AdapterFiles,
        model: &'a Model,
    ) -> Result<Self> {
        Ok(Self {
            files,
            method,
            shapes: tensors
                .iter()
                .map(|(key, tensor)| (key.clone(), tensor.shape.clone()))
                .collect(),
            loader: Loader::new(method.extras(), config, tensors, model, files)?,
        })
    }

    async fn load_waiting(mut self) -> Result<Adapter> {
        let needed = (self.method.extras().base)(self.loader.config);
        self.loader.wait(needed).await?;
        self.load()
    }

    fn load(self) -> Result<Adapter> {
        let Self {
            files,
            method,
            shapes,
            loader,
        } = self;
        let (config, model) = (loader.config, loader.model);
        let mut loaded = (method.load)(&loader)?;
        let left_out = reach::left_out(config, &loaded.placed);
        let copies = saved::copies(&loader)?.into_iter();
        loaded.placed.extend(copies.map(Placed::always));
        loader.finish()?;
        let Loaded { law, placed } = loaded.settled(method, config)?;
        let (blocks, base_model) = (model.config().num_layers, config.base_model());
        let other = base_model
            .as_ref()
            .and_then(|base| base_model::another(base, model.names()));
        let entries = reach::entries(shapes.iter().map(|(key, _)| key));
        let doubts = reach::doubts(config, &entries, &reach::reached(&placed), blocks);
        Ok(Adapter {
            name: files.name.clone(),
            method,
            laws: hooks::offers(law, &placed),
            laws_refused: hooks::impossible(&placed),
            parameters: checkpoint::count(shapes.iter().map(|(_, shape)| shape)),
            tensors: shapes,
            sha256: sha256(&files.weights),
            placed,
            base_model,
            blocks,
            warnings: other.into_iter().chain(doubts).chain(left_out).collect(),
        })
    }
}
