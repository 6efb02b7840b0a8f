//! The two factors that all kinds of LoRA share, and their initial values.

use burn::tensor::Tensor;

use crate::checkpoint::{Base, Config, Extras, Init, Loader, Start, Target};
use crate::error::Result;
use crate::hooks::Delta;

/// One without the other is refused.
pub(super) const FACTORS: [&str; 2] = ["lora_A.weight", "lora_B.weight"];

/// What all kinds have: VeLoRA and MonteCLoRA keep tensors in the file that only training uses, and what
/// PiSSA or OLoRA took out of the base is computed again.
pub(super) const EXTRAS: Extras = Extras {
    base: |config| match started(config) {
        Some(_) => Base::Weights(FACTORS[0]),
        None => Base::Nothing,
    },
    of_training: &[
        ("velora_config", ".lora_velora_embed"),
        ("monteclora_config", ".lora_monteclora_sampler."),
    ],
    ..Extras::NONE
};

/// How a LoRA or DoRA was initialised, if by PiSSA or OLoRA.
pub(super) fn started(config: &Config) -> Option<String> {
    Some(named(config)).filter(|init| init == "pissa" || init == "olora")
}

fn named(config: &Config) -> String {
    let init = config.text("init_lora_weights").unwrap_or_default();
    // PEFT reads this value alone in upper or lower case.
    if init.eq_ignore_ascii_case("olora") {
        "olora".into()
    } else {
        init
    }
}

/// The low-rank factors of one module.
#[derive(Clone)]
pub(super) struct Factors {
    pub a: Tensor<2>,
    pub b: Tensor<2>,
    pub bias: Option<Tensor<1>>,
    pub scale: f32,
}

impl Factors {
    /// Reads A, B, the bias and the module's own α and r.
    pub(super) fn read(loader: &Loader<'_>, target: &Target) -> Result<Self> {
        let (rank, scale) = scale(loader.config, target)?;
        Self::of_rank(loader, target, rank, scale)
    }

    /// As [`Self::read`], with the given rank and scale.
    pub(super) fn of_rank(
        loader: &Loader<'_>,
        target: &Target,
        rank: usize,
        scale: f32,
    ) -> Result<Self> {
        let config = loader.config;
        let bias = if config.flag("lora_bias") {
            Some(loader.tensor(target, "lora_B.bias", [target.o])?)
        } else {
            None
        };
        Ok(Self {
            a: loader.tensor(target, "lora_A.weight", [rank, target.i])?,
            b: loader.tensor(target, "lora_B.weight", [target.o, rank])?,
            bias,
            scale,
        })
    }

    /// s·B A and s·b_B.
    pub(super) fn deltas(&self) -> Vec<Delta> {
        let Self { a, b, bias, scale } = self.clone();
        let product = Delta::LowRank {
            a,
            b,
            mid: None,
            out: None,
            scale,
        };
        let bias = bias.map(|bias| Delta::Bias { bias, scale });
        std::iter::once(product).chain(bias).collect()
    }
}

/// A and B before training: B A = 0.
pub(super) fn start(start: &mut Start<'_>, target: &Target) {
    let r = start.rank;
    start.learn(target, FACTORS[0], [r, target.i], Init::Kaiming);
    start.learn(target, FACTORS[1], [target.o, r], Init::Zeros);
}

/// A module's own r, and s = α/r or α/√r.
pub(super) fn scale(config: &Config, target: &Target) -> Result<(usize, f32)> {
    let rank = config.patterned("rank_pattern", &target.path, "r")?;
    if rank < 1.0 || rank.fract() != 0.0 {
        return Err(config.bad("r", "a rank above 0 for every layer, a whole number"));
    }
    let alpha = config.patterned("alpha_pattern", &target.path, "lora_alpha")?;
    let divisor = if config.flag("use_rslora") {
        rank.sqrt()
    } else {
        rank
    };
    Ok((rank as usize, alpha / divisor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Projection;
    use crate::hooks::Site;

    #[test]
    fn a_rank_is_a_whole_number_above_0() {
        let target = Target {
            site: Site::Linear(0, Projection::Q),
            path: "model.layers.0.self_attn.q_proj".into(),
            i: 16,
            o: 16,
            key: "base_model.model.model.layers.0.self_attn.q_proj".into(),
        };
        let of = |r: &str, pattern: &str| {
            let json = format!(
                r#"{{"peft_type": "LORA", "r": {r}, "lora_alpha": 6, "rank_pattern": {pattern}}}"#
            );
            scale(&Config::parse("a", json.as_bytes()).expect("JSON"), &target)
        };
        assert_eq!(of("3", "{}").expect("a rank"), (3, 2.0));
        assert_eq!(of("8", r#"{"q_proj": 2}"#).expect("a rank"), (2, 3.0));
        for (r, pattern) in [("0", "{}"), ("2.5", "{}"), ("8", r#"{"q_proj": 2.5}"#)] {
            let error = of(r, pattern).expect_err(r);
            assert!(error.to_string().contains("a whole number"), "{error}");
        }
    }
}
