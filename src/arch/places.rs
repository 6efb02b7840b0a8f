//! The places in a decoder that adapters know by name.

/// The linear layers of a block; a family has some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub enum Projection {
    /// `self_attn.q_proj`
    Q,
    /// `self_attn.k_proj`
    K,
    /// `self_attn.v_proj`
    V,
    /// `self_attn.o_proj`
    O,
    /// `mlp.gate_proj`
    Gate,
    /// `mlp.up_proj`
    Up,
    /// `mlp.down_proj`
    Down,
    /// Queries, keys and values in one layer, in place of the first three.
    Qkv,
}

impl Projection {
    /// How many there can be.
    pub const COUNT: usize = 8;

    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Q,
        Self::K,
        Self::V,
        Self::O,
        Self::Gate,
        Self::Up,
        Self::Down,
        Self::Qkv,
    ];

    /// The module's path inside its block in most families; [`super::Names::linear`] knows that of
    /// each.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Q => "self_attn.q_proj",
            Self::K => "self_attn.k_proj",
            Self::V => "self_attn.v_proj",
            Self::O => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
            Self::Qkv => "self_attn.qkv_proj",
        }
    }

    /// The module's own name, such as `q_proj`.
    #[must_use]
    pub fn name(self) -> &'static str {
        let path = self.path();
        path.split_once('.').map_or(path, |(_, name)| name)
    }
}

/// The norms of a block; a family has some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Norm {
    /// `input_layernorm`, in front of attention.
    Input,
    /// `post_attention_layernorm`, in front of the MLP.
    PostAttention,
    /// On what attention adds.
    AfterAttention,
    /// On what the MLP adds.
    AfterMlp,
    /// `self_attn.q_norm`, on queries before they are rotated.
    Query,
    /// `self_attn.k_norm`, on keys before they are rotated.
    Key,
}

impl Norm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Input,
        Self::PostAttention,
        Self::AfterAttention,
        Self::AfterMlp,
        Self::Query,
        Self::Key,
    ];
    /// How many there can be.
    pub const COUNT: usize = Self::ALL.len();
}

/// Where the norms of a block stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlaces {
    /// In front of attention and of the MLP.
    Before,
    /// After attention and after the MLP, on what they add.
    After,
    /// Both.
    Around,
}
