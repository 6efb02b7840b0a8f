//! Where an effect may act on a decoder.

use std::collections::BTreeSet;

use crate::arch::{Names, Norm, Projection, all_names};

/// Where an effect acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// A linear layer of a block.
    Linear(usize, Projection),
    /// The attention of a block.
    Attention(usize),
    /// The output of a block.
    Residual(usize),
    /// The output head.
    Head,
    /// The embedding of the tokens.
    Embedding,
    /// A norm of a block, or the one in front of the head.
    Norm(Option<(usize, Norm)>),
}

impl Site {
    /// The site of a linear layer, the head or the embedding, from its path in Hugging Face's names
    /// of any family.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        match path {
            "lm_head" => return Some(Self::Head),
            "model.embed_tokens" => return Some(Self::Embedding),
            _ => {}
        }
        let (layer, rest) = path.strip_prefix("model.layers.")?.split_once('.')?;
        let projection = all_names().find_map(|names| names.projection_at(rest))?;
        Some(Self::Linear(layer.parse().ok()?, projection))
    }

    /// Whether this path is that of several linear layers in one, in some family.
    #[must_use]
    pub fn is_stack(path: &str) -> bool {
        let inside = path.strip_prefix("model.layers.");
        let inside = inside.and_then(|inside| inside.split_once('.'));
        inside.is_some_and(|(_, path)| all_names().any(|names| names.stack_at(path).is_some()))
    }

    /// The site of a norm, from its path in a family's names: the same path is another place in
    /// another family.
    #[must_use]
    pub fn parse_norm(names: &Names, path: &str) -> Option<Self> {
        if path == "model.norm" {
            return Some(Self::Norm(None));
        }
        let (layer, rest) = path.strip_prefix("model.layers.")?.split_once('.')?;
        let norm = names.norm_at(rest)?;
        Some(Self::Norm(Some((layer.parse().ok()?, norm))))
    }

    /// Whether this path is a norm's in some family.
    #[must_use]
    pub fn is_norm(path: &str) -> bool {
        all_names().any(|names| Self::parse_norm(names, path).is_some())
    }

    /// What kind of place it is.
    #[must_use]
    pub fn module(self) -> Module {
        match self {
            Self::Linear(_, projection) => Module::Linear(projection),
            Self::Attention(_) => Module::Attention,
            Self::Residual(_) => Module::Residual,
            Self::Head => Module::Head,
            Self::Embedding => Module::Embedding,
            Self::Norm(norm) => Module::Norm(norm.map(|(_, norm)| norm)),
        }
    }

    /// The block it belongs to.
    #[must_use]
    pub fn layer(self) -> Option<usize> {
        match self {
            Self::Linear(layer, _) | Self::Attention(layer) | Self::Residual(layer) => Some(layer),
            Self::Norm(norm) => norm.map(|(layer, _)| layer),
            Self::Head | Self::Embedding => None,
        }
    }
}

/// A kind of place where adapters act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Module {
    /// A linear layer of a block.
    Linear(Projection),
    /// The output head.
    Head,
    /// The embedding of the tokens.
    Embedding,
    /// A norm of each block, or the one in front of the head.
    Norm(Option<Norm>),
    /// The attention of a block, which prefixes and prompts give more to look at.
    Attention,
    /// The output of a block, to which vectors add a step.
    Residual,
}

impl Module {
    /// All of them: those of the model under Hugging Face's names, then the two that are none.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let rest = [
            Self::Head,
            Self::Embedding,
            Self::Norm(Some(Norm::Input)),
            Self::Norm(Some(Norm::PostAttention)),
            Self::Norm(Some(Norm::AfterAttention)),
            Self::Norm(Some(Norm::AfterMlp)),
            Self::Norm(Some(Norm::Query)),
            Self::Norm(Some(Norm::Key)),
            Self::Norm(None),
            Self::Attention,
            Self::Residual,
        ];
        Projection::ALL.into_iter().map(Self::Linear).chain(rest)
    }

    /// The name by which a user chooses it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear(projection) => projection.name(),
            Self::Head => "lm_head",
            Self::Embedding => "embed_tokens",
            Self::Norm(Some(Norm::Input)) => "input_layernorm",
            Self::Norm(Some(Norm::PostAttention)) => "post_attention_layernorm",
            Self::Norm(Some(Norm::AfterAttention)) => "after_attention_layernorm",
            Self::Norm(Some(Norm::AfterMlp)) => "after_mlp_layernorm",
            Self::Norm(Some(Norm::Query)) => "q_norm",
            Self::Norm(Some(Norm::Key)) => "k_norm",
            Self::Norm(None) => "norm",
            Self::Attention => "attention",
            Self::Residual => "residual",
        }
    }
}

/// Blocks, as `0-2, 5`; `none` for none.
pub(crate) fn ranges(layers: &BTreeSet<usize>) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &layer in layers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == layer => *last = layer,
            _ => runs.push((layer, layer)),
        }
    }
    let run = |&(first, last): &(usize, usize)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    if runs.is_empty() {
        "none".into()
    } else {
        runs.iter().map(run).collect::<Vec<_>>().join(", ")
    }
}
