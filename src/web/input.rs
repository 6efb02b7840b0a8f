//! JavaScript values as Rust values: requests, addresses, files, adapters.

use js_sys::{Array, ArrayBuffer, Uint8Array, global};
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Blob, File, Url};

use super::blob::BlobSource;
use super::glue::{get, options};
use super::storage::blob;
use crate::adapters::{Headed, LARGE_BYTES};
use crate::checkpoint::AdapterFiles;
use crate::error::{Error, Result, megabytes};
use crate::session::{Request, Session};
use crate::weights::ByteSource;

/// A config is a few kilobytes of JSON; what is larger is something else.
const MAX_CONFIG_BYTES: u64 = 16_000_000;

/// A `GenerateRequest`.
pub(super) fn request(value: &JsValue) -> Result<Request> {
    options("request", "a request as its type says", value)
}

/// The `signal` of some options, if there is one.
pub(super) fn signal(options: &JsValue) -> Option<AbortSignal> {
    get(options, "signal").dyn_into().ok()
}

/// The address of a model that is not a file, made absolute.
pub(super) fn address(source: &JsValue) -> Result<String> {
    let text = source
        .as_string()
        .or_else(|| get(source, "href").as_string());
    let text = text.ok_or_else(|| Error::BadOption {
        name: "source",
        expected: "an address, a File or a Blob",
        found: format!("{source:?}"),
    })?;
    absolute(&text)
}

/// An address relative to the page or worker, made absolute.
pub(super) fn absolute(url: &str) -> Result<String> {
    let base = get(&get(&global(), "location"), "href")
        .as_string()
        .unwrap_or_default();
    let absolute = Url::new_with_base(url, &base).map_err(|_| Error::Network {
        url: url.to_owned(),
        why: "this is not an address".into(),
    })?;
    Ok(absolute.href())
}

/// A file's path inside the folder that was chosen with it; its name when it was chosen alone.
pub(super) fn path_in_folder(file: &File) -> String {
    let path = get(file, "webkitRelativePath").as_string();
    let inside = path.as_deref().and_then(|path| path.split_once('/'));
    inside.map_or_else(|| file.name(), |(_, inside)| inside.into())
}

/// A file that the user chose, as a source of bytes.
pub(super) fn blob_source(file: &File) -> BlobSource {
    BlobSource::new(file.name(), file.clone().into())
}

/// An adapter's files in memory. Of a large file the header is checked first: the module's memory
/// never shrinks again.
pub(super) async fn adapter_files(value: &JsValue, session: &Session) -> Result<AdapterFiles> {
    let (mut files, weights) = files_and_weights(value).await?;
    for expert in list(value, "experts")?.unwrap_or_default() {
        let expert = Box::pin(adapter_files(&expert, session)).await?;
        files.experts.push(expert);
    }
    if weights.len_bytes() >= LARGE_BYTES {
        let headed = Headed::read(files.clone(), &weights).await?;
        headed.check(&session.model).await?;
    }
    with_weights(files, &weights).await
}

/// The files with the bytes of the weights.
pub(super) async fn with_weights(
    files: AdapterFiles,
    weights: &BlobSource,
) -> Result<AdapterFiles> {
    let weights = weights.read_all().await?;
    Ok(AdapterFiles { weights, ..files })
}

/// An adapter's files without its experts, and the weights where the browser has them.
pub(super) async fn files_and_weights(value: &JsValue) -> Result<(AdapterFiles, BlobSource)> {
    let name = get(value, "name")
        .as_string()
        .unwrap_or_else(|| "adapter".into());
    let config = get(value, "config");
    let config_bytes = config.dyn_ref::<Blob>().map_or(0, |blob| {
        BlobSource::new(name.clone(), blob.clone()).len_bytes()
    });
    if config_bytes > MAX_CONFIG_BYTES {
        return Err(Error::BadConfig {
            file: format!("{name}/adapter_config.json"),
            field: "the file".into(),
            expected: "a JSON object".into(),
            found: megabytes(config_bytes),
        });
    }
    let config = bytes(&config, "config").await?;
    let weights = get(value, "weights");
    let weights = match weights.dyn_ref::<Blob>() {
        Some(blob) => blob.clone(),
        None if is_bytes(&weights) => blob(&Array::of1(&weights))?,
        None => {
            let nothing = weights.is_undefined() || weights.is_null();
            return Err(Error::BadOption {
                name: "weights",
                expected: "the bytes of adapter_model.safetensors or of a .gguf",
                found: if nothing {
                    "nothing".into()
                } else {
                    format!("{weights:?}")
                },
            });
        }
    };
    let weights = BlobSource::new("weights".into(), weights);
    let bases = bytes(&get(value, "bases"), "bases").await?;
    let task = get(value, "task");
    let number = task.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0);
    if number.is_none() && !task.is_undefined() && !task.is_null() {
        return Err(Error::BadOption {
            name: "task",
            expected: "a whole number from 0",
            found: format!("{task:?}"),
        });
    }
    let expert_weights = list(value, "expertWeights")?.map(|weights| {
        // What is no number becomes NaN, which every method refuses.
        let number = |weight: &JsValue| weight.as_f64().unwrap_or(f64::NAN) as f32;
        weights.iter().map(number).collect()
    });
    let files = AdapterFiles {
        name,
        config,
        weights: Vec::new(),
        bases,
        task: number.map(|n| n as usize),
        experts: Vec::new(),
        expert_weights,
    };
    Ok((files, weights))
}

/// The items of an optional list.
fn list(value: &JsValue, name: &'static str) -> Result<Option<Vec<JsValue>>> {
    let found = get(value, name);
    if found.is_undefined() || found.is_null() {
        return Ok(None);
    }
    match found.dyn_ref::<Array>() {
        Some(items) => Ok(Some(items.to_vec())),
        None => Err(Error::BadOption {
            name,
            expected: "a list",
            found: format!("{found:?}"),
        }),
    }
}

/// Bytes of an `ArrayBuffer`, a view of one, a `Blob`, or a string.
async fn bytes(value: &JsValue, name: &'static str) -> Result<Option<Vec<u8>>> {
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    if let Some(blob) = value.dyn_ref::<Blob>() {
        return BlobSource::new(name.into(), blob.clone())
            .read_all()
            .await
            .map(Some);
    }
    if let Some(text) = value.as_string() {
        return Ok(Some(text.into_bytes()));
    }
    if value.is_instance_of::<ArrayBuffer>() {
        return Ok(Some(Uint8Array::new(value).to_vec()));
    }
    if ArrayBuffer::is_view(value) {
        // Its bytes, whatever it views them as: given as it is, a `Uint16Array` would be cut to the
        // low bytes of its numbers, and a `DataView` would be empty.
        let extent = |name| get(value, name).as_f64().unwrap_or(0.0) as u32;
        let view = Uint8Array::new_with_byte_offset_and_length(
            &get(value, "buffer"),
            extent("byteOffset"),
            extent("byteLength"),
        );
        return Ok(Some(view.to_vec()));
    }
    let found = format!("{value:?}");
    Err(Error::BadOption {
        name,
        expected: "bytes, a Blob or a string",
        found,
    })
}

/// Whether it is an `ArrayBuffer` or a view of one.
fn is_bytes(value: &JsValue) -> bool {
    value.is_instance_of::<ArrayBuffer>() || ArrayBuffer::is_view(value)
}
