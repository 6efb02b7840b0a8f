//! A chat template, on a short conversation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steering_playground::text::Message;
use steering_playground_fuzz::text;

fuzz_target!(|input: &[u8]| {
    let Ok(Some(text)) = text(None, Some(input)) else {
        return;
    };
    let messages = ["system", "user", "assistant", "user"].map(|role| Message {
        role: role.into(),
        content: "Hello {{ there }}.".into(),
    });
    let _ = text.chat(&messages);
    let _ = text.template_facts();
});
