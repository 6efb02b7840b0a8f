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
//! # Intuition
//! Only a few per cent of the weights, scattered over the layer, were trained; all others stay.
//! The change is thin everywhere but not confined to a few directions.
//! # Cost
//! One whole matrix per module: at the usual share of some ten per cent, numbers with their
//! places would save little memory and be slower to multiply.

use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
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
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let r = loader.config.count("r")?;
    Loaded::linear(loader, &["shira_weight"], |target| {
        let (i, o) = (target.i, target.o);
        let n = r.saturating_mul(i + o);
        let weights = loader.host(&loader.key(target, "shira_weight"), [n])?;
        let places = loader.indices(&loader.key(target, "shira_indices"), [2, n], i.max(o))?;
        let (rows, columns) = places.split_at(n);
        let mut delta = vec![0.0; o * i];
        for ((row, column), weight) in rows.iter().zip(columns).zip(weights) {
            if *row >= o || *column >= i {
                let key = loader.key(target, "shira_indices");
                return Err(loader.bad_value(
                    &key,
                    format!("the place ({row}, {column})"),
                    format!("places in [{o}, {i}]"),
                ));
            }
            delta[row * i + column] += weight;
        }
        let delta = loader.upload(delta, [o, i]);
        Ok(vec![Delta::Dense { delta, scale: 1.0 }])
    })
}
