//! Blocks of every kind with random codes and tame factors.

use steering_playground::weights::quant::Kind;

/// Numbers without a pattern, in −1 … 1.
pub fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// So many numbers, as a file has them.
pub fn blocks(kind: Kind, numbers: usize, seed: u32) -> Vec<u8> {
    // Where the f16 of a block are, and what the file's own small integers multiply them by.
    let (halves, by): (&[usize], f32) = match kind {
        Kind::F32 | Kind::F64 | Kind::F16 | Kind::BF16 => {
            let numbers = noise(numbers, seed).into_iter().map(|x| x * 0.1);
            return match kind {
                Kind::F64 => numbers.flat_map(|x| f64::from(x).to_le_bytes()).collect(),
                Kind::F16 => numbers
                    .flat_map(|x| half::f16::from_f32(x).to_le_bytes())
                    .collect(),
                Kind::BF16 => numbers
                    .flat_map(|x| half::bf16::from_f32(x).to_le_bytes())
                    .collect(),
                _ => numbers.flat_map(f32::to_le_bytes).collect(),
            };
        }
        Kind::Q4_0 | Kind::Q5_0 => (&[0], 1.0),
        Kind::Q8_0 | Kind::IQ4_NL => (&[0], 0.1),
        Kind::Q4_1 | Kind::Q5_1 => (&[0, 2], 1.0),
        Kind::Q4_K | Kind::Q5_K => (&[0, 2], 1.0 / 16.0),
        Kind::Q2_K => (&[80, 82], 1.0 / 4.0),
        Kind::Q3_K => (&[108], 1.0 / 16.0),
        Kind::Q6_K => (&[208], 1.0 / 256.0),
    };
    let count = numbers / kind.block_len();
    let random = noise(count * (kind.block_bytes() + 2), seed);
    let mut random = random.into_iter();
    let mut next = || random.next().expect("enough");
    let mut bytes = Vec::with_capacity(count * kind.block_bytes());
    for _ in 0..count {
        let mut block: Vec<u8> = (0..kind.block_bytes())
            .map(|_| (next() * 127.0) as i8 as u8)
            .collect();
        for &at in halves {
            let x = half::f16::from_f32(next() * 0.1 * by);
            block[at..at + 2].copy_from_slice(&x.to_le_bytes());
        }
        bytes.extend(block);
    }
    bytes
}
