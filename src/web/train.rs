//! Training from JavaScript: an object that iterates over its steps.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Promise, Reflect, Uint8Array};
use serde::Deserialize;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use super::dose::{now_ms, turned};
use super::glue::{check, get, memory, object, options, plain, promise};
use super::input::signal;
use crate::dose::Contrast;
use crate::error::{Error, Result};
use crate::session::Session;
use crate::text::Variables;
use crate::train::{TrainOptions, Trainer};

/// What is trained, and on what.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    method: String,
    behaviour: String,
    pairs: Option<serde_json::Value>,
    pairs_name: Option<String>,
    template_variables: Variables,
    #[serde(flatten)]
    options: TrainOptions,
}

/// A training under way: `for await (const step of training)` makes its steps.
#[wasm_bindgen(skip_typescript)]
pub struct Training {
    /// Taken out while a step is computed.
    trainer: Rc<RefCell<Option<Trainer>>>,
    gpu: bool,
    signal: Option<AbortSignal>,
    /// What [`Trainer::new`] took, in seconds.
    begun: f64,
}

/// Begins; goes on from `state` where there is one.
pub(super) async fn training(session: Session, gpu: bool, value: &JsValue) -> Result<Training> {
    let wanted: Wanted = options("options", "an object as its type says", value)?;
    let name = wanted.pairs_name.as_deref().unwrap_or("pairs");
    let contrast = Contrast::given(name, wanted.pairs.as_ref(), &wanted.behaviour)?;
    let (method, variables) = (&wanted.method, &wanted.template_variables);
    let started = now_s();
    let mut trainer = Trainer::new(&session, &contrast, method, &wanted.options, variables).await?;
    let begun = now_s() - started;
    if let Ok(state) = get(value, "state").dyn_into::<Uint8Array>() {
        trainer.resume(&state.to_vec())?;
    }
    Ok(Training {
        trainer: Rc::new(RefCell::new(Some(trainer))),
        gpu,
        signal: signal(value),
        begun,
    })
}

fn now_s() -> f64 {
    now_ms() / 1e3
}

#[wasm_bindgen]
impl Training {
    /// Computes the coming step without making it, and says what all steps to come take.
    pub fn estimate(&self) -> Promise {
        let (signal, begun) = (self.signal.clone(), self.begun);
        self.with(async move |trainer| {
            check(signal.as_ref())?;
            turned().await;
            check(signal.as_ref())?;
            let found = plain(&trainer.estimate(begun, now_s).await?);
            // Setting a property of a plain new object cannot fail.
            let _ = Reflect::set(&found, &"memory".into(), &memory());
            Ok(found)
        })
    }

    /// Makes a step; `undefined` after the last one.
    pub fn step(&self) -> Promise {
        let signal = self.signal.clone();
        self.with(async move |trainer| {
            check(signal.as_ref())?;
            turned().await;
            check(signal.as_ref())?;
            if trainer.is_done() {
                return Ok(JsValue::UNDEFINED);
            }
            Ok(plain(&trainer.step().await?))
        })
    }

    /// The adapter as files: the best state that the stop rows saw, else the last.
    pub fn files(&self) -> Promise {
        self.with(async |trainer| {
            let files = trainer.files().await?;
            Ok(object(&[
                ("config", files.config.into()),
                ("weights", Uint8Array::from(&*files.weights).into()),
                ("record", plain(&files.record)),
            ]))
        })
    }

    /// All that is needed to go on later: bytes for `state`.
    pub fn state(&self) -> Promise {
        self.with(async |trainer| Ok(Uint8Array::from(&*trainer.state().await?).into()))
    }

    /// Steps made.
    #[wasm_bindgen(getter)]
    pub fn steps(&self) -> usize {
        let trainer = self.trainer.borrow();
        trainer.as_ref().map_or(0, Trainer::steps)
    }

    /// Numbers that are trained.
    #[wasm_bindgen(getter)]
    pub fn parameters(&self) -> usize {
        let trainer = self.trainer.borrow();
        trainer.as_ref().map_or(0, Trainer::parameters)
    }

    fn with(&self, work: impl AsyncFnOnce(&mut Trainer) -> Result<JsValue> + 'static) -> Promise {
        let place = self.trainer.clone();
        promise(self.gpu, async move {
            let trainer = place.borrow_mut().take();
            // Two calls at once, which `for await` never makes.
            let mut trainer = trainer.ok_or(Error::Aborted)?;
            let answer = work(&mut trainer).await;
            *place.borrow_mut() = Some(trainer);
            answer
        })
    }
}
