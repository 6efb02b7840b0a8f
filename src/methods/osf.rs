//! OSF: orthogonal subspace fine-tuning. Nayak et al. 2025.
//! <https://arxiv.org/abs/2504.07097>
//!
//! # Formula
//! ```text
//! W = H + L,   L the weakest directions of W, as many as the file trains
//! y = W x + c·(U diag(S) V − L) x
//! ```
//! # Shapes
//! ```text
//! <module>.osf_svd_params.U_low   U [o, n]
//! <module>.osf_svd_params.S_low   S [n], n = min(o, i) − effective_rank
//! <module>.osf_svd_params.V_low   V [n, i]
//! ```
//! # Coefficient
//! Linear: c multiplies the difference between the weak directions as trained and as they were.
//! # Hypothesis
//! A layer keeps what it knows in its strongest directions and has room in the weak ones; what is
//! learned there disturbs nothing.
//! # Intuition
//! The layer is taken apart into directions, by strength. The strong ones are locked, and all of the
//! weak ones may be rewritten.
//! # Limits
//! The strong directions are locked. What a layer does most cannot be changed, only what it does a
//! little.
//! # Cost
//! Two whole matrices per module, where many directions are trained. Loading decomposes each weight of
//! the base, as the device has it, down to its last direction; a base that is quantised differently from the trained one
//! gives a slightly different start.

use burn::tensor::Tensor;
use serde_json::Map as JsonMap;

use super::starts::{USUAL, parts};
use crate::checkpoint::{
    Base, Extras, Family, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};
use crate::tensor::pulled;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "osf",
    peft_type: "OSF",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &["osf_svd_params.U_low", STRENGTHS, "osf_svd_params.V_low"],
    reads: &[],
    // How many directions are locked; the file has the others. PEFT reads no target_svd_config.
    inert: &[
        "effective_rank",
        "rank_pattern",
        "init_weights",
        "target_svd_config",
    ],
    doc: room_doc!("osf.rs"),
    load,
    trains: Trains::From { start, rate: 1e-2 },
    extras: Some(&Extras {
        base: |_| Base::Weights(STRENGTHS),
        ..Extras::NONE
    }),
    folds: Folds::Not(
        "the weak directions as they were, from where c would move them, stand in no file",
    ),
};

/// The tensor by which an adapted module is known.
const STRENGTHS: &str = "osf_svd_params.S_low";

/// As many of the weakest directions as the rank says, as they are.
fn start(start: &mut Start<'_>) -> Result<()> {
    let rank = start.rank;
    let mut locked = JsonMap::new();
    for target in start.targets(USUAL)? {
        let (i, o) = (target.i, target.o);
        let (all, n) = (i.min(o), rank.min(i).min(o));
        let weak = parts(start, &target, all - n..all)?;
        start.learn(&target, "osf_svd_params.U_low", [o, n], Init::Given(weak.u));
        start.learn(&target, STRENGTHS, [n], Init::Given(weak.s));
        start.learn(&target, "osf_svd_params.V_low", [n, i], Init::Given(weak.v));
        let name = target.path.rsplit('.').next().unwrap_or_default();
        locked.insert(name.into(), (all - n).into());
    }
    start.set("rank_pattern", locked);
    Ok(())
}

/// x `[n, side]`, whose gradient has no part along the rows of `locked [m, side]`, as in PEFT.
fn kept_off(x: Tensor<2>, locked: Tensor<2>) -> Tensor<2> {
    let locked = locked.clone() / locked.square().sum_dim(1).clamp_min(1e-24).sqrt();
    pulled(x.clone(), x.without_autodiff(), move |dy: Tensor<2>| {
        let along = dy.clone().matmul(locked.clone().transpose());
        dy - along.matmul(locked.clone())
    })
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    Loaded::linear(loader, &[STRENGTHS], |target| {
        let (i, o) = (target.i, target.o);
        let n = loader.extent(target, STRENGTHS, 0)?;
        let Some(locked) = i.min(o).checked_sub(n) else {
            let expected = format!("at most {} numbers", i.min(o));
            return Err(loader.wrong_shape(&loader.key(target, STRENGTHS), expected));
        };
        let mut u: Tensor<2> = loader.tensor(target, "osf_svd_params.U_low", [o, n])?;
        let s: Tensor<1> = loader.tensor(target, STRENGTHS, [n])?;
        let mut v: Tensor<2> = loader.tensor(target, "osf_svd_params.V_low", [n, i])?;
        if u.is_autodiff() && locked > 0 {
            let (a, b) = loader.directions(target, 0..locked)?;
            v = kept_off(v, a);
            u = kept_off(u.transpose(), b.transpose()).transpose();
        }
        let (a, b) = loader.directions(target, locked..i.min(o))?;
        Ok(vec![
            Delta::product(v, u * s.unsqueeze(), 1.0),
            Delta::product(a, b, -1.0),
        ])
    })
}
