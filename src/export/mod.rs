//! An adapter as a file of its own, at one coefficient: for llama.cpp, and as the folder that PEFT reads.
//!
//! ```text
//! gguf.rs   effects -> a GGUF file: a LoRA, or a control vector
//! peft.rs   config and tensors -> PEFT's folder, with c folded into the numbers
//! ```

mod gguf;
mod peft;

pub use gguf::{Export, control_vector_gguf};
pub use peft::{Folder, PeftExport};
