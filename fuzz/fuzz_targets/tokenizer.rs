//! A `tokenizer.json`, and a text that it takes apart and puts together.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steering_playground_fuzz::text;

fuzz_target!(|input: &[u8]| {
    if let Ok(Some(text)) = text(Some(input), None)
        && let Ok(ids) = text.encode("Hello, world! 你好 <s>", true)
    {
        let _ = text.decode(&ids, false);
    }
});
