//! How work is laid out over threads.

use crate::device::{gpu_has_subgroups, gpu_is_software};

/// How the work is laid out over threads. What suits a program that imitates a GPU is in
/// `software`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cut {
    /// Threads of a workgroup.
    pub threads: usize,
    /// Rows of one thread: each number of x is read once for all of them. More would be faster, and
    /// take a browser's software GPU seconds to compile.
    pub rows: usize,
    /// Threads that share the columns of a row. They meet at a barrier.
    pub split: usize,
    /// Tokens that one thread computes at once: each weight is unpacked once for all of them.
    pub tile: usize,
    /// Whether the four threads of a quad read a fourth of x each and tell it to the others.
    pub quads: bool,
}

impl Cut {
    /// For a GPU: as many threads as the narrow layers of small models can give.
    pub const HARDWARE: Self = Self {
        threads: 64,
        rows: 1,
        split: 4,
        tile: 8,
        quads: false,
    };

    /// Whether threads may wait for each other.
    pub(super) fn has_barriers(self) -> bool {
        self.split > 1
    }

    /// For the GPU that was opened.
    pub(super) fn of_this_gpu() -> Self {
        if gpu_is_software() {
            Self {
                quads: gpu_has_subgroups(),
                ..Self::SOFTWARE
            }
        } else {
            Self::HARDWARE
        }
    }
}
