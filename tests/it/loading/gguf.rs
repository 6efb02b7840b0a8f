//! LoRAs and control vectors in GGUF files, read and written.

use steering_playground::adapters;
use steering_playground::checkpoint::AdapterFiles;

use super::golden;
use crate::common::{adapter_files, golden_dir, tiny};

#[test]
fn a_control_vector_loads_from_gguf_too() {
    let session = tiny("base_untied");
    let dir = golden_dir().join("control_vector");
    let files = AdapterFiles {
        name: "vector".into(),
        weights: std::fs::read(dir.join("control_vector.gguf")).expect("gguf"),
        ..AdapterFiles::default()
    };
    let from_gguf = adapters::load(&files, &session.model).expect("loads");
    let from_safetensors = adapters::load(&adapter_files(&dir), &session.model).expect("loads");
    let run = |adapter| {
        let mut stack = adapters::Stack::default();
        let id = stack.add(adapter);
        stack.set_coefficient(id, -0.7).expect("finite");
        crate::common::logits(&session, &[1, 2, 3], &stack.steering())
    };
    assert_eq!(run(from_gguf), run(from_safetensors), "the same vector");
}

/// A LoRA that Python's gguf wrote, and every low-rank golden as we write it ourselves.
#[test]
fn a_gguf_lora_is_the_lora() {
    let run = |base: &str, files: &AdapterFiles, c: f32| {
        let session = tiny(base);
        let adapter = adapters::load(files, &session.model).expect("loads");
        let mut stack = adapters::Stack::default();
        let id = stack.add(adapter);
        stack.set_coefficient(id, c).expect("finite");
        let export = steering_playground::export::Export::new(&stack.entries()[0]);
        let bytes = pollster::block_on(export.gguf(&session.model)).expect("exports");
        let logits = crate::common::logits(&session, &[1, 2, 3, 9], &stack.steering());
        (logits, bytes)
    };
    let gguf = |weights| AdapterFiles {
        name: "gguf".into(),
        weights,
        ..AdapterFiles::default()
    };
    for case in ["lora_untied", "lora_embedding_head"] {
        let theirs = std::fs::read(golden_dir().join(case).join("llama_cpp.gguf")).expect("gguf");
        let (expected, _) = run("base_untied", &golden(case), -0.7);
        let (found, _) = run("base_untied", &gguf(theirs), -0.7);
        assert_eq!(found, expected, "{case} from Python");
    }
    for (base, case) in [
        ("base", "lora"),
        ("base", "lora_rslora_patterns"),
        ("base", "lora_embedding"),
        ("base", "vera"),
        ("base_untied", "lora_embedding_head"),
        ("base_untied", "delora_patterns"),
        ("base_untied", "control_vector"),
    ] {
        let (expected, bytes) = run(base, &golden(case), -0.7);
        let (found, _) = run(base, &gguf(bytes), 1.0);
        let differences = expected.iter().zip(&found).map(|(a, b)| (a - b).abs());
        let worst = differences.fold(0.0, f32::max);
        assert!(
            worst < 1e-5,
            "{case} exported at -0.7 differs by {worst:.1e}"
        );
    }
}

#[test]
fn an_export_says_what_it_cannot_hold() {
    for case in ["dora", "ia3", "lora_bias", "prefix", "trainable_tokens"] {
        let session = tiny("base");
        let mut stack = adapters::Stack::default();
        let adapter = adapters::load(&golden(case), &session.model).expect("loads");
        let id = stack.add(adapter);
        stack.set_coefficient(id, 1.0).expect("finite");
        let export = steering_playground::export::Export::new(&stack.entries()[0]);
        let error = pollster::block_on(export.gguf(&session.model)).expect_err(case);
        assert_eq!(error.code(), "unsupported-option", "{case}: {error}");
    }
}
