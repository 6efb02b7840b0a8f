//! Project chores, run as `cargo xtask <command>`: fetch the tools and the
//! model, build the WebAssembly package, serve it, pack it, test it, measure it.
//!
//! Every step prints one line on standard error and does nothing when its
//! result is already there. A step that fails says how to mend it.
#![allow(
    unreachable_pub,
    reason = "nothing is outside of a program: `pub` is for its other files"
)]

mod apt;
mod bench_web;
mod bundle;
mod checks;
mod coding;
mod dependencies;
mod dist;
mod failure;
mod fuzz;
mod gpu;
mod guide;
mod hashed;
mod http;
mod joined;
mod lengths;
mod model;
mod new_method;
mod node;
mod paper;
mod pip;
mod process;
mod progress;
mod record;
mod screenshots;
mod scripted;
mod serve;
mod size;
mod slim;
mod soak;
mod tools;
mod wasm;
mod workspace;
mod zoo;
mod zoo_report;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use failure::{Failure, Result};
use workspace::Workspace;

const HELP: &str = "\
Usage: cargo xtask <command>

  serve [--port N] [--no-model]    build the page's WebAssembly, fetch the model, serve on 127.0.0.1
                                   (port 8080, or the next free one)
  serve DIR [--port N]             serve a folder that dist wrote, as a static host would
  build                            build the WebAssembly package into pkg/
  model                            fetch and check the model; its path is the last line printed
  dist [DIR] [--no-model]          write a folder (default: dist) that any static host can serve
  test [--habits] [--native] [--wasm] [--e2e]
                                   run the checks of these groups, all of them by default; the habits
                                   are format, lengths of files, spelling, the zoo's report and
                                   licences: some seconds
  bench-web [--model FILE] [--json FILE] [--repeat N] [--device cpu|webgpu] [--software-tokens N]
            [--only-speed]         speed beside wllama and transformers.js in one browser, and beside native
                                   llama.cpp; what steering, a vector and training cost, which --only-speed
                                   leaves out; on any GGUF (N: 3 repetitions, 6 tokens on a software GPU)
  bench-web --against PKG [the same options]
                                   speed and memory beside those of an older package in the folder PKG
                                   (7 repetitions, on the processor)
  gpu [--json FILE] [--model FILE] [--only-speed]
                                   check and measure the GPU: kernels against the host, which --only-speed leaves
                                   out, greedy tokens, what it gives at best, and what a token makes of that
  record [NAME …] [--check]        record xtask/recording.json for the page and xtask/recordings/NAME.json
                                   for its lessons (docs/RECORDING.md; `page` names the first), or only
                                   check that the committed recordings are the same
  screenshots [NAME …]             take the pictures of docs/screens again, or those that are named
  soak [--minutes N] [--seed N] [--actions N]
                                   random sessions with the page for N minutes (10): runs, trainings, a lost GPU,
                                   a full disk, no network; what fails is told with how to repeat it, by the seed
                                   and the number of actions after which it ends
  fuzz [--only NAME[,NAME]] [--seconds N] [--keep]
                                   feed every reader of files (fuzz/fuzz_targets) its corpus, and for N seconds (60)
                                   what libFuzzer makes of it; --keep puts into the corpus the least inputs that
                                   reach all that was found before
  new-method NAME                  write src/methods/NAME.rs, ready to be filled in (CONTRIBUTING.md)
  zoo [--only NAME[,NAME]] [--behaviour NAME] [--jobs N] [--model FILE] [--plan]
                                   train and measure the rows of www/adapters that are missing, N at a
                                   time (2); --plan says which, and with how many numbers
  zoo --redo --only NAME[,NAME]    make these rows again
  zoo --claims [--redo] [--model FILE]
                                   measure what claims take besides the rows: several vectors at once,
                                   a vector while a LoRA is on, ROAD by its α alone
  zoo --report                     write docs/zoo.md, its plots and www/zoo.html from the rows
  setup                            install every tool that the commands above need

The tools and the model are kept in $PLAYGROUND_CACHE
(default: steering-playground in the user's cache folder).
";

fn main() -> ExitCode {
    if let Some(code) = fuzz::before_rustc() {
        return code;
    }
    match run(env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Vec<String>) -> Result {
    if args.is_empty() || args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{HELP}");
        return Ok(());
    }
    let command = args.remove(0);
    let workspace = Workspace::locate()?;
    match command.as_str() {
        "serve" => {
            let port = take_value(&mut args, "--port")?;
            let with_model = !take_flag(&mut args, "--no-model");
            if let Some(folder) = take_folder(&mut args) {
                no_more(&args)?;
                return serve::folder(&folder, parse_port(port)?);
            }
            no_more(&args)?;
            serve::command(&workspace, parse_port(port)?, with_model)
        }
        "build" => {
            no_more(&args)?;
            bundle::build(&workspace)
        }
        "model" => {
            no_more(&args)?;
            println!("{}", model::fetch(&workspace)?.display());
            Ok(())
        }
        "dist" => {
            let with_model = !take_flag(&mut args, "--no-model");
            let folder = take_folder(&mut args).unwrap_or_else(|| workspace.root.join("dist"));
            no_more(&args)?;
            dist::command(&workspace, &folder, with_model)
        }
        "test" => {
            let groups = checks::Groups {
                habits: take_flag(&mut args, "--habits"),
                native: take_flag(&mut args, "--native"),
                wasm: take_flag(&mut args, "--wasm"),
                e2e: take_flag(&mut args, "--e2e"),
            };
            no_more(&args)?;
            checks::command(&workspace, &groups)
        }
        "bench-web" => {
            let against = take_value(&mut args, "--against")?.map(PathBuf::from);
            let json = take_value(&mut args, "--json")?.map(PathBuf::from);
            let repeat = take_value(&mut args, "--repeat")?;
            let software_tokens = take_value(&mut args, "--software-tokens")?;
            let device = take_value(&mut args, "--device")?;
            let model = take_value(&mut args, "--model")?.map(PathBuf::from);
            let only_speed = take_flag(&mut args, "--only-speed");
            no_more(&args)?;
            if let Some(other) = device.as_deref().filter(|d| !["cpu", "webgpu"].contains(d)) {
                return Err(usage(&format!("`{other}` is neither cpu nor webgpu")));
            }
            let options = bench_web::Options {
                against,
                model,
                only_speed,
                repeat: parse_count(repeat, 1)?,
                software_tokens: parse_count(software_tokens, 2)?.unwrap_or(6),
                device,
                json,
            };
            bench_web::command(&workspace, &options)
        }
        "gpu" => {
            let options = gpu::Options {
                json: take_value(&mut args, "--json")?.map(PathBuf::from),
                model: take_value(&mut args, "--model")?.map(PathBuf::from),
                only_speed: take_flag(&mut args, "--only-speed"),
            };
            no_more(&args)?;
            gpu::command(&workspace, &options)
        }
        "screenshots" => screenshots::command(&workspace, &args),
        "soak" => {
            let minutes = take_value(&mut args, "--minutes")?;
            let seed = take_value(&mut args, "--seed")?;
            let actions = take_value(&mut args, "--actions")?;
            no_more(&args)?;
            let options = soak::Options {
                minutes: parse_count(minutes, 1)?,
                seed: parse_count(seed, 0)?,
                actions: parse_count(actions, 1)?,
            };
            soak::command(&workspace, &options)
        }
        "fuzz" => {
            let options = fuzz::Options {
                only: take_names(&mut args)?,
                seconds: parse_count(take_value(&mut args, "--seconds")?, 1)?.unwrap_or(60),
                keep: take_flag(&mut args, "--keep"),
            };
            no_more(&args)?;
            fuzz::command(&workspace, &options)
        }
        "record" => {
            let check = take_flag(&mut args, "--check");
            record::command(&workspace, &args, check)
        }
        "new-method" => {
            if args.is_empty() {
                return Err(usage("new-method needs a name"));
            }
            let name = args.remove(0);
            no_more(&args)?;
            new_method::command(&workspace, &name)
        }
        "zoo" if take_flag(&mut args, "--report") => {
            no_more(&args)?;
            zoo_report::write(&workspace)
        }
        "zoo" if take_flag(&mut args, "--claims") => {
            let model = take_value(&mut args, "--model")?.map(PathBuf::from);
            let redo = take_flag(&mut args, "--redo");
            no_more(&args)?;
            zoo::claims(&workspace, model.as_deref(), redo)
        }
        "zoo" => {
            let only = take_names(&mut args)?;
            let jobs = take_value(&mut args, "--jobs")?;
            let options = zoo::Options {
                only,
                behaviour: take_value(&mut args, "--behaviour")?,
                jobs: parse_count(jobs, 1)?.unwrap_or(2),
                redo: take_flag(&mut args, "--redo"),
                model: take_value(&mut args, "--model")?.map(PathBuf::from),
                plan: take_flag(&mut args, "--plan"),
            };
            no_more(&args)?;
            zoo::command(&workspace, &options)
        }
        "setup" => {
            no_more(&args)?;
            setup(&workspace)
        }
        unknown => {
            eprintln!("{HELP}");
            Err(usage(&format!("there is no command `{unknown}`")))
        }
    }
}

/// The names of `--only`, if it is there.
fn take_names(args: &mut Vec<String>) -> Result<Option<Vec<String>>> {
    let only = take_value(args, "--only")?;
    Ok(only.map(|names| names.split(',').map(str::to_owned).collect()))
}

/// Installs everything, builds nothing of the project.
fn setup(workspace: &Workspace) -> Result {
    wasm::Toolchain::prepare(workspace)?;
    tools::wasm_bindgen(workspace)?;
    tools::wasm_pack(workspace)?;
    pip::typos(workspace)?;
    node::wasm_opt(workspace)?;
    node::playwright_core(workspace)?;
    node::puppeteer_core(workspace)?;
    node::axe_core(workspace)?;
    node::tsc(workspace)?;
    tools::browser()?;
    tools::firefox()?;
    tools::software_gpu()?;
    tools::cpp_compiler()?;
    model::fetch(workspace)?;
    Ok(())
}

fn usage(problem: &str) -> Failure {
    Failure::new(problem, "`cargo xtask` alone prints the commands")
}

fn take_flag(args: &mut Vec<String>, flag: &str) -> bool {
    let before = args.len();
    args.retain(|arg| arg != flag);
    args.len() < before
}

fn take_value(args: &mut Vec<String>, name: &str) -> Result<Option<String>> {
    let Some(at) = args.iter().position(|arg| arg == name) else {
        return Ok(None);
    };
    args.remove(at);
    if at == args.len() {
        return Err(usage(&format!("{name} needs a value")));
    }
    Ok(Some(args.remove(at)))
}

/// The folder that stands first, if one does.
fn take_folder(args: &mut Vec<String>) -> Option<PathBuf> {
    let is_folder = args.first().is_some_and(|arg| !arg.starts_with('-'));
    is_folder.then(|| PathBuf::from(args.remove(0)))
}

fn no_more(args: &[String]) -> Result {
    match args.first() {
        None => Ok(()),
        Some(arg) => Err(usage(&format!("unexpected argument `{arg}`"))),
    }
}

fn parse_port(port: Option<String>) -> Result<u16> {
    let Some(port) = port else { return Ok(8080) };
    port.parse()
        .map_err(|_| usage(&format!("`{port}` is not a port number")))
}

/// A number that is at least `least`, if one was given.
fn parse_count(count: Option<String>, least: u32) -> Result<Option<u32>> {
    let parse = |text: String| {
        let count = text.parse().ok().filter(|count| *count >= least);
        count.ok_or_else(|| usage(&format!("`{text}` is not a number from {least} on")))
    };
    count.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_and_values_are_taken_wherever_they_stand() {
        let mut rest = args("--no-model out --port 81");
        assert!(take_flag(&mut rest, "--no-model"));
        assert!(!take_flag(&mut rest, "--no-model"));
        assert_eq!(
            take_value(&mut rest, "--port").unwrap().as_deref(),
            Some("81")
        );
        assert_eq!(rest, ["out"]);
    }

    #[test]
    fn bad_command_lines_are_refused() {
        assert!(take_value(&mut args("--port"), "--port").is_err());
        assert!(parse_port(Some("65536".into())).is_err());
        assert_eq!(parse_count(None, 1).unwrap(), None);
        assert_eq!(parse_count(Some("7".into()), 1).unwrap(), Some(7));
        assert!(parse_count(Some("0".into()), 1).is_err());
        assert!(no_more(&args("left")).is_err());
    }
}
