//! RMSNorm: `y = x / √(mean(x²) + ε) ∘ γ`, or `h + s·y`, for x, h and y `[t, d]`, γ `[d]`; buffers `x`,
//! `gamma`, `y` and, if it is added to, `h`.

use burn::tensor::Tensor;

use super::launch::{Wgsl, buffer, empty, launch, tensor};
use super::template::{factor, fill, row};

/// Threads of a workgroup; each row is one workgroup's.
const THREADS: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Norm {
    d: usize,
    epsilon_bits: u32,
    /// The bits of s, if it is added.
    by_bits: Option<u32>,
}

impl Wgsl for Norm {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        let mut buffers = vec![("x", "f32"), ("gamma", "f32"), ("y", "f32")];
        buffers.extend(self.by_bits.map(|_| ("h", "f32")));
        buffers
    }

    fn body(&self) -> String {
        fill(
            include_str!("norm.wgsl"),
            row![
                threads = THREADS,
                d = self.d,
                epsilon = format!("{:e}", f32::from_bits(self.epsilon_bits)),
                by = factor(self.by_bits.map_or(1.0, f32::from_bits)),
                added = self.by_bits.is_some(),
            ],
        )
    }
}

/// `x / √(mean(x²) + ε) ∘ γ`, `[t, d]`; NaN for a row whose squares overflow.
#[must_use]
pub fn norm(x: Tensor<2>, gamma: Tensor<1>, epsilon: f32) -> Tensor<2> {
    run(x, gamma, epsilon, None)
}

/// `h + s·norm(x)`, `[t, d]`.
#[must_use]
pub fn add_normed(
    (h, s): (Tensor<2>, f32),
    x: Tensor<2>,
    gamma: Tensor<1>,
    epsilon: f32,
) -> Tensor<2> {
    run(x, gamma, epsilon, Some((h, s)))
}

fn run(x: Tensor<2>, gamma: Tensor<1>, epsilon: f32, to: Option<(Tensor<2>, f32)>) -> Tensor<2> {
    let [t, d] = x.dims();
    let kernel = Norm {
        d,
        epsilon_bits: epsilon.to_bits(),
        by_bits: to.as_ref().map(|(_, s)| s.to_bits()),
    };
    let (x, gamma) = (buffer(x), buffer(gamma));
    let y = empty(&x, [t, d]);
    let h = to.map(|(h, _)| buffer(h));
    let mut buffers = vec![&x, &gamma, &y];
    buffers.extend(&h);
    launch(kernel, [1, t], &buffers);
    tensor(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_filled() {
        let epsilon_bits = 1e-5_f32.to_bits();
        for (by, added, scaled) in [
            (None, false, false),
            (Some(1.0), true, false),
            (Some(0.25), true, true),
        ] {
            let kernel = Norm {
                d: 97,
                epsilon_bits,
                by_bits: by.map(f32::to_bits),
            };
            let text = kernel.body();
            assert!(text.contains("const D = 97u;\nconst EPSILON = 1e-5;"));
            assert_eq!(text.contains("+ h[row + k]"), added);
            assert_eq!(text.contains("const BY: f32 = 2.5e-1;"), scaled);
        }
    }
}
