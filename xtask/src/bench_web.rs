//! `cargo xtask bench-web`: this project beside wllama, transformers.js and native llama.cpp, or beside an
//! older build of itself, on the same model file and the same prompt.

use std::env;
use std::ffi::OsStr;
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

/// How often the peers are measured, and an older build.
const REPEAT: (u32, u32) = (3, 7);

/// How to measure.
pub struct Options {
    /// The folder of an older package to compare with, instead of the peers.
    pub against: Option<PathBuf>,
    /// Another model than the usual one: any GGUF file.
    pub model: Option<PathBuf>,
    /// Leave out what steering costs, and making a vector and training.
    pub only_speed: bool,
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

/// The model to measure, and where its folder is served.
struct Subject {
    path: PathBuf,
    mount: &'static str,
    is_usual: bool,
}

impl Subject {
    fn of(workspace: &Workspace, given: Option<&Path>) -> Result<Self> {
        let Some(given) = given else {
            return Ok(Self {
                path: model::fetch(workspace)?,
                mount: "models",
                is_usual: true,
            });
        };
        let path = model::given(given)?;
        if path.extension() != Some(OsStr::new("gguf")) {
            return Err(Failure::new(
                format!("{} is no .gguf", given.display()),
                "wllama and llama.cpp read nothing else: convert it, or name another file",
            ));
        }
        Ok(Self {
            path,
            mount: "given",
            is_usual: false,
        })
    }

    fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn folder(&self) -> PathBuf {
        self.path.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// How the names of folders begin, below `models/onnx/` in the cache, that transformers.js reads.
    fn export(&self) -> String {
        without_quantisation(self.name().trim_end_matches(".gguf")).to_owned()
    }
}

/// A model's name without the kind of its numbers: `Name.Q4_1` and `name-q4_k_m` are `Name` and `name`.
fn without_quantisation(name: &str) -> &str {
    let Some(at) = name.rfind(['.', '-']) else {
        return name;
    };
    let kind = name[at + 1..].to_lowercase();
    let kind = kind.strip_prefix('i').unwrap_or(&kind);
    let is_kind = kind
        .strip_prefix('q')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if is_kind || ["f16", "bf16", "f32"].contains(&kind) {
        &name[..at]
    } else {
        name
    }
}

/// Builds, installs the peers, measures, and prints a table on standard output.
pub fn command(workspace: &Workspace, options: &Options) -> Result {
    let old = options.against.as_deref().map(package).transpose()?;
    let subject = Subject::of(workspace, options.model.as_deref())?;
    let browser = tools::browser()?;
    let playwright = node::playwright_core(workspace)?;
    bundle::build(workspace)?;

    let scripts = workspace.root.join("xtask").join("bench");
    let exports = workspace.models().join("onnx");
    let made = workspace.cache.join("bench");
    fs::create_dir_all(&made).or_mend(
        format!("could not make {}", made.display()),
        "check the cache's free disk space, then run this again",
    )?;
    let mut mounts = vec![
        ("pkg", workspace.pkg()),
        ("models", workspace.models()),
        ("given", subject.folder()),
        ("made", made.clone()),
    ];
    let mut bench = Command::new(node::require()?);
    let repeat = match &old {
        Some(old) => {
            mounts.push(("old", old.clone()));
            bench
                .arg(scripts.join("against.mjs"))
                .env("BENCH_OLD", old)
                .env("BENCH_DEVICE", "cpu");
            REPEAT.1
        }
        None => {
            mounts.push(("wllama", node::wllama(workspace)?));
            // Half a gigabyte of packages, which are of no use without an export.
            if has_export(&exports, &subject.export()) {
                mounts.extend(node::transformers_js(workspace)?);
            }
            match node::llama_cpp(workspace) {
                Ok(library) => bench.env("BENCH_NATIVE", library),
                Err(failure) => bench.env("BENCH_NO_NATIVE", failure.problem()),
            };
            bench
                .arg(scripts.join("bench.mjs"))
                .env("BENCH_ONNX", exports.join(subject.export()));
            REPEAT.0
        }
    };
    let address = serve::for_bench(scripts, mounts)?;
    say("serving", &address);
    bench
        .env("PLAYGROUND_URL", &address)
        .env("PLAYWRIGHT_CORE", playwright)
        .env("CHROMIUM", browser.chromium)
        .env(
            "BENCH_PROMPTS",
            workspace.root.join("tests/fixtures/smollm2_greedy.json"),
        )
        .env(
            "BENCH_MODEL",
            format!("{}/{}", subject.mount, subject.name()),
        )
        .env("BENCH_MODEL_PATH", &subject.path)
        .env("BENCH_MADE", made)
        .env("BENCH_PKG", workspace.pkg())
        .env("BENCH_REPEAT", options.repeat.unwrap_or(repeat).to_string())
        .env("BENCH_SOFTWARE_TOKENS", options.software_tokens.to_string());
    if !subject.is_usual {
        bench.env("BENCH_OTHER_MODEL", "1");
    }
    if options.only_speed {
        bench.env("BENCH_ONLY_SPEED", "1");
    }
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

/// Whether a folder in `exports` is named as an export of `model` is.
fn has_export(exports: &Path, model: &str) -> bool {
    let names = fs::read_dir(exports).into_iter().flatten().flatten();
    names.into_iter().any(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(model) && entry.path().join("config.json").is_file()
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
        assert!(!has_export(&exports, "SmolLM2-135M-Instruct"));
        for (folder, found) in [
            ("another", false),
            ("SmolLM2-135M", false),
            ("SmolLM2-135M-Instruct-4bit", true),
        ] {
            fs::create_dir_all(exports.join(folder)).unwrap();
            assert!(
                !has_export(&exports, "SmolLM2-135M-Instruct"),
                "{folder} is empty"
            );
            fs::write(exports.join(folder).join("config.json"), "{}").unwrap();
            assert_eq!(
                has_export(&exports, "SmolLM2-135M-Instruct"),
                found,
                "{folder}"
            );
        }
        fs::remove_dir_all(exports).unwrap();
    }

    #[test]
    fn an_export_is_named_without_the_kind_of_the_file_s_numbers() {
        for (file, name) in [
            ("SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct"),
            ("gemma-3-270m-q4_k_m", "gemma-3-270m"),
            ("Llama-3.2-1B-IQ4_NL", "Llama-3.2-1B"),
            ("tiny.BF16", "tiny"),
            ("Llama-3.2-1B", "Llama-3.2-1B"),
            ("name-quick", "name-quick"),
            ("name", "name"),
        ] {
            assert_eq!(without_quantisation(file), name);
        }
    }
}
