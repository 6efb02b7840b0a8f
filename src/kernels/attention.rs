//! The rotary embedding with the cache write, and grouped-query attention with a running softmax.
//!
//! `q, k = R(position)·(q, k)`, or `R(position)·(norm q, norm k)`, or without R;
//! `y = softmax(cap(scale · q·kᵀ))·v` over the keys of a window, or all; of qkv `[t, (heads + 2·kv_heads)·hd]`, q and
//! y `[t, heads·hd]`, and the cache's k and v `[kv_heads, capacity, hd]`. `rotate.wgsl` turns and stores,
//! `rotate_normed.wgsl` norms before it does, `attend.wgsl` mixes, and `join.wgsl` joins what workgroups found over parts of a long context; software
//! GPUs have [other attention](super::software).
//!
//! | buffer | shape |
//! |---|---|
//! | `qkv` | `[t, (heads + 2·kv_heads)·hd]` |
//! | `cosine`, `sine` | `[capacity, hd/2]`; none in layers that do not rotate |
//! | `gains` | that of a query head and of a key head `[2·hd]`, or those of all `[(heads + kv_heads)·hd]` |
//! | `q`, `y` | `[t, heads·hd]` |
//! | `keys`, `values` | `[kv_heads, capacity, hd]` |
//! | `turn` | (position of the first query, capacity, t) |
//! | `mixtures`, `ends` | `[t, parts, heads·hd]`, unscaled, and for each head the largest score and the sum of the shares |

use burn::tensor::{Int, Tensor};
use burn_cubecl::tensor::CubeTensor;

use super::cut::Cut;
use super::heads::{Heads, KEYS, attention_buffers, span};
use super::launch::{Wgsl, buffer, empty, int_buffer, launch, tensor};
use super::software::{AttendAlone, AttendInQuad};
use super::template::{Value, fill, row};

/// Threads of a workgroup, or the smallest multiple of it that heads are not wider than.
const THREADS: usize = 64;

/// Threads of a workgroup whose threads never meet.
const ALONE: usize = 8;

/// Queries that are too few to fill a GPU with a workgroup for each.
const FEW: usize = 8;

/// Queries that are enough for a software GPU to give each of them a thread.
const ENOUGH: usize = 4;

/// What happens to queries and keys before they meet.
#[derive(Debug, Clone, Default)]
pub struct Before {
    /// The RMSNorm of queries and keys.
    pub norm: Option<HeadNorm>,
    /// Cosines and sines, a row of hd/2 for each position; none where nothing is rotated.
    pub rotation: Option<(Tensor<2>, Tensor<2>)>,
}

/// RMSNorm of queries and keys.
#[derive(Debug, Clone)]
pub struct HeadNorm {
    /// Behind each other the gains of queries and of keys: of one head `[2·hd]`, or of all
    /// `[(heads + kv_heads)·hd]`, if these are normed together.
    pub gains: Tensor<1>,
    /// ε
    pub epsilon: f32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RotateAndStore {
    of: [usize; 3],
    rotates: bool,
    norm: Option<NormOf>,
}

/// [`HeadNorm`] as a kernel's text depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct NormOf {
    /// Whether all heads are normed together.
    whole: bool,
    epsilon_bits: u32,
    /// Whether a workgroup shares what is normed together; else a thread has it alone. A program
    /// that imitates a GPU is slow at barriers.
    shared: bool,
}

impl NormOf {
    /// Threads of a workgroup.
    fn threads(&self) -> usize {
        if self.shared { THREADS } else { ALONE }
    }

    /// Heads that are normed together, and values, which are not.
    fn units(&self, [heads, kv_heads, _]: [usize; 3]) -> usize {
        if self.whole { 3 } else { heads + 2 * kv_heads }
    }
}

impl Wgsl for RotateAndStore {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        let mut buffers = vec![("qkv", "f32")];
        if self.rotates {
            buffers.extend([("cosine", "f32"), ("sine", "f32")]);
        }
        buffers.extend([
            ("q", "f32"),
            ("keys", "f32"),
            ("values", "f32"),
            ("turn", "i32"),
        ]);
        if self.norm.is_some() {
            buffers.push(("gains", "f32"));
        }
        buffers
    }

    fn body(&self) -> String {
        let [heads, kv_heads, hd] = self.of;
        let mut holes = row![
            heads = heads,
            kv_heads = kv_heads,
            hd = hd,
            rotates = self.rotates,
        ];
        let Some(norm) = &self.norm else {
            holes.extend(row![threads = THREADS]);
            return fill(include_str!("rotate.wgsl"), holes);
        };
        holes.extend(row![
            threads = norm.threads(),
            units = norm.units(self.of),
            whole = norm.whole,
            shared = norm.shared,
            epsilon = format!("{:e}", f32::from_bits(norm.epsilon_bits)),
        ]);
        fill(include_str!("rotate_normed.wgsl"), holes)
    }
}

/// Norms and rotates the queries and keys of `qkv [t, (heads + 2·kv_heads)·hd]`, as far as `before`
/// says, writes keys and values into the cache tensors `[kv_heads, capacity, hd]` in place, and
/// returns the queries `[t, heads·hd]`. `turn` is `(first position, capacity, t)`.
///
/// Writing in place is right only if nobody else holds the cache tensors: the caller sees to it.
#[must_use]
pub fn rotate_and_store(
    qkv: Tensor<2>,
    before: Before,
    (keys, values): (&Tensor<3>, &Tensor<3>),
    turn: Tensor<1, Int>,
    heads: Heads,
    cut: Cut,
) -> Tensor<2> {
    let t = qkv.dims()[0];
    let qkv = buffer(qkv);
    let q = empty(&qkv, [t, heads.width()]);
    let tables = before.rotation.map(|(cos, sin)| [buffer(cos), buffer(sin)]);
    let (keys, values) = (buffer(keys.clone()), buffer(values.clone()));
    let turn = int_buffer(turn);
    let of = [heads.heads, heads.kv_heads, heads.head_dim];
    let pairs = (heads.heads + 2 * heads.kv_heads) * heads.head_dim / 2;
    let norm = before.norm.as_ref().map(|norm| NormOf {
        whole: norm.gains.dims()[0] > 2 * heads.head_dim,
        epsilon_bits: norm.epsilon.to_bits(),
        shared: cut.has_barriers(),
    });
    let groups = match &norm {
        None => pairs.div_ceil(THREADS),
        Some(norm) if norm.shared => norm.units(of),
        Some(norm) => norm.units(of).div_ceil(ALONE),
    };
    let gains = before.norm.map(|norm| buffer(norm.gains));
    let mut buffers = vec![&qkv];
    buffers.extend(tables.iter().flatten());
    buffers.extend([&q, &keys, &values, &turn]);
    buffers.extend(&gains);
    let rotates = tables.is_some();
    launch(RotateAndStore { of, rotates, norm }, [groups, t], &buffers);
    tensor(q)
}

/// Attention of some heads of one query over some keys, by one workgroup.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Attend {
    of: Heads,
    /// Whether a workgroup takes [`KEYS`] keys and leaves its part to [`Join`], or takes all keys.
    split: bool,
    /// Keys that a query sees, if not all before it.
    window: Option<usize>,
}

impl Wgsl for Attend {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        attention_buffers(self.split)
    }

    fn body(&self) -> String {
        let (fours, together) = (self.of.fours(), self.of.together());
        // Columns of four that a thread sums; the threads that are left take other keys.
        let columns = if fours.is_multiple_of(2) { 2 } else { 1 };
        let across = fours / columns;
        let threads = across.next_multiple_of(THREADS);
        // Keys whose scores a thread computes.
        let own = KEYS / threads;
        // A number for each of the heads, and what picks one.
        let (each, of): (String, fn(&str) -> String) = match together {
            1 => ("f32".into(), |_| String::new()),
            n => (format!("vec{n}<f32>"), |at| format!("[{at}]")),
        };
        let heads = (0..together).map(|n| row![of = of(&n.to_string())]);
        let top = (1..own).fold("score0".into(), |top: String, i| {
            format!("max({top}, score{i})")
        });
        fill(
            include_str!("attend.wgsl"),
            row![
                heads = self.of.heads,
                groups = self.of.groups(),
                together = together,
                hd4 = fours,
                scale = self.of.scale_text(),
                cap = self.of.cap_text(),
                window = self.window.unwrap_or(0),
                keys = KEYS,
                threads = threads,
                columns = columns,
                parts = 1_usize << (threads / across).ilog2(),
                each = each,
                of_n = of("n"),
                heads_at_once = Value::rows(heads),
                own = own,
                top = top,
                span = span(),
                split = self.split,
            ],
        )
    }
}

/// The parts of [`Attend`] or [`AttendInQuad`] in one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Join {
    of: Heads,
    window: Option<usize>,
}

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
        fill(
            include_str!("join.wgsl"),
            row![
                threads = THREADS,
                keys = KEYS,
                heads = self.of.heads,
                hd4 = self.of.fours(),
                window = self.window.unwrap_or(0),
            ],
        )
    }
}

/// Softmax attention of the queries `q [t, heads·hd]` over what the cache tensors
/// `[kv_heads, capacity, hd]` hold up to each query's own position, or the `window` newest of them:
/// `[t, heads·hd]`. `turn` is `(position of the first query, capacity, t)`.
///
/// One launch, laid out by the `cut` of the products; two for few queries over long contexts, whose
/// keys are then shared out among workgroups: those of a single query would leave a GPU idle.
#[must_use]
pub fn attend(
    q: Tensor<2>,
    (keys, values): (&Tensor<3>, &Tensor<3>),
    turn: Tensor<1, Int>,
    of: Heads,
    window: Option<usize>,
    cut: Cut,
) -> Tensor<2> {
    let capacity = keys.dims()[1];
    let (t, parts) = (q.dims()[0], capacity.div_ceil(KEYS));
    // A window that cannot end yet is none: short texts run the kernels of other layers.
    let window = window.filter(|window| *window < capacity);
    let q = buffer(q);
    let y = empty(&q, [t, of.width()]);
    let (keys, values, turn) = (
        buffer(keys.clone()),
        buffer(values.clone()),
        int_buffer(turn),
    );
    if !cut.has_barriers() && t >= ENOUGH {
        let quads = cut.quads;
        let groups = [of.heads, t.div_ceil(AttendAlone::QUERIES)];
        launch(
            AttendAlone { of, quads, window },
            groups,
            &[&q, &keys, &values, &y, &turn],
        );
        return tensor(y);
    }
    let split = parts > 1 && t <= FEW;
    let units = of.units();
    let run = |groups, buffers: &[&CubeTensor]| {
        if cut.quads && !cut.has_barriers() {
            launch(AttendInQuad { of, split, window }, groups, buffers);
        } else {
            launch(Attend { of, split, window }, groups, buffers);
        }
    };
    if !split {
        run([units, t], &[&q, &keys, &values, &y, &turn]);
        return tensor(y);
    }
    let mixtures = empty(&q, [t * parts, of.width()]);
    let ends = empty(&q, [t * parts, of.heads * 2]);
    run(
        [units * parts, t],
        &[&q, &keys, &values, &mixtures, &turn, &ends],
    );
    let groups = (of.width() / 4).div_ceil(THREADS);
    launch(
        Join { of, window },
        [groups, t],
        &[&mixtures, &ends, &y, &turn],
    );
    tensor(y)
}

#[cfg(test)]
mod tests {
    use super::super::template::{LEAST_WORKGROUP_BYTES, workgroup_bytes};
    use super::*;

    #[test]
    fn the_files_are_filled() {
        for [heads, kv_heads, head_dim] in [
            [9, 3, 64],
            [8, 8, 32],
            [5, 1, 40],
            [32, 8, 128],
            [4, 1, 256],
        ] {
            let of = |cap| Heads {
                heads,
                kv_heads,
                head_dim,
                scale: 0.125,
                cap,
            };
            for (window, cap) in [(None, None), (Some(7), Some(50.0))] {
                let (of, changed) = (of(cap), window.is_some());
                let text = Join { of, window }.body();
                assert!(text.contains("const KEYS = 256u;"));
                assert_eq!(text.contains("WINDOW"), changed);
                for split in [false, true] {
                    let text = Attend { of, split, window }.body();
                    assert!(text.contains("const SCALE: f32 = 1.25e-1;"));
                    assert_eq!(text.contains("const CAP: f32 = 5e1;"), changed);
                    assert_eq!(text.contains("const WINDOW = 7u;"), changed);
                    assert_eq!(text.contains("ends["), split);
                    let sums = of.together() * 2;
                    assert_eq!(text.matches("= vec4<f32>();").count(), sums);
                    let bytes = workgroup_bytes(&text);
                    assert!(
                        (1..=LEAST_WORKGROUP_BYTES).contains(&bytes),
                        "{bytes}: {of:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn queries_and_keys_are_normed_and_rotated() {
        let of = [9, 3, 64];
        for rotates in [false, true] {
            for (whole, shared) in [(false, false), (false, true), (true, false), (true, true)] {
                let epsilon_bits = 1e-6_f32.to_bits();
                let norm = NormOf {
                    whole,
                    epsilon_bits,
                    shared,
                };
                for norm in [None, Some(norm)] {
                    let kernel = RotateAndStore { of, rotates, norm };
                    let text = kernel.body();
                    assert!(text.contains("const HD = 64u;"));
                    let barriers = text.contains("workgroupBarrier");
                    assert_eq!(barriers, shared && kernel.norm.is_some(), "{kernel:?}");
                    let named = ["cosine[", "sine[", "gains["];
                    let reads = |name: &&str| {
                        let mut buffers = kernel.buffers().into_iter();
                        buffers.any(|(buffer, _)| format!("{buffer}[") == **name)
                    };
                    for name in &named {
                        assert_eq!(text.contains(name), reads(name), "{name}: {kernel:?}");
                    }
                }
            }
        }
    }
}
