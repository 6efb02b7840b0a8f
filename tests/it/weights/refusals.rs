//! Models that are not what they say, or that are not computed.

use super::*;

/// llama.cpp lets these sizes differ from block to block; where they do not, they are one size.
#[test]
fn lists_of_equal_sizes_are_one_size() {
    let sizes = [
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KV_HEADS),
        ("feed_forward_length", INNER),
    ];
    for (name, size) in sizes {
        let key = format!("llama.{name}");
        let (size, layers) = (size as i32, LAYERS);
        let open = |value: Value| {
            let mut metadata = gguf_metadata();
            metadata.retain(|(name, _)| *name != key);
            metadata.push((key.clone(), value));
            open_model(gguf::write(&metadata, &gguf_tensors(&small_model())).expect("writes"))
        };
        for list in [
            Array::I32(vec![size; layers]),
            Array::U32(vec![size as u32; layers]),
            Array::U64(vec![size as u64; layers]),
        ] {
            open(Value::Array(list.clone())).unwrap_or_else(|error| panic!("{list:?}: {error}"));
        }
        let mut unequal = vec![size; layers];
        unequal[layers - 1] = size * 2;
        for (list, code) in [
            (Array::I32(unequal), "unsupported-model"),
            (Array::I32(vec![size; layers + 1]), "unsupported-model"),
            (Array::I32(vec![size]), "unsupported-model"),
            (Array::I32(vec![]), "unsupported-model"),
            (Array::F32(vec![size as f32; layers]), "bad-config"),
            (Array::I32(vec![-1; layers]), "bad-config"),
        ] {
            let error = open(Value::Array(list.clone())).expect_err("not one size");
            assert_eq!(error.code(), code, "{list:?}: {error}");
            assert!(error.to_string().contains(&key), "{list:?}: {error}");
        }
    }
}

#[test]
fn a_model_that_is_incomplete_or_misshapen_is_refused_when_it_is_opened() {
    for key in small_model().keys() {
        let mut model = small_model();
        let values = model.remove(key).expect("is there");
        let error = folder(&small_config(), &model).expect_err("a tensor is missing");
        assert_eq!(error.code(), "missing-key");
        assert!(error.to_string().contains(key.as_str()), "{key}: {error}");

        let flat = tensor(&[values.shape.iter().product(), 1], |n| n as f32);
        model.insert(key.clone(), flat);
        let error = folder(&small_config(), &model).expect_err("a tensor has another shape");
        assert_eq!(error.code(), "wrong-shape", "{key}: {error}");
        assert!(error.to_string().contains(key.as_str()), "{key}: {error}");
    }
    let mut twice = small_model();
    twice.insert("norm.weight".into(), tensor(&[WIDTH], |_| 1.0));
    let error = folder(&small_config(), &twice).expect_err("with and without `model.`");
    assert_eq!(error.code(), "bad-header");

    let shard = bytes(
        "model-1-of-2.safetensors",
        to_safetensors(small_model().iter()),
    );
    let index =
        br#"{"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}"#;
    let json = small_config().to_string();
    let opened = block_on(ModelFile::open_folder(
        json.as_bytes(),
        vec![shard],
        Some(index),
    ));
    let error = opened.expect_err("a shard is missing");
    assert!(
        error.to_string().contains("model-2-of-2.safetensors"),
        "{error}"
    );
    let opened = ModelFile::open_folder(json.as_bytes(), Vec::<Bytes>::new(), Some(b"{}"));
    assert_eq!(block_on(opened).expect_err("no index").code(), "bad-config");
}

#[test]
fn hugging_face_configs_of_other_models_are_refused_by_field() {
    use serde_json::json;
    let table = [
        ("model_type", json!("no_such_family"), "unsupported-model"),
        ("model_type", json!(7), "bad-config"),
        ("model_type", json!(null), "missing-key"),
        (
            "architectures",
            json!(["LlamaForSequenceClassification"]),
            "unsupported-model",
        ),
        ("hidden_act", json!("gelu"), "unsupported-model"),
        (
            "quantization_config",
            json!({"quant_method": "awq"}),
            "unsupported-model",
        ),
        (
            "rope_scaling",
            json!({"rope_type": "llama3", "factor": 8.0}),
            "missing-key",
        ),
        (
            "rope_scaling",
            json!({"type": "dynamic", "factor": 2.0}),
            "unsupported-model",
        ),
        (
            "rope_parameters",
            json!({"rope_type": "yarn"}),
            "missing-key",
        ),
        (
            "rope_parameters",
            json!({"rope_theta": -1.0}),
            "unsupported-model",
        ),
        ("rope_interleaved", json!(true), "unsupported-model"),
        ("partial_rotary_factor", json!(0.5), "unsupported-model"),
        ("hidden_size", json!(null), "missing-key"),
        ("hidden_size", json!("8"), "bad-config"),
        ("hidden_size", json!(0), "unsupported-model"),
        ("num_hidden_layers", json!(1_u64 << 40), "unsupported-model"),
        ("num_hidden_layers", json!(1_u64 << 24), "missing-key"),
        ("num_attention_heads", json!(-4), "bad-config"),
        ("num_key_value_heads", json!(3), "unsupported-model"),
        ("head_dim", json!(5), "unsupported-model"),
        ("rms_norm_eps", json!(0.0), "unsupported-model"),
        ("attention_bias", json!("yes"), "bad-config"),
    ];
    for (field, value, code) in table {
        let mut config = small_config();
        config[field] = value.clone();
        let error = folder(&config, &small_model()).expect_err(field);
        assert_eq!(error.code(), code, "{field} = {value}: {error}");
        // Only absurdly many layers are found by the tensors they lack.
        let named = error.to_string().contains(field) || field == "num_hidden_layers";
        assert!(named, "{field} = {value}: {error}");
    }
    let error = open_folder(&serde_json::json!([]), Vec::new()).expect_err("not an object");
    assert_eq!(error.code(), "bad-config");

    // Old configs: `rope_theta` outside, no head width, no key/value heads.
    let mut config = small_config();
    let fields = config.as_object_mut().expect("an object");
    for field in [
        "rope_parameters",
        "head_dim",
        "num_key_value_heads",
        "architectures",
    ] {
        fields.remove(field);
    }
    fields.insert("rope_theta".into(), 1234.0.into());
    fields.insert("num_attention_heads".into(), 2.into());
    let error = folder(&config, &small_model()).expect_err("other shapes");
    assert!(
        error.to_string().contains("[8, 8]"),
        "2 heads of width 4: {error}"
    );
}

#[test]
fn ggufs_of_other_models_are_refused_by_field() {
    let table = [
        (
            "general.architecture",
            text("no_such_family"),
            "unsupported-model",
        ),
        ("general.architecture", Value::U8(1), "bad-config"),
        ("llama.expert_count", Value::U32(8), "unsupported-model"),
        ("llama.rope.scaling.type", text("yarn"), "unsupported-model"),
        (
            "llama.rope.scaling.factor",
            Value::F32(-4.0),
            "unsupported-model",
        ),
        (
            "llama.rope.scale_linear",
            Value::F32(f32::INFINITY),
            "unsupported-model",
        ),
        ("llama.logit_scale", Value::F32(0.5), "unsupported-model"),
        (
            "llama.attention.causal",
            Value::Bool(false),
            "unsupported-model",
        ),
        (
            "llama.rope.dimension_count",
            Value::U32(4),
            "unsupported-model",
        ),
        (
            "llama.attention.value_length",
            Value::U32(4),
            "unsupported-model",
        ),
        (
            "llama.attention.head_count_kv",
            Value::U32(3),
            "unsupported-model",
        ),
        (
            "llama.attention.head_count_kv",
            Value::Array(Array::U32(vec![2, 1])),
            "unsupported-model",
        ),
        (
            "llama.attention.key_length",
            Value::U32(7),
            "unsupported-model",
        ),
        ("llama.block_count", Value::U64(u64::MAX), "bad-config"),
        ("llama.block_count", Value::U32(0), "unsupported-model"),
        (
            "llama.embedding_length",
            Value::U32(u32::MAX),
            "unsupported-model",
        ),
        (
            "llama.rope.freq_base",
            Value::F32(f32::NAN),
            "unsupported-model",
        ),
    ];
    for (key, value, code) in table {
        let mut metadata = gguf_metadata();
        metadata.retain(|(name, _)| name != key);
        metadata.push((key.into(), value.clone()));
        // The head width is compared with the two others.
        if key == "llama.attention.key_length" {
            metadata
                .retain(|(name, _)| !name.contains("value_length") && !name.contains("dimension"));
        }
        let file = gguf::write(&metadata, &gguf_tensors(&small_model())).expect("writes");
        let error = open_model(file).expect_err(key);
        assert_eq!(error.code(), code, "{key} = {value:?}: {error}");
        assert!(
            error.to_string().contains(key),
            "{key} = {value:?}: {error}"
        );
    }
    for key in [
        "general.architecture",
        "llama.block_count",
        "llama.attention.layer_norm_rms_epsilon",
    ] {
        let mut metadata = gguf_metadata();
        metadata.retain(|(name, _)| name != key);
        let file = gguf::write(&metadata, &gguf_tensors(&small_model())).expect("writes");
        let error = open_model(file).expect_err(key);
        assert!(
            error.code() == "missing-key" && error.to_string().contains(key),
            "{error}"
        );
    }
}

/// Lists in lists are counted, not followed to their end: a stack is no longer than it is.
#[test]
fn lists_in_lists_are_refused_in_each_file_of_a_model() {
    use steering_playground::hub::{ENDPOINT, Place, entries};
    use steering_playground::weights::folder::shards;

    let nested = format!(r#"{{"weight_map":{}"#, "[".repeat(200_000));
    let nested = nested.as_bytes();
    let place = Place::of_id("o/n", ENDPOINT).expect("a place");
    let files = vec![bytes("model.safetensors", Vec::new())];
    let errors = [
        block_on(ModelFile::open_folder(nested, files, None)).map(drop),
        shards(nested).map(drop),
        entries(&place, &nested[14..]).map(drop),
    ];
    for error in errors {
        let error = error.expect_err("nested");
        assert_eq!(error.code(), "bad-config", "{error}");
    }
}
