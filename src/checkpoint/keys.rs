//! The names of a file's tensors: a prefix or wrapper around PEFT's own names that is the same on
//! all of them is removed; files whose names cannot be read are refused with what they hold.

use std::collections::BTreeMap;

use super::config::Config;
use super::files::PREFIX;
use super::method::Method;
use crate::arch::{Names, with_usual_body};
use crate::error::{Error, Result};
use crate::hooks::Site;
use crate::weights::HostTensor;

pub(crate) type Tensors = BTreeMap<String, HostTensor>;

/// A [r, vocabulary] of an embedding's LoRA.
pub(crate) const EMBEDDING_A: &str = "lora_embedding_A";
/// B [d, r] of an embedding's LoRA.
pub(crate) const EMBEDDING_B: &str = "lora_embedding_B";

/// Modules that only wrap another one: torch.compile's, FSDP's, those of activation checkpoints.
const WRAPPERS: &[&str] = &[
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];
/// What may precede a decoder's modules: PEFT's prefix, DDP's, and that of a language model inside
/// a multimodal one.
const AROUND: &[&str] = &[
    "base_model",
    "model",
    "module",
    "language_model",
    "text_model",
];

/// A file's tensors under PEFT's names.
pub(crate) struct Named {
    pub tensors: Tensors,
    /// The file's own name of each tensor that was renamed.
    pub own: BTreeMap<String, String>,
    /// What precedes `layers` in the base that it was trained on, usually `model.`.
    pub inside: String,
    /// The base's family, where that has names of its own for what is around the layers.
    pub names: Option<&'static Names>,
}

/// The components before a decoder's modules, and the name from there on.
fn split(key: &str) -> Option<(Vec<&str>, &str)> {
    let mut before = Vec::new();
    let mut rest = key;
    loop {
        let (first, after) = rest.split_once('.')?;
        match first {
            "layers" if after.starts_with(|c: char| c.is_ascii_digit()) => break,
            "embed_tokens" | "norm" | "lm_head" => break,
            _ if AROUND.contains(&first) => before.push(first),
            _ => return None,
        }
        rest = after;
    }
    Some((before, rest))
}

/// Gives PEFT's names to a file's tensors.
pub(crate) fn named(file: &str, tensors: Tensors) -> Result<Named> {
    let unwrapped = |key: &str| {
        let parts = key.split('.').filter(|part| !WRAPPERS.contains(part));
        parts.collect::<Vec<_>>().join(".")
    };
    let mut of_family = None;
    let usual = |key: String| match with_usual_body(&key) {
        Some((usual, names)) => {
            of_family = Some(names);
            usual
        }
        None => key,
    };
    let names: Vec<String> = tensors
        .keys()
        .map(|key| unwrapped(key))
        .map(usual)
        .collect();
    let in_module = names.iter().all(|name| name.starts_with("module."));
    let is_head = |rest: &str| rest.starts_with("lm_head.");
    let mut bodies: Vec<Vec<&str>> = names
        .iter()
        .filter_map(|name| split(name))
        .filter(|(_, rest)| !is_head(rest))
        .map(|(before, _)| before)
        .collect();
    bodies.sort();
    bodies.dedup();
    let mut named = Named {
        tensors: Tensors::new(),
        own: BTreeMap::new(),
        inside: match &bodies[..] {
            [before] => inside(before),
            _ => "model.".into(),
        },
        names: of_family,
    };
    let one = bodies.len() <= 1;
    for ((own, tensor), name) in tensors.into_iter().zip(&names) {
        let name = match split(name) {
            Some((_, rest)) if is_head(rest) => format!("{PREFIX}{rest}"),
            Some((_, rest)) if one => format!("{PREFIX}model.{rest}"),
            _ if in_module => name["module.".len()..].into(),
            _ => name.clone(),
        };
        if named.tensors.insert(name.clone(), tensor).is_some() {
            let other = named.own.get(&name).unwrap_or(&name).clone();
            let (file, keys) = (file.into(), vec![other, own]);
            return Err(Error::UnexpectedKeys { file, keys });
        }
        if name != own {
            named.own.insert(name, own);
        }
    }
    Ok(named)
}

/// The modules around the layers, without those of PEFT and DDP.
fn inside(before: &[&str]) -> String {
    let peft = before.iter().rposition(|part| *part == "base_model");
    let own = match peft {
        Some(at) => before.get(at + 2..).unwrap_or_default(),
        None => before,
    };
    let own = own.iter().filter(|part| **part != "module");
    own.flat_map(|part| [part, "."]).collect()
}

/// Refuses files that are no adapter, or one that was not written whole.
pub(crate) fn check(file: &str, tensors: &Tensors) -> Result<()> {
    let path = |key: &String| {
        let path = key.strip_suffix(".weight").or(key.strip_suffix(".bias"))?;
        Some(format!(
            "model.{}",
            path.strip_prefix("model.").unwrap_or(path)
        ))
    };
    let site = |key: &String| Site::parse(&path(key)?);
    let is_own = |key: &String| {
        let module = path(key);
        site(key).is_some()
            || module.is_some_and(|path| path == "model.lm_head" || Site::is_norm(&path))
            || key.ends_with("_norm.weight")
            || key.ends_with("inv_freq")
    };
    let mut keys = tensors.keys();
    let linear = keys.find(|key| matches!(site(key), Some(Site::Linear(..))));
    if let Some(key) = linear.filter(|_| tensors.keys().all(is_own)) {
        return Err(Error::MissingKey {
            file: file.into(),
            key: format!("{PREFIX}<module>"),
            what: format!(
                "there are {} tensors of a whole model instead, such as `{key}`; load this file as \
                 the model",
                tensors.len()
            ),
        });
    }
    let sharded = |(key, tensor): &(&String, &HostTensor)| {
        let is_factor = [".lora_A.weight", ".lora_B.weight"]
            .iter()
            .any(|end| key.ends_with(end));
        let flat = tensor.shape.len() == 1;
        let empty = tensor.shape.contains(&0);
        (empty && (flat || is_factor)) || (is_factor && flat && tensor.shape != [1])
    };
    match tensors.iter().find(sharded) {
        None => Ok(()),
        Some((key, tensor)) => Err(Error::WrongShape {
            file: file.into(),
            key: key.clone(),
            expected: "a whole matrix".into(),
            found: tensor.shape.clone(),
            hint: "it was saved by one process of several that share the weights (DeepSpeed ZeRO-3, \
                   FSDP), which has none or a part of them: gather them before saving \
                   (stage3_gather_16bit_weights_on_model_save, or zero_to_fp32.py on the checkpoint)",
        }),
    }
}

/// Refuses keys that have an adapter's name in them, as in `lora_A.default.weight`.
pub(crate) fn check_names(config: &Config, method: &Method, tensors: &Tensors) -> Result<()> {
    let is_known = |key: &String| method.keys.iter().any(|known| key.ends_with(known));
    for key in tensors.keys().filter(|key| !is_known(key)) {
        let found = method.keys.iter().find_map(|parameter| {
            let (stem, end) = parameter.split_once('.').unwrap_or((parameter, ""));
            // Before the last word, or after it.
            let between =
                name_after(key, stem).and_then(|name| name.strip_suffix(end)?.strip_suffix('.'));
            let name = between
                .filter(|_| !end.is_empty())
                .or(name_after(key, parameter))?;
            let is_name = !name.is_empty() && !name.contains('.') && name != "weight";
            is_name.then_some((parameter, name))
        });
        let Some((parameter, name)) = found else {
            continue;
        };
        return Err(Error::MissingKey {
            file: config.weights.clone(),
            key: format!("{PREFIX}<module>.{parameter}"),
            what: format!(
                "`{key}` is there instead, with the adapter's name `{name}` in it: save it with \
                 save_pretrained, which leaves the name out, or take it out with python -c \"from \
                 safetensors.torch import load_file, save_file; f = 'adapter_model.safetensors'; \
                 save_file({{k.replace('.{name}', ''): v for k, v in load_file(f).items()}}, f)\""
            ),
        });
    }
    Ok(())
}

/// What follows these words and a dot.
fn name_after<'a>(key: &'a str, words: &str) -> Option<&'a str> {
    let (before, after) = key.split_once(&format!("{words}."))?;
    (before.is_empty() || before.ends_with('.')).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::HostData;

    fn renamed(keys: &[&str]) -> Result<(Vec<String>, String)> {
        let tensor = HostTensor {
            shape: vec![1],
            data: HostData::Float(vec![0.0]),
        };
        let tensors = keys.iter().map(|key| ((*key).into(), tensor.clone()));
        let named = named("file", tensors.collect())?;
        Ok((named.tensors.into_keys().collect(), named.inside))
    }

    #[test]
    fn one_prefix_on_all_keys_is_taken_off() {
        let q = "layers.0.self_attn.q_proj.lora_A.weight";
        let expected = format!("base_model.model.model.{q}");
        for (prefix, inside) in [
            ("base_model.model.model.", "model."),
            ("_orig_mod.base_model.model.model.", "model."),
            ("base_model.model._orig_mod.model.", "model."),
            ("base_model._fsdp_wrapped_module.model.model.", "model."),
            ("module.base_model.model.model.", "model."),
            ("base_model.model.module.model.", "model."),
            ("base_model.model.base_model.model.model.", "model."),
            (
                "base_model.model.model.language_model.",
                "model.language_model.",
            ),
            (
                "base_model.model.language_model.model.",
                "language_model.model.",
            ),
            ("base_model.model.", ""),
            ("model.", "model."),
        ] {
            let (keys, found) = renamed(&[&format!("{prefix}{q}")]).expect(prefix);
            assert_eq!((&keys[0], &found[..]), (&expected, inside), "{prefix}");
        }
        let head = "base_model.model.lm_head.lora_A.weight";
        let both = [
            "_orig_mod.base_model.model.lm_head.lora_A.weight",
            &expected,
        ];
        assert_eq!(renamed(&both).expect("one").0, [head, &expected]);
        let inner = "base_model.model.model.layers.0._orig_mod.self_attn.q_proj.lora_A.weight";
        assert_eq!(renamed(&[inner]).expect("one").0, [expected.as_str()]);
    }

    #[test]
    fn other_names_stay() {
        let q = "layers.0.self_attn.q_proj.lora_A.weight";
        let two = [
            format!("base_model.model.model.{q}"),
            format!("base_model.model.model.language_model.{q}"),
        ];
        let two: Vec<&str> = two.iter().map(String::as_str).collect();
        let (mut keys, _) = renamed(&two).expect("both stay");
        keys.sort_by_key(String::len);
        assert_eq!(keys, two, "two towers are not one");
        for key in [
            "base_model.model.model.visual.blocks.0.attn.qkv.lora_A.weight",
            "base_model.model.model.vision_tower.layers.0.self_attn.q_proj.lora_A.weight",
            "base_model.internal_xlora_classifier.layers.0.weight",
            "base_model.vera_A",
            "prompt_embeddings",
            "direction.3",
            "svd_bases.model_layers_0_self_attn_q_proj.u",
        ] {
            assert_eq!(renamed(&[key]).expect("one").0, [key]);
        }
        assert_eq!(
            renamed(&["module.base_model.vera_A"]).expect("one").0,
            ["base_model.vera_A"]
        );
        let twice = ["base_model.model.lm_head.weight", "lm_head.weight"];
        assert_eq!(
            renamed(&twice).expect_err("twice").code(),
            "unexpected-keys"
        );
    }
}
