//! The real model's tokenizer and template.

use serde::Deserialize;
use steering_playground::text::{Message, Text};

use super::{check, check_stream, fixture, goldens};
use crate::common::lacks_model;

fn real_text() -> Text {
    let model = crate::weights::real_model();
    let metadata = model.metadata().expect("a GGUF file");
    Text::from_gguf(model.name(), metadata)
        .expect("reads")
        .expect("there is a tokenizer")
}

#[test]
fn the_real_model_s_prompts_and_ids_equal_transformers() {
    #[derive(Deserialize)]
    struct Prompt {
        name: String,
        messages: Vec<Message>,
        prompt_text: String,
        prompt_ids: Vec<u32>,
        greedy_ids: Vec<u32>,
        greedy_text: String,
    }
    #[derive(Deserialize)]
    struct Reference {
        prompts: Vec<Prompt>,
    }
    if lacks_model() {
        return;
    }
    let reference: Reference =
        serde_json::from_slice(&fixture("smollm2_greedy.json")).expect("the fixture reads");
    let text = real_text();
    assert_eq!(
        (text.vocab_size(), text.bos(), text.add_bos()),
        (49152, Some(1), false)
    );
    assert_eq!(text.stop_ids(), [0, 2]);
    assert!(!reference.prompts.is_empty());
    for prompt in reference.prompts {
        let name = &prompt.name;
        let rendered = text.chat(&prompt.messages).expect("renders");
        assert_eq!(rendered, prompt.prompt_text, "{name}");
        assert_eq!(
            text.encode(&rendered, false).expect("encodes"),
            prompt.prompt_ids,
            "{name}"
        );
        assert_eq!(
            text.decode(&prompt.greedy_ids, false),
            prompt.greedy_text,
            "{name}"
        );
        check_stream(name, &text, &prompt.prompt_ids);
        check_stream(name, &text, &prompt.greedy_ids);
    }
}

#[test]
fn the_real_model_s_tokens_equal_hugging_face_s() {
    if lacks_model() {
        return;
    }
    check("smollm2", &real_text(), &goldens().smollm2);
}
