//! An adapter's files, as they are given.

/// What the names of PEFT's tensors begin with.
pub(crate) const PREFIX: &str = "base_model.model.";

/// The files of one adapter, as bytes.
#[derive(Debug, Clone, Default)]
pub struct AdapterFiles {
    /// A name for the user, usually the folder's.
    pub name: String,
    /// `adapter_config.json`, of PEFT or mlx-lm; a control vector and a `.gguf` may come without.
    pub config: Option<Vec<u8>>,
    /// `adapter_model.safetensors`, mlx-lm's `adapters.safetensors`, or a `.gguf` of llama.cpp's: a
    /// LoRA or a control vector.
    pub weights: Vec<u8>,
    /// [`BASES_FILE`], for a method that has it.
    pub bases: Option<Vec<u8>>,
    /// Which of its tasks to run, counted from 0, for a method that was trained for several.
    pub task: Option<usize>,
    /// The experts of a mixture, in order: PEFT's subfolders `0`, `1`, ….
    pub experts: Vec<AdapterFiles>,
    /// Weights for a mixture's experts in place of those of its gate, or for skills in place of those of a
    /// task.
    pub expert_weights: Option<Vec<f32>>,
}

/// The file beside the weights that holds singular vectors of the base.
pub const BASES_FILE: &str = "0_svd_bases.safetensors";
