//! The adapters in use, in order, each with its own coefficient.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use serde::Serialize;

use super::Adapter;
use crate::error::{Error, Result};
use crate::hooks::{Acting, Law, Mask, Offer, Site, Sited, Steering};

/// One adapter of the stack and its state.
#[derive(Debug)]
pub struct Entry {
    /// Its handle.
    pub id: u32,
    /// What was loaded.
    pub adapter: Adapter,
    /// How often [`Stack::replace`] has put another adapter here.
    pub reading: u32,
    /// c, kept while switched off.
    pub coefficient: f32,
    /// How c acts: one of [`Adapter::laws`].
    pub law: Law,
    /// Where it may act.
    pub mask: Mask,
    /// What the mask leaves out without naming it.
    pub mask_remarks: Vec<String>,
    /// Whether it takes part.
    pub enabled: bool,
}

/// What a user sees of an entry.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryView {
    /// Its handle.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Name of the method, the file of its card.
    pub method: &'static str,
    /// Title of the method.
    pub title: &'static str,
    /// How c acts.
    pub law: Law,
    /// The law in plain words.
    pub law_words: &'static str,
    /// All laws that this checkpoint can follow.
    pub laws: Vec<Offer>,
    /// Laws of the method that its numbers do not admit, and why.
    pub laws_refused: Vec<(Law, &'static str)>,
    /// Sites it acts on.
    pub modules: usize,
    /// Its kinds of places, as `q_proj`, each with its blocks.
    pub places: Vec<(&'static str, Vec<usize>)>,
    /// Blocks on which it may act, as `5-20` or `all`.
    pub mask_layers: String,
    /// Modules on which it may act, as `q_proj,v_proj` or `all`.
    pub mask_modules: String,
    /// Tokens on which it may act, as `generated` or `all`.
    pub mask_positions: String,
    /// What the mask leaves out without naming it.
    pub mask_remarks: Vec<String>,
    /// `base_model_name_or_path` of its config.
    pub base_model: Option<String>,
    /// Blocks on which it acts without a mask, as `0-2, 5` or `none`.
    pub layers_reached: String,
    /// What speaks against its being made for this model, though it fits.
    pub warnings: Vec<String>,
    /// Numbers in its file.
    pub parameters: usize,
    /// Bytes of whole matrices that it keeps on the device, 0 for most methods.
    pub dense_bytes: u64,
    /// c
    pub coefficient: f32,
    /// Whether it takes part.
    pub enabled: bool,
}

impl Entry {
    /// At c = 0, under the adapter's default law, wherever it acts.
    fn new(id: u32, adapter: Adapter) -> Self {
        Self {
            id,
            law: adapter.laws[0].law,
            adapter,
            reading: 0,
            coefficient: 0.0,
            mask: Mask::default(),
            mask_remarks: Vec::new(),
            enabled: true,
        }
    }

    /// Its effects at its coefficient.
    #[must_use]
    pub fn effects(&self) -> Vec<Sited> {
        self.effects_at(self.coefficient)
    }

    fn effects_at(&self, c: f32) -> Vec<Sited> {
        let placed = self.adapter.placed.iter();
        placed
            .filter(|placed| self.mask.allows(placed.site))
            .flat_map(|placed| placed.effects(self.law, c))
            .collect()
    }

    fn acting(&self, c: f32) -> Acting {
        Acting {
            id: self.id,
            reading: self.reading,
            coefficient: c,
            law: self.law,
            mask: self.mask.clone(),
        }
    }

    fn set_coefficient(&mut self, c: f32) -> Result<()> {
        self.check(self.law, c)?;
        self.coefficient = c;
        Ok(())
    }

    fn set_law(&mut self, law: Law) -> Result<()> {
        let adapter = &self.adapter;
        if adapter.laws.iter().all(|offer| offer.law != law) {
            let refused = adapter.laws_refused.iter().find(|(other, _)| *other == law);
            let known: Vec<&str> = adapter.laws.iter().map(|offer| offer.law.name()).collect();
            return Err(Error::BadLaw {
                adapter: adapter.name.clone(),
                found: law.name(),
                why: refused.map_or("its method has no such law", |(_, why)| why),
                known: known.join(", "),
            });
        }
        self.check(law, self.coefficient)?;
        self.law = law;
        Ok(())
    }

    fn set_mask(&mut self, mask: Mask) -> Result<()> {
        let Adapter {
            name,
            placed,
            blocks,
            ..
        } = &self.adapter;
        let sites: Vec<Site> = placed.iter().map(|placed| placed.site).collect();
        (self.mask, self.mask_remarks) = mask.fitted(name, &sites, *blocks)?;
        Ok(())
    }

    /// Refuses coefficients outside a law's domain.
    pub(crate) fn check(&self, law: Law, c: f32) -> Result<()> {
        let refuse = |expected: String| Error::BadCoefficient {
            adapter: self.adapter.name.clone(),
            found: c.to_string(),
            expected,
        };
        if !c.is_finite() {
            return Err(refuse("a finite number".into()));
        }
        let offer = self.adapter.laws.iter().find(|offer| offer.law == law);
        match offer.and_then(|offer| offer.domain.as_ref()) {
            Some(domain) if !domain.range.contains(&c) => {
                let (low, high) = (domain.range.start(), domain.range.end());
                let (name, why) = (law.name(), domain.why);
                Err(refuse(format!(
                    "between {low} and {high}, where the {name} law of this checkpoint holds ({why})"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The entry as a user sees it.
    #[must_use]
    pub fn view(&self) -> EntryView {
        EntryView {
            id: self.id,
            name: self.adapter.name.clone(),
            method: self.adapter.method.name,
            title: self.adapter.method.card().title,
            law: self.law,
            law_words: self.law.words(),
            laws: self.adapter.laws.clone(),
            laws_refused: self.adapter.laws_refused.clone(),
            modules: self.adapter.placed.len(),
            places: self.adapter.places(),
            mask_layers: self.mask.layers_text(),
            mask_modules: self.mask.modules_text(),
            mask_positions: self.mask.positions.to_string(),
            mask_remarks: self.mask_remarks.clone(),
            base_model: self.adapter.base_model.clone(),
            layers_reached: self.adapter.layers_text(),
            warnings: self.adapter.warnings.clone(),
            parameters: self.adapter.parameters,
            dense_bytes: self.adapter.dense_bytes(),
            coefficient: self.coefficient,
            enabled: self.enabled,
        }
    }
}

/// Adapters in the order in which they act.
#[derive(Debug, Default)]
pub struct Stack {
    entries: Vec<Entry>,
    last_id: u32,
    built: Option<Rc<Steering>>,
}

impl Stack {
    /// Adds an adapter after the others, at c = 0, under its default law, and returns its id.
    pub fn add(&mut self, adapter: Adapter) -> u32 {
        self.last_id += 1;
        self.entries.push(Entry::new(self.last_id, adapter));
        self.last_id
    }

    /// Puts an adapter in the place of another, such as the same files read for another task: id,
    /// c, law, mask and switch stay. It acts from the next forward pass on.
    ///
    /// # Errors
    /// [`Error::NoSuchAdapter`], and those of [`Self::set_law`], [`Self::set_mask`] and
    /// [`Self::set_coefficient`] where the new one cannot follow; the old one stays then.
    pub fn replace(&mut self, id: u32, adapter: Adapter) -> Result<()> {
        let entry = self.entry(id)?;
        let mut new = Entry::new(id, adapter);
        new.set_law(entry.law)?;
        new.set_mask(entry.mask.clone())?;
        new.set_coefficient(entry.coefficient)?;
        new.enabled = entry.enabled;
        new.reading = entry.reading + 1;
        *entry = new;
        self.built = None;
        Ok(())
    }

    /// Takes an adapter out.
    ///
    /// # Errors
    /// [`Error::NoSuchAdapter`].
    pub fn remove(&mut self, id: u32) -> Result<Adapter> {
        let at = self.entries.iter().position(|entry| entry.id == id);
        self.built = None;
        at.map(|at| self.entries.remove(at).adapter)
            .ok_or(Error::NoSuchAdapter { id })
    }

    /// Sets c. It acts from the next forward pass on.
    ///
    /// # Errors
    /// [`Error::NoSuchAdapter`]; [`Error::BadCoefficient`] unless c is finite and in the domain of
    /// the adapter's law.
    pub fn set_coefficient(&mut self, id: u32, c: f32) -> Result<()> {
        self.entry(id)?.set_coefficient(c)?;
        self.built = None;
        Ok(())
    }

    /// Chooses how c acts. It acts from the next forward pass on.
    ///
    /// # Errors
    /// [`Error::NoSuchAdapter`]; [`Error::BadLaw`] for a law that the checkpoint cannot follow;
    /// [`Error::BadCoefficient`] when the present c is outside that law's domain.
    pub fn set_law(&mut self, id: u32, law: Law) -> Result<()> {
        self.entry(id)?.set_law(law)?;
        self.built = None;
        Ok(())
    }

    /// Chooses where an adapter may act. It acts from the next forward pass on.
    ///
    /// # Errors
    /// [`Error::NoSuchAdapter`]; [`Error::BadOption`] for blocks that the model lacks, for a mask
    /// that leaves it no place at all, and for tokens where it has keys and values of its own; the old
    /// one stays then.
    pub fn set_mask(&mut self, id: u32, mask: Mask) -> Result<()> {
        self.entry(id)?.set_mask(mask)?;
        self.built = None;
        Ok(())
    }

    /// Switches an adapter on or off; its coefficient is kept.
    ///
    /// # Errors
    /// [`Error::NoSuchAdapter`].
    pub fn set_enabled(&mut self, id: u32, enabled: bool) -> Result<()> {
        self.entry(id)?.enabled = enabled;
        self.built = None;
        Ok(())
    }

    /// The adapters in stack order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All effects at the present coefficients. Adapters at c = 0 are skipped, not multiplied.
    pub fn steering(&mut self) -> Rc<Steering> {
        let entries = &self.entries;
        self.built
            .get_or_insert_with(|| Rc::new(build(entries, |entry| entry.coefficient, None)))
            .clone()
    }

    /// The effects of some adapters at coefficients of their own, whatever they are turned to, under
    /// their laws and masks, in the given blocks alone if there are such; all other adapters are left
    /// out, and so are those that are switched off.
    ///
    /// # Errors
    /// [`Error::NoSuchAdapter`]; [`Error::BadCoefficient`] as [`Self::set_coefficient`].
    pub fn steering_of(
        &self,
        coefficients: impl IntoIterator<Item = (u32, f32)>,
        layers: Option<&RangeInclusive<usize>>,
    ) -> Result<Steering> {
        let chosen: BTreeMap<u32, f32> = coefficients.into_iter().collect();
        for (&id, &c) in &chosen {
            let entry = self.entries.iter().find(|entry| entry.id == id);
            let entry = entry.ok_or(Error::NoSuchAdapter { id })?;
            entry.check(entry.law, c)?;
        }
        let coefficient = |entry: &Entry| chosen.get(&entry.id).copied().unwrap_or(0.0);
        Ok(build(&self.entries, coefficient, layers))
    }

    /// Names and coefficients of what acts, for a message.
    #[must_use]
    pub fn words(&self, acting: &[Acting]) -> String {
        let each = acting.iter().map(|acting| {
            let entry = self.entries.iter().find(|entry| entry.id == acting.id);
            let name = entry.map_or("an adapter that is gone", |entry| {
                entry.adapter.name.as_str()
            });
            // Not `{}`, which writes 1e20 in 21 digits.
            format!("{name} at {:?}", acting.coefficient)
        });
        if acting.is_empty() {
            "no adapter".into()
        } else {
            each.collect::<Vec<_>>().join(", ")
        }
    }

    fn entry(&mut self, id: u32) -> Result<&mut Entry> {
        self.entries
            .iter_mut()
            .find(|entry| entry.id == id)
            .ok_or(Error::NoSuchAdapter { id })
    }
}

/// The effects of all adapters that are switched on and whose coefficient is not 0, in these blocks
/// alone if there are such.
fn build(
    entries: &[Entry],
    coefficient: impl Fn(&Entry) -> f32,
    layers: Option<&RangeInclusive<usize>>,
) -> Steering {
    let each = entries.iter().map(|entry| (entry, coefficient(entry)));
    let active = each.filter(|(entry, c)| entry.enabled && *c != 0.0);
    let inside = |site: Site| match (layers, site.layer()) {
        (None, _) => true,
        (Some(layers), Some(layer)) => layers.contains(&layer),
        (Some(_), None) => false,
    };
    let adapters = active.map(|(entry, c)| {
        let mut acting = entry.acting(c);
        if let Some(layers) = layers {
            acting.mask.layers = Some(layers.clone());
        }
        let mut effects = entry.effects_at(c);
        effects.retain(|effect| inside(effect.site()));
        (acting, effects)
    });
    Steering::of_adapters(&adapters.collect::<Vec<_>>())
}
