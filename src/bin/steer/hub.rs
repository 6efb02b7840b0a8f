//! Models and adapters that are not on this computer: from the Hub or from an address into the user's
//! cache, and from then on as files.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use steering_playground::error::{Error, Result};
use steering_playground::hub::{
    ENDPOINT, Entry, MOST_PAGES, Place, Repository, Wanted, endless, entries,
};
use steering_playground::weights::sha256;

use crate::download::{Want, fetch, text};
use crate::files::{io_error, read};

/// The variable by which the Hub's own programs are told of a mirror.
const ENDPOINT_VARIABLE: &str = "HF_ENDPOINT";

/// Where the model is on this computer: `path` itself, or what is fetched for it.
pub(crate) fn model(path: &Path) -> Result<PathBuf> {
    local(
        path,
        |_| Vec::new(),
        |repository, place| {
            let wanted = repository.model(None)?;
            if !wanted.unread_index {
                return Ok(wanted);
            }
            let folder = get(place, &wanted)?;
            let index = wanted.files.first().map(|(name, _)| folder.join(name));
            repository.model(index.map(|index| read(&index)).transpose()?.as_deref())
        },
    )
}

/// The same for an adapter.
pub(crate) fn adapter(path: &Path) -> Result<PathBuf> {
    let beside = |file: &str| {
        let has_config = file.ends_with(".safetensors");
        has_config
            .then_some("adapter_config.json")
            .into_iter()
            .collect()
    };
    local(path, beside, |repository, _| repository.adapter())
}

/// `beside` names what may lie beside a file that has an address of its own, `choose` what is wanted of
/// a repository.
fn local(
    path: &Path,
    beside: impl Fn(&str) -> Vec<&'static str>,
    choose: impl Fn(&Repository, &Place) -> Result<Wanted>,
) -> Result<PathBuf> {
    let Some(text) = path.to_str().filter(|_| !path.exists()) else {
        return Ok(path.into());
    };
    let endpoint = env::var(ENDPOINT_VARIABLE).unwrap_or_else(|_| ENDPOINT.into());
    let place = match Place::parse(text, &endpoint)? {
        Some(place) => Some(place),
        None => Place::of_id(text, &endpoint).filter(|place| is_meant(text, place)),
    };
    if let Some(place) = place {
        let repository = Repository {
            entries: list(&place)?,
            place,
        };
        let wanted = choose(&repository, &repository.place)?;
        let folder = get(&repository.place, &wanted)?;
        return Ok(wanted
            .asked
            .map_or_else(|| folder.clone(), |file| folder.join(file)));
    }
    if text.starts_with("https://") || text.starts_with("http://") {
        return from_address(text, &beside);
    }
    Ok(path.into())
}

/// Whether `owner/name` is meant, and no path with a slip in it.
fn is_meant(text: &str, place: &Place) -> bool {
    let Some((owner, name)) = place.repository.split_once('/') else {
        return false;
    };
    let is_file = [".gguf", ".safetensors", ".json"]
        .into_iter()
        .any(|end| name.ends_with(end));
    !is_file && !text.starts_with('.') && !Path::new(owner).exists()
}

/// The files of a repository: as the Hub lists them, or, where it cannot be reached, as it did last time.
fn list(place: &Place) -> Result<Vec<Entry>> {
    let kept = folder_of(place)?.join(".listing.json");
    let mut pages = Vec::new();
    let mut next = Some(place.tree());
    while let Some(url) = next {
        if pages.len() >= MOST_PAGES {
            return Err(endless(place));
        }
        match text(&url, &place.id()) {
            Ok((page, link)) => {
                pages.push(page);
                next = link;
            }
            Err(Error::Network { url, why }) => {
                let Ok(last) = fs::read(&kept) else {
                    return Err(Error::Network { url, why });
                };
                eprintln!("steer: warning: {url}: {why}; taken as it was listed last time");
                return entries(place, &last);
            }
            Err(error) => return Err(error),
        }
    }
    let mut found = Vec::new();
    let mut all: Vec<Value> = Vec::new();
    for page in &pages {
        found.extend(entries(place, page.as_bytes())?);
        all.extend(serde_json::from_str::<Vec<Value>>(page).unwrap_or_default());
    }
    keep(&kept, Value::from(all).to_string().as_bytes())?;
    Ok(found)
}

/// Fetches what is not kept yet, and gives the folder that it is in.
fn get(place: &Place, wanted: &Wanted) -> Result<PathBuf> {
    let top = folder_of(place)?;
    let mut folder = top.clone();
    for (name, entry) in &wanted.files {
        let file = top.join(&entry.path);
        fetch(&Want {
            url: &entry.url(place),
            what: &place.id_of(&entry.path),
            sha256: entry.sha256.as_deref(),
            version: entry.sha256.as_deref().unwrap_or(&entry.oid),
            bytes: Some(entry.bytes),
            to: &file,
        })?;
        let inside = entry.path.strip_suffix(name.as_str()).unwrap_or_default();
        folder = top.join(inside.trim_end_matches('/'));
    }
    Ok(folder)
}

/// A file with an address of its own, which has no listing: kept under the name of its folder.
fn from_address(url: &str, beside: &impl Fn(&str) -> Vec<&'static str>) -> Result<PathBuf> {
    let bare = url.split(['?', '#']).next().unwrap_or(url);
    let (folder, name) = bare.rsplit_once('/').unwrap_or(("", bare));
    let kept = cache()?
        .join("files")
        .join(&sha256(folder.as_bytes())[..16]);
    let want = |url: &str, name: &str| {
        let to = kept.join(name);
        fetch(&Want {
            url,
            what: url,
            sha256: None,
            version: url,
            bytes: None,
            to: &to,
        })
        .map(|()| to)
    };
    for other in beside(name) {
        match want(&format!("{folder}/{other}"), other) {
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    want(url, name)
}

/// Where a repository's files are kept: its name is the last part, as adapters are called by it.
fn folder_of(place: &Place) -> Result<PathBuf> {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    let revision: String = match place.revision.as_str() {
        "main" => String::new(),
        other => format!("@{}", other.chars().map(plain).collect::<String>()),
    };
    Ok(cache()?
        .join("hub")
        .join(format!("{}{revision}", place.repository)))
}

/// The folder for what can be fetched again.
fn cache() -> Result<PathBuf> {
    let folder = |variable: &str| {
        env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let home = || Some(folder("HOME")?.join(".cache"));
    let found = folder("XDG_CACHE_HOME")
        .or_else(|| folder("LOCALAPPDATA"))
        .or_else(home);
    found
        .map(|folder| folder.join("steering-playground"))
        .ok_or_else(|| Error::Io {
            file: "the cache".into(),
            why: "no folder for it is known; set XDG_CACHE_HOME".into(),
        })
}

fn keep(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder).map_err(|error| io_error(folder, &error))?;
    fs::write(file, bytes).map_err(|error| io_error(file, &error))
}
