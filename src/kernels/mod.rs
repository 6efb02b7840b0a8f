//! Hand-written WGSL kernels of the token path, launched through burn's own device, so that its
//! tensors go in and come out: RMSNorm, a linear layer over quantised weights with what follows it
//! in a block fused to it and, for few tokens, the norm before it, the rotary embedding with the cache write,
//! attention with a running softmax, and the choice of the next token. A block is six launches, seven for few
//! tokens over long contexts, and two more where norms stand around attention and MLP, or on a GPU in software. Low-rank
//! changes and steps in the residual stream ride along: the first cost one short launch for each input that they share, the
//! second none. For training, one more kernel pulls gradients
//! back through a linear layer.
//!
//! A kernel is two files: `linear.wgsl` is what the GPU runs, `linear.rs` says what it is filled with
//! (`template`), which buffers it gets and how many workgroups. A program that imitates a GPU gets its work
//! in other pieces (`software`). Nothing here knows a model: sizes come with the tensors and [`Heads`].

mod attention;
mod choose;
mod cut;
mod format;
mod heads;
mod launch;
mod linear;
mod low_rank;
mod norm;
mod packed;
mod packing;
mod probe;
mod pullback;
mod software;
mod template;

pub use attention::{Before, HeadNorm, attend, rotate_and_store};
pub use choose::Asked;
pub use cut::Cut;
pub use format::BLOCK;
pub use heads::Heads;
pub use launch::{contiguous, is_gpu, launches, unshared};
pub use linear::{
    After, Gate, Riders, SHIFT_SCALE, STREAMS, WARM_UP_TOKENS, linear, normed_linear,
};
pub use low_rank::{LowRank, expand, shrink};
pub use norm::{add_normed, norm};
pub use packed::{Foreseen, Packed, rows};
pub use packing::Packing;
pub use probe::{copy, gpu_time, step};
pub use pullback::pulled_back;
