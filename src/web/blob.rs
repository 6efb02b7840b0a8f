//! A `Blob` or `File` as a source of bytes: read by windows, never whole, each while the one before is
//! worked on.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::JsValue;
use web_sys::Blob;

use super::glue::{ignore, message, wait};
use crate::error::{Error, Result};
use crate::weights::ByteSource;

/// A file that the browser holds, on disk or in its own memory.
#[derive(Debug, Clone)]
pub(super) struct BlobSource {
    name: String,
    blob: Blob,
    windows: Rc<RefCell<Windows>>,
}

/// Bytes of a window, but of the last.
const WINDOW_BYTES: u64 = 4 << 20;

/// The window that was read last and the one after it, by their places.
#[derive(Debug, Default)]
struct Windows {
    held: Option<(u64, Uint8Array)>,
    coming: Option<(u64, Promise)>,
}

impl BlobSource {
    pub(super) fn new(name: String, blob: Blob) -> Self {
        Self {
            name,
            blob,
            windows: Rc::default(),
        }
    }

    /// What the browser holds.
    pub(super) fn blob(&self) -> &Blob {
        &self.blob
    }

    /// The whole file, for small ones.
    pub(super) async fn read_all(&self) -> Result<Vec<u8>> {
        self.slice(0, self.len_bytes()).await
    }

    fn unread(&self, thrown: &JsValue) -> Error {
        Error::Io {
            file: self.name.clone(),
            why: message(thrown),
        }
    }

    async fn slice(&self, start: u64, end: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(end - start).unwrap_or(0));
        for place in start / WINDOW_BYTES..end.div_ceil(WINDOW_BYTES) {
            let (window, first) = (self.window(place).await?, place * WINDOW_BYTES);
            let last = end.min(first + WINDOW_BYTES) - first;
            let part = window.subarray(start.max(first).abs_diff(first) as u32, last as u32);
            let filled = bytes.len();
            bytes.resize(filled + part.length() as usize, 0);
            part.copy_to(&mut bytes[filled..]);
        }
        Ok(bytes)
    }

    /// A window, and the next one is asked for.
    async fn window(&self, place: u64) -> Result<Uint8Array> {
        if let Some((held, bytes)) = &self.windows.borrow().held
            && *held == place
        {
            return Ok(bytes.clone());
        }
        let coming = self.windows.borrow_mut().coming.take();
        let coming = match coming.filter(|(coming, _)| *coming == place) {
            Some((_, coming)) => coming,
            None => self.ask(place)?,
        };
        let buffer = wait(coming).await;
        let bytes = Uint8Array::new(&buffer.map_err(|thrown| self.unread(&thrown))?);
        let mut next = None;
        if (place + 1) * WINDOW_BYTES < self.len_bytes() {
            let coming = self.ask(place + 1)?;
            // Nobody may ever ask for it.
            ignore(coming.clone());
            next = Some((place + 1, coming));
        }
        *self.windows.borrow_mut() = Windows {
            held: Some((place, bytes.clone())),
            coming: next,
        };
        Ok(bytes)
    }

    #[allow(clippy::cast_precision_loss, reason = "no file has 2^53 bytes")]
    fn ask(&self, place: u64) -> Result<Promise> {
        let start = place * WINDOW_BYTES;
        let end = self.len_bytes().min(start + WINDOW_BYTES);
        let part = self.blob.slice_with_f64_and_f64(start as f64, end as f64);
        let part = part.map_err(|thrown| self.unread(&thrown))?;
        Ok(part.array_buffer())
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
        self.slice(offset, needed_bytes).await
    }
}
