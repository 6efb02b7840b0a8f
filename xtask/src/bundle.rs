//! The WebAssembly package in `pkg/`: compiled, bound to JavaScript, optimised.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::coding::{Coding, Effort};
use crate::failure::{OrMend, Result};
use crate::model::sha256;
use crate::node;
use crate::process::{output, run, say};
use crate::progress::run_cargo;
use crate::tools;
use crate::wasm::{TARGET, Toolchain};
use crate::workspace::Workspace;

/// The name of the package.
pub const PACKAGE: &str = "steering-playground";
/// The packages whose sums must not wrap: in the module, which does not check them, one that wraps would be a wrong
/// number.
pub const OVERFLOW_CHECKED: [&str; 2] = [PACKAGE, "steering-playground-processor"];
/// The name of its crate, of its module and of the JavaScript around it.
pub const NAME: &str = "steering_playground";

/// Takes a fifth off the module in some minutes; higher levels take a quarter of an hour.
const OPTIMISE: &str = "-O1";

/// Brings `pkg/` up to date, as the compiler leaves it.
pub fn build(workspace: &Workspace) -> Result {
    compile(workspace, None)
}

/// Brings `pkg/` up to date for others to download: smaller, by `wasm-opt`, and compressed.
pub fn build_optimised(workspace: &Workspace) -> Result {
    compile(workspace, node::wasm_opt(workspace)?.as_deref())?;
    compressed_module(workspace).map(drop)
}

fn compile(workspace: &Workspace, wasm_opt: Option<&Path>) -> Result {
    let toolchain = Toolchain::prepare(workspace)?;
    let wasm_bindgen = tools::wasm_bindgen(workspace)?;

    // As wasm-pack builds it, so that neither compiles again what the other has compiled.
    let build = ["build", "--release", "--lib", "--target", TARGET];
    let command = build.join(" ");
    say(
        "compile",
        format!("cargo {command} (the first time some 400 crates: 10 to 20 minutes)"),
    );
    run_cargo(
        toolchain.cargo(workspace).args(build),
        "compile",
        "mend the source as the compiler says above",
    )?;
    package(workspace, &compiled(workspace), &wasm_bindgen, wasm_opt)
}

/// The module as the compiler leaves it, with the names of its functions.
pub fn compiled(workspace: &Workspace) -> PathBuf {
    let release = workspace.target.join(TARGET).join("release");
    release.join(format!("{NAME}.wasm"))
}

/// The module that the page loads.
pub fn module(workspace: &Workspace) -> PathBuf {
    workspace.pkg().join(format!("{NAME}_bg.wasm"))
}

/// The module as it travels, beside the module. Made only for those who download it, as it takes
/// minutes; it is deleted when the module is made again.
pub fn compressed_module(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(fresh) = fresh_brotli(workspace) {
        return Ok(fresh);
    }
    say("package", "brotli (some minutes)");
    let module = module(workspace);
    let beside = Coding::Brotli.beside(&module);
    let part = beside.with_extension("part");
    fs::read(&module)
        .and_then(|bytes| fs::write(&part, Coding::Brotli.compress(&bytes, Effort::Best)))
        .and_then(|()| fs::rename(&part, &beside))
        .or_mend(
            format!("could not compress {}", module.display()),
            "run `cargo xtask build`, then this again",
        )?;
    Ok(beside)
}

/// How many bytes the module has as it travels, where that was made.
pub fn brotli_bytes(workspace: &Workspace) -> Option<usize> {
    let metadata = fs::metadata(fresh_brotli(workspace)?).ok()?;
    usize::try_from(metadata.len()).ok()
}

fn fresh_brotli(workspace: &Workspace) -> Option<PathBuf> {
    let module = module(workspace);
    Coding::Brotli.fresh(&module, &fs::metadata(&module).ok()?)
}

/// Makes the package of the compiled module, unless `pkg/` has it already.
fn package(
    workspace: &Workspace,
    compiled: &Path,
    wasm_bindgen: &Path,
    wasm_opt: Option<&Path>,
) -> Result {
    let pkg = workspace.pkg();
    let mend = "delete pkg/ and run this again";
    let could_not = |what: &str, path: &Path| format!("could not {what} {}", path.display());

    let module = module(workspace);
    let stamp = pkg.join(".stamp");
    let plain = format!(
        "{}\n{}\n",
        sha256(compiled).or_mend(could_not("read", compiled), mend)?,
        output(Command::new(wasm_bindgen).arg("--version")).unwrap_or_default(),
    );
    let optimised = format!("{plain}wasm-opt {} {OPTIMISE}\n", node::BINARYEN);
    let found = fs::read_to_string(&stamp).unwrap_or_default();
    // Others, such as wasm-pack, write into pkg/ too.
    let ours = |recipe: &str| {
        let hash = found.strip_prefix(recipe).map(str::trim_end);
        hash.is_some_and(|hash| sha256(&module).is_ok_and(|found| found == hash))
    };
    // An optimised module will do where none is asked for.
    if ours(&optimised) || wasm_opt.is_none() && ours(&plain) {
        describe(workspace)?;
        say("package", format!("{} is up to date", pkg.display()));
        return Ok(());
    }

    clear(&pkg).or_mend(could_not("empty", &pkg), mend)?;
    say("package", "wasm-bindgen");
    run(
        Command::new(wasm_bindgen)
            .args([
                "--target",
                "web",
                "--remove-name-section",
                "--remove-producers-section",
            ])
            .args(["--out-name", NAME, "--out-dir"])
            .arg(&pkg)
            .arg(compiled),
        mend,
    )?;
    if let Some(wasm_opt) = wasm_opt {
        say("package", format!("wasm-opt {OPTIMISE} (some minutes)"));
        let smaller = pkg.join("optimised.wasm");
        run(
            Command::new("node")
                .arg(wasm_opt)
                .args([OPTIMISE.as_ref(), module.as_os_str()])
                .args(["-o".as_ref(), smaller.as_os_str()]),
            mend,
        )?;
        fs::rename(&smaller, &module).or_mend(could_not("write", &module), mend)?;
    }
    describe(workspace)?;
    let recipe = if wasm_opt.is_some() { optimised } else { plain };
    let hash = sha256(&module).or_mend(could_not("read", &module), mend)?;
    fs::write(&stamp, recipe + &hash + "\n").or_mend(could_not("write", &stamp), mend)?;
    let size = fs::metadata(&module).map_or(0, |metadata| metadata.len());
    say(
        "package",
        format!("{} ({:.1} MB)", module.display(), size as f64 / 1e6),
    );
    Ok(())
}

/// Deletes what earlier runs have left in `pkg`.
fn clear(pkg: &Path) -> io::Result<()> {
    if pkg.exists() {
        fs::remove_dir_all(pkg)?;
    }
    fs::create_dir_all(pkg)
}

/// Files beside the module that come with the package: their names there, and in the repository.
const BESIDE: [(&str, &str); 3] = [
    ("README.md", "docs/package.md"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("LICENSE-APACHE", "LICENSE-APACHE"),
];

/// Writes what says what the package is. It takes no time, and the module may be up to date where this is not.
fn describe(workspace: &Workspace) -> Result {
    let write = || -> io::Result<()> {
        let pkg = workspace.pkg();
        let manifest = fs::read_to_string(workspace.root.join("Cargo.toml"))?;
        fs::write(pkg.join("package.json"), package_json(&manifest))?;
        for (name, source) in BESIDE {
            fs::copy(workspace.root.join(source), pkg.join(name))?;
        }
        Ok(())
    };
    write().or_mend(
        format!("could not describe {}", workspace.pkg().display()),
        "restore Cargo.toml, docs/package.md and the licences from git",
    )
}

/// What npm and bundlers want to know of the package; what the crate says of itself too is taken from its
/// manifest.
fn package_json(manifest: &str) -> String {
    let (module, types) = (format!("{NAME}.js"), format!("{NAME}.d.ts"));
    let wasm = format!("{NAME}_bg.wasm");
    let at = |file: &str| format!("./{file}");
    // Types come first: who resolves takes the first condition that fits.
    let entry = json!({ "types": at(&types), "default": at(&module) });
    let mut files = vec![module.clone(), types.clone(), wasm.clone()];
    files.extend([format!("{wasm}.d.ts"), "snippets".into()]);
    files.extend(BESIDE.map(|(name, _)| name.to_owned()));
    let mut package = json!({
        "name": PACKAGE,
        "version": said(manifest, "version"),
        "description": said(manifest, "description"),
        "keywords": said(manifest, "keywords"),
        "license": said(manifest, "license"),
        "type": "module",
        "main": at(&module),
        "types": at(&types),
        "exports": {
            ".": entry,
            (at(&module)): entry,
            (at(&wasm)): at(&wasm),
            "./package.json": "./package.json",
        },
        "files": files,
        "sideEffects": false,
    });
    if let Value::String(url) = said(manifest, "repository") {
        package["repository"] = json!({ "type": "git", "url": url });
    }
    format!("{package:#}\n")
}

/// A field of the package in `Cargo.toml`: a text, or a list of texts on one line. Both are written in JSON as
/// they are there.
fn said(manifest: &str, field: &str) -> Value {
    let package = manifest.split("[package]\n").nth(1).unwrap_or_default();
    let package = package.split("\n[").next().unwrap_or_default();
    let mut lines = package.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)?.trim_start().strip_prefix('='));
    value
        .and_then(|value| serde_json::from_str(value).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cargo only warns of a profile for a package that is not there.
    #[test]
    fn the_package_is_called_as_its_manifest_says() {
        let manifest = include_str!("../../Cargo.toml");
        let name = format!("[package]\nname = \"{PACKAGE}\"\n");
        assert!(manifest.contains(&name), "{PACKAGE}");
        assert_eq!(NAME, PACKAGE.replace('-', "_"));
    }

    #[test]
    fn the_package_says_what_npm_and_bundlers_want_to_know() {
        let manifest = include_str!("../../Cargo.toml");
        let package: Value = serde_json::from_str(&package_json(manifest)).unwrap();
        assert_eq!(package["name"], PACKAGE);
        assert_eq!(package["type"], "module");
        assert_eq!(package["license"], "MIT OR Apache-2.0");
        let version = format!("\nversion = {}\n", package["version"]);
        assert!(manifest.contains(&version), "{version}");
        assert!(!package["description"].as_str().unwrap().is_empty());
        assert!(package["keywords"].as_array().unwrap().len() >= 3);

        // Whatever is named can be packed, and types come before the module.
        let files: Vec<String> = serde_json::from_value(package["files"].clone()).unwrap();
        let exports = package["exports"].as_object().unwrap();
        let named = exports.values().flat_map(|entry| match entry {
            Value::Object(conditions) => {
                assert_eq!(conditions.keys().next().unwrap(), "types");
                conditions.values().cloned().collect()
            }
            one => vec![one.clone()],
        });
        for file in named.chain([package["main"].clone(), package["types"].clone()]) {
            let file = file.as_str().unwrap().strip_prefix("./").unwrap();
            // npm packs this one unasked.
            let is_packed = file == "package.json" || files.iter().any(|name| name == file);
            assert!(is_packed, "{file}");
        }
        for (name, _) in BESIDE {
            assert!(files.iter().any(|file| file == name), "{name}");
        }
    }

    #[test]
    fn a_repository_is_told_where_the_manifest_has_one() {
        let manifest =
            "[package]\nversion = \"1.2.3\"\n\n[lib]\nrepository = \"https://no.example\"\n";
        let package = package_json(manifest);
        assert!(package.contains("\"version\": \"1.2.3\""), "{package}");
        assert!(!package.contains("repository"), "{package}");
        let manifest = "[package]\nrepository = \"https://code.example/playground\"\n";
        let package: Value = serde_json::from_str(&package_json(manifest)).unwrap();
        let repository = json!({ "type": "git", "url": "https://code.example/playground" });
        assert_eq!(package["repository"], repository);
    }
}
