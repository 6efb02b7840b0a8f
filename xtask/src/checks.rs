//! `cargo xtask test`: every check of the project, stage by stage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::bundle;
use crate::failure::Result;
use crate::model;
use crate::node;
use crate::process::{run, say};
use crate::serve;
use crate::size;
use crate::tools;
use crate::wasm::{TARGET, Toolchain};
use crate::workspace::Workspace;

/// Which groups of stages were asked for; none means all.
pub struct Groups {
    pub native: bool,
    pub wasm: bool,
    pub e2e: bool,
}

/// A named check.
type Stage = (&'static str, fn(&Workspace) -> Result);

const NATIVE: &[Stage] = &[
    ("format", format),
    ("lint", lint),
    ("native tests", native_tests),
];
const WASM: &[Stage] = &[
    ("lint for WebAssembly", wasm_lint),
    ("WebAssembly tests in the browser", wasm_tests),
];
const E2E: &[Stage] = &[
    ("unit tests of the page", page_tests),
    ("build of the page", page_build),
    ("end-to-end tests", end_to_end_tests),
];

const LINT_MEND: &str = "follow the lints above (`rustup component add clippy` if it is missing)";

/// Runs the stages of `groups` until one fails, and sums up.
pub fn command(workspace: &Workspace, groups: Groups) -> Result {
    let all = !(groups.native || groups.wasm || groups.e2e);
    let chosen = [
        (groups.native, NATIVE),
        (groups.wasm, WASM),
        (groups.e2e, E2E),
    ];
    let stages = chosen
        .into_iter()
        .filter(|(asked, _)| all || *asked)
        .flat_map(|(_, stages)| stages);

    let mut report: Vec<(&str, Duration, &str)> = Vec::new();
    let mut result = Ok(());
    for (name, check) in stages {
        if result.is_err() {
            report.push((name, Duration::ZERO, "not run"));
            continue;
        }
        eprintln!("\n== {name}");
        let start = Instant::now();
        result = check(workspace);
        report.push((
            name,
            start.elapsed(),
            if result.is_ok() { "ok" } else { "FAILED" },
        ));
    }
    eprintln!();
    for (name, time, verdict) in report {
        eprintln!("{verdict:>8} {:>6.0} s  {name}", time.as_secs_f64());
    }
    result
}

fn format(workspace: &Workspace) -> Result {
    run(
        workspace.cargo().args(["fmt", "--all", "--check"]),
        "run `cargo fmt --all` (`rustup component add rustfmt` if it is missing)",
    )
}

fn lint(workspace: &Workspace) -> Result {
    run(
        workspace.cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--release",
            "--",
            "--deny",
            "warnings",
        ]),
        LINT_MEND,
    )
}

fn native_tests(workspace: &Workspace) -> Result {
    tools::software_gpu()?;
    let model = model::fetch(workspace)?;
    run(
        workspace
            .cargo()
            .args(["test", "--workspace", "--release"])
            .env("PLAYGROUND_MODEL", model),
        "see the failed tests above",
    )
}

fn wasm_lint(workspace: &Workspace) -> Result {
    let toolchain = Toolchain::prepare(workspace)?;
    toolchain.prepare_clippy()?;
    run(
        toolchain
            .cargo(workspace)
            .args([
                "clippy",
                "--release",
                "--lib",
                "--test",
                "web",
                "--no-default-features",
            ])
            // Warnings are shown, not denied: Debian's clippy is newer than the pinned one.
            .args(["--target", TARGET]),
        LINT_MEND,
    )
}

fn wasm_tests(workspace: &Workspace) -> Result {
    let browser = tools::browser()?;
    let toolchain = Toolchain::prepare(workspace)?;
    let wasm_bindgen = tools::wasm_bindgen(workspace)?;
    let mut wasm_pack = Command::new(tools::wasm_pack(workspace)?);
    toolchain.prepare_command(workspace, &mut wasm_pack, wasm_bindgen.parent());
    wasm_pack
        .args([
            "test",
            "--headless",
            "--chrome",
            "--release",
            "--mode",
            "no-install",
            "--chromedriver",
        ])
        .arg(browser.chromedriver)
        .args(["--", "--no-default-features", "--test", "web"])
        // Seconds: a software GPU takes its time to compile kernels.
        .env("WASM_BINDGEN_TEST_TIMEOUT", "900");
    run(&mut wasm_pack, "see the failed tests above")
}

fn page_tests(workspace: &Workspace) -> Result {
    node_tests(workspace, &workspace.www(), ".test.js", |_| ())
}

fn page_build(workspace: &Workspace) -> Result {
    bundle::build(workspace)?;
    size::check(workspace)
}

fn end_to_end_tests(workspace: &Workspace) -> Result {
    let browser = tools::browser()?;
    let playwright = node::playwright_core(workspace)?;
    model::fetch(workspace)?;
    let address = serve::in_background(workspace)?;
    say("serving", &address);
    node_tests(
        workspace,
        &workspace.root.join("tests").join("e2e"),
        ".test.mjs",
        |command| {
            command
                .env("PLAYGROUND_URL", &address)
                .env("PLAYWRIGHT_CORE", &playwright)
                .env("CHROMIUM", &browser.chromium);
        },
    )
}

/// Runs the files of `folder` whose names end in `suffix` with Node's test
/// runner, one at a time: the software GPU needs the whole machine.
fn node_tests(
    workspace: &Workspace,
    folder: &Path,
    suffix: &str,
    prepare: impl FnOnce(&mut Command),
) -> Result {
    let mut files = Vec::new();
    collect(folder, suffix, &mut files);
    if files.is_empty() {
        say(
            "tests",
            format!("there is no *{suffix} in {}", folder.display()),
        );
        return Ok(());
    }
    files.sort();
    let mut command = Command::new(node::require()?);
    command
        .current_dir(&workspace.root)
        .args(["--test", "--test-concurrency=1"])
        .args(files);
    prepare(&mut command);
    run(&mut command, "see the failed tests above")
}

/// Adds the files below `folder` whose names end in `suffix`.
fn collect(folder: &Path, suffix: &str, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            collect(&path, suffix, files);
        } else if path.to_string_lossy().ends_with(suffix) {
            files.push(path);
        }
    }
}
