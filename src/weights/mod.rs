//! Reading weights: where bytes come from, how tensors are named, and how they become `f32`.
//!
//! ```text
//! source.rs       bytes: a buffer, a native file (the browser's own sources are in web/)
//! gguf/           the GGUF container, read and written
//! safetensors.rs  the safetensors container
//! quant.rs        blocks of numbers -> f32
//! hash.rs         fingerprints of files
//! split.rs        the parts of a GGUF file that was split
//! folder.rs       which files of a folder are the model, by their names
//! ```

pub mod folder;
pub mod gguf;
mod hash;
pub mod quant;
pub mod safetensors;
mod source;
pub(crate) mod split;

pub use hash::{hex, sha256};
pub use source::Bytes;
#[cfg(not(target_arch = "wasm32"))]
pub use source::NativeFile;

use std::ops::Range;

use crate::error::{Error, Result};

use quant::Kind;

/// Random access to the bytes of one file: a native file, a browser `Blob`, a buffer.
#[allow(
    async_fn_in_trait,
    reason = "used through generics only; nothing needs `Send` in a browser"
)]
pub trait ByteSource {
    /// The file's name, for messages.
    fn name(&self) -> &str;
    /// The file's length.
    fn len_bytes(&self) -> u64;
    /// Reads `bytes` bytes from `offset`.
    ///
    /// # Errors
    /// [`Error::Truncated`] beyond the end, [`Error::Io`] when reading fails.
    async fn read_at(&self, offset: u64, bytes: usize) -> Result<Vec<u8>>;
}

/// A tensor in host memory, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Extent of each dimension, slowest first.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: HostData,
}

impl HostTensor {
    /// Some of its rows.
    pub(crate) fn rows(&self, rows: std::ops::Range<usize>) -> Self {
        let width: usize = self.shape.iter().skip(1).product();
        let cut = rows.start * width..rows.end * width;
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        Self {
            shape,
            data: match &self.data {
                HostData::Float(values) => HostData::Float(values[cut].to_vec()),
                HostData::Int(values) => HostData::Int(values[cut].to_vec()),
            },
        }
    }
}

/// Numbers widened to one float and one integer type.
#[derive(Debug, Clone, PartialEq)]
pub enum HostData {
    /// F32, F16, BF16, F64 and dequantised blocks.
    Float(Vec<f32>),
    /// Every integer and boolean type.
    Int(Vec<i64>),
}

/// Most bytes of a file that are held at once while a tensor is read.
pub(crate) const PIECE_BYTES: usize = 4 << 20;

/// Where a tensor's numbers lie in a file, and how they are written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    /// First byte, counted from the start of the file.
    pub(crate) offset: u64,
    /// Bytes in the file.
    pub(crate) bytes: u64,
    /// Number of elements.
    elements: usize,
}

impl Span {
    /// The span of some rows of a matrix of so many, each of whole blocks.
    pub(crate) fn rows(&self, rows: Range<usize>, all: usize) -> Self {
        let all = all.max(1);
        let row_bytes = self.bytes / all as u64;
        Self {
            offset: self.offset + row_bytes * rows.start as u64,
            bytes: row_bytes * rows.len() as u64,
            elements: self.elements / all * rows.len(),
        }
    }
}

/// Reads and dequantises a tensor piece by piece: the result and one piece are in memory at once.
/// [`Error::NotFinite`] as in [`read_pieces`].
pub(crate) async fn read_floats<S: ByteSource>(
    source: &S,
    key: &str,
    span: &Span,
    kind: Kind,
) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(span.elements)
        .map_err(|_| Error::Io {
            file: source.name().into(),
            why: format!(
                "there is no memory for the {} numbers of `{key}`",
                span.elements
            ),
        })?;
    read_pieces(source, key, span, kind, |piece| {
        quant::dequantise_into(kind, piece, &mut values)
    })
    .await?;
    Ok(values)
}

/// Hands a tensor's bytes to `take`, whole blocks at a time, each after a look for numbers that are
/// not finite ([`Error::NotFinite`]). The tensor is called `key` in the file.
pub(crate) async fn read_pieces<S: ByteSource>(
    source: &S,
    key: &str,
    span: &Span,
    kind: Kind,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let piece = PIECE_BYTES - PIECE_BYTES % kind.block_bytes();
    let mut done = 0;
    while done < span.bytes {
        let bytes = usize::try_from(span.bytes - done)
            .unwrap_or(piece)
            .min(piece);
        let piece = source.read_at(span.offset + done, bytes).await?;
        let first = done / kind.block_bytes() as u64 * kind.block_len() as u64;
        check_finite(source.name(), key, kind, &piece, first)?;
        take(&piece)?;
        done += bytes as u64;
    }
    Ok(())
}

/// Refuses bytes of a tensor that hold NaN or an infinity. `first` is the place of their first
/// number in the tensor.
pub(crate) fn check_finite(
    file: &str,
    key: &str,
    kind: Kind,
    bytes: &[u8],
    first: u64,
) -> Result<()> {
    // VB-LoRA writes −∞ for the vectors that were not chosen; their weight is 0.
    let may_be_infinite = ["vblora_logits_A", "vblora_logits_B"];
    let may_be_infinite = may_be_infinite.into_iter().any(|end| key.ends_with(end));
    let mut before = 0;
    loop {
        let rest = bytes.get(before * kind.block_bytes()..).unwrap_or_default();
        let Some((at, found)) = quant::not_finite(kind, rest) else {
            return Ok(());
        };
        if may_be_infinite && found == f64::NEG_INFINITY && kind.block_len() == 1 {
            before += at + 1;
            continue;
        }
        let mut found = if found.is_finite() {
            format!("{found:e}, infinite in f32,")
        } else {
            found.to_string()
        };
        if kind.block_len() > 1 {
            found = format!("{found} as the scale of a block");
        }
        return Err(Error::NotFinite {
            file: file.into(),
            key: key.into(),
            found,
            element: usize::try_from(first).unwrap_or(usize::MAX) + before + at,
        });
    }
}

/// Refuses two tensors that share bytes: such a file is damaged or made to deceive.
fn check_overlap<'a>(file: &str, spans: impl Iterator<Item = (&'a str, &'a Span)>) -> Result<()> {
    let mut spans: Vec<_> = spans.filter(|(_, span)| span.bytes > 0).collect();
    spans.sort_by_key(|(_, span)| span.offset);
    for pair in spans.windows(2) {
        if let [(first, a), (second, b)] = pair
            && a.offset.saturating_add(a.bytes) > b.offset
        {
            let why = format!("tensors `{first}` and `{second}` overlap");
            return Err(Error::BadHeader {
                file: file.into(),
                why,
            });
        }
    }
    Ok(())
}

/// The product of a shape, if it is a number of elements that can be counted at all.
fn elements(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |product, &extent| product.checked_mul(extent))
}

/// The first bytes of a file as text, for [`Error::WrongMagic`].
fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        0 => "missing (the file is empty)".into(),
        count => format!("\"{}\"", bytes[..count.min(8)].escape_ascii()),
    }
}

/// What a file is that has been given in place of weights or a config, and what to do about it: a
/// phrase that follows "this is". Its first 512 bytes are enough.
pub(crate) fn not_weights(head: &[u8]) -> Option<&'static str> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let text = text.trim_ascii_start();
    let begins = |start: &str| {
        let found = text.get(..start.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(start.as_bytes()))
    };
    if begins("version https://git-lfs") || begins("version https://hawser") {
        return Some(
            "a Git LFS pointer, which only names the file: run `git lfs pull` in the repository, or \
             download the file itself",
        );
    }
    let html = ["<!doctype html", "<html", "<head", "<!--"];
    if html.into_iter().any(begins) {
        return Some(
            "a web page: download the file itself (on a hub's page with its download button, or \
             with `resolve` in place of `blob` in the address)",
        );
    }
    if begins("<?xml") {
        return Some("a server's answer in XML: download the file again");
    }
    let refusals = [
        "Entry not found",
        "Repository not found",
        "Invalid username or password",
        "Access to ",
        "Not Found",
        r#"{"error""#,
    ];
    if refusals.into_iter().any(begins) {
        return Some(
            "a server's refusal: check the address and your access, and download it again",
        );
    }
    // A zip archive since PyTorch 1.6, a bare pickle before. The length of a safetensors header may
    // begin as a pickle does, but ends in zeros.
    let pickle = matches!(head, [0x80, 2..=5, _, _, rest @ ..] if !rest.starts_with(&[0; 4]));
    if head.starts_with(b"PK\x03\x04") || (pickle && head.len() >= 8) {
        Some(PICKLED)
    } else {
        None
    }
}

/// What to do about PyTorch's own files; NAME stands for the file's.
pub(crate) const PICKLED: &str = "a PyTorch file, which may run programs when it is opened and is \
    not read here: convert it with python -c \"import torch; from safetensors.torch import \
    save_file; weights = torch.load('NAME.bin', map_location='cpu', weights_only=True); \
    save_file({k: v.clone().contiguous() for k, v in weights.items()}, 'NAME.safetensors')\"";

/// Refuses what is no file of weights: a Git LFS pointer, a web page, a server's refusal, a pickle.
/// Its first 512 bytes are enough.
///
/// # Errors
/// [`Error::BadHeader`] with what it is and what to do about it.
pub fn check_is_weights(file: &str, head: &[u8]) -> Result<()> {
    let name = file.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    match not_weights(head) {
        None => Ok(()),
        Some(what) => Err(Error::BadHeader {
            file: file.into(),
            why: format!("this is {}", what.replace("NAME", stem)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_weights_has_a_name() {
        for (head, part) in [
            (
                &b"version https://git-lfs.github.com/spec/v1\noid"[..],
                "git lfs pull",
            ),
            (b"\xef\xbb\xbf\n <!DOCTYPE html><html>", "a web page"),
            (b"<HTML lang=en>", "a web page"),
            (b"<?xml version='1.0'?><Error>", "XML"),
            (b"Entry not found", "refusal"),
            (b"{\"error\":\"Repository not found\"}", "refusal"),
            (b"PK\x03\x04 archive/data.pkl", "weights_only=True"),
            (b"\x80\x02ccollections", "weights_only=True"),
        ] {
            let found = not_weights(head).unwrap_or("nothing");
            assert!(found.contains(part), "{}: {found}", head.escape_ascii());
        }
        for head in [
            &b""[..],
            b"GGUF\x03",
            b"\x10\x02\0\0\0\0\0\0{\"a\"",
            b"{\"r\": 8}",
            b"\x80",
        ] {
            assert_eq!(not_weights(head), None, "{}", head.escape_ascii());
        }
        // Safetensors files whose headers are so long that they begin as a pickle does.
        assert_eq!(not_weights(b"\x80\x02\0\0\0\0\0\0{\"a\": 1}"), None);
        assert_eq!(not_weights(b"\x80\x02\x01\0\0\0\0\0{\"a\": 1}"), None);
    }
}
