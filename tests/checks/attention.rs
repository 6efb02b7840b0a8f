//! Attention and what happens to queries and keys before it, against arithmetic on the host.

use burn::tensor::{Device, Int, Tensor, TensorData};
use steering_playground::arch::QkNorm;
use steering_playground::device::read_back;
use steering_playground::kernels::{self, Before, Cut, HeadNorm, Heads};

use super::{assert_close, noise, upload};

/// How families differ in attention.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// Whether queries and keys are normed, and if so, all heads together or each by itself.
    pub norm: Option<QkNorm>,
    /// Whether they are rotated.
    pub rotates: bool,
    /// Keys that a query sees.
    pub window: Option<usize>,
    /// What bounds the scores.
    pub cap: Option<f32>,
}

/// Rotation, and nothing else.
pub const PLAIN: Attention = Attention {
    norm: None,
    rotates: true,
    window: None,
    cap: None,
};

const EPSILON: f32 = 1e-6;

/// The norm, the rotation, the cache write and the attention of t tokens behind `start` others, with as
/// much room as a cache has.
pub async fn attention(
    device: &Device,
    [heads, kv_heads, hd]: [usize; 3],
    (start, t): (usize, usize),
    how: Attention,
    cuts: &[Cut],
) {
    let of = Heads {
        heads,
        kv_heads,
        head_dim: hd,
        scale: 1.0 / (hd as f32).sqrt(),
        cap: how.cap,
    };
    let capacity = (start + t).next_multiple_of(256);
    let half = hd / 2;
    let table = |f: fn(f32) -> f32| {
        (0..capacity * half)
            .map(|at| f((at / half) as f32 * 0.9_f32.powi((at % half) as i32)))
            .collect::<Vec<_>>()
    };
    let (cos, sin) = (table(f32::cos), table(f32::sin));
    let (mut keys, mut values) = (
        noise(kv_heads * capacity * hd, 1),
        noise(kv_heads * capacity * hd, 2),
    );
    let qkv = noise(t * (heads + 2 * kv_heads) * hd, 3);
    let gains = match how.norm {
        None => vec![],
        Some(QkNorm::Head) => noise(2 * hd, 4),
        Some(QkNorm::Whole) => noise((heads + kv_heads) * hd, 4),
    };
    let room = [keys.clone(), values.clone()];
    let turn = Tensor::<1, Int>::from_data(
        TensorData::new(vec![start as i32, capacity as i32, t as i32], [3]),
        device,
    );
    let before = || Before {
        norm: how.norm.map(|_| HeadNorm {
            gains: upload(&gains, [gains.len()], device),
            epsilon: EPSILON,
        }),
        rotation: how.rotates.then(|| {
            let [cos, sin] = [&cos, &sin].map(|table| upload(table, [capacity, half], device));
            (cos, sin)
        }),
    };

    // `x [n·hd]` of n heads that stand side by side, `first` among queries and keys.
    let normed = |x: &[f32], first: usize| -> Vec<f32> {
        let Some(over) = how.norm else {
            return x.to_vec();
        };
        let width = match over {
            QkNorm::Head => hd,
            QkNorm::Whole => x.len(),
        };
        let gain = |at: usize| match over {
            QkNorm::Head => gains[if first < heads { 0 } else { hd } + at],
            QkNorm::Whole => gains[first * hd + at],
        };
        let rows = x.chunks(width).flat_map(|row| {
            let squares = row.iter().map(|x| f64::from(x * x)).sum::<f64>();
            let scale = 1.0 / (squares / width as f64 + f64::from(EPSILON)).sqrt();
            let each = row.iter().enumerate();
            each.map(move |(at, x)| x * scale as f32 * gain(at))
        });
        rows.collect()
    };
    let rotate = |x: &[f32], position: usize| -> Vec<f32> {
        if !how.rotates {
            return x.to_vec();
        }
        (0..hd)
            .map(|d| {
                let (c, s) = (
                    cos[position * half + d % half],
                    sin[position * half + d % half],
                );
                if d < half {
                    x[d] * c - x[d + half] * s
                } else {
                    x[d] * c + x[d - half] * s
                }
            })
            .collect()
    };
    let mut expected_q = Vec::new();
    for (at, row) in qkv.chunks((heads + 2 * kv_heads) * hd).enumerate() {
        let (q, rest) = row.split_at(heads * hd);
        let (k, v) = rest.split_at(kv_heads * hd);
        for head in normed(q, 0).chunks(hd) {
            expected_q.extend(rotate(head, start + at));
        }
        let to = |head: usize| (head * capacity + start + at) * hd;
        for (head, k) in normed(k, heads).chunks(hd).enumerate() {
            keys[to(head)..][..hd].copy_from_slice(&rotate(k, start + at));
        }
        for (head, v) in v.chunks(hd).enumerate() {
            values[to(head)..][..hd].copy_from_slice(v);
        }
    }
    let mut expected = Vec::new();
    for at in 0..t {
        for head in 0..heads {
            let q = &expected_q[(at * heads + head) * hd..][..hd];
            let kv = head / (heads / kv_heads);
            let row = |of: &[f32], j: usize| of[(kv * capacity + j) * hd..][..hd].to_vec();
            let total = start + at + 1;
            let first = how.window.map_or(0, |window| total.saturating_sub(window));
            let scores: Vec<f64> = (first..total)
                .map(|j| {
                    let dot = q.iter().zip(row(&keys, j));
                    let dot = dot.map(|(a, b)| f64::from(a * b)).sum::<f64>();
                    let score = dot / (hd as f64).sqrt();
                    how.cap.map_or(score, |cap| {
                        let cap = f64::from(cap);
                        cap * (score / cap).tanh()
                    })
                })
                .collect();
            let top = scores.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - top).exp()).sum();
            let mut mixed = vec![0.0; hd];
            for (j, score) in scores.iter().enumerate() {
                let share = (score - top).exp() / sum;
                for (mixed, value) in mixed.iter_mut().zip(row(&values, first + j)) {
                    *mixed += share * f64::from(value);
                }
            }
            expected.extend(mixed.into_iter().map(|x| x as f32));
        }
    }
    let host = async |x: Tensor<3>| {
        let data = x.into_data_async().await.expect("read");
        data.try_into_vec::<f32>().expect("f32")
    };
    for &cut in cuts {
        let what = format!("{heads}/{kv_heads}/{hd} at {start}+{t}, {how:?}, {cut:?}");
        let [k, v] = room
            .each_ref()
            .map(|room| upload(room, [kv_heads, capacity, hd], device));
        let q = kernels::rotate_and_store(
            upload(&qkv, [t, (heads + 2 * kv_heads) * hd], device),
            before(),
            (&k, &v),
            turn.clone(),
            of,
            cut,
        );
        let y = kernels::attend(q.clone(), (&k, &v), turn.clone(), of, how.window, cut);
        assert_close(&read_back(q).await.expect("read"), &expected_q, &what);
        assert_close(&host(k).await, &keys, &what);
        assert_close(&host(v).await, &values, &what);
        assert_close(&read_back(y).await.expect("read"), &expected, &what);
    }
}

/// Where the squares of a head overflow, its query or key is no number; all others are.
pub async fn head_norm_overflows(device: &Device, cut: Cut) {
    let (heads, kv_heads, hd) = (4, 2, 8);
    let mut qkv = noise((heads + 2 * kv_heads) * hd, 1);
    (qkv[hd], qkv[(heads + 1) * hd + 3]) = (1e20, 3e19);
    let room = || upload(&vec![0.0; kv_heads * 256 * hd], [kv_heads, 256, hd], device);
    let (k, v) = (room(), room());
    let before = Before {
        norm: Some(HeadNorm {
            gains: upload(&noise(2 * hd, 2), [2 * hd], device),
            epsilon: EPSILON,
        }),
        rotation: None,
    };
    let turn = Tensor::<1, Int>::from_data(TensorData::new(vec![0, 256, 1], [3]), device);
    let of = Heads {
        heads,
        kv_heads,
        head_dim: hd,
        scale: 1.0,
        cap: None,
    };
    let width = (heads + 2 * kv_heads) * hd;
    let qkv = upload(&qkv, [1, width], device);
    let q = kernels::rotate_and_store(qkv, before, (&k, &v), turn, of, cut);
    let bad = |x: &[f32]| x.iter().map(|x| !x.is_finite()).collect::<Vec<_>>();
    let q = bad(&read_back(q).await.expect("read"));
    let keys = k.narrow(1, 0, 1).reshape([1, kv_heads * hd]);
    let keys = bad(&read_back(keys).await.expect("read"));
    for (at, bad) in q.iter().enumerate() {
        assert_eq!(*bad, at / hd == 1, "query {at}, {cut:?}");
    }
    for (at, bad) in keys.iter().enumerate() {
        assert_eq!(*bad, at / hd == 1, "key {at}, {cut:?}");
    }
}
