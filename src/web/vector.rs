//! Making a vector from JavaScript.

use js_sys::Uint8Array;
use serde::Deserialize;
use serde_json::{Map, Value};
use wasm_bindgen::prelude::*;

use super::dose::Watch;
use super::glue::{object, options, plain};
use crate::dose::{Contrast, Progress};
use crate::error::{Error, Result};
use crate::extract::{At, Extraction, Length, Method, Options, Texts, encoded, middle_layers};
use crate::hooks::Mask;
use crate::session::Session;

/// What a vector is made of, and how.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Made {
    name: Option<String>,
    positive: Option<Vec<String>>,
    negative: Option<Vec<String>>,
    template: Option<String>,
    personas: Option<Personas>,
    suffixes: Option<Vec<String>>,
    layers: Option<String>,
    method: Method,
    at: Option<At>,
    nats: Option<f64>,
}

#[derive(Deserialize)]
struct Personas {
    positive: Vec<String>,
    negative: Vec<String>,
}

impl Made {
    /// The texts, in the form that files have.
    fn texts(&self, name: &str) -> Result<Texts> {
        let mut file = Map::new();
        let mut set = |key: &str, value: Value| drop(file.insert(key.into(), value));
        match &self.personas {
            Some(Personas { positive, negative }) => {
                set("positive", positive.clone().into());
                set("negative", negative.clone().into());
                set("template", self.template.clone().unwrap_or_default().into());
                set("suffixes", self.suffixes.clone().unwrap_or_default().into());
            }
            None => {
                set("positive", self.positive.clone().unwrap_or_default().into());
                set("negative", self.negative.clone().unwrap_or_default().into());
            }
        }
        Texts::from_json(name, Value::from(file).to_string().as_bytes())
    }
}

/// Resolves to a `MadeVector`.
pub(super) async fn made(session: &Session, value: &JsValue) -> Result<JsValue> {
    let made: Made = options("options", "an object as its type says", value)?;
    let watch = Watch::new(value);
    let name = made.name.as_deref().unwrap_or("vector");
    let text = session.text.as_ref().ok_or_else(|| Error::NoTokenizer {
        file: session.model.name().into(),
    })?;
    let pairs = made.texts(name)?.pairs(text)?;
    let blocks = session.model.config().num_layers;
    let asked = Mask::parse(made.layers.as_deref().unwrap_or(""), "")?.layers;
    let chosen = Options {
        method: made.method,
        at: made.at.unwrap_or_else(|| made.method.at()),
        layers: asked.unwrap_or_else(|| middle_layers(blocks)),
        length: Length::default(),
        target: None,
    };
    let mut extraction = Extraction::new(session, encoded(session, &pairs)?, chosen)?;
    loop {
        let progress = extraction.progress();
        let told = Progress {
            done: progress.texts,
            total: progress.total_texts,
        };
        watch.told(told).await?;
        if !extraction.step().await? {
            break;
        }
    }
    let vector = extraction.finish()?;
    // Only its neutral answers are read.
    let contrast = Contrast::shipped("tone")?;
    let told = async |progress| watch.told(progress).await;
    let nats = made.nats.unwrap_or(1.0);
    let (vector, positive) = vector.calibrated(session, &contrast, nats, told).await?;
    let files = object(&[
        ("name", name.into()),
        ("config", vector.config().into()),
        ("weights", Uint8Array::from(&*vector.safetensors()?).into()),
    ]);
    let warnings: Vec<&String> = positive.note.iter().collect();
    let calibration = object(&[("target_nats", nats.into()), ("positive", plain(&positive))]);
    Ok(object(&[
        ("files", files),
        ("gguf", Uint8Array::from(&*vector.gguf()?).into()),
        ("calibration", calibration),
        ("warnings", plain(&warnings)),
    ]))
}
