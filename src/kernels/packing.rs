//! From a file's blocks to the buffers that kernels read ([`format`](super::format)).

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::format::{BLOCK, Factors, Format, Numbers};
use crate::device::gpu_binding_bytes;
use crate::weights::quant::{Kind, Part, dequantise, parts};

/// Rows that lie in the same buffers.
#[derive(Debug, Clone)]
pub(super) struct Slab {
    /// `[i/32, pieces, rows, at once]` 32-bit words.
    pub words: Tensor<1, Int>,
    /// `[i/32, rows]` factors and offsets, and what belongs to them; one word for floats. Behind them, if
    /// there are any, the biases, f32: a launch has no room for a buffer more.
    pub scales: Tensor<1, Int>,
    pub rows: usize,
}

/// Matrices on the way to a GPU: blocks are regrouped one by one, as the file is read, and rows are sent as soon
/// as they are complete.
#[derive(Debug)]
pub struct Packing<'a> {
    pub(super) format: Format,
    /// The kinds of the matrices on top of each other, and the rows of each.
    matrices: Vec<(Kind, usize)>,
    biases: &'a [f32],
    pub(super) o: usize,
    pub(super) i: usize,
    device: &'a Device,
    /// Rows of a slab, but for the last.
    rows: usize,
    pub(super) slabs: Vec<Slab>,
    /// What is not sent yet.
    words: Vec<i32>,
    scales: Vec<i32>,
    /// The matrix that is read, its first row, and how many of its blocks were read.
    current: usize,
    first: usize,
    next: usize,
}

/// Rows of a slab are a multiple of these.
pub(super) const LEAST_ROWS: usize = 64;

impl<'a> Packing<'a> {
    /// Room for matrices of i columns on top of each other, each of so many rows, with a bias for every row or
    /// none.
    #[must_use]
    pub fn new(
        matrices: &[(Kind, usize)],
        biases: &'a [f32],
        i: usize,
        device: &'a Device,
    ) -> Self {
        let format = Format::of(matrices.iter().map(|(kind, _)| *kind));
        let row_bytes = 4 * (i / BLOCK * format.words()) as u64;
        let most = gpu_binding_bytes() / row_bytes.max(1);
        Self {
            format,
            matrices: matrices.to_vec(),
            biases,
            o: matrices.iter().map(|(_, rows)| rows).sum(),
            i,
            device,
            rows: usize::try_from(most).unwrap_or(usize::MAX),
            slabs: Vec::new(),
            words: Vec::new(),
            scales: Vec::new(),
            current: 0,
            first: 0,
            next: 0,
        }
        .in_slabs_of(usize::MAX)
    }

    /// So many rows in one buffer at most, or as many as the GPU's limits allow. Matrices on top of each other
    /// are not cut.
    #[must_use]
    pub fn in_slabs_of(mut self, rows: usize) -> Self {
        let rows = rows.min(self.rows);
        self.rows = if rows >= self.o || self.matrices.len() > 1 {
            self.o
        } else {
            (rows / LEAST_ROWS * LEAST_ROWS).max(LEAST_ROWS)
        };
        self
    }

    /// Takes the next whole blocks, as the file has them; `row` tells where a matrix's row lies. Rows of a
    /// matrix that is cut keep their order.
    pub fn take(&mut self, mut bytes: &[u8], row: impl Fn(usize) -> usize) {
        let blocks = self.i / BLOCK;
        while let Some(&(kind, rows)) = self.matrices.get(self.current) {
            // As far as the slab and the matrix go.
            let (sent, of_slab) = self.slab();
            let end = rows.min(sent + of_slab - self.first);
            if self.words.is_empty() {
                self.words = vec![0; blocks * self.format.words() * of_slab];
                self.scales = vec![0; self.format.scales(of_slab, self.i)];
            }
            let left = (end * blocks - self.next) * BLOCK / kind.block_len() * kind.block_bytes();
            let (own, rest) = bytes.split_at(left.min(bytes.len()));
            self.take_of(kind, own, &row);
            bytes = rest;
            if self.next < end * blocks {
                return;
            }
            if end == rows {
                self.current += 1;
                self.first += rows;
                self.next = 0;
            }
            if self.first + self.next / blocks == sent + of_slab {
                self.send();
            }
        }
    }

    /// The rows of the slab that is being filled: where they begin, and how many.
    fn slab(&self) -> (usize, usize) {
        let sent = self.rows * self.slabs.len();
        (sent, self.rows.min(self.o - sent))
    }

    fn send(&mut self) {
        let (first, rows) = self.slab();
        let [words, mut scales] = [&mut self.words, &mut self.scales].map(std::mem::take);
        let biases = self.biases.iter().skip(first).take(rows);
        scales.extend(biases.map(|bias| bias.to_bits().cast_signed()));
        let int = |words: Vec<i32>| {
            let length = words.len();
            Tensor::from_data(TensorData::new(words, [length]), self.device)
        };
        self.slabs.push(Slab {
            words: int(words),
            scales: int(scales),
            rows,
        });
    }

    /// Whether products add biases.
    pub(super) fn has_biases(&self) -> bool {
        !self.biases.is_empty()
    }

    fn take_of(&mut self, kind: Kind, bytes: &[u8], row: &impl Fn(usize) -> usize) {
        let blocks = self.i / BLOCK;
        let (first, mut next) = (self.first, self.next);
        let (sent, _) = self.slab();
        let mut place = || {
            let place = (first + row(next / blocks) - sent, next % blocks);
            next += 1;
            place
        };
        // The file's table was checked when it was opened: these are whole blocks.
        if self.format.codes() {
            let told = parts(kind, bytes, |part| self.put(place(), kind, part));
            debug_assert!(told.is_ok(), "whole blocks");
        } else if self.format.in_f32() && kind != Kind::F32 {
            let values = dequantise(kind, bytes).unwrap_or_default();
            for block in values.chunks_exact(BLOCK) {
                self.put_words(place(), block.iter().map(|value| value.to_bits()));
            }
        } else {
            for block in bytes.chunks_exact(BLOCK * kind.block_bytes()) {
                let (words, _) = block.as_chunks();
                self.put_words(place(), words.iter().map(|word| u32::from_le_bytes(*word)));
            }
        }
        self.next = next;
    }

    fn put(&mut self, (row, block): (usize, usize), kind: Kind, part: &Part) {
        let format = self.format;
        let mut part = *part;
        if let Some(up) = format.zero().checked_sub(kind.zero()) {
            part.codes = part.codes.map(|code| code + up);
        } else {
            part = part.from_zero(kind);
        }
        let (codes, _) = part.codes.as_chunks();
        let codes: [u32; 8] = std::array::from_fn(|four| u32::from_le_bytes(codes[four]));
        let (_, rows) = self.slab();
        let at = block * rows + row;
        let [doubles, high, _] = format.places(rows, self.i);
        let halves = u32::from(part.d) | u32::from(part.m) << 16;
        match format.factors {
            Factors::Bytes { together, .. } => {
                let ([a, c], [b, d]) = (part.factors, part.offsets);
                self.scales[at] = i32::from_le_bytes([a, b, c, d].map(i8::cast_unsigned));
                let double = doubles + block / together * rows + row;
                self.scales[double] = halves.cast_signed();
            }
            _ => self.scales[at] = halves.cast_signed(),
        }
        if format.numbers == Numbers::Eight {
            return self.put_words((row, block), codes.into_iter());
        }
        let low = |four| codes[four] & 0x0f0f_0f0f | (codes[four + 4] & 0x0f0f_0f0f) << 4;
        self.put_words((row, block), (0..4).map(low));
        for (four, codes) in codes.into_iter().enumerate() {
            let above = codes >> 4 & 0x0f0f_0f0f;
            match format.high() {
                0 => {}
                1 => self.scales[high + at] |= (above << four).cast_signed(),
                _ => {
                    let plane = high + (2 * block + four / 4) * rows + row;
                    self.scales[plane] |= (above << (2 * (four % 4))).cast_signed();
                }
            }
        }
    }

    fn put_words(&mut self, (row, block): (usize, usize), mut words: impl Iterator<Item = u32>) {
        let (_, rows) = self.slab();
        let (at_once, pieces) = (self.format.at_once(), self.format.pieces());
        for piece in 0..pieces {
            let to = ((block * pieces + piece) * rows + row) * at_once;
            let to = self.words[to..to + at_once].iter_mut();
            to.zip(&mut words)
                .for_each(|(to, word)| *to = word.cast_signed());
        }
    }

    /// Whether the numbers are f32 there.
    #[must_use]
    pub fn in_f32(&self) -> bool {
        self.format.in_f32()
    }
}
