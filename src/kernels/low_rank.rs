//! Low-rank changes: `z = scale · A x` for all that share an input in one launch, and `y += B z` for
//! passes of many tokens. Where few tokens pass, the second half rides along with the product.

use burn::tensor::Tensor;

use super::launch::{Wgsl, buffer, empty, launch, tensor};
use super::linear::Cut;

/// Threads of a workgroup.
const THREADS: usize = 64;

/// B `[o, r]` of some rows of y, and z, which holds for each token the products of all A.
#[derive(Debug, Clone)]
pub struct LowRank {
    /// `(first row, B)`, at most three.
    pub parts: Vec<(usize, Tensor<2>)>,
    /// z `[t, …]`, from [`shrink`].
    pub z: Tensor<2>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Shrink {
    i: usize,
    ranks: Vec<usize>,
    /// Whether the threads of a workgroup share one number of z; else each has its own. A program
    /// that imitates a GPU is slow at barriers.
    shared: bool,
}

impl Wgsl for Shrink {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        let mut buffers = vec![("x", "vec4<f32>"), ("z", "f32"), ("scales", "f32")];
        let parts = self.ranks.iter().zip(["a0", "a1", "a2"]);
        buffers.extend(parts.map(|(_, name)| (name, "vec4<f32>")));
        buffers
    }

    fn body(&self) -> String {
        let i4 = self.i / 4;
        let (start, step) = match self.shared {
            true => ("lane", THREADS),
            false => ("0u", 1),
        };
        let mut first = 0;
        let mut parts = String::new();
        for (n, rank) in self.ranks.iter().enumerate() {
            let end = first + rank;
            parts += &format!(
                "if r >= {first}u && r < {end}u {{
                     scale = scales[{n}];
                     for (var k = {start}; k < {i4}u; k += {step}u) {{
                         sum += dot(a{n}[(r - {first}u) * {i4}u + k], x[group.y * {i4}u + k]);
                     }}
                 }}\n"
            );
            first = end;
        }
        let (declared, r, joined) = match self.shared {
            true => (
                format!("var<workgroup> sums: array<f32, {THREADS}>;"),
                "group.x".to_owned(),
                format!(
                    "sums[lane] = sum;
                     workgroupBarrier();
                     if lane > 0u {{ return; }}
                     for (var k = 1u; k < {THREADS}u; k += 1u) {{ sum += sums[k]; }}"
                ),
            ),
            false => (
                String::new(),
                format!("group.x * {THREADS}u + lane"),
                format!("if r >= {first}u {{ return; }}"),
            ),
        };
        format!(
            "{declared}
             @compute @workgroup_size({THREADS})
             fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
                 let r = {r};
                 var sum = 0.0;
                 var scale = 0.0;
                 {parts}
                 {joined}
                 z[group.y * {first}u + r] = sum * scale;
             }}"
        )
    }
}

/// For `x [t, i]` and up to three A `[r, i]` with a factor each at the start of `scales`: the
/// products side by side, `[t, Σ r]`, laid out by the `cut` of the product that they ride along with.
/// i must be a multiple of 4.
#[must_use]
pub fn shrink(x: Tensor<2>, parts: &[Tensor<2>], scales: Tensor<1>, cut: Cut) -> Tensor<2> {
    let [t, i] = x.dims();
    let ranks: Vec<usize> = parts.iter().map(|a| a.dims()[0]).collect();
    let width: usize = ranks.iter().sum();
    let (x, scales) = (buffer(x), buffer(scales));
    let z = empty(&x, [t, width]);
    let parts: Vec<_> = parts.iter().map(|a| buffer(a.clone())).collect();
    let mut buffers = vec![&x, &z, &scales];
    buffers.extend(&parts);
    let shared = cut.has_barriers();
    let groups = match shared {
        true => width,
        false => width.div_ceil(THREADS),
    };
    launch(Shrink { i, ranks, shared }, [groups, t], &buffers);
    tensor(z)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Expand {
    o: usize,
    z_width: usize,
    /// First row, rows and rank.
    parts: Vec<[usize; 3]>,
}

impl Wgsl for Expand {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        let mut buffers = vec![("y", "f32"), ("z", "f32")];
        let parts = self.parts.iter().zip(["b0", "b1", "b2"]);
        buffers.extend(parts.map(|(_, name)| (name, "f32")));
        buffers
    }

    fn body(&self) -> String {
        let (o, width) = (self.o, self.z_width);
        let mut column = 0;
        let mut parts = String::new();
        for (n, [first, rows, rank]) in self.parts.iter().enumerate() {
            parts += &format!(
                "if row >= {first}u && row < {}u {{
                     for (var k = 0u; k < {rank}u; k += 1u) {{
                         sum += b{n}[(row - {first}u) * {rank}u + k] * z[group.y * {width}u + {column}u + k];
                     }}
                 }}\n",
                first + rows
            );
            column += rank;
        }
        format!(
            "@compute @workgroup_size({THREADS})
             fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
                 let row = group.x * {THREADS}u + lane;
                 if row >= {o}u {{ return; }}
                 var sum = 0.0;
                 {parts}
                 y[group.y * {o}u + row] += sum;
             }}"
        )
    }
}

/// `y[t, first + o] += Σ_r B[o, r]·z[t, r]` for every part, in place: nobody else may hold
/// `y [t, …]`.
#[must_use]
pub fn expand(y: Tensor<2>, changes: &LowRank) -> Tensor<2> {
    let [t, o] = y.dims();
    let parts = changes.parts.iter().map(|(first, b)| {
        let [rows, rank] = b.dims();
        [*first, rows, rank]
    });
    let kernel = Expand {
        o,
        z_width: changes.z.dims()[1],
        parts: parts.collect(),
    };
    let (y, z) = (buffer(y), buffer(changes.z.clone()));
    let b = changes.parts.iter().map(|(_, b)| buffer(b.clone()));
    let b: Vec<_> = b.collect();
    let mut buffers = vec![&y, &z];
    buffers.extend(&b);
    launch(kernel, [o.div_ceil(THREADS), t], &buffers);
    tensor(y)
}
