//! Checks on the header of a large file of weights: a file that would be refused for its container,
//! its names or its widths is refused before its numbers are in memory.
//!
//! The checks are those of loading: it is given a file of the same names in which every tensor is
//! one zero, and only those of its errors count that a name or the config causes.

use serde_json::{Map, json};

use super::{Inspection, Opened, inspect, read};
use crate::checkpoint::{AdapterFiles, Base};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::weights::gguf::{self, Gguf};
use crate::weights::safetensors::SafeTensors;
use crate::weights::{ByteSource, HostData, HostTensor};

/// Files of fewer bytes are simply read.
pub const LARGE_BYTES: u64 = 8 << 20;

/// What mlx-lm's configs have and PEFT's have not.
const MLX: &[u8] = b"\"lora_parameters\"";

/// Errors that names and config alone can cause: while they are read, and while they are loaded for
/// a model.
const WHEN_READ: &[&str] = &["bad-config", "bad-option", "unexpected-keys"];
const ALWAYS: &[&str] = &[
    "missing-key",
    "no-such-module",
    "unknown-method",
    "unsupported-option",
];

/// An adapter of whose weights only the header was read.
#[derive(Debug)]
pub struct Headed {
    /// The names, each with one zero in place of its tensor.
    files: AdapterFiles,
    /// Names and shapes as they are in the file.
    shapes: Vec<(String, Vec<usize>)>,
}

impl Headed {
    /// Reads the header of `weights`, which belong to `files`, where they are left out.
    ///
    /// # Errors
    /// What is wrong with the container, as when the whole file is read.
    pub async fn read(files: AdapterFiles, weights: &impl ByteSource) -> Result<Self> {
        let magic = weights.len_bytes().min(4) as usize;
        let is_gguf = weights.read_at(0, magic).await? == b"GGUF";
        let name = if is_gguf {
            format!("{}.gguf", files.name)
        } else {
            format!("{}/adapter_model.safetensors", files.name)
        };
        let source = Named {
            name,
            source: weights,
        };
        let (weights, shapes) = if is_gguf {
            let gguf = Gguf::open(&source).await?;
            let shapes = gguf.tensors.into_iter();
            let shapes: Vec<_> = shapes.map(|(key, info)| (key, info.shape)).collect();
            let zeros: Vec<_> = shapes
                .iter()
                .map(|(key, _)| (key.clone(), zero()))
                .collect();
            let kept = |key: &String| !key.starts_with("tokenizer.");
            let metadata = gguf.metadata.entries.into_iter();
            let metadata: Vec<_> = metadata.filter(|(key, _)| kept(key)).collect();
            (gguf::write(&metadata, &zeros)?, shapes)
        } else {
            let tensors = SafeTensors::open(&source).await?.tensors.into_iter();
            let shapes: Vec<_> = tensors.map(|(key, info)| (key, info.shape)).collect();
            (zeros(shapes.iter().map(|(key, _)| key)), shapes)
        };
        Ok(Self {
            files: AdapterFiles { weights, ..files },
            shapes,
        })
    }

    /// As [`inspect`](fn@inspect), from the names.
    ///
    /// # Errors
    /// As [`inspect`](fn@inspect).
    pub fn inspect(&self) -> Result<Inspection> {
        let inspection = inspect(&self.files)?;
        let shapes = self.shapes.iter();
        let numbers: usize = shapes
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        // Each name was counted as the one zero that it had.
        let parameters = inspection.parameters - self.shapes.len() + numbers;
        Ok(Inspection {
            parameters,
            ..inspection
        })
    }

    /// Refuses what [`super::load`] would refuse for this model whatever the numbers are, as far as
    /// the header shows it.
    ///
    /// # Errors
    /// Those of [`super::load`].
    pub async fn check(&self, model: &Model) -> Result<()> {
        let json = self.files.config.as_deref().unwrap_or_default();
        // mlx-lm's tensors have to be transposed first.
        if json.windows(MLX.len()).any(|part| part == MLX) {
            return Ok(());
        }
        let (config, method, tensors) = match read(&self.files, model) {
            Ok(read) => read,
            Err(error) if WHEN_READ.contains(&error.code()) => return Err(error),
            Err(error) => return self.counts(error),
        };
        let frozen = self
            .shapes
            .iter()
            .any(|(key, _)| key.contains("base_layer"));
        // These ask for the base's weights before they look at a tensor.
        if frozen || matches!((method.extras().base)(&config), Base::Weights(_)) {
            return Ok(());
        }
        let opened = Opened::new(&config, method, tensors, &self.files, model);
        let loaded = match opened {
            Ok(opened) => opened.load_waiting().await,
            Err(error) => Err(error),
        };
        match loaded {
            Ok(_) => Ok(()),
            Err(error) => self.counts(error),
        }
    }

    /// The error, unless the zeros caused it.
    fn counts(&self, error: Error) -> Result<()> {
        match error {
            Error::WrongShape {
                file,
                key,
                expected,
                hint,
                ..
            } => match self.width(&key, &expected) {
                Some(found) => Err(Error::WrongShape {
                    file,
                    key,
                    expected,
                    found,
                    hint,
                }),
                None => Ok(()),
            },
            // It is there: only its zero has fewer dimensions.
            Error::MissingKey { key, .. } if self.shapes.iter().any(|(name, _)| *name == key) => {
                Ok(())
            }
            error if ALWAYS.contains(&error.code()) => Err(error),
            _ => Ok(()),
        }
    }

    /// The shape of a tensor, if the layer's own width in it is not the expected one. All other
    /// extents may come from tensors that were zeros here.
    fn width(&self, key: &str, expected: &str) -> Option<Vec<usize>> {
        let at = match key.rsplit_once("lora_")?.1 {
            "A.weight" => 1,
            "B.weight" => 0,
            _ => return None,
        };
        let (_, found) = self.shapes.iter().find(|(name, _)| name == key)?;
        let expected: Vec<usize> = serde_json::from_str(expected).ok()?;
        let differs = found.len() == 2 && expected.len() == 2 && found[at] != expected[at];
        differs.then(|| found.clone())
    }
}

fn zero() -> HostTensor {
    HostTensor {
        shape: vec![1],
        data: HostData::Float(vec![0.0]),
    }
}

/// A safetensors file in which each name has one zero.
fn zeros<'a>(names: impl Iterator<Item = &'a String>) -> Vec<u8> {
    const BYTES: usize = size_of::<f32>();
    let entry = |(at, name): (usize, &String)| {
        let offsets = [at * BYTES, (at + 1) * BYTES];
        let entry = json!({"dtype": "F32", "shape": [1], "data_offsets": offsets});
        (name.clone(), entry)
    };
    let header: Map<_, _> = names.enumerate().map(entry).collect();
    let count = header.len();
    let header = serde_json::Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + count * BYTES, 0);
    file
}

/// A source under the name that messages use for it.
struct Named<'a, S> {
    name: String,
    source: &'a S,
}

impl<S: ByteSource> ByteSource for Named<'_, S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_bytes(&self) -> u64 {
        self.source.len_bytes()
    }

    async fn read_at(&self, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        self.source.read_at(offset, bytes).await
    }
}
