//! LN tuning: only the gains of the norms are trained. Zhao et al. 2023.
//! <https://arxiv.org/abs/2312.11420>
//!
//! # Formula
//! ```text
//! norm(h) = h/√(mean h² + ε) ∘ γ(c)
//! γ(c) = γ + c·(γ' − γ)   or, under the power law, γ∘(γ'/γ)^c
//! ```
//! # Shapes
//! ```text
//! <norm>.ln_tuning_layers.weight   γ' [d], of model.norm and of the norms of each block, such as
//!                                  input_layernorm and post_attention_layernorm; of q_norm and
//!                                  k_norm as wide as what they norm
//! ```
//! # Coefficient
//! Linear in the difference from the base's gain. Under the power law −c divides by what c
//! multiplies by; that needs γ' of the sign of γ.
//! # Intuition
//! Before every layer there is a row of volume knobs, one for each number of the residual stream.
//! Only those are trained.

use burn::tensor::Tensor;

use crate::checkpoint::{Family, Loaded, Loader, Method, PREFIX, room_doc};
use crate::error::Result;
use crate::hooks::{Effect, Law, Placed, Site};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "ln_tuning",
    peft_type: PEFT_TYPE,
    matches: |_| true,
    family: Family::Scale,
    law: Law::Linear,
    keys: &[KEY],
    reads: &[],
    inert: &[],
    doc: room_doc!("ln_tuning.rs"),
    load,
};

pub(crate) const PEFT_TYPE: &str = "LN_TUNING";
pub(crate) const KEY: &str = "ln_tuning_layers.weight";

/// The norms that a file changes, and their keys, in model order.
pub(crate) fn norms(loader: &Loader<'_>) -> Result<Vec<(Site, String)>> {
    let names = loader.model.config().family;
    let norm = |key: String| {
        let path = key.strip_suffix(KEY)?.strip_suffix('.')?;
        let path = path.strip_prefix(PREFIX);
        let site = path.and_then(|path| Site::parse_norm(names, path));
        Some(match site {
            Some(site) => Ok((site, key)),
            // A linear layer or an embedding may be trained whole as well: `saved` reads those.
            None if path.and_then(Site::parse).is_some() => return None,
            None => Err(loader.no_such_module(&key)),
        })
    };
    let mut norms = loader
        .keys()
        .into_iter()
        .filter_map(norm)
        .collect::<Result<Vec<_>>>()?;
    norms.sort();
    if norms.is_empty() && !loader.any(KEY) {
        Err(loader.no_module_has(KEY))
    } else {
        Ok(norms)
    }
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let is_bias = |key: &String| {
        let path = key.strip_suffix(".ln_tuning_layers.bias");
        let path = path.and_then(|path| path.strip_prefix(PREFIX));
        path.is_some_and(Site::is_norm)
    };
    if loader.keys().iter().any(is_bias) {
        let why =
            "it trains biases of norms too, for which there is no place here: only gains move";
        return Err(METHOD.unsupported(loader.config, "target_modules", why));
    }
    let place = |(site, key): (Site, String)| {
        let base = loader.base_gain_on_host(site, &key)?;
        let d = base.len();
        let trained = loader.gain_on_host(&key, d)?;
        let change: Vec<f32> = trained
            .iter()
            .zip(&base)
            .map(|(new, old)| new - old)
            .collect();
        let ratios: Vec<f32> = trained
            .iter()
            .zip(&base)
            .map(|(new, old)| new / old)
            .collect();
        let [base, change, ratio]: [Tensor<1>; 3] =
            [base, change, ratios.clone()].map(|numbers| loader.upload(numbers, [d]));
        let exponent = ratio.log();
        let linear = Placed::new(site, move |c| vec![Effect::Gain(change.clone() * c)]);
        Ok(linear.or_powers(Law::Power, &ratios, move |c| {
            let grown = (exponent.clone() * c).exp() - 1.0;
            vec![Effect::Gain(base.clone() * grown)]
        }))
    };
    Ok(Loaded {
        law: Law::Linear,
        placed: norms(loader)?
            .into_iter()
            .map(place)
            .collect::<Result<_>>()?,
    })
}
