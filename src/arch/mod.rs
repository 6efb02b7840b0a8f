//! What a decoder is: its sizes, one file per family, and the files that it is read from.

mod config;
pub(crate) mod llama;
mod model_file;
mod places;

pub use config::{Activation, Biases, DecoderConfig, LayerConfig, NormPlaces, QkNorm, RopeConfig};
pub use model_file::ModelFile;
pub use places::{Norm, Projection};
