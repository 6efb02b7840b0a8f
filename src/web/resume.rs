//! What to do with a download that is missing, incomplete or complete: the sidecar kept beside each
//! file, and the decisions taken from it. No JS types, so that every branch is tested
//! natively.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::weights::sha256;

/// The facts about a downloaded file, stored as JSON beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// Where it came from.
    pub url: String,
    /// The server's version of the file (`ETag`, else `Last-Modified`), for `If-Range`.
    pub version: Option<String>,
    /// The full length, where the server reported it.
    pub size_bytes: Option<u64>,
    /// The SHA-256 in hex, once complete.
    pub sha256: Option<String>,
    /// Whether the whole file is here and its hash was checked.
    pub complete: bool,
}

/// What to ask of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: the stored file is whole and verified.
    Stored,
    /// The bytes from `from_bytes` on, if the file there is still `version`.
    Resume {
        /// How many bytes are kept.
        from_bytes: u64,
        /// Sent as `If-Range`; without it, only a known hash makes a resume safe.
        version: Option<String>,
    },
    /// Everything.
    Fresh,
    /// Everything, because the kept copy is damaged, for this reason.
    Damaged(String),
}

/// Plans a download from the sidecar, the stored length and the hash that the caller expects. Of an
/// incomplete file, only bytes with sums count as stored.
#[must_use]
pub fn plan(sidecar: Option<&Sidecar>, stored_bytes: u64, expected_sha256: Option<&str>) -> Plan {
    let Some(sidecar) = sidecar else {
        return Plan::Fresh;
    };
    if sidecar.complete {
        let same_hash = expected_sha256.is_none_or(|expected| {
            sidecar
                .sha256
                .as_deref()
                .is_some_and(|had| same(had, expected))
        });
        return match sidecar.size_bytes {
            _ if !same_hash => Plan::Fresh,
            Some(size_bytes) if size_bytes == stored_bytes => Plan::Stored,
            size_bytes => Plan::Damaged(format!(
                "it has {stored_bytes} bytes, not {}",
                size_bytes.unwrap_or(0)
            )),
        };
    }
    let longer = sidecar
        .size_bytes
        .is_some_and(|size_bytes| stored_bytes > size_bytes);
    // A weak tag means "equivalent", not "the same bytes": If-Range refuses it.
    let version = sidecar
        .version
        .clone()
        .filter(|version| !version.starts_with("W/"));
    if stored_bytes == 0 || longer || (version.is_none() && expected_sha256.is_none()) {
        return Plan::Fresh;
    }
    Plan::Resume {
        from_bytes: stored_bytes,
        version,
    }
}

/// What the server's answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The body starts at byte `from_bytes` of a file of `total_bytes`.
    Body {
        /// Zero unless the server agreed to resume.
        from_bytes: u64,
        /// Unknown when the server does not report it.
        total_bytes: Option<u64>,
    },
    /// The kept bytes cannot be continued: ask again for everything.
    StartOver,
    /// The server refused: its status says why.
    Refused,
}

/// Reads a response's status, `Content-Range` and `Content-Length`, given the plan.
#[must_use]
pub fn answer(
    plan: &Plan,
    status: u16,
    content_range: Option<&str>,
    content_length: Option<u64>,
) -> Answer {
    match (status, plan) {
        (200, _) => Answer::Body {
            from_bytes: 0,
            total_bytes: content_length,
        },
        (206, Plan::Resume { from_bytes, .. }) => match content_range.map(parse_range) {
            Some(Some((start, total_bytes))) if start == *from_bytes => Answer::Body {
                from_bytes: start,
                total_bytes,
            },
            // Another origin's server may hide the header. The hash of the whole tells in the end.
            None => Answer::Body {
                from_bytes: *from_bytes,
                total_bytes: content_length.map(|rest| rest + from_bytes),
            },
            Some(_) => Answer::StartOver,
        },
        // 416: the server has fewer bytes than we keep; 412: a proxy took If-Range for If-Match.
        (412 | 416, Plan::Resume { .. }) => Answer::StartOver,
        _ => Answer::Refused,
    }
}

/// `bytes 100-199/200` gives `(100, Some(200))`; an unknown total (`*`) gives `None`.
fn parse_range(header: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, total.trim().parse().ok()))
}

/// Checks the finished file's hash against the expected one.
///
/// # Errors
/// [`Error::HashMismatch`].
pub fn accept(file: &str, found: &str, expected: Option<&str>) -> Result<()> {
    match expected {
        Some(expected) if !same(found, expected) => Err(Error::HashMismatch {
            file: file.to_owned(),
            expected: expected.to_ascii_lowercase(),
            found: found.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Checks a kept copy against the SHA-256 that it was kept with; without one it is accepted.
///
/// # Errors
/// [`Error::DamagedCopy`].
pub fn judge(file: &str, found: &str, kept: Option<&str>) -> Result<()> {
    match kept {
        Some(kept) if !same(found, kept) => Err(Error::DamagedCopy {
            file: file.to_owned(),
            what: format!("its SHA-256 is {found}, not {kept}"),
            then: "load it again".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The error of a download that was to replace a damaged copy: without a connection it names the
/// damage.
#[must_use]
pub fn after_damage(file: &str, damage: Option<String>, error: Error) -> Error {
    match (damage, error) {
        (Some(what), Error::Network { why, .. }) => Error::DamagedCopy {
            file: file.to_owned(),
            what,
            then: format!("fetching it again failed ({why}): load it again with a connection"),
        },
        (_, error) => error,
    }
}

/// The warning about a damaged copy that was fetched again.
#[must_use]
pub fn mended(what: &str) -> String {
    format!("the copy kept in this browser was damaged ({what}); it was deleted and fetched again")
}

/// The stored file's name: stable per URL, readable in the browser's storage inspector.
#[must_use]
pub fn stored_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let last = path
        .rsplit('/')
        .find(|part| !part.is_empty())
        .unwrap_or("model");
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let readable: String = last
        .chars()
        .rev()
        .take(80)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .map(safe)
        .collect();
    format!("{}-{readable}", &sha256(url.as_bytes())[..16])
}

fn same(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(version: Option<&str>) -> Sidecar {
        Sidecar {
            url: "https://example.org/m.gguf".to_owned(),
            version: version.map(str::to_owned),
            size_bytes: Some(100),
            ..Sidecar::default()
        }
    }

    fn whole() -> Sidecar {
        Sidecar {
            complete: true,
            sha256: Some("ab".to_owned()),
            ..half(Some("\"1\""))
        }
    }

    #[test]
    fn plans() {
        let resume = |from_bytes, version: Option<&str>| Plan::Resume {
            from_bytes,
            version: version.map(str::to_owned),
        };
        let cases = [
            ("nothing stored", None, 0, None, Plan::Fresh),
            ("bytes of unknown origin", None, 50, Some("ab"), Plan::Fresh),
            ("whole", Some(whole()), 100, None, Plan::Stored),
            (
                "whole, hash in capitals",
                Some(whole()),
                100,
                Some("AB"),
                Plan::Stored,
            ),
            (
                "whole, another hash wanted",
                Some(whole()),
                100,
                Some("cd"),
                Plan::Fresh,
            ),
            (
                "said whole but shorter",
                Some(whole()),
                99,
                None,
                Plan::Damaged("it has 99 bytes, not 100".to_owned()),
            ),
            (
                "shorter, but another is wanted anyway",
                Some(whole()),
                99,
                Some("cd"),
                Plan::Fresh,
            ),
            (
                "half, strong tag",
                Some(half(Some("\"1\""))),
                40,
                None,
                resume(40, Some("\"1\"")),
            ),
            (
                "half, weak tag",
                Some(half(Some("W/\"1\""))),
                40,
                None,
                Plan::Fresh,
            ),
            (
                "half, weak tag but hash",
                Some(half(Some("W/\"1\""))),
                40,
                Some("ab"),
                resume(40, None),
            ),
            ("half, no version", Some(half(None)), 40, None, Plan::Fresh),
            (
                "half, longer than the file",
                Some(half(Some("\"1\""))),
                101,
                None,
                Plan::Fresh,
            ),
            (
                "sidecar only",
                Some(half(Some("\"1\""))),
                0,
                None,
                Plan::Fresh,
            ),
        ];
        for (what, sidecar, stored_bytes, hash, expected) in cases {
            assert_eq!(
                plan(sidecar.as_ref(), stored_bytes, hash),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn answers() {
        let resume = Plan::Resume {
            from_bytes: 40,
            version: None,
        };
        let body = |from_bytes, total_bytes| Answer::Body {
            from_bytes,
            total_bytes,
        };
        let cases = [
            (
                "fresh",
                &Plan::Fresh,
                200,
                None,
                Some(100),
                body(0, Some(100)),
            ),
            (
                "resumed",
                &resume,
                206,
                Some("bytes 40-99/100"),
                Some(60),
                body(40, Some(100)),
            ),
            (
                "resumed, total unknown",
                &resume,
                206,
                Some("bytes 40-99/*"),
                None,
                body(40, None),
            ),
            (
                "changed since",
                &resume,
                200,
                None,
                Some(90),
                body(0, Some(90)),
            ),
            (
                "another range",
                &resume,
                206,
                Some("bytes 0-99/100"),
                None,
                Answer::StartOver,
            ),
            (
                "resumed, the range hidden",
                &resume,
                206,
                None,
                Some(60),
                body(40, Some(100)),
            ),
            (
                "a range without a start",
                &resume,
                206,
                Some("bytes */100"),
                None,
                Answer::StartOver,
            ),
            (
                "nothing after it",
                &resume,
                416,
                None,
                None,
                Answer::StartOver,
            ),
        ];
        for (what, plan, status, range, length, expected) in cases {
            assert_eq!(answer(plan, status, range, length), expected, "{what}");
        }
        for status in [206, 404, 416, 500] {
            let found = answer(&Plan::Fresh, status, None, None);
            assert!(matches!(found, Answer::Refused), "{status}: {found:?}");
        }
    }

    #[test]
    fn hashes_are_compared_without_case_and_named_on_mismatch() {
        assert!(accept("m", "ab", None).is_ok());
        assert!(accept("m", "ab", Some("AB")).is_ok());
        assert_eq!(
            accept("m", "ab", Some("CD")).unwrap_err().code(),
            "hash-mismatch"
        );
    }

    #[test]
    fn a_kept_copy_is_judged_by_the_hash_it_was_kept_with() {
        assert!(judge("m", "ab", Some("AB")).is_ok());
        assert!(
            judge("m", "ab", None).is_ok(),
            "nothing is known against it"
        );
        let error = judge("m", "ab", Some("cd")).unwrap_err();
        assert_eq!(error.code(), "damaged-copy");
    }

    #[test]
    fn without_a_connection_the_damage_is_reported() {
        let network = || Error::Network {
            url: "https://a/m".to_owned(),
            why: "no route".to_owned(),
        };
        let damage = || Some("bytes 0 to 9 changed".to_owned());
        assert_eq!(after_damage("m", None, network()).code(), "network");
        assert_eq!(
            after_damage("m", damage(), Error::Aborted).code(),
            "aborted"
        );
        let error = after_damage("m", damage(), network());
        assert_eq!(error.code(), "damaged-copy");
        let words = error.to_string();
        for part in ["m:", "bytes 0 to 9 changed", "deleted", "no route"] {
            assert!(words.contains(part), "{part}: {words}");
        }
    }

    #[test]
    fn stored_names_are_safe_and_differ_by_url() {
        let name = stored_name("https://a.example/x/m%20 1.gguf?download=true");
        assert!(name.ends_with("-m_20_1.gguf"), "{name}");
        assert_ne!(
            stored_name("https://a/m.gguf"),
            stored_name("https://b/m.gguf")
        );
        assert_eq!(
            stored_name("https://a/m.gguf"),
            stored_name("https://a/m.gguf")
        );
    }
}
