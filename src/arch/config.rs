//! The sizes of a Llama-architecture model, whichever file they were read from.

/// Sizes and constants of a decoder of the Llama family (RMSNorm, RoPE, GQA, SwiGLU).
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// Width of the residual stream, `d`.
    pub hidden_size: usize,
    /// Width of the MLP between its gate/up and down projections.
    pub intermediate_size: usize,
    /// Number of decoder blocks.
    pub num_layers: usize,
    /// Number of query heads.
    pub num_heads: usize,
    /// Number of key/value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head, `hd`; `num_heads * head_dim` need not equal `hidden_size`.
    pub head_dim: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Longest sequence in tokens that the model was made for.
    pub context: usize,
    /// Base of the rotary embedding's wavelengths.
    pub rope_theta: f64,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Whether the output head is the embedding matrix.
    pub tie_word_embeddings: bool,
    /// Whether the config says that it is, though the file has a head of its own, which counts:
    /// PEFT still puts trained rows of the embedding into both.
    pub tied_by_config_alone: bool,
    /// Whether q, k, v and o have biases.
    pub attention_bias: bool,
    /// Whether gate, up and down have biases.
    pub mlp_bias: bool,
}
