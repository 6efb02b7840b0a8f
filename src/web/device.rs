//! Starting a device: the browser is asked what it has, a device is chosen and opened.

use std::cell::RefCell;
use std::collections::BTreeMap;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;

use super::choice::{self, GpuFacts, Wish};
use super::glue::{construct, message, options, plain, probe, wait, watch_gpu};
use super::relaxed;
use crate::device;
use crate::error::{Error, Result};
use crate::model::Weights;

thread_local! {
    /// burn's GPU runtime starts once per module; later playgrounds share it.
    static GPU: RefCell<Option<Device>> = const { RefCell::new(None) };
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CreateOptions {
    device: Wish,
    allow_software_gpu: bool,
    exact: bool,
}

/// `DeviceInfo`.
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

/// A device that is ready to compute.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) device: Device,
    /// Whether it is a GPU, which can be lost.
    pub(super) gpu: bool,
    /// How the model's weights are kept on it.
    pub(super) weights: Weights,
    /// `DeviceInfo`.
    pub(super) about: JsValue,
}

/// Chooses and opens the device that `CreateOptions` ask for.
///
/// # Errors
/// [`Error::BadOption`]; [`Error::DeviceUnavailable`] when WebGPU was asked for and is not
/// available.
pub(super) async fn start(value: &JsValue) -> Result<Started> {
    let expected = "{ device?: \"auto\" | \"webgpu\" | \"cpu\", allowSoftwareGpu?: boolean, \
                    exact?: boolean }";
    let CreateOptions {
        device: wish,
        allow_software_gpu,
        exact,
    } = options("options", expected, value)?;
    let facts = match wish {
        Wish::Cpu => GpuFacts::default(),
        Wish::Auto | Wish::WebGpu => gpu_facts().await?,
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
    let weights = if exact || choice.webgpu {
        Weights::Dense
    } else {
        Weights::Quantised
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
    Ok(Started {
        device,
        gpu: choice.webgpu,
        weights,
        about: plain(&about),
    })
}

/// What the browser reports of its GPU.
async fn gpu_facts() -> Result<GpuFacts> {
    let unavailable = |why: String| Error::DeviceUnavailable {
        asked: "webgpu".into(),
        why,
    };
    let facts = wait(probe())
        .await
        .map_err(|thrown| unavailable(message(&thrown)))?;
    serde_wasm_bindgen::from_value(facts).map_err(|error| unavailable(error.to_string()))
}

/// Opens the GPU, once per module.
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
