//! A GGUF file: read whole, and as a model with its text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steering_playground::text::Text;
use steering_playground::weights::gguf;
use steering_playground_fuzz::open_gguf;

fuzz_target!(|input: &[u8]| {
    if let Ok((metadata, _)) = gguf::read_all("input", input)
        && let Ok(Some(text)) = Text::from_gguf("input", &metadata)
    {
        let _ = text.encode("Hello, world", true);
    }
    let _ = open_gguf(input.to_vec());
});
