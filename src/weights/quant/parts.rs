//! Codes and their factors, as the file has them: what GPUs and integer products read.

use half::f16;
use processor::quantised::{BLOCK, Block, Halves, Width};

use super::{
    IQ4_NL_VALUES, Kind, check_whole_blocks, dequantise, factor_and_offset, factor_of_16, fifth,
    nibble, nibble_of_16, six_bits, split, two_bits,
};
use crate::error::Result;

/// 32 numbers of a row as their format has them. Number n is `d·factor·(code − zero) + m·offset`, with
/// [`Kind::zero`] and the factor and offset of the n / 16-th half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// From 0 to 2^[`Kind::bits`] − 1.
    pub codes: [u8; BLOCK],
    /// The bits of an f16.
    pub d: u16,
    /// Likewise.
    pub m: u16,
    /// Of each half.
    pub factors: [i8; 2],
    /// Likewise.
    pub offsets: [i8; 2],
}

/// Calls `each` with every 32 numbers, in order. Floats have no codes: `each` is not called.
///
/// # Errors
/// As [`dequantise`].
pub fn parts(kind: Kind, bytes: &[u8], mut each: impl FnMut(&Part)) -> Result<()> {
    check_whole_blocks(kind, bytes)?;
    // Formats with one d, and some with one m, for 32 numbers.
    let plain = |codes: [u8; BLOCK], d: [u8; 2], m: [u8; 2]| Part {
        codes,
        d: u16::from_le_bytes(d),
        m: u16::from_le_bytes(m),
        factors: [1; 2],
        offsets: [1; 2],
    };
    match kind {
        Kind::F32 | Kind::F16 | Kind::BF16 | Kind::F64 => {}
        Kind::Q4_0 => for_each(bytes, |&[d0, d1, ref q @ ..]: &[u8; 18]| {
            each(&plain(from(|n| nibble_of_16(q, n)), [d0, d1], [0; 2]));
        }),
        Kind::Q4_1 => for_each(bytes, |&[d0, d1, m0, m1, ref q @ ..]: &[u8; 20]| {
            each(&plain(from(|n| nibble_of_16(q, n)), [d0, d1], [m0, m1]));
        }),
        Kind::Q5_0 => for_each(bytes, |&[d0, d1, h0, h1, h2, h3, ref q @ ..]: &[u8; 22]| {
            let high = u32::from_le_bytes([h0, h1, h2, h3]);
            let code = |n| nibble_of_16(q, n) | fifth(high, n);
            each(&plain(from(code), [d0, d1], [0; 2]));
        }),
        Kind::Q5_1 => for_each(
            bytes,
            |&[d0, d1, m0, m1, h0, h1, h2, h3, ref q @ ..]: &[u8; 24]| {
                let high = u32::from_le_bytes([h0, h1, h2, h3]);
                let code = |n| nibble_of_16(q, n) | fifth(high, n);
                each(&plain(from(code), [d0, d1], [m0, m1]));
            },
        ),
        Kind::Q8_0 => for_each(bytes, |&[d0, d1, ref q @ ..]: &[u8; 34]| {
            each(&plain(from(|n| q[n] ^ 0x80), [d0, d1], [0; 2]));
        }),
        Kind::IQ4_NL => for_each(bytes, |&[d0, d1, ref q @ ..]: &[u8; 18]| {
            let code = |n| IQ4_NL_VALUES[usize::from(nibble_of_16(q, n))] as u8 ^ 0x80;
            each(&plain(from(code), [d0, d1], [0; 2]));
        }),
        Kind::Q2_K => for_each(bytes, |block: &[u8; 84]| {
            let [scales @ .., d0, d1, m0, m1] = block;
            let (scales, q): (&[u8; 16], &[u8; 64]) = split(scales);
            for group in 0..8 {
                let halves = [scales[2 * group], scales[2 * group + 1]];
                each(&Part {
                    codes: from(|n| two_bits(q, 32 * group + n)),
                    d: u16::from_le_bytes([*d0, *d1]),
                    m: negative(*m0, *m1),
                    factors: halves.map(|half| (half & 15) as i8),
                    offsets: halves.map(|half| (half >> 4) as i8),
                });
            }
        }),
        Kind::Q3_K => for_each(bytes, |block: &[u8; 110]| {
            let [body @ .., d0, d1] = block;
            let (high, rest): (&[u8; 32], &[u8; 76]) = split(body);
            let (q, scales): (&[u8; 64], &[u8; 12]) = split(rest);
            for group in 0..8 {
                let third = |n: usize| (high[n] >> group & 1) << 2;
                each(&Part {
                    codes: from(|n| two_bits(q, 32 * group + n) | third(n)),
                    d: u16::from_le_bytes([*d0, *d1]),
                    m: 0,
                    factors: [0, 1].map(|half| factor_of_16(scales, 2 * group + half)),
                    offsets: [0; 2],
                });
            }
        }),
        Kind::Q4_K => for_each(bytes, |&[d0, d1, m0, m1, ref body @ ..]: &[u8; 144]| {
            let (scales, q): (&[u8; 12], &[u8; 128]) = split(body);
            for group in 0..8 {
                let (factor, offset) = factor_and_offset(scales, group);
                each(&Part {
                    codes: from(|n| nibble(q, 32 * group + n)),
                    d: u16::from_le_bytes([d0, d1]),
                    m: negative(m0, m1),
                    factors: [factor as i8; 2],
                    offsets: [offset as i8; 2],
                });
            }
        }),
        Kind::Q5_K => for_each(bytes, |&[d0, d1, m0, m1, ref body @ ..]: &[u8; 176]| {
            let (scales, rest): (&[u8; 12], &[u8; 160]) = split(body);
            let (high, q): (&[u8; 32], &[u8; 128]) = split(rest);
            for group in 0..8 {
                let (factor, offset) = factor_and_offset(scales, group);
                each(&Part {
                    codes: from(|n| nibble(q, 32 * group + n) | (high[n] >> group & 1) << 4),
                    d: u16::from_le_bytes([d0, d1]),
                    m: negative(m0, m1),
                    factors: [factor as i8; 2],
                    offsets: [offset as i8; 2],
                });
            }
        }),
        Kind::Q6_K => for_each(bytes, |block: &[u8; 210]| {
            let [body @ .., d0, d1] = block;
            let (low, rest): (&[u8; 128], &[u8; 80]) = split(body);
            let (high, scales): (&[u8; 64], &[u8; 16]) = split(rest);
            for group in 0..8 {
                each(&Part {
                    codes: from(|n| six_bits(low, high, 32 * group + n)),
                    d: u16::from_le_bytes([*d0, *d1]),
                    m: 0,
                    factors: [0, 1].map(|half| scales[2 * group + half] as i8),
                    offsets: [0; 2],
                });
            }
        }),
    }
    Ok(())
}

impl Part {
    /// With codes that stand for 0 without an offset, where there are offsets. This is exact, since the kind's own
    /// code for 0 is a power of two.
    #[must_use]
    pub fn from_zero(mut self, kind: Kind) -> Self {
        if kind.zero() > 0 {
            let d = widened(self.d);
            self.m = f16::from_f32(-f32::from(kind.zero()) * d).to_bits();
            self.offsets = self.factors;
        }
        self
    }
}

fn widened(half: u16) -> f32 {
    f16::from_bits(half).to_f32()
}

/// Calls `each` with the codes, scale and offset of every 32 numbers, in order. Q6_K, which has two scales for
/// them, is rounded to 8 bits first; for the others `scale·code + offset` is what [`dequantise`] gives. It is not
/// called for floats, which have no codes, and for formats that are [`halves`].
///
/// # Errors
/// As [`dequantise`].
pub fn blocks(kind: Kind, bytes: &[u8], mut each: impl FnMut(Block)) -> Result<()> {
    let (zero, offset) = match kind.packed_width() {
        // Codes of four bits stay as they are.
        Some(Width::Four) => (0, f32::from(kind.zero())),
        Some(Width::Eight) => (kind.zero(), 0.0),
        _ => return check_whole_blocks(kind, bytes),
    };
    if !kind.keeps_codes() {
        check_whole_blocks(kind, bytes)?;
        for bytes in bytes.chunks_exact(kind.block_bytes()) {
            let values = dequantise(kind, bytes)?;
            let (values, _) = values.as_chunks();
            for values in values {
                each(rounded(values));
            }
        }
        return Ok(());
    }
    parts(kind, bytes, |part| {
        let scale = widened(part.d) * f32::from(part.factors[0]);
        each(Block {
            codes: part.codes.map(|code| code.wrapping_sub(zero) as i8),
            scale,
            offset: widened(part.m) * f32::from(part.offsets[0]) - offset * scale,
        });
    })
}

/// The same for formats with two scales for 32 numbers of at most four bits.
///
/// # Errors
/// As [`dequantise`].
pub fn halves(kind: Kind, bytes: &[u8], mut each: impl FnMut(Halves)) -> Result<()> {
    if kind.packed_width() != Some(Width::FourInHalves) {
        return check_whole_blocks(kind, bytes);
    }
    let zero = f32::from(kind.zero());
    parts(kind, bytes, |part| {
        let d = widened(part.d);
        // As in `from_zero`.
        let (m, offsets) = if zero > 0.0 {
            (-zero * d, part.factors)
        } else {
            (widened(part.m), part.offsets)
        };
        each(Halves {
            codes: part.codes.map(|code| code as i8),
            d,
            m,
            factors: part.factors,
            offsets,
        });
    })
}

fn from(code: impl FnMut(usize) -> u8) -> [u8; BLOCK] {
    std::array::from_fn(code)
}

/// Calls `block` with every block of `B` bytes.
fn for_each<const B: usize>(bytes: &[u8], block: impl FnMut(&[u8; B])) {
    bytes.as_chunks::<B>().0.iter().for_each(block);
}

/// The bits of −m.
fn negative(m0: u8, m1: u8) -> u16 {
    u16::from_le_bytes([m0, m1]) ^ 0x8000
}

/// The nearest 8-bit codes.
fn rounded(values: &[f32; BLOCK]) -> Block {
    let largest = values.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    Block {
        codes: values.map(|value| (value * inverse).round() as i8),
        scale,
        offset: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::ALL;
    use super::*;

    /// Of all values, in 64 blocks.
    fn bytes(kind: Kind, state: &mut u32) -> Vec<u8> {
        let next = |_| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (*state >> 24) as u8
        };
        (0..kind.block_bytes() * 64).map(next).collect()
    }

    #[test]
    fn codes_stand_for_what_dequantising_gives() {
        // The halves among the bytes that are no number compare as equal bits.
        let mut state = 1_u32;
        for kind in ALL {
            let bytes = bytes(kind, &mut state);
            let expected = dequantise(kind, &bytes).expect("whole blocks");
            let mut found = Vec::new();
            halves(kind, &bytes, |block| {
                found.extend((0..BLOCK).map(|n| {
                    let (factor, offset) = (block.factors[n / 16], block.offsets[n / 16]);
                    let number = block.d * f32::from(factor) * f32::from(block.codes[n]);
                    number + block.m * f32::from(offset)
                }));
            })
            .expect("whole blocks");
            blocks(kind, &bytes, |block| {
                found.extend(block.codes.map(|code| {
                    let code = f32::from(code);
                    if block.offset == 0.0 {
                        code * block.scale
                    } else {
                        code * block.scale + block.offset
                    }
                }));
            })
            .expect("whole blocks");
            if kind.packed_width().is_none() {
                assert!(found.is_empty(), "{} has no codes", kind.name());
                continue;
            }
            assert_eq!(found.len(), expected.len(), "numbers of {}", kind.name());
            let groups = found.chunks(32).zip(expected.chunks(32));
            for (found, expected) in groups.filter(|(_, e)| e.iter().all(|x| x.is_finite())) {
                let largest = expected.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
                let step = if kind.keeps_codes() {
                    0.0
                } else {
                    largest / 127.0
                };
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() <= step / 2.0 * 1.001,
                        "{}: {found} is not {expected}",
                        kind.name()
                    );
                }
            }
        }
    }

    /// Every bit is kept: what a GPU is given is what dequantising gives.
    #[test]
    fn parts_stand_for_what_dequantising_gives() {
        let mut state = 1_u32;
        for kind in ALL {
            let bytes = bytes(kind, &mut state);
            let expected = dequantise(kind, &bytes).expect("whole blocks");
            let mut found = Vec::new();
            parts(kind, &bytes, |part| {
                let bits = kind.bits().expect("codes");
                assert!(
                    part.codes
                        .iter()
                        .all(|code| usize::from(*code) >> bits == 0)
                );
                found.extend((0..BLOCK).map(|n| {
                    let code = f32::from(part.codes[n]) - f32::from(kind.zero());
                    let factor = widened(part.d) * f32::from(part.factors[n / 16]);
                    factor * code + widened(part.m) * f32::from(part.offsets[n / 16])
                }));
            })
            .expect("whole blocks");
            let expected = match kind.bits() {
                Some(_) => &expected[..],
                None => &[],
            };
            assert_eq!(found.len(), expected.len(), "numbers of {}", kind.name());
            for (found, expected) in found.iter().zip(expected).filter(|(_, e)| e.is_finite()) {
                assert_eq!(found, expected, "{}", kind.name());
            }
        }
    }
}
