//! Codes of four bits beside activations in bytes, for a host that multiplies bytes faster than pairs of
//! 16 bits: WebAssembly's relaxed SIMD. A 16-bit code is `256·high + low` with two signed bytes, so
//! the sums, and all that follows, have the same bits.

use std::sync::OnceLock;

use super::{BLOCK, Group, PANEL};

/// One block of a panel: columns `8g` to `8g + 7` in group g, of which the low nibbles of a word's
/// bytes hold the first four.
#[derive(Debug, Clone)]
#[repr(transparent)]
pub struct FourInBytes([Group; 4]);

impl FourInBytes {
    pub(super) const ZERO: Self = Self([[[0; 4]; PANEL / 4]; 4]);

    fn shift(column: usize) -> usize {
        column % 4 * 8 + column / 4 % 2 * 4
    }

    pub(super) fn set(&mut self, row: usize, codes: &[i8; BLOCK]) {
        for (group, codes) in self.0.iter_mut().zip(codes.as_chunks::<8>().0) {
            let mut word = 0;
            for (column, code) in codes.iter().enumerate() {
                word |= i32::from(code & 15) << Self::shift(column);
            }
            group[row / 4][row % 4] = word;
        }
    }

    pub(super) fn get(&self, row: usize, column: usize) -> i8 {
        (self.0[column / 8][row / 4][row % 4] >> Self::shift(column) & 15) as i8
    }
}

/// 32-bit words of one block of one token: its high bytes, its low bytes, the factor, and the factor
/// times the sum of the codes.
pub const WORDS: usize = 2 * BLOCK / 4 + 2;

/// All that a product reads and writes.
#[derive(Debug)]
pub struct Call<'a> {
    /// `[panels · blocks]`
    pub codes: &'a [FourInBytes],
    /// `[panels · blocks]`
    pub scales: &'a [[f32; PANEL]],
    /// `[panels · blocks]`
    pub offsets: &'a [[f32; PANEL]],
    /// `[blocks, tiles, WORDS, tile]`
    pub x: &'a [i32],
    /// `[tiles · tile, panels · 16]`, to be written.
    pub y: &'a mut [f32],
    /// Blocks of a row.
    pub blocks: usize,
    /// Tiles of tokens.
    pub tiles: usize,
    /// Tokens of a tile: 1, 2 or 3.
    pub tile: usize,
}

impl Call<'_> {
    /// Panels of rows.
    #[must_use]
    pub fn panels(&self) -> usize {
        self.codes.len() / self.blocks
    }
}

/// Computes a product.
pub type Product = fn(Call<'_>);

static PRODUCT: OnceLock<Product> = OnceLock::new();

/// Sets the product of matrices that are packed from now on; only the first call counts.
pub fn multiply_bytes_with(product: Product) {
    PRODUCT.get_or_init(|| product);
}

/// The product of bytes, if there is one.
#[must_use]
pub fn byte_product() -> Option<Product> {
    PRODUCT.get().copied()
}
