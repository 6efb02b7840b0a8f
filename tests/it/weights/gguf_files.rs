//! GGUF containers: written and read, cut, contradicting themselves.

use super::*;

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
