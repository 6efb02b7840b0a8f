//! The refusals of texts and options.

use crate::error::Error;

/// Which text it is: 2i is the positive one of pair i, 2i + 1 the negative one.
pub(super) fn place(text: usize) -> String {
    let side = if text.is_multiple_of(2) {
        "positive"
    } else {
        "negative"
    };
    format!("pair {}, {side}", text / 2 + 1)
}

pub(super) fn not_finite(text: usize) -> Error {
    let found = format!("numbers that are not finite in {}", place(text));
    bad("pairs", "texts that the model can read", found)
}

pub(super) fn no_direction(layer: usize, why: &str) -> Error {
    let found = format!("without a direction at block {layer}: {why}");
    bad("pairs", "texts whose streams differ", found)
}

pub(super) fn bad(name: &'static str, expected: &'static str, found: String) -> Error {
    Error::BadOption {
        name,
        expected,
        found,
    }
}

/// The beginning of a text, for a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}
