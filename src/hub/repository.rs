//! Which files of a repository are the model or the adapter that was asked for.

use std::collections::BTreeMap;

use super::listing::Entry;
use super::place::{ADAPTER_CONFIG, Place, SCHEME};
use crate::checkpoint::BASES_FILE;
use crate::error::{Error, Result};
use crate::text::Text;
use crate::weights::PICKLED;
use crate::weights::folder::{CONFIG, Files, INDEX, WEIGHTS, choose, is_shard, shards};
use crate::weights::split::part;

/// PEFT's weights, and mlx-lm's.
const ADAPTER_WEIGHTS: [&str; 2] = ["adapter_model.safetensors", "adapters.safetensors"];
/// Beginnings of GGUF files that lie beside a model and are none.
const BESIDE: [&str; 2] = ["mmproj", "imatrix"];

/// Files to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Each with its name from the model's or adapter's own folder on.
    pub files: Vec<(String, Entry)>,
    /// The file that was asked for in place of its folder.
    pub asked: Option<String>,
    /// Whether this is an index that names the others: ask again with its bytes.
    pub unread_index: bool,
}

/// A model or an adapter that a repository holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Offer {
    /// With which it is loaded: `hub:owner/name/file`.
    pub id: String,
    /// Of its file or folder; empty for the repository itself.
    pub path: String,
    /// Of what would be fetched.
    pub bytes: u64,
    /// Whether it is an adapter. A GGUF file may be one too: that stands in the file.
    pub adapter: bool,
}

/// A place with what lies there.
#[derive(Debug, Clone)]
pub struct Repository {
    /// What was asked for.
    pub place: Place,
    /// All files of the repository.
    pub entries: Vec<Entry>,
}

impl Repository {
    /// The files of the model that was asked for; `index` is what an earlier call wanted first.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::SeveralModels`], and what [`choose`] and [`shards`] say.
    pub fn model(&self, index: Option<&[u8]>) -> Result<Wanted> {
        let (folder, asked) = self.folder()?;
        let inside = self.inside(folder);
        let mut names: Vec<String> = inside.keys().map(|name| (*name).to_owned()).collect();
        if asked.is_none() {
            names.retain(|name| !is_beside(name));
        }
        let mut chosen = match choose(&self.place.id_of(folder), &names, asked, false)? {
            Files::Gguf(parts) => {
                one_model(&self.place, folder, &parts)?;
                return Ok(wanted(&inside, &parts, asked, false));
            }
            Files::Safetensors(shards) => shards,
            Files::Indexed(name) => match index {
                None => return Ok(wanted(&inside, &[name], asked, true)),
                Some(bytes) => shards(bytes)?.into_iter().chain([name]).collect(),
            },
        };
        chosen.push(CONFIG.into());
        // The text's files have the config too.
        let text = Text::FILES.into_iter().filter(|name| *name != CONFIG);
        chosen.extend(text.map(String::from));
        Ok(wanted(&inside, &chosen, asked, false))
    }

    /// The files of the adapter that was asked for, with those of its numbered subfolders, where the
    /// experts of a mixture are.
    ///
    /// # Errors
    /// [`Error::NotFound`], and [`Error::MissingKey`] with what is there instead.
    pub fn adapter(&self) -> Result<Wanted> {
        let (folder, asked) = self.folder()?;
        let asked = asked.filter(|name| *name != ADAPTER_CONFIG);
        let inside = self.inside(folder);
        let here = self.place.id_of(folder);
        let missing = |what: String| Error::MissingKey {
            file: here.clone(),
            key: ADAPTER_WEIGHTS[0].into(),
            what,
        };
        let weights = asked.or_else(|| weights_of(&inside, ""));
        let Some(weights) = weights.filter(|name| !is_pickle(name)) else {
            let pickle = asked.or_else(|| inside.keys().copied().find(|name| is_pickle(name)));
            let gguf = inside
                .keys()
                .find(|name| name.ends_with(".gguf") && !name.contains('/'));
            let deeper: Vec<&str> = inside
                .keys()
                .filter_map(|name| name.strip_suffix("/adapter_config.json"))
                .collect();
            return Err(missing(
                if inside.contains_key(CONFIG) && !inside.contains_key(ADAPTER_CONFIG) {
                    "this is a whole model, not an adapter: load it as the model".into()
                } else if let [first, ..] = deeper.as_slice() {
                    format!(
                        "adapters are deeper, in {}: name one, as in {}",
                        deeper.join(", "),
                        self.place.id_of(&within(folder, first))
                    )
                } else if let Some(name) = pickle {
                    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
                    format!("{name} is {}", PICKLED.replace("NAME", stem))
                } else if let Some(name) = gguf {
                    format!(
                        "there is {name}: name that file, as in {}",
                        self.place.id_of(&within(folder, name))
                    )
                } else {
                    format!("there are {}", some(inside.keys()))
                },
            ));
        };
        if weights.ends_with(".gguf") {
            return Ok(wanted(&inside, &[weights.into()], asked, false));
        }
        let mut names: Vec<String> = vec![weights.into(), ADAPTER_CONFIG.into(), BASES_FILE.into()];
        for number in 0.. {
            let number = format!("{number}/");
            let Some(expert) = weights_of(&inside, &number).filter(|_| asked.is_none()) else {
                break;
            };
            names.extend([
                expert.into(),
                format!("{number}{ADAPTER_CONFIG}"),
                format!("{number}{BASES_FILE}"),
            ]);
        }
        Ok(wanted(&inside, &names, asked, false))
    }

    /// All models and adapters of the repository, for people to choose from.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        let mut found: BTreeMap<(String, bool), u64> = BTreeMap::new();
        let mut add = |path: &str, adapter: bool, bytes: u64| {
            *found.entry((path.into(), adapter)).or_default() += bytes;
        };
        let all = self.inside("");
        for entry in &self.entries {
            let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
            let has = |name: &str| all.contains_key(within(folder, name).as_str());
            if name.ends_with(".gguf") && !is_beside(name) {
                // Of a split one the first part stands for all.
                let first = part(name).map(|(stem, _, of)| format!("{stem}-00001-of-{of:05}.gguf"));
                add(
                    &within(folder, first.as_deref().unwrap_or(name)),
                    false,
                    entry.bytes,
                );
            } else if ADAPTER_WEIGHTS.contains(&name) && has(ADAPTER_CONFIG) {
                add(folder, true, entry.bytes);
            } else if has(CONFIG)
                && (name == WEIGHTS || has(INDEX) && !has(WEIGHTS) && is_shard(name))
            {
                add(folder, false, entry.bytes);
            }
        }
        let offer = |((path, adapter), bytes): ((String, bool), u64)| Offer {
            id: format!("{SCHEME}{}", self.place.id_of(&path)),
            path,
            bytes,
            adapter,
        };
        found.into_iter().map(offer).collect()
    }

    /// The folder that was asked for, and the file in it, if it was one.
    fn folder(&self) -> Result<(&str, Option<&str>)> {
        let path = self.place.path.as_str();
        if path.is_empty() {
            return Ok(("", None));
        }
        if self.entries.iter().any(|entry| entry.path == path) {
            return Ok(path
                .rsplit_once('/')
                .map_or(("", Some(path)), |(folder, file)| (folder, Some(file))));
        }
        if !self.inside(path).is_empty() {
            return Ok((path, None));
        }
        Err(Error::NotFound {
            file: self.place.id(),
            why: format!(
                "there is no such file in {}; there are {}",
                self.place.id_of(""),
                some(self.inside("").keys())
            ),
        })
    }

    /// The files below a folder, by their names from there on.
    fn inside<'a>(&'a self, folder: &str) -> BTreeMap<&'a str, &'a Entry> {
        let start = within(folder, "");
        let named = |entry: &'a Entry| Some((entry.path.strip_prefix(&start)?, entry));
        self.entries.iter().filter_map(named).collect()
    }
}

fn wanted(
    inside: &BTreeMap<&str, &Entry>,
    names: &[String],
    asked: Option<&str>,
    unread_index: bool,
) -> Wanted {
    let found = |name: &String| Some((name.clone(), (*inside.get(name.as_str())?).clone()));
    Wanted {
        files: names.iter().filter_map(found).collect(),
        asked: asked.map(String::from),
        unread_index,
    }
}

/// An error unless these GGUF files are parts of one model.
fn one_model(place: &Place, folder: &str, files: &[String]) -> Result<()> {
    let model = |name: &String| part(name).map_or_else(|| name.clone(), |(stem, ..)| stem.into());
    let mut models: Vec<String> = files.iter().map(model).collect();
    models.dedup();
    match (files, models.len()) {
        ([first, ..], 2..) => Err(Error::SeveralModels {
            file: place.id_of(folder),
            names: some(files.iter()),
            one: place.id_of(&within(folder, first)),
        }),
        _ => Ok(()),
    }
}

fn weights_of<'a>(inside: &BTreeMap<&'a str, &Entry>, folder: &str) -> Option<&'a str> {
    let known = ADAPTER_WEIGHTS.map(|name| format!("{folder}{name}"));
    known
        .iter()
        .find_map(|name| inside.get_key_value(name.as_str()))
        .map(|(name, _)| *name)
}

fn is_beside(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name).to_lowercase();
    name.ends_with(".gguf")
        && BESIDE
            .into_iter()
            .any(|start| name.starts_with(start) || name.contains(&format!("-{start}")))
}

fn is_pickle(name: &str) -> bool {
    let ends = [".bin", ".pt", ".pth", ".ckpt"];
    !name.contains('/') && ends.into_iter().any(|end| name.ends_with(end))
}

fn within(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.into()
    } else {
        format!("{folder}/{name}")
    }
}

/// The first of many names.
fn some(names: impl ExactSizeIterator<Item = impl AsRef<str>>) -> String {
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names
        .take(SHOWN)
        .map(|name| name.as_ref().to_owned())
        .collect();
    match (shown.len(), more) {
        (0, _) => "no files".into(),
        (_, 0) => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{ENDPOINT, entries};

    fn place(text: &str) -> Place {
        Place::parse(text, ENDPOINT).unwrap().unwrap()
    }

    /// A repository of these files, of 10 bytes each; those of weights have a SHA-256.
    fn holding(address: &str, paths: &[&str]) -> Repository {
        let listed: Vec<String> = paths
            .iter()
            .map(|path| {
                let lfs = if path.ends_with(".gguf") || path.ends_with(".safetensors") {
                    format!(
                        r#","lfs":{{"oid":"{}","size":10,"pointerSize":1}}"#,
                        "a".repeat(64)
                    )
                } else {
                    String::new()
                };
                format!(r#"{{"type":"file","path":"{path}","size":10,"oid":"b1"{lfs}}}"#)
            })
            .collect();
        let page = format!(
            r#"[{{"type":"directory","path":"sub","size":0,"oid":"c"}},{}]"#,
            listed.join(",")
        );
        let place = place(address);
        let entries = entries(&place, page.as_bytes()).unwrap();
        assert_eq!(entries.len(), paths.len());
        Repository { place, entries }
    }

    fn names(wanted: Result<Wanted>) -> Vec<String> {
        wanted
            .unwrap()
            .files
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn the_files_of_a_model_are_taken_and_no_others() {
        const SHARDS: [&str; 2] = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ];
        let table: [(&str, &[&str], &[&str]); 6] = [
            (
                "hub:o/n",
                &["README.md", "m.gguf", "mmproj-m.gguf"],
                &["m.gguf"],
            ),
            ("hub:o/n/b.gguf", &["a.gguf", "b.gguf"], &["b.gguf"]),
            (
                "hub:o/n/q8/m-00002-of-00002.gguf",
                &[
                    "q8/m-00001-of-00002.gguf",
                    "q8/m-00002-of-00002.gguf",
                    "q4/m.gguf",
                ],
                &["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"],
            ),
            (
                "hub:o/n",
                &[
                    "model.safetensors",
                    "config.json",
                    "tokenizer.json",
                    "onnx/model.onnx",
                    "pytorch_model.bin",
                ],
                &["model.safetensors", "config.json", "tokenizer.json"],
            ),
            (
                "hub:o/n/sub",
                &["sub/model.safetensors", "sub/config.json", "config.json"],
                &["model.safetensors", "config.json"],
            ),
            (
                "hub:o/n",
                &[INDEX, SHARDS[0], SHARDS[1], "config.json"],
                &[INDEX],
            ),
        ];
        for (address, paths, expected) in table {
            let found = holding(address, paths).model(None);
            assert_eq!(
                found.as_ref().unwrap().unread_index,
                expected == [INDEX],
                "{address}"
            );
            assert_eq!(names(found), expected, "{address} {paths:?}");
        }
        let sharded = holding(
            "hub:o/n",
            &[
                INDEX,
                SHARDS[0],
                SHARDS[1],
                "config.json",
                "other.safetensors",
            ],
        );
        let index = format!(
            r#"{{"weight_map":{{"x":"{}","y":"{}"}}}}"#,
            SHARDS[0], SHARDS[1]
        );
        assert_eq!(
            names(sharded.model(Some(index.as_bytes()))),
            [SHARDS[0], SHARDS[1], INDEX, "config.json"]
        );
    }

    #[test]
    fn the_files_of_an_adapter_are_taken_and_no_others() {
        let peft = [
            "adapter_config.json",
            "adapter_model.safetensors",
            "README.md",
            "checkpoint-1/adapter_model.safetensors",
        ];
        let mixture = [
            "adapter_config.json",
            "adapter_model.safetensors",
            "0/adapter_config.json",
            "0/adapter_model.safetensors",
            "1/adapter_model.safetensors",
            "3/adapter_model.safetensors",
        ];
        let table: [(&str, &[&str], &[&str]); 5] = [
            (
                "hub:o/n",
                &peft,
                &["adapter_model.safetensors", "adapter_config.json"],
            ),
            (
                "hub:o/n/adapter_config.json",
                &peft,
                &["adapter_model.safetensors", "adapter_config.json"],
            ),
            (
                "hub:o/n/checkpoint-1",
                &peft,
                &["adapter_model.safetensors"],
            ),
            (
                "hub:o/n",
                &mixture,
                &[
                    "adapter_model.safetensors",
                    "adapter_config.json",
                    "0/adapter_model.safetensors",
                    "0/adapter_config.json",
                    "1/adapter_model.safetensors",
                ],
            ),
            (
                "hub:o/n/v.gguf",
                &["v.gguf", "w.gguf", "adapter_config.json"],
                &["v.gguf"],
            ),
        ];
        for (address, paths, expected) in table {
            assert_eq!(
                names(holding(address, paths).adapter()),
                expected,
                "{address} {paths:?}"
            );
        }
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let model: [(&str, &[&str], &str, &str); 4] = [
            ("hub:o/n", &["README.md"], "missing-key", "README.md"),
            (
                "hub:o/n",
                &["a.Q4.gguf", "a.Q8.gguf"],
                "several-models",
                "o/n/a.Q4.gguf",
            ),
            (
                "hub:o/n",
                &["adapter_config.json", "adapter_model.safetensors"],
                "unsupported-model",
                "adapter",
            ),
            (
                "hub:o/n/x.gguf@v",
                &["a.gguf"],
                "not-found",
                "o/n@v; there are a.gguf",
            ),
        ];
        let adapter: [(&str, &[&str], &str, &str); 5] = [
            (
                "hub:o/n",
                &["adapter_config.json", "adapter_model.bin"],
                "missing-key",
                "weights_only=True",
            ),
            (
                "hub:o/n/adapter_model.bin",
                &["adapter_config.json", "adapter_model.bin"],
                "missing-key",
                "weights_only=True",
            ),
            (
                "hub:o/n",
                &["config.json", "model.safetensors"],
                "missing-key",
                "whole model",
            ),
            ("hub:o/n", &["v.gguf"], "missing-key", "as in o/n/v.gguf"),
            (
                "hub:o/n",
                &["a/adapter_config.json", "a/adapter_model.safetensors"],
                "missing-key",
                "as in o/n/a",
            ),
        ];
        let told = |code: &str, part: &str, error: Error, case: &str| {
            assert_eq!(error.code(), code, "{case}: {error}");
            assert!(
                error.to_string().contains(part),
                "{case}: {part} is not in: {error}"
            );
        };
        for (address, paths, code, part) in model {
            told(
                code,
                part,
                holding(address, paths).model(None).unwrap_err(),
                address,
            );
        }
        for (address, paths, code, part) in adapter {
            told(
                code,
                part,
                holding(address, paths).adapter().unwrap_err(),
                address,
            );
        }
    }

    #[test]
    fn models_and_adapters_are_offered_with_their_bytes() {
        let found = holding(
            "hub:o/n@v",
            &[
                "a.gguf",
                "b-00001-of-00002.gguf",
                "b-00002-of-00002.gguf",
                "sub/config.json",
                "sub/model.safetensors",
                "tone/adapter_config.json",
                "tone/adapter_model.safetensors",
                "mmproj-a.gguf",
                "notes.txt",
            ],
        );
        let offers: Vec<(String, u64, bool)> = found
            .offers()
            .into_iter()
            .map(|offer| (offer.id, offer.bytes, offer.adapter))
            .collect();
        let expected = [
            ("hub:o/n/a.gguf@v", 10, false),
            ("hub:o/n/b-00001-of-00002.gguf@v", 20, false),
            ("hub:o/n/sub@v", 10, false),
            ("hub:o/n/tone@v", 10, true),
        ];
        assert_eq!(
            offers,
            expected.map(|(id, bytes, adapter)| (id.to_owned(), bytes, adapter))
        );
        for Offer { id, adapter, .. } in found.offers() {
            let one = Repository {
                place: place(&id),
                ..found.clone()
            };
            assert!(
                if adapter {
                    one.adapter()
                } else {
                    one.model(None)
                }
                .is_ok(),
                "{id}"
            );
        }
    }
}
