//! Hand-written WGSL kernels of the token path, launched through burn's own device, so that its
//! tensors go in and come out: RMSNorm, a linear layer over quantised weights with what stands
//! behind it in a block fused to it, the rotary embedding with the cache write, attention with a
//! running softmax, and the choice of the next token. A block is eight launches, nine for few tokens
//! over long contexts. Low-rank changes and steps in the residual stream ride along: the first cost
//! one short launch for each input that they share, the second none.
//!
//! A program that imitates a GPU gets its work in other pieces ([`Cut`]): there, reading costs more
//! than computing, each number that a thread reads being a step of its own, and barriers cost most.
//! Where it has subgroups, the four threads of a quad read a fourth each and tell it to the others.
//!
//! Weights stay as the file has them (Q4_0, Q4_1, Q8_0), only regrouped once: block `b` of row `r`
//! lies at `b·rows + r`, so that neighbouring threads, which compute neighbouring rows, read
//! neighbouring words.

mod attention;
mod choose;
mod cut;
mod heads;
mod launch;
mod linear;
mod low_rank;
mod norm;
mod packed;
mod software;
mod template;

pub use attention::{attend, rotate_and_store};
pub use choose::Asked;
pub use cut::Cut;
pub use heads::Heads;
pub use launch::{contiguous, is_gpu, launches, unshared};
pub use linear::{After, Riders, SHIFT_SCALE, STREAMS, WARM_UP_TOKENS, linear};
pub use low_rank::{LowRank, expand, shrink};
pub use norm::norm;
pub use packed::{Packed, rows};
