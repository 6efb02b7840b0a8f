//! Which device computes, said in words.

use std::sync::atomic::{AtomicBool, Ordering};

use async_lock::OnceCell;
use burn::tensor::wgpu::wgpu::{DeviceType, Features};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// burn-flex: SIMD on one thread of the processor, f32.
    Cpu,
    /// burn-wgpu: WebGPU in a browser, Vulkan, Metal or DirectX 12 natively.
    Gpu,
}

/// Opens the CPU device.
#[must_use]
pub fn cpu() -> Device {
    Device::flex()
}

/// Kernel launches gathered into one submission: a token of a 30-layer model is about a thousand.
const LAUNCHES_PER_SUBMIT: usize = 512;

/// Opens the GPU device. In a browser, probe first: a GPU without timestamp queries cannot be
/// used and must not be asked for.
///
/// # Errors
/// [`Error::DeviceUnavailable`].
pub async fn gpu() -> Result<Device> {
    // burn registers a GPU once per program and refuses a second time, also while the first is
    // still opening: later callers wait.
    Ok(OPENED.get_or_try_init(open).await?.device.clone())
}

async fn open() -> Result<Gpu> {
    let options = Device::wgpu_options().tasks_max(LAUNCHES_PER_SUBMIT);
    let opened = options.init_with_setup_async().await;
    let (device, setup) = opened.map_err(|error| Error::DeviceUnavailable {
        asked: "gpu".into(),
        why: error.to_string(),
    })?;
    Ok(Gpu {
        device,
        software: setup.adapter.get_info().device_type == DeviceType::Cpu,
        subgroups: setup.device.features().contains(Features::SUBGROUP),
    })
}

#[derive(Debug)]
struct Gpu {
    device: Device,
    software: bool,
    /// As wgpu knows it.
    subgroups: bool,
}

/// The GPU of this program.
static OPENED: OnceCell<Gpu> = OnceCell::new();

/// Whether the GPU that was opened is a software adapter, which computes on the CPU. Kernels are
/// divided differently for it.
#[must_use]
pub fn gpu_is_software() -> bool {
    OPENED.get().is_some_and(|gpu| gpu.software)
}

/// Whether the browser grants subgroups, which wgpu does not know there.
static SUBGROUPS: AtomicBool = AtomicBool::new(false);

/// Records that the browser grants subgroups to the GPU that is opened next.
pub fn grant_subgroups() {
    SUBGROUPS.store(true, Ordering::Relaxed);
}

/// Whether kernels may use subgroup operations on the GPU that was opened.
#[must_use]
pub fn gpu_has_subgroups() -> bool {
    SUBGROUPS.load(Ordering::Relaxed) || OPENED.get().is_some_and(|gpu| gpu.subgroups)
}

/// Copies logits `[n, vocab]` to the host, row by row.
///
/// # Errors
/// [`Error::DeviceLost`] when the device cannot answer.
pub async fn read_back(logits: Tensor<2>) -> Result<Vec<f32>> {
    let data = logits.into_data_async().await.map_err(Error::device_lost)?;
    data.try_into_vec()
        .map_err(|error| Error::device_lost(format!("{error:?}")))
}
