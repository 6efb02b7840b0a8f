//! Gradients through the whole decoder, against finite differences: the tensor executor cuts no graph.

use burn::tensor::{Tensor, TensorData, activation};
use steering_playground::arch::{Norm, Projection};
use steering_playground::device;
use steering_playground::hooks::{
    Delta, Effect, Effects, ExtraKeyValue, Gain, Join, Lookup, Map, Shift, Site, Sited, Steering,
};
use steering_playground::model::{Model, Positions, Weights};

use crate::common::{tiny, tiny_quantised};

const TOKENS: [u32; 12] = [5, 17, 60, 3, 38, 41, 9, 9, 22, 30, 1, 55];

/// Numbers without a pattern, in −1 … 1.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f32 / (1_u32 << 30) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A trained parameter: its shape, and its numbers row by row.
#[derive(Clone)]
struct Leaf {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Leaf {
    fn new(shape: &[usize], scale: f32, seed: u64) -> Self {
        let count = shape.iter().product();
        let values = noise(count, seed).iter().map(|x| x * scale).collect();
        let shape = shape.to_vec();
        Self { shape, values }
    }

    fn plain(&self) -> Tensor<1> {
        let values = TensorData::new(self.values.clone(), [self.values.len()]);
        Tensor::from_data(values, &device::cpu())
    }

    /// The tensor whose gradient is asked for; the effects use it in its shape.
    fn tracked(&self) -> Tensor<1> {
        self.plain().autodiff().require_grad()
    }

    fn moved(&self, along: &[f32], by: f32) -> Self {
        let values = self.values.iter().zip(along).map(|(x, d)| x + by * d);
        Self {
            values: values.collect(),
            ..self.clone()
        }
    }
}

fn shaped<const D: usize>(leaf: &Tensor<1>, shape: &[usize]) -> Tensor<D> {
    let shape: [usize; D] = shape.try_into().expect("as many dimensions");
    leaf.clone().reshape(shape)
}

/// Mean of −ln p of each next token, in nats.
fn loss(model: &Model, effects: Vec<Sited>) -> Tensor<1> {
    let steering = Steering::of(effects);
    let mut cache = model.new_cache();
    let logits = model.forward(&TOKENS, &mut cache, &steering, Positions::All);
    let logits = logits.expect("runs").expect("logits");
    let log_p = activation::log_softmax(logits, 1);
    let rows = TOKENS.len() - 1;
    let picks = (0..rows).map(|row| {
        let id = TOKENS[row + 1] as usize;
        log_p.clone().slice([row..row + 1, id..id + 1]).reshape([1])
    });
    -Tensor::cat(picks.collect(), 0).mean()
}

type Acts = Box<dyn Fn(&[Tensor<1>]) -> Vec<Sited>>;

/// The gradient of the loss with respect to each leaf.
fn gradients(model: &Model, leaves: &[Leaf], effects: &Acts) -> (f32, Vec<Vec<f32>>) {
    let tracked: Vec<_> = leaves.iter().map(Leaf::tracked).collect();
    let loss = loss(model, effects(&tracked));
    assert!(loss.is_autodiff(), "the loss has a graph");
    let value = loss.clone().into_scalar();
    let gradients = loss.backward();
    let of_leaf = |leaf: &Tensor<1>| {
        let gradient = leaf.grad(&gradients).expect("every leaf has a gradient");
        gradient.into_data().try_into_vec().expect("f32")
    };
    (value, tracked.iter().map(of_leaf).collect())
}

fn plain_loss(model: &Model, leaves: &[Leaf], effects: &Acts) -> f64 {
    let plain: Vec<_> = leaves.iter().map(Leaf::plain).collect();
    let loss: f32 = loss(model, effects(&plain)).into_scalar();
    f64::from(loss)
}

/// Compares with central differences, for each leaf along its gradient and along a direction of its
/// own.
fn check(name: &str, model: &Model, leaves: &[Leaf], effects: &Acts) {
    let (value, found) = gradients(model, leaves, effects);
    let plain = plain_loss(model, leaves, effects);
    assert!(
        (f64::from(value) - plain).abs() < 1e-5,
        "{name}: the loss is {value} with a graph and {plain} without"
    );
    for (at, gradient) in found.iter().enumerate() {
        let length = gradient.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!(length > 1e-5, "{name}: leaf {at} has no gradient");
        let along: Vec<f32> = gradient.iter().map(|x| x / length).collect();
        let other = noise(gradient.len(), 77 + at as u64);
        let norm = other.iter().map(|x| x * x).sum::<f32>().sqrt();
        let mixed = along
            .iter()
            .zip(&other)
            .map(|(a, b)| 0.6 * a + 0.8 * b / norm);
        for direction in [along.clone(), mixed.collect()] {
            let expected: f32 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
            let step = 2e-2;
            let at_step = |by: f32| {
                let mut moved = leaves.to_vec();
                moved[at] = leaves[at].moved(&direction, by);
                plain_loss(model, &moved, effects)
            };
            // Two steps and Richardson's rule: the error of the third derivative falls out.
            let slope = |step: f32| (at_step(step) - at_step(-step)) / f64::from(2.0 * step);
            let slope = (4.0 * slope(step / 2.0) - slope(step)) / 3.0;
            let apart = (slope - f64::from(expected)).abs();
            assert!(
                apart < 1e-2 * f64::from(length) + 2e-5,
                "{name}: leaf {at}: {expected} by the graph, {slope} by differences"
            );
        }
    }
}

/// A LoRA on every linear layer of both blocks.
fn lora(model: &Model) -> (Vec<Leaf>, Acts) {
    let config = model.config();
    let sites: Vec<(Site, usize, usize)> = (0..config.num_layers)
        .flat_map(|layer| {
            let linears = config.family.linears.iter();
            linears.map(move |(projection, ..)| {
                let (i, o) = projection.widths(config);
                (Site::Linear(layer, *projection), i, o)
            })
        })
        .collect();
    let rank = 3;
    let leaves = sites.iter().zip(1..).flat_map(|((_, i, o), seed)| {
        [
            Leaf::new(&[rank, *i], 0.3, 2 * seed),
            Leaf::new(&[*o, rank], 0.3, 2 * seed + 1),
        ]
    });
    let leaves: Vec<Leaf> = leaves.collect();
    let shapes: Vec<Vec<usize>> = leaves.iter().map(|leaf| leaf.shape.clone()).collect();
    let effects: Acts = Box::new(move |leaves| {
        let each = sites.iter().enumerate().flat_map(|(at, (site, _, _))| {
            let delta = Delta::LowRank {
                a: shaped(&leaves[2 * at], &shapes[2 * at]),
                b: shaped(&leaves[2 * at + 1], &shapes[2 * at + 1]),
                mid: None,
                out: None,
                scale: 0.5,
            };
            Sited::of(*site, vec![Effect::Weight(delta)])
        });
        each.collect()
    });
    (leaves, effects)
}

#[test]
fn a_lora_through_the_whole_model() {
    let session = tiny("base");
    let (leaves, effects) = lora(&session.model);
    check("LoRA", &session.model, &leaves, &effects);
}

/// Weights that stay quantised are constants to a gradient, not walls: what the graph says is what it
/// says of the same weights in f32.
#[test]
fn quantised_weights_cut_no_graph() {
    let [dense, packed] = [Weights::Dense, Weights::Quantised].map(tiny_quantised);
    let (leaves, effects) = lora(&dense.model);
    let (loss, expected) = gradients(&dense.model, &leaves, &effects);
    let (own, found) = gradients(&packed.model, &leaves, &effects);
    assert!((loss - own).abs() < 2e-3, "{loss} and {own}");
    let all = |gradients: &[Vec<f32>]| gradients.concat();
    let (expected, found) = (all(&expected), all(&found));
    let length = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>().sqrt();
    let apart = length(&mut expected.iter().zip(&found).map(|(a, b)| a - b));
    let whole = length(&mut expected.iter().copied());
    assert!(apart < 2e-2 * whole, "{apart} of {whole}");
}

/// One parameter, and what acts at a site as a function of it.
fn one<E: Effects + 'static>(
    shape: &[usize],
    scale: f32,
    effects: fn(&Tensor<1>, &[usize]) -> E,
    site: Site,
) -> (Vec<Leaf>, Acts) {
    let leaf = Leaf::new(shape, scale, 5);
    let shape = shape.to_vec();
    let acts: Acts = Box::new(move |leaves| Sited::of(site, effects(&leaves[0], &shape)));
    (vec![leaf], acts)
}

/// Every kind of effect lets gradients through.
#[test]
fn every_kind_of_effect_lets_gradients_through() {
    let session = tiny("base");
    let model = &session.model;
    let config = model.config();
    let (d, ffn, hd) = (
        config.hidden_size,
        config.intermediate_size,
        config.head_dim,
    );
    let (q, kv_heads, vocab) = (config.q_width(), config.num_kv_heads, config.vocab_size);
    let at = |projection| Site::Linear(0, projection);
    let cases: Vec<(&str, (Vec<Leaf>, Acts))> = vec![
        (
            "a whole matrix",
            one(
                &[ffn, d],
                0.1,
                |x, s| {
                    vec![Effect::Weight(Delta::Dense {
                        delta: shaped(x, s),
                        scale: 1.0,
                    })]
                },
                at(Projection::Up),
            ),
        ),
        (
            "a row gain",
            one(
                &[q],
                0.2,
                |x, _| {
                    vec![Effect::Weight(Delta::RowGain {
                        gain: x.clone(),
                        scale: 1.0,
                    })]
                },
                at(Projection::Q),
            ),
        ),
        (
            "a Kronecker product",
            one(
                &[6, 4],
                0.2,
                |x, s| {
                    let left = shaped(x, s);
                    let right = Tensor::<2>::ones([8, 12], &device::cpu()) * 0.1;
                    vec![Effect::Weight(Delta::Kronecker {
                        left,
                        right,
                        scale: 1.0,
                    })]
                },
                at(Projection::O),
            ),
        ),
        (
            "a bias",
            one(
                &[d],
                0.2,
                |x, _| {
                    vec![Effect::Weight(Delta::Bias {
                        bias: x.clone(),
                        scale: 1.0,
                    })]
                },
                at(Projection::Down),
            ),
        ),
        (
            "a gain of the input",
            one(
                &[ffn],
                1.0,
                |x, _| vec![Effect::Input(Map::Scale { gain: x.clone() })],
                at(Projection::Down),
            ),
        ),
        (
            "a rotation of the output",
            one(
                &[d],
                1.0,
                |x, _| {
                    let across = x.clone() * 0.5;
                    vec![Effect::Output(Map::Rotate {
                        along: x.clone(),
                        across,
                        group: 4,
                    })]
                },
                at(Projection::O),
            ),
        ),
        (
            "blocks",
            one(
                &[12, 4, 4],
                0.5,
                |x, s| {
                    vec![Effect::Input(Map::Blocks {
                        blocks: shaped(x, s),
                        order: None,
                    })]
                },
                at(Projection::V),
            ),
        ),
        (
            "a span",
            one(
                &[48, 2],
                0.3,
                |x, s| {
                    let kernel = Tensor::<2>::ones([2, 2], &device::cpu());
                    vec![Effect::Output(Map::Span {
                        basis: shaped(x, s),
                        kernel,
                    })]
                },
                at(Projection::Down),
            ),
        ),
        (
            "a step",
            one(
                &[d],
                0.5,
                |x, _| Shift {
                    direction: x.clone(),
                    scale: 1.0,
                    removed: 0.0,
                    keep_length: false,
                },
                Site::Residual(0),
            ),
        ),
        (
            "a step that keeps the length",
            one(
                &[d],
                0.5,
                |x, _| Shift {
                    direction: x.clone(),
                    scale: 1.0,
                    removed: 0.0,
                    keep_length: true,
                },
                Site::Residual(0),
            ),
        ),
        (
            "a step that takes a part away",
            one(
                &[d],
                0.5,
                |x, _| Shift {
                    direction: x.clone(),
                    scale: 0.4,
                    removed: 0.7,
                    keep_length: true,
                },
                Site::Residual(0),
            ),
        ),
        (
            "keys in front",
            one(
                &[kv_heads, 3, hd],
                1.0,
                |x, s| {
                    let keys: Tensor<3> = shaped(x, s);
                    let values = keys.clone() * 0.7 + 0.1;
                    ExtraKeyValue {
                        keys,
                        values,
                        coefficient: 0.8,
                        join: Join::InFront,
                    }
                },
                Site::Attention(1),
            ),
        ),
        (
            "keys beside",
            one(
                &[kv_heads, 3, hd],
                1.0,
                |x, s| {
                    let keys: Tensor<3> = shaped(x, s);
                    let values = keys.clone() * 0.7 + 0.1;
                    ExtraKeyValue {
                        keys,
                        values,
                        coefficient: 0.8,
                        join: Join::Beside,
                    }
                },
                Site::Attention(1),
            ),
        ),
        (
            "a norm's gain",
            one(
                &[d],
                0.3,
                |x, _| Gain(x.clone()),
                Site::Norm(Some((1, Norm::Input))),
            ),
        ),
        (
            "the last norm's gain",
            one(&[d], 0.3, |x, _| Gain(x.clone()), Site::Norm(None)),
        ),
        (
            "the embedding",
            one(
                &[vocab, d],
                0.3,
                |x, s| Lookup::table(shaped(x, s), None),
                Site::Embedding,
            ),
        ),
        (
            "the head",
            one(
                &[vocab, d],
                0.1,
                |x, s| {
                    vec![Effect::Weight(Delta::Dense {
                        delta: shaped(x, s),
                        scale: 1.0,
                    })]
                },
                Site::Head,
            ),
        ),
    ];
    for (name, (leaves, effects)) in &cases {
        check(name, model, leaves, effects);
    }
}
