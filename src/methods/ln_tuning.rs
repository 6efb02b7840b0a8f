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
//! # Hypothesis
//! The layers already know what they need. What another kind of input or task changes is how strongly
//! each number of the stream enters them.
//! # Intuition
//! Before every layer there is a row of volume knobs, one for each number of the residual stream.
//! Only those are trained.
//! # Limits
//! It reaches every layer, but only through how loud each number of the stream is. It cannot mix
//! two of them.

use burn::tensor::Tensor;

use crate::arch::Norm;
use crate::checkpoint::{
    Base, Extras, Family, Fold, Folds, Init, Loaded, Loader, Method, PREFIX, Start, Trains,
    room_doc, saved,
};
use crate::error::Result;
use crate::hooks::{Gain, Law, Placed, Site};
use crate::tensor::telling;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "ln_tuning",
    peft_type: "LN_TUNING",
    matches: |_| true,
    family: Family::Scale,
    law: Law::Linear,
    keys: &[KEY, BIAS],
    reads: &[],
    inert: &[],
    doc: room_doc!("ln_tuning.rs"),
    load,
    trains: Trains::From { start, rate: 1e-2 },
    extras: Some(&Extras {
        base: |_| Base::Gains(KEY),
        ..Extras::NONE
    }),
    folds: Folds::Into(&[(KEY, Fold::FromBase), (BIAS, Fold::FromBase)]),
};

pub(super) const KEY: &str = "ln_tuning_layers.weight";
/// Of a linear layer.
pub(super) const BIAS: &str = "ln_tuning_layers.bias";

fn start(start: &mut Start<'_>) -> Result<()> {
    let offset = start.model.config().adapter_gain_offset;
    let of_stream = [
        Norm::Input,
        Norm::PostAttention,
        Norm::AfterAttention,
        Norm::AfterMlp,
    ];
    for (site, path, width) in start.norms(&of_stream)? {
        let Site::Norm(norm) = site else { continue };
        let gain = start.numbers(start.model.gain(norm) - offset)?;
        start.learn_whole(&format!("{PREFIX}{path}.{KEY}"), [width], Init::Given(gain));
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let is_bias = |key: &String| {
        let path = key.strip_prefix(PREFIX);
        let path = path.and_then(|path| path.strip_suffix(BIAS)?.strip_suffix('.'));
        path.is_some_and(Site::is_norm)
    };
    if loader.keys().iter().any(is_bias) {
        let why =
            "it trains biases of norms too, for which there is no place here: only gains move";
        return Err(METHOD.unsupported(loader.config, "target_modules", why));
    }
    let place = |(site, key): (Site, String)| {
        let base = loader.base_gain_on_host(site, &key)?.into_owned();
        let d = base.len();
        let (trained, gains) = loader.gain(&key, d)?;
        let ratios: Vec<f32> = trained
            .iter()
            .zip(&base)
            .map(|(new, old)| new / old)
            .collect();
        let base: Tensor<1> = loader.upload(base, [d]);
        let change = gains.clone() - base.clone();
        let ratio = gains / telling(base.clone());
        let exponent = ratio.log();
        let linear = Placed::new(site, move |c| Gain(change.clone() * c));
        Ok(linear.or_powers(Law::Power, &ratios, move |c| {
            let grown = (exponent.clone() * c).exp() - 1.0;
            Gain(base.clone() * grown)
        }))
    };
    let norms = loader.norms(KEY)?.into_iter().map(place);
    let mut placed = norms.collect::<Result<Vec<_>>>()?;
    // PEFT trains linear layers and the embedding whole, each as a copy of its own: a head that was the
    // embedding is none any more.
    for key in loader.keys() {
        let module = [KEY, BIAS]
            .into_iter()
            .find_map(|name| key.strip_suffix(name));
        let Some(module) = module.and_then(|module| module.strip_suffix('.')) else {
            continue;
        };
        let target = loader.target(&key, module)?;
        let copies = saved::copy(loader, &key, &target, false)?.into_iter();
        placed.extend(copies.map(Placed::always));
    }
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::hooks::Law;
    use crate::methods::pencil::{Pencil, near};

    /// The norm before attention gets the gains 4 and ½ in place of 1. So a token is e + γ(c)∘e.
    fn adapter() -> Pencil {
        let norm = "base_model.model.model.layers.0.input_layernorm.ln_tuning_layers.weight";
        Pencil::block(&METHOD, json!({}), &[(norm, [4.0, 0.5].into())])
    }

    #[test]
    fn gains_move_from_the_old_to_the_new() {
        near(adapter().h(1.0, &[0]), [1.0 + 4.0, 1.0 + 0.5]);
        near(adapter().h(-1.0, &[0]), [1.0 - 2.0, 1.0 + 1.5]);
    }

    #[test]
    fn under_the_power_law_minus_c_divides() {
        let adapter = adapter().under(Law::Power);
        near(adapter.h(1.0, &[0]), [1.0 + 4.0, 1.0 + 0.5]);
        near(adapter.h(-1.0, &[0]), [1.0 + 0.25, 1.0 + 2.0]);
        near(adapter.h(0.5, &[1]), [1.0 + 2.0, -1.0 - 0.5_f32.sqrt()]);
    }
}
