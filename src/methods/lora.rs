//! LoRA: low-rank adaptation. Hu et al. 2021; rsLoRA's scaling: Kalajdzievski 2023.
//! <https://arxiv.org/abs/2106.09685>
//!
//! # Formula
//! ```text
//! y = W x + c·s·(B A x + b_B),   s = α/r, with rsLoRA α/√r
//! embedding:  h = E[t] + c·s·B A[:, t]
//! ```
//! # Shapes
//! ```text
//! <module>.lora_A.weight   A [r, i]
//! <module>.lora_B.weight   B [o, r]
//! <module>.lora_B.bias     b_B [o], only with lora_bias
//! embed_tokens.lora_embedding_A, _B                     A [r, vocabulary], B [d, r]
//! <module>.token_adapter.trainable_tokens_delta         whole rows, see trainable tokens
//! ```
//! # Coefficient
//! Linear: c multiplies the whole added term. r and α may differ per module (rank_pattern,
//! alpha_pattern). Rows of trainable_token_indices move from the old embedding to the trained one.
//! A tied head does not follow the embedding's LoRA, as in PEFT, but it does follow the rows.
//! # Hypothesis
//! A behaviour is a few added directions: however large a layer is, what one task changes in it has a
//! low rank.
//! # Intuition
//! Reads the input along a few directions and adds a few other directions to the output in
//! proportion. A small file can still change the whole layer, as long as the change needs few
//! directions.
//! # Limits
//! A change that needs more than r directions at once is out of reach; and nothing keeps the
//! directions small, so a large c can break the language.

use super::lora_factors::{self, EXTRAS, FACTORS, Factors, started};
use super::starts::USUAL;
use super::tokens;
use crate::checkpoint::{
    Config, Family, Fold, Folds, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law, Placed};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "lora",
    peft_type: "LORA",
    matches: |config| !config.flag("use_dora") && started(config).is_none(),
    family: Family::LowRank,
    law: Law::Linear,
    keys: KEYS,
    reads: READS,
    inert: INERT,
    doc: room_doc!("lora.rs"),
    load,
    trains: Trains::From { start, rate: 2e-3 },
    extras: Some(&EXTRAS),
    folds: Folds::Into(&[
        (FACTORS[1], Fold::Times),
        ("lora_B.bias", Fold::Times),
        (tokens::B, Fold::Times),
        (tokens::ROWS, Fold::FromBase),
    ]),
};

pub(crate) const KEYS: &[&str] = &[
    FACTORS[0],
    FACTORS[1],
    "lora_B.bias",
    tokens::A,
    tokens::B,
    tokens::ROWS,
];

pub(crate) const READS: &[&str] = &[
    "r",
    "lora_alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "lora_bias",
    "init_lora_weights",
    "trainable_token_indices",
];
pub(crate) const INERT: &[&str] = &[
    "lora_dropout",
    "megatron_core",
    "qalora_group_size",
    "eva_config",
    // Of ways of initialising that init_lora_weights names, if they were used.
    "corda_config",
    "lora_ga_config",
    "loftq_config",
    "runtime_config",
    "ensure_weight_tying",
    // Of the backward pass, and of samples that are drawn in training only.
    "velora_config",
    "monteclora_config",
];

/// Initialisations that also change the base weights, without which the file means nothing.
const CHANGES_BASE: &[&str] = &["pissa", "olora", "corda", "loftq", "lora_ga"];

/// Refuses files whose numbers are relative to other base weights than the model's.
pub(crate) fn check_init(config: &Config, method: &Method) -> Result<()> {
    let init = config
        .get("init_lora_weights")
        .and_then(|value| value.as_str())
        .unwrap_or("");
    if CHANGES_BASE.iter().any(|name| init.starts_with(name)) {
        let why = "its numbers are relative to a changed base; save it again with \
                   path_initial_model_for_weight_conversion";
        return Err(method.unsupported(config, "init_lora_weights", why));
    }
    Ok(())
}

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("r", r);
    start.set("lora_alpha", 2 * r);
    for target in start.targets(USUAL)? {
        lora_factors::start(start, &target);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    check_init(loader.config, &METHOD)?;
    loader.take_apart(&["lora_B.weight", "lora_B.bias"])?;
    load_with(loader, |target| Ok(Factors::read(loader, target)?.deltas()))
}

/// Changes of the linear layers, and those of the embedding that every kind of LoRA may have.
pub(crate) fn load_with(
    loader: &Loader<'_>,
    deltas: impl Fn(&Target) -> Result<Vec<Delta>>,
) -> Result<Loaded> {
    let mut placed = tokens::low_rank(loader)?;
    placed.extend(tokens::rows_of_lora(loader)?);
    if placed.is_empty() || FACTORS.iter().any(|name| loader.any(name)) {
        for target in loader.targets_of_any(&FACTORS)? {
            placed.push(Placed::linear(target.site, deltas(&target)?));
        }
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
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// A x = 1 + 2 = 3 and s = 2/1, so that s·B A x = 2·(9, 12).
    #[test]
    fn what_is_read_along_a_is_added_along_b() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "r": 1, "lora_alpha": 2 }),
            IDENTITY,
            &[
                ("lora_A.weight", [[1.0, 2.0]].into()),
                ("lora_B.weight", [[3.0], [4.0]].into()),
            ],
        );
        near(adapter.y(1.0, [1.0, 1.0]), [19.0, 25.0]);
        near(adapter.y(0.5, [1.0, 1.0]), [10.0, 13.0]);
        near(adapter.y(-1.0, [1.0, 1.0]), [-17.0, -23.0]);
        // 2·1 − 1·2: along this input A reads nothing.
        near(adapter.y(1.0, [2.0, -1.0]), [2.0, -1.0]);
    }
}
