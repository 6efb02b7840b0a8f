//! `cargo xtask record`: the runs that the page and its lessons play before a model is there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::coding::{Coding, Effort};
use crate::failure::{Failure, OrMend, Result};
use crate::model;
use crate::process::{run, say};
use crate::workspace::Workspace;

/// What is recorded for the page, where the page has it, and how large it may be, gzipped, as a host
/// sends it. It comes with the page, so it must be small.
const PAGE: (&str, &str, usize) = (
    "xtask/recording.json",
    "www/recorded/smollm2-135m.json",
    300_000,
);

/// The same of lessons: each plan in this folder is recorded under its name. One is fetched when its lesson
/// begins.
const LESSONS: (&str, &str, usize) = ("xtask/recordings", "www/lessons/recorded", 100_000);

/// Records all plans, or those of these names, with this build. With `check` nothing is written: the
/// committed recordings must be the same, byte for byte, which only the processor that made them promises.
pub fn command(workspace: &Workspace, names: &[String], check: bool) -> Result {
    let plans = plans(workspace, names)?;
    let model = model::fetch(workspace)?;
    let steer = workspace.steer()?;
    for plan in plans {
        plan.record(workspace, (&steer, &model), check)?;
    }
    Ok(())
}

/// What is recorded, where it goes from the root, and how large it may be.
struct Plan {
    name: String,
    plan: String,
    recording: String,
    most: usize,
}

/// All plans, or those of these names; the page's is called `page`.
fn plans(workspace: &Workspace, names: &[String]) -> Result<Vec<Plan>> {
    let (folder, recorded, most) = LESSONS;
    let entries = fs::read_dir(workspace.root.join(folder)).or_mend(
        format!("could not read {folder}"),
        "get the whole repository",
    )?;
    let mut lessons: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    lessons.sort();
    let page = Plan {
        name: "page".to_owned(),
        plan: PAGE.0.to_owned(),
        recording: PAGE.1.to_owned(),
        most: PAGE.2,
    };
    let lessons = lessons.into_iter().map(|name| Plan {
        plan: format!("{folder}/{name}.json"),
        recording: format!("{recorded}/{name}.json"),
        name,
        most,
    });
    let mut plans: Vec<Plan> = std::iter::once(page).chain(lessons).collect();
    let is_known = |name: &&String| plans.iter().any(|plan| plan.name == **name);
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        let there: Vec<&str> = plans.iter().map(|plan| &*plan.name).collect();
        return Err(Failure::new(
            format!("there is no plan {name}"),
            format!("name one of {}", there.join(", ")),
        ));
    }
    plans.retain(|plan| names.is_empty() || names.contains(&plan.name));
    Ok(plans)
}

impl Plan {
    /// Records it with a program and a model.
    fn record(&self, workspace: &Workspace, (steer, model): (&Path, &Path), check: bool) -> Result {
        let Self {
            plan,
            recording,
            most,
            ..
        } = self;
        let made = workspace.target.join("recording.json");
        say("recording", plan);
        run(
            Command::new(steer)
                .arg("record")
                .arg("--model")
                .arg(model)
                .arg("--plan")
                .arg(workspace.root.join(plan))
                .arg("--out")
                .arg(&made),
            "mend the plan as the message above says",
        )?;

        let mend = "check the folder's rights and the free disk space";
        let bytes = fs::read(&made).or_mend(format!("could not read {}", made.display()), mend)?;
        let zipped = Coding::Gzip.compress(&bytes, Effort::Best).len();
        say(
            "size",
            format!("{} bytes, {zipped} gzipped (at most {most})", bytes.len()),
        );
        if zipped > *most {
            return Err(Failure::new(
                format!("the recording of {plan} is {zipped} bytes, gzipped, of {most}"),
                "let the plan keep fewer `top` tokens, or fewer coefficients",
            ));
        }

        let committed = workspace.root.join(recording);
        if !check {
            let folder = committed.parent().unwrap_or(&committed);
            return fs::create_dir_all(folder)
                .and_then(|()| fs::write(&committed, bytes))
                .or_mend(format!("could not write {}", committed.display()), mend);
        }
        if fs::read(&committed).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        Err(Failure::new(
            format!("{recording} is not what this build records"),
            "`cargo xtask record` writes it again; on another processor than the one that made it, \
             near ties may differ, and `cargo test` says whether more does",
        ))
    }
}
