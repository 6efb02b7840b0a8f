//! From an adapter's files to what a method reads: config and tensors, each used once or refused.
//!
//! ```text
//! files.rs      the files, as bytes
//! container.rs  PEFT's folder, mlx-lm's or a GGUF file -> config and tensors
//! mlx_lora.rs   mlx-lm's names -> PEFT's
//! gguf_lora.rs  llama.cpp's names -> PEFT's
//! keys.rs       names of tensors without wrappers and prefixes
//! config.rs     adapter_config.json, by field
//! defaults.rs   PEFT's defaults for it
//! patterns.rs   patterns of module names, matched as PEFT matches them
//! method.rs     what a method is, and its card
//! target.rs     a linear layer that has tensors
//! loader.rs     hands the tensors to a method
//! stacks.rs     modules that hold several linear layers, taken apart
//! ```

mod config;
mod container;
mod defaults;
mod files;
mod gguf_lora;
pub(crate) mod keys;
mod loader;
mod method;
mod mlx_lora;
pub(crate) mod patterns;
mod stacks;
mod target;

pub use config::Config;
pub(crate) use config::is_classifier;
pub(crate) use container::{count, read};
pub(crate) use defaults::renamed;
pub(crate) use files::PREFIX;
pub use files::{AdapterFiles, BASES_FILE};
pub use loader::Loader;
pub use method::{Card, Family, Loaded, Method};
pub(crate) use method::{head, head_len, room_doc};
pub use target::Target;
