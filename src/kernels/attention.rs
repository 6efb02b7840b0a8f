//! Rotary embedding with the cache write, and grouped-query attention with a running softmax.

use burn::tensor::{Int, Tensor};

use super::launch::{Wgsl, buffer, empty, int_buffer, launch, tensor};
use crate::model::LlamaConfig;

/// Threads of a workgroup, and keys that attention looks at together.
const THREADS: usize = 64;

/// The heads of a model, which the kernels are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Heads {
    heads: usize,
    kv_heads: usize,
    hd: usize,
}

impl From<&LlamaConfig> for Heads {
    fn from(config: &LlamaConfig) -> Self {
        Self {
            heads: config.num_heads,
            kv_heads: config.num_kv_heads,
            hd: config.head_dim,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RotateAndStore(Heads);

impl Wgsl for RotateAndStore {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("qkv", "f32"),
            ("cosine", "f32"),
            ("sine", "f32"),
            ("q", "f32"),
            ("keys", "f32"),
            ("values", "f32"),
            ("turn", "i32"),
        ]
    }

    fn body(&self) -> String {
        let Heads {
            heads,
            kv_heads,
            hd,
        } = self.0;
        let half = hd / 2;
        let all = heads + 2 * kv_heads;
        format!(
            "@compute @workgroup_size({THREADS})
             fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
                 let at = group.x * {THREADS}u + lane;
                 if at >= {n}u {{ return; }}
                 let t = group.y;
                 let position = u32(turn[0]) + t;
                 let head = at / {half}u;
                 let k = at % {half}u;
                 let origin = (t * {all}u + head) * {hd}u + k;
                 let a = qkv[origin];
                 let b = qkv[origin + {half}u];
                 if head >= {values}u {{
                     let to = ((head - {values}u) * u32(turn[1]) + position) * {hd}u + k;
                     values[to] = a;
                     values[to + {half}u] = b;
                     return;
                 }}
                 let c = cosine[position * {half}u + k];
                 let s = sine[position * {half}u + k];
                 let first = a * c - b * s;
                 let second = b * c + a * s;
                 if head >= {heads}u {{
                     let to = ((head - {heads}u) * u32(turn[1]) + position) * {hd}u + k;
                     keys[to] = first;
                     keys[to + {half}u] = second;
                 }} else {{
                     let to = (t * {heads}u + head) * {hd}u + k;
                     q[to] = first;
                     q[to + {half}u] = second;
                 }}
             }}",
            n = all * half,
            values = heads + kv_heads,
        )
    }
}

/// Rotates the queries and keys of `qkv [t, (heads + 2·kv_heads)·hd]` to their positions, writes
/// keys and values into the cache tensors `[kv_heads, capacity, hd]` in place, and returns the
/// queries `[t, heads·hd]`. `turn` is `(first position, capacity)`; `cos` and `sin` hold a row of
/// hd/2 per position.
///
/// Writing in place is right only if nobody else holds the cache tensors: the caller sees to it.
pub fn rotate_and_store(
    qkv: Tensor<2>,
    (cos, sin): (Tensor<2>, Tensor<2>),
    (keys, values): (&Tensor<3>, &Tensor<3>),
    turn: Tensor<1, Int>,
    config: &LlamaConfig,
) -> Tensor<2> {
    let heads = Heads::from(config);
    let t = qkv.dims()[0];
    let qkv = buffer(qkv);
    let q = empty(&qkv, [t, heads.heads * heads.hd]);
    let (cos, sin) = (buffer(cos), buffer(sin));
    let (keys, values) = (buffer(keys.clone()), buffer(values.clone()));
    let turn = int_buffer(turn);
    let pairs = (heads.heads + 2 * heads.kv_heads) * heads.hd / 2;
    launch(
        RotateAndStore(heads),
        [pairs.div_ceil(THREADS), t],
        &[&qkv, &cos, &sin, &q, &keys, &values, &turn],
    );
    tensor(q)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Attend(Heads);

impl Wgsl for Attend {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("q", "vec4<f32>"),
            ("keys", "vec4<f32>"),
            ("values", "f32"),
            ("y", "f32"),
            ("turn", "i32"),
        ]
    }

    fn body(&self) -> String {
        let Heads {
            heads,
            kv_heads,
            hd,
        } = self.0;
        let hd4 = hd / 4;
        // A thread sums one number of the head, or several when heads are wider than a workgroup.
        let own: Vec<usize> = (0..hd.div_ceil(THREADS)).collect();
        let each = |line: &dyn Fn(&usize) -> String| own.iter().map(line).collect::<String>();
        let begin = each(&|n| format!("var acc{n} = 0.0;\n"));
        let shrink = each(&|n| format!("acc{n} *= fade;\n"));
        let add = each(&|n| {
            format!(
                "acc{n} += p * values[(kv * capacity + base + j) * {hd}u + min(lane + {}u, {}u)];\n",
                n * THREADS,
                hd - 1
            )
        });
        let store = each(&|n| {
            let d = n * THREADS;
            format!(
                "if lane + {d}u < {hd}u {{ y[(t * {heads}u + head) * {hd}u + lane + {d}u] = acc{n} / sum; }}\n"
            )
        });
        format!(
            "var<workgroup> query: array<vec4<f32>, {hd4}>;
             var<workgroup> scores: array<f32, {THREADS}>;
             var<workgroup> shares: array<f32, {THREADS}>;
             var<workgroup> place: vec2<u32>;
             @compute @workgroup_size({THREADS})
             fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
                 let head = group.x;
                 let t = group.y;
                 let kv = head / {groups}u;
                 // Barriers may stand only where the compiler sees that all threads come by.
                 if lane == 0u {{ place = vec2<u32>(u32(turn[0]), u32(turn[1])); }}
                 let shared_place = workgroupUniformLoad(&place);
                 let capacity = shared_place.y;
                 let total = shared_place.x + t + 1u;
                 for (var k = lane; k < {hd4}u; k += {THREADS}u) {{
                     query[k] = q[(t * {heads}u + head) * {hd4}u + k] * {scale:e};
                 }}
                 {begin}
                 var sum = 0.0;
                 var largest = -1e30;
                 for (var base = 0u; base < total; base += {THREADS}u) {{
                     let count = min({THREADS}u, total - base);
                     workgroupBarrier();
                     var score = -1e30;
                     if lane < count {{
                         score = 0.0;
                         let origin = (kv * capacity + base + lane) * {hd4}u;
                         for (var k = 0u; k < {hd4}u; k += 1u) {{ score += dot(query[k], keys[origin + k]); }}
                     }}
                     scores[lane] = score;
                     workgroupBarrier();
                     var top = largest;
                     for (var j = 0u; j < count; j += 1u) {{ top = max(top, scores[j]); }}
                     shares[lane] = exp(score - top);
                     workgroupBarrier();
                     let fade = exp(largest - top);
                     largest = top;
                     sum *= fade;
                     {shrink}
                     for (var j = 0u; j < count; j += 1u) {{
                         let p = shares[j];
                         sum += p;
                         {add}
                     }}
                 }}
                 {store}
             }}",
            groups = heads / kv_heads,
            scale = 1.0 / (hd as f32).sqrt(),
        )
    }
}

/// Softmax attention of the queries `q [t, heads·hd]` over what the cache tensors
/// `[kv_heads, capacity, hd]` hold up to each query's own position: `[t, heads·hd]`. `turn` is
/// `(position of the first query, capacity)`.
#[must_use]
pub fn attend(
    q: Tensor<2>,
    (keys, values): (&Tensor<3>, &Tensor<3>),
    turn: Tensor<1, Int>,
    config: &LlamaConfig,
) -> Tensor<2> {
    let heads = Heads::from(config);
    let t = q.dims()[0];
    let q = buffer(q);
    let y = empty(&q, [t, heads.heads * heads.hd]);
    let (keys, values) = (buffer(keys.clone()), buffer(values.clone()));
    launch(
        Attend(heads),
        [heads.heads, t],
        &[&q, &keys, &values, &y, &int_buffer(turn)],
    );
    tensor(y)
}
