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
//! halves.rs       the same products where each 16 columns have a scale and an offset
//! bytes.rs        the same products from bytes, for hosts that have them
//! lanes.rs        128 bits of SIMD
//! wide.rs         256 bits, where an x86 processor has them
//! ```

mod activations;
mod bytes;
mod halves;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod wide;

pub use activations::Activations;
pub use activations::{largest, round};
pub use bytes::{Call, FourInBytes, Product, WORDS, byte_product, multiply_bytes_with};
pub use halves::Halves;
pub use lanes::{Floats, Pairs, Sums};

use std::ops::Range;

use activations::{Tiled, Tiles};
use halves::HalvesOfPanel;

/// Columns that share a scale.
pub const BLOCK: usize = 32;

/// SIMD registers of four rows each.
const REGISTERS: usize = 4;

/// Rows that are stored side by side.
const PANEL: usize = 4 * REGISTERS;

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
    /// 0 to 15, of blocks that are [`Halves`].
    FourInHalves,
    /// −128 to 127.
    Eight,
}

/// The codes of some columns of a panel: word `[register][lane]` belongs to row `4·register + lane`,
/// its halves of 16 bits to even and odd columns.
type Group = [[i32; 4]; REGISTERS];

/// One block of a panel: columns `8g` to `8g + 7` in group g, a pair in each of four nibbles.
type Four = [Group; 4];

/// One block of a panel: columns `4g` to `4g + 3` in group g, a pair in each of two bytes.
type Eight = [Group; 8];

/// One block of a panel, whose groups hold P pairs of columns.
trait Codes<const P: usize> {
    /// The groups in order.
    fn groups(&self) -> &[Group];
    /// The codes of each pair of columns as pairs of 16 bits, for some of a group's registers.
    fn widen<const R: usize>(words: &[[i32; 4]; R]) -> [[Pairs; R]; P];
    /// Sets the codes of a row.
    fn set(&mut self, row: usize, codes: &[i8; BLOCK]);
    /// Reads one code.
    fn get(&self, row: usize, column: usize) -> i8;
}

impl Codes<4> for Four {
    fn groups(&self) -> &[Group] {
        self
    }

    #[inline(always)]
    fn widen<const R: usize>(words: &[[i32; 4]; R]) -> [[Pairs; R]; 4] {
        let mut wide = [[Pairs::splat(0); R]; 4];
        for (register, words) in words.iter().enumerate() {
            let words = Pairs::load(*words);
            wide[0][register] = words.nibbles::<0>();
            wide[1][register] = words.nibbles::<1>();
            wide[2][register] = words.nibbles::<2>();
            wide[3][register] = words.nibbles::<3>();
        }
        wide
    }

    fn set(&mut self, row: usize, codes: &[i8; BLOCK]) {
        for (group, codes) in self.iter_mut().zip(codes.as_chunks::<8>().0) {
            let mut word = 0;
            for (column, code) in codes.iter().enumerate() {
                word |= i32::from(code & 15) << (column % 2 * 16 + column / 2 * 4);
            }
            group[row / 4][row % 4] = word;
        }
    }

    fn get(&self, row: usize, column: usize) -> i8 {
        let shift = column % 2 * 16 + column / 2 % 4 * 4;
        (self[column / 8][row / 4][row % 4] >> shift & 15) as i8
    }
}

impl Codes<2> for Eight {
    fn groups(&self) -> &[Group] {
        self
    }

    #[inline(always)]
    fn widen<const R: usize>(words: &[[i32; 4]; R]) -> [[Pairs; R]; 2] {
        let mut wide = [[Pairs::splat(0); R]; 2];
        for (register, words) in words.iter().enumerate() {
            let words = Pairs::load(*words);
            wide[0][register] = words.low_bytes();
            wide[1][register] = words.high_bytes();
        }
        wide
    }

    fn set(&mut self, row: usize, codes: &[i8; BLOCK]) {
        for (group, codes) in self.iter_mut().zip(codes.as_chunks::<4>().0) {
            let [a, b, c, d] = codes.map(|code| code as u8);
            // The halves of a word are even and odd columns.
            group[row / 4][row % 4] = i32::from_le_bytes([a, c, b, d]);
        }
    }

    fn get(&self, row: usize, column: usize) -> i8 {
        let shift = column % 2 * 16 + column / 2 % 2 * 8;
        (self[column / 4][row / 4][row % 4] >> shift) as i8
    }
}

/// A quantised matrix W `[rows, cols]`: panels of rows, in each the blocks in order.
#[derive(Debug)]
pub struct Packed {
    rows: usize,
    cols: usize,
    codes: PackedCodes,
    /// `[panels · cols / 32]`; of halves d, which eight blocks share.
    scales: Vec<[f32; PANEL]>,
    /// Likewise; empty while all are 0. Of halves m.
    offsets: Vec<[f32; PANEL]>,
}

#[derive(Debug)]
enum PackedCodes {
    Four(Vec<Four>),
    FourInBytes(Vec<FourInBytes>, Product),
    FourInHalves(Vec<Four>, Vec<HalvesOfPanel>),
    Eight(Vec<Eight>),
}

impl Packed {
    /// A matrix of zeros, to be filled with [`Self::set`]. `None` if there is not enough memory, or
    /// when `cols` is not a multiple of 32.
    #[must_use]
    pub fn new(rows: usize, cols: usize, width: Width) -> Option<Self> {
        Self::new_for(rows, cols, width, byte_product())
    }

    /// [`Self::new`], with codes of four bits laid out for `product` if there is one.
    #[must_use]
    pub fn new_for(
        rows: usize,
        cols: usize,
        width: Width,
        product: Option<Product>,
    ) -> Option<Self> {
        if cols == 0 || !cols.is_multiple_of(BLOCK) {
            return None;
        }
        let panels = rows.div_ceil(PANEL);
        let count = panels.checked_mul(cols / BLOCK)?;
        let scales = match width {
            Width::FourInHalves => panels * (cols / BLOCK).div_ceil(halves::TOGETHER),
            _ => count,
        };
        let zeros = [[[0; 4]; REGISTERS]; 4];
        let codes = match (width, product) {
            (Width::Four, None) => PackedCodes::Four(filled(count, zeros)?),
            (Width::FourInHalves, _) => {
                let halves = filled(count, HalvesOfPanel::default())?;
                PackedCodes::FourInHalves(filled(count, zeros)?, halves)
            }
            (Width::Four, Some(product)) => {
                PackedCodes::FourInBytes(filled(count, FourInBytes::ZERO)?, product)
            }
            (Width::Eight, _) => PackedCodes::Eight(filled(count, [[[0; 4]; REGISTERS]; 8])?),
        };
        let offsets = match codes {
            PackedCodes::FourInBytes(..) | PackedCodes::FourInHalves(..) => {
                filled(scales, [0.0; PANEL])?
            }
            _ => Vec::new(),
        };
        Some(Self {
            rows,
            cols,
            codes,
            scales: filled(scales, [0.0; PANEL])?,
            offsets,
        })
    }

    /// Writes the block of columns `32·block ..` of a row.
    pub fn set(&mut self, row: usize, block: usize, values: &Block) {
        let (at, lane) = self.place(row, block);
        match &mut self.codes {
            PackedCodes::Four(codes) => codes[at].set(lane, &values.codes),
            PackedCodes::FourInHalves(..) => unreachable!("halves have factors of their own"),
            PackedCodes::FourInBytes(codes, _) => codes[at].set(lane, &values.codes),
            PackedCodes::Eight(codes) => codes[at].set(lane, &values.codes),
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

    /// Memory, in bytes; a product reads all of it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let codes = match &self.codes {
            PackedCodes::Four(codes) => size_of_val(codes.as_slice()),
            PackedCodes::FourInHalves(codes, halves) => {
                size_of_val(codes.as_slice()) + size_of_val(halves.as_slice())
            }
            PackedCodes::FourInBytes(codes, _) => size_of_val(codes.as_slice()),
            PackedCodes::Eight(codes) => size_of_val(codes.as_slice()),
        };
        let scales = size_of_val(self.scales.as_slice()) + size_of_val(self.offsets.as_slice());
        (codes + scales) as u64
    }

    /// Appends one row in f32: `code·scale + offset`, the file's own numbers.
    pub fn row(&self, row: usize, values: &mut Vec<f32>) {
        for block in 0..self.cols / BLOCK {
            let (at, lane) = self.place(row, block);
            let codes: [i8; BLOCK] = match &self.codes {
                PackedCodes::Four(codes) | PackedCodes::FourInHalves(codes, _) => {
                    std::array::from_fn(|n| codes[at].get(lane, n))
                }
                PackedCodes::FourInBytes(codes, _) => {
                    std::array::from_fn(|n| codes[at].get(lane, n))
                }
                PackedCodes::Eight(codes) => std::array::from_fn(|n| codes[at].get(lane, n)),
            };
            if let PackedCodes::FourInHalves(_, halves) = &self.codes {
                let shared = self.shared(row / PANEL, block);
                let (d, m) = (self.scales[shared][lane], self.offsets[shared][lane]);
                values.extend(codes.iter().enumerate().map(|(n, &code)| {
                    let (factor, offset) = halves[at].get(lane, n / (BLOCK / 2));
                    d * factor * f32::from(code) + m * offset
                }));
            } else {
                let scale = self.scales[at][lane];
                let offset = self.offsets.get(at).map_or(0.0, |offsets| offsets[lane]);
                values.extend(codes.map(|code| f32::from(code) * scale + offset));
            }
        }
    }

    /// Some rows in f32 `[rows, cols]`.
    #[must_use]
    pub fn widen(&self, rows: Range<usize>) -> Vec<f32> {
        let mut values = Vec::with_capacity(rows.len() * self.cols);
        rows.for_each(|row| self.row(row, &mut values));
        values
    }

    /// W in f32 `[rows, cols]`, for methods whose formula needs it.
    #[must_use]
    pub fn dequantise(&self) -> Vec<f32> {
        self.widen(0..self.rows)
    }

    /// `x Wᵀ [t, rows]` for `x [t, cols]`.
    #[must_use]
    pub fn product(&self, x: &Activations) -> Vec<f32> {
        #[cfg(target_arch = "x86_64")]
        if let Some(y) = self.product_in_256(x) {
            return y;
        }
        match &self.codes {
            PackedCodes::Four(codes) => self.product_with(codes, x),
            PackedCodes::FourInHalves(codes, halves) => self.product_in_halves(codes, halves, x),
            PackedCodes::FourInBytes(codes, product) => self.product_in_bytes(codes, *product, x),
            PackedCodes::Eight(codes) => self.product_with(codes, x),
        }
    }

    fn product_in_bytes(
        &self,
        codes: &[FourInBytes],
        product: Product,
        x: &Activations,
    ) -> Vec<f32> {
        let (tile, tiles) = x.tiles.shape();
        let width = self.rows.next_multiple_of(PANEL);
        let mut y = vec![0.0; tiles * tile * width];
        product(Call {
            codes,
            scales: &self.scales,
            offsets: &self.offsets,
            x: x.words(),
            y: &mut y,
            blocks: self.cols / BLOCK,
            tiles,
            tile,
        });
        y.truncate(x.tokens() * width);
        // Rows of padding are left out.
        if width == self.rows {
            y
        } else {
            y.chunks_exact(width)
                .flat_map(|y| &y[..self.rows])
                .copied()
                .collect()
        }
    }

    fn product_with<C: Codes<P>, const P: usize>(&self, codes: &[C], x: &Activations) -> Vec<f32> {
        let mut values = vec![0.0; x.tokens() * self.rows];
        let y = &mut values;
        match (&x.tiles, self.offsets.is_empty()) {
            (Tiles::One(x), true) => self.few::<C, P, 1, 4, false>(codes, x, y),
            (Tiles::One(x), false) => self.few::<C, P, 1, 4, true>(codes, x, y),
            (Tiles::Three(x), true) => self.few::<C, P, 3, 2, false>(codes, x, y),
            (Tiles::Three(x), false) => self.few::<C, P, 3, 2, true>(codes, x, y),
            (Tiles::Two(x), true) if x.count == 1 => self.few::<C, P, 2, 2, false>(codes, x, y),
            (Tiles::Two(x), false) if x.count == 1 => self.few::<C, P, 2, 2, true>(codes, x, y),
            (Tiles::Two(x), true) => self.many::<C, P, 2, false>(codes, x, y),
            (Tiles::Two(x), false) => self.many::<C, P, 2, true>(codes, x, y),
        }
        values
    }

    /// One tile of tokens: every weight is read once into registers, R of the panel's at a time, so
    /// that the sums of all tokens are in registers too.
    fn few<C: Codes<P>, const P: usize, const T: usize, const R: usize, const OFFSET: bool>(
        &self,
        codes: &[C],
        x: &Tiled<T>,
        y: &mut [f32],
    ) {
        // A number that the compiler does not know keeps it from unrolling the loop over groups,
        // which would then need more registers than there are.
        let groups = std::hint::black_box(BLOCK / 2 / P);
        let blocks = self.cols / BLOCK;
        for (panel, codes) in codes.chunks_exact(blocks).enumerate() {
            let scales = &self.scales[panel * blocks..][..blocks];
            let offsets = if OFFSET {
                &self.offsets[panel * blocks..][..blocks]
            } else {
                scales
            };
            let mut sums = [[Floats::ZERO; REGISTERS]; T];
            let weights = codes.iter().zip(scales.iter().zip(offsets));
            for ((codes, (scales, offsets)), (pairs, factors)) in
                weights.zip(x.pairs.iter().zip(&x.factors))
            {
                let (pairs, _) = pairs.as_chunks::<P>();
                for first in (0..REGISTERS).step_by(R) {
                    let mut dots = [[Sums::ZERO; R]; T];
                    for (group, pairs) in codes.groups().iter().zip(pairs).take(groups) {
                        let words = group.as_chunks::<R>().0;
                        for (w, x) in C::widen(&words[first / R]).iter().zip(pairs) {
                            add_products(&mut dots, w, x);
                        }
                    }
                    add_block::<T, R, OFFSET>(&mut sums, first, &dots, scales, offsets, factors);
                }
            }
            for (token, sums) in sums.iter().enumerate() {
                self.write(y, token, panel, sums);
            }
        }
    }

    /// Many tiles of tokens: a block of weights is widened once for all of them.
    fn many<C: Codes<P>, const P: usize, const T: usize, const OFFSET: bool>(
        &self,
        codes: &[C],
        x: &Tiled<T>,
        y: &mut [f32],
    ) {
        // As in `few`.
        let steps = std::hint::black_box(BLOCK / 2);
        let blocks = self.cols / BLOCK;
        let mut sums = vec![[[Floats::ZERO; REGISTERS]; T]; x.count];
        for (panel, codes) in codes.chunks_exact(blocks).enumerate() {
            for (block, codes) in codes.iter().enumerate() {
                let at = panel * blocks + block;
                let scales = &self.scales[at];
                let offsets = if OFFSET { &self.offsets[at] } else { scales };
                let mut wide = [[Pairs::splat(0); REGISTERS]; BLOCK / 2];
                let (pieces, _) = wide.as_chunks_mut::<P>();
                for (group, wide) in codes.groups().iter().zip(pieces) {
                    *wide = C::widen(group);
                }
                let tiles = block * x.count..(block + 1) * x.count;
                let tiles = x.pairs[tiles.clone()].iter().zip(&x.factors[tiles]);
                for ((pairs, factors), sums) in tiles.zip(&mut sums) {
                    let mut dots = [[Sums::ZERO; REGISTERS]; T];
                    for (w, x) in wide.iter().zip(pairs).take(steps) {
                        add_products(&mut dots, w, x);
                    }
                    add_block::<T, REGISTERS, OFFSET>(sums, 0, &dots, scales, offsets, factors);
                }
            }
            for (token, sums) in sums.as_flattened_mut().iter_mut().enumerate() {
                self.write(y, token, panel, sums);
                *sums = [Floats::ZERO; REGISTERS];
            }
        }
    }

    /// Writes the results of a panel; rows and tokens of padding are left out.
    fn write(&self, y: &mut [f32], token: usize, panel: usize, sums: &[Floats; REGISTERS]) {
        let first = panel * PANEL;
        let count = PANEL.min(self.rows - first);
        let at = token * self.rows + first;
        if let Some(y) = y.get_mut(at..at + count) {
            let (fours, rest) = y.as_chunks_mut::<4>();
            for (y, sums) in fours.iter_mut().zip(sums) {
                *y = sums.store();
            }
            if let Some(sums) = sums.get(fours.len()) {
                rest.copy_from_slice(&sums.store()[..rest.len()]);
            }
        }
    }
}

/// `dots += w x` for one pair of columns, all rows of a panel and T tokens.
#[inline(always)]
fn add_products<const T: usize, const R: usize>(
    dots: &mut [[Sums; R]; T],
    w: &[Pairs; R],
    x: &[i32; T],
) {
    for t in 0..T {
        let x = Pairs::splat(x[t]);
        for register in 0..R {
            dots[t][register] = dots[t][register].add_products(w[register], x);
        }
    }
}

/// `sums += scale·factor·dots + offset·(factor·Σ code)` for all rows of a panel and T tokens.
#[inline(always)]
fn add_block<const T: usize, const R: usize, const OFFSET: bool>(
    sums: &mut [[Floats; REGISTERS]; T],
    first: usize,
    dots: &[[Sums; R]; T],
    scales: &[f32; PANEL],
    offsets: &[f32; PANEL],
    [factors, factor_sums]: &[[f32; T]; 2],
) {
    let (scales, offsets) = (scales.as_chunks().0, offsets.as_chunks().0);
    for register in 0..R {
        let (scales, offsets) = (
            Floats::load(scales[first + register]),
            Floats::load(offsets[first + register]),
        );
        for t in 0..T {
            let mut y = dots[t][register].to_floats() * (scales * Floats::splat(factors[t]));
            if OFFSET {
                y = y + offsets * Floats::splat(factor_sums[t]);
            }
            sums[t][first + register] = sums[t][first + register] + y;
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
