//! An adapter at one coefficient as a GGUF file for llama.cpp: a LoRA, or a control vector.

use burn::tensor::Tensor;

use crate::adapters::Entry;
use crate::arch::{Names, rows};
use crate::device::read_back;
use crate::error::{Error, Result};
use crate::hooks::{Delta, Effect, Site, Sited, Tokens};
use crate::model::Model;
use crate::sample::all_finite;
use crate::weights::gguf::{self, Value};
use crate::weights::{HostData, HostTensor};

/// What one site of the file will hold.
#[expect(
    clippy::large_enum_variant,
    reason = "a tensor handle is large; there are few, for a moment"
)]
enum Part {
    /// A `[r, i]` (for the embedding `[vocabulary, r]`), B `[o, r]`, and its own α, which llama.cpp
    /// divides by r.
    LowRank(Tensor<2>, Tensor<2>, f32),
    /// `[1, d]`
    Direction(Tensor<2>),
}

/// The effects of a stack's entry at its present coefficient, as one adapter of llama.cpp's that
/// does the same at its scale 1.
#[derive(Debug)]
pub struct Export {
    name: String,
    title: &'static str,
    effects: Vec<Sited>,
    positions: Tokens,
}

impl Export {
    /// Takes the effects of an entry.
    #[must_use]
    pub fn new(entry: &Entry) -> Self {
        Self {
            name: entry.adapter.name.clone(),
            title: entry.adapter.method.card().title,
            effects: entry.effects(),
            positions: entry.mask.positions,
        }
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::UnsupportedOption`] for effects that such a file cannot hold, and for some tokens only.
    pub async fn gguf(self, model: &Model) -> Result<Vec<u8>> {
        if self.positions != Tokens::All {
            let why = "what such a file holds acts on all tokens";
            return Err(self.refusal(&format!("positions {}", self.positions), why));
        }
        let family = model.config().family;
        let mut parts = Vec::new();
        for effect in &self.effects {
            let part = match effect {
                Sited::Linear(_, Effect::Weight(delta)) => low_rank(delta),
                Sited::Embedding(lookup) => {
                    let factors = lookup.low_rank();
                    factors.map(|(a, b, scale)| {
                        let rank = b.dims()[1] as f32;
                        Part::LowRank(a, b, scale * rank)
                    })
                }
                Sited::Residual(layer, shift) if *layer > 0 && shift.is_constant() => {
                    let step = shift.direction.clone() * shift.scale;
                    Some(Part::Direction(step.unsqueeze()))
                }
                _ => None,
            };
            let site = effect.site();
            let part = part.ok_or_else(|| self.refuse(site))?;
            parts.push((site, part));
        }
        let alpha = alpha(&parts).ok_or_else(|| self.no_number("its scale"))?;
        let mut tensors: Vec<(String, HostTensor)> = Vec::new();
        for (site, part) in parts {
            let name = name(family, site);
            let low_rank = format!("{name}.lora_a");
            if tensors
                .iter()
                .any(|(known, _)| *known == name || *known == low_rank)
            {
                return Err(self.refuse(site));
            }
            match (part, alpha) {
                (Part::LowRank(a, b, own), Some(alpha)) => {
                    // One α serves the whole file; another module's goes into its B.
                    let b = if own == alpha { b } else { b * (own / alpha) };
                    let mut b = host(b).await?;
                    let moved = match site {
                        Site::Linear(_, projection) => {
                            family.moved(&format!(".{}.", family.linear(projection)))
                        }
                        _ => None,
                    };
                    if let (Some(moved), HostData::Float(values)) = (moved, &mut b.data) {
                        rows::move_as(values, moved, model.config().head_dim, b.shape[1]);
                    }
                    tensors.push((low_rank, host(a).await?));
                    tensors.push((format!("{name}.lora_b"), b));
                }
                (Part::Direction(step), None) => {
                    let mut step = host(step).await?;
                    step.shape.remove(0);
                    tensors.push((name, step));
                }
                _ => return Err(self.refuse(site)),
            }
        }
        if tensors.is_empty() {
            return Err(self.refusal("nothing", "it acts nowhere"));
        }
        for (key, tensor) in &tensors {
            if matches!(&tensor.data, HostData::Float(values) if !all_finite(values)) {
                return Err(self.no_number(key));
            }
        }
        let metadata = match alpha {
            Some(alpha) => vec![
                text("general.architecture", family.gguf),
                text("general.type", "adapter"),
                text("general.name", &self.name),
                text("adapter.type", "lora"),
                ("adapter.lora.alpha".into(), Value::F32(alpha)),
            ],
            None => return control_vector_gguf(family.gguf, &tensors),
        };
        gguf::write(&metadata, &tensors)
    }

    fn refuse(&self, site: Site) -> Error {
        let why = "a GGUF file for llama.cpp holds one low-rank change for each linear layer, or one \
                   direction for each block from the second on";
        self.refusal(&format!("{site:?}"), why)
    }

    fn no_number(&self, what: &str) -> Error {
        let why = "at this coefficient some of its numbers are infinite; turn it towards 0";
        self.refusal(what, why)
    }

    fn refusal(&self, found: &str, why: &'static str) -> Error {
        Error::UnsupportedOption {
            file: self.name.clone(),
            method: self.title.into(),
            field: "export".into(),
            found: found.into(),
            why,
        }
    }
}

/// Directions by their names, `direction.L`, as the file of a control vector, as repeng writes it.
///
/// # Errors
/// Those of [`gguf::write`].
pub fn control_vector_gguf(model_hint: &str, tensors: &[(String, HostTensor)]) -> Result<Vec<u8>> {
    let count = Value::U32(tensors.len() as u32);
    let metadata = [
        text("general.architecture", "controlvector"),
        text("controlvector.model_hint", model_hint),
        ("controlvector.layer_count".into(), count),
    ];
    gguf::write(&metadata, tensors)
}

fn text(key: &str, value: &str) -> (String, Value) {
    (key.to_owned(), Value::String(value.into()))
}

/// The α of a file of low-rank changes, `Some(None)` for a file of directions, `None` where it is
/// no number. To llama.cpp an α of 0 is none at all, so that B and A would act as they are; the
/// largest of all modules makes what is left to their B a factor of at most 1.
#[expect(clippy::option_option, reason = "two questions, as said above")]
fn alpha(parts: &[(Site, Part)]) -> Option<Option<f32>> {
    let each = parts.iter().filter_map(|(_, part)| match part {
        Part::LowRank(.., alpha) => Some(alpha.abs()),
        Part::Direction(_) => None,
    });
    let Some(largest) = each.reduce(f32::max) else {
        return Some(None);
    };
    // What is smaller would be 0 once it is divided by a rank.
    let alpha = if largest < 1e-30 { 1.0 } else { largest };
    alpha.is_finite().then_some(Some(alpha))
}

/// Everything but A and B folded into them and into α.
fn low_rank(delta: &Delta) -> Option<Part> {
    let Delta::LowRank {
        a,
        b,
        mid,
        out,
        scale,
    } = delta
    else {
        return None;
    };
    let (mut a, mut b) = (a.clone(), b.clone());
    if let Some(mid) = mid {
        a = a * mid.clone().unsqueeze_dim(1);
    }
    if let Some(out) = out {
        b = b * out.clone().unsqueeze_dim(1);
    }
    let rank = a.dims()[0] as f32;
    Some(Part::LowRank(a, b, scale * rank))
}

/// llama.cpp's name of what changes a site.
fn name(family: &Names, site: Site) -> String {
    match site {
        Site::Linear(layer, projection) => {
            let bare = format!("layers.{layer}.{}.weight", family.linear(projection));
            family.gguf_name(&bare).unwrap_or(bare)
        }
        Site::Head => "output.weight".into(),
        Site::Embedding => "token_embd.weight".into(),
        Site::Residual(layer) | Site::Attention(layer) => format!("direction.{layer}"),
        Site::Norm(_) => "a norm".into(),
    }
}

async fn host(tensor: Tensor<2>) -> Result<HostTensor> {
    Ok(HostTensor {
        shape: tensor.dims().to_vec(),
        data: HostData::Float(read_back(tensor).await?),
    })
}
