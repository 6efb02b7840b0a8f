//! Attention without barriers: [`AttendAlone`] for many queries, [`AttendInQuad`] for few.
//!
//! `y = softmax(cap(scale · q·kᵀ))·v` for q and y `[t, heads·hd]` over k and v `[kv_heads, capacity, hd]`, as in
//! [`attend`](crate::kernels::attend), of whose buffers these are.

use super::quads::{self, column, told};
use crate::kernels::heads::{Heads, KEYS, attention_buffers, span};
use crate::kernels::launch::Wgsl;
use crate::kernels::template::{Value, fill, row};

/// Attention of one head of one query by one thread.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct AttendAlone {
    pub of: Heads,
    /// Whether the four threads of a quad, whose keys are the same, read one key each and tell it to
    /// the others.
    pub quads: bool,
    /// Keys that a query sees, if not all before it.
    pub window: Option<usize>,
}

impl AttendAlone {
    /// Queries of a workgroup, all of one head.
    pub(in super::super) const QUERIES: usize = 8;
}

impl Wgsl for AttendAlone {
    fn subgroups(&self) -> bool {
        self.quads
    }

    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        attention_buffers(false)
    }

    fn body(&self) -> String {
        // Four keys at a time: with quads, in the order in which the quad tells them.
        let key = |n: usize| {
            if self.quads {
                row![place = column("base", n), told = told(n)]
            } else {
                row![place = format!("(base + {n}u)"), told = ""]
            }
        };
        fill(
            include_str!("attend_alone.wgsl"),
            row![
                queries = Self::QUERIES,
                heads = self.of.heads,
                groups = self.of.groups(),
                hd4 = self.of.fours(),
                scale = self.of.scale_text(),
                cap = self.of.cap_text(),
                window = self.window.unwrap_or(0),
                quads = self.quads,
                place = quads::PLACE,
                keys = Value::rows((0..4).map(key)),
            ],
        )
    }
}

/// Attention of some heads of one query by one quad, whose threads take a key each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct AttendInQuad {
    pub of: Heads,
    /// Whether a workgroup takes [`KEYS`] keys and leaves its part to be joined, or takes all keys.
    pub split: bool,
    /// Keys that a query sees, if not all before it.
    pub window: Option<usize>,
}

impl Wgsl for AttendInQuad {
    fn subgroups(&self) -> bool {
        true
    }

    fn buffers(&self) -> Vec<(&'static str, &'static str)> {
        attention_buffers(self.split)
    }

    fn body(&self) -> String {
        let columns = self.of.fours();
        let four = |first: usize| {
            let own = first..first + 4;
            let own = own.map(|column| row![column = column, exists = column < columns]);
            row![columns = Value::rows(own)]
        };
        fill(
            include_str!("attend_in_quad.wgsl"),
            row![
                heads = self.of.heads,
                groups = self.of.groups(),
                together = self.of.together(),
                hd4 = columns,
                scale = self.of.scale_text(),
                cap = self.of.cap_text(),
                window = self.window.unwrap_or(0),
                keys = KEYS,
                place = quads::PLACE,
                span = span(),
                split = self.split,
                fours = Value::rows((0..columns).step_by(4).map(four)),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_filled() {
        for [heads, kv_heads, head_dim] in [[9, 3, 64], [8, 8, 32], [5, 1, 40], [2, 1, 12]] {
            for (window, cap) in [(None, None), (Some(7), Some(50.0))] {
                let (scale, changed) = (0.125, window.is_some());
                let of = Heads {
                    heads,
                    kv_heads,
                    head_dim,
                    scale,
                    cap,
                };
                for quads in [false, true] {
                    let text = AttendAlone { of, quads, window }.body();
                    let keys = of.fours() * if quads { 1 } else { 4 };
                    assert_eq!(text.matches(" = keys[").count(), keys);
                    assert_eq!(text.contains(">= unseen"), changed);
                    assert_eq!(text.contains("CAP - "), changed);
                }
                for split in [false, true] {
                    let text = AttendInQuad { of, split, window }.body();
                    assert_eq!(text.matches(" = keys[").count(), of.fours());
                    assert_eq!(text.contains("ends["), split);
                    assert_eq!(text.contains("const WINDOW = 7u;"), changed);
                    assert_eq!(text.contains("CAP - "), changed);
                }
            }
        }
    }
}
