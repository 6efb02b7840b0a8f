//! A file of contrasting answers: all of its behaviours.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steering_playground::dose::Contrast;

fuzz_target!(|input: &[u8]| {
    for behaviour in Contrast::behaviours("input", input).unwrap_or_default() {
        let _ = Contrast::read("input", input, &behaviour);
    }
});
