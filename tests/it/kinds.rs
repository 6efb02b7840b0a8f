//! Models whose matrices have many kinds of numbers, as files that are published have: on a GPU and on the
//! processor against the same numbers in f32. What f32 must give is not told here: `mixed.rs` has numpy's word for it.

use burn::tensor::Device;
use pollster::block_on;
use steering_playground::arch::ModelFile;
use steering_playground::device::{self, read_back};
use steering_playground::hooks::Steering;
use steering_playground::kernels::{Packed, launches};
use steering_playground::model::{GpuRoom, Lane, Model, Positions, Weights};
use steering_playground::weights::Bytes;
use steering_playground::weights::gguf::Value;
use steering_playground::weights::quant::Kind;

use crate::common::lacks_gpu;
use crate::families::difference;
use crate::kernels::checks::blocks::{blocks, noise};
use crate::weights::RawGguf;

/// Sizes of a Llama: widths of one and two blocks of 256, heights that fill no tile.
const D: usize = 256;
const FFN: usize = 512;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 64;
const VOCAB: usize = 331;
const LAYERS: usize = 2;

/// The kind of each matrix, by the name in the file.
type Kinds = fn(&str) -> Kind;

/// A Llama with random blocks, and how many bytes its matrices have.
fn model(kinds: Kinds) -> (Vec<u8>, u64) {
    let mut matrices = vec![
        ("token_embd".to_owned(), [VOCAB, D]),
        ("output".into(), [VOCAB, D]),
    ];
    let mut norms = vec!["output_norm".to_owned()];
    for layer in 0..LAYERS {
        let kv = KV_HEADS * HEAD_DIM;
        for (name, shape) in [
            ("attn_q", [HEADS * HEAD_DIM, D]),
            ("attn_k", [kv, D]),
            ("attn_v", [kv, D]),
            ("attn_output", [D, HEADS * HEAD_DIM]),
            ("ffn_gate", [FFN, D]),
            ("ffn_up", [FFN, D]),
            ("ffn_down", [D, FFN]),
        ] {
            matrices.push((format!("blk.{layer}.{name}"), shape));
        }
        norms.extend(["attn_norm", "ffn_norm"].map(|name| format!("blk.{layer}.{name}")));
    }
    let size = |size: usize| Value::U32(size as u32);
    let pairs = [
        ("general.architecture", Value::String("llama".into())),
        ("llama.embedding_length", size(D)),
        ("llama.feed_forward_length", size(FFN)),
        ("llama.block_count", size(LAYERS)),
        ("llama.context_length", size(64)),
        ("llama.attention.head_count", size(HEADS)),
        ("llama.attention.head_count_kv", size(KV_HEADS)),
        ("llama.rope.dimension_count", size(HEAD_DIM)),
        ("llama.rope.freq_base", Value::F32(1e4)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
    ];
    let mut file = RawGguf::new(&pairs, (matrices.len() + norms.len()) as u64);
    let (mut data, mut of_matrices) = (Vec::new(), 0);
    let mut add = |file: RawGguf, name: &str, dims: &[u64], kind: Kind, bytes: &[u8]| {
        let line = file.line(
            &format!("{name}.weight"),
            dims,
            kind.ggml(),
            data.len() as u64,
        );
        data.extend(bytes);
        data.resize(data.len().next_multiple_of(32), 0);
        line
    };
    for ((name, [o, i]), seed) in matrices.iter().zip(1..) {
        let kind = kinds(name);
        let bytes = blocks(kind, o * i, seed);
        of_matrices += bytes.len() as u64;
        file = add(file, name, &[*i as u64, *o as u64], kind, &bytes);
    }
    for (name, seed) in norms.iter().zip(100..) {
        let gains = noise(D, seed).into_iter().map(|x| 1.0 + x / 4.0);
        let bytes: Vec<u8> = gains.flat_map(f32::to_le_bytes).collect();
        file = add(file, name, &[D as u64], Kind::F32, &bytes);
    }
    (file.build(&data), of_matrices)
}

fn file(bytes: &[u8]) -> ModelFile<Bytes> {
    let source = Bytes {
        name: "mixed.gguf".into(),
        bytes: bytes.to_vec(),
    };
    block_on(ModelFile::open_gguf(source)).expect("opens")
}

fn loaded(bytes: &[u8], device: &Device, weights: Weights) -> Model {
    let file = file(bytes);
    block_on(Model::load(&file, device, weights, |_| {})).expect("loads")
}

/// Logits of every position.
fn logits(model: &Model, ids: &[u32]) -> Vec<f32> {
    let (mut cache, base) = (model.new_cache(), Steering::base());
    let logits = model.forward(ids, &mut cache, &base, Positions::All);
    block_on(read_back(logits.expect("runs").expect("logits"))).expect("read")
}

/// Logits behind the last token of each of three texts, which is computed with those of the others.
fn together(model: &Model, ids: &[u32]) -> Vec<f32> {
    let base = Steering::base();
    let texts = [ids, &ids[..2], &ids[..13]];
    let mut caches = texts.map(|_| model.new_cache());
    let mut found = Vec::new();
    for last in [false, true] {
        let lanes = texts.iter().zip(&mut caches).map(|(text, cache)| {
            let (before, end) = text.split_at(text.len() - 1);
            Lane {
                tokens: if last { end } else { before },
                cache,
                steering: &base,
            }
        });
        let logits = model.forward_lanes(lanes.collect(), Positions::Last);
        found = block_on(read_back(logits.expect("runs").expect("logits"))).expect("read");
    }
    found
}

/// As llama.cpp writes Q4_K_M, of which one layer in two has more bits.
fn q4_k_m(name: &str) -> Kind {
    match name {
        "output" | "blk.0.attn_v" | "blk.0.ffn_down" => Kind::Q6_K,
        _ => Kind::Q4_K,
    }
}

/// As the same comes out for widths that are no multiples of 256.
fn without_long_blocks(name: &str) -> Kind {
    match name {
        "token_embd" | "output" | "blk.0.attn_v" => Kind::Q8_0,
        "blk.0.ffn_down" | "blk.1.attn_k" => Kind::Q5_1,
        _ => Kind::Q5_0,
    }
}

/// Every kind somewhere, and stacks of kinds with nothing in common.
fn every_kind(name: &str) -> Kind {
    match name {
        "token_embd" => Kind::Q3_K,
        "output" => Kind::Q5_K,
        "blk.0.attn_q" => Kind::Q4_K,
        "blk.0.attn_k" | "blk.1.ffn_down" => Kind::Q8_0,
        "blk.0.attn_v" => Kind::Q6_K,
        "blk.0.attn_output" => Kind::IQ4_NL,
        "blk.0.ffn_gate" | "blk.0.ffn_down" => Kind::Q2_K,
        "blk.0.ffn_up" => Kind::Q5_1,
        "blk.1.attn_q" => Kind::Q4_0,
        "blk.1.attn_k" => Kind::Q4_1,
        "blk.1.attn_v" => Kind::Q5_0,
        "blk.1.attn_output" => Kind::F16,
        _ => Kind::BF16,
    }
}

const FILES: [(&str, Kinds); 3] = [
    ("Q4_K_M", q4_k_m),
    ("without long blocks", without_long_blocks),
    ("every kind", every_kind),
];

fn apart(a: &[f32], b: &[f32]) -> f32 {
    let largest = a.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    assert!(largest.is_finite() && largest > 0.1, "{largest}");
    difference(b, a)
}

/// Of these tokens' logits, how far a GPU and the processor's integers may be from f32, in parts of the
/// largest: kernels sum in another order; integers round activations to 16 bits and Q6_K to 8. Random weights
/// are larger than trained ones, and make more of it.
const GPU: f32 = 3e-4;
const INTEGERS: f32 = 2e-2;

const IDS: [u32; 19] = [
    5, 330, 0, 17, 200, 33, 1, 90, 91, 92, 93, 300, 301, 7, 8, 9, 150, 151, 4,
];

#[test]
fn on_the_processor_mixed_kinds_are_their_numbers_in_f32() {
    for (name, kinds) in FILES {
        let (bytes, _) = model(kinds);
        let [exact, packed] = [Weights::Dense, Weights::Quantised]
            .map(|weights| loaded(&bytes, &device::cpu(), weights));
        let found = apart(&logits(&exact, &IDS), &logits(&packed, &IDS));
        println!("{name}: {found:.1e}, {}", packed.arithmetic());
        assert!(found < INTEGERS, "{name}: {found:.1e}");
    }
}

/// Whole and one token at a time, and three streams at once; with eight launches a block, and no more bytes than
/// the table told.
#[test]
fn on_a_gpu_mixed_kinds_are_their_numbers_in_f32() {
    if lacks_gpu() {
        return;
    }
    let gpu = block_on(device::gpu()).expect("a GPU");
    let base = Steering::base();
    for (name, kinds) in FILES {
        let (bytes, of_matrices) = model(kinds);
        let room = GpuRoom::of(&file(&bytes));
        assert_eq!(
            (room.f32_bytes, &room.f32_formats[..]),
            (0, &[][..]),
            "{name}"
        );
        assert!(room.total_bytes * 10 < of_matrices * 25, "{name}: {room:?}");
        let exact = loaded(&bytes, &device::cpu(), Weights::Dense);
        let packed = loaded(&bytes, &gpu, Weights::Dense);
        let arithmetic = packed.arithmetic();
        assert!(!arithmetic.contains("in f32"), "{name}: {arithmetic}");
        // A table that is no head does not count among these.
        let table = Packed::foresee(&[kinds("token_embd")], [VOCAB, D]).bytes;
        let there = packed.weight_bytes() + table;
        assert!(
            there.abs_diff(room.total_bytes) < 1000,
            "{name}: {there}, {room:?}"
        );
        let found = apart(&logits(&exact, &IDS), &logits(&packed, &IDS));
        println!("{name}: {found:.1e}");
        assert!(found < GPU, "{name}: {found:.1e}");
        let found = apart(&together(&exact, &IDS), &together(&packed, &IDS));
        println!("{name}, three streams: {found:.1e}");
        assert!(found < GPU, "{name}, three streams: {found:.1e}");
        let mut cache = packed.new_cache();
        let mut pass = |ids: &[u32]| {
            let before = launches();
            let pass = packed.forward(ids, &mut cache, &base, Positions::Last);
            pass.expect("runs");
            launches() - before
        };
        pass(&IDS);
        assert_eq!(pass(&IDS[..1]), 8 * LAYERS as u64 + 3, "{name}: launches");
    }
}
