//! The numbers that torch's CPU generator draws, for methods that store a seed instead of a matrix:
//! MT19937 as published by Matsumoto and Nishimura (1998), and torch's conversions of its output to
//! floats.

use std::collections::HashMap;

const N: usize = 624;
const M: usize = 397;

/// `torch.Generator().manual_seed(seed)`
pub(super) struct TorchRandom {
    state: [u32; N],
    at: usize,
}

impl TorchRandom {
    /// Seeds the generator with the low 32 bits, as torch does.
    #[must_use]
    pub(super) fn new(seed: u64) -> Self {
        let mut state = [0_u32; N];
        state[0] = seed as u32;
        for i in 1..N {
            let last = state[i - 1];
            state[i] = 1_812_433_253_u32
                .wrapping_mul(last ^ (last >> 30))
                .wrapping_add(i as u32);
        }
        Self { state, at: N }
    }

    /// The next 32 random bits.
    pub(super) fn bits(&mut self) -> u32 {
        if self.at == N {
            for i in 0..N {
                let joined =
                    (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
                let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + M) % N] ^ (joined >> 1) ^ twist;
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `torch.empty(n).uniform_(-bound, bound)` with the bound of Kaiming's rule for a layer of
    /// `fan_in` inputs, `√3·√2/√fan_in`.
    pub(super) fn kaiming_uniform(&mut self, n: usize, fan_in: usize) -> Vec<f32> {
        let bound = (3_f64.sqrt() * (2_f64.sqrt() / (fan_in as f64).sqrt())) as f32;
        let span = bound + bound;
        (0..n)
            .map(|_| (self.bits() & 0xff_ffff) as f32 * 2_f32.powi(-24) * span - bound)
            .collect()
    }

    /// `torch.nn.init.kaiming_uniform_(a=√5)` of n numbers in bfloat16, `±1/√fan_in`: drawn in
    /// f32 with one rounding, then rounded; what would become the upper end becomes the lower.
    pub(super) fn bf16_uniform(&mut self, n: usize, fan_in: usize) -> Vec<f32> {
        let bound = (3_f64.sqrt() * ((2.0_f64 / 6.0).sqrt() / (fan_in as f64).sqrt())) as f32;
        let end = half::bf16::from_f32(bound);
        let mut draw = || {
            let share = (self.bits() & 0xff_ffff) as f32 * 2_f32.powi(-24);
            let value = half::bf16::from_f32(share.mul_add(bound + bound, -bound));
            if value >= end { -end } else { value }.to_f32()
        };
        (0..n).map(|_| draw()).collect()
    }

    /// Of n numbers of `torch.rand` the lowest and the highest half of `share` as −1 and 1, the
    /// others as 0.
    pub(super) fn signs(&mut self, n: usize, share: f64) -> Vec<f32> {
        let (low, high) = ((share / 2.0) as f32, (1.0 - share / 2.0) as f32);
        let mut draw = || {
            let x = (self.bits() & 0xff_ffff) as f32 * 2_f32.powi(-24);
            f32::from(i8::from(x > high) - i8::from(x < low))
        };
        (0..n).map(|_| draw()).collect()
    }

    /// `torch.normal(0, deviation, n)` in f32 (Box and Muller 1958). From 16 numbers on, torch draws
    /// them uniformly and turns 16 at a time, those of the last 16 anew where n is no multiple of 16; fewer are
    /// drawn two by two in f64.
    pub(super) fn normal(&mut self, n: usize, deviation: f64) -> Vec<f32> {
        if n < 16 {
            let mut numbers = Vec::with_capacity(n + 1);
            while numbers.len() < n {
                let (turn, length) = (self.uniform_f64(), self.uniform_f64());
                let radius = (-2.0 * (-length).ln_1p()).sqrt();
                let (sin, cos) = (std::f64::consts::TAU * turn).sin_cos();
                numbers.extend([cos, sin].map(|x| (radius * x * deviation) as f32));
            }
            numbers.truncate(n);
            return numbers;
        }
        let mut uniform = |_| (self.bits() & 0xff_ffff) as f32 * 2_f32.powi(-24);
        let mut numbers: Vec<f32> = (0..n).map(&mut uniform).collect();
        let turn = |sixteen: &mut [f32]| {
            let (first, second) = sixteen.split_at_mut(8);
            for (x, y) in first.iter_mut().zip(second) {
                let radius = (-2.0 * (1.0 - *x).ln()).sqrt();
                let (sin, cos) = (std::f32::consts::TAU * *y).sin_cos();
                (*x, *y) = (
                    radius * cos * deviation as f32,
                    radius * sin * deviation as f32,
                );
            }
        };
        numbers.chunks_exact_mut(16).for_each(turn);
        if !n.is_multiple_of(16) {
            let last: Vec<f32> = (0..16).map(&mut uniform).collect();
            numbers[n - 16..].copy_from_slice(&last);
            turn(&mut numbers[n - 16..]);
        }
        numbers
    }

    /// A number of `torch.rand` in f64.
    fn uniform_f64(&mut self) -> f64 {
        let (high, low) = (u64::from(self.bits()), u64::from(self.bits()));
        ((high << 32 | low) & ((1 << 53) - 1)) as f64 * 2_f64.powi(-53)
    }

    /// The first k numbers of `torch.randperm(n)`, for n below 2³²/20, where torch draws 32 bits
    /// for each.
    pub(super) fn shuffle_start(&mut self, n: usize, k: usize) -> Vec<usize> {
        let mut moved = HashMap::new();
        let mut draw = |at: usize| {
            let other = at + self.bits() as usize % (n - at).max(1);
            let here = moved.get(&at).copied().unwrap_or(at);
            moved.insert(other, here).unwrap_or(other)
        };
        (0..k).map(&mut draw).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::TorchRandom;

    /// The reference implementation's 10,000th output for its default seed.
    #[test]
    fn equals_the_published_generator() {
        let mut random = TorchRandom::new(5489);
        let last = (0..10_000).map(|_| random.bits()).last();
        assert_eq!(last, Some(4_123_659_995), "mt19937 sequence");
    }
}
