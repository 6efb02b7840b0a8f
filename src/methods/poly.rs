//! Poly: skills that tasks share and a router mixes. Ponti et al. 2022; splits: Caccia et al. 2022.
//! <https://arxiv.org/abs/2202.13914>
//!
//! # Formula
//! ```text
//! w = σ(logits[task]) [q, s],   ŵ = w/(Σ_s w + 1e-12)
//! A = Σ_s ŵ_s A_s,   B = Σ_s ŵ_s B_s, split by split
//! y = W x + c/r·(B A x)
//! ```
//! # Shapes
//! ```text
//! <module>.poly_lora_A                 A_s, transposed [q, s, i/q, r]
//! <module>.poly_lora_B                 B_s, transposed [q, s, r, o/q]
//! <module>.poly_router.module_logits   logits [tasks, q·s]
//! ```
//! # Coefficient
//! Linear: c multiplies the added product of the chosen task (`task`, from 0; n_tasks of them).
//! Given weights, one for each skill, replace those of a task: ŵ_s is then that number in every
//! layer and split. They are not normalised, while a router's sum to 1. Doubling all of them is
//! four times the change, since ŵ is in A and in B.
//! # Intuition
//! A few small adapters are skills; every task mixes them in its own proportions, which differ from
//! layer to layer. Another task mixes the same skills in other proportions.

use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "poly",
    peft_type: "POLY",
    matches: |_| true,
    family: Family::LowRank,
    law: Law::Linear,
    keys: &[A, B, LOGITS],
    reads: &["r", "n_tasks", "n_skills", "n_splits", "poly_type"],
    inert: &["init_weights"],
    doc: room_doc!("poly.rs"),
    load,
};

const A: &str = "poly_lora_A";
const B: &str = "poly_lora_B";
const LOGITS: &str = "poly_router.module_logits";

/// Where the weights of the skills come from.
#[derive(Clone, Copy)]
enum Weigh<'a> {
    Task(usize),
    Own(&'a [f32]),
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    if config.text("poly_type")? != "poly" {
        return Err(METHOD.unsupported(
            config,
            "poly_type",
            "only the router of type poly is known",
        ));
    }
    let [r, tasks, skills, splits] =
        ["r", "n_tasks", "n_skills", "n_splits"].map(|field| config.count(field));
    let (r, tasks, skills, splits) = (r?, tasks?, skills?, splits?);
    let weigh = match loader.expert_weights("skills", skills)? {
        Some(own) => {
            loader.no_task("weights for the skills are given in its place")?;
            Weigh::Own(own)
        }
        None => Weigh::Task(loader.task(tasks)?),
    };
    // What no file can hold is refused by its shape.
    let routes = splits.saturating_mul(skills);
    Loaded::linear(loader, &[A], |target| {
        let (i, o) = (target.i, target.o);
        config.check_divides("n_splits", splits, target)?;
        let logits = loader.host(&loader.key(target, LOGITS), [tasks, routes])?;
        let share = match weigh {
            Weigh::Own(own) => own.repeat(splits),
            Weigh::Task(task) => routed(&logits[task * routes..][..routes], skills),
        };
        let share = loader.upload(share, [splits, skills, 1, 1]);
        let a = loader.tensor(target, A, [splits, skills, i / splits, r])?;
        let b = loader.tensor(target, B, [splits, skills, r, o / splits])?;
        let a = (a * share.clone()).sum_dim(1).reshape([i, r]);
        // The output is split by split, so B's splits stand side by side.
        let b = (b * share).sum_dim(1).swap_dims(0, 2).reshape([r, o]);
        let delta = Delta::product(a.transpose(), b.transpose(), 1.0 / r as f32);
        Ok(vec![delta])
    })
}

/// The weights of a task's skills, split by split, from its logits `[q, s]`.
fn routed(logits: &[f32], skills: usize) -> Vec<f32> {
    let mut share: Vec<f32> = logits
        .iter()
        .map(|logit| 1.0 / (1.0 + (-logit).exp()))
        .collect();
    for split in share.chunks_mut(skills) {
        let sum = split.iter().sum::<f32>() + 1e-12;
        for w in split {
            *w /= sum;
        }
    }
    share
}
