//! The header: a file's first bytes to metadata and tensor table, with every count and offset checked
//! against the file's length.

use std::collections::BTreeMap;

use super::{
    ARRAY, Array, BOOL, DEFAULT_ALIGNMENT, Gguf, MAGIC, MAX_DIMS, Metadata, STRING, TensorInfo,
    Value,
};
use crate::error::{Error, Result};
use crate::weights::quant::Kind;
use crate::weights::{Span, check_overlap, elements, not_weights, shown};

const ALIGNMENT_KEY: &str = "general.alignment";
/// Depth of arrays inside arrays; no known file has more than two levels.
const MAX_DEPTH: usize = 4;

/// Why parsing ended early.
pub(super) enum Stop {
    /// The header goes on beyond the bytes at hand, but not beyond the file.
    Short {
        needed_bytes: u64,
    },
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

pub(super) type Parsed<T> = Result<T, Stop>;

/// Reads through the first bytes of a file.
struct Cursor<'a> {
    file: &'a str,
    bytes: &'a [u8],
    file_bytes: u64,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn bad<T>(&self, why: String) -> Parsed<T> {
        Err(Error::BadHeader {
            file: self.file.into(),
            why,
        }
        .into())
    }

    fn take(&mut self, count: u64, what: &str) -> Parsed<&'a [u8]> {
        let needed_bytes = (self.at as u64).saturating_add(count);
        let end = usize::try_from(needed_bytes).unwrap_or(usize::MAX);
        if let Some(taken) = self.bytes.get(self.at..end) {
            self.at = end;
            return Ok(taken);
        }
        if needed_bytes > self.file_bytes {
            return Err(Error::Truncated {
                file: self.file.into(),
                what: format!("{what} in the header"),
                needed_bytes,
                found_bytes: self.file_bytes,
            }
            .into());
        }
        Err(Stop::Short { needed_bytes })
    }

    fn array<const N: usize>(&mut self, what: &str) -> Parsed<[u8; N]> {
        let taken = self.take(N as u64, what)?;
        Ok(taken.first_chunk().copied().unwrap_or([0; N]))
    }

    fn u32(&mut self, what: &str) -> Parsed<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Parsed<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn flag(&mut self) -> Parsed<bool> {
        match self.array("a boolean")? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => self.bad(format!("a boolean is {other}")),
        }
    }

    fn string(&mut self, what: &str) -> Parsed<String> {
        let count = self.u64(what)?;
        let bytes = self.take(count, what)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => self.bad(format!("{what} near byte {} is not UTF-8", self.at)),
        }
    }

    /// `count` items of at least `min_bytes` each; the count is believed only as far as the file
    /// can hold it.
    fn items<T>(
        &mut self,
        count: u64,
        min_bytes: usize,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let needed_bytes = count
            .saturating_mul(min_bytes as u64)
            .saturating_add(self.at as u64);
        if needed_bytes > self.file_bytes {
            return Err(Error::Truncated {
                file: self.file.into(),
                what: format!("a list of {count} items in the header"),
                needed_bytes,
                found_bytes: self.file_bytes,
            }
            .into());
        }
        if needed_bytes > self.bytes.len() as u64 {
            return Err(Stop::Short { needed_bytes });
        }
        (0..count).map(|_| item(self)).collect()
    }
}

macro_rules! read_values {
    ($($name:ident($kind:ty) = $code:literal,)*) => {
        impl Cursor<'_> {
            /// A value of the type with this code.
            fn value(&mut self, code: u32) -> Parsed<Value> {
                Ok(match code {
                    $($code => Value::$name(<$kind>::from_le_bytes(self.array("a value")?)),)*
                    BOOL => Value::Bool(self.flag()?),
                    STRING => Value::String(self.string("a string")?),
                    ARRAY => Value::Array(self.list(0)?),
                    _ => return self.bad(format!("there is no value type {code}")),
                })
            }

            fn list(&mut self, depth: usize) -> Parsed<Array> {
                if depth >= MAX_DEPTH {
                    return self.bad(format!("arrays are nested more than {MAX_DEPTH} deep"));
                }
                let code = self.u32("an array's type")?;
                let count = self.u64("an array's length")?;
                Ok(match code {
                    $($code => Array::$name(
                        self.items(count, size_of::<$kind>(), |cursor| {
                            Ok(<$kind>::from_le_bytes(cursor.array("an array")?))
                        })?
                    ),)*
                    BOOL => Array::Bool(self.items(count, 1, Self::flag)?),
                    STRING => Array::String(
                        self.items(count, 8, |cursor| cursor.string("an array of strings"))?
                    ),
                    ARRAY => Array::Array(self.items(count, 12, |cursor| cursor.list(depth + 1))?),
                    _ => return self.bad(format!("there is no value type {code}")),
                })
            }
        }
    };
}

for_numbers!(read_values);

/// Parses a header from a file's first bytes.
pub(super) fn parse(file: &str, bytes: &[u8], file_bytes: u64) -> Parsed<Gguf> {
    let mut cursor = Cursor {
        file,
        bytes,
        file_bytes,
        at: 0,
    };
    if bytes.get(..4) != Some(MAGIC) {
        let mut found = shown(bytes.get(..4).unwrap_or(bytes));
        if let Some(what) = not_weights(bytes) {
            found += &format!(": this is {what}");
        }
        return Err(Error::WrongMagic {
            file: file.into(),
            expected: "GGUF",
            found,
        }
        .into());
    }
    cursor.at = 4;
    let version = cursor.u32("the version")?;
    if !(2..=3).contains(&version) {
        let order = if (1..=3).contains(&version.swap_bytes()) {
            " (its bytes are big-endian)"
        } else {
            ""
        };
        return cursor.bad(format!(
            "version {version}{order}, this program reads 2 and 3"
        ));
    }
    let tensor_count = cursor.u64("the number of tensors")?;
    let pair_count = cursor.u64("the number of metadata")?;

    let mut metadata = Metadata {
        file: file.into(),
        entries: BTreeMap::new(),
    };
    for (key, value) in cursor.items(pair_count, 8 + 4 + 1, |cursor| {
        let key = cursor.string("a metadata key")?;
        let code = cursor.u32("a metadata type")?;
        Ok((key, cursor.value(code)?))
    })? {
        if metadata.entries.contains_key(&key) {
            return cursor.bad(format!("the key `{key}` occurs twice"));
        }
        metadata.entries.insert(key, value);
    }
    let table = cursor.items(tensor_count, 8 + 4 + 4 + 8, table_line)?;

    let alignment = metadata
        .unsigned(ALIGNMENT_KEY)?
        .unwrap_or(DEFAULT_ALIGNMENT);
    if !alignment.is_power_of_two() {
        return cursor.bad(format!(
            "`{ALIGNMENT_KEY}` is {alignment}, not a power of two"
        ));
    }
    let Some(data_start) = (cursor.at as u64).checked_next_multiple_of(alignment) else {
        return cursor.bad(format!("`{ALIGNMENT_KEY}` is {alignment}"));
    };

    let mut tensors = BTreeMap::new();
    for (key, mut info) in table {
        if !info.span.offset.is_multiple_of(alignment) {
            let offset = info.span.offset;
            return cursor.bad(format!("tensor `{key}`: offset {offset} is not aligned"));
        }
        info.span.offset = info.span.offset.saturating_add(data_start);
        let end_bytes = info.span.offset.saturating_add(info.span.bytes);
        if end_bytes > file_bytes {
            let file = file.into();
            return Err(Error::TensorBeyondFile {
                file,
                key,
                end_bytes,
                file_bytes,
            }
            .into());
        }
        if tensors.contains_key(&key) {
            return cursor.bad(format!("tensor `{key}` occurs twice"));
        }
        tensors.insert(key, info);
    }
    check_overlap(
        file,
        tensors.iter().map(|(key, info)| (key.as_str(), &info.span)),
    )?;
    Ok(Gguf {
        metadata,
        tensors,
        alignment,
    })
}

/// Reads one line of the table; its offset is still counted from the start of the data.
fn table_line(cursor: &mut Cursor<'_>) -> Parsed<(String, TensorInfo)> {
    let key = cursor.string("a tensor's name")?;
    let dims = cursor.u32("a tensor's number of dimensions")? as usize;
    if dims > MAX_DIMS {
        return cursor.bad(format!(
            "tensor `{key}` has {dims} dimensions, at most {MAX_DIMS}"
        ));
    }
    let mut shape = Vec::with_capacity(dims);
    for _ in 0..dims {
        let extent = cursor.u64("a tensor's shape")?;
        let Ok(extent) = usize::try_from(extent) else {
            return cursor.bad(format!("tensor `{key}` has an extent of {extent}"));
        };
        shape.push(extent);
    }
    let row = shape.first().copied().unwrap_or(1);
    shape.reverse();
    let id = cursor.u32("a tensor's type")?;
    let Some(kind) = Kind::from_ggml(id) else {
        return Err(Error::UnsupportedDtype {
            file: cursor.file.into(),
            key,
            found: format!("ggml type {id}{}", unread_name(id)),
            known: Kind::KNOWN,
        }
        .into());
    };
    if !row.is_multiple_of(kind.block_len()) {
        let block = kind.block_len();
        let name = kind.name();
        return cursor.bad(format!(
            "tensor `{key}`: rows of {row} in {name} blocks of {block}"
        ));
    }
    let elements = elements(&shape);
    let bytes = elements.and_then(|count| {
        u64::try_from(count / kind.block_len())
            .ok()?
            .checked_mul(kind.block_bytes() as u64)
    });
    let (Some(elements), Some(bytes)) = (elements, bytes) else {
        return cursor.bad(format!("tensor `{key}` has an impossible shape {shape:?}"));
    };
    let offset = cursor.u64("a tensor's offset")?;
    Ok((
        key,
        TensorInfo {
            shape,
            kind,
            span: Span {
                offset,
                bytes,
                elements,
            },
        },
    ))
}

/// The names of ggml types that are not read, so that a message can be searched for.
fn unread_name(id: u32) -> &'static str {
    match id {
        9 => " (Q8_1)",
        15 => " (Q8_K)",
        16 => " (IQ2_XXS)",
        17 => " (IQ2_XS)",
        18 => " (IQ3_XXS)",
        19 => " (IQ1_S)",
        21 => " (IQ3_S)",
        22 => " (IQ2_S)",
        23 => " (IQ4_XS)",
        24 => " (I8)",
        25 => " (I16)",
        26 => " (I32)",
        27 => " (I64)",
        29 => " (IQ1_M)",
        34 => " (TQ1_0)",
        35 => " (TQ2_0)",
        39 => " (MXFP4)",
        _ => "",
    }
}
