//! The key/value cache of one sequence, which remembers what computed each entry.

use std::rc::Rc;

use burn::tensor::{Device, Tensor, TensorData};

use super::turn::Turn;
use crate::arch::DecoderConfig;
use crate::hooks::{Gate, Stamp, Steering};
use crate::kernels;
use crate::tensor::to_host;
use processor::history::History;

/// Rows are added in steps of this many tokens.
const GROWTH: usize = 256;

/// Keys (rotated) and values of every layer for the tokens so far.
///
/// A key computed under one set of coefficients is wrong under another; the cache does not hide
/// that: [`KvCache::stamps`] tells which set computed which tokens. It knows where the prompt ends too,
/// for adapters that act on one side of it alone.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// Per layer `[kv_heads, capacity, hd]`, keys and values.
    layers: Vec<Option<(Tensor<3>, Tensor<3>)>>,
    /// Instead of these, for a model in host memory: per layer, of each key head.
    on_host: Option<Vec<Vec<History>>>,
    len: usize,
    /// Tokens of the prompt.
    prompt: usize,
    capacity: usize,
    stamps: Vec<(usize, Stamp)>,
    /// The tokens held, for gates whose scouts start later.
    pub(super) tokens: Vec<u32>,
    /// The caches of the scouts that gates listen to.
    scouts: Vec<(Rc<Gate>, KvCache)>,
    width: [usize; 2],
    on_gpu: bool,
    device: Device,
}

impl KvCache {
    pub(super) fn new(config: &DecoderConfig, device: &Device, on_host: bool) -> Self {
        Self {
            layers: vec![None; config.num_layers],
            on_host: on_host.then(|| {
                let layer = vec![History::new(config.head_dim); config.num_kv_heads];
                vec![layer; config.num_layers]
            }),
            len: 0,
            prompt: usize::MAX,
            capacity: 0,
            stamps: Vec::new(),
            tokens: Vec::new(),
            scouts: Vec::new(),
            width: [config.num_kv_heads, config.head_dim],
            on_gpu: kernels::is_gpu(&Tensor::<1>::empty([1], device)),
            device: device.clone(),
        }
    }

    /// The same where the text's prompt has so many tokens: those after it count as generated. In a
    /// new cache all are the prompt's.
    #[must_use]
    pub fn with_prompt(self, tokens: usize) -> Self {
        Self {
            prompt: tokens,
            ..self
        }
    }

    /// Tokens of the prompt, `usize::MAX` if all are.
    pub(super) fn prompt(&self) -> usize {
        self.prompt
    }

    /// Tokens held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory taken by keys and values, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let [heads, hd] = self.width;
        let held = match &self.on_host {
            Some(layers) => layers.iter().flatten().map(History::bytes).sum(),
            None => self.layers.len() * 2 * heads * hd * self.capacity * size_of::<f32>(),
        };
        let scouts = self.scouts.iter().map(|(_, scout)| scout.bytes());
        held as u64 + scouts.sum::<u64>()
    }

    /// Forgets the newest token of a cache on a GPU, where the next one is written over it.
    pub(crate) fn take_back(&mut self) {
        self.len -= 1;
        let len = self.len;
        self.stamps.retain(|(first, _)| *first < len);
        self.tokens.truncate(len);
    }

    /// Tells which token the newest one is, if it was computed before anybody knew.
    pub(crate) fn resolve(&mut self, token: u32) {
        self.tokens.push(token);
    }

    /// `(first token, what computed it and those after it)`, in order.
    #[must_use]
    pub fn stamps(&self) -> &[(usize, Stamp)] {
        &self.stamps
    }

    /// Whether every entry was computed under what `steering` has for it.
    #[must_use]
    pub fn is_all(&self, steering: &Steering) -> bool {
        let nexts = self.stamps.iter().skip(1).map(|(first, _)| *first);
        let ends = nexts.chain([self.len]);
        self.stamps.iter().zip(ends).all(|((first, stamp), end)| {
            let pieces = steering.pieces(*first..end, self.prompt);
            let mut there = pieces
                .iter()
                .map(|piece| steering.at(piece.start, self.prompt));
            there.all(|steering| steering.stamp() == stamp)
        })
    }

    /// Keys (rotated) and values of every layer, each `[kv_heads, len, hd]`.
    pub(super) fn into_layers(self) -> Vec<(Tensor<3>, Tensor<3>)> {
        if let Some(layers) = &self.on_host {
            return layers.iter().map(|layer| self.tensors(layer)).collect();
        }
        let held = |rows: Tensor<3>| rows.narrow(1, 0, self.len);
        let layers = self.layers.into_iter().flatten();
        layers
            .map(|(keys, values)| (held(keys), held(values)))
            .collect()
    }

    /// The cache of a gate's scout, empty at first; it is put back with [`Self::put_scout`].
    pub(super) fn take_scout(&mut self, gate: &Rc<Gate>, empty: impl Fn() -> Self) -> Self {
        let at = self.scouts.iter().position(|(of, _)| Rc::ptr_eq(of, gate));
        at.map_or_else(empty, |at| self.scouts.swap_remove(at).1)
    }

    /// Keeps the cache of a gate's scout.
    pub(super) fn put_scout(&mut self, gate: &Rc<Gate>, scout: Self) {
        self.scouts.push((gate.clone(), scout));
    }

    /// Opens a forward pass over `t` new tokens.
    pub(super) fn begin(&mut self, t: usize, stamp: &Stamp) -> Turn {
        let start = self.len;
        self.len += t;
        self.capacity = self.capacity.max(self.len.next_multiple_of(GROWTH));
        if self.stamps.last().is_none_or(|(_, last)| last != stamp) {
            self.stamps.push((start, stamp.clone()));
        }
        Turn::new([start, t, self.capacity], self.on_gpu, &self.device)
    }

    /// Writes `k`, `v` `[kv_heads, t, hd]` of one layer and returns all keys and values
    /// `[kv_heads, start + t, hd]`.
    pub(super) fn append(
        &mut self,
        layer: usize,
        turn: &Turn,
        k: Tensor<3>,
        v: Tensor<3>,
    ) -> (Tensor<3>, Tensor<3>) {
        let [heads, hd] = self.width;
        let end = turn.start + turn.t;
        if k.is_autodiff() || v.is_autodiff() {
            // A graph would keep every copy of a room that is written into.
            let joined = match self.layers[layer].take() {
                Some((keys, values)) => {
                    let before = |old: Tensor<3>| old.narrow(1, 0, turn.start);
                    (
                        Tensor::cat(vec![before(keys), k], 1),
                        Tensor::cat(vec![before(values), v], 1),
                    )
                }
                None => (k, v),
            };
            self.layers[layer] = Some(joined.clone());
            return joined;
        }
        if self.on_host.is_some() {
            let [k, v] = [k, v].map(|new| to_host(new.swap_dims(0, 1)));
            self.append_on_host(layer, turn, &k, &v);
            return self.tensors(self.on_host(layer));
        }
        let (keys, values) = self.take(layer, turn);
        let write = |old: Tensor<3>, new| old.slice_assign([0..heads, turn.start..end, 0..hd], new);
        let (keys, values) = (write(keys, k), write(values, v));
        self.put(layer, keys.clone(), values.clone());
        (keys.narrow(1, 0, end), values.narrow(1, 0, end))
    }

    /// Room for this turn's keys and values of one layer, `[kv_heads, capacity, hd]`, with what
    /// is there. Taken out of the slot, so that a write finds the buffer unshared and stays in
    /// place; [`Self::put`] brings it back.
    pub(super) fn take(&mut self, layer: usize, turn: &Turn) -> (Tensor<3>, Tensor<3>) {
        let [heads, hd] = self.width;
        let grown = |old: Option<Tensor<3>>| match old {
            Some(old) if old.dims()[1] == turn.capacity => old,
            old => {
                let room = Tensor::zeros([heads, turn.capacity, hd], &self.device);
                match old {
                    Some(old) => {
                        let rows = old.dims()[1];
                        room.slice_assign([0..heads, 0..rows, 0..hd], old)
                    }
                    None => room,
                }
            }
        };
        let (keys, values) = self.layers[layer].take().unzip();
        (grown(keys), grown(values))
    }

    /// Puts a layer's keys and values back.
    pub(super) fn put(&mut self, layer: usize, keys: Tensor<3>, values: Tensor<3>) {
        self.layers[layer] = Some((keys, values));
    }

    /// Writes `k`, `v` `[t, kv_heads, hd]` of one layer of a cache in host memory.
    pub(super) fn append_on_host(&mut self, layer: usize, turn: &Turn, k: &[f32], v: &[f32]) {
        let hd = self.width[1];
        let Some(layers) = &mut self.on_host else {
            return;
        };
        let heads = layers[layer].len();
        for (at, (key, value)) in k.chunks_exact(hd).zip(v.chunks_exact(hd)).enumerate() {
            let history = &mut layers[layer][at % heads];
            history.reserve(turn.capacity);
            history.push(key, value);
        }
    }

    /// Keys and values of each key head of a layer of a cache in host memory.
    pub(super) fn on_host(&self, layer: usize) -> &[History] {
        let layers = self.on_host.as_ref();
        layers.map_or(&[], |layers| &layers[layer])
    }

    /// Whether keys and values lie in host memory, rounded.
    pub(super) fn is_on_host(&self) -> bool {
        self.on_host.is_some()
    }

    /// Goes on with tensors, which can carry gradients: what is there becomes a constant.
    pub(super) fn leave_host(&mut self) {
        let Some(layers) = self.on_host.take() else {
            return;
        };
        if self.len > 0 {
            let held = layers.iter().map(|layer| Some(self.tensors(layer)));
            self.layers = held.collect();
        }
    }

    /// Keys and values of a layer in host memory as tensors `[kv_heads, len, hd]`.
    fn tensors(&self, histories: &[History]) -> (Tensor<3>, Tensor<3>) {
        let [heads, hd] = self.width;
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for history in histories {
            let [key_rows, value_rows] = history.widen();
            keys.extend(key_rows);
            values.extend(value_rows);
        }
        let tensor = |rows: Vec<f32>| {
            let shape = [heads, rows.len() / (heads * hd), hd];
            Tensor::from_data(TensorData::new(rows, shape), &self.device)
        };
        (tensor(keys), tensor(values))
    }
}
