//! A file by its address: fetched, gone on with where it stopped, and kept once its SHA-256 is right.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use sha2::{Digest, Sha256};
use steering_playground::error::{Error, Result, megabytes};
use steering_playground::hub::refused;
use steering_playground::weights::hex;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::files::io_error;

/// A file to fetch.
pub(crate) struct Want<'a> {
    pub(crate) url: &'a str,
    /// For messages.
    pub(crate) what: &'a str,
    pub(crate) sha256: Option<&'a str>,
    /// A copy that was kept as another version is fetched again.
    pub(crate) version: &'a str,
    pub(crate) bytes: Option<u64>,
    pub(crate) to: &'a Path,
}

static AGENT: LazyLock<Agent> = LazyLock::new(|| {
    let patience = Some(Duration::from_secs(30));
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(patience)
        .timeout_recv_response(patience)
        .user_agent(concat!("steer/", env!("CARGO_PKG_VERSION")));
    config.build().into()
});

/// Asks for an address, with headers.
fn ask(url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>> {
    let bare = url.split('#').next().unwrap_or(url);
    let request = AGENT.get(bare);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.call().map_err(|error| network(bare, &error))
}

fn network(url: &str, why: &dyn ToString) -> Error {
    Error::Network {
        url: url.into(),
        why: why.to_string(),
    }
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
}

fn check(what: &str, response: &Response<Body>) -> Result<()> {
    match response.status().as_u16() {
        200 | 206 => Ok(()),
        status => Err(refused(what, status, header(response, "X-Error-Code"))),
    }
}

/// A short text, and the address of its next page, if it has one.
///
/// # Errors
/// [`Error::Network`], and those of [`refused`].
pub(crate) fn text(url: &str, what: &str) -> Result<(String, Option<String>)> {
    let mut response = ask(url, &[])?;
    check(what, &response)?;
    let links = header(&response, "Link").unwrap_or_default().split(',');
    let next = links
        .filter(|link| link.contains("rel=\"next\""))
        .find_map(|link| {
            let (address, _) = link.trim().strip_prefix('<')?.split_once('>')?;
            Some(address.to_owned())
        });
    let text = response.body_mut().read_to_string();
    Ok((text.map_err(|error| network(url, &error))?, next))
}

/// Fetches a file unless it is kept.
///
/// # Errors
/// [`Error::HashMismatch`], [`Error::Network`], [`Error::Io`], and those of [`refused`].
pub(crate) fn fetch(want: &Want) -> Result<()> {
    let sign = beside(want.to, "version");
    let kept = fs::metadata(want.to).ok();
    let is_whole = |bytes: u64| want.bytes.is_none_or(|all| all == bytes);
    let same = || fs::read_to_string(&sign).is_ok_and(|version| version == want.version);
    if kept.is_some_and(|kept| is_whole(kept.len())) && same() {
        return Ok(());
    }
    let folder = want.to.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder).map_err(|error| io_error(folder, &error))?;
    let part = beside(want.to, "part");
    let size = want
        .bytes
        .map_or_else(String::new, |bytes| format!(" ({})", megabytes(bytes)));
    eprintln!("steer: fetching {}{size}", want.what);
    let mut found = whole(want, &part, true)?;
    if differs(want, &found) && found.resumed {
        // The kept and the fetched part are of two versions of the file.
        found = whole(want, &part, false)?;
    }
    if differs(want, &found) {
        let _ = fs::remove_file(&part);
        return Err(Error::HashMismatch {
            file: want.what.into(),
            expected: want.sha256.unwrap_or_default().into(),
            found: found.sha256,
        });
    }
    fs::rename(&part, want.to).map_err(|error| io_error(want.to, &error))?;
    fs::write(&sign, want.version).map_err(|error| io_error(&sign, &error))
}

/// What came.
struct Found {
    sha256: String,
    resumed: bool,
}

fn differs(want: &Want, found: &Found) -> bool {
    want.sha256
        .is_some_and(|expected| !expected.eq_ignore_ascii_case(&found.sha256))
}

/// Brings `part` to its end: from where it stopped, if it may be and the server agrees.
fn whole(want: &Want, part: &Path, resume: bool) -> Result<Found> {
    let io = |error: io::Error| io_error(part, &error);
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(part)
        .map_err(io)?;
    // Only a hash tells whether two parts are of one file.
    if !resume || want.sha256.is_none() {
        file.set_len(0).map_err(io)?;
    }
    let mut hasher = Sha256::new();
    let start = io::copy(&mut file, &mut hasher).map_err(io)?;
    if start > 0 && Some(start) == want.bytes {
        return Ok(Found {
            sha256: hex(&hasher.finalize()),
            resumed: true,
        });
    }
    let range = format!("bytes={start}-");
    let headers = [("Range", range.as_str())];
    let mut response = ask(want.url, if start > 0 { &headers } else { &[] })?;
    if response.status().as_u16() == 416 {
        response = ask(want.url, &[])?;
    }
    check(want.what, &response)?;
    let resumed = response.status().as_u16() == 206;
    let continues = header(&response, "Content-Range")
        .is_some_and(|range| range.starts_with(&format!("bytes {start}-")));
    if resumed && !continues {
        return Err(network(
            want.url,
            &"the server gave another part than was asked for",
        ));
    }
    if !resumed {
        file.set_len(0).map_err(io)?;
        hasher = Sha256::new();
    }
    copy(
        want,
        &mut response.into_body().into_reader(),
        &mut file,
        &mut hasher,
    )?;
    let came = file.metadata().map_err(io)?.len();
    if let Some(all) = want.bytes.filter(|all| came < *all) {
        return Err(network(
            want.url,
            &format!("the connection ended at byte {came} of {all}"),
        ));
    }
    Ok(Found {
        sha256: hex(&hasher.finalize()),
        resumed,
    })
}

/// Takes a body to its end. What came is kept when the line breaks.
fn copy(want: &Want, body: &mut impl Read, file: &mut File, hasher: &mut Sha256) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = body
            .read(&mut buffer)
            .map_err(|error| network(want.url, &error))?;
        let Some(piece @ [_, ..]) = buffer.get(..read) else {
            return Ok(());
        };
        file.write_all(piece)
            .map_err(|error| io_error(want.to, &error))?;
        hasher.update(piece);
    }
}

/// The file itself with another ending after its own.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    name.into()
}
