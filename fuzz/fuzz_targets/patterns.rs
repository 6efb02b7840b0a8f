//! The patterns of an adapter's config: which modules, and their ranks. Two lines, the second may be missing.
#![no_main]

use std::cell::LazyCell;
use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use steering_playground::model::Model;
use steering_playground_fuzz::{tiny, turn};

const WEIGHTS: &[u8] = include_bytes!("../../tests/golden/lora/adapter_model.safetensors");

thread_local! {
    static MODEL: LazyCell<Rc<Model>> = LazyCell::new(tiny);
}

fuzz_target!(|input: &str| {
    let (modules, rank) = input.split_once('\n').unwrap_or((input, ""));
    let mut config = serde_json::json!({ "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": modules });
    if !rank.is_empty() {
        config["rank_pattern"] = serde_json::json!({ rank: 8 });
    }
    MODEL.with(|model| turn(Some(config.to_string().as_bytes()), WEIGHTS, model));
});
