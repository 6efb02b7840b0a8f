//! Which device computes, said in words.

use std::sync::OnceLock;

use burn::tensor::Device;
use burn::tensor::wgpu::wgpu::DeviceType;
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
    // burn registers a GPU once per program, and refuses a second time.
    static OPENED: OnceLock<Device> = OnceLock::new();
    if let Some(device) = OPENED.get() {
        return Ok(device.clone());
    }
    let options = Device::wgpu_options().tasks_max(LAUNCHES_PER_SUBMIT);
    let (device, setup) =
        options
            .init_with_setup_async()
            .await
            .map_err(|error| Error::DeviceUnavailable {
                asked: "gpu".into(),
                why: error.to_string(),
            })?;
    let _ = SOFTWARE.set(setup.adapter.get_info().device_type == DeviceType::Cpu);
    Ok(OPENED.get_or_init(|| device).clone())
}

static SOFTWARE: OnceLock<bool> = OnceLock::new();

/// Whether the GPU that was opened is a program that imitates one on the CPU. Kernels are cut
/// differently for it.
#[must_use]
pub fn gpu_is_software() -> bool {
    SOFTWARE.get().copied().unwrap_or(false)
}
