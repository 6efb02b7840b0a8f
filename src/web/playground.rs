//! The exported class.
#![allow(
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "JavaScript calls these, and errors are thrown"
)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use super::device::{Started, start};
use super::dose::{behaviours, calibrated, calibrated_side, mapped, measured, pictured};
use super::glue::{check, memory, options, plain, promise, when_lost};
use super::hub::{adapter, offers};
use super::input::{
    absolute, adapter_files, files_and_weights, request as read_request, signal, with_weights,
};
use super::load::{load_folder, load_model, report};
use super::storage::{Storage, forget};
use super::train::{Training, training};
use super::vector::made;
use crate::adapters::{Adapter, Entry, Headed, LARGE_BYTES, inspect, load_waiting};
use crate::checkpoint::Method;
use crate::error::{Error, Result};
use crate::hooks::{Law, Mask, Tokens};
use crate::methods::METHODS;
use crate::session::{CachePolicy, Generation, Session};
use crate::weights::ByteSource;

/// A language model and its adapters. Create it with `Playground.create`, best in a worker.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Playground {
    started: Rc<Started>,
    session: Rc<RefCell<Option<Session>>>,
    /// Set on the running generation before its next step.
    policy: Rc<Cell<Option<CachePolicy>>>,
}

#[wasm_bindgen]
impl Playground {
    /// Chooses a device, opens it, and says in `device` which it is and why. WebGPU that is
    /// missing, too small or software is not started: the CPU computes instead, unless
    /// `device: "webgpu"` was asked for, which then fails with `device-unavailable`.
    #[wasm_bindgen(unchecked_return_type = "Promise<Playground>")]
    pub fn create(
        #[wasm_bindgen(unchecked_optional_param_type = "CreateOptions")] options: JsValue,
    ) -> Promise {
        promise(false, async move {
            Ok(Self {
                started: Rc::new(start(&options).await?),
                session: Rc::default(),
                policy: Rc::default(),
            })
        })
    }

    /// The device in words: kind, name, why, software, features, limits. A model for which a GPU has no
    /// room is computed on the CPU all the same: `ModelInfo.device` says where each one is.
    #[wasm_bindgen(getter, unchecked_return_type = "DeviceInfo")]
    pub fn device(&self) -> JsValue {
        plain(&self.started.about)
    }

    /// Resolves, with the error, when the GPU is lost or the module panics. After that every call
    /// fails with that error: start a new worker.
    #[wasm_bindgen(getter, unchecked_return_type = "Promise<PlaygroundError>")]
    pub fn lost(&self) -> Promise {
        when_lost()
    }

    /// Loads a model from an address of a GGUF file (relative to this script's page or worker), from a
    /// repository of the Hugging Face Hub (`hub:owner/name`, with `/file` and `@revision` where they are
    /// wanted, or its page's address), a `File` or a `Blob`. A download is kept in the browser's storage, verified, and continued where it
    /// stopped; the adapters of an earlier model go with it.
    #[wasm_bindgen(js_name = loadModel, unchecked_return_type = "Promise<ModelInfo>")]
    pub fn load_model(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string | URL | Blob")] source: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "LoadOptions")] options: JsValue,
    ) -> Promise {
        let (session, started) = (self.session.clone(), self.started.clone());
        promise(self.started.gpu, async move {
            load_model(&session, &started, &source, &options).await
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
        let (session, started) = (self.session.clone(), self.started.clone());
        promise(self.started.gpu, async move {
            load_folder(&session, &started, &files, &options).await
        })
    }

    /// The models and adapters of a repository of the Hugging Face Hub; nothing of them is fetched.
    #[wasm_bindgen(js_name = listHub, unchecked_return_type = "Promise<HubOffer[]>")]
    pub fn list_hub(
        #[wasm_bindgen(unchecked_param_type = "string | URL")] source: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "LoadOptions")] options: JsValue,
    ) -> Promise {
        promise(false, async move { offers(&source, &options).await })
    }

    /// Fetches an adapter for `loadAdapter`: from a repository of the Hugging Face Hub, as `loadModel`
    /// does, or from the address of its weights, beside which its config lies. It is kept as models are.
    #[wasm_bindgen(js_name = fetchAdapter, unchecked_return_type = "Promise<AdapterFiles>")]
    pub fn fetch_adapter(
        #[wasm_bindgen(unchecked_param_type = "string | URL")] source: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "LoadOptions")] options: JsValue,
    ) -> Promise {
        promise(false, async move {
            adapter(&source, &options, &report(&options)).await
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
        promise(self.started.gpu, async move {
            let (session, adapter) = read_adapter(&session, &files).await?;
            let id = session.stack.borrow_mut().add(adapter);
            Ok(entry_view(&session, id))
        })
    }

    /// Reads an adapter's files again, such as for another `task` or with other `expertWeights`, and
    /// puts what they give in its place: id, coefficient, law, mask and order stay. What cannot
    /// follow them is refused, and the adapter stays as it was.
    #[wasm_bindgen(js_name = reloadAdapter, unchecked_return_type = "Promise<AdapterEntry>")]
    pub fn reload_adapter(
        &self,
        id: u32,
        #[wasm_bindgen(unchecked_param_type = "AdapterFiles")] files: JsValue,
    ) -> Promise {
        let session = self.session.clone();
        promise(self.started.gpu, async move {
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
            let (files, weights) = files_and_weights(&files).await?;
            let found = if weights.len_bytes() >= LARGE_BYTES {
                Headed::read(files, &weights).await?.inspect()?
            } else {
                inspect(&with_weights(files, &weights).await?)?
            };
            Ok(plain(&found))
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

    /// Chooses how an adapter's coefficient acts: one of its entry's `laws`, else the error `bad-law`
    /// gives the reason. It acts from the next token on.
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
    /// `post_attention_layernorm`, `q_norm`, `k_norm`, `norm`, `attention`, `residual`) an adapter
    /// acts, or on which modules of which blocks (`"5-20:q_proj,v_proj;3:v_proj"` as the blocks, `"all"`
    /// as the modules), from the next token on; and on which tokens: `"prompt"`, `"generated"`, `"from:12"` for those
    /// from position 12 on, counted from 0, or `"all"`, as where nothing is given. What leaves it nowhere
    /// to act, and tokens for an adapter with keys and values of its own, is refused with `bad-option`, and
    /// the old mask stays.
    #[wasm_bindgen(js_name = setMask)]
    pub fn set_mask(
        &self,
        id: u32,
        layers: &str,
        modules: &str,
        positions: Option<String>,
    ) -> Result<()> {
        let mask = Mask {
            positions: Tokens::parse(positions.as_deref().unwrap_or_default())?,
            ..Mask::read(layers, modules)?
        };
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
            &stack.entries().iter().map(Entry::view).collect::<Vec<_>>(),
        ))
    }

    /// The card of every method that this build knows.
    #[wasm_bindgen(unchecked_return_type = "MethodCard[]")]
    pub fn methods(&self) -> JsValue {
        let cards = METHODS.iter().copied().map(Method::card);
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
        let generation = self.session()?.generate(read_request(&request)?)?;
        self.policy.set(None);
        let running = Rc::new(RefCell::new(Some(generation)));
        Ok(steps(
            Steps {
                running,
                gpu: self.started.gpu,
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
        self.session()?.prompt_ids(&read_request(&request)?)
    }

    /// Measures what coefficients do to the answers of a behaviour and to neutral ones: the object that
    /// `steer measure --json` prints. `signal` ends it with the error `aborted`.
    #[wasm_bindgen(unchecked_return_type = "Promise<Measurement>")]
    pub fn measure(
        &self,
        #[wasm_bindgen(unchecked_param_type = "MeasureOptions")] options: JsValue,
    ) -> Promise {
        self.with_session(async move |session| measured(&session, &options).await)
    }

    /// Finds the c on each side at which the 95th percentile of the KL from the base on neutral answers
    /// is `nats` (1 unless given), or says how far it looked.
    #[wasm_bindgen(unchecked_return_type = "Promise<Calibration>")]
    pub fn calibrate(
        &self,
        #[wasm_bindgen(unchecked_param_type = "DoseOptions")] options: JsValue,
    ) -> Promise {
        self.with_session(async move |session| calibrated(&session, &options).await)
    }

    /// As `calibrate`, for one side alone: half of the work.
    #[wasm_bindgen(js_name = calibrateSide, unchecked_return_type = "Promise<DoseSide>")]
    pub fn calibrate_side(
        &self,
        #[wasm_bindgen(unchecked_param_type = "DoseOptions")] options: JsValue,
        #[wasm_bindgen(unchecked_param_type = "\"negative\" | \"positive\"")] side: String,
    ) -> Promise {
        self.with_session(async move |session| calibrated_side(&session, &options, &side).await)
    }

    /// Turns one block after the other to the same strength (0.25 nats unless given) and reads the effect.
    #[wasm_bindgen(js_name = layerMap, unchecked_return_type = "Promise<LayerMap>")]
    pub fn layer_map(
        &self,
        #[wasm_bindgen(unchecked_param_type = "DoseOptions")] options: JsValue,
    ) -> Promise {
        self.with_session(async move |session| mapped(&session, &options).await)
    }

    /// What c makes of one place under an adapter, whatever it is turned to: singular values of the weight
    /// before and after, the size and the rank of the change, a small picture of it; whether the promises of
    /// its law hold there.
    #[wasm_bindgen(js_name = weightPicture, unchecked_return_type = "Promise<WeightPicture>")]
    pub fn weight_picture(
        &self,
        id: u32,
        #[wasm_bindgen(unchecked_optional_param_type = "PictureOptions")] options: JsValue,
    ) -> Promise {
        self.with_session(async move |session| pictured(&session, id, &options).await)
    }

    /// Makes a control vector of contrasting texts, at the length at which c = 1 has a strength of `nats`
    /// (1 unless given). It is not added: its `files` go to `loadAdapter`.
    #[wasm_bindgen(js_name = makeVector, unchecked_return_type = "Promise<MadeVector>")]
    pub fn make_vector(
        &self,
        #[wasm_bindgen(unchecked_param_type = "VectorOptions")] options: JsValue,
    ) -> Promise {
        self.with_session(async move |session| made(&session, &options).await)
    }

    /// Trains an adapter of any method from pairs of contrasting answers: `for await (const step of await
    /// playground.train({ method: "lora", behaviour: "tone" }))`. `signal` ends it with the error `aborted`;
    /// `files()` gives what was reached all the same.
    #[wasm_bindgen(unchecked_return_type = "Promise<Training>")]
    pub fn train(
        &self,
        #[wasm_bindgen(unchecked_param_type = "TrainOptions")] options: JsValue,
    ) -> Promise {
        let (session, gpu) = (self.session(), self.started.gpu);
        promise(gpu, async move {
            let training = training(session?, gpu, &options).await?;
            Ok(iterable(training))
        })
    }

    /// Checks the text of a file of contrasting answers and gives the names of its behaviours.
    pub fn behaviours(&self, text: &str) -> Result<Vec<String>> {
        behaviours(text)
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
        memory()
    }

    /// Work on the session of the moment, which a model that is loaded meanwhile does not change.
    fn with_session(
        &self,
        work: impl AsyncFnOnce(Session) -> Result<JsValue> + 'static,
    ) -> Promise {
        let session = self.session();
        promise(self.started.gpu, async move { work(session?).await })
    }

    fn session(&self) -> Result<Session> {
        self.session.borrow().clone().ok_or(Error::NoModel)
    }
}

#[wasm_bindgen(module = "/src/web/shim.js")]
extern "C" {
    /// The same with an async iterator over its steps.
    fn iterable(training: Training) -> JsValue;

    /// The async iterator over a generation.
    fn steps(generation: Steps, signal: Option<AbortSignal>) -> JsValue;
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

/// An adapter for the model that is loaded, and its session.
async fn read_adapter(
    session: &RefCell<Option<Session>>,
    files: &JsValue,
) -> Result<(Session, Adapter)> {
    let session = session.borrow().clone().ok_or(Error::NoModel)?;
    let files = adapter_files(files, &session).await?;
    let adapter = load_waiting(&files, &session.model).await?;
    Ok((session, adapter))
}

fn entry_view(session: &Session, id: u32) -> JsValue {
    let stack = session.stack.borrow();
    let entry = stack.entries().iter().find(|entry| entry.id == id);
    entry.map_or(JsValue::NULL, |entry| plain(&entry.view()))
}
