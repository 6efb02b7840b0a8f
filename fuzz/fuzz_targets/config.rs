//! A model's `config.json`, over the tiny model's weights.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steering_playground_fuzz::{WEIGHTS, open_folder};

fuzz_target!(|input: &[u8]| {
    let _ = open_folder(input, WEIGHTS.to_vec());
});
