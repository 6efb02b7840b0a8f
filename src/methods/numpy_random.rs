//! The numbers that `numpy.random.default_rng(seed)` draws, for methods that store a seed instead of
//! places: PCG64 (O'Neill 2014, XSL RR 128/64), started by numpy's SeedSequence, and numpy's ways to
//! whole numbers.

use std::collections::HashSet;

/// `numpy.random.default_rng(seed)`
pub(super) struct NumpyRandom {
    state: u128,
    step: u128,
    /// The upper half of the last 64 bits, which the next 32 are.
    half: Option<u32>,
}

/// SeedSequence's hash: mixes words into a constant that changes with each.
struct Hash {
    constant: u32,
    factor: u32,
}

impl Hash {
    fn of(&mut self, word: u32) -> u32 {
        let word = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.factor);
        let word = word.wrapping_mul(self.constant);
        word ^ (word >> 16)
    }
}

impl NumpyRandom {
    #[must_use]
    pub(super) fn new(seed: u64) -> Self {
        let mut hash = Hash {
            constant: 0x43b0_d7e5,
            factor: 0x931e_8875,
        };
        let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(|word| hash.of(word));
        for from in 0..4 {
            for to in (0..4).filter(|to| *to != from) {
                let hashed = hash.of(pool[from]);
                let left = pool[to].wrapping_mul(0xca01_f9dd);
                let mixed = left.wrapping_sub(hashed.wrapping_mul(0x4973_f715));
                pool[to] = mixed ^ (mixed >> 16);
            }
        }
        let mut hash = Hash {
            constant: 0x8b51_f9dd,
            factor: 0x58f3_8ded,
        };
        let words: Vec<u128> = (0..8).map(|at| hash.of(pool[at % 4]).into()).collect();
        // Words come low half first, numbers of 128 bits high half first.
        let number = |at: usize| words[at] | words[at + 1] << 32;
        let start = number(0) << 64 | number(2);
        let mut random = Self {
            state: 0,
            step: (number(4) << 64 | number(6)) << 1 | 1,
            half: None,
        };
        random.advance();
        random.state = random.state.wrapping_add(start);
        random.advance();
        random
    }

    fn advance(&mut self) {
        const FACTOR: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
        self.state = self.state.wrapping_mul(FACTOR).wrapping_add(self.step);
    }

    /// The next 32 random bits: the lower half of 64, then the upper one.
    fn bits(&mut self) -> u32 {
        if let Some(half) = self.half.take() {
            return half;
        }
        self.advance();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        let bits = folded.rotate_right((self.state >> 122) as u32);
        self.half = Some((bits >> 32) as u32);
        bits as u32
    }

    /// A number from 0 to `last`, below 2³² − 1, by a product (Lemire 2019).
    fn scaled(&mut self, last: usize) -> usize {
        let count = last as u64 + 1;
        if last == 0 {
            return 0;
        }
        let mut product = u64::from(self.bits()) * count;
        if u64::from(product as u32) < count {
            let uneven = u64::from(u32::MAX - last as u32) % count;
            while u64::from(product as u32) < uneven {
                product = u64::from(self.bits()) * count;
            }
        }
        (product >> 32) as usize
    }

    /// A number from 0 to `last`, below 2³², by drawing until one fits.
    fn masked(&mut self, last: usize) -> usize {
        if last == 0 {
            return 0;
        }
        let mask = u32::MAX >> (last as u32).leading_zeros();
        loop {
            let number = (self.bits() & mask) as usize;
            if number <= last {
                return number;
            }
        }
    }

    /// `rng.shuffle(items)`
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = self.masked(at);
            items.swap(at, other);
        }
    }

    /// `rng.choice(n, size=k, replace=False)`, for k at most n.
    pub(super) fn choice(&mut self, n: usize, k: usize) -> Vec<usize> {
        if n > 10_000 && k > n / 50 {
            let mut all: Vec<usize> = (0..n).collect();
            self.exchange(&mut all, (n - k).max(1));
            return all.split_off(n - k);
        }
        // Floyd's way (Bentley and Floyd 1987).
        let mut taken = HashSet::with_capacity(k);
        let mut drawn = Vec::with_capacity(k);
        for last in n - k..n {
            let number = self.scaled(last);
            let number = if taken.insert(number) { number } else { last };
            taken.insert(number);
            drawn.push(number);
        }
        self.exchange(&mut drawn, 1);
        drawn
    }

    /// Shuffles from the end down to place `first`, as `choice` does.
    fn exchange(&mut self, items: &mut [usize], first: usize) {
        for at in (first..items.len()).rev() {
            let other = self.scaled(at);
            items.swap(at, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NumpyRandom;

    /// What numpy 2.4 prints.
    #[test]
    fn equals_numpy() {
        assert_eq!(NumpyRandom::new(42).choice(10, 4), [4, 0, 5, 6]);
        let mut items = [0, 1, 2, 3, 4, 5];
        NumpyRandom::new(42).shuffle(&mut items);
        assert_eq!(items, [3, 2, 5, 4, 1, 0]);
        let many = NumpyRandom::new(123_456_789_012).choice(20_000, 5_000);
        assert_eq!(many[..4], [7511, 4780, 18009, 2735]);
        assert_eq!(many[4_998..], [11320, 19048]);
    }
}
