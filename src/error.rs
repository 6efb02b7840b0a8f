//! One error type for the whole crate: every variant names what was looked at (file, key, option),
//! what was expected, what was found, and what to do. [`Error::code`] is stable across releases,
//! so that a page can translate or react without reading the sentence.

/// Everything that can go wrong, from a truncated file to a lost GPU.
///
/// Fields of one name mean the same in every variant: `file` is the path or name that the user gave,
/// `key` a tensor's name (or that of a missing file), `field` a field of a config, `found` what is
/// there and `expected` what could be read, `why` the reason in words. Sizes have their unit in the name.
#[allow(missing_docs, reason = "the fields are explained above, once")]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- files -------------------------------------------------------------------------------
    /// The first bytes are not those of the format.
    #[error("{file}: not a {expected} file, its first bytes are {found}; choose another file")]
    WrongMagic {
        file: String,
        expected: &'static str,
        found: String,
    },
    /// The file ends before what its header promises.
    #[error(
        "{file}: ends at byte {found_bytes} but {what} needs {needed_bytes}; \
         the file is cut short, fetch it again"
    )]
    Truncated {
        file: String,
        what: String,
        needed_bytes: u64,
        found_bytes: u64,
    },
    /// A tensor's data range lies outside the file.
    #[error(
        "{file}: tensor `{key}` ends at byte {end_bytes} of a file of {file_bytes} bytes; \
         the file is cut short or its header is wrong, fetch it again"
    )]
    TensorBeyondFile {
        file: String,
        key: String,
        end_bytes: u64,
        file_bytes: u64,
    },
    /// The header contradicts itself or the format.
    #[error("{file}: the header is not valid: {why}")]
    BadHeader { file: String, why: String },
    /// The number format of a tensor is not one that we read.
    #[error("{file}: tensor `{key}` is stored as {found}; this program reads {known}")]
    UnsupportedDtype {
        file: String,
        key: String,
        found: String,
        known: &'static str,
    },
    /// The model is not one that this program can run.
    #[error("{file}: `{field}` is {found}, this program runs {supported}")]
    UnsupportedModel {
        file: String,
        field: String,
        found: String,
        supported: String,
    },
    /// A key that must be there is not.
    #[error("{file}: `{key}` is missing ({what})")]
    MissingKey {
        file: String,
        key: String,
        what: String,
    },
    /// Keys that nothing would use: dropping them in silence would change the result.
    #[error(
        "{file}: nothing in this method uses {}; is it another method's file?",
        list(keys)
    )]
    UnexpectedKeys { file: String, keys: Vec<String> },
    /// A tensor has another shape than the model or the config asks for.
    #[error("{file}: `{key}` has shape {found:?}, expected {expected}; {hint}")]
    WrongShape {
        file: String,
        key: String,
        expected: String,
        found: Vec<usize>,
        hint: &'static str,
    },
    /// A tensor holds a number that means nothing there.
    #[error("{file}: `{key}` holds {found}, expected {expected}")]
    BadValue {
        file: String,
        key: String,
        found: String,
        expected: String,
    },
    /// A tensor holds NaN or an infinity, with which every result would be NaN.
    #[error(
        "{file}: `{key}` holds {found} at element {element}: a number that is not finite makes \
         every result meaningless; fetch the file again, or save it from a run that did not diverge"
    )]
    NotFinite {
        file: String,
        key: String,
        found: String,
        element: usize,
    },
    /// The file adapts a module that the model does not have.
    #[error(
        "{file}: `{key}` belongs to a module that {model} ({layers} layers) does not have; \
         {trained_on}"
    )]
    NoSuchModule {
        file: String,
        key: String,
        model: String,
        layers: usize,
        /// What the file says of the model that it was trained on.
        trained_on: String,
    },
    /// A JSON file is not JSON, or a field has the wrong type.
    #[error("{file}: `{field}` is {found}, expected {expected}")]
    BadConfig {
        file: String,
        field: String,
        expected: String,
        found: String,
    },
    /// `peft_type` names a method that this build does not know.
    #[error("{file}: method `{found}` is not known here; known are {known}")]
    UnknownMethod {
        file: String,
        found: String,
        known: String,
    },
    /// The method is known, but not with this option.
    #[error("{file}: {method} with `{field}` = {found} is not supported: {why}")]
    UnsupportedOption {
        file: String,
        method: String,
        field: String,
        found: String,
        why: &'static str,
    },
    /// A parameter, or a loss, that training cannot move.
    #[error("training stopped: {key}: {why}; the state before this step is kept")]
    NotTrained { key: String, why: &'static str },
    /// A task that the adapter does not have, or none where one has to be chosen.
    #[error("{file}: the task is {found}, expected {expected}")]
    BadTask {
        file: String,
        found: String,
        expected: String,
    },

    // ---- use ---------------------------------------------------------------------------------
    /// A coefficient that is not a finite number inside the law's domain.
    #[error("adapter {adapter}: the coefficient {found} is not {expected}; it stays as it was")]
    BadCoefficient {
        adapter: String,
        found: String,
        expected: String,
    },
    /// A law that this checkpoint cannot follow.
    #[error("adapter {adapter} cannot follow the {found} law: {why}; it can follow {known}")]
    BadLaw {
        adapter: String,
        found: &'static str,
        why: &'static str,
        known: String,
    },
    /// The adapter id is not loaded (any more).
    #[error("no adapter with id {id} is loaded")]
    NoSuchAdapter { id: u32 },
    /// Nothing to continue from.
    #[error("the prompt is empty; write something first")]
    EmptyPrompt,
    /// The prompt does not fit into the model's context.
    #[error("the prompt has {tokens} tokens, the context holds {context}; shorten the prompt")]
    PromptTooLong { tokens: usize, context: usize },
    /// A generation option outside its range.
    #[error("`{name}` is {found}, expected {expected}")]
    BadOption {
        name: &'static str,
        expected: &'static str,
        found: String,
    },
    /// A token id outside the vocabulary.
    #[error("token {id} is outside the vocabulary of {vocab}")]
    BadToken { id: u32, vocab: usize },
    /// Text was asked of a model that has no tokenizer.
    #[error("{file}: has no tokenizer; give token ids, or add tokenizer.json beside the weights")]
    NoTokenizer { file: String },
    /// The tokenizer's data cannot be used.
    #[error("{file}: the tokenizer cannot be used: {why}")]
    BadTokenizer { file: String, why: String },
    /// A chat was asked of a model that has no chat template.
    #[error("this model has no chat template; use a plain prompt")]
    NoChatTemplate,
    /// The chat template failed.
    #[error("the chat template cannot be rendered: {why}")]
    BadChatTemplate { why: String },
    /// The model must be loaded first.
    #[error("no model is loaded; load one first")]
    NoModel,
    /// The logits stopped being finite: there is no next token to choose.
    #[error(
        "the logits of token {token} are not finite with {coefficients}; turn towards 0, or take \
         the adapter off: the text before it is kept"
    )]
    Diverged {
        /// Counted from 0 in the answer.
        token: usize,
        /// Each acting adapter's name with its coefficient, or "no adapter".
        coefficients: String,
    },
    /// The user stopped it.
    #[error("stopped")]
    Aborted,

    // ---- device, storage, network --------------------------------------------------------------
    /// The requested device is not available.
    #[error("device `{asked}` cannot be used: {why}")]
    DeviceUnavailable { asked: String, why: String },
    /// The device failed or was taken away while in use; the text so far is kept by the caller.
    #[error("the device stopped working: {why}; start a new session, the text is kept")]
    DeviceLost {
        /// For people: see [`Error::device_lost`].
        why: &'static str,
        /// For developers: the driver's whole message.
        details: String,
    },
    /// The browser's storage is full.
    #[error(
        "the browser's storage is full: {} needed{}; private windows have less; \
         delete a kept model, or go on without keeping it",
        are(*needed_bytes),
        free(*needed_bytes, *available_bytes)
    )]
    QuotaExceeded {
        /// Still to be written.
        needed_bytes: u64,
        /// As the browser reports it, if it does; it may give less.
        available_bytes: Option<u64>,
    },
    /// The copy kept in the browser is not what was downloaded.
    #[error("{file}: the copy kept in this browser was damaged ({what}) and is deleted; {then}")]
    DamagedCopy {
        file: String,
        what: String,
        then: String,
    },
    /// The hash of a download is not the expected one.
    #[error(
        "{file}: SHA-256 is {found}, expected {expected}; the copy was deleted, fetch it again"
    )]
    HashMismatch {
        file: String,
        expected: String,
        found: String,
    },
    /// A network request failed.
    #[error("{url}: {why}; check the address and the connection, then try again")]
    Network { url: String, why: String },
    /// A server does not have it.
    #[error("{file}: {why}; check the name")]
    NotFound { file: String, why: String },
    /// The owner of a repository gives it to those who have accepted its terms.
    #[error(
        "{file}: it is given only to those who have accepted its owner's terms ({status}): accept \
         them on its page, download the files there, and give them from your computer"
    )]
    Gated { file: String, status: u16 },
    /// A repository holds more than one model, and none was named.
    #[error("{file}: there are several models: {names}; name one, as in {one}")]
    SeveralModels {
        file: String,
        names: String,
        /// One of them, as it would be asked for.
        one: String,
    },
    /// The browser lets no page of another origin read it.
    #[error(
        "{url}: the server is there, but it lets no other page read this (it sends no CORS \
         headers): download the file yourself and give it from your computer"
    )]
    Unshared { url: String },
    /// Reading or writing failed.
    #[error("{file}: {why}")]
    Io { file: String, why: String },
}

/// Words in a driver's message, and what happened in plain words.
const DEVICE_FAILURES: &[(&[&str], &str)] = &[
    (
        &["out of memory", "outofmemory", "not enough memory"],
        "it ran out of memory",
    ),
    (
        &["lost", "destroyed", "reset", "removed", "external instance"],
        "the system or the browser took it away, as after sleep or a driver's update",
    ),
    (
        &["timeout", "timed out", "hung"],
        "it did not answer in time",
    ),
];

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// [`Error::DeviceLost`] in plain words, from the driver's message: panics, paths and
    /// backtraces stay in `details`.
    #[must_use]
    pub fn device_lost(details: impl ToString) -> Self {
        let details = details.to_string();
        let text = details.to_lowercase();
        let known = DEVICE_FAILURES
            .iter()
            .find(|(words, _)| words.iter().any(|word| text.contains(word)));
        Self::DeviceLost {
            why: known.map_or("it gave no result", |(_, why)| why),
            details,
        }
    }

    /// A stable, machine-readable name of the kind of error, such as `wrong-shape`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongMagic { .. } => "wrong-magic",
            Self::Truncated { .. } => "truncated",
            Self::TensorBeyondFile { .. } => "tensor-beyond-file",
            Self::BadHeader { .. } => "bad-header",
            Self::UnsupportedDtype { .. } => "unsupported-dtype",
            Self::UnsupportedModel { .. } => "unsupported-model",
            Self::MissingKey { .. } => "missing-key",
            Self::UnexpectedKeys { .. } => "unexpected-keys",
            Self::WrongShape { .. } => "wrong-shape",
            Self::BadValue { .. } => "bad-value",
            Self::NotFinite { .. } => "not-finite",
            Self::NoSuchModule { .. } => "no-such-module",
            Self::BadConfig { .. } => "bad-config",
            Self::UnknownMethod { .. } => "unknown-method",
            Self::UnsupportedOption { .. } => "unsupported-option",
            Self::NotTrained { .. } => "not-trained",
            Self::BadTask { .. } => "bad-task",
            Self::BadCoefficient { .. } => "bad-coefficient",
            Self::BadLaw { .. } => "bad-law",
            Self::NoSuchAdapter { .. } => "no-such-adapter",
            Self::EmptyPrompt => "empty-prompt",
            Self::PromptTooLong { .. } => "prompt-too-long",
            Self::BadOption { .. } => "bad-option",
            Self::BadToken { .. } => "bad-token",
            Self::NoTokenizer { .. } => "no-tokenizer",
            Self::BadTokenizer { .. } => "bad-tokenizer",
            Self::NoChatTemplate => "no-chat-template",
            Self::BadChatTemplate { .. } => "bad-chat-template",
            Self::NoModel => "no-model",
            Self::Diverged { .. } => "diverged",
            Self::Aborted => "aborted",
            Self::DeviceUnavailable { .. } => "device-unavailable",
            Self::DeviceLost { .. } => "device-lost",
            Self::QuotaExceeded { .. } => "quota-exceeded",
            Self::DamagedCopy { .. } => "damaged-copy",
            Self::HashMismatch { .. } => "hash-mismatch",
            Self::Network { .. } => "network",
            Self::NotFound { .. } => "not-found",
            Self::Gated { .. } => "gated",
            Self::SeveralModels { .. } => "several-models",
            Self::Unshared { .. } => "unshared",
            Self::Io { .. } => "io",
        }
    }
}

/// `98.4 MB are`
fn are(bytes: u64) -> String {
    format!("{} are", megabytes(bytes))
}

/// What is free, unless that is more than is needed: then the browser promised too much.
fn free(needed_bytes: u64, available_bytes: Option<u64>) -> String {
    let less = available_bytes.filter(|&available| available < needed_bytes);
    less.map_or_else(String::new, |available| {
        format!(", {} free", are(available))
    })
}

/// `98.4 MB`, as the page writes it.
#[must_use]
pub fn megabytes(bytes: u64) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    match tenths {
        1000.. => format!("{} MB", (tenths + 5) / 10),
        _ => format!("{}.{} MB", tenths / 10, tenths % 10),
    }
}

/// At most six names, to keep the sentence short.
fn list(keys: &[String]) -> String {
    let shown: Vec<String> = keys.iter().take(6).map(|key| format!("`{key}`")).collect();
    match keys.len().saturating_sub(6) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_device_is_reported_in_plain_words() {
        let cases = [
            (
                "called `Result::unwrap()` on an `Err` value: BufferAsyncError\n   0: std::backtrace\n             at /rustc/1234/library/std/src/panicking.rs:12:5",
                "it gave no result",
            ),
            (
                "Execution error: wgpu error: Parent device is lost\nBacktrace:\n  wasm-function[12]",
                "the system or the browser took it away, as after sleep or a driver's update",
            ),
            ("Out of Memory", "it ran out of memory"),
        ];
        for (details, why) in cases {
            let error = Error::device_lost(details);
            let words = error.to_string();
            assert_eq!(
                words,
                format!("the device stopped working: {why}; start a new session, the text is kept")
            );
            assert_eq!(error.code(), "device-lost");
            let Error::DeviceLost { details: kept, .. } = error else {
                panic!("{words}")
            };
            assert_eq!(kept, details);
        }
    }

    #[test]
    fn a_full_storage_names_one_number_or_two_that_agree() {
        let full = |available_bytes| {
            Error::QuotaExceeded {
                needed_bytes: 98_362_432,
                available_bytes,
            }
            .to_string()
        };
        assert!(
            full(Some(12_040_000)).contains("full: 98.4 MB are needed, 12.0 MB are free; private")
        );
        for promised in [None, Some(98_362_432), Some(5_000_000_000)] {
            assert!(full(promised).contains("full: 98.4 MB are needed; private windows have less"));
        }
    }

    #[test]
    fn megabytes_are_rounded() {
        let cases = [
            (0, "0.0 MB"),
            (50_000, "0.1 MB"),
            (99_949_999, "99.9 MB"),
            (99_950_000, "100 MB"),
            (2_150_400_000, "2150 MB"),
        ];
        for (bytes, words) in cases {
            assert_eq!(megabytes(bytes), words, "{bytes}");
        }
    }
}
