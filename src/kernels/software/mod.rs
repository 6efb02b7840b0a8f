//! What exists only for programs that imitate a GPU (SwiftShader, llvmpipe): work in other pieces, which
//! give the same numbers. There, reading costs more than computing, each number that a thread reads
//! being a step of its own, and barriers cost most. So threads are long and never meet; and where there
//! are subgroups, the four threads of a quad read a fourth each and tell it to the others.

mod attend;
mod quads;

pub(super) use attend::{AttendAlone, AttendInQuad};
pub(super) use quads::{PLACE, TURNED_WORDS, column, told};

use super::cut::Cut;

/// [`shrink`](super::shrink) without barriers.
pub(super) const SHRINK: &str = include_str!("shrink.wgsl");

impl Cut {
    /// For a program that imitates a GPU: long threads, no barriers. Each thread's reading is a
    /// loop over single numbers there, which costs more than what is computed with them.
    pub const SOFTWARE: Self = Self {
        threads: 8,
        rows: 4,
        split: 1,
        tile: 16,
        quads: false,
    };
}
