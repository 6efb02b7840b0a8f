//! 128 bits at a time: the few operations that the products need, the same bits on every machine.

use bytemuck::cast;
use wide::{f32x4, i16x8, i32x4, u16x8};

/// Eight numbers of 16 bits, as four pairs.
#[derive(Debug, Clone, Copy)]
pub struct Pairs(i16x8);

/// Four sums of 32 bits.
#[derive(Debug, Clone, Copy)]
pub struct Sums(i32x4);

/// Four floats.
#[derive(Debug, Clone, Copy)]
pub struct Floats(f32x4);

impl Pairs {
    /// The words as they lie in memory.
    #[inline(always)]
    #[must_use]
    pub fn load(x: [i32; 4]) -> Self {
        Self(cast(i32x4::new(x)))
    }

    /// One pair, four times.
    #[inline(always)]
    #[must_use]
    pub fn splat(x: i32) -> Self {
        Self(cast(i32x4::splat(x)))
    }

    /// Bits `4N .. 4N + 4` of each number.
    #[inline(always)]
    #[must_use]
    pub fn nibbles<const N: i32>(self) -> Self {
        let shifted: u16x8 = cast::<_, u16x8>(self.0) >> (4 * N);
        Self(cast(shifted & u16x8::splat(15)))
    }

    /// The low byte of each number, with its sign.
    #[inline(always)]
    #[must_use]
    pub fn low_bytes(self) -> Self {
        Self((self.0 << 8) >> 8)
    }

    /// The high byte of each number, with its sign.
    #[inline(always)]
    #[must_use]
    pub fn high_bytes(self) -> Self {
        Self(self.0 >> 8)
    }
}

impl Sums {
    /// All 0.
    pub const ZERO: Self = Self(i32x4::ZERO);

    /// `self + x₀y₀ + x₁y₁` for each of the four pairs.
    #[inline(always)]
    #[must_use]
    pub fn add_products(self, x: Pairs, y: Pairs) -> Self {
        Self(self.0 + x.0.dot(y.0))
    }

    /// The same numbers, rounded to floats.
    #[inline(always)]
    #[must_use]
    pub fn to_floats(self) -> Floats {
        Floats(f32x4::from_i32x4(self.0))
    }
}

impl Floats {
    /// All 0.
    pub const ZERO: Self = Self(f32x4::ZERO);

    /// Four numbers.
    #[inline(always)]
    #[must_use]
    pub fn load(x: [f32; 4]) -> Self {
        Self(f32x4::new(x))
    }

    /// The four numbers.
    #[inline(always)]
    #[must_use]
    pub fn store(self) -> [f32; 4] {
        self.0.to_array()
    }

    /// One number, four times.
    #[inline(always)]
    #[must_use]
    pub fn splat(x: f32) -> Self {
        Self(f32x4::splat(x))
    }

    /// The sum of each.
    #[inline(always)]
    #[must_use]
    pub fn sum_each(x: [Self; 4]) -> Self {
        let [x, y, z, w] = f32x4::transpose(x.map(|x| x.0));
        Self((x + y) + (z + w))
    }
}

impl std::ops::Add for Floats {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl std::ops::Mul for Floats {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }
}
