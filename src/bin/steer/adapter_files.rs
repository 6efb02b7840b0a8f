//! An adapter's path as a user gives it: the files that belong to it, or what is there instead.

use std::fs;
use std::iter;
use std::path::{Path, PathBuf, absolute};

use steering_playground::adapters::{Besides, besides};
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::error::{Error, Result};
use steering_playground::weights::check_is_weights;

use crate::files::{io_error, read};
use crate::hub;

const CONFIG_FILE: &str = "adapter_config.json";

/// An adapter's name for messages: its folder's, or its file's without the ending. Other dots stay.
fn adapter_name(path: &Path) -> String {
    let whole = absolute(path).unwrap_or_else(|_| path.to_owned());
    let name = whole.file_name().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy();
    let ending = [".gguf", ".safetensors"].into_iter().find(|ending| {
        let start = name.len().saturating_sub(ending.len());
        let end = name.get(start..);
        start > 0 && path.is_file() && end.is_some_and(|end| end.eq_ignore_ascii_case(ending))
    });
    name[..name.len() - ending.map_or(0, str::len)].to_owned()
}

/// A folder as PEFT or mlx-lm writes it, its config or its weights alone, or a single file; or one of
/// those of the Hub.
pub(crate) fn adapter_files(path: &Path) -> Result<AdapterFiles> {
    let path = &hub::adapter(path)?;
    if path.is_file() {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if path.file_name().is_some_and(|name| name == CONFIG_FILE) {
            return adapter_files(folder);
        }
        // A GGUF file needs no config.
        let is_gguf = path
            .extension()
            .is_some_and(|ext| ext.eq_ignore_ascii_case("gguf"));
        let config = Some(folder.join(CONFIG_FILE)).filter(|config| !is_gguf && config.exists());
        let files = files_of(path, path, config)?;
        let is_folders_own =
            weights_in(folder).is_some_and(|weights| weights.file_name() == path.file_name());
        let experts = if is_folders_own {
            experts_in(folder, &files)?
        } else {
            Vec::new()
        };
        return Ok(AdapterFiles { experts, ..files });
    }
    let weights = weights_in(path).ok_or_else(|| no_adapter(path))?;
    let config = Some(path.join(CONFIG_FILE)).filter(|config| config.exists());
    let files = files_of(path, &weights, config)?;
    let experts = experts_in(path, &files)?;
    let others: Vec<String> = subfolders(path)
        .into_iter()
        .filter(|folder| experts.is_empty() && weights_in(folder).is_some())
        .map(|folder| folder.display().to_string())
        .collect();
    if !others.is_empty() {
        eprintln!(
            "steer: {} is the adapter in that folder itself; others are in {}",
            path.display(),
            others.join(", ")
        );
    }
    Ok(AdapterFiles { experts, ..files })
}

/// One adapter's own files.
fn files_of(named: &Path, weights: &Path, config: Option<PathBuf>) -> Result<AdapterFiles> {
    let config = config.map(|file| read(&file)).transpose()?;
    let bases = besides_of(config.as_deref()).file;
    let bases = bases.map(|name| weights.with_file_name(name));
    let bases = bases.filter(|file| file.exists());
    Ok(AdapterFiles {
        name: adapter_name(named),
        config,
        weights: read(weights)?,
        bases: bases.map(|file| read(&file)).transpose()?,
        ..AdapterFiles::default()
    })
}

fn besides_of(config: Option<&[u8]>) -> Besides {
    config.map(besides).unwrap_or_default()
}

/// The experts of a mixture, which are in numbered subfolders. The subfolders of another method's
/// adapter are adapters of their own.
fn experts_in(folder: &Path, files: &AdapterFiles) -> Result<Vec<AdapterFiles>> {
    if !besides_of(files.config.as_deref()).experts {
        return Ok(Vec::new());
    }
    (0..)
        .map(|number: usize| folder.join(number.to_string()))
        .map_while(|folder| Some((weights_in(&folder)?, folder)))
        .map(|(weights, folder)| {
            let config = Some(folder.join(CONFIG_FILE)).filter(|config| config.exists());
            files_of(&folder, &weights, config)
        })
        .collect()
}

/// PEFT's or mlx-lm's weights in a folder.
fn weights_in(folder: &Path) -> Option<PathBuf> {
    let names = ["adapter_model.safetensors", "adapters.safetensors"];
    let mut paths = names.into_iter().map(|name| folder.join(name));
    paths.find(|path| path.is_file())
}

/// The folders in a folder, by name.
fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

/// The error for a folder without an adapter: what it holds instead, and what to do.
fn no_adapter(folder: &Path) -> Error {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten(),
        Err(error) => return io_error(folder, &error),
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let has = |name: &str| names.iter().any(|found| found == name);
    let ends = |end: &str| names.iter().any(|found| found.ends_with(end));
    let file = folder.display().to_string();
    let deeper: Vec<String> = subfolders(folder)
        .into_iter()
        .flat_map(|folder| iter::once(folder.clone()).chain(subfolders(&folder)))
        .filter(|folder| weights_in(folder).is_some())
        .map(|folder| folder.display().to_string())
        .collect();
    if let Some(name) = names.iter().find(|name| {
        name.starts_with("adapter_model") && (name.ends_with(".bin") || name.ends_with(".pt"))
    }) {
        let path = folder.join(name);
        let is_weights = |head: Vec<u8>| check_is_weights(&path.display().to_string(), &head);
        if let Err(error) = read(&path).and_then(is_weights) {
            return error;
        }
    }
    let what = if !deeper.is_empty() {
        format!(
            "adapters are deeper, in {}: name one of these folders",
            deeper.join(", ")
        )
    } else if has("config.json") && (ends(".safetensors") || ends(".bin")) {
        "this is a whole model (config.json and its weights), not an adapter: give it as --model"
            .into()
    } else if let [one] = &names
        .iter()
        .filter(|name| name.ends_with(".gguf"))
        .collect::<Vec<_>>()[..]
    {
        format!("there is {one}: name that file")
    } else {
        names.truncate(12);
        if names.is_empty() {
            "the folder is empty".into()
        } else {
            format!("there are {}", names.join(", "))
        }
    };
    Error::MissingKey {
        file,
        key: "adapter_model.safetensors".into(),
        what,
    }
}
