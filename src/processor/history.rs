//! Keys and values of the tokens so far, rounded, and attention over them in integers.
//!
//! ```text
//! score = Σ over blocks of 32 columns of  factor·factor·Σ code·code
//! mixed = Σ over blocks of 32 tokens of   factor·Σ code·code
//! ```
//!
//! A long text costs what its keys and values weigh: codes of 14 bits in words of 16 are half of
//! f32, and 128-bit SIMD multiplies two of their pairs where it multiplies one float. 14 bits, for
//! then 32 products fit into 32 bits exactly. What they lose, 2⁻¹⁴ of the largest in a block, does
//! not show beside the rounding of the activations.
//!
//! Each query's sums run in the order of the tokens, whatever other queries come with it: one token
//! at a time gives the bits of all at once.

use std::ops::Range;

use crate::quantised::{BLOCK, Floats, Pairs, Sums, largest, round};
use crate::slices::softmax;

/// The largest code.
const LARGEST: f32 = 8191.0;

/// Keys that lie side by side.
const PANEL: usize = 4;

/// Registers of sums for one query.
const REGISTERS: usize = 4;

/// Queries that are taken together: each key and value is loaded once for them.
const TOGETHER: usize = 3;

/// Two codes each of four keys or columns.
type Words = [i32; 4];

/// 32 codes and the worth of a step of theirs.
type Rounded = ([i32; BLOCK / 2], f32);

/// Keys and values of one key head.
#[derive(Debug, Clone)]
pub struct History {
    /// Numbers in a head.
    width: usize,
    len: usize,
    /// `[len / 4, width / 2]`: a pair of columns of each of four keys.
    keys: Vec<Words>,
    /// `[len / 4, width / 32]`
    key_factors: Vec<[f32; PANEL]>,
    /// `[len / 32, width / 4]`: four columns of 32 values, two values in a word.
    values: Vec<[Words; BLOCK / 2]>,
    /// `[len]`
    value_factors: Vec<f32>,
}

impl History {
    /// Without tokens; heads are `width` wide.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self {
            width,
            len: 0,
            keys: Vec::new(),
            key_factors: Vec::new(),
            values: Vec::new(),
            value_factors: Vec::new(),
        }
    }

    /// Rows of words for a panel of keys, of factors for a panel of keys, of words for a block of
    /// values.
    fn rows(&self) -> [usize; 3] {
        [
            self.width.div_ceil(2),
            self.width.div_ceil(BLOCK),
            self.width.div_ceil(4),
        ]
    }

    /// Makes room for `tokens` in all.
    pub fn reserve(&mut self, tokens: usize) {
        let [pairs, blocks, fours] = self.rows();
        let room = |needed: usize, held: usize| needed.saturating_sub(held);
        let (panels, values) = (tokens.div_ceil(PANEL), tokens.div_ceil(BLOCK));
        let (keys, factors) = (self.keys.len(), self.key_factors.len());
        self.keys.reserve_exact(room(panels * pairs, keys));
        self.key_factors
            .reserve_exact(room(panels * blocks, factors));
        let held = self.values.len();
        self.values.reserve_exact(room(values * fours, held));
        let held = self.value_factors.len();
        self.value_factors.reserve_exact(room(tokens, held));
    }

    /// Memory taken, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Words>() * self.keys.capacity()
            + size_of::<[f32; PANEL]>() * self.key_factors.capacity()
            + size_of::<[Words; BLOCK / 2]>() * self.values.capacity()
            + size_of::<f32>() * self.value_factors.capacity()
    }

    /// Appends a token's key and value.
    pub fn push(&mut self, key: &[f32], value: &[f32]) {
        let [pairs, blocks, fours] = self.rows();
        let (panel, lane) = (self.len / PANEL, self.len % PANEL);
        if lane == 0 {
            self.keys.resize((panel + 1) * pairs, [0; 4]);
            self.key_factors.resize((panel + 1) * blocks, [0.0; PANEL]);
        }
        for (at, key) in key.chunks(BLOCK).enumerate() {
            let (codes, factor) = rounded(key);
            self.key_factors[panel * blocks + at][lane] = factor;
            let words = &mut self.keys[panel * pairs + at * BLOCK / 2..];
            for (word, code) in words.iter_mut().zip(codes).take(key.len().div_ceil(2)) {
                word[lane] = code;
            }
        }
        let (block, row) = (self.len / BLOCK, self.len % BLOCK);
        if row == 0 {
            self.values.resize((block + 1) * fours, [[0; 4]; BLOCK / 2]);
        }
        // One factor for the whole row: its share of a mixture is multiplied by it.
        let factor = largest(value) / LARGEST;
        self.value_factors.push(factor);
        for (column, code) in round(value, factor).enumerate() {
            let word = &mut self.values[block * fours + column / 4][row / 2][column % 4];
            *word |= i32::from(code as u16) << (16 * (row % 2));
        }
        self.len += 1;
    }

    /// Keys and values again, each `[len, width]`.
    #[must_use]
    pub fn widen(&self) -> [Vec<f32>; 2] {
        let [pairs, blocks, fours] = self.rows();
        let half = |word: i32, high: usize| f32::from((word >> (16 * high)) as i16);
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for token in 0..self.len {
            let (panel, lane) = (token / PANEL, token % PANEL);
            let (block, row) = (token / BLOCK, token % BLOCK);
            for column in 0..self.width {
                let word = self.keys[panel * pairs + column / 2][lane];
                let factor = self.key_factors[panel * blocks + column / BLOCK][lane];
                keys.push(half(word, column % 2) * factor);
                let word = self.values[block * fours + column / 4][row / 2][column % 4];
                values.push(half(word, row % 2) * self.value_factors[token]);
            }
        }
        [keys, values]
    }

    /// Attention of N queries `[N, width]` at one position over the tokens `seen`; `shares` is room
    /// to work in.
    fn attend<const N: usize>(
        &self,
        q: &[f32],
        scale: f32,
        seen: Range<usize>,
        shares: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        // Whole blocks that no query sees are passed over.
        let skipped = seen.start / BLOCK;
        let first = skipped * BLOCK;
        let row = seen.end.next_multiple_of(BLOCK);
        shares.resize(N * row, 0.0);
        self.score::<N>(q, scale, first..seen.end, shares);
        let mut totals = [0.0; N];
        for (shares, total) in shares.chunks_exact_mut(row).zip(&mut totals) {
            let unseen = seen.start - first;
            let shares = &mut shares[first..];
            shares[..unseen].fill(f32::NEG_INFINITY);
            *total = softmax(shares, seen.end - first);
            shares[..unseen].fill(0.0);
        }
        self.mix::<N>(shares, skipped, out);
        for (out, total) in out.chunks_exact_mut(self.width).zip(totals) {
            for out in out.iter_mut() {
                *out /= total;
            }
        }
    }

    /// Scores `[N, …]` of the panels that hold the keys `seen`, of which the first begins a panel.
    fn score<const N: usize>(&self, q: &[f32], scale: f32, seen: Range<usize>, scores: &mut [f32]) {
        let mut query = vec![[([0; BLOCK / 2], 0.0); N]; self.rows()[1]];
        for (n, q) in q.chunks_exact(self.width).enumerate() {
            for (block, q) in query.iter_mut().zip(q.chunks(BLOCK)) {
                let (codes, factor) = rounded(q);
                block[n] = (codes, factor * scale);
            }
        }
        let (panels, mut panel) = (seen.end.div_ceil(PANEL), seen.start / PANEL);
        while panel + REGISTERS <= panels {
            self.score_panels::<N, REGISTERS>(&query, panel, scores);
            panel += REGISTERS;
        }
        for panel in panel..panels {
            self.score_panels::<N, 1>(&query, panel, scores);
        }
    }

    /// Scores of P panels.
    #[inline(always)]
    fn score_panels<const N: usize, const P: usize>(
        &self,
        query: &[[Rounded; N]],
        first: usize,
        scores: &mut [f32],
    ) {
        let [pairs, blocks, _] = self.rows();
        let mut sums = [[Floats::ZERO; P]; N];
        for (block, query) in query.iter().enumerate() {
            let start = block * BLOCK / 2;
            let columns = (pairs - start).min(BLOCK / 2);
            let keys: [&[Words]; P] =
                std::array::from_fn(|p| &self.keys[(first + p) * pairs + start..][..columns]);
            let mut dots = [[Sums::ZERO; P]; N];
            for pair in 0..columns {
                let keys: [Pairs; P] = std::array::from_fn(|p| Pairs::load(keys[p][pair]));
                for n in 0..N {
                    let q = Pairs::splat(query[n].0[pair]);
                    for p in 0..P {
                        dots[n][p] = dots[n][p].add_products(keys[p], q);
                    }
                }
            }
            for p in 0..P {
                let factors = Floats::load(self.key_factors[(first + p) * blocks + block]);
                for n in 0..N {
                    let factors = factors * Floats::splat(query[n].1);
                    sums[n][p] = sums[n][p] + dots[n][p].to_floats() * factors;
                }
            }
        }
        let row = scores.len() / N;
        for (scores, sums) in scores.chunks_exact_mut(row).zip(sums) {
            let scores = scores[first * PANEL..].as_chunks_mut::<PANEL>().0;
            for (scores, sums) in scores.iter_mut().zip(sums) {
                *scores = sums.store();
            }
        }
    }

    /// `Σ share · value`, `[N, width]`, without the first blocks.
    fn mix<const N: usize>(&self, shares: &[f32], skipped: usize, out: &mut [f32]) {
        let (fours, row) = (self.rows()[2], shares.len() / N);
        let mut sums = vec![[Floats::ZERO; N]; fours];
        let factors = self.value_factors.chunks(BLOCK);
        let blocks = self.values.chunks_exact(fours).zip(factors);
        let blocks = blocks.take(row / BLOCK).enumerate().skip(skipped);
        for (at, (values, factors)) in blocks {
            let mut shared = [([0; BLOCK / 2], 0.0); N];
            for (shared, shares) in shared.iter_mut().zip(shares.chunks_exact(row)) {
                let mut scaled = [0.0; BLOCK];
                let shares = &shares[at * BLOCK..][..BLOCK];
                for (scaled, (share, factor)) in scaled.iter_mut().zip(shares.iter().zip(factors)) {
                    *scaled = share * factor;
                }
                *shared = rounded(&scaled);
            }
            let (values, rest) = values.as_chunks::<REGISTERS>();
            let (sums, last) = sums.as_chunks_mut::<REGISTERS>();
            for (sums, values) in sums.iter_mut().zip(values) {
                mix_columns(&shared, values, sums);
            }
            for (sums, values) in last.as_chunks_mut::<1>().0.iter_mut().zip(rest) {
                mix_columns(&shared, std::array::from_ref(values), sums);
            }
        }
        for (n, out) in out.chunks_exact_mut(self.width).enumerate() {
            for (out, sums) in out.chunks_mut(4).zip(&sums) {
                out.copy_from_slice(&sums[n].store()[..out.len()]);
            }
        }
    }
}

/// `sums += Σ share · value` over a block of tokens, for C times four columns.
#[inline(always)]
fn mix_columns<const N: usize, const C: usize>(
    shares: &[Rounded; N],
    values: &[[Words; BLOCK / 2]; C],
    sums: &mut [[Floats; N]; C],
) {
    let mut dots = [[Sums::ZERO; C]; N];
    for pair in 0..BLOCK / 2 {
        let values: [Pairs; C] = std::array::from_fn(|c| Pairs::load(values[c][pair]));
        for n in 0..N {
            let shares = Pairs::splat(shares[n].0[pair]);
            for c in 0..C {
                dots[n][c] = dots[n][c].add_products(values[c], shares);
            }
        }
    }
    for n in 0..N {
        let factor = Floats::splat(shares[n].1);
        for c in 0..C {
            sums[c][n] = sums[c][n] + dots[n][c].to_floats() * factor;
        }
    }
}

/// At most 32 numbers as codes and their factor.
fn rounded(x: &[f32]) -> Rounded {
    let factor = largest(x) / LARGEST;
    let mut codes = [0_i16; BLOCK];
    for (place, code) in codes.iter_mut().zip(round(x, factor)) {
        *place = code;
    }
    (bytemuck::cast(codes), factor)
}

/// Causal attention of the newest t tokens: `q [t, heads·hd]` over the histories of all key heads,
/// which hold these tokens already, gives `[t, heads·hd]`.
/// Each query sees as many tokens as the window has, its own among them; all without one.
#[must_use]
pub fn attend(
    q: &[f32],
    heads: usize,
    scale: f32,
    window: Option<usize>,
    histories: &[History],
) -> Vec<f32> {
    let mut out = vec![0.0; q.len()];
    let mut shares = Vec::new();
    for (at, history) in histories.iter().enumerate() {
        let row = heads * history.width;
        let group = row / histories.len();
        let start = history.len - q.len() / row;
        let rows = q.chunks_exact(row).zip(out.chunks_exact_mut(row));
        for (seen, (q, out)) in (start + 1..).zip(rows) {
            let (q, out) = (&q[at * group..][..group], &mut out[at * group..][..group]);
            let seen = window.map_or(0, |window| seen.saturating_sub(window))..seen;
            let together = TOGETHER * history.width;
            for (q, out) in q.chunks(together).zip(out.chunks_mut(together)) {
                let seen = seen.clone();
                match q.len() / history.width {
                    TOGETHER => history.attend::<TOGETHER>(q, scale, seen, &mut shares, out),
                    2 => history.attend::<2>(q, scale, seen, &mut shares, out),
                    _ => history.attend::<1>(q, scale, seen, &mut shares, out),
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{History, attend};

    /// Numbers without a pattern, in −1 … 1.
    fn noise(n: usize, mut state: u64) -> Vec<f32> {
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f32 / (1_u32 << 30) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    fn scale(width: usize) -> f32 {
        1.0 / (width as f32).sqrt()
    }

    fn histories(keys: &[f32], values: &[f32], kv_heads: usize, width: usize) -> Vec<History> {
        let mut histories = vec![History::new(width); kv_heads];
        let rows = keys.chunks(width).zip(values.chunks(width));
        for (at, (key, value)) in rows.enumerate() {
            histories[at % kv_heads].push(key, value);
        }
        histories
    }

    /// Tokens in all, new ones, and the window.
    const LENGTHS: [(usize, usize, Option<usize>); 10] = [
        (1, 1, None),
        (17, 2, None),
        (35, 35, None),
        (300, 5, None),
        (2049, 1, None),
        (2050, 2, None),
        (35, 35, Some(1)),
        (70, 70, Some(33)),
        (300, 5, Some(64)),
        (300, 2, Some(512)),
    ];

    /// Heads that fill no block and no register, groups of one to four queries, and lengths around
    /// every tile: within the rounding of plain sums, and the bits of one token at a time.
    #[test]
    fn attention_equals_plain_sums() {
        for (heads, kv_heads, width) in [(9, 3, 64), (6, 3, 40), (4, 4, 8), (8, 2, 10)] {
            for (len, t, window) in LENGTHS {
                let kv = len * kv_heads * width;
                let (keys, values) = (noise(kv, 1), noise(kv, 2));
                let q: Vec<f32> = noise(t * heads * width, 3)
                    .iter()
                    .map(|x| x * 3.0)
                    .collect();
                let whole = histories(&keys, &values, kv_heads, width);
                let found = attend(&q, heads, scale(width), window, &whole);
                let mut worst = 0.0_f64;
                for (at, q) in q.chunks(width).enumerate() {
                    let (seen, head) = (len - t + at / heads + 1, at % heads);
                    let column = head / (heads / kv_heads) * width;
                    let row = |of: &[f32], j: usize| {
                        let row = &of[j * kv_heads * width + column..][..width];
                        row.iter().map(|x| f64::from(*x)).collect::<Vec<_>>()
                    };
                    let dot = |j| {
                        let pairs = q.iter().zip(row(&keys, j));
                        pairs.map(|(q, k)| f64::from(*q) * k).sum::<f64>()
                    };
                    let raised = |j| (dot(j) / (width as f64).sqrt()).exp();
                    let first = window.map_or(0, |window| seen.saturating_sub(window));
                    let shares: Vec<f64> = (first..seen).map(raised).collect();
                    let total: f64 = shares.iter().sum();
                    for d in 0..width {
                        let each = (first..).zip(&shares);
                        let sum: f64 = each.map(|(j, share)| share * row(&values, j)[d]).sum();
                        let apart = f64::from(found[at * width + d]) - sum / total;
                        worst = worst.max(apart.abs());
                    }
                }
                assert!(
                    worst < 3e-4,
                    "{heads}/{kv_heads}/{width}, {len}: {worst:.1e}"
                );

                let kv = (len - t) * kv_heads * width;
                let mut grown = histories(&keys[..kv], &values[..kv], kv_heads, width);
                let mut single = Vec::new();
                for (at, q) in q.chunks(heads * width).enumerate() {
                    for (head, history) in grown.iter_mut().enumerate() {
                        let from = ((len - t + at) * kv_heads + head) * width;
                        history.push(&keys[from..][..width], &values[from..][..width]);
                    }
                    single.extend(attend(q, heads, scale(width), window, &grown));
                }
                assert!(found == single, "{heads}/{kv_heads}/{width}, {len}: bits");
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_visible() {
        for bad in [f32::NAN, f32::INFINITY] {
            for at in 0..3 {
                let mut rows = [noise(40 * 8, 1), noise(40 * 8, 2), noise(8, 3)];
                rows[at][5] = bad;
                let [keys, values, q] = rows;
                let y = attend(&q, 1, scale(8), None, &histories(&keys, &values, 1, 8));
                assert!(y.iter().any(|y| y.is_nan()), "{bad} in part {at}");
            }
        }
    }

    #[test]
    fn widened_rows_are_what_was_pushed() {
        let (keys, values) = (noise(37 * 40, 1), noise(37 * 40, 2));
        let [found_keys, found_values] = histories(&keys, &values, 1, 40)[0].widen();
        for (found, pushed) in [(found_keys, keys), (found_values, values)] {
            assert_eq!(found.len(), pushed.len(), "numbers");
            let apart = found.iter().zip(&pushed).map(|(a, b)| (a - b).abs());
            assert!(apart.fold(0.0, f32::max) < 1.0 / 16000.0, "half a step");
        }
    }
}
