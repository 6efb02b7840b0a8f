//! `cargo xtask gpu`: kernels against the host, then `steer gpu`: what a GPU gives at best and what a token makes of
//! it, in one run.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::failure::{Failure, OrMend, Result};
use crate::model;
use crate::process::say;
use crate::workspace::Workspace;

/// How to measure.
pub struct Options {
    /// Where the numbers go besides the table.
    pub json: Option<PathBuf>,
    /// Another model than the usual one, of which no greedy tokens are known.
    pub model: Option<PathBuf>,
    /// Leave out the kernels against the host.
    pub only_speed: bool,
}

/// The LoRA that steering is timed with: one of those that the page ships.
const ADAPTER: &str = "www/adapters/tone-lora";

/// Checks, measures, and prints a table on standard output.
pub fn command(workspace: &Workspace, options: &Options) -> Result {
    let model = match &options.model {
        None => model::fetch(workspace)?,
        Some(given) => model::given(given)?,
    };
    let mut measure = Command::new(workspace.steer()?);
    measure.args(["gpu", "--json", "--model"]).arg(model);
    measure.current_dir(&workspace.root);
    if options.model.is_none() {
        measure.args(["--adapter", ADAPTER]);
        measure.args(["--reference", "tests/fixtures/smollm2_greedy.json"]);
    }
    let kernels = if options.only_speed {
        Value::Null
    } else {
        kernels(workspace)?
    };
    say("measuring", "a minute or two");
    let mut report: Value = serde_json::from_str(&answer(&mut measure)?).or_mend(
        "what `steer gpu` said is no JSON",
        "run it by hand and look",
    )?;
    report["kernels"] = kernels;
    print!("{}", table(&report));
    if let Some(json) = &options.json {
        write(json, &report)?;
    }
    Ok(())
}

fn write(path: &Path, report: &Value) -> Result {
    fs::write(path, format!("{report:#}\n")).or_mend(
        format!("could not write {}", path.display()),
        "name a file that can be written",
    )?;
    say("numbers", path.display());
    Ok(())
}

/// What `command` prints; what it says on standard error is seen.
fn answer(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .or_mend("could not start steer", "build it: `cargo build --release`")?;
    if !output.status.success() {
        return Err(Failure::new(
            format!("`steer gpu` failed ({})", output.status),
            "see the message above; without a driver for the GPU there is none (Debian's software GPU: \
             mesa-vulkan-drivers)",
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The tests of all kernels against arithmetic on the host.
fn kernels(workspace: &Workspace) -> Result<Value> {
    say("kernels", "every kernel against the host");
    let tests = ["test", "--release", "--test", "it", "kernels::"];
    let output = workspace
        .cargo()
        .args(tests)
        // What would leave tests out, for want of a GPU, fails instead.
        .env("PLAYGROUND_TEST_ALL", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .or_mend("could not start cargo", "install Rust")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match counted(&text) {
        Some((passed, 0)) if output.status.success() => {
            Ok(json!({ "passed": passed, "failed": 0 }))
        }
        Some((passed, failed)) => {
            eprintln!("{text}");
            Ok(json!({ "passed": passed, "failed": failed }))
        }
        None => Err(Failure::new(
            "the kernels' tests did not run",
            "see the message above, or leave them out with --only-speed",
        )),
    }
}

/// How many tests passed and failed, from the line that begins with `test result:`.
fn counted(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find(|line| line.starts_with("test result:"))?;
    let number = |word: &str| {
        let before = line.split(word).next()?;
        before.split_whitespace().last()?.parse().ok()
    };
    Some((number(" passed")?, number(" failed")?))
}

/// What the streams are called.
const ROWS: [(&str, &str); 4] = [
    ("base", "base"),
    ("steered", "LoRA"),
    ("lockstep", "LoRA and base in lockstep"),
    ("long", "base after 2048 tokens"),
];

/// The report for people. What a GPU did not tell is a dash.
fn table(report: &Value) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out += text.trim_end();
        out.push('\n');
    };
    let number = |value: &Value, digits: usize| {
        let text = value.as_f64().map(|number| format!("{number:.digits$}"));
        text.unwrap_or_else(|| "–".into())
    };
    let percent = |value: &Value| {
        let text = value
            .as_f64()
            .map(|share| format!("{:.0} %", 100.0 * share));
        text.unwrap_or_else(|| "–".into())
    };
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let clock = |value: &Value| {
        if value == &Value::Bool(true) {
            "by its own clock"
        } else {
            "by the processor's clock"
        }
    };
    let gpu = &report["gpu"];
    line(format!(
        "{}, {}, {}{}",
        word(&gpu["name"]),
        word(&gpu["backend"]),
        word(&gpu["driver"]),
        if gpu["software"] == Value::Bool(true) {
            " (imitated by the processor)"
        } else {
            ""
        }
    ));
    if let (Some(passed), Some(failed)) = (
        report["kernels"]["passed"].as_u64(),
        report["kernels"]["failed"].as_u64(),
    ) {
        line(format!(
            "kernels against the host: {passed} tests passed, {failed} failed"
        ));
    }
    if let Some(prompts) = report["greedy"].as_array() {
        let told = prompts.iter().map(|prompt| {
            let [same, of] = ["same", "of"].map(|key| number(&prompt[key], 0));
            format!("{} {same} of {of}", word(&prompt["prompt"]))
        });
        line(format!(
            "greedy tokens that are the reference's: {}",
            told.collect::<Vec<_>>().join(", ")
        ));
    }
    line(format!(
        "copying, read and written: {} GB/s, {}",
        number(&report["copy"]["gb_s"], 1),
        clock(&report["copy"]["by_the_gpu_s_clock"])
    ));
    let launch = &report["launch"];
    line(format!(
        "an empty launch that waits for the one before: {} µs, {}; {} µs to hand it over",
        number(&launch["us"], 2),
        clock(&launch["by_the_gpu_s_clock"]),
        number(&launch["encode_us"], 2)
    ));
    let head = &report["head"];
    line(match head["left_out"].as_str() {
        Some(why) => format!("a head of 262,144 rows: left out: {why}"),
        None => format!(
            "a head of {} rows of {}, Q8_0: {} ms, {} of the bandwidth; with the choice and reading it {} ms",
            head["rows"],
            head["width"],
            number(&head["product_ms"], 3),
            percent(&head["share_of_bandwidth"]),
            number(&head["with_choice_and_reading_ms"], 3)
        ),
    });
    let speed = &report["speed"];
    line(format!(
        "{}: {} MB of weights for a token, loaded in {} s; a prompt of {} tokens: {} tok/s",
        word(&speed["model"]),
        number(
            &json!(
                speed["weight_bytes_per_token"]
                    .as_f64()
                    .map(|bytes| bytes / 1e6)
            ),
            1
        ),
        number(&json!(report["load_ms"].as_f64().map(|ms| ms / 1e3)), 1),
        speed["prefill_tokens"],
        number(&speed["prefill_tok_s"], 0)
    ));
    line(String::new());
    let mut rows = vec![
        [
            "",
            "tok/s",
            "ms/token",
            "encoding",
            "GPU",
            "waiting",
            "launches",
            "of bandwidth",
            "floor, ms",
            "over the floor",
        ]
        .map(String::from),
    ];
    for (key, name) in ROWS {
        let decode = speed["decode"].as_array();
        let row = decode.into_iter().flatten().find(|row| row["name"] == *key);
        let Some(row) = row else { continue };
        let floor = ["bytes", "launches"].map(|key| row["floor_ms"][key].as_f64().unwrap_or(0.0));
        let gpu_ms = match key {
            "base" => &report["gpu_ms"]["token"],
            _ => &Value::Null,
        };
        rows.push([
            name.into(),
            number(&row["tok_s"], 1),
            number(&row["ms_per_token"]["median"], 3),
            number(&row["encode_ms"], 3),
            number(gpu_ms, 3),
            number(&row["wait_ms"], 3),
            number(&row["launches"], 0),
            percent(&row["share_of_bandwidth"]),
            number(&json!(floor[0].max(floor[1])), 3),
            number(&row["over_floor"], 2),
        ]);
    }
    out + &aligned(&rows)
}

/// Cells under each other, numbers to the right.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
    let mut out = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            let width = width(at).unwrap_or(0);
            let _ = if at == 0 {
                write!(out, "{cell:width$}")
            } else {
                write!(out, "  {cell:>width$}")
            };
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_from_their_last_line() {
        let text = "running 14 tests\ntest a ... ok\n\ntest result: ok. 13 passed; 1 failed; 0 ignored; 0 measured\n";
        assert_eq!(counted(text), Some((13, 1)));
        assert_eq!(counted("error: could not compile"), None);
    }

    #[test]
    fn what_is_not_told_is_a_dash() {
        let report = json!({
            "gpu": { "name": "A", "backend": "Vulkan", "driver": "d", "software": true },
            "copy": { "gb_s": 10.04, "by_the_gpu_s_clock": true },
            "launch": { "us": 5.0, "encode_us": 1.0, "by_the_gpu_s_clock": false },
            "head": { "left_out": "too large" },
            "load_ms": 1500.0,
            "greedy": [{ "prompt": "capital", "same": 8, "of": 8 }],
            "gpu_ms": { "token": null },
            "speed": { "model": "m", "weight_bytes_per_token": 96.5e6, "prefill_tokens": 128, "prefill_tok_s": 40.0, "decode": [
                { "name": "base", "tok_s": 9.0, "ms_per_token": { "median": 111.1 }, "encode_ms": 1.8, "wait_ms": 109.3,
                  "launches": 244, "share_of_bandwidth": 0.087, "floor_ms": { "bytes": 9.6, "launches": 1.2 }, "over_floor": 11.57 },
            ]},
        });
        let text = table(&report);
        assert!(
            text.starts_with("A, Vulkan, d (imitated by the processor)\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "capital 8 of 8\ncopying, read and written: 10.0 GB/s, by its own clock\n"
            )
        );
        assert!(text.contains("left out: too large\n"));
        let row = text.lines().last().unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "base", "9.0", "111.100", "1.800", "–", "109.300", "244", "9", "%", "9.600",
                "11.57"
            ]
        );
    }
}
