//! What is given as a model.

use super::*;

/// Opens files of a folder by their names, as a terminal and a page do.
fn open_named(
    files: &[(&str, Vec<u8>)],
    asked: Option<&str>,
) -> Result<(ModelFile<Bytes>, Option<Text>)> {
    let names: Vec<String> = files.iter().map(|(name, _)| (*name).into()).collect();
    let source = |name: &str| {
        let file = files.iter().find(|(known, _)| *known == name);
        Ok(bytes(name, file.expect("one of them").1.clone()))
    };
    block_on(steering_playground::open::open(
        "here", &names, asked, false, source,
    ))
}

#[test]
fn a_folder_is_opened_by_its_name_or_by_that_of_its_weights() {
    let model = small_model();
    let whole = to_safetensors(model.iter());
    let config = small_config().to_string().into_bytes();
    let wrong: BTreeMap<_, _> = model
        .iter()
        .map(|(key, of)| (key.clone(), tensor(&of.shape, |_| 9.0)))
        .collect();
    let wrong = to_safetensors(wrong.iter());
    let index = br#"{"weight_map": {"a": "model-00001-of-00001.safetensors"}}"#.to_vec();
    let shard = "model-00001-of-00001.safetensors";
    let index_name = "model.safetensors.index.json";
    let right = |files: &[(&str, Vec<u8>)], asked: Option<&str>| {
        let (opened, _) = open_named(files, asked).unwrap_or_else(|error| panic!("{error}"));
        let norm = block_on(opened.tensor("model.norm.weight", &[WIDTH])).expect("reads");
        norm == floats(&model["model.norm.weight"])
    };
    let files = [
        ("config.json", config.clone()),
        ("model.safetensors", whole.clone()),
        (index_name, index.clone()),
        (shard, wrong.clone()),
        ("consolidated.safetensors", wrong.clone()),
        ("other.gguf", small_gguf()),
        ("sub/config.json", b"{}".to_vec()),
    ];
    for asked in [None, Some("model.safetensors"), Some("config.json")] {
        assert!(right(&files, asked), "{asked:?}");
    }
    // Who names the index or a shard means these.
    for asked in [index_name, shard, "consolidated.safetensors"] {
        assert!(!right(&files, Some(asked)), "{asked}");
    }
    let files = [
        ("config.json", config),
        (index_name, index),
        (shard, whole),
        ("model-00001-of-00002.safetensors", wrong),
    ];
    for asked in [None, Some(index_name), Some(shard)] {
        assert!(right(&files, asked), "{asked:?}");
    }
    let other = open_named(&files, Some("model-00001-of-00002.safetensors"));
    let said = other.expect_err("not of this model").to_string();
    assert!(said.contains("names other files"), "{said}");
    let split = parts(2);
    let split = [
        ("a-00001-of-00002.gguf", split[0].clone()),
        ("a-00002-of-00002.gguf", split[1].clone()),
    ];
    for asked in [None, Some(split[0].0), Some(split[1].0)] {
        assert!(right(&split, asked), "{asked:?}");
    }
    let alone = open_named(&split[..1], None).expect_err("one of two parts");
    assert!(
        alone.to_string().contains("part 1 of 2, give all 2"),
        "{alone}"
    );
}

#[test]
fn what_is_no_model_is_called_what_it_is() {
    const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n";
    const PAGE: &[u8] = b"<!DOCTYPE html>\n<html><head>";
    let good = || {
        vec![
            ("config.json", small_config().to_string().into_bytes()),
            ("model.safetensors", to_safetensors(small_model().iter())),
            (
                "model.safetensors.index.json",
                b"{\"weight_map\": {\"a\": \"x\"}}".to_vec(),
            ),
            ("tokenizer.json", b"{}".to_vec()),
        ]
    };
    for (bytes, word) in [(POINTER, "git lfs pull"), (PAGE, "a web page")] {
        for (at, asked) in [
            (0, None),
            (1, None),
            (2, Some("model.safetensors.index.json")),
            (3, None),
        ] {
            let mut files = good();
            files[at].1 = bytes.to_vec();
            let said = open_named(&files, asked).expect_err("no model").to_string();
            assert!(said.contains(word) && said.contains(files[at].0), "{said}");
        }
        for name in ["model.gguf", "model"] {
            let said = open_named(&[(name, bytes.to_vec())], Some(name)).expect_err("no model");
            assert!(said.to_string().contains(word), "{said}");
        }
    }

    // Adapters in a model's place.
    let adapter = |metadata: &[(&str, Value)]| {
        let pairs: Vec<_> = metadata
            .iter()
            .map(|(k, v)| ((*k).into(), v.clone()))
            .collect();
        open_model(gguf::write(&pairs, &[]).expect("writes")).expect_err("an adapter")
    };
    let lora = [
        ("general.architecture", text("llama")),
        ("general.type", text("adapter")),
        ("adapter.type", text("lora")),
    ];
    let vector = [
        ("general.architecture", text("controlvector")),
        ("controlvector.model_hint", text("llama")),
    ];
    let mut keys = small_model();
    let values = tensor(&[1, 1], |_| 1.0);
    keys.clear();
    keys.insert(
        "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight".into(),
        values,
    );
    for error in [
        adapter(&lora),
        adapter(&vector),
        folder(&small_config(), &keys).expect_err("an adapter"),
        folder(&serde_json::json!({"peft_type": "LORA"}), &keys).expect_err("an adapter"),
    ] {
        let said = error.to_string();
        assert!(
            said.contains("adapter") && said.contains("--adapter"),
            "{said}"
        );
    }

    // Other kinds of models, and names that somebody's wrapper changed.
    let config = |field: &str, value: serde_json::Value| {
        let mut config = small_config();
        config[field] = value;
        config
    };
    let mut classifier = small_model();
    classifier.remove("lm_head.weight");
    classifier.insert("score.weight".into(), tensor(&[2, WIDTH], |_| 1.0));
    let wrapped: BTreeMap<_, _> = small_model()
        .into_iter()
        .map(|(key, tensor)| (format!("_orig_mod.{key}"), tensor))
        .collect();
    let mut longer = small_model();
    longer.insert(
        "model.embed_tokens.weight".into(),
        tensor(&[VOCAB + 3, WIDTH], |_| 1.0),
    );
    let model = small_model();
    let table = [
        (
            config(
                "architectures",
                serde_json::json!(["LlamaForSequenceClassification"]),
            ),
            &model,
            "a classifier",
        ),
        (small_config(), &classifier, "a classifier"),
        (
            config(
                "quantization",
                serde_json::json!({"group_size": 64, "bits": 4}),
            ),
            &model,
            "MLX",
        ),
        (
            config(
                "quantization_config",
                serde_json::json!({"quant_method": "awq", "bits": 4}),
            ),
            &model,
            "awq",
        ),
        (small_config(), &wrapped, "begin with `_orig_mod.`"),
        (small_config(), &longer, "3 tokens more"),
    ];
    for (config, model, word) in table {
        let said = folder(&config, model).expect_err(word).to_string();
        assert!(said.contains(word), "{word}: {said}");
    }
    let bare = config("architectures", serde_json::json!(["LlamaModel"]));
    assert!(folder(&bare, &model).is_ok());
    assert!(folder(&config("architectures", serde_json::json!([])), &model).is_ok());
}
