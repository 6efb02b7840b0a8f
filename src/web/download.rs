//! A model by its address: kept in the browser's storage, hashed as it comes, continued where it
//! stopped.

use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, Promise, Reflect, Uint8Array};
use sha2::{Digest, Sha256};
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Headers, ReadableStreamDefaultReader, Request, RequestInit, Response};

use super::blob::BlobSource;
use super::glue::{check, get, ignore, message, wait};
use super::resume::{self, Answer, Plan, Sidecar, stored_name};
use super::storage::{Kept, Storage, Writer, available_bytes, blob, persist, scope};
use super::sums::{BLOCK_BYTES, Checked, Summing, Sums};
use crate::error::{Error, Result};
use crate::hub::refused;
use crate::weights::{ByteSource, hex};

#[wasm_bindgen(module = "/src/web/hub.js")]
extern "C" {
    #[wasm_bindgen(js_name = unanswered)]
    fn why_unanswered(url: &str) -> Promise;
}

/// Bytes between two flushes: what a crash may cost.
const FLUSH_BYTES: u64 = 32 << 20;
/// Bytes hashed before other work may run.
const HASH_BYTES: usize = 4 << 20;

/// A download to make.
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
    pub(super) source: Checked<BlobSource>,
    pub(super) sha256: String,
    /// Why it is not kept in the browser, if it is not.
    pub(super) note: Option<String>,
    /// What was wrong with the copy that was kept before, if it was damaged.
    pub(super) damage: Option<String>,
}

/// Gets the file from storage, or from the network into storage. With `damage`, the copy in storage
/// was found to be damaged, which is why.
///
/// # Errors
/// [`Error::Network`], [`Error::Unshared`], those of [`refused`], [`Error::QuotaExceeded`],
/// [`Error::HashMismatch`], [`Error::Aborted`],
/// [`Error::DamagedCopy`] when such a copy cannot be fetched again, [`Error::Io`] when another tab
/// has the file open.
pub(super) async fn fetch(want: &Want<'_>, damage: Option<String>) -> Result<Fetched> {
    let storage = if want.cache {
        Storage::open().await
    } else {
        Err("not kept, as you asked".to_owned())
    };
    match storage {
        Ok(storage) => fetch_kept(&storage, want, damage).await,
        Err(note) => {
            let fetched = fetch_unkept(want, note).await?;
            Ok(Fetched { damage, ..fetched })
        }
    }
}

async fn fetch_kept(
    storage: &Storage,
    want: &Want<'_>,
    mut damage: Option<String>,
) -> Result<Fetched> {
    let kept = storage.look(want.url).await;
    let (sums, expected) = (kept.sums.clone(), want.sha256.as_deref());
    let mut plan = resume::plan(kept.sidecar.as_ref(), kept.usable_bytes(), expected);
    if damage.is_none() && plan == Plan::Stored {
        match stored(storage, want, kept).await {
            Err(Error::DamagedCopy { what, .. }) => damage = Some(what),
            done => return done,
        }
    }
    if let Plan::Damaged(what) = &plan {
        damage.get_or_insert_with(|| what.clone());
    }
    if damage.is_some() {
        storage.forget(want.url).await;
        plan = Plan::Fresh;
    }
    persist();
    let resumed = matches!(plan, Plan::Resume { .. });
    let mut fetched = keep(storage, want, plan, &sums).await;
    if resumed && matches!(fetched, Err(Error::HashMismatch { .. })) {
        // The kept and the fetched part are of two versions of the file.
        storage.forget(want.url).await;
        fetched = keep(storage, want, Plan::Fresh, &sums).await;
    }
    match fetched {
        Ok(fetched) => Ok(Fetched { damage, ..fetched }),
        Err(error) => {
            if matches!(
                error,
                Error::QuotaExceeded { .. } | Error::HashMismatch { .. }
            ) {
                storage.forget(want.url).await;
            }
            Err(resume::after_damage(&file_name(want.url), damage, error))
        }
    }
}

/// The copy that is kept, whose blocks are checked as they are read. One without sums, as earlier
/// versions kept it, is read once from end to end and compared with the SHA-256 it was kept with.
async fn stored(storage: &Storage, want: &Want<'_>, kept: Kept) -> Result<Fetched> {
    let file = storage.file(&stored_name(want.url)).await?;
    let source = BlobSource::new(file_name(want.url), file.into());
    let sha256 = kept.sidecar.and_then(|sidecar| sidecar.sha256);
    let sums = if kept.sums.cover(source.len_bytes()) {
        kept.sums
    } else {
        let sums = examine(&source, want, sha256.as_deref()).await?;
        // If this fails, the file is read from end to end again next time.
        if let Ok(writer) = storage.write_sums(want.url).await {
            let _ = writer.replace(&sums.encode());
        }
        sums
    };
    Ok(Fetched {
        source: Checked::new(source, Some(sums)),
        sha256: sha256.unwrap_or_default(),
        note: None,
        damage: None,
    })
}

/// Reads a kept copy from end to end: its sums, if its SHA-256 is what it was.
async fn examine(source: &BlobSource, want: &Want<'_>, sha256: Option<&str>) -> Result<Sums> {
    let damaged = |error: Error| Error::DamagedCopy {
        file: source.name().to_owned(),
        what: format!("it cannot be read: {error}"),
        then: "load it again".to_owned(),
    };
    let total_bytes = source.len_bytes();
    let (mut hasher, mut summing, mut at) = (Sha256::new(), Summing::default(), 0);
    while at < total_bytes {
        let piece = usize::try_from(total_bytes - at).unwrap_or(HASH_BYTES);
        let piece = source.read_at(at, piece.min(HASH_BYTES)).await;
        let piece = piece.map_err(damaged)?;
        hasher.update(&piece);
        summing.update(&piece);
        at += piece.len() as u64;
        (want.progress)("verifying", at, total_bytes);
        check(want.signal.as_ref())?;
    }
    resume::judge(source.name(), &hex(&hasher.finalize()), sha256)?;
    Ok(summing.finish())
}

/// A file that is being written to the storage.
struct Incoming {
    writer: Writer,
    sums: Writer,
    hasher: Sha256,
    summing: Summing,
    at: u64,
    /// Bytes that would survive a crash.
    flushed: u64,
}

impl Incoming {
    async fn open(storage: &Storage, want: &Want<'_>) -> Result<Self> {
        Ok(Self {
            writer: storage.write(&stored_name(want.url)).await?,
            sums: storage.write_sums(want.url).await?,
            hasher: Sha256::new(),
            summing: Summing::default(),
            at: 0,
            flushed: 0,
        })
    }

    /// Takes the kept bytes, up to `bytes` and up to the first block that differs from its sum.
    async fn take_kept(&mut self, want: &Want<'_>, bytes: u64, sums: &Sums) -> Result<()> {
        let mut buffer = vec![0; BLOCK_BYTES];
        while self.at + (BLOCK_BYTES as u64) <= bytes {
            let read = self.writer.read_at(self.at, &mut buffer)?;
            let block = (self.at / BLOCK_BYTES as u64) as usize;
            if read < BLOCK_BYTES || !sums.holds(block, &buffer) {
                break;
            }
            self.take(&buffer);
            if self.at.is_multiple_of(HASH_BYTES as u64) {
                (want.progress)("verifying", self.at, bytes);
                TimeoutFuture::new(0).await;
                check(want.signal.as_ref())?;
            }
        }
        self.flushed = self.at;
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.summing.update(bytes);
        self.at += bytes.len() as u64;
    }

    /// Starts from nothing.
    fn start_over(&mut self) {
        (self.hasher, self.summing) = (Sha256::new(), Summing::default());
        (self.at, self.flushed) = (0, 0);
    }

    /// Writes the next bytes.
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_at(self.at, bytes)?;
        self.take(bytes);
        if self.at - self.flushed >= FLUSH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Bytes first, then their sums: never a sum without its block.
    fn flush(&mut self) -> Result<()> {
        self.writer.flush()?;
        self.sums.replace(&self.summing.so_far().encode())?;
        self.flushed = self.at;
        Ok(())
    }

    /// The SHA-256 in hex and the sums of all bytes.
    fn finish(self) -> Result<(String, Sums)> {
        self.writer.flush()?;
        let sums = self.summing.finish();
        self.sums.replace(&sums.encode())?;
        Ok((hex(&self.hasher.finalize()), sums))
    }
}

/// Gets the file, or the rest of it, and keeps it.
async fn keep(storage: &Storage, want: &Want<'_>, plan: Plan, sums: &Sums) -> Result<Fetched> {
    let name = stored_name(want.url);
    let file = file_name(want.url);
    let mut incoming = Incoming::open(storage, want).await?;
    let mut plan = match plan {
        Plan::Resume {
            from_bytes,
            version,
        } => {
            incoming.take_kept(want, from_bytes, sums).await?;
            match incoming.at {
                0 => Plan::Fresh,
                from_bytes => Plan::Resume {
                    from_bytes,
                    version,
                },
            }
        }
        _ => Plan::Fresh,
    };
    let mut body = Body::of(want, &mut plan).await?;
    if body.from_bytes == 0 {
        incoming.start_over();
    }
    let mut sidecar = Sidecar {
        url: want.url.to_owned(),
        version: body.version.clone(),
        size_bytes: body.total_bytes,
        ..Sidecar::default()
    };
    let total_bytes = body.total_bytes.unwrap_or(0);
    let missing = total_bytes.saturating_sub(body.from_bytes);
    let full = |available_bytes| Error::QuotaExceeded {
        needed_bytes: missing,
        available_bytes,
    };
    let available_bytes = available_bytes().await;
    if available_bytes.is_some_and(|available| available < missing) {
        return Err(full(available_bytes));
    }
    let quota = |error| match error {
        Error::QuotaExceeded { .. } => full(available_bytes),
        other => other,
    };
    incoming.writer.cut(incoming.at)?;
    storage.remember(&sidecar).await.map_err(quota)?;

    (want.progress)("downloading", incoming.at, total_bytes);
    let received = receive(want, &mut body, &mut incoming, total_bytes).await;
    if let Err(error) = received {
        // The bytes received so far are kept, unless there is no room for them.
        if !matches!(error, Error::QuotaExceeded { .. }) {
            let _ = incoming.flush();
        }
        return Err(quota(error));
    }
    let at = incoming.at;
    (want.progress)("verifying", at, at);
    let (sha256, sums) = incoming.finish().map_err(quota)?;
    resume::accept(&file, &sha256, want.sha256.as_deref())?;
    sidecar.size_bytes = Some(at);
    sidecar.sha256 = Some(sha256.clone());
    sidecar.complete = true;
    storage.remember(&sidecar).await.map_err(quota)?;
    let source = BlobSource::new(file, storage.file(&name).await?.into());
    Ok(Fetched {
        source: Checked::new(source, Some(sums)),
        sha256,
        note: None,
        damage: None,
    })
}

/// Takes a body to its end.
async fn receive(
    want: &Want<'_>,
    body: &mut Body,
    incoming: &mut Incoming,
    total_bytes: u64,
) -> Result<()> {
    while let Some(piece) = body.next(want).await? {
        incoming.put(&piece.to_vec())?;
        (want.progress)("downloading", incoming.at, total_bytes);
    }
    body.check_end(want, incoming.at)
}

/// Without storage: the browser holds the pieces as one blob, outside of the module's memory.
async fn fetch_unkept(want: &Want<'_>, note: String) -> Result<Fetched> {
    let Some(mut body) = Body::open(want, &Plan::Fresh).await? else {
        let why = "the server answered a range that nobody asked";
        return Err(network(want.url, why));
    };
    let total_bytes = body.total_bytes.unwrap_or(0);
    let (mut hasher, mut at, mut merged) = (Sha256::new(), 0, 0);
    let (whole, mut pieces) = (Array::new(), Array::new());
    while let Some(piece) = body.next(want).await? {
        hasher.update(piece.to_vec());
        at += u64::from(piece.length());
        pieces.push(&piece);
        if at - merged >= FLUSH_BYTES {
            whole.push(&blob(&pieces)?.into());
            (pieces, merged) = (Array::new(), at);
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
        source: Checked::new(source, None),
        sha256,
        note: Some(note),
        damage: None,
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
    /// Requests what the plan states, or less of it where the server refuses.
    async fn of(want: &Want<'_>, plan: &mut Plan) -> Result<Self> {
        loop {
            match Self::open(want, plan).await {
                Ok(Some(body)) => return Ok(body),
                Ok(None) => *plan = Plan::Fresh,
                // Another origin's server may not allow `If-Range`: ask without it.
                Err(error @ (Error::Network { .. } | Error::Unshared { .. })) => match plan {
                    Plan::Resume {
                        from_bytes,
                        version: Some(_),
                    } => {
                        *plan = if want.sha256.is_some() {
                            Plan::Resume {
                                from_bytes: *from_bytes,
                                version: None,
                            }
                        } else {
                            Plan::Fresh
                        };
                    }
                    _ => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// Requests what the plan states; `None` when the kept bytes cannot be continued.
    async fn open(want: &Want<'_>, plan: &Plan) -> Result<Option<Self>> {
        check(want.signal.as_ref())?;
        let lost = |thrown: JsValue| network(want.url, &message(&thrown));
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
        let response: Response = match wait(scope().fetch_with_request(&request)).await {
            Ok(response) => response.unchecked_into(),
            Err(thrown) => return Err(unanswered(want.url, want.signal.as_ref(), &thrown).await),
        };
        let header = |name: &str| response.headers().get(name).ok().flatten();
        // A compressed body has another length than the file.
        let plain = header("Content-Encoding").is_none();
        let length = header("Content-Length")
            .filter(|_| plain)
            .and_then(|text| text.parse().ok());
        let range = header("Content-Range");
        match resume::answer(plan, response.status(), range.as_deref(), length) {
            Answer::StartOver => Ok(None),
            Answer::Refused => {
                let code = header("X-Error-Code");
                Err(refused(want.url, response.status(), code.as_deref()))
            }
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
        let item = wait(self.reader.read()).await.map_err(|thrown| {
            let aborted = check(want.signal.as_ref()).err();
            aborted.unwrap_or_else(|| network(want.url, &message(&thrown)))
        })?;
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

/// The error of a request that had no answer.
pub(super) async fn unanswered(url: &str, signal: Option<&AbortSignal>, thrown: &JsValue) -> Error {
    if signal.is_some_and(AbortSignal::aborted) {
        return Error::Aborted;
    }
    let why = wait(why_unanswered(url))
        .await
        .ok()
        .and_then(|why| why.as_string());
    let url = url.to_owned();
    match why.as_deref() {
        Some("unshared") => Error::Unshared { url },
        Some("offline") => Error::Network {
            url,
            why: "there is no network".into(),
        },
        _ => Error::Network {
            url,
            why: message(thrown),
        },
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
