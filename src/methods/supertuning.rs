//! Super-Tuning: sparse fine-tuning of the largest weights, with a LoRA beside it as Supra. 2026.
//! <https://arxiv.org/abs/2607.09287>
//!
//! # Formula
//! ```text
//! y = W x + c·(S + α/r·B A) x,   S[place_k] = v_k, everywhere else 0; B A with r alone (Supra)
//! ```
//! # Shapes
//! ```text
//! <module>.supertuning_values          v [n]
//! <module>.supertuning_indices         [n], whole numbers: place = row·i + column
//! <module>.supertuning_lora_A.weight   A [r, i]
//! <module>.supertuning_lora_B.weight   B [o, r]
//! ```
//! # Coefficient
//! Linear: c multiplies the whole change.
//! # Hypothesis
//! What a task needs can be written into a few single weights, whatever rank their change has, and
//! how large a weight is tells whether it matters.
//! # Intuition
//! One weight in a hundred is trained, as a rule those that were largest before; all others stay.
//! Supra adds a few directions to these single points.
//! # Limits
//! Few weights change, as a rule the largest. What small weights would have to do is out of reach,
//! but for the few directions of Supra.
//! # Cost
//! One whole matrix per module.
//! # Differs from PEFT
//! Files without the places (save_precomputed_indices = false) are refused: of equal weights, which
//! 16-bit models have many of, nothing says which were taken and in which order.

use burn::tensor::{IndexingUpdateOp, Tensor};
use serde_json::Value;

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "supertuning",
    peft_type: "SUPERTUNING",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &[
        "supertuning_values",
        "supertuning_indices",
        "supertuning_lora_A.weight",
        "supertuning_lora_B.weight",
    ],
    reads: &["r", "lora_alpha", "save_precomputed_indices"],
    // How the places were chosen; the file has them.
    inert: &["sparsity", "select_top", "init_weights", "lora_dropout"],
    doc: room_doc!("supertuning.rs"),
    load,
    trains: Trains::From { start, rate: 1e-3 },
    extras: None,
    folds: Folds::Into(&[
        ("supertuning_values", Fold::Times),
        ("supertuning_lora_B.weight", Fold::Times),
    ]),
};

/// The largest weights, over all layers as many as a LoRA of this rank has numbers.
fn start(start: &mut Start<'_>) -> Result<()> {
    let targets = start.targets(USUAL)?;
    let sum = |of: fn(&Target) -> usize| targets.iter().map(of).sum::<usize>() as f64;
    let share = start.rank as f64 * sum(|it| it.i + it.o) / sum(|it| it.i * it.o);
    let sparsity = (1.0 - share).max(0.0);
    start.set("sparsity", sparsity);
    start.set("select_top", true);
    start.set("save_precomputed_indices", true);
    for target in targets {
        let weights = start.numbers(start.weight(&target))?;
        // As PEFT counts them.
        let n = (weights.len() as f64 * (1.0 - sparsity)) as usize;
        let mut places: Vec<usize> = (0..weights.len()).collect();
        let size = |place: &usize| weights[*place].abs();
        places.sort_by(|a, b| size(b).total_cmp(&size(a)));
        let places = places[..n].iter().map(|place| *place as i64).collect();
        let key = format!("{}.supertuning_indices", target.key);
        start.learn(&target, "supertuning_values", [n], Init::Zeros);
        start.keep_indices(&key, [n], places);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let field = "save_precomputed_indices";
    if config.get(field) == Some(&Value::Bool(false)) {
        let why = "the file does not say which weights were trained; save it again with true";
        return Err(METHOD.unsupported(config, field, why));
    }
    let supra = config.flag("r").then(|| config.count("r")).transpose()?;
    Loaded::linear(loader, &["supertuning_values"], |target| {
        let (i, o) = (target.i, target.o);
        let n = loader.extent(target, "supertuning_values", 0)?;
        let values: Tensor<1> = loader.tensor(target, "supertuning_values", [n])?;
        let places = loader.indices(&loader.key(target, "supertuning_indices"), [n], o * i)?;
        let places = loader.upload_indices(places.iter().map(|place| *place as i32).collect());
        let nothing: Tensor<1> = loader.upload(vec![0.0; o * i], [o * i]);
        let delta = nothing.select_assign(0, places, values, IndexingUpdateOp::Add);
        let delta = delta.reshape([o, i]);
        let mut deltas = vec![Delta::Dense { delta, scale: 1.0 }];
        if let Some(r) = supra {
            // PEFT's own default.
            let alpha = if config.flag("lora_alpha") {
                config.number("lora_alpha")?
            } else {
                2.0 * r as f32
            };
            let a = loader.tensor(target, "supertuning_lora_A.weight", [r, i])?;
            let b = loader.tensor(target, "supertuning_lora_B.weight", [o, r])?;
            deltas.push(Delta::product(a, b, alpha / r as f32));
        }
        Ok(deltas)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{Pencil, near};

    /// Of W `[2, 2]` the places 1 and 2 are row 0, column 1 and row 1, column 0.
    #[test]
    fn single_weights_move() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({}),
            [[1.0, 0.0], [0.0, 9.0]],
            &[
                ("supertuning_values", [0.5, -2.0].into()),
                ("supertuning_indices", [2, 1].into()),
            ],
        );
        near(adapter.y(1.0, [1.0, 1.0]), [-1.0, 9.5]);
        near(adapter.y(-1.0, [1.0, 1.0]), [3.0, 8.5]);
    }
}
