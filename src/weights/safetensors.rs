//! safetensors, Hugging Face's container: a length, a JSON header, then the tensors' data.
//!
//! The header is checked against the file before a single tensor is read: what it says about
//! shapes, types and ranges must agree with itself and fill the file exactly, as the format asks.
//! Format: <https://github.com/huggingface/safetensors#format>

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::error::{Error, Result};
use crate::weights::quant::{self, Kind};
use crate::weights::{
    ByteSource, HostData, HostTensor, Span, check_finite, check_overlap, elements, not_weights,
    read_floats, shown,
};

/// Bytes of the header's length, at the start of the file.
const PREFIX_BYTES: u64 = 8;
/// Bytes that are enough to see what a file is if it is none of these.
const HEAD_BYTES: usize = 512;
/// Headers of real models are below 1 MB; the format's own library stops here too.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// How the numbers of a tensor are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// F32, F16, BF16 or F64.
    Float(Kind),
    /// A whole number of this many bytes, with a sign or without.
    Int {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// Whether it is in two's complement.
        signed: bool,
    },
    /// One byte, 0 or 1.
    Bool,
}

impl Dtype {
    const KNOWN: &'static str =
        "F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8 and BOOL";

    fn parse(name: &str) -> Option<Self> {
        let int = |bytes, signed| Self::Int { bytes, signed };
        Some(match name {
            "F64" => Self::Float(Kind::F64),
            "F32" => Self::Float(Kind::F32),
            "F16" => Self::Float(Kind::F16),
            "BF16" => Self::Float(Kind::BF16),
            "I64" => int(8, true),
            "I32" => int(4, true),
            "I16" => int(2, true),
            "I8" => int(1, true),
            "U64" => int(8, false),
            "U32" => int(4, false),
            "U16" => int(2, false),
            "U8" => int(1, false),
            "BOOL" => Self::Bool,
            _ => return None,
        })
    }

    fn item_bytes(self) -> u64 {
        match self {
            Self::Float(kind) => kind.block_bytes() as u64,
            Self::Int { bytes, .. } => bytes.into(),
            Self::Bool => 1,
        }
    }
}

/// One entry of the header.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Row-major shape, slowest dimension first.
    pub shape: Vec<usize>,
    /// How the numbers are written.
    pub dtype: Dtype,
    pub(crate) span: Span,
}

/// An opened safetensors file: everything but the tensors' data.
#[derive(Debug, Clone, PartialEq)]
pub struct SafeTensors {
    /// The header's `__metadata__`.
    pub metadata: BTreeMap<String, String>,
    /// The tensors by name; together they fill the file's data exactly.
    pub tensors: BTreeMap<String, TensorInfo>,
}

impl SafeTensors {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the header's length goes beyond the file, [`Error::BadHeader`],
    /// [`Error::UnsupportedDtype`], [`Error::TensorBeyondFile`], and what the source says.
    pub async fn open<S: ByteSource>(source: &S) -> Result<Self> {
        let file_bytes = source.len_bytes();
        let head = file_bytes.min(HEAD_BYTES as u64) as usize;
        let head = source.read_at(0, head).await?;
        let header_bytes = header_bytes(source.name(), &head, file_bytes)?;
        parse(
            source.name(),
            &source.read_at(PREFIX_BYTES, header_bytes).await?,
            file_bytes,
        )
    }

    /// Reads one tensor.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::BadHeader`] for an integer beyond `i64`, and what the
    /// source says.
    pub async fn tensor<S: ByteSource>(&self, source: &S, key: &str) -> Result<HostTensor> {
        let info = self.tensors.get(key).ok_or_else(|| Error::MissingKey {
            file: source.name().into(),
            key: key.into(),
            what: "a tensor".into(),
        })?;
        let shape = info.shape.clone();
        let data = match info.dtype {
            Dtype::Float(kind) => {
                HostData::Float(read_floats(source, key, &info.span, kind).await?)
            }
            dtype => {
                let bytes = usize::try_from(info.span.bytes).unwrap_or(usize::MAX);
                let bytes = source.read_at(info.span.offset, bytes).await?;
                HostData::Int(integers(source.name(), key, dtype, &bytes)?)
            }
        };
        Ok(HostTensor { shape, data })
    }
}

/// Reads a whole small file that is in memory: all its tensors.
///
/// # Errors
/// As [`SafeTensors::open`] and [`SafeTensors::tensor`]; [`Error::NotFinite`] for an infinity or NaN.
pub fn read_all(file: &str, bytes: &[u8]) -> Result<BTreeMap<String, HostTensor>> {
    read_with(file, bytes, |file, key, kind, bytes| {
        check_finite(file, key, kind, bytes, 0)
    })
}

/// As [`read_all`], infinities and NaN too.
///
/// # Errors
/// As [`SafeTensors::open`] and [`SafeTensors::tensor`].
pub fn read_any(file: &str, bytes: &[u8]) -> Result<BTreeMap<String, HostTensor>> {
    read_with(file, bytes, |_, _, _, _| Ok(()))
}

/// `check` sees the file's name, the tensor's, its type and its bytes.
fn read_with(
    file: &str,
    bytes: &[u8],
    check: impl Fn(&str, &str, Kind, &[u8]) -> Result<()>,
) -> Result<BTreeMap<String, HostTensor>> {
    let file_bytes = bytes.len() as u64;
    let head = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
    let header_end = PREFIX_BYTES as usize + header_bytes(file, head, file_bytes)?;
    let header = bytes
        .get(PREFIX_BYTES as usize..header_end)
        .unwrap_or_default();
    let mut tensors = BTreeMap::new();
    for (key, TensorInfo { shape, dtype, span }) in parse(file, header, file_bytes)?.tensors {
        let start = usize::try_from(span.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(span.bytes).unwrap_or(usize::MAX));
        let bytes = bytes.get(start..end).unwrap_or_default();
        let data = match dtype {
            Dtype::Float(kind) => {
                check(file, &key, kind, bytes)?;
                HostData::Float(quant::dequantise(kind, bytes)?)
            }
            dtype => HostData::Int(integers(file, &key, dtype, bytes)?),
        };
        tensors.insert(key, HostTensor { shape, data });
    }
    Ok(tensors)
}

/// Widens whole numbers and booleans.
fn integers(file: &str, key: &str, dtype: Dtype, bytes: &[u8]) -> Result<Vec<i64>> {
    fn each<const N: usize>(bytes: &[u8], widen: impl Fn([u8; N]) -> i64) -> Vec<i64> {
        bytes
            .as_chunks::<N>()
            .0
            .iter()
            .map(|item| widen(*item))
            .collect()
    }
    Ok(match dtype {
        Dtype::Int {
            bytes: 1,
            signed: true,
        } => each(bytes, |b| i8::from_le_bytes(b).into()),
        Dtype::Int {
            bytes: 2,
            signed: true,
        } => each(bytes, |b| i16::from_le_bytes(b).into()),
        Dtype::Int {
            bytes: 4,
            signed: true,
        } => each(bytes, |b| i32::from_le_bytes(b).into()),
        Dtype::Int { signed: true, .. } => each(bytes, i64::from_le_bytes),
        Dtype::Int { bytes: 2, .. } => each(bytes, |b| u16::from_le_bytes(b).into()),
        Dtype::Int { bytes: 4, .. } => each(bytes, |b| u32::from_le_bytes(b).into()),
        Dtype::Int { bytes: 8, .. } => {
            let (items, _rest) = bytes.as_chunks();
            let widened: Option<_> = items
                .iter()
                .map(|item| i64::try_from(u64::from_le_bytes(*item)).ok())
                .collect();
            widened.ok_or_else(|| Error::BadHeader {
                file: file.into(),
                why: format!("tensor `{key}` holds a number of 2^63 or more"),
            })?
        }
        _ => each(bytes, |[b]| b.into()),
    })
}

/// The header's length as the file's first bytes say it, if it can be true.
fn header_bytes(file: &str, head: &[u8], file_bytes: u64) -> Result<usize> {
    let truncated = |what: &str, needed_bytes| Error::Truncated {
        file: file.into(),
        what: what.into(),
        needed_bytes,
        found_bytes: file_bytes,
    };
    let Some(prefix) = head.first_chunk::<8>() else {
        return Err(truncated("the header's length", PREFIX_BYTES));
    };
    let header_bytes = u64::from_le_bytes(*prefix);
    if header_bytes > MAX_HEADER_BYTES {
        // Eight bytes of anything else read as a length: most often it is another kind of file.
        return Err(Error::WrongMagic {
            file: file.into(),
            expected: "safetensors",
            found: match not_weights(head) {
                Some(what) => format!("{}: this is {what}", shown(prefix)),
                None => format!("{}, a header of {header_bytes} bytes", shown(prefix)),
            },
        });
    }
    if header_bytes > file_bytes.saturating_sub(PREFIX_BYTES) {
        return Err(truncated("the header", PREFIX_BYTES + header_bytes));
    }
    usize::try_from(header_bytes).map_err(|_| truncated("the header", header_bytes))
}

/// The header as it is written.
#[derive(Default)]
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Header {
    /// By hand, because a map read into a map would keep one of two equal keys in silence.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Header;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Header, M::Error> {
                let mut header = Header::default();
                let mut seen_metadata = false;
                while let Some(key) = map.next_key::<String>()? {
                    let twice = if key == "__metadata__" {
                        header.metadata = map.next_value()?;
                        std::mem::replace(&mut seen_metadata, true)
                    } else {
                        header
                            .tensors
                            .insert(key.clone(), map.next_value()?)
                            .is_some()
                    };
                    if twice {
                        let why = format!("the key `{key}` occurs twice");
                        return Err(serde::de::Error::custom(why));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Parses the JSON header of a file of `file_bytes` bytes and checks it.
fn parse(file: &str, json: &[u8], file_bytes: u64) -> Result<SafeTensors> {
    let bad = |why: String| Error::BadHeader {
        file: file.into(),
        why,
    };
    let header: Header = serde_json::from_slice(json).map_err(|error| bad(error.to_string()))?;
    let data_start = PREFIX_BYTES + json.len() as u64;
    let mut tensors = BTreeMap::new();
    for (
        key,
        Entry {
            dtype: found,
            shape: extents,
            data_offsets: (start, end),
        },
    ) in header.tensors
    {
        let Some(dtype) = Dtype::parse(&found) else {
            let file = file.into();
            return Err(Error::UnsupportedDtype {
                file,
                key,
                found,
                known: Dtype::KNOWN,
            });
        };
        let shape: Option<Vec<usize>> = extents
            .iter()
            .map(|&extent| usize::try_from(extent).ok())
            .collect();
        let elements = shape.as_deref().and_then(elements);
        let bytes = elements.and_then(|count| (count as u64).checked_mul(dtype.item_bytes()));
        let (Some(shape), Some(elements), Some(bytes)) = (shape, elements, bytes) else {
            return Err(bad(format!(
                "tensor `{key}` has an impossible shape {extents:?}"
            )));
        };
        if end.checked_sub(start) != Some(bytes) {
            return Err(bad(format!(
                "tensor `{key}`: {found} {extents:?} is {bytes} bytes, but its range is {start} to \
                 {end}"
            )));
        }
        let end_bytes = end.saturating_add(data_start);
        if end_bytes > file_bytes {
            return Err(Error::TensorBeyondFile {
                file: file.into(),
                key,
                end_bytes,
                file_bytes,
            });
        }
        let span = Span {
            offset: start + data_start,
            bytes,
            elements,
        };
        tensors.insert(key, TensorInfo { shape, dtype, span });
    }
    check_overlap(
        file,
        tensors.iter().map(|(key, info)| (key.as_str(), &info.span)),
    )?;
    // Nothing overlaps and nothing is outside: equal sums mean that there are no gaps either.
    let used: u64 = tensors.values().map(|info| info.span.bytes).sum();
    let unused = file_bytes.saturating_sub(data_start).saturating_sub(used);
    if unused > 0 {
        return Err(bad(format!(
            "{unused} bytes of the file belong to no tensor"
        )));
    }
    Ok(SafeTensors {
        metadata: header.metadata,
        tensors,
    })
}

/// The `__metadata__` of a whole small file that is in memory.
///
/// # Errors
/// As [`SafeTensors::open`].
pub fn metadata(file: &str, bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    let head = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
    let file_bytes = bytes.len() as u64;
    let header_end = PREFIX_BYTES as usize + header_bytes(file, head, file_bytes)?;
    let header = bytes.get(PREFIX_BYTES as usize..header_end);
    Ok(parse(file, header.unwrap_or_default(), file_bytes)?.metadata)
}

/// A file of these tensors, floats in f32 and whole numbers in i64, with `__metadata__`.
///
/// # Errors
/// [`Error::BadHeader`] if the container refuses a tensor.
pub fn write(
    file: &str,
    tensors: &BTreeMap<String, HostTensor>,
    metadata: &[(&str, &str)],
) -> Result<Vec<u8>> {
    let bad = |error: safetensors::SafeTensorError| Error::BadHeader {
        file: file.into(),
        why: error.to_string(),
    };
    let bytes = |tensor: &HostTensor| -> (safetensors::Dtype, Vec<u8>) {
        match &tensor.data {
            HostData::Float(values) => (
                safetensors::Dtype::F32,
                values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ),
            HostData::Int(values) => (
                safetensors::Dtype::I64,
                values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ),
        }
    };
    let held: Vec<_> = tensors.values().map(bytes).collect();
    let mut views = Vec::with_capacity(held.len());
    for ((key, tensor), (dtype, bytes)) in tensors.iter().zip(&held) {
        let view = safetensors::tensor::TensorView::new(*dtype, tensor.shape.clone(), bytes);
        views.push((key.as_str(), view.map_err(bad)?));
    }
    let metadata = metadata
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()));
    safetensors::serialize(views, Some(metadata.collect())).map_err(bad)
}
