//! Adapters written again as the folders that PEFT reads: at c = 1 with the numbers that were read, at
//! another c with those that do the same at 1.

use std::fs;
use std::process::Command;

use pollster::block_on;
use serde_json::{Value, json};
use steering_playground::adapters::{self, Stack};
use steering_playground::arch::ModelFile;
use steering_playground::checkpoint::{AdapterFiles, Folds};
use steering_playground::device;
use steering_playground::error::Result;
use steering_playground::export::{Export, Folder, PeftExport};
use steering_playground::hooks::{Law, Mask};
use steering_playground::methods::METHODS;
use steering_playground::model::Weights;
use steering_playground::session::Session;
use steering_playground::weights::{NativeFile, safetensors};

use crate::common::{adapter_files, golden_dir, logits, tiny};
use crate::golden::{Case, cases, cases_of_families, worst};
use crate::loading::{fault, golden, with_header};

/// An adapter at c, with the change that `more` makes.
fn stack(
    session: &Session,
    files: &AdapterFiles,
    c: f32,
    more: impl FnOnce(&mut Stack, u32) -> Result<()>,
) -> Result<Stack> {
    let mut stack = Stack::default();
    let id = stack.add(adapters::load(files, &session.model)?);
    more(&mut stack, id)?;
    stack.set_coefficient(id, c)?;
    Ok(stack)
}

/// The logits of an adapter at c under its own law.
fn steered(session: &Session, files: &AdapterFiles, ids: &[u32], c: f32) -> Result<Vec<f32>> {
    let mut stack = stack(session, files, c, |_, _| Ok(()))?;
    Ok(logits(session, ids, &stack.steering()))
}

fn written(session: &Session, files: &AdapterFiles, c: f32) -> Result<Folder> {
    let stack = stack(session, files, c, |_, _| Ok(()))?;
    block_on(PeftExport::new(files, &stack.entries()[0])?.folder(&session.model))
}

/// A folder as it is read from disk; the task stands in none.
fn read(folder: Folder, task: Option<usize>) -> AdapterFiles {
    let experts = folder.experts.into_iter();
    AdapterFiles {
        name: "written".into(),
        config: Some(folder.config.into_bytes()),
        weights: folder.weights,
        bases: folder.bases,
        experts: experts.map(|expert| read(expert, None)).collect(),
        task,
        expert_weights: None,
    }
}

/// All golden cases, on Llamas and on the families where every method has one.
fn all_cases() -> Vec<Case> {
    let mut all = cases();
    all.extend(cases_of_families());
    all
}

#[test]
fn what_is_written_again_is_the_same_bit_for_bit() {
    let mut failures = Vec::new();
    for case in all_cases() {
        let (session, files, ids) = (tiny(&case.base), case.files(), case.ids());
        let expected = steered(&session, &files, &ids, 1.0).expect("loads");
        let folder = match written(&session, &files, 1.0) {
            Ok(folder) => folder,
            // There is no place for weights of the user's own.
            Err(error) if files.expert_weights.is_some() && error.code() == "bad-option" => {
                continue;
            }
            Err(error) => {
                failures.push(format!("{}: {error}", case.name));
                continue;
            }
        };
        match steered(&session, &read(folder, files.task), &ids, 1.0) {
            Ok(found) if found == expected => {}
            Ok(found) => failures.push(format!(
                "{}: {:.1e} apart",
                case.name,
                worst(&found, &expected)
            )),
            Err(error) => failures.push(format!("{}: {error}", case.name)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The reason that a method gives always, if it does.
fn reason(name: &str) -> Option<&'static str> {
    let method = METHODS.iter().find(|method| method.name == name);
    match method.expect("known").folds {
        Folds::Not(why) => Some(why),
        _ => None,
    }
}

/// Cases of methods that can hold c in general, and why these cannot.
const CANNOT: &[(&str, f32, &str)] = &[
    ("adaption_prompt_bias", 0.5, "o_proj's bias"),
    ("antipasto", 0.5, "max_rotation_angle"),
    ("boft_butterfly", -0.7, "reverse order"),
    ("boft_butterfly_two", -0.7, "reverse order"),
    ("boft_negative", 0.5, "not above 0"),
    ("control_vector_ablate", 0.5, "takes away"),
    ("control_vector_ablate_normalize", 0.5, "takes away"),
    ("control_vector_clamp", 0.5, "takes away"),
    ("control_vector_clamp_normalize", 0.5, "takes away"),
    ("gemma3/antipasto", 0.5, "max_rotation_angle"),
    ("gemma3/nblora", -0.7, "0 or above"),
    ("gemma3/svft_rank", 0.5, "leave out of W"),
    ("nblora", -0.7, "0 or above"),
    ("oft_coft", 0.5, "eps cuts"),
    ("oft_coft_shared", 0.5, "eps cuts"),
    ("quantised_ablate", 0.5, "takes away"),
    ("quantised_clamp", 0.5, "takes away"),
    ("qwen3/antipasto", 0.5, "max_rotation_angle"),
    ("qwen3/nblora", -0.7, "0 or above"),
    ("qwen3/svft_rank", 0.5, "leave out of W"),
    ("svft_banded", 0.5, "leave out of W"),
    ("svft_rank", 0.5, "leave out of W"),
    ("xlora_scout", 0.5, "the gate reads"),
    ("xlora_scout_top", 0.5, "the gate reads"),
];

#[test]
fn c_is_folded_into_the_numbers_or_refused_with_the_reason() {
    let mut failures = Vec::new();
    for case in all_cases() {
        let (session, files, ids) = (tiny(&case.base), case.files(), case.ids());
        if files.expert_weights.is_some() {
            continue;
        }
        let adapter = adapters::load(&files, &session.model).expect("loads");
        let always = reason(adapter.method.name);
        for c in [0.5, -0.7] {
            let mut fail = |what: String| failures.push(format!("{} at {c}: {what}", case.name));
            let expected = steered(&session, &files, &ids, c).expect("in the domain");
            let known = CANNOT
                .iter()
                .find(|(name, at, _)| *name == case.name && (*at == c || *at > 0.0));
            let why = always.or(known.map(|(_, _, why)| *why));
            let folder = match (written(&session, &files, c), why) {
                (Ok(folder), None) => folder,
                (Ok(_), Some(why)) => {
                    fail(format!("is written, in spite of: {why}"));
                    continue;
                }
                (Err(error), Some(why))
                    if error.code() == "unsupported-option" && error.to_string().contains(why) =>
                {
                    continue;
                }
                (Err(error), _) => {
                    fail(error.to_string());
                    continue;
                }
            };
            let largest = expected.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
            match steered(&session, &read(folder, files.task), &ids, 1.0) {
                Ok(found) => {
                    let off = worst(&found, &expected) / largest;
                    if off > 1e-5 {
                        fail(format!("{off:.1e} of the largest logit apart"));
                    }
                }
                Err(error) => fail(error.to_string()),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Keys and config of a folder.
fn inside(folder: &Folder) -> (Vec<String>, Value) {
    let tensors = safetensors::read_all("written", &folder.weights).expect("tensors");
    let config = serde_json::from_str(&folder.config).expect("JSON");
    (tensors.into_keys().collect(), config)
}

/// What llama.cpp's converter made of a case.
fn gguf(case: &str) -> AdapterFiles {
    AdapterFiles {
        name: case.into(),
        weights: fs::read(golden_dir().join(case).join("llama_cpp.gguf")).expect("gguf"),
        ..AdapterFiles::default()
    }
}

/// mlx-lm's folders, llama.cpp's files, PEFT's own names of before.
#[test]
fn other_containers_and_old_names_become_peft_s() {
    let mut inputs = vec![
        ("base_untied".to_owned(), gguf("lora_untied")),
        ("base_untied".into(), gguf("lora_embedding_head")),
        ("base_untied".into(), golden("bone")),
    ];
    for family in ["qwen3", "gemma3", "olmo2"] {
        let files = gguf(&format!("families/adapters/{family}/lora"));
        inputs.push((format!("families/{family}"), files));
    }
    for entry in fs::read_dir("tests/faults").expect("faults").flatten() {
        let Ok(expect) = fs::read(entry.path().join("expect.json")) else {
            continue;
        };
        let expect: Value = serde_json::from_slice(&expect).expect("JSON");
        let base = expect["base"].as_str().expect("a base").to_owned();
        inputs.push((base, fault(&entry.file_name().to_string_lossy())));
    }
    assert!(inputs.len() > 12, "{}", inputs.len());
    let mut failures = Vec::new();
    for (base, files) in inputs {
        let name = files.name.clone();
        let (session, ids) = (tiny(&base), [1, 2, 3, 9]);
        let folder = written(&session, &files, 1.0).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (keys, config) = inside(&folder);
        let ends = [".bone_block", ".lora_a", ".lora_b", ".m", "_vector.weight"];
        let is_strange = |key: &&String| {
            !key.starts_with("base_model.model.") || ends.iter().any(|end| key.ends_with(end))
        };
        failures.extend(
            keys.iter()
                .find(is_strange)
                .map(|key| format!("{name}: {key}")),
        );
        let is_old = config["peft_type"] == "BONE" || config["peft_version"] != "0.21.2";
        if is_old
            || config["target_modules"]
                .as_array()
                .is_none_or(Vec::is_empty)
        {
            failures.push(format!("{name}: {config}"));
        }
        for c in [1.0, 0.5] {
            let folder = match written(&session, &files, c) {
                Err(_) if c != 1.0 && name.ends_with("dora") => continue,
                folder => folder.unwrap_or_else(|error| panic!("{name}: {error}")),
            };
            let expected = steered(&session, &files, &ids, c).expect("loads");
            let found = steered(&session, &read(folder, None), &ids, 1.0);
            let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
            let apart = worst(&found, &expected);
            // A tied head of mlx-lm's follows in a layer of its own.
            let exact = c == 1.0 && name != "mlx_embedding";
            if apart > if exact { 0.0 } else { 1e-5 } {
                failures.push(format!("{name} at {c}: {apart:.1e} apart"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Wrappers around all names go; what is around the layers of the base that was trained stays, for PEFT
/// finds them there.
#[test]
fn names_are_those_of_the_base_that_was_trained() {
    let (session, ids) = (tiny("base"), [1, 2, 3, 9]);
    let expected = steered(&session, &golden("lora"), &ids, 1.0).expect("loads");
    for (from, to, kept) in [
        (
            "\"base_model.",
            "\"_orig_mod.base_model.",
            "base_model.model.model.layers.",
        ),
        (
            "\"base_model.model.",
            "\"base_model.model._orig_mod.",
            "base_model.model.model.layers.",
        ),
        (
            "\"base_model.model.model.",
            "\"model.",
            "base_model.model.model.layers.",
        ),
        (
            "\"base_model.model.model.",
            "\"base_model.model.",
            "base_model.model.layers.",
        ),
        (
            "\"base_model.model.model.",
            "\"base_model.model.model.language_model.",
            "base_model.model.model.language_model.layers.",
        ),
    ] {
        let files = with_header(golden("lora"), |header| header.replace(from, to));
        let folder = written(&session, &files, 1.0).expect("written");
        let (keys, _) = inside(&folder);
        assert!(
            keys.iter().all(|key| key.starts_with(kept)),
            "{to}: {}",
            keys[0]
        );
        let found = steered(&session, &read(folder, None), &ids, 1.0).expect("loads again");
        assert_eq!(found, expected, "{to}");
    }
}

#[test]
fn what_c_changes_are_parameters_of_the_method() {
    for method in METHODS {
        let Folds::Into(parameters) = method.folds else {
            continue;
        };
        for (name, _) in parameters {
            assert!(method.keys.contains(name), "{}: {name}", method.name);
        }
    }
}

/// The model in a folder.
fn model(folder: &str) -> Session {
    let dir = golden_dir().join(folder);
    let load = async {
        let file = |name: &str| NativeFile::open(&dir.join(name));
        let file = match fs::read(dir.join("config.json")) {
            Ok(config) => {
                ModelFile::open_folder(&config, vec![file("model.safetensors")?], None).await
            }
            Err(_) => ModelFile::open_gguf(file("model.gguf")?).await,
        }?;
        Session::load(&file, None, &device::cpu(), Weights::Dense, |_| {}).await
    };
    block_on(load).unwrap_or_else(|error| panic!("{folder}: {error}"))
}

/// A GPT-2 and a GPT-NeoX have names of their own for what is around the layers: a file of llama.cpp's for
/// them is written under those, and read again.
#[test]
fn families_with_a_body_of_another_name_get_their_own_names() {
    for (family, head, module) in [
        ("gpt2", "transformer.h.0", "attn.c_attn"),
        ("gpt_neox", "gpt_neox.layers.0", "attention.query_key_value"),
    ] {
        let session = model(&format!("families/{family}"));
        let config = session.model.config();
        let (projection, path, _) = config.family.linears[0];
        let (i, o) = projection.widths(config);
        let numbers = |count: usize, step: f32| -> Vec<f32> {
            (0..count)
                .map(|at| (at as f32 * step).sin() * 0.3)
                .collect()
        };
        let key = |x| format!("base_model.model.{head}.{path}.lora_{x}.weight");
        let tensors = [
            (key('A'), vec![2, i], numbers(2 * i, 0.31)),
            (key('B'), vec![o, 2], numbers(2 * o, 0.17)),
        ];
        let bytes: Vec<_> = tensors
            .iter()
            .map(|(_, _, values)| {
                values
                    .iter()
                    .flat_map(|x| x.to_le_bytes())
                    .collect::<Vec<u8>>()
            })
            .collect();
        let views = tensors.iter().zip(&bytes).map(|((key, shape, _), bytes)| {
            let f32 = ::safetensors::Dtype::F32;
            (
                key,
                ::safetensors::tensor::TensorView::new(f32, shape.clone(), bytes).expect("a view"),
            )
        });
        let lora = AdapterFiles {
            name: "lora".into(),
            config: Some(br#"{"peft_type": "LORA", "r": 2, "lora_alpha": 3}"#.to_vec()),
            weights: ::safetensors::serialize(views, None).expect("a file"),
            ..AdapterFiles::default()
        };
        let at_one = stack(&session, &lora, 1.0, |_, _| Ok(())).expect("loads");
        let gguf = block_on(Export::new(&at_one.entries()[0]).gguf(&session.model));
        let gguf = AdapterFiles {
            name: "gguf".into(),
            weights: gguf.expect("exports"),
            ..AdapterFiles::default()
        };
        assert_eq!(path, module, "{family}");
        for files in [lora, gguf] {
            let folder = written(&session, &files, 1.0).expect("written");
            let (keys, config) = inside(&folder);
            assert_eq!(keys, [key('A'), key('B')], "{family}, {}", files.name);
            assert_eq!(config["target_modules"], json!([format!("{head}.{path}")]));
            assert_eq!(config["fan_in_fan_out"], family == "gpt2");
            let ids = [1, 2, 3, 9];
            let expected = steered(&session, &files, &ids, 1.0).expect("loads");
            let found = steered(&session, &read(folder, None), &ids, 1.0).expect("loads again");
            assert_eq!(found, expected, "{family}, {}", files.name);
        }
    }
}

#[test]
fn what_a_folder_has_no_place_for_is_refused() {
    let session = tiny("base");
    let hra = golden("hra_even");
    let weights = golden("xlora_weights");
    let refused = |files: &AdapterFiles, more: fn(&mut Stack, u32) -> Result<()>| {
        let stack = stack(&session, files, 1.0, more).expect("loads");
        let error = PeftExport::new(files, &stack.entries()[0]).expect_err("refused");
        error.to_string()
    };
    for (files, more, said) in [
        (
            &hra,
            (|stack, id| stack.set_law(id, Law::Linear)) as fn(&mut Stack, u32) -> Result<()>,
            "`law` is linear",
        ),
        (
            &hra,
            |stack, id| stack.set_mask(id, Mask::parse("0", "")?),
            "layers 0",
        ),
        (&weights, |_, _| Ok(()), "`experts` is [0.7, 0.3]"),
    ] {
        let found = refused(files, more);
        assert!(
            found.contains(said) && found.contains("a folder"),
            "{found}"
        );
    }
    let spectrum = golden("fourierft");
    let error = written(&session, &spectrum, 3e38).expect_err("too far");
    assert!(error.to_string().contains("infinite"), "{error}");
    // Gate and up are one layer of a Granite 4 in PEFT, and two in llama.cpp's file.
    let (granite, lora) = (
        tiny("families/granite4"),
        gguf("families/adapters/granite4/lora"),
    );
    let error = written(&granite, &lora, 1.0).expect_err("other names");
    assert!(
        error.to_string().contains("a Granite 4 has other names"),
        "{error}"
    );
}

/// The command: a name that ends in .gguf is llama.cpp's file, any other a folder, which must be free.
#[test]
fn steer_export_writes_folders() {
    let to = std::env::temp_dir().join(format!("steer-export-{}", std::process::id()));
    let path = |name: &str| golden_dir().join(name).to_string_lossy().into_owned();
    let export = |case: &str, coeff: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steer"));
        command.args([
            "export",
            "--model",
            &path("base"),
            "--adapter",
            &path(case),
            "--coeff",
            coeff,
        ]);
        command
            .arg("--to")
            .arg(&to)
            .output()
            .expect("the program starts")
    };
    let session = tiny("base");
    for (case, experts) in [("vera", 0), ("xlora", 2)] {
        let run = export(case, "0.5");
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        let found = adapter_files(&to);
        assert_eq!(found.experts.len(), experts, "{case}");
        let ids = [1, 2, 3, 9];
        let original = golden(case);
        let expected = steered(&session, &original, &ids, 0.5).expect("loads");
        let again = steered(&session, &found, &ids, 1.0).expect("loads again");
        assert!(worst(&again, &expected) < 1e-5, "{case}");
        let twice = export(case, "1");
        let said = String::from_utf8_lossy(&twice.stderr).into_owned();
        assert!(
            !twice.status.success() && said.contains("without an adapter in it"),
            "{said}"
        );
        fs::remove_dir_all(&to).expect("removed");
    }
    let run = export("hra_even", "0.5");
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("none of their numbers is an angle"), "{said}");
    assert!(
        !to.exists(),
        "nothing is written where something is refused"
    );
}
