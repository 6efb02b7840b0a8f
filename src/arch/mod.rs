//! What a decoder is: its sizes, one file per family, and the files that it is read from.
//!
//! ```text
//! config.rs      a decoder, described by data
//! places.rs      the places in it that adapters know
//! names.rs       what a family calls them, in Hugging Face's files and llama.cpp's
//! family.rs      what a family is, and which one a config belongs to
//! llama.rs       the families, one file each
//! sizes.rs       what all of them read alike: sizes
//! rope.rs        ... and rotary embeddings with their scalings
//! windows.rs     ... and which blocks see a window of keys only
//! fields.rs      JSON objects and GGUF metadata, with errors that name the field
//! rows.rs        llama.cpp's order of rows
//! model_file.rs  files -> config and tensors
//! ```
//!
//! Adding a family: write its file, put its name into the two lists below.

mod config;
mod family;
mod fields;
mod model_file;
mod names;
mod places;
mod rope;
pub(crate) mod rows;
mod sizes;
mod windows;

mod gemma;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod granite;
mod llama;
mod mistral;
mod olmo2;
mod qwen2;
mod qwen3;
mod smollm3;

pub use config::{Activation, Biases, DecoderConfig, Fused, LayerConfig, QkNorm, RopeConfig};
pub use family::config_from_json;
pub(crate) use family::{all_names, known_to_gguf, with_usual_body};
pub use model_file::ModelFile;
pub use names::{Body, Names, Stack};
pub use places::{Norm, NormPlaces, Projection};

/// Every family.
static FAMILIES: &[&family::Family] = &[
    // Before Mistral, whose files llama.cpp calls Llama.
    &llama::FAMILY,
    &gemma::FAMILY,
    &gemma2::FAMILY,
    &gemma3::FAMILY,
    &gpt2::FAMILY,
    &gpt_neox::FAMILY,
    &granite::FAMILY,
    &mistral::FAMILY,
    &olmo2::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &smollm3::FAMILY,
];
