//! A control vector: its files, and sums of several.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::checkpoint::{self, AdapterFiles, Method};
use crate::error::{Error, Result};
use crate::export::control_vector_gguf;
use crate::methods::{control_vector, method_of};
use crate::sample::all_finite;
use crate::weights::{HostData, HostTensor, safetensors};

/// A step for the output of each block that it acts on.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlVector {
    /// The family of its model, as GGUF calls it; empty if not known.
    pub model_hint: String,
    /// Block -> `[d]`.
    pub directions: BTreeMap<usize, Vec<f32>>,
}

impl ControlVector {
    /// Its `adapter_config.json`.
    #[must_use]
    pub fn config(&self) -> String {
        let peft_type = control_vector::METHOD.peft_type;
        let config = serde_json::json!({ "peft_type": peft_type, "model_hint": self.model_hint });
        format!("{config:#}\n")
    }

    /// Its `adapter_model.safetensors`.
    ///
    /// # Errors
    /// [`Error::BadHeader`] if the container refuses a tensor.
    pub fn safetensors(&self) -> Result<Vec<u8>> {
        let tensors = self.directions.iter().map(|(layer, values)| {
            let tensor = HostTensor {
                shape: vec![values.len()],
                data: HostData::Float(values.clone()),
            };
            (key(*layer), tensor)
        });
        safetensors::write("adapter_model.safetensors", &tensors.collect(), &[])
    }

    /// As repeng and llama.cpp keep it.
    ///
    /// # Errors
    /// [`Error::UnsupportedOption`] for a step at the first block, which llama.cpp has no place for.
    pub fn gguf(&self) -> Result<Vec<u8>> {
        if self.directions.contains_key(&0) {
            return Err(Error::UnsupportedOption {
                file: "the new GGUF file".into(),
                method: "Control vector".into(),
                field: "layers".into(),
                found: "block 0".into(),
                why: "llama.cpp has no step at the first block; begin at block 1, or write \
                      safetensors",
            });
        }
        let tensors = self.directions.iter().map(|(layer, values)| {
            let tensor = HostTensor {
                shape: vec![values.len()],
                data: HostData::Float(values.clone()),
            };
            (key(*layer), tensor)
        });
        let tensors: Vec<_> = tensors.collect();
        control_vector_gguf(&self.model_hint, &tensors)
    }

    /// The vector in an adapter's files, of any container.
    ///
    /// # Errors
    /// What reading reports; [`Error::UnsupportedOption`] for another method, or a vector that acts in
    /// another way than by being added.
    pub fn read(files: &AdapterFiles) -> Result<Self> {
        let (config, tensors) = checkpoint::read(files, None)?;
        let peft_type = config.text("peft_type")?;
        let refuse = |field: &str, found: String, why| Error::UnsupportedOption {
            file: files.name.clone(),
            method: "a sum of vectors".into(),
            field: field.into(),
            found,
            why,
        };
        let has_directions = |method: &Method| method.keys.contains(&control_vector::DIRECTION);
        if !method_of(&config).is_ok_and(has_directions) {
            let why = "only vectors can be added: files of directions, or a GGUF of them";
            return Err(refuse("peft_type", peft_type, why));
        }
        for field in control_vector::METHOD.reads {
            let value = config.get(field).unwrap_or(&Value::Null);
            if !(value.is_null() || value == false || value == "add") {
                let why = "a sum means something only of steps that are added";
                return Err(refuse(field, value.to_string(), why));
            }
        }
        let mut directions = BTreeMap::new();
        let mut unexpected = Vec::new();
        for (name, tensor) in tensors {
            let layer = name.strip_prefix(control_vector::DIRECTION);
            let layer = layer.and_then(|layer| layer.parse().ok());
            let is_row = tensor.shape.iter().filter(|&&extent| extent != 1).count() <= 1;
            match (layer, tensor.data) {
                (Some(layer), HostData::Float(values)) if is_row && !values.is_empty() => {
                    directions.insert(layer, values);
                }
                _ => unexpected.push(name),
            }
        }
        if !unexpected.is_empty() {
            return Err(Error::UnexpectedKeys {
                file: files.name.clone(),
                keys: unexpected,
            });
        }
        if directions.is_empty() {
            return Err(Error::MissingKey {
                file: files.name.clone(),
                key: "direction.L".into(),
                what: "the step at the output of block L".into(),
            });
        }
        let hint = config.get("model_hint").and_then(Value::as_str);
        Ok(Self {
            model_hint: hint.unwrap_or_default().into(),
            directions,
        })
    }

    /// `Σ weight · vector`, at all blocks that any of them has.
    ///
    /// # Errors
    /// [`Error::BadOption`] for none, for widths that differ, for weights that are no numbers, and for a
    /// sum that is nothing or too large for f32.
    pub fn sum(terms: &[(f32, &Self)]) -> Result<Self> {
        let bad = |name, expected, found: String| Error::BadOption {
            name,
            expected,
            found,
        };
        let Some((_, first)) = terms.first() else {
            return Err(bad("vector", "at least one", "none".into()));
        };
        let mut directions: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
        let mut width = None;
        for (number, (weight, vector)) in (1..).zip(terms) {
            if !weight.is_finite() {
                return Err(bad("weight", "a finite number", weight.to_string()));
            }
            for (layer, values) in &vector.directions {
                let width = *width.get_or_insert(values.len());
                if values.len() != width {
                    let found = format!("{} in vector {number}, {width} before", values.len());
                    return Err(bad(
                        "vector",
                        "vectors for one model, all of one width",
                        found,
                    ));
                }
                let sum = directions.entry(*layer).or_insert_with(|| vec![0.0; width]);
                let each = sum.iter_mut().zip(values);
                each.for_each(|(sum, x)| *sum += weight * x);
            }
        }
        if let Some((layer, _)) = directions.iter().find(|(_, sum)| !all_finite(sum)) {
            let found = format!("a sum beyond f32 at block {layer}");
            return Err(bad("weight", "smaller weights", found));
        }
        if directions.values().flatten().all(|x| *x == 0.0) {
            let found = "a sum that is 0 everywhere".into();
            return Err(bad("weight", "weights with which something is left", found));
        }
        let hints = terms.iter().map(|(_, vector)| &vector.model_hint);
        let hint = hints.clone().find(|hint| !hint.is_empty());
        let model_hint = hint.unwrap_or(&first.model_hint).clone();
        Ok(Self {
            model_hint,
            directions,
        })
    }
}

fn key(layer: usize) -> String {
    format!("{}{layer}", control_vector::DIRECTION)
}

#[cfg(test)]
mod tests {
    use super::ControlVector;

    fn vector(of: &[(usize, &[f32])]) -> ControlVector {
        let each = of.iter().map(|(layer, values)| (*layer, values.to_vec()));
        ControlVector {
            model_hint: "llama".into(),
            directions: each.collect(),
        }
    }

    #[test]
    fn a_sum_has_the_blocks_of_all() {
        let (a, b) = (
            vector(&[(1, &[2.0, 4.0])]),
            vector(&[(1, &[1.0, 0.0]), (3, &[0.0, 10.0])]),
        );
        let sum = ControlVector::sum(&[(0.5, &a), (-0.25, &b)]).expect("adds");
        assert_eq!(sum, vector(&[(1, &[0.75, 2.0]), (3, &[0.0, -2.5])]));
    }

    #[test]
    fn sums_that_mean_nothing_are_refused() {
        let (a, wide) = (vector(&[(1, &[2.0, 4.0])]), vector(&[(2, &[1.0; 3])]));
        for (terms, expected) in [
            (vec![], "at least one"),
            (vec![(1.0, &a), (1.0, &wide)], "3 in vector 2, 2 before"),
            (vec![(1.0, &a), (-1.0, &a)], "0 everywhere"),
            (vec![(f32::NAN, &a)], "finite"),
            (vec![(3e38, &a)], "beyond f32 at block 1"),
        ] {
            let error = ControlVector::sum(&terms).expect_err("refused");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
