//! What Llama models are called and sized in both formats: configs to one [`DecoderConfig`], tensor
//! names to Hugging Face's, and llama.cpp's order of query and key rows back to the original.

use super::config::{Activation, Biases, DecoderConfig, LayerConfig, NormPlaces, RopeConfig};
use crate::error::{Error, Result};
use crate::weights::gguf::{Gguf, Metadata};
use serde_json::{Map, Value};

/// The linear layers of a block, as Hugging Face and as llama.cpp call them.
const LINEARS: [(&str, &str); 7] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The norms of a block, likewise.
const NORMS: [(&str, &str); 2] = [
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
];

/// Hugging Face's name without its first `model.`, which base-model checkpoints leave out.
pub(crate) fn bare(name: &str) -> &str {
    name.strip_prefix("model.").unwrap_or(name)
}

/// llama.cpp's name of a tensor that has this [`bare`] Hugging Face name.
pub(crate) fn gguf_name(bare: &str) -> Option<String> {
    match bare {
        "embed_tokens.weight" => return Some("token_embd.weight".into()),
        "norm.weight" => return Some("output_norm.weight".into()),
        "lm_head.weight" => return Some("output.weight".into()),
        _ => {}
    }
    let (layer, path) = bare.strip_prefix("layers.")?.split_once('.')?;
    let (module, parameter) = path.rsplit_once('.')?;
    let (_, name) = LINEARS.iter().chain(&NORMS).find(|(hf, _)| *hf == module)?;
    Some(format!("blk.{layer}.{name}.{parameter}"))
}

/// The inverse of [`gguf_name`].
pub(crate) fn bare_name(gguf: &str) -> Option<String> {
    match gguf {
        "token_embd.weight" => return Some("embed_tokens.weight".into()),
        "output_norm.weight" => return Some("norm.weight".into()),
        "output.weight" => return Some("lm_head.weight".into()),
        _ => {}
    }
    let (layer, path) = gguf.strip_prefix("blk.")?.split_once('.')?;
    let (module, parameter) = path.rsplit_once('.')?;
    let (name, _) = LINEARS
        .iter()
        .chain(&NORMS)
        .find(|(_, gguf)| *gguf == module)?;
    Some(format!("layers.{layer}.{name}.{parameter}"))
}

/// Whether a tensor that the model does not use can be left out without changing any result.
pub(crate) fn is_harmless(name: &str) -> bool {
    // The wavelengths of the rotary embedding, which old checkpoints carry and everyone computes.
    // (`rope_freqs.weight` of a GGUF file is another thing: see `check_rope_freqs`.)
    name.ends_with(".rotary_emb.inv_freq")
}

/// Every tensor of a model of this config: [`bare`] name and shape, slowest dimension first.
/// `all_biases` adds those that the config denies.
pub(crate) fn tensors(config: &DecoderConfig, all_biases: bool) -> Vec<(String, Vec<usize>)> {
    let (d, inner) = (config.hidden_size, config.intermediate_size);
    let q = config.num_heads * config.head_dim;
    let kv = config.num_kv_heads * config.head_dim;
    // Output and input width in the order of `LINEARS`.
    let widths = [
        (q, d),
        (kv, d),
        (kv, d),
        (d, q),
        (inner, d),
        (inner, d),
        (d, inner),
    ];
    let mut all = vec![("embed_tokens.weight".into(), vec![config.vocab_size, d])];
    for layer in 0..config.num_layers {
        for (norm, _) in NORMS {
            all.push((format!("layers.{layer}.{norm}.weight"), vec![d]));
        }
        for ((linear, _), (o, i)) in LINEARS.into_iter().zip(widths) {
            all.push((format!("layers.{layer}.{linear}.weight"), vec![o, i]));
            let bias = match linear {
                "self_attn.o_proj" => config.biases.o,
                attention if attention.starts_with("self_attn") => config.biases.qkv,
                _ => config.biases.mlp,
            };
            if bias || all_biases {
                all.push((format!("layers.{layer}.{linear}.bias"), vec![o]));
            }
        }
    }
    all.push(("norm.weight".into(), vec![d]));
    if !config.tie_word_embeddings {
        all.push(("lm_head.weight".into(), vec![config.vocab_size, d]));
    }
    all
}

/// Whether llama.cpp reorders the rows of this tensor: see [`unpermute`].
pub(crate) fn is_permuted(name: &str) -> bool {
    name.contains(".self_attn.q_proj.") || name.contains(".self_attn.k_proj.")
}

/// Puts the rows of a query or key projection (or the elements of its bias) back in Hugging Face's
/// order.
///
/// Rotary embedding turns pairs of rows. Hugging Face pairs row `j` of a head with row
/// `j + hd / 2`, llama.cpp pairs neighbours, so its converter moved row `p hd / 2 + j` of each head
/// to `2 j + p`. `width` is the length of a row, in numbers or in bytes; 1 number for a bias.
pub(crate) fn unpermute<T: Copy>(values: &mut [T], head_dim: usize, width: usize) {
    reorder(values, head_dim, width, |at| {
        (at % 2) * (head_dim / 2) + at / 2
    });
}

/// The inverse of [`unpermute`]: Hugging Face's order into llama.cpp's.
pub(crate) fn permute(values: &mut [f32], head_dim: usize, width: usize) {
    reorder(values, head_dim, width, |at| {
        2 * (at % (head_dim / 2)) + at / (head_dim / 2)
    });
}

/// Moves row `at` of each head to row `place(at)`.
fn reorder<T: Copy>(
    values: &mut [T],
    head_dim: usize,
    width: usize,
    place: impl Fn(usize) -> usize,
) {
    if width == 0 || head_dim < 2 {
        return;
    }
    for rows in values.chunks_exact_mut(head_dim * width) {
        let old = rows.to_vec();
        for (at, row) in old.chunks_exact(width).enumerate() {
            rows[place(at) * width..][..width].copy_from_slice(row);
        }
    }
}

/// Where [`unpermute`] puts a row.
pub(crate) fn unpermuted_row(row: usize, head_dim: usize) -> usize {
    if head_dim < 2 {
        return row;
    }
    let place = row % head_dim;
    row - place + place % 2 * (head_dim / 2) + place / 2
}

/// Bounds that no Llama model comes near; products of these stay far inside 64 bits.
const MAX_EXTENT: u64 = 1 << 24;

/// What to do with an adapter in a model's place.
pub(crate) const GIVE_AS_ADAPTER: &str =
    "models; this is an adapter: give it as one (`--adapter`), with the model that it is for";

/// The only factor that changes nothing.
const UNSCALED: &str = "1 or no such field";

/// A refusal that names the field.
fn unsupported(file: &str, field: &str, found: impl ToString, supported: &str) -> Error {
    Error::UnsupportedModel {
        file: file.into(),
        field: field.into(),
        found: found.to_string(),
        supported: supported.into(),
    }
}

/// Checks a size: at least 1, and not absurd.
fn size(file: &str, field: &str, found: u64) -> Result<usize> {
    match usize::try_from(found) {
        Ok(size) if (1..=MAX_EXTENT).contains(&found) => Ok(size),
        _ => Err(unsupported(file, field, found, "sizes from 1 to 2^24")),
    }
}

/// Checks that a constant of the model is a positive number.
fn positive(file: &str, field: &str, found: f64) -> Result<f64> {
    if found.is_finite() && found > 0.0 {
        Ok(found)
    } else {
        Err(unsupported(file, field, found, "positive numbers"))
    }
}

/// Checks what the fields say together.
fn check(
    file: &str,
    config: DecoderConfig,
    kv_field: &str,
    head_field: &str,
) -> Result<DecoderConfig> {
    if !config.num_heads.is_multiple_of(config.num_kv_heads) {
        let supported = format!("divisors of the {} query heads", config.num_heads);
        return Err(unsupported(file, kv_field, config.num_kv_heads, &supported));
    }
    if !config.head_dim.is_multiple_of(2) {
        return Err(unsupported(
            file,
            head_field,
            config.head_dim,
            "even head widths",
        ));
    }
    Ok(config)
}

/// The width of a head where the file does not say it.
fn default_head_dim(file: &str, field: &str, hidden: usize, heads: usize) -> Result<usize> {
    if hidden.is_multiple_of(heads) {
        return Ok(hidden / heads);
    }
    let supported = format!("divisors of the width {hidden} when no head width is given");
    Err(unsupported(file, field, heads, &supported))
}

/// What all Llamas have in common; the sizes are still to be filled in.
fn plain(num_layers: usize, head_dim: usize) -> DecoderConfig {
    DecoderConfig {
        hidden_size: 0,
        intermediate_size: 0,
        num_layers,
        num_heads: 0,
        num_kv_heads: 0,
        head_dim,
        vocab_size: 0,
        context: 0,
        rms_norm_eps: 0.0,
        norms: NormPlaces::Before,
        gain_offset: 0.0,
        qk_norm: None,
        activation: Activation::Silu,
        attention_scale: (head_dim as f64).sqrt().recip(),
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_divisor: 1.0,
        attention_cap: None,
        logit_cap: None,
        ropes: Vec::new(),
        layers: vec![
            LayerConfig {
                window: None,
                rope: Some(0),
            };
            num_layers
        ],
        biases: Biases::default(),
        tie_word_embeddings: false,
        tied_by_config_alone: false,
    }
}

/// Reads the `llama.*` metadata of a GGUF model.
pub(crate) fn config_from_gguf(file: &str, gguf: &Gguf) -> Result<DecoderConfig> {
    const HEADS: &str = "llama.attention.head_count";
    const KV_HEADS: &str = "llama.attention.head_count_kv";
    const HEAD_DIM: &str = "llama.attention.key_length";
    const INNER: &str = "llama.feed_forward_length";
    let metadata = &gguf.metadata;
    let missing = |key: &str, what: &str| Error::MissingKey {
        file: file.into(),
        key: key.into(),
        what: what.into(),
    };
    let unsigned = |key: &str| -> Result<Option<usize>> {
        metadata
            .unsigned(key)?
            .map(|found| size(file, key, found))
            .transpose()
    };
    let required = |key: &str| unsigned(key)?.ok_or_else(|| missing(key, "a size of the model"));

    let architecture = metadata
        .string("general.architecture")?
        .ok_or_else(|| missing("general.architecture", "the model's family"))?;
    let adapter = match (metadata.string("general.type")?, architecture) {
        (Some("adapter"), _) => Some(("general.type", "adapter")),
        (_, "controlvector") => Some(("general.architecture", "controlvector")),
        _ => None,
    };
    if let Some((field, found)) = adapter {
        return Err(unsupported(file, field, found, GIVE_AS_ADAPTER));
    }
    if architecture != "llama" {
        return Err(unsupported(
            file,
            "general.architecture",
            architecture,
            "llama",
        ));
    }
    refuse_variants(file, metadata)?;

    let num_layers = required("llama.block_count")?;
    // Sizes that llama.cpp lets differ from block to block.
    let per_block = |key: &str| -> Result<Option<usize>> {
        let Some(found) = metadata.unsigned_each(key)? else {
            return Ok(None);
        };
        let is_list = metadata.unsigned(key).is_err();
        match found.as_slice() {
            [first, rest @ ..]
                if rest.iter().all(|other| other == first)
                    && (!is_list || found.len() == num_layers) =>
            {
                size(file, key, *first).map(Some)
            }
            _ => {
                let shown: Vec<String> = found.iter().take(8).map(u64::to_string).collect();
                let more = if found.len() > 8 { ", ..." } else { "" };
                let shown = format!("[{}{more}]", shown.join(", "));
                let supported = format!("the same number for each of the {num_layers} blocks");
                Err(unsupported(file, key, shown, &supported))
            }
        }
    };

    let hidden_size = required("llama.embedding_length")?;
    let num_heads = per_block(HEADS)?.ok_or_else(|| missing(HEADS, "a size of the model"))?;
    let head_dim = match unsigned(HEAD_DIM)? {
        Some(head_dim) => head_dim,
        None => default_head_dim(file, HEADS, hidden_size, num_heads)?,
    };
    for key in ["llama.attention.value_length", "llama.rope.dimension_count"] {
        if let Some(found) = unsigned(key)?.filter(|found| *found != head_dim) {
            return Err(unsupported(
                file,
                key,
                found,
                &format!("the head width, {head_dim}"),
            ));
        }
    }
    let embedding = gguf
        .tensors
        .get("token_embd.weight")
        .ok_or_else(|| missing("token_embd.weight", "the token embeddings"))?;
    let vocab_size = embedding.shape.first().copied().unwrap_or_default() as u64;
    let theta = metadata.float("llama.rope.freq_base")?.unwrap_or(10_000.0);
    let has_bias = |of: &str| {
        let linear = |key: &String| key.contains(of) && !key.contains("_norm");
        let mut keys = gguf.tensors.keys();
        keys.any(|key| key.ends_with(".bias") && linear(key))
    };
    const EPS: &str = "llama.attention.layer_norm_rms_epsilon";
    let eps = metadata
        .float(EPS)?
        .ok_or_else(|| missing(EPS, "the norms' epsilon"))?;
    let config = DecoderConfig {
        hidden_size,
        intermediate_size: per_block(INNER)?
            .ok_or_else(|| missing(INNER, "a size of the model"))?,
        num_layers,
        num_heads,
        num_kv_heads: per_block(KV_HEADS)?.unwrap_or(num_heads),
        head_dim,
        vocab_size: size(file, "the vocabulary (token_embd.weight)", vocab_size)?,
        context: required("llama.context_length")?,
        rms_norm_eps: positive(file, EPS, eps)?,
        ropes: vec![RopeConfig::plain(
            positive(file, "llama.rope.freq_base", theta)?,
            head_dim,
        )],
        tie_word_embeddings: !gguf.tensors.contains_key("output.weight"),
        biases: Biases {
            qkv: has_bias("attn_"),
            o: has_bias("attn_"),
            mlp: has_bias("ffn_"),
        },
        ..plain(num_layers, head_dim)
    };
    check(file, config, KV_HEADS, HEAD_DIM)
}

/// Refuses the relatives of Llama that llama.cpp files under the same name.
fn refuse_variants(file: &str, metadata: &Metadata) -> Result<()> {
    if let Some(count) = metadata
        .unsigned("llama.expert_count")?
        .filter(|count| *count > 0)
    {
        return Err(unsupported(
            file,
            "llama.expert_count",
            count,
            "models without experts",
        ));
    }
    // As llama.cpp: without a type it is linear, and 0 is no factor. A factor of 1 changes nothing
    // in any of these.
    let scaling = metadata.string("llama.rope.scaling.type")?;
    let scaling = scaling.unwrap_or("linear");
    let mut factor = None;
    for key in ["llama.rope.scaling.factor", "llama.rope.scale_linear"] {
        if let Some(found) = metadata.float(key)?.filter(|found| *found != 0.0) {
            factor = factor.or(Some((key, found)));
        }
    }
    match (scaling, factor) {
        ("none", _) | ("linear", None) => {}
        ("linear" | "yarn", Some((_, 1.0))) => {}
        ("linear", Some((key, found))) => return Err(unsupported(file, key, found, UNSCALED)),
        (found, _) => {
            return Err(unsupported(
                file,
                "llama.rope.scaling.type",
                found,
                "none, or a factor of 1",
            ));
        }
    }
    for key in [
        "llama.rope.scaling.attn_factor",
        "llama.logit_scale",
        "llama.residual_scale",
        "llama.embedding_scale",
    ] {
        if let Some(found) = metadata.float(key)?.filter(|found| *found != 1.0) {
            return Err(unsupported(file, key, found, UNSCALED));
        }
    }
    if metadata.flag("llama.attention.causal")? == Some(false) {
        return Err(unsupported(
            file,
            "llama.attention.causal",
            false,
            "causal attention",
        ));
    }
    Ok(())
}

/// Refuses `rope_freqs.weight` unless it changes nothing: it is where llama.cpp puts the rotary
/// scaling of Llama 3.1 and later, without a word of it in the metadata.
pub(crate) fn check_rope_freqs(file: &str, factors: &[f32]) -> Result<()> {
    match factors.iter().find(|factor| **factor != 1.0) {
        None => Ok(()),
        Some(found) => {
            let found = format!("a scaling of the rotary wavelengths (by {found} and others)");
            Err(unsupported(
                file,
                "rope_freqs.weight",
                found,
                "unscaled rotary embeddings",
            ))
        }
    }
}

/// Reads Hugging Face's `config.json`.
pub(crate) fn config_from_json(json: &[u8]) -> Result<DecoderConfig> {
    const FILE: &str = "config.json";
    let fields: Map<String, Value> =
        serde_json::from_slice(json).map_err(|error| Error::BadConfig {
            file: FILE.into(),
            field: "the file".into(),
            expected: "a JSON object".into(),
            found: error.to_string(),
        })?;
    let fields = Fields {
        file: FILE,
        fields: &fields,
    };

    if let Some(found) = fields.present("peft_type") {
        return Err(unsupported(FILE, "peft_type", found, GIVE_AS_ADAPTER));
    }
    let model_type: &str = fields.required("model_type", "a string", Value::as_str)?;
    if model_type != "llama" {
        return Err(unsupported(FILE, "model_type", model_type, "llama"));
    }
    // What stands there is not needed to read the weights, only to know what they are for:
    // `LlamaModel` is the same without a head, which a tied model does not need.
    let architectures = fields.get("architectures", "a list", Value::as_array)?;
    let names = || {
        architectures
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    };
    let known = ["LlamaForCausalLM", "LlamaModel"];
    if names().next().is_some() && !names().any(|name| known.contains(&name)) {
        let name = names().next().unwrap_or_default();
        let judges = ["Classification", "QuestionAnswering", "Reward"];
        let found = match judges.into_iter().any(|word| name.contains(word)) {
            true => format!("{name}, a classifier: it judges text and writes none"),
            false => name.into(),
        };
        return Err(unsupported(
            FILE,
            "architectures",
            found,
            "LlamaForCausalLM",
        ));
    }
    let activation = fields
        .get("hidden_act", "a string", Value::as_str)?
        .unwrap_or("silu");
    if activation != "silu" {
        return Err(unsupported(FILE, "hidden_act", activation, "silu"));
    }
    if let Some(found) = fields.present("quantization") {
        let found = format!("{found}, MLX's own quantisation");
        let supported = "F32, F16 or BF16 weights (`mlx_lm.convert --dequantize` makes them), or a \
                         GGUF file";
        return Err(unsupported(FILE, "quantization", found, supported));
    }
    if let Some(found) = fields.present("quantization_config") {
        let found = found.get("quant_method").unwrap_or(found);
        let supported = "F32, F16 or BF16 weights, or a GGUF file";
        return Err(unsupported(FILE, "quantization_config", found, supported));
    }
    if fields.flag("rope_interleaved")? {
        return Err(unsupported(FILE, "rope_interleaved", true, "false"));
    }
    if let Some(found) = fields
        .number("partial_rotary_factor")?
        .filter(|found| *found != 1.0)
    {
        return Err(unsupported(FILE, "partial_rotary_factor", found, "1"));
    }

    let hidden_size = fields.size("hidden_size")?;
    let num_heads = fields.size("num_attention_heads")?;
    let head_dim = match fields.present("head_dim") {
        Some(_) => fields.size("head_dim")?,
        None => default_head_dim(FILE, "num_attention_heads", hidden_size, num_heads)?,
    };
    let num_kv_heads = match fields.present("num_key_value_heads") {
        Some(_) => fields.size("num_key_value_heads")?,
        None => num_heads,
    };
    let eps = fields.required("rms_norm_eps", "a number", Value::as_f64)?;
    let num_layers = fields.size("num_hidden_layers")?;
    let attention_bias = fields.flag("attention_bias")?;
    let config = DecoderConfig {
        hidden_size,
        intermediate_size: fields.size("intermediate_size")?,
        num_layers,
        num_heads,
        num_kv_heads,
        head_dim,
        vocab_size: fields.size("vocab_size")?,
        context: fields.size("max_position_embeddings")?,
        rms_norm_eps: positive(FILE, "rms_norm_eps", eps)?,
        ropes: vec![RopeConfig::plain(rope_theta(&fields)?, head_dim)],
        tie_word_embeddings: fields.flag("tie_word_embeddings")?,
        biases: Biases {
            qkv: attention_bias,
            o: attention_bias,
            mlp: fields.flag("mlp_bias")?,
        },
        ..plain(num_layers, head_dim)
    };
    check(FILE, config, "num_key_value_heads", "head_dim")
}

/// The rotary base: `rope_theta`, or since transformers 5 `rope_parameters.rope_theta`; any
/// scaling of the wavelengths is refused.
fn rope_theta(fields: &Fields<'_>) -> Result<f64> {
    let mut theta = ("rope_theta".to_owned(), fields.number("rope_theta")?);
    for outer in ["rope_scaling", "rope_parameters"] {
        let Some(inner) = fields.get(outer, "an object", Value::as_object)? else {
            continue;
        };
        let inner = Fields {
            file: fields.file,
            fields: inner,
        };
        for key in ["rope_type", "type"] {
            let name = format!("{outer}.{key}");
            let found = inner
                .get(key, "a string", Value::as_str)?
                .unwrap_or("default");
            let one = |field: &str, absent: bool| {
                let found = inner.number(field);
                found.map(|found| found.map_or(absent, |found| found == 1.0))
            };
            // The kinds of scaling that a factor of 1 makes the same as none.
            let same = match found {
                "default" => true,
                "linear" | "dynamic" | "llama3" => one("factor", false)?,
                "yarn" => one("factor", false)? && one("attention_factor", true)?,
                _ => false,
            };
            if !same {
                let found = match inner.number("factor")? {
                    Some(factor) => format!("{found} by {factor}"),
                    None => found.into(),
                };
                let supported = "default, or a factor of 1";
                return Err(unsupported(fields.file, &name, found, supported));
            }
        }
        if let Some(found) = inner
            .number("partial_rotary_factor")?
            .filter(|found| *found != 1.0)
        {
            let name = format!("{outer}.partial_rotary_factor");
            return Err(unsupported(fields.file, &name, found, "1"));
        }
        if let Some(found) = inner.number("rope_theta")? {
            theta = (format!("{outer}.rope_theta"), Some(found));
        }
    }
    positive(fields.file, &theta.0, theta.1.unwrap_or(10_000.0))
}

/// The fields of a JSON object, with errors that name them. `null` is the same as absent.
struct Fields<'a> {
    file: &'static str,
    fields: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn present(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    fn get<T>(
        &self,
        field: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.present(field) else {
            return Ok(None);
        };
        convert(value).map(Some).ok_or_else(|| Error::BadConfig {
            file: self.file.into(),
            field: field.into(),
            expected: expected.into(),
            found: value.to_string().chars().take(60).collect(),
        })
    }

    fn required<T>(
        &self,
        field: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T> {
        self.get(field, expected, convert)?
            .ok_or_else(|| Error::MissingKey {
                file: self.file.into(),
                key: field.into(),
                what: expected.into(),
            })
    }

    fn size(&self, field: &str) -> Result<usize> {
        size(
            self.file,
            field,
            self.required(field, "a whole number", Value::as_u64)?,
        )
    }

    fn number(&self, field: &str) -> Result<Option<f64>> {
        self.get(field, "a number", Value::as_f64)
    }

    fn flag(&self, field: &str) -> Result<bool> {
        Ok(self
            .get(field, "true or false", Value::as_bool)?
            .unwrap_or(false))
    }
}
