//! A model by its address: kept in the browser's storage, hashed as it comes, continued where it
//! stopped.

use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, Reflect, Uint8Array};
use sha2::{Digest, Sha256};
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Headers, ReadableStreamDefaultReader, Request, RequestInit, Response};

use super::blob::BlobSource;
use super::glue::{check, get, ignore, message, wait};
use super::resume::{self, Answer, Plan, Sidecar, hex, stored_name};
use super::storage::{Storage, available_bytes, blob, persist, scope};
use crate::error::{Error, Result};

/// Bytes between two flushes: what a crash may cost.
const FLUSH_BYTES: u64 = 8 << 20;
/// Bytes hashed before other work may run.
const HASH_BYTES: usize = 4 << 20;

/// What is wanted of a download.
pub(super) struct Want<'a> {
    pub(super) url: &'a str,
    pub(super) sha256: Option<String>,
    pub(super) cache: bool,
    pub(super) signal: Option<AbortSignal>,
    /// `(state, bytes, total bytes)`
    pub(super) progress: &'a dyn Fn(&str, u64, u64),
}

/// A whole, verified file.
pub(super) struct Fetched {
    pub(super) source: BlobSource,
    pub(super) sha256: String,
    /// Why it is not kept in the browser, if it is not.
    pub(super) note: Option<String>,
}

/// Gets the file from storage, or from the network into storage.
///
/// # Errors
/// [`Error::Network`], [`Error::QuotaExceeded`], [`Error::HashMismatch`], [`Error::Aborted`],
/// [`Error::Io`] when another tab is at it.
pub(super) async fn fetch(want: &Want<'_>) -> Result<Fetched> {
    let storage = match want.cache {
        true => Storage::open().await,
        false => Err("not kept, as you asked".to_owned()),
    };
    match storage {
        Ok(storage) => fetch_kept(&storage, want).await,
        Err(note) => fetch_unkept(want, note).await,
    }
}

async fn fetch_kept(storage: &Storage, want: &Want<'_>) -> Result<Fetched> {
    let (sidecar, bytes) = storage.look(want.url).await;
    let mut plan = resume::plan(sidecar.as_ref(), bytes, want.sha256.as_deref());
    if let (Plan::Stored, Some(sidecar)) = (&plan, sidecar) {
        let file = storage.file(&stored_name(want.url)).await?;
        let source = BlobSource::new(file_name(want.url), file.into());
        return Ok(Fetched {
            source,
            sha256: sidecar.sha256.unwrap_or_default(),
            note: None,
        });
    }
    let body = loop {
        match Body::open(want, &plan).await {
            Ok(Some(body)) => break body,
            Ok(None) => plan = Plan::Fresh,
            // Another origin's server may not admit `If-Range`: do without it.
            Err(Error::Network { .. })
                if matches!(
                    plan,
                    Plan::Resume {
                        version: Some(_),
                        ..
                    }
                ) =>
            {
                plan = match (want.sha256.is_some(), plan) {
                    (true, Plan::Resume { from_bytes, .. }) => Plan::Resume {
                        from_bytes,
                        version: None,
                    },
                    _ => Plan::Fresh,
                };
            }
            Err(error) => return Err(error),
        }
    };
    persist();
    match keep(storage, want, body).await {
        Err(Error::QuotaExceeded { needed_bytes, .. }) => {
            storage.forget(want.url).await;
            let available_bytes = available_bytes().await.unwrap_or(0);
            Err(Error::QuotaExceeded {
                needed_bytes,
                available_bytes,
            })
        }
        Err(error @ Error::HashMismatch { .. }) => {
            storage.forget(want.url).await;
            Err(error)
        }
        kept => kept,
    }
}

/// Writes the body behind what is already there, hashes everything, and remembers.
async fn keep(storage: &Storage, want: &Want<'_>, mut body: Body) -> Result<Fetched> {
    let name = stored_name(want.url);
    let file = file_name(want.url);
    let writer = storage.write(&name).await?;
    let mut sidecar = Sidecar {
        url: want.url.to_owned(),
        version: body.version.clone(),
        size_bytes: body.total_bytes,
        ..Sidecar::default()
    };
    let total_bytes = body.total_bytes.unwrap_or(0);
    let full = |_| Error::QuotaExceeded {
        needed_bytes: total_bytes,
        available_bytes: 0,
    };
    let missing = total_bytes.saturating_sub(body.from_bytes);
    if available_bytes()
        .await
        .is_some_and(|available| available < missing)
    {
        return Err(full(()));
    }
    let quota = |error| match error {
        Error::QuotaExceeded { .. } => full(()),
        other => other,
    };

    let mut hasher = Sha256::new();
    let mut at = 0;
    let mut buffer = vec![0; HASH_BYTES];
    while at < body.from_bytes {
        let left = usize::try_from(body.from_bytes - at)
            .unwrap_or(HASH_BYTES)
            .min(HASH_BYTES);
        let read = writer.read_at(at, &mut buffer[..left])?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        at += read as u64;
        (want.progress)("verifying", at, total_bytes);
        TimeoutFuture::new(0).await;
        check(want.signal.as_ref())?;
    }
    writer.cut(at)?;
    storage.remember(&sidecar).await.map_err(quota)?;

    let mut flushed = at;
    (want.progress)("downloading", at, total_bytes);
    while let Some(piece) = body.next(want).await? {
        let piece = piece.to_vec();
        hasher.update(&piece);
        writer.write_at(at, &piece).map_err(quota)?;
        at += piece.len() as u64;
        if at - flushed >= FLUSH_BYTES {
            writer.flush().map_err(quota)?;
            flushed = at;
        }
        (want.progress)("downloading", at, total_bytes);
    }
    writer.flush().map_err(quota)?;
    body.check_end(want, at)?;

    (want.progress)("verifying", at, at);
    let sha256 = hex(&hasher.finalize());
    resume::accept(&file, &sha256, want.sha256.as_deref())?;
    drop(writer);
    sidecar.size_bytes = Some(at);
    sidecar.sha256 = Some(sha256.clone());
    sidecar.complete = true;
    storage.remember(&sidecar).await.map_err(quota)?;
    let source = BlobSource::new(file, storage.file(&name).await?.into());
    Ok(Fetched {
        source,
        sha256,
        note: None,
    })
}

/// Without storage: the browser holds the pieces as one blob, outside of the module's memory.
async fn fetch_unkept(want: &Want<'_>, note: String) -> Result<Fetched> {
    let mut body = match Body::open(want, &Plan::Fresh).await? {
        Some(body) => body,
        None => {
            return Err(network(
                want.url,
                "the server answered a range that nobody asked",
            ));
        }
    };
    let total_bytes = body.total_bytes.unwrap_or(0);
    let (mut hasher, mut at, mut folded) = (Sha256::new(), 0, 0);
    let (whole, mut pieces) = (Array::new(), Array::new());
    while let Some(piece) = body.next(want).await? {
        hasher.update(piece.to_vec());
        at += u64::from(piece.length());
        pieces.push(&piece);
        if at - folded >= FLUSH_BYTES {
            whole.push(&blob(&pieces)?.into());
            (pieces, folded) = (Array::new(), at);
        }
        (want.progress)("downloading", at, total_bytes);
    }
    body.check_end(want, at)?;
    (want.progress)("verifying", at, at);
    let file = file_name(want.url);
    let sha256 = hex(&hasher.finalize());
    resume::accept(&file, &sha256, want.sha256.as_deref())?;
    whole.push(&blob(&pieces)?.into());
    let source = BlobSource::new(file, blob(&whole)?);
    Ok(Fetched {
        source,
        sha256,
        note: Some(note),
    })
}

/// A response being read.
struct Body {
    reader: ReadableStreamDefaultReader,
    from_bytes: u64,
    total_bytes: Option<u64>,
    version: Option<String>,
}

impl Body {
    /// Asks for what the plan says; `None` when the kept bytes cannot be continued.
    async fn open(want: &Want<'_>, plan: &Plan) -> Result<Option<Self>> {
        check(want.signal.as_ref())?;
        let lost = |thrown: JsValue| failed(want, &thrown);
        let headers = Headers::new().map_err(lost)?;
        if let Plan::Resume {
            from_bytes,
            version,
        } = plan
        {
            headers
                .set("Range", &format!("bytes={from_bytes}-"))
                .map_err(lost)?;
            if let Some(version) = version {
                headers.set("If-Range", version).map_err(lost)?;
            }
        }
        let init = RequestInit::new();
        init.set_headers(&headers);
        init.set_signal(want.signal.as_ref());
        // The storage keeps the file; the browser's own cache need not keep it twice.
        let _ = Reflect::set(&init, &"cache".into(), &"no-store".into());
        let request = Request::new_with_str_and_init(want.url, &init).map_err(lost)?;
        let response = wait(scope().fetch_with_request(&request))
            .await
            .map_err(lost)?;
        let response: Response = response.unchecked_into();
        let header = |name: &str| response.headers().get(name).ok().flatten();
        // A compressed body has another length than the file.
        let plain = header("Content-Encoding").is_none();
        let length = header("Content-Length")
            .filter(|_| plain)
            .and_then(|text| text.parse().ok());
        let range = header("Content-Range");
        match resume::answer(plan, response.status(), range.as_deref(), length) {
            Answer::StartOver => Ok(None),
            Answer::Refused(why) => Err(network(want.url, &why)),
            Answer::Body {
                from_bytes,
                total_bytes,
            } => {
                let body = response
                    .body()
                    .ok_or_else(|| network(want.url, "an empty answer"))?;
                let reader = ReadableStreamDefaultReader::new(&body).map_err(lost)?;
                let version = header("ETag").or_else(|| header("Last-Modified"));
                Ok(Some(Self {
                    reader,
                    from_bytes,
                    total_bytes,
                    version,
                }))
            }
        }
    }

    async fn next(&mut self, want: &Want<'_>) -> Result<Option<Uint8Array>> {
        check(want.signal.as_ref())?;
        let item = wait(self.reader.read())
            .await
            .map_err(|thrown| failed(want, &thrown))?;
        let done = get(&item, "done").is_truthy();
        Ok((!done).then(|| get(&item, "value").unchecked_into()))
    }

    /// A connection may end early without an error.
    fn check_end(&self, want: &Want<'_>, at: u64) -> Result<()> {
        match self.total_bytes {
            Some(total) if total != at => Err(network(
                want.url,
                &format!("the connection ended at byte {at} of {total}"),
            )),
            _ => Ok(()),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        ignore(self.reader.cancel());
    }
}

fn network(url: &str, why: &str) -> Error {
    Error::Network {
        url: url.to_owned(),
        why: why.to_owned(),
    }
}

fn failed(want: &Want<'_>, thrown: &JsValue) -> Error {
    match &want.signal {
        Some(signal) if signal.aborted() => Error::Aborted,
        _ => network(want.url, &message(thrown)),
    }
}

/// The last part of a URL's path.
fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.rsplit('/')
        .find(|part| !part.is_empty())
        .unwrap_or("model")
        .to_owned()
}
