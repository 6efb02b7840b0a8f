//! Adapters that must not load, each with its own error, and what `inspect` says of them.

use std::collections::BTreeMap;

use std::path::Path;
use std::process::{Command, Output};

use steering_playground::adapters::{self, Stack};
use steering_playground::arch::ModelFile;
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::device;
use steering_playground::error::Error;
use steering_playground::model::Weights;
use steering_playground::session::Session;
use steering_playground::weights::Bytes;

use crate::common::{adapter_files, golden_dir, logits, tiny};
use crate::golden::{cases, worst};

fn golden(case: &str) -> AdapterFiles {
    adapter_files(&golden_dir().join(case))
}

fn lora() -> AdapterFiles {
    golden("lora")
}

fn with_field(mut files: AdapterFiles, field: &str, value: serde_json::Value) -> AdapterFiles {
    let mut config: serde_json::Value =
        serde_json::from_slice(&files.config.expect("config")).expect("JSON");
    config[field] = value;
    files.config = Some(config.to_string().into_bytes());
    files
}

/// Renames, removes or cuts tensors by editing the header of a safetensors file.
fn with_header(mut files: AdapterFiles, edit: impl Fn(&str) -> String) -> AdapterFiles {
    let length = u64::from_le_bytes(files.weights[..8].try_into().expect("8 bytes")) as usize;
    let header = std::str::from_utf8(&files.weights[8..8 + length]).expect("UTF-8");
    let header = edit(header);
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend(header.bytes());
    weights.extend(&files.weights[8 + length..]);
    files.weights = weights;
    files
}

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

/// What another tool wrote, or PEFT in an unusual way (`tests/faults/make.py`).
fn fault(name: &str) -> AdapterFiles {
    let dir = Path::new("tests/faults").join(name);
    let read = |name: &str| std::fs::read(dir.join(name)).ok();
    let weights = read("adapter_model.safetensors").or(read("adapters.safetensors"));
    AdapterFiles {
        name: name.into(),
        config: read("adapter_config.json"),
        weights: weights.expect("weights"),
        ..AdapterFiles::default()
    }
}

/// Logits of every position with an adapter at c = 1.
fn with_adapter(session: &Session, files: &AdapterFiles, ids: &[u32]) -> Result<Vec<f32>, Error> {
    let adapter = adapters::load(files, &session.model)?;
    let mut stack = Stack::default();
    let id = stack.add(adapter);
    stack.set_coefficient(id, 1.0).expect("finite");
    Ok(logits(session, ids, &stack.steering()))
}

/// The logits that the tool itself computed.
#[test]
fn what_other_tools_write_gives_their_numbers() {
    let mut failures = Vec::new();
    let mut seen = 0;
    for entry in std::fs::read_dir("tests/faults").expect("faults").flatten() {
        let Ok(expect) = std::fs::read(entry.path().join("expect.json")) else {
            continue;
        };
        seen += 1;
        let expect: serde_json::Value = serde_json::from_slice(&expect).expect("JSON");
        let numbers = |field: &str| -> Vec<f64> {
            let list = expect[field].as_array().expect("a list");
            list.iter().map(|n| n.as_f64().expect("a number")).collect()
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        let session = tiny(expect["base"].as_str().expect("a base"));
        let ids: Vec<u32> = numbers("tokens").iter().map(|&id| id as u32).collect();
        let expected: Vec<f32> = numbers("logits").iter().map(|&n| n as f32).collect();
        match with_adapter(&session, &fault(&name), &ids) {
            Err(error) => failures.push(format!("{name}: {error}")),
            Ok(logits) => {
                let apart = worst(&logits[logits.len() - expected.len()..], &expected);
                if apart > 1e-4 {
                    failures.push(format!("{name}: {apart:.1e} apart"));
                }
            }
        }
        let found = adapters::inspect(&fault(&name)).expect("readable");
        if !found.refused.is_empty() || found.modules.is_empty() {
            failures.push(format!("{name}: {:?}", found.refused));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(seen > 8, "{seen} cases");
}

/// PEFT reads all of these as the golden case.
#[test]
fn what_says_the_same_in_other_words_gives_the_same_numbers() {
    let file = std::fs::read(golden_dir().join("configs_0_21_2.json")).expect("the defaults");
    let defaults: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    let mut failures = Vec::new();
    let mut check =
        |what: &str, session: &Session, ids: &[u32], one: &AdapterFiles, other: &AdapterFiles| {
            let expected = with_adapter(session, one, ids).expect("the golden case loads");
            match with_adapter(session, other, ids) {
                Ok(found) if found == expected => {}
                Ok(found) => failures.push(format!(
                    "{}: {what}: {:.1e} apart",
                    one.name,
                    worst(&found, &expected)
                )),
                Err(error) => failures.push(format!("{}: {what}: {error}", one.name)),
            }
        };
    let old_layout = ["oft_block_size", "peft_version"];
    for case in cases() {
        let (session, files, ids) = (tiny(&case.base), case.files(), case.ids());
        let turned = with_field(files.clone(), "fan_in_fan_out", true.into());
        let turned = with_field(turned, "merge_weights", true.into());
        check("fan_in_fan_out", &session, &ids, &files, &turned);
        let Some(json) = &files.config else { continue };
        let mut config: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(json).expect("JSON");
        let of_peft = defaults[config["peft_type"].as_str().expect("a method")].clone();
        config.retain(|field, value| {
            let needed = field == "peft_type" || old_layout.contains(&&field[..]);
            // PEFT has no default of its own for these.
            let none = [
                "num_virtual_tokens",
                "adapter_len",
                "hidden_size",
                "adapters",
                "token_indices",
            ];
            needed || none.contains(&&field[..]) || of_peft.get(field) != Some(&*value)
        });
        let json = serde_json::Value::Object(config.clone()).to_string();
        let short = AdapterFiles {
            config: Some(json.into_bytes()),
            ..files.clone()
        };
        check("defaults left out", &session, &ids, &files, &short);
        for (from, to) in [
            ("\"base_model.", "\"_orig_mod.base_model."),
            ("\"base_model.", "\"module.base_model."),
            (
                "\"base_model.model.model.",
                "\"base_model.model.model.language_model.",
            ),
            (
                "base_model.model.model.",
                "base_model.model._orig_mod.model.",
            ),
            (
                "\"base_model.model.model.",
                "\"base_model.model._fsdp_wrapped_module.model.",
            ),
            ("\"base_model.model.model.", "\"model."),
        ] {
            // Patterns are for the names in the model that was trained.
            let of_model = |(field, value): (&String, &serde_json::Value)| {
                field.ends_with("_pattern") && value.to_string().contains("model")
            };
            if to.contains("language_model") && config.iter().any(of_model) {
                continue;
            }
            let renamed = with_header(files.clone(), |h| h.replace(from, to));
            check(to, &session, &ids, &files, &renamed);
        }
    }
    let base = tiny("base");
    let ids = [1, 2, 3, 9];
    for case in ["dora", "dora_embedding", "dora_rslora"] {
        let session = tiny(&cases().iter().find(|c| c.name == case).expect("there").base);
        let renamed = with_header(golden(case), |h| {
            h.replace("lora_magnitude_vector\"", "lora_magnitude_vector.weight\"")
        });
        check(
            "magnitudes with .weight",
            &session,
            &ids,
            &golden(case),
            &renamed,
        );
    }
    for case in ["control_vector", "bipo"] {
        let session = tiny(&cases().iter().find(|c| c.name == case).expect("there").base);
        let d = session.model.config().hidden_size;
        let rows = with_header(golden(case), |h| {
            h.replace(&format!("\"shape\":[{d}]"), &format!("\"shape\":[1,{d}]"))
        });
        check("a row", &session, &ids, &golden(case), &rows);
    }
    for field in [
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "runtime_config",
    ] {
        let more = with_field(golden("adalora"), field, serde_json::json!({"rho": 2.0}));
        check(field, &base, &ids, &golden("adalora"), &more);
    }
    let other = with_field(lora(), "modules_to_save", vec!["wte"].into());
    check("a name of no module", &base, &ids, &lora(), &other);
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

#[test]
fn another_model_shows_in_the_shapes() {
    let error = adapters::load(&lora(), &tiny("base_untied").model).map(|_| ());
    let error = error.expect_err("another width");
    assert_eq!(error.code(), "wrong-shape", "{error}");
    assert!(error.to_string().contains("another model"), "{error}");
}

#[test]
fn inspect_explains_every_golden_case() {
    let mut seen = BTreeMap::new();
    for entry in std::fs::read_dir(golden_dir()).expect("golden").flatten() {
        if !entry.path().join("adapter_model.safetensors").exists() {
            continue;
        }
        let files = adapter_files(&entry.path());
        let found = adapters::inspect(&files).expect("readable");
        assert!(
            found.refused.is_empty(),
            "{}: {:?}",
            found.name,
            found.refused
        );
        assert!(
            !found.modules.is_empty() && found.parameters > 0,
            "{}: {found:?}",
            found.name
        );
        seen.insert(found.method.expect("known").name, found.name);
    }
    assert_eq!(
        seen.len(),
        steering_playground::methods::METHODS.len(),
        "all methods are there: {seen:?}"
    );
    let refused = adapters::inspect(&with_field(lora(), "use_qalora", true.into()));
    let refused = refused.expect("readable").refused;
    assert_eq!(refused[0].0, "unsupported-option", "what load would refuse");
    let found = adapters::inspect(&AdapterFiles {
        expert_weights: None,
        ..golden("xlora_weights")
    });
    let found = found.expect("readable");
    assert_eq!(
        (found.experts, found.skills),
        (Some(2), None),
        "experts are counted"
    );
    assert_eq!(found.refused[0].0, "missing-key", "a gate saved in part");
    let found = adapters::inspect(&golden("poly_weights")).expect("readable");
    assert_eq!(
        (found.tasks, found.skills, found.experts),
        (Some(2), Some(3), None),
        "tasks and the skills they share"
    );
}

/// A tiny base under another name.
fn called(base: &str, name: &str) -> Session {
    let dir = golden_dir().join(base);
    let read = |name: &str| std::fs::read(dir.join(name)).expect(name);
    pollster::block_on(async {
        let weights = Bytes {
            name: "model.safetensors".into(),
            bytes: read("model.safetensors"),
        };
        let mut file = ModelFile::open_folder(&read("config.json"), vec![weights], None).await?;
        file.also_called(name);
        Session::load(&file, None, &device::cpu(), Weights::Dense, |_| {}).await
    })
    .expect("the tiny model loads")
}

#[test]
fn nothing_is_said_against_an_adapter_on_its_own_model() {
    for case in cases() {
        let session = tiny(&case.base);
        let adapter = adapters::load(&case.files(), &session.model).expect("loads");
        assert!(
            adapter.warnings.is_empty(),
            "{}: {:?}",
            case.name,
            adapter.warnings
        );
        let found = adapters::inspect_for(&case.files(), &session.model).expect("readable");
        assert!(
            found.refused.is_empty(),
            "{}: {:?}",
            case.name,
            found.refused
        );
        assert!(
            found.warnings.is_empty(),
            "{}: {:?}",
            case.name,
            found.warnings
        );
        assert_eq!(
            found.layers_reached,
            Some(adapter.layers_text()),
            "{}",
            case.name
        );
    }
}

/// The files without the tensors whose names have this part.
fn without(files: AdapterFiles, part: &str) -> AdapterFiles {
    let length = u64::from_le_bytes(files.weights[..8].try_into().expect("8 bytes")) as usize;
    let (head, data) = files.weights[8..].split_at(length);
    let mut head: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(head).expect("JSON");
    head.retain(|key, _| !key.contains(part));
    let mut kept: Vec<u8> = Vec::new();
    for tensor in head
        .values_mut()
        .filter(|tensor| tensor["dtype"].is_string())
    {
        let [start, end] =
            [0, 1].map(|at| tensor["data_offsets"][at].as_u64().expect("an offset") as usize);
        let from = kept.len();
        kept.extend_from_slice(&data[start..end]);
        tensor["data_offsets"] = vec![from, kept.len()].into();
    }
    let head = serde_json::Value::Object(head).to_string();
    let mut weights = (head.len() as u64).to_le_bytes().to_vec();
    weights.extend(head.bytes());
    weights.extend(kept);
    AdapterFiles { weights, ..files }
}

/// An adapter of another model that happens to fit loads, with a warning.
#[test]
fn another_models_adapter_comes_with_a_warning() {
    let llama = |files| {
        with_field(
            files,
            "base_model_name_or_path",
            "meta-llama/Llama-3.1-8B".into(),
        )
    };
    let smollm = |files| {
        with_field(
            files,
            "base_model_name_or_path",
            "HuggingFaceTB/SmolLM2-135M".into(),
        )
    };
    let layers = "its config wants layers 0-2 of this model, it reaches 0-1; was it trained on another model?";
    for (what, files, base, name, warning) in [
        (
            "a seeded method of a model of two layers",
            golden("fourierft"),
            "base_untied",
            "x",
            layers,
        ),
        (
            "a prefix of a model of six layers",
            with_field(golden("prefix"), "num_layers", 6.into()),
            "base",
            "x",
            "its config says 6 layers, the model has 2; was it trained on another model?",
        ),
        (
            "prompts in other layers than the top ones",
            with_field(golden("adaption_prompt"), "adapter_layers", 2.into()),
            "base",
            "x",
            "its config wants layers 0-1 of this model, it reaches 1; was it trained on another model?",
        ),
        (
            "a base of another family",
            llama(lora()),
            "base",
            "SmolLM2-135M-Instruct",
            "its config names Llama-3.1-8B (llama 3.1, 8B) as the base, the model is SmolLM2-135M-Instruct (smollm 2, 135M)",
        ),
        (
            "a base of the same family",
            smollm(lora()),
            "base",
            "/models/SmolLM2-135M-Instruct/",
            "",
        ),
        ("an unknown model", llama(lora()), "base", "x", ""),
        (
            "a file without its upper layer",
            without(lora(), "layers.1."),
            "base",
            "x",
            "its config wants layers 0-1 of this model, it reaches 0; was it trained on another model?",
        ),
        (
            "a file for chosen layers",
            with_field(
                without(lora(), "layers.1."),
                "layers_to_transform",
                vec![0].into(),
            ),
            "base",
            "x",
            "",
        ),
        (
            "a file with tensors that its config leaves out",
            with_field(lora(), "layers_to_transform", vec![0].into()),
            "base",
            "x",
            "its config does not choose model.layers.1.self_attn.q_proj and 6 more, for which its file has tensors: they act here, PEFT passes over them",
        ),
        (
            "a file with tensors that its config excludes",
            with_field(
                lora(),
                "exclude_modules",
                "model.layers.1.self_attn.q_proj".into(),
            ),
            "base",
            "x",
            "its config does not choose model.layers.1.self_attn.q_proj, for which its file has tensors: they act here, PEFT passes over them",
        ),
        (
            "a vector of one layer",
            without(golden("control_vector"), "direction.2"),
            "base_untied",
            "x",
            "",
        ),
    ] {
        let session = called(base, name);
        let adapter = adapters::load(&files, &session.model).expect(what);
        assert_eq!(adapter.warnings.join("; "), warning, "{what}");
        let found = adapters::inspect_for(&files, &session.model).expect("readable");
        assert_eq!(found.warnings, adapter.warnings, "{what}");
        let mut stack = adapters::Stack::default();
        stack.add(adapter);
        let view = stack.entries()[0].view();
        assert_eq!(view.warnings, found.warnings, "{what}");
        assert_eq!(Some(view.layers_reached), found.layers_reached, "{what}");
        assert_eq!(view.base_model, found.base_model, "{what}");
    }
}

/// With a model, `inspect` finds all that loading would refuse, each once.
#[test]
fn inspect_for_a_model_finds_all_refusals() {
    let rename = |files, from: &'static str, to: &'static str| {
        with_header(files, move |head| head.replace(from, to))
    };
    let many = rename(
        lora(),
        "layers.0.self_attn.q_proj.lora_B",
        "layers.0.self_attn.q_proj.lora_X",
    );
    let many = rename(many, "layers.1.mlp.up_proj", "layers.7.mlp.up_proj");
    let many = rename(
        many,
        "layers.0.mlp.down_proj.lora_",
        "layers.0.mlp.extra.other_",
    );
    let many = with_field(many, "use_qalora", true.into());
    let many = with_field(many, "modules_to_save", vec!["lm_head", "norm"].into());
    let many = with_field(
        many,
        "rank_pattern",
        serde_json::json!({ "1.self_attn.k_proj": 3 }),
    );
    let cases = [
        (
            "many at once",
            many,
            vec![
                ("unsupported-option", "use_qalora"),
                ("unexpected-keys", "layers.0.self_attn.q_proj.lora_X"),
                ("missing-key", "layers.0.self_attn.q_proj.lora_B"),
                ("wrong-shape", "layers.1.self_attn.k_proj.lora_A"),
                ("no-such-module", "layers.7.mlp.up_proj.lora_A"),
                ("missing-key", "<module>lm_head"),
                ("missing-key", "<module>norm"),
            ],
        ),
        ("nothing", lora(), vec![]),
        (
            "no task chosen",
            AdapterFiles {
                task: None,
                ..golden("poly")
            },
            vec![],
        ),
        (
            "a method's own option",
            with_field(lora(), "init_lora_weights", "pissa_niter_4".into()),
            vec![(
                "unsupported-option",
                "path_initial_model_for_weight_conversion",
            )],
        ),
        (
            "an unknown method",
            with_field(lora(), "peft_type", "TELEPATHY".into()),
            vec![("unknown-method", "TELEPATHY")],
        ),
        (
            "a rank of 0",
            with_field(golden("loha"), "r", 0.into()),
            vec![("bad-config", "above 0")],
        ),
        (
            "a gate saved in part",
            AdapterFiles {
                expert_weights: None,
                ..golden("xlora_weights")
            },
            vec![("missing-key", "layers.0.weight")],
        ),
        (
            "a step beyond the model",
            rename(golden("control_vector"), "direction.1", "direction.9"),
            vec![("no-such-module", "direction.9")],
        ),
    ];
    for (what, files, expected) in cases {
        let base = if what.starts_with("a step") {
            "base_untied"
        } else {
            "base"
        };
        let found = adapters::inspect_for(&files, &tiny(base).model).expect("readable");
        let told: Vec<(&str, &str)> = found
            .refused
            .iter()
            .map(|(code, why)| (&**code, &**why))
            .collect();
        let each = expected.iter().all(|(code, part)| {
            told.iter()
                .filter(|(c, why)| c == code && why.contains(part))
                .count()
                == 1
        });
        assert!(each && told.len() == expected.len(), "{what}: {told:#?}");
        assert_eq!(
            found.layers_reached.is_some(),
            expected.is_empty(),
            "{what}"
        );
    }
    let of_another = adapters::inspect_for(&lora(), &tiny("base_untied").model).expect("readable");
    let shapes = of_another
        .refused
        .iter()
        .filter(|(code, _)| code == "wrong-shape");
    assert_eq!(
        shapes.count(),
        of_another.modules.len(),
        "every module is of another width"
    );
}

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
