//! Large adapters are judged by their headers first: what would load passes, what would not is
//! refused before its numbers are read.

use std::cell::Cell;

use pollster::block_on;
use steering_playground::adapters::{self, Headed};
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::error::{Error, Result};
use steering_playground::model::Model;
use steering_playground::weights::gguf::{self, Value};
use steering_playground::weights::{ByteSource, Bytes, HostData, HostTensor};

use crate::common::{adapter_files, golden_dir, tiny};
use crate::golden::cases;

/// A file that is longer than what is there of it, and counts what is read.
struct Vast {
    head: Vec<u8>,
    len_bytes: u64,
    read: Cell<usize>,
}

impl Vast {
    fn new(head: Vec<u8>, len_bytes: u64) -> Self {
        let read = Cell::new(0);
        Self {
            head,
            len_bytes,
            read,
        }
    }
}

impl ByteSource for Vast {
    fn name(&self) -> &'static str {
        "weights"
    }

    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    async fn read_at(&self, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        self.read.set(self.read.get() + bytes);
        let from = (offset as usize).min(self.head.len());
        let mut read = self.head[from..(from + bytes).min(self.head.len())].to_vec();
        read.resize(bytes, 0);
        Ok(read)
    }
}

/// The header of a safetensors file of these f32 tensors, and the file's length.
fn header(tensors: &[(String, Vec<usize>)]) -> Vast {
    let mut end = 0;
    let entries = tensors.iter().map(|(key, shape)| {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        let entry =
            serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
        (key.clone(), entry)
    });
    let entries: serde_json::Map<_, _> = entries.collect();
    let json = serde_json::Value::Object(entries).to_string();
    let mut head = (json.len() as u64).to_le_bytes().to_vec();
    head.extend(json.bytes());
    let len_bytes = (head.len() + end) as u64;
    Vast::new(head, len_bytes)
}

fn named(config: Option<&str>) -> AdapterFiles {
    AdapterFiles {
        name: "mine".into(),
        config: config.map(|json| json.as_bytes().to_vec()),
        ..AdapterFiles::default()
    }
}

const LORA: &str = r#"{"peft_type":"LORA","r":512,"lora_alpha":512,"target_modules":["q_proj"]}"#;

/// A LoRA of q_proj in this many layers of this width.
fn lora(layers: usize, width: usize) -> Vast {
    let tensors = (0..layers).flat_map(|layer| {
        let module = format!("base_model.model.model.layers.{layer}.self_attn.q_proj");
        [
            (format!("{module}.lora_A.weight"), vec![512, width]),
            (format!("{module}.lora_B.weight"), vec![width, 512]),
        ]
    });
    header(&tensors.collect::<Vec<_>>())
}

fn refusal(files: AdapterFiles, weights: &Vast, model: &Model) -> Result<(), Error> {
    block_on(async { Headed::read(files, weights).await?.check(model).await })
}

#[test]
fn nothing_that_loads_is_refused_for_its_header() {
    for case in cases() {
        let files = case.files();
        let bytes = files.weights.clone();
        let weights = Bytes {
            name: "weights".into(),
            bytes,
        };
        let bare = AdapterFiles {
            weights: Vec::new(),
            ..files.clone()
        };
        let headed = block_on(Headed::read(bare, &weights)).expect(&case.name);
        block_on(headed.check(&tiny(&case.base).model)).expect(&case.name);
        let (by_header, whole) = (headed.inspect().expect("told"), adapters::inspect(&files));
        let whole = whole.expect("told");
        assert_eq!(by_header.parameters, whole.parameters, "{}", case.name);
        assert_eq!(by_header.modules, whole.modules, "{}", case.name);
        assert_eq!(by_header.refused, whole.refused, "{}", case.name);
    }
}

#[test]
fn vast_files_are_refused_unread() {
    const VAST: u64 = 300_000_000;
    let model = tiny("base").model;
    let hidden = model.config().hidden_size;
    let whole_model: Vec<_> = (0..40)
        .map(|layer| {
            let key = format!("model.layers.{layer}.mlp.up_proj.weight");
            (key, vec![1536, 1280])
        })
        .collect();
    let text = Vast::new(b"a text of my own, and a long one at that".to_vec(), VAST);
    let llama = [(
        "general.architecture".to_owned(),
        Value::String("llama".into()),
    )];
    let gguf_model = gguf::write(&llama, &[]).expect("writes");
    let cases = [
        ("a text", named(None), text, "wrong-magic"),
        (
            "zeros",
            named(Some(LORA)),
            Vast::new(vec![], VAST),
            "bad-header",
        ),
        (
            "a whole model",
            named(None),
            header(&whole_model),
            "missing-key",
        ),
        (
            "a whole model with a LoRA's config",
            named(Some(LORA)),
            header(&whole_model),
            "missing-key",
        ),
        (
            "a GGUF model",
            named(None),
            Vast::new(gguf_model, VAST),
            "unknown-method",
        ),
        (
            "a LoRA of a model with more layers",
            named(Some(LORA)),
            lora(32, hidden),
            "no-such-module",
        ),
        (
            "a LoRA of a wider model",
            named(Some(LORA)),
            lora(1, 4096),
            "wrong-shape",
        ),
        (
            "a method that nobody knows",
            named(Some(r#"{"peft_type":"TOMORROW"}"#)),
            lora(1, hidden),
            "unknown-method",
        ),
        (
            "no config at all",
            named(Some("not JSON")),
            lora(1, hidden),
            "bad-config",
        ),
    ];
    for (what, files, weights, code) in cases {
        let error = refusal(files, &weights, &model).expect_err(what);
        assert_eq!(error.code(), code, "{what}: {error}");
        assert!(error.to_string().starts_with("mine"), "{what}: {error}");
        let read = weights.read.get();
        assert!(read < 2 << 20, "{what}: {read} bytes were read");
    }
    assert_eq!(refusal(named(Some(LORA)), &lora(1, hidden), &model), Ok(()));
}

#[test]
fn the_words_of_a_refusal_are_those_of_loading() {
    let session = tiny("base");
    let mut files = adapter_files(&golden_dir().join("lora_untied"));
    let bytes = std::mem::take(&mut files.weights);
    let weights = Bytes {
        name: "weights".into(),
        bytes: bytes.clone(),
    };
    let headed = block_on(Headed::read(files.clone(), &weights)).expect("reads");
    let by_header = block_on(headed.check(&session.model)).expect_err("another model's");
    files.weights = bytes;
    let whole = adapters::load(&files, &session.model).expect_err("another model's");
    assert_eq!(by_header.to_string(), whole.to_string());
}

#[test]
fn a_vast_gguf_is_told_by_its_header() {
    let metadata = [
        ("general.type", "adapter"),
        ("general.architecture", "llama"),
        ("adapter.type", "lora"),
    ];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), Value::String(value.into())));
    let zeros = |shape: Vec<usize>| HostTensor {
        data: HostData::Float(vec![0.0; shape.iter().product()]),
        shape,
    };
    let model = tiny("base").model;
    let hidden = model.config().hidden_size;
    let lora = |width: usize| {
        let tensors = [
            (
                "blk.0.attn_q.weight.lora_a".to_owned(),
                zeros(vec![4, width]),
            ),
            (
                "blk.0.attn_q.weight.lora_b".to_owned(),
                zeros(vec![width, 4]),
            ),
        ];
        let bytes = gguf::write(&metadata, &tensors).expect("writes");
        let len_bytes = bytes.len() as u64;
        Vast::new(bytes, len_bytes)
    };
    assert_eq!(refusal(named(None), &lora(hidden), &model), Ok(()));
    let headed = block_on(Headed::read(named(None), &lora(hidden))).expect("reads");
    assert_eq!(headed.inspect().expect("told").parameters, 8 * hidden);
}
