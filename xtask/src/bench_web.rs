//! `cargo xtask bench-web`: this project beside wllama and transformers.js, or beside an
//! older build of itself, in one browser, on the same model file and the same prompt.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bundle;
use crate::failure::{Failure, OrMend, Result};
use crate::model;
use crate::node;
use crate::process::{run_printing, say};
use crate::serve;
use crate::tools;
use crate::workspace::Workspace;

/// How the names of folders begin, below `models/onnx/` in the cache, that transformers.js reads.
const ONNX: &str = "SmolLM2-135M-Instruct";

/// How often the peers are measured, and an older build.
const REPEAT: (u32, u32) = (3, 7);

/// How to measure.
pub struct Options {
    /// The folder of an older package to compare with, instead of the peers.
    pub against: Option<PathBuf>,
    /// How often each row is measured, in turns.
    pub repeat: Option<u32>,
    /// Tokens to generate on a GPU that is imitated by the processor.
    pub software_tokens: u32,
    /// The only device to measure, `cpu` or `webgpu`; if `None` both, or, with `against`, the
    /// processor.
    pub device: Option<String>,
    /// Where the numbers go besides the table.
    pub json: Option<PathBuf>,
}

/// Builds, installs the peers, measures, and prints a table on standard output.
pub fn command(workspace: &Workspace, options: &Options) -> Result {
    let old = options.against.as_deref().map(package).transpose()?;
    let browser = tools::browser()?;
    let playwright = node::playwright_core(workspace)?;
    model::fetch(workspace)?;
    bundle::build(workspace)?;

    let scripts = workspace.root.join("xtask").join("bench");
    let exports = workspace.models().join("onnx");
    let mut mounts = vec![("pkg", workspace.pkg()), ("models", workspace.models())];
    match &old {
        Some(old) => mounts.push(("old", old.clone())),
        None => {
            mounts.push(("wllama", node::wllama(workspace)?));
            // Half a gigabyte of packages, which are of no use without an export.
            if has_export(&exports) {
                mounts.extend(node::transformers_js(workspace)?);
            }
        }
    }
    let address = serve::for_bench(scripts.clone(), mounts)?;
    say("serving", &address);

    let mut bench = Command::new(node::require()?);
    let repeat = match &old {
        None => {
            bench
                .arg(scripts.join("bench.mjs"))
                .env("BENCH_ONNX", exports.join(ONNX));
            REPEAT.0
        }
        Some(old) => {
            bench
                .arg(scripts.join("against.mjs"))
                .env("BENCH_OLD", old)
                .env("BENCH_DEVICE", "cpu");
            REPEAT.1
        }
    };
    bench
        .env("PLAYGROUND_URL", &address)
        .env("PLAYWRIGHT_CORE", playwright)
        .env("CHROMIUM", browser.chromium)
        .env(
            "BENCH_REFERENCE",
            workspace.root.join("tests/fixtures/smollm2_greedy.json"),
        )
        .env("BENCH_MODEL", model::FILE)
        .env("BENCH_PKG", workspace.pkg())
        .env("BENCH_REPEAT", options.repeat.unwrap_or(repeat).to_string())
        .env("BENCH_SOFTWARE_TOKENS", options.software_tokens.to_string());
    if let Some(device) = &options.device {
        bench.env("BENCH_DEVICE", device);
    }
    if let Some(json) = &options.json {
        bench.env("BENCH_JSON", absolute(json)?);
    }
    run_printing(&mut bench, "see the message above")
}

/// The folder of a package.
fn package(folder: &Path) -> Result<PathBuf> {
    if folder.join("package.json").is_file() {
        return absolute(folder);
    }
    Err(Failure::new(
        format!("{} has no package.json", folder.display()),
        "build the older commit with `cargo xtask build`, copy its pkg/, and name the copy",
    ))
}

/// Whether a folder in `exports` is named as an export of the model is.
fn has_export(exports: &Path) -> bool {
    let names = fs::read_dir(exports).into_iter().flatten().flatten();
    names.into_iter().any(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(ONNX) && entry.path().join("config.json").is_file()
    })
}

fn absolute(path: &Path) -> Result<PathBuf> {
    let here = env::current_dir().or_mend("the current folder is gone", "go to another folder")?;
    Ok(here.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_s_folder_begins_with_the_model_s_name() {
        let exports = env::temp_dir().join(format!("xtask-exports-{}", std::process::id()));
        assert!(!has_export(&exports));
        for (folder, found) in [
            ("another", false),
            ("SmolLM2-135M", false),
            ("SmolLM2-135M-Instruct-4bit", true),
        ] {
            fs::create_dir_all(exports.join(folder)).unwrap();
            assert!(!has_export(&exports), "{folder} is empty");
            fs::write(exports.join(folder).join("config.json"), "{}").unwrap();
            assert_eq!(has_export(&exports), found, "{folder}");
        }
        fs::remove_dir_all(exports).unwrap();
    }
}
