//! The heads that attention is made for, and what all its kernels share.

use std::hash::{Hash, Hasher};

use super::template::Value;

/// Keys that a workgroup looks at together.
pub(super) const KEYS: usize = 256;

/// The shape of a decoder's attention, and what becomes of its scores.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Numbers of a head, hd: a multiple of 4.
    pub head_dim: usize,
    /// The factor of a query times a key, 1/√hd in most models.
    pub scale: f32,
    /// Scores are `cap · tanh(score / cap)`.
    pub cap: Option<f32>,
}

impl Heads {
    /// Query heads of a key head.
    pub(super) fn groups(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Query heads that are computed together: they share a key head, whose rows are read once for
    /// them.
    pub(super) fn together(&self) -> usize {
        let fits = |n: &usize| self.groups().is_multiple_of(*n);
        (1..=4).rev().find(fits).unwrap_or(1)
    }

    /// How many such groups of heads a query has.
    pub(super) fn units(&self) -> usize {
        self.heads / self.together()
    }

    /// Numbers of a row of queries.
    pub(super) fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Fours of numbers of a head.
    pub(super) fn fours(&self) -> usize {
        self.head_dim / 4
    }

    /// The factor as WGSL has it.
    pub(super) fn scale_text(&self) -> String {
        format!("{:e}", self.scale)
    }

    /// The cap as WGSL has it; empty where there is none.
    pub(super) fn cap_text(&self) -> String {
        self.cap.map_or(String::new(), |cap| format!("{cap:e}"))
    }

    /// By bits, so that what is equal also hashes alike.
    fn key(&self) -> ([usize; 3], u32, Option<u32>) {
        (
            [self.heads, self.kv_heads, self.head_dim],
            self.scale.to_bits(),
            self.cap.map(f32::to_bits),
        )
    }
}

impl PartialEq for Heads {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Heads {}

impl Hash for Heads {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// What every attention reads and writes, with `split` a part of it.
pub(super) fn attention_buffers(split: bool) -> Vec<(&'static str, &'static str)> {
    let mut buffers = vec![
        ("q", "vec4<f32>"),
        ("keys", "vec4<f32>"),
        ("values", "vec4<f32>"),
        ("y", "vec4<f32>"),
        ("turn", "i32"),
    ];
    if split {
        buffers.push(("ends", "vec2<f32>"));
    }
    buffers
}

/// Which keys a workgroup takes: those of [`KEYS`] that the query sees if they are split, else all that
/// it sees.
pub(super) fn span() -> Value {
    Value::File(include_str!("span.wgsl"))
}
