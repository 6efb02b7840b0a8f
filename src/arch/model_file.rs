//! One façade over the files a model comes in: a GGUF file, or a folder of safetensors.

use super::config::DecoderConfig;
use super::sizes::MAX_LAYERS;
use super::{family, rope, rows};
use crate::error::{Error, Result};
use crate::weights::gguf::{Gguf, Metadata};
use crate::weights::quant::{self, Kind};
use crate::weights::safetensors::{Dtype, SafeTensors};
use crate::weights::{ByteSource, PIECE_BYTES, Span, folder, read_floats, read_pieces, split};
use processor::quantised::{BLOCK, Packed};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A model's weights under Hugging Face's names, whichever format they are in.
///
/// Opening checks the whole table: every tensor that a model of this config needs is there, in
/// its shape and inside its file. After that, only reading itself can fail.
#[derive(Debug)]
pub struct ModelFile<S> {
    config: DecoderConfig,
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

/// Ends of names of tensors that hold no weights.
const COMPUTED: &[&str] = &[
    ".rotary_emb.inv_freq",
    ".attn.bias",
    ".attn.masked_bias",
    ".attention.bias",
    ".attention.masked_bias",
];

/// Where a tensor is.
#[derive(Debug, Clone)]
struct Entry {
    /// Its name in the file.
    key: String,
    source: usize,
    /// As the model has it, whichever way round it lies.
    shape: Vec<usize>,
    /// Whether it lies the other way round.
    transposed: bool,
    kind: Kind,
    span: Span,
}

impl Entry {
    /// Some of its rows, as a tensor of their own.
    fn rows(&self, rows: Range<usize>) -> Self {
        let [all, ref rest @ ..] = self.shape[..] else {
            return self.clone();
        };
        let mut shape = vec![rows.len()];
        shape.extend(rest);
        Self {
            span: self.span.rows(rows, all),
            shape,
            ..self.clone()
        }
    }
}

impl<S: ByteSource> ModelFile<S> {
    /// Opens a GGUF model that is one file.
    ///
    /// # Errors
    /// As [`Self::open_gguf_parts`].
    pub async fn open_gguf(source: S) -> Result<Self> {
        Self::open_gguf_parts(vec![source]).await
    }

    /// Opens a GGUF model from all the parts that it was split into, in any order.
    ///
    /// # Errors
    /// As [`Gguf::open`]; [`Error::MissingKey`] names a part that is not there;
    /// [`Error::UnsupportedModel`], [`Error::BadConfig`] and [`Error::MissingKey`] name the metadata
    /// or tensor that does not suit.
    pub async fn open_gguf_parts(sources: Vec<S>) -> Result<Self> {
        let mut parts = Vec::with_capacity(sources.len());
        for source in sources {
            parts.push((Gguf::open(&source).await?, source));
        }
        let (mut parts, sources): (Vec<_>, Vec<_>) = split::joined(parts)?.into_iter().unzip();
        // Only the first part has the metadata, but sizes are read off the tensors of all.
        let mut whole = parts.remove(0);
        let mut sources_of = BTreeMap::new();
        for (source, part) in (1..).zip(parts) {
            for (key, info) in part.tensors {
                if whole.tensors.insert(key.clone(), info).is_some() {
                    return Err(Error::BadHeader {
                        file: sources.get(source).map_or("", S::name).into(),
                        why: format!("the tensor `{key}` is in an earlier part too"),
                    });
                }
                sources_of.insert(key, source);
            }
        }
        let file = sources.first().map_or("", S::name).to_owned();
        let config = family::config_from_gguf(&file, &whole)?;
        let name = whole.metadata.string("general.name")?.unwrap_or(&file);
        let mut model = Self::empty(config, name.to_owned(), sources);
        for key in ["general.basename", "general.size_label"] {
            let name = whole.metadata.string(key).ok().flatten();
            model.names.extend(name.map(str::to_owned));
        }
        model.metadata = Some(whole.metadata);
        for (key, info) in whole.tensors {
            let source = sources_of.get(&key).copied().unwrap_or(0);
            let (shape, kind, span) = (info.shape, info.kind, info.span);
            if key == rope::FACTORS {
                if let (Some(source), Some(rope)) =
                    (model.sources.get(source), model.config.ropes.first_mut())
                {
                    let factors = read_floats(source, &key, &span, kind).await?;
                    rope::divide(rope, source.name(), &factors)?;
                }
                continue;
            }
            let Some(bare) = model.config.family.bare_name(&key) else {
                model.unused.push(key);
                continue;
            };
            let entry = Entry {
                key,
                source,
                shape,
                transposed: false,
                kind,
                span,
            };
            model.insert(bare, entry)?;
        }
        model.check().await
    }

    /// Opens a Hugging Face folder: `config.json`, one or more safetensors files, and
    /// `model.safetensors.index.json` where there is one; then only the files that it names count.
    ///
    /// # Errors
    /// As [`SafeTensors::open`]; [`Error::UnsupportedModel`], [`Error::BadConfig`] and
    /// [`Error::MissingKey`] name the field, shard or tensor that does not suit.
    pub async fn open_folder(
        config_json: &[u8],
        mut shards: Vec<S>,
        index: Option<&[u8]>,
    ) -> Result<Self> {
        let config = family::config_from_json(config_json)?;
        if let Some(index) = index {
            let named = folder::shards(index)?;
            let last = |path: &str| path.rsplit('/').next().map(str::to_owned);
            let is_named = |shard: &S, name: &str| last(shard.name()) == last(name);
            for name in &named {
                if !shards.iter().any(|shard| is_named(shard, name)) {
                    return Err(Error::MissingKey {
                        file: folder::INDEX.into(),
                        key: name.clone(),
                        what: "a shard of the model; give all its files together".into(),
                    });
                }
            }
            shards.retain(|shard| named.iter().any(|name| is_named(shard, name)));
        }
        let mut opened = Vec::new();
        for shard in &shards {
            opened.push(SafeTensors::open(shard).await?);
        }
        let name = model_name(config_json).or_else(|| Some(shards.first()?.name().to_owned()));
        let mut model = Self::empty(config, name.unwrap_or_default(), shards);
        for (source, shard) in opened.into_iter().enumerate() {
            for (key, info) in shard.tensors {
                let family = model.config.family;
                let bare = family.bare(&key);
                match info.dtype {
                    // Wavelengths and masks, which old checkpoints carry and everyone computes.
                    _ if COMPUTED.iter().any(|end| key.ends_with(end)) => {}
                    Dtype::Float(kind) if family.gguf_name(&bare).is_some() => {
                        let (mut shape, span) = (info.shape, info.span);
                        let transposed = family.is_transposed(&bare);
                        if transposed {
                            shape.reverse();
                        }
                        model.insert(
                            bare,
                            Entry {
                                key,
                                source,
                                shape,
                                transposed,
                                kind,
                                span,
                            },
                        )?;
                    }
                    _ => model.unused.push(key),
                }
            }
        }
        model.check().await
    }

    fn empty(config: DecoderConfig, name: String, sources: Vec<S>) -> Self {
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

    /// Takes a tensor into the table; of one that holds several layers on top of each other the rows
    /// of each.
    fn insert(&mut self, bare: String, entry: Entry) -> Result<()> {
        let Some(parts) = self.config.family.stacked(&bare) else {
            return self.insert_one(bare, entry);
        };
        let heights = parts.iter().map(|(part, _)| part.widths(&self.config).1);
        let heights: Vec<usize> = heights.collect();
        let all = heights.iter().sum();
        if entry.shape.first() != Some(&all) {
            let mut expected = entry.shape.clone();
            expected.splice(..1.min(expected.len()), [all]);
            return Err(self.wrong_shape(&bare, &expected, &entry));
        }
        let mut first = 0;
        for ((_, bare), height) in parts.into_iter().zip(heights) {
            let part = entry.rows(first..first + height);
            self.insert_one(bare, part)?;
            first += height;
        }
        Ok(())
    }

    fn insert_one(&mut self, bare: String, entry: Entry) -> Result<()> {
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

    /// Compares the table with what the config asks for. What is left over is unused: in a folder
    /// it is let go, as transformers does, in a GGUF file it is refused, as llama.cpp does.
    async fn check(mut self) -> Result<Self> {
        // A model of more layers than tensors cannot be complete; this bounds the list below.
        if self.config.num_layers > self.tensors.len() {
            let layer = self.config.num_layers - 1;
            return Err(self.missing(&format!("layers.{layer}.input_layernorm.weight")));
        }
        if self.config.num_layers > MAX_LAYERS {
            return Err(Error::UnsupportedModel {
                file: self.sources.first().map_or("", S::name).into(),
                field: "the number of blocks".into(),
                found: self.config.num_layers.to_string(),
                supported: format!("at most {MAX_LAYERS}"),
            });
        }
        self.settle_head().await?;
        let is_gguf = self.metadata.is_some();
        let mut used = BTreeSet::new();
        for (key, shape) in self.config.tensors(is_gguf) {
            // To llama.cpp each single bias is optional.
            if is_gguf && key.ends_with(".bias") && !self.tensors.contains_key(&key) {
                continue;
            }
            let entry = self.entry(&key)?;
            if entry.shape != shape {
                return Err(self.wrong_shape(&key, &shape, entry));
            }
            self.total_bytes += entry.span.bytes;
            used.insert(key);
        }
        let (tensors, left): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.tensors)
            .into_iter()
            .partition(|(bare, _)| used.contains(bare));
        self.tensors = tensors;
        self.unused
            .extend(left.into_values().map(|entry| entry.key));
        match self.unused.as_slice() {
            [first, rest @ ..] if is_gguf => {
                let more = match rest {
                    [] => String::new(),
                    rest => format!(", as are {} others", rest.len()),
                };
                Err(Error::UnsupportedModel {
                    file: self.sources.first().map_or("", S::name).into(),
                    field: first.clone(),
                    found: format!(
                        "a tensor that nothing in a {} uses{more}",
                        self.config.family.family
                    ),
                    supported: "files all of whose tensors it uses".into(),
                })
            }
            _ => Ok(self),
        }
    }

    /// Decides whether the head is the embedding, where both the config and the file have a say.
    /// In a folder, as transformers: a head of its own counts although the config says that they are
    /// tied, and a tied embedding may be stored as the head only. In a GGUF file, whose metadata say
    /// nothing, a head of the same bytes is the embedding. From here on the config says what is.
    async fn settle_head(&mut self) -> Result<()> {
        const EMBEDDING: &str = "embed_tokens.weight";
        const HEAD: &str = "lm_head.weight";
        let is_gguf = self.metadata.is_some();
        if !is_gguf && !self.config.tie_word_embeddings {
            return Ok(());
        }
        let Some(head) = self.tensors.get(HEAD) else {
            return Ok(());
        };
        let Some(embedding) = self.tensors.get(EMBEDDING) else {
            if let Some(head) = self.tensors.remove(HEAD) {
                self.tensors.insert(EMBEDDING.into(), head);
            }
            return Ok(());
        };
        self.config.tie_word_embeddings =
            head.shape == embedding.shape && self.are_equal(head, embedding).await?;
        if self.config.tie_word_embeddings {
            self.tensors.remove(HEAD);
        }
        self.config.tied_by_config_alone = !is_gguf && !self.config.tie_word_embeddings;
        Ok(())
    }

    /// Whether two tensors are the same bytes; ends at the first piece that differs.
    async fn are_equal(&self, a: &Entry, b: &Entry) -> Result<bool> {
        let (Some(a_source), Some(b_source)) =
            (self.sources.get(a.source), self.sources.get(b.source))
        else {
            return Ok(false);
        };
        if a.kind != b.kind || a.span.bytes != b.span.bytes {
            return Ok(false);
        }
        // Different ones differ at the start: a small piece first.
        let (mut done, mut piece) = (0, 4096);
        while done < a.span.bytes {
            let bytes = usize::try_from(a.span.bytes - done)
                .unwrap_or(piece)
                .min(piece);
            let of_a = a_source.read_at(a.span.offset + done, bytes).await?;
            if of_a != b_source.read_at(b.span.offset + done, bytes).await? {
                return Ok(false);
            }
            done += bytes as u64;
            piece = PIECE_BYTES;
        }
        Ok(true)
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
            let key = self
                .config
                .family
                .gguf_name(bare)
                .unwrap_or_else(|| bare.into());
            (key, "a tensor of the model")
        } else if bare == "lm_head.weight" {
            (
                self.config.family.own(bare),
                "the output head; `tie_word_embeddings` in config.json is false",
            )
        } else {
            let own = self.config.family.own(&format!("model.{bare}"));
            (own, "a tensor of the model")
        };
        let what = match self.instead(bare) {
            Some(found) => format!("{what}; {found}"),
            None => what.into(),
        };
        Error::MissingKey { file, key, what }
    }

    /// What is there instead of a tensor, as far as the names of the others tell.
    fn instead(&self, bare: &str) -> Option<String> {
        let find = |is: &dyn Fn(&str) -> bool| self.unused.iter().find(|key| is(key));
        if let Some(key) = find(&|key| key.contains(".lora_") || key.starts_with("base_model.")) {
            return Some(format!(
                "the file has `{key}`: it is an adapter, give it as one (`--adapter`)"
            ));
        }
        if let Some(key) =
            find(&|key| ["score.weight", "classifier.weight", "qa_outputs.weight"].contains(&key))
        {
            return Some(format!(
                "the file has `{key}`: it is a classifier, which writes no text"
            ));
        }
        let begins = |key: &str| {
            let before = key.strip_suffix(bare)?;
            (before.is_empty() || before.ends_with('.')).then(|| before.to_owned())
        };
        let key = find(&|key| begins(key).is_some())?;
        let before = begins(key)?;
        Some(match before.strip_suffix("model.").unwrap_or(&before) {
            "" => format!("`{key}` of the file holds no floats"),
            before => format!("the names in the file begin with `{before}`: take that off"),
        })
    }

    fn wrong_shape(&self, key: &str, expected: &[usize], entry: &Entry) -> Error {
        let mut hint = "the weights and the config are of different models";
        let (mut of_file, mut found) = (expected.to_vec(), entry.shape.clone());
        if entry.transposed {
            of_file.reverse();
            found.reverse();
        }
        let mut words = format!("{of_file:?}");
        if let (&[vocab, d], &[rows, width]) = (expected, &entry.shape[..])
            && ["embed_tokens.weight", "lm_head.weight"].contains(&key)
            && d == width
            && self.metadata.is_none()
        {
            let (by, more) = if rows > vocab {
                (rows - vocab, "more")
            } else {
                (vocab - rows, "fewer")
            };
            words +=
                &format!(", as `vocab_size` in config.json says; the file has {by} tokens {more}");
            hint = "the vocabulary was resized after that config was written: set its `vocab_size` \
                    to the number of rows, or save config and weights together again";
        }
        Error::WrongShape {
            file: self.file_of(entry),
            key: entry.key.clone(),
            expected: words,
            found,
            hint,
        }
    }

    fn entry(&self, key: &str) -> Result<&Entry> {
        let bare = self.config.family.bare(key);
        self.tensors.get(&bare).ok_or_else(|| self.missing(&bare))
    }

    /// The model's sizes.
    #[must_use]
    pub fn config(&self) -> &DecoderConfig {
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

    /// How many numbers its tensors hold; shared ones count once.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let tensors = self.tensors.values();
        tensors
            .map(|entry| entry.shape.iter().map(|&size| size as u64).product::<u64>())
            .sum()
    }

    /// The formats of its matrices, that of most bytes first.
    #[must_use]
    pub fn formats(&self) -> Vec<&'static str> {
        let mut bytes: BTreeMap<&'static str, u64> = BTreeMap::new();
        for entry in self.tensors.values().filter(|entry| entry.shape.len() > 1) {
            *bytes.entry(entry.kind.name()).or_default() += entry.span.bytes;
        }
        let mut formats: Vec<_> = bytes.into_iter().collect();
        formats.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
        formats.into_iter().map(|(name, _)| name).collect()
    }

    /// Whether there is a tensor of this name (with or without `model.`).
    #[must_use]
    pub fn has(&self, hf_name: &str) -> bool {
        self.tensors.contains_key(&self.config.family.bare(hf_name))
    }

    /// Bytes of a tensor in the file; 0 when there is no such tensor.
    #[must_use]
    pub fn tensor_bytes(&self, hf_name: &str) -> u64 {
        let entry = self.tensors.get(&self.config.family.bare(hf_name));
        entry.map_or(0, |entry| entry.span.bytes)
    }

    /// Tensors of a folder that no model of this config uses, by the names they have in the
    /// file. Transformers lets them go with a warning, so they change nothing here either.
    #[must_use]
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// What to say of [`Self::unused`], where there is anything.
    #[must_use]
    pub fn left_out(&self) -> Option<String> {
        let [first, rest @ ..] = self.unused() else {
            return None;
        };
        let more = match rest {
            [] => String::new(),
            rest => format!(" and {} more", rest.len()),
        };
        Some(format!(
            "the model has no place for `{first}`{more}: left out, as transformers does"
        ))
    }

    /// Reads a tensor as `f32`, row-major in Hugging Face's order of rows, at most 4 MB of the file at a time.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::WrongShape`] with both shapes, [`Error::NotFinite`], and what the source says.
    pub async fn tensor(&self, hf_name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (entry, source) = self.checked(hf_name, shape)?;
        let mut values = read_floats(source, &entry.key, &entry.span, entry.kind).await?;
        if entry.transposed {
            values = rows::transposed(&values, shape[0], 1);
        }
        if let Some(moved) = self.moved(hf_name) {
            let width = if entry.shape.len() == 2 {
                self.config.hidden_size
            } else {
                1
            };
            rows::put_back(&mut values, moved, self.config.head_dim, width);
        }
        Ok(values)
    }

    /// How a tensor's numbers are written; `None` when there is no such tensor.
    #[must_use]
    pub fn kind(&self, hf_name: &str) -> Option<Kind> {
        let entry = self.tensors.get(&self.config.family.bare(hf_name));
        entry.map(|entry| entry.kind)
    }

    /// Reads a quantised matrix `[rows, cols]` as it is, in Hugging Face's order of rows, at most 4 MB of the file
    /// at a time; `None` when its numbers are floats or its rows no whole blocks.
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
        let moved = self.moved(hf_name);
        let mut next = 0;
        let mut place = || {
            let (row, column) = (next / (cols / BLOCK), next % (cols / BLOCK));
            next += 1;
            let back = moved.map(|moved| moved.back(row, rows, self.config.head_dim));
            (back.unwrap_or(row), column)
        };
        let each = |piece: &[u8]| {
            quant::halves(entry.kind, piece, |block| {
                let (row, column) = place();
                packed.set_halves(row, column, &block);
            })?;
            quant::blocks(entry.kind, piece, |block| {
                let (row, column) = place();
                packed.set(row, column, &block);
            })
        };
        read_pieces(source, &entry.key, &entry.span, entry.kind, each).await?;
        Ok(Some(packed))
    }

    /// Hands over a matrix as the file has it, whole blocks of 4 MB at most unless it lies the other way round,
    /// with what tells where Hugging Face has a row of the file.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub async fn matrix(
        &self,
        hf_name: &str,
        shape: [usize; 2],
        mut take: impl FnMut(&[u8], &dyn Fn(usize) -> usize),
    ) -> Result<()> {
        let (entry, source) = self.checked(hf_name, &shape)?;
        let (moved, head_dim) = (self.moved(hf_name), self.config.head_dim);
        let row = |row| moved.map_or(row, |moved| moved.back(row, shape[0], head_dim));
        let mut whole = Vec::new();
        let each = |piece: &[u8]| {
            if entry.transposed {
                whole.extend(piece);
            } else {
                take(piece, &row);
            }
            Ok(())
        };
        read_pieces(source, &entry.key, &entry.span, entry.kind, each).await?;
        if entry.transposed {
            let width = entry.kind.block_bytes();
            take(&rows::transposed(&whole, shape[0], width), &row);
        }
        Ok(())
    }

    fn checked(&self, hf_name: &str, shape: &[usize]) -> Result<(&Entry, &S)> {
        let entry = self.entry(hf_name)?;
        if entry.shape != shape {
            return Err(self.wrong_shape(&self.config.family.bare(hf_name), shape, entry));
        }
        match self.sources.get(entry.source) {
            Some(source) => Ok((entry, source)),
            None => Err(self.missing(&self.config.family.bare(hf_name))),
        }
    }

    fn moved(&self, hf_name: &str) -> Option<rows::Moved> {
        let is_gguf = self.metadata.is_some();
        self.config.family.moved(hf_name).filter(|_| is_gguf)
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

// They wait for files, which only a program can.
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
