//! A place in the model for which a checkpoint has tensors.

use crate::arch::Projection;
use crate::hooks::Site;

/// A linear layer that a checkpoint adapts.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its site.
    pub site: Site,
    /// Its path, `model.layers.0.self_attn.q_proj`.
    pub path: String,
    /// Input width.
    pub i: usize,
    /// Output width.
    pub o: usize,
    /// The path as the file has it, [`PREFIX`](super::PREFIX) and all.
    pub(crate) key: String,
}

impl Target {
    /// Sorts modules as torch walks through a model, for methods that number them: block by block,
    /// attention before MLP.
    pub(crate) fn torch_order(&self) -> (usize, usize) {
        match self.site {
            Site::Linear(layer, Projection::Qkv) => (layer, 0),
            Site::Linear(layer, projection) => (layer, 1 + projection as usize),
            _ => (usize::MAX, 0),
        }
    }
}
