//! The few shapes that an adapter's effect can have. The model runs these and knows no method;
//! a method's file builds them from its tensors and its coefficient.

use std::collections::HashMap;
use std::rc::Rc;

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

use crate::tensor::telling;

mod gate;
mod sited;

pub use gate::{Gate, Mixture};
pub use sited::{Effects, Sited};

/// One effect on a linear layer, already at its coefficient.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "a tensor handle is large; effects are few and built once per coefficient"
)]
pub enum Effect {
    /// Its weight changes: `y += Δ(x)`.
    Weight(Delta),
    /// The same by experts that a gate weighs in each pass.
    Experts(Mixture),
    /// Its input is mapped: `x ↦ x'`.
    Input(Map),
    /// Its output is mapped: `y ↦ y'`.
    Output(Map),
}

/// The gain of a norm changes: `γ += Δ`, `[d]`.
#[derive(Debug, Clone)]
pub struct Gain(pub Tensor<1>);

impl Effect {
    fn tracks_gradients(&self) -> bool {
        match self {
            Self::Weight(delta) => delta.tracks_gradients(),
            Self::Experts(mixture) => mixture.tracks_gradients(),
            Self::Input(map) | Self::Output(map) => map.tracks_gradients(),
        }
    }
}

/// An additive change of a linear layer.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "a tensor handle is large; there are few for each layer"
)]
pub enum Delta {
    /// `scale · (((x Aᵀ) ∘ mid) Bᵀ) ∘ out`
    LowRank {
        /// A `[r, i]`
        a: Tensor<2>,
        /// B `[o, r]`
        b: Tensor<2>,
        /// `[r]`, between A and B
        mid: Option<Tensor<1>>,
        /// `[o]`, after B
        out: Option<Tensor<1>>,
        /// carries the coefficient
        scale: f32,
    },
    /// `scale · gain ∘ (x Wᵀ)`: each row of W grows by a share of itself.
    RowGain {
        /// `[o]`
        gain: Tensor<1>,
        /// carries the coefficient
        scale: f32,
    },
    /// `scale · x Δᵀ`, a whole matrix.
    Dense {
        /// Δ `[o, i]`
        delta: Tensor<2>,
        /// carries the coefficient
        scale: f32,
    },
    /// `scale · x (L ⊗ R)ᵀ`
    Kronecker {
        /// L `[p, q]`
        left: Tensor<2>,
        /// R `[o/p, i/q]`
        right: Tensor<2>,
        /// carries the coefficient
        scale: f32,
    },
    /// `scale · ((x Aᵀ) ∘ w) Bᵀ`: experts side by side, with weights of their own for every token of one
    /// pass. See [`Mixture`].
    Experts {
        /// A `[r, i]`, r the sum over all experts
        a: Tensor<2>,
        /// B `[o, r]`
        b: Tensor<2>,
        /// w, for each token and each row of A, `[t, r]`
        weights: Tensor<2>,
        /// carries the coefficient
        scale: f32,
    },
    /// `scale · x Rᵀ` on some outputs only: some rows of W change.
    Rows {
        /// Which, `[n]`, each once
        ids: Tensor<1, Int>,
        /// R `[n, i]`
        rows: Tensor<2>,
        /// carries the coefficient
        scale: f32,
    },
    /// `scale · (out(W in(x)) − W x)`: the base layer between maps, where c scales the whole and
    /// not each map. It costs a second base product.
    Mapped {
        /// in
        inputs: Vec<Map>,
        /// out
        outputs: Vec<Map>,
        /// carries the coefficient
        scale: f32,
    },
    /// `scale · b`
    Bias {
        /// `[o]`
        bias: Tensor<1>,
        /// carries the coefficient
        scale: f32,
    },
}

impl Delta {
    /// `scale · B A`, with A `[r, i]` and B `[o, r]`: as two thin matrices while they are the
    /// smaller ones, else as the whole matrix.
    #[must_use]
    pub fn product(a: Tensor<2>, b: Tensor<2>, scale: f32) -> Self {
        let ([r, i], [o, _]) = (a.dims(), b.dims());
        if r * (i + o) < i * o {
            Self::LowRank {
                a,
                b,
                mid: None,
                out: None,
                scale,
            }
        } else {
            Self::Dense {
                delta: b.matmul(a),
                scale,
            }
        }
    }

    /// The same change times c.
    #[must_use]
    pub fn times(&self, c: f32) -> Self {
        let mut delta = self.clone();
        match &mut delta {
            Self::LowRank { scale, .. }
            | Self::Dense { scale, .. }
            | Self::Kronecker { scale, .. }
            | Self::RowGain { scale, .. }
            | Self::Rows { scale, .. }
            | Self::Experts { scale, .. }
            | Self::Mapped { scale, .. }
            | Self::Bias { scale, .. } => *scale *= c,
        }
        delta
    }

    fn tracks_gradients(&self) -> bool {
        let tracked = |vector: &Option<Tensor<1>>| vector.as_ref().is_some_and(Tensor::is_autodiff);
        match self {
            Self::LowRank { a, b, mid, out, .. } => {
                a.is_autodiff() || b.is_autodiff() || tracked(mid) || tracked(out)
            }
            Self::RowGain { gain, .. } => gain.is_autodiff(),
            Self::Dense { delta, .. } => delta.is_autodiff(),
            Self::Kronecker { left, right, .. } => left.is_autodiff() || right.is_autodiff(),
            Self::Experts { a, b, weights, .. } => {
                a.is_autodiff() || b.is_autodiff() || weights.is_autodiff()
            }
            Self::Rows { rows, .. } => rows.is_autodiff(),
            Self::Mapped {
                inputs, outputs, ..
            } => inputs.iter().chain(outputs).any(Map::tracks_gradients),
            Self::Bias { bias, .. } => bias.is_autodiff(),
        }
    }

    /// Bytes of a whole matrix, 0 for the thin forms.
    #[must_use]
    pub fn dense_bytes(&self) -> u64 {
        match self {
            Self::Dense { delta, .. } => {
                (delta.dims().iter().product::<usize>() * delta.dtype().size()) as u64
            }
            _ => 0,
        }
    }

    /// What is added to `base = x Wᵀ [t, o]` for the input `x [t, i]`; `product` gives `x Wᵀ`.
    #[must_use]
    pub fn apply(
        &self,
        x: &Tensor<2>,
        base: &Tensor<2>,
        product: impl Fn(Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        match self {
            Self::LowRank {
                a,
                b,
                mid,
                out,
                scale,
            } => {
                let inner = x.clone().matmul(a.clone().transpose());
                let inner = match mid {
                    Some(mid) => inner * mid.clone().unsqueeze(),
                    None => inner,
                };
                let y = (inner * *scale).matmul(b.clone().transpose());
                match out {
                    Some(out) => y * out.clone().unsqueeze(),
                    None => y,
                }
            }
            Self::Dense { delta, scale } => x.clone().matmul(delta.clone().transpose()) * *scale,
            Self::Kronecker { left, right, scale } => {
                // x is a matrix [q, i/q] per token; L X Rᵀ, side by side, is the product.
                let ([t, _], [p, q], [m, n]) = (x.dims(), left.dims(), right.dims());
                let inner = x.clone().reshape([t * q, n]);
                let inner = inner.matmul(right.clone().transpose()).reshape([t, q, m]);
                let inner = (inner.swap_dims(1, 2) * *scale).reshape([t * m, q]);
                let y = inner.matmul(left.clone().transpose()).reshape([t, m, p]);
                y.swap_dims(1, 2).reshape([t, p * m])
            }
            Self::RowGain { gain, scale } => base.clone() * (gain.clone() * *scale).unsqueeze(),
            Self::Experts {
                a,
                b,
                weights,
                scale,
                ..
            } => {
                let inner = x.clone().matmul(a.clone().transpose()) * weights.clone();
                (inner * *scale).matmul(b.clone().transpose())
            }
            Self::Rows { ids, rows, scale } => {
                let values = x.clone().matmul(rows.clone().transpose()) * *scale;
                let nothing = base.zeros_like();
                nothing.select_assign(1, ids.clone(), values, IndexingUpdateOp::Add)
            }
            Self::Mapped {
                inputs,
                outputs,
                scale,
            } => {
                let through = |z, maps: &[Map]| maps.iter().fold(z, |z, map| map.apply(z));
                let y = through(product(through(x.clone(), inputs)), outputs);
                (y - base.clone()) * *scale
            }
            Self::Bias { bias, scale } => (bias.clone() * *scale).unsqueeze(),
        }
    }
}

/// A map of a vector onto one of the same width.
#[derive(Debug, Clone)]
pub enum Map {
    /// `z ∘ gain`
    Scale {
        /// `[width]`
        gain: Tensor<1>,
    },
    /// `z ∘ along + quarter_turn(z) ∘ across`, where inside each group of `group` numbers the two
    /// halves form the pairs `(z₁, z₂)` and the quarter turn is `(−z₂, z₁)`.
    Rotate {
        /// `[width]`
        along: Tensor<1>,
        /// `[width]`
        across: Tensor<1>,
        /// numbers per group, even
        group: usize,
    },
    /// Blocks of neighbouring numbers are multiplied by a matrix each: `z_k ↦ z_k M_k`. With an
    /// order, the numbers are taken out of order before and put back after.
    Blocks {
        /// M `[width/b, b, b]`, or `[1, b, b]` for all blocks
        blocks: Tensor<3>,
        /// where each place takes its number from, before and after, `[width]`
        order: Option<Box<[Tensor<1, Int>; 2]>>,
    },
    /// `z + (z U) K Uᵀ`: only the span of U's columns moves.
    Span {
        /// U `[width, r]`
        basis: Tensor<2>,
        /// K `[r, r]`
        kernel: Tensor<2>,
    },
}

impl Map {
    fn tracks_gradients(&self) -> bool {
        match self {
            Self::Scale { gain } => gain.is_autodiff(),
            Self::Rotate { along, across, .. } => along.is_autodiff() || across.is_autodiff(),
            Self::Blocks { blocks, .. } => blocks.is_autodiff(),
            Self::Span { basis, kernel } => basis.is_autodiff() || kernel.is_autodiff(),
        }
    }

    /// `z [t, width] -> [t, width]`
    #[must_use]
    pub fn apply(&self, z: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Scale { gain } => z * gain.clone().unsqueeze(),
            Self::Rotate {
                along,
                across,
                group,
            } => {
                let [t, width] = z.dims();
                let half = group / 2;
                let pairs = z.clone().reshape([t * width / group, 2, half]);
                let (first, second) = (pairs.clone().narrow(1, 0, 1), pairs.narrow(1, 1, 1));
                let turned = Tensor::cat(vec![-second, first], 1).reshape([t, width]);
                z * along.clone().unsqueeze() + turned * across.clone().unsqueeze()
            }
            Self::Blocks { blocks, order } => {
                let ([t, width], [count, b, _]) = (z.dims(), blocks.dims());
                let taken = |z: Tensor<2>, from: Option<&Tensor<1, Int>>| match from {
                    Some(from) => z.select(1, from.clone()),
                    None => z,
                };
                let z = taken(z, order.as_ref().map(|order| &order[0]));
                let z = match count {
                    1 => {
                        let all = blocks.clone().reshape([b, b]);
                        z.reshape([t * width / b, b]).matmul(all)
                    }
                    _ => {
                        let z = z.reshape([t, count, b]).swap_dims(0, 1);
                        z.matmul(blocks.clone())
                            .swap_dims(0, 1)
                            .reshape([t * count, b])
                    }
                };
                let z = z.reshape([t, width]);
                taken(z, order.as_ref().map(|order| &order[1]))
            }
            Self::Span { basis, kernel } => {
                let inside = z.clone().matmul(basis.clone()).matmul(kernel.clone());
                z + inside.matmul(basis.clone().transpose())
            }
        }
    }
}

/// A step along one direction of the residual stream: `h + scale · v − removed · (h·v̂) v̂`, v̂ = v / ‖v‖.
#[derive(Debug, Clone)]
pub struct Shift {
    /// v `[d]`, not 0 where a part is removed
    pub direction: Tensor<1>,
    /// carries the coefficient
    pub scale: f32,
    /// The share of what h has along v that is taken away.
    pub removed: f32,
    /// Whether h is stretched back to the length that it had.
    pub keep_length: bool,
}

impl Shift {
    /// Whether the same step is added to every h.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.removed == 0.0 && !self.keep_length
    }

    /// `h [t, d] -> [t, d]`
    #[must_use]
    pub fn apply(&self, h: Tensor<2>) -> Tensor<2> {
        let v: Tensor<2> = self.direction.clone().unsqueeze();
        let step = if self.removed == 0.0 {
            v * self.scale
        } else {
            let unit = v.clone() / telling(v.clone().square().sum_dim(1).sqrt());
            let along = (h.clone() * unit.clone()).sum_dim(1);
            v * self.scale - along * self.removed * unit
        };
        let moved = h.clone() + step;
        if !self.keep_length {
            return moved;
        }
        let length = |h: Tensor<2>| h.square().sum_dim(1).sqrt();
        let new = length(moved.clone()).clamp_min(1e-12);
        moved * (length(h) / telling(new))
    }
}

/// A change of embeddings: `h[t] += scale · row(t)`, or `scale · row(t) Bᵀ`, for the tokens t that
/// have a row.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// `[rows, d]`, or `[rows, r]` before B
    table: Tensor<2>,
    /// token -> row; without it, the token's id is the row
    rows: Option<Rc<HashMap<u32, i32>>>,
    /// B `[d, r]`
    b: Option<Tensor<2>>,
    /// carries the coefficient
    scale: f32,
}

impl Lookup {
    /// Rows for all tokens, `[vocabulary, d]`, or `[vocabulary, r]` before B `[d, r]`.
    #[must_use]
    pub fn table(table: Tensor<2>, b: Option<Tensor<2>>) -> Self {
        Self {
            table,
            rows: None,
            b,
            scale: 1.0,
        }
    }

    /// Rows `[n, d]` for some tokens.
    #[must_use]
    pub fn rows(tokens: &[u32], rows: Tensor<2>) -> Self {
        let row_of = tokens.iter().copied().zip(0..).collect();
        Self {
            rows: Some(Rc::new(row_of)),
            ..Self::table(rows, None)
        }
    }

    /// The same change times c.
    #[must_use]
    pub fn times(&self, c: f32) -> Self {
        Self {
            scale: self.scale * c,
            ..self.clone()
        }
    }

    /// `[vocabulary, r]`, B `[d, r]` and the scale, of a low-rank change of the whole embedding.
    #[must_use]
    pub fn low_rank(&self) -> Option<(Tensor<2>, Tensor<2>, f32)> {
        let b = self.b.clone().filter(|_| self.rows.is_none())?;
        Some((self.table.clone(), b, self.scale))
    }

    /// `h [t, d] -> [t, d]`, the embeddings of `tokens`.
    #[must_use]
    pub fn apply(&self, h: Tensor<2>, tokens: &[u32]) -> Tensor<2> {
        let row = |&token: &u32| match &self.rows {
            Some(rows) => rows.get(&token).copied(),
            None => Some(token as i32),
        };
        let found = (0..).zip(tokens);
        let (places, rows): (Vec<i32>, Vec<i32>) = found
            .filter_map(|(place, token)| Some((place, row(token)?)))
            .unzip();
        if places.is_empty() {
            return h;
        }
        let indices = |numbers: Vec<i32>| {
            let count = numbers.len();
            Tensor::<1, Int>::from_data(TensorData::new(numbers, [count]), &h.device())
        };
        let (places, rows) = (indices(places), indices(rows));
        let step = self.table.clone().select(0, rows) * self.scale;
        let step = match &self.b {
            Some(b) => step.matmul(b.clone().transpose()),
            None => step,
        };
        h.select_assign(0, places, step, IndexingUpdateOp::Add)
    }
}

/// Keys and values that every query of a layer sees besides the sequence's own. The keys are final:
/// no rotation by position is applied to them.
#[derive(Debug, Clone)]
pub struct ExtraKeyValue {
    /// `[kv_heads, n, hd]`
    pub keys: Tensor<3>,
    /// `[kv_heads, n, hd]`
    pub values: Tensor<3>,
    /// carries the coefficient
    pub coefficient: f32,
    /// How they join the sequence's own.
    pub join: Join,
}

/// How extra keys and values join the sequence's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Before it, in one softmax: `attn₀ + c·(attn_with_extra − attn₀)`. The sequence then counts
    /// its positions from n on.
    InFront,
    /// Beside it, in a softmax of their own: `attn₀ + c·attn_extra`. Positions stay.
    Beside,
}

impl ExtraKeyValue {
    /// How many positions are added to those of the text while it attends to these keys.
    #[must_use]
    pub fn offset(&self) -> usize {
        match self.join {
            Join::InFront => self.keys.dims()[1],
            Join::Beside => 0,
        }
    }
}
