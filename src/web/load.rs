//! Loading a model: from an address, a file or a folder to a session and what `loadModel` resolves to.

use std::cell::RefCell;

use js_sys::{Array, Function};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use web_sys::{Blob, File};

use super::blob::BlobSource;
use super::device::{About, Started};
use super::glue::{check, get, plain, until_aborted};
use super::hub::{Named, find, forget_all, get_all, one, place};
use super::input::{address, blob_source, path_in_folder, signal};
use super::resume::mended;
use super::storage::forget;
use super::sums::Checked;
use crate::arch::ModelFile;
use crate::error::{Error, Result};
use crate::hub::Place;
use crate::open::open as open_model;
use crate::session::{LoadState, Session};
use crate::text::{TemplateVariable, Text};
use crate::weights::ByteSource;

/// What `loadModel` resolves to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelInfo {
    name: String,
    bytes: u64,
    weight_bytes: u64,
    arithmetic: String,
    sha256: Option<String>,
    cached: bool,
    note: Option<String>,
    layers: usize,
    width: usize,
    context: usize,
    has_tokenizer: bool,
    has_chat_template: bool,
    family: &'static str,
    parameters: u64,
    formats: Vec<&'static str>,
    takes_system: bool,
    template_variables: Vec<TemplateVariable>,
    device: About,
    unused_tensors: Vec<String>,
    warnings: Vec<String>,
}

/// Loads a model from an address, a place on the Hub, a `File` or a `Blob`; resolves to `ModelInfo`.
///
/// # Errors
/// Those of the download, the file and the session; [`Error::Aborted`].
pub(super) async fn load_model(
    session: &RefCell<Option<Session>>,
    started: &Started,
    source: &JsValue,
    options: &JsValue,
) -> Result<JsValue> {
    let report = report(options);
    if let Some(place) = place(source, options)? {
        return load_place(session, started, place, options, &report).await;
    }
    let mut damage = None;
    loop {
        let (file, origin) = open(source, options, &report, damage.take()).await?;
        let fetched_again = origin.damage.is_some();
        match load_gguf(session, started, file, options, origin).await {
            // The kept copy is not what was downloaded: fetch it again, once.
            Err(Error::DamagedCopy { what, .. }) if !fetched_again => damage = Some(what),
            Err(error @ Error::DamagedCopy { .. }) => {
                forget(&address(source)?).await;
                return Err(error);
            }
            loaded => return loaded,
        }
    }
}

/// Loads a model from the files of a folder; resolves to `ModelInfo`.
///
/// # Errors
/// Those of the files and the session; [`Error::Aborted`].
pub(super) async fn load_folder(
    session: &RefCell<Option<Session>>,
    started: &Started,
    files: &JsValue,
    options: &JsValue,
) -> Result<JsValue> {
    let files: Vec<(String, File)> = Array::from(files)
        .iter()
        .filter_map(|file| file.dyn_into().ok())
        .map(|file| (path_in_folder(&file), file))
        .collect();
    let path = |(_, file): &(String, File)| get(file, "webkitRelativePath").as_string();
    let folder = files.iter().find_map(path).unwrap_or_default();
    let folder = folder.split_once('/').map(|(folder, _)| folder.to_owned());
    let called = get(options, "name").as_string().or(folder);
    let checked =
        |(name, file): &(String, File)| (name.clone(), Checked::new(blob_source(file), None));
    let files: Named = files.iter().map(checked).collect();
    let file = open_files("the folder", &files, None, called).await?;
    let origin = Origin::own_file(file.0.total_bytes());
    load(session, started, file, options, origin).await
}

/// Loads a model from a place on the Hub.
async fn load_place(
    session: &RefCell<Option<Session>>,
    started: &Started,
    place: Place,
    options: &JsValue,
    report: &dyn Fn(&str, u64, u64),
) -> Result<JsValue> {
    let repository = find(place, options).await?;
    let place = &repository.place;
    let mut wanted = repository.model(None)?;
    if wanted.unread_index {
        let got = get_all(place, &wanted, options, report, None).await?;
        let mut index = Vec::new();
        for (_, file) in &got.files {
            index = file.unchecked().read_all().await?;
        }
        wanted = repository.model(Some(&index))?;
    }
    let mut damaged = None;
    loop {
        let got = get_all(place, &wanted, options, report, damaged.take()).await?;
        let fetched_again = got.damage.is_some();
        let called = Some(place.repository.clone());
        let loaded = async {
            let file = open_files(&place.id(), &got.files, wanted.asked.as_deref(), called).await?;
            let origin = Origin {
                bytes: got.bytes,
                sha256: got.sha256,
                note: got.note,
                damage: got.damage,
            };
            load(session, started, file, options, origin).await
        };
        match loaded.await {
            // As of a model by its address: fetched again, once.
            Err(Error::DamagedCopy { file, what, .. }) if !fetched_again => {
                damaged = Some((file, what));
            }
            Err(error @ Error::DamagedCopy { .. }) => {
                forget_all(place, &wanted).await;
                return Err(error);
            }
            loaded => return loaded,
        }
    }
}

/// A model and its text.
type Opened = (ModelFile<Checked<BlobSource>>, Option<Text>);

/// Opens the model among files that belong together. What is no GGUF file has no name of its own and is
/// `called` so.
async fn open_files(
    folder: &str,
    files: &Named,
    asked: Option<&str>,
    called: Option<String>,
) -> Result<Opened> {
    let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let source = |name: &str| match files.iter().find(|(known, _)| known == name) {
        Some((_, file)) => Ok(file.clone()),
        None => Err(Error::MissingKey {
            file: folder.into(),
            key: name.into(),
            what: "choose it together with the others".into(),
        }),
    };
    let (mut file, text) = open_model(folder, &names, asked, true, source).await?;
    if let Some(name) = called {
        file.also_called(name);
    }
    let text = match (text, file.metadata()) {
        (None, Some(metadata)) => Text::from_gguf(file.name(), metadata)?,
        (text, _) => text,
    };
    Ok((file, text))
}

/// A function that calls `onProgress` of the options with a state, bytes and total bytes.
pub(super) fn report(options: &JsValue) -> impl Fn(&str, u64, u64) + use<> {
    let listener: Option<Function> = get(options, "onProgress").dyn_into().ok();
    move |state, bytes, total_bytes| {
        let Some(listener) = &listener else { return };
        let progress = plain(&Progress {
            state,
            bytes,
            total_bytes,
        });
        // An error that the listener throws does not end the loading.
        let _ = listener.call1(&JsValue::NULL, &progress);
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress<'a> {
    state: &'a str,
    bytes: u64,
    total_bytes: u64,
}

/// Where a model came from.
struct Origin {
    /// Of the files.
    bytes: u64,
    sha256: Option<String>,
    /// Why no copy is kept, if that is so.
    note: Option<String>,
    /// What was wrong with the copy that was kept before, if it was damaged.
    damage: Option<String>,
}

impl Origin {
    fn own_file(bytes: u64) -> Self {
        let note = Some("not kept: it is a file of yours".into());
        Self {
            bytes,
            sha256: None,
            note,
            damage: None,
        }
    }
}

/// The model's bytes and where they came from.
async fn open(
    source: &JsValue,
    options: &JsValue,
    report: &dyn Fn(&str, u64, u64),
    damage: Option<String>,
) -> Result<(Checked<BlobSource>, Origin)> {
    if let Some(blob) = source.dyn_ref::<Blob>() {
        let name = get(source, "name")
            .as_string()
            .unwrap_or_else(|| "model.gguf".into());
        let file = BlobSource::new(name, blob.clone());
        let origin = Origin::own_file(file.len_bytes());
        return Ok((Checked::new(file, None), origin));
    }
    let sha256 = get(options, "sha256").as_string();
    let fetched = one(&address(source)?, sha256, options, report, damage).await?;
    let bytes = fetched.source.len_bytes();
    let origin = Origin {
        bytes,
        sha256: Some(fetched.sha256),
        note: fetched.note,
        damage: fetched.damage,
    };
    Ok((fetched.source, origin))
}

/// Loads a GGUF file; its metadata hold the tokenizer.
async fn load_gguf(
    session: &RefCell<Option<Session>>,
    started: &Started,
    file: Checked<BlobSource>,
    options: &JsValue,
    origin: Origin,
) -> Result<JsValue> {
    let file = ModelFile::open_gguf(file).await?;
    let text = match file.metadata() {
        Some(metadata) => Text::from_gguf(file.name(), metadata)?,
        None => None,
    };
    load(session, started, (file, text), options, origin).await
}

/// Uploads and warms up. The earlier model is dropped first: there may be no room for two.
async fn load(
    session: &RefCell<Option<Session>>,
    started: &Started,
    (file, text): Opened,
    options: &JsValue,
    origin: Origin,
) -> Result<JsValue> {
    let signal = signal(options);
    check(signal.as_ref())?;
    let placed = started.place(&file).await?;
    *session.borrow_mut() = None;
    let report = report(options);
    let loaded = Session::load(&file, text, &placed.device, placed.weights, |progress| {
        let state = match progress.state {
            LoadState::Uploading => "uploading",
            LoadState::WarmingUp => "warming-up",
            LoadState::Ready => "ready",
        };
        report(state, progress.bytes, progress.total_bytes);
    });
    let mut loaded = until_aborted(signal, loaded).await?;
    loaded.file_sha256.clone_from(&origin.sha256);
    let config = loaded.model.config();
    let template = loaded.text.as_ref().map(Text::template_facts);
    let template = template.unwrap_or_default();
    let info = ModelInfo {
        name: loaded.model.name().to_owned(),
        bytes: origin.bytes,
        weight_bytes: loaded.model.weight_bytes(),
        arithmetic: loaded.model.arithmetic().to_owned(),
        sha256: origin.sha256,
        cached: origin.note.is_none(),
        note: origin.note,
        layers: config.num_layers,
        width: config.hidden_size,
        context: config.context,
        has_tokenizer: loaded.text.is_some(),
        has_chat_template: loaded.text.as_ref().is_some_and(Text::has_chat_template),
        family: config.family.family,
        parameters: file.parameters(),
        formats: file.formats(),
        takes_system: template.takes_system,
        template_variables: template.variables,
        device: placed.about,
        unused_tensors: file.unused().to_vec(),
        warnings: origin
            .damage
            .as_deref()
            .map(mended)
            .into_iter()
            .chain(file.left_out())
            .chain(placed.warning)
            .collect(),
    };
    *session.borrow_mut() = Some(loaded);
    Ok(plain(&info))
}
