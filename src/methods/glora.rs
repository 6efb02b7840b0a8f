//! GLoRA: generalized LoRA. Chavan et al. 2023.
//! <https://arxiv.org/abs/2306.07967>
//!
//! # Formula
//! ```text
//! y = W x + b + c·((W∘A + B) x + b∘D + E + W C),   C, D and E where the layer has a bias b
//! ```
//! # Shapes
//! ```text
//! <module>.glora_A.Xd, .Xu   "lora": A = Xd [o, r]·Xu [r, i];  B alike;  C = Xd [i, r]·Xu [r, 1]
//! <module>.glora_A.X         "vector": [o, 1] for all columns;  B alike;  C [i, 1];  D and E [o]
//!                            "constant": [1] for all numbers of A, B, D or E
//! <module>.glora_A.zeros     "none", and C, D and E without b: as wide as the whole part
//! ```
//! # Coefficient
//! Linear: c multiplies all five parts.
//! # Hypothesis
//! No one way of changing a layer fits all layers: some want their weights stretched, some shifted,
//! some only another bias, and each part costs little.
//! # Intuition
//! One form that holds many methods: B alone is a LoRA, a vector A gains on outputs, E a step of the
//! output. The config says how much freedom each part has.
//! # Limits
//! Each part is as free as the config made it: vectors stretch and shift, and the rest has a low
//! rank.
//! # Cost
//! One whole matrix per module where A is "lora"; it needs the base's weights, as the device has
//! them. Else it runs as a LoRA and gains.

use burn::tensor::Tensor;

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Law};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "glora",
    peft_type: "GLORA",
    matches: |_| true,
    family: Family::FullRank,
    law: Law::Linear,
    keys: &[
        "glora_A.Xd",
        "glora_A.Xu",
        "glora_A.X",
        "glora_A.zeros",
        "glora_B.Xd",
        "glora_B.Xu",
        "glora_B.X",
        "glora_B.zeros",
        "glora_C.Xd",
        "glora_C.Xu",
        "glora_C.X",
        "glora_C.zeros",
        "glora_D.X",
        "glora_D.zeros",
        "glora_E.X",
        "glora_E.zeros",
    ],
    reads: &["r", "config_A_B", "config_C", "config_D_E"],
    inert: &["init_weights"],
    doc: room_doc!("glora.rs"),
    load,
    trains: Trains::From { start, rate: 2e-3 },
    extras: None,
    folds: Folds::Into(&[
        ("glora_A.Xd", Fold::Times),
        ("glora_A.X", Fold::Times),
        ("glora_B.Xd", Fold::Times),
        ("glora_B.X", Fold::Times),
        ("glora_C.Xd", Fold::Times),
        ("glora_C.X", Fold::Times),
        ("glora_D.X", Fold::Times),
        ("glora_E.X", Fold::Times),
    ]),
};

/// Names of the tensors of A, by which a module is known.
const OF_A: [&str; 3] = ["glora_A.Xd", "glora_A.X", "glora_A.zeros"];

/// One of the five parts.
struct Part {
    /// Xd `[rows, r]`, or X `[rows, 1]`, which is the same for every column.
    left: Tensor<2>,
    /// Xu `[r, columns]`
    right: Option<Tensor<2>>,
}

impl Part {
    /// A part of one column as a vector.
    fn vector(self) -> Tensor<1> {
        let column = match self.right {
            Some(right) => self.left.matmul(right),
            None => self.left,
        };
        column.squeeze_dim(1)
    }
}

fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank;
    start.set("r", r);
    start.set("config_A_B", "lora");
    start.set("config_C", "none");
    start.set("config_D_E", "none");
    for target in start.targets(USUAL)? {
        let (i, o) = (target.i, target.o);
        for part in ["A", "B"] {
            let [left, right] = ["Xd", "Xu"].map(|end| format!("glora_{part}.{end}"));
            start.learn(&target, &left, [o, r], Init::Kaiming);
            start.learn(&target, &right, [r, i], Init::Zeros);
        }
        let zeros = |part: &str| format!("{}.glora_{part}.zeros", target.key);
        start.keep(&zeros("C"), [i, 1], Init::Zeros);
        start.keep(&zeros("D"), [o], Init::Zeros);
        start.keep(&zeros("E"), [o], Init::Zeros);
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    Loaded::linear(loader, &OF_A, |target| {
        let (i, o) = (target.i, target.o);
        let part = |name, field, shape| read(loader, target, name, field, shape);
        let stretched = part("A", "config_A_B", [o, i])?.map(|part| match part.right {
            Some(right) => {
                let delta = loader.base_weight(target) * part.left.matmul(right);
                Delta::Dense { delta, scale: 1.0 }
            }
            None => {
                let gain = part.left.squeeze_dim(1);
                Delta::RowGain { gain, scale: 1.0 }
            }
        });
        let added = part("B", "config_A_B", [o, i])?.map(|part| {
            let ones = || loader.upload(vec![1.0; i], [1, i]);
            Delta::product(part.right.unwrap_or_else(ones), part.left, 1.0)
        });
        let bias = loader.base_bias(target);
        let column = |name, field, rows| {
            let field = bias.as_ref().map_or("", |_| field);
            Ok(part(name, field, [rows, 1])?.map(Part::vector))
        };
        let through = |c: Tensor<1>| loader.base_weight(target).matmul(c.unsqueeze_dim(1));
        let steps = [
            column("C", "config_C", i)?.map(|c| through(c).squeeze_dim(1)),
            column("D", "config_D_E", o)?
                .zip(bias.clone())
                .map(|(d, bias)| d * bias),
            column("E", "config_D_E", o)?,
        ];
        let steps = steps.into_iter().flatten();
        let steps = steps.map(|bias| Delta::Bias { bias, scale: 1.0 });
        Ok(stretched.into_iter().chain(added).chain(steps).collect())
    })
}

/// Reads a part in the form that its field names; without a field it is nothing.
fn read(
    loader: &Loader<'_>,
    target: &Target,
    name: &str,
    field: &str,
    [rows, columns]: [usize; 2],
) -> Result<Option<Part>> {
    let config = loader.config;
    let key = |end: &str| loader.key(target, &format!("glora_{name}.{end}"));
    // D and E have one dimension.
    let flat = matches!(name, "D" | "E");
    let form = if field.is_empty() {
        "none".into()
    } else {
        config.text(field)?
    };
    Ok(match (form.as_str(), name) {
        ("lora", "A" | "B" | "C") => {
            let r = config.count("r")?;
            let left = loader.shared(&key("Xd"), [rows, r])?;
            let right = Some(loader.shared(&key("Xu"), [r, columns])?);
            Some(Part { left, right })
        }
        ("vector", _) => {
            let numbers = if flat {
                loader.host(&key("X"), [rows])?
            } else {
                loader.host(&key("X"), [rows, 1])?
            };
            let left = loader.upload(numbers, [rows, 1]);
            Some(Part { left, right: None })
        }
        ("constant", "A" | "B" | "D" | "E") => {
            let number = loader.host(&key("X"), [1])?[0];
            let left = loader.upload(vec![number; rows], [rows, 1]);
            Some(Part { left, right: None })
        }
        ("none", _) => {
            let zeros = key("zeros");
            let numbers = match loader.shape(&zeros) {
                Some(_) if flat => loader.host(&zeros, [rows])?,
                Some(_) => loader.host(&zeros, [rows, columns])?,
                None => Vec::new(),
            };
            if let Some(found) = numbers.iter().find(|number| **number != 0.0) {
                return Err(loader.bad_value(&zeros, found.to_string(), "zeros".into()));
            }
            None
        }
        _ => return Err(config.bad(field, "a form that PEFT has for this part")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::pencil::{matrix, numbers};
    use super::Part;

    /// C of two inputs, (1, 2) times 3: W = (10, −1) passes 3·10 − 6·1 on to the bias.
    #[test]
    fn the_bias_gets_what_the_layer_makes_of_c() {
        let (left, right) = (matrix([[1.0], [2.0]]), Some(matrix([[3.0]])));
        let c = Part { left, right }.vector();
        let step = matrix([[10.0, -1.0]]).matmul(c.unsqueeze_dim(1));
        assert_eq!(numbers(step), [24.0]);
    }
}
