//! Codes and their factors, as the file has them: what GPUs and integer products read.

use half::f16;
use processor::bits;
use processor::quantised::{BLOCK, Block, Halves, Width};

use super::{Kind, check_whole_blocks};
use crate::error::Result;

/// The values of the codes of IQ4_NL.
const IQ4_NL_VALUES: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

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

/// The m of formats that have none: −0, to which a sum changes no number, not even another −0.
const NONE: [u8; 2] = [0, 0x80];

/// Calls `each` with every 32 numbers, in order. Floats have no codes: `each` is not called.
///
/// # Errors
/// As [`dequantise`](super::dequantise).
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
    // In the 32-wide blocks the low nibbles are numbers 0 to 15, the high nibbles 16 to 31.
    match kind {
        Kind::F32 | Kind::F16 | Kind::BF16 | Kind::F64 => {}
        Kind::Q4_0 => for_each(bytes, |&[d0, d1, ref q @ ..]: &[u8; 18]| {
            each(&plain(bits::nibbles(q), [d0, d1], NONE));
        }),
        Kind::Q4_1 => for_each(bytes, |&[d0, d1, m0, m1, ref q @ ..]: &[u8; 20]| {
            each(&plain(bits::nibbles(q), [d0, d1], [m0, m1]));
        }),
        Kind::Q5_0 => for_each(bytes, |&[d0, d1, h0, h1, h2, h3, ref q @ ..]: &[u8; 22]| {
            each(&plain(five_bits(q, [h0, h1, h2, h3]), [d0, d1], NONE));
        }),
        Kind::Q5_1 => for_each(
            bytes,
            |&[d0, d1, m0, m1, h0, h1, h2, h3, ref q @ ..]: &[u8; 24]| {
                each(&plain(five_bits(q, [h0, h1, h2, h3]), [d0, d1], [m0, m1]));
            },
        ),
        Kind::Q8_0 => for_each(bytes, |&[d0, d1, ref q @ ..]: &[u8; 34]| {
            each(&plain(q.map(|code| code ^ 0x80), [d0, d1], NONE));
        }),
        Kind::IQ4_NL => for_each(bytes, |&[d0, d1, ref q @ ..]: &[u8; 18]| {
            let code = |code: u8| IQ4_NL_VALUES[usize::from(code)] as u8 ^ 0x80;
            each(&plain(bits::nibbles(q).map(code), [d0, d1], NONE));
        }),
        Kind::Q2_K => for_each(bytes, |block: &[u8; 84]| {
            let [scales @ .., d0, d1, m0, m1] = block;
            let (scales, q): (&[u8; 16], &[u8; 64]) = split(scales);
            for group in 0..8 {
                let halves = [scales[2 * group], scales[2 * group + 1]];
                each(&Part {
                    codes: two_bits(q, group),
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
                let mut codes = two_bits(q, group);
                bits::put_on(&mut codes, &bits::fields(high, group, 1), 2);
                each(&Part {
                    codes,
                    d: u16::from_le_bytes([*d0, *d1]),
                    m: u16::from_le_bytes(NONE),
                    factors: [0, 1].map(|half| factor_of_16(scales, 2 * group + half)),
                    offsets: [0; 2],
                });
            }
        }),
        Kind::Q4_K => for_each(bytes, |&[d0, d1, m0, m1, ref body @ ..]: &[u8; 144]| {
            let (scales, q): (&[u8; 12], &[u8; 128]) = split(body);
            for group in 0..8 {
                each(&k_part(nibble(q, group), [d0, d1, m0, m1], scales, group));
            }
        }),
        Kind::Q5_K => for_each(bytes, |&[d0, d1, m0, m1, ref body @ ..]: &[u8; 176]| {
            let (scales, rest): (&[u8; 12], &[u8; 160]) = split(body);
            let (high, q): (&[u8; 32], &[u8; 128]) = split(rest);
            for group in 0..8 {
                let mut codes = nibble(q, group);
                bits::put_on(&mut codes, &bits::fields(high, group, 1), 4);
                each(&k_part(codes, [d0, d1, m0, m1], scales, group));
            }
        }),
        Kind::Q6_K => for_each(bytes, |block: &[u8; 210]| {
            let [body @ .., d0, d1] = block;
            let (low, rest): (&[u8; 128], &[u8; 80]) = split(body);
            let (high, scales): (&[u8; 64], &[u8; 16]) = split(rest);
            for group in 0..8 {
                each(&Part {
                    codes: six_bits(low, high, group),
                    d: u16::from_le_bytes([*d0, *d1]),
                    m: u16::from_le_bytes(NONE),
                    factors: [0, 1].map(|half| scales[2 * group + half] as i8),
                    offsets: [0; 2],
                });
            }
        }),
    }
    Ok(())
}

impl Part {
    /// The numbers, with ggml's own order of operations.
    #[must_use]
    pub(super) fn widened(&self, kind: Kind) -> [f32; BLOCK] {
        let times = |half: u16, by: [i8; 2]| by.map(|by| widened(half) * f32::from(by));
        let (scales, offsets) = (times(self.d, self.factors), times(self.m, self.offsets));
        bits::widened(&self.codes, kind.zero(), scales, offsets)
    }

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
/// them, is rounded to 8 bits first; for the others `scale·code + offset` is what dequantising gives. It is not
/// called for floats, which have no codes, and for formats that are [`halves`].
///
/// # Errors
/// As [`dequantise`](super::dequantise).
pub fn blocks(kind: Kind, bytes: &[u8], mut each: impl FnMut(Block)) -> Result<()> {
    let (zero, offset) = match kind.packed_width() {
        // Codes of four bits stay as they are.
        Some(Width::Four) => (0, f32::from(kind.zero())),
        Some(Width::Eight) => (kind.zero(), 0.0),
        _ => return check_whole_blocks(kind, bytes),
    };
    parts(kind, bytes, |part| {
        if !kind.keeps_codes() {
            let (codes, scale) = bits::rounded(&part.widened(kind));
            each(Block {
                codes,
                scale,
                offset: 0.0,
            });
            return;
        }
        let scale = widened(part.d) * f32::from(part.factors[0]);
        each(Block {
            codes: bits::counted_from(&part.codes, zero),
            scale,
            offset: widened(part.m) * f32::from(part.offsets[0]) - offset * scale,
        });
    })
}

/// The same for formats with two scales for 32 numbers of at most four bits.
///
/// # Errors
/// As [`dequantise`](super::dequantise).
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

/// Calls `block` with every block of `B` bytes.
fn for_each<const B: usize>(bytes: &[u8], block: impl FnMut(&[u8; B])) {
    bytes.as_chunks::<B>().0.iter().for_each(block);
}

/// The bits of −m.
fn negative(m0: u8, m1: u8) -> u16 {
    u16::from_le_bytes([m0, m1]) ^ 0x8000
}

/// The 32 bytes of a row of 32 among many.
fn row(bytes: &[u8], row: usize) -> &[u8; BLOCK] {
    let (rows, _) = bytes.as_chunks();
    &rows[row]
}

fn five_bits(q: &[u8; 16], high: [u8; 4]) -> [u8; BLOCK] {
    let mut codes = bits::nibbles(q);
    bits::put_on(&mut codes, &bits::spread(u32::from_le_bytes(high)), 4);
    codes
}

// In the 256-wide blocks numbers stand in groups of 32, each with one place in as many bytes.

fn two_bits(q: &[u8; 64], group: usize) -> [u8; BLOCK] {
    bits::fields(row(q, group / 4), group % 4 * 2, 2)
}

fn nibble(q: &[u8; 128], group: usize) -> [u8; BLOCK] {
    bits::fields(row(q, group / 2), group % 2 * 4, 4)
}

/// Each half of a block is four groups: 0 and 1 in the low nibbles of 64 bytes, 2 and 3 in their high
/// nibbles, two more bits for each of the four in one byte of `high`.
fn six_bits(low: &[u8; 128], high: &[u8; 64], group: usize) -> [u8; BLOCK] {
    let (half, group) = (group / 4, group % 4);
    let mut codes = bits::fields(row(low, 2 * half + group % 2), group / 2 * 4, 4);
    bits::put_on(&mut codes, &bits::fields(row(high, half), group * 2, 2), 4);
    codes
}

/// `d·factor·q - m·offset`, the form that Q4_K and Q5_K share.
fn k_part(codes: [u8; BLOCK], [d0, d1, m0, m1]: [u8; 4], scales: &[u8; 12], group: usize) -> Part {
    let (factor, offset) = factor_and_offset(scales, group);
    Part {
        codes,
        d: u16::from_le_bytes([d0, d1]),
        m: negative(m0, m1),
        factors: [factor as i8; 2],
        offsets: [offset as i8; 2],
    }
}

/// The factor of group `g` of 16 (Q3_K), of 6 bits: low nibbles in the first 8 bytes, the top two bits in the
/// last 4.
fn factor_of_16(scales: &[u8; 12], g: usize) -> i8 {
    let low = scales[g % 8] >> (g / 8 * 4) & 15;
    let top = scales[8 + g % 4] >> (g / 4 * 2) & 3;
    (low | top << 4) as i8 - 32
}

/// The 6-bit factor and offset of group `g` of 8, packed in 12 bytes (Q4_K, Q5_K).
fn factor_and_offset(s: &[u8; 12], g: usize) -> (u8, u8) {
    if g < 4 {
        (s[g] & 63, s[g + 4] & 63)
    } else {
        (
            s[g + 4] & 15 | s[g - 4] >> 6 << 4,
            s[g + 4] >> 4 | s[g] >> 6 << 4,
        )
    }
}

/// Splits an array in two; the lengths are checked when this is compiled.
fn split<const A: usize, const B: usize, const N: usize>(bytes: &[u8; N]) -> (&[u8; A], &[u8; B]) {
    const { assert!(A + B == N, "the parts make up the whole") }
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => (first, last),
        _ => (&[0; A], &[0; B]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::dequantise;
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
