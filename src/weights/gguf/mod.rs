//! GGUF, llama.cpp's container: typed metadata, a tensor table, then the tensors' data.
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>
//!
//! ```text
//! metadata.rs  the key-value part: its types, and getters that check them
//! header.rs    a file's first bytes -> metadata and tensor table
//! write.rs     metadata and tensors -> a small file
//! ```
//!
//! The header (metadata and table) is read in growing pieces until it is complete, so that a file
//! of gigabytes costs a few megabytes to open. Nothing is allocated for a count that the file's
//! length cannot hold.

/// Passes GGUF's numeric types to a macro: variant, type and code of each. Enums, reading and
/// writing are made from this one list.
macro_rules! for_numbers {
    ($make:ident) => {
        $make! {
            U8(u8) = 0,
            I8(i8) = 1,
            U16(u16) = 2,
            I16(i16) = 3,
            U32(u32) = 4,
            I32(i32) = 5,
            F32(f32) = 6,
            U64(u64) = 10,
            I64(i64) = 11,
            F64(f64) = 12,
        }
    };
}

mod header;
mod metadata;
mod write;

pub use metadata::{Array, Metadata, Value};
pub use write::write;

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::weights::quant::{Kind, dequantise};
use crate::weights::{ByteSource, HostData, HostTensor, Span, check_finite, read_floats};

use header::{Stop, parse};

// Codes of the value types that are not numbers.
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

const MAGIC: &[u8; 4] = b"GGUF";
/// The first piece of a header that is read; small models' headers are 1 to 8 MB.
const FIRST_BYTES: u64 = 1 << 20;
/// What the data's offsets are multiples of, in bytes, unless the metadata has another number.
const DEFAULT_ALIGNMENT: u64 = 32;
/// ggml has no tensors of more dimensions.
const MAX_DIMS: usize = 4;

/// One line of the tensor table.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Row-major shape, slowest dimension first (the file has it the other way round).
    pub shape: Vec<usize>,
    /// How the numbers are written.
    pub kind: Kind,
    pub(crate) span: Span,
}

/// An opened GGUF file: everything but the tensors' data.
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf {
    /// The key-value part.
    pub metadata: Metadata,
    /// The tensors by name; each lies inside the file and none overlaps another.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// What the data's offsets are multiples of, in bytes.
    pub alignment: u64,
}

impl Gguf {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// [`Error::WrongMagic`], [`Error::Truncated`], [`Error::BadHeader`],
    /// [`Error::UnsupportedDtype`], [`Error::TensorBeyondFile`], and the source's own errors.
    pub async fn open<S: ByteSource>(source: &S) -> Result<Self> {
        let file_bytes = source.len_bytes();
        let mut bytes = Vec::new();
        let mut wanted = FIRST_BYTES;
        loop {
            let done = bytes.len() as u64;
            let more = wanted.min(file_bytes).saturating_sub(done);
            let more = usize::try_from(more).unwrap_or(usize::MAX);
            bytes.extend(source.read_at(done, more).await?);
            match parse(source.name(), &bytes, file_bytes) {
                Ok(gguf) => return Ok(gguf),
                Err(Stop::Error(error)) => return Err(error),
                // `parse` asks for more only inside the file, so this ends.
                Err(Stop::Short { needed_bytes }) => {
                    wanted = needed_bytes.max((bytes.len() as u64).saturating_mul(2));
                }
            }
        }
    }

    /// Reads one tensor as `f32`, row-major.
    ///
    /// # Errors
    /// [`Error::MissingKey`], and the source's own errors.
    pub async fn tensor<S: ByteSource>(&self, source: &S, key: &str) -> Result<Vec<f32>> {
        let info = self.tensors.get(key).ok_or_else(|| Error::MissingKey {
            file: source.name().into(),
            key: key.into(),
            what: "a tensor".into(),
        })?;
        read_floats(source, key, &info.span, info.kind).await
    }
}

/// Reads the header of a file that is in memory.
///
/// # Errors
/// As [`Gguf::open`].
pub(crate) fn read_header(file: &str, bytes: &[u8]) -> Result<Gguf> {
    parse(file, bytes, bytes.len() as u64).map_err(|stop| match stop {
        Stop::Error(error) => error,
        Stop::Short { needed_bytes } => Error::Truncated {
            file: file.into(),
            what: "the header".into(),
            needed_bytes,
            found_bytes: bytes.len() as u64,
        },
    })
}

/// Reads a whole small file that is in memory: its metadata and all its tensors as floats.
///
/// # Errors
/// As [`Gguf::open`].
pub fn read_all(file: &str, bytes: &[u8]) -> Result<(Metadata, BTreeMap<String, HostTensor>)> {
    let gguf = read_header(file, bytes)?;
    let mut tensors = BTreeMap::new();
    for (key, TensorInfo { shape, kind, span }) in gguf.tensors {
        let start = usize::try_from(span.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(span.bytes).unwrap_or(usize::MAX));
        let bytes = bytes.get(start..end).unwrap_or_default();
        check_finite(file, &key, kind, bytes, 0)?;
        let values = dequantise(kind, bytes)?;
        tensors.insert(
            key,
            HostTensor {
                shape,
                data: HostData::Float(values),
            },
        );
    }
    Ok((gguf.metadata, tensors))
}
