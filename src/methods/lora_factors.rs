//! The two factors that all kinds of LoRA share, and their initial values.

use burn::tensor::Tensor;

use crate::checkpoint::{Config, Loader, Target};
use crate::error::Result;
use crate::hooks::Delta;

/// One without the other is refused.
pub(super) const FACTORS: [&str; 2] = ["lora_A.weight", "lora_B.weight"];

/// How a LoRA or DoRA was initialised, if by PiSSA or OLoRA.
pub(super) fn started(config: &Config) -> Option<String> {
    Some(start(config)).filter(|init| init == "pissa" || init == "olora")
}

fn start(config: &Config) -> String {
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

/// A module's own r, and s = α/r or α/√r.
pub(super) fn scale(config: &Config, target: &Target) -> Result<(usize, f32)> {
    let rank = config.patterned("rank_pattern", &target.path, "r")?;
    if rank < 1.0 {
        return Err(config.bad("r", "a rank above 0 for every layer"));
    }
    let alpha = config.patterned("alpha_pattern", &target.path, "lora_alpha")?;
    let divisor = if config.flag("use_rslora") {
        rank.sqrt()
    } else {
        rank
    };
    Ok((rank as usize, alpha / divisor))
}
