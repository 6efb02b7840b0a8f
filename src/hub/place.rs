//! An address of the Hub: a repository, or a file or folder of it.

use crate::error::{Error, Result};

/// Where the Hub is, unless the caller has another or a mirror of it.
pub const ENDPOINT: &str = "https://huggingface.co";
/// What an address of the Hub begins with here: `hub:owner/name/file@revision`.
pub const SCHEME: &str = "hub:";

/// By which an adapter's folder may be named.
pub(super) const ADAPTER_CONFIG: &str = "adapter_config.json";

/// A repository, or a file or folder of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Such as [`ENDPOINT`], without a slash at its end.
    pub endpoint: String,
    /// `owner/name`
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// Of a file or a folder; empty for the repository itself.
    pub path: String,
}

impl Place {
    /// Reads `hub:owner/name`, with `/file` and `@revision` where they are wanted, or the address of
    /// a page or file of the Hub at `endpoint`; `None` for any other text.
    ///
    /// # Errors
    /// [`Error::BadOption`] for what begins with `hub:` and names no repository.
    pub fn parse(text: &str, endpoint: &str) -> Result<Option<Self>> {
        let endpoint = endpoint.trim_end_matches('/');
        if let Some(id) = text.strip_prefix(SCHEME) {
            return Self::of_id(id, endpoint)
                .map(Some)
                .ok_or_else(|| Error::BadOption {
                    name: "hub",
                    expected: "hub:owner/name, and where they are wanted /file and @revision",
                    found: text.into(),
                });
        }
        let address = text
            .strip_prefix(endpoint)
            .and_then(|rest| rest.strip_prefix('/'));
        let Some(address) = address.and_then(|rest| rest.split(['?', '#']).next()) else {
            return Ok(None);
        };
        let parts: Vec<&str> = address.split('/').filter(|part| !part.is_empty()).collect();
        let [owner, name, rest @ ..] = parts.as_slice() else {
            return Ok(None);
        };
        let (revision, path) = match rest {
            [] => ("main", &[][..]),
            ["tree" | "blob" | "resolve", revision, path @ ..] => (*revision, path),
            _ => return Ok(None),
        };
        let repository = format!("{owner}/{name}");
        Ok(is_repository(&repository).then(|| Self {
            endpoint: endpoint.into(),
            repository,
            revision: decoded(revision),
            path: decoded(&path.join("/")),
        }))
    }

    /// Reads `owner/name/file@revision`, of which file and revision may be left out.
    #[must_use]
    pub fn of_id(id: &str, endpoint: &str) -> Option<Self> {
        let (id, revision) = id.rsplit_once('@').unwrap_or((id, "main"));
        let mut parts = id.trim_end_matches('/').splitn(3, '/');
        let repository = format!("{}/{}", parts.next()?, parts.next()?);
        let path = parts.next().unwrap_or_default();
        let inside = path.split('/').all(|part| ![".", ".."].contains(&part));
        (is_repository(&repository) && inside && !revision.is_empty()).then(|| Self {
            endpoint: endpoint.trim_end_matches('/').into(),
            repository,
            revision: revision.into(),
            path: path.into(),
        })
    }

    /// The address of its listing.
    #[must_use]
    pub fn tree(&self) -> String {
        let Self {
            endpoint,
            repository,
            ..
        } = self;
        let revision = encoded(&self.revision, false);
        format!("{endpoint}/api/models/{repository}/tree/{revision}?recursive=true")
    }

    /// As people write it, for messages: `owner/name/file@revision`.
    #[must_use]
    pub fn id(&self) -> String {
        self.id_of(&self.path)
    }

    /// The same of a file or folder of the repository.
    #[must_use]
    pub fn id_of(&self, path: &str) -> String {
        let slash = if path.is_empty() { "" } else { "/" };
        let revision = match self.revision.as_str() {
            "main" => String::new(),
            other => format!("@{other}"),
        };
        format!("{}{slash}{path}{revision}", self.repository)
    }

    /// What an adapter from here is called: its file without the ending, its folder, or the name of the
    /// repository.
    #[must_use]
    pub fn name(&self) -> &str {
        let path = match self.path.rsplit_once('/') {
            Some((folder, ADAPTER_CONFIG)) => folder,
            None if self.path == ADAPTER_CONFIG => "",
            _ => &self.path,
        };
        let whole = if path.is_empty() {
            &self.repository
        } else {
            path
        };
        let last = whole.rsplit('/').next().unwrap_or(whole);
        let endings = [".gguf", ".safetensors"];
        endings
            .into_iter()
            .find_map(|ending| last.strip_suffix(ending))
            .unwrap_or(last)
    }
}

/// `owner/name` of letters, digits, `-`, `_` and `.`.
fn is_repository(text: &str) -> bool {
    let word = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        part.chars().all(known) && part.chars().any(|c| c.is_ascii_alphanumeric())
    };
    // The Hub's own words, which begin addresses of other things.
    let words = ["api", "datasets", "spaces", "models", "docs"];
    text.split_once('/')
        .is_some_and(|(owner, name)| word(owner) && word(name) && !words.contains(&owner))
}

/// As a part of an address; `slashes` stay where a path is meant.
pub(super) fn encoded(text: &str, slashes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (slashes && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// Undoes [`encoded`].
fn decoded(text: &str) -> String {
    let (raw, mut at) = (text.as_bytes(), 0);
    let mut bytes = Vec::with_capacity(raw.len());
    while let Some(&byte) = raw.get(at) {
        let hex = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        let coded = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(coded.unwrap_or(byte));
        at += if coded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        Place::parse(text, ENDPOINT).unwrap().unwrap()
    }

    #[test]
    fn addresses_of_the_hub_are_read() {
        let table = [
            ("hub:o/n", "o/n", "main", ""),
            ("hub:o/n/a b.gguf", "o/n", "main", "a b.gguf"),
            ("hub:o/n/sub/m.gguf@v1.0", "o/n", "v1.0", "sub/m.gguf"),
            ("hub:o.x/n-1_2@refs/pr/1", "o.x/n-1_2", "refs/pr/1", ""),
            ("https://huggingface.co/o/n", "o/n", "main", ""),
            ("https://huggingface.co/o/n/", "o/n", "main", ""),
            (
                "https://huggingface.co/o/n/tree/dev/sub",
                "o/n",
                "dev",
                "sub",
            ),
            (
                "https://huggingface.co/o/n/blob/main/a%20b.gguf",
                "o/n",
                "main",
                "a b.gguf",
            ),
            (
                "https://huggingface.co/o/n/resolve/refs%2Fpr%2F1/m.gguf?download=true",
                "o/n",
                "refs/pr/1",
                "m.gguf",
            ),
        ];
        for (text, repository, revision, path) in table {
            let found = place(text);
            assert_eq!(
                (
                    found.repository.as_str(),
                    found.revision.as_str(),
                    found.path.as_str()
                ),
                (repository, revision, path),
                "{text}"
            );
            assert_eq!(Place::of_id(&found.id(), ENDPOINT), Some(found), "{text}");
        }
        for text in [
            "https://example.org/o/n",
            "models/m.gguf",
            "https://huggingface.co/datasets/o/n",
            "https://huggingface.co/o",
            "https://huggingface.co/o/n/discussions/1",
            "https://huggingface.com/o/n",
            "",
        ] {
            assert_eq!(Place::parse(text, ENDPOINT), Ok(None), "{text}");
        }
        for text in [
            "hub:",
            "hub:o",
            "hub:o/",
            "hub:o/n@",
            "hub:../n",
            "hub:o/n/../x",
            "hub:o n/m",
            "hub:https://a/b",
        ] {
            assert_eq!(
                Place::parse(text, ENDPOINT).unwrap_err().code(),
                "bad-option",
                "{text}"
            );
        }
        let mirror = Place::parse("http://mirror:8/o/n", "http://mirror:8/")
            .unwrap()
            .unwrap();
        assert_eq!(
            mirror.tree(),
            "http://mirror:8/api/models/o/n/tree/main?recursive=true"
        );
    }

    #[test]
    fn an_adapter_is_called_by_its_file_folder_or_repository() {
        let table = [
            ("hub:o/n", "n"),
            ("hub:o/n/sub/tone", "tone"),
            ("hub:o/n/v.x.gguf", "v.x"),
            ("hub:o/n/adapter_config.json", "n"),
            ("hub:o/n/sub/adapter_config.json", "sub"),
        ];
        for (address, name) in table {
            assert_eq!(place(address).name(), name);
        }
    }
}
