//! Programs that the commands need besides the Rust toolchain.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt;
use crate::failure::{Failure, OrMend, Result};
use crate::process::{find, output, say};
use crate::progress::run_cargo;
use crate::workspace::Workspace;

const WASM_PACK: &str = "0.15.1";

/// Chromium and the driver that the WebAssembly tests steer it with.
pub struct Browser {
    pub chromium: PathBuf,
    pub chromedriver: PathBuf,
}

/// The `wasm-bindgen` program of the version that `Cargo.lock` has;
/// `wasm-bindgen-test-runner` lies beside it.
pub fn wasm_bindgen(workspace: &Workspace) -> Result<PathBuf> {
    let lock = workspace.root.join("Cargo.lock");
    let text = fs::read_to_string(&lock).or_mend(
        format!("could not read {}", lock.display()),
        "restore it from git",
    )?;
    let version = locked_version(&text, "wasm-bindgen").ok_or_else(|| {
        Failure::new(
            "Cargo.lock has no wasm-bindgen",
            "restore Cargo.lock from git",
        )
    })?;
    cargo_tool(workspace, "wasm-bindgen-cli", "wasm-bindgen", version)
}

/// The `wasm-pack` program.
pub fn wasm_pack(workspace: &Workspace) -> Result<PathBuf> {
    cargo_tool(workspace, "wasm-pack", "wasm-pack", WASM_PACK)
}

/// Chromium and chromedriver: `$CHROMIUM` and `$CHROMEDRIVER`, or those on the
/// search path, or, where there is apt, Debian's.
pub fn browser() -> Result<Browser> {
    if let Some(browser) = find_browser() {
        say("browser", browser.chromium.display());
        return Ok(browser);
    }
    if apt::present() {
        apt::install(&["chromium", "chromium-driver"])?;
    }
    let browser = find_browser().ok_or_else(|| {
        Failure::new(
            "Chromium (or Chrome) and chromedriver were not found",
            "install both, of one version, and if they are not on the search path, \
             set CHROMIUM and CHROMEDRIVER to them",
        )
    })?;
    say("browser", browser.chromium.display());
    Ok(browser)
}

/// A Vulkan device in software, for the native GPU tests; only where there is apt.
pub fn software_gpu() -> Result {
    if apt::present() {
        apt::install(&["mesa-vulkan-drivers"])?;
    }
    Ok(())
}

/// A compiler of C++, for libFuzzer, which comes as its sources.
pub fn cpp_compiler() -> Result {
    let is_there = || env::var_os("CXX").is_some() || find("c++").is_some();
    if !is_there() && apt::present() {
        apt::install(&["g++"])?;
    }
    if is_there() {
        return Ok(());
    }
    Err(Failure::new(
        "there is no compiler of C++, which libFuzzer is built with",
        "install one as `c++`, or set CXX to it",
    ))
}

/// Firefox: `$FIREFOX`, or that on the search path, or, where there is apt, Debian's.
pub fn firefox() -> Result<PathBuf> {
    let find = || pick("FIREFOX", &["firefox", "firefox-esr"]);
    if find().is_none() && apt::present() {
        apt::install(&["firefox-esr"])?;
    }
    let firefox = find().ok_or_else(|| {
        Failure::new(
            "Firefox was not found",
            "install it, and if it is not on the search path, set FIREFOX to it",
        )
    })?;
    say("browser", firefox.display());
    Ok(firefox)
}

fn find_browser() -> Option<Browser> {
    Some(Browser {
        chromium: pick(
            "CHROMIUM",
            &["chromium", "chromium-browser", "google-chrome", "chrome"],
        )?,
        chromedriver: pick("CHROMEDRIVER", &["chromedriver"])?,
    })
}

/// The program that a variable names, or else the first of `names` on the search path.
fn pick(variable: &str, names: &[&str]) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .or_else(|| names.iter().find_map(|name| find(name)))
        .filter(|program| program.is_file())
}

/// Finds a program that prints `<name> <version>`, in the cache or on the
/// search path, or installs its crate into the cache.
fn cargo_tool(workspace: &Workspace, krate: &str, name: &str, version: &str) -> Result<PathBuf> {
    let root = workspace.cache.join("tools");
    let cached = root
        .join("bin")
        .join(format!("{name}{}", env::consts::EXE_SUFFIX));
    let wanted = format!("{name} {version}");
    let fits =
        |program: &Path| output(Command::new(program).arg("--version")).as_ref() == Some(&wanted);
    if let Some(program) = [Some(cached.clone()), find(name)]
        .into_iter()
        .flatten()
        .find(|program| fits(program))
    {
        say(name, version);
        return Ok(program);
    }
    say(
        name,
        format!("cargo install {krate} {version} (some minutes)"),
    );
    let target = workspace.cache.join("tools-target");
    // Not `--locked`: wasm-bindgen-cli's own lock file names a yanked crate.
    let mut install = workspace.cargo();
    install
        .current_dir(&workspace.cache)
        .env("CARGO_TARGET_DIR", &target)
        .args(["install", "--force", krate, "--version", version, "--root"])
        .arg(&root);
    run_cargo(
        &mut install,
        "install",
        &format!("install it by hand: cargo install {krate} --version {version}"),
    )?;
    drop(fs::remove_dir_all(target));
    Ok(cached)
}

/// The version that a `Cargo.lock` has of the package `name`.
fn locked_version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("name = \"{name}\"");
    let mut lines = lock.lines().skip_while(|line| *line != start).skip(1);
    lines
        .next()?
        .strip_prefix("version = \"")?
        .strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locked_version_is_that_of_the_very_package() {
        let lock = "[[package]]\nname = \"wasm-bindgen-test\"\nversion = \"0.3.80\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(locked_version(lock, "wasm"), None);
    }
}
