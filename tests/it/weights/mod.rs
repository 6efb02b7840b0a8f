//! Reading weights: number formats against llama.cpp's own package, both containers, what they
//! refuse, and that damaged files never do worse than an error.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pollster::block_on;
use steering_playground::arch::{Biases, ModelFile, RopeConfig};
use steering_playground::device;
use steering_playground::error::{Error, Result};
use steering_playground::hooks::Steering;
use steering_playground::model::Weights;
use steering_playground::session::Session;
use steering_playground::text::Text;
use steering_playground::weights::gguf::{self, Array, Gguf, Metadata, Value};
use steering_playground::weights::quant::{self, Kind};
use steering_playground::weights::safetensors::{self, SafeTensors};
use steering_playground::weights::{ByteSource, Bytes, HostData, HostTensor, NativeFile};

mod damage;
mod files;
mod finite;
mod gguf_files;
mod given;
mod models;
mod refusals;
mod ropes;
mod safetensors_files;

use crate::common::{golden_dir, lacks_model, logits, model_path};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new("tests/fixtures").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn bytes(name: &str, bytes: Vec<u8>) -> Bytes {
    Bytes {
        name: name.into(),
        bytes,
    }
}

fn open_gguf(file: &[u8]) -> Result<Gguf> {
    block_on(Gguf::open(&bytes("file.gguf", file.to_vec())))
}

fn open_safetensors(file: &[u8]) -> Result<SafeTensors> {
    block_on(SafeTensors::open(&bytes("file.safetensors", file.to_vec())))
}

fn floats(tensor: &HostTensor) -> &[f32] {
    match &tensor.data {
        HostData::Float(values) => values,
        HostData::Int(_) => panic!("integers"),
    }
}

fn tensor(shape: &[usize], values: impl FnMut(usize) -> f32) -> HostTensor {
    let count = shape.iter().product();
    HostTensor {
        shape: shape.into(),
        data: HostData::Float((0..count).map(values).collect()),
    }
}

// ---- number formats -------------------------------------------------------------------------

#[test]
fn every_format_is_dequantised_as_llama_cpp_does_bit_for_bit() {
    let expected = safetensors::read_any("quant.safetensors", &fixture("quant.safetensors"))
        .expect("the fixture reads");
    let mut seen = 0;
    for id in 0..64 {
        let Some(kind) = Kind::from_ggml(id) else {
            continue;
        };
        let HostData::Int(blocks) = &expected[&format!("{}.bytes", kind.name())].data else {
            panic!("bytes are integers")
        };
        let blocks: Vec<u8> = blocks.iter().map(|byte| *byte as u8).collect();
        let found = quant::dequantise(kind, &blocks).expect("whole blocks");
        let expected = floats(&expected[&format!("{}.values", kind.name())]);
        assert_eq!(found.len(), expected.len(), "{}", kind.name());
        for (n, (found, expected)) in found.iter().zip(expected).enumerate() {
            let name = kind.name();
            assert_eq!(
                found.to_bits(),
                expected.to_bits(),
                "{name}[{n}]: {found} {expected}"
            );
        }
        seen += 1;
    }
    assert_eq!(seen, 15, "every known kind has a fixture");
}

// ---- models ---------------------------------------------------------------------------------

const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 6;
const WIDTH: usize = 8;
const INNER: usize = 10;
const VOCAB: usize = 12;
const LAYERS: usize = 2;

fn text(value: &str) -> Value {
    Value::String(value.into())
}

/// A GGUF file put together by hand, to be wrong in any way.
pub struct RawGguf {
    version: u32,
    tensor_count: u64,
    pair_count: u64,
    body: Vec<u8>,
}

impl RawGguf {
    pub fn new(pairs: &[(&str, Value)], tensor_count: u64) -> Self {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(key, value)| ((*key).into(), value.clone()))
            .collect();
        // Magic, version and two counts are 24 bytes; the writer pads after the last pair.
        let file = gguf::write(&pairs, &[]).expect("writes");
        let mut end = file.len();
        let whole = |end: usize| gguf::read_all("", file.get(..end).unwrap_or_default()).is_ok();
        while end > 24 && whole(end - 1) {
            end -= 1;
        }
        let pair_count = pairs.len() as u64;
        Self {
            version: 3,
            tensor_count,
            pair_count,
            body: file[24..end].to_vec(),
        }
    }

    /// Appends a line of the tensor table; `dims` in ggml's order.
    pub fn line(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        self.body.extend((name.len() as u64).to_le_bytes());
        self.body.extend(name.as_bytes());
        self.body.extend((dims.len() as u32).to_le_bytes());
        for dim in dims {
            self.body.extend(dim.to_le_bytes());
        }
        self.body.extend(kind.to_le_bytes());
        self.body.extend(offset.to_le_bytes());
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.body.extend(bytes);
        self
    }

    pub fn build(self, data: &[u8]) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensor_count.to_le_bytes());
        out.extend(self.pair_count.to_le_bytes());
        out.extend(self.body);
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(data);
        out
    }
}

fn no_pairs(tensor_count: u64) -> RawGguf {
    RawGguf {
        version: 3,
        tensor_count,
        pair_count: 0,
        body: Vec::new(),
    }
}

/// The small model as `llama-gguf-split` would write it, without names.
fn parts(count: usize) -> Vec<Vec<u8>> {
    let tensors = gguf_tensors(&small_model());
    let each = tensors.len().div_ceil(count);
    let pieces = tensors.chunks(each).enumerate();
    let part = |(no, piece): (usize, &[_])| {
        let mut metadata = match no {
            0 => gguf_metadata(),
            _ => vec![("general.architecture".into(), text("llama"))],
        };
        metadata.push(("split.no".into(), Value::U16(no as u16)));
        metadata.push(("split.count".into(), Value::U16(count as u16)));
        metadata.push((
            "split.tensors.count".into(),
            Value::I32(tensors.len() as i32),
        ));
        gguf::write(&metadata, piece).expect("writes")
    };
    pieces.map(part).collect()
}

fn raw_safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        data,
    ]
    .concat()
}

/// A whole small model under Hugging Face's names, biases and untied head included.
fn small_model() -> BTreeMap<String, HostTensor> {
    let (q, kv) = (HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM);
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("model.embed_tokens.weight".into(), vec![VOCAB, WIDTH]),
        ("model.norm.weight".into(), vec![WIDTH]),
        ("lm_head.weight".into(), vec![VOCAB, WIDTH]),
    ];
    for layer in 0..LAYERS {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        for (linear, o, i) in [
            ("self_attn.q_proj", q, WIDTH),
            ("self_attn.k_proj", kv, WIDTH),
            ("self_attn.v_proj", kv, WIDTH),
            ("self_attn.o_proj", WIDTH, q),
            ("mlp.gate_proj", INNER, WIDTH),
            ("mlp.up_proj", INNER, WIDTH),
            ("mlp.down_proj", WIDTH, INNER),
        ] {
            shapes.push((name(&format!("{linear}.weight")), vec![o, i]));
            shapes.push((name(&format!("{linear}.bias")), vec![o]));
        }
        shapes.push((name("input_layernorm.weight"), vec![WIDTH]));
        shapes.push((name("post_attention_layernorm.weight"), vec![WIDTH]));
    }
    let mut next = 0.0;
    let mut model = BTreeMap::new();
    for (key, shape) in shapes {
        let values = tensor(&shape, |_| {
            next += 1.0;
            next
        });
        model.insert(key, values);
    }
    model
}

fn small_config() -> serde_json::Value {
    serde_json::json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
        "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM,
        "vocab_size": VOCAB, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        "rope_scaling": null, "attention_bias": true, "mlp_bias": true,
        "_name_or_path": "someone/small-llama",
    })
}

fn to_safetensors<'a>(tensors: impl Iterator<Item = (&'a String, &'a HostTensor)>) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (key, tensor) in tensors {
        let start = data.len();
        for value in floats(tensor) {
            data.extend(value.to_le_bytes());
        }
        let entry = serde_json::json!({
            "dtype": "F32", "shape": tensor.shape, "data_offsets": [start, data.len()],
        });
        header.insert(key.clone(), entry);
    }
    raw_safetensors(&serde_json::Value::Object(header).to_string(), &data)
}

fn open_folder(config: &serde_json::Value, shards: Vec<Bytes>) -> Result<ModelFile<Bytes>> {
    block_on(ModelFile::open_folder(
        config.to_string().as_bytes(),
        shards,
        None,
    ))
}

fn folder(
    config: &serde_json::Value,
    model: &BTreeMap<String, HostTensor>,
) -> Result<ModelFile<Bytes>> {
    open_folder(
        config,
        vec![bytes("model.safetensors", to_safetensors(model.iter()))],
    )
}

/// The rows of a head in llama.cpp's order, written out as its converter does: as a
/// `[heads, 2, head_dim / 2, width]` array with the two middle axes exchanged.
fn permuted(tensor: &HostTensor, heads: usize) -> HostTensor {
    let rows = tensor.shape[0];
    let width = floats(tensor).len() / rows;
    let (per_head, half) = (rows / heads, rows / heads / 2);
    let mut out = Vec::new();
    for head in 0..heads {
        for j in 0..half {
            for part in 0..2 {
                let row = head * per_head + part * half + j;
                out.extend(&floats(tensor)[row * width..(row + 1) * width]);
            }
        }
    }
    HostTensor {
        shape: tensor.shape.clone(),
        data: HostData::Float(out),
    }
}

fn gguf_metadata() -> Vec<(String, Value)> {
    let size = |name: &str, size: usize| (format!("llama.{name}"), Value::U32(size as u32));
    vec![
        ("general.architecture".into(), text("llama")),
        ("general.name".into(), text("Small Llama")),
        size("embedding_length", WIDTH),
        size("feed_forward_length", INNER),
        size("block_count", LAYERS),
        size("context_length", 64),
        size("attention.head_count", HEADS),
        size("attention.head_count_kv", KV_HEADS),
        size("attention.key_length", HEAD_DIM),
        size("attention.value_length", HEAD_DIM),
        size("rope.dimension_count", HEAD_DIM),
        ("llama.rope.freq_base".into(), Value::F32(500.0)),
        (
            "llama.attention.layer_norm_rms_epsilon".into(),
            Value::F32(1e-5),
        ),
    ]
}

/// The small model as llama.cpp's converter would write it.
fn gguf_tensors(model: &BTreeMap<String, HostTensor>) -> Vec<(String, HostTensor)> {
    let renames = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers", "blk"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("post_attention_layernorm", "ffn_norm"),
        ("input_layernorm", "attn_norm"),
    ];
    let rename = |key: &str| {
        renames
            .iter()
            .fold(key.to_owned(), |key, (hf, gguf)| key.replace(hf, gguf))
    };
    let convert = |(key, tensor): (&String, &HostTensor)| {
        let tensor = match key {
            _ if key.contains("q_proj") => permuted(tensor, HEADS),
            _ if key.contains("k_proj") => permuted(tensor, KV_HEADS),
            _ => tensor.clone(),
        };
        (rename(key), tensor)
    };
    model.iter().map(convert).collect()
}

fn small_gguf() -> Vec<u8> {
    gguf::write(&gguf_metadata(), &gguf_tensors(&small_model())).expect("writes")
}

fn open_model(file: Vec<u8>) -> Result<ModelFile<Bytes>> {
    block_on(ModelFile::open_gguf(bytes("small.gguf", file)))
}

// ---- the real model -------------------------------------------------------------------------

/// The real model's file. Ask [`lacks_model`] first.
pub fn real_model() -> ModelFile<NativeFile> {
    let path = model_path().expect("`cargo xtask model` fetches the model");
    let file = NativeFile::open(&path).expect("the model is there");
    block_on(ModelFile::open_gguf(file)).expect("the model opens")
}

/// Sums of tensors as `make_model.py` takes them: plain, of magnitudes, and weighted by place.
fn sums(values: &[f32]) -> [f64; 3] {
    values
        .iter()
        .enumerate()
        .fold([0.0; 3], |[plain, size, place], (n, value)| {
            let value = f64::from(*value);
            [
                plain + value,
                size + value.abs(),
                place + value * (n % 9973) as f64,
            ]
        })
}

#[test]
fn the_real_model_s_tensors_equal_those_of_the_python_package() {
    if lacks_model() {
        return;
    }
    let model = real_model();
    let config = model.config();
    assert_eq!(
        (config.num_layers, config.hidden_size, config.vocab_size),
        (30, 576, 49152)
    );
    assert!(config.tie_word_embeddings && config.biases == Biases::default());
    assert!(model.unused().is_empty(), "{:?}", model.unused());
    assert_eq!(
        model.total_bytes(),
        96_576_768,
        "every byte of the data is used"
    );

    let expected: BTreeMap<String, (Vec<usize>, [f64; 3])> =
        serde_json::from_slice(&fixture("model.json")).expect("the fixture reads");
    for (key, (shape, expected)) in expected {
        let values = block_on(model.tensor(&key, &shape)).expect("reads");
        for (found, expected) in sums(&values).into_iter().zip(expected) {
            // Sums of exact values in another order: only rounding of f64 may differ.
            let tolerance = 1e-9 * (1.0 + expected.abs());
            assert!(
                (found - expected).abs() <= tolerance,
                "{key}: {found} {expected}"
            );
        }
    }
}
