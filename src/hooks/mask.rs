//! Which layers, modules and tokens an adapter may change.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use super::site::{Module, Site, ranges};
use super::tokens::Tokens;
use crate::error::{Error, Result};

/// A part of the model: some blocks, and some of the places in them; and some tokens. The default is
/// all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mask {
    /// Blocks, counted from 0.
    pub layers: Option<RangeInclusive<usize>>,
    /// Kinds of places; empty means all.
    pub modules: Vec<Module>,
    /// Places one by one instead of the two: some blocks, and in these some kinds of places, or all.
    pub cells: Vec<Cells>,
    /// Tokens, by their positions.
    pub positions: Tokens,
}

/// Some kinds of places, or without one all of them, in some blocks.
pub type Cells = (RangeInclusive<usize>, Vec<Module>);

impl Mask {
    /// As [`Self::parse`], and also reads, in place of the blocks, parts such as `5-20:q_proj,v_proj;3:v_proj`:
    /// blocks, each with modules of their own.
    ///
    /// # Errors
    /// Those of [`Self::parse`]; [`Error::BadOption`] where modules are given besides.
    pub fn read(layers: &str, modules: &str) -> Result<Self> {
        if !layers.contains([';', ':']) {
            return Self::parse(layers, modules);
        }
        if !Self::parse("", modules)?.modules.is_empty() {
            return Err(Error::BadOption {
                name: "modules",
                expected: "none, where the layers have modules of their own",
                found: modules.into(),
            });
        }
        let cells = |part: &str| {
            let (layers_of_it, modules) = part.split_once(':').unwrap_or((part, ""));
            let Self {
                layers: range,
                modules,
                ..
            } = Self::parse(layers_of_it, modules)?;
            let range = range.ok_or_else(|| Error::BadOption {
                name: "layers",
                expected: "parts such as 5-20:q_proj,v_proj;3:v_proj",
                found: layers.into(),
            })?;
            Ok((range, modules))
        };
        Ok(Self {
            cells: layers.split(';').map(cells).collect::<Result<_>>()?,
            ..Self::default()
        })
    }

    /// Reads `5-20` or `7`, and `q_proj,v_proj`; an empty text and `all` mean all. The tokens are all.
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
            ..Self::default()
        })
    }

    /// Whether an adapter may act there, on whatever tokens. What belongs to no block, such as the
    /// output head, is left alone where only some blocks are chosen.
    #[must_use]
    pub fn allows(&self, site: Site) -> bool {
        if !self.cells.is_empty() {
            let there = |(blocks, modules): &Cells| {
                let block = site.layer().is_some_and(|layer| blocks.contains(&layer));
                block && (modules.is_empty() || modules.contains(&site.module()))
            };
            return self.cells.iter().any(there);
        }
        let kind = self.modules.is_empty() || self.modules.contains(&site.module());
        let block = match (&self.layers, site.layer()) {
            (None, _) => true,
            (Some(layers), Some(layer)) => layers.contains(&layer),
            (Some(_), None) => false,
        };
        kind && block
    }

    /// The mask for an adapter that acts on `sites` of a model with so many blocks, in which all
    /// blocks and all tokens are "all", and remarks on what it leaves out without naming it.
    ///
    /// # Errors
    /// [`Error::BadOption`] for blocks that the model lacks, for a mask that leaves the adapter
    /// nowhere to act, and for tokens where it has keys and values of its own; it says where the
    /// adapter acts.
    pub(crate) fn fitted(
        mut self,
        adapter: &str,
        sites: &[Site],
        blocks: usize,
    ) -> Result<(Self, Vec<String>)> {
        let mut remarks = Vec::new();
        let asked = self.layers_text();
        let last = blocks.saturating_sub(1);
        if self.cells.iter().any(|(range, _)| *range.end() > last) {
            return Err(Error::BadOption {
                name: "layers",
                expected: "blocks that it has, or all",
                found: format!("{asked}, while the model has 0-{last}"),
            });
        }
        if let Some(range) = self.layers.take() {
            let first = *range.start();
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
            modules: self.modules.clone(),
            cells: self.cells.clone(),
            ..Self::default()
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
        if chosen.is_empty() && !self.cells.is_empty() {
            return refuse("layers", &asked, "all, or places in which it acts");
        }
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
        if self.positions == Tokens::From(0) {
            self.positions = Tokens::All;
        }
        let in_attention = |site: &Site| matches!(site, Site::Attention(_)) && self.allows(*site);
        if self.positions != Tokens::All && chosen.iter().any(in_attention) {
            let expected = "all: extra keys and values stand at no token of the text";
            return refuse("positions", &self.positions.to_string(), expected);
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
        let is_named =
            |site: Site| named.allows(site) || (site.layer().is_some() && !self.cells.is_empty());
        let unnamed: Vec<Site> = sites
            .iter()
            .copied()
            .filter(|&site| !is_named(site) && !matches!(site, Site::Linear(..)))
            .collect();
        if !unnamed.is_empty() {
            let places = places(&unnamed);
            remarks.push(if self.cells.is_empty() {
                format!("modules {} leave out {places}", self.modules_text())
            } else {
                format!(
                    "layers {asked} leave out {places}, in no layer: only all layers include it"
                )
            });
        }
        Ok((self, remarks))
    }

    /// The blocks as [`Self::read`] reads them, with their modules where these have some of their own.
    #[must_use]
    pub fn layers_text(&self) -> String {
        if self.cells.is_empty() {
            return self
                .layers
                .as_ref()
                .map_or_else(|| "all".into(), blocks_text);
        }
        let part = |(blocks, modules): &Cells| {
            let blocks = blocks_text(blocks);
            if modules.is_empty() {
                blocks
            } else {
                format!("{blocks}:{}", names_text(modules))
            }
        };
        let parts: Vec<String> = self.cells.iter().map(part).collect();
        parts.join(";")
    }

    /// The modules as [`Self::parse`] reads them.
    #[must_use]
    pub fn modules_text(&self) -> String {
        if self.modules.is_empty() {
            "all".into()
        } else {
            names_text(&self.modules)
        }
    }
}

fn blocks_text(range: &RangeInclusive<usize>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}

fn names_text(modules: &[Module]) -> String {
    let names: Vec<&str> = modules.iter().map(|module| module.name()).collect();
    names.join(",")
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
        )?;
        match self.positions {
            Tokens::All => Ok(()),
            tokens => write!(f, ", positions {tokens}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Projection;

    fn fitted(positions: &str, modules: &str, sites: &[Site]) -> Result<Mask> {
        let mask = Mask {
            positions: Tokens::parse(positions)?,
            ..Mask::parse("all", modules)?
        };
        mask.fitted("it", sites, 2).map(|(mask, _)| mask)
    }

    #[test]
    fn tokens_are_chosen_where_something_acts_on_each() {
        let sites = [
            Site::Linear(0, Projection::Q),
            Site::Residual(1),
            Site::Norm(None),
            Site::Embedding,
            Site::Head,
        ];
        let mask = fitted("generated", "all", &sites).expect("each acts on rows of tokens");
        assert_eq!(mask.positions, Tokens::Generated);
        assert_eq!(
            mask.to_string(),
            "layers all, modules all, positions generated"
        );
        let all = fitted("from:0", "all", &sites).expect("all tokens");
        assert_eq!(all, Mask::default());
    }

    #[test]
    fn places_are_chosen_one_by_one() {
        let text = "0-1:q_proj,v_proj;3:v_proj;2";
        let mask = Mask::read(text, "all").expect("parts");
        assert_eq!(mask.layers_text(), text, "there and back");
        assert_eq!(mask.modules_text(), "all");
        let linear = |layer, projection| Site::Linear(layer, projection);
        let inside = [
            linear(0, Projection::Q),
            linear(1, Projection::V),
            linear(3, Projection::V),
            Site::Residual(2),
        ];
        let outside = [
            linear(3, Projection::Q),
            linear(4, Projection::V),
            Site::Residual(0),
            Site::Head,
        ];
        assert!(inside.into_iter().all(|site| mask.allows(site)));
        assert!(!outside.into_iter().any(|site| mask.allows(site)));
        let all = [&inside[..], &outside[..]].concat();
        let (fitted, remarks) = mask
            .clone()
            .fitted("it", &all, 5)
            .expect("places that it has");
        assert_eq!(fitted, mask);
        let remark =
            format!("layers {text} leave out lm_head, in no layer: only all layers include it");
        assert_eq!(remarks, [remark]);
        for (text, modules, blocks) in [
            ("0:q_proj;5:v_proj", "", 5),
            ("4:q_proj", "", 5),
            ("0:q_proj", "v_proj", 5),
            (":q_proj", "", 5),
            ("all:q_proj", "", 5),
            ("0:q_proj;", "", 5),
            ("1-0:q_proj", "", 5),
        ] {
            let mask = Mask::read(text, modules);
            let fitted = mask.and_then(|mask| mask.fitted("it", &all, blocks));
            let code = fitted.map(drop).map_err(|error| error.code());
            assert_eq!(code, Err("bad-option"), "{text:?} {modules:?}");
        }
        assert_eq!(Mask::read("5-20", "q_proj"), Mask::parse("5-20", "q_proj"));
    }

    #[test]
    fn keys_and_values_stand_at_no_token() {
        let sites = [Site::Attention(0), Site::Residual(1)];
        let refused = fitted("prompt", "all", &sites).map_err(|error| error.to_string());
        assert_eq!(
            refused,
            Err(
                "`positions` is prompt, while it acts on attention, residual in layers 0-1, \
                 expected all: extra keys and values stand at no token of the text"
                    .into()
            )
        );
        fitted("all", "all", &sites).expect("all tokens");
        fitted("prompt", "residual", &sites).expect("the attention is left out");
    }
}
