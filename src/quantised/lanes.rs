//! 128 bits at a time: the few instructions that the products need, as WebAssembly's SIMD and, with
//! the same bits, as plain loops that compilers turn into SIMD elsewhere.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod on_this_machine {
    use core::arch::wasm32::{
        f32x4, f32x4_add, f32x4_convert_i32x4, f32x4_extract_lane as float_lane, f32x4_mul,
        f32x4_splat, i16x8_shl, i16x8_shr, i32x4, i32x4_add, i32x4_dot_i16x8, i32x4_splat,
        u16x8_shr, v128, v128_and,
    };

    pub type Ints = v128;
    pub type Floats = v128;

    #[inline(always)]
    pub fn load([a, b, c, d]: [i32; 4]) -> Ints {
        i32x4(a, b, c, d)
    }
    #[inline(always)]
    pub fn splat(x: i32) -> Ints {
        i32x4_splat(x)
    }
    #[inline(always)]
    pub fn nibbles<const N: u32>(x: Ints) -> Ints {
        v128_and(u16x8_shr(x, 4 * N), i32x4_splat(0x000f_000f))
    }
    #[inline(always)]
    pub fn low_bytes(x: Ints) -> Ints {
        i16x8_shr(i16x8_shl(x, 8), 8)
    }
    #[inline(always)]
    pub fn high_bytes(x: Ints) -> Ints {
        i16x8_shr(x, 8)
    }
    #[inline(always)]
    pub fn add_products(sum: Ints, x: Ints, y: Ints) -> Ints {
        i32x4_add(sum, i32x4_dot_i16x8(x, y))
    }
    #[inline(always)]
    pub fn to_floats(x: Ints) -> Floats {
        f32x4_convert_i32x4(x)
    }
    #[inline(always)]
    pub fn load_floats([a, b, c, d]: [f32; 4]) -> Floats {
        f32x4(a, b, c, d)
    }
    #[inline(always)]
    pub fn store_floats(x: Floats) -> [f32; 4] {
        [
            float_lane::<0>(x),
            float_lane::<1>(x),
            float_lane::<2>(x),
            float_lane::<3>(x),
        ]
    }
    #[inline(always)]
    pub fn splat_float(x: f32) -> Floats {
        f32x4_splat(x)
    }
    #[inline(always)]
    pub fn add(x: Floats, y: Floats) -> Floats {
        f32x4_add(x, y)
    }
    #[inline(always)]
    pub fn mul(x: Floats, y: Floats) -> Floats {
        f32x4_mul(x, y)
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod on_this_machine {
    use std::array::from_fn;

    pub type Ints = [i32; 4];
    pub type Floats = [f32; 4];

    fn halves(x: i32) -> (i16, i16) {
        (x as i16, (x >> 16) as i16)
    }
    fn join(low: i16, high: i16) -> i32 {
        i32::from(low as u16) | i32::from(high) << 16
    }

    #[inline(always)]
    pub fn load(x: [i32; 4]) -> Ints {
        x
    }
    #[inline(always)]
    pub fn splat(x: i32) -> Ints {
        [x; 4]
    }
    #[inline(always)]
    pub fn nibbles<const N: u32>(x: Ints) -> Ints {
        x.map(|x| x >> (4 * N) & 0x000f_000f)
    }
    #[inline(always)]
    pub fn low_bytes(x: Ints) -> Ints {
        x.map(|x| {
            let (low, high) = halves(x);
            join(low << 8 >> 8, high << 8 >> 8)
        })
    }
    #[inline(always)]
    pub fn high_bytes(x: Ints) -> Ints {
        x.map(|x| {
            let (low, high) = halves(x);
            join(low >> 8, high >> 8)
        })
    }
    #[inline(always)]
    pub fn add_products(sum: Ints, x: Ints, y: Ints) -> Ints {
        from_fn(|n| {
            let ((a, b), (c, d)) = (halves(x[n]), halves(y[n]));
            sum[n] + i32::from(a) * i32::from(c) + i32::from(b) * i32::from(d)
        })
    }
    #[inline(always)]
    pub fn to_floats(x: Ints) -> Floats {
        x.map(|x| x as f32)
    }
    #[inline(always)]
    pub fn load_floats(x: [f32; 4]) -> Floats {
        x
    }
    #[inline(always)]
    pub fn store_floats(x: Floats) -> [f32; 4] {
        x
    }
    #[inline(always)]
    pub fn splat_float(x: f32) -> Floats {
        [x; 4]
    }
    #[inline(always)]
    pub fn add(x: Floats, y: Floats) -> Floats {
        from_fn(|n| x[n] + y[n])
    }
    #[inline(always)]
    pub fn mul(x: Floats, y: Floats) -> Floats {
        from_fn(|n| x[n] * y[n])
    }
}

use on_this_machine as machine;

/// Four numbers of 32 bits, or four pairs of 16 bits.
#[derive(Debug, Clone, Copy)]
pub struct Ints(machine::Ints);

/// Four floats.
#[derive(Debug, Clone, Copy)]
pub struct Floats(machine::Floats);

impl Ints {
    #[inline(always)]
    pub fn load(x: [i32; 4]) -> Self {
        Self(machine::load(x))
    }

    /// One word, or one pair, four times.
    #[inline(always)]
    pub fn splat(x: i32) -> Self {
        Self(machine::splat(x))
    }

    /// Bits `4N .. 4N + 4` of each of the eight halves.
    #[inline(always)]
    pub fn nibbles<const N: u32>(self) -> Self {
        Self(machine::nibbles::<N>(self.0))
    }

    /// The low byte of each of the eight halves, with its sign.
    #[inline(always)]
    pub fn low_bytes(self) -> Self {
        Self(machine::low_bytes(self.0))
    }

    /// The high byte of each of the eight halves, with its sign.
    #[inline(always)]
    pub fn high_bytes(self) -> Self {
        Self(machine::high_bytes(self.0))
    }

    /// `self + x₀y₀ + x₁y₁` for each of the four pairs.
    #[inline(always)]
    pub fn add_products(self, x: Self, y: Self) -> Self {
        Self(machine::add_products(self.0, x.0, y.0))
    }

    #[inline(always)]
    pub fn to_floats(self) -> Floats {
        Floats(machine::to_floats(self.0))
    }
}

impl Floats {
    #[inline(always)]
    pub fn load(x: [f32; 4]) -> Self {
        Self(machine::load_floats(x))
    }

    #[inline(always)]
    pub fn store(self) -> [f32; 4] {
        machine::store_floats(self.0)
    }

    #[inline(always)]
    pub fn splat(x: f32) -> Self {
        Self(machine::splat_float(x))
    }
}

impl std::ops::Add for Floats {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(machine::add(self.0, other.0))
    }
}

impl std::ops::Mul for Floats {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(machine::mul(self.0, other.0))
    }
}
