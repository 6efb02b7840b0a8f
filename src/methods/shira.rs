//! SHiRA: sparse high-rank adaptation. Bhardwaj et al. 2024.
//! <https://arxiv.org/abs/2406.13175>
//!
//! # Formula
//! ```text
//! y = W x + c·Δ x,   Δ[row_k, column_k] = w_k, everywhere else 0
//! ```
//! # Shapes
//! ```text
//! <module>.shira_weight    w [n], n = r·(i + o)
//! <module>.shira_indices   [2, n], rows and columns; whole numbers, from Windows as floats
//! ```
//! # Coefficient
//! Linear: c multiplies Δ.
//! # Hypothesis
//! A behaviour sits in a few single weights, scattered over the layer. All others can stay as they
//! are and keep what they knew, and two behaviours hardly meet.
//! # Intuition
//! Only a few per cent of the weights, scattered over the layer, were trained; all others stay.
//! The change is thin everywhere but not confined to a few directions.
//! # Limits
//! Most weights stay as they are. A direction that runs through all of them is met only where a
//! chosen weight lies.
//! # Cost
//! One whole matrix per module: at the usual share of some ten per cent, numbers with their
//! places would save little memory and be slower to multiply.

use burn::tensor::{IndexingUpdateOp, Tensor};

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "shira",
    peft_type: "SHIRA",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &["shira_weight", "shira_indices"],
    reads: &["r"],
    // How the places were drawn; the file has them.
    inert: &["mask_type", "random_seed", "init_weights"],
    doc: room_doc!("shira.rs"),
    load,
    trains: Trains::From { start, rate: 1e-3 },
    extras: None,
    folds: Folds::Into(&[("shira_weight", Fold::Times)]),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("r", r);
    for target in start.targets(USUAL)? {
        let (i, o) = (target.i, target.o);
        let n = (r * (i + o)).min(i * o);
        // Each place once: the first n of a shuffled list.
        let mut places: Vec<usize> = (0..i * o).collect();
        for at in 0..n {
            let left = places.len() - at;
            let other = at + (start.uniform() * left as f64) as usize;
            places.swap(at, other.min(i * o - 1));
        }
        let rows = places[..n].iter().map(|place| (place / i) as i64);
        let columns = places[..n].iter().map(|place| (place % i) as i64);
        let indices = rows.chain(columns).collect();
        start.learn(&target, "shira_weight", [n], Init::Zeros);
        start.keep_indices(&format!("{}.shira_indices", target.key), [2, n], indices);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let r = loader.config.count("r")?;
    Loaded::linear(loader, &["shira_weight"], |target| {
        let (i, o) = (target.i, target.o);
        let n = r.saturating_mul(i + o);
        let weights: Tensor<1> = loader.tensor(target, "shira_weight", [n])?;
        let places = loader.indices(&loader.key(target, "shira_indices"), [2, n], i.max(o))?;
        let (rows, columns) = places.split_at(n);
        let outside = |(row, column): &(&usize, &usize)| **row >= o || **column >= i;
        if let Some((row, column)) = rows.iter().zip(columns).find(outside) {
            let key = loader.key(target, "shira_indices");
            return Err(loader.bad_value(
                &key,
                format!("the place ({row}, {column})"),
                format!("places in [{o}, {i}]"),
            ));
        }
        let places = rows.iter().zip(columns);
        let places = places.map(|(row, column)| (row * i + column) as i32);
        let places = loader.upload_indices(places.collect());
        let nothing: Tensor<1> = loader.upload(vec![0.0; o * i], [o * i]);
        let delta = nothing.select_assign(0, places, weights, IndexingUpdateOp::Add);
        let delta = delta.reshape([o, i]);
        Ok(vec![Delta::Dense { delta, scale: 1.0 }])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{Pencil, near};

    /// Six of nine weights change, to Δ = [1 2 0; 0 3 4; 6 0 5]; the 9 is not among them.
    #[test]
    fn single_weights_change_and_the_others_stay() {
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "r": 1 }),
            [[0.0, 0.0, 9.0], [0.0; 3], [0.0; 3]],
            &[
                ("shira_weight", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].into()),
                (
                    "shira_indices",
                    [[0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 0]].into(),
                ),
            ],
        );
        near(adapter.y(1.0, [1.0, 1.0, 0.0]), [3.0, 3.0, 6.0]);
        near(adapter.y(1.0, [0.0, 0.0, 1.0]), [9.0, 4.0, 5.0]);
        near(adapter.y(-1.0, [0.0, 0.0, 1.0]), [9.0, -4.0, -5.0]);
    }
}
