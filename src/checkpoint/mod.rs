//! A checkpoint on its way in: its config, its tensors, the method it belongs to, and strictness about
//! all three.

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
