//! The real model against transformers' f32 (`tests/fixtures/smollm2_greedy.json`).

use serde_json::Value;
use steering_playground::device::read_back;
use steering_playground::hooks::Steering;
use steering_playground::model::Positions;
use steering_playground::session::{Finish, Request, Step};
use steering_playground::text::Message;

use crate::common::{lacks_model, smollm2};

/// Greedy ids for the whole reference, logits of the last prompt position within 1e-3.
#[test]
fn smollm2_equals_transformers() {
    if lacks_model() {
        return;
    }
    let reference = include_str!("../fixtures/smollm2_greedy.json");
    let reference: Value = serde_json::from_str(reference).expect("JSON");
    let session = smollm2();
    for prompt in reference["prompts"].as_array().expect("prompts") {
        let name = &prompt["name"];
        let ids = |key: &str| -> Vec<u32> {
            serde_json::from_value(prompt[key].clone()).expect("token ids")
        };
        let (prompt_ids, expected) = (ids("prompt_ids"), ids("greedy_ids"));

        let mut cache = session.model.new_cache();
        let base = Steering::base();
        let logits = session
            .model
            .forward(&prompt_ids, &mut cache, &base, Positions::Last);
        let logits = logits.expect("runs").expect("logits");
        let logits = pollster::block_on(read_back(logits)).expect("read");
        let first = prompt["logits_last_prompt_first8"]
            .as_array()
            .expect("logits");
        let named = first
            .iter()
            .enumerate()
            .map(|(id, logit)| (id, logit.as_f64()));
        let top = prompt["top5_last_prompt"].as_array().expect("top 5");
        let top = top
            .iter()
            .map(|t| (t["id"].as_u64().expect("id") as usize, t["logit"].as_f64()));
        for (id, logit) in named.chain(top) {
            let difference = (f64::from(logits[id]) - logit.expect("logit")).abs();
            assert!(
                difference < 1e-3,
                "{name}: logit {id} differs by {difference:.1e}"
            );
        }

        let chat: Vec<Message> =
            serde_json::from_value(prompt["messages"].clone()).expect("messages");
        let request = Request {
            chat: Some(chat),
            max_tokens: expected.len(),
            ..Request::default()
        };
        let mut generation = session.generate(request).expect("starts");
        assert_eq!(generation.prompt_ids(), prompt_ids, "{name}: prompt ids");
        let (mut found, mut text, mut finish) = (Vec::new(), String::new(), None);
        while let Some(step) = pollster::block_on(generation.next()).expect("steps") {
            if let Step::Token {
                steered: Some(step),
                ..
            } = step
            {
                found.push(step.id);
                text.push_str(&step.text);
                finish = step.finish;
            }
        }
        assert_eq!(found, expected, "{name}: greedy ids");
        assert!(
            finish.is_some(),
            "{name}: the last step says why it is the last"
        );
        if finish == Some(Finish::Length) {
            let expected = prompt["greedy_text"].as_str().expect("text");
            assert_eq!(text, expected, "{name}: greedy text");
        }
    }
}
