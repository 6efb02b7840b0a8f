//! Products where each 16 columns have a scale and an offset, as in Q2_K and Q3_K. Both are small integers times
//! two floats that eight blocks share, so the numbers stay as small as in the file.

use super::activations::{Activations, Tiled, Tiles};
use super::{
    BLOCK, Codes, Floats, Four, PANEL, Packed, PackedCodes, Pairs, REGISTERS, Sums, add_block,
    add_products,
};

/// Blocks of a row that share d and m: 256 columns.
pub(super) const TOGETHER: usize = 8;

/// One block of a row: `d·factor·code + m·offset`, with the factor and offset of each half of the columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Halves {
    /// 0 to 15.
    pub codes: [i8; BLOCK],
    /// The same in eight blocks, from a multiple of eight on.
    pub d: f32,
    /// Likewise.
    pub m: f32,
    /// Of each half.
    pub factors: [i8; 2],
    /// Likewise.
    pub offsets: [i8; 2],
}

/// The factors and offsets of a block of a panel: of each half those of each row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HalvesOfPanel([[[i8; PANEL]; 2]; 2]);

impl HalvesOfPanel {
    /// The factor and the offset of a row.
    pub(super) fn get(&self, lane: usize, half: usize) -> (f32, f32) {
        let [factors, offsets] = &self.0[half];
        (f32::from(factors[lane]), f32::from(offsets[lane]))
    }
}

impl Packed {
    /// As [`Self::set`], for matrices of halves.
    pub fn set_halves(&mut self, row: usize, block: usize, values: &Halves) {
        let (at, lane) = self.place(row, block);
        let shared = self.shared(row / PANEL, block);
        let PackedCodes::FourInHalves(codes, halves) = &mut self.codes else {
            unreachable!("a matrix of halves")
        };
        codes[at].set(lane, &values.codes);
        for half in 0..2 {
            halves[at].0[half][0][lane] = values.factors[half];
            halves[at].0[half][1][lane] = values.offsets[half];
        }
        self.scales[shared][lane] = values.d;
        self.offsets[shared][lane] = values.m;
    }

    /// Where the d and m of a block lie.
    pub(super) fn shared(&self, panel: usize, block: usize) -> usize {
        panel * (self.cols / BLOCK).div_ceil(TOGETHER) + block / TOGETHER
    }

    pub(super) fn product_in_halves(
        &self,
        codes: &[Four],
        halves: &[HalvesOfPanel],
        x: &Activations,
    ) -> Vec<f32> {
        let mut values = vec![0.0; x.tokens() * self.rows];
        let y = &mut values;
        match &x.tiles {
            Tiles::One(x) => self.tiles_in_halves(codes, halves, x, y),
            Tiles::Two(x) => self.tiles_in_halves(codes, halves, x, y),
            Tiles::Three(x) => self.tiles_in_halves(codes, halves, x, y),
        }
        values
    }

    /// A block of weights is widened once for all tiles of tokens.
    fn tiles_in_halves<const T: usize>(
        &self,
        codes: &[Four],
        halves: &[HalvesOfPanel],
        x: &Tiled<T>,
        y: &mut [f32],
    ) {
        // A number that the compiler does not know keeps it from unrolling the loop over pairs.
        let steps = std::hint::black_box(BLOCK / 4);
        let blocks = self.cols / BLOCK;
        let mut sums = vec![[[Floats::ZERO; REGISTERS]; T]; x.count];
        for (panel, codes) in codes.chunks_exact(blocks).enumerate() {
            for (block, codes) in codes.iter().enumerate() {
                let shared = self.shared(panel, block);
                let (d, m) = (&self.scales[shared], &self.offsets[shared]);
                let of_block = halves[panel * blocks + block].0.map(|[factors, offsets]| {
                    let times = |by: &[f32; PANEL], of: [i8; PANEL]| -> [f32; PANEL] {
                        std::array::from_fn(|lane| by[lane] * f32::from(of[lane]))
                    };
                    (times(d, factors), times(m, offsets))
                });
                let mut wide = [[Pairs::splat(0); REGISTERS]; BLOCK / 2];
                for (group, wide) in codes.groups().iter().zip(wide.as_chunks_mut().0) {
                    *wide = Four::widen(group);
                }
                for (tile, sums) in sums.iter_mut().enumerate() {
                    let at = block * x.count + tile;
                    for (half, (scales, offsets)) in of_block.iter().enumerate() {
                        let mut dots = [[Sums::ZERO; REGISTERS]; T];
                        let first = half * BLOCK / 4;
                        let pairs = wide[first..].iter().zip(&x.pairs[at][first..]);
                        for (w, x) in pairs.take(steps) {
                            add_products(&mut dots, w, x);
                        }
                        let factors = [x.factors[at][0], x.half_sums[at][half]];
                        add_block::<T, REGISTERS, true>(sums, 0, &dots, scales, offsets, &factors);
                    }
                }
            }
            for (token, sums) in sums.as_flattened_mut().iter_mut().enumerate() {
                self.write(y, token, panel, sums);
                *sums = [Floats::ZERO; REGISTERS];
            }
        }
    }
}
