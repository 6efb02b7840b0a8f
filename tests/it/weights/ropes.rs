//! Rotary embeddings in every wrapping.

use super::*;

/// The rotary embedding of the small model with other fields in its config.json.
fn rope_of_json(fields: &serde_json::Value) -> Result<RopeConfig> {
    let mut config = small_config();
    let old = config.as_object_mut().expect("an object");
    old.remove("rope_parameters");
    old.remove("rope_scaling");
    old.extend(fields.as_object().expect("an object").clone());
    folder(&config, &small_model()).map(|opened| opened.config().ropes[0].clone())
}

/// That of a GGUF file with other metadata, and this tensor.
fn rope_of_gguf(more: Vec<(String, Value)>, factors: Option<HostTensor>) -> Result<RopeConfig> {
    let mut metadata = gguf_metadata();
    metadata.extend(more);
    let mut tensors = gguf_tensors(&small_model());
    tensors.extend(factors.map(|factors| ("rope_freqs.weight".to_owned(), factors)));
    let file = gguf::write(&metadata, &tensors).expect("writes");
    open_model(file).map(|opened| opened.config().ropes[0].clone())
}

fn rope_key(key: &str, number: f32) -> (String, Value) {
    (format!("llama.rope.{key}"), Value::F32(number))
}

fn rope_kind(name: &str) -> (String, Value) {
    ("llama.rope.scaling.type".to_owned(), text(name))
}

/// A scaling by 1 is none, in what transformers and llama.cpp compute of it.
#[test]
fn rotary_scalings_that_change_nothing_are_read() {
    use serde_json::json;
    let plain = RopeConfig::plain(500.0, HEAD_DIM);
    for fields in [
        json!({"rope_theta": 500.0}),
        json!({"rope_theta": 500.0, "rope_scaling": {}, "rope_parameters": null}),
        json!({"rope_theta": 7.0, "rope_parameters": {"rope_theta": 500.0}}),
        json!({"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 1.0}}),
        json!({"rope_theta": 500.0, "rope_scaling": {"rope_type": "linear", "factor": 1}}),
        json!({"rope_theta": 500.0, "rope_scaling": {"type": "dynamic", "factor": 1.0}}),
        json!({"rope_theta": 500.0, "rope_scaling": {"type": "yarn", "rope_type": "yarn", "factor": 1.0}}),
        json!({"rope_parameters": {"rope_type": "linear", "factor": 1.0, "rope_theta": 500.0}}),
        json!({"rope_parameters": {"rope_type": "llama3", "factor": 1.0, "rope_theta": 500.0}}),
        json!({"rope_theta": 500.0, "rope_scaling": {"rope_type": "default"},
               "rope_parameters": {"rope_theta": 500.0}}),
    ] {
        let rope = rope_of_json(&fields);
        assert_eq!(rope, Ok(plain.clone()), "{fields}");
    }
    for more in [
        vec![rope_kind("linear"), rope_key("scaling.factor", 1.0)],
        vec![rope_kind("linear")],
        vec![rope_key("scaling.factor", 1.0)],
        vec![rope_key("scale_linear", 1.0)],
        vec![rope_key("scaling.factor", 0.0)],
        vec![rope_kind("yarn"), rope_key("scaling.factor", 1.0)],
        vec![rope_kind("none"), rope_key("scaling.factor", 4.0)],
    ] {
        assert_eq!(
            rope_of_gguf(more.clone(), None),
            Ok(plain.clone()),
            "{more:?}"
        );
    }
    let ones = tensor(&[HEAD_DIM / 2], |_| 1.0);
    assert_eq!(rope_of_gguf(Vec::new(), Some(ones)), Ok(plain));
}

/// The same scaling in every wrapping is the same rotary embedding; that these are right is shown by
/// the models of `families`.
#[test]
fn one_rotary_scaling_in_several_wrappings_is_the_same() {
    use serde_json::json;
    let plain = RopeConfig::plain(500.0, HEAD_DIM);
    let stretched = |by: [f32; 3]| RopeConfig {
        inverse_wavelengths: std::iter::zip(&plain.inverse_wavelengths, by)
            .map(|(w, by)| w / by)
            .collect(),
        factor: 1.0,
    };
    let near = |found: &RopeConfig, expected: &RopeConfig| {
        let pairs = std::iter::zip(&found.inverse_wavelengths, &expected.inverse_wavelengths);
        let same = |(a, b): (&f32, &f32)| (a / b - 1.0).abs() < 1e-6;
        pairs.into_iter().all(same) && (found.factor / expected.factor - 1.0).abs() < 1e-6
    };
    let linear = [
        rope_of_json(
            &json!({"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 4}}),
        ),
        rope_of_json(&json!({"rope_parameters":
            {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}})),
        rope_of_gguf(
            vec![rope_kind("linear"), rope_key("scaling.factor", 4.0)],
            None,
        ),
        rope_of_gguf(vec![rope_key("scale_linear", 4.0)], None),
        rope_of_gguf(Vec::new(), Some(tensor(&[3], |_| 4.0))),
    ];
    for rope in linear {
        let rope = rope.expect("reads");
        assert!(near(&rope, &stretched([4.0; 3])), "{rope:?}");
    }
    let factors = tensor(&[3], |pair| 1.0 + pair as f32);
    let twice = rope_of_gguf(vec![rope_key("scale_linear", 2.0)], Some(factors)).expect("reads");
    assert!(near(&twice, &stretched([2.0, 4.0, 6.0])), "{twice:?}");

    let original = |key: &str| (key.to_owned(), Value::U32(4096));
    let key = "llama.rope.scaling.original_context_length";
    let yarn = |more: serde_json::Value| {
        let mut inside = json!({"rope_type": "yarn", "factor": 4.0, "rope_theta": 500.0,
            "original_max_position_embeddings": 4096});
        inside
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("one").clone());
        rope_of_json(&json!({"rope_parameters": inside})).expect("reads")
    };
    let expected = yarn(json!({}));
    assert!(
        (expected.factor - (0.1 * 4_f64.ln() + 1.0)).abs() < 1e-12,
        "{expected:?}"
    );
    let of_gguf = |mut more: Vec<_>| {
        more.extend([
            rope_kind("yarn"),
            rope_key("scaling.factor", 4.0),
            original(key),
        ]);
        rope_of_gguf(more, None)
    };
    let gguf = of_gguf(Vec::new()).expect("reads");
    assert!(near(&gguf, &expected), "{gguf:?}");
    let usual = yarn(
        json!({"beta_fast": 32, "beta_slow": 1.0, "truncate": true, "mscale": 1.0,
        "mscale_all_dim": 0.0}),
    );
    assert_eq!(usual, expected);
    let outside = json!({"rope_theta": 500.0, "original_max_position_embeddings": 4096,
        "rope_scaling": {"type": "yarn", "factor": 4.0}});
    assert_eq!(rope_of_json(&outside).expect("reads"), expected);
    // What llama.cpp multiplies on top.
    let half = of_gguf(vec![rope_key("scaling.attn_factor", 0.5)]).expect("reads");
    assert!(
        (half.factor - expected.factor / 2.0).abs() < 1e-12,
        "{half:?}"
    );
    let half = rope_of_gguf(vec![rope_key("scaling.attn_factor", 0.5)], None).expect("reads");
    assert_eq!(
        (half.inverse_wavelengths, half.factor),
        (plain.inverse_wavelengths, 0.5)
    );
    // Fields that change something.
    assert_eq!(yarn(json!({"attention_factor": 2.0})).factor, 2.0);
    let scales = yarn(json!({"mscale": 0.5, "mscale_all_dim": 2.0})).factor;
    assert!((scales - (0.05 * 4_f64.ln() + 1.0) / (0.2 * 4_f64.ln() + 1.0)).abs() < 1e-12);
    for more in [
        json!({"beta_fast": 512.0}),
        json!({"beta_slow": 50.0}),
        json!({"truncate": false}),
        json!({"original_max_position_embeddings": 64}),
    ] {
        let rope = yarn(more.clone());
        assert!(!near(&rope, &expected), "{more}: {rope:?}");
    }
}

#[test]
fn rotary_scalings_that_are_not_computed_are_refused_by_field() {
    use serde_json::json;
    let llama3 = |more: serde_json::Value| {
        let mut inside = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32});
        inside
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("one").clone());
        json!({"rope_scaling": inside})
    };
    let scaling = |inside: serde_json::Value| json!({"rope_scaling": inside});
    for (fields, words) in [
        (
            scaling(json!({"type": "linear"})),
            &["rope_scaling.factor", "missing"][..],
        ),
        (
            scaling(json!({"type": "linear", "factor": 0})),
            &["rope_scaling.factor", "positive"],
        ),
        (
            scaling(json!({"type": "linear", "factor": "2"})),
            &["rope_scaling.factor", "a number"],
        ),
        (
            scaling(json!({"type": "linear", "factor": 1e-300})),
            &["rope_scaling.type", "finite"],
        ),
        (scaling(json!("linear")), &["rope_scaling", "an object"]),
        (
            scaling(json!({"type": "dynamic", "factor": 2.0})),
            &["rope_scaling.type", "dynamic by 2", "cache", "yarn"],
        ),
        (
            scaling(json!({"rope_type": "longrope", "factor": 1.0})),
            &["rope_scaling.rope_type", "longrope by 1", "cache"],
        ),
        (
            scaling(json!({"rope_type": "su"})),
            &["rope_scaling.rope_type", "su"],
        ),
        (
            scaling(json!({"rope_type": "new"})),
            &["rope_scaling.rope_type", "new", "llama3, yarn"],
        ),
        (
            scaling(json!({"rope_type": "default", "type": "linear", "factor": 2.0})),
            &["rope_scaling.type", "linear", "default"],
        ),
        (
            scaling(json!({"rope_type": "default", "partial_rotary_factor": 0.5})),
            &["rope_scaling.partial_rotary_factor", "0.5"],
        ),
        (
            llama3(json!({"low_freq_factor": null})),
            &["rope_scaling.low_freq_factor", "missing"],
        ),
        (
            llama3(json!({"high_freq_factor": 1.0})),
            &["rope_scaling.high_freq_factor", "above"],
        ),
        (
            llama3(json!({"original_max_position_embeddings": 0})),
            &["rope_scaling.original_max_position_embeddings", "sizes"],
        ),
        (
            scaling(json!({"type": "yarn", "factor": 2.0, "beta_fast": -1.0})),
            &["rope_scaling.beta_fast", "-1"],
        ),
        (
            scaling(
                json!({"type": "yarn", "factor": 2.0, "rope_theta": 2.0, "original_max_position_embeddings": 1}),
            ),
            &["rope_scaling.type", "1 tokens"],
        ),
        (
            scaling(json!({"type": "yarn", "factor": 2.0, "attention_factor": 0.0})),
            &["rope_scaling.attention_factor", "positive"],
        ),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 2.0},
                   "rope_parameters": {"rope_theta": 500.0}}),
            &["rope_parameters", "rope_scaling"],
        ),
        (
            json!({"original_max_position_embeddings": 16, "rope_scaling":
                {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}}),
            &["original_max_position_embeddings", "16", "32"],
        ),
    ] {
        let said = rope_of_json(&fields).expect_err("not computed").to_string();
        let named = words.iter().all(|word| said.contains(word));
        assert!(
            named && said.contains("config.json"),
            "{fields}: {words:?} in {said}"
        );
    }
    let yarn =
        |more: (String, Value)| vec![rope_kind("yarn"), rope_key("scaling.factor", 4.0), more];
    for (more, words) in [
        (
            vec![rope_kind("yarn")],
            &["llama.rope.scaling.type", "yarn"][..],
        ),
        (
            vec![rope_kind("longrope"), rope_key("scaling.factor", 1.0)],
            &["llama.rope.scaling.type", "longrope", "linear and yarn"],
        ),
        (
            vec![rope_key("scaling.factor", -2.0)],
            &["llama.rope.scaling.factor", "-2"],
        ),
        (
            vec![rope_key("scaling.attn_factor", 0.0)],
            &["llama.rope.scaling.attn_factor", "0"],
        ),
        (
            yarn(rope_key("scaling.yarn_beta_fast", 16.0)),
            &["llama.rope.scaling.yarn_beta_fast", "16", "llama.cpp"],
        ),
        (
            yarn(rope_key("scaling.yarn_attn_factor", 1.0)),
            &["llama.rope.scaling.yarn_attn_factor", "llama.cpp"],
        ),
        (
            yarn(rope_key("scaling.yarn_log_multiplier", 0.1)),
            &["llama.rope.scaling.yarn_log_multiplier"],
        ),
    ] {
        let said = rope_of_gguf(more.clone(), None)
            .expect_err("not computed")
            .to_string();
        let named = words.iter().all(|word| said.contains(word));
        assert!(
            named && said.contains("small.gguf"),
            "{more:?}: {words:?} in {said}"
        );
    }
    for (factors, word) in [
        (tensor(&[2], |_| 2.0), "[3]"),
        (tensor(&[3], |_| 0.0), "0"),
        (tensor(&[3], |pair| -(pair as f32)), "above 0"),
        (tensor(&[3], |_| 1e-44), "above 0"),
    ] {
        let said = rope_of_gguf(Vec::new(), Some(factors))
            .expect_err(word)
            .to_string();
        assert!(
            said.contains("rope_freqs.weight") && said.contains(word),
            "{said}"
        );
    }
}
