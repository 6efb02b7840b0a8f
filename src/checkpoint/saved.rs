//! Whole copies of modules that a checkpoint carries beside its method: `modules_to_save`, trained
//! biases. Each is kept as its difference from the base, which c multiplies. Of an adapted
//! embedding or head PEFT saves the frozen weight along and loads it; where it is the model's own,
//! nothing is kept.

use burn::tensor::Tensor;
use serde_json::Value;

use super::files::PREFIX;
use super::loader::Loader;
use super::target::Target;
use crate::arch::Projection;
use crate::error::Result;
use crate::hooks::{Delta, Gain, Lookup, Placed, Site};

/// The module whose whole weight or bias a key holds.
pub(crate) fn module(key: &str) -> Option<&str> {
    let weight = key.strip_suffix(".weight");
    let module = weight.or(key.strip_suffix(".bias"))?;
    let module = module.strip_suffix(".base_layer").unwrap_or(module);
    let module = module.strip_suffix(".token_adapter").unwrap_or(module);
    let path = module.strip_prefix(PREFIX)?;
    // A bias of a norm has no place.
    let is_norm = weight.is_some() && Site::is_norm(path);
    let is_module = Site::parse(path).is_some() || Site::is_stack(path) || is_norm;
    is_module.then_some(module)
}

/// The key of the copy that this one repeats: with save_embedding_layers or bias = "all" PEFT writes
/// what stands in modules_to_save a second time, and the frozen original, and reads neither.
pub(crate) fn repeated(key: &str) -> Option<String> {
    let (module_path, rest) = [".modules_to_save.", ".original_module."]
        .iter()
        .find_map(|infix| key.split_once(infix))?;
    // Inside a container the adapter's name may stand in between.
    let rests = [Some(rest), rest.split_once('.').map(|(_, rest)| rest)];
    let plain = rests
        .into_iter()
        .flatten()
        .map(|rest| format!("{module_path}.{rest}"));
    plain.into_iter().find(|plain| module(plain).is_some())
}

/// Whether some module's path in the model ends so.
fn is_module(loader: &Loader<'_>, name: &str) -> bool {
    let config = loader.model.config();
    let around = [
        "model.embed_tokens",
        "model.layers",
        "model.norm",
        "model.rotary_emb",
        "lm_head",
    ];
    if around.iter().any(|path| path.ends_with(name)) {
        return true;
    }
    let mut inside: Vec<String> = Vec::from([String::new()]);
    for path in config.family.paths() {
        inside.push(format!(".{path}"));
        if let Some((parent, _)) = path.rsplit_once('.') {
            inside.push(format!(".{parent}"));
        }
    }
    if let Some((mlp, _)) = config.family.linear(Projection::Gate).rsplit_once('.') {
        inside.push(format!(".{mlp}.act_fn"));
    }
    (0..config.num_layers).any(|layer| {
        let ends = |part: &String| format!("model.layers.{layer}{part}").ends_with(name);
        inside.iter().any(ends)
    })
}

const FROZEN: &str = "base_layer.weight";

/// The layers of which the file has the frozen weight, for comparison with the base's.
pub(crate) fn frozen(loader: &Loader<'_>) -> Vec<Target> {
    let keys = loader.keys().into_iter();
    let target = |key: String| loader.target(&key, module(&key)?).ok();
    keys.filter(|key| key.ends_with(FROZEN))
        .filter_map(target)
        .collect()
}

/// The copies among the tensors that no method took.
pub(crate) fn copies(loader: &Loader<'_>) -> Result<Vec<Placed>> {
    loader.take_apart(&[])?;
    for key in loader.keys() {
        if repeated(&key).is_some_and(|plain| loader.shape(&plain).is_some()) {
            loader.skip(&key);
        }
    }
    let keys = loader.keys();
    let named: Vec<String> = match loader.config.get("modules_to_save") {
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            names.map(|name| loader.config.usual_module(name)).collect()
        }
        _ => Vec::new(),
    };
    for name in &named {
        // As PEFT does, which takes every module whose path ends so, and passes over names that the
        // model has no module of.
        let inside = |key: &String| key.contains(&format!("{name}."));
        if !keys.iter().any(inside) && is_module(loader, name) {
            let key = format!("{PREFIX}<module>{name}.weight");
            return Err(loader.named_but_absent("modules_to_save", key));
        }
    }
    let mut placed = Vec::new();
    for key in &keys {
        let Some(module) = module(key) else { continue };
        let path = module.strip_prefix(PREFIX).unwrap_or(module);
        if Site::is_norm(path) {
            let names = loader.model.config().family;
            let site = Site::parse_norm(names, path).ok_or_else(|| loader.no_such_module(key))?;
            let base = loader.base_gain(site, key)?;
            let [width] = base.dims();
            let change = loader.upload(loader.gain(key, width)?.0, [width]) - base;
            placed.push(Placed::new(site, move |c| Gain(change.clone() * c)));
            continue;
        }
        let target = loader.target(key, module)?;
        // A weight of the other one is there too.
        let has = |other: &str| {
            let mut keys = keys.iter();
            keys.any(|key| key.contains(other) && key.ends_with(".weight"))
        };
        let both = match target.site {
            // PEFT loads the frozen weight of a head that is the embedding into both.
            Site::Head => key.ends_with(FROZEN) && !has(".embed_tokens."),
            // Trained as a copy of its own the embedding is no longer the head.
            Site::Embedding => {
                let mut named = named.iter();
                !named.any(|name| target.path.ends_with(name.as_str())) && !has(".lm_head.")
            }
            _ => false,
        };
        let tied = loader.model.config().tie_word_embeddings;
        placed.extend(copy(loader, key, &target, both && tied)?);
    }
    Ok(placed)
}

/// One copy of a linear layer's weight or bias, or of the embedding; of the embedding and the head, if it
/// stands for `both`.
///
/// # Errors
/// Those of [`Loader::host`].
pub(crate) fn copy(
    loader: &Loader<'_>,
    key: &str,
    target: &Target,
    both: bool,
) -> Result<Vec<Placed>> {
    if !key.ends_with(".weight") {
        let Some(base) = loader.base_bias(target) else {
            return Ok(Vec::new());
        };
        let bias = loader.shared(key, [target.o])? - base;
        let bias = Delta::Bias { bias, scale: 1.0 };
        return Ok(vec![Placed::linear(target.site, vec![bias])]);
    }
    let copy = loader.host(key, [target.o, target.i])?;
    if key.ends_with(FROZEN) && loader.base_weight_on_host(target)? == copy {
        return Ok(Vec::new());
    }
    let copy: Tensor<2> = loader.upload(copy, [target.o, target.i]);
    let delta = copy - loader.base_weight(target);
    let lookup = Lookup::table(delta.clone(), None);
    let dense = |site| Placed::linear(site, vec![Delta::Dense { delta, scale: 1.0 }]);
    let mut embedding = Placed::new(Site::Embedding, move |c| lookup.times(c));
    Ok(match target.site {
        Site::Embedding => {
            let head = dense(Site::Head);
            embedding.dense_bytes = head.dense_bytes;
            std::iter::once(embedding)
                .chain(both.then_some(head))
                .collect()
        }
        site if both => vec![embedding, dense(site)],
        site => vec![dense(site)],
    })
}
