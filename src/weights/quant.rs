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
        Kind::F32 => widen(bytes, values, |b| f32::from_le_bytes(*b)),
        Kind::F16 => widen(bytes, values, |b| f16::from_le_bytes(*b).to_f32()),
        Kind::BF16 => widen(bytes, values, |b| bf16::from_le_bytes(*b).to_f32()),
        Kind::F64 => widen(bytes, values, |b| f64::from_le_bytes(*b) as f32),
        _ => {
            values.reserve(bytes.len() / kind.block_bytes() * kind.block_len());
            parts(kind, bytes, |part| values.extend(part.widened(kind)))?;
        }
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

/// Appends every number of `B` bytes.
fn widen<const B: usize>(bytes: &[u8], values: &mut Vec<f32>, number: impl Fn(&[u8; B]) -> f32) {
    values.extend(bytes.as_chunks::<B>().0.iter().map(number));
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
