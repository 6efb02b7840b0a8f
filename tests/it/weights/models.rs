//! One small model in every wrapping; heads, ties and tensors that nothing uses.

use super::*;

#[test]
fn one_model_in_five_wrappings_gives_the_same_tensors() {
    let model = small_model();
    let bare: BTreeMap<_, _> = model
        .iter()
        .map(|(key, tensor)| {
            (
                key.strip_prefix("model.").unwrap_or(key).to_owned(),
                tensor.clone(),
            )
        })
        .collect();
    let config = small_config();
    let shard = |name: &str, wanted: bool| {
        let half = model
            .iter()
            .enumerate()
            .filter(|(n, _)| (n % 2 == 0) == wanted);
        bytes(name, to_safetensors(half.map(|(_, pair)| pair)))
    };
    let shards = || {
        vec![
            shard("model-1-of-2.safetensors", true),
            shard("model-2-of-2.safetensors", false),
        ]
    };
    let index = serde_json::json!({"metadata": {}, "weight_map": {
        "a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}})
    .to_string();
    let json = config.to_string();
    let indexed = ModelFile::open_folder(json.as_bytes(), shards(), Some(index.as_bytes()));

    let wrappings = [
        ("gguf", open_model(small_gguf())),
        ("one file", folder(&config, &model)),
        ("without `model.`", folder(&config, &bare)),
        ("shards", open_folder(&config, shards())),
        ("shards with an index", block_on(indexed)),
    ];
    for (name, opened) in wrappings {
        let opened = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = opened.config();
        assert_eq!(
            (found.num_heads, found.num_kv_heads, found.head_dim),
            (HEADS, KV_HEADS, HEAD_DIM)
        );
        assert_eq!(
            (found.hidden_size, found.intermediate_size),
            (WIDTH, INNER),
            "{name}"
        );
        assert_eq!(
            (found.num_layers, found.vocab_size, found.context),
            (LAYERS, VOCAB, 64),
            "{name}"
        );
        assert!(
            (found.norm_eps - 1e-5).abs() < 1e-12
                && found.ropes == [RopeConfig::plain(500.0, found.head_dim)],
            "{name}"
        );
        assert!(
            !found.tie_word_embeddings && found.biases.qkv && found.biases.o && found.biases.mlp,
            "{name}"
        );
        assert_eq!(opened.unused(), [] as [&str; 0], "{name}");
        assert_eq!(
            opened.name(),
            if name == "gguf" {
                "Small Llama"
            } else {
                "small-llama"
            }
        );

        let mut total_bytes = 0;
        for (key, expected) in &model {
            for key in [key.as_str(), key.strip_prefix("model.").unwrap_or(key)] {
                assert!(opened.has(key), "{name}: {key}");
                let read = block_on(opened.tensor(key, &expected.shape)).expect("reads");
                assert_eq!(read, floats(expected), "{name}: {key}");
            }
            assert_eq!(opened.tensor_bytes(key), floats(expected).len() as u64 * 4);
            total_bytes += opened.tensor_bytes(key);
        }
        assert_eq!(opened.total_bytes(), total_bytes, "{name}");

        assert!(!opened.has("model.nothing.weight"));
        assert_eq!(opened.tensor_bytes("model.nothing.weight"), 0);
        let read = block_on(opened.tensor("model.nothing.weight", &[1]));
        assert_eq!(read.expect_err("is missing").code(), "missing-key");
        let read = block_on(opened.tensor("model.norm.weight", &[WIDTH + 1]));
        let error = read.expect_err("has another shape");
        assert_eq!(error.code(), "wrong-shape");
        let said = error.to_string();
        assert!(
            said.contains("norm.weight") && said.contains("[8]") && said.contains("[9]"),
            "{said}"
        );
    }
}

#[test]
fn tensors_larger_than_a_piece_come_out_whole() {
    // Blocks of 34 bytes, so that no power of two ends between blocks.
    let (rows, width) = (40_000_usize, 128_usize);
    let blocks = rows * width / 32;
    let data: Vec<u8> = (0..blocks)
        .flat_map(|block| {
            let values = (0..32).map(move |n| ((block * 7 + n * 3) % 251) as u8);
            [0x00, 0x3c].into_iter().chain(values)
        })
        .collect();
    let dims = [width as u64, rows as u64];
    let file = no_pairs(1)
        .line("t", &dims, Kind::Q8_0.ggml(), 0)
        .build(&data);
    assert!(
        data.len() > 4 << 20,
        "{} bytes are more than one piece",
        data.len()
    );
    let source = bytes("large.gguf", file);
    let opened = block_on(Gguf::open(&source)).expect("opens");
    let found = block_on(opened.tensor(&source, "t")).expect("reads");
    assert!(
        found == quant::dequantise(Kind::Q8_0, &data).expect("reads"),
        "pieces differ"
    );
}

/// As transformers 5: the config says whether they are tied, unless the file has two that differ.
#[test]
fn a_head_is_the_embedding_where_the_file_does_not_say_otherwise() {
    let head = "lm_head.weight";
    let model = small_model();
    let mut config = small_config();
    config["tie_word_embeddings"] = true.into();
    let own = folder(&config, &model).expect("a head of its own");
    assert!(!own.config().tie_word_embeddings && own.unused().is_empty());
    let read = block_on(own.tensor(head, &[VOCAB, WIDTH])).expect("reads");
    assert_eq!(read, floats(&model[head]));
    // The last number is enough.
    let mut almost = model.clone();
    let mut values = floats(&model["model.embed_tokens.weight"]).to_vec();
    values[VOCAB * WIDTH - 1] += 1.0;
    almost.insert(head.into(), tensor(&[VOCAB, WIDTH], |n| values[n]));
    let own = folder(&config, &almost).expect("a head of its own");
    assert!(!own.config().tie_word_embeddings);

    let mut doubled = model.clone();
    doubled.insert(head.into(), model["model.embed_tokens.weight"].clone());
    let doubled = folder(&config, &doubled).expect("the same twice");
    assert!(doubled.config().tie_word_embeddings && doubled.unused().is_empty());
    assert!(!doubled.has(head), "it is not read a second time");

    let mut without = model.clone();
    without.remove(head);
    let tied = folder(&config, &without).expect("tied");
    assert_eq!(tied.total_bytes(), doubled.total_bytes());
    let mut only_head = model.clone();
    only_head.remove("model.embed_tokens.weight");
    let swapped = folder(&config, &only_head).expect("the head is the embedding");
    assert!(swapped.config().tie_word_embeddings);
    let read = block_on(swapped.tensor("model.embed_tokens.weight", &[VOCAB, WIDTH]));
    assert_eq!(read.expect("reads"), floats(&model[head]));
    let mut misshapen = model.clone();
    misshapen.insert(head.into(), tensor(&[VOCAB + 1, WIDTH], |n| n as f32));
    let error = folder(&config, &misshapen).expect_err("another shape");
    assert!(
        error.code() == "wrong-shape" && error.to_string().contains(head),
        "{error}"
    );

    config["tie_word_embeddings"] = false.into();
    let error = folder(&config, &without).expect_err("untied, without a head");
    assert!(error.to_string().contains(head) && error.to_string().contains("tie_word"));

    // A GGUF file says it by the tensors alone.
    let gguf = |model: &BTreeMap<_, _>| {
        let file = gguf::write(&gguf_metadata(), &gguf_tensors(model)).expect("writes");
        open_model(file)
            .expect("opens")
            .config()
            .tie_word_embeddings
    };
    assert!(gguf(&without) && !gguf(&model) && !gguf(&almost));
    let mut doubled = model.clone();
    doubled.insert(head.into(), model["model.embed_tokens.weight"].clone());
    assert!(gguf(&doubled));
}

/// Logits of a tiny model after a change of its config and its tensors.
fn changed_logits(
    base: &str,
    change: impl FnOnce(&mut serde_json::Value, &mut BTreeMap<String, HostTensor>),
) -> Vec<f32> {
    let dir = golden_dir().join(base);
    let config = fs::read(dir.join("config.json")).expect("config.json");
    let weights = fs::read(dir.join("model.safetensors")).expect("model.safetensors");
    let mut config = serde_json::from_slice(&config).expect("JSON");
    let mut model = safetensors::read_all("model.safetensors", &weights).expect("reads");
    change(&mut config, &mut model);
    let file = folder(&config, &model).expect("opens");
    let cpu = device::cpu();
    let session = Session::load(&file, None, &cpu, Weights::Dense, |_| {});
    logits(
        &block_on(session).expect("loads"),
        &[5, 17, 3, 8],
        &Steering::base(),
    )
}

#[test]
fn logits_are_transformers_where_config_and_tensors_disagree() {
    let untied = changed_logits("base_untied", |_, _| {});
    let said_tied = changed_logits("base_untied", |config, _| {
        config["tie_word_embeddings"] = true.into();
    });
    assert!(said_tied == untied, "the file's head is the head");

    let base = changed_logits("base", |_, _| {});
    let biased = changed_logits("base", |config, model| {
        config["attention_bias"] = false.into();
        config["mlp_bias"] = false.into();
        let linears: Vec<_> = model
            .iter()
            .filter(|(key, tensor)| key.contains("_proj") && tensor.shape.len() == 2)
            .map(|(key, tensor)| (key.replace(".weight", ".bias"), tensor.shape[0]))
            .collect();
        for (key, width) in linears {
            model.insert(key, tensor(&[width], |n| n as f32));
        }
    });
    assert!(biased == base, "biases that the config denies do not act");
}

#[test]
fn tensors_of_a_folder_that_nothing_uses_are_named_and_let_go() {
    let mut model = small_model();
    model.insert(
        "model.layers.0.self_attn.rotary_emb.inv_freq".into(),
        tensor(&[3], |_| 1.0),
    );
    let opened = folder(&small_config(), &model).expect("opens");
    assert!(opened.unused().is_empty(), "the known wavelengths");
    let others = [
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.7.mlp.up_proj.weight",
        "score.weight",
    ];
    for key in others {
        model.insert(key.into(), tensor(&[1], |_| 1.0));
    }
    let opened = folder(&small_config(), &model).expect("opens");
    let mut unused = opened.unused().to_vec();
    unused.sort();
    assert_eq!(unused, others);

    let mut config = small_config();
    config["mlp_bias"] = false.into();
    let opened = folder(&config, &small_model()).expect("opens");
    assert_eq!(opened.unused().len(), 3 * LAYERS, "{:?}", opened.unused());
    let bias = "model.layers.0.mlp.up_proj.bias";
    assert!(!opened.has(bias), "what the config denies is not there");
    config["mlp_bias"] = true.into();
    let mut model = small_model();
    model.remove(bias);
    let error = folder(&config, &model).expect_err("a bias that the config promises");
    assert!(
        error.code() == "missing-key" && error.to_string().contains(bias),
        "{error}"
    );
}

/// As llama.cpp: every tensor must be used, and every bias is optional.
#[test]
fn tensors_of_a_gguf_that_nothing_uses_are_refused_by_name() {
    for key in [
        "blk.0.attn_q_norm.weight",
        "blk.1.attn_norm.bias",
        "blk.7.ffn_up.weight",
        "blk.1.attn_q.scale",
        "output_norm.bias",
        "output.bias",
        "position_embd.weight",
    ] {
        let mut tensors = gguf_tensors(&small_model());
        tensors.push(("rope_freqs.weight".into(), tensor(&[3], |_| 1.0)));
        tensors.push((key.into(), tensor(&[6], |_| 1.0)));
        let file = gguf::write(&gguf_metadata(), &tensors).expect("writes");
        let error = open_model(file).expect_err("nothing uses it");
        assert_eq!(error.code(), "unsupported-model");
        assert!(error.to_string().contains(key), "{key}: {error}");
    }
    let all = gguf_tensors(&small_model());
    let is_bias = |key: &str| key.ends_with(".bias");
    for (bias, _) in all.iter().filter(|(key, _)| is_bias(key)) {
        let only = all.iter().filter(|(key, _)| !is_bias(key) || key == bias);
        let only: Vec<_> = only.cloned().collect();
        let file = gguf::write(&gguf_metadata(), &only).expect("writes");
        let opened = open_model(file).unwrap_or_else(|error| panic!("only {bias}: {error}"));
        let has = |key: &str| opened.has(&key.replace(".weight", ".bias"));
        let biases = small_model()
            .keys()
            .filter(|key| key.ends_with(".weight") && has(key))
            .count();
        assert_eq!(biases, 1, "only {bias}");
    }
}
