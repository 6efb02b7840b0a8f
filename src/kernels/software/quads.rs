//! What the four threads of a quad tell each other, where a GPU has subgroups. At place `q` of its quad, a
//! thread reads what belongs to `q`, and hears by three swaps what belongs to `q ^ 1`, `q ^ 2` and
//! `q ^ 3`: all four, each thread in its own order.

use crate::kernels::template::Value;

/// A thread's place in its quad: `quad`, and its bits `odd` and `high`, of the parameter `in_subgroup`.
pub(in super::super) const PLACE: Value = Value::File(include_str!("place.wgsl"));

/// The words of a linear layer's weights in the order in which the quad tells x.
pub(in super::super) const TURNED_WORDS: Value = Value::File(include_str!("turned_words.wgsl"));

/// WGSL's swap by which a thread hears what the thread at place `quad ^ n` has; none for its own, n = 0.
pub(in super::super) fn told(n: usize) -> &'static str {
    ["", "quadSwapX", "quadSwapY", "quadSwapDiagonal"][n]
}

/// The n-th that a thread has of what is read by fours from `first` on.
pub(in super::super) fn column(first: &str, n: usize) -> String {
    format!("({first} + (quad ^ {n}u))")
}
