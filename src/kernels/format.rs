//! How a packed matrix is written.
//!
//! | numbers | words of a block |
//! |---|---|
//! | 4 bits | number n < 16 in the low nibble of byte n, n ≥ 16 in the high nibble of byte n − 16 |
//! | 5 bits | likewise; the fifth bit of numbers 4j to 4j + 3 at bit j of each byte of one word more, beside the factors |
//! | 6 bits | likewise; two bits at 2 (j mod 4) in two words, of which the second is for j ≥ 4 |
//! | 8 bits | number n in byte n |
//! | f16, bf16, f32 | as they are |
//!
//! A number of codes is `factor·(code − zero) + offset`. Factor and offset are two f16 in one word of each
//! block; where the file has small integers to multiply them by, they are these, four bytes in one word of
//! each block, times two f16 for some blocks. So nothing is rounded, whatever kinds lie on top of each other.

use super::template::{Row, Value, row};
use crate::weights::quant::Kind;

/// Numbers per block, in all formats here.
pub const BLOCK: usize = 32;

/// What the numbers are, the narrowest codes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Numbers {
    Four,
    Five,
    Six,
    Eight,
    F16,
    BF16,
    F32,
}

/// How factors and offsets are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Factors {
    /// There are none: floats.
    None,
    /// Two f16 for each block.
    Halves,
    /// Four bytes for each block, a factor and an offset of its first and second 16 numbers, and two f16 for
    /// so many blocks `together`, which are times them.
    Bytes {
        together: usize,
        /// Whether the halves of a block differ.
        by_16: bool,
    },
}

/// How a packed matrix is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Format {
    pub numbers: Numbers,
    pub factors: Factors,
}

/// Blocks that share two f16 in the file's formats of 256 numbers.
const TOGETHER: usize = 256 / BLOCK;

impl Format {
    /// How matrices of these kinds are written when they lie on top of each other: so that all have a place.
    /// Only floats beside anything else are widened, to f32.
    pub(super) fn of(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let each = |kind: Kind| {
            let numbers = match (kind, kind.bits()) {
                (_, Some(..=4)) => Numbers::Four,
                (_, Some(5)) => Numbers::Five,
                (_, Some(6)) => Numbers::Six,
                (_, Some(_)) => Numbers::Eight,
                (Kind::F16, None) => Numbers::F16,
                (Kind::BF16, None) => Numbers::BF16,
                (_, None) => Numbers::F32,
            };
            let factors = match kind.block_len() {
                1 => Factors::None,
                256 => Factors::Bytes {
                    together: TOGETHER,
                    by_16: matches!(kind, Kind::Q2_K | Kind::Q3_K | Kind::Q6_K),
                },
                _ => Factors::Halves,
            };
            Self { numbers, factors }
        };
        let all = kinds.into_iter().map(each);
        all.reduce(Self::with).unwrap_or(Self::FLOAT)
    }

    const FLOAT: Self = Self {
        numbers: Numbers::F32,
        factors: Factors::None,
    };

    /// Where both have a place.
    fn with(self, other: Self) -> Self {
        use Factors::{Bytes, Halves, None};
        if self == other {
            return self;
        }
        let factors = match (self.factors, other.factors) {
            (None, _) | (_, None) => return Self::FLOAT,
            (Halves, Halves) => Halves,
            (Bytes { together, by_16 }, Halves) | (Halves, Bytes { together, by_16 }) => Bytes {
                together: together.min(1),
                by_16,
            },
            (
                Bytes { together, by_16 },
                Bytes {
                    together: of,
                    by_16: or,
                },
            ) => Bytes {
                together: together.min(of),
                by_16: by_16 || or,
            },
        };
        Self {
            numbers: self.numbers.max(other.numbers),
            factors,
        }
    }

    /// Whether the numbers are codes.
    pub(super) fn codes(self) -> bool {
        self.factors != Factors::None
    }

    pub(super) fn in_f32(self) -> bool {
        self.numbers == Numbers::F32
    }

    /// Whether factors and offsets differ between the halves of a block.
    pub(super) fn by_16(self) -> bool {
        matches!(self.factors, Factors::Bytes { by_16: true, .. })
    }

    /// The code that stands for 0, offsets aside.
    pub(super) fn zero(self) -> u8 {
        match self.numbers {
            Numbers::Six => 32,
            // Signed in the files; stored so that none is negative.
            Numbers::Eight => 128,
            _ => 0,
        }
    }

    /// Words of four bytes per block.
    pub(super) fn words(self) -> usize {
        match self.numbers {
            Numbers::Four | Numbers::Five | Numbers::Six => 4,
            Numbers::Eight => 8,
            Numbers::F16 | Numbers::BF16 => 16,
            Numbers::F32 => 32,
        }
    }

    /// How often some of them are read at once.
    pub(super) fn pieces(self) -> usize {
        self.words() / self.at_once()
    }

    /// The ones that are read at once.
    pub(super) fn at_once(self) -> usize {
        match self.numbers {
            Numbers::F16 | Numbers::BF16 => 2,
            _ => 4,
        }
    }

    /// WGSL's type of what is read at once.
    pub(super) fn word_type(self) -> &'static str {
        match self.numbers {
            Numbers::F32 => "vec4<f32>",
            Numbers::F16 | Numbers::BF16 => "vec2<u32>",
            _ => "vec4<u32>",
        }
    }

    /// Bits above the fourth, each of them a word for a block.
    pub(super) fn high(self) -> usize {
        match self.numbers {
            Numbers::Five => 1,
            Numbers::Six => 2,
            _ => 0,
        }
    }

    /// Where the f16 of several blocks begin among the words of factors of o rows of i numbers, where the bits
    /// above the fourth do, and the number of all.
    pub(super) fn places(self, o: usize, i: usize) -> [usize; 3] {
        let blocks = i.div_ceil(BLOCK);
        let doubles = if self.codes() { blocks * o } else { 0 };
        let high = match self.factors {
            Factors::Bytes { together, .. } => doubles + blocks.div_ceil(together) * o,
            _ => doubles,
        };
        [doubles, high, (high + blocks * self.high() * o).max(1)]
    }

    /// Words of factors, and of what lies beside them, of o rows of i numbers.
    pub(super) fn scales(self, o: usize, i: usize) -> usize {
        self.places(o, i)[2]
    }

    /// What kernels for such matrices, of which `stored` rows of i numbers lie in the buffers, are filled with.
    pub(super) fn values(self, stored: usize, i: usize) -> Row {
        let [doubles, high, _] = self.places(stored, i);
        let is = |numbers| self.numbers == numbers;
        let together = match self.factors {
            Factors::Bytes { together, .. } => together,
            _ => 0,
        };
        row![
            stored = stored,
            codes = self.codes(),
            nibbles = self.words() == 4,
            eight = is(Numbers::Eight),
            f16 = is(Numbers::F16),
            bf16 = is(Numbers::BF16),
            f32 = is(Numbers::F32),
            zero = usize::from(self.zero()),
            together = together,
            doubles = doubles,
            high = self.high(),
            high_at = high,
            factors = Value::File(include_str!("factors.wgsl")),
        ]
    }
}

/// Every text that a kernel can have.
#[cfg(test)]
pub(super) fn every_format() -> Vec<Format> {
    let all = [
        &[Kind::Q4_1][..],
        &[Kind::Q5_1],
        &[Kind::Q6_K],
        &[Kind::Q8_0],
        &[Kind::Q2_K],
        &[Kind::Q4_K],
        &[Kind::Q5_K],
        &[Kind::Q4_K, Kind::Q6_K],
        &[Kind::Q4_K, Kind::Q8_0],
        &[Kind::Q6_K, Kind::Q8_0],
        &[Kind::F16],
        &[Kind::BF16],
        &[Kind::F32],
    ];
    let all = all.into_iter();
    all.map(|kinds| Format::of(kinds.iter().copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_together_has_a_common_place() {
        use Factors::{Bytes, Halves, None};
        let bytes = |together, by_16| Bytes { together, by_16 };
        for (kinds, numbers, factors) in [
            (&[Kind::Q4_0, Kind::Q4_1][..], Numbers::Four, Halves),
            (&[Kind::Q5_0, Kind::Q8_0], Numbers::Eight, Halves),
            (&[Kind::Q5_1, Kind::Q4_0], Numbers::Five, Halves),
            (&[Kind::Q4_K], Numbers::Four, bytes(8, false)),
            (
                &[Kind::Q4_K, Kind::Q4_K, Kind::Q6_K],
                Numbers::Six,
                bytes(8, true),
            ),
            (&[Kind::Q2_K, Kind::Q3_K], Numbers::Four, bytes(8, true)),
            (&[Kind::Q5_K, Kind::Q8_0], Numbers::Eight, bytes(1, false)),
            (&[Kind::IQ4_NL], Numbers::Eight, Halves),
            (&[Kind::F16, Kind::F16], Numbers::F16, None),
            (&[Kind::F16, Kind::BF16], Numbers::F32, None),
            (&[Kind::Q4_K, Kind::BF16], Numbers::F32, None),
            (&[Kind::F64], Numbers::F32, None),
        ] {
            let found = Format::of(kinds.iter().copied());
            assert_eq!(found, Format { numbers, factors }, "{kinds:?}");
        }
    }
}
