//! The number formats of GGUF tensors, widened to `f32` with ggml's own order of operations.
//!
//! A quantised tensor is a row of blocks. A block holds 32 or 256 small integers and what is
//! needed to scale them: a factor `d`, in some formats an offset `m`, both `f16`, and in the
//! 256-wide "K" formats one more small factor for each group of 16 or 32 numbers.

use half::{bf16, f16};

use crate::error::{Error, Result};
use processor::quantised::Width;

mod parts;

pub use parts::{Part, blocks, halves, parts};

/// How the numbers of a tensor are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    non_camel_case_types,
    reason = "these are the names that files and tools print"
)]
pub enum Kind {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an F32.
    BF16,
    /// IEEE double precision; rounded to the nearest `f32`.
    F64,
    /// 32 numbers, 4 bits each: `d (q - 8)`.
    Q4_0,
    /// 32 numbers, 4 bits each: `d q + m`.
    Q4_1,
    /// 32 numbers, 5 bits each: `d (q - 16)`.
    Q5_0,
    /// 32 numbers, 5 bits each: `d q + m`.
    Q5_1,
    /// 32 numbers, 8 bits each: `d q`.
    Q8_0,
    /// 256 numbers, 2 bits each, a 4-bit factor and offset for each 16.
    Q2_K,
    /// 256 numbers, 3 bits each, a 6-bit factor for each 16.
    Q3_K,
    /// 256 numbers, 4 bits each, a 6-bit factor and offset for each 32.
    Q4_K,
    /// 256 numbers, 5 bits each, a 6-bit factor and offset for each 32.
    Q5_K,
    /// 256 numbers, 6 bits each, an 8-bit factor for each 16.
    Q6_K,
    /// 32 numbers, 4 bits each, looked up in a table of 16 unevenly spaced values.
    IQ4_NL,
}

/// ggml's number of a kind, the kind, its name, numbers in a block, bytes of it, and where in these its
/// halves begin.
type Row = (u32, Kind, &'static str, usize, usize, &'static [usize]);

impl Kind {
    /// Every kind that is read, for messages.
    pub const KNOWN: &'static str = "F32, F16, BF16, F64, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, \
                                     Q3_K, Q4_K, Q5_K, Q6_K and IQ4_NL";

    /// ggml's number of each kind, its name, and its block: numbers in it, bytes of it, and the
    /// bytes at which its halves d and m begin.
    const TABLE: [Row; 15] = [
        (0, Self::F32, "F32", 1, 4, &[]),
        (1, Self::F16, "F16", 1, 2, &[]),
        (2, Self::Q4_0, "Q4_0", 32, 18, &[0]),
        (3, Self::Q4_1, "Q4_1", 32, 20, &[0, 2]),
        (6, Self::Q5_0, "Q5_0", 32, 22, &[0]),
        (7, Self::Q5_1, "Q5_1", 32, 24, &[0, 2]),
        (8, Self::Q8_0, "Q8_0", 32, 34, &[0]),
        (10, Self::Q2_K, "Q2_K", 256, 84, &[80, 82]),
        (11, Self::Q3_K, "Q3_K", 256, 110, &[108]),
        (12, Self::Q4_K, "Q4_K", 256, 144, &[0, 2]),
        (13, Self::Q5_K, "Q5_K", 256, 176, &[0, 2]),
        (14, Self::Q6_K, "Q6_K", 256, 210, &[208]),
        (20, Self::IQ4_NL, "IQ4_NL", 32, 18, &[0]),
        (28, Self::F64, "F64", 1, 8, &[]),
        (30, Self::BF16, "BF16", 1, 2, &[]),
    ];

    fn row(self) -> Row {
        let row = Self::TABLE.into_iter().find(|(_, kind, ..)| *kind == self);
        // Every kind is in the table (a test checks it); the default keeps this free of panics.
        row.unwrap_or((u32::MAX, self, "?", 1, 1, &[]))
    }

    /// The kind with ggml's number `id`, if it is one that we read.
    #[must_use]
    pub fn from_ggml(id: u32) -> Option<Self> {
        Self::TABLE
            .into_iter()
            .find(|(number, ..)| *number == id)
            .map(|(_, kind, ..)| kind)
    }

    /// ggml's number for the kind.
    #[must_use]
    pub fn ggml(self) -> u32 {
        self.row().0
    }

    /// The name that files and tools print, such as `Q4_1`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Numbers in one block; rows are made of whole blocks.
    #[must_use]
    pub fn block_len(self) -> usize {
        self.row().3
    }

    /// Bytes of one block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.row().4
    }

    /// Whether [`blocks`] and [`halves`] give the file's own codes.
    #[must_use]
    pub fn keeps_codes(self) -> bool {
        self.packed_width().is_some() && self != Self::Q6_K
    }

    /// Bits of the codes that [`parts()`] gives; `None` for floats, which have none.
    #[must_use]
    pub fn bits(self) -> Option<usize> {
        match self {
            Self::F32 | Self::F16 | Self::BF16 | Self::F64 => None,
            Self::Q2_K => Some(2),
            Self::Q3_K => Some(3),
            Self::Q4_0 | Self::Q4_1 | Self::Q4_K => Some(4),
            Self::Q5_0 | Self::Q5_1 | Self::Q5_K => Some(5),
            Self::Q6_K => Some(6),
            Self::Q8_0 | Self::IQ4_NL => Some(8),
        }
    }

    /// The code of [`parts()`] that stands for 0, offsets aside.
    #[must_use]
    pub fn zero(self) -> u8 {
        match self {
            Self::Q3_K => 4,
            Self::Q4_0 => 8,
            Self::Q5_0 => 16,
            Self::Q6_K => 32,
            Self::Q8_0 | Self::IQ4_NL => 128,
            _ => 0,
        }
    }

    /// Bits of the codes that [`blocks`] gives, or [`halves`]; `None` for floats, which have none.
    #[must_use]
    pub fn packed_width(self) -> Option<Width> {
        match self {
            Self::F32 | Self::F16 | Self::BF16 | Self::F64 => None,
            Self::Q4_0 | Self::Q4_1 | Self::Q4_K => Some(Width::Four),
            Self::Q2_K | Self::Q3_K => Some(Width::FourInHalves),
            _ => Some(Width::Eight),
        }
    }
}

/// The first number that is not finite as an `f32`, and its place among the numbers of `bytes`. Of
/// a block this is its d or m, in the place of the block's first number: if one of them is not
/// finite no number of the block is, else all are.
#[must_use]
pub fn not_finite(kind: Kind, bytes: &[u8]) -> Option<(usize, f64)> {
    /// Checks many items at once; only if one of them is not finite is it looked for.
    fn first<const B: usize>(bytes: &[u8], widen: impl Fn([u8; B]) -> f32) -> Option<usize> {
        let items = bytes.as_chunks::<B>().0;
        let bad = |item: &[u8; B]| widen(*item).to_bits() & INFINITE == INFINITE;
        let piece = items
            .chunks(256)
            .position(|piece| piece.iter().fold(false, |any, item| any | bad(item)))?;
        let inside = items[256 * piece..].iter().position(bad)?;
        Some(256 * piece + inside)
    }
    const INFINITE: u32 = 0x7f80_0000;
    // The sign and the exponent are in the upper byte or two; the rest need not be widened.
    let upper = |[low, high]: [u8; 2], mask: u16| u16::from_le_bytes([low, high]) & mask == mask;
    let flag = |bad: bool| if bad { f32::INFINITY } else { 0.0 };
    let at = match kind {
        Kind::F32 => first(bytes, f32::from_le_bytes),
        Kind::F16 => first(bytes, |b| flag(upper(b, 0x7c00))),
        Kind::BF16 => first(bytes, |b| flag(upper(b, 0x7f80))),
        // A number beyond `f32` is infinite in it.
        Kind::F64 => first(bytes, |b| f64::from_le_bytes(b) as f32),
        _ => {
            let (.., len, block_bytes, halves) = kind.row();
            let blocks = bytes.chunks_exact(block_bytes);
            return blocks.enumerate().find_map(|(block, bytes)| {
                let halves = halves.iter().filter_map(|&at| bytes[at..].first_chunk());
                let bad = halves.copied().find(|&b| upper(b, 0x7c00))?;
                Some((block * len, f16::from_le_bytes(bad).into()))
            });
        }
    }?;
    let item = &bytes[at * kind.block_bytes()..][..kind.block_bytes()];
    let found = match kind {
        Kind::F64 => f64::from_le_bytes(*item.first_chunk()?),
        _ => dequantise(kind, item).ok()?.first().copied()?.into(),
    };
    Some((at, found))
}

/// Number `n` of a 32-wide block: low nibbles are numbers 0 to 15, high nibbles 16 to 31.
fn nibble_of_16(q: &[u8; 16], n: usize) -> u8 {
    if n < 16 { q[n] & 15 } else { q[n - 16] >> 4 }
}

/// Widens whole blocks to `f32`.
///
/// # Errors
/// [`Error::Truncated`] when the bytes end inside a block.
pub fn dequantise(kind: Kind, bytes: &[u8]) -> Result<Vec<f32>> {
    let mut values = Vec::with_capacity(bytes.len() / kind.block_bytes() * kind.block_len());
    dequantise_into(kind, bytes, &mut values)?;
    Ok(values)
}

/// Widens whole blocks to `f32`, appending to `values`.
///
/// # Errors
/// [`Error::Truncated`] when the bytes end inside a block; nothing is appended then.
pub fn dequantise_into(kind: Kind, bytes: &[u8], values: &mut Vec<f32>) -> Result<()> {
    check_whole_blocks(kind, bytes)?;
    match kind {
        Kind::F32 => widen(bytes, values, |b| [f32::from_le_bytes(*b)]),
        Kind::F16 => widen(bytes, values, |b| [f16::from_le_bytes(*b).to_f32()]),
        Kind::BF16 => widen(bytes, values, |b| [bf16::from_le_bytes(*b).to_f32()]),
        Kind::F64 => widen(bytes, values, |b| [f64::from_le_bytes(*b) as f32]),
        Kind::Q4_0 => widen(bytes, values, q4_0),
        Kind::Q4_1 => widen(bytes, values, q4_1),
        Kind::Q5_0 => widen(bytes, values, q5_0),
        Kind::Q5_1 => widen(bytes, values, q5_1),
        Kind::Q8_0 => widen(bytes, values, q8_0),
        Kind::Q2_K => widen(bytes, values, q2_k),
        Kind::Q3_K => widen(bytes, values, q3_k),
        Kind::Q4_K => widen(bytes, values, q4_k),
        Kind::Q5_K => widen(bytes, values, q5_k),
        Kind::Q6_K => widen(bytes, values, q6_k),
        Kind::IQ4_NL => widen(bytes, values, iq4_nl),
    }
    Ok(())
}

fn check_whole_blocks(kind: Kind, bytes: &[u8]) -> Result<()> {
    if !bytes.len().is_multiple_of(kind.block_bytes()) {
        let whole = bytes.len().div_ceil(kind.block_bytes()) * kind.block_bytes();
        return Err(Error::Truncated {
            file: format!("{} data", kind.name()),
            what: "its last block".into(),
            needed_bytes: whole as u64,
            found_bytes: bytes.len() as u64,
        });
    }
    Ok(())
}

/// Appends the numbers of every block of `B` bytes, as `block` widens them.
fn widen<const B: usize, const N: usize>(
    bytes: &[u8],
    values: &mut Vec<f32>,
    block: impl Fn(&[u8; B]) -> [f32; N],
) {
    let (blocks, _rest) = bytes.as_chunks::<B>();
    values.reserve(blocks.len() * N);
    for bytes in blocks {
        values.extend_from_slice(&block(bytes));
    }
}

fn half(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

/// Bit `n` of `word`, moved to the place of 16: the fifth bit of a 5-bit number.
fn fifth(word: u32, n: usize) -> u8 {
    ((word >> n) as u8 & 1) << 4
}

// In all 32-wide blocks the low nibbles are numbers 0 to 15 and the high nibbles 16 to 31.

fn q4_0(&[d0, d1, ref q @ ..]: &[u8; 18]) -> [f32; 32] {
    let d = half(d0, d1);
    let value = |q: u8| f32::from(q as i8 - 8) * d;
    std::array::from_fn(|n| value(nibble_of_16(q, n)))
}

fn q4_1(&[d0, d1, m0, m1, ref q @ ..]: &[u8; 20]) -> [f32; 32] {
    let (d, m) = (half(d0, d1), half(m0, m1));
    let value = |q: u8| f32::from(q) * d + m;
    std::array::from_fn(|n| value(nibble_of_16(q, n)))
}

fn q5_0(&[d0, d1, h0, h1, h2, h3, ref q @ ..]: &[u8; 22]) -> [f32; 32] {
    let (d, high) = (half(d0, d1), u32::from_le_bytes([h0, h1, h2, h3]));
    let value = |q: u8, n| f32::from((q | fifth(high, n)) as i8 - 16) * d;
    std::array::from_fn(|n| value(nibble_of_16(q, n), n))
}

fn q5_1(&[d0, d1, m0, m1, h0, h1, h2, h3, ref q @ ..]: &[u8; 24]) -> [f32; 32] {
    let (d, m, high) = (
        half(d0, d1),
        half(m0, m1),
        u32::from_le_bytes([h0, h1, h2, h3]),
    );
    let value = |q: u8, n| f32::from(q | fifth(high, n)) * d + m;
    std::array::from_fn(|n| value(nibble_of_16(q, n), n))
}

fn q8_0(&[d0, d1, ref q @ ..]: &[u8; 34]) -> [f32; 32] {
    let d = half(d0, d1);
    std::array::from_fn(|n| f32::from(q[n] as i8) * d)
}

/// The values of the codes of IQ4_NL.
const IQ4_NL_VALUES: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

fn iq4_nl(&[d0, d1, ref q @ ..]: &[u8; 18]) -> [f32; 32] {
    let d = half(d0, d1);
    let value = |q: u8| d * f32::from(IQ4_NL_VALUES[usize::from(q & 15)]);
    std::array::from_fn(|n| value(nibble_of_16(q, n)))
}

// The 256-wide blocks. In Q2_K and Q3_K, number `n` is in byte `32 (n / 128) + n % 32`, two bits
// at `2 (n / 32 % 4)`; in Q4_K and Q5_K in byte `32 (n / 64) + n % 32`, low nibble first.

fn two_bits(q: &[u8; 64], n: usize) -> u8 {
    q[n / 128 * 32 + n % 32] >> (n / 32 % 4 * 2) & 3
}

fn q2_k(block: &[u8; 84]) -> [f32; 256] {
    let [scales @ .., d0, d1, m0, m1] = block;
    let (d, m) = (half(*d0, *d1), half(*m0, *m1));
    let (scales, q): (&[u8; 16], &[u8; 64]) = split(scales);
    std::array::from_fn(|n| {
        let scale = scales[n / 16];
        d * f32::from(scale & 15) * f32::from(two_bits(q, n)) - m * f32::from(scale >> 4)
    })
}

fn q3_k(block: &[u8; 110]) -> [f32; 256] {
    let [body @ .., d0, d1] = block;
    let d = half(*d0, *d1);
    let (high, rest): (&[u8; 32], &[u8; 76]) = split(body);
    let (q, scales): (&[u8; 64], &[u8; 12]) = split(rest);
    let factor: [f32; 16] = std::array::from_fn(|g| d * f32::from(factor_of_16(scales, g)));
    std::array::from_fn(|n| {
        let third = high[n % 32] >> (n / 32) & 1;
        factor[n / 16] * f32::from((two_bits(q, n) | third << 2) as i8 - 4)
    })
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

fn q4_k(&[d0, d1, m0, m1, ref body @ ..]: &[u8; 144]) -> [f32; 256] {
    let (scales, q): (&[u8; 12], &[u8; 128]) = split(body);
    k_block((half(d0, d1), half(m0, m1)), scales, |n| nibble(q, n))
}

fn q5_k(&[d0, d1, m0, m1, ref body @ ..]: &[u8; 176]) -> [f32; 256] {
    let (scales, rest): (&[u8; 12], &[u8; 160]) = split(body);
    let (high, q): (&[u8; 32], &[u8; 128]) = split(rest);
    k_block((half(d0, d1), half(m0, m1)), scales, |n| {
        nibble(q, n) | (high[n % 32] >> (n / 32) & 1) << 4
    })
}

fn nibble(q: &[u8; 128], n: usize) -> u8 {
    q[n / 64 * 32 + n % 32] >> (n / 32 % 2 * 4) & 15
}

/// `d·factor·q - m·offset`, the form that Q4_K and Q5_K share.
fn k_block((d, m): (f32, f32), scales: &[u8; 12], q: impl Fn(usize) -> u8) -> [f32; 256] {
    let groups: [(f32, f32); 8] = std::array::from_fn(|g| {
        let (factor, offset) = factor_and_offset(scales, g);
        (d * f32::from(factor), m * f32::from(offset))
    });
    std::array::from_fn(|n| {
        let (factor, offset) = groups[n / 32];
        factor * f32::from(q(n)) - offset
    })
}

fn q6_k(block: &[u8; 210]) -> [f32; 256] {
    let [body @ .., d0, d1] = block;
    let d = half(*d0, *d1);
    let (low, rest): (&[u8; 128], &[u8; 80]) = split(body);
    let (high, scales): (&[u8; 64], &[u8; 16]) = split(rest);
    std::array::from_fn(|n| {
        let code = six_bits(low, high, n) as i8 - 32;
        d * f32::from(scales[n / 16] as i8) * f32::from(code)
    })
}

/// Each half of a block is four rows of 32: rows 0 and 1 in the low nibbles of 64 bytes, rows 2 and 3 in
/// their high nibbles, two more bits for each of the four in one byte of `high`.
fn six_bits(low: &[u8; 128], high: &[u8; 64], n: usize) -> u8 {
    let (part, row, column) = (n / 128, n / 32 % 4, n % 32);
    let four = low[part * 64 + row % 2 * 32 + column] >> (row / 2 * 4) & 15;
    let two = high[part * 32 + column] >> (row * 2) & 3;
    four | two << 4
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
    use super::*;

    pub(super) const ALL: [Kind; 15] = [
        Kind::F32,
        Kind::F16,
        Kind::BF16,
        Kind::F64,
        Kind::Q4_0,
        Kind::Q4_1,
        Kind::Q5_0,
        Kind::Q5_1,
        Kind::Q8_0,
        Kind::Q2_K,
        Kind::Q3_K,
        Kind::Q4_K,
        Kind::Q5_K,
        Kind::Q6_K,
        Kind::IQ4_NL,
    ];

    #[test]
    fn every_kind_has_one_row_and_its_blocks_have_its_length() {
        for kind in ALL {
            assert_eq!(
                Kind::from_ggml(kind.ggml()),
                Some(kind),
                "the number of {}",
                kind.name()
            );
            let blocks = vec![0x3c; kind.block_bytes() * 3];
            let values = dequantise(kind, &blocks).expect("whole blocks");
            assert_eq!(
                values.len(),
                kind.block_len() * 3,
                "the length of {}",
                kind.name()
            );
        }
    }

    #[test]
    fn half_a_block_is_an_error_with_both_sizes() {
        let error = dequantise(Kind::Q4_1, &[0; 21]).expect_err("21 is not a multiple of 20");
        assert_eq!(error.code(), "truncated");
        assert!(
            error.to_string().contains("40") && error.to_string().contains("21"),
            "{error}"
        );
    }

    #[test]
    fn q4_1_by_hand() {
        // d = 1, m = 0.5; byte n = n + 16 (15 - n): low nibbles count up, high nibbles down.
        let mut block = vec![0x00, 0x3c, 0x00, 0x38];
        block.extend((0..16).map(|n: u8| n | (15 - n) << 4));
        let values = dequantise(Kind::Q4_1, &block).expect("one block");
        let expected: Vec<f32> = (0..16)
            .chain((0..16).rev())
            .map(|n: u8| f32::from(n) + 0.5)
            .collect();
        assert_eq!(values, expected);
    }
}
