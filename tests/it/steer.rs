//! The program itself: its options, and what it says of adapters.

use std::process::{Command, Output, Stdio};

use crate::common::golden_dir;

fn steer(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steer"));
    command.args(args).output().expect("the program starts")
}

fn said(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn path(golden: &str) -> String {
    golden_dir().join(golden).to_string_lossy().into_owned()
}

/// A reader that has had enough, as `head` has, is no failure.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steer"));
    let mut child = command
        .arg("methods")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(said(&output.stderr), "");
}

/// What is trained of a model is counted before it is; a rank that a method does not have is counted twice.
#[test]
fn methods_say_how_many_numbers_they_train() {
    let base = path("base");
    let of = ["methods", "--json", "--model", &base, "--layers", "1"];
    let run = steer(
        &[
            &of[..],
            &["--ranks", "1,3,0", "--only", "lora,ia3,cpt,frod"],
        ]
        .concat(),
    );
    assert!(run.status.success(), "{}", said(&run.stderr));
    let lines = said(&run.stdout);
    let found: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let method = |name: &str| {
        let found = found.iter().find(|method| method["name"] == name);
        found.expect("a line for each method").clone()
    };
    // Of v_proj [16, 48], o_proj [48, 48] and down_proj [48, 80].
    let lora = method("lora");
    assert!(lora["rate"].as_f64().is_some_and(|rate| rate > 0.0));
    assert_eq!(lora["counts"][0]["parameters"], 64 + 96 + 128);
    assert_eq!(lora["counts"][1]["parameters"], 3 * (64 + 96 + 128));
    assert!(lora["counts"][2]["refused"].as_str().is_some());
    assert_eq!(method("ia3")["counts"].as_array().map(Vec::len), Some(2));
    let prompt = &method("cpt")["counts"][0]["refused"];
    assert!(prompt.as_str().is_some_and(|why| why.contains("layers")));
    assert!(method("frod").get("counts").is_none());
    assert_eq!(found.len(), 4);
    let of = [
        "methods", "--json", "--model", &base, "--ranks", "2,4,1", "--most", "100", "--only",
        "lora",
    ];
    let run = steer(&of);
    let found: serde_json::Value = serde_json::from_str(&said(&run.stdout)).expect("JSON");
    let ranks: Vec<_> = found["counts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|count| &count["rank"])
        .collect();
    assert_eq!(ranks, [2, 1], "4 is larger than one that has too many");
}

/// Turns alternate, beginning with the user's.
#[test]
fn a_chat_ends_with_the_user_s_turn() {
    let base = path("base");
    let chat = ["--chat", "Hello.", "--chat", "Good day."];
    let run = steer(&[&["generate", "--model", &base][..], &chat].concat());
    let error = said(&run.stderr);
    assert!(!run.status.success(), "{error}");
    assert!(
        error.contains("`chat` is 2") && error.contains("user's"),
        "{error}"
    );
}

/// Every numeric option refuses what is none of its numbers by its name and range, before anything
/// is loaded.
#[test]
fn numeric_options_are_refused_by_name_and_range() {
    let base = path("base");
    let source = ["--model", &base];
    let whole = "a whole number from 0";
    let experts = "numbers with commas between them, or none";
    let cases: &[(&str, &str, &[&str], &str)] = &[
        (
            "generate",
            "temperature",
            &["-1", "-0.5", "101", "nan", "-inf", "warm", "--json"],
            "a number from 0 to 100",
        ),
        (
            "generate",
            "top-p",
            &["-1", "0", "1.5", "nan"],
            "a number above 0, up to 1",
        ),
        (
            "generate",
            "min-p",
            &["-1", "2", "inf"],
            "a number from 0 to 1",
        ),
        (
            "generate",
            "repetition-penalty",
            &["-1", "0", "1e9"],
            "0.01 to 100",
        ),
        ("generate", "top-k", &["-1", "1.5", "1e30"], whole),
        ("generate", "max-tokens", &["-1", "many"], whole),
        (
            "generate",
            "seed",
            &["-1", "18446744073709551616"],
            "a whole number from 0 to 18446744073709551615",
        ),
        ("generate", "coeff", &["one", "--json"], "a finite number"),
        (
            "generate",
            "task",
            &["-1", "first"],
            "a whole number from 0, or none",
        ),
        ("generate", "experts", &["1,x", "-"], experts),
        ("generate", "var", &["enable_thinking"], "NAME=VALUE"),
        (
            "logits",
            "tokens",
            &["-1", "1,-2", "x", "4294967296"],
            "token ids, whole numbers from 0, with commas",
        ),
        ("bench", "prefill", &["-1", "0"], "a whole number from 1"),
        ("bench", "decode", &["-1", "0"], "a whole number from 1"),
        ("bench", "rounds", &["-1"], whole),
        ("gpu", "decode", &["-1", "0"], "a whole number from 1"),
        ("extract", "share", &["x", "--out"], "a number above 0"),
    ];
    let mut failures = Vec::new();
    for (command, option, values, range) in cases {
        for value in *values {
            let option_and_value = [format!("--{option}"), (*value).to_owned()];
            let args = [
                &[*command],
                &source[..],
                &[&option_and_value[0], &option_and_value[1]],
            ];
            let run = steer(&args.concat());
            let error = said(&run.stderr);
            let names = error.contains(&format!("`{option}` is "));
            if run.status.success()
                || !names
                || !error.contains(range)
                || !error.contains("[bad-option]")
            {
                failures.push(format!("{command} --{option} {value}: {error}"));
            }
        }
    }
    let layers = steer(&["extract", "--model", &base, "--layers", "-1", "5"]);
    let error = said(&layers.stderr);
    if !error.contains("`layers` is -1") {
        failures.push(format!("extract --layers -1 5: {error}"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Too many values are refused before the model is opened: here it does not exist.
#[test]
fn options_beyond_the_adapters_are_refused_first() {
    for (option, value) in [
        ("coeff", "1"),
        ("task", "0"),
        ("experts", "none"),
        ("law", "linear"),
        ("layers", "all"),
        ("modules", "all"),
        ("positions", "all"),
    ] {
        let given = format!("--{option}");
        let run = steer(&[
            "logits", "--model", "nowhere", "--tokens", "1", &given, value,
        ]);
        let error = said(&run.stderr);
        let expected = format!("`{option}` is 1 for 0, expected at most one for each --adapter");
        assert!(
            !run.status.success() && error.contains(&expected),
            "{option}: {error}"
        );
    }
}

#[test]
fn options_of_an_adapter_are_refused_and_nothing_panics() {
    let (base, adapter) = (path("base"), path("lora"));
    let args = [
        "logits",
        "--model",
        &base,
        "--tokens",
        "1,2",
        "--adapter",
        &adapter,
    ];
    for (more, part) in [
        (
            ["--coeff", "nan"],
            "the coefficient NaN is not a finite number",
        ),
        (
            ["--coeff", "1e39"],
            "the coefficient inf is not a finite number",
        ),
        (
            ["--coeff", "-inf"],
            "the coefficient -inf is not a finite number",
        ),
        (["--layers", "-3"], "`layers` is -3"),
        (
            ["--layers", "50-60"],
            "`layers` is 50-60, while the model has 0-1",
        ),
        (
            ["--modules", "residual"],
            "`modules` is residual, while lora acts on q_proj",
        ),
        (["--modules", "-"], "`modules` is -"),
        (["--positions", "-1"], "`positions` is -1"),
        (["--positions", "from:x"], "`positions` is from:x"),
    ] {
        let run = steer(&[&args[..], &more].concat());
        let error = said(&run.stderr);
        assert!(
            !run.status.success() && error.contains(part),
            "{more:?}: {error}"
        );
        assert!(!error.contains("panicked"), "{more:?}: {error}");
    }
    for coefficient in ["-1", "-1e-3", "-.5", "0"] {
        let run = steer(&[&args[..], &["--coeff", coefficient]].concat());
        assert!(run.status.success(), "{coefficient}: {}", said(&run.stderr));
    }
}

#[test]
fn inspect_shows_whole_names_and_takes_a_model() {
    let dir = std::env::temp_dir().join(format!("steer-inspect-{}", std::process::id()));
    let adapter = dir.join("v1.5-lora.final");
    std::fs::create_dir_all(&adapter).expect("a folder");
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(golden_dir().join("lora").join(name), adapter.join(name)).expect("a copy");
    }
    let gguf = dir.join("v1.5-lora.final.GGUF");
    std::fs::copy(golden_dir().join("lora_untied/llama_cpp.gguf"), &gguf).expect("a copy");
    // Another adapter's, which has no part in the GGUF file.
    std::fs::write(dir.join("adapter_config.json"), "{}").expect("a file");
    let inspect = |args: &[&str]| -> serde_json::Value {
        let run = steer(&[&["inspect", "--json"], args].concat());
        assert!(run.status.success(), "{}", said(&run.stderr));
        serde_json::from_slice(&run.stdout).expect("JSON")
    };
    let adapter = adapter.to_string_lossy().into_owned();
    let found = inspect(&[&adapter]);
    assert_eq!(found["name"], "v1.5-lora.final", "a folder");
    assert_eq!(
        (&found["layers"], &found["layersReached"]),
        (&"0-1".into(), &serde_json::Value::Null)
    );
    let found = inspect(&[&gguf.to_string_lossy()]);
    assert_eq!(found["name"], "v1.5-lora.final", "a file");
    assert!(found["method"].is_object(), "its own config: {found}");
    assert_eq!(
        inspect(&[&format!("{adapter}/")])["name"],
        "v1.5-lora.final",
        "a slash"
    );
    assert_eq!(
        inspect(&[&format!("{adapter}/.")])["name"],
        "v1.5-lora.final",
        "a dot"
    );

    let found = inspect(&[&adapter, "--model", &path("base")]);
    assert_eq!(found["layersReached"], "0-1", "{found}");
    assert_eq!(found["refused"], serde_json::json!([]), "{found}");
    let found = inspect(&[&adapter, "--model", &path("base_untied")]);
    let refused = found["refused"].as_array().expect("a list");
    assert_eq!(
        refused.len(),
        14,
        "every module is of another width: {found}"
    );
    let plain = steer(&["inspect", &adapter, "--model", &path("base_untied")]);
    assert_eq!(
        said(&plain.stdout).matches("[wrong-shape]").count(),
        14,
        "in words too"
    );
    std::fs::remove_dir_all(dir).expect("removed");
}

/// Warnings are told where they do not disturb what is printed.
#[test]
fn what_speaks_against_an_adapter_is_told() {
    let (base, adapter) = (path("base_untied"), path("fourierft"));
    let run = steer(&[
        "logits",
        "--json",
        "--model",
        &base,
        "--tokens",
        "1,2",
        "--adapter",
        &adapter,
    ]);
    let warning =
        "steer: warning: fourierft: its config wants layers 0-2 of this model, it reaches 0-1";
    assert!(
        run.status.success() && said(&run.stderr).contains(warning),
        "{}",
        said(&run.stderr)
    );
    serde_json::from_slice::<serde_json::Value>(&run.stdout).expect("JSON alone");
    let (base, adapter) = (path("base"), path("saved_head"));
    let run = steer(&[
        "logits",
        "--model",
        &base,
        "--tokens",
        "1",
        "--adapter",
        &adapter,
        "--layers",
        "0",
    ]);
    let note = "steer: note: saved_head: layers 0 leave out lm_head";
    assert!(
        run.status.success() && said(&run.stderr).contains(note),
        "{}",
        said(&run.stderr)
    );
}

/// Vectors of any container, weighted and added, as a file of either kind.
#[test]
fn vectors_are_combined() {
    let dir = std::env::temp_dir().join(format!("steer-combine-{}", std::process::id()));
    let (a, b) = (path("control_vector"), path("bipo"));
    let combine = |more: &[&str], out: &str| {
        let out = dir.join(out);
        let args = [
            &["combine", "--vector", &a, "--vector", &b][..],
            more,
            &["--out", &out.to_string_lossy()],
        ];
        (steer(&args.concat()), out)
    };
    std::fs::create_dir_all(&dir).expect("a folder");
    let weights = ["--weight", "0.5", "--weight=-0.3"];
    let base = path("base_untied");
    for out in ["folder", "vector.gguf"] {
        let (run, out) = combine(&weights, out);
        assert!(run.status.success(), "{out:?}: {}", said(&run.stderr));
        let logits = |adapters: &[&str]| {
            let args = [
                &["logits", "--model", &base, "--tokens", "5,9,3"][..],
                adapters,
            ];
            let run = steer(&args.concat());
            assert!(run.status.success(), "{}", said(&run.stderr));
            said(&run.stdout)
        };
        let sum = logits(&["--adapter", &out.to_string_lossy()]);
        assert_ne!(sum, logits(&[]), "it acts");
    }
    for (more, expected) in [
        (&["--weight", "x"][..], "`weight` is x"),
        (
            &["--weight", "1", "--weight", "2", "--weight", "3"],
            "3 for 2",
        ),
        (&["--weight", "0", "--weight", "0"], "0 everywhere"),
    ] {
        let (run, _) = combine(more, "refused");
        let error = said(&run.stderr);
        assert!(!run.status.success() && error.contains(expected), "{error}");
    }
    std::fs::remove_dir_all(&dir).expect("removed");
}

/// One option is for the adapters, the other for the grid.
#[test]
fn coefficients_of_a_measurement_are_no_adapters() {
    let (base, adapter) = (path("base"), path("lora"));
    let run = steer(&[
        "measure",
        "--model",
        &base,
        "--adapter",
        &adapter,
        "--behaviour",
        "tone",
        "--coeffs=-1,0,1",
    ]);
    let error = said(&run.stderr);
    assert!(error.contains("[no-tokenizer]"), "{error}");
}
