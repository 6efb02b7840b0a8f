//! A safetensors file, read whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steering_playground::weights::safetensors;

fuzz_target!(|input: &[u8]| {
    let _ = safetensors::read_all("input", input);
});
