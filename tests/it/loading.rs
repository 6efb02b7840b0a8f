//! Adapters that must not load, each with its own error, and what `inspect` says of them.

use std::collections::BTreeMap;

use playground::adapters::{self, AdapterFiles};
use playground::device;
use playground::error::Error;
use playground::model::Weights;
use playground::session::Session;
use playground::weights::{Bytes, ModelFile};

use crate::common::{adapter_files, golden_dir, tiny};
use crate::golden::cases;

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
        adapters::METHODS.len(),
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
    let mut kept = Vec::new();
    for tensor in head
        .values_mut()
        .filter(|tensor| tensor["dtype"].is_string())
    {
        let [start, end] =
            [0, 1].map(|at| tensor["data_offsets"][at].as_u64().expect("an offset") as usize);
        let from = kept.len();
        kept.extend(&data[start..end]);
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
                ("missing-key", "<module>.lm_head"),
                ("missing-key", "<module>.norm"),
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
        let export = playground::export::Export::new(&stack.entries()[0]);
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
        let export = playground::export::Export::new(&stack.entries()[0]);
        let error = pollster::block_on(export.gguf(&session.model)).expect_err(case);
        assert_eq!(error.code(), "unsupported-option", "{case}: {error}");
    }
}
