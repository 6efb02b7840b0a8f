//! Logits to tokens where the logits are: a few numbers are read back, not a vocabulary.

use std::future::Future;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::launch::{Wgsl, buffer, empty, int_buffer, int_tensor, launch, read};
use crate::error::Result;
use crate::measure::known_kl;
use crate::sample::{Answer, Question, noise_key};

/// Threads of a workgroup; each row is one workgroup's.
const THREADS: usize = 256;
/// The most tokens of which a row reports how probable they are.
const MOST: usize = 16;
/// Words of a row's report: id, its logit, `ln Σ exp` (NaN unless all numbers that the choice is made
/// by are finite), KL, and three words for each of [`MOST`] tokens: id, logit here, logit in the row
/// that is compared.
const REPORT: usize = 4 + 3 * MOST;
/// Rounds in which a threshold among 2³² numbers is found, if each divides the rest by 8.
const ROUNDS: usize = 12;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Choose {
    vocab: usize,
}

impl Wgsl for Choose {
    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("logits", "f32"),
            ("asked", "u32"),
            ("seen", "u32"),
            ("newest", "i32"),
            ("report", "u32"),
            ("ids", "i32"),
        ]
    }

    fn body(&self) -> String {
        format!(
            "const N = {vocab}u;
             const WORDS = {words}u;
             struct Settings {{
                 key: vec2<u32>, temperature: f32, top_k: u32, top_p: f32, min_p: f32, penalty: f32,
                 top: u32, reference: u32, shadow: u32, newest: u32,
             }}
             var<workgroup> settings: Settings;
             var<workgroup> pool: array<array<vec4<f32>, 2>, {THREADS}>;
             var<workgroup> winners: array<u32, {THREADS}>;
             var<workgroup> range: vec2<u32>;
             var<workgroup> found: atomic<u32>;
             // The largest magnitude's bits. Compilers may take it that no number is infinite or NaN, and
             // max drops a NaN; in bits, these are above all numbers.
             var<workgroup> magnitude: atomic<u32>;
             var<workgroup> list: array<u32, {MOST}>;

             // Order-preserving: larger numbers have larger ranks.
             fn rank(x: f32) -> u32 {{
                 let bits = bitcast<u32>(x);
                 return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
             }}
             fn mix(start: u32) -> u32 {{
                 var x = (start ^ (start >> 16u)) * 0x7feb352du;
                 x = (x ^ (x >> 15u)) * 0x846ca68bu;
                 return x ^ (x >> 16u);
             }}
             fn gumbel(key: vec2<u32>, id: u32) -> f32 {{
                 let v = (f32(mix(mix(id + key.x) ^ key.y) >> 9u) + 0.5) / 8388608.0;
                 let small = v * (1.0 + v * (0.5 + v * (1.0 / 3.0 + v * 0.25)));
                 return -log(select(-log(1.0 - v), small, v < 1.0 / 64.0));
             }}
             // The logit that the choice is made by.
             fn score(s: Settings, row: u32, i: u32) -> f32 {{
                 var l = logits[row * N + i];
                 if s.penalty != 1.0 {{
                     var is_seen = ((seen[row * WORDS + i / 32u] >> (i % 32u)) & 1u) == 1u;
                     if s.newest == 1u {{ is_seen = is_seen || u32(newest[row]) == i; }}
                     if is_seen {{ l = select(l * s.penalty, l / s.penalty, l > 0.0); }}
                 }}
                 return select(l, l / s.temperature, s.temperature > 0.0);
             }}
             fn sum(lane: u32, a: vec4<f32>, b: vec4<f32>) -> array<vec4<f32>, 2> {{
                 pool[lane] = array<vec4<f32>, 2>(a, b);
                 for (var half = {half}u; half > 0u; half /= 2u) {{
                     workgroupBarrier();
                     if lane < half {{
                         pool[lane][0] += pool[lane + half][0];
                         pool[lane][1] += pool[lane + half][1];
                     }}
                 }}
                 workgroupBarrier();
                 let result = pool[0];
                 workgroupBarrier();
                 return result;
             }}
             fn largest(lane: u32, a: vec4<f32>) -> vec4<f32> {{
                 pool[lane][0] = a;
                 for (var half = {half}u; half > 0u; half /= 2u) {{
                     workgroupBarrier();
                     if lane < half {{ pool[lane][0] = max(pool[lane][0], pool[lane + half][0]); }}
                 }}
                 workgroupBarrier();
                 let result = pool[0][0];
                 workgroupBarrier();
                 return result;
             }}
             // The smallest rank above which less than `wanted` lies: of scores, each counting 1; of
             // scores of rank `floor` and above, each counting exp(score - most); or of plain logits.
             fn threshold(
                 s: Settings, row: u32, lane: u32, kind: u32, wanted: f32, floor: u32, most: f32,
             ) -> u32 {{
                 if lane == 0u {{ range = vec2<u32>(0u, 0xff800000u); }}
                 for (var round = 0u; round < {ROUNDS}u; round += 1u) {{
                     let now = workgroupUniformLoad(&range);
                     let step = (now.y - now.x) / 8u + 1u;
                     let low = vec4<u32>(now.x) + vec4<u32>(0u, 1u, 2u, 3u) * step;
                     let high = low + vec4<u32>(4u * step);
                     var above_low = vec4<f32>();
                     var above_high = vec4<f32>();
                     for (var i = lane; i < N; i += {THREADS}u) {{
                         var x = logits[row * N + i];
                         if kind != 2u {{ x = score(s, row, i); }}
                         let place = rank(x);
                         let counts = select(1.0, select(0.0, exp(x - most), place >= floor), kind == 1u);
                         above_low += select(vec4<f32>(), vec4<f32>(counts), vec4<u32>(place) > low);
                         above_high += select(vec4<f32>(), vec4<f32>(counts), vec4<u32>(place) > high);
                     }}
                     var above = sum(lane, above_low, above_high);
                     if lane == 0u {{
                         var next = vec2<u32>(now.x + 7u * step + 1u, now.y);
                         for (var j = 8u; j > 0u; j -= 1u) {{
                             if above[(j - 1u) / 4u][(j - 1u) % 4u] < wanted {{
                                 let at = now.x + (j - 1u) * step;
                                 next = vec2<u32>(select(at - step + 1u, now.x, j == 1u), min(at, now.y));
                             }}
                         }}
                         range = next;
                     }}
                 }}
                 return workgroupUniformLoad(&range).y;
             }}

             @compute @workgroup_size({THREADS})
             fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
                 let row = group.y;
                 if lane == 0u {{
                     settings = Settings(
                         vec2<u32>(asked[0], asked[1]), bitcast<f32>(asked[2]), asked[3],
                         bitcast<f32>(asked[4]), bitcast<f32>(asked[5]), bitcast<f32>(asked[6]),
                         asked[7], asked[8], asked[9], asked[10],
                     );
                     atomicStore(&found, 0u);
                     atomicStore(&magnitude, 0u);
                 }}
                 let s = workgroupUniformLoad(&settings);
                 // The row beside ours: the reference's for the first, the first for all others.
                 let other = select(0u, s.reference, row == 0u) * N;

                 var most = vec4<f32>(-3e38);
                 var bits = 0u;
                 for (var i = lane; i < N; i += {THREADS}u) {{
                     let x = logits[row * N + i];
                     let y = score(s, row, i);
                     most = max(most, vec4<f32>(x, y, logits[other + i], 0.0));
                     bits = max(bits, max(bitcast<u32>(x) & 0x7fffffffu, bitcast<u32>(y) & 0x7fffffffu));
                 }}
                 atomicMax(&magnitude, bits);
                 most = largest(lane, most);
                 var sums = vec4<f32>();
                 for (var i = lane; i < N; i += {THREADS}u) {{
                     let p = exp(logits[row * N + i] - most.x);
                     let q = logits[other + i];
                     sums += vec4<f32>(p, p * (logits[row * N + i] - q), exp(q - most.z), 0.0);
                 }}
                 sums = sum(lane, sums, vec4<f32>())[0];
                 let log_sum = most.x + log(sums.x);
                 let kl = sums.y / sums.x - (log_sum - (most.z + log(sums.z)));

                 // Ranks below which nothing is chosen, and below which nothing is listed. One call for
                 // all three: compilers write out each call.
                 var floor = 0u;
                 var least = 0u;
                 for (var kind = 0u; kind < 3u; kind += 1u) {{
                     var is_asked = s.top > 0u;
                     if kind < 2u {{ is_asked = s.temperature > 0.0; }}
                     if kind == 0u {{ is_asked = is_asked && s.top_k > 0u && s.top_k < N; }}
                     if kind == 1u {{ is_asked = is_asked && s.top_p < 1.0; }}
                     if !is_asked {{ continue; }}
                     var wanted = f32(select(s.top, s.top_k, kind == 0u));
                     if kind == 1u {{
                         var mass = 0.0;
                         for (var i = lane; i < N; i += {THREADS}u) {{
                             let x = score(s, row, i);
                             mass += select(0.0, exp(x - most.y), rank(x) >= floor);
                         }}
                         wanted = s.top_p * sum(lane, vec4<f32>(mass), vec4<f32>())[0].x;
                     }}
                     let found_rank = threshold(s, row, lane, kind, wanted, floor, most.y);
                     if kind == 2u {{ least = found_rank; }} else {{ floor = max(floor, found_rank); }}
                 }}
                 if s.temperature > 0.0 && s.min_p > 0.0 {{
                     floor = max(floor, rank(most.y + log(s.min_p)));
                 }}
                 var best = -3e38;
                 var winner = 0u;
                 for (var i = lane; i < N; i += {THREADS}u) {{
                     var x = score(s, row, i);
                     if rank(x) < floor {{ continue; }}
                     if s.temperature > 0.0 {{ x += gumbel(s.key, i); }}
                     if x > best {{
                         best = x;
                         winner = i;
                     }}
                 }}
                 pool[lane][0].x = best;
                 winners[lane] = winner;
                 for (var half = {half}u; half > 0u; half /= 2u) {{
                     workgroupBarrier();
                     if lane < half {{
                         let mine = pool[lane][0].x;
                         let theirs = pool[lane + half][0].x;
                         let first = winners[lane + half] < winners[lane];
                         if theirs > mine || (theirs == mine && first) {{
                             pool[lane][0].x = theirs;
                             winners[lane] = winners[lane + half];
                         }}
                     }}
                 }}
                 workgroupBarrier();
                 let to = row * {REPORT}u;
                 if lane == 0u {{
                     let id = winners[0];
                     report[to] = id;
                     report[to + 1u] = bitcast<u32>(logits[row * N + id]);
                     let is_finite = atomicLoad(&magnitude) < 0x7f800000u;
                     report[to + 2u] = select(0x7fc00000u, bitcast<u32>(log_sum), is_finite);
                     report[to + 3u] = bitcast<u32>(kl);
                     // A shadow reads what the first row's stream says.
                     if row == 0u || row != s.shadow {{ ids[row] = i32(id); }}
                     if row == 0u {{ ids[s.shadow] = i32(id); }}
                 }}
                 if s.top > 0u {{
                     for (var i = lane; i < N; i += {THREADS}u) {{
                         if rank(logits[row * N + i]) >= least {{
                             let at = atomicAdd(&found, 1u);
                             if at < {MOST}u {{ list[at] = i; }}
                         }}
                     }}
                     workgroupBarrier();
                     if lane == 0u {{
                         let count = min(atomicLoad(&found), {MOST}u);
                         for (var at = 0u; at < min(s.top, count); at += 1u) {{
                             var place = at;
                             for (var j = at + 1u; j < count; j += 1u) {{
                                 let x = logits[row * N + list[j]];
                                 let y = logits[row * N + list[place]];
                                 if x > y || (x == y && list[j] < list[place]) {{ place = j; }}
                             }}
                             let id = list[place];
                             list[place] = list[at];
                             report[to + 4u + 3u * at] = id;
                             report[to + 5u + 3u * at] = bitcast<u32>(logits[row * N + id]);
                             report[to + 6u + 3u * at] = bitcast<u32>(logits[other + id]);
                         }}
                     }}
                 }}
             }}",
            vocab = self.vocab,
            words = self.vocab.div_ceil(32),
            half = THREADS / 2,
        )
    }
}

/// A [`Question`] on the GPU. It is put before a pass, since what is sent to a GPU in the middle of
/// one would cut it in two.
#[derive(Debug)]
pub struct Asked {
    asked: Tensor<1, Int>,
    seen: Tensor<1, Int>,
    rows: usize,
    reference: Option<usize>,
    top: usize,
}

impl Asked {
    /// Whether a GPU can answer; else all logits must be read.
    #[must_use]
    pub fn suits(question: &Question<'_>) -> bool {
        question.top <= MOST
    }

    /// `shadow` is a row whose stream says what the first row's says. With `newest`, each row's stream
    /// has one more token than `question` knows of.
    #[must_use]
    pub fn new(
        question: &Question<'_>,
        shadow: Option<usize>,
        newest: bool,
        vocab: usize,
        device: &Device,
    ) -> Self {
        let sampling = question.sampling;
        let [first, second] = noise_key(sampling.seed, question.position);
        let asked = vec![
            first,
            second,
            sampling.divisor().to_bits(),
            u32::try_from(sampling.top_k).unwrap_or(u32::MAX),
            sampling.top_p.to_bits(),
            sampling.min_p.to_bits(),
            sampling.repetition_penalty.to_bits(),
            question.top as u32,
            question.reference.unwrap_or(0) as u32,
            shadow.unwrap_or(0) as u32,
            u32::from(newest),
        ];
        let words = vocab.div_ceil(32);
        let seen = match sampling.penalises() {
            false => vec![0],
            true => {
                let mut seen = vec![0_u32; question.so_far.len() * words];
                for (row, ids) in question.so_far.iter().enumerate() {
                    // Ids outside the vocabulary are the pass's to refuse.
                    for id in ids.iter().map(|id| *id as usize).filter(|id| *id < vocab) {
                        seen[row * words + id / 32] |= 1 << (id % 32);
                    }
                }
                seen
            }
        };
        let send = |words: Vec<u32>| {
            let length = words.len();
            let words: Vec<i32> = words.into_iter().map(u32::cast_signed).collect();
            Tensor::from_data(TensorData::new(words, [length]), device)
        };
        Self {
            asked: send(asked),
            seen: send(seen),
            rows: question.so_far.len(),
            reference: question.reference,
            top: question.top,
        }
    }

    /// Chooses by logits `[rows, vocab]`: the ids `[rows]`, still on the GPU, and what is read back of
    /// them. The reading is under way at once; whatever is launched later runs behind it. `newest`
    /// are the ids that the question did not know of.
    pub fn answer(
        self,
        logits: Tensor<2>,
        newest: Option<&Tensor<1, Int>>,
    ) -> (Tensor<1, Int>, impl Future<Output = Result<Answer>> + use<>) {
        let vocab = logits.dims()[1];
        let logits = buffer(logits);
        let (asked, seen) = (int_buffer(self.asked), int_buffer(self.seen));
        // No buffer may be bound twice, not even one that is not read.
        let newest = newest.map_or_else(|| empty(&logits, [1]), |ids| int_buffer(ids.clone()));
        let report = empty(&logits, [self.rows * REPORT]);
        let ids = empty(&logits, [self.rows]);
        launch(
            Choose { vocab },
            [1, self.rows],
            &[&logits, &asked, &seen, &newest, &report, &ids],
        );
        let words = read(report);
        let (reference, top) = (self.reference, self.top.min(vocab));
        let answer = async move { Ok(decode(&words.await?, reference, top)) };
        (int_tensor(ids), answer)
    }
}

fn decode(words: &[u32], reference: Option<usize>, top: usize) -> Answer {
    let rows: Vec<&[u32]> = words.chunks_exact(REPORT).collect();
    let number = |bits: u32| f64::from(f32::from_bits(bits));
    if let Some(row) = rows.iter().position(|row| !number(row[2]).is_finite()) {
        return Answer::diverged(row);
    }
    let log_p = |row: usize, logit: u32| number(logit) - number(rows[row][2]);
    let mut listed: Vec<(u32, f64, Option<f64>)> = Vec::new();
    for row in [Some(0), reference.filter(|row| *row > 0)]
        .into_iter()
        .flatten()
    {
        for entry in rows[row][4..].chunks_exact(3).take(top) {
            let (id, own, other) = (entry[0], entry[1], entry[2]);
            let (first, second) = if row == 0 { (own, other) } else { (other, own) };
            if listed.iter().all(|(known, ..)| *known != id) {
                let base = reference.map(|row| log_p(row, second).exp());
                listed.push((id, log_p(0, first).exp(), base));
            }
        }
    }
    let chosen = (0..rows.len()).map(|row| (rows[row][0], log_p(row, rows[row][1])));
    Answer {
        diverged: None,
        chosen: chosen.collect(),
        kl_nats: reference.and_then(|_| known_kl(number(rows[0][3]))),
        top: listed,
    }
}
