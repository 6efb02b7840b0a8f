//! What a GPU gives at best, for products to be compared with: how fast it copies, what a launch costs that does
//! nothing but wait for the one before it, and how long it works on given launches by its own clock.

use std::time::Duration;

use burn::tensor::Tensor;
use burn_cubecl::cubecl::profile::TimingMethod;

use super::launch::{Wgsl, buffer, launch, tensor};
use super::template::{fill, row};
use crate::error::{Error, Result};

/// Threads of a workgroup.
const THREADS: usize = 256;
/// What WebGPU allows in one dimension.
const MOST_GROUPS: usize = 65_535;
/// Numbers that a thread copies at once.
const LANES: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Probe {
    /// So many times four numbers.
    Copy(usize),
    Step,
}

impl Wgsl for Probe {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Copy(_) => vec![("source", "vec4<f32>"), ("copied", "vec4<f32>")],
            Self::Step => vec![("x", "f32")],
        }
    }

    fn body(&self) -> String {
        match *self {
            Self::Copy(count) => fill(
                include_str!("copy.wgsl"),
                row![threads = THREADS, count = count],
            ),
            Self::Step => {
                "@compute @workgroup_size(1)\nfn main() {\n    x[0] = x[0] + 1.0;\n}\n".into()
            }
        }
    }
}

/// Copies x over y, of as many numbers, a multiple of four; gives y.
#[must_use]
pub fn copy(x: &Tensor<1>, y: Tensor<1>) -> Tensor<1> {
    let [numbers] = x.dims();
    debug_assert!(y.dims() == [numbers] && numbers.is_multiple_of(LANES));
    let count = numbers / LANES;
    let groups = count.div_ceil(THREADS).min(MOST_GROUPS);
    let (x, y) = (buffer(x.clone()), buffer(y));
    launch(Probe::Copy(count), [groups, 1], &[&x, &y]);
    tensor(y)
}

/// Adds 1 to the first number of x, in its place: one thread, that has to wait for the launch before.
#[must_use]
pub fn step(x: Tensor<1>) -> Tensor<1> {
    let x = buffer(x);
    launch(Probe::Step, [1, 1], &[&x]);
    tensor(x)
}

/// How long the GPU of `on` works on what `work` launches, from its first launch to the end of its last; `None`
/// where it keeps no time. All that was launched before is done first.
///
/// # Errors
/// Those of `work`, and [`Error::DeviceLost`] when the device cannot answer.
pub async fn gpu_time<T>(
    on: &Tensor<1>,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Option<Duration>)> {
    let client = buffer(on.clone()).client;
    let window = client
        .profile_start()
        .map_err(|error| Error::device_lost(format!("{error:?}")))?;
    let done = match work() {
        Ok(done) => done,
        Err(error) => {
            client.profile_abandon(window);
            return Err(error);
        }
    };
    let time = client
        .profile_end(window)
        .map_err(|error| Error::device_lost(format!("{error:?}")))?;
    // Without a clock of its own the runtime asks the processor's, which also counts the launching.
    let own = matches!(time.timing_method(), TimingMethod::Device);
    let ticks = time.resolve().await;
    Ok((done, ticks.filter(|_| own).map(|ticks| ticks.duration())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_filled() {
        let text = Probe::Copy(1000).body();
        assert!(text.contains("const COUNT = 1000u;"), "{text}");
    }
}
