//! The rotary embedding with the cache write, and grouped-query attention with a running softmax.
//!
//! `q, k = R(position)·(q, k)`, `y = softmax(scale · q·kᵀ)·v`; of qkv `[t, (heads + 2·kv_heads)·hd]`, q and
//! y `[t, heads·hd]`, and the cache's k and v `[kv_heads, capacity, hd]`. `rotate.wgsl` turns and stores,
//! `attend.wgsl` mixes, and `join.wgsl` joins what workgroups found over parts of a long context; software
//! GPUs have [other attention](super::software).
//!
//! | buffer | shape |
//! |---|---|
//! | `qkv` | `[t, (heads + 2·kv_heads)·hd]` |
//! | `cosine`, `sine` | `[capacity, hd/2]` |
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

/// Queries that are too few to fill a GPU with a workgroup for each.
const FEW: usize = 8;

/// Queries that are enough for a software GPU to give each of them a thread.
const ENOUGH: usize = 4;

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
        fill(
            include_str!("rotate.wgsl"),
            row![
                threads = THREADS,
                heads = self.0.heads,
                kv_heads = self.0.kv_heads,
                hd = self.0.head_dim,
            ],
        )
    }
}

/// Rotates the queries and keys of `qkv [t, (heads + 2·kv_heads)·hd]` to their positions, writes
/// keys and values into the cache tensors `[kv_heads, capacity, hd]` in place, and returns the
/// queries `[t, heads·hd]`. `turn` is `(first position, capacity, t)`; `cos` and `sin` hold a row of
/// hd/2 per position.
///
/// Writing in place is right only if nobody else holds the cache tensors: the caller sees to it.
#[must_use]
pub fn rotate_and_store(
    qkv: Tensor<2>,
    (cos, sin): (Tensor<2>, Tensor<2>),
    (keys, values): (&Tensor<3>, &Tensor<3>),
    turn: Tensor<1, Int>,
    heads: Heads,
) -> Tensor<2> {
    let t = qkv.dims()[0];
    let qkv = buffer(qkv);
    let q = empty(&qkv, [t, heads.width()]);
    let (cos, sin) = (buffer(cos), buffer(sin));
    let (keys, values) = (buffer(keys.clone()), buffer(values.clone()));
    let turn = int_buffer(turn);
    let pairs = (heads.heads + 2 * heads.kv_heads) * heads.head_dim / 2;
    launch(
        RotateAndStore(heads),
        [pairs.div_ceil(THREADS), t],
        &[&qkv, &cos, &sin, &q, &keys, &values, &turn],
    );
    tensor(q)
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
        fill(
            include_str!("join.wgsl"),
            row![
                threads = THREADS,
                keys = KEYS,
                heads = self.0.heads,
                hd4 = self.0.fours(),
            ],
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
    of: Heads,
    cut: Cut,
) -> Tensor<2> {
    let (t, parts) = (q.dims()[0], keys.dims()[1].div_ceil(KEYS));
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
            AttendAlone { of, quads },
            groups,
            &[&q, &keys, &values, &y, &turn],
        );
        return tensor(y);
    }
    let split = parts > 1 && t <= FEW;
    let units = of.units();
    let run = |groups, buffers: &[&CubeTensor]| {
        if cut.quads && !cut.has_barriers() {
            launch(AttendInQuad { of, split }, groups, buffers);
        } else {
            launch(Attend { of, split }, groups, buffers);
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
    launch(Join(of), [groups, t], &[&mixtures, &ends, &y, &turn]);
    tensor(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_filled() {
        for [heads, kv_heads, head_dim] in [[9, 3, 64], [8, 8, 32], [5, 1, 40], [32, 8, 128]] {
            let scale = 0.125;
            let of = Heads {
                heads,
                kv_heads,
                head_dim,
                scale,
            };
            assert!(
                RotateAndStore(of)
                    .body()
                    .contains(&format!("const HD = {head_dim}u;"))
            );
            assert!(Join(of).body().contains("const KEYS = 256u;"));
            for split in [false, true] {
                let text = Attend { of, split }.body();
                assert!(text.contains("const SCALE: f32 = 1.25e-1;"));
                assert_eq!(text.contains("ends["), split);
                let sums = of.together() * 2;
                assert_eq!(text.matches("= vec4<f32>();").count(), sums);
            }
        }
    }
}
