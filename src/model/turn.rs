//! What every layer of one forward pass shares.

use std::cell::{OnceCell, RefCell};

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::rope::{HostRope, Ropes, Tables};
use crate::tensor::to_host;

/// Added to the scores of keys that a query does not see: its exponential is exactly 0, and unlike an
/// infinity it is a number that every shader compiler must honour.
const UNSEEN: f32 = -1e30;

/// The window, `None` for all keys, and the number of keys in front of the sequence that are meant,
/// `None` for its own.
type MaskOf = (Option<usize>, Option<usize>);

/// What the queries of a turn see of some keys.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a tensor handle is large; there is one for each layer of a pass"
)]
pub(super) enum Seen {
    /// All of them, each query.
    All,
    /// None of them, no query.
    None,
    /// What this, `[t, keys]`, leaves of the scores to which it is added.
    Some(Tensor<2>),
}

/// The place of a pass in its sequence.
#[derive(Debug)]
pub(super) struct Turn {
    /// The first new position.
    pub(super) start: usize,
    /// New tokens.
    pub(super) t: usize,
    /// Rows of the cache.
    pub(super) capacity: usize,
    /// On a GPU: `(start, capacity, t)`, for the kernels.
    place: Option<Tensor<1, Int>>,
    /// Of the first rope, cut out when asked for: the kernels read the tables, and cutting is a launch
    /// in front of what is sent to a GPU.
    first: OnceCell<(Tensor<3>, Tensor<3>)>,
    /// What is added to scores.
    masks: RefCell<Vec<(MaskOf, Tensor<2>)>>,
    device: Device,
}

impl Turn {
    /// Opens a pass of `t` tokens after `start` others. The kernels that run `on_gpu` are told of it.
    pub(super) fn new([start, t, capacity]: [usize; 3], on_gpu: bool, device: &Device) -> Self {
        let place = on_gpu.then(|| {
            let place = vec![start as i32, capacity as i32, t as i32];
            Tensor::from_data(TensorData::new(place, [3]), device)
        });
        Self {
            start,
            t,
            capacity,
            place,
            first: OnceCell::new(),
            masks: RefCell::default(),
            device: device.clone(),
        }
    }

    /// `(start, capacity, t)` on the GPU, for the kernels, which run nowhere else.
    pub(super) fn place(&self) -> Tensor<1, Int> {
        let place = self.place.clone();
        place.unwrap_or_else(|| unreachable!("kernels run on a GPU only"))
    }

    /// Cosines and sines of all positions up to this turn's last, each `[positions, rotated/2]`.
    pub(super) fn tables(&self, ropes: &Ropes, rope: usize) -> Tables {
        ropes.tables(rope, self.start + self.t)
    }

    /// Rotations of this turn's positions, `offset` places later: each `[t, 1, rotated/2]`.
    pub(super) fn rotations(
        &self,
        ropes: &Ropes,
        rope: usize,
        offset: usize,
    ) -> (Tensor<3>, Tensor<3>) {
        let cut = || {
            let (cos, sin) = ropes.tables(rope, self.start + offset + self.t);
            let cut = |table: Tensor<2>| {
                table
                    .narrow(0, self.start + offset, self.t)
                    .unsqueeze_dim(1)
            };
            (cut(cos), cut(sin))
        };
        if (rope, offset) == (0, 0) {
            self.first.get_or_init(cut).clone()
        } else {
            cut()
        }
    }

    /// The same of each rope in host memory.
    pub(super) fn host_ropes(&self, ropes: &Ropes) -> Vec<HostRope> {
        let each = (0..ropes.len()).map(|rope| {
            let (cos, sin) = self.rotations(ropes, rope, 0);
            HostRope {
                cos: to_host(cos),
                sin: to_host(sin),
            }
        });
        each.collect()
    }

    /// `[t, start + t]`: 0 where a query sees a key, [`UNSEEN`] ahead and where the window ends;
    /// absent where the only query sees all keys.
    pub(super) fn mask(&self, window: Option<usize>) -> Option<Tensor<2>> {
        let total = self.start + self.t;
        let window = window.filter(|window| *window < total);
        if self.t == 1 && window.is_none() {
            return None;
        }
        Some(self.masked((window, None), total, |query, key| {
            key <= query && window.is_none_or(|window| key + window > query)
        }))
    }

    /// What this turn's queries see of `n` keys in front of the sequence, whose positions then count from
    /// n on.
    pub(super) fn seen_in_front(&self, window: Option<usize>, n: usize) -> Seen {
        let last = self.start + self.t + n;
        let Some(window) = window.filter(|window| *window < last) else {
            return Seen::All;
        };
        if self.start + 1 >= window {
            return Seen::None;
        }
        Seen::Some(self.masked((Some(window), Some(n)), n, |query, key| {
            key + window > query + n
        }))
    }

    /// `[t, keys]`: 0 where a query, at its position, sees a key, [`UNSEEN`] elsewhere.
    fn masked(&self, of: MaskOf, keys: usize, seen: impl Fn(usize, usize) -> bool) -> Tensor<2> {
        let mut masks = self.masks.borrow_mut();
        if let Some((_, mask)) = masks.iter().find(|(known, _)| *known == of) {
            return mask.clone();
        }
        let seen = &seen;
        let values: Vec<f32> = (self.start..self.start + self.t)
            .flat_map(|query| (0..keys).map(move |key| if seen(query, key) { 0.0 } else { UNSEEN }))
            .collect();
        let mask = Tensor::from_data(TensorData::new(values, [self.t, keys]), &self.device);
        masks.push((of, mask.clone()));
        mask
    }
}
