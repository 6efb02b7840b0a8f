//! Rotary embedding with the cache write, and grouped-query attention with a running softmax.

use burn::tensor::{Int, Tensor};
use burn_cubecl::tensor::CubeTensor;

use super::launch::{Wgsl, buffer, empty, int_buffer, launch, tensor};
use super::linear::Cut;
use super::quads;
use crate::arch::DecoderConfig;

/// Threads of a workgroup, or the smallest multiple of it that heads are not wider than.
const THREADS: usize = 64;

/// Keys that a workgroup looks at together.
const KEYS: usize = 256;

/// Queries that are too few to fill a GPU with a workgroup for each.
const FEW: usize = 8;

/// Queries that are enough for a software GPU to give each of them a thread.
const ENOUGH: usize = 4;

/// The heads of a model, which the kernels are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Heads {
    heads: usize,
    kv_heads: usize,
    hd: usize,
}

impl Heads {
    /// Query heads that are computed together: they share a key head, whose rows are read once for
    /// them.
    fn together(&self) -> usize {
        let groups = self.heads / self.kv_heads;
        let fits = |n: &usize| groups.is_multiple_of(*n);
        (1..=4).rev().find(fits).unwrap_or(1)
    }

    /// How many such groups of heads a query has.
    fn units(&self) -> usize {
        self.heads / self.together()
    }

    /// Of a workgroup at `group.x`: its first key, the key behind its last one, and the row of its
    /// result, all behind `t`, `total` and `capacity`. With `split` a workgroup takes [`KEYS`] keys
    /// and leaves its part to [`Join`]; else it takes all.
    fn keys(&self, split: bool) -> String {
        match split {
            false => "let first = 0u; let last = total; let result = t;".into(),
            true => format!(
                "let first = group.x / {}u * {KEYS}u;
                 let last = min(total, first + {KEYS}u);
                 let result = t * ((capacity + {KEYS}u - 1u) / {KEYS}u) + first / {KEYS}u;",
                self.units()
            ),
        }
    }
}

impl From<&DecoderConfig> for Heads {
    fn from(config: &DecoderConfig) -> Self {
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
/// queries `[t, heads·hd]`. `turn` is `(first position, capacity, t)`; `cos` and `sin` hold a row of
/// hd/2 per position.
///
/// Writing in place is right only if nobody else holds the cache tensors: the caller sees to it.
pub fn rotate_and_store(
    qkv: Tensor<2>,
    (cos, sin): (Tensor<2>, Tensor<2>),
    (keys, values): (&Tensor<3>, &Tensor<3>),
    turn: Tensor<1, Int>,
    config: &DecoderConfig,
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

/// What every attention reads and writes, with `split` a part of it.
fn attention_buffers(split: bool) -> Vec<(&'static str, &'static str)> {
    let mut buffers = vec![
        ("q", "vec4<f32>"),
        ("keys", "vec4<f32>"),
        ("values", "vec4<f32>"),
        ("y", "vec4<f32>"),
        ("turn", "i32"),
    ];
    if split {
        buffers.push(("ends", "vec2<f32>"));
    }
    buffers
}

/// Attention of some heads of one query over some keys, by one workgroup.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Attend {
    of: Heads,
    /// Whether a workgroup takes [`KEYS`] keys and leaves its part to [`Join`], or takes all keys.
    split: bool,
}

impl Wgsl for Attend {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        attention_buffers(self.split)
    }

    fn body(&self) -> String {
        let Heads {
            heads,
            kv_heads,
            hd,
        } = self.of;
        let together = self.of.together();
        // Columns of four that a thread sums; the threads that are left take other keys.
        let columns = if (hd / 4).is_multiple_of(2) { 2 } else { 1 };
        let across = hd / 4 / columns;
        let threads = across.next_multiple_of(THREADS);
        let parts = 1 << (threads / across).ilog2();
        let own = KEYS / threads;
        let scale = 1.0 / (hd as f32).sqrt();
        // A number for each of the heads.
        let (kind, of) = match together {
            1 => ("f32".to_string(), String::new()),
            n => (format!("vec{n}<f32>"), "[n]".to_string()),
        };
        let number = |n: usize| of.replace('n', &n.to_string());
        let each = |count: usize, line: &dyn Fn(usize) -> String| -> String {
            (0..count).map(line).collect()
        };
        let sums = |line: &dyn Fn(usize, usize) -> String| {
            each(together, &|n| each(columns, &|c| line(n, c)))
        };
        let dots: Vec<String> = (0..together)
            .map(|n| format!("dot(q{n}, key{{i}})"))
            .collect();
        let dots = format!("{kind}({})", dots.join(", "));
        let store = match self.split {
            false => format!("y[to * HD4 + k] = mixed / sum{of};"),
            true => format!(
                "y[to * HD4 + k] = mixed;
                 if k % HD4 == 0u {{ ends[to + n] = vec2<f32>(most{of}, sum{of}); }}"
            ),
        };
        format!(
            "const HD4 = {hd4}u;
             const ACROSS = {across}u;
             const PARTS = {parts}u;
             var<workgroup> shares: array<{kind}, {KEYS}>;
             var<workgroup> tops: array<{kind}, {threads}>;
             var<workgroup> mixtures: array<vec4<f32>, {mixtures}>;
             var<workgroup> place: vec2<u32>;
             @compute @workgroup_size({threads})
             fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
                 let t = group.y;
                 let head = group.x % {units}u * {together}u;
                 let kv = head / {groups}u;
                 // Barriers may stand only where the compiler sees that all threads come by. Loops
                 // run equally often for all threads, which is far cheaper on a software GPU.
                 if lane == 0u {{ place = vec2<u32>(u32(turn[0]), u32(turn[1])); }}
                 let shared_place = workgroupUniformLoad(&place);
                 let capacity = shared_place.y;
                 let total = shared_place.x + t + 1u;
                 {keys}
                 let query = (t * {heads}u + head) * HD4;
                 let column = lane % ACROSS;
                 let part = min(lane / ACROSS, PARTS - 1u);
                 var most = {kind}(-1e30);
                 var sum = {kind}();
                 {begin}
                 for (var base = first; base < last; base += {KEYS}u) {{
                     let count = min({KEYS}u, last - base);
                     let origin = kv * capacity + base;
                     {find_keys}
                     for (var k = 0u; k < HD4; k += 1u) {{
                         {load_query}
                         {score}
                     }}
                     {mask}
                     tops[lane] = {top};
                     workgroupBarrier();
                     var top = most;
                     {find_top}
                     {raise}
                     let fade = exp(most - top);
                     most = top;
                     sum *= fade;
                     {fade}
                     workgroupBarrier();
                     for (var j = part; j < count + part; j += PARTS) {{
                         let at = (origin + min(j, count - 1u)) * HD4 + column * {columns}u;
                         let share = shares[j];
                         sum += share;
                         {load_value}
                         {add}
                     }}
                 }}
                 tops[lane] = sum;
                 {keep}
                 workgroupBarrier();
                 let to = result * {heads}u + head;
                 for (var k = lane; k < {row}u; k += {threads}u) {{
                     let n = k / HD4;
                     let c = k % HD4;
                     let at = (n * {columns}u + c % {columns}u) * {threads}u + c / {columns}u;
                     var mixed = mixtures[at];
                     sum = tops[0];
                     for (var j = 1u; j < PARTS; j += 1u) {{
                         mixed += mixtures[at + j * ACROSS];
                         sum += tops[j * ACROSS];
                     }}
                     {store}
                 }}
             }}",
            hd4 = hd / 4,
            mixtures = together * columns * threads,
            units = self.of.units(),
            keys = self.of.keys(self.split),
            groups = heads / kv_heads,
            row = together * hd / 4,
            begin = sums(&|n, c| format!("var acc{n}_{c} = vec4<f32>();\n")),
            find_keys = each(own, &|i| format!(
                "let at{i} = (origin + min(lane + {}u, count - 1u)) * HD4;
                 var score{i} = {kind}();\n",
                i * threads
            )),
            load_query = each(together, &|n| format!("let q{n} = q[query + {n}u * HD4 + k];\n")),
            score = each(own, &|i| format!(
                "let key{i} = keys[at{i} + k];
                 score{i} += {};\n",
                dots.replace("{i}", &i.to_string())
            )),
            mask = each(own, &|i| format!(
                "score{i} = select({kind}(-1e30), score{i} * {scale:e}, lane + {}u < count);\n",
                i * threads
            )),
            top = (1..own).fold("score0".into(), |top: String, i| format!("max({top}, score{i})")),
            find_top = each(threads, &|i| format!("top = max(top, tops[{i}]);\n")),
            raise = each(own, &|i| format!(
                "shares[lane + {}u] = exp(score{i} - top);\n",
                i * threads
            )),
            fade = sums(&|n, c| format!("acc{n}_{c} *= fade{};\n", number(n))),
            load_value = each(columns, &|c| format!("let value{c} = values[at + {c}u];\n")),
            add = sums(&|n, c| format!("acc{n}_{c} += share{} * value{c};\n", number(n))),
            keep = sums(&|n, c| format!(
                "mixtures[{}u + lane] = acc{n}_{c};\n",
                (n * columns + c) * threads
            )),
        )
    }
}

/// Attention of one head of one query by one thread, for a program that imitates a GPU: no barriers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct AttendAlone {
    of: Heads,
    /// Whether the four threads of a quad, whose keys are the same, read one key each and tell it to
    /// the others.
    quads: bool,
}

impl AttendAlone {
    /// Queries of a workgroup, all of one head.
    const QUERIES: usize = 8;
}

impl Wgsl for AttendAlone {
    fn subgroups(&self) -> bool {
        self.quads
    }

    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        attention_buffers(false)
    }

    fn body(&self) -> String {
        let Heads {
            heads,
            kv_heads,
            hd,
        } = self.of;
        let hd4 = hd / 4;
        let queries = Self::QUERIES;
        let columns = |line: &dyn Fn(usize) -> String| -> String { (0..hd4).map(line).collect() };
        // Four keys at a time: with quads, in the order in which the quad tells them.
        let four = |line: &dyn Fn(usize) -> String| -> String { (0..4).map(line).collect() };
        let key = |n: usize| match self.quads {
            true => format!("(base + (quad ^ {n}u))"),
            false => format!("(base + {n}u)"),
        };
        let read = |name: &str, rows: &str, c: usize| {
            four(&|n| {
                let row = match (self.quads, n) {
                    (true, 1..) => quads::told(&format!("{name}0"), n),
                    _ => format!("{rows}[at{n} + {c}u]"),
                };
                format!("let {name}{n} = {row};\n")
            })
        };
        let each = |text: String| format!("{{ {text} }}\n");
        format!(
            "@compute @workgroup_size({queries})
             fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32{in_subgroup}) {{
                 {quad}
                 let start = u32(turn[0]);
                 let capacity = u32(turn[1]);
                 let count = u32(turn[2]);
                 let head = group.x;
                 let t = min(group.y * {queries}u + lane, count - 1u);
                 let total = start + t + 1u;
                 // As many as the last query of the workgroup sees: quads stay together.
                 let last = start + min((group.y + 1u) * {queries}u, count);
                 let origin = head / {groups}u * capacity;
                 let row = (t * {heads}u + head) * {hd4}u;
                 {queries_of}
                 var most = -1e30;
                 var sum = 0.0;
                 {begin}
                 for (var base = 0u; base < last; base += 4u) {{
                     {places}
                     {begin_scores}
                     {score}
                     {mask}
                     let top = max(max(most, max(score0, score1)), max(score2, score3));
                     let fade = exp(most - top);
                     {shares}
                     sum = sum * fade + ((share0 + share1) + (share2 + share3));
                     most = top;
                     {mix}
                 }}
                 if group.y * {queries}u + lane >= count {{ return; }}
                 {store}
             }}",
            in_subgroup = if self.quads { quads::PARAMETER } else { "" },
            quad = if self.quads { quads::PLACE } else { "" },
            groups = heads / kv_heads,
            queries_of = columns(&|c| format!(
                "let q{c} = q[row + {c}u] * {:e};\n",
                1.0 / (hd as f32).sqrt()
            )),
            begin = columns(&|c| format!("var mixed{c} = vec4<f32>();\n")),
            places = four(&|n| format!(
                "let at{n} = (origin + min({}, capacity - 1u)) * {hd4}u;\n",
                key(n)
            )),
            begin_scores = four(&|n| format!("var score{n} = 0.0;\n")),
            score = columns(&|c| each(
                read("key", "keys", c) + &four(&|n| format!("score{n} += dot(q{c}, key{n});\n"))
            )),
            mask = four(&|n| format!(
                "score{n} = select(-1e30, score{n}, {} < total);\n",
                key(n)
            )),
            shares = four(&|n| format!("let share{n} = exp(score{n} - top);\n")),
            mix = columns(&|c| each(
                read("value", "values", c)
                    + &format!(
                        "mixed{c} = mixed{c} * fade + ((share0 * value0 + share1 * value1) + (share2 * value2 + share3 * value3));"
                    )
            )),
            store = columns(&|c| format!("y[row + {c}u] = mixed{c} / sum;\n")),
        )
    }
}

/// Attention of some heads of one query by one quad, whose threads take a key each, for a program that
/// imitates a GPU: no barriers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct AttendInQuad {
    of: Heads,
    /// As in [`Attend`].
    split: bool,
}

impl Wgsl for AttendInQuad {
    fn subgroups(&self) -> bool {
        true
    }

    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        attention_buffers(self.split)
    }

    fn body(&self) -> String {
        let Heads {
            heads,
            kv_heads,
            hd,
        } = self.of;
        let (hd4, together) = (hd / 4, self.of.together());
        let each = |line: &dyn Fn(usize) -> String| -> String { (0..together).map(line).collect() };
        let columns = |line: &dyn Fn(usize) -> String| -> String { (0..hd4).map(line).collect() };
        // Of what each thread has, the same for all four.
        let joined = |name: &str, join: &dyn Fn(&str, &str) -> String| {
            let other = |n: usize| join(name, &quads::told(name, n));
            format!("{name} = {};\n{name} = {};\n", other(1), other(2))
        };
        let sum = |a: &str, b: &str| format!("{a} + {b}");
        let most = |a: &str, b: &str| format!("max({a}, {b})");
        format!(
            "@compute @workgroup_size(4)
             fn main(@builtin(workgroup_id) group: vec3<u32>{in_subgroup}) {{
                 {quad}
                 let t = group.y;
                 let capacity = u32(turn[1]);
                 let total = u32(turn[0]) + t + 1u;
                 let head = group.x % {units}u * {together}u;
                 {keys}
                 let origin = head / {groups}u * capacity;
                 let query = (t * {heads}u + head) * {hd4}u;
                 {begin}
                 for (var base = first; base < last; base += 4u) {{
                     let at = (origin + min(base + quad, last - 1u)) * {hd4}u;
                     {begin_scores}
                     {score}
                     {share}
                     {mix}
                 }}
                 {join}
                 let to = result * {heads}u + head;
                 {store}
             }}",
            in_subgroup = quads::PARAMETER,
            quad = quads::PLACE,
            units = self.of.units(),
            keys = self.of.keys(self.split),
            groups = heads / kv_heads,
            begin = each(&|n| {
                let columns = columns(&|c| {
                    format!(
                        "let q{n}_{c} = q[query + {}u] * {:e};
                         var mixed{n}_{c} = vec4<f32>();\n",
                        n * hd4 + c,
                        1.0 / (hd as f32).sqrt()
                    )
                });
                format!("var most{n} = -1e30;\nvar sum{n} = 0.0;\n{columns}")
            }),
            begin_scores = each(&|n| format!("var score{n} = 0.0;\n")),
            score = columns(&|c| format!(
                "{{ let key = keys[at + {c}u];\n{} }}\n",
                each(&|n| format!("score{n} += dot(q{n}_{c}, key);\n"))
            )),
            // A thread without a key of its own has a share of 1 in nothing, until it joins.
            share = each(&|n| format!(
                "score{n} = select(-1e30, score{n}, base + quad < last);
                 let top{n} = max(most{n}, score{n});
                 let fade{n} = exp(most{n} - top{n});
                 let share{n} = exp(score{n} - top{n});
                 sum{n} = sum{n} * fade{n} + share{n};
                 most{n} = top{n};\n"
            )),
            mix = columns(&|c| format!(
                "{{ let value = values[at + {c}u];\n{} }}\n",
                each(&|n| format!("mixed{n}_{c} = mixed{n}_{c} * fade{n} + value * share{n};\n"))
            )),
            join = each(&|n| format!(
                "let own{n} = most{n};\n{}let rest{n} = exp(own{n} - most{n});
                 sum{n} *= rest{n};\n{}",
                joined(&format!("most{n}"), &most),
                joined(&format!("sum{n}"), &sum),
            )),
            // Four columns at a time, of which each thread gets the sum of one.
            store = each(&|n| {
                let store = |first: usize| {
                    let own: String = (0..4)
                        .map(|c| match first + c < hd4 {
                            true => format!("let c{c} = mixed{n}_{} * rest{n};\n", first + c),
                            false => format!("let c{c} = vec4<f32>();\n"),
                        })
                        .collect();
                    let value = match self.split {
                        false => format!("all / sum{n}"),
                        true => "all".into(),
                    };
                    format!(
                        "{{ {own}
                         let low = select(c0, c1, odd) + quadSwapX(select(c1, c0, odd));
                         let top = select(c2, c3, odd) + quadSwapX(select(c3, c2, odd));
                         let all = select(low, top, high) + quadSwapY(select(top, low, high));
                         if {first}u + quad < {hd4}u {{ y[(to + {n}u) * {hd4}u + {first}u + quad] = {value}; }} }}\n",
                    )
                };
                let columns: String = (0..hd4).step_by(4).map(store).collect();
                match self.split {
                    false => columns,
                    true => format!(
                        "{columns}if quad == 0u {{ ends[to + {n}u] = vec2<f32>(most{n}, sum{n}); }}\n"
                    ),
                }
            }),
        )
    }
}

/// The parts of [`Attend`] or [`AttendInQuad`] in one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Join(Heads);

impl Wgsl for Join {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("mixtures", "vec4<f32>"),
            ("ends", "vec2<f32>"),
            ("y", "vec4<f32>"),
            ("turn", "i32"),
        ]
    }

    fn body(&self) -> String {
        let (heads, hd4) = (self.0.heads, self.0.hd / 4);
        format!(
            "@compute @workgroup_size({THREADS})
             fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
                 let k = group.x * {THREADS}u + lane;
                 if k >= {row}u {{ return; }}
                 let t = group.y;
                 let first = t * ((u32(turn[1]) + {KEYS}u - 1u) / {KEYS}u);
                 let parts = (u32(turn[0]) + t) / {KEYS}u + 1u;
                 var top = -1e30;
                 var sum = 0.0;
                 var mixed = vec4<f32>();
                 for (var part = first; part < first + parts; part += 1u) {{
                     let end = ends[part * {heads}u + k / {hd4}u];
                     let most = max(top, end.x);
                     let fade = exp(top - most);
                     let share = exp(end.x - most);
                     sum = sum * fade + end.y * share;
                     mixed = mixed * fade + mixtures[part * {row}u + k] * share;
                     top = most;
                 }}
                 y[t * {row}u + k] = mixed / sum;
             }}",
            row = heads * hd4,
        )
    }
}

/// Softmax attention of the queries `q [t, heads·hd]` over what the cache tensors
/// `[kv_heads, capacity, hd]` hold up to each query's own position: `[t, heads·hd]`. `turn` is
/// `(position of the first query, capacity, t)`.
///
/// One launch, laid out by the `cut` of the products; two for few queries over long contexts, whose
/// keys are then shared out among workgroups: those of a single query would leave a GPU idle.
#[must_use]
pub fn attend(
    q: Tensor<2>,
    (keys, values): (&Tensor<3>, &Tensor<3>),
    turn: Tensor<1, Int>,
    config: &DecoderConfig,
    cut: Cut,
) -> Tensor<2> {
    let of = Heads::from(config);
    let (t, parts) = (q.dims()[0], keys.dims()[1].div_ceil(KEYS));
    let q = buffer(q);
    let y = empty(&q, [t, of.heads * of.hd]);
    let (keys, values, turn) = (
        buffer(keys.clone()),
        buffer(values.clone()),
        int_buffer(turn),
    );
    if !cut.has_barriers() && t >= ENOUGH {
        let quads = cut.quads;
        let groups = [of.heads, t.div_ceil(AttendAlone::QUERIES)];
        launch(
            AttendAlone { of, quads },
            groups,
            &[&q, &keys, &values, &y, &turn],
        );
        return tensor(y);
    }
    let split = parts > 1 && t <= FEW;
    let units = of.units();
    let run = |groups, buffers: &[&CubeTensor]| match cut.quads && !cut.has_barriers() {
        true => launch(AttendInQuad { of, split }, groups, buffers),
        false => launch(Attend { of, split }, groups, buffers),
    };
    if !split {
        run([units, t], &[&q, &keys, &values, &y, &turn]);
        return tensor(y);
    }
    let mixtures = empty(&q, [t * parts, of.heads * of.hd]);
    let ends = empty(&q, [t * parts, of.heads * 2]);
    run(
        [units * parts, t],
        &[&q, &keys, &values, &mixtures, &turn, &ends],
    );
    let groups = (of.heads * of.hd / 4).div_ceil(THREADS);
    launch(Join(of), [groups, t], &[&mixtures, &ends, &y, &turn]);
    tensor(y)
}
