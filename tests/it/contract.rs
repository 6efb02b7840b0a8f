//! What every method owes, read off the golden cases: nothing here names a method. A new method
//! is held to all of it as soon as it has a golden case. It owes the same on every family of models:
//! it has a case on a Qwen3 and on a Gemma 3 too.

use std::collections::BTreeSet;

use steering_playground::adapters::{self, Stack};
use steering_playground::arch::{Norm, Projection};
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::hooks::{Law, Mask, Site, Steering, Tokens};
use steering_playground::methods::METHODS;
use steering_playground::session::Session;

use crate::common::{logits, tiny, together};
use crate::golden::{ALL_METHODS, Case, cases, cases_of_families, worst};
use crate::positions::passes;

/// A golden case with its adapter in a stack of its own.
struct Loaded {
    name: String,
    session: Session,
    ids: Vec<u32>,
    stack: Stack,
    id: u32,
    /// The coefficients that the law of the moment admits, out of −4 … 4.
    laws: Vec<(Law, Vec<f32>)>,
}

fn load(case: &Case) -> Loaded {
    let session = tiny(&case.base);
    let adapter = adapters::load(&case.files(), &session.model);
    let adapter = adapter.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let laws = adapter.laws.iter().map(|offer| {
        let inside = |c: &f32| {
            let domain = offer.domain.as_ref();
            domain.is_none_or(|domain| domain.range.contains(c))
        };
        let grid = [-4.0, -2.5, -1.0, -0.3, 0.1, 0.5, 1.0, 2.0, 4.0];
        (offer.law, grid.into_iter().filter(inside).collect())
    });
    let laws = laws.collect();
    let mut stack = Stack::default();
    let id = stack.add(adapter);
    Loaded {
        name: case.name.clone(),
        session,
        ids: case.ids(),
        stack,
        id,
        laws,
    }
}

impl Loaded {
    fn at(&mut self, law: Law, c: f32) -> Vec<f32> {
        // Through 0, which every law admits, so that the old coefficient cannot be in the way.
        self.stack.set_coefficient(self.id, 0.0).expect("0");
        self.stack.set_law(self.id, law).expect("offered");
        self.stack
            .set_coefficient(self.id, c)
            .expect("in the domain");
        logits(&self.session, &self.ids, &self.stack.steering())
    }

    fn base(&self) -> Vec<f32> {
        logits(&self.session, &self.ids, &Steering::base())
    }
}

/// Those on Llamas, and those on families with more norms.
fn all_cases() -> Vec<Case> {
    let mut all = cases();
    all.extend(cases_of_families());
    all
}

#[test]
fn every_method_has_a_case_on_every_family_of_these() {
    let mut seen = BTreeSet::new();
    for case in cases_of_families() {
        let loaded = load(&case);
        let entries = loaded.stack.entries();
        seen.insert((case.base.clone(), entries[0].adapter.method.name));
    }
    let owed = ALL_METHODS.iter().flat_map(|family| {
        let base = format!("families/{family}");
        METHODS
            .iter()
            .map(move |method| (base.clone(), method.name))
    });
    let missing: Vec<_> = owed.filter(|case| !seen.contains(case)).collect();
    assert!(
        missing.is_empty(),
        "no case in tests/golden/families/adapters: {missing:?}"
    );
}

/// Runs a check on every case and reports all failures together.
fn every_case(mut check: impl FnMut(Loaded) -> Vec<String>) {
    let all = all_cases();
    let failures: Vec<String> = all.iter().flat_map(|case| check(load(case))).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_law_is_the_base_at_0_finite_and_the_same_twice() {
    every_case(|mut loaded| {
        let mut failures = Vec::new();
        let base = loaded.base();
        for (law, coefficients) in loaded.laws.clone() {
            for c in coefficients {
                let steered = loaded.at(law, c);
                if !steered.iter().all(|logit| logit.is_finite()) {
                    failures.push(format!("{}: {law:?} at {c} is not finite", loaded.name));
                }
                if steered != loaded.at(law, c) {
                    failures.push(format!("{}: {law:?} at {c} differs twice", loaded.name));
                }
            }
            if loaded.at(law, 0.0) != base {
                failures.push(format!("{}: {law:?} at 0 is not the base", loaded.name));
            }
        }
        failures
    });
}

/// Every law is the trained adapter at 1, and a small step of c is a small step of the logits.
#[test]
fn all_laws_meet_at_1_and_are_continuous() {
    every_case(|mut loaded| {
        let mut failures = Vec::new();
        let (default, _) = loaded.laws[0];
        let trained = loaded.at(default, 1.0);
        let (base, reach) = (loaded.base(), 1e-3);
        for (law, _) in loaded.laws.clone() {
            let here = loaded.at(law, 1.0);
            let apart = worst(&here, &trained);
            if apart > 1e-4 {
                failures.push(format!("{}: {law:?} at 1 is {apart:.1e} off", loaded.name));
            }
            for (c, from) in [(0.0, &base), (1.0, &here)] {
                let far = worst(&loaded.at(law, c - 1e-2), from);
                let near = worst(&loaded.at(law, c - 1e-4), from);
                if near > far * 0.1 + reach {
                    failures.push(format!(
                        "{}: {law:?} jumps by {near:.1e} at {c}",
                        loaded.name
                    ));
                }
            }
        }
        failures
    });
}

#[test]
fn streams_of_one_pass_do_not_meet() {
    every_case(|mut loaded| {
        let (law, ids) = (loaded.laws[0].0, loaded.ids.clone());
        loaded.at(law, 0.5);
        let (steered, base) = (loaded.stack.steering(), Steering::base());
        // Of different lengths, so that rows of one would show in the other.
        let streams = [
            (&ids[..], &*steered),
            (&ids[..2], &base),
            (&ids[..3], &base),
        ];
        let alone = streams.map(|stream| together(&loaded.session, &[stream]));
        let apart = worst(&together(&loaded.session, &streams), &alone.concat());
        if apart < 1e-5 {
            Vec::new()
        } else {
            vec![format!("{}: {apart:.1e} apart", loaded.name)]
        }
    });
}

#[test]
fn coefficients_outside_a_domain_are_refused() {
    every_case(|mut loaded| {
        let mut failures = Vec::new();
        let offers = loaded.stack.entries()[0].adapter.laws.clone();
        for offer in offers {
            let Some(domain) = offer.domain else { continue };
            if !(domain.range.contains(&1.0) && domain.range.contains(&-1.0)) {
                failures.push(format!("{}: {domain:?} leaves ±1 out", loaded.name));
            }
            loaded.at(offer.law, 1.0);
            let beyond = domain.range.end() * 1.01;
            let refused = loaded.stack.set_coefficient(loaded.id, beyond);
            match refused {
                Err(error)
                    if error.code() == "bad-coefficient"
                        && error.to_string().contains(domain.why) => {}
                other => failures.push(format!("{}: {beyond} gave {other:?}", loaded.name)),
            }
        }
        failures
    });
}

#[test]
fn laws_that_are_not_offered_are_refused_with_the_reason() {
    every_case(|mut loaded| {
        let mut failures = Vec::new();
        let adapter = &loaded.stack.entries()[0].adapter;
        let refused = adapter.laws_refused.clone();
        for law in Law::ALL {
            if loaded.laws.iter().any(|(offered, _)| *offered == law) {
                continue;
            }
            let why = refused.iter().find(|(other, _)| *other == law);
            let why = why.map_or("", |(_, why)| *why);
            match loaded.stack.set_law(loaded.id, law) {
                Err(error) if error.code() == "bad-law" && error.to_string().contains(why) => {}
                other => failures.push(format!("{}: {law:?} gave {other:?}", loaded.name)),
            }
        }
        failures
    });
}

/// Two masks that share the layers between them: each acts alone, and differs from all and none.
#[test]
fn a_mask_leaves_the_rest_alone() {
    every_case(|mut loaded| {
        let mut failures = Vec::new();
        let (law, base) = (loaded.laws[0].0, loaded.base());
        let whole = loaded.at(law, 1.0);
        let placed = &loaded.stack.entries()[0].adapter.placed;
        let mut layers: Vec<usize> = placed.iter().filter_map(|p| p.site.layer()).collect();
        layers.sort_unstable();
        layers.dedup();
        let stamp = loaded.stack.steering().stamp().clone();
        for &layer in &layers {
            let mask = Mask::parse(&layer.to_string(), "").expect("a layer");
            loaded
                .stack
                .set_mask(loaded.id, mask)
                .expect("it acts there");
            let steering = loaded.stack.steering();
            if *steering.stamp() == stamp {
                failures.push(format!("{}: the mask is not in the stamp", loaded.name));
            }
            let steered = logits(&loaded.session, &loaded.ids, &steering);
            if steered == base || (layers.len() > 1 && steered == whole) {
                failures.push(format!("{}: layer {layer} alone", loaded.name));
            }
        }
        let nowhere = Mask::parse("99", "").expect("a layer");
        let refused = loaded
            .stack
            .set_mask(loaded.id, nowhere)
            .map_err(|e| e.code());
        if refused != Err("bad-option") {
            failures.push(format!("{}: a mask without any place", loaded.name));
        }
        loaded
            .stack
            .set_mask(loaded.id, Mask::default())
            .expect("all");
        if loaded.at(law, 1.0) != whole {
            failures.push(format!("{}: back to all", loaded.name));
        }
        failures
    });
}

/// All layers of the model are "all", whatever lies in no layer; so are all modules by their names.
#[test]
fn a_mask_of_everything_is_none() {
    every_case(|mut loaded| {
        let mut failures = Vec::new();
        let law = loaded.laws[0].0;
        let whole = loaded.at(law, 1.0);
        let stamp = loaded.stack.steering().stamp().clone();
        let placed = &loaded.stack.entries()[0].adapter.placed;
        let modules: BTreeSet<&str> = placed.iter().map(|p| p.site.module().name()).collect();
        let modules: Vec<&str> = modules.into_iter().collect();
        let last = loaded.session.model.config().num_layers - 1;
        for (layers, modules) in [
            (format!("0-{last}"), String::new()),
            (format!("0-{}", last + 7), String::new()),
            (String::new(), modules.join(",")),
            (format!("0-{last}"), modules.join(",")),
        ] {
            let mask = Mask::parse(&layers, &modules).expect("a mask");
            loaded.stack.set_mask(loaded.id, mask).expect("everything");
            if loaded.at(law, 1.0) != whole {
                failures.push(format!("{}: {layers} {modules} is not all", loaded.name));
            }
            let same = *loaded.stack.steering().stamp() == stamp;
            if !same && modules.is_empty() {
                failures.push(format!("{}: {layers} has another stamp", loaded.name));
            }
            let remarks = &loaded.stack.entries()[0].mask_remarks;
            if remarks.is_empty() == layers.ends_with(&format!("{}", last + 7)) {
                failures.push(format!("{}: {layers}: {remarks:?}", loaded.name));
            }
        }
        failures
    });
}

/// A module on which the adapter does not act is refused, with the names of those on which it does.
#[test]
fn a_module_on_which_nothing_acts_is_refused() {
    const MODULES: &[&str] = &[
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
        "lm_head",
        "embed_tokens",
        "input_layernorm",
        "post_attention_layernorm",
        "after_attention_layernorm",
        "after_mlp_layernorm",
        "q_norm",
        "k_norm",
        "norm",
        "attention",
        "residual",
    ];
    every_case(|mut loaded| {
        let mut failures = Vec::new();
        let (law, base) = (loaded.laws[0].0, loaded.base());
        let placed = &loaded.stack.entries()[0].adapter.placed;
        let acts: BTreeSet<&str> = placed.iter().map(|p| p.site.module().name()).collect();
        let mut before = loaded.at(law, 1.0);
        for module in MODULES {
            let mask = Mask::parse("", module).expect("a module");
            let set = loaded.stack.set_mask(loaded.id, mask);
            match (acts.contains(module), set) {
                (true, Ok(())) => {
                    let steered = loaded.at(law, 1.0);
                    let others = acts.len() > 1;
                    if steered == base && !others {
                        failures.push(format!("{}: {module} does nothing", loaded.name));
                    }
                    before = steered;
                }
                (false, Err(error)) if error.code() == "bad-option" => {
                    let said = error.to_string();
                    if !acts.iter().all(|module| said.contains(module)) {
                        failures.push(format!("{}: {said}", loaded.name));
                    }
                    if loaded.at(law, 1.0) != before {
                        failures.push(format!("{}: {module} refused, yet set", loaded.name));
                    }
                }
                (_, other) => failures.push(format!("{}: {module}: {other:?}", loaded.name)),
            }
        }
        failures
    });
}

/// What a mask leaves out without naming it is said.
#[test]
fn a_mask_says_what_it_leaves_out() {
    let remarks = |name: &str, layers: &str, modules: &str| {
        let cases = cases();
        let case = cases.iter().find(|case| case.name == name).expect(name);
        let mut loaded = load(case);
        let mask = Mask::parse(layers, modules).expect("a mask");
        match loaded.stack.set_mask(loaded.id, mask) {
            Ok(()) => loaded.stack.entries()[0].mask_remarks.join("; "),
            Err(error) => error.to_string(),
        }
    };
    for (name, layers, modules, said) in [
        ("lora", "0", "q_proj", ""),
        ("lora", "0-1", "", ""),
        (
            "lora",
            "5-6",
            "",
            "`layers` is 5-6, while the model has 0-1, expected blocks that it has, or all",
        ),
        ("lora", "1-6", "", "of layers 1-6 the model has 1"),
        (
            "saved_head",
            "0",
            "",
            "layers 0 leave out lm_head, in no layer: only all layers include it",
        ),
        (
            "saved_head",
            "all",
            "q_proj",
            "modules q_proj leave out lm_head",
        ),
        (
            "saved_head",
            "0",
            "lm_head",
            "`mask` is layers 0, modules lm_head, while saved_head acts on q_proj, up_proj, down_proj in layers 0-1, lm_head, expected one that leaves it somewhere to act",
        ),
        (
            "saved_norms",
            "all",
            "q_proj",
            "modules q_proj leave out input_layernorm, post_attention_layernorm in layers 0-1, norm",
        ),
        (
            "prefix",
            "all",
            "q_proj",
            "`modules` is q_proj, while prefix acts on attention in layers 0-1, expected all, or some of the modules on which it acts",
        ),
        (
            "trainable_tokens",
            "0",
            "",
            "`layers` is 0, while trainable_tokens acts on lm_head, embed_tokens, expected all, or blocks in which it acts",
        ),
    ] {
        assert_eq!(
            remarks(name, layers, modules),
            said,
            "{name} {layers} {modules}"
        );
    }
}

/// Some tokens alone are two passes on one cache, the base's and the adapter's, bit for bit; what has
/// keys and values of its own refuses them.
#[test]
fn some_tokens_alone_are_two_passes_on_one_cache() {
    every_case(|mut loaded| {
        let mut failures = Vec::new();
        let law = loaded.laws[0].0;
        loaded.at(law, 0.5);
        let (whole, base) = (loaded.stack.steering(), Steering::base());
        let placed = &loaded.stack.entries()[0].adapter.placed;
        let refuses = placed.iter().any(|p| matches!(p.site, Site::Attention(_)));
        let (head, tail) = loaded.ids.split_at(2);
        for (positions, prompt, first, then) in [
            (Tokens::Prompt, 2, &*whole, &base),
            (Tokens::Generated, 2, &base, &*whole),
            (Tokens::From(2), loaded.ids.len(), &base, &*whole),
        ] {
            let mask = Mask {
                positions,
                ..Mask::default()
            };
            match (refuses, loaded.stack.set_mask(loaded.id, mask)) {
                (true, Err(error)) if error.code() == "bad-option" => continue,
                (false, Ok(())) => {}
                (_, other) => {
                    failures.push(format!("{}: {positions}: {other:?}", loaded.name));
                    continue;
                }
            }
            let steering = loaded.stack.steering();
            let found = passes(&loaded.session, prompt, &[(&loaded.ids, &steering)]);
            let expected = passes(&loaded.session, prompt, &[(head, first), (tail, then)]);
            if found != expected {
                failures.push(format!("{}: {positions}", loaded.name));
            }
        }
        failures
    });
}

#[test]
fn masks_choose_modules_and_read_their_own_text() {
    let mask = Mask::parse("5-20", "q_proj, v_proj").expect("valid");
    let site = |layer, projection| Site::Linear(layer, projection);
    assert!(mask.allows(site(5, Projection::Q)) && mask.allows(site(20, Projection::V)));
    assert!(!mask.allows(site(4, Projection::Q)), "below the range");
    assert!(!mask.allows(site(21, Projection::V)), "above the range");
    assert!(!mask.allows(site(9, Projection::K)), "another module");
    assert!(!mask.allows(Site::Residual(7)), "no module of these");
    assert!(!mask.allows(Site::Head) && Mask::default().allows(Site::Head));
    let rest =
        "lm_head,embed_tokens,input_layernorm,post_attention_layernorm,norm,attention,residual";
    let others = Mask::parse("", rest).expect("names too");
    assert_eq!(others.modules_text(), rest, "there and back");
    assert!(others.allows(Site::Residual(7)) && others.allows(Site::Attention(0)));
    assert!(others.allows(Site::Head) && !others.allows(site(5, Projection::Q)));
    let of_heads = Mask::parse("", "q_norm").expect("a norm of some families");
    let norm = |place| Site::Norm(Some((0, place)));
    assert!(of_heads.allows(norm(Norm::Query)) && !of_heads.allows(norm(Norm::Key)));
    let text = Mask::parse(&mask.layers_text(), &mask.modules_text());
    assert_eq!(text.expect("its own text"), mask, "there and back");
    assert_eq!(Mask::parse("all", "").expect("all"), Mask::default());
    for (layers, modules) in [
        ("20-5", ""),
        ("x", ""),
        ("1-", ""),
        ("-3", ""),
        ("1-2-3", ""),
        ("", "qproj"),
        ("", ","),
    ] {
        let refused = Mask::parse(layers, modules).map_err(|e| e.code());
        assert_eq!(refused, Err("bad-option"), "{layers:?} {modules:?}");
    }
}

/// Edits a safetensors file tensor by tensor: drops one, or copies it under a name of its own.
fn edited(
    files: &AdapterFiles,
    edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
) -> AdapterFiles {
    let header = u64::from_le_bytes(files.weights[..8].try_into().expect("8 bytes")) as usize;
    let (head, data) = files.weights[8..].split_at(header);
    let mut head: serde_json::Map<_, _> = serde_json::from_slice(head).expect("JSON");
    edit(&mut head);
    let head = serde_json::Value::Object(head).to_string();
    let mut weights = (head.len() as u64).to_le_bytes().to_vec();
    weights.extend(head.bytes());
    weights.extend(data);
    AdapterFiles {
        weights,
        ..files.clone()
    }
}

#[test]
fn every_key_counts() {
    let mut failures = Vec::new();
    for case in all_cases() {
        let (session, files) = (tiny(&case.base), case.files());
        if files.expert_weights.is_some() && !files.experts.is_empty() {
            // Weights of one's own leave the gate unread.
            continue;
        }
        let loads = |files: &AdapterFiles| adapters::load(files, &session.model).is_ok();
        let mut keys = Vec::new();
        edited(&files, |head| {
            keys.extend(head.keys().filter(|key| *key != "__metadata__").cloned());
        });
        for key in keys {
            // A longer name keeps the data in the file, so that nothing but the key is wrong.
            let renamed = edited(&files, |head| {
                let tensor = head.remove(&key).expect("the key");
                head.insert(format!("{key}_other"), tensor);
            });
            if loads(&renamed) {
                failures.push(format!("{}: loads without {key}", case.name));
            }
        }
        let more = edited(&files, |head| {
            let any = head.iter().find(|(key, _)| *key != "__metadata__");
            let tensor = any.expect("a tensor").1.clone();
            head.insert(
                "base_model.model.model.layers.0.nothing.weight".into(),
                tensor,
            );
        });
        if loads(&more) {
            failures.push(format!(
                "{}: loads with a key that nothing reads",
                case.name
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
