//! Real files, damaged at random in several places at once: every reader ends with an error or with
//! a result, never with a panic, and never takes much more memory than the file has bytes. That one
//! damaged byte or one cut is harmless is tried everywhere in `weights.rs`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use steering_playground::adapters::{self, Stack};
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::session::Session;
use steering_playground::text::{Message, Text};
use steering_playground::weights::{gguf, safetensors};

use crate::common::{golden_dir, tiny};
use crate::golden::{Case, cases};

/// Counts what a thread holds, so that a test can see the most that a reader took.
struct Counting;

thread_local! {
    /// Bytes held now, and at most since [`peak`] began.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn count(bytes: isize) {
    // A thread that ends has no counter any more, and no test that would ask.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

#[allow(
    unsafe_code,
    reason = "only an allocator sees what a reader takes, and its trait is unsafe"
)]
// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `run` held beyond what was there before.
pub fn peak(run: impl FnOnce()) -> usize {
    let before = HELD.with(|held| {
        let (now, _) = held.get();
        held.set((now, now));
        now
    });
    run();
    HELD.with(|held| (held.get().1 - before).max(0) as usize)
}

/// One damage to a file. Places are shares of its length.
#[derive(Debug, Clone)]
enum Damage {
    Byte(f64, u8),
    Word(f64, u64),
    Cut(f64),
    Remove(f64, usize),
    Repeat(f64, usize),
    Digits(f64, u64),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let large = prop_oneof![
        Just(u64::MAX),
        Just(1 << 63),
        Just(1 << 40),
        Just(u64::from(u32::MAX)),
        0_u64..70_000,
        any::<u64>()
    ];
    // Half of all damage goes to the header, where the numbers are.
    let place = prop_oneof![0.0..0.05_f64, 0.0..1.0_f64];
    let one = prop_oneof![
        (place.clone(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (place.clone(), large.clone()).prop_map(|(at, word)| Damage::Word(at, word)),
        place.clone().prop_map(Damage::Cut),
        (place.clone(), 1_usize..40).prop_map(|(at, n)| Damage::Remove(at, n)),
        (place.clone(), 1_usize..40).prop_map(|(at, n)| Damage::Repeat(at, n)),
        (place, large).prop_map(|(at, number)| Damage::Digits(at, number)),
    ];
    prop::collection::vec(one, 1..5)
}

fn damaged(file: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut file = file.to_vec();
    for damage in damages {
        let at = |share: f64| ((file.len() as f64 * share) as usize).min(file.len());
        match *damage {
            Damage::Byte(share, byte) => {
                let at = at(share);
                file.iter_mut().skip(at).take(1).for_each(|old| *old = byte);
            }
            Damage::Word(share, word) => {
                let at = at(share) / 8 * 8;
                let word = word.to_le_bytes();
                file.iter_mut()
                    .skip(at)
                    .zip(word)
                    .for_each(|(old, new)| *old = new);
            }
            Damage::Cut(share) => file.truncate(at(share)),
            Damage::Remove(share, n) => {
                let (at, length) = (at(share), file.len());
                file.drain(at..(at + n).min(length));
            }
            Damage::Repeat(share, n) => {
                let at = at(share);
                let piece = file[at..(at + n).min(file.len())].to_vec();
                file.splice(at..at, piece);
            }
            Damage::Digits(share, number) => {
                // The next number in the text becomes this one.
                let from = at(share);
                let digits = |byte: &u8| byte.is_ascii_digit();
                if let Some(start) = file[from..].iter().position(digits).map(|n| from + n) {
                    let length = file[start..].iter().take_while(|byte| digits(byte)).count();
                    file.splice(start..start + length, number.to_string().into_bytes());
                }
            }
        }
    }
    file
}

/// Reads so many damaged copies of a file, the same in every run; `read` may fail, but not panic,
/// and not hold more than the undamaged file took, `factor` times the file and some working space.
fn survives(name: &str, file: &[u8], draws: u32, factor: usize, read: impl Fn(&[u8])) {
    let config = Config {
        cases: draws,
        failure_persistence: None,
        ..Config::default()
    };
    // What matrix products take to work in depends on the machine's caches.
    let own = peak(|| read(file));
    let rng = TestRng::deterministic_rng(RngAlgorithm::XorShift);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&damages(), |damages| {
        let copy = damaged(file, &damages);
        let room = own + factor * (file.len() + copy.len()) + (1 << 20);
        let took = peak(|| read(&copy));
        if took <= room {
            Ok(())
        } else {
            Err(TestCaseError::fail(format!("took {took} bytes of {room}")))
        }
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, damages)) => panic!("{name}: {why}: {damages:?}"),
        Err(error) => panic!("{name}: {error}"),
    }
}

fn golden(path: &str) -> Vec<u8> {
    std::fs::read(golden_dir().join(path)).expect("a golden file")
}

#[test]
fn gguf_files() {
    for path in [
        "control_vector/control_vector.gguf",
        "lora_untied/llama_cpp.gguf",
    ] {
        survives(path, &golden(path), 400, 8, |bytes| {
            let _ = gguf::read_all("damaged", bytes);
        });
    }
}

#[test]
fn safetensors_files() {
    for path in [
        "lora/adapter_model.safetensors",
        "lora_bf16/adapter_model.safetensors",
    ] {
        survives(path, &golden(path), 400, 8, |bytes| {
            let _ = safetensors::read_all("damaged", bytes);
        });
    }
}

/// Runs on every golden case, with its base model loaded.
fn every_case(mut run: impl FnMut(&Case, &Session)) {
    let mut sessions: Vec<(String, Session)> = Vec::new();
    for case in cases() {
        if !sessions.iter().any(|(base, _)| *base == case.base) {
            sessions.push((case.base.clone(), tiny(&case.base)));
        }
        let session = sessions.iter().find(|(base, _)| *base == case.base);
        run(&case, &session.expect("just opened").1);
    }
}

/// What loads must also act; what does not must say why.
fn load(files: &AdapterFiles, session: &Session) {
    let _ = adapters::inspect(files);
    if let Ok(adapter) = adapters::load(files, &session.model) {
        let mut stack = Stack::default();
        let id = stack.add(adapter);
        let _ = stack.set_coefficient(id, 0.5);
        stack.steering();
    }
}

#[test]
fn adapters_of_every_method() {
    every_case(|case, session| {
        let files = case.files();
        let name = format!("{}: weights", case.name);
        survives(&name, &files.weights, 12, 64, |bytes| {
            let weights = bytes.to_vec();
            load(
                &AdapterFiles {
                    weights,
                    ..files.clone()
                },
                session,
            );
        });
        let Some(config) = files.config.clone() else {
            return;
        };
        let factor = 64 * files.weights.len().div_ceil(config.len());
        let name = format!("{}: config", case.name);
        survives(&name, &config, 24, factor, |bytes| {
            let config = Some(bytes.to_vec());
            load(
                &AdapterFiles {
                    config,
                    ..files.clone()
                },
                session,
            );
        });
    });
}

/// What a number of a config asks for must be in the file before there is room made for it.
#[test]
fn numbers_of_every_config() {
    every_case(|case, session| {
        let files = case.files();
        let Some(config) = &files.config else { return };
        let config: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(config).expect("JSON");
        let own = peak(|| load(&files, session));
        let room = own + 64 * files.weights.len() + (1 << 20);
        for (field, value) in &config {
            if !value.is_number() {
                continue;
            }
            for other in [
                "0",
                "-1",
                "1.5",
                "3",
                "1000003",
                "4294967296",
                "9223372036854775807",
                "1e300",
            ] {
                let mut config = config.clone();
                config[field] = serde_json::from_str(other).expect("a number");
                let config = serde_json::Value::Object(config).to_string();
                let files = AdapterFiles {
                    config: Some(config.into_bytes()),
                    ..files.clone()
                };
                let took = peak(|| load(&files, session));
                assert!(
                    took <= room,
                    "{}: {field} = {other} took {took} bytes of {room}",
                    case.name
                );
            }
        }
    });
}

/// A chat template is a program; whatever becomes of it, it ends, and says so when it fails.
#[test]
fn chat_templates() {
    let file = std::fs::read("tests/fixtures/text.json").expect("fixture");
    let file: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    let tokenizer = std::fs::read("tests/fixtures/tiny_tokenizer.json").expect("fixture");
    let messages = ["system", "user", "assistant", "user"].map(|role| Message {
        role: role.into(),
        content: "Hello {{ there }}.".into(),
    });
    for template in file["templates"].as_array().expect("templates") {
        let name = template["name"].as_str().unwrap_or_default();
        let text = template["template"].as_str().expect("a template");
        survives(name, text.as_bytes(), 100, 4096, |bytes| {
            let template = ("chat_template.jinja", bytes.to_vec());
            let files = [("tokenizer.json", tokenizer.clone()), template].into();
            if let Ok(Some(text)) = Text::from_files(&files) {
                let _ = text.chat(&messages);
            }
        });
    }
}
