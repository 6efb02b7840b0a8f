//! Products of quantised matrices against plain arithmetic, with any of the products.

use steering_playground::quantised::{Activations, BLOCK, Block, Packed, Product, Width};

/// A plain random number generator: the tests repeat exactly.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// Between −1 and 1.
    fn unit(&mut self) -> f32 {
        self.next() as f32 / (1_u32 << 30) as f32 - 1.0
    }
}

/// A row-major matrix of blocks, and the same packed.
pub fn matrix(
    random: &mut Random,
    [rows, cols]: [usize; 2],
    width: Width,
    offset: bool,
    product: Option<Product>,
) -> (Vec<Block>, Packed) {
    let mut packed = Packed::new_for(rows, cols, width, product).expect("memory");
    let mut blocks = Vec::new();
    for row in 0..rows {
        for at in 0..cols / BLOCK {
            let block = Block {
                codes: std::array::from_fn(|_| match width {
                    Width::Four => (random.next() & 15) as i8,
                    Width::Eight => random.next() as i8,
                    Width::FourInHalves => unreachable!("halves have factors of their own"),
                }),
                scale: random.unit() / 100.0,
                offset: if offset { random.unit() / 10.0 } else { 0.0 },
            };
            packed.set(row, at, &block);
            blocks.push(block);
        }
    }
    (blocks, packed)
}

/// The 16-bit codes and the factor of 32 activations, as plainly as can be.
fn rounded(x: &[f32]) -> (Vec<i32>, f32) {
    let factor = x.iter().fold(0.0_f32, |max, x| max.max(x.abs())) / 32639.0;
    let inverse = if factor > 0.0 { 1.0 / factor } else { 0.0 };
    (
        x.iter()
            .map(|x| (x * inverse).round_ties_even() as i32)
            .collect(),
        factor,
    )
}

/// Every shape that meets another branch: one token, two, tiles of four and what is left over; rows
/// that fill no panel; 4 and 8 bits; with and without offsets.
pub fn products_equal_plain_integers_bit_for_bit(product: Option<Product>) {
    let mut random = Random(1);
    for (rows, cols) in [(8, 32), (13, 96), (1, 64), (192, 576), (24, 1536)] {
        for width in [Width::Four, Width::Eight] {
            for offset in [false, true] {
                let (blocks, packed) = matrix(&mut random, [rows, cols], width, offset, product);
                let dense = packed.dequantise();
                for tokens in [1, 2, 3, 4, 17] {
                    let mut x: Vec<f32> = (0..tokens * cols).map(|_| random.unit()).collect();
                    // One column far above the others, as models have, and one empty block.
                    x[cols / 2] *= 1000.0;
                    x[cols - BLOCK..cols].fill(0.0);
                    let y = packed.product(&Activations::new(&x, cols));
                    assert_eq!(
                        y.len(),
                        tokens * rows,
                        "an output of each row for each token"
                    );
                    for (at, found) in y.iter().enumerate() {
                        let (token, row) = (at / rows, at % rows);
                        let x = &x[token * cols..][..cols];
                        let blocks = &blocks[row * cols / BLOCK..][..cols / BLOCK];
                        let mut sum = 0.0_f32;
                        for (block, x) in blocks.iter().zip(x.chunks(BLOCK)) {
                            let (codes, factor) = rounded(x);
                            let pairs = block.codes.iter().zip(&codes);
                            let dot: i32 = pairs.map(|(w, x)| i32::from(*w) * x).sum();
                            let mut y = dot as f32 * (block.scale * factor);
                            if offset {
                                y += block.offset * (factor * codes.iter().sum::<i32>() as f32);
                            }
                            sum += y;
                        }
                        assert_eq!(
                            found.to_bits(),
                            sum.to_bits(),
                            "{width:?}, row {row} of {rows}x{cols}, token {token} of {tokens}"
                        );
                        // Each activation is off by half a step of its block at most.
                        let w = &dense[row * cols..][..cols];
                        let each = || w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
                        let (exact, size): (f64, f64) = (each().sum(), each().map(f64::abs).sum());
                        let rounding: f32 = w
                            .chunks(BLOCK)
                            .zip(x.chunks(BLOCK))
                            .map(|(w, x)| {
                                w.iter().map(|w| w.abs()).sum::<f32>() * rounded(x).1 / 2.0
                            })
                            .sum();
                        let bound = f64::from(rounding) + 1e-5 * size;
                        assert!(
                            (f64::from(*found) - exact).abs() <= bound,
                            "{found} is not {exact} within {bound:.1e}"
                        );
                    }
                }
            }
        }
    }
}
