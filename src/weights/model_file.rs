//! One façade over the files a model comes in: a GGUF file, or a folder of safetensors.

use crate::error::{Error, Result};
use crate::model::LlamaConfig;
use crate::quantised::{BLOCK, Packed};
use crate::weights::gguf::{Gguf, Metadata};
use crate::weights::quant::{self, Kind};
use crate::weights::safetensors::{Dtype, SafeTensors};
use crate::weights::{ByteSource, Span, llama, read_floats, read_pieces};
use std::collections::{BTreeMap, BTreeSet};

/// A Llama model's weights under Hugging Face's names, whichever format they are in.
///
/// Opening checks the whole table: every tensor that a model of this config needs is there, in
/// its shape and inside its file. After that, only reading itself can fail.
#[derive(Debug)]
pub struct ModelFile<S> {
    config: LlamaConfig,
    name: String,
    /// Present for GGUF, which carries the tokenizer here.
    metadata: Option<Metadata>,
    sources: Vec<S>,
    /// By Hugging Face's name without `model.`.
    tensors: BTreeMap<String, Entry>,
    unused: Vec<String>,
    total_bytes: u64,
    /// See [`ModelFile::names`].
    names: Vec<String>,
}

/// Where a tensor is.
#[derive(Debug)]
struct Entry {
    /// Its name in the file.
    key: String,
    source: usize,
    shape: Vec<usize>,
    kind: Kind,
    span: Span,
}

impl<S: ByteSource> ModelFile<S> {
    /// Opens a GGUF model.
    ///
    /// # Errors
    /// As [`Gguf::open`]; [`Error::UnsupportedModel`], [`Error::BadConfig`] and
    /// [`Error::MissingKey`] name the metadata or tensor that does not suit.
    pub async fn open_gguf(source: S) -> Result<Self> {
        const ROPE_FREQS: &str = "rope_freqs.weight";
        let gguf = Gguf::open(&source).await?;
        let file = source.name().to_owned();
        let config = llama::config_from_gguf(&file, &gguf)?;
        if gguf.tensors.contains_key(ROPE_FREQS) {
            llama::check_rope_freqs(&file, &gguf.tensor(&source, ROPE_FREQS).await?)?;
        }
        let name = gguf
            .metadata
            .string("general.name")?
            .unwrap_or(&file)
            .to_owned();
        let mut model = Self::empty(config, name, vec![source]);
        for key in ["general.basename", "general.size_label"] {
            let name = gguf.metadata.string(key).ok().flatten();
            model.names.extend(name.map(str::to_owned));
        }
        model.metadata = Some(gguf.metadata);
        for (key, info) in gguf.tensors {
            match llama::bare_name(&key) {
                Some(bare) => {
                    let (shape, kind, span) = (info.shape, info.kind, info.span);
                    model.insert(
                        bare,
                        Entry {
                            key,
                            source: 0,
                            shape,
                            kind,
                            span,
                        },
                    )?;
                }
                None if key == ROPE_FREQS => {}
                None => model.unused.push(key),
            }
        }
        model.check()
    }

    /// Opens a Hugging Face folder: `config.json`, one or more safetensors files, and
    /// `model.safetensors.index.json` where there is one.
    ///
    /// # Errors
    /// As [`SafeTensors::open`]; [`Error::UnsupportedModel`], [`Error::BadConfig`] and
    /// [`Error::MissingKey`] name the field, shard or tensor that does not suit.
    pub async fn open_folder(
        config_json: &[u8],
        shards: Vec<S>,
        index: Option<&[u8]>,
    ) -> Result<Self> {
        let config = llama::config_from_json(config_json)?;
        if let Some(index) = index {
            check_index(index, &shards)?;
        }
        let mut opened = Vec::new();
        for shard in &shards {
            opened.push(SafeTensors::open(shard).await?);
        }
        let name = model_name(config_json).or_else(|| Some(shards.first()?.name().to_owned()));
        let mut model = Self::empty(config, name.unwrap_or_default(), shards);
        for (source, shard) in opened.into_iter().enumerate() {
            for (key, info) in shard.tensors {
                match info.dtype {
                    _ if llama::is_harmless(&key) => {}
                    Dtype::Float(kind) if llama::gguf_name(llama::bare(&key)).is_some() => {
                        let bare = llama::bare(&key).to_owned();
                        let (shape, span) = (info.shape, info.span);
                        model.insert(
                            bare,
                            Entry {
                                key,
                                source,
                                shape,
                                kind,
                                span,
                            },
                        )?;
                    }
                    _ => model.unused.push(key),
                }
            }
        }
        model.check()
    }

    fn empty(config: LlamaConfig, name: String, sources: Vec<S>) -> Self {
        Self {
            config,
            names: vec![name.clone()],
            name,
            metadata: None,
            sources,
            tensors: BTreeMap::new(),
            unused: Vec::new(),
            total_bytes: 0,
        }
    }

    fn insert(&mut self, bare: String, entry: Entry) -> Result<()> {
        if let Some(first) = self.tensors.get(&bare) {
            let why = format!(
                "`{}` and `{}` of {} are the same tensor",
                entry.key,
                first.key,
                self.file_of(first)
            );
            return Err(Error::BadHeader {
                file: self.file_of(&entry),
                why,
            });
        }
        self.tensors.insert(bare, entry);
        Ok(())
    }

    /// Compares the table with what the config asks for; what is left over is unused.
    fn check(mut self) -> Result<Self> {
        // A model of more layers than tensors cannot be complete; this bounds the list below.
        if self.config.num_layers > self.tensors.len() {
            let layer = self.config.num_layers - 1;
            return Err(self.missing(&format!("layers.{layer}.input_layernorm.weight")));
        }
        let mut used = BTreeSet::new();
        for (key, shape) in llama::tensors(&self.config) {
            let entry = self.entry(&key)?;
            if entry.shape != shape {
                return Err(self.wrong_shape(&shape, entry));
            }
            self.total_bytes += entry.span.bytes;
            used.insert(key);
        }
        // A tied model may store its head a second time; the embeddings are it.
        if self.config.tie_word_embeddings {
            used.insert("lm_head.weight".into());
        }
        let left = self
            .tensors
            .iter()
            .filter(|(bare, _)| !used.contains(*bare));
        self.unused.extend(left.map(|(_, entry)| entry.key.clone()));
        Ok(self)
    }

    fn file_of(&self, entry: &Entry) -> String {
        self.sources
            .get(entry.source)
            .map_or_else(String::new, |source| source.name().into())
    }

    fn missing(&self, bare: &str) -> Error {
        let file = match self.sources.as_slice() {
            [source] => source.name().into(),
            sources => format!("{} safetensors files", sources.len()),
        };
        let (key, what) = if self.metadata.is_some() {
            let key = llama::gguf_name(bare).unwrap_or_else(|| bare.into());
            (key, "a tensor of the model")
        } else if bare == "lm_head.weight" {
            (
                bare.into(),
                "the output head; `tie_word_embeddings` in config.json is false",
            )
        } else {
            (format!("model.{bare}"), "a tensor of the model")
        };
        Error::MissingKey {
            file,
            key,
            what: what.into(),
        }
    }

    fn wrong_shape(&self, expected: &[usize], entry: &Entry) -> Error {
        Error::WrongShape {
            file: self.file_of(entry),
            key: entry.key.clone(),
            expected: format!("{expected:?}"),
            found: entry.shape.clone(),
            hint: "the weights and the config are of different models",
        }
    }

    fn entry(&self, key: &str) -> Result<&Entry> {
        let bare = llama::bare(key);
        self.tensors.get(bare).ok_or_else(|| self.missing(bare))
    }

    /// The model's sizes.
    #[must_use]
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The model's own name where the file has one, else the file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All that is known of what the model is called, for comparison with the base model that an
    /// adapter names: its name, a GGUF's `general.basename` and `general.size_label`, and what
    /// [`Self::also_called`] added.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds a name, such as the path of the folder that the files lie in.
    pub fn also_called(&mut self, name: impl Into<String>) {
        self.names.push(name.into());
    }

    /// The metadata of a GGUF file, with its tokenizer and chat template; `None` for a folder,
    /// where these are files of their own.
    #[must_use]
    pub fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }

    /// Bytes, in the files, of all tensors that the model needs.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Whether there is a tensor of this name (with or without `model.`).
    #[must_use]
    pub fn has(&self, hf_name: &str) -> bool {
        self.tensors.contains_key(llama::bare(hf_name))
    }

    /// Bytes of a tensor in the file; 0 when there is no such tensor.
    #[must_use]
    pub fn tensor_bytes(&self, hf_name: &str) -> u64 {
        self.tensors
            .get(llama::bare(hf_name))
            .map_or(0, |entry| entry.span.bytes)
    }

    /// Tensors that no Llama model of this config uses, by the names they have in the file.
    /// Anything here means that the file is of a model whose maths is not ours.
    #[must_use]
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// Reads a tensor as `f32`, row-major in Hugging Face's order of rows. At most 4 MB of the
    /// file are held at a time.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::WrongShape`] with both shapes, and what the source says.
    pub async fn tensor(&self, hf_name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (entry, source) = self.checked(hf_name, shape)?;
        let mut values = read_floats(source, hf_name, &entry.span, entry.kind).await?;
        if self.is_permuted(hf_name) {
            let width = if entry.shape.len() == 2 {
                self.config.hidden_size
            } else {
                1
            };
            llama::unpermute(&mut values, self.config.head_dim, width);
        }
        Ok(values)
    }

    /// How a tensor's numbers are written; `None` when there is no such tensor.
    #[must_use]
    pub fn kind(&self, hf_name: &str) -> Option<Kind> {
        let entry = self.tensors.get(llama::bare(hf_name));
        entry.map(|entry| entry.kind)
    }

    /// Reads a quantised matrix `[rows, cols]` as it is, in Hugging Face's order of rows; `None`
    /// when its numbers are floats or its rows no whole blocks. At most 4 MB of the file are held
    /// at a time.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub async fn packed(&self, hf_name: &str, shape: [usize; 2]) -> Result<Option<Packed>> {
        let (entry, source) = self.checked(hf_name, &shape)?;
        let [rows, cols] = shape;
        let Some(width) = entry
            .kind
            .packed_width()
            .filter(|_| cols.is_multiple_of(BLOCK))
        else {
            return Ok(None);
        };
        let mut packed = Packed::new(rows, cols, width).ok_or_else(|| Error::Io {
            file: source.name().into(),
            why: format!("there is no memory for the {rows} x {cols} numbers of `{hf_name}`"),
        })?;
        let permuted = self.is_permuted(hf_name);
        let mut next = 0;
        read_pieces(source, &entry.span, entry.kind, |piece| {
            quant::blocks(entry.kind, piece, |block| {
                let (row, column) = (next / (cols / BLOCK), next % (cols / BLOCK));
                let row = match permuted {
                    true => llama::unpermuted_row(row, self.config.head_dim),
                    false => row,
                };
                packed.set(row, column, &block);
                next += 1;
            })
        })
        .await?;
        Ok(Some(packed))
    }

    /// A matrix's bytes as the file has them, its rows in Hugging Face's order.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub async fn matrix(&self, hf_name: &str, shape: [usize; 2]) -> Result<(Kind, Vec<u8>)> {
        let (entry, source) = self.checked(hf_name, &shape)?;
        // Checked to lie inside the file when it was opened.
        let length = usize::try_from(entry.span.bytes).unwrap_or(usize::MAX);
        let mut bytes = source.read_at(entry.span.offset, length).await?;
        if self.is_permuted(hf_name) {
            let row_bytes = bytes.len() / shape[0];
            llama::unpermute(&mut bytes, self.config.head_dim, row_bytes);
        }
        Ok((entry.kind, bytes))
    }

    fn checked(&self, hf_name: &str, shape: &[usize]) -> Result<(&Entry, &S)> {
        let entry = self.entry(hf_name)?;
        if entry.shape != shape {
            return Err(self.wrong_shape(shape, entry));
        }
        match self.sources.get(entry.source) {
            Some(source) => Ok((entry, source)),
            None => Err(self.missing(llama::bare(hf_name))),
        }
    }

    fn is_permuted(&self, hf_name: &str) -> bool {
        self.metadata.is_some() && llama::is_permuted(hf_name)
    }
}

/// The last part of `_name_or_path`, which transformers writes into `config.json`.
fn model_name(config_json: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Name {
        #[serde(rename = "_name_or_path")]
        path: String,
    }
    let path = serde_json::from_slice::<Name>(config_json).ok()?.path;
    path.rsplit(['/', '\\'])
        .find(|part| !part.is_empty())
        .map(str::to_owned)
}

/// Checks that every shard that the index names is there.
fn check_index<S: ByteSource>(index: &[u8], shards: &[S]) -> Result<()> {
    const FILE: &str = "model.safetensors.index.json";
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(index).map_err(|error| Error::BadConfig {
        file: FILE.into(),
        field: "weight_map".into(),
        expected: "an object of file names".into(),
        found: error.to_string(),
    })?;
    for file in index.weight_map.into_values() {
        if !shards
            .iter()
            .any(|shard| shard.name().rsplit('/').next() == Some(&file))
        {
            let what = "a shard of the model; give all its files together".into();
            return Err(Error::MissingKey {
                file: FILE.into(),
                key: file,
                what,
            });
        }
    }
    Ok(())
}
