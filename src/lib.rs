//! A playground for steering a small language model: adapters of the PEFT catalogue and steering
//! vectors, each behind one signed coefficient `c`, turned while the model speaks.
//!
//! ```text
//! weights/    bytes -> tensors: GGUF, safetensors, dequantisation, one façade over both
//! text/       tokenizer, chat template, incremental decoding, stop texts
//! open.rs     the files of a model -> its weights and its text
//! model/      the Llama decoder over burn tensors, its hook points, the kv cache
//! quantised/  matrices that stay quantised, and integer products with them
//! adapters/   one file per method; the effects they share; the stack of loaded adapters
//! extract.rs  contrast pairs -> a control vector
//! export.rs   an adapter -> a GGUF file for llama.cpp
//! sample.rs   logits -> token: filters, shared noise, KL
//! session.rs  prompt -> steps: base and steered in lockstep; no I/O, no clock, no JS
//! device.rs   which device computes, and why
//! error.rs    one typed error
//! web/        the only place that knows wasm-bindgen
//! ```
#![deny(unsafe_code)]

pub mod adapters;
pub mod arch;
pub mod checkpoint;
pub mod device;
pub mod error;
pub mod export;
pub mod extract;
pub mod hooks;
pub mod kernels;
mod linalg;
pub mod measure;
pub mod methods;
pub mod model;
pub mod open;
pub mod quantised;
pub mod sample;
pub mod session;
mod tensor;
pub mod text;
pub mod weights;

#[cfg(target_arch = "wasm32")]
pub mod web;

pub use error::{Error, Result};
