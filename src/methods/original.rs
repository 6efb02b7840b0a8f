//! The base's own numbers in the places of what a checkpoint holds whole: modules that were trained,
//! rows of tokens.

use super::{ln_tuning, tokens, trainable_tokens};
use crate::checkpoint::{Loader, PREFIX, Target, saved};
use crate::device::read_back;
use crate::error::Result;
use crate::hooks::Site;

/// Whether a tensor stands for numbers of the base, which c moves from those to its own.
pub(crate) fn is_whole(key: &str) -> bool {
    is_of_tokens(key) || saved::module(key).is_some()
}

/// Whether it holds rows of tokens.
pub(crate) fn is_of_tokens(key: &str) -> bool {
    key.ends_with(trainable_tokens::ROWS)
}

/// What the base has in the place of such a tensor, as a file would hold it.
///
/// # Errors
/// [`NoSuchModule`](crate::Error::NoSuchModule) for a place that the model lacks,
/// [`DeviceLost`](crate::Error::DeviceLost), and those of [`Config::ids`](crate::checkpoint::Config::ids).
pub(crate) async fn original(loader: &Loader<'_>, key: &str) -> Result<Vec<f32>> {
    let missing = || loader.no_such_module(key);
    if is_of_tokens(key) {
        let name = [tokens::ROWS, trainable_tokens::ROWS];
        let module = name.iter().find_map(|name| key.strip_suffix(name));
        let module = module.and_then(|module| module.strip_suffix('.'));
        let target = loader.target(key, module.ok_or_else(missing)?)?;
        let ids = if key.ends_with(tokens::ROWS) {
            tokens::ids_of_lora(loader, &target)?
        } else {
            trainable_tokens::ids(loader, &target)?
        };
        let table = read_back(loader.base_weight(&target)).await?;
        let rows = ids.iter().map(|&id| id as usize * target.i);
        return Ok(rows
            .flat_map(|at| &table[at..at + target.i])
            .copied()
            .collect());
    }
    // LN tuning keeps a module whole under a name of its own.
    let names = [(ln_tuning::KEY, "weight"), (ln_tuning::BIAS, "bias")];
    let own = names.iter().find_map(|(name, plain)| {
        let module = key.strip_suffix(name)?;
        Some(format!("{module}{plain}"))
    });
    let key = own.as_deref().unwrap_or(key);
    let module = saved::module(key).ok_or_else(missing)?;
    let path = module.strip_prefix(PREFIX).unwrap_or(module);
    let config = loader.model.config();
    if Site::is_norm(path) {
        let site = Site::parse_norm(config.family, path).ok_or_else(missing)?;
        let gain = loader.base_gain(site, key)? - config.adapter_gain_offset;
        return read_back(gain).await;
    }
    let mut numbers = Vec::new();
    for target in layers(loader, key, module, path)? {
        if key.ends_with(".bias") {
            let bias = loader.base_bias(&target).ok_or_else(missing)?;
            numbers.extend(read_back(bias).await?);
        } else {
            numbers.extend(read_back(loader.base_weight(&target)).await?);
        }
    }
    Ok(numbers)
}

/// The layer of a module, or those that it holds on top of each other.
fn layers(loader: &Loader<'_>, key: &str, module: &str, path: &str) -> Result<Vec<Target>> {
    let names = loader.model.config().family;
    let inside = path.splitn(4, '.').nth(3).unwrap_or_default();
    let Some(stack) = names.stack_at(inside) else {
        return Ok(vec![loader.target(key, module)?]);
    };
    let outside = module.strip_suffix(inside).unwrap_or(module);
    let part = |part| loader.target(key, &format!("{outside}{}", names.linear(part)));
    stack
        .parts
        .iter()
        .map(|&projection| part(projection))
        .collect()
}
