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
//! # Intuition
//! One prompt serves many tasks; each task only scales the numbers of it. The user has to choose a
//! task.

use burn::tensor::Tensor;

use super::virtual_tokens::{self, EMBEDDINGS};
use crate::checkpoint::{Family, Loaded, Loader, Method, room_doc};
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
};

const COLUMNS: &str = "prefix_task_cols";
const ROWS: &str = "prefix_task_rows";

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let (tasks, k) = (
        loader.config.count("num_tasks")?,
        loader.config.count("num_ranks")?,
    );
    let task = loader.task(tasks)?;
    let shared = virtual_tokens::embeddings(loader, &METHOD)?;
    let [n, d] = shared.dims();
    let of_task = |all: Tensor<3>| all.narrow(0, task, 1).squeeze_dim::<2>(0);
    let columns = of_task(loader.shared(COLUMNS, [tasks, n, k])?);
    let rows = of_task(loader.shared(ROWS, [tasks, k, d])?);
    Ok(virtual_tokens::with_prompt(
        loader,
        shared * columns.matmul(rows),
    ))
}
