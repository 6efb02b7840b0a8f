//! Node and what npm brings: the module optimiser and the browser driver.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::apt;
use crate::failure::{Failure, Result};
use crate::process::{find, output, run, say};
use crate::workspace::Workspace;

/// The version of `binaryen`, whose `wasm-opt` is used.
pub const BINARYEN: &str = "132.0.0";
const PLAYWRIGHT_CORE: &str = "1.65.1";
/// The last that runs in the oldest Node that we take.
const PUPPETEER_CORE: &str = "24.43.1";
const AXE_CORE: &str = "4.14.1";
const TYPESCRIPT: &str = "6.0.3";
const VITE: &str = "8.4.0";
const WLLAMA: &str = "3.8.1";
const TRANSFORMERS_JS: &str = "4.3.1";
const NODE_LLAMA_CPP: &str = "3.22.1";
/// The oldest Node that finds out by itself which `.js` files are modules.
const OLDEST_NODE: u32 = 20;

/// Node, installed where there is apt; the page's tests run in it.
pub fn require() -> Result<PathBuf> {
    if find("node").is_none() && apt::present() {
        apt::install(&["nodejs", "npm"])?;
    }
    let node = find("node").filter(|node| {
        let version = output(Command::new(node).arg("--version")).unwrap_or_default();
        major(&version) >= OLDEST_NODE
    });
    node.ok_or_else(|| {
        Failure::new(
            format!("no Node of version {OLDEST_NODE} or newer was found"),
            "install it from https://nodejs.org",
        )
    })
}

/// The script `wasm-opt`, to be run by Node; `None` where there is no npm.
pub fn wasm_opt(workspace: &Workspace) -> Result<Option<PathBuf>> {
    if find("node").is_none() || find(NPM).is_none() {
        say(
            "wasm-opt",
            "skipped, as there is no npm: the module will be larger",
        );
        return Ok(None);
    }
    let folder = package(workspace, "binaryen", BINARYEN)?;
    say("wasm-opt", BINARYEN);
    Ok(Some(folder.join("bin").join("wasm-opt")))
}

/// The module of `playwright-core` that the end-to-end tests import.
pub fn playwright_core(workspace: &Workspace) -> Result<PathBuf> {
    let folder = package(workspace, "playwright-core", PLAYWRIGHT_CORE)?;
    say("playwright", PLAYWRIGHT_CORE);
    Ok(folder.join("index.mjs"))
}

/// The module of `puppeteer-core`, through which the end-to-end tests steer Firefox.
pub fn puppeteer_core(workspace: &Workspace) -> Result<PathBuf> {
    let folder = package(workspace, "puppeteer-core", PUPPETEER_CORE)?;
    say("puppeteer", PUPPETEER_CORE);
    Ok(folder.join("lib/esm/puppeteer/puppeteer-core.js"))
}

/// The script `axe-core`, which finds what shuts people out of a page.
pub fn axe_core(workspace: &Workspace) -> Result<PathBuf> {
    let folder = package(workspace, "axe-core", AXE_CORE)?;
    say("axe", AXE_CORE);
    Ok(folder.join("axe.min.js"))
}

/// TypeScript's compiler, a script for Node.
pub fn tsc(workspace: &Workspace) -> Result<PathBuf> {
    let folder = package(workspace, "typescript", TYPESCRIPT)?;
    say("typescript", TYPESCRIPT);
    Ok(folder.join("bin").join("tsc"))
}

/// The module of Vite, with which the package's test builds a project.
pub fn vite(workspace: &Workspace) -> Result<PathBuf> {
    let folder = package(workspace, "vite", VITE)?;
    say("vite", VITE);
    Ok(folder.join("dist").join("node").join("index.js"))
}

/// The folder of wllama's module, for comparison.
pub fn wllama(workspace: &Workspace) -> Result<PathBuf> {
    let folder = package(workspace, "@wllama/wllama", WLLAMA)?;
    say("wllama", WLLAMA);
    Ok(folder.join("esm"))
}

/// The folders of transformers.js and of the ONNX runtime that it loads, for
/// comparison, with the names they are served under.
pub fn transformers_js(workspace: &Workspace) -> Result<[(&'static str, PathBuf); 2]> {
    let folder = package(workspace, "@huggingface/transformers", TRANSFORMERS_JS)?;
    say("transformers", TRANSFORMERS_JS);
    let runtime = folder.join("../../onnxruntime-web/dist");
    Ok([("transformers", folder.join("dist")), ("ort", runtime)])
}

/// The module of `node-llama-cpp`, native llama.cpp for Node, for comparison: with the binary for this machine's
/// processor and none of those for GPUs, which are large.
pub fn llama_cpp(workspace: &Workspace) -> Result<PathBuf> {
    let binary = match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => "linux-x64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "aarch64") => "mac-arm64-metal",
        ("macos", "x86_64") => "mac-x64",
        ("windows", "x86_64") => "win-x64",
        ("windows", "aarch64") => "win-arm64",
        (system, processor) => {
            return Err(Failure::new(
                format!("node-llama-cpp has no binary for {system} on {processor}"),
                "compare on another machine",
            ));
        }
    };
    let binary = format!("@node-llama-cpp/{binary}@{NODE_LLAMA_CPP}");
    let with = ["--omit=optional", &binary];
    let folder = package_with(workspace, "node-llama-cpp", NODE_LLAMA_CPP, &with)?;
    say("llama.cpp", format!("node-llama-cpp {NODE_LLAMA_CPP}"));
    Ok(folder.join("dist").join("index.js"))
}

/// The folder of an npm package, which is installed by itself in the cache.
fn package(workspace: &Workspace, name: &str, version: &str) -> Result<PathBuf> {
    package_with(workspace, name, version, &[])
}

/// The same, with more to tell npm.
fn package_with(
    workspace: &Workspace,
    name: &str,
    version: &str,
    with: &[&str],
) -> Result<PathBuf> {
    let prefix = workspace
        .cache
        .join("npm")
        .join(format!("{name}-{version}"));
    let folder = prefix.join("node_modules").join(name);
    if folder.join("package.json").is_file() {
        return Ok(folder);
    }
    require()?;
    say("npm", format!("installing {name} {version}"));
    run(
        Command::new(NPM)
            .args([
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--no-save",
                // None of them needs its scripts here; one would download a GPU runtime.
                "--ignore-scripts",
                "--prefix",
            ])
            .arg(&prefix)
            .arg(format!("{name}@{version}"))
            .args(with),
        "check that npm works: `npm ping`",
    )?;
    Ok(folder)
}

const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

/// The major number of `v20.1.2`.
fn major(version: &str) -> u32 {
    let number = version.trim_start_matches('v').split('.').next();
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_numbers() {
        assert_eq!(major("v20.20.2"), 20);
        assert_eq!(major(""), 0);
    }
}
