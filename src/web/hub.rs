//! Files of a repository of the Hub, or by their addresses: listed, fetched, kept.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use web_sys::Blob;

use super::blob::BlobSource;
use super::download::{Fetched, Want, fetch, unanswered};
use super::glue::{get, object, plain, wait};
use super::input::{address, signal};
use super::storage::forget;
use super::sums::{BLOCK_BYTES, Checked};
use crate::checkpoint::BASES_FILE;
use crate::error::{Error, Result};
use crate::hub::{ENDPOINT, MOST_PAGES, Place, Repository, Wanted, endless, entries, refused};
use crate::weights::ByteSource;

const ADAPTER_CONFIG: &str = "adapter_config.json";

#[wasm_bindgen(module = "/src/web/hub.js")]
extern "C" {
    fn listing(url: &str, signal: &JsValue) -> Promise;
}

/// The place on the Hub that a source names, if it names one.
///
/// # Errors
/// As [`Place::parse`].
pub(super) fn place(source: &JsValue, options: &JsValue) -> Result<Option<Place>> {
    let text = source
        .as_string()
        .or_else(|| get(source, "href").as_string());
    let endpoint = get(options, "hub").as_string();
    let endpoint = endpoint.as_deref().unwrap_or(ENDPOINT);
    text.map_or(Ok(None), |text| Place::parse(&text, endpoint))
}

/// What a place holds.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Unshared`], [`Error::Network`], [`Error::Aborted`];
/// [`Error::BadConfig`] for an answer that is no listing, or does not end.
pub(super) async fn find(place: Place, options: &JsValue) -> Result<Repository> {
    let url = place.tree();
    let answer = match wait(listing(&url, &get(options, "signal"))).await {
        Ok(answer) => answer,
        Err(thrown) => return Err(unanswered(&url, signal(options).as_ref(), &thrown).await),
    };
    match get(&answer, "status").as_f64().unwrap_or_default() as u16 {
        200 => {}
        status => {
            return Err(refused(
                &place.id(),
                status,
                get(&answer, "code").as_string().as_deref(),
            ));
        }
    }
    let mut found = Vec::new();
    let pages = Array::from(&get(&answer, "pages"));
    if pages.length() as usize > MOST_PAGES {
        return Err(endless(&place));
    }
    for page in pages.iter() {
        found.extend(entries(
            &place,
            page.as_string().unwrap_or_default().as_bytes(),
        )?);
    }
    Ok(Repository {
        place,
        entries: found,
    })
}

/// `Offer[]`: the models and adapters of a place.
///
/// # Errors
/// As [`find`]; [`Error::BadOption`] for what is no place of the Hub.
pub(super) async fn offers(source: &JsValue, options: &JsValue) -> Result<JsValue> {
    let place = place(source, options)?.ok_or_else(|| Error::BadOption {
        name: "source",
        expected: "hub:owner/name",
        found: address(source).unwrap_or_default(),
    })?;
    Ok(plain(&find(place, options).await?.offers()))
}

/// Files of one model or adapter, by their names.
pub(super) type Named = Vec<(String, Checked<BlobSource>)>;

/// What was fetched.
pub(super) struct Got {
    pub(super) files: Named,
    pub(super) bytes: u64,
    pub(super) sha256: Option<String>,
    pub(super) note: Option<String>,
    pub(super) damage: Option<String>,
}

/// Fetches the files of a repository. `damaged` is the name of one whose copy is, and how.
///
/// # Errors
/// Those of [`fetch`].
pub(super) async fn get_all(
    place: &Place,
    wanted: &Wanted,
    options: &JsValue,
    report: &dyn Fn(&str, u64, u64),
    damaged: Option<(String, String)>,
) -> Result<Got> {
    let total = wanted.files.iter().map(|(_, entry)| entry.bytes).sum();
    let mut got = Got {
        files: Vec::new(),
        bytes: 0,
        sha256: None,
        note: None,
        damage: None,
    };
    for (name, entry) in &wanted.files {
        let (url, before) = (entry.url(place), got.bytes);
        let progress = |state: &str, bytes: u64, _: u64| report(state, before + bytes, total);
        let here = damaged
            .as_ref()
            .filter(|(file, _)| name.rsplit('/').next() == Some(file));
        let damage = here.map(|(_, what)| what.clone());
        let fetched = one(&url, entry.sha256.clone(), options, &progress, damage).await?;
        got.bytes += fetched.source.len_bytes();
        got.sha256 = Some(fetched.sha256).filter(|_| wanted.files.len() == 1);
        got.note = got.note.or(fetched.note);
        got.damage = got.damage.or(fetched.damage);
        got.files.push((name.clone(), fetched.source));
    }
    Ok(got)
}

/// Fetches one file.
///
/// # Errors
/// Those of [`fetch`].
pub(super) async fn one(
    url: &str,
    sha256: Option<String>,
    options: &JsValue,
    progress: &dyn Fn(&str, u64, u64),
    damage: Option<String>,
) -> Result<Fetched> {
    let want = Want {
        url,
        sha256,
        cache: get(options, "cache").as_bool() != Some(false),
        signal: signal(options),
        progress,
    };
    fetch(&want, damage).await
}

/// Deletes the copies of these files.
pub(super) async fn forget_all(place: &Place, wanted: &Wanted) {
    for (_, entry) in &wanted.files {
        forget(&entry.url(place)).await;
    }
}

/// `AdapterFiles` of a place on the Hub, or of the address of its weights, beside which its config lies.
///
/// # Errors
/// As [`find`] and [`fetch`]; [`Error::MissingKey`] where there is no adapter.
pub(super) async fn adapter(
    source: &JsValue,
    options: &JsValue,
    report: &dyn Fn(&str, u64, u64),
) -> Result<JsValue> {
    let Some(place) = place(source, options)? else {
        return by_address(&address(source)?, options, report).await;
    };
    let repository = find(place, options).await?;
    let place = &repository.place;
    let wanted = repository.adapter()?;
    let mut damaged = None;
    loop {
        let got = get_all(place, &wanted, options, report, damaged.take()).await?;
        match whole(&got.files).await {
            Ok(files) => return Ok(files_object(place.name(), &files, "")),
            Err(Error::DamagedCopy { file, what, .. }) if got.damage.is_none() => {
                damaged = Some((file, what));
            }
            Err(error) => {
                forget_all(place, &wanted).await;
                return Err(error);
            }
        }
    }
}

async fn by_address(
    url: &str,
    options: &JsValue,
    report: &dyn Fn(&str, u64, u64),
) -> Result<JsValue> {
    let bare = url.split(['?', '#']).next().unwrap_or(url);
    let (folder, file) = bare.rsplit_once('/').unwrap_or(("", bare));
    let mut files = vec![(
        file.to_owned(),
        one(url, None, options, report, None).await?.source,
    )];
    if file.ends_with(".safetensors") {
        match one(
            &format!("{folder}/{ADAPTER_CONFIG}"),
            None,
            options,
            report,
            None,
        )
        .await
        {
            Ok(fetched) => files.push((ADAPTER_CONFIG.into(), fetched.source)),
            // A control vector has none.
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let name = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    Ok(files_object(name, &whole(&files).await?, ""))
}

/// The files as the browser has them, once every block was compared with its sum: the engine reads an
/// adapter's files without.
async fn whole(files: &Named) -> Result<Vec<(String, Blob)>> {
    let mut found = Vec::with_capacity(files.len());
    for (name, file) in files {
        for at in (0..file.len_bytes()).step_by(BLOCK_BYTES) {
            let left = usize::try_from(file.len_bytes() - at).unwrap_or(BLOCK_BYTES);
            file.read_at(at, left.min(BLOCK_BYTES)).await?;
        }
        found.push((name.clone(), file.unchecked().blob().clone()));
    }
    Ok(found)
}

/// `AdapterFiles` of the folder `prefix`, with the experts in its numbered subfolders.
fn files_object(name: &str, files: &[(String, Blob)], prefix: &str) -> JsValue {
    let here =
        |file: &'_ (String, Blob)| Some((file.0.strip_prefix(prefix)?.to_owned(), file.1.clone()));
    let mut own = object(&[("name", name.into())]);
    for (file, blob) in files
        .iter()
        .filter_map(here)
        .filter(|(file, _)| !file.contains('/'))
    {
        let key = match file.as_str() {
            ADAPTER_CONFIG => "config",
            BASES_FILE => "bases",
            _ => "weights",
        };
        own = with(own, key, blob.into());
    }
    let experts = Array::new();
    while prefix.is_empty()
        && files
            .iter()
            .any(|(file, _)| file.starts_with(&format!("{}/", experts.length())))
    {
        let number = experts.length().to_string();
        experts.push(&files_object(&number, files, &format!("{number}/")));
    }
    with(own, "experts", experts.into())
}

fn with(object: JsValue, name: &str, value: JsValue) -> JsValue {
    // Setting a property of a plain object cannot fail.
    let _ = js_sys::Reflect::set(&object, &name.into(), &value);
    object
}
