//! RMSNorm: `y = x / √(mean(x²) + ε) ∘ γ` for x and y `[t, d]`, γ `[d]`; buffers `x`, `gamma`, `y`.

use burn::tensor::Tensor;

use super::launch::{Wgsl, buffer, empty, launch, tensor};
use super::template::{fill, row};

/// Threads of a workgroup; each row is one workgroup's.
const THREADS: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Norm {
    d: usize,
    epsilon_bits: u32,
}

impl Wgsl for Norm {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        vec![("x", "f32"), ("gamma", "f32"), ("y", "f32")]
    }

    fn body(&self) -> String {
        fill(
            include_str!("norm.wgsl"),
            row![
                threads = THREADS,
                d = self.d,
                epsilon = format!("{:e}", f32::from_bits(self.epsilon_bits)),
            ],
        )
    }
}

/// `x / √(mean(x²) + ε) ∘ γ`, `[t, d]`; NaN for a row whose squares overflow.
#[must_use]
pub fn norm(x: Tensor<2>, gamma: Tensor<1>, epsilon: f32) -> Tensor<2> {
    let [t, d] = x.dims();
    let kernel = Norm {
        d,
        epsilon_bits: epsilon.to_bits(),
    };
    let (x, gamma) = (buffer(x), buffer(gamma));
    let y = empty(&x, [t, d]);
    launch(kernel, [1, t], &[&x, &gamma, &y]);
    tensor(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_filled() {
        let epsilon_bits = 1e-5_f32.to_bits();
        let text = Norm {
            d: 97,
            epsilon_bits,
        }
        .body();
        assert!(text.contains("const D = 97u;\nconst EPSILON = 1e-5;"));
    }
}
