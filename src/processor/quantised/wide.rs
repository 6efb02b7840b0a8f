//! The same products 256 bits at a time, where an x86 processor has AVX2: twice the rows in an instruction, the
//! same bits, as integers are exact and every row's floats are added in the same order.

use std::arch::x86_64::{__m256, __m256i};
use std::array::{from_mut, from_ref};

use pulp::x86::V3;

use super::activations::{Activations, Tiled, Tiles};
use super::{BLOCK, Eight, Four, PANEL, Packed, PackedCodes};

/// SIMD registers of eight rows each.
const REGISTERS: usize = PANEL / 8;

/// Tiles whose sums are in registers together.
const TOGETHER: usize = 2;

/// The codes of a block, each pair of columns as pairs of 16 bits.
type Wide = [[__m256i; REGISTERS]; BLOCK / 2];

/// The sums of a tile.
type Sums<const T: usize> = [[__m256; REGISTERS]; T];

/// What a block of weights has besides its codes.
#[derive(Clone, Copy)]
struct Factors {
    scales: [__m256; REGISTERS],
    offsets: Option<[__m256; REGISTERS]>,
}

impl Packed {
    /// `x Wᵀ [t, rows]`, where the processor and the layout of the codes allow it.
    pub(super) fn product_in_256(&self, x: &Activations) -> Option<Vec<f32>> {
        let simd = V3::try_new()?;
        Some(match &self.codes {
            PackedCodes::Four(codes) => self.all_tokens(simd, codes, x),
            PackedCodes::Eight(codes) => self.all_tokens(simd, codes, x),
            PackedCodes::FourInBytes(..) | PackedCodes::FourInHalves(..) => return None,
        })
    }

    fn all_tokens<C: Widened<P>, const P: usize>(
        &self,
        simd: V3,
        codes: &[C],
        x: &Activations,
    ) -> Vec<f32> {
        let mut values = vec![0.0; x.tokens() * self.rows];
        let y = &mut values;
        match &x.tiles {
            Tiles::One(x) => simd.vectorize(|| self.panels(simd, codes, x, y)),
            Tiles::Two(x) => simd.vectorize(|| self.panels(simd, codes, x, y)),
            Tiles::Three(x) => simd.vectorize(|| self.panels(simd, codes, x, y)),
        }
        values
    }

    /// A block of weights is widened once for all tiles of tokens.
    #[inline(always)]
    fn panels<C: Widened<P>, const P: usize, const T: usize>(
        &self,
        simd: V3,
        codes: &[C],
        x: &Tiled<T>,
        y: &mut [f32],
    ) {
        let zero = simd.avx._mm256_setzero_ps();
        let blocks = self.cols / BLOCK;
        let mut sums = vec![[[zero; REGISTERS]; T]; x.count];
        for (panel, codes) in codes.chunks_exact(blocks).enumerate() {
            for (block, codes) in codes.iter().enumerate() {
                let at = panel * blocks + block;
                let wide = codes.widened(simd);
                let factors = Factors {
                    scales: bytemuck::cast(self.scales[at]),
                    offsets: self.offsets.get(at).map(|it| bytemuck::cast(*it)),
                };
                let tiles = block * x.count..(block + 1) * x.count;
                let (pairs, each) = (&x.pairs[tiles.clone()], &x.factors[tiles]);
                let (some, rest) = sums.as_chunks_mut::<TOGETHER>();
                let (some_pairs, rest_pairs) = pairs.as_chunks::<TOGETHER>();
                let (some_each, rest_each) = each.as_chunks::<TOGETHER>();
                for ((sums, pairs), each) in some.iter_mut().zip(some_pairs).zip(some_each) {
                    add_tiles(simd, sums, &wide, pairs, each, &factors);
                }
                for ((sums, pairs), each) in rest.iter_mut().zip(rest_pairs).zip(rest_each) {
                    let (pairs, each) = (from_ref(pairs), from_ref(each));
                    add_tiles(simd, from_mut(sums), &wide, pairs, each, &factors);
                }
            }
            for (token, sums) in sums.as_flattened_mut().iter_mut().enumerate() {
                let values: [f32; PANEL] = bytemuck::cast(*sums);
                *sums = [zero; REGISTERS];
                let first = panel * PANEL;
                let count = PANEL.min(self.rows - first);
                let at = token * self.rows + first;
                if let Some(y) = y.get_mut(at..at + count) {
                    y.copy_from_slice(&values[..count]);
                }
            }
        }
    }
}

/// A block of a panel, whose groups hold P pairs of columns.
trait Widened<const P: usize> {
    /// The codes, a pair of columns after the other.
    fn widened(&self, simd: V3) -> Wide;
}

impl Widened<4> for Four {
    #[inline(always)]
    fn widened(&self, simd: V3) -> Wide {
        let V3 { avx, avx2, .. } = simd;
        let nibble = avx._mm256_set1_epi16(15);
        let mut wide = [[avx._mm256_setzero_si256(); REGISTERS]; BLOCK / 2];
        for (group, wide) in self.iter().zip(wide.as_chunks_mut::<4>().0) {
            let words: [__m256i; REGISTERS] = bytemuck::cast(*group);
            for register in 0..REGISTERS {
                let word = words[register];
                wide[0][register] = avx2._mm256_and_si256(word, nibble);
                wide[1][register] =
                    avx2._mm256_and_si256(avx2._mm256_srli_epi16::<4>(word), nibble);
                wide[2][register] =
                    avx2._mm256_and_si256(avx2._mm256_srli_epi16::<8>(word), nibble);
                wide[3][register] = avx2._mm256_srli_epi16::<12>(word);
            }
        }
        wide
    }
}

impl Widened<2> for Eight {
    #[inline(always)]
    fn widened(&self, simd: V3) -> Wide {
        let V3 { avx, avx2, .. } = simd;
        let mut wide = [[avx._mm256_setzero_si256(); REGISTERS]; BLOCK / 2];
        for (group, wide) in self.iter().zip(wide.as_chunks_mut::<2>().0) {
            let words: [__m256i; REGISTERS] = bytemuck::cast(*group);
            for register in 0..REGISTERS {
                let word = words[register];
                wide[0][register] = avx2._mm256_srai_epi16::<8>(avx2._mm256_slli_epi16::<8>(word));
                wide[1][register] = avx2._mm256_srai_epi16::<8>(word);
            }
        }
        wide
    }
}

/// `sums += scale·factor·Σ code·code + offset·(factor·Σ code)` for N tiles.
#[inline(always)]
fn add_tiles<const T: usize, const N: usize>(
    simd: V3,
    sums: &mut [Sums<T>; N],
    wide: &Wide,
    pairs: &[[[i32; T]; BLOCK / 2]; N],
    each: &[[[f32; T]; 2]; N],
    factors: &Factors,
) {
    let (avx, avx2) = (simd.avx, simd.avx2);
    let mut dots = [[[avx._mm256_setzero_si256(); REGISTERS]; T]; N];
    for (column, wide) in wide.iter().enumerate() {
        for n in 0..N {
            for t in 0..T {
                let x = avx._mm256_set1_epi32(pairs[n][column][t]);
                for register in 0..REGISTERS {
                    let products = avx2._mm256_madd_epi16(wide[register], x);
                    let dots = &mut dots[n][t][register];
                    *dots = avx2._mm256_add_epi32(*dots, products);
                }
            }
        }
    }
    for n in 0..N {
        let [of_tokens, code_sums] = &each[n];
        for t in 0..T {
            let (factor, code_sum) = (
                avx._mm256_set1_ps(of_tokens[t]),
                avx._mm256_set1_ps(code_sums[t]),
            );
            for register in 0..REGISTERS {
                let scale = avx._mm256_mul_ps(factors.scales[register], factor);
                let mut y = avx._mm256_mul_ps(avx._mm256_cvtepi32_ps(dots[n][t][register]), scale);
                if let Some(offsets) = &factors.offsets {
                    y = avx._mm256_add_ps(y, avx._mm256_mul_ps(offsets[register], code_sum));
                }
                let sum = &mut sums[n][t][register];
                *sum = avx._mm256_add_ps(*sum, y);
            }
        }
    }
}
