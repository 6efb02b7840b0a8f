//! Which layers and which linear layers of them an adapter may touch.

use std::fmt;
use std::ops::RangeInclusive;

use super::Site;
use crate::error::{Error, Result};
use crate::model::Projection;

/// A part of the model: some blocks, and some of their seven linear layers. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mask {
    /// Blocks, counted from 0.
    pub layers: Option<RangeInclusive<usize>>,
    /// Kinds of linear layers; empty means all.
    pub modules: Vec<Projection>,
}

impl Mask {
    /// Reads `5-20` or `7`, and `q_proj,v_proj`; an empty text and `all` mean all.
    ///
    /// # Errors
    /// [`Error::BadOption`] for what is no range and for names that no linear layer has.
    pub fn parse(layers: &str, modules: &str) -> Result<Self> {
        let is_all = |text: &str| matches!(text.trim(), "" | "all");
        let bad_layers = || Error::BadOption {
            name: "layers",
            expected: "a block as 7, blocks as 5-20, or all",
            found: layers.into(),
        };
        let number = |text: &str| text.trim().parse().map_err(|_| bad_layers());
        let range = match layers.split_once('-') {
            _ if is_all(layers) => None,
            Some((first, last)) => Some(number(first)?..=number(last)?),
            None => Some(number(layers)?..=number(layers)?),
        };
        if range.as_ref().is_some_and(RangeInclusive::is_empty) {
            return Err(bad_layers());
        }
        let module = |name: &str| {
            let found = Projection::ALL
                .into_iter()
                .find(|p| p.name() == name.trim());
            found.ok_or_else(|| Error::BadOption {
                name: "modules",
                expected: "all, or some of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, \
                           down_proj, with commas",
                found: name.into(),
            })
        };
        let modules = match is_all(modules) {
            true => Vec::new(),
            false => modules.split(',').map(module).collect::<Result<_>>()?,
        };
        Ok(Self {
            layers: range,
            modules,
        })
    }

    /// Whether an adapter may act there. What belongs to no block, such as the output head, is
    /// left alone by every mask but "all"; what is no linear layer obeys the blocks only.
    #[must_use]
    pub fn allows(&self, site: Site) -> bool {
        let kind = match site {
            Site::Linear(_, projection) => {
                self.modules.is_empty() || self.modules.contains(&projection)
            }
            _ => true,
        };
        match site.layer() {
            Some(layer) => {
                kind && self
                    .layers
                    .as_ref()
                    .is_none_or(|layers| layers.contains(&layer))
            }
            None => *self == Self::default(),
        }
    }

    /// The blocks as [`Self::parse`] reads them.
    #[must_use]
    pub fn layers_text(&self) -> String {
        match &self.layers {
            None => "all".into(),
            Some(range) => format!("{}-{}", range.start(), range.end()),
        }
    }

    /// The linear layers as [`Self::parse`] reads them.
    #[must_use]
    pub fn modules_text(&self) -> String {
        let names: Vec<&str> = self.modules.iter().map(|module| module.name()).collect();
        match names.is_empty() {
            true => "all".into(),
            false => names.join(","),
        }
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "layers {}, modules {}",
            self.layers_text(),
            self.modules_text()
        )
    }
}
