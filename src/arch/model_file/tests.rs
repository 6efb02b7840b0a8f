//! Tensors that hold several layers.

use pollster::block_on;

use super::*;
use crate::arch::fields::Json;
use crate::arch::{Names, Projection, Stack, sizes};
use crate::weights::{Bytes, HostData, HostTensor, gguf};

static STACKED: Names = Names {
    family: "made up",
    gguf: "made-up",
    linears: &[
        (Projection::Q, "attn.q", "attn_q"),
        (Projection::K, "attn.k", "attn_k"),
        (Projection::V, "attn.v", "attn_v"),
    ],
    norms: &[],
    stacks: &[Stack {
        path: "attn.qkv",
        gguf: "attn_qkv",
        parts: &[Projection::Q, Projection::K, Projection::V],
    }],
    permuted: true,
    body: None,
};

#[test]
fn layers_on_top_of_each_other_are_read_one_by_one() {
    // One head of 4 rows for each of q, k and v; a row has its number in it.
    let json = serde_json::json!({"hidden_size": 2, "intermediate_size": 1, "head_dim": 4,
        "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 1, "rms_norm_eps": 1.0,
        "max_position_embeddings": 1});
    let config = sizes::from_json(
        &Json::new("config.json", json.as_object().expect("one")),
        &STACKED,
    );
    let stack = |rows: usize| HostTensor {
        shape: vec![rows, 2],
        data: HostData::Float((0..rows * 2).map(|at| (at / 2) as f32).collect()),
    };
    for (rows, fits) in [(12, true), (11, false)] {
        let bytes = gguf::write(&[], &[("blk.0.attn_qkv.weight".into(), stack(rows))]);
        let (name, bytes) = ("stacked.gguf".into(), bytes.expect("writes"));
        let source = Bytes { name, bytes };
        let mut file = block_on(Gguf::open(&source)).expect("opens");
        let (key, info) = file.tensors.pop_first().expect("one tensor");
        let bare = STACKED.bare_name(&key).expect("its name");
        assert_eq!(STACKED.gguf_name(&bare).as_ref(), Some(&key));
        let config = config.clone().expect("sizes");
        let mut model = ModelFile::empty(config, String::new(), vec![source]);
        model.metadata = Some(file.metadata);
        let (shape, kind, span) = (info.shape, info.kind, info.span);
        let inserted = model.insert(
            bare,
            Entry {
                key,
                source: 0,
                shape,
                transposed: false,
                kind,
                span,
            },
        );
        assert_eq!(inserted.is_ok(), fits, "{inserted:?}");
        for (path, expected) in [
            ("q", [0, 2, 1, 3]),
            ("k", [4, 6, 5, 7]),
            ("v", [8, 9, 10, 11]),
        ] {
            let name = format!("model.layers.0.attn.{path}.weight");
            let read = model.tensor(&name, &[4, 2]);
            let expected = expected.map(|row| [row as f32; 2]).concat();
            assert_eq!(block_on(read).ok(), fits.then_some(expected), "{path}");
        }
    }
}
