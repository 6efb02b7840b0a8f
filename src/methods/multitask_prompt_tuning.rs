//! MPT: multitask prompt tuning, one shared prompt that every task tints. Wang et al. 2023.
//! <https://arxiv.org/abs/2303.02861>
//!
//! # Formula
//! ```text
//! P = E∘(U_t V_t) for the chosen task t
//! k, v = what each layer of the base keeps of P at positions 0 … n−1; the text starts at n
//! attn(c) = attn₀ + c·(attn_with_kv − attn₀)
//! ```
//! # Shapes
//! ```text
//! prompt_embeddings   E [n, d], shared by all tasks
//! prefix_task_cols    U [tasks, n, k]
//! prefix_task_rows    V [tasks, k, d]
//! ```
//! # Coefficient
//! Attention mix in every layer: at 0 the virtual tokens are not seen and positions count from 0, at
//! 1 it is PEFT's forward pass for the chosen task, below 0 attention moves away from them. The
//! base model alone reads the virtual tokens, also when other adapters act beside this one.
//! # Hypothesis
//! Most of what a prompt has to say is the same for all tasks. What is a task's own is a simple tint
//! over it.
//! # Intuition
//! One prompt serves many tasks; each task only scales the numbers of it. The user has to choose a
//! task.
//! # Limits
//! A task only tints a prompt that all tasks share. No weight changes: what no prompt can bring out
//! is out of reach.

use burn::tensor::Tensor;

use super::virtual_tokens::{self, EMBEDDINGS};
use crate::checkpoint::{
    Extras, Family, Folds, Init, Loaded, Loader, Method, Start, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::Law;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "multitask_prompt_tuning",
    peft_type: "MULTITASK_PROMPT_TUNING",
    matches: |_| true,
    family: Family::Prompt,
    law: Law::AttentionMix,
    keys: &[EMBEDDINGS, COLUMNS, ROWS],
    reads: &["num_virtual_tokens", "num_tasks", "num_ranks"],
    inert: &[
        "prompt_tuning_init",
        "prompt_tuning_init_state_dict_path",
        "prompt_tuning_init_task",
        "prompt_tuning_init_text",
    ],
    doc: room_doc!("multitask_prompt_tuning.rs"),
    load,
    trains: Trains::From { start, rate: 1e-2 },
    extras: Some(&Extras {
        tasks: Some("num_tasks"),
        ..Extras::NONE
    }),
    folds: Folds::Not(virtual_tokens::IN_FULL),
};

const COLUMNS: &str = "prefix_task_cols";
const ROWS: &str = "prefix_task_rows";

fn start(start: &mut Start<'_>) -> Result<()> {
    let (n, d) = (start.rank, start.model.config().hidden_size);
    let tasks = start.tasks;
    start.set("num_tasks", tasks);
    start.set("num_ranks", 1);
    start.learn_whole(COLUMNS, [tasks, n, 1], Init::Filled(1.0));
    start.learn_whole(ROWS, [tasks, 1, d], Init::Filled(1.0));
    virtual_tokens::start(start)
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let (tasks, k) = (
        loader.config.count("num_tasks")?,
        loader.config.count("num_ranks")?,
    );
    let shared = virtual_tokens::embeddings(loader, &METHOD)?;
    let [n, d] = shared.dims();
    let of_task = |all: Tensor<3>| all.narrow(0, loader.task, 1).squeeze_dim::<2>(0);
    let columns = of_task(loader.shared(COLUMNS, [tasks, n, k])?);
    let rows = of_task(loader.shared(ROWS, [tasks, k, d])?);
    Ok(virtual_tokens::with_prompt(
        loader,
        shared * columns.matmul(rows),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use super::{COLUMNS, EMBEDDINGS, ROWS};
    use crate::checkpoint::AdapterFiles;
    use crate::methods::pencil::{Pencil, near};

    /// E = (2, 2). Task 0 leaves it, and a norm makes token 0 of it; task 1 makes (1, −1) of it.
    #[test]
    fn a_task_tints_the_shared_prompt() {
        let of_task = |task: usize| {
            let files = AdapterFiles {
                task: Some(task),
                ..AdapterFiles::default()
            };
            let tensors = [
                (EMBEDDINGS, [[2.0, 2.0]].into()),
                (COLUMNS, [[[1.0]], [[0.5]]].into()),
                (ROWS, [[[1.0, 1.0]], [[1.0, -1.0]]].into()),
            ];
            let config = json!({ "num_virtual_tokens": 1, "num_tasks": 2 });
            Pencil::block_with(&METHOD, config, &tensors, &files)
        };
        near(of_task(0).h(1.0, &[0]), [2.0, 2.0]);
        near(of_task(1).h(1.0, &[0]), [2.0, 1.0]);
        near(of_task(1).h(-1.0, &[0]), [2.0, 3.0]);
    }
}
