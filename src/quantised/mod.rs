//! Matrices that stay quantised in memory, and products with them in integers.
//!
//! ```text
//! W[o, k] = scale·code + offset        code: 4 bits (0 … 15) or 8 bits (−128 … 127)
//! x[t, k] ≈ factor·code                code: 16 bits
//! y[t, o] = Σ over blocks of 32 of  scale·factor·Σ code·code + offset·factor·Σ code
//! ```
//!
//! The codes are the file's own, so the weights lose nothing. Activations of 16 bits lose 2⁻¹⁶ of
//! the largest in their block, and cost the same as 8 bits on 128-bit SIMD, whose integer product
//! is of 16-bit pairs. The inner sums are exact; the outer sum runs in f32 over the blocks in
//! order, whatever the number of tokens: one token at a time gives the bits of all at once.
//!
//! ```text
//! activations.rs  floats -> 16-bit codes
//! lanes.rs        the SIMD instructions, on each machine
//! ```

mod activations;
mod lanes;

pub use activations::Activations;

use activations::{Tiled, Tiles};
use lanes::{Floats, Ints};

/// Columns that share a scale.
pub const BLOCK: usize = 32;

/// Rows that are stored side by side: two SIMD registers of four.
const PANEL: usize = 8;

/// One block of a row, as a file's format has it: `scale·code + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// 0 to 15, or −128 to 127.
    pub codes: [i8; BLOCK],
    /// Step between codes.
    pub scale: f32,
    /// The value of code 0.
    pub offset: f32,
}

/// Bits of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 0 to 15.
    Four,
    /// −128 to 127.
    Eight,
}

/// The codes of one block of eight rows. Word `[g][half][r]` belongs to row `4·half + r`; its
/// two halves of 16 bits hold even and odd columns.
trait Codes: Copy {
    /// All bits 0.
    const EMPTY: Self;
    /// The codes of columns `2n, 2n + 1` as pairs of 16 bits, for rows 0 to 3 and 4 to 7.
    fn widen(&self) -> [[Ints; 2]; BLOCK / 2];
    /// Sets one code.
    fn set(&mut self, row: usize, column: usize, code: i8);
    /// Reads one code.
    fn get(&self, row: usize, column: usize) -> i8;
}

/// Group g has columns 8g to 8g + 7, a pair of columns for each of the four nibbles.
type Four = [[[i32; 4]; 2]; 4];
/// Group g has columns 4g to 4g + 3, a pair of columns for each of the two bytes.
type Eight = [[[i32; 4]; 2]; 8];

impl Codes for Four {
    const EMPTY: Self = [[[0; 4]; 2]; 4];

    #[inline(always)]
    fn widen(&self) -> [[Ints; 2]; BLOCK / 2] {
        let mut wide = [[Ints::splat(0); 2]; BLOCK / 2];
        for (group, wide) in self.iter().zip(wide.as_chunks_mut::<4>().0) {
            for half in 0..2 {
                let words = Ints::load(group[half]);
                wide[0][half] = words.nibbles::<0>();
                wide[1][half] = words.nibbles::<1>();
                wide[2][half] = words.nibbles::<2>();
                wide[3][half] = words.nibbles::<3>();
            }
        }
        wide
    }

    fn set(&mut self, row: usize, column: usize, code: i8) {
        let shift = column % 2 * 16 + column / 2 % 4 * 4;
        self[column / 8][row / 4][row % 4] |= i32::from(code & 15) << shift;
    }

    fn get(&self, row: usize, column: usize) -> i8 {
        let shift = column % 2 * 16 + column / 2 % 4 * 4;
        (self[column / 8][row / 4][row % 4] >> shift & 15) as i8
    }
}

impl Codes for Eight {
    const EMPTY: Self = [[[0; 4]; 2]; 8];

    #[inline(always)]
    fn widen(&self) -> [[Ints; 2]; BLOCK / 2] {
        let mut wide = [[Ints::splat(0); 2]; BLOCK / 2];
        for (group, wide) in self.iter().zip(wide.as_chunks_mut::<2>().0) {
            for half in 0..2 {
                let words = Ints::load(group[half]);
                wide[0][half] = words.low_bytes();
                wide[1][half] = words.high_bytes();
            }
        }
        wide
    }

    fn set(&mut self, row: usize, column: usize, code: i8) {
        let shift = column % 2 * 16 + column / 2 % 2 * 8;
        self[column / 4][row / 4][row % 4] |= i32::from(code as u8) << shift;
    }

    fn get(&self, row: usize, column: usize) -> i8 {
        let shift = column % 2 * 16 + column / 2 % 2 * 8;
        (self[column / 4][row / 4][row % 4] >> shift) as i8
    }
}

/// A quantised matrix W `[rows, cols]`: panels of eight rows, in each the blocks in order.
#[derive(Debug)]
pub struct Packed {
    rows: usize,
    cols: usize,
    codes: PackedCodes,
    /// `[panels · cols / 32]`
    scales: Vec<[f32; PANEL]>,
    /// Likewise; empty while all are 0.
    offsets: Vec<[f32; PANEL]>,
}

#[derive(Debug)]
enum PackedCodes {
    Four(Vec<Four>),
    Eight(Vec<Eight>),
}

impl Packed {
    /// A matrix of zeros, to be filled with [`Self::set`]. `None` if the memory is not there, or
    /// when `cols` is not a multiple of 32.
    #[must_use]
    pub fn new(rows: usize, cols: usize, width: Width) -> Option<Self> {
        if cols == 0 || !cols.is_multiple_of(BLOCK) {
            return None;
        }
        let count = rows.div_ceil(PANEL).checked_mul(cols / BLOCK)?;
        let codes = match width {
            Width::Four => PackedCodes::Four(filled(count, Four::EMPTY)?),
            Width::Eight => PackedCodes::Eight(filled(count, Eight::EMPTY)?),
        };
        let scales = filled(count, [0.0; PANEL])?;
        Some(Self {
            rows,
            cols,
            codes,
            scales,
            offsets: Vec::new(),
        })
    }

    /// Writes the block of columns `32·block ..` of a row, once.
    pub fn set(&mut self, row: usize, block: usize, values: &Block) {
        let (at, lane) = self.place(row, block);
        let each = values.codes.iter().enumerate();
        match &mut self.codes {
            PackedCodes::Four(codes) => each.for_each(|(n, &code)| codes[at].set(lane, n, code)),
            PackedCodes::Eight(codes) => each.for_each(|(n, &code)| codes[at].set(lane, n, code)),
        }
        self.scales[at][lane] = values.scale;
        if values.offset != 0.0 {
            if self.offsets.is_empty() {
                self.offsets = vec![[0.0; PANEL]; self.scales.len()];
            }
            self.offsets[at][lane] = values.offset;
        }
    }

    fn place(&self, row: usize, block: usize) -> (usize, usize) {
        (row / PANEL * (self.cols / BLOCK) + block, row % PANEL)
    }

    /// `[rows, cols]`
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    /// Memory, in bytes: all of it is read for a product.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let codes = match &self.codes {
            PackedCodes::Four(codes) => size_of_val(codes.as_slice()),
            PackedCodes::Eight(codes) => size_of_val(codes.as_slice()),
        };
        let scales = size_of_val(self.scales.as_slice()) + size_of_val(self.offsets.as_slice());
        (codes + scales) as u64
    }

    /// Appends one row in f32: `code·scale + offset`, the file's own numbers.
    pub fn row(&self, row: usize, values: &mut Vec<f32>) {
        for block in 0..self.cols / BLOCK {
            let (at, lane) = self.place(row, block);
            let scale = self.scales[at][lane];
            let offset = self.offsets.get(at).map_or(0.0, |offsets| offsets[lane]);
            values.extend((0..BLOCK).map(|column| {
                let code = match &self.codes {
                    PackedCodes::Four(codes) => codes[at].get(lane, column),
                    PackedCodes::Eight(codes) => codes[at].get(lane, column),
                };
                f32::from(code) * scale + offset
            }));
        }
    }

    /// W in f32 `[rows, cols]`, for those whose formula needs it.
    #[must_use]
    pub fn dequantise(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.rows * self.cols);
        (0..self.rows).for_each(|row| self.row(row, &mut values));
        values
    }

    /// `x Wᵀ [t, rows]` for `x [t, cols]`.
    #[must_use]
    pub fn product(&self, x: &Activations) -> Vec<f32> {
        let mut y = vec![0.0; x.tokens() * self.rows];
        match &self.codes {
            PackedCodes::Four(codes) => self.product_with(codes, x, &mut y),
            PackedCodes::Eight(codes) => self.product_with(codes, x, &mut y),
        }
        y
    }

    fn product_with<C: Codes>(&self, codes: &[C], x: &Activations, y: &mut [f32]) {
        match (&x.tiles, self.offsets.is_empty()) {
            (Tiles::One(x), true) => self.few::<C, 1, false>(codes, x, y),
            (Tiles::One(x), false) => self.few::<C, 1, true>(codes, x, y),
            (Tiles::Two(x), true) => self.few::<C, 2, false>(codes, x, y),
            (Tiles::Two(x), false) => self.few::<C, 2, true>(codes, x, y),
            (Tiles::Four(x), true) => self.many::<C, 4, false>(codes, x, y),
            (Tiles::Four(x), false) => self.many::<C, 4, true>(codes, x, y),
        }
    }

    /// One tile of tokens: every weight is read once and used from registers.
    fn few<C: Codes, const T: usize, const OFFSET: bool>(
        &self,
        codes: &[C],
        x: &Tiled<T>,
        y: &mut [f32],
    ) {
        let blocks = self.cols / BLOCK;
        let panels = codes
            .chunks_exact(blocks)
            .zip(self.scales.chunks_exact(blocks));
        for (panel, (codes, scales)) in panels.enumerate() {
            let offsets = if OFFSET {
                &self.offsets[panel * blocks..][..blocks]
            } else {
                scales
            };
            let mut sums = [[Floats::splat(0.0); 2]; T];
            let each = codes.iter().zip(scales.iter().zip(offsets));
            for ((codes, (scales, offsets)), (pairs, factors)) in
                each.zip(x.pairs.iter().zip(&x.factors))
            {
                let mut dots = [[Ints::splat(0); 2]; T];
                for (w, pair) in codes.widen().iter().zip(pairs) {
                    for t in 0..T {
                        let x = Ints::splat(pair[t]);
                        dots[t] = [
                            dots[t][0].add_products(w[0], x),
                            dots[t][1].add_products(w[1], x),
                        ];
                    }
                }
                add_block::<T, OFFSET>(&mut sums, &dots, scales, offsets, factors);
            }
            for (t, sums) in sums.iter().enumerate() {
                self.write(y, t, panel, sums.map(Floats::store));
            }
        }
    }

    /// Many tiles of tokens: a block of weights is widened once and meets all of them.
    fn many<C: Codes, const T: usize, const OFFSET: bool>(
        &self,
        codes: &[C],
        x: &Tiled<T>,
        y: &mut [f32],
    ) {
        let blocks = self.cols / BLOCK;
        let mut sums = vec![[[[0.0; 4]; 2]; T]; x.count];
        for (panel, codes) in codes.chunks_exact(blocks).enumerate() {
            for (block, codes) in codes.iter().enumerate() {
                let at = panel * blocks + block;
                let offsets = if OFFSET {
                    &self.offsets[at]
                } else {
                    &self.scales[at]
                };
                let wide = codes.widen().map(|halves| halves.map(Ints::store));
                let tiles = block * x.count..(block + 1) * x.count;
                let each = x.pairs[tiles.clone()].iter().zip(&x.factors[tiles]);
                for ((pairs, factors), sums) in each.zip(&mut sums) {
                    let mut dots = [[Ints::splat(0); 2]; T];
                    for (w, pair) in wide.iter().zip(pairs) {
                        let w = w.map(Ints::load);
                        for t in 0..T {
                            let x = Ints::splat(pair[t]);
                            dots[t] = [
                                dots[t][0].add_products(w[0], x),
                                dots[t][1].add_products(w[1], x),
                            ];
                        }
                    }
                    let mut so_far = sums.map(|sums| sums.map(Floats::load));
                    add_block::<T, OFFSET>(&mut so_far, &dots, &self.scales[at], offsets, factors);
                    *sums = so_far.map(|sums| sums.map(Floats::store));
                }
            }
            for (token, sums) in sums.as_flattened_mut().iter_mut().enumerate() {
                self.write(y, token, panel, std::mem::take(sums));
            }
        }
    }

    /// Writes the results of a panel; rows and tokens that only fill up are left out.
    fn write(&self, y: &mut [f32], token: usize, panel: usize, sums: [[f32; 4]; 2]) {
        let first = panel * PANEL;
        let count = PANEL.min(self.rows - first);
        let at = token * self.rows + first;
        if let Some(y) = y.get_mut(at..at + count) {
            y.copy_from_slice(&sums.as_flattened()[..count]);
        }
    }
}

/// `sums += scale·factor·dots + offset·(factor·Σ code)` for eight rows and T tokens.
#[inline(always)]
fn add_block<const T: usize, const OFFSET: bool>(
    sums: &mut [[Floats; 2]; T],
    dots: &[[Ints; 2]; T],
    scales: &[f32; PANEL],
    offsets: &[f32; PANEL],
    [factors, factor_sums]: &[[f32; T]; 2],
) {
    for half in 0..2 {
        let four = |x: &[f32; PANEL]| {
            Floats::load([
                x[4 * half],
                x[4 * half + 1],
                x[4 * half + 2],
                x[4 * half + 3],
            ])
        };
        let (scales, offsets) = (four(scales), four(offsets));
        for t in 0..T {
            let mut y = dots[t][half].to_floats() * (scales * Floats::splat(factors[t]));
            if OFFSET {
                y = y + offsets * Floats::splat(factor_sums[t]);
            }
            sums[t][half] = sums[t][half] + y;
        }
    }
}

/// A vector of equal elements, if there is memory for it.
fn filled<X: Clone>(count: usize, value: X) -> Option<Vec<X>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(count).ok()?;
    vec.resize(count, value);
    Some(vec)
}
