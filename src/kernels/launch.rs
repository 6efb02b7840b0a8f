//! From WGSL text and burn tensors to a launch on the tensors' device.

use std::cell::Cell;
use std::fmt::{Debug, Write as _};
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use burn::backend::{BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind};
use burn::tensor::{Int, Tensor};
use burn_cubecl::cubecl::ir::metadata::Info;
use burn_cubecl::cubecl::ir::{ElemType, UIntKind};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::server::{KernelArguments, ServerError};
use burn_cubecl::cubecl::{CubeKernel, PrecompiledSource};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use burn_std::{DType, Shape};

use crate::error::{Error, Result};

thread_local! {
    /// Launches of this module's kernels by this thread.
    static LAUNCHES: Cell<u64> = const { Cell::new(0) };
}

/// Launches of hand-written kernels by this thread since it started.
#[must_use]
pub fn launches() -> u64 {
    LAUNCHES.get()
}

/// What a kernel is made for: everything that its text depends on. Two kernels that are equal
/// share one compiled pipeline.
pub(super) trait Wgsl:
    Debug + Clone + PartialEq + Eq + Hash + Send + Sync + 'static
{
    /// The text after the declarations of the buffers; its entry point is `main`.
    fn body(&self) -> String;

    /// Names and element types of the buffers, in the order in which they are given.
    fn buffers(&self) -> Vec<(&'static str, &'static str)>;

    /// Whether the text speaks of subgroups.
    fn subgroups(&self) -> bool {
        false
    }
}

struct Kernel<W>(W);

impl<W: Wgsl> KernelMetadata for Kernel<W> {
    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.0.clone())
    }

    fn address_type(&self) -> ElemType {
        ElemType::UInt(UIntKind::U32)
    }
}

impl<W: Wgsl> CubeKernel for Kernel<W> {
    fn define(&self) -> KernelDefinition {
        // Empty: the source below stands in for what would be compiled from it.
        let settings = KernelSettings::new(
            CubeDim::new_single().0,
            ExecutionMode::Checked,
            AddressType::U32,
        );
        KernelDefinition {
            body: Scope::root(settings.clone()),
            settings,
            info: Info::default(),
        }
    }

    fn source(&self) -> Option<PrecompiledSource> {
        let mut source = String::new();
        if self.0.subgroups() {
            // Browsers want them named; naga, which compiles elsewhere, knows them without a name.
            if cfg!(target_family = "wasm") {
                source += "enable subgroups;\n";
            }
            // Compilers do not see that what is read from a buffer is the same for all threads.
            source += "diagnostic(off, subgroup_uniformity);\n";
        }
        for (at, (name, element)) in self.0.buffers().into_iter().enumerate() {
            // All are writable for WebGPU's eyes: several tensors may share one buffer, and a
            // launch must not see a buffer as read-only and writable at once.
            let _ = writeln!(
                source,
                "@group(0) @binding({at}) var<storage, read_write> {name}: array<{element}>;"
            );
        }
        source += &self.0.body();
        Some(PrecompiledSource {
            source,
            entrypoint_name: "main".into(),
            lang: "wgsl",
        })
    }
}

/// Runs a kernel over `groups` workgroups.
pub(super) fn launch<W: Wgsl>(kernel: W, groups: [usize; 2], buffers: &[&CubeTensor]) {
    let arguments = buffers
        .iter()
        .fold(KernelArguments::new(), |arguments, tensor| {
            arguments.with_buffer(tensor.handle.clone().binding())
        });
    let count = CubeCount::Static(groups[0] as u32, groups[1] as u32, 1);
    LAUNCHES.set(LAUNCHES.get() + 1);
    buffers[0]
        .client
        .launch(Box::new(Kernel(kernel)), count, arguments);
}

/// Whether a tensor lies on a GPU, where these kernels can run.
#[must_use]
pub fn is_gpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(
        tensor.clone().into_dispatch().kind,
        DispatchTensorKind::Cube(_)
    )
}

/// The buffer of a tensor, contiguous.
pub(super) fn buffer<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Cube(BackendTensor::Float(tensor)) => into_contiguous(tensor),
        other => unreachable!("a GPU float tensor was expected, not {other:?}"),
    }
}

/// The buffer of a tensor of integers.
pub(super) fn int_buffer<const D: usize>(tensor: Tensor<D, Int>) -> CubeTensor {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Cube(BackendTensor::Int(tensor)) => into_contiguous(tensor),
        other => unreachable!("a GPU integer tensor was expected, not {other:?}"),
    }
}

/// An uninitialised tensor on the device of `like`.
pub(super) fn empty<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    let bytes = shape.iter().product::<usize>() * size_of::<f32>();
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        Shape::from(shape),
        like.client.empty(bytes),
        DType::F32,
    )
}

/// A tensor from a buffer.
pub(super) fn tensor<const D: usize>(buffer: CubeTensor) -> Tensor<D> {
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Cube(BackendTensor::Float(buffer)),
        autodiff: DispatchAutodiffContext::Disabled,
    })
}

/// A tensor of integers from a buffer of 32-bit words.
pub(super) fn int_tensor<const D: usize>(buffer: CubeTensor) -> Tensor<D, Int> {
    let dtype = DType::I32;
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Cube(BackendTensor::Int(CubeTensor { dtype, ..buffer })),
        autodiff: DispatchAutodiffContext::Disabled,
    })
}

type Bytes = Result<Vec<burn_std::Bytes>, ServerError>;

/// A reading under way. The runtime would use its buffer again, still mapped, if it were dropped
/// before its end: whoever has no use for it any more leaves it to [`ABANDONED`].
struct Reading(Option<Pin<Box<dyn Future<Output = Bytes> + Send>>>);

/// Readings that nobody waits for, until they end.
static ABANDONED: Mutex<Vec<Reading>> = Mutex::new(Vec::new());

impl Future for Reading {
    type Output = Bytes;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Bytes> {
        let Some(reading) = &mut self.0 else {
            return Poll::Pending;
        };
        let bytes = ready!(reading.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(bytes)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(reading) = self.0.take() {
            let mut abandoned = ABANDONED.lock().unwrap_or_else(PoisonError::into_inner);
            abandoned.push(Self(Some(reading)));
        }
    }
}

/// Reads 32-bit words back. All that was launched is handed to the GPU at once, also if nobody waits
/// for the result yet.
///
/// # Errors
/// [`Error::DeviceLost`] when the device cannot answer.
pub(super) fn read(buffer: CubeTensor) -> impl Future<Output = Result<Vec<u32>>> {
    let mut now = Context::from_waker(Waker::noop());
    ABANDONED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain_mut(|reading| Pin::new(reading).poll(&mut now).is_pending());
    let CubeTensor { client, handle, .. } = buffer;
    let reading = async move { client.read_async(vec![handle]).await };
    let mut reading = Reading(Some(Box::pin(reading)));
    // The first poll is what hands over.
    let first = Pin::new(&mut reading).poll(&mut now);
    async move {
        let bytes = match first {
            Poll::Ready(bytes) => bytes,
            Poll::Pending => reading.await,
        };
        let bytes = bytes.map_err(Error::device_lost)?;
        let bytes = bytes
            .first()
            .ok_or_else(|| Error::device_lost("nothing came back"))?;
        Ok(bytemuck::pod_collect_to_vec(bytes))
    }
}

/// The same buffer from row `row` of `width` numbers on. GPUs ask offsets to be multiples of 256
/// bytes: `row · width` must be one of 64.
pub(super) fn from_row(buffer: &CubeTensor, row: usize, width: usize) -> CubeTensor {
    let mut rest = buffer.clone();
    let bytes = (row * width * size_of::<f32>()) as u64;
    if bytes > 0 {
        rest.handle = rest.handle.offset_start(bytes);
    }
    rest
}

/// The tensor with its numbers in order, so that launches need not order them each time.
#[must_use]
pub fn contiguous<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    self::tensor(buffer(tensor))
}

/// The tensor itself if nobody else holds its buffer, else a copy, so that it can be written to.
#[must_use]
pub fn unshared<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let shape = tensor.dims();
    let held = buffer(tensor);
    if held.handle.can_mut() {
        return self::tensor(held);
    }
    let shared: Tensor<D> = self::tensor(held);
    let room = Tensor::empty(shape, &shared.device());
    room.slice_assign(shape.map(|extent| 0..extent), shared)
}
