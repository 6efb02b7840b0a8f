//! The files of an adapter in a folder, as `steer` finds them.

use std::path::Path;
use std::process::{Command, Output};

use steering_playground::checkpoint::AdapterFiles;

use super::{fault, golden, lora};
use crate::common::golden_dir;

/// `steer logits` with an adapter.
fn steer(adapter: &Path) -> Output {
    let base = golden_dir().join("base");
    Command::new(env!("CARGO_BIN_EXE_steer"))
        .args(["logits", "--json", "--tokens", "1,2,3", "--model"])
        .arg(base)
        .arg("--adapter")
        .arg(adapter)
        .output()
        .expect("runs")
}

#[test]
fn steer_finds_the_files_of_an_adapter_and_says_what_is_there_instead() {
    let root = std::env::temp_dir().join(format!("steer-folders-{}", std::process::id()));
    let write = |path: &str, bytes: &[u8]| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writes");
        std::fs::write(path, bytes).expect("writes");
    };
    let put = |folder: &str, files: &AdapterFiles, weights: &str| {
        write(
            &format!("{folder}/adapter_config.json"),
            files.config.as_ref().expect("config"),
        );
        write(&format!("{folder}/{weights}"), &files.weights);
    };
    put("many", &lora(), "adapter_model.safetensors");
    put("many/0", &golden("ia3"), "adapter_model.safetensors");
    put("many/other", &golden("ia3"), "adapter_model.safetensors");
    put("mlx", &fault("mlx_lora"), "adapters.safetensors");
    put(
        "deep/run/checkpoint-500",
        &lora(),
        "adapter_model.safetensors",
    );
    write(
        "pickled/adapter_model.bin",
        b"PK\x03\x04adapter_model/data.pkl",
    );
    write("whole/config.json", b"{}");
    write("whole/model.safetensors", b"");
    write("empty/notes.txt", b"");
    let text = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    for path in [
        "many",
        "many/adapter_model.safetensors",
        "many/adapter_config.json",
        "many/other",
        "mlx",
        "mlx/adapters.safetensors",
    ] {
        let output = steer(&root.join(path));
        assert!(output.status.success(), "{path}: {}", text(&output));
    }
    let same = steer(&root.join("many")).stdout
        == steer(&root.join("many/adapter_model.safetensors")).stdout;
    assert!(
        same,
        "the weights' path with its config beside it is the folder"
    );
    let others = text(&steer(&root.join("many")));
    assert!(
        others.contains("many/0, ") && others.contains("many/other"),
        "{others}"
    );
    for (path, part) in [
        ("deep", "deep/run/checkpoint-500: name one of these folders"),
        ("pickled", "weights_only=True"),
        ("whole", "--model"),
        ("empty", "notes.txt"),
        ("nothing", "No such file"),
    ] {
        let output = steer(&root.join(path));
        let said = text(&output);
        assert!(
            !output.status.success() && said.contains(part),
            "{path}: {said}"
        );
    }
    std::fs::remove_dir_all(&root).expect("cleans up");
}
