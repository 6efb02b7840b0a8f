//! From the files of a model, wherever they are, to its weights and its text.

use std::collections::BTreeMap;

use crate::arch::ModelFile;
use crate::error::{Error, Result};
use crate::text::Text;
use crate::weights::folder::{self, Files};
use crate::weights::{ByteSource, not_weights};

/// Opens the model among the files `names` of a folder, as [`folder::choose`] chooses; `source`
/// opens one of them. A GGUF file has its text in itself; for safetensors it is read from the files
/// beside them.
///
/// # Errors
/// As [`folder::choose`], [`ModelFile::open_gguf_parts`], [`ModelFile::open_folder`] and
/// [`Text::from_files`]; [`Error::BadConfig`] for a file that is none of JSON.
pub async fn open<S: ByteSource>(
    folder: &str,
    names: &[String],
    asked: Option<&str>,
    picked: bool,
    source: impl Fn(&str) -> Result<S>,
) -> Result<(ModelFile<S>, Option<Text>)> {
    let optional = async |name: &str| {
        if names.iter().any(|found| found == name) {
            read(&source(name)?).await.map(Some)
        } else {
            Ok(None)
        }
    };
    let all = |names: &mut dyn Iterator<Item = &String>| names.map(|name| source(name)).collect();
    let (shards, index) = match folder::choose(folder, names, asked, picked)? {
        Files::Gguf(parts) => {
            let parts: Result<_> = all(&mut parts.iter());
            return Ok((ModelFile::open_gguf_parts(parts?).await?, None));
        }
        Files::Safetensors(shards) => (all(&mut shards.iter())?, None),
        Files::Indexed(index) => {
            let index = read(&source(&index)?).await?;
            let named = folder::shards(&index)?;
            // A file that was named has to be one of the index's.
            if let Some(asked) = asked.filter(|asked| asked.ends_with(".safetensors"))
                && !named.contains(asked)
            {
                return Err(Error::MissingKey {
                    file: folder::INDEX.into(),
                    key: asked.into(),
                    what: "it names other files; give the folder to load these".into(),
                });
            }
            // `open_folder` reports files that are not there.
            let there: Result<_> = all(&mut named.iter().filter(|name| names.contains(name)));
            (there?, Some(index))
        }
    };
    let config = read(&source(folder::CONFIG)?).await?;
    let file = ModelFile::open_folder(&config, shards, index.as_deref()).await?;
    let mut found = BTreeMap::new();
    for name in Text::FILES {
        found.extend(optional(name).await?.map(|bytes| (name, bytes)));
    }
    Ok((file, Text::from_files(&found)?))
}

/// The whole of a small file; a `.json` only if it can be JSON.
async fn read<S: ByteSource>(source: &S) -> Result<Vec<u8>> {
    let bytes = usize::try_from(source.len_bytes()).unwrap_or(usize::MAX);
    let bytes = source.read_at(0, bytes).await?;
    match not_weights(&bytes) {
        Some(what) if source.name().ends_with(".json") => Err(Error::BadConfig {
            file: source.name().into(),
            field: "the file".into(),
            expected: "JSON".into(),
            found: what.into(),
        }),
        _ => Ok(bytes),
    }
}
