//! safetensors containers, and the sources that files are read from.

use super::*;

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
