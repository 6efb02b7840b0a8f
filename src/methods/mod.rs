//! One file per method: its facts, its formula, and one function from a checkpoint to a list of
//! [`Placed`](crate::hooks::Placed) laws, each of which gives the effect at one site for any
//! coefficient. Adding a method: write its file, put its name into the two lists below.
//!
//! ```text
//! defaults.rs        what PEFT's configs leave out
//! lora_factors.rs    A and B, and the scale, of all kinds of LoRA
//! tokens.rs          rows of embeddings, and LoRA of an embedding
//! virtual_tokens.rs  trained embeddings before the text
//! spectrum.rs        changes inside a weight's own singular directions
//! original.rs        what the base has in the place of modules and rows that were trained whole
//! starts.rs          what many methods begin training with
//! gate.rs            the gate of X-LoRA
//! topk.rs            which of equal numbers torch's topk takes
//! torch_random.rs    the numbers that torch draws from a seed
//! numpy_random.rs    the same of numpy
//! pencil.rs          a decoder small enough for a pencil, for the methods' tests
//! ```

mod defaults;
mod gate;
mod lora_factors;
mod numpy_random;
pub(crate) mod original;
#[cfg(test)]
mod pencil;
mod spectrum;
mod starts;
mod tokens;
mod topk;
mod torch_random;
mod virtual_tokens;

pub mod adalora;
pub mod adaption_prompt;
pub mod antipasto;
pub mod beft;
pub mod bipo;
pub mod boft;
pub mod c3a;
pub mod control_vector;
pub mod cpt;
pub mod deft;
pub mod delora;
pub mod dora;
pub mod ether;
pub mod ether_plus;
pub mod fourierft;
pub mod frod;
pub mod glora;
pub mod gralora;
pub mod hira;
pub mod hra;
pub mod ia3;
pub mod ln_tuning;
pub mod loha;
pub mod lokr;
pub mod lora;
pub mod miss;
pub mod multitask_prompt_tuning;
pub mod nblora;
pub mod oft;
pub mod osf;
pub mod p_tuning;
pub mod peanut;
pub mod pissa;
pub mod poly;
pub mod prefix_tuning;
pub mod prompt_tuning;
pub mod pvera;
pub mod randlora;
pub mod road;
pub mod shira;
pub mod ssvd;
pub mod supertuning;
pub mod svft;
pub mod tinylora;
pub mod trainable_tokens;
pub mod unilora;
pub mod vblora;
pub mod vera;
pub mod waveft;
pub mod xlora;

use std::collections::BTreeMap;

use self::defaults::renamed;
use crate::arch::DecoderConfig;
use crate::checkpoint::{self, AdapterFiles, Config, Method};
use crate::error::{Error, Result};
use crate::hooks::Law;
use crate::weights::HostTensor;

/// Every method, in the order of the page and of `docs/methods.md`.
pub static METHODS: &[&Method] = &[
    &lora::METHOD,
    &pissa::METHOD,
    &dora::METHOD,
    &delora::METHOD,
    &adalora::METHOD,
    &vera::METHOD,
    &pvera::METHOD,
    &tinylora::METHOD,
    &unilora::METHOD,
    &vblora::METHOD,
    &nblora::METHOD,
    &miss::METHOD,
    &gralora::METHOD,
    &deft::METHOD,
    &peanut::METHOD,
    &poly::METHOD,
    &xlora::METHOD,
    &glora::METHOD,
    &loha::METHOD,
    &lokr::METHOD,
    &hira::METHOD,
    &randlora::METHOD,
    &fourierft::METHOD,
    &waveft::METHOD,
    &frod::METHOD,
    &c3a::METHOD,
    &shira::METHOD,
    &supertuning::METHOD,
    &svft::METHOD,
    &osf::METHOD,
    &ia3::METHOD,
    &ln_tuning::METHOD,
    &road::METHOD,
    &oft::METHOD,
    &boft::METHOD,
    &hra::METHOD,
    &ether::METHOD,
    &ether_plus::METHOD,
    &ssvd::METHOD,
    &antipasto::METHOD,
    &prompt_tuning::METHOD,
    &p_tuning::METHOD,
    &cpt::METHOD,
    &multitask_prompt_tuning::METHOD,
    &prefix_tuning::METHOD,
    &adaption_prompt::METHOD,
    &trainable_tokens::METHOD,
    &control_vector::METHOD,
    &bipo::METHOD,
    &beft::METHOD,
];

/// Config and tensors as [`checkpoint::read`] gives them; what the config leaves out is as PEFT takes it.
///
/// # Errors
/// Those of [`checkpoint::read`].
pub(crate) fn read(
    files: &AdapterFiles,
    model: Option<&DecoderConfig>,
) -> Result<(Config, BTreeMap<String, HostTensor>)> {
    let (config, tensors) = checkpoint::read(files, model)?;
    Ok((with_defaults(config), tensors))
}

/// A config with PEFT's defaults for what it leaves out.
pub(crate) fn with_defaults(mut config: Config) -> Config {
    defaults::fill(&mut config);
    config
}

/// The method of a config.
///
/// # Errors
/// [`Error::UnknownMethod`], [`Error::BadConfig`].
pub(crate) fn method_of(config: &Config) -> Result<&'static Method> {
    let peft_type = config.text("peft_type")?;
    let peft_type = renamed(&peft_type);
    METHODS
        .iter()
        .find(|method| method.peft_type == peft_type && (method.matches)(config))
        .copied()
        .ok_or_else(|| {
            let mut known: Vec<&str> = METHODS.iter().map(|method| method.peft_type).collect();
            known.dedup();
            Error::UnknownMethod {
                file: config.file.clone(),
                found: peft_type.into(),
                known: known.join(", "),
            }
        })
}

/// The tables of `docs/methods.md`, from the heads of the methods' files: what c does under each law, then one
/// row per method.
#[must_use]
pub fn method_table() -> String {
    let name_of = |value: &dyn Fn() -> serde_json::Result<serde_json::Value>| {
        let value = value().ok();
        let name = value.as_ref().and_then(serde_json::Value::as_str);
        name.unwrap_or_default().to_owned()
    };
    let mut table = String::from("| law | what c does |\n|---|---|\n");
    for law in Law::ALL {
        table += &format!("| {} | {} |\n", law.name(), law.words());
    }
    table += "\n| method | family | law | file | paper |\n|---|---|---|---|---|\n";
    for card in METHODS.iter().map(|method| method.card()) {
        table += &format!(
            "| {} ({}) | {} | {} | [`{name}.rs`](src/methods/{name}.rs) | [link]({}) |\n",
            card.title,
            card.summary.trim_end_matches('.'),
            name_of(&|| serde_json::to_value(card.family)),
            card.law.name(),
            card.paper,
            name = card.name,
        );
    }
    table
}
