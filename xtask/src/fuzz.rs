//! `cargo xtask fuzz`: the programs of `fuzz/fuzz_targets`, each with its corpus, for some seconds.
//!
//! libFuzzer looks for inputs that reach new code; for that the compiler counts every branch of our own crates. Cargo
//! gives flags to all crates or to none, so that this program stands before the compiler and adds them for ours: the
//! dependencies are those of the other builds.

mod seeds;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::bundle;
use crate::failure::{Failure, OrMend, Result};
use crate::process::{run, say};
use crate::progress::run_cargo;
use crate::tools;
use crate::workspace::Workspace;

/// What to run.
pub struct Options {
    /// These readers alone.
    pub only: Option<Vec<String>>,
    /// For each of them, after its corpus.
    pub seconds: u32,
    /// Keep the least inputs that reach all that the corpus and what was found reach.
    pub keep: bool,
}

/// What a run of all checks takes for each reader.
pub const CHECK_SECONDS: u32 = 5;

/// Set for the compiler alone: then this program is what stands before it.
const BEFORE_RUSTC: &str = "XTASK_BEFORE_RUSTC";
/// The crates whose branches are counted, besides the targets.
const COUNTED: [&str; 3] = [
    "steering_playground",
    "processor",
    "steering_playground_fuzz",
];
/// What counts them, for any compiler: the flags that cargo-fuzz gives, without a sanitizer.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];
/// An input has no more bytes: beyond, a file is only slower to read.
const MOST_BYTES: usize = 65536;
/// What is kept in the repository is no larger; libFuzzer finds larger ones again.
const KEPT_BYTES: u64 = 1024;
/// Nothing that small takes longer, also on a slow machine.
const MOST_SECONDS: &str = "-timeout=20";
/// The tiny model, its tensors and libFuzzer take a tenth of it.
const MOST_MEMORY: &str = "-rss_limit_mb=1024";

/// Starts the compiler, if cargo has put this program before it; the streams are the compiler's own.
pub fn before_rustc() -> Option<ExitCode> {
    env::var_os(BEFORE_RUSTC)?;
    let mut args = env::args_os().skip(1);
    let rustc = args.next()?;
    let args: Vec<OsString> = args.collect();
    let mut command = Command::new(rustc);
    if is_counted(&args) {
        command.args(FLAGS);
    }
    let status = command.args(args).env_remove(BEFORE_RUSTC).status();
    let code = status.ok().and_then(|status| status.code()).unwrap_or(1);
    Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Whether the compiler is asked for one of our crates, or for a target.
fn is_counted(args: &[OsString]) -> bool {
    let after = |flag: &str| {
        let at = args.iter().position(|arg| arg == flag)?;
        args.get(at + 1).and_then(|arg| arg.to_str())
    };
    let of_targets = args
        .iter()
        .any(|arg| arg.to_string_lossy().contains("fuzz_targets"));
    of_targets || after("--crate-name").is_some_and(|name| COUNTED.contains(&name))
}

/// Builds all, then runs each with its corpus and with what it makes of it.
pub fn command(workspace: &Workspace, options: &Options) -> Result {
    let known = targets(workspace)?;
    if let Some(unknown) = options
        .only
        .iter()
        .flatten()
        .find(|name| !known.contains(name))
    {
        return Err(Failure::new(
            format!("there is no reader `{unknown}` to fuzz"),
            format!("known are {}", known.join(", ")),
        ));
    }
    tools::cpp_compiler()?;
    build(workspace)?;
    for name in known
        .iter()
        .filter(|name| options.only.as_ref().is_none_or(|only| only.contains(name)))
    {
        feed(workspace, name, options)?;
    }
    Ok(())
}

/// Runs one reader on what the tests have, its corpus, and what libFuzzer makes of both.
fn feed(workspace: &Workspace, name: &str, options: &Options) -> Result {
    let corpus = workspace.root.join("fuzz").join("corpus").join(name);
    // What was found stays beside the builds until somebody keeps it.
    let work = workspace.target.join("fuzz").join(name);
    let [seeds, found, least] = ["seeds", "found", "least"].map(|folder| work.join(folder));
    for folder in [&seeds, &least] {
        drop(fs::remove_dir_all(folder));
    }
    for folder in [&corpus, &seeds, &found, &least] {
        fs::create_dir_all(folder).or_mend(folder.display(), FOLDER_MEND)?;
    }
    for (at, seed) in seeds::seeds(&workspace.root, name, MOST_BYTES)?
        .into_iter()
        .enumerate()
    {
        for folder in [&seeds, &least] {
            let file = folder.join(format!("seed-{at}"));
            fs::write(&file, &seed).or_mend(file.display(), FOLDER_MEND)?;
        }
    }
    let release = workspace.target.join("release");
    let mut command = Command::new(
        release
            .join(name)
            .with_extension(env::consts::EXE_EXTENSION),
    );
    let mut artifacts = OsString::from("-artifact_prefix=");
    artifacts.push(work.join("failed-"));
    command
        .current_dir(&workspace.root)
        .args([
            format!("-max_len={MOST_BYTES}"),
            MOST_SECONDS.into(),
            MOST_MEMORY.into(),
        ])
        .arg(artifacts);
    if !options.keep {
        say(
            "fuzz",
            format!("{name}, {} s after its corpus", options.seconds),
        );
        let most = format!("-max_total_time={}", options.seconds);
        command
            .args(["-seed=1", &most])
            .args([&found, &corpus, &seeds]);
        return listen(&mut command, &work.join("said.txt"));
    }
    say(
        "fuzz",
        format!("{name}: keeping what reaches anything more"),
    );
    command.arg("-merge=1").args([&least, &corpus, &found]);
    listen(&mut command, &work.join("said.txt"))?;
    replace(&corpus, &least)
}

/// Runs a reader; what libFuzzer says goes into a file, of which the end is shown where it failed.
fn listen(command: &mut Command, said: &Path) -> Result {
    let file = File::create(said).or_mend(said.display(), FOLDER_MEND)?;
    let ended = run(command.stderr(file), MEND);
    if ended.is_err() {
        let text = String::from_utf8_lossy(&fs::read(said).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
            eprintln!("{line}");
        }
    }
    ended
}

/// The panic, its place and the input's file are among so many.
const LAST_LINES: usize = 40;

const FOLDER_MEND: &str = "check the folder's rights and the free disk space";
const MEND: &str =
    "the input is in the file named above: `target/release/NAME FILE` repeats it; mend the reader";

/// The readers, by the names of their programs.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.root.join("fuzz").join("fuzz_targets");
    let entries = fs::read_dir(&folder).or_mend(folder.display(), "restore it with git")?;
    let stem = |path: PathBuf| Some(path.file_stem().and_then(OsStr::to_str)?.to_owned());
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| stem(entry.path()))
        .collect();
    names.sort();
    Ok(names)
}

fn build(workspace: &Workspace) -> Result {
    let this = env::current_exe().or_mend("this program's own path", "run it as `cargo xtask`")?;
    let checks = bundle::OVERFLOW_CHECKED
        .map(|package| format!("profile.release.package.{package}.overflow-checks=true"));
    let mut cargo = workspace.cargo();
    cargo.args([
        "build",
        "--release",
        "--package",
        "steering-playground-fuzz",
        "--bins",
    ]);
    for check in &checks {
        cargo.args(["--config", check]);
    }
    run_cargo(
        cargo
            .env("RUSTC_WORKSPACE_WRAPPER", this)
            .env(BEFORE_RUSTC, "1"),
        "compile",
        "mend the source as the compiler says above",
    )
}

/// Puts what `least` has besides seeds in the place of `corpus`'s files.
fn replace(corpus: &Path, least: &Path) -> Result {
    fs::remove_dir_all(corpus).or_mend(corpus.display(), FOLDER_MEND)?;
    fs::create_dir_all(corpus).or_mend(corpus.display(), FOLDER_MEND)?;
    let entries = fs::read_dir(least).or_mend(least.display(), FOLDER_MEND)?;
    for entry in entries.flatten() {
        let is_seed = entry.file_name().to_string_lossy().starts_with("seed-");
        let bytes = entry.metadata().map_or(0, |about| about.len());
        if !is_seed && bytes <= KEPT_BYTES {
            let to = corpus.join(entry.file_name());
            fs::copy(entry.path(), &to).or_mend(to.display(), FOLDER_MEND)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::is_counted;

    #[test]
    fn our_crates_are_counted_and_no_other() {
        let asked =
            |name: &str, file: &str| is_counted(&["--crate-name", name, file].map(OsString::from));
        assert!(asked("steering_playground", "src/lib.rs"));
        assert!(asked("gguf", "fuzz/fuzz_targets/gguf.rs"));
        assert!(!asked("build_script_build", "build.rs"));
        assert!(!asked("xtask", "xtask/src/main.rs"));
    }
}
