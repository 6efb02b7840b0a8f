//! A safetensors file in half precision, or with some of its numbers changed.

use std::cmp::Reverse;

use half::f16;
use serde_json::{Map, Value, json};

/// The entry of the header that is no tensor.
const METADATA: &str = "__metadata__";

/// One tensor of a file.
struct Tensor<'a> {
    key: String,
    dtype: String,
    shape: Vec<u64>,
    data: &'a [u8],
    /// Where that begins in the file.
    start: usize,
}

/// The same file with each f32 as f16, rounded to the nearest, and each i64 as i32 where all of a tensor's fit; whatever
/// else is in it stays as it is.
///
/// The error is a sentence: what is no such file, or the number that is beyond half precision.
pub fn halved(file: &[u8]) -> Result<Vec<u8>, String> {
    let (metadata, mut tensors) = tensors(file)?;
    let mut data = Vec::with_capacity(file.len() / 2);
    let mut header = Map::new();
    header.extend(metadata.map(|metadata| (METADATA.to_owned(), metadata)));
    // As the container's own library orders them: each number then lies at a multiple of its size.
    let size = |dtype: &str| match dtype {
        "F64" | "I64" | "U64" => 8,
        "I32" | "U32" => 4,
        "F32" | "F16" | "BF16" | "I16" | "U16" => 2,
        _ => 1,
    };
    let dtype = |tensor: &Tensor<'_>| match &*tensor.dtype {
        "F32" => "F16".to_owned(),
        "I64" if integers(tensor).all(|number| i32::try_from(number).is_ok()) => "I32".to_owned(),
        other => other.to_owned(),
    };
    tensors.sort_by_cached_key(|tensor| Reverse(size(&dtype(tensor))));
    for tensor in tensors {
        let start = data.len();
        let dtype = dtype(&tensor);
        if tensor.dtype == "F32" {
            for bytes in tensor.data.as_chunks::<4>().0 {
                let number = f32::from_le_bytes(*bytes);
                let half = f16::from_f32(number);
                if !half.is_finite() {
                    let key = &tensor.key;
                    return Err(format!("`{key}` has {number}, beyond half precision"));
                }
                data.extend(half.to_le_bytes());
            }
        } else if dtype != tensor.dtype {
            // The low half of what fits.
            let fits = integers(&tensor).map(|number| number as i32);
            data.extend(fits.flat_map(i32::to_le_bytes));
        } else {
            data.extend(tensor.data);
        }
        let entry =
            json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [start, data.len()] });
        header.insert(tensor.key, entry);
    }
    let mut header = Value::from(header).to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(data);
    Ok(out)
}

fn integers(tensor: &Tensor<'_>) -> impl Iterator<Item = i64> {
    let (numbers, _) = tensor.data.as_chunks::<8>();
    numbers.iter().map(|bytes| i64::from_le_bytes(*bytes))
}

/// The same file with other numbers in the tensors whose names end so.
pub fn changed(file: &[u8], ending: &str, change: impl Fn(f32) -> f32) -> Result<Vec<u8>, String> {
    let mut out = file.to_vec();
    let (_, tensors) = tensors(file)?;
    let mut tensors = tensors
        .iter()
        .filter(|it| it.key.ends_with(ending))
        .peekable();
    if tensors.peek().is_none() {
        return Err(format!("no tensor's name ends with `{ending}`"));
    }
    for tensor in tensors {
        let room = &mut out[tensor.start..tensor.start + tensor.data.len()];
        match &*tensor.dtype {
            "F32" => {
                for bytes in room.as_chunks_mut::<4>().0 {
                    *bytes = change(f32::from_le_bytes(*bytes)).to_le_bytes();
                }
            }
            "F16" => {
                for bytes in room.as_chunks_mut::<2>().0 {
                    let number = f16::from_le_bytes(*bytes).to_f32();
                    *bytes = f16::from_f32(change(number)).to_le_bytes();
                }
            }
            other => return Err(format!("`{}` has numbers of {other}", tensor.key)),
        }
    }
    Ok(out)
}

/// How many floating-point numbers a file holds.
pub fn floats(file: &[u8]) -> Result<u64, String> {
    let (_, tensors) = tensors(file)?;
    let floats = tensors.iter().filter(|tensor| tensor.dtype.contains('F'));
    Ok(floats
        .map(|tensor| tensor.shape.iter().product::<u64>())
        .sum())
}

fn tensors(file: &[u8]) -> Result<(Option<Value>, Vec<Tensor<'_>>), String> {
    let bad = || "this is no whole safetensors file".to_owned();
    let length = u64::from_le_bytes(*file.first_chunk::<8>().ok_or_else(bad)?);
    let end = usize::try_from(length).ok().and_then(|n| n.checked_add(8));
    let (header, data) = end
        .and_then(|end| file.split_at_checked(end))
        .ok_or_else(bad)?;
    let mut header: Map<String, Value> =
        serde_json::from_slice(&header[8..]).map_err(|error| error.to_string())?;
    let metadata = header.shift_remove(METADATA);
    let mut tensors = Vec::new();
    for (key, entry) in header {
        let dtype = entry["dtype"].as_str().ok_or_else(bad)?.to_owned();
        let numbers = |field: &str| -> Option<Vec<u64>> {
            let list = entry[field].as_array()?;
            list.iter().map(Value::as_u64).collect()
        };
        let shape = numbers("shape").ok_or_else(bad)?;
        let offsets = numbers("data_offsets").ok_or_else(bad)?;
        let [start, end] = offsets[..] else {
            return Err(bad());
        };
        let place = file.len() - data.len() + start as usize;
        let data = data.get(start as usize..end as usize).ok_or_else(bad)?;
        tensors.push(Tensor {
            key,
            dtype,
            shape,
            data,
            start: place,
        });
    }
    Ok((metadata, tensors))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two numbers and two whole ones.
    fn file(numbers: [f32; 2]) -> Vec<u8> {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"I64","shape":[2],"data_offsets":[8,24]}}"#;
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
        file.extend([7_i64, -7].iter().flat_map(|x| x.to_le_bytes()));
        file
    }

    #[test]
    fn numbers_are_rounded_and_whole_ones_are_kept_in_half_as_many_bytes() {
        let file = file([1.5, -0.1]);
        assert_eq!(floats(&file), Ok(2));
        let half = halved(&file).unwrap();
        assert_eq!(floats(&half), Ok(2));
        let (metadata, tensors) = tensors(&half).unwrap();
        assert_eq!(metadata, Some(json!({ "format": "pt" })));
        let [b, a] = &tensors[..] else {
            panic!("two tensors")
        };
        assert_eq!((&*a.key, &*a.dtype, &*a.shape), ("a", "F16", &[2, 1][..]));
        let numbers = a.data.as_chunks::<2>().0.iter();
        let numbers: Vec<f32> = numbers.map(|x| f16::from_le_bytes(*x).to_f32()).collect();
        assert_eq!(numbers[0], 1.5);
        assert!((numbers[1] + 0.1).abs() < 1e-4);
        assert_eq!((&*b.key, &*b.dtype), ("b", "I32"));
        assert_eq!(
            *b.data,
            *[7_i32.to_le_bytes(), (-7_i32).to_le_bytes()].as_flattened()
        );
        // Nothing of it can be halved again.
        assert_eq!(halved(&half).unwrap(), half);
    }

    #[test]
    fn whole_numbers_that_do_not_fit_stay() {
        let mut file = file([1.5, -2.0]);
        let end = file.len();
        file[end - 8..].copy_from_slice(&i64::MAX.to_le_bytes());
        let half = halved(&file).unwrap();
        let (_, tensors) = tensors(&half).unwrap();
        assert_eq!((&*tensors[0].dtype, tensors[0].data.len()), ("I64", 16));
    }

    #[test]
    fn numbers_are_changed_in_their_places() {
        for file in [file([1.5, -2.0]), halved(&file([1.5, -2.0])).unwrap()] {
            let found = changed(&file, "a", |x| -2.0 * x).unwrap();
            assert_eq!(found.len(), file.len());
            let back = changed(&found, "a", |x| x / -2.0).unwrap();
            assert_eq!(back, file, "and nothing else");
            let (_, tensors) = tensors(&found).unwrap();
            let a = tensors.iter().find(|tensor| tensor.key == "a").unwrap();
            let first = match &*a.dtype {
                "F16" => f16::from_le_bytes(*a.data.first_chunk().unwrap()).to_f32(),
                _ => f32::from_le_bytes(*a.data.first_chunk().unwrap()),
            };
            assert_eq!(first, -3.0);
            assert!(changed(&file, "b", |x| x).is_err(), "whole numbers");
            assert!(changed(&file, "c", |x| x).is_err());
        }
    }

    #[test]
    fn a_number_beyond_half_precision_is_named() {
        let why = halved(&file([1.0, 7e4])).unwrap_err();
        assert!(why.contains("`a` has 70000"), "{why}");
        assert!(halved(&file([f32::NAN, 0.0])).is_err());
        assert!(halved(&file([0.0; 2])[..40]).is_err());
    }
}
