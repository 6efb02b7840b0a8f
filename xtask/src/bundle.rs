//! The WebAssembly package in `pkg/`: compiled, bound to JavaScript, optimised.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{OrMend, Result};
use crate::model::sha256;
use crate::node;
use crate::process::{output, run, say};
use crate::tools;
use crate::wasm::{TARGET, Toolchain};
use crate::workspace::Workspace;

/// The name of the crate, of its module and of the JavaScript around it.
pub const NAME: &str = "playground";

const OPTIMISE: &[&str] = &["-O3"];

/// Brings `pkg/` up to date, as the compiler leaves it.
pub fn build(workspace: &Workspace) -> Result {
    compile(workspace, None)
}

/// Brings `pkg/` up to date for others to download: smaller, after many minutes of `wasm-opt`.
pub fn build_optimised(workspace: &Workspace) -> Result {
    compile(workspace, node::wasm_opt(workspace)?)
}

fn compile(workspace: &Workspace, wasm_opt: Option<PathBuf>) -> Result {
    let toolchain = Toolchain::prepare(workspace)?;
    let wasm_bindgen = tools::wasm_bindgen(workspace)?;

    let build = ["rustc", "--release", "--lib", "--crate-type", "cdylib"];
    let options = ["--no-default-features", "--target", TARGET];
    say(
        "compile",
        format!("cargo {} {}", build.join(" "), options.join(" ")),
    );
    run(
        toolchain.cargo(workspace).args(build).args(options),
        "mend the source as the compiler says above",
    )?;
    let compiled = workspace
        .target
        .join(TARGET)
        .join("release")
        .join(format!("{NAME}.wasm"));
    package(workspace, &compiled, &wasm_bindgen, wasm_opt)
}

/// Makes the package of the compiled module, unless `pkg/` has it already.
fn package(
    workspace: &Workspace,
    compiled: &Path,
    wasm_bindgen: &Path,
    wasm_opt: Option<PathBuf>,
) -> Result {
    let pkg = workspace.pkg();
    let mend = "delete the files in pkg/ but README.md and run this again";
    let could_not = |what: &str, path: &Path| format!("could not {what} {}", path.display());

    let module = pkg.join(format!("{NAME}_bg.wasm"));
    let stamp = pkg.join(".stamp");
    let recipe = [
        sha256(compiled).or_mend(could_not("read", compiled), mend)?,
        output(Command::new(wasm_bindgen).arg("--version")).unwrap_or_default(),
        match wasm_opt {
            Some(_) => format!("wasm-opt {} {}", node::BINARYEN, OPTIMISE.join(" ")),
            None => "not optimised".into(),
        },
    ]
    .join("\n");
    if module.is_file() && fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == recipe) {
        say("package", format!("{} is up to date", pkg.display()));
        return Ok(());
    }

    drop(fs::remove_file(&stamp));
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
        say(
            "package",
            format!("wasm-opt {} (some minutes)", OPTIMISE.join(" ")),
        );
        let optimised = pkg.join("optimised.wasm");
        run(
            Command::new("node")
                .arg(wasm_opt)
                .args(OPTIMISE)
                .arg(&module)
                .arg("-o")
                .arg(&optimised),
            mend,
        )?;
        fs::rename(&optimised, &module).or_mend(could_not("write", &module), mend)?;
    }
    let description = pkg.join("package.json");
    fs::write(&description, package_json()).or_mend(could_not("write", &description), mend)?;
    fs::write(&stamp, recipe).or_mend(could_not("write", &stamp), mend)?;
    let size = fs::metadata(&module).map_or(0, |metadata| metadata.len());
    say(
        "package",
        format!("{} ({:.1} MB)", module.display(), size as f64 / 1e6),
    );
    Ok(())
}

/// What npm and bundlers want to know of the package.
fn package_json() -> String {
    format!(
        r#"{{
  "name": "{NAME}",
  "version": "{version}",
  "license": "{license}",
  "type": "module",
  "main": "{NAME}.js",
  "types": "{NAME}.d.ts",
  "files": ["{NAME}.js", "{NAME}.d.ts", "{NAME}_bg.wasm", "{NAME}_bg.wasm.d.ts"],
  "sideEffects": false
}}
"#,
        version = env!("CARGO_PKG_VERSION"),
        license = env!("CARGO_PKG_LICENSE"),
    )
}
