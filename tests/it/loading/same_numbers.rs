//! What other tools write, and what says the same in other words, gives the same numbers.

use steering_playground::adapters::{self, Stack};
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::error::Error;
use steering_playground::session::Session;

use super::{fault, golden, lora, with_field, with_header};
use crate::common::{golden_dir, logits, tiny};
use crate::golden::{cases, worst};

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
