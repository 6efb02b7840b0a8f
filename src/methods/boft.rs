//! BOFT: orthogonal butterfly fine-tuning. Liu et al. 2023.
//! <https://arxiv.org/abs/2311.06243>
//!
//! # Formula
//! ```text
//! y = s∘(W x'),   x' = x M,   M = M_N … M_2 M_1,   M_k = P_k blockdiag(R_k) P_kᵀ
//! R = (I − Q)(I + Q)⁻¹,   Q = ½(B − Bᵀ),   P_k a fixed shuffle of the inputs
//! ```
//! # Shapes
//! ```text
//! <module>.boft_R   B [N, i/b, b, b], N butterfly factors of i/b blocks
//! <module>.boft_s   s [o, 1]
//! ```
//! # Coefficient
//! Geodesic: c multiplies every Q, s becomes s^c, and for c < 0 the factors come in reverse order,
//! so that −c undoes c; that needs gains above 0. Linear otherwise and on request, c·(y(1) − y(0)),
//! at the price of a second base product.
//! # Hypothesis
//! A behaviour is one turn shared by all neurons of a layer, as in OFT, but one that mixes every
//! input with every other. A few sparse turns in a row are enough for it.
//! # Intuition
//! Small groups of inputs are turned, shuffled and turned again, as a butterfly network lets every
//! number reach every other one. So a few small rotations act like one large one.
//! # Limits
//! Every turn keeps lengths, so the layer's strengths stay; only its gains s can change them. Which
//! inputs meet is fixed by the butterfly.
//! # Differs from PEFT
//! The number of factors is the file's: without CUDA PEFT trains one, whatever the config says.

use std::rc::Rc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::starts::{USUAL, common_divisor};
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Effect, Law, Map, Placed};
use crate::linalg::matrix::{self, Matrix};
use crate::tensor::inverse;

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "boft",
    peft_type: "BOFT",
    matches: |_| true,
    family: Family::Rotate,
    law: Law::Geodesic,
    keys: &["boft_R", "boft_s"],
    reads: &[
        "boft_block_size",
        "boft_block_num",
        "boft_n_butterfly_factor",
    ],
    inert: &["boft_dropout", "init_weights"],
    doc: room_doc!("boft.rs"),
    load,
    trains: Trains::From { start, rate: 5e-3 },
    extras: None,
    folds: Folds::By(fold),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let targets = start.targets(USUAL)?;
    let b = common_divisor(targets.iter().map(|target| target.i), 8);
    start.set("boft_block_size", b);
    start.set("boft_block_num", 0);
    start.set("boft_n_butterfly_factor", 1);
    for target in targets {
        start.learn(&target, "boft_R", [1, target.i / b, b, b], Init::Zeros);
        start.learn(&target, "boft_s", [target.o, 1], Init::Filled(1.0));
    }
    Ok(())
}

fn fold(loader: &Loader<'_>, c: f32) -> Folds {
    let several = |key: &String| {
        let is_factors = key.ends_with(".boft_R");
        is_factors && loader.shape(key).is_some_and(|shape| shape[0] > 1)
    };
    if c < 0.0 && loader.keys().iter().any(several) {
        return Folds::Not("for a negative c its factors come in reverse order");
    }
    Folds::Into(&[("boft_R", Fold::Times), ("boft_s", Fold::Power)])
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    loader.take_apart(&["boft_s"])?;
    let read = |target: Target| {
        let factors = Factors::read(loader, &target)?;
        let key = loader.key(&target, "boft_s");
        let gains = loader.host(&key, [target.o, 1])?;
        let gain = loader.on_device(&key, gains.clone(), [target.o]);
        Ok((target, factors, gains, gain))
    };
    let layers = loader.targets("boft_R")?.into_iter().map(read);
    let layers = layers.collect::<Result<Vec<_>>>()?;
    let is_geodesic = layers
        .iter()
        .all(|(_, _, gains, _)| gains.iter().all(|gain| *gain > 0.0));
    let place = |(target, factors, gains, gain): (Target, Factors, Vec<f32>, Tensor<1>)| {
        let factors = Rc::new(factors);
        let exponent = gain.clone().log();
        let trained = factors.clone();
        let linear = move |c: f32| {
            let outputs = vec![Map::Scale { gain: gain.clone() }];
            vec![Effect::Weight(Delta::Mapped {
                inputs: trained.maps(1.0),
                outputs,
                scale: c,
            })]
        };
        let turned = move |c: f32| {
            // After the product and before the bias, which s leaves alone.
            let gain = Effect::Weight(Delta::RowGain {
                gain: (exponent.clone() * c).exp() - 1.0,
                scale: 1.0,
            });
            let maps = factors.maps(c).into_iter().map(Effect::Input);
            maps.chain([gain]).collect::<Vec<_>>()
        };
        if is_geodesic {
            Placed::new(target.site, turned)
                .within_powers_of(&gains)
                .or(Law::Linear, linear)
        } else {
            Placed::new(target.site, linear).cannot(
                Law::Geodesic,
                "one of its gains is not above 0 and has no powers",
            )
        }
    };
    Ok(Loaded {
        law: if is_geodesic {
            Law::Geodesic
        } else {
            Law::Linear
        },
        placed: layers.into_iter().map(place).collect(),
    })
}

/// The butterfly factors of one layer.
struct Factors {
    /// Q of every block, by factor.
    skew: Vec<Vec<Matrix>>,
    /// B, while it is trained, flat.
    leaf: Option<Tensor<1>>,
    /// P_k as the places that the inputs come from, and back; none for the first factor.
    orders: Vec<Option<[Tensor<1, Int>; 2]>>,
    shape: [usize; 3],
    device: Device,
}

impl Factors {
    fn read(loader: &Loader<'_>, target: &Target) -> Result<Self> {
        let key = loader.key(target, "boft_R");
        let extent = |dim| loader.extent(target, "boft_R", dim);
        let (n, blocks, b) = (extent(0)?, extent(1)?, extent(2)?);
        // Factor k joins 2ᵏ blocks, and halves of blocks change places.
        let joined = u32::try_from(n)
            .ok()
            .and_then(|n| 2_usize.checked_pow(n.saturating_sub(1)));
        let fits = joined.is_some_and(|joined| blocks.is_multiple_of(joined));
        if n == 0 || blocks * b != target.i || !fits || (n > 1 && !b.is_multiple_of(2)) {
            let i = target.i;
            let expected =
                format!("[N, {i}/b, b, b], b even and 2ᴺ⁻¹ a divisor of {i}/b for N > 1");
            return Err(loader.wrong_shape(&key, expected));
        }
        let values = loader.host(&key, [n, blocks, b, b])?;
        let q = |block: &[f32]| {
            let block = matrix::rows(block, b);
            let opposite = matrix::scaled(&matrix::transposed(&block), -1.0);
            matrix::scaled(&matrix::add(&block, &opposite), 0.5)
        };
        let factor = |factor: &[f32]| factor.chunks_exact(b * b).map(q).collect();
        let device = loader.model.device();
        let upload = |places: Vec<i32>| {
            Tensor::<1, Int>::from_data(TensorData::new(places, [target.i]), &device)
        };
        let order = |k: usize| {
            let from = shuffle(target.i, b << k, b / 2);
            let mut back = vec![0; from.len()];
            for (at, from) in (0..).zip(&from) {
                back[*from as usize] = at;
            }
            [upload(back), upload(from)]
        };
        Ok(Self {
            leaf: loader.leaf(&key),
            skew: values.chunks_exact(blocks * b * b).map(factor).collect(),
            orders: (0..n).map(|k| (k > 0).then(|| order(k))).collect(),
            shape: [blocks, b, b],
            device,
        })
    }

    /// The blocks of a factor at c over tensors, for training.
    fn turned(&self, leaf: &Tensor<1>, factor: usize, c: f32) -> Tensor<3> {
        let [blocks, b, _] = self.shape;
        let all = leaf.clone().reshape([self.skew.len() * blocks, b, b]);
        let own = all.narrow(0, factor * blocks, blocks);
        let q = (own.clone() - own.swap_dims(1, 2)) * (0.5 * c);
        let unit = Tensor::<2>::eye(b, &self.device).unsqueeze();
        (-q.clone() + unit.clone()).matmul(inverse(q + unit))
    }

    /// The maps of the input in the order in which they act: the last factor first, or for a
    /// negative c, which undoes them, last.
    fn maps(&self, c: f32) -> Vec<Map> {
        let map = |at: usize| {
            let (skew, order) = (&self.skew[at], &self.orders[at]);
            let order = order.clone().map(Box::new);
            if let Some(blocks) = self.leaf.as_ref().map(|leaf| self.turned(leaf, at, c)) {
                return Map::Blocks { blocks, order };
            }
            let turned = |q: &Matrix| matrix::flat(&matrix::cayley(&matrix::scaled(q, c.into())));
            let turned: Vec<f32> = skew.iter().flat_map(turned).collect();
            Map::Blocks {
                blocks: Tensor::from_data(TensorData::new(turned, self.shape), &self.device),
                order,
            }
        };
        let mut maps: Vec<Map> = (0..self.skew.len()).map(map).collect();
        if c >= 0.0 {
            maps.reverse();
        }
        maps
    }
}

/// For each place the one it takes its number from: inside groups of `group`, chunks of `chunk`
/// numbers are sorted into those at even and those at odd places.
fn shuffle(n: usize, group: usize, chunk: usize) -> Vec<i32> {
    let chunks = group / chunk;
    let sorted = (0..chunks).step_by(2).chain((1..chunks).step_by(2));
    let inside: Vec<usize> = sorted.flat_map(|at| at * chunk..(at + 1) * chunk).collect();
    let starts = (0..n).step_by(group);
    starts
        .flat_map(|start| inside.iter().map(move |at| (start + at) as i32))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::hooks::Law;
    use crate::methods::pencil::{IDENTITY, Pencil, length, near};

    /// Every block's Q = ½(B − Bᵀ) = [0 1; −1 0], whose R = [0 −1; 1 0] is a quarter turn.
    const B: [[f32; 2]; 2] = [[0.0, 2.0], [0.0, 0.0]];

    fn adapter(gains: [[f32; 1]; 2]) -> Pencil {
        let tensors = [("boft_R", [[B]].into()), ("boft_s", gains.into())];
        Pencil::layer(&METHOD, json!({}), IDENTITY, &tensors)
    }

    #[test]
    fn inputs_are_turned_and_outputs_scaled() {
        near(adapter([[2.0], [0.5]]).y(1.0, [3.0, 4.0]), [8.0, -1.5]);
        near(adapter([[2.0], [0.5]]).y(-1.0, [3.0, 4.0]), [-2.0, 6.0]);
        let linear = adapter([[2.0], [0.5]]).under(Law::Linear);
        near(linear.y(-1.0, [3.0, 4.0]), [6.0 - 8.0, 8.0 + 1.5]);
        let plain = adapter([[1.0], [1.0]]);
        near([length(plain.y(0.3, [3.0, 4.0]))], [5.0]);
        near(plain.y(-0.3, plain.y(0.3, [3.0, 4.0])), [3.0, 4.0]);
    }

    /// The outer factor turns places 1 and 3, the inner one then places 3 and 4.
    #[test]
    fn two_factors_reach_across_blocks() {
        let mut identity = [[0.0; 4]; 4];
        (0..4).for_each(|at| identity[at][at] = 1.0);
        let tensors = [
            ("boft_R", [[B; 2]; 2].into()),
            ("boft_s", [[1.0]; 4].into()),
        ];
        let adapter = Pencil::layer(&METHOD, json!({}), identity, &tensors);
        near(adapter.y(1.0, [1.0, 0.0, 0.0, 0.0]), [0.0, 0.0, 0.0, 1.0]);
        near(adapter.y(-1.0, [0.0, 0.0, 0.0, 1.0]), [1.0, 0.0, 0.0, 0.0]);
    }
}
