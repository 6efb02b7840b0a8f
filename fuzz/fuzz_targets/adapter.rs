//! An adapter's config and its weights, divided by a zero byte; without a config where the input begins with one.
#![no_main]

use std::cell::LazyCell;
use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use steering_playground::model::Model;
use steering_playground_fuzz::{tiny, turn, two_files};

thread_local! {
    static MODEL: LazyCell<Rc<Model>> = LazyCell::new(tiny);
}

fuzz_target!(|input: &[u8]| {
    let (config, weights) = two_files(input);
    let config = (!config.is_empty()).then_some(config);
    MODEL.with(|model| turn(config, weights, model));
});
