//! GPU kernels against arithmetic on the host, on whichever device is given.

mod attention;
pub mod blocks;

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use steering_playground::device::{self, read_back};
use steering_playground::kernels::{
    self, After, Asked, Cut, Gate, LowRank, Packed, Packing, Riders, STREAMS,
};
use steering_playground::sample::{Answer, Question, Sampling};
use steering_playground::weights::quant::{Kind, dequantise};

pub use attention::{Attention, PLAIN, attention, head_norm_overflows};
use blocks::{blocks, noise};

/// Kernels sum in another order than the host: how far they may be from it, in shares of the largest
/// number or of 1.
const TOLERANCE: f32 = 2e-5;

fn upload<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0_f32, |m, x| m.max(x.abs()));
    let worst = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        worst <= TOLERANCE * largest,
        "{what}: {worst:e} of {largest}"
    );
}

/// The product of a norm that it takes itself, of numbers and of some whose squares overflow.
async fn normed(weight: &Packed, x: &[f32], product: impl Fn(&[f32]) -> Vec<f32>, what: &str) {
    const EPSILON: f32 = 1e-5;
    let (device, i) = (weight.device(), weight.i);
    let gamma = noise(i, 8);
    let norm = |row: &[f32]| -> Vec<f32> {
        let squares: f64 = row.iter().map(|x| f64::from(x * x)).sum();
        let scale = 1.0 / (squares / i as f64 + f64::from(EPSILON)).sqrt();
        let each = row.iter().zip(&gamma);
        each.map(|(x, gamma)| (f64::from(x * gamma) * scale) as f32)
            .collect()
    };
    let run = async |x: &[f32]| {
        let x = upload(x, [x.len() / i, i], &device);
        let norm = (upload(&gamma, [i], &device), EPSILON);
        let y = kernels::normed_linear(x, norm, weight, After::Plain);
        read_back(y).await.expect("read")
    };
    let expected: Vec<f32> = x.chunks(i).flat_map(norm).collect();
    let what = format!("{what}, with its norm");
    assert_close(&run(x).await, &product(&expected), &what);
    let large = vec![1e20; i];
    let found = run(&large).await;
    assert!(
        found.iter().all(|y| y.is_nan()),
        "{what}: {:?}",
        &found[..2]
    );
}

/// The cuts for a software GPU, without and, where it has subgroups, with quads.
pub fn software_cuts() -> Vec<Cut> {
    let quads = [false, true].into_iter();
    let quads = quads.filter(|quads| !quads || device::gpu_has_subgroups());
    let cut = |quads| Cut {
        quads,
        ..Cut::SOFTWARE
    };
    quads.map(cut).collect()
}

/// A matrix `[o, i]` of each kind, on top of each other: as the file has them, and widened.
fn stack(kinds: &[Kind], o: usize, i: usize) -> (Vec<(Kind, Vec<u8>)>, Vec<f32>) {
    let parts: Vec<_> = (7..)
        .zip(kinds)
        .map(|(seed, &kind)| (kind, blocks(kind, o * i, seed)))
        .collect();
    let w = parts
        .iter()
        .flat_map(|(kind, bytes)| dequantise(*kind, bytes).expect("whole blocks"))
        .collect();
    (parts, w)
}

/// Some rows of linear layers W `[o, i]`, one of each kind on top of each other, for t tokens, with all that can
/// stand behind them, and the lookup of rows.
pub async fn linear(
    device: &Device,
    kinds: &[Kind],
    (o, i, t, split_rows): (usize, usize, usize, Range<usize>),
    cuts: &[Cut],
) {
    let (parts, w) = stack(kinds, o, i);
    let o = o * kinds.len();
    let parts: Vec<(Kind, &[u8])> = parts.iter().map(|(kind, b)| (*kind, &b[..])).collect();
    let packed = Packed::new(&parts, i, device);
    assert_eq!(packed.o, o);
    let found = Packed::foresee(kinds, [o, i]).bytes;
    assert!(
        packed.bytes().abs_diff(found) <= 4 * o as u64,
        "{kinds:?}: {found} foreseen"
    );
    let mut all = vec![packed];
    // The same in several buffers, as where a GPU's limits are small.
    if kinds.len() == 1 && o > 128 {
        let mut packing = Packing::new(&[(kinds[0], o)], &[], i, device).in_slabs_of(64);
        packing.take(parts[0].1, |row| row);
        all.push(packing.into());
    }
    let x = noise(t * i, 3);
    let residual = noise(t * split_rows.len(), 6);
    let each = all.iter().enumerate();
    for (&cut, (slabs, packed)) in cuts
        .iter()
        .flat_map(|cut| each.clone().map(move |p| (cut, p)))
    {
        let mut part = packed.part(split_rows.clone());
        part.cut = cut;
        let product = |x: &[f32]| -> Vec<f32> {
            x.chunks(i)
                .flat_map(|row| {
                    split_rows
                        .clone()
                        .map(|r| {
                            row.iter()
                                .zip(&w[r * i..])
                                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                                .sum::<f64>() as f32
                        })
                        .collect::<Vec<_>>()
                })
                .collect()
        };
        let run = async |after: After| {
            let x = upload(&x, [t, i], device);
            let y = kernels::linear(x, &part, after, Riders::default());
            read_back(y).await.expect("read")
        };
        let n = split_rows.len();
        let y = product(&x);
        let what = format!("{kinds:?} {o}x{i} t={t} {cut:?}");
        assert_close(&run(After::Plain).await, &y, &what);
        let h = || upload(&residual, [t, n], device);
        let sum: Vec<f32> = y.iter().zip(&residual).map(|(y, h)| y + h).collect();
        assert_close(&run(After::Residual(h(), 1.0)).await, &sum, &what);
        if t <= STREAMS && !cut.quads {
            normed(&part, &x, &product, &what).await;
        }
        if slabs == 0 {
            let gated = gated(&y, n, Gate::Silu);
            assert_close(&run(After::Glu(Gate::Silu)).await, &gated, &what);
        }
    }
    let ids: Vec<i32> = vec![0, o as i32 - 1, 3];
    let expected: Vec<f32> = ids
        .iter()
        .flat_map(|id| w[*id as usize * i..][..i].to_vec())
        .collect();
    for packed in &all {
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids.clone(), [3]), device);
        let found = read_back(kernels::rows(packed, ids)).await.expect("read");
        assert_eq!(found, expected, "{kinds:?} rows");
    }
}

/// What a product gives back to t tokens, `dY W`, for some rows of matrices `[o, i]` that lie on top of each
/// other, one of each kind.
pub async fn pulled_back(
    device: &Device,
    kinds: &[Kind],
    ([o, i], rows): ([usize; 2], Range<usize>),
    tokens: &[usize],
    cuts: &[Cut],
) {
    let (parts, w) = stack(kinds, o, i);
    let parts: Vec<(Kind, &[u8])> = parts.iter().map(|(kind, b)| (*kind, &b[..])).collect();
    let mut packing = Packing::new(
        &kinds.iter().map(|kind| (*kind, o)).collect::<Vec<_>>(),
        &[],
        i,
        device,
    );
    // A matrix that lies alone in several buffers, unless these would be hundreds.
    if kinds.len() == 1 && (129..1000).contains(&o) {
        packing = packing.in_slabs_of(64);
    }
    for (_, bytes) in &parts {
        packing.take(bytes, |row| row);
    }
    let mut weight = Packed::from(packing).part(rows.clone());
    let w = &w[rows.start * i..rows.end * i];
    for &t in tokens {
        let dy = noise(t * rows.len(), 3);
        let expected: Vec<f32> = dy
            .chunks(rows.len())
            .flat_map(|dy| {
                let mut dx = vec![0.0_f64; i];
                for (dy, w) in dy.iter().zip(w.chunks(i)) {
                    for (dx, w) in dx.iter_mut().zip(w) {
                        *dx += f64::from(*dy) * f64::from(*w);
                    }
                }
                dx.into_iter().map(|x| x as f32)
            })
            .collect();
        for &cut in cuts {
            weight.cut = cut;
            let dx = kernels::pulled_back(upload(&dy, [t, rows.len()], device), &weight);
            let what = format!("{kinds:?} {o}x{i}, rows {rows:?}, back to {t} tokens, {cut:?}");
            assert_close(&read_back(dx).await.expect("read"), &expected, &what);
        }
    }
}

/// The gates of rows of n numbers upon what they let through.
fn gated(y: &[f32], n: usize, by: Gate) -> Vec<f32> {
    let act = |x: f64| match by {
        Gate::Silu => x / (1.0 + (-x).exp()),
        Gate::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            x / 2.0 * (1.0 + inner.tanh())
        }
    };
    let rows = y.chunks(n).flat_map(|row| {
        let (gate, up) = row.split_at(n / 2);
        let each = gate.iter().zip(up);
        each.map(|(gate, up)| (act(f64::from(*gate)) * f64::from(*up)) as f32)
    });
    rows.collect()
}

/// All that can follow a product of t tokens whose rows have biases, with and without a low-rank change.
pub async fn biases(device: &Device, kind: Kind, t: usize, cut: Cut) {
    let (o, i, rank) = (96, kind.block_len().max(64), 4);
    let bytes = &blocks(kind, o * i, 7)[..];
    let w = dequantise(kind, bytes).expect("whole blocks");
    let (x, h, bias) = (noise(t * i, 3), noise(t * o, 6), noise(o, 9));
    let mut packed = Packed::with_biases(&[(kind, bytes)], &bias, i, device);
    packed.cut = cut;
    let (a, b) = (noise(rank * i, 11), noise(o * rank, 12));
    let dot = |a: &[f32], b: &[f32]| -> f32 {
        let each = a.iter().zip(b);
        each.map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum::<f64>() as f32
    };
    let product = |changed: bool| -> Vec<f32> {
        let row = |x: &[f32]| -> Vec<f32> {
            let z: Vec<f32> = a.chunks(i).map(|a| dot(a, x)).collect();
            let line = |at: usize| {
                let y = dot(&w[at * i..][..i], x) + bias[at];
                y + if changed {
                    dot(&b[at * rank..][..rank], &z)
                } else {
                    0.0
                }
            };
            (0..o).map(line).collect()
        };
        x.chunks(i).flat_map(row).collect()
    };
    let few = t <= kernels::STREAMS;
    for changed in [false, true] {
        let y = product(changed);
        let change = || {
            let a = upload(&a, [rank, i], device);
            let scales = upload(&[1.0; 64], [64], device);
            let z = kernels::shrink(upload(&x, [t, i], device), &[a], scales, cut);
            let parts = vec![(0, upload(&b, [o, rank], device))];
            LowRank { parts, z }
        };
        let run = async |after: After, by: f32| {
            let riders = Riders {
                low_rank: (changed && few).then(change),
                ..Riders::default()
            };
            let y = kernels::linear(upload(&x, [t, i], device), &packed, after, riders);
            let y = if changed && !few {
                kernels::expand(y, &change(), by)
            } else {
                y
            };
            read_back(y).await.expect("read")
        };
        let what = format!("biases of {kind:?}, {t} tokens, changed {changed}, {cut:?}");
        assert_close(&run(After::Plain, 1.0).await, &y, &what);
        let residual = || upload(&h, [t, o], device);
        let sum: Vec<f32> = y.iter().zip(&h).map(|(y, h)| h + 0.22 * y).collect();
        assert_close(
            &run(After::Residual(residual(), 0.22), 0.22).await,
            &sum,
            &what,
        );
        if changed && !few {
            continue;
        }
        for gate in [Gate::Silu, Gate::GeluTanh] {
            let found = run(After::Glu(gate), 1.0).await;
            assert_close(&found, &gated(&y, o, gate), &format!("{gate:?}, {what}"));
        }
    }
    // Parts and rows are as without biases.
    let x = upload(&x, [t, i], device);
    let part = kernels::linear(x, &packed.part(0..o), After::Plain, Riders::default());
    let y = read_back(part).await.expect("read");
    assert!(
        (y[0] - (product(false)[0] - bias[0])).abs() < 1e-4,
        "{kind:?}: a part"
    );
    let id = Tensor::<1, Int>::from_data(TensorData::new(vec![1], [1]), device);
    let row = read_back(kernels::rows(&packed, id)).await.expect("read");
    assert_eq!(row, w[i..2 * i], "{kind:?}: a row");
}

/// What rides along with a product of t tokens: low-rank changes of two ranges of rows, and a step, of all
/// tokens or of one.
pub async fn riders(device: &Device, t: usize, ranks: [usize; 2], row: Option<usize>, cut: Cut) {
    let (o, i) = (96, 64);
    let bytes = blocks(Kind::Q4_1, o * i, 7);
    let w = dequantise(Kind::Q4_1, &bytes).expect("whole blocks");
    let mut packed = Packed::new(&[(Kind::Q4_1, &bytes)], i, device);
    packed.cut = cut;
    let ranges = [0..40, 64..96];
    let x = noise(t * i, 3);
    let step = noise(o, 4);
    let mut scales = noise(64, 5);
    scales[kernels::SHIFT_SCALE] = -0.5;
    let a = ranks.map(|rank| noise(rank * i, 8 + rank as u32));
    let b = [0, 1].map(|n: usize| noise(ranges[n].len() * ranks[n], 20 + n as u32));
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let each = a.iter().zip(b);
        each.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let mut expected = Vec::new();
    for (token, x) in x.chunks(i).enumerate() {
        let changes = row.is_none_or(|row| row == token);
        for out in 0..o {
            let mut y = dot(x, &w[out * i..][..i]);
            if changes {
                y += f64::from(scales[kernels::SHIFT_SCALE] * step[out]);
                for n in 0..2 {
                    if !ranges[n].contains(&out) {
                        continue;
                    }
                    let b = &b[n][(out - ranges[n].start) * ranks[n]..][..ranks[n]];
                    let z = a[n].chunks(i).map(|a| dot(a, x) * f64::from(scales[n]));
                    y += z.zip(b).map(|(z, b)| z * f64::from(*b)).sum::<f64>();
                }
            }
            expected.push(y as f32);
        }
    }
    let a = [0, 1].map(|n| upload(&a[n], [ranks[n], i], device));
    let parts = [0, 1].map(|n| {
        let b = upload(&b[n], [ranges[n].len(), ranks[n]], device);
        (ranges[n].start, b)
    });
    let x = upload(&x, [t, i], device);
    let scales = upload(&scales, [64], device);
    let changed = match row {
        Some(row) => x.clone().narrow(0, row, 1),
        None => x.clone(),
    };
    let low_rank = LowRank {
        parts: parts.to_vec(),
        z: kernels::shrink(changed, &a, scales.clone(), cut),
    };
    let shift = Some((upload(&step, [o], device), scales));
    let few = t <= kernels::STREAMS;
    let riders = Riders {
        low_rank: few.then(|| low_rank.clone()),
        shift,
        row,
    };
    let y = kernels::linear(x, &packed, After::Plain, riders);
    let y = if few {
        y
    } else {
        kernels::expand(y, &low_rank, 1.0)
    };
    let what = format!("riders of {t} tokens, ranks {ranks:?}, row {row:?}, {cut:?}");
    assert_close(&read_back(y).await.expect("read"), &expected, &what);
}

/// RMSNorm of `[t, d]`.
pub async fn norm(device: &Device, t: usize, d: usize) {
    let (x, gamma) = (noise(t * d, 1), noise(d, 2));
    let expected: Vec<f32> = x
        .chunks(d)
        .flat_map(|row| {
            let mean = row.iter().map(|x| x * x).sum::<f32>() / d as f32;
            let scale = 1.0 / (mean + 1e-5).sqrt();
            row.iter().zip(&gamma).map(move |(x, g)| x * scale * g)
        })
        .collect();
    let on = upload(&x, [t, d], device);
    let gamma = upload(&gamma, [d], device);
    let y = kernels::norm(on.clone(), gamma.clone(), 1e-5);
    let found = read_back(y).await.expect("read");
    assert_close(&found, &expected, &format!("norm {t}x{d}"));
    let (h, step) = (noise(t * d, 4), noise(d, 5));
    let scales = upload(&[-0.5; 64], [64], device);
    for (by, stepped, row) in [
        (1.0, false, None),
        (0.22, false, None),
        (1.0, true, None),
        (0.22, true, Some(t - 1)),
    ] {
        let to = (upload(&h, [t, d], device), by);
        let riders = Riders {
            shift: stepped.then(|| (upload(&step, [d], device), scales.clone())),
            row,
            ..Riders::default()
        };
        let y = kernels::add_normed(to, on.clone(), gamma.clone(), 1e-5, riders);
        let number = |at: usize| {
            let acts = stepped && row.is_none_or(|row| row == at / d);
            let step = if acts { -0.5 * step[at % d] } else { 0.0 };
            h[at] + by * expected[at] + step
        };
        let sum: Vec<f32> = (0..t * d).map(number).collect();
        let found = read_back(y).await.expect("read");
        let what = format!("norm {t}x{d}, {by} of it added, step {stepped} of row {row:?}");
        assert_close(&found, &sum, &what);
    }
}

/// RMSNorm of rows whose squares overflow: no numbers, where dividing by infinity would give zeros.
pub async fn norm_overflows(device: &Device) {
    let mut x = noise(4 * 96, 1);
    (x[96], x[2 * 96 + 5], x[3 * 96 + 95]) = (1e20, f32::INFINITY, f32::NAN);
    let y = kernels::norm(
        upload(&x, [4, 96], device),
        upload(&noise(96, 2), [96], device),
        1e-5,
    );
    let y = read_back(y).await.expect("read");
    assert!(y[..96].iter().all(|y| y.is_finite()), "a row of numbers");
    for row in y[96..].chunks(96) {
        assert!(row.iter().all(|y| !y.is_finite()), "{row:?}");
    }
}

/// Where a row has no finite logits, or the penalty makes them infinite, no token is chosen.
pub async fn choose_diverges(device: &Device, vocab: usize) {
    let logits = noise(3 * vocab, 5);
    let plain = Sampling::default();
    let hot = Sampling {
        temperature: 0.8,
        top_k: 40,
        top_p: 0.9,
        min_p: 0.01,
        repetition_penalty: 1.1,
        ..plain.clone()
    };
    let bad = [
        f32::NAN,
        f32::from_bits(0xffff_ffff),
        f32::from_bits(0x7f80_0001),
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    let ask = async |logits: &[f32], sampling: &Sampling| {
        let question = Question {
            sampling,
            position: 0,
            so_far: vec![&[1], &[2], &[1]],
            reference: Some(2),
            top: 3,
        };
        let asked = Asked::new(&question, Some(2), false, vocab, device);
        let (_, answer) = asked.answer(upload(logits, [3, vocab], device), None);
        let found = answer.await.expect("read");
        let expected = Answer::of(&question, logits);
        assert_eq!(found.diverged, expected.diverged, "as on the host");
        if found.diverged.is_some() {
            assert_eq!(found, expected, "and nothing else");
        }
        found
    };
    for sampling in [&plain, &hot] {
        assert_eq!(ask(&logits, sampling).await.diverged, None);
        for number in bad {
            for (row, at) in [(0, 0), (1, vocab - 1), (2, vocab / 2)] {
                let mut logits = logits.clone();
                logits[row * vocab + at] = number;
                let found = ask(&logits, sampling).await.diverged;
                assert_eq!(
                    found,
                    Some(row),
                    "{number} ({:x}) at {at}",
                    number.to_bits()
                );
            }
            let all = ask(&vec![number; 3 * vocab], sampling).await.diverged;
            assert_eq!(all, Some(0), "{number} everywhere");
        }
    }
    // More are as good as the best than are looked at first.
    let even = vec![0.5; 3 * vocab];
    let found = ask(&even, &plain).await;
    assert_eq!((found.diverged, found.chosen[0].0), (None, 0), "of equals");
    assert_eq!(ask(&even, &hot).await.diverged, None, "of equals");
    let strict = Sampling {
        repetition_penalty: 100.0,
        ..plain.clone()
    };
    let mut large = logits.clone();
    large[vocab + 2] = -1e37;
    assert_eq!(ask(&large, &strict).await.diverged, Some(1), "the penalty");
    assert_eq!(ask(&large, &plain).await.diverged, None, "a finite logit");
    // Finite, but so far apart that their difference is not: no KL, and never 0.
    let mut far = logits;
    (far[3], far[2 * vocab + 3]) = (3e38, -3e38);
    let found = ask(&far, &plain).await;
    assert_eq!((found.chosen[0].0, found.kl_nats), (3, None), "no KL");
}

/// The choice of tokens, the KL and the likeliest tokens, of three rows of which the last shadows the
/// first, under every filter.
pub async fn choose(device: &Device, vocab: usize, at_once: usize) {
    // About as far from flat as a model's.
    let logits: Vec<f32> = noise(3 * vocab, 5)
        .iter()
        .map(|x| 9.0 * x * x * x)
        .collect();
    let said: Vec<u32> = (0..vocab as u32).step_by(3).collect();
    let plain = Sampling::default();
    let hot = Sampling {
        temperature: 0.8,
        ..plain.clone()
    };
    let settings = [
        plain.clone(),
        Sampling {
            repetition_penalty: 1.7,
            ..plain
        },
        hot.clone(),
        Sampling {
            top_k: 5,
            ..hot.clone()
        },
        Sampling {
            top_p: 0.6,
            ..hot.clone()
        },
        Sampling {
            min_p: 0.3,
            ..hot.clone()
        },
        Sampling {
            top_k: 40,
            top_p: 0.95,
            min_p: 0.01,
            repetition_penalty: 1.1,
            ..hot
        },
    ];
    for (at, sampling) in settings.iter().enumerate() {
        for position in 0..3 {
            for (reference, top) in [(None, 0), (Some(0), 3), (Some(1), 8), (Some(2), 16)] {
                let shadow = Some(2).filter(|_| top > 0);
                let newest = [1, 2, 1].map(|id| id % vocab as u32);
                let so_far = newest.map(|id| [&said[..], &[id]].concat());
                let question = |so_far| Question {
                    sampling,
                    position,
                    so_far,
                    reference,
                    top,
                };
                let whole = question(so_far.each_ref().map(|ids| &ids[..]).to_vec());
                let mut expected = Answer::of(&whole, &logits);
                let mut asked = Asked::new(&question(vec![&said; 3]), shadow, true, vocab, device);
                asked.at_once = at_once;
                let newest = TensorData::new(newest.map(|id| id as i32).to_vec(), [3]);
                let newest = Tensor::<1, Int>::from_data(newest, device);
                let (ids, answer) =
                    asked.answer(upload(&logits, [3, vocab], device), Some(&newest));
                let found = answer.await.expect("read");
                let what =
                    format!("{vocab} tokens, setting {at}, position {position}, {reference:?}");
                let pick =
                    |answer: &Answer| answer.chosen.iter().map(|(id, _)| *id).collect::<Vec<_>>();
                assert_eq!(pick(&found), pick(&expected), "{what}");
                let listed =
                    |answer: &Answer| answer.top.iter().map(|(id, ..)| *id).collect::<Vec<_>>();
                assert_eq!(listed(&found), listed(&expected), "{what}");
                if let Some(shadow) = shadow {
                    expected.chosen[shadow].0 = expected.chosen[0].0;
                }
                let ids: Vec<i32> = ids
                    .into_data_async()
                    .await
                    .expect("read")
                    .try_into_vec()
                    .expect("ids");
                assert_eq!(
                    ids,
                    pick(&expected)
                        .iter()
                        .map(|id| *id as i32)
                        .collect::<Vec<_>>(),
                    "{what}"
                );
                let numbers = |answer: &Answer| {
                    let chosen = answer.chosen.iter().map(|(_, log_p)| *log_p as f32);
                    let top = answer
                        .top
                        .iter()
                        .flat_map(|(_, p, q)| [*p as f32, q.unwrap_or(0.0) as f32]);
                    let kl = answer.kl_nats.unwrap_or(0.0) as f32;
                    chosen.chain(top).chain([kl]).collect::<Vec<_>>()
                };
                assert_close(&numbers(&found), &numbers(&expected), &what);
            }
        }
    }
}

/// Copies of more numbers than fill a workgroup, and launches that wait for each other.
pub async fn probes(device: &Device) {
    let numbers = noise(4 * 999, 7);
    let source = upload(&numbers, [numbers.len()], device);
    let copied = kernels::copy(&source, Tensor::zeros([numbers.len()], device));
    assert_eq!(read_back(copied).await.expect("read"), numbers);
    let x = (0..40).fold(Tensor::zeros([4], device), |x, _| kernels::step(x));
    assert_eq!(read_back(x).await.expect("read"), [40.0, 0.0, 0.0, 0.0]);
}
