//! Measuring from JavaScript: options in, one object out, progress and abort between.

use js_sys::{Function, Promise};
use serde::Deserialize;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use super::glue::{check, get, options, plain, wait};
use super::input::signal;
use crate::dose::{
    Contrast, MeasureOptions, Place, Progress, Split, Subject, calibrate, calibrate_side,
    layer_map, measure, picture,
};
use crate::error::{Error, Result};
use crate::session::Session;
use crate::text::Variables;

#[wasm_bindgen(module = "/src/web/shim.js")]
extern "C" {
    /// Lets messages and clicks in.
    fn turn() -> Promise;
}

/// What is measured on, and what c turns.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Dosed {
    pairs: Option<serde_json::Value>,
    pairs_name: Option<String>,
    behaviour: String,
    adapters: Option<Vec<Scaled>>,
    template_variables: Variables,
    coefficients: Option<Vec<f32>>,
    split: Option<Split>,
    seed: Option<u64>,
    repetition_tokens: Option<usize>,
    prompting: Option<bool>,
    nats: Option<f64>,
}

/// An adapter and its share of c.
#[derive(Deserialize)]
struct Scaled {
    id: u32,
    scale: Option<f32>,
}

impl Dosed {
    fn read(value: &JsValue) -> Result<Self> {
        options("options", "an object as its type says", value)
    }

    /// The pairs of the behaviour. Their fingerprint is that of the text, so a text that was read from a
    /// file is better than an object made of it.
    fn contrast(&self) -> Result<Contrast> {
        let name = self.pairs_name.as_deref().unwrap_or("pairs");
        Contrast::given(name, self.pairs.as_ref(), &self.behaviour)
    }

    /// What c turns: the adapters that were named, else all that are switched on.
    fn subject<'a>(&'a self, session: &'a Session) -> Subject<'a> {
        let scaled = match &self.adapters {
            Some(named) => {
                let named = named.iter();
                named
                    .map(|one| (one.id, one.scale.unwrap_or(1.0)))
                    .collect()
            }
            None => {
                let stack = session.stack.borrow();
                let on = stack.entries().iter().filter(|entry| entry.enabled);
                on.map(|entry| (entry.id, 1.0)).collect()
            }
        };
        Subject::new(session, scaled, &self.template_variables)
    }
}

/// Tells `onProgress`, lets messages in, and ends once the signal is aborted.
pub(super) struct Watch {
    report: Option<Function>,
    signal: Option<AbortSignal>,
}

impl Watch {
    pub(super) fn new(options: &JsValue) -> Self {
        Self {
            report: get(options, "onProgress").dyn_into().ok(),
            signal: signal(options),
        }
    }

    pub(super) async fn told(&self, progress: Progress) -> Result<()> {
        check(self.signal.as_ref())?;
        if let Some(report) = &self.report {
            // What the caller throws is the caller's.
            let _ = report.call1(&JsValue::UNDEFINED, &plain(&progress));
        }
        turned().await;
        check(self.signal.as_ref())
    }
}

/// Lets messages and clicks in.
pub(super) async fn turned() {
    // A promise that never rejects.
    let _ = wait(turn()).await;
}

/// Milliseconds of a clock that never goes back.
pub(super) fn now_ms() -> f64 {
    let performance = get(&js_sys::global(), "performance");
    let now = get(&performance, "now").dyn_into::<Function>();
    let now = now.ok().and_then(|now| now.call0(&performance).ok());
    now.and_then(|now| now.as_f64()).unwrap_or(0.0)
}

/// Resolves to a `Measurement`.
pub(super) async fn measured(session: &Session, value: &JsValue) -> Result<JsValue> {
    let (dosed, watch) = (Dosed::read(value)?, Watch::new(value));
    let usual = MeasureOptions::default();
    let options = MeasureOptions {
        coefficients: dosed.coefficients.clone(),
        split: dosed.split.unwrap_or(usual.split),
        seed: dosed.seed.unwrap_or(usual.seed),
        repetition_tokens: dosed.repetition_tokens.unwrap_or(usual.repetition_tokens),
        prompting: dosed.prompting.unwrap_or(usual.prompting),
    };
    let contrast = dosed.contrast()?;
    let started = now_ms();
    let told = async |progress| watch.told(progress).await;
    let mut found = measure(&dosed.subject(session), &contrast, &options, told).await?;
    found.seconds = Some((now_ms() - started) / 1e3);
    Ok(plain(&found))
}

/// Resolves to a `Calibration`.
pub(super) async fn calibrated(session: &Session, value: &JsValue) -> Result<JsValue> {
    let (dosed, watch) = (Dosed::read(value)?, Watch::new(value));
    let contrast = dosed.contrast()?;
    let told = async |progress| watch.told(progress).await;
    let nats = dosed.nats.unwrap_or(1.0);
    let found = calibrate(&dosed.subject(session), &contrast, nats, told).await?;
    Ok(plain(&found))
}

/// Resolves to a `DoseSide`.
pub(super) async fn calibrated_side(
    session: &Session,
    value: &JsValue,
    side: &str,
) -> Result<JsValue> {
    let sign = match side {
        "negative" => -1.0,
        "positive" => 1.0,
        _ => {
            return Err(Error::BadOption {
                name: "side",
                expected: "\"negative\" or \"positive\"",
                found: side.into(),
            });
        }
    };
    let (dosed, watch) = (Dosed::read(value)?, Watch::new(value));
    let contrast = dosed.contrast()?;
    let told = async |progress| watch.told(progress).await;
    let nats = dosed.nats.unwrap_or(1.0);
    let found = calibrate_side(&dosed.subject(session), &contrast, sign, nats, told).await?;
    Ok(plain(&found))
}

/// Resolves to a `LayerMap`.
pub(super) async fn mapped(session: &Session, value: &JsValue) -> Result<JsValue> {
    let (dosed, watch) = (Dosed::read(value)?, Watch::new(value));
    let contrast = dosed.contrast()?;
    let told = async |progress| watch.told(progress).await;
    let nats = dosed.nats.unwrap_or(0.25);
    let found = layer_map(&dosed.subject(session), &contrast, nats, told).await?;
    Ok(plain(&found))
}

/// A place, and c.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Pictured {
    layer: Option<usize>,
    module: Option<String>,
    c: Option<f32>,
}

/// Resolves to a `WeightPicture`.
pub(super) async fn pictured(session: &Session, id: u32, value: &JsValue) -> Result<JsValue> {
    let asked: Pictured = options("options", "an object as its type says", value)?;
    let place = Place {
        layer: asked.layer,
        module: asked.module.as_deref(),
    };
    let found = picture(session, id, place, asked.c.unwrap_or(1.0)).await?;
    Ok(plain(&found))
}

/// The names of the behaviours in a file of pairs.
pub(super) fn behaviours(text: &str) -> Result<Vec<String>> {
    let found = Contrast::behaviours("pairs", text.as_bytes())?;
    // A file whose rows are wrong is refused as a whole, with the row.
    for name in &found {
        Contrast::read("pairs", text.as_bytes(), name)?;
    }
    Ok(found)
}
