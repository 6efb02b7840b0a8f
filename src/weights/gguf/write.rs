//! Writing a small GGUF file.

use super::{ARRAY, Array, BOOL, DEFAULT_ALIGNMENT, MAGIC, MAX_DIMS, STRING, Value};
use crate::error::{Error, Result};
use crate::weights::quant::Kind;
use crate::weights::{HostData, HostTensor, elements};

/// A small GGUF file (version 3) with these metadata and these tensors as F32.
///
/// # Errors
/// [`Error::UnsupportedDtype`] for a tensor of integers, [`Error::WrongShape`] for one whose shape
/// does not fit its data or has more than four dimensions.
pub fn write(metadata: &[(String, Value)], tensors: &[(String, HostTensor)]) -> Result<Vec<u8>> {
    const FILE: &str = "the new GGUF file";
    let mut out = Vec::new();
    out.extend(MAGIC);
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        write_string(&mut out, key);
        out.extend(value.code().to_le_bytes());
        write_value(&mut out, value);
    }
    let mut data = Vec::new();
    for (key, tensor) in tensors {
        let HostData::Float(values) = &tensor.data else {
            return Err(Error::UnsupportedDtype {
                file: FILE.into(),
                key: key.clone(),
                found: "integers".into(),
                known: "F32 (to write)",
            });
        };
        if elements(&tensor.shape) != Some(values.len()) || tensor.shape.len() > MAX_DIMS {
            return Err(Error::WrongShape {
                file: FILE.into(),
                key: key.clone(),
                expected: format!("at most {MAX_DIMS} dimensions of {} numbers", values.len()),
                found: tensor.shape.clone(),
                hint: "give the shape of the data",
            });
        }
        write_string(&mut out, key);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        for &extent in tensor.shape.iter().rev() {
            out.extend((extent as u64).to_le_bytes());
        }
        out.extend(Kind::F32.ggml().to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        for value in values {
            data.extend(value.to_le_bytes());
        }
        data.resize(data.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
    }
    out.resize(out.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
    out.extend(data);
    Ok(out)
}

macro_rules! write_values {
    ($($name:ident($kind:ty) = $code:literal,)*) => {
        fn write_value(out: &mut Vec<u8>, value: &Value) {
            match value {
                $(Value::$name(value) => out.extend(value.to_le_bytes()),)*
                Value::Bool(value) => out.push(u8::from(*value)),
                Value::String(value) => write_string(out, value),
                Value::Array(value) => write_array(out, value),
            }
        }

        fn write_array(out: &mut Vec<u8>, array: &Array) {
            match array {
                $(Array::$name(items) => {
                    write_count(out, $code, items.len());
                    for item in items {
out.extend(item.to_le_bytes());
}
                })*
                Array::Bool(items) => {
                    write_count(out, BOOL, items.len());
                    out.extend(items.iter().map(|&item| u8::from(item)));
                }
                Array::String(items) => {
                    write_count(out, STRING, items.len());
                    for item in items {
write_string(out, item);
}
                }
                Array::Array(items) => {
                    write_count(out, ARRAY, items.len());
                    for item in items {
write_array(out, item);
}
                }
            }
        }
    };
}

for_numbers!(write_values);

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// The head of an array: the type of its items, and how many there are.
fn write_count(out: &mut Vec<u8>, code: u32, count: usize) {
    out.extend(code.to_le_bytes());
    out.extend((count as u64).to_le_bytes());
}
