//! Virtual tokens: trained embeddings before the text, shared by the methods that differ only in
//! how they were trained. Attention is causal, so what a layer keeps of the virtual tokens does not
//! depend on the text: their keys and values are computed once.

use burn::tensor::Tensor;

use crate::checkpoint::{Init, Loaded, Loader, Method, Start};
use crate::error::Result;
use crate::hooks::{ExtraKeyValue, Join, Law, Placed, Site};
use crate::model::EXTRA_POSITIONS;

/// The trained embeddings' name in every one of these checkpoints.
pub(super) const EMBEDDINGS: &str = "prompt_embeddings";

/// Why c cannot become part of a prompt's numbers.
pub(super) const IN_FULL: &str =
    "c blends attention without the prompt and with it, and a prompt by itself is there in full";

/// n, as long as positions are left for it.
pub(super) fn count(loader: &Loader<'_>, method: &Method) -> Result<usize> {
    let field = "num_virtual_tokens";
    if loader.model.config().learned_positions {
        let why = "this model adds a learned row for each position to its embeddings; behind virtual \
                   tokens the text would have other rows, which c cannot blend layer by layer";
        return Err(method.unsupported(loader.config, field, why));
    }
    match loader.config.count(field)? {
        n if n > EXTRA_POSITIONS => {
            let why = "up to 1024 virtual tokens fit before the text here";
            Err(method.unsupported(loader.config, field, why))
        }
        n => Ok(n),
    }
}

/// What PEFT's config says of virtual tokens, `rank` of them.
pub(super) fn facts(start: &mut Start<'_>) -> Result<()> {
    start.whole()?;
    let config = start.model.config();
    let (layers, heads, d) = (config.num_layers, config.num_heads, config.hidden_size);
    start.set("num_virtual_tokens", start.rank);
    start.set("token_dim", d);
    start.set("num_layers", layers);
    start.set("num_attention_heads", heads);
    start.set("num_transformer_submodules", 1);
    Ok(())
}

/// Virtual tokens before training: embeddings of tokens of the vocabulary.
pub(super) fn start(start: &mut Start<'_>) -> Result<()> {
    facts(start)?;
    let (n, d) = (start.rank, start.model.config().hidden_size);
    let vocab = start.model.config().vocab_size;
    let ids: Vec<u32> = (0..n)
        .map(|_| (start.uniform() * vocab as f64) as u32)
        .collect();
    let rows = start.numbers(start.model.embeddings(&ids))?;
    start.learn_whole(EMBEDDINGS, [n, d], Init::Given(rows));
    Ok(())
}

/// The trained embeddings `[n, d]`.
pub(super) fn embeddings(loader: &Loader<'_>, method: &Method) -> Result<Tensor<2>> {
    let n = count(loader, method)?;
    loader.shared(EMBEDDINGS, [n, loader.model.config().hidden_size])
}

/// Runs the base model over the virtual tokens and gives every layer the keys and values that it
/// keeps of them.
pub(super) fn with_prompt(loader: &Loader<'_>, embeddings: Tensor<2>) -> Loaded {
    let kept = loader.model.keys_values(embeddings);
    let place = |(layer, (keys, values))| in_layer(layer, keys, values);
    Loaded {
        law: Law::AttentionMix,
        placed: kept.into_iter().enumerate().map(place).collect(),
    }
}

/// Keys and values `[kv_heads, n, hd]` before one layer's own.
pub(super) fn in_layer(layer: usize, keys: Tensor<3>, values: Tensor<3>) -> Placed {
    Placed::new(Site::Attention(layer), move |coefficient| {
        let (keys, values) = (keys.clone(), values.clone());
        ExtraKeyValue {
            keys,
            values,
            coefficient,
            join: Join::InFront,
        }
    })
}
