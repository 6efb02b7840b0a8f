//! Rotary positions: tables of cosines and sines that grow with the text.

use std::cell::RefCell;

use burn::tensor::{Device, Tensor, TensorData};

use crate::arch::{DecoderConfig, RopeConfig};

/// How many positions beyond the context the tables may hold: tokens that an adapter puts in front of
/// the text are met by queries that stand that much later.
pub const EXTRA_POSITIONS: usize = 1024;

/// Positions of the first tables; each time they are too few, twice as many.
const FIRST_POSITIONS: usize = 512;

/// Cosines and sines, each `[positions, rotated/2]`.
pub(super) type Tables = (Tensor<2>, Tensor<2>);

/// The rotary embeddings of a decoder.
#[derive(Debug)]
pub(super) struct Ropes {
    ropes: Vec<Rope>,
    most_positions: usize,
    device: Device,
}

#[derive(Debug)]
struct Rope {
    config: RopeConfig,
    tables: RefCell<Option<Tables>>,
}

impl Ropes {
    pub(super) fn new(config: &DecoderConfig, device: &Device) -> Self {
        let rope = |config: &RopeConfig| Rope {
            config: config.clone(),
            tables: RefCell::new(None),
        };
        Self {
            ropes: config.ropes.iter().map(rope).collect(),
            most_positions: config.context + EXTRA_POSITIONS,
            device: device.clone(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ropes.len()
    }

    /// The tables of a rope for `positions` positions at least.
    pub(super) fn tables(&self, rope: usize, positions: usize) -> Tables {
        let rope = &self.ropes[rope];
        let mut held = rope.tables.borrow_mut();
        let enough = |(cos, _): &Tables| cos.dims()[0] >= positions;
        if let Some(tables) = held.as_ref().filter(|tables| enough(tables)) {
            return tables.clone();
        }
        let rows = positions
            .next_power_of_two()
            .max(FIRST_POSITIONS)
            .min(self.most_positions)
            .max(positions);
        let tables = rope.config.tables(rows, &self.device);
        *held = Some(tables.clone());
        tables
    }
}

impl RopeConfig {
    /// Cosines and sines of positions 0 … rows−1, of angles in f32 as transformers computes them.
    fn tables(&self, rows: usize, device: &Device) -> Tables {
        let width = self.inverse_wavelengths.len();
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f32> = (0..rows)
                .flat_map(|position| {
                    let turns = self.inverse_wavelengths.iter();
                    turns.map(move |turn| {
                        (f(f64::from(position as f32 * turn)) * self.factor) as f32
                    })
                })
                .collect();
            Tensor::from_data(TensorData::new(values, [rows, width]), device)
        };
        (table(f64::cos), table(f64::sin))
    }
}

/// Rotates the first numbers of each head of `x [t, heads, hd]`, as many as the tables `[t, 1, n]` have
/// twice: the halves of these form the pairs (Hugging Face's layout).
pub(super) fn rotate(x: Tensor<3>, (cos, sin): &(Tensor<3>, Tensor<3>)) -> Tensor<3> {
    let (half, width) = (cos.dims()[2], x.dims()[2]);
    let (a, b) = (
        x.clone().narrow(2, 0, half),
        x.clone().narrow(2, half, half),
    );
    let first = a.clone() * cos.clone() - b.clone() * sin.clone();
    let second = b * cos.clone() + a * sin.clone();
    let mut parts = vec![first, second];
    if 2 * half < width {
        parts.push(x.narrow(2, 2 * half, width - 2 * half));
    }
    Tensor::cat(parts, 2)
}

/// Cosines and sines `[t, hd/2]` of one pass, in host memory.
#[derive(Debug)]
pub(super) struct HostRope {
    pub(super) cos: Vec<f32>,
    pub(super) sin: Vec<f32>,
}

impl HostRope {
    /// Rotates `x [t, heads, hd]`: the halves of each head form the pairs.
    pub(super) fn rotate(&self, x: &mut [f32], heads: usize, hd: usize) {
        let tables = self
            .cos
            .chunks_exact(hd / 2)
            .zip(self.sin.chunks_exact(hd / 2));
        for (row, (cos, sin)) in x.chunks_exact_mut(heads * hd).zip(tables) {
            for head in row.chunks_exact_mut(hd) {
                let (first, second) = head.split_at_mut(hd / 2);
                let pairs = first.iter_mut().zip(second);
                for ((a, b), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }
}
