//! What a file packs into bits, 32 numbers at a time: steps over whole arrays, which compile to SIMD. None of them is
//! generic or inlined, since what calls them is built for size.

/// Numbers in a step.
pub const COUNT: usize = 32;

/// What the largest float with an integer in its low bits begins from: added to a small one it rounds it.
const ROUNDER: f32 = 12_582_912.0;

/// The low nibbles of 16 bytes, then their high ones.
#[inline(never)]
#[must_use]
pub fn nibbles(bytes: &[u8; COUNT / 2]) -> [u8; COUNT] {
    let mut codes = [0; COUNT];
    let (low, high) = codes.split_at_mut(COUNT / 2);
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
    codes
}

/// So many bits of each byte, from a place on.
#[inline(never)]
#[must_use]
pub fn fields(bytes: &[u8; COUNT], from: usize, bits: usize) -> [u8; COUNT] {
    let mask = (1 << bits) - 1;
    bytes.map(|byte| byte >> from & mask)
}

/// Each bit of a word by itself.
#[inline(never)]
#[must_use]
pub fn spread(word: u32) -> [u8; COUNT] {
    let mut bits = [0; COUNT];
    for (n, bit) in bits.iter_mut().enumerate() {
        *bit = (word >> n) as u8 & 1;
    }
    bits
}

/// Puts higher bits onto codes.
#[inline(never)]
pub fn put_on(codes: &mut [u8; COUNT], higher: &[u8; COUNT], at: usize) {
    for (code, higher) in codes.iter_mut().zip(higher) {
        *code |= higher << at;
    }
}

/// Codes counted from the one that stands for 0; those below wrap, as bytes do.
#[inline(never)]
#[must_use]
pub fn counted_from(codes: &[u8; COUNT], zero: u8) -> [i8; COUNT] {
    codes.map(|code| code.wrapping_sub(zero) as i8)
}

/// `scale·(code − zero) + offset`, with scale and offset of each half.
#[inline(never)]
#[must_use]
pub fn widened(codes: &[u8; COUNT], zero: u8, scales: [f32; 2], offsets: [f32; 2]) -> [f32; COUNT] {
    let mut values = [0.0; COUNT];
    let (codes, _) = codes.as_chunks::<{ COUNT / 2 }>();
    let (halves, _) = values.as_chunks_mut::<{ COUNT / 2 }>();
    for half in 0..2 {
        for (value, code) in halves[half].iter_mut().zip(&codes[half]) {
            let code = f32::from(i16::from(*code) - i16::from(zero));
            *value = scales[half] * code + offsets[half];
        }
    }
    values
}

/// The nearest codes of 8 bits, and the step between them.
#[inline(never)]
#[must_use]
pub fn rounded(values: &[f32; COUNT]) -> ([i8; COUNT], f32) {
    // Without its sign a float is the larger, the larger its bits are: whole numbers are compared at once.
    let bits = values.map(|x| x.to_bits() & 0x7fff_ffff);
    let largest = f32::from_bits(bits.into_iter().fold(0, u32::max));
    let step = largest / 127.0;
    let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
    let code = |value: f32| (value * inverse + ROUNDER).to_bits() as i8;
    (values.map(code), step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> [u8; COUNT] {
        std::array::from_fn(|n| (n * 37 + 11) as u8)
    }

    #[test]
    fn bits_stand_where_they_stood() {
        let bytes = bytes();
        let fields = fields(&bytes, 3, 2);
        let spread = spread(0x8000_0005);
        let half: [u8; 16] = *bytes.first_chunk().unwrap();
        let nibbles = nibbles(&half);
        for n in 0..COUNT {
            assert_eq!(fields[n], bytes[n] >> 3 & 3);
            assert_eq!(spread[n], u8::from([0, 2, 31].contains(&n)));
            let nibble = if n < 16 {
                half[n] & 15
            } else {
                half[n - 16] >> 4
            };
            assert_eq!(nibbles[n], nibble);
        }
        let mut codes = nibbles;
        put_on(&mut codes, &spread, 4);
        assert_eq!(codes[31], nibbles[31] | 16);
        assert_eq!(codes[1], nibbles[1]);
    }

    #[test]
    fn halves_have_scales_of_their_own() {
        let codes: [u8; COUNT] = std::array::from_fn(|n| n as u8);
        let values = widened(&codes, 4, [1.0, 2.0], [0.5, -1.0]);
        assert_eq!((values[0], values[16]), (-3.5, 23.0));
        assert_eq!(counted_from(&codes, 128)[0], -128);
    }

    #[test]
    fn the_nearest_code_is_taken() {
        let values = std::array::from_fn(|n| n as f32 * if n % 2 == 0 { 1.0 } else { -1.0 });
        let (codes, step) = rounded(&values);
        assert_eq!(codes[31], -127);
        for (code, value) in codes.iter().zip(values) {
            assert!((f32::from(*code) * step - value).abs() <= step / 2.0 * 1.001);
        }
        assert_eq!(rounded(&[0.0; COUNT]), ([0; COUNT], 0.0));
    }
}
