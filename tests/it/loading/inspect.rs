//! What `inspect` says of an adapter, alone and for a model.

use std::collections::BTreeMap;

use steering_playground::adapters;
use steering_playground::arch::ModelFile;
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::device;
use steering_playground::model::Weights;
use steering_playground::session::Session;
use steering_playground::weights::Bytes;

use super::{golden, lora, with_field, with_header};
use crate::common::{adapter_files, golden_dir, tiny};
use crate::golden::cases;

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

/// What lies beside the weights of each golden case is what its method's facts name.
#[test]
fn what_belongs_to_an_adapter_is_told_by_its_config() {
    for case in cases() {
        let files = case.files();
        let Some(config) = &files.config else {
            continue;
        };
        let besides = adapters::besides(config);
        let found = (besides.experts, besides.file.is_some());
        let there = (!files.experts.is_empty(), files.bases.is_some());
        assert_eq!(found, there, "{}", case.name);
    }
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
