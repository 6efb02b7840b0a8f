//! Single tokens and the embedding, for the methods that train them: some rows of a matrix with one
//! row per token, or a low-rank change of the whole embedding.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use serde_json::Value;

use super::lora_factors::scale;
use crate::checkpoint::{Loader, PREFIX, Target};
use crate::error::Result;
use crate::hooks::{Delta, Lookup, Placed, Site};

/// The trained rows of every module that has `parameter`, which holds whole rows and no
/// differences. `ids` says which rows they are. On a model with a tied head, the embedding's rows
/// are the head's too, unless the file has some for the head.
pub(super) fn trained_rows(
    loader: &Loader<'_>,
    parameter: &str,
    ids: impl Fn(&Target) -> Result<Vec<u32>>,
) -> Result<Vec<Placed>> {
    let targets = loader.tables(parameter)?;
    let config = loader.model.config();
    let tied = (config.tie_word_embeddings || config.tied_by_config_alone)
        && targets.iter().all(|target| target.site != Site::Head);
    let mut placed = Vec::new();
    for target in targets {
        let listed = ids(&target)?;
        let key = loader.key(&target, parameter);
        let rows = loader.host(&key, [listed.len(), target.i])?;
        if listed.is_empty() {
            continue;
        }
        // Of an id that is listed twice, the last row counts.
        let row_of: BTreeMap<u32, i32> = listed.iter().copied().zip(0..).collect();
        let ids: Vec<u32> = row_of.keys().copied().collect();
        let indices = loader.upload_indices(ids.iter().map(|&id| id as i32).collect());
        let rows: Tensor<2> = loader.on_device(&key, rows, [listed.len(), target.i]);
        let rows = rows.select(0, loader.upload_indices(row_of.into_values().collect()));
        let base = match target.site {
            Site::Embedding => loader.model.embeddings(&ids),
            _ => loader.base_weight(&target).select(0, indices.clone()),
        };
        let change = rows.clone() - base;
        if target.site == Site::Embedding {
            let lookup = Lookup::rows(&ids, change.clone());
            placed.push(Placed::new(target.site, move |c| lookup.times(c)));
        }
        let outputs = match target.site {
            Site::Embedding => tied.then_some(Site::Head),
            site => Some(site),
        };
        placed.extend(outputs.map(|site| {
            let ids = indices.clone();
            let rows = match site {
                Site::Head if config.tied_by_config_alone => {
                    rows.clone() - loader.model.head_weight().select(0, ids.clone())
                }
                _ => change.clone(),
            };
            let scale = 1.0;
            Placed::linear(site, vec![Delta::Rows { ids, rows, scale }])
        }));
    }
    Ok(placed)
}

/// The rows of LoRA's `trainable_token_indices`: a list, for the embedding, or an object from
/// module names to lists.
pub(super) fn rows_of_lora(loader: &Loader<'_>) -> Result<Vec<Placed>> {
    let listed = loader.config.get(INDICES);
    check_rows_are_there(loader, INDICES, listed)?;
    if !loader.any(ROWS) {
        return Ok(Vec::new());
    }
    trained_rows(loader, ROWS, |target| ids_of_lora(loader, target))
}

/// The tokens whose rows a module has.
pub(super) fn ids_of_lora(loader: &Loader<'_>, target: &Target) -> Result<Vec<u32>> {
    let listed = loader.config.get(INDICES);
    let own = listed.and_then(Value::as_object).and_then(|modules| {
        let usual = |name: &str| loader.config.usual_module(name);
        let named = |(name, _): &(&String, &Value)| target.path.ends_with(&usual(name));
        // A tied head may have the embedding's rows a second time.
        let tied = loader.model.config().tie_word_embeddings && target.site == Site::Head;
        let embedding =
            |(name, _): &(&String, &Value)| tied && usual(name).ends_with("embed_tokens");
        let entries = || modules.iter();
        entries().find(named).or_else(|| entries().find(embedding))
    });
    let own = own.map_or(listed, |(_, ids)| Some(ids));
    loader.config.ids(INDICES, own, target.o)
}

/// Refuses rows that the config names and the file lacks, as PEFT does. A tied head needs none of
/// its own where the same ids are named for both.
fn check_rows_are_there(loader: &Loader<'_>, field: &str, listed: Option<&Value>) -> Result<()> {
    let tied = loader.model.config().tie_word_embeddings;
    let modules: Vec<(String, &Value)> = match listed {
        Some(Value::Array(ids)) if !ids.is_empty() => listed
            .map(|ids| ("embed_tokens".into(), ids))
            .into_iter()
            .collect(),
        Some(Value::Object(modules)) => {
            let usual = |name: &String| loader.config.usual_module(name);
            let modules = modules.iter();
            modules.map(|(name, ids)| (usual(name), ids)).collect()
        }
        _ => Vec::new(),
    };
    for (name, ids) in &modules {
        let same =
            |(other, others): &(String, &Value)| other.ends_with("embed_tokens") && others == ids;
        if tied && name.ends_with("lm_head") && modules.iter().any(same) {
            continue;
        }
        let parameter = format!("{name}.{ROWS}");
        if !loader.any(&parameter) {
            let key = format!("{PREFIX}<module>{parameter}");
            return Err(loader.named_but_absent(field, key));
        }
    }
    Ok(())
}

/// LoRA of the embedding: a token's own r numbers, through B. A tied head does not follow it,
/// except in mlx-lm's files.
pub(super) fn low_rank(loader: &Loader<'_>) -> Result<Vec<Placed>> {
    if !loader.any(A) {
        return Ok(Vec::new());
    }
    let tied = loader.model.config().tie_word_embeddings;
    let mut placed = Vec::new();
    for target in loader.tables(A)? {
        let (table, b, s) = factors(loader, &target)?;
        if tied && loader.config.is_mlx {
            let product = Delta::product(b.clone().transpose(), table.clone(), s);
            placed.push(Placed::linear(Site::Head, vec![product]));
        }
        let lookup = Lookup::table(table, Some(b));
        placed.push(Placed::new(target.site, move |c| lookup.times(c * s)));
    }
    Ok(placed)
}

/// Aᵀ [vocabulary, r], B [d, r] and s of an embedding's LoRA.
pub(super) fn factors(loader: &Loader<'_>, target: &Target) -> Result<(Tensor<2>, Tensor<2>, f32)> {
    let (rank, s) = scale(loader.config, target)?;
    let a = loader.host(&loader.key(target, A), [rank, target.o])?;
    let of_token = |id| (0..rank).map(move |row| row * target.o + id);
    let table = (0..target.o).flat_map(of_token).map(|at| a[at]).collect();
    let table = loader.upload(table, [target.o, rank]);
    Ok((table, loader.tensor(target, B, [target.i, rank])?, s))
}

pub(super) use crate::checkpoint::keys::{EMBEDDING_A as A, EMBEDDING_B as B};
/// Whole rows of trainable_token_indices.
pub(super) const ROWS: &str = "token_adapter.trainable_tokens_delta";
const INDICES: &str = "trainable_token_indices";
