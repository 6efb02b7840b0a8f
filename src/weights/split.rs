//! Split GGUF files: `llama-gguf-split` writes a large model as parts `NAME-00001-of-0000N.gguf`, of
//! which the first has the metadata and each has some of the tensors.

use crate::error::{Error, Result};
use crate::weights::ByteSource;
use crate::weights::gguf::Gguf;

const NO: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// `(NAME, part, parts)` of the name of a part, counted from 1.
pub(crate) fn part(name: &str) -> Option<(&str, u64, u64)> {
    let (rest, parts) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, part) = rest.rsplit_once('-')?;
    let number = |digits: &str| {
        let whole = digits.len() >= 5 && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse().ok().filter(|_| whole)
    };
    Some((stem, number(part)?, number(parts)?))
}

/// Puts the parts of one model in order; a model that is not split is its own only part.
///
/// # Errors
/// [`Error::MissingKey`] for a part that is not there, [`Error::BadHeader`] for parts that do not
/// belong together, [`Error::UnsupportedModel`] for several models.
pub(crate) fn joined<S: ByteSource>(parts: Vec<(Gguf, S)>) -> Result<Vec<(Gguf, S)>> {
    let mut numbered = Vec::with_capacity(parts.len());
    let given = parts.len();
    for (gguf, source) in parts {
        let count = gguf.metadata.unsigned(COUNT)?.unwrap_or(0);
        if count <= 1 && given > 1 {
            return Err(Error::UnsupportedModel {
                file: source.name().into(),
                field: COUNT.into(),
                found: format!(
                    "{count}: it is a whole file, given with {} others",
                    given - 1
                ),
                supported: "one model at a time: give one file, or the parts of one".into(),
            });
        }
        let no = gguf.metadata.unsigned(NO)?.unwrap_or(0);
        numbered.push((no, count, gguf, source));
    }
    numbered.sort_by_key(|(no, ..)| *no);
    let (count, total) = match numbered.first() {
        Some((_, count, gguf, _)) => (*count, gguf.metadata.unsigned(TENSORS)?),
        None => return Err(missing("the model", 0, 1, 1)),
    };
    if count > 1 {
        for (at, (no, of, _, source)) in (0..).zip(&numbered) {
            let bad = |why: String| Error::BadHeader {
                file: source.name().into(),
                why,
            };
            if *of != count || *no >= count {
                return Err(bad(format!(
                    "it is part {} of {of}, another of the files is of {count}",
                    no + 1
                )));
            }
            if *no < at {
                let why = format!("it is part {} of {count}, as is another file", no + 1);
                return Err(bad(why));
            }
            if *no > at {
                return Err(missing(source.name(), no + 1, at + 1, count));
            }
        }
        if let Some((no, .., source)) = numbered.last().filter(|(no, ..)| no + 1 < count) {
            return Err(missing(source.name(), no + 1, no + 2, count));
        }
        let found: usize = numbered
            .iter()
            .map(|(_, _, gguf, _)| gguf.tensors.len())
            .sum();
        if let Some(total) = total.filter(|total| *total != found as u64) {
            return Err(Error::BadHeader {
                file: numbered
                    .first()
                    .map_or("", |(.., source)| source.name())
                    .into(),
                why: format!("`{TENSORS}` is {total}, the {count} parts have {found} tensors"),
            });
        }
    }
    let parts = numbered.into_iter();
    Ok(parts.map(|(_, _, gguf, source)| (gguf, source)).collect())
}

/// The error for a part that is not there, with its file name as it would be beside `file`, which
/// is part `this`.
fn missing(file: &str, this: u64, absent: u64, count: u64) -> Error {
    Error::MissingKey {
        file: file.into(),
        key: match self::part(file) {
            Some((stem, ..)) => format!("{stem}-{absent:05}-of-{count:05}.gguf"),
            None => format!("part {absent} of {count}"),
        },
        what: format!("this is part {this} of {count}, give all {count} together"),
    }
}
