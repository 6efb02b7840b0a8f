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

/// Opens the GPU device. In a browser, what watches the GPU must be in place before: it keeps the
/// runtime from measuring time where the GPU does not.
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
    let (info, limits) = (setup.adapter.get_info(), setup.device.limits());
    Ok(Gpu {
        device,
        about: GpuAbout {
            name: info.name,
            backend: format!("{:?}", info.backend),
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .into(),
            software: info.device_type == DeviceType::Cpu,
            subgroups: setup.device.features().contains(Features::SUBGROUP),
            timestamps: setup.device.features().contains(Features::TIMESTAMP_QUERY),
            binding_bytes: limits
                .max_storage_buffer_binding_size
                .min(limits.max_buffer_size),
        },
    })
}

/// What a GPU says of itself.
#[derive(Debug, Clone, Serialize)]
pub struct GpuAbout {
    /// The adapter's name.
    pub name: String,
    /// Such as `Vulkan`.
    pub backend: String,
    /// Its driver, with the version where it tells it.
    pub driver: String,
    /// Whether a processor imitates it.
    pub software: bool,
    /// Whether wgpu offers subgroup operations on it.
    pub subgroups: bool,
    /// Whether it tells how long it works.
    pub timestamps: bool,
    /// The largest buffer that a kernel may be given.
    pub binding_bytes: u64,
}

/// What the GPU that was opened says of itself; `None` before one is.
#[must_use]
pub fn gpu_about() -> Option<GpuAbout> {
    OPENED.get().map(|gpu| gpu.about.clone())
}

#[derive(Debug)]
struct Gpu {
    device: Device,
    about: GpuAbout,
}

/// The GPU of this program.
static OPENED: OnceCell<Gpu> = OnceCell::new();

/// Whether the GPU that was opened is a software adapter, which computes on the CPU. Kernels are
/// divided differently for it.
#[must_use]
pub fn gpu_is_software() -> bool {
    OPENED.get().is_some_and(|gpu| gpu.about.software)
}

/// Bytes of the largest buffer that a kernel can read on the GPU that was opened.
#[must_use]
pub fn gpu_binding_bytes() -> u64 {
    OPENED.get().map_or(u64::MAX, |gpu| gpu.about.binding_bytes)
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
    SUBGROUPS.load(Ordering::Relaxed) || OPENED.get().is_some_and(|gpu| gpu.about.subgroups)
}

/// Copies the numbers of a tensor to the host, row by row.
///
/// # Errors
/// [`Error::DeviceLost`] when the device cannot answer.
pub async fn read_back<const D: usize>(x: Tensor<D>) -> Result<Vec<f32>> {
    let data = x.into_data_async().await.map_err(Error::device_lost)?;
    data.try_into_vec()
        .map_err(|error| Error::device_lost(format!("{error:?}")))
}
