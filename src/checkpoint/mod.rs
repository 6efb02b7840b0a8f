//! From an adapter's files to what a method reads: config and tensors, each used once or refused.
//!
//! ```text
//! files.rs      the files, as bytes
//! container.rs  PEFT's folder, mlx-lm's or a GGUF file -> config and tensors
//! mlx_lora.rs   mlx-lm's names -> PEFT's
//! gguf_lora.rs  llama.cpp's names -> PEFT's
//! keys.rs       names of tensors without wrappers and prefixes
//! config.rs     adapter_config.json, by field
//! patterns.rs   patterns of module names, matched as PEFT matches them
//! choice.rs     the modules that a config chooses
//! method.rs     what a method is, and its card
//! extras.rs     what few methods have: tasks, parts, numbers of the base on the host
//! target.rs     a linear layer that has tensors
//! loader.rs     hands the tensors to a method
//! known.rs      what was computed of the base, for the next reading of the same adapter
//! directions.rs directions of the base's weights
//! start.rs      a method's parameters before training
//! stacks.rs     modules that hold several linear layers, taken apart
//! saved.rs      modules that were trained whole
//! wait.rs       numbers of the base, read before a method loads
//! folds.rs      how c becomes part of the numbers
//! written.rs    config and tensors -> as PEFT writes them
//! ```

mod choice;
mod config;
mod container;
mod directions;
mod extras;
mod files;
mod folds;
mod gguf_lora;
pub(crate) mod keys;
mod known;
mod loader;
mod method;
mod mlx_lora;
pub(crate) mod patterns;
pub(crate) mod saved;
mod stacks;
mod start;
mod target;
mod wait;
mod written;

pub(crate) use choice::Choice;
pub use config::Config;
pub(crate) use config::WEIGHTS_FILE;
pub(crate) use config::is_classifier;
#[cfg(test)]
pub(crate) use config::is_off;
pub(crate) use container::{count, read};
pub(crate) use extras::Choices;
pub use extras::{Base, ByKeys, Extras, Parts};
pub(crate) use files::PREFIX;
pub use files::{AdapterFiles, BASES_FILE};
pub(crate) use folds::is_parameter;
pub use folds::{Fold, Folds};
pub(crate) use known::Known;
pub use loader::Loader;
pub use method::{Card, Family, Loaded, Method};
pub(crate) use method::{head, head_len, room_doc};
pub use start::{Init, Start, Trains, Untrained, Wish};
pub use target::Target;
pub(crate) use written::Written;
