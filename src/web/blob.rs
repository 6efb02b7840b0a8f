//! A `Blob` or `File` as a source of bytes: read by slices, never whole.

use js_sys::Uint8Array;
use web_sys::Blob;

use super::glue::{message, wait};
use crate::error::{Error, Result};
use crate::weights::ByteSource;

/// A file that the browser holds, on disk or in its own memory.
#[derive(Debug, Clone)]
pub(super) struct BlobSource {
    name: String,
    blob: Blob,
}

impl BlobSource {
    pub(super) fn new(name: String, blob: Blob) -> Self {
        Self { name, blob }
    }

    /// What the browser holds.
    pub(super) fn blob(&self) -> &Blob {
        &self.blob
    }

    /// The whole file, for small ones.
    pub(super) async fn read_all(&self) -> Result<Vec<u8>> {
        self.slice(0.0, self.blob.size()).await
    }

    #[allow(clippy::cast_precision_loss, reason = "no file has 2^53 bytes")]
    async fn slice(&self, start: f64, end: f64) -> Result<Vec<u8>> {
        let io = |thrown| Error::Io {
            file: self.name.clone(),
            why: message(&thrown),
        };
        let part = self.blob.slice_with_f64_and_f64(start, end).map_err(io)?;
        let buffer = wait(part.array_buffer()).await.map_err(io)?;
        Ok(Uint8Array::new(&buffer).to_vec())
    }
}

impl ByteSource for BlobSource {
    fn name(&self) -> &str {
        &self.name
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size is a whole number below 2^53"
    )]
    fn len_bytes(&self) -> u64 {
        self.blob.size() as u64
    }

    #[allow(clippy::cast_precision_loss, reason = "no file has 2^53 bytes")]
    async fn read_at(&self, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        let needed_bytes = offset.saturating_add(bytes as u64);
        if needed_bytes > self.len_bytes() {
            return Err(Error::Truncated {
                file: self.name.clone(),
                what: format!("a read of {bytes} bytes at byte {offset}"),
                needed_bytes,
                found_bytes: self.len_bytes(),
            });
        }
        self.slice(offset as f64, needed_bytes as f64).await
    }
}
