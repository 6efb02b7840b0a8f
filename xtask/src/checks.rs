//! `cargo xtask test`: every check of the project, stage by stage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::bundle::{self, NAME};
use crate::dependencies;
use crate::dist;
use crate::failure::{Failure, Result};
use crate::fuzz;
use crate::lengths;
use crate::model;
use crate::node;
use crate::pip;
use crate::process::{run, say};
use crate::progress::run_cargo;
use crate::serve;
use crate::size;
use crate::tools;
use crate::wasm::{TARGET, Toolchain};
use crate::workspace::Workspace;
use crate::zoo_report;

/// Which groups of stages were asked for; none means all.
pub struct Groups {
    pub habits: bool,
    pub native: bool,
    pub wasm: bool,
    pub e2e: bool,
}

/// A named check.
type Stage = (&'static str, fn(&Workspace) -> Result);

/// What takes seconds, as nothing is built.
const HABITS: &[Stage] = &[
    ("format", format),
    ("lengths of files", lengths::check),
    ("spelling", spelling),
    ("report of the zoo", zoo_report::is_current),
    ("licences and banned crates", dependencies::check),
];
const NATIVE: &[Stage] = &[
    ("lint", lint),
    ("documentation", documentation),
    ("native tests", native_tests),
    ("readers fed at random", fuzz),
];
const WASM: &[Stage] = &[
    ("lint for WebAssembly", wasm_lint),
    ("WebAssembly tests in the browser", wasm_tests),
];
const E2E: &[Stage] = &[
    ("unit tests of the page and of the benchmarks", page_tests),
    ("build of the page", page_build),
    ("types of the page", page_types),
    ("the package by wasm-pack, and its types", package),
    ("end-to-end tests", end_to_end_tests),
];

const COMPILE_MEND: &str = "mend the source as the compiler says above";
const LINT_MEND: &str = "follow the lints above (`rustup component add clippy` if it is missing)";

/// Runs the stages of `groups` until one fails, and sums up.
pub fn command(workspace: &Workspace, groups: &Groups) -> Result {
    let all = !(groups.habits || groups.native || groups.wasm || groups.e2e);
    let chosen = [
        (groups.habits, HABITS),
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

fn spelling(workspace: &Workspace) -> Result {
    run(
        Command::new(pip::typos(workspace)?)
            .current_dir(&workspace.root)
            .arg("--format=brief"),
        "mend the words above, or let typos.toml know those that are right",
    )
}

fn lint(workspace: &Workspace) -> Result {
    // For the crate that feeds readers at random.
    tools::cpp_compiler()?;
    run_cargo(
        workspace.cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--release",
            "--",
            "--deny",
            "warnings",
        ]),
        "lint",
        LINT_MEND,
    )
}

/// Twice: the public part, where links to private items lead nowhere, and all of it. The profile is that
/// of the lints, so that rustdoc finds the dependencies already checked.
fn documentation(workspace: &Workspace) -> Result {
    for more in [None, Some("--document-private-items")] {
        run_cargo(
            workspace
                .cargo()
                .args(["doc", "--workspace", "--no-deps", "--release"])
                .args(more)
                .env("RUSTDOCFLAGS", "--deny warnings"),
            "document",
            "mend the comments that rustdoc names above",
        )?;
    }
    Ok(())
}

/// With overflow checks in our own crates. Their dependencies are the same with and without; only they are built again.
fn native_tests(workspace: &Workspace) -> Result {
    tools::software_gpu()?;
    let model = model::fetch(workspace)?;
    let [own, processor] = bundle::OVERFLOW_CHECKED
        .map(|package| format!("profile.release.package.{package}.overflow-checks=true"));
    let command = [
        "test",
        "--workspace",
        // Not the examples, which were linted: each would be linked.
        "--tests",
        "--release",
        "--config",
        &own,
        "--config",
        &processor,
    ];
    run_cargo(
        workspace.cargo().args(command).arg("--no-run"),
        "compile",
        COMPILE_MEND,
    )?;
    run(
        workspace
            .cargo()
            .args(command)
            .env("PLAYGROUND_MODEL", model)
            .env("PLAYGROUND_TEST_ALL", "1")
            // A software GPU computes in the thread that asks: two tests run at once, and most of what they
            // launch is small. A fifth less time.
            .env("LP_NUM_THREADS", "0"),
        "see the failed tests above",
    )
}

/// Every reader of files for some seconds.
fn fuzz(workspace: &Workspace) -> Result {
    let options = fuzz::Options {
        only: None,
        seconds: fuzz::CHECK_SECONDS,
        keep: false,
    };
    fuzz::command(workspace, &options)
}

fn wasm_lint(workspace: &Workspace) -> Result {
    let toolchain = Toolchain::prepare(workspace)?;
    toolchain.prepare_clippy()?;
    run_cargo(
        toolchain
            .cargo(workspace)
            .args(["clippy", "--release", "--all-targets", "--target", TARGET])
            .args(["--", "--deny", "warnings"]),
        "lint",
        LINT_MEND,
    )
}

fn wasm_tests(workspace: &Workspace) -> Result {
    let browser = tools::browser()?;
    let toolchain = Toolchain::prepare(workspace)?;
    let mut wasm_pack = wasm_pack(workspace, &toolchain)?;
    run_cargo(
        toolchain
            .cargo(workspace)
            .args(["test", "--no-run", "--release", "--target", TARGET]),
        "compile",
        COMPILE_MEND,
    )?;
    wasm_pack
        .args(["test", "--headless", "--chrome", "--release"])
        .args(["--mode", "no-install", "--chromedriver"])
        .arg(browser.chromedriver);
    run(&mut wasm_pack, "see the failed tests above")
}

/// wasm-pack, which finds this toolchain's cargo and our wasm-bindgen.
fn wasm_pack(workspace: &Workspace, toolchain: &Toolchain) -> Result<Command> {
    let wasm_bindgen = tools::wasm_bindgen(workspace)?;
    let mut command = Command::new(tools::wasm_pack(workspace)?);
    toolchain.prepare_command(workspace, &mut command, wasm_bindgen.parent());
    Ok(command)
}

fn page_tests(workspace: &Workspace) -> Result {
    node_tests(workspace, &workspace.www(), ".test.js", |_| ())?;
    let bench = workspace.root.join("xtask").join("bench");
    node_tests(workspace, &bench, ".test.mjs", |_| ())
}

fn page_build(workspace: &Workspace) -> Result {
    bundle::build(workspace)?;
    size::check(workspace)
}

/// TypeScript checks the page's scripts, against the types of the package too.
fn page_types(workspace: &Workspace) -> Result {
    let mut projects = Vec::new();
    lengths::collect(&workspace.www(), dist::PROJECT, &mut projects);
    projects.sort();
    if projects.is_empty() {
        return Err(Failure::new(
            "www has no jsconfig.json, so its types were not checked",
            "bring the file back: it says what the page's scripts are checked with",
        ));
    }
    let tsc = node::tsc(workspace)?;
    for project in projects {
        run(
            Command::new(node::require()?)
                .current_dir(&workspace.root)
                .arg(&tsc)
                .arg("--project")
                .arg(project),
            "mend the types that TypeScript names above; they are in comments",
        )?;
    }
    Ok(())
}

/// wasm-pack makes the same package as we do, and TypeScript takes it.
fn package(workspace: &Workspace) -> Result {
    let toolchain = Toolchain::prepare(workspace)?;
    let folder = workspace.target.join("wasm-pack");
    drop(fs::remove_dir_all(&folder));
    run(
        wasm_pack(workspace, &toolchain)?
            .args(["build", "--mode", "no-install", "--target", "web"])
            .arg("--out-dir")
            .arg(&folder),
        "see what wasm-pack says above",
    )?;
    let (module, types) = (format!("{NAME}.js"), format!("{NAME}.d.ts"));
    for file in [&module, &types] {
        let texts = [&folder, &workspace.pkg()].map(|folder| fs::read(folder.join(file)));
        if !matches!(&texts, [Ok(theirs), Ok(ours)] if theirs == ours) {
            return Err(Failure::new(
                format!("{file} of wasm-pack is not that of `cargo xtask build`"),
                "compare both: wasm-bindgen's options may differ",
            ));
        }
    }
    let tsc = node::tsc(workspace)?;
    // A page's types, and a worker's.
    for library in ["es2022,dom", "es2022,webworker"] {
        run(
            Command::new(node::require()?)
                .current_dir(&workspace.root)
                .arg(&tsc)
                .args(["--noEmit", "--strict", "--lib", library])
                .args(["--target", "es2022", "--module", "es2022"])
                .args(["--moduleResolution", "bundler", "tests/types.ts"])
                .arg(format!("pkg/{types}"))
                .arg(format!("pkg/{NAME}_bg.wasm.d.ts")),
            "mend src/web/types.rs, or what it says of the functions in src/web/playground.rs",
        )?;
    }
    Ok(())
}

fn end_to_end_tests(workspace: &Workspace) -> Result {
    let browser = tools::browser()?;
    let firefox = tools::firefox()?;
    let playwright = node::playwright_core(workspace)?;
    let puppeteer = node::puppeteer_core(workspace)?;
    let axe = node::axe_core(workspace)?;
    let vite = node::vite(workspace)?;
    model::fetch(workspace)?;
    let address = serve::in_background(workspace)?;
    say("serving", &address);
    let dist = workspace.target.join("dist");
    dist::write(workspace, &dist, None)?;
    let dist_address = serve::folder_in_background(&dist)?;
    say("serving", &dist_address);
    node_tests(
        workspace,
        &workspace.root.join("tests").join("e2e"),
        ".test.mjs",
        |command| {
            command
                .env("PLAYGROUND_URL", &address)
                .env("PLAYGROUND_DIST_URL", &dist_address)
                .env("PLAYWRIGHT_CORE", &playwright)
                .env("PUPPETEER_CORE", &puppeteer)
                .env("AXE_CORE", &axe)
                .env("VITE", &vite)
                .env("CHROMIUM", &browser.chromium)
                .env("FIREFOX", &firefox);
        },
    )
}

/// Browser tests that have the machine for themselves, as they bound a time. Those on a software GPU do not
/// need that: they only take longer.
const ALONE: [&str; 2] = ["arrival", "dose"];

/// Runs the files of `folder` whose names end in `suffix` with Node's test runner: two at a time, those of
/// [`ALONE`] afterwards, one by one.
fn node_tests(
    workspace: &Workspace,
    folder: &Path,
    suffix: &str,
    prepare: impl Fn(&mut Command),
) -> Result {
    let mut files = Vec::new();
    lengths::collect(folder, suffix, &mut files);
    if files.is_empty() {
        say(
            "tests",
            format!("there is no *{suffix} in {}", folder.display()),
        );
        return Ok(());
    }
    files.sort();
    let is_alone = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_suffix(suffix))
            .is_some_and(|name| ALONE.contains(&name))
    };
    let (alone, paired): (Vec<_>, Vec<_>) = files.into_iter().partition(is_alone);
    for (files, at_once) in [(paired, 2), (alone, 1)] {
        if files.is_empty() {
            continue;
        }
        let mut command = Command::new(node::require()?);
        command
            .current_dir(&workspace.root)
            .arg("--test")
            .arg(format!("--test-concurrency={at_once}"))
            .args(files);
        prepare(&mut command);
        run(&mut command, "see the failed tests above")?;
    }
    Ok(())
}
