//! Errors, promises and values between Rust and JavaScript.

use std::future::{Future, poll_fn};
use std::panic::{PanicHookInfo, set_hook};
use std::pin::pin;
use std::sync::Once;
use std::task::Poll;

use js_sys::{Object, Promise, Reflect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise, spawn_local};
use web_sys::AbortSignal;

use crate::error::{Error, Result};

#[wasm_bindgen(module = "/src/web/shim.js")]
extern "C" {
    /// The class of all our errors.
    type PlaygroundError;
    #[wasm_bindgen(constructor, js_class = "PlaygroundError")]
    fn new(code: &str, message: &str) -> PlaygroundError;
    /// The same class, exported to users of the package. As a function, because only functions can
    /// be exported without a made-up TypeScript type; types.rs has the right one.
    #[wasm_bindgen(reexport = "PlaygroundError", skip_typescript, js_name = PlaygroundError)]
    fn _exported();

    fn panicked();
    #[wasm_bindgen(js_name = inTheConsole)]
    fn in_the_console(details: &str);
    #[wasm_bindgen(js_name = storageRoot)]
    pub(super) fn storage_root() -> Promise;
    fn guard(promise: &Promise, gpu: bool) -> Promise;
    #[wasm_bindgen(js_name = whenLost)]
    pub(super) fn when_lost() -> Promise;
    pub(super) fn probe() -> Promise;
    #[wasm_bindgen(js_name = watchGpu)]
    pub(super) fn watch_gpu(features: Vec<String>);
    #[wasm_bindgen(js_name = gpuBytes)]
    pub(super) fn gpu_bytes() -> Vec<f64>;
}

impl From<Error> for JsValue {
    fn from(error: Error) -> Self {
        if let Error::DeviceLost { details, .. } = &error {
            in_the_console(details);
        }
        PlaygroundError::new(error.code(), &error.to_string()).into()
    }
}

#[expect(
    unsafe_code,
    reason = "the linker writes this function, which takes nothing and gives nothing"
)]
unsafe extern "C" {
    safe fn __wasm_call_ctors();
}

/// Fills the registries, once. If nothing called the linker's function, every exported function would
/// begin with it: it would run whenever a string passes between JavaScript and Rust.
pub(super) fn construct() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| __wasm_call_ctors());
}

/// Runs once, when the module starts: the registries of the GPU's compiler are filled; panics are
/// printed and end every pending call.
#[wasm_bindgen(start, private)]
fn start() {
    construct();
    set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        console_error_panic_hook::hook(info);
        panicked();
    }));
}

/// A promise for JavaScript that also rejects when the module panics or, with `gpu`, when the
/// GPU is lost while the future waits for it.
pub(super) fn promise<T: Into<JsValue>>(
    gpu: bool,
    future: impl Future<Output = Result<T>> + 'static,
) -> Promise {
    let settled = async { future.await.map(Into::into).map_err(JsValue::from) };
    guard(&future_to_promise(settled), gpu)
}

/// Waits for a JavaScript promise.
pub(super) async fn wait(promise: Promise) -> Result<JsValue, JsValue> {
    JsFuture::from(promise).await
}

/// Drops a promise whose outcome does not matter, even if it rejects.
pub(super) fn ignore(promise: Promise) {
    spawn_local(async move { drop(JsFuture::from(promise).await) });
}

/// A Rust value as plain JavaScript: numbers, objects, `null` for nothing.
pub(super) fn plain(value: &impl Serialize) -> JsValue {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).unwrap_or(JsValue::NULL)
}

/// An options object as a Rust value.
///
/// # Errors
/// [`Error::BadOption`] with what does not fit.
pub(super) fn options<T: DeserializeOwned + Default>(
    name: &'static str,
    expected: &'static str,
    value: &JsValue,
) -> Result<T> {
    if value.is_undefined() || value.is_null() {
        return Ok(T::default());
    }
    serde_wasm_bindgen::from_value(value.clone()).map_err(|error| Error::BadOption {
        name,
        expected,
        found: error.to_string(),
    })
}

/// A property of an object, `undefined` when there is none.
pub(super) fn get(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

/// A new object with these properties.
pub(super) fn object(properties: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in properties {
        // Setting a property of a plain new object cannot fail.
        let _ = Reflect::set(&object, &(*name).into(), value);
    }
    object.into()
}

/// A `Memory`.
pub(super) fn memory() -> JsValue {
    let heap = get(&get(&wasm_bindgen::memory(), "buffer"), "byteLength");
    let gpu = gpu_bytes();
    let gpu = |at: usize| gpu.get(at).copied().unwrap_or(0.0).into();
    object(&[
        ("wasmHeapBytes", heap.clone()),
        ("wasmHeapPeakBytes", heap),
        ("gpuBytes", gpu(0)),
        ("gpuPeakBytes", gpu(1)),
    ])
}

/// The message of whatever was thrown.
pub(super) fn message(thrown: &JsValue) -> String {
    let message = get(thrown, "message")
        .as_string()
        .filter(|text| !text.is_empty());
    message
        .or_else(|| thrown.as_string())
        .unwrap_or_else(|| format!("{thrown:?}"))
}

/// The `name` of whatever was thrown, such as `QuotaExceededError`.
pub(super) fn name(thrown: &JsValue) -> String {
    get(thrown, "name").as_string().unwrap_or_default()
}

/// `Err` once the signal is aborted.
pub(super) fn check(signal: Option<&AbortSignal>) -> Result<()> {
    match signal {
        Some(signal) if signal.aborted() => Err(Error::Aborted),
        _ => Ok(()),
    }
}

/// A future that ends early, with [`Error::Aborted`], once the signal is aborted.
pub(super) async fn until_aborted<T>(
    signal: Option<AbortSignal>,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut future = pin!(future);
    poll_fn(|context| match check(signal.as_ref()) {
        Err(aborted) => Poll::Ready(Err(aborted)),
        Ok(()) => future.as_mut().poll(context),
    })
    .await
}
