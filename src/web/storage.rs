//! Files kept in the browser: the origin private file system, a folder `models`, three files per
//! model, the bytes, their sums and their sidecar.

use js_sys::{Array, Uint8Array, global};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use web_sys::{
    Blob, File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions,
    FileSystemGetFileOptions, FileSystemReadWriteOptions, FileSystemSyncAccessHandle,
    StorageEstimate, StorageManager, WorkerGlobalScope,
};

use super::glue::{get, ignore, message, name, storage_root, wait};
use super::resume::{Sidecar, stored_name};
use super::sums::Sums;
use crate::error::{Error, Result};

const FOLDER: &str = "models";
const SIDECAR: &str = ".json";
const SUMS: &str = ".sums";

/// The folder of kept models.
#[derive(Debug)]
pub(super) struct Storage {
    folder: FileSystemDirectoryHandle,
}

/// The files kept for a URL.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) sidecar: Option<Sidecar>,
    /// Of its file.
    pub(super) bytes: u64,
    pub(super) sums: Sums,
}

impl Kept {
    /// Bytes that can be used: of an incomplete file only those with sums.
    pub(super) fn usable_bytes(&self) -> u64 {
        match &self.sidecar {
            Some(sidecar) if sidecar.complete => self.bytes,
            Some(_) => self.sums.whole_bytes(self.bytes),
            None => 0,
        }
    }
}

/// `CachedModel`: a kept file, as the page sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    #[serde(flatten)]
    sidecar: Sidecar,
    kept_bytes: u64,
}

/// The global scope: a worker's, or a window, which has all that is used of it here.
pub(super) fn scope() -> WorkerGlobalScope {
    global().unchecked_into()
}

fn manager() -> Option<StorageManager> {
    let manager = get(&scope().navigator(), "storage");
    (!manager.is_undefined()).then(|| manager.unchecked_into())
}

impl Storage {
    /// Opens it; `Err` says why nothing can be kept here.
    pub(super) async fn open() -> Result<Self, String> {
        let prototype = get(&get(&global(), "FileSystemFileHandle"), "prototype");
        if !get(&prototype, "createSyncAccessHandle").is_function() {
            return Err("not kept: this browser stores large files only from a worker".into());
        }
        manager().ok_or("not kept: this page has no storage (is it HTTPS?)")?;
        let refused = |thrown: JsValue| {
            format!(
                "not kept: this browser denies its storage here ({})",
                message(&thrown)
            )
        };
        let root: FileSystemDirectoryHandle = wait(storage_root())
            .await
            .map_err(refused)?
            .unchecked_into();
        let options = FileSystemGetDirectoryOptions::new();
        options.set_create(true);
        let folder = wait(root.get_directory_handle_with_options(FOLDER, &options));
        Ok(Self {
            folder: folder.await.map_err(refused)?.unchecked_into(),
        })
    }

    /// The files kept for a URL.
    pub(super) async fn look(&self, url: &str) -> Kept {
        let name = stored_name(url);
        let sidecar = self.sidecar(&format!("{name}{SIDECAR}")).await;
        let Some(sidecar) = sidecar.filter(|sidecar| sidecar.url == url) else {
            return Kept::default();
        };
        let bytes = match self.file(&name).await {
            Ok(file) => whole(file.size()),
            Err(_) => 0,
        };
        Kept {
            sidecar: Some(sidecar),
            bytes,
            sums: self.sums(&name).await.unwrap_or_default(),
        }
    }

    async fn sums(&self, name: &str) -> Option<Sums> {
        let file = self.file(&format!("{name}{SUMS}")).await.ok()?;
        let buffer = wait(file.array_buffer()).await.ok()?;
        Sums::decode(&Uint8Array::new(&buffer).to_vec())
    }

    /// A URL's file of sums for writing.
    pub(super) async fn write_sums(&self, url: &str) -> Result<Writer> {
        self.write(&format!("{}{SUMS}", stored_name(url))).await
    }

    async fn sidecar(&self, name: &str) -> Option<Sidecar> {
        let file = self.file(name).await.ok()?;
        let text = wait(file.text()).await.ok()?.as_string()?;
        serde_json::from_str(&text).ok()
    }

    /// A stored file for reading.
    pub(super) async fn file(&self, name: &str) -> Result<File> {
        let handle = wait(self.folder.get_file_handle(name))
            .await
            .map_err(io(name))?;
        let handle: FileSystemFileHandle = handle.unchecked_into();
        Ok(wait(handle.get_file())
            .await
            .map_err(io(name))?
            .unchecked_into())
    }

    /// A stored file for writing. One tab at a time can have it.
    pub(super) async fn write(&self, name: &str) -> Result<Writer> {
        let options = FileSystemGetFileOptions::new();
        options.set_create(true);
        let handle = wait(self.folder.get_file_handle_with_options(name, &options)).await;
        let handle: FileSystemFileHandle = handle.map_err(io(name))?.unchecked_into();
        let opened = wait(handle.create_sync_access_handle())
            .await
            .map_err(|thrown| {
                let taken = self::name(&thrown) == "NoModificationAllowedError";
                let why = if taken {
                    "another tab is loading it; wait for it, or close that tab".into()
                } else {
                    message(&thrown)
                };
                Error::Io {
                    file: name.into(),
                    why,
                }
            })?;
        Ok(Writer {
            name: name.into(),
            handle: opened.unchecked_into(),
        })
    }

    /// Writes a sidecar.
    pub(super) async fn remember(&self, sidecar: &Sidecar) -> Result<()> {
        let name = format!("{}{SIDECAR}", stored_name(&sidecar.url));
        let text = serde_json::to_vec(sidecar).unwrap_or_default();
        let writer = self.write(&name).await?;
        writer.replace(&text)
    }

    /// Deletes everything that is kept of a URL; nothing kept is no error.
    pub(super) async fn forget(&self, url: &str) {
        let name = stored_name(url);
        for name in [format!("{name}{SIDECAR}"), format!("{name}{SUMS}"), name] {
            let _ = wait(self.folder.remove_entry(&name)).await;
        }
    }

    /// All complete files, and all incomplete ones that a download would resume.
    pub(super) async fn list(&self) -> Vec<Listed> {
        let mut found = Vec::new();
        let keys = self.folder.keys();
        while let Ok(next) = keys.next() {
            let Ok(item) = wait(next).await else { break };
            if get(&item, "done").is_truthy() {
                break;
            }
            let name = get(&item, "value").as_string().unwrap_or_default();
            if !name.ends_with(SIDECAR) {
                continue;
            }
            let Some(sidecar) = self.sidecar(&name).await else {
                continue;
            };
            let kept = self.look(&sidecar.url).await;
            let kept_bytes = kept.usable_bytes();
            if let Some(sidecar) = kept
                .sidecar
                .filter(|sidecar| sidecar.complete || kept_bytes > 0)
            {
                found.push(Listed {
                    sidecar,
                    kept_bytes,
                });
            }
        }
        found
    }
}

/// Deletes everything that is kept of an address.
pub(super) async fn forget(url: &str) {
    if let Ok(storage) = Storage::open().await {
        storage.forget(url).await;
    }
}

/// The error of a full storage; the caller adds the figures.
const FULL: Error = Error::QuotaExceeded {
    needed_bytes: 0,
    available_bytes: None,
};

/// A stored file open for writing; closed, and so unlocked, when dropped.
#[derive(Debug)]
pub(super) struct Writer {
    name: String,
    handle: FileSystemSyncAccessHandle,
}

impl Writer {
    /// Writes all bytes at an offset.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`] (with no figures yet) when the storage is full.
    pub(super) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let options = FileSystemReadWriteOptions::new();
        options.set_at(float(offset));
        let written = self.handle.write_with_u8_array_and_options(bytes, &options);
        match written {
            Ok(count) if whole(count) == bytes.len() as u64 => Ok(()),
            Ok(_) => Err(FULL),
            Err(thrown) if name(&thrown) == "QuotaExceededError" => Err(FULL),
            Err(thrown) => Err(io(&self.name)(thrown)),
        }
    }

    /// Writes these bytes in place of all that is there.
    ///
    /// # Errors
    /// As [`Self::write_at`].
    pub(super) fn replace(&self, bytes: &[u8]) -> Result<()> {
        self.cut(0)?;
        self.write_at(0, bytes)?;
        self.flush()
    }

    /// Reads from an offset into the buffer; how many bytes there were.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let options = FileSystemReadWriteOptions::new();
        options.set_at(float(offset));
        let read = self.handle.read_with_u8_array_and_options(buffer, &options);
        read.map(|count| whole(count) as usize)
            .map_err(io(&self.name))
    }

    /// Cuts the file to a length.
    pub(super) fn cut(&self, bytes: u64) -> Result<()> {
        self.handle
            .truncate_with_f64(float(bytes))
            .map_err(io(&self.name))
    }

    /// Makes what was written survive a crash.
    pub(super) fn flush(&self) -> Result<()> {
        self.handle.flush().map_err(io(&self.name))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// Bytes that the browser would still let us keep, if it reports them.
pub(super) async fn available_bytes() -> Option<u64> {
    let estimate: StorageEstimate = wait(manager()?.estimate().ok()?)
        .await
        .ok()?
        .unchecked_into();
    let (quota, usage) = (estimate.get_quota()?, estimate.get_usage()?);
    Some(whole((quota - usage).max(0.0)))
}

/// Asks the browser not to delete what is kept when space gets scarce.
pub(super) fn persist() {
    if let Some(asked) = manager().and_then(|manager| manager.persist().ok()) {
        ignore(asked);
    }
}

/// A blob of pieces, held by the browser outside of the module's memory.
pub(super) fn blob(pieces: &Array) -> Result<Blob> {
    Blob::new_with_u8_array_sequence(pieces).map_err(io("download"))
}

fn io(file: &str) -> impl Fn(JsValue) -> Error {
    move |thrown| Error::Io {
        file: file.to_owned(),
        why: message(&thrown),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are whole numbers below 2^53"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[allow(clippy::cast_precision_loss, reason = "no file has 2^53 bytes")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}
