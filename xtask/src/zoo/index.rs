//! `www/adapters/index.json`: what the page can choose from, out of all `row.json`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{put_file, several};
use crate::failure::{Failure, OrMend, Result};
use crate::model::sha256;

/// What says of a row how it came about.
pub const ROW: &str = "row.json";
/// The numbers of a row.
pub const WEIGHTS: &str = "adapter_model.safetensors";

const INDEX: &str = "index.json";
/// A row's file, and all of them.
pub const MOST_BYTES: u64 = 2_000_000;
const MOST_BYTES_IN_ALL: u64 = 40_000_000;

/// Reads a row, if it is there.
pub fn row(folder: &Path) -> Result<Option<Value>> {
    let path = folder.join(ROW);
    let Ok(bytes) = fs::read(&path) else {
        return Ok(None);
    };
    let mend = "delete it, and `cargo xtask zoo` makes the row again";
    let row: Value =
        serde_json::from_slice(&bytes).or_mend(format!("{} is damaged", path.display()), mend)?;
    for field in ["behaviour", "name", "method"] {
        if !row[field].is_string() {
            let problem = format!("{}: `{field}` is missing", path.display());
            return Err(Failure::new(problem, mend));
        }
    }
    Ok(Some(row))
}

/// Whether a row's adapter lies beside it.
fn is_shipped(row: &Value) -> bool {
    row["shipped"] == true && row["failed"].is_null()
}

/// Writes the index again: what the page loads at its start stays, then all rows by their folders.
pub fn write(adapters: &Path) -> Result {
    let mend = "restore it with git, and delete rows that are not wanted";
    let path = adapters.join(INDEX);
    let named = |what: &str| format!("{} {what}", path.display());
    let old = fs::read(&path).or_mend(named("cannot be read"), mend)?;
    let old: Value = serde_json::from_slice(&old).or_mend(named("is damaged"), mend)?;
    let old = old["adapters"].as_array().into_iter().flatten();
    let mut lines: Vec<Value> = old.filter(|it| it["method"].is_null()).cloned().collect();
    let mut in_all = 0;
    for folder in folders(adapters) {
        let Some(row) = row(&folder)?.filter(is_shipped) else {
            continue;
        };
        let weights = folder.join(WEIGHTS);
        let size = fs::metadata(&weights).or_mend(weights.display(), "run this with --redo")?;
        let bytes = size.len();
        in_all += bytes;
        if bytes >= MOST_BYTES {
            return Err(too_large(&weights, bytes));
        }
        if in_all >= MOST_BYTES_IN_ALL {
            let problem = format!(
                "the adapters are {in_all} bytes up to {}, of {MOST_BYTES_IN_ALL}",
                weights.display()
            );
            return Err(Failure::new(problem, "ship fewer of them"));
        }
        let place = folder.strip_prefix(adapters).unwrap_or(&folder);
        lines.push(json!({
            "folder": place.to_string_lossy().replace('\\', "/"),
            "method": row["method"], "behaviour": row["behaviour"],
            "parameters": row["parameters"], "bytes": bytes,
            "sha256": sha256(&weights).or_mend(weights.display(), "run this with --redo")?,
        }));
    }
    for (folder, record, weights) in several::adapters(adapters) {
        let size = fs::metadata(&weights).or_mend(weights.display(), "run this with --redo")?;
        // What it mixes lies in its folder too.
        let experts = (0..).take_while(|n: &usize| weights.with_file_name(n.to_string()).is_dir());
        let mut line = json!({
            "folder": folder, "method": record["method"], "behaviour": record["behaviour"],
            "behaviours": record["behaviours"], "parameters": record["parameters"],
            "bytes": size.len(),
            "sha256": sha256(&weights).or_mend(weights.display(), "run this with --redo")?,
        });
        match experts.count() {
            0 => {}
            count => line["experts"] = count.into(),
        }
        lines.push(line);
    }
    let lines: Vec<String> = lines.iter().map(|line| format!("    {line}")).collect();
    let text = format!("{{\n  \"adapters\": [\n{}\n  ]\n}}\n", lines.join(",\n"));
    put_file(&path, text.as_bytes())
}

/// The failure of a file that is too large.
pub fn too_large(file: &Path, bytes: u64) -> Failure {
    let problem = format!("{} is {bytes} bytes, of {MOST_BYTES}", file.display());
    Failure::new(problem, "train it with fewer numbers")
}

/// The folders BEHAVIOUR/NAME, in order; those that begin with a dot are unfinished.
fn folders(adapters: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.is_dir() && !name.starts_with('.')
        });
        folders.collect::<Vec<_>>()
    };
    let mut found: Vec<PathBuf> = below(adapters).iter().flat_map(|it| below(it)).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let name = format!("xtask-zoo-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn put(adapters: &Path, place: &str, row: &Value, bytes: usize) {
        let folder = adapters.join(place);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(ROW), row.to_string()).unwrap();
        fs::write(folder.join(WEIGHTS), vec![b'a'; bytes]).unwrap();
    }

    #[test]
    fn the_index_keeps_what_the_page_begins_with_and_lists_shipped_rows() {
        let adapters = folder("index");
        let index = adapters.join(INDEX);
        let begun =
            r#"{"adapters": [{"folder": "tone-lora"}, {"folder": "tone/old", "method": "old"}]}"#;
        fs::write(&index, begun).unwrap();
        let row = |name: &str, shipped: bool| {
            json!({ "behaviour": "tone", "name": name, "method": "lora", "shipped": shipped,
                    "parameters": 5, "failed": null })
        };
        put(&adapters, "tone/lora-r1", &row("lora-r1", true), 3);
        put(&adapters, "tone/lora", &row("lora", true), 2);
        put(&adapters, "tone/lora-seed1", &row("lora-seed1", false), 2);
        put(&adapters, "tone/.half.new", &row("half", true), 2);
        let failed =
            json!({ "behaviour": "tone", "name": "oft", "method": "oft", "failed": "NaN" });
        put(&adapters, "tone/oft", &failed, 0);
        write(&adapters).unwrap();
        let text = fs::read_to_string(&index).unwrap();
        let found: Value = serde_json::from_str(&text).unwrap();
        let sha = "961b6dd3ede3cb8ecbaacbd68de040cd78eb2ed5889130cceb4c49268ea4d506";
        let entry = json!({ "folder": "tone/lora", "method": "lora", "behaviour": "tone",
                            "parameters": 5, "bytes": 2, "sha256": sha });
        let list = found["adapters"].as_array().unwrap();
        assert_eq!(list[..2], [json!({ "folder": "tone-lora" }), entry]);
        assert_eq!(list[2]["folder"], "tone/lora-r1");
        assert_eq!(list.len(), 3);
        // Once more: the same.
        write(&adapters).unwrap();
        assert_eq!(fs::read_to_string(&index).unwrap(), text);

        put(
            &adapters,
            "tone/wide",
            &row("wide", true),
            MOST_BYTES as usize,
        );
        let message = write(&adapters).unwrap_err().to_string();
        assert!(message.contains("wide"), "{message}");
        fs::remove_dir_all(adapters).unwrap();
    }

    #[test]
    fn a_row_must_say_what_it_is() {
        let place = folder("row");
        assert_eq!(row(&place).unwrap(), None);
        put(&place, ".", &json!({ "behaviour": "tone", "name": "a" }), 0);
        assert!(row(&place).unwrap_err().to_string().contains("`method`"));
        fs::write(place.join(ROW), "{").unwrap();
        assert!(row(&place).unwrap_err().to_string().contains("damaged"));
        let whole = json!({ "behaviour": "tone", "name": "a", "method": "a" });
        put(&place, ".", &whole, 0);
        assert_eq!(row(&place).unwrap(), Some(whole));
        fs::remove_dir_all(place).unwrap();
    }
}
