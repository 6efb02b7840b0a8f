//! Adapters that must not load, each with its own error.

use steering_playground::adapters;
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::error::Error;

use super::{fault, golden, lora, with_field, with_header};
use crate::common::{golden_dir, tiny};
use crate::golden::cases;

fn refusal(files: &AdapterFiles) -> Error {
    adapters::load(files, &tiny("base").model)
        .map(|_| ())
        .expect_err("must not load")
}

#[test]
fn bad_checkpoints_say_why() {
    let key = "layers.1.mlp.down_proj.lora_B.weight";
    let cases: Vec<(&str, AdapterFiles, &str, &str)> = vec![
        (
            "a layer that the model lacks",
            with_header(lora(), |h| {
                h.replace("layers.1.mlp.down", "layers.7.mlp.down")
            }),
            "no-such-module",
            "layers.7.mlp.down_proj",
        ),
        (
            "a missing key",
            with_header(lora(), |h| {
                h.replace(key, "layers.1.mlp.down_proj.lora_X.weight")
            }),
            "missing-key",
            "",
        ),
        (
            "an unexpected key",
            with_header(lora(), |h| {
                h.replace("layers.1.mlp.down_proj.lora_", "layers.1.mlp.extra.other_")
            }),
            "unexpected-keys",
            "extra",
        ),
        (
            "an option that is not honoured",
            with_field(lora(), "use_qalora", true.into()),
            "unsupported-option",
            "use_qalora",
        ),
        (
            "an option nobody has heard of",
            with_field(lora(), "use_tomorrow", "yes".into()),
            "unsupported-option",
            "use_tomorrow",
        ),
        (
            "raw PiSSA",
            with_field(lora(), "init_lora_weights", "pissa_niter_4".into()),
            "unsupported-option",
            "path_initial_model_for_weight_conversion",
        ),
        (
            "a task where one must be chosen",
            AdapterFiles {
                task: None,
                ..golden("poly")
            },
            "bad-task",
            "not given, expected 0 to 2",
        ),
        (
            "a task that is not there",
            AdapterFiles {
                task: Some(3),
                ..golden("poly")
            },
            "bad-task",
            "expected 0 to 2",
        ),
        (
            "a task for a method without tasks",
            AdapterFiles {
                task: Some(0),
                ..lora()
            },
            "bad-task",
            "no tasks",
        ),
        (
            "splits that do not divide the widths",
            with_field(golden("poly"), "n_splits", 5.into()),
            "bad-config",
            "a divisor of 48",
        ),
        (
            "a gate without its first layer, as PEFT 0.21.2 writes it",
            AdapterFiles {
                expert_weights: None,
                ..golden("xlora_weights")
            },
            "missing-key",
            "layers.0.weight",
        ),
        (
            "a mixture without its experts",
            AdapterFiles {
                experts: Vec::new(),
                ..golden("xlora")
            },
            "missing-key",
            "2 experts",
        ),
        (
            "weights for other experts",
            AdapterFiles {
                expert_weights: Some(vec![1.0]),
                ..golden("xlora")
            },
            "bad-option",
            "[1.0] for 2 experts, expected one finite number for each",
        ),
        (
            "weights for other skills",
            AdapterFiles {
                expert_weights: Some(vec![1.0, 0.0]),
                ..golden("poly_weights")
            },
            "bad-option",
            "[1.0, 0.0] for 3 skills",
        ),
        (
            "weights and a task",
            AdapterFiles {
                task: Some(1),
                ..golden("poly_weights")
            },
            "bad-task",
            "left out: weights for the skills are given in its place",
        ),
        (
            "weights where nothing is mixed",
            AdapterFiles {
                expert_weights: Some(vec![1.0]),
                ..lora()
            },
            "bad-option",
            "mixes nothing",
        ),
        (
            "experts of no mixture",
            AdapterFiles {
                experts: vec![lora()],
                ..lora()
            },
            "bad-option",
            "mixes none",
        ),
        (
            "a mixture of other things than LoRAs",
            AdapterFiles {
                experts: vec![golden("ia3"), lora()],
                ..golden("xlora")
            },
            "unsupported-option",
            "plain LoRAs",
        ),
        (
            "token ids beyond the vocabulary",
            with_field(
                golden("trainable_tokens"),
                "token_indices",
                vec![1, 2, 3, 96].into(),
            ),
            "bad-config",
            "below 96",
        ),
        (
            "more virtual tokens than fit",
            with_field(golden("prompt_tuning"), "num_virtual_tokens", 2000.into()),
            "unsupported-option",
            "num_virtual_tokens",
        ),
        (
            "a module to save that is not there",
            with_field(lora(), "modules_to_save", vec!["lm_head"].into()),
            "missing-key",
            "lm_head",
        ),
        (
            "a rank of 0 in a product",
            with_field(golden("loha"), "r", 0.into()),
            "bad-config",
            "above 0",
        ),
        (
            "blocks that do not divide the widths",
            with_field(golden("c3a"), "block_size", 7.into()),
            "bad-config",
            "a divisor of 48",
        ),
        (
            "blocks of nothing",
            with_field(golden("c3a"), "block_size", 0.into()),
            "bad-config",
            "above 0",
        ),
        (
            "tiles that do not divide the widths",
            with_field(golden("miss_bat"), "r", 5.into()),
            "bad-config",
            "a divisor of 48",
        ),
        (
            "repetitions that do not fill the output",
            with_field(golden("miss_mini"), "mini_r", 5.into()),
            "bad-config",
            "a divisor of 48",
        ),
        (
            "more of the bank than there is",
            with_field(golden("vblora"), "topk", 13.into()),
            "bad-config",
            "at most num_vectors",
        ),
        (
            "more places than another rank has",
            with_field(golden("shira"), "r", 1.into()),
            "wrong-shape",
            "shira_weight",
        ),
        (
            "more frequencies than the layer has weights",
            with_field(golden("fourierft"), "n_frequency", 100_000.into()),
            "bad-config",
            "at most",
        ),
        (
            "a pattern of ranks in words",
            with_field(golden("adalora"), "rank_pattern", "few".into()),
            "bad-config",
            "lora_E",
        ),
        (
            "a start from random numbers",
            with_field(
                golden("pissa"),
                "init_lora_weights",
                "pissa_niter_16".into(),
            ),
            "unsupported-option",
            "path_initial_model_for_weight_conversion",
        ),
        (
            "an unknown method",
            with_field(lora(), "peft_type", "TELEPATHY".into()),
            "unknown-method",
            "TELEPATHY",
        ),
        (
            "a rank of 0",
            with_field(lora(), "r", 0.into()),
            "bad-config",
            "a rank above 0",
        ),
        (
            "a rank in words",
            with_field(lora(), "r", "four".into()),
            "bad-config",
            "four",
        ),
        (
            "no config",
            AdapterFiles {
                config: None,
                ..lora()
            },
            "missing-key",
            "adapter_config",
        ),
        (
            "a config that is no JSON",
            AdapterFiles {
                config: Some(b"{".to_vec()),
                ..lora()
            },
            "bad-config",
            "not valid JSON",
        ),
        (
            "a cut file",
            AdapterFiles {
                weights: lora().weights[..20_000].to_vec(),
                ..lora()
            },
            "tensor-beyond-file",
            "",
        ),
        (
            "singular vectors without their file",
            AdapterFiles {
                bases: None,
                ..golden("antipasto")
            },
            "missing-key",
            "0_svd_bases.safetensors",
        ),
        (
            "the same tensors in two files",
            AdapterFiles {
                bases: Some(golden("antipasto").weights),
                ..golden("antipasto")
            },
            "unexpected-keys",
            "antipasto_delta_s",
        ),
        (
            "singular vectors for another method",
            AdapterFiles {
                bases: golden("antipasto").bases,
                ..lora()
            },
            "unexpected-keys",
            "svd_bases.",
        ),
        (
            "singular vectors beside a .gguf",
            AdapterFiles {
                bases: golden("antipasto").bases,
                weights: std::fs::read(golden_dir().join("lora_untied/llama_cpp.gguf"))
                    .expect("gguf"),
                config: None,
                ..lora()
            },
            "bad-option",
            "0_svd_bases.safetensors beside lora.gguf",
        ),
        (
            "a rotation that nobody wrote",
            with_field(golden("antipasto"), "rotation_method", "givens".into()),
            "bad-config",
            "cayley",
        ),
        (
            "an angle of nothing",
            with_field(golden("antipasto"), "max_rotation_angle", 0.into()),
            "bad-config",
            "max_rotation_angle",
        ),
        (
            "rows that are named and not there",
            with_field(lora(), "trainable_token_indices", vec![1, 2].into()),
            "missing-key",
            "embed_tokens.token_adapter.trainable_tokens_delta` is missing \
             (trainable_token_indices = [1,2]",
        ),
        (
            "rows of one module of two",
            with_field(
                golden("lora_tokens"),
                "trainable_token_indices",
                serde_json::json!({"embed_tokens": [1], "lm_head": [2]}),
            ),
            "missing-key",
            "lm_head.token_adapter",
        ),
        (
            "a projection that is named and not there",
            with_field(golden("vera_noproj"), "save_projection", true.into()),
            "missing-key",
            "base_model.vera_A",
        ),
        (
            "an adapter's name in the keys",
            with_header(lora(), |h| {
                h.replace("lora_A.weight", "lora_A.default.weight")
                    .replace("lora_B.weight", "lora_B.default.weight")
            }),
            "missing-key",
            "the adapter's name `default`",
        ),
        (
            "an adapter's name at the end of the keys",
            with_header(golden("ia3"), |h| h.replace("ia3_l\"", "ia3_l.mine\"")),
            "missing-key",
            "the adapter's name `mine`",
        ),
        (
            "a Git LFS pointer",
            AdapterFiles {
                weights: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n".to_vec(),
                ..lora()
            },
            "bad-header",
            "git lfs pull",
        ),
        (
            "a Git LFS pointer in place of the config",
            AdapterFiles {
                config: Some(b"version https://git-lfs.github.com/spec/v1\noid".to_vec()),
                ..lora()
            },
            "bad-config",
            "git lfs pull",
        ),
        (
            "a web page",
            AdapterFiles {
                weights: b"<!DOCTYPE html><html>".to_vec(),
                ..lora()
            },
            "bad-header",
            "web page",
        ),
        (
            "a pickle",
            AdapterFiles {
                weights: b"PK\x03\x04adapter_model/data.pkl".to_vec(),
                ..lora()
            },
            "bad-header",
            "save_file({k: v.clone().contiguous() for k, v in weights.items()}, \
             'adapter_model.safetensors')",
        ),
        (
            "a whole model",
            AdapterFiles {
                weights: std::fs::read(golden_dir().join("base/model.safetensors"))
                    .expect("a model"),
                ..lora()
            },
            "missing-key",
            "tensors of a whole model",
        ),
        (
            "another rank",
            with_field(lora(), "r", 9.into()),
            "wrong-shape",
            "the config's rank of 9; the file has another rank",
        ),
        (
            "a classifier",
            with_field(
                with_field(lora(), "task_type", "TOKEN_CLS".into()),
                "modules_to_save",
                vec!["classifier", "score"].into(),
            ),
            "bad-config",
            "belongs to a classifier",
        ),
        (
            "a layer that the model lacks, and the model that it was trained on",
            with_field(
                with_header(lora(), |h| {
                    h.replace("layers.1.mlp.down", "layers.7.mlp.down")
                }),
                "base_model_name_or_path",
                "meta-llama/Llama-3.1-8B".into(),
            ),
            "no-such-module",
            "it was trained on meta-llama/Llama-3.1-8B",
        ),
        (
            "a pattern without an end",
            with_field(
                lora(),
                "alpha_pattern",
                serde_json::json!({r"(?:(?=\w)\w+\.?)+!": 3}),
            ),
            "bad-config",
            "bounded number of steps",
        ),
        (
            "a pattern that is none",
            with_field(lora(), "rank_pattern", serde_json::json!({"(": 3})),
            "bad-config",
            "the key `(`",
        ),
        (
            "mlx-lm's whole weights",
            with_field(fault("mlx_lora"), "fine_tune_type", "full".into()),
            "bad-config",
            "mlx_lm.fuse",
        ),
        (
            "mlx-lm's factor of either meaning",
            with_field(
                fault("mlx_lora"),
                "lora_parameters",
                serde_json::json!({"rank": 2, "alpha": 16, "scale": 10.0}),
            ),
            "bad-config",
            "before June 2024 write 80",
        ),
        (
            "mlx-lm's other rank",
            with_field(
                fault("mlx_lora"),
                "lora_parameters",
                serde_json::json!({"rank": 3, "scale": 10.0}),
            ),
            "bad-config",
            "lora_parameters.rank",
        ),
        (
            "half a pair of mlx-lm's",
            with_header(fault("mlx_lora"), |h| {
                h.replace(
                    "layers.1.mlp.down_proj.lora_b",
                    "layers.1.mlp.down_proj.lora_x",
                )
            }),
            "missing-key",
            "`model.layers.1.mlp.down_proj.lora_b` is missing \
             (`model.layers.1.mlp.down_proj.lora_a` is there",
        ),
        (
            "a header longer than the file",
            AdapterFiles {
                weights: [&[255_u8; 7][..], &[0; 9]].concat(),
                ..lora()
            },
            "",
            "",
        ),
    ];
    let mut failures = Vec::new();
    for (what, files, code, part) in &cases {
        let error = refusal(files);
        if (!code.is_empty() && error.code() != *code) || !error.to_string().contains(part) {
            failures.push(format!(
                "{what}: expected {code} with «{part}», got {error:?}: {error}"
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_file_of_one_process_of_many_is_refused() {
    let empty = with_header(lora(), |_| {
        let key = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
        format!("{{\"{key}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}}}")
    });
    let header = u64::from_le_bytes(empty.weights[..8].try_into().expect("8 bytes")) as usize;
    let empty = AdapterFiles {
        weights: empty.weights[..8 + header].to_vec(),
        ..empty
    };
    let error = refusal(&empty);
    assert!(error.to_string().contains("ZeRO-3"), "{error}");
}

#[test]
fn more_tokens_than_the_model_has_are_counted() {
    // The golden's embedding is the head too; two rows of 48 numbers are added to its copy.
    let files = golden("saved_embedding");
    let length = u64::from_le_bytes(files.weights[..8].try_into().expect("8 bytes")) as usize;
    let header: serde_json::Value =
        serde_json::from_slice(&files.weights[8..8 + length]).expect("JSON");
    let key = "base_model.model.model.embed_tokens.weight";
    let rows = header[key]["shape"][0].as_u64().expect("rows");
    let longer = with_header(files, |h| {
        let mut header: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(h).expect("JSON");
        let cut = header[key]["data_offsets"][1].as_u64().expect("an end");
        for (name, entry) in &mut header {
            if name == "__metadata__" {
                continue;
            }
            for at in 0..2 {
                let offset = entry["data_offsets"][at].as_u64().expect("an offset");
                let moved = offset > cut || (offset == cut && (at == 0) != (name == key));
                let more = if moved { 2 * 48 * 4 } else { 0 };
                entry["data_offsets"][at] = (offset + more).into();
            }
        }
        header[key]["shape"][0] = (rows + 2).into();
        serde_json::Value::Object(header).to_string()
    });
    let weights = [longer.weights.clone(), vec![0; 2 * 48 * 4]].concat();
    let error = refusal(&AdapterFiles { weights, ..longer });
    assert_eq!(error.code(), "wrong-shape", "{error}");
    assert!(
        error
            .to_string()
            .contains("the model has 96 tokens: 2 fewer"),
        "{error}"
    );
}

#[test]
fn half_a_pair_has_the_name_of_its_own_file() {
    let mut weights = std::fs::read(golden_dir().join("lora_untied/llama_cpp.gguf")).expect("gguf");
    let name = b"blk.0.attn_q.weight.lora_b";
    let at = weights.windows(name.len()).position(|found| found == name);
    weights[at.expect("a pair") + name.len() - 1] = b'x';
    let error = refusal(&AdapterFiles {
        name: "half".into(),
        weights,
        ..AdapterFiles::default()
    });
    assert_eq!(error.code(), "missing-key", "{error}");
    assert!(
        error
            .to_string()
            .contains("`blk.0.attn_q.weight.lora_b` is missing"),
        "{error}"
    );
}

#[test]
fn another_model_shows_in_the_shapes() {
    let error = adapters::load(&lora(), &tiny("base_untied").model).map(|_| ());
    let error = error.expect_err("another width");
    assert_eq!(error.code(), "wrong-shape", "{error}");
    assert!(error.to_string().contains("another model"), "{error}");
}

/// A head has a weight, and no rows that are looked up by tokens.
#[test]
fn what_acts_on_embeddings_is_refused_elsewhere() {
    let case = cases()
        .into_iter()
        .find(|case| case.name == "lora_embedding");
    let case = case.expect("a case");
    let mut files = with_header(case.files(), |h| {
        let of = |module: &str| format!("base_model.model.{module}.lora_embedding_");
        h.replace(&of("model.embed_tokens"), &of("lm_head"))
    });
    // Its rank goes with it.
    let config = String::from_utf8(files.config.expect("a config")).expect("UTF-8");
    files.config = Some(config.replace("embed_tokens", "lm_head").into_bytes());
    let error = adapters::load(&files, &tiny(&case.base).model).map(|_| ());
    let error = error.expect_err("no place for it");
    assert_eq!(error.code(), "unsupported-option", "{error}");
    let text = error.to_string();
    assert!(
        text.contains("lm_head") && text.contains("the embedding alone"),
        "{text}"
    );
}
