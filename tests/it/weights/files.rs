//! Models in several files.

use super::*;

#[test]
fn only_the_files_that_an_index_names_count() {
    let model = small_model();
    let (first, second): (Vec<_>, Vec<_>) = model.iter().partition(|(key, _)| key.contains('1'));
    let wrong: BTreeMap<_, _> = model
        .iter()
        .map(|(key, of)| (key.clone(), tensor(&of.shape, |_| 9.0)))
        .collect();
    let shard = |name: &str, tensors: Vec<(&String, &HostTensor)>| {
        bytes(name, to_safetensors(tensors.into_iter()))
    };
    let files = vec![
        shard("consolidated.safetensors", wrong.iter().collect()),
        shard("model-00001-of-00002.safetensors", first),
        bytes(
            "model-00001-of-00003.safetensors",
            b"no safetensors at all".to_vec(),
        ),
        shard("model-00002-of-00002.safetensors", second),
    ];
    let index = serde_json::json!({"weight_map": {
        "a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"}});
    let index = index.to_string();
    let json = small_config().to_string();
    let opened = ModelFile::open_folder(json.as_bytes(), files, Some(index.as_bytes()));
    let opened = block_on(opened).expect("opens");
    for (key, expected) in &model {
        let read = block_on(opened.tensor(key, &expected.shape)).expect("reads");
        assert_eq!(read, floats(expected), "{key}");
    }
}

fn open_parts(files: Vec<(&str, Vec<u8>)>) -> Result<ModelFile<Bytes>> {
    let files = files.into_iter().map(|(name, file)| bytes(name, file));
    block_on(ModelFile::open_gguf_parts(files.collect()))
}

#[test]
fn a_split_gguf_is_one_model_in_any_order() {
    let three = parts(3);
    let names = [
        "x-00001-of-00003.gguf",
        "x-00002-of-00003.gguf",
        "x-00003-of-00003.gguf",
    ];
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let files = order.map(|at| (names[at], three[at].clone()));
        let opened = open_parts(files.into()).expect("opens");
        assert_eq!(opened.name(), "Small Llama");
        for (key, expected) in &small_model() {
            let read = block_on(opened.tensor(key, &expected.shape)).expect("reads");
            assert_eq!(read, floats(expected), "{key}");
        }
    }
    let whole = parts(1);
    assert!(open_parts(vec![("whole.gguf", whole[0].clone())]).is_ok());

    let part = |at: usize| (names[at], three[at].clone());
    let renamed = |at: usize, name| (name, three[at].clone());
    let of_two = ("y-00002-of-00002.gguf", parts(2)[1].clone());
    let mut odd = parts(2);
    /// Files, the refusal's code, and what it names.
    type Case<'a> = (Vec<(&'a str, Vec<u8>)>, &'a str, &'a [&'a str]);
    let table: [Case<'_>; 9] = [
        (
            vec![part(0)],
            "missing-key",
            &[names[1], "part 1 of 3", "all 3"],
        ),
        (vec![part(2)], "missing-key", &[names[0], "part 3 of 3"]),
        (vec![part(0), part(2)], "missing-key", &[names[1], "all 3"]),
        (vec![part(0), part(1)], "missing-key", &[names[2], "all 3"]),
        (
            vec![renamed(1, "b.gguf")],
            "missing-key",
            &["part 1 of 3", "part 2 of 3"],
        ),
        (
            vec![part(0), part(1), part(1)],
            "bad-header",
            &["part 2 of 3"],
        ),
        (vec![part(0), of_two, part(2)], "bad-header", &["of 2"]),
        (
            vec![("a.gguf", small_gguf()), ("b.gguf", small_gguf())],
            "unsupported-model",
            &["one model at a time"],
        ),
        (
            vec![("a.gguf", odd.remove(0)), renamed(1, "c.gguf")],
            "bad-header",
            &["of 3"],
        ),
    ];
    for (files, code, words) in table {
        let error = open_parts(files).expect_err("does not belong together");
        let said = error.to_string();
        assert_eq!(error.code(), code, "{said}");
        assert!(
            words.iter().all(|word| said.contains(word)),
            "{words:?}: {said}"
        );
    }
}

/// An index is somebody's file: what it names outside the folder is not opened.
#[test]
fn an_index_names_no_file_outside_its_folder() {
    use steering_playground::open::open;
    use steering_playground::weights::folder::{CONFIG, INDEX};

    const SHARD: &str = "model-00001-of-00001.safetensors";
    let index = serde_json::json!({"weight_map": {
        "a": "../secret.safetensors", "b": "/etc/passwd", "c": SHARD}});
    let config = small_config().to_string();
    let model = small_model();
    let names = [CONFIG, INDEX, SHARD].map(String::from);
    let opened = RefCell::new(Vec::new());
    let source = |name: &str| {
        opened.borrow_mut().push(name.to_owned());
        let body = match name {
            CONFIG => config.clone().into_bytes(),
            INDEX => index.to_string().into_bytes(),
            _ => to_safetensors(model.iter()),
        };
        Ok(bytes(name, body))
    };
    let error = block_on(open("here", &names, None, false, source))
        .map(drop)
        .expect_err("two of its files are not there");
    assert_eq!(error.code(), "missing-key", "{error}");
    let opened = opened.borrow();
    assert!(
        !opened.is_empty() && opened.iter().all(|name| names.contains(name)),
        "{opened:?}"
    );
}
