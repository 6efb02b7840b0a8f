//! The exported class.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use burn::tensor::Device;
use js_sys::{Array, ArrayBuffer, Function, Promise, Uint8Array};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Blob, File, Url};

use super::blob::BlobSource;
use super::choice::{self, GpuFacts, Wish};
use super::download::{Want, fetch};
use super::glue::{
    check, construct, get, gpu_bytes, options, plain, probe, promise, steps, wait, watch_gpu,
    when_lost,
};
use super::relaxed;
use super::resume::mended;
use super::storage::{Storage, blob};
use super::sums::Checked;
use crate::adapters::{self, Adapter, Headed, LARGE_BYTES};
use crate::arch::ModelFile;
use crate::checkpoint::{AdapterFiles, Method};
use crate::device;
use crate::error::{Error, Result, megabytes};
use crate::hooks::{Law, Mask};
use crate::model::Weights;
use crate::session::{CachePolicy, Generation, LoadState, Request, Session};
use crate::text::Text;
use crate::weights::ByteSource;

/// A config is a few kilobytes of JSON; what is larger is something else.
const MOST_CONFIG_BYTES: u64 = 16_000_000;

thread_local! {
    /// burn's GPU runtime starts once per module; later playgrounds share it.
    static GPU: RefCell<Option<Device>> = const { RefCell::new(None) };
}

/// A language model and its adapters. Create it with `Playground.create`, best in a worker.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Playground {
    device: Device,
    gpu: bool,
    weights: Weights,
    about: JsValue,
    session: Rc<RefCell<Option<Session>>>,
    /// Told to the generation under way before its next step.
    policy: Rc<Cell<Option<CachePolicy>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CreateOptions {
    device: Wish,
    allow_software_gpu: bool,
    exact: bool,
}

/// What `device` tells.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct About {
    kind: &'static str,
    name: String,
    why: String,
    software: bool,
    features: Vec<String>,
    limits: BTreeMap<String, f64>,
}

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
    unused_tensors: Vec<String>,
    warnings: Vec<String>,
}

#[wasm_bindgen]
impl Playground {
    /// Chooses a device, opens it, and says in `device` which it is and why. WebGPU that is
    /// missing, too small, software, or without `timestamp-query` is not started: the CPU
    /// computes instead, unless `device: "webgpu"` was asked for, which then fails with
    /// `device-unavailable`.
    #[wasm_bindgen(unchecked_return_type = "Promise<Playground>")]
    pub fn create(
        #[wasm_bindgen(unchecked_optional_param_type = "CreateOptions")] options: JsValue,
    ) -> Promise {
        promise(false, create(options))
    }

    /// The device in words: kind, name, why, software, features, limits.
    #[wasm_bindgen(getter, unchecked_return_type = "DeviceInfo")]
    pub fn device(&self) -> JsValue {
        self.about.clone()
    }

    /// Resolves, with the error, when the GPU is lost or the module panics. After that every call
    /// fails with that error: start a new worker.
    #[wasm_bindgen(getter, unchecked_return_type = "Promise<PlaygroundError>")]
    pub fn lost(&self) -> Promise {
        when_lost()
    }

    /// Loads a GGUF model from an address (relative to this script's page or worker), a `File` or
    /// a `Blob`. A download is kept in the browser's storage, verified, and continued where it
    /// stopped; the adapters of an earlier model go with it.
    #[wasm_bindgen(js_name = loadModel, unchecked_return_type = "Promise<ModelInfo>")]
    pub fn load_model(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string | URL | Blob")] source: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "LoadOptions")] options: JsValue,
    ) -> Promise {
        let (session, device) = (self.session.clone(), self.device.clone());
        let weights = self.weights;
        promise(self.gpu, async move {
            let report = report(&options);
            let mut damage = None;
            loop {
                let (file, origin) = open(&source, &options, &report, damage.take()).await?;
                let again = origin.damage.is_some();
                match load_gguf(&session, (&device, weights), file, &options, origin).await {
                    // What was kept is not what was downloaded: fetch it again, once.
                    Err(Error::DamagedCopy { what, .. }) if !again => damage = Some(what),
                    Err(error @ Error::DamagedCopy { .. }) => {
                        forget(&address(&source)?).await;
                        return Err(error);
                    }
                    loaded => return loaded,
                }
            }
        })
    }

    /// Loads a model from files that belong together: those of a Hugging Face folder
    /// (`config.json`, `*.safetensors`, and where they are there the index, the tokenizer and its
    /// templates), or the parts of a split GGUF file. Files that are not the model's do not matter.
    #[wasm_bindgen(js_name = loadModelFolder, unchecked_return_type = "Promise<ModelInfo>")]
    pub fn load_model_folder(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Iterable<File>")] files: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "LoadOptions")] options: JsValue,
    ) -> Promise {
        let (session, device) = (self.session.clone(), self.device.clone());
        let weights = self.weights;
        promise(self.gpu, async move {
            let files: Vec<(String, File)> = Array::from(&files)
                .iter()
                .filter_map(|file| file.dyn_into().ok())
                .map(|file| (path_in_folder(&file), file))
                .collect();
            let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
            let source = |name: &str| match files.iter().find(|(known, _)| known == name) {
                Some((_, file)) => Ok(Checked::new(source_of(file), None)),
                None => Err(Error::MissingKey {
                    file: "the folder".into(),
                    key: name.into(),
                    what: "choose it together with the others".into(),
                }),
            };
            let (mut file, text) =
                crate::open::open("the folder", &names, None, true, source).await?;
            let path = |(_, file): &(String, File)| get(file, "webkitRelativePath").as_string();
            let folder = files.iter().find_map(path).unwrap_or_default();
            let folder = folder.rsplit_once('/').map(|(folder, _)| folder.to_owned());
            let name = get(&options, "name").as_string().or(folder);
            name.into_iter().for_each(|name| file.also_called(name));
            let text = match (text, file.metadata()) {
                (None, Some(metadata)) => Text::from_gguf(file.name(), metadata)?,
                (text, _) => text,
            };
            let origin = Origin::own_file(file.total_bytes());
            load(&session, (&device, weights), file, text, &options, origin).await
        })
    }

    /// Models kept in this browser, and beginnings of such: see `complete`.
    #[wasm_bindgen(js_name = cachedModels, unchecked_return_type = "Promise<CachedModel[]>")]
    pub fn cached_models() -> Promise {
        promise(false, async {
            Ok(match Storage::open().await {
                Ok(storage) => plain(&storage.list().await),
                Err(_) => Array::new().into(),
            })
        })
    }

    /// Deletes the kept copy of an address, whole or partial.
    #[wasm_bindgen(js_name = deleteCachedModel, unchecked_return_type = "Promise<void>")]
    pub fn delete_cached_model(url: String) -> Promise {
        promise(false, async move {
            forget(&absolute(&url)?).await;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Loads an adapter as PEFT writes it (`adapter_config.json` and the bytes of
    /// `adapter_model.safetensors`), or a control vector (the bytes of a `.gguf`). It starts at
    /// c = 0, the base model.
    #[wasm_bindgen(js_name = loadAdapter, unchecked_return_type = "Promise<AdapterEntry>")]
    pub fn load_adapter(
        &self,
        #[wasm_bindgen(unchecked_param_type = "AdapterFiles")] files: JsValue,
    ) -> Promise {
        let session = self.session.clone();
        promise(self.gpu, async move {
            let (session, adapter) = read_adapter(&session, &files).await?;
            let id = session.stack.borrow_mut().add(adapter);
            Ok(entry_view(&session, id))
        })
    }

    /// Reads an adapter's files again, say for another `task` or with other `expertWeights`, and
    /// puts what they give in its place: id, coefficient, law, mask and order stay. What cannot
    /// follow them is refused, and the adapter stays as it was.
    #[wasm_bindgen(js_name = reloadAdapter, unchecked_return_type = "Promise<AdapterEntry>")]
    pub fn reload_adapter(
        &self,
        id: u32,
        #[wasm_bindgen(unchecked_param_type = "AdapterFiles")] files: JsValue,
    ) -> Promise {
        let session = self.session.clone();
        promise(self.gpu, async move {
            let (session, adapter) = read_adapter(&session, &files).await?;
            session.stack.borrow_mut().replace(id, adapter)?;
            Ok(entry_view(&session, id))
        })
    }

    /// Explains an adapter's files without loading them, and what would be refused.
    #[wasm_bindgen(js_name = inspectAdapter, unchecked_return_type = "Promise<Inspection>")]
    pub fn inspect_adapter(
        &self,
        #[wasm_bindgen(unchecked_param_type = "AdapterFiles")] files: JsValue,
    ) -> Promise {
        promise(false, async move {
            let (files, weights) = given(&files).await?;
            Ok(plain(&match weights.len_bytes() >= LARGE_BYTES {
                true => Headed::read(files, &weights).await?.inspect()?,
                false => adapters::inspect(&whole(files, &weights).await?)?,
            }))
        })
    }

    /// Takes an adapter out.
    #[wasm_bindgen(js_name = removeAdapter)]
    pub fn remove_adapter(&self, id: u32) -> Result<()> {
        self.session()?.stack.borrow_mut().remove(id).map(drop)
    }

    /// Sets an adapter's coefficient: 0 is the base model, 1 as trained, −1 reversed, any finite
    /// number in the domain of its law is allowed. It acts from the next token on, also while one is computed.
    #[wasm_bindgen(js_name = setCoefficient)]
    pub fn set_coefficient(&self, id: u32, coefficient: f64) -> Result<()> {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "beyond f32 it is infinite: refused"
        )]
        let coefficient = coefficient as f32;
        self.session()?
            .stack
            .borrow_mut()
            .set_coefficient(id, coefficient)
    }

    /// Chooses how an adapter's coefficient acts: one of its entry's `laws`, else `bad-law` says
    /// why not. It acts from the next token on.
    #[wasm_bindgen(js_name = setLaw)]
    pub fn set_law(
        &self,
        id: u32,
        #[wasm_bindgen(unchecked_param_type = "Law")] law: &str,
    ) -> Result<()> {
        let found = Law::ALL.into_iter().find(|known| known.name() == law);
        let law = found.ok_or_else(|| Error::BadOption {
            name: "law",
            expected: "the name of a law",
            found: law.into(),
        })?;
        self.session()?.stack.borrow_mut().set_law(id, law)
    }

    /// Chooses on which blocks (`"5-20"`, `"7"`, `"all"`) and on which modules
    /// (`"q_proj,v_proj"`, `"all"`; also `lm_head`, `embed_tokens`, `input_layernorm`,
    /// `post_attention_layernorm`, `norm`, `attention`, `residual`) an adapter acts, from the next
    /// token on. What leaves it nowhere to act is refused with `bad-option`, and the old mask stays.
    #[wasm_bindgen(js_name = setMask)]
    pub fn set_mask(&self, id: u32, layers: &str, modules: &str) -> Result<()> {
        let mask = Mask::parse(layers, modules)?;
        self.session()?.stack.borrow_mut().set_mask(id, mask)
    }

    /// Switches an adapter on or off; its coefficient is kept.
    #[wasm_bindgen(js_name = setEnabled)]
    pub fn set_enabled(&self, id: u32, enabled: bool) -> Result<()> {
        self.session()?.stack.borrow_mut().set_enabled(id, enabled)
    }

    /// The loaded adapters, in the order in which they act.
    #[wasm_bindgen(unchecked_return_type = "AdapterEntry[]")]
    pub fn adapters(&self) -> Result<JsValue> {
        let session = self.session()?;
        let stack = session.stack.borrow();
        Ok(plain(
            &stack
                .entries()
                .iter()
                .map(adapters::Entry::view)
                .collect::<Vec<_>>(),
        ))
    }

    /// The card of every method that this build knows.
    #[wasm_bindgen(unchecked_return_type = "MethodCard[]")]
    pub fn methods(&self) -> JsValue {
        let cards = adapters::METHODS.iter().copied().map(Method::card);
        plain(&cards.collect::<Vec<_>>())
    }

    /// Streams tokens: `for await (const step of playground.generate({ prompt: "Hello" }))`.
    /// Leaving the loop stops it; so does `signal`, with the error `aborted`.
    #[wasm_bindgen(unchecked_return_type = "AsyncGenerator<Step, void, void>")]
    pub fn generate(
        &self,
        #[wasm_bindgen(unchecked_param_type = "GenerateRequest & { signal?: AbortSignal }")]
        request: JsValue,
    ) -> Result<JsValue> {
        let signal = signal(&request);
        check(signal.as_ref())?;
        let generation = self.session()?.generate(self::request(&request)?)?;
        self.policy.set(None);
        let running = Rc::new(RefCell::new(Some(generation)));
        Ok(steps(
            Steps {
                running,
                gpu: self.gpu,
                policy: self.policy.clone(),
            },
            signal,
        ))
    }

    /// The token ids that a request continues.
    #[wasm_bindgen(js_name = promptIds)]
    pub fn prompt_ids(
        &self,
        #[wasm_bindgen(unchecked_param_type = "GenerateRequest")] request: JsValue,
    ) -> Result<Vec<u32>> {
        self.session()?.prompt_ids(&self::request(&request)?)
    }

    /// What the next change of a coefficient does to the text so far, for the stream under way:
    /// `"keep"` is from here on, `"recompute"` as if from the start.
    #[wasm_bindgen(js_name = setCachePolicy)]
    pub fn set_cache_policy(
        &self,
        #[wasm_bindgen(unchecked_param_type = "\"keep\" | \"recompute\"")] policy: JsValue,
    ) -> Result<()> {
        let policy = options("cache", "\"keep\" or \"recompute\"", &policy)?;
        self.policy.set(Some(policy));
        Ok(())
    }

    /// Memory in bytes. The module's heap only grows, so its size is its peak.
    #[wasm_bindgen(unchecked_return_type = "Memory")]
    pub fn memory(&self) -> JsValue {
        let heap = get(&get(&wasm_bindgen::memory(), "buffer"), "byteLength");
        let gpu = gpu_bytes();
        let gpu = |at: usize| gpu.get(at).copied().unwrap_or(0.0).into();
        super::glue::object(&[
            ("wasmHeapBytes", heap.clone()),
            ("wasmHeapPeakBytes", heap),
            ("gpuBytes", gpu(0)),
            ("gpuPeakBytes", gpu(1)),
        ])
    }

    fn session(&self) -> Result<Session> {
        self.session.borrow().clone().ok_or(Error::NoModel)
    }
}

/// A stream under way: what `generate` iterates over.
#[wasm_bindgen(skip_typescript)]
#[derive(Debug)]
pub struct Steps {
    /// Taken out while a step is computed.
    running: Rc<RefCell<Option<Generation>>>,
    gpu: bool,
    policy: Rc<Cell<Option<CachePolicy>>>,
}

#[wasm_bindgen]
impl Steps {
    /// The next step; `undefined` at the end.
    pub fn next(&self) -> Promise {
        let (running, policy) = (self.running.clone(), self.policy.clone());
        promise(self.gpu, async move {
            let generation = running.borrow_mut().take();
            // Two calls at once, which `for await` never makes.
            let mut generation = generation.ok_or(Error::Aborted)?;
            if let Some(policy) = policy.get() {
                generation.set_cache_policy(policy);
            }
            let step = generation.next().await;
            *running.borrow_mut() = Some(generation);
            Ok(step?.map_or(JsValue::UNDEFINED, |step| plain(&step)))
        })
    }
}

async fn create(value: JsValue) -> Result<Playground> {
    let expected = "{ device?: \"auto\" | \"webgpu\" | \"cpu\", allowSoftwareGpu?: boolean, \
                    exact?: boolean }";
    let CreateOptions {
        device: wish,
        allow_software_gpu,
        exact,
    } = options("options", expected, &value)?;
    let facts = match wish {
        Wish::Cpu => GpuFacts::default(),
        Wish::Auto | Wish::WebGpu => probed().await?,
    };
    let mut choice = choice::choose(&facts, wish, allow_software_gpu)?;
    let mut device = device::cpu();
    if choice.webgpu {
        match open_gpu(&facts).await {
            Ok(gpu) => device = gpu,
            Err(error) if wish == Wish::WebGpu => return Err(error),
            Err(error) => choice = choice::cpu(format!("WebGPU did not start: {error}")),
        }
    }
    let weights = match exact || choice.webgpu {
        true => Weights::Dense,
        false => Weights::Quantised,
    };
    let relaxed = weights == Weights::Quantised && relaxed::start().await;
    let adapter = facts.adapter.filter(|_| choice.webgpu);
    let about = About {
        kind: if choice.webgpu { "webgpu" } else { "cpu" },
        name: match &adapter {
            Some(adapter) => adapter.name(),
            None => "CPU (WebAssembly SIMD, one thread)".into(),
        },
        why: choice.why,
        software: choice.software,
        features: match &adapter {
            Some(adapter) => adapter.features.clone(),
            None => relaxed.then(|| "relaxed-simd".into()).into_iter().collect(),
        },
        limits: adapter.map(|adapter| adapter.limits).unwrap_or_default(),
    };
    Ok(Playground {
        device,
        gpu: choice.webgpu,
        weights,
        about: plain(&about),
        session: Rc::default(),
        policy: Rc::default(),
    })
}

async fn probed() -> Result<GpuFacts> {
    let unavailable = |why: String| Error::DeviceUnavailable {
        asked: "webgpu".into(),
        why,
    };
    let facts = wait(probe())
        .await
        .map_err(|e| unavailable(super::glue::message(&e)))?;
    serde_wasm_bindgen::from_value(facts).map_err(|error| unavailable(error.to_string()))
}

async fn open_gpu(facts: &GpuFacts) -> Result<Device> {
    if let Some(device) = GPU.with_borrow(Clone::clone) {
        return Ok(device);
    }
    // The tests' harness does not start the module as JavaScript does.
    construct();
    let subgroups = facts.adapter.iter().flat_map(|adapter| &adapter.features);
    let subgroups: Vec<_> = subgroups
        .filter(|name| *name == "subgroups")
        .cloned()
        .collect();
    if !subgroups.is_empty() {
        device::grant_subgroups();
    }
    watch_gpu(subgroups);
    let device = device::gpu().await?;
    GPU.set(Some(device.clone()));
    Ok(device)
}

/// Calls `onProgress` of the options.
fn report(options: &JsValue) -> impl Fn(&str, u64, u64) + use<> {
    let listener: Option<Function> = get(options, "onProgress").dyn_into().ok();
    move |state, bytes, total_bytes| {
        let Some(listener) = &listener else { return };
        let progress = plain(&Progress {
            state,
            bytes,
            total_bytes,
        });
        // What a listener throws is its own business.
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
    /// Why no copy is kept, if none is.
    note: Option<String>,
    /// What was wrong with the copy that was kept before, if something was.
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
    let want = Want {
        url: &address(source)?,
        sha256: get(options, "sha256").as_string(),
        cache: !matches!(get(options, "cache").as_bool(), Some(false)),
        signal: signal(options),
        progress: report,
    };
    let fetched = fetch(&want, damage).await?;
    let bytes = fetched.source.len_bytes();
    let origin = Origin {
        bytes,
        sha256: Some(fetched.sha256),
        note: fetched.note,
        damage: fetched.damage,
    };
    Ok((fetched.source, origin))
}

/// The address of a model that is no file, made absolute.
fn address(source: &JsValue) -> Result<String> {
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

/// Deletes what is kept of an address.
async fn forget(url: &str) {
    if let Ok(storage) = Storage::open().await {
        storage.forget(url).await;
    }
}

async fn load_gguf(
    session: &RefCell<Option<Session>>,
    on: (&Device, Weights),
    file: Checked<BlobSource>,
    options: &JsValue,
    origin: Origin,
) -> Result<JsValue> {
    let file = ModelFile::open_gguf(file).await?;
    let text = match file.metadata() {
        Some(metadata) => Text::from_gguf(file.name(), metadata)?,
        None => None,
    };
    load(session, on, file, text, options, origin).await
}

/// Uploads and warms up. The earlier model is let go first: there is never room for two.
async fn load(
    session: &RefCell<Option<Session>>,
    (device, weights): (&Device, Weights),
    file: ModelFile<Checked<BlobSource>>,
    text: Option<Text>,
    options: &JsValue,
    origin: Origin,
) -> Result<JsValue> {
    let signal = signal(options);
    check(signal.as_ref())?;
    *session.borrow_mut() = None;
    let tell = report(options);
    let loaded = Session::load(&file, text, device, weights, |progress| {
        let state = match progress.state {
            LoadState::Uploading => "uploading",
            LoadState::WarmingUp => "warming-up",
            LoadState::Ready => "ready",
        };
        tell(state, progress.bytes, progress.total_bytes);
    });
    let loaded = super::glue::until_aborted(signal, loaded).await?;
    let config = loaded.model.config();
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
        has_chat_template: loaded
            .text
            .as_ref()
            .is_some_and(|text| text.has_chat_template()),
        unused_tensors: file.unused().to_vec(),
        warnings: origin
            .damage
            .as_deref()
            .map(mended)
            .into_iter()
            .chain(file.left_out())
            .collect(),
    };
    *session.borrow_mut() = Some(loaded);
    Ok(plain(&info))
}

/// An adapter for the model that is loaded, and its session.
async fn read_adapter(
    session: &RefCell<Option<Session>>,
    files: &JsValue,
) -> Result<(Session, Adapter)> {
    let session = session.borrow().clone().ok_or(Error::NoModel)?;
    let files = adapter_files(files, &session).await?;
    let adapter = adapters::load_waiting(&files, &session.model).await?;
    Ok((session, adapter))
}

fn entry_view(session: &Session, id: u32) -> JsValue {
    let stack = session.stack.borrow();
    let entry = stack.entries().iter().find(|entry| entry.id == id);
    entry.map_or(JsValue::NULL, |entry| plain(&entry.view()))
}

/// An adapter's files in memory. Of a large one the header is read first: the module's memory
/// never shrinks again.
async fn adapter_files(value: &JsValue, session: &Session) -> Result<AdapterFiles> {
    let (mut files, weights) = given(value).await?;
    for expert in list(value, "experts")?.unwrap_or_default() {
        let expert = Box::pin(adapter_files(&expert, session)).await?;
        files.experts.push(expert);
    }
    if weights.len_bytes() >= LARGE_BYTES {
        let headed = Headed::read(files.clone(), &weights).await?;
        headed.check(&session.model).await?;
    }
    whole(files, &weights).await
}

/// With the bytes of the weights.
async fn whole(files: AdapterFiles, weights: &BlobSource) -> Result<AdapterFiles> {
    let weights = weights.read_all().await?;
    Ok(AdapterFiles { weights, ..files })
}

/// An adapter's files without its experts, and the weights where the browser has them.
async fn given(value: &JsValue) -> Result<(AdapterFiles, BlobSource)> {
    let name = get(value, "name")
        .as_string()
        .unwrap_or_else(|| "adapter".into());
    let config = get(value, "config");
    let config_bytes = config.dyn_ref::<Blob>().map_or(0, |blob| {
        BlobSource::new(name.clone(), blob.clone()).len_bytes()
    });
    if config_bytes > MOST_CONFIG_BYTES {
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
                found: match nothing {
                    true => "nothing".into(),
                    false => format!("{weights:?}"),
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
        // What is no number becomes one that no method takes.
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
    if is_bytes(value) {
        let buffer = value.dyn_ref::<Uint8Array>().cloned();
        return Ok(Some(
            buffer.unwrap_or_else(|| Uint8Array::new(value)).to_vec(),
        ));
    }
    let found = format!("{value:?}");
    Err(Error::BadOption {
        name,
        expected: "bytes, a Blob or a string",
        found,
    })
}

/// Where a file lies in the folder that was chosen with it; its name when it was chosen alone.
fn path_in_folder(file: &File) -> String {
    let path = get(file, "webkitRelativePath").as_string();
    let inside = path.as_deref().and_then(|path| path.split_once('/'));
    inside.map_or_else(|| file.name(), |(_, inside)| inside.into())
}

fn is_bytes(value: &JsValue) -> bool {
    value.is_instance_of::<ArrayBuffer>() || ArrayBuffer::is_view(value)
}

fn source_of(file: &File) -> BlobSource {
    BlobSource::new(file.name(), file.clone().into())
}

fn request(value: &JsValue) -> Result<Request> {
    options("request", "a request as its type says", value)
}

fn signal(options: &JsValue) -> Option<AbortSignal> {
    get(options, "signal").dyn_into().ok()
}

/// An address relative to the page or worker, made absolute.
fn absolute(url: &str) -> Result<String> {
    let base = get(&get(&js_sys::global(), "location"), "href")
        .as_string()
        .unwrap_or_default();
    let absolute = Url::new_with_base(url, &base).map_err(|_| Error::Network {
        url: url.to_owned(),
        why: "this is not an address".into(),
    })?;
    Ok(absolute.href())
}
