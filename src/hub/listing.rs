//! A listing of the Hub: its files, each with its address; and what answers mean that are none.

use serde::Deserialize;

use super::place::{Place, encoded};
use crate::error::{Error, Result};

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From the repository on.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// In hex, where the Hub has it: of large files.
    pub sha256: Option<String>,
    /// What git calls this version of the file.
    pub oid: String,
}

impl Entry {
    /// Where it is fetched. What has no SHA-256 is told from its later versions by what stands after
    /// `#`, which no server is sent.
    #[must_use]
    pub fn url(&self, place: &Place) -> String {
        let (endpoint, repository) = (&place.endpoint, &place.repository);
        let revision = encoded(&place.revision, false);
        let path = encoded(&self.path, true);
        let version = match self.sha256 {
            Some(_) => String::new(),
            None => format!("#{}", self.oid),
        };
        format!("{endpoint}/{repository}/resolve/{revision}/{path}{version}")
    }
}

/// The files of one page of a listing.
///
/// # Errors
/// [`Error::BadConfig`] for what is no listing.
pub fn entries(place: &Place, page: &[u8]) -> Result<Vec<Entry>> {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(rename = "type")]
        kind: String,
        path: String,
        #[serde(default)]
        size: u64,
        #[serde(default)]
        oid: String,
        lfs: Option<Large>,
    }
    #[derive(Deserialize)]
    struct Large {
        oid: String,
        size: u64,
    }
    let listed: Vec<Listed> = serde_json::from_slice(page).map_err(|error| Error::BadConfig {
        file: place.tree(),
        field: "the listing".into(),
        expected: "a JSON list of files, as the Hub's".into(),
        found: error.to_string(),
    })?;
    let is_hash = |hex: &String| hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit());
    // A path that would lead out of the folder of a copy is none of a repository's.
    let is_inside = |path: &str| {
        !path.contains(['\\', ':']) && path.split('/').all(|part| !["", ".", ".."].contains(&part))
    };
    let files = listed
        .into_iter()
        .filter(|listed| listed.kind == "file" && is_inside(&listed.path));
    Ok(files
        .map(
            |Listed {
                 path,
                 size,
                 oid,
                 lfs,
                 ..
             }| Entry {
                path,
                bytes: lfs.as_ref().map_or(size, |large| large.size),
                sha256: lfs.map(|large| large.oid).filter(is_hash),
                oid,
            },
        )
        .collect())
}

/// Pages of a listing that are read: the Hub's have a thousand files each.
pub const MOST_PAGES: usize = 200;

/// The error for a listing whose pages go on beyond [`MOST_PAGES`], as those of a server that names a
/// page as its own next one do.
#[must_use]
pub fn endless(place: &Place) -> Error {
    Error::BadConfig {
        file: place.tree(),
        field: "the listing".into(),
        expected: format!(
            "at most {MOST_PAGES} pages: give the address of the file itself if there are as many"
        ),
        found: "more".into(),
    }
}

/// The error of an answer that is no success. `code` is the header `X-Error-Code`, by which the Hub
/// says what the status means.
#[must_use]
pub fn refused(what: &str, status: u16, code: Option<&str>) -> Error {
    let absent = |why: &str| Error::NotFound {
        file: what.into(),
        why: format!("{why} ({status})"),
    };
    match (status, code) {
        (_, Some("GatedRepo")) | (403, _) => Error::Gated {
            file: what.into(),
            status,
        },
        (_, Some("RevisionNotFound")) => absent("the repository has no such revision"),
        // Nobody is told that a private repository is there.
        (401, _) | (_, Some("RepoNotFound")) => {
            absent("there is no such repository, or it is private")
        }
        (404, _) => absent("the server has no such file"),
        (429, _) => network(
            what,
            "the server asks to wait, for too much was fetched (429)",
        ),
        _ => network(what, &format!("the server answered {status}")),
    }
}

fn network(url: &str, why: &str) -> Error {
    Error::Network {
        url: url.into(),
        why: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ENDPOINT;

    #[test]
    fn a_listing_is_files_with_addresses_and_without_a_hash_one_for_each_version() {
        let place = Place::of_id("o/n@refs/pr/1", ENDPOINT).unwrap();
        let hash = "a".repeat(64);
        let page = format!(
            r#"[{{"type":"directory","path":"a b","size":0,"oid":"c"}},
                {{"type":"file","path":"a b/m.gguf","size":130,"oid":"b0","lfs":{{"oid":"{hash}","size":7000,"pointerSize":130}}}},
                {{"type":"file","path":"config.json","size":10,"oid":"b1"}}]"#
        );
        let found = entries(&place, page.as_bytes()).unwrap();
        let outside = br#"[{"type":"file","path":"../x","size":1,"oid":"c"}, {"type":"file","path":"/x","size":1,"oid":"c"}]"#;
        assert_eq!(entries(&place, outside), Ok(vec![]));
        let facts: Vec<_> = found
            .iter()
            .map(|entry| (entry.bytes, entry.sha256.clone()))
            .collect();
        assert_eq!(facts, [(7000, Some(hash)), (10, None)]);
        let urls = found.iter().map(|entry| entry.url(&place));
        let start = "https://huggingface.co/o/n/resolve/refs%2Fpr%2F1";
        assert!(urls.eq([
            format!("{start}/a%20b/m.gguf"),
            format!("{start}/config.json#b1")
        ]));
        let error = entries(&place, b"<html>").unwrap_err();
        assert_eq!(error.code(), "bad-config");
    }

    #[test]
    fn answers_that_are_no_success_say_what_they_mean() {
        let table = [
            (401, Some("GatedRepo"), "gated"),
            (403, None, "gated"),
            (401, None, "not-found"),
            (404, None, "not-found"),
            (404, Some("RevisionNotFound"), "not-found"),
            (429, None, "network"),
            (500, None, "network"),
        ];
        for (status, code, expected) in table {
            let error = refused("o/n", status, code);
            assert_eq!(error.code(), expected, "{status} {code:?}");
            assert!(error.to_string().contains(&status.to_string()), "{error}");
        }
    }
}
