//! GGUF, llama.cpp's container: typed metadata, a tensor table, then the tensors' data.
//!
//! The header (metadata and table) is read in growing pieces until it is complete, so that a file
//! of gigabytes costs a few megabytes to open. Nothing is allocated for a count that the file's
//! length cannot hold. Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

use crate::error::{Error, Result};
use crate::weights::quant::Kind;
use crate::weights::{
    ByteSource, HostData, HostTensor, Span, check_finite, check_overlap, elements, not_weights,
    quant, read_floats, shown,
};
use std::collections::BTreeMap;

const MAGIC: &[u8; 4] = b"GGUF";
/// The first piece of a header that is read; small models' headers are 1 to 8 MB.
const FIRST_BYTES: u64 = 1 << 20;
const DEFAULT_ALIGNMENT: u64 = 32;
const ALIGNMENT_KEY: &str = "general.alignment";
/// ggml has no tensors of more dimensions.
const MAX_DIMS: usize = 4;
/// Arrays inside arrays: nobody writes more than two levels.
const MAX_DEPTH: usize = 4;

/// Numbers that GGUF stores as they are: the kinds of [`Value`] and [`Array`] and their codes.
macro_rules! values {
    ($($name:ident($kind:ty) = $code:literal,)*) => {
        /// One value of a GGUF file's metadata.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "the variants are named after the types they hold")]
        pub enum Value {
            $($name($kind),)*
            Bool(bool),
            String(String),
            Array(Array),
        }

        /// A list of values of one type.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "the variants are named after the types they hold")]
        pub enum Array {
            $($name(Vec<$kind>),)*
            Bool(Vec<bool>),
            String(Vec<String>),
            Array(Vec<Array>),
        }

        impl Value {
            fn code(&self) -> u32 {
                match self {
                    $(Self::$name(_) => $code,)*
                    Self::Bool(_) => BOOL,
                    Self::String(_) => STRING,
                    Self::Array(_) => ARRAY,
                }
            }

            fn write(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(value) => out.extend(value.to_le_bytes()),)*
                    Self::Bool(value) => out.push(u8::from(*value)),
                    Self::String(value) => write_string(out, value),
                    Self::Array(value) => value.write(out),
                }
            }
        }

        impl Array {
            /// The items as whole numbers, if they are.
            fn integers(&self) -> Option<Vec<i64>> {
                match self {
                    $(Self::$name(items) => {
                        items.iter().map(|&item| Value::$name(item).integer()).collect()
                    })*
                    _ => None,
                }
            }

            fn write(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(items) => {
                        write_count(out, $code, items.len());
                        items.iter().for_each(|item| out.extend(item.to_le_bytes()));
                    })*
                    Self::Bool(items) => {
                        write_count(out, BOOL, items.len());
                        out.extend(items.iter().map(|&item| u8::from(item)));
                    }
                    Self::String(items) => {
                        write_count(out, STRING, items.len());
                        items.iter().for_each(|item| write_string(out, item));
                    }
                    Self::Array(items) => {
                        write_count(out, ARRAY, items.len());
                        items.iter().for_each(|item| item.write(out));
                    }
                }
            }
        }

        impl Cursor<'_> {
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

values! {
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
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

impl Value {
    fn integer(&self) -> Option<i64> {
        Some(match *self {
            Self::U8(value) => value.into(),
            Self::I8(value) => value.into(),
            Self::U16(value) => value.into(),
            Self::I16(value) => value.into(),
            Self::U32(value) => value.into(),
            Self::I32(value) => value.into(),
            Self::U64(value) => value.try_into().ok()?,
            Self::I64(value) => value,
            _ => return None,
        })
    }

    /// The value in a few words, for messages.
    fn shown(&self) -> String {
        match self {
            Self::String(text) => format!("\"{}\"", text.chars().take(40).collect::<String>()),
            Self::Array(_) => "an array".into(),
            Self::Bool(value) => value.to_string(),
            Self::F32(value) => value.to_string(),
            Self::F64(value) => value.to_string(),
            _ => self
                .integer()
                .map_or_else(|| "beyond 2^63".into(), |value| value.to_string()),
        }
    }
}

/// The key-value part of a GGUF file. Getters give `None` for an absent key and
/// [`Error::BadConfig`] for a value of another type.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    /// The file's name, for messages.
    pub file: String,
    /// Every pair.
    pub entries: BTreeMap<String, Value>,
}

impl Metadata {
    fn get<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.entries.get(key) else {
            return Ok(None);
        };
        convert(value).map(Some).ok_or_else(|| Error::BadConfig {
            file: self.file.clone(),
            field: key.into(),
            expected: expected.into(),
            found: value.shown(),
        })
    }

    /// A string.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is no string.
    pub fn string(&self, key: &str) -> Result<Option<&str>> {
        self.get(key, "a string", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A whole number of at least 0, whatever its width.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is none.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>> {
        self.get(key, "a whole number", |value| {
            value.integer()?.try_into().ok()
        })
    }

    /// A whole number of at least 0, or one for each of several things, such as blocks.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is neither.
    pub fn unsigned_each(&self, key: &str) -> Result<Option<Vec<u64>>> {
        self.get(key, "a whole number, or a list of them", |value| {
            let items = match value {
                Value::Array(items) => items.integers()?,
                value => vec![value.integer()?],
            };
            items.into_iter().map(|item| item.try_into().ok()).collect()
        })
    }

    /// A real number; whole numbers are taken too.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is no number.
    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a number", |value| match *value {
            Value::F32(value) => Some(value.into()),
            Value::F64(value) => Some(value),
            _ => value.integer().map(|value| value as f64),
        })
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is none.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "true or false", |value| match *value {
            Value::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// A list of strings.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is none.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>> {
        self.get(key, "a list of strings", |value| match value {
            Value::Array(Array::String(items)) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// A list of `f32`.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is none.
    pub fn floats(&self, key: &str) -> Result<Option<&[f32]>> {
        self.get(key, "a list of f32", |value| match value {
            Value::Array(Array::F32(items)) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// A list of `i32` (the type in which GGUF writes token types).
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the value is none.
    pub fn integers(&self, key: &str) -> Result<Option<&[i32]>> {
        self.get(key, "a list of i32", |value| match value {
            Value::Array(Array::I32(items)) => Some(items.as_slice()),
            _ => None,
        })
    }
}

/// One line of the tensor table.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Row-major shape, slowest dimension first (the file has it the other way round).
    pub shape: Vec<usize>,
    /// How the numbers are written.
    pub kind: Kind,
    pub(super) span: Span,
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
    /// [`Error::UnsupportedDtype`], [`Error::TensorBeyondFile`], and what the source says.
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
    /// [`Error::MissingKey`], and what the source says.
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
        Stop::Short { needed_bytes } => truncated(file, "the header", needed_bytes, bytes.len()),
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
        let values = quant::dequantise(kind, bytes)?;
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

/// A small GGUF file (version 3) with these metadata and these tensors as F32.
///
/// # Errors
/// [`Error::UnsupportedDtype`] for a tensor of integers, [`Error::WrongShape`] for one whose shape
/// does not fit its data or has more than four dimensions.
pub fn write(metadata: &[(String, Value)], tensors: &[(String, HostTensor)]) -> Result<Vec<u8>> {
    const FILE: &str = "the new GGUF file";
    let mut out = Vec::new();
    out.extend(MAGIC);
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        write_string(&mut out, key);
        out.extend(value.code().to_le_bytes());
        value.write(&mut out);
    }
    let mut data = Vec::new();
    for (key, tensor) in tensors {
        let HostData::Float(values) = &tensor.data else {
            return Err(Error::UnsupportedDtype {
                file: FILE.into(),
                key: key.clone(),
                found: "integers".into(),
                known: "F32 (to write)",
            });
        };
        if elements(&tensor.shape) != Some(values.len()) || tensor.shape.len() > MAX_DIMS {
            return Err(Error::WrongShape {
                file: FILE.into(),
                key: key.clone(),
                expected: format!("at most {MAX_DIMS} dimensions of {} numbers", values.len()),
                found: tensor.shape.clone(),
                hint: "give the shape of the data",
            });
        }
        write_string(&mut out, key);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        for &extent in tensor.shape.iter().rev() {
            out.extend((extent as u64).to_le_bytes());
        }
        out.extend(Kind::F32.ggml().to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        values
            .iter()
            .for_each(|value| data.extend(value.to_le_bytes()));
        data.resize(data.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
    }
    out.resize(out.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
    out.extend(data);
    Ok(out)
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn write_count(out: &mut Vec<u8>, code: u32, count: usize) {
    out.extend(code.to_le_bytes());
    out.extend((count as u64).to_le_bytes());
}

/// Why parsing ended early.
enum Stop {
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

type Parsed<T> = Result<T, Stop>;

fn truncated(file: &str, what: &str, needed_bytes: u64, found_bytes: usize) -> Error {
    let found_bytes = found_bytes as u64;
    Error::Truncated {
        file: file.into(),
        what: what.into(),
        needed_bytes,
        found_bytes,
    }
}

/// Walks over the first bytes of a file.
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

/// Parses a header from a file's first bytes.
fn parse(file: &str, bytes: &[u8], file_bytes: u64) -> Parsed<Gguf> {
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
