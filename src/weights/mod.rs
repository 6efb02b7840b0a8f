//! Reading weights: where bytes come from, how tensors are named, and how they become `f32`.
//!
//! ```text
//! source.rs       bytes: a buffer, a native file (the browser's own sources are in web/)
//! gguf.rs         the GGUF container, read and written
//! safetensors.rs  the safetensors container
//! quant.rs        blocks of numbers -> f32
//! llama.rs        both formats' configs and tensor names -> one config, one naming
//! model_file.rs   one façade over both, what the model loader sees
//! ```

pub mod gguf;
pub(crate) mod llama;
mod model_file;
pub mod quant;
pub mod safetensors;
mod source;

pub use model_file::ModelFile;
pub use source::Bytes;
#[cfg(not(target_arch = "wasm32"))]
pub use source::NativeFile;

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

/// Numbers widened to one float and one integer type.
#[derive(Debug, Clone, PartialEq)]
pub enum HostData {
    /// F32, F16, BF16, F64 and dequantised blocks.
    Float(Vec<f32>),
    /// Every integer and boolean type.
    Int(Vec<i64>),
}

/// Most bytes of a file that are held at once while a tensor is read.
const PIECE_BYTES: usize = 4 << 20;

/// Where a tensor's numbers lie in a file, and how they are written.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    /// First byte, counted from the start of the file.
    offset: u64,
    /// Bytes in the file.
    bytes: u64,
    /// Number of elements.
    elements: usize,
}

/// Reads and dequantises a tensor piece by piece: the result and one piece live at once.
async fn read_floats<S: ByteSource>(
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
    read_pieces(source, span, kind, |piece| {
        quant::dequantise_into(kind, piece, &mut values)
    })
    .await?;
    Ok(values)
}

/// Hands a tensor's bytes to `take`, whole blocks at a time.
async fn read_pieces<S: ByteSource>(
    source: &S,
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
        take(&source.read_at(span.offset + done, bytes).await?)?;
        done += bytes as u64;
    }
    Ok(())
}

/// Says so when two tensors share bytes: a file that does is damaged or made to confuse.
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

/// Refuses a tensor, read whole into `values`, for a number that is not finite as f32.
fn check_values(file: &str, key: &str, kind: Kind, bytes: &[u8], values: &[f32]) -> Result<()> {
    // VB-LoRA writes ln 0 for the vectors that were not chosen; their share is 0.
    let may_be_ln_0 = ["vblora_logits_A", "vblora_logits_B"];
    let may_be_ln_0 = may_be_ln_0.iter().any(|end| key.ends_with(end));
    let bad = |x: &f32| !x.is_finite() && !(may_be_ln_0 && *x == f32::NEG_INFINITY);
    let Some(element) = values.iter().position(bad) else {
        return Ok(());
    };
    let mut found = values[element].to_string();
    if let (Kind::F64, Some(number)) = (kind, bytes.as_chunks::<8>().0.get(element)) {
        let number = f64::from_le_bytes(*number);
        if number.is_finite() {
            found = format!("{number:e}, too large for f32,");
        }
    }
    Err(Error::NotFinite {
        file: file.into(),
        key: key.into(),
        found,
        element,
    })
}

/// The first bytes of a file as text, for [`Error::WrongMagic`].
fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        0 => "missing (the file is empty)".into(),
        count => format!("\"{}\"", bytes[..count.min(8)].escape_ascii()),
    }
}
