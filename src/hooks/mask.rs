//! Which layers and modules an adapter may change.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use super::site::{Module, Site, ranges};
use crate::error::{Error, Result};

/// A part of the model: some blocks, and some of the places in them. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mask {
    /// Blocks, counted from 0.
    pub layers: Option<RangeInclusive<usize>>,
    /// Kinds of places; empty means all.
    pub modules: Vec<Module>,
}

impl Mask {
    /// Reads `5-20` or `7`, and `q_proj,v_proj`; an empty text and `all` mean all.
    ///
    /// # Errors
    /// [`Error::BadOption`] for what is no range and for names that no module has.
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
            let found = Module::all().find(|module| module.name() == name.trim());
            found.ok_or_else(|| Error::BadOption {
                name: "modules",
                expected: "all, or some of q_proj, k_proj, v_proj, qkv_proj, o_proj, gate_proj, up_proj, \
                           down_proj, lm_head, embed_tokens, input_layernorm, \
                           post_attention_layernorm, q_norm, k_norm, norm, attention (what \
                           prefixes and prompts act on), residual (what vectors act on), with \
                           commas",
                found: name.into(),
            })
        };
        let modules = if is_all(modules) {
            Vec::new()
        } else {
            modules.split(',').map(module).collect::<Result<_>>()?
        };
        Ok(Self {
            layers: range,
            modules,
        })
    }

    /// Whether an adapter may act there. What belongs to no block, such as the output head, is
    /// left alone where only some blocks are chosen.
    #[must_use]
    pub fn allows(&self, site: Site) -> bool {
        let kind = self.modules.is_empty() || self.modules.contains(&site.module());
        let block = match (&self.layers, site.layer()) {
            (None, _) => true,
            (Some(layers), Some(layer)) => layers.contains(&layer),
            (Some(_), None) => false,
        };
        kind && block
    }

    /// The mask for an adapter that acts on `sites` of a model with so many blocks, in which all
    /// blocks are "all", and remarks on what it leaves out without naming it.
    ///
    /// # Errors
    /// [`Error::BadOption`] for blocks that the model lacks, and for a mask that leaves the adapter
    /// nowhere to act; it says where the adapter acts.
    pub(crate) fn fitted(
        mut self,
        adapter: &str,
        sites: &[Site],
        blocks: usize,
    ) -> Result<(Self, Vec<String>)> {
        let mut remarks = Vec::new();
        let asked = self.layers_text();
        if let Some(range) = self.layers.take() {
            let (first, last) = (*range.start(), blocks.saturating_sub(1));
            if first > last {
                return Err(Error::BadOption {
                    name: "layers",
                    expected: "blocks that it has, or all",
                    found: format!("{asked}, while the model has 0-{last}"),
                });
            }
            let there = first..=last.min(*range.end());
            let beyond = *range.end() > last;
            self.layers = Some(there);
            if beyond {
                remarks.push(format!(
                    "of layers {asked} the model has {}",
                    self.layers_text()
                ));
            }
            if self.layers == Some(0..=last) {
                self.layers = None;
            }
        }
        let named = Self {
            layers: None,
            modules: self.modules.clone(),
        };
        let chosen: Vec<Site> = sites
            .iter()
            .copied()
            .filter(|&site| named.allows(site))
            .collect();
        let refuse = |name, text: &str, expected| {
            Err(Error::BadOption {
                name,
                expected,
                found: format!("{text}, while {adapter} acts on {}", places(sites)),
            })
        };
        if chosen.is_empty() {
            let expected = "all, or some of the modules on which it acts";
            return refuse("modules", &self.modules_text(), expected);
        }
        if !chosen.iter().any(|&site| self.allows(site)) {
            let expected = "all, or blocks in which it acts";
            return if self.modules.is_empty() {
                refuse("layers", &asked, expected)
            } else {
                refuse(
                    "mask",
                    &self.to_string(),
                    "one that leaves it somewhere to act",
                )
            };
        }
        let blockless: Vec<Site> = chosen
            .into_iter()
            .filter(|site| site.layer().is_none())
            .collect();
        if self.layers.is_some() && !blockless.is_empty() {
            remarks.push(format!(
                "layers {} leave out {}, in no layer: only all layers include it",
                self.layers_text(),
                places(&blockless)
            ));
        }
        // For linear layers no remark is needed: those that are not named are left out.
        let unnamed: Vec<Site> = sites
            .iter()
            .copied()
            .filter(|&site| !named.allows(site) && !matches!(site, Site::Linear(..)))
            .collect();
        if !unnamed.is_empty() {
            let (modules, places) = (self.modules_text(), places(&unnamed));
            remarks.push(format!("modules {modules} leave out {places}"));
        }
        Ok((self, remarks))
    }

    /// The blocks as [`Self::parse`] reads them.
    #[must_use]
    pub fn layers_text(&self) -> String {
        match &self.layers {
            None => "all".into(),
            Some(range) if range.start() == range.end() => range.start().to_string(),
            Some(range) => format!("{}-{}", range.start(), range.end()),
        }
    }

    /// The modules as [`Self::parse`] reads them.
    #[must_use]
    pub fn modules_text(&self) -> String {
        let names: Vec<&str> = self.modules.iter().map(|module| module.name()).collect();
        if names.is_empty() {
            "all".into()
        } else {
            names.join(",")
        }
    }
}

/// `q_proj, v_proj in layers 9-20, lm_head`
fn places(sites: &[Site]) -> String {
    let (inside, outside): (Vec<Site>, Vec<Site>) = sites
        .iter()
        .copied()
        .partition(|site| site.layer().is_some());
    let names = |sites: &[Site]| {
        let modules: BTreeSet<Module> = sites.iter().map(|site| site.module()).collect();
        let names: Vec<&str> = modules.into_iter().map(Module::name).collect();
        names.join(", ")
    };
    let layers = inside.iter().filter_map(|site| site.layer()).collect();
    let inside =
        (!inside.is_empty()).then(|| format!("{} in layers {}", names(&inside), ranges(&layers)));
    let outside = (!outside.is_empty()).then(|| names(&outside));
    let both: Vec<String> = inside.into_iter().chain(outside).collect();
    both.join(", ")
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
