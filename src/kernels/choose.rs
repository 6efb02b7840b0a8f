//! Logits to tokens where the logits are: a few numbers are read back, not a vocabulary.
//!
//! A row's token is `argmax(s + g)` of the scores s = logit / temperature that top-k, top-p and min-p
//! leave, with Gumbel noise g: a draw from their softmax. KL is `Σ p (ln p − ln q)` of the row and the
//! one that it is compared with.
//!
//! | buffer | shape |
//! |---|---|
//! | `logits` | `[rows, vocab]` |
//! | `asked` | the settings, in the order of `choose.wgsl` |
//! | `seen` | `[rows, vocab/32]` words, a bit for each token that a penalty holds for |
//! | `newest` | `[rows]` ids that `seen` does not have yet |
//! | `report` | `[rows, 52]` words: see `REPORT` |
//! | `ids` | `[rows]`, the chosen tokens |

use std::future::Future;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::launch::{Wgsl, buffer, empty, int_buffer, int_tensor, launch, read};
use super::template::{Value, fill, row};
use crate::device::gpu_is_software;
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
    at_once: usize,
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
        // Of so many, where a thread's k-th is, and whether there is one.
        let read = |k: usize| {
            let place = format!("i + {}u", k * THREADS);
            let at = |count: &str| match self.at_once {
                1 => "i".to_owned(),
                _ => format!("min({place}, {count} - 1u)"),
            };
            let inside = |count: &str| match self.at_once {
                1 => String::new(),
                _ => format!("({place} < {count})"),
            };
            row![
                at = at("N"),
                inside = inside("N"),
                of_count = at("count"),
                in_count = inside("count"),
                of_rest = at("rest"),
            ]
        };
        fill(
            include_str!("choose.wgsl"),
            row![
                at_once = self.at_once,
                reads = Value::rows((0..self.at_once).map(read)),
                threads = THREADS,
                vocab = self.vocab,
                rounds = ROUNDS,
                most = MOST,
            ],
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
    /// Logits that a thread reads at once.
    pub at_once: usize,
}

impl Asked {
    /// On a GPU one workgroup would wait for memory most of the time, of a vocabulary of 262,144 in a thousand
    /// turns. A program that imitates a GPU waits for nothing, and compiles each of them.
    pub const HARDWARE_AT_ONCE: usize = 8;

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
        let seen = if sampling.penalises() {
            let mut seen = vec![0_u32; question.so_far.len() * words];
            for (row, ids) in question.so_far.iter().enumerate() {
                // Ids outside the vocabulary are the pass's to refuse.
                for id in ids.iter().map(|id| *id as usize).filter(|id| *id < vocab) {
                    seen[row * words + id / 32] |= 1 << (id % 32);
                }
            }
            seen
        } else {
            vec![0]
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
            at_once: if gpu_is_software() {
                1
            } else {
                Self::HARDWARE_AT_ONCE
            },
        }
    }

    /// Chooses by logits `[rows, vocab]`: the ids `[rows]`, still on the GPU, and what is read back of
    /// them. The reading is under way at once; whatever is launched later runs after it. `newest`
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
            Choose {
                vocab,
                at_once: self.at_once,
            },
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

#[cfg(test)]
mod tests {
    use super::super::template::{LEAST_WORKGROUP_BYTES, workgroup_bytes};
    use super::*;

    #[test]
    fn the_file_is_filled() {
        for at_once in [1, 8] {
            let vocab = 49_152;
            let text = Choose { vocab, at_once }.body();
            assert!(text.contains("const N = 49152u;"));
            assert_eq!(text.contains("< N)"), at_once > 1);
            assert_eq!(text.matches("winner = ").count(), 1 + at_once);
            assert!(workgroup_bytes(&text) <= LEAST_WORKGROUP_BYTES);
        }
    }
}
