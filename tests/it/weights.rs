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

// ---- GGUF -----------------------------------------------------------------------------------

fn text(value: &str) -> Value {
    Value::String(value.into())
}

/// One of every type, lists of every type, and lists in lists.
fn all_values() -> Vec<(String, Value)> {
    let nested = Array::Array(vec![
        Array::Array(vec![Array::U8(vec![1]), Array::Bool(vec![])]),
        Array::String(vec!["a".into(), String::new(), "é😀".into()]),
    ]);
    let values = [
        Value::U8(u8::MAX),
        Value::I8(i8::MIN),
        Value::U16(u16::MAX),
        Value::I16(i16::MIN),
        Value::U32(u32::MAX),
        Value::I32(i32::MIN),
        Value::F32(-1.5e-30),
        Value::Bool(true),
        text("text with é"),
        Value::U64(u64::MAX),
        Value::I64(i64::MIN),
        Value::F64(1e300),
        Value::Array(Array::U8(vec![1, 2])),
        Value::Array(Array::I8(vec![-1])),
        Value::Array(Array::U16(vec![1, 65535])),
        Value::Array(Array::I16(vec![-2])),
        Value::Array(Array::U32(vec![7; 9])),
        Value::Array(Array::I32(vec![])),
        Value::Array(Array::F32(vec![0.5, -0.0])),
        Value::Array(Array::Bool(vec![true, false])),
        Value::Array(Array::U64(vec![1 << 60])),
        Value::Array(Array::I64(vec![-1])),
        Value::Array(Array::F64(vec![0.1])),
        Value::Array(nested),
    ];
    values
        .into_iter()
        .enumerate()
        .map(|(n, value)| (format!("key.{n:02}"), value))
        .collect()
}

#[test]
fn gguf_writes_and_reads_every_type_of_metadata_and_its_tensors() {
    let metadata = all_values();
    let tensors = vec![
        ("scalar".to_owned(), tensor(&[], |_| 3.0)),
        ("vector".to_owned(), tensor(&[5], |n| n as f32)),
        ("matrix".to_owned(), tensor(&[3, 4], |n| n as f32 * 0.5)),
        ("empty".to_owned(), tensor(&[0, 4], |_| 0.0)),
    ];
    let file = gguf::write(&metadata, &tensors).expect("writes");
    let (read_metadata, read) = gguf::read_all("file.gguf", &file).expect("reads");
    assert_eq!(
        read_metadata.entries,
        metadata.into_iter().collect::<BTreeMap<_, _>>()
    );
    assert_eq!(read, tensors.into_iter().collect::<BTreeMap<_, _>>());

    let opened = open_gguf(&file).expect("opens");
    assert_eq!(opened.metadata, read_metadata);
    assert_eq!(opened.tensors["matrix"].shape, [3, 4]);
    let source = bytes("file.gguf", file);
    let matrix = block_on(opened.tensor(&source, "matrix")).expect("reads");
    assert_eq!(matrix, floats(&read["matrix"]));
    let error = block_on(opened.tensor(&source, "nothing")).expect_err("no such tensor");
    assert_eq!(error.code(), "missing-key");
}

#[test]
fn metadata_getters_know_absent_from_wrong() {
    let file = gguf::write(&all_values(), &[]).expect("writes");
    let (metadata, _) = gguf::read_all("file.gguf", &file).expect("reads");
    assert_eq!(metadata.string("no such key"), Ok(None));
    assert_eq!(metadata.string("key.08"), Ok(Some("text with é")));
    assert_eq!(metadata.unsigned("key.02"), Ok(Some(65535)));
    assert_eq!(metadata.flag("key.07"), Ok(Some(true)));
    assert_eq!(metadata.float("key.11"), Ok(Some(1e300)));
    assert_eq!(metadata.floats("key.18"), Ok(Some([0.5, -0.0].as_slice())));
    assert_eq!(metadata.integers("key.17"), Ok(Some([].as_slice())));
    // Negative, too large and of another kind: each names the key and what it holds.
    for (key, found) in [
        ("key.05", "-2147483648"),
        ("key.09", "beyond 2^63"),
        ("key.07", "true"),
    ] {
        let error = metadata
            .unsigned(key)
            .expect_err("no whole number of at least 0");
        assert_eq!(error.code(), "bad-config");
        assert!(
            error.to_string().contains(key) && error.to_string().contains(found),
            "{error}"
        );
    }
}

#[test]
fn gguf_write_refuses_what_it_cannot_hold() {
    let integers = HostTensor {
        shape: vec![1],
        data: HostData::Int(vec![1]),
    };
    let error = gguf::write(&[], &[("t".into(), integers)]).expect_err("integers");
    assert_eq!(error.code(), "unsupported-dtype");
    let wrong = HostTensor {
        shape: vec![3],
        data: HostData::Float(vec![1.0]),
    };
    assert_eq!(
        gguf::write(&[], &[("t".into(), wrong)])
            .expect_err("3 is 1")
            .code(),
        "wrong-shape"
    );
    let deep = tensor(&[1, 1, 1, 1, 1], |_| 0.0);
    assert_eq!(
        gguf::write(&[], &[("t".into(), deep)])
            .expect_err("5-d")
            .code(),
        "wrong-shape"
    );
}

/// A GGUF file put together by hand, to be wrong in any way.
struct RawGguf {
    version: u32,
    tensor_count: u64,
    pair_count: u64,
    body: Vec<u8>,
}

impl RawGguf {
    fn new(pairs: &[(&str, Value)], tensor_count: u64) -> Self {
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
    fn line(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        self.body.extend((name.len() as u64).to_le_bytes());
        self.body.extend(name.as_bytes());
        self.body.extend((dims.len() as u32).to_le_bytes());
        dims.iter()
            .for_each(|dim| self.body.extend(dim.to_le_bytes()));
        self.body.extend(kind.to_le_bytes());
        self.body.extend(offset.to_le_bytes());
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.body.extend(bytes);
        self
    }

    fn build(self, data: &[u8]) -> Vec<u8> {
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

/// Both ways of reading must agree on the error.
fn gguf_error(file: &[u8]) -> Error {
    let error = open_gguf(file).expect_err("must be refused");
    let whole = gguf::read_all("file.gguf", file).expect_err("must be refused");
    assert_eq!(error, whole, "open and read_all");
    error
}

#[test]
fn quantised_gguf_tensors_are_read_with_their_shape_the_right_way_round() {
    // ggml's [64, 3]: three rows of 64 numbers, two Q8_0 blocks each, of factor 1.
    let block = |start: i8| -> Vec<u8> {
        [0x00, 0x3c]
            .into_iter()
            .chain((0..32).map(|n| (start + n) as u8))
            .collect()
    };
    let data: Vec<u8> = [-100, -68, -36, -4, 28, 60]
        .into_iter()
        .flat_map(block)
        .collect();
    let file = no_pairs(1)
        .line("t", &[64, 3], Kind::Q8_0.ggml(), 0)
        .build(&data);
    let (_, tensors) = gguf::read_all("file.gguf", &file).expect("reads");
    assert_eq!(tensors["t"], tensor(&[3, 64], |n| n as f32 - 100.0));
}

#[test]
fn a_gguf_cut_anywhere_is_a_typed_error() {
    let tensors = [
        ("a".to_owned(), tensor(&[40], |n| n as f32)),
        ("b".into(), tensor(&[9], |_| 1.0)),
    ];
    let file = gguf::write(&all_values(), &tensors).expect("writes");
    // The last tensor's padding may be missing: nothing is read from it.
    let needed = file.len() - (32 - 9 * 4 % 32);
    for length in 0..needed {
        let error = gguf_error(&file[..length]);
        let expected: &[&str] = match length {
            0..4 => &["wrong-magic"],
            _ => &["truncated", "tensor-beyond-file"],
        };
        assert!(
            expected.contains(&error.code()),
            "cut to {length} bytes: {error}"
        );
        assert!(error.to_string().contains("file.gguf"), "{error}");
    }
    open_gguf(&file[..needed]).expect("padding is not needed");
}

#[test]
fn gguf_refuses_what_contradicts_itself() {
    let f32_ = Kind::F32.ggml();
    let list = |code: u32, count: u64| [&code.to_le_bytes()[..], &count.to_le_bytes()].concat();
    let pair = |value: &[u8]| {
        let key = [&1_u64.to_le_bytes()[..], b"k", value].concat();
        RawGguf {
            version: 3,
            tensor_count: 0,
            pair_count: 1,
            body: key,
        }
    };
    let array = |inner: &[u8]| pair(&[&9_u32.to_le_bytes()[..], inner].concat());
    let deep: Vec<u8> = (0..5).flat_map(|_| list(9, 1)).collect();
    let table: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        (
            "a zip",
            b"PK\x03\x04 and more".to_vec(),
            "wrong-magic",
            "PK\\x03\\x04",
        ),
        ("nothing", vec![], "wrong-magic", "empty"),
        (
            "version 1",
            RawGguf {
                version: 1,
                ..no_pairs(0)
            }
            .build(&[]),
            "bad-header",
            "version 1",
        ),
        (
            "big-endian",
            RawGguf {
                version: 3_u32.swap_bytes(),
                ..no_pairs(0)
            }
            .build(&[]),
            "bad-header",
            "big-endian",
        ),
        (
            "many tensors",
            no_pairs(u64::MAX).build(&[]),
            "truncated",
            "18446744073709551615",
        ),
        (
            "many pairs",
            RawGguf {
                pair_count: 1 << 60,
                ..no_pairs(0)
            }
            .build(&[]),
            "truncated",
            "1152921504606846976",
        ),
        (
            "long key",
            no_pairs(1).raw(&u64::MAX.to_le_bytes()).build(&[0; 99]),
            "truncated",
            "name",
        ),
        (
            "long array",
            array(&list(0, u64::MAX)).build(&[0; 99]),
            "truncated",
            "list",
        ),
        (
            "long strings",
            array(&list(8, 1 << 61)).build(&[0; 99]),
            "truncated",
            "list",
        ),
        (
            "deep array",
            array(&deep).build(&[0; 99]),
            "bad-header",
            "nested",
        ),
        (
            "unknown value",
            pair(&99_u32.to_le_bytes()).build(&[0; 99]),
            "bad-header",
            "type 99",
        ),
        (
            "unknown item",
            array(&list(99, 1)).build(&[0; 99]),
            "bad-header",
            "type 99",
        ),
        (
            "bad boolean",
            pair(&[&7_u32.to_le_bytes()[..], &[2]].concat()).build(&[]),
            "bad-header",
            "boolean",
        ),
        (
            "not UTF-8",
            pair(
                &[
                    &8_u32.to_le_bytes()[..],
                    &2_u64.to_le_bytes(),
                    &[0xff, 0xfe],
                ]
                .concat(),
            )
            .build(&[]),
            "bad-header",
            "UTF-8",
        ),
        (
            "alignment 0",
            RawGguf::new(&[("general.alignment", Value::U32(0))], 0).build(&[]),
            "bad-header",
            "general.alignment",
        ),
        (
            "alignment 2^63",
            RawGguf::new(&[("general.alignment", Value::U64(1 << 62))], 1)
                .line("t", &[1], f32_, 0)
                .build(&[0; 4]),
            "tensor-beyond-file",
            "`t`",
        ),
        (
            "alignment of text",
            RawGguf::new(&[("general.alignment", text("32"))], 0).build(&[]),
            "bad-config",
            "general.alignment",
        ),
        (
            "same key twice",
            RawGguf {
                pair_count: 2,
                ..RawGguf::new(&[("k", Value::U8(1))], 0)
            }
            .raw(&RawGguf::new(&[("k", Value::U8(1))], 0).body)
            .build(&[]),
            "bad-header",
            "`k` occurs twice",
        ),
        (
            "same tensor twice",
            no_pairs(2)
                .line("t", &[1], f32_, 0)
                .line("t", &[1], f32_, 32)
                .build(&[0; 64]),
            "bad-header",
            "`t` occurs twice",
        ),
        (
            "overlap",
            no_pairs(2)
                .line("t", &[9], f32_, 0)
                .line("u", &[1], f32_, 32)
                .build(&[0; 64]),
            "bad-header",
            "`t` and `u` overlap",
        ),
        (
            "misaligned",
            no_pairs(1).line("t", &[1], f32_, 4).build(&[0; 64]),
            "bad-header",
            "aligned",
        ),
        (
            "beyond the file",
            no_pairs(1).line("t", &[17], f32_, 0).build(&[0; 64]),
            "tensor-beyond-file",
            "`t`",
        ),
        (
            "offset 2^64",
            no_pairs(1)
                .line("t", &[1], f32_, u64::MAX - 31)
                .build(&[0; 64]),
            "tensor-beyond-file",
            "`t`",
        ),
        (
            "product overflows",
            no_pairs(1)
                .line("t", &[1 << 32, 1 << 32], f32_, 0)
                .build(&[0; 64]),
            "bad-header",
            "impossible",
        ),
        (
            "bytes overflow",
            no_pairs(1).line("t", &[1 << 63], f32_, 0).build(&[0; 64]),
            "bad-header",
            "impossible",
        ),
        (
            "five dimensions",
            no_pairs(1).line("t", &[1; 5], f32_, 0).build(&[0; 64]),
            "bad-header",
            "5",
        ),
        (
            "part of a block",
            no_pairs(1)
                .line("t", &[33], Kind::Q4_0.ggml(), 0)
                .build(&[0; 64]),
            "bad-header",
            "blocks of 32",
        ),
        (
            "IQ2_XS",
            no_pairs(1).line("t", &[256], 17, 0).build(&[0; 99]),
            "unsupported-dtype",
            "IQ2_XS",
        ),
        (
            "type 99",
            no_pairs(1).line("t", &[256], 99, 0).build(&[0; 99]),
            "unsupported-dtype",
            "99",
        ),
    ];
    for (name, file, code, part) in table {
        let error = gguf_error(&file);
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(
            error.to_string().contains(part),
            "{name}: `{part}` is not in: {error}"
        );
    }
}

/// A source that remembers what was read.
struct Watched {
    inner: Bytes,
    largest: Cell<usize>,
    total: Cell<usize>,
    log: RefCell<Vec<(u64, usize)>>,
}

impl Watched {
    fn new(file: Vec<u8>) -> Self {
        let inner = bytes("watched.gguf", file);
        Self {
            inner,
            largest: Cell::new(0),
            total: Cell::new(0),
            log: RefCell::default(),
        }
    }
}

impl ByteSource for &Watched {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn len_bytes(&self) -> u64 {
        self.inner.len_bytes()
    }

    async fn read_at(&self, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        self.largest.set(self.largest.get().max(bytes));
        self.total.set(self.total.get() + bytes);
        self.log.borrow_mut().push((offset, bytes));
        self.inner.read_at(offset, bytes).await
    }
}

#[test]
fn a_large_header_is_read_in_growing_pieces_and_the_data_is_left_alone() {
    let long = Value::Array(Array::String(
        (0..300_000).map(|n| format!("token {n}")).collect(),
    ));
    let tensors = [("t".to_owned(), tensor(&[4 << 20], |n| n as f32))];
    let file = gguf::write(&[("tokens".into(), long)], &tensors).expect("writes");
    let header = file.len() - (16 << 20);
    assert!(
        (4 << 20..8 << 20).contains(&header),
        "a header of {header} bytes"
    );
    let source = Watched::new(file);
    let opened = block_on(Gguf::open(&&source)).expect("opens");
    let total = source.total.get();
    assert!(
        total <= 2 * header + (1 << 20),
        "{total} bytes were read for {header}"
    );
    let mut end = 0;
    for (offset, bytes) in source.log.borrow().iter() {
        assert_eq!(*offset, end, "no byte of the header is read twice");
        end += *bytes as u64;
    }

    source.largest.set(0);
    let values = block_on(opened.tensor(&&source, "t")).expect("reads");
    assert_eq!(values, floats(&tensors[0].1));
    assert!(
        source.largest.get() <= 4 << 20,
        "a piece of {} bytes",
        source.largest.get()
    );
}

// ---- safetensors ----------------------------------------------------------------------------

fn raw_safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        data,
    ]
    .concat()
}

fn safetensors_error(file: &[u8]) -> Error {
    let error = open_safetensors(file).expect_err("must be refused");
    let whole = safetensors::read_all("file.safetensors", file).expect_err("must be refused");
    assert_eq!(error, whole, "open and read_all");
    error
}

#[test]
fn safetensors_of_the_reference_library_are_read_in_every_dtype() {
    use ::safetensors::tensor::{Dtype, TensorView, serialize};
    let ints = |items: &[i64]| HostData::Int(items.to_vec());
    let table: Vec<(Dtype, Vec<u8>, HostData)> = vec![
        (
            Dtype::F64,
            [0.1_f64, -2.0].map(f64::to_le_bytes).concat(),
            HostData::Float(vec![0.1, -2.0]),
        ),
        (
            Dtype::F32,
            [0.1_f32, -2.0].map(f32::to_le_bytes).concat(),
            HostData::Float(vec![0.1, -2.0]),
        ),
        (
            Dtype::F16,
            vec![0x00, 0x3c, 0x00, 0xc0],
            HostData::Float(vec![1.0, -2.0]),
        ),
        (
            Dtype::BF16,
            vec![0x80, 0x3f, 0x00, 0xc0],
            HostData::Float(vec![1.0, -2.0]),
        ),
        (
            Dtype::I64,
            [i64::MIN, 5].map(i64::to_le_bytes).concat(),
            ints(&[i64::MIN, 5]),
        ),
        (
            Dtype::I32,
            [i32::MIN, 5].map(i32::to_le_bytes).concat(),
            ints(&[i32::MIN.into(), 5]),
        ),
        (
            Dtype::I16,
            [i16::MIN, 5].map(i16::to_le_bytes).concat(),
            ints(&[i16::MIN.into(), 5]),
        ),
        (Dtype::I8, vec![0x80, 5], ints(&[-128, 5])),
        (
            Dtype::U64,
            [1_u64 << 62, 5].map(u64::to_le_bytes).concat(),
            ints(&[1 << 62, 5]),
        ),
        (
            Dtype::U32,
            [u32::MAX, 5].map(u32::to_le_bytes).concat(),
            ints(&[u32::MAX.into(), 5]),
        ),
        (
            Dtype::U16,
            [u16::MAX, 5].map(u16::to_le_bytes).concat(),
            ints(&[u16::MAX.into(), 5]),
        ),
        (Dtype::U8, vec![255, 5], ints(&[255, 5])),
        (Dtype::BOOL, vec![1, 0], ints(&[1, 0])),
    ];
    let views: Vec<_> = table
        .iter()
        .map(|(dtype, data, _)| {
            (
                format!("{dtype:?}"),
                TensorView::new(*dtype, vec![1, 2], data).expect("a view"),
            )
        })
        .collect();
    let file = serialize(views, None).expect("serializes");
    let read = safetensors::read_all("file.safetensors", &file).expect("reads");
    let source = bytes("file.safetensors", file);
    let opened = block_on(SafeTensors::open(&source)).expect("opens");
    for (dtype, _, data) in table {
        let key = format!("{dtype:?}");
        let expected = HostTensor {
            shape: vec![1, 2],
            data,
        };
        assert_eq!(read[&key], expected, "{key}");
        assert_eq!(
            block_on(opened.tensor(&source, &key)).expect("reads"),
            expected,
            "{key}"
        );
    }
}

#[test]
fn a_safetensors_file_cut_anywhere_is_a_typed_error() {
    let header = r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"U8","shape":[3],"data_offsets":[24,27]}}"#;
    let file = raw_safetensors(header, &[7; 27]);
    open_safetensors(&file).expect("whole");
    for length in 0..file.len() {
        let error = safetensors_error(&file[..length]);
        let expected = if length < 8 + header.len() {
            "truncated"
        } else {
            "tensor-beyond-file"
        };
        assert_eq!(error.code(), expected, "cut to {length} bytes: {error}");
    }
}

#[test]
fn safetensors_refuses_what_contradicts_itself() {
    let one = |dtype: &str, shape: &str, range: &str| {
        format!(r#"{{"t":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{range}}}}}"#)
    };
    let two = |key: &str, a: &str, b: &str| {
        format!(
            r#"{{"t":{{"dtype":"U8","shape":[4],"data_offsets":{a}}},"{key}":{{"dtype":"U8","shape":[4],"data_offsets":{b}}}}}"#
        )
    };
    let max = u64::MAX;
    let table: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        (
            "a zip",
            b"PK\x03\x04 and something more".to_vec(),
            "wrong-magic",
            "PK\\x03\\x04",
        ),
        (
            "length 2^64 - 1",
            [&max.to_le_bytes()[..], b"{}"].concat(),
            "wrong-magic",
            "safetensors",
        ),
        (
            "lying length",
            [&99_u64.to_le_bytes()[..], b"{}"].concat(),
            "truncated",
            "header",
        ),
        (
            "not JSON",
            raw_safetensors("{\"t\"", &[]),
            "bad-header",
            "EOF",
        ),
        (
            "a list",
            raw_safetensors("[]", &[]),
            "bad-header",
            "object of tensors",
        ),
        (
            "deep JSON",
            raw_safetensors(&"[".repeat(100_000), &[]),
            "bad-header",
            "",
        ),
        (
            "not UTF-8",
            [&2_u64.to_le_bytes()[..], &[0xff, 0xff]].concat(),
            "bad-header",
            "",
        ),
        (
            "negative",
            raw_safetensors(&one("U8", "[-1]", "[0,4]"), &[0; 4]),
            "bad-header",
            "-1",
        ),
        (
            "fraction",
            raw_safetensors(&one("U8", "[4]", "[0.5,4]"), &[0; 4]),
            "bad-header",
            "0.5",
        ),
        (
            "shape too small",
            raw_safetensors(&one("U8", "[3]", "[0,4]"), &[0; 4]),
            "bad-header",
            "`t`",
        ),
        (
            "dtype too large",
            raw_safetensors(&one("F32", "[4]", "[0,4]"), &[0; 4]),
            "bad-header",
            "16",
        ),
        (
            "backwards",
            raw_safetensors(&one("U8", "[4]", "[4,0]"), &[0; 4]),
            "bad-header",
            "4 to 0",
        ),
        (
            "shape overflows",
            raw_safetensors(&one("F32", "[4294967296,4294967296]", "[0,4]"), &[0; 4]),
            "bad-header",
            "impossible",
        ),
        (
            "bytes overflow",
            raw_safetensors(&one("F64", "[2305843009213693952]", "[0,4]"), &[0; 4]),
            "bad-header",
            "impossible",
        ),
        (
            "absurd but consistent",
            raw_safetensors(&one("U8", "[1000000000000]", "[0,1000000000000]"), &[0; 4]),
            "tensor-beyond-file",
            "`t`",
        ),
        (
            "near 2^64",
            raw_safetensors(&one("U8", "[4]", &format!("[{},{max}]", max - 4)), &[0; 4]),
            "tensor-beyond-file",
            "`t`",
        ),
        (
            "overlap",
            raw_safetensors(&two("u", "[0,4]", "[3,7]"), &[0; 7]),
            "bad-header",
            "overlap",
        ),
        (
            "same range",
            raw_safetensors(&two("u", "[0,4]", "[0,4]"), &[0; 4]),
            "bad-header",
            "overlap",
        ),
        (
            "gap",
            raw_safetensors(&two("u", "[0,4]", "[5,9]"), &[0; 9]),
            "bad-header",
            "1 bytes",
        ),
        (
            "rest",
            raw_safetensors(&one("U8", "[4]", "[0,4]"), &[0; 6]),
            "bad-header",
            "2 bytes",
        ),
        (
            "twice",
            raw_safetensors(&two("t", "[0,4]", "[4,8]"), &[0; 8]),
            "bad-header",
            "`t` occurs twice",
        ),
        (
            "metadata twice",
            raw_safetensors(r#"{"__metadata__":{},"__metadata__":{}}"#, &[]),
            "bad-header",
            "twice",
        ),
        (
            "8-bit floats",
            raw_safetensors(&one("F8_E4M3", "[4]", "[0,4]"), &[0; 4]),
            "unsupported-dtype",
            "F8_E4M3",
        ),
    ];
    for (name, file, code, part) in table {
        let error = safetensors_error(&file);
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(
            error.to_string().contains(part),
            "{name}: `{part}` is not in: {error}"
        );
    }
    let large = raw_safetensors(&one("U64", "[1]", "[0,8]"), &max.to_le_bytes());
    let error = safetensors::read_all("file.safetensors", &large).expect_err("beyond i64");
    assert!(error.to_string().contains("2^63"), "{error}");
}

// ---- sources --------------------------------------------------------------------------------

#[test]
fn sources_read_in_place_and_refuse_to_read_beyond_the_end() {
    let path = std::env::temp_dir().join(format!("playground-source-{}", std::process::id()));
    fs::write(&path, b"0123456789").expect("writes");
    let native = NativeFile::open(&path).expect("opens");
    assert!(path.ends_with(native.name()), "{}", native.name());
    check_source(&native);
    check_source(&bytes("memory", b"0123456789".to_vec()));
    fs::remove_file(&path).expect("removes");
    assert_eq!(NativeFile::open(&path).expect_err("is gone").code(), "io");
    assert_eq!(
        NativeFile::open(&std::env::temp_dir())
            .expect_err("a folder")
            .code(),
        "io"
    );
}

fn check_source(source: &impl ByteSource) {
    assert_eq!(source.len_bytes(), 10);
    for (offset, count, expected) in [(0, 10, "0123456789"), (3, 4, "3456"), (10, 0, "")] {
        let read = block_on(source.read_at(offset, count)).expect("inside");
        assert_eq!(read, expected.as_bytes());
    }
    for (offset, count) in [(0, 11), (10, 1), (11, 0), (u64::MAX, 1), (0, usize::MAX)] {
        let error = block_on(source.read_at(offset, count)).expect_err("outside");
        assert_eq!(error.code(), "truncated", "{count} bytes from {offset}");
    }
}

// ---- models ---------------------------------------------------------------------------------

const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 6;
const WIDTH: usize = 8;
const INNER: usize = 10;
const VOCAB: usize = 12;
const LAYERS: usize = 2;

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
        floats(tensor)
            .iter()
            .for_each(|value| data.extend(value.to_le_bytes()));
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

#[test]
fn one_model_in_five_wrappings_gives_the_same_tensors() {
    let model = small_model();
    let bare: BTreeMap<_, _> = model
        .iter()
        .map(|(key, tensor)| {
            (
                key.strip_prefix("model.").unwrap_or(key).to_owned(),
                tensor.clone(),
            )
        })
        .collect();
    let config = small_config();
    let shard = |name: &str, wanted: bool| {
        let half = model
            .iter()
            .enumerate()
            .filter(|(n, _)| (n % 2 == 0) == wanted);
        bytes(name, to_safetensors(half.map(|(_, pair)| pair)))
    };
    let shards = || {
        vec![
            shard("model-1-of-2.safetensors", true),
            shard("model-2-of-2.safetensors", false),
        ]
    };
    let index = serde_json::json!({"metadata": {}, "weight_map": {
        "a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}})
    .to_string();
    let json = config.to_string();
    let indexed = ModelFile::open_folder(json.as_bytes(), shards(), Some(index.as_bytes()));

    let wrappings = [
        ("gguf", open_model(small_gguf())),
        ("one file", folder(&config, &model)),
        ("without `model.`", folder(&config, &bare)),
        ("shards", open_folder(&config, shards())),
        ("shards with an index", block_on(indexed)),
    ];
    for (name, opened) in wrappings {
        let opened = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = opened.config();
        assert_eq!(
            (found.num_heads, found.num_kv_heads, found.head_dim),
            (HEADS, KV_HEADS, HEAD_DIM)
        );
        assert_eq!(
            (found.hidden_size, found.intermediate_size),
            (WIDTH, INNER),
            "{name}"
        );
        assert_eq!(
            (found.num_layers, found.vocab_size, found.context),
            (LAYERS, VOCAB, 64),
            "{name}"
        );
        assert!(
            (found.rms_norm_eps - 1e-5).abs() < 1e-12
                && found.ropes == [RopeConfig::plain(500.0, found.head_dim)],
            "{name}"
        );
        assert!(
            !found.tie_word_embeddings && found.biases.qkv && found.biases.o && found.biases.mlp,
            "{name}"
        );
        assert_eq!(opened.unused(), [] as [&str; 0], "{name}");
        assert_eq!(
            opened.name(),
            if name == "gguf" {
                "Small Llama"
            } else {
                "small-llama"
            }
        );

        let mut total_bytes = 0;
        for (key, expected) in &model {
            for key in [key.as_str(), key.strip_prefix("model.").unwrap_or(key)] {
                assert!(opened.has(key), "{name}: {key}");
                let read = block_on(opened.tensor(key, &expected.shape)).expect("reads");
                assert_eq!(read, floats(expected), "{name}: {key}");
            }
            assert_eq!(opened.tensor_bytes(key), floats(expected).len() as u64 * 4);
            total_bytes += opened.tensor_bytes(key);
        }
        assert_eq!(opened.total_bytes(), total_bytes, "{name}");

        assert!(!opened.has("model.nothing.weight"));
        assert_eq!(opened.tensor_bytes("model.nothing.weight"), 0);
        let read = block_on(opened.tensor("model.nothing.weight", &[1]));
        assert_eq!(read.expect_err("is missing").code(), "missing-key");
        let read = block_on(opened.tensor("model.norm.weight", &[WIDTH + 1]));
        let error = read.expect_err("has another shape");
        assert_eq!(error.code(), "wrong-shape");
        let said = error.to_string();
        assert!(
            said.contains("norm.weight") && said.contains("[8]") && said.contains("[9]"),
            "{said}"
        );
    }
}

#[test]
fn tensors_larger_than_a_piece_come_out_whole() {
    // Blocks of 34 bytes, so that no power of two ends between blocks.
    let (rows, width) = (40_000_usize, 128_usize);
    let blocks = rows * width / 32;
    let data: Vec<u8> = (0..blocks)
        .flat_map(|block| {
            let values = (0..32).map(move |n| ((block * 7 + n * 3) % 251) as u8);
            [0x00, 0x3c].into_iter().chain(values)
        })
        .collect();
    let dims = [width as u64, rows as u64];
    let file = no_pairs(1)
        .line("t", &dims, Kind::Q8_0.ggml(), 0)
        .build(&data);
    assert!(
        data.len() > 4 << 20,
        "{} bytes are more than one piece",
        data.len()
    );
    let source = bytes("large.gguf", file);
    let opened = block_on(Gguf::open(&source)).expect("opens");
    let found = block_on(opened.tensor(&source, "t")).expect("reads");
    assert!(
        found == quant::dequantise(Kind::Q8_0, &data).expect("reads"),
        "pieces differ"
    );
}

/// As transformers 5: the config says whether they are tied, unless the file has two that differ.
#[test]
fn a_head_is_the_embedding_where_the_file_does_not_say_otherwise() {
    let head = "lm_head.weight";
    let model = small_model();
    let mut config = small_config();
    config["tie_word_embeddings"] = true.into();
    let own = folder(&config, &model).expect("a head of its own");
    assert!(!own.config().tie_word_embeddings && own.unused().is_empty());
    let read = block_on(own.tensor(head, &[VOCAB, WIDTH])).expect("reads");
    assert_eq!(read, floats(&model[head]));
    // The last number is enough.
    let mut almost = model.clone();
    let mut values = floats(&model["model.embed_tokens.weight"]).to_vec();
    values[VOCAB * WIDTH - 1] += 1.0;
    almost.insert(head.into(), tensor(&[VOCAB, WIDTH], |n| values[n]));
    let own = folder(&config, &almost).expect("a head of its own");
    assert!(!own.config().tie_word_embeddings);

    let mut doubled = model.clone();
    doubled.insert(head.into(), model["model.embed_tokens.weight"].clone());
    let doubled = folder(&config, &doubled).expect("the same twice");
    assert!(doubled.config().tie_word_embeddings && doubled.unused().is_empty());
    assert!(!doubled.has(head), "it is not read a second time");

    let mut without = model.clone();
    without.remove(head);
    let tied = folder(&config, &without).expect("tied");
    assert_eq!(tied.total_bytes(), doubled.total_bytes());
    let mut only_head = model.clone();
    only_head.remove("model.embed_tokens.weight");
    let swapped = folder(&config, &only_head).expect("the head is the embedding");
    assert!(swapped.config().tie_word_embeddings);
    let read = block_on(swapped.tensor("model.embed_tokens.weight", &[VOCAB, WIDTH]));
    assert_eq!(read.expect("reads"), floats(&model[head]));
    let mut misshapen = model.clone();
    misshapen.insert(head.into(), tensor(&[VOCAB + 1, WIDTH], |n| n as f32));
    let error = folder(&config, &misshapen).expect_err("another shape");
    assert!(
        error.code() == "wrong-shape" && error.to_string().contains(head),
        "{error}"
    );

    config["tie_word_embeddings"] = false.into();
    let error = folder(&config, &without).expect_err("untied, without a head");
    assert!(error.to_string().contains(head) && error.to_string().contains("tie_word"));

    // A GGUF file says it by the tensors alone.
    let gguf = |model: &BTreeMap<_, _>| {
        let file = gguf::write(&gguf_metadata(), &gguf_tensors(model)).expect("writes");
        open_model(file)
            .expect("opens")
            .config()
            .tie_word_embeddings
    };
    assert!(gguf(&without) && !gguf(&model) && !gguf(&almost));
    let mut doubled = model.clone();
    doubled.insert(head.into(), model["model.embed_tokens.weight"].clone());
    assert!(gguf(&doubled));
}

/// Logits of a tiny model after a change of its config and its tensors.
fn changed_logits(
    base: &str,
    change: impl FnOnce(&mut serde_json::Value, &mut BTreeMap<String, HostTensor>),
) -> Vec<f32> {
    let dir = golden_dir().join(base);
    let config = fs::read(dir.join("config.json")).expect("config.json");
    let weights = fs::read(dir.join("model.safetensors")).expect("model.safetensors");
    let mut config = serde_json::from_slice(&config).expect("JSON");
    let mut model = safetensors::read_all("model.safetensors", &weights).expect("reads");
    change(&mut config, &mut model);
    let file = folder(&config, &model).expect("opens");
    let cpu = device::cpu();
    let session = Session::load(&file, None, &cpu, Weights::Dense, |_| {});
    logits(
        &block_on(session).expect("loads"),
        &[5, 17, 3, 8],
        &Steering::base(),
    )
}

#[test]
fn logits_are_transformers_where_config_and_tensors_disagree() {
    let untied = changed_logits("base_untied", |_, _| {});
    let said_tied = changed_logits("base_untied", |config, _| {
        config["tie_word_embeddings"] = true.into();
    });
    assert!(said_tied == untied, "the file's head is the head");

    let base = changed_logits("base", |_, _| {});
    let biased = changed_logits("base", |config, model| {
        config["attention_bias"] = false.into();
        config["mlp_bias"] = false.into();
        let linears: Vec<_> = model
            .iter()
            .filter(|(key, tensor)| key.contains("_proj") && tensor.shape.len() == 2)
            .map(|(key, tensor)| (key.replace(".weight", ".bias"), tensor.shape[0]))
            .collect();
        for (key, width) in linears {
            model.insert(key, tensor(&[width], |n| n as f32));
        }
    });
    assert!(biased == base, "biases that the config denies do not act");
}

#[test]
fn tensors_of_a_folder_that_nothing_uses_are_named_and_let_go() {
    let mut model = small_model();
    model.insert(
        "model.layers.0.self_attn.rotary_emb.inv_freq".into(),
        tensor(&[3], |_| 1.0),
    );
    let opened = folder(&small_config(), &model).expect("opens");
    assert!(opened.unused().is_empty(), "the known wavelengths");
    let others = [
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.7.mlp.up_proj.weight",
        "score.weight",
    ];
    for key in others {
        model.insert(key.into(), tensor(&[1], |_| 1.0));
    }
    let opened = folder(&small_config(), &model).expect("opens");
    let mut unused = opened.unused().to_vec();
    unused.sort();
    assert_eq!(unused, others);

    let mut config = small_config();
    config["mlp_bias"] = false.into();
    let opened = folder(&config, &small_model()).expect("opens");
    assert_eq!(opened.unused().len(), 3 * LAYERS, "{:?}", opened.unused());
    let bias = "model.layers.0.mlp.up_proj.bias";
    assert!(!opened.has(bias), "what the config denies is not there");
    config["mlp_bias"] = true.into();
    let mut model = small_model();
    model.remove(bias);
    let error = folder(&config, &model).expect_err("a bias that the config promises");
    assert!(
        error.code() == "missing-key" && error.to_string().contains(bias),
        "{error}"
    );
}

/// As llama.cpp: every tensor must be used, and every bias is optional.
#[test]
fn tensors_of_a_gguf_that_nothing_uses_are_refused_by_name() {
    for key in [
        "blk.0.attn_q_norm.weight",
        "blk.1.attn_norm.bias",
        "blk.7.ffn_up.weight",
        "blk.1.attn_q.scale",
        "output_norm.bias",
        "output.bias",
        "position_embd.weight",
    ] {
        let mut tensors = gguf_tensors(&small_model());
        tensors.push(("rope_freqs.weight".into(), tensor(&[3], |_| 1.0)));
        tensors.push((key.into(), tensor(&[6], |_| 1.0)));
        let file = gguf::write(&gguf_metadata(), &tensors).expect("writes");
        let error = open_model(file).expect_err("nothing uses it");
        assert_eq!(error.code(), "unsupported-model");
        assert!(error.to_string().contains(key), "{key}: {error}");
    }
    let all = gguf_tensors(&small_model());
    let is_bias = |key: &str| key.ends_with(".bias");
    for (bias, _) in all.iter().filter(|(key, _)| is_bias(key)) {
        let only = all.iter().filter(|(key, _)| !is_bias(key) || key == bias);
        let only: Vec<_> = only.cloned().collect();
        let file = gguf::write(&gguf_metadata(), &only).expect("writes");
        let opened = open_model(file).unwrap_or_else(|error| panic!("only {bias}: {error}"));
        let has = |key: &str| opened.has(&key.replace(".weight", ".bias"));
        let biases = small_model()
            .keys()
            .filter(|key| key.ends_with(".weight") && has(key))
            .count();
        assert_eq!(biases, 1, "only {bias}");
    }
}

// ---- numbers that are not finite ---------------------------------------------------------------

/// Whole blocks of every kind, of which each is finite unless a d or m is not.
#[test]
fn numbers_that_are_not_finite_are_found_in_every_format() {
    let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let halves = bad.map(|bad| half::f16::from_f32(bad).to_le_bytes().to_vec());
    /// A kind, where in a block such a number may stand, and how each is written.
    type Case = (Kind, &'static [usize], Vec<Vec<u8>>);
    let kinds: [Case; 15] = [
        (
            Kind::F32,
            &[0],
            bad.map(|x| x.to_le_bytes().to_vec()).into(),
        ),
        (Kind::F16, &[0], halves.clone().into()),
        (
            Kind::BF16,
            &[0],
            bad.map(|x| half::bf16::from_f32(x).to_le_bytes().to_vec())
                .into(),
        ),
        (
            Kind::F64,
            &[0],
            [f64::NAN, f64::INFINITY, -1e39]
                .map(|x| x.to_le_bytes().to_vec())
                .into(),
        ),
        (Kind::Q4_0, &[0], halves.clone().into()),
        (Kind::Q4_1, &[0, 2], halves.clone().into()),
        (Kind::Q5_0, &[0], halves.clone().into()),
        (Kind::Q5_1, &[0, 2], halves.clone().into()),
        (Kind::Q8_0, &[0], halves.clone().into()),
        (Kind::Q2_K, &[80, 82], halves.clone().into()),
        (Kind::Q3_K, &[108], halves.clone().into()),
        (Kind::Q4_K, &[0, 2], halves.clone().into()),
        (Kind::Q5_K, &[0, 2], halves.clone().into()),
        (Kind::Q6_K, &[208], halves.clone().into()),
        (Kind::IQ4_NL, &[0], halves.into()),
    ];
    for (kind, places, bad) in kinds {
        let name = kind.name();
        // All bits set but those of the numbers that are floats.
        let mut block = vec![0xff; kind.block_bytes()];
        places
            .iter()
            .for_each(|&at| block[at..at + bad[0].len()].fill(0x3c));
        let count = 1000;
        let good = block.repeat(count);
        assert_eq!(quant::not_finite(kind, &good), None, "{name}");
        for bad in &bad {
            for &at in places {
                let mut bytes = good.clone();
                let block = count - 7;
                bytes[block * kind.block_bytes() + at..][..bad.len()].copy_from_slice(bad);
                let (element, _) = quant::not_finite(kind, &bytes).expect("is found");
                assert_eq!(element, block * kind.block_len(), "{name}");
                let values = quant::dequantise(kind, &bytes).expect("whole blocks");
                let bad = values.iter().position(|value| !value.is_finite());
                assert_eq!(bad, Some(element), "{name}");
            }
        }
    }
}

#[test]
fn a_model_with_a_number_that_is_not_finite_is_refused_by_tensor() {
    for weights in [Weights::Dense, Weights::Quantised] {
        for key in small_model().keys() {
            let mut model = small_model();
            if let Some(HostTensor {
                data: HostData::Float(values),
                ..
            }) = model.get_mut(key)
            {
                let last = values.len() - 1;
                values[last] = f32::NAN;
            }
            let file = folder(&small_config(), &model).expect("opens");
            let error = block_on(Session::load(&file, None, &device::cpu(), weights, |_| {}));
            let error = error
                .err()
                .unwrap_or_else(|| panic!("{key} is not refused"));
            assert_eq!(error.code(), "not-finite", "{key}: {error}");
            let said = error.to_string();
            assert!(
                said.contains(key.as_str()) && said.contains("model.safetensors"),
                "{said}"
            );
        }
    }
    // What nothing reads does not matter.
    let mut config = small_config();
    config["mlp_bias"] = false.into();
    let mut model = small_model();
    for layer in 0..LAYERS {
        let bias = format!("model.layers.{layer}.mlp.down_proj.bias");
        model.insert(bias, tensor(&[WIDTH], |_| f32::NAN));
    }
    let file = folder(&config, &model).expect("opens");
    let cpu = device::cpu();
    let loaded = Session::load(&file, None, &cpu, Weights::Dense, |_| {});
    block_on(loaded).expect("biases that the config denies are not read");
}

/// On every path that reads blocks: widened, kept for the CPU, sent to a GPU as they are.
#[test]
fn a_block_whose_scale_is_not_finite_is_refused_on_every_path() {
    let key = "blk.1.ffn_down.weight";
    for kind in [Kind::Q8_0, Kind::Q4_K, Kind::Q6_K, Kind::Q3_K] {
        let (inner, block) = (256, vec![0x11; kind.block_bytes()]);
        let blocks = WIDTH * inner / kind.block_len();
        let mut data = block.repeat(blocks);
        let at = match kind {
            Kind::Q6_K => 208,
            Kind::Q3_K => 108,
            _ => 0,
        };
        let last = data.len() - kind.block_bytes() + at;
        data[last..last + 2].copy_from_slice(&half::f16::INFINITY.to_le_bytes());
        let tensors: Vec<_> = gguf_tensors(&small_model())
            .into_iter()
            .map(|(key, tensor)| (key, with_inner(tensor, inner)))
            .collect();
        let mut metadata = gguf_metadata();
        metadata.retain(|(name, _)| name != "llama.feed_forward_length");
        metadata.push(("llama.feed_forward_length".into(), Value::U32(inner as u32)));
        let pairs: Vec<_> = metadata
            .iter()
            .map(|(k, v)| (k.as_str(), v.clone()))
            .collect();
        let mut file = RawGguf::new(&pairs, tensors.len() as u64);
        let mut all: Vec<u8> = Vec::new();
        for (name, tensor) in &tensors {
            let dims: Vec<u64> = tensor.shape.iter().rev().map(|&n| n as u64).collect();
            let (kind, bytes) = match name == key {
                true => (kind, data.clone()),
                false => {
                    let bytes = floats(tensor).iter().flat_map(|x| x.to_le_bytes());
                    (Kind::F32, bytes.collect())
                }
            };
            file = file.line(name, &dims, kind.ggml(), all.len() as u64);
            all.extend(bytes);
            all.resize(all.len().next_multiple_of(32), 0);
        }
        let model = open_model(file.build(&all)).expect("opens");
        let name = "model.layers.1.mlp.down_proj.weight";
        let shape = [WIDTH, inner];
        let errors = [
            block_on(model.tensor(name, &shape)).err(),
            block_on(model.packed(name, shape)).err(),
            block_on(model.matrix(name, shape)).err(),
        ];
        for error in errors {
            let error = error.unwrap_or_else(|| panic!("{} is not refused", kind.name()));
            let said = error.to_string();
            assert!(error.code() == "not-finite" && said.contains(key), "{said}");
            let element = (blocks - 1) * kind.block_len();
            assert!(
                said.contains(&format!("inf as the scale of a block at element {element}")),
                "{said}"
            );
        }
    }
}

/// A tensor of the small model for an MLP of another width.
fn with_inner(like: HostTensor, inner: usize) -> HostTensor {
    let shape: Vec<_> = like
        .shape
        .iter()
        .map(|&extent| if extent == INNER { inner } else { extent })
        .collect();
    tensor(&shape, |_| 1.0)
}

// ---- several files -----------------------------------------------------------------------------

#[test]
fn only_the_files_that_an_index_names_count() {
    let model = small_model();
    let (first, second): (Vec<_>, Vec<_>) = model.iter().partition(|(key, _)| key.contains('1'));
    let wrong: BTreeMap<_, _> = model
        .iter()
        .map(|(key, of)| (key.clone(), tensor(&of.shape, |_| 9.0)))
        .collect();
    let shard = |name: &str, tensors: Vec<(&String, &HostTensor)>| {
        bytes(name, to_safetensors(tensors.into_iter()))
    };
    let files = vec![
        shard("consolidated.safetensors", wrong.iter().collect()),
        shard("model-00001-of-00002.safetensors", first),
        bytes(
            "model-00001-of-00003.safetensors",
            b"no safetensors at all".to_vec(),
        ),
        shard("model-00002-of-00002.safetensors", second),
    ];
    let index = serde_json::json!({"weight_map": {
        "a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"}});
    let index = index.to_string();
    let json = small_config().to_string();
    let opened = ModelFile::open_folder(json.as_bytes(), files, Some(index.as_bytes()));
    let opened = block_on(opened).expect("opens");
    for (key, expected) in &model {
        let read = block_on(opened.tensor(key, &expected.shape)).expect("reads");
        assert_eq!(read, floats(expected), "{key}");
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

fn open_parts(files: Vec<(&str, Vec<u8>)>) -> Result<ModelFile<Bytes>> {
    let files = files.into_iter().map(|(name, file)| bytes(name, file));
    block_on(ModelFile::open_gguf_parts(files.collect()))
}

#[test]
fn a_split_gguf_is_one_model_in_any_order() {
    let three = parts(3);
    let names = [
        "x-00001-of-00003.gguf",
        "x-00002-of-00003.gguf",
        "x-00003-of-00003.gguf",
    ];
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let files = order.map(|at| (names[at], three[at].clone()));
        let opened = open_parts(files.into()).expect("opens");
        assert_eq!(opened.name(), "Small Llama");
        for (key, expected) in &small_model() {
            let read = block_on(opened.tensor(key, &expected.shape)).expect("reads");
            assert_eq!(read, floats(expected), "{key}");
        }
    }
    let whole = parts(1);
    assert!(open_parts(vec![("whole.gguf", whole[0].clone())]).is_ok());

    let part = |at: usize| (names[at], three[at].clone());
    let renamed = |at: usize, name| (name, three[at].clone());
    let of_two = ("y-00002-of-00002.gguf", parts(2)[1].clone());
    let mut odd = parts(2);
    /// Files, the refusal's code, and what it names.
    type Case<'a> = (Vec<(&'a str, Vec<u8>)>, &'a str, &'a [&'a str]);
    let table: [Case<'_>; 9] = [
        (
            vec![part(0)],
            "missing-key",
            &[names[1], "part 1 of 3", "all 3"],
        ),
        (vec![part(2)], "missing-key", &[names[0], "part 3 of 3"]),
        (vec![part(0), part(2)], "missing-key", &[names[1], "all 3"]),
        (vec![part(0), part(1)], "missing-key", &[names[2], "all 3"]),
        (
            vec![renamed(1, "b.gguf")],
            "missing-key",
            &["part 1 of 3", "part 2 of 3"],
        ),
        (
            vec![part(0), part(1), part(1)],
            "bad-header",
            &["part 2 of 3"],
        ),
        (vec![part(0), of_two, part(2)], "bad-header", &["of 2"]),
        (
            vec![("a.gguf", small_gguf()), ("b.gguf", small_gguf())],
            "unsupported-model",
            &["one model at a time"],
        ),
        (
            vec![("a.gguf", odd.remove(0)), renamed(1, "c.gguf")],
            "bad-header",
            &["of 3"],
        ),
    ];
    for (files, code, words) in table {
        let error = open_parts(files).expect_err("does not belong together");
        let said = error.to_string();
        assert_eq!(error.code(), code, "{said}");
        assert!(
            words.iter().all(|word| said.contains(word)),
            "{words:?}: {said}"
        );
    }
}

// ---- what is given as a model --------------------------------------------------------------------

/// Opens files of a folder by their names, as a terminal and a page do.
fn open_named(
    files: &[(&str, Vec<u8>)],
    asked: Option<&str>,
) -> Result<(ModelFile<Bytes>, Option<Text>)> {
    let names: Vec<String> = files.iter().map(|(name, _)| (*name).into()).collect();
    let source = |name: &str| {
        let file = files.iter().find(|(known, _)| *known == name);
        Ok(bytes(name, file.expect("one of them").1.clone()))
    };
    block_on(steering_playground::open::open(
        "here", &names, asked, false, source,
    ))
}

#[test]
fn a_folder_is_opened_by_its_name_or_by_that_of_its_weights() {
    let model = small_model();
    let whole = to_safetensors(model.iter());
    let config = small_config().to_string().into_bytes();
    let wrong: BTreeMap<_, _> = model
        .iter()
        .map(|(key, of)| (key.clone(), tensor(&of.shape, |_| 9.0)))
        .collect();
    let wrong = to_safetensors(wrong.iter());
    let index = br#"{"weight_map": {"a": "model-00001-of-00001.safetensors"}}"#.to_vec();
    let shard = "model-00001-of-00001.safetensors";
    let index_name = "model.safetensors.index.json";
    let right = |files: &[(&str, Vec<u8>)], asked: Option<&str>| {
        let (opened, _) = open_named(files, asked).unwrap_or_else(|error| panic!("{error}"));
        let norm = block_on(opened.tensor("model.norm.weight", &[WIDTH])).expect("reads");
        norm == floats(&model["model.norm.weight"])
    };
    let files = [
        ("config.json", config.clone()),
        ("model.safetensors", whole.clone()),
        (index_name, index.clone()),
        (shard, wrong.clone()),
        ("consolidated.safetensors", wrong.clone()),
        ("other.gguf", small_gguf()),
        ("sub/config.json", b"{}".to_vec()),
    ];
    for asked in [None, Some("model.safetensors"), Some("config.json")] {
        assert!(right(&files, asked), "{asked:?}");
    }
    // Who names the index or a shard means these.
    for asked in [index_name, shard, "consolidated.safetensors"] {
        assert!(!right(&files, Some(asked)), "{asked}");
    }
    let files = [
        ("config.json", config),
        (index_name, index),
        (shard, whole),
        ("model-00001-of-00002.safetensors", wrong),
    ];
    for asked in [None, Some(index_name), Some(shard)] {
        assert!(right(&files, asked), "{asked:?}");
    }
    let other = open_named(&files, Some("model-00001-of-00002.safetensors"));
    let said = other.expect_err("not of this model").to_string();
    assert!(said.contains("names other files"), "{said}");
    let split = parts(2);
    let split = [
        ("a-00001-of-00002.gguf", split[0].clone()),
        ("a-00002-of-00002.gguf", split[1].clone()),
    ];
    for asked in [None, Some(split[0].0), Some(split[1].0)] {
        assert!(right(&split, asked), "{asked:?}");
    }
    let alone = open_named(&split[..1], None).expect_err("one of two parts");
    assert!(
        alone.to_string().contains("part 1 of 2, give all 2"),
        "{alone}"
    );
}

#[test]
fn what_is_no_model_is_called_what_it_is() {
    const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n";
    const PAGE: &[u8] = b"<!DOCTYPE html>\n<html><head>";
    let good = || {
        vec![
            ("config.json", small_config().to_string().into_bytes()),
            ("model.safetensors", to_safetensors(small_model().iter())),
            (
                "model.safetensors.index.json",
                b"{\"weight_map\": {\"a\": \"x\"}}".to_vec(),
            ),
            ("tokenizer.json", b"{}".to_vec()),
        ]
    };
    for (bytes, word) in [(POINTER, "git lfs pull"), (PAGE, "a web page")] {
        for (at, asked) in [
            (0, None),
            (1, None),
            (2, Some("model.safetensors.index.json")),
            (3, None),
        ] {
            let mut files = good();
            files[at].1 = bytes.to_vec();
            let said = open_named(&files, asked).expect_err("no model").to_string();
            assert!(said.contains(word) && said.contains(files[at].0), "{said}");
        }
        for name in ["model.gguf", "model"] {
            let said = open_named(&[(name, bytes.to_vec())], Some(name)).expect_err("no model");
            assert!(said.to_string().contains(word), "{said}");
        }
    }

    // Adapters in a model's place.
    let adapter = |metadata: &[(&str, Value)]| {
        let pairs: Vec<_> = metadata
            .iter()
            .map(|(k, v)| ((*k).into(), v.clone()))
            .collect();
        open_model(gguf::write(&pairs, &[]).expect("writes")).expect_err("an adapter")
    };
    let lora = [
        ("general.architecture", text("llama")),
        ("general.type", text("adapter")),
        ("adapter.type", text("lora")),
    ];
    let vector = [
        ("general.architecture", text("controlvector")),
        ("controlvector.model_hint", text("llama")),
    ];
    let mut keys = small_model();
    let values = tensor(&[1, 1], |_| 1.0);
    keys.clear();
    keys.insert(
        "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight".into(),
        values,
    );
    for error in [
        adapter(&lora),
        adapter(&vector),
        folder(&small_config(), &keys).expect_err("an adapter"),
        folder(&serde_json::json!({"peft_type": "LORA"}), &keys).expect_err("an adapter"),
    ] {
        let said = error.to_string();
        assert!(
            said.contains("adapter") && said.contains("--adapter"),
            "{said}"
        );
    }

    // Other kinds of models, and names that somebody's wrapper changed.
    let config = |field: &str, value: serde_json::Value| {
        let mut config = small_config();
        config[field] = value;
        config
    };
    let mut classifier = small_model();
    classifier.remove("lm_head.weight");
    classifier.insert("score.weight".into(), tensor(&[2, WIDTH], |_| 1.0));
    let wrapped: BTreeMap<_, _> = small_model()
        .into_iter()
        .map(|(key, tensor)| (format!("_orig_mod.{key}"), tensor))
        .collect();
    let mut longer = small_model();
    longer.insert(
        "model.embed_tokens.weight".into(),
        tensor(&[VOCAB + 3, WIDTH], |_| 1.0),
    );
    let model = small_model();
    let table = [
        (
            config(
                "architectures",
                serde_json::json!(["LlamaForSequenceClassification"]),
            ),
            &model,
            "a classifier",
        ),
        (small_config(), &classifier, "a classifier"),
        (
            config(
                "quantization",
                serde_json::json!({"group_size": 64, "bits": 4}),
            ),
            &model,
            "MLX",
        ),
        (
            config(
                "quantization_config",
                serde_json::json!({"quant_method": "awq", "bits": 4}),
            ),
            &model,
            "awq",
        ),
        (small_config(), &wrapped, "begin with `_orig_mod.`"),
        (small_config(), &longer, "3 tokens more"),
    ];
    for (config, model, word) in table {
        let said = folder(&config, model).expect_err(word).to_string();
        assert!(said.contains(word), "{word}: {said}");
    }
    let bare = config("architectures", serde_json::json!(["LlamaModel"]));
    assert!(folder(&bare, &model).is_ok());
    assert!(folder(&config("architectures", serde_json::json!([])), &model).is_ok());
}

/// The rotary embedding of the small model with other fields in its config.json.
fn rope_of_json(fields: serde_json::Value) -> Result<RopeConfig> {
    let mut config = small_config();
    let old = config.as_object_mut().expect("an object");
    old.remove("rope_parameters");
    old.remove("rope_scaling");
    old.extend(fields.as_object().expect("an object").clone());
    folder(&config, &small_model()).map(|opened| opened.config().ropes[0].clone())
}

/// That of a GGUF file with other metadata, and this tensor.
fn rope_of_gguf(more: Vec<(String, Value)>, factors: Option<HostTensor>) -> Result<RopeConfig> {
    let mut metadata = gguf_metadata();
    metadata.extend(more);
    let mut tensors = gguf_tensors(&small_model());
    tensors.extend(factors.map(|factors| ("rope_freqs.weight".to_owned(), factors)));
    let file = gguf::write(&metadata, &tensors).expect("writes");
    open_model(file).map(|opened| opened.config().ropes[0].clone())
}

fn rope_key(key: &str, number: f32) -> (String, Value) {
    (format!("llama.rope.{key}"), Value::F32(number))
}

fn rope_kind(name: &str) -> (String, Value) {
    ("llama.rope.scaling.type".to_owned(), text(name))
}

/// A scaling by 1 is none, in what transformers and llama.cpp compute of it.
#[test]
fn rotary_scalings_that_change_nothing_are_read() {
    use serde_json::json;
    let plain = RopeConfig::plain(500.0, HEAD_DIM);
    for fields in [
        json!({"rope_theta": 500.0}),
        json!({"rope_theta": 500.0, "rope_scaling": {}, "rope_parameters": null}),
        json!({"rope_theta": 7.0, "rope_parameters": {"rope_theta": 500.0}}),
        json!({"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 1.0}}),
        json!({"rope_theta": 500.0, "rope_scaling": {"rope_type": "linear", "factor": 1}}),
        json!({"rope_theta": 500.0, "rope_scaling": {"type": "dynamic", "factor": 1.0}}),
        json!({"rope_theta": 500.0, "rope_scaling": {"type": "yarn", "rope_type": "yarn", "factor": 1.0}}),
        json!({"rope_parameters": {"rope_type": "linear", "factor": 1.0, "rope_theta": 500.0}}),
        json!({"rope_parameters": {"rope_type": "llama3", "factor": 1.0, "rope_theta": 500.0}}),
        json!({"rope_theta": 500.0, "rope_scaling": {"rope_type": "default"},
               "rope_parameters": {"rope_theta": 500.0}}),
    ] {
        let rope = rope_of_json(fields.clone());
        assert_eq!(rope, Ok(plain.clone()), "{fields}");
    }
    for more in [
        vec![rope_kind("linear"), rope_key("scaling.factor", 1.0)],
        vec![rope_kind("linear")],
        vec![rope_key("scaling.factor", 1.0)],
        vec![rope_key("scale_linear", 1.0)],
        vec![rope_key("scaling.factor", 0.0)],
        vec![rope_kind("yarn"), rope_key("scaling.factor", 1.0)],
        vec![rope_kind("none"), rope_key("scaling.factor", 4.0)],
    ] {
        assert_eq!(
            rope_of_gguf(more.clone(), None),
            Ok(plain.clone()),
            "{more:?}"
        );
    }
    let ones = tensor(&[HEAD_DIM / 2], |_| 1.0);
    assert_eq!(rope_of_gguf(Vec::new(), Some(ones)), Ok(plain));
}

/// The same scaling in every wrapping is the same rotary embedding; that these are right is shown by
/// the models of `families`.
#[test]
fn one_rotary_scaling_in_several_wrappings_is_the_same() {
    use serde_json::json;
    let plain = RopeConfig::plain(500.0, HEAD_DIM);
    let stretched = |by: [f32; 3]| RopeConfig {
        inverse_wavelengths: std::iter::zip(&plain.inverse_wavelengths, by)
            .map(|(w, by)| w / by)
            .collect(),
        factor: 1.0,
    };
    let near = |found: &RopeConfig, expected: &RopeConfig| {
        let pairs = std::iter::zip(&found.inverse_wavelengths, &expected.inverse_wavelengths);
        let same = |(a, b): (&f32, &f32)| (a / b - 1.0).abs() < 1e-6;
        pairs.into_iter().all(same) && (found.factor / expected.factor - 1.0).abs() < 1e-6
    };
    let linear = [
        rope_of_json(json!({"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 4}})),
        rope_of_json(json!({"rope_parameters":
            {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}})),
        rope_of_gguf(
            vec![rope_kind("linear"), rope_key("scaling.factor", 4.0)],
            None,
        ),
        rope_of_gguf(vec![rope_key("scale_linear", 4.0)], None),
        rope_of_gguf(Vec::new(), Some(tensor(&[3], |_| 4.0))),
    ];
    for rope in linear {
        let rope = rope.expect("reads");
        assert!(near(&rope, &stretched([4.0; 3])), "{rope:?}");
    }
    let factors = tensor(&[3], |pair| 1.0 + pair as f32);
    let twice = rope_of_gguf(vec![rope_key("scale_linear", 2.0)], Some(factors)).expect("reads");
    assert!(near(&twice, &stretched([2.0, 4.0, 6.0])), "{twice:?}");

    let original = |key: &str| (key.to_owned(), Value::U32(4096));
    let key = "llama.rope.scaling.original_context_length";
    let yarn = |more: serde_json::Value| {
        let mut inside = json!({"rope_type": "yarn", "factor": 4.0, "rope_theta": 500.0,
            "original_max_position_embeddings": 4096});
        inside
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("one").clone());
        rope_of_json(json!({"rope_parameters": inside})).expect("reads")
    };
    let expected = yarn(json!({}));
    assert!(
        (expected.factor - (0.1 * 4_f64.ln() + 1.0)).abs() < 1e-12,
        "{expected:?}"
    );
    let of_gguf = |mut more: Vec<_>| {
        more.extend([
            rope_kind("yarn"),
            rope_key("scaling.factor", 4.0),
            original(key),
        ]);
        rope_of_gguf(more, None)
    };
    let gguf = of_gguf(Vec::new()).expect("reads");
    assert!(near(&gguf, &expected), "{gguf:?}");
    let usual = yarn(
        json!({"beta_fast": 32, "beta_slow": 1.0, "truncate": true, "mscale": 1.0,
        "mscale_all_dim": 0.0}),
    );
    assert_eq!(usual, expected);
    let outside = json!({"rope_theta": 500.0, "original_max_position_embeddings": 4096,
        "rope_scaling": {"type": "yarn", "factor": 4.0}});
    assert_eq!(rope_of_json(outside).expect("reads"), expected);
    // What llama.cpp multiplies on top.
    let half = of_gguf(vec![rope_key("scaling.attn_factor", 0.5)]).expect("reads");
    assert!(
        (half.factor - expected.factor / 2.0).abs() < 1e-12,
        "{half:?}"
    );
    let half = rope_of_gguf(vec![rope_key("scaling.attn_factor", 0.5)], None).expect("reads");
    assert_eq!(
        (half.inverse_wavelengths, half.factor),
        (plain.inverse_wavelengths, 0.5)
    );
    // Fields that change something.
    assert_eq!(yarn(json!({"attention_factor": 2.0})).factor, 2.0);
    let scales = yarn(json!({"mscale": 0.5, "mscale_all_dim": 2.0})).factor;
    assert!((scales - (0.05 * 4_f64.ln() + 1.0) / (0.2 * 4_f64.ln() + 1.0)).abs() < 1e-12);
    for more in [
        json!({"beta_fast": 512.0}),
        json!({"beta_slow": 50.0}),
        json!({"truncate": false}),
        json!({"original_max_position_embeddings": 64}),
    ] {
        let rope = yarn(more.clone());
        assert!(!near(&rope, &expected), "{more}: {rope:?}");
    }
}

#[test]
fn rotary_scalings_that_are_not_computed_are_refused_by_field() {
    use serde_json::json;
    let llama3 = |more: serde_json::Value| {
        let mut inside = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32});
        inside
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("one").clone());
        json!({"rope_scaling": inside})
    };
    let scaling = |inside: serde_json::Value| json!({"rope_scaling": inside});
    for (fields, words) in [
        (
            scaling(json!({"type": "linear"})),
            &["rope_scaling.factor", "missing"][..],
        ),
        (
            scaling(json!({"type": "linear", "factor": 0})),
            &["rope_scaling.factor", "positive"],
        ),
        (
            scaling(json!({"type": "linear", "factor": "2"})),
            &["rope_scaling.factor", "a number"],
        ),
        (
            scaling(json!({"type": "linear", "factor": 1e-300})),
            &["rope_scaling.type", "finite"],
        ),
        (scaling(json!("linear")), &["rope_scaling", "an object"]),
        (
            scaling(json!({"type": "dynamic", "factor": 2.0})),
            &["rope_scaling.type", "dynamic by 2", "cache", "yarn"],
        ),
        (
            scaling(json!({"rope_type": "longrope", "factor": 1.0})),
            &["rope_scaling.rope_type", "longrope by 1", "cache"],
        ),
        (
            scaling(json!({"rope_type": "su"})),
            &["rope_scaling.rope_type", "su"],
        ),
        (
            scaling(json!({"rope_type": "new"})),
            &["rope_scaling.rope_type", "new", "llama3, yarn"],
        ),
        (
            scaling(json!({"rope_type": "default", "type": "linear", "factor": 2.0})),
            &["rope_scaling.type", "linear", "default"],
        ),
        (
            scaling(json!({"rope_type": "default", "partial_rotary_factor": 0.5})),
            &["rope_scaling.partial_rotary_factor", "0.5"],
        ),
        (
            llama3(json!({"low_freq_factor": null})),
            &["rope_scaling.low_freq_factor", "missing"],
        ),
        (
            llama3(json!({"high_freq_factor": 1.0})),
            &["rope_scaling.high_freq_factor", "above"],
        ),
        (
            llama3(json!({"original_max_position_embeddings": 0})),
            &["rope_scaling.original_max_position_embeddings", "sizes"],
        ),
        (
            scaling(json!({"type": "yarn", "factor": 2.0, "beta_fast": -1.0})),
            &["rope_scaling.beta_fast", "-1"],
        ),
        (
            scaling(
                json!({"type": "yarn", "factor": 2.0, "rope_theta": 2.0, "original_max_position_embeddings": 1}),
            ),
            &["rope_scaling.type", "1 tokens"],
        ),
        (
            scaling(json!({"type": "yarn", "factor": 2.0, "attention_factor": 0.0})),
            &["rope_scaling.attention_factor", "positive"],
        ),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 2.0},
                   "rope_parameters": {"rope_theta": 500.0}}),
            &["rope_parameters", "rope_scaling"],
        ),
        (
            json!({"original_max_position_embeddings": 16, "rope_scaling":
                {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}}),
            &["original_max_position_embeddings", "16", "32"],
        ),
    ] {
        let said = rope_of_json(fields.clone())
            .expect_err("not computed")
            .to_string();
        let named = words.iter().all(|word| said.contains(word));
        assert!(
            named && said.contains("config.json"),
            "{fields}: {words:?} in {said}"
        );
    }
    let yarn =
        |more: (String, Value)| vec![rope_kind("yarn"), rope_key("scaling.factor", 4.0), more];
    for (more, words) in [
        (
            vec![rope_kind("yarn")],
            &["llama.rope.scaling.type", "yarn"][..],
        ),
        (
            vec![rope_kind("longrope"), rope_key("scaling.factor", 1.0)],
            &["llama.rope.scaling.type", "longrope", "linear and yarn"],
        ),
        (
            vec![rope_key("scaling.factor", -2.0)],
            &["llama.rope.scaling.factor", "-2"],
        ),
        (
            vec![rope_key("scaling.attn_factor", 0.0)],
            &["llama.rope.scaling.attn_factor", "0"],
        ),
        (
            yarn(rope_key("scaling.yarn_beta_fast", 16.0)),
            &["llama.rope.scaling.yarn_beta_fast", "16", "llama.cpp"],
        ),
        (
            yarn(rope_key("scaling.yarn_attn_factor", 1.0)),
            &["llama.rope.scaling.yarn_attn_factor", "llama.cpp"],
        ),
        (
            yarn(rope_key("scaling.yarn_log_multiplier", 0.1)),
            &["llama.rope.scaling.yarn_log_multiplier"],
        ),
    ] {
        let said = rope_of_gguf(more.clone(), None)
            .expect_err("not computed")
            .to_string();
        let named = words.iter().all(|word| said.contains(word));
        assert!(
            named && said.contains("small.gguf"),
            "{more:?}: {words:?} in {said}"
        );
    }
    for (factors, word) in [
        (tensor(&[2], |_| 2.0), "[3]"),
        (tensor(&[3], |_| 0.0), "0"),
        (tensor(&[3], |pair| -(pair as f32)), "above 0"),
        (tensor(&[3], |_| 1e-44), "above 0"),
    ] {
        let said = rope_of_gguf(Vec::new(), Some(factors))
            .expect_err(word)
            .to_string();
        assert!(
            said.contains("rope_freqs.weight") && said.contains(word),
            "{said}"
        );
    }
}

/// llama.cpp lets these sizes differ from block to block; where they do not, they are one size.
#[test]
fn lists_of_equal_sizes_are_one_size() {
    let sizes = [
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KV_HEADS),
        ("feed_forward_length", INNER),
    ];
    for (name, size) in sizes {
        let key = format!("llama.{name}");
        let (size, layers) = (size as i32, LAYERS);
        let open = |value: Value| {
            let mut metadata = gguf_metadata();
            metadata.retain(|(name, _)| *name != key);
            metadata.push((key.clone(), value));
            open_model(gguf::write(&metadata, &gguf_tensors(&small_model())).expect("writes"))
        };
        for list in [
            Array::I32(vec![size; layers]),
            Array::U32(vec![size as u32; layers]),
            Array::U64(vec![size as u64; layers]),
        ] {
            open(Value::Array(list.clone())).unwrap_or_else(|error| panic!("{list:?}: {error}"));
        }
        let mut unequal = vec![size; layers];
        unequal[layers - 1] = size * 2;
        for (list, code) in [
            (Array::I32(unequal), "unsupported-model"),
            (Array::I32(vec![size; layers + 1]), "unsupported-model"),
            (Array::I32(vec![size]), "unsupported-model"),
            (Array::I32(vec![]), "unsupported-model"),
            (Array::F32(vec![size as f32; layers]), "bad-config"),
            (Array::I32(vec![-1; layers]), "bad-config"),
        ] {
            let error = open(Value::Array(list.clone())).expect_err("not one size");
            assert_eq!(error.code(), code, "{list:?}: {error}");
            assert!(error.to_string().contains(&key), "{list:?}: {error}");
        }
    }
}

#[test]
fn a_model_that_is_incomplete_or_misshapen_is_refused_when_it_is_opened() {
    for key in small_model().keys() {
        let mut model = small_model();
        let values = model.remove(key).expect("is there");
        let error = folder(&small_config(), &model).expect_err("a tensor is missing");
        assert_eq!(error.code(), "missing-key");
        assert!(error.to_string().contains(key.as_str()), "{key}: {error}");

        let flat = tensor(&[values.shape.iter().product(), 1], |n| n as f32);
        model.insert(key.clone(), flat);
        let error = folder(&small_config(), &model).expect_err("a tensor has another shape");
        assert_eq!(error.code(), "wrong-shape", "{key}: {error}");
        assert!(error.to_string().contains(key.as_str()), "{key}: {error}");
    }
    let mut twice = small_model();
    twice.insert("norm.weight".into(), tensor(&[WIDTH], |_| 1.0));
    let error = folder(&small_config(), &twice).expect_err("with and without `model.`");
    assert_eq!(error.code(), "bad-header");

    let shard = bytes(
        "model-1-of-2.safetensors",
        to_safetensors(small_model().iter()),
    );
    let index =
        br#"{"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}"#;
    let json = small_config().to_string();
    let opened = block_on(ModelFile::open_folder(
        json.as_bytes(),
        vec![shard],
        Some(index),
    ));
    let error = opened.expect_err("a shard is missing");
    assert!(
        error.to_string().contains("model-2-of-2.safetensors"),
        "{error}"
    );
    let opened = ModelFile::open_folder(json.as_bytes(), Vec::<Bytes>::new(), Some(b"{}"));
    assert_eq!(block_on(opened).expect_err("no index").code(), "bad-config");
}

#[test]
fn hugging_face_configs_of_other_models_are_refused_by_field() {
    use serde_json::json;
    let table = [
        ("model_type", json!("no_such_family"), "unsupported-model"),
        ("model_type", json!(7), "bad-config"),
        ("model_type", json!(null), "missing-key"),
        (
            "architectures",
            json!(["LlamaForSequenceClassification"]),
            "unsupported-model",
        ),
        ("hidden_act", json!("gelu"), "unsupported-model"),
        (
            "quantization_config",
            json!({"quant_method": "awq"}),
            "unsupported-model",
        ),
        (
            "rope_scaling",
            json!({"rope_type": "llama3", "factor": 8.0}),
            "missing-key",
        ),
        (
            "rope_scaling",
            json!({"type": "dynamic", "factor": 2.0}),
            "unsupported-model",
        ),
        (
            "rope_parameters",
            json!({"rope_type": "yarn"}),
            "missing-key",
        ),
        (
            "rope_parameters",
            json!({"rope_theta": -1.0}),
            "unsupported-model",
        ),
        ("rope_interleaved", json!(true), "unsupported-model"),
        ("partial_rotary_factor", json!(0.5), "unsupported-model"),
        ("hidden_size", json!(null), "missing-key"),
        ("hidden_size", json!("8"), "bad-config"),
        ("hidden_size", json!(0), "unsupported-model"),
        ("num_hidden_layers", json!(1_u64 << 40), "unsupported-model"),
        ("num_hidden_layers", json!(1_u64 << 24), "missing-key"),
        ("num_attention_heads", json!(-4), "bad-config"),
        ("num_key_value_heads", json!(3), "unsupported-model"),
        ("head_dim", json!(5), "unsupported-model"),
        ("rms_norm_eps", json!(0.0), "unsupported-model"),
        ("attention_bias", json!("yes"), "bad-config"),
    ];
    for (field, value, code) in table {
        let mut config = small_config();
        config[field] = value.clone();
        let error = folder(&config, &small_model()).expect_err(field);
        assert_eq!(error.code(), code, "{field} = {value}: {error}");
        // Only absurdly many layers are found by the tensors they lack.
        let named = error.to_string().contains(field) || field == "num_hidden_layers";
        assert!(named, "{field} = {value}: {error}");
    }
    let error = open_folder(&serde_json::json!([]), Vec::new()).expect_err("not an object");
    assert_eq!(error.code(), "bad-config");

    // Old configs: `rope_theta` outside, no head width, no key/value heads.
    let mut config = small_config();
    let fields = config.as_object_mut().expect("an object");
    for field in [
        "rope_parameters",
        "head_dim",
        "num_key_value_heads",
        "architectures",
    ] {
        fields.remove(field);
    }
    fields.insert("rope_theta".into(), 1234.0.into());
    fields.insert("num_attention_heads".into(), 2.into());
    let error = folder(&config, &small_model()).expect_err("other shapes");
    assert!(
        error.to_string().contains("[8, 8]"),
        "2 heads of width 4: {error}"
    );
}

#[test]
fn ggufs_of_other_models_are_refused_by_field() {
    let table = [
        (
            "general.architecture",
            text("no_such_family"),
            "unsupported-model",
        ),
        ("general.architecture", Value::U8(1), "bad-config"),
        ("llama.expert_count", Value::U32(8), "unsupported-model"),
        ("llama.rope.scaling.type", text("yarn"), "unsupported-model"),
        (
            "llama.rope.scaling.factor",
            Value::F32(-4.0),
            "unsupported-model",
        ),
        (
            "llama.rope.scale_linear",
            Value::F32(f32::INFINITY),
            "unsupported-model",
        ),
        ("llama.logit_scale", Value::F32(0.5), "unsupported-model"),
        (
            "llama.attention.causal",
            Value::Bool(false),
            "unsupported-model",
        ),
        (
            "llama.rope.dimension_count",
            Value::U32(4),
            "unsupported-model",
        ),
        (
            "llama.attention.value_length",
            Value::U32(4),
            "unsupported-model",
        ),
        (
            "llama.attention.head_count_kv",
            Value::U32(3),
            "unsupported-model",
        ),
        (
            "llama.attention.head_count_kv",
            Value::Array(Array::U32(vec![2, 1])),
            "unsupported-model",
        ),
        (
            "llama.attention.key_length",
            Value::U32(7),
            "unsupported-model",
        ),
        ("llama.block_count", Value::U64(u64::MAX), "bad-config"),
        ("llama.block_count", Value::U32(0), "unsupported-model"),
        (
            "llama.embedding_length",
            Value::U32(u32::MAX),
            "unsupported-model",
        ),
        (
            "llama.rope.freq_base",
            Value::F32(f32::NAN),
            "unsupported-model",
        ),
    ];
    for (key, value, code) in table {
        let mut metadata = gguf_metadata();
        metadata.retain(|(name, _)| name != key);
        metadata.push((key.into(), value.clone()));
        // The head width is compared with the two others.
        if key == "llama.attention.key_length" {
            metadata
                .retain(|(name, _)| !name.contains("value_length") && !name.contains("dimension"));
        }
        let file = gguf::write(&metadata, &gguf_tensors(&small_model())).expect("writes");
        let error = open_model(file).expect_err(key);
        assert_eq!(error.code(), code, "{key} = {value:?}: {error}");
        assert!(
            error.to_string().contains(key),
            "{key} = {value:?}: {error}"
        );
    }
    for key in [
        "general.architecture",
        "llama.block_count",
        "llama.attention.layer_norm_rms_epsilon",
    ] {
        let mut metadata = gguf_metadata();
        metadata.retain(|(name, _)| name != key);
        let file = gguf::write(&metadata, &gguf_tensors(&small_model())).expect("writes");
        let error = open_model(file).expect_err(key);
        assert!(
            error.code() == "missing-key" && error.to_string().contains(key),
            "{error}"
        );
    }
}

// ---- damage ---------------------------------------------------------------------------------

/// Reads everything there is to read in a GGUF file; its tokenizer only where `known` is not the
/// metadata, because compiling a tokenizer's patterns takes longer than all the rest.
fn use_gguf(file: &[u8], known: &Metadata) -> Result<()> {
    let whole = gguf::read_all("file.gguf", file).map(drop);
    let model = open_model(file.to_vec())?;
    if let Some(metadata) = model.metadata()
        && metadata != known
        && let Some(text) = Text::from_gguf("file.gguf", metadata)?
    {
        let ids = text.encode("a b <|x|> é 12", true)?;
        let _ = (text.decode(&ids, true), text.chat(&[]));
    }
    for (key, shape) in small_model()
        .iter()
        .map(|(key, tensor)| (key, &tensor.shape))
    {
        block_on(model.tensor(key, shape))?;
    }
    whole
}

fn use_safetensors(file: &[u8]) -> Result<()> {
    let opened = open_safetensors(file)?;
    let source = bytes("file.safetensors", file.to_vec());
    for key in opened.tensors.keys() {
        block_on(opened.tensor(&source, key))?;
    }
    safetensors::read_all("file.safetensors", file).map(drop)
}

/// Changes every byte of `file[..header]` in a few ways; nothing may panic, and what is refused
/// has a message.
fn damage(file: &[u8], header: usize, read: impl Fn(&[u8]) -> Result<()>) -> (usize, usize) {
    let (mut accepted, mut refused) = (0, 0);
    let mut damaged = file.to_vec();
    for at in 0..header {
        let byte = file[at];
        for changed in [byte ^ 1, byte ^ 0x80, 0, 0xff, b'9'] {
            damaged[at] = changed;
            match read(&damaged) {
                Ok(()) => accepted += 1,
                Err(error) => {
                    assert!(!error.to_string().is_empty() && !error.code().is_empty());
                    refused += 1;
                }
            }
        }
        damaged[at] = byte;
    }
    (accepted, refused)
}

#[test]
fn no_damaged_byte_of_a_gguf_header_panics() {
    let strings = |items: &[&str]| {
        Value::Array(Array::String(
            items.iter().map(|item| (*item).into()).collect(),
        ))
    };
    let mut metadata = gguf_metadata();
    let tokenizer = [
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("gpt-2")),
        (
            "tokenizer.ggml.tokens",
            strings(&["a", "b", "Ġ", "ab", "<|x|>", "Ã", "©", "1", "2"]),
        ),
        ("tokenizer.ggml.merges", strings(&["a b"])),
        (
            "tokenizer.ggml.token_type",
            Value::Array(Array::I32(vec![1, 1, 1, 1, 3, 1, 1, 1, 1])),
        ),
        ("tokenizer.ggml.bos_token_id", Value::U32(4)),
        ("tokenizer.chat_template", text("{{ messages | length }}")),
    ];
    metadata.extend(tokenizer.map(|(key, value)| (key.to_owned(), value)));
    let tensors = gguf_tensors(&small_model());
    let data: usize = tensors
        .iter()
        .map(|(_, tensor)| (floats(tensor).len() * 4).next_multiple_of(32))
        .sum();
    let file = gguf::write(&metadata, &tensors).expect("writes");
    use_gguf(&file, &Metadata::default()).expect("undamaged");
    let (known, _) = gguf::read_all("small.gguf", &file).expect("undamaged");
    let (accepted, refused) = damage(&file, file.len() - data, |file| use_gguf(file, &known));
    assert!(
        refused > 3 * accepted && refused > 5_000,
        "{refused} refused, {accepted} accepted"
    );
}

#[test]
fn no_damaged_byte_of_a_safetensors_header_panics() {
    let model = small_model();
    let few = model
        .iter()
        .filter(|(key, _)| key.contains("layers.0.self_attn"));
    let file = to_safetensors(few);
    use_safetensors(&file).expect("undamaged");
    let header = 8 + u64::from_le_bytes(*file.first_chunk().expect("a length")) as usize;
    let (accepted, refused) = damage(&file, header, use_safetensors);
    assert!(
        refused > accepted && refused > 2_000,
        "{refused} refused, {accepted} accepted"
    );
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
