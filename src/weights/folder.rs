//! Which files of a folder are the model, by their names alone, so that the program and the page
//! choose the same ones: as transformers 5 does for safetensors, as llama.cpp does for GGUF.

use std::collections::{BTreeMap, BTreeSet};

use super::{PICKLED, split};
use crate::error::{Error, Result};

/// The config of a folder of safetensors.
pub const CONFIG: &str = "config.json";
/// The name of weights that are one file.
pub const WEIGHTS: &str = "model.safetensors";
/// The index of weights in several files.
pub const INDEX: &str = "model.safetensors.index.json";

/// Files of an adapter, never of a model.
const OF_ADAPTERS: [&str; 4] = [
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "adapters.safetensors",
];

/// The files that hold a model's weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// One GGUF file, or the parts of one, in any order.
    Gguf(Vec<String>),
    /// Safetensors files, described by [`CONFIG`].
    Safetensors(Vec<String>),
    /// The safetensors files that this index names ([`shards`]), described by [`CONFIG`].
    Indexed(String),
}

/// Chooses among the files of a folder.
///
/// `names` are paths from the folder on, with `/` between their parts; files of subfolders are
/// never chosen, only named in errors. `asked` is the file that was named in place of the folder,
/// if one was. `picked` says that a user chose the files one by one: then a few whose names follow
/// no rule are taken as they are. `folder` is the folder's name in messages.
///
/// # Errors
/// [`Error::MissingKey`] with what is there instead and what to do, [`Error::UnsupportedModel`] for
/// an adapter.
pub fn choose(folder: &str, names: &[String], asked: Option<&str>, picked: bool) -> Result<Files> {
    let folder = Folder {
        name: folder,
        names,
    };
    if let Some(asked) = asked {
        return folder.asked(asked);
    }
    let ggufs = folder.ending(".gguf");
    let others: Vec<String> = folder
        .ending(".safetensors")
        .into_iter()
        .filter(|name| !OF_ADAPTERS.contains(&name.as_str()))
        .collect();
    if folder.has(WEIGHTS) {
        folder.with_config(Files::Safetensors(vec![WEIGHTS.into()]))
    } else if folder.has(INDEX) {
        folder.with_config(Files::Indexed(INDEX.into()))
    } else if !ggufs.is_empty() {
        Ok(Files::Gguf(ggufs))
    } else if OF_ADAPTERS.into_iter().any(|name| folder.has(name)) {
        Err(folder.is_adapter())
    } else if picked && !others.is_empty() {
        folder.with_config(Files::Safetensors(others))
    } else if let [first, ..] = others.as_slice() {
        Err(folder.without_index(first, &others))
    } else {
        Err(folder.without_weights())
    }
}

/// The files that an index names, in order.
///
/// # Errors
/// [`Error::BadConfig`] when it is no index.
pub fn shards(index: &[u8]) -> Result<BTreeSet<String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(index).map_err(|error| Error::BadConfig {
        file: INDEX.into(),
        field: "weight_map".into(),
        expected: "an object of file names".into(),
        found: error.to_string(),
    })?;
    Ok(index.weight_map.into_values().collect())
}

struct Folder<'a> {
    name: &'a str,
    names: &'a [String],
}

impl Folder<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|found| found == name)
    }

    /// The files of the folder itself that end so, in order.
    fn ending(&self, end: &str) -> Vec<String> {
        let here = self.names.iter().filter(|name| !name.contains('/'));
        let mut found: Vec<String> = here.filter(|name| name.ends_with(end)).cloned().collect();
        found.sort();
        found
    }

    /// For a file that was named itself.
    fn asked(&self, asked: &str) -> Result<Files> {
        let file = || Files::Safetensors(vec![asked.into()]);
        if OF_ADAPTERS.contains(&asked) {
            Err(self.is_adapter())
        } else if asked.ends_with(".safetensors.index.json") {
            self.with_config(Files::Indexed(asked.into()))
        } else if asked == CONFIG {
            choose(self.name, self.names, None, false)
        } else if asked.ends_with(".safetensors") {
            let (sharded, indexed) = (is_shard(asked), self.has(INDEX));
            match (sharded, indexed) {
                (true, true) => self.with_config(Files::Indexed(INDEX.into())),
                (true, false) => Err(self.without_index(asked, &self.ending(".safetensors"))),
                _ if !self.has(CONFIG) && self.has("adapter_config.json") => Err(self.is_adapter()),
                _ => self.with_config(file()),
            }
        } else if is_pickle(asked) {
            Err(self.pickled(asked))
        } else if let Some((stem, _, parts)) = split::part(asked) {
            let siblings = self.ending(".gguf").into_iter().filter(|name| {
                split::part(name).is_some_and(|(other, _, of)| (other, of) == (stem, parts))
            });
            Ok(Files::Gguf(siblings.collect()))
        } else {
            // Of any name: opening it will say what it is not.
            Ok(Files::Gguf(vec![asked.into()]))
        }
    }

    fn with_config(&self, files: Files) -> Result<Files> {
        if self.has(CONFIG) {
            return Ok(files);
        }
        let what = "it has the model's sizes: put it beside the weights";
        Err(self.missing(CONFIG, what))
    }

    /// An [`Error::MissingKey`] that ends with a list of the files that there are.
    fn missing(&self, key: &str, what: &str) -> Error {
        Error::MissingKey {
            file: self.name.into(),
            key: key.into(),
            what: format!("{what}; there {}", self.listed()),
        }
    }

    fn is_adapter(&self) -> Error {
        let found = OF_ADAPTERS.into_iter().find(|name| self.has(name));
        Error::UnsupportedModel {
            file: self.name.into(),
            field: found.unwrap_or(OF_ADAPTERS[0]).into(),
            found: "there: this is an adapter".into(),
            supported: "models; give it as an adapter (`--adapter`), with the model that its \
                        `base_model_name_or_path` names"
                .into(),
        }
    }

    fn without_index(&self, first: &str, others: &[String]) -> Error {
        if others.iter().any(|name| is_shard(name)) {
            let what = "these weights are in several files, and it says which: fetch it from \
                        where they are from";
            return self.missing(INDEX, what);
        }
        let what =
            format!("give the path of the weights themselves, such as {first}, or rename them");
        self.missing(WEIGHTS, &what)
    }

    fn without_weights(&self) -> Error {
        let of_training = [
            "training_args",
            "optimizer",
            "scheduler",
            "rng_state",
            "scaler",
        ];
        let weights = |name: &&String| {
            is_pickle(name) && !of_training.into_iter().any(|start| name.starts_with(start))
        };
        if let Some(pickle) = self.names.iter().find(weights) {
            return self.pickled(pickle);
        }
        let known = [CONFIG, WEIGHTS, INDEX];
        let holds = |name: &str| known.contains(&name) || name.ends_with(".gguf");
        let deeper = self.names.iter().filter_map(|name| name.rsplit_once('/'));
        let deeper: BTreeSet<&str> = deeper
            .filter(|(_, name)| holds(name))
            .map(|(folder, _)| folder)
            .collect();
        let key = if self.has(CONFIG) { WEIGHTS } else { CONFIG };
        if deeper.is_empty() {
            let what = "a model is a .gguf file, or a folder of config.json and safetensors";
            return self.missing(key, what);
        }
        let deeper: Vec<String> = deeper
            .into_iter()
            .map(|sub| format!("{}/{sub}", self.name))
            .collect();
        let what = format!(
            "a folder inside has such files: give {}",
            few(&deeper, " or ")
        );
        self.missing(key, &what)
    }

    fn pickled(&self, name: &str) -> Error {
        Error::MissingKey {
            file: self.name.into(),
            key: WEIGHTS.into(),
            what: if name.starts_with("pytorch_model") {
                // transformers reads shards and shared tensors.
                format!(
                    "{name} may run programs when it is opened and is not read here: convert it \
                     with python -c \"from transformers import AutoModelForCausalLM as M; \
                     M.from_pretrained('{0}').save_pretrained('{0}')\"",
                    self.name
                )
            } else {
                let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
                format!("{name} is {}", PICKLED.replace("NAME", stem))
            },
        }
    }

    fn listed(&self) -> String {
        let mut here: Vec<String> = Vec::new();
        for name in self.names {
            let entry = match name.split_once('/') {
                Some((folder, _)) => format!("{folder}/"),
                None => name.clone(),
            };
            if !here.contains(&entry) {
                here.push(entry);
            }
        }
        here.sort();
        match here.len() {
            0 => "is nothing".into(),
            1 => format!("is only {}", here[0]),
            _ => format!("are {}", few(&here, ", ")),
        }
    }
}

/// The first of a list.
fn few(names: &[String], between: &str) -> String {
    const SHOWN: usize = 8;
    let shown = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(between);
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Whether the name is that of one file of several: `model-00001-of-00002.safetensors`.
pub(crate) fn is_shard(name: &str) -> bool {
    let stem = name.strip_suffix(".safetensors");
    stem.is_some_and(|stem| split::part(&format!("{stem}.gguf")).is_some())
}

/// Whether PyTorch wrote it.
fn is_pickle(name: &str) -> bool {
    let ends = [".bin", ".pt", ".pth", ".ckpt", ".bin.index.json"];
    !name.contains('/') && ends.into_iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], asked: Option<&str>, picked: bool) -> Result<Files> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        choose("here", &names, asked, picked)
    }

    const SHARDS: [&str; 2] = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ];

    #[test]
    fn the_model_of_a_folder_is_what_transformers_and_llama_cpp_take() {
        let one = Files::Safetensors(vec![WEIGHTS.into()]);
        let indexed = Files::Indexed(INDEX.into());
        let gguf = |names: &[&str]| Files::Gguf(names.iter().map(|n| (*n).to_owned()).collect());
        let parts = ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"];
        let table: [(&[&str], Option<&str>, Files); 14] = [
            (&[CONFIG, WEIGHTS], None, one.clone()),
            (
                &[CONFIG, WEIGHTS, INDEX, SHARDS[0], SHARDS[1]],
                None,
                one.clone(),
            ),
            (
                &[CONFIG, WEIGHTS, "consolidated.safetensors", "a.gguf"],
                None,
                one.clone(),
            ),
            (
                &[CONFIG, INDEX, SHARDS[0], "consolidated.safetensors"],
                None,
                indexed.clone(),
            ),
            (&[CONFIG, WEIGHTS, "adapter_config.json"], None, one.clone()),
            (&[CONFIG, WEIGHTS, "pytorch_model.bin"], None, one.clone()),
            (&[CONFIG, WEIGHTS], Some(WEIGHTS), one.clone()),
            (&[CONFIG, WEIGHTS], Some(CONFIG), one),
            (
                &[CONFIG, WEIGHTS, INDEX, SHARDS[0]],
                Some(INDEX),
                indexed.clone(),
            ),
            (
                &[CONFIG, WEIGHTS, INDEX, SHARDS[0]],
                Some(SHARDS[0]),
                indexed,
            ),
            (&[CONFIG, "a.gguf", "sub/b.gguf"], None, gguf(&["a.gguf"])),
            (&parts, None, gguf(&parts)),
            (
                &[parts[0], parts[1], "b-00001-of-00002.gguf", "c.gguf"],
                Some(parts[1]),
                gguf(&parts),
            ),
            (
                &[CONFIG, WEIGHTS, "half.safetensors"],
                Some("half.safetensors"),
                Files::Safetensors(vec!["half.safetensors".into()]),
            ),
        ];
        for (names, asked, expected) in table {
            let found = chosen(names, asked, false);
            assert_eq!(found.as_ref(), Ok(&expected), "{names:?}, {asked:?}");
        }
        // Files that a user picked need not have these names.
        let picked = chosen(&[CONFIG, "mine.safetensors"], None, true);
        let mine = Files::Safetensors(vec!["mine.safetensors".into()]);
        assert_eq!(picked, Ok(mine));
        assert!(chosen(&[CONFIG, SHARDS[0], SHARDS[1]], None, true).is_ok());
    }

    #[test]
    fn what_is_no_model_is_refused_with_what_is_there_and_what_to_do() {
        let table: [(&[&str], Option<&str>, &[&str]); 13] = [
            (&[], None, &["config.json", "there is nothing"]),
            (&[WEIGHTS], None, &["config.json", "model.safetensors"]),
            (&[WEIGHTS], Some(WEIGHTS), &["config.json"]),
            (
                &[
                    "a/config.json",
                    "a/model.safetensors",
                    "b/adapter_config.json",
                ],
                None,
                &["give here/a", "b/"],
            ),
            (
                &["s/1/model.gguf", "s/2/config.json"],
                None,
                &["here/s/1 or here/s/2"],
            ),
            (
                &[CONFIG, "w/model.safetensors"],
                None,
                &["`model.safetensors`", "here/w"],
            ),
            (
                &[CONFIG, "pytorch_model.bin"],
                None,
                &["from transformers import", "('here')"],
            ),
            (
                &[CONFIG, "model.pth"],
                None,
                &["model.pth", "weights_only=True"],
            ),
            (&[CONFIG, "x.bin"], Some("x.bin"), &["weights_only=True"]),
            (
                &[CONFIG, SHARDS[0], SHARDS[1]],
                None,
                &[INDEX, SHARDS[0], SHARDS[1]],
            ),
            (&[CONFIG, SHARDS[0], SHARDS[1]], Some(SHARDS[0]), &[INDEX]),
            (
                &[CONFIG, "mine.safetensors"],
                None,
                &["such as mine.safetensors"],
            ),
            (
                &["adapter_config.json", "adapter_model.safetensors"],
                Some("adapter_model.safetensors"),
                &["adapter", "--adapter"],
            ),
        ];
        for (names, asked, parts) in table {
            let said = chosen(names, asked, false)
                .expect_err("no model")
                .to_string();
            for part in parts {
                assert!(
                    said.contains(part),
                    "{names:?}, {asked:?}: {part} is not in: {said}"
                );
            }
        }
        for names in [
            &[
                "adapter_config.json",
                "adapter_model.safetensors",
                "README.md",
            ][..],
            &["adapter_config.json", "adapters.safetensors"],
            &[CONFIG, "adapter_config.json", "adapter_model.bin"],
        ] {
            let error = chosen(names, None, true).expect_err("an adapter");
            assert_eq!(error.code(), "unsupported-model", "{names:?}");
        }
    }
}
