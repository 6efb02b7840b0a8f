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
//! # Hypothesis
//! Tasks are made of skills that they share, each a few added directions. What is a task's own is how
//! much of each skill every layer takes.
//! # Intuition
//! A few small adapters are skills; every task mixes them in its own proportions, which differ from
//! layer to layer. Another task mixes the same skills in other proportions.
//! # Limits
//! The sum of its skills has a low rank, and only tasks that it was trained for have weights.

use burn::tensor::{Tensor, activation};

use super::starts::USUAL;
use crate::checkpoint::{
    Extras, Family, Fold, Folds, Init, Loaded, Loader, Method, Parts, Start, Trains, room_doc,
};
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
    trains: Trains::From { start, rate: 2e-3 },
    extras: Some(&Extras {
        tasks: Some("n_tasks"),
        parts: Some(Parts::Skills { field: "n_skills" }),
        ..Extras::NONE
    }),
    folds: Folds::Into(&[(B, Fold::Times)]),
};

const A: &str = "poly_lora_A";
const B: &str = "poly_lora_B";
const LOGITS: &str = "poly_router.module_logits";

/// Skills of an adapter that is trained here, where it has no more tasks than these.
const SKILLS: usize = 2;

/// Where the weights of the skills come from.
#[derive(Clone, Copy)]
enum Weigh<'a> {
    Task(usize),
    Own(&'a [f32]),
}

fn start(start: &mut Start<'_>) -> Result<()> {
    let (r, tasks) = (start.rank, start.tasks);
    let skills = SKILLS.max(tasks);
    start.set("r", r);
    start.set("n_tasks", tasks);
    start.set("n_skills", skills);
    start.set("n_splits", 1);
    start.set("poly_type", "poly");
    for target in start.targets(USUAL)? {
        start.learn(
            &target,
            A,
            [1, skills, target.i, r],
            Init::Uniform(1.0 / (target.i as f32).sqrt()),
        );
        start.learn(&target, B, [1, skills, r, target.o], Init::Zeros);
        start.learn(&target, LOGITS, [tasks, skills], Init::Uniform(1e-3));
    }
    Ok(())
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
    let weigh = match loader.part_weights {
        Some(own) => Weigh::Own(own),
        None => Weigh::Task(loader.task),
    };
    // What no file can hold is refused by its shape.
    let routes = splits.saturating_mul(skills);
    Loaded::linear(loader, &[A], |target| {
        let (i, o) = (target.i, target.o);
        config.check_divides("n_splits", splits, target)?;
        let logits: Tensor<2> = loader.tensor(target, LOGITS, [tasks, routes])?;
        let share = match weigh {
            Weigh::Own(own) => loader.upload(own.repeat(splits), [splits, skills]),
            Weigh::Task(task) => routed(logits.narrow(0, task, 1).reshape([splits, skills])),
        };
        let share = share.reshape([splits, skills, 1, 1]);
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
fn routed(logits: Tensor<2>) -> Tensor<2> {
    let share = activation::sigmoid(logits);
    share.clone() / (share.sum_dim(1) + 1e-12)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// Logits ±ln 3 are the shares ¾ and ¼: A = ¾·(4, 0) + ¼·(0, 4) = (3, 1) and so is B; A x = 4.
    #[test]
    fn a_task_mixes_skills() {
        let odds = 3.0_f32.ln();
        let adapter = Pencil::layer(
            &METHOD,
            json!({ "r": 1, "n_skills": 2 }),
            IDENTITY,
            &[
                ("poly_lora_A", [[[[4.0], [0.0]], [[0.0], [4.0]]]].into()),
                ("poly_lora_B", [[[[4.0, 0.0]], [[0.0, 4.0]]]].into()),
                ("poly_router.module_logits", [[odds, -odds]].into()),
            ],
        );
        near(adapter.y(1.0, [1.0, 1.0]), [13.0, 5.0]);
        near(adapter.y(-1.0, [1.0, 1.0]), [-11.0, -3.0]);
    }
}
