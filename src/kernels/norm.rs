//! RMSNorm.

use burn::tensor::Tensor;

use super::launch::{Wgsl, buffer, empty, launch, tensor};

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
        let d = self.d;
        format!(
            "var<workgroup> parts: array<f32, {THREADS}>;
             @compute @workgroup_size({THREADS})
             fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
                 let row = group.y * {d}u;
                 var part = 0.0;
                 for (var k = lane; k < {d}u; k += {THREADS}u) {{ part += x[row + k] * x[row + k]; }}
                 parts[lane] = part;
                 workgroupBarrier();
                 var sum = 0.0;
                 for (var k = 0u; k < {THREADS}u; k += 1u) {{ sum += parts[k]; }}
                 let mean = sum / {d}.0 + {epsilon:e};
                 // An overflow would make every number 0, which looks like a result: NaN instead. Told by
                 // bits, since compilers may take it that no number is infinite.
                 let bits = bitcast<u32>(mean);
                 let scale = select(inverseSqrt(mean), bitcast<f32>(bits | 0x7fc00000u), bits >= 0x7f800000u);
                 for (var k = lane; k < {d}u; k += {THREADS}u) {{ y[row + k] = x[row + k] * scale * gamma[k]; }}
             }}",
            epsilon = f32::from_bits(self.epsilon_bits),
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
