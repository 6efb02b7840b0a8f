//! Starting a device: the browser is asked what it has, a device is chosen and opened.

use std::cell::RefCell;
use std::collections::BTreeMap;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;

use super::choice::{self, GpuFacts, Wish};
use super::glue::{construct, message, options, probe, wait, watch_gpu};
use super::relaxed;
use super::room::{Place, place};
use crate::arch::ModelFile;
use crate::device;
use crate::error::{Error, Result};
use crate::model::{GpuRoom, Weights};
use crate::weights::ByteSource;

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
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct About {
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
    device: Device,
    /// Whether it is a GPU, which can be lost.
    pub(super) gpu: bool,
    wish: Wish,
    /// Whether weights are widened to f32 on the CPU too.
    exact: bool,
    pub(super) about: About,
}

/// Where one model goes.
pub(super) struct Placed {
    pub(super) device: Device,
    /// How its weights are kept there.
    pub(super) weights: Weights,
    pub(super) about: About,
    /// What is to be said of it.
    pub(super) warning: Option<String>,
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
    let about = match facts.adapter.filter(|_| choice.webgpu) {
        Some(adapter) => About {
            kind: "webgpu",
            name: adapter.name(),
            why: choice.why,
            software: choice.software,
            features: adapter.features,
            limits: adapter.limits,
        },
        None => cpu(choice.why, exact).await,
    };
    Ok(Started {
        device,
        gpu: choice.webgpu,
        wish,
        exact,
        about,
    })
}

/// What is to be told of the CPU.
async fn cpu(why: String, exact: bool) -> About {
    let relaxed = !exact && relaxed::start().await;
    About {
        kind: "cpu",
        name: "CPU (WebAssembly SIMD, one thread)".into(),
        why,
        software: false,
        features: relaxed.then(|| "relaxed-simd".into()).into_iter().collect(),
        limits: BTreeMap::new(),
    }
}

impl Started {
    /// Where the model of this file goes: onto the device that was opened, or, for lack of room on a
    /// GPU, to the CPU.
    ///
    /// # Errors
    /// [`Error::DeviceUnavailable`] when WebGPU was asked for and the model cannot be there.
    pub(super) async fn place<S: ByteSource>(&self, file: &ModelFile<S>) -> Result<Placed> {
        let mut placed = Placed {
            device: self.device.clone(),
            weights: self.host_weights(),
            about: self.about.clone(),
            warning: None,
        };
        if !self.gpu {
            return Ok(placed);
        }
        match place(&GpuRoom::of(file), &self.about.limits, self.wish)? {
            Place::Gpu { warning } => {
                placed.weights = Weights::Dense;
                placed.warning = warning;
            }
            Place::Cpu { why } => {
                placed.device = device::cpu();
                placed.about = cpu(why, self.exact).await;
            }
        }
        Ok(placed)
    }

    fn host_weights(&self) -> Weights {
        if self.exact {
            Weights::Dense
        } else {
            Weights::Quantised
        }
    }
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
