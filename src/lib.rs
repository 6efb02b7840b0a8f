//! A playground for steering a small language model: adapters of the PEFT catalogue and steering
//! vectors, each with one signed coefficient `c` that can change while the model generates.
//!
//! # Floors
//!
//! A file imports from its own folder or from lower floors, never sideways, and inside a folder files
//! form no circles. The test `floors` reads this table.
//!
//! | floor | rooms | what is there |
//! |---|---|---|
//! | 14 | `bin`, `web` | the program `steer`; the only folder that knows wasm-bindgen |
//! | 13 | `train` | pairs -> an adapter of any method |
//! | 12 | `extract` | contrasting texts -> a control vector; sums of several |
//! | 11 | `export`, `dose` | an adapter -> a GGUF file for llama.cpp, a folder for PEFT; what a coefficient really does |
//! | 10 | `session` | prompt -> steps: base and steered in lockstep; no I/O, no clock, no JS |
//! | 9 | `adapters` | files -> loaded adapters, the stack with its coefficients, inspection |
//! | 8 | `methods`, `hub` | one file per method, what they share, the list of all; what a repository of the Hub holds, which files to take |
//! | 7 | `checkpoint` | config, containers, loader: each tensor is taken once; what a method is |
//! | 6 | `model`, `open` | the decoder's block, its executors, the kv cache; the files of a model -> its weights and its text |
//! | 5 | `hooks`, `kernels`, `text` | what may act on a decoder, and where; WGSL; tokenizer and chat template |
//! | 4 | `arch`, `sample` | what a decoder is, one file per family; logits -> token |
//! | 3 | `weights`, `measure` | bytes -> tensors: GGUF, safetensors, dequantisation; KL, probabilities, entropy |
//! | 2 | `tensor` | between tensors and host memory |
//! | 1 | `processor`, `device`, `linalg` | what the processor computes for each token, a crate of its own, built for speed; which device computes, and reading back; f64 on the host |
//! | 0 | `error` | one typed error |
//!
//! Data flows up on the way in and down on the way out: bytes -> weights -> model; files -> checkpoint ->
//! method -> effects -> plan -> block -> logits -> measure and sample -> step.
#![deny(unsafe_code)]

pub mod adapters;
pub mod arch;
pub mod checkpoint;
pub mod device;
pub mod dose;
pub mod error;
pub mod export;
pub mod extract;
pub mod hooks;
pub mod hub;
pub mod kernels;
mod linalg;
pub mod measure;
pub mod methods;
pub mod model;
pub mod open;
pub mod sample;
pub mod session;
mod tensor;
pub mod text;
pub mod train;
pub mod weights;

// Of the browser's folder, what knows no JS is tested natively.
#[cfg(any(test, target_arch = "wasm32"))]
pub mod web;

pub use error::{Error, Result};
pub use processor::quantised;
