//! A decoder that can be worked out with a pencil, for the tests at the end of each method's file: a
//! method's own `load`, its tensors and the expected numbers all on one page.
//!
//! It has one block over two numbers. Queries and keys are 0, so a token sees itself and all before
//! it alike; values and outputs are the identity, gains of norms 1, and the MLP adds nothing. Token 0
//! is (1, 1) and token 1 is (1, −1), which a norm leaves as they are. So after the block a token is
//! `h = e + the mean of all e up to it`.

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use burn::tensor::{Tensor, TensorData};
use safetensors::{Dtype, serialize, tensor::TensorView};
use serde_json::{Value, json};

use crate::arch::{ModelFile, Projection};
use crate::checkpoint::{AdapterFiles, Config, Loader, Method};
use crate::device::cpu;
use crate::hooks::{Delta, Law, Placed, Steering};
use crate::model::{Model, Weights};
use crate::tensor::to_host;
use crate::weights::{Bytes, HostData, HostTensor};

/// Tensors by name; whole numbers are kept as such.
pub(super) type Named<'a> = &'a [(&'a str, TensorData)];

/// A weight that changes nothing.
pub(super) const IDENTITY: [[f32; 2]; 2] = [[1.0, 0.0], [0.0, 1.0]];

/// The layer that [`Pencil::layer`] adapts, as the block's MLP has it.
const LAYER: &str = "base_model.model.model.layers.0.mlp.up_proj.";

/// An adapter loaded for the decoder, under one of its laws.
pub(super) struct Pencil {
    model: Model,
    placed: Vec<Placed>,
    law: Law,
}

impl Pencil {
    /// An adapter of one linear layer W `[o, i]`. Names of tensors go on after `<module>.`, those of
    /// shared tensors are whole.
    pub(super) fn layer(
        method: &Method,
        config: Value,
        w: impl Into<TensorData>,
        tensors: Named<'_>,
    ) -> Self {
        let is_shared =
            |name: &str| name.starts_with("base_model.") || name.starts_with("svd_bases.");
        let named = tensors.iter().map(|(name, data)| {
            let module = if is_shared(name) { "" } else { LAYER };
            (format!("{module}{name}"), host(data))
        });
        let files = AdapterFiles::default();
        Self::load(method, config, decoder(w.into()), named.collect(), &files)
    }

    /// An adapter of the block. Names of tensors are whole.
    pub(super) fn block(method: &Method, config: Value, tensors: Named<'_>) -> Self {
        Self::block_with(method, config, tensors, &AdapterFiles::default())
    }

    /// The same with a chosen task, or with experts.
    pub(super) fn block_with(
        method: &Method,
        config: Value,
        tensors: Named<'_>,
        files: &AdapterFiles,
    ) -> Self {
        let tensors = tensors
            .iter()
            .map(|(name, data)| ((*name).to_owned(), host(data)));
        Self::load(
            method,
            config,
            decoder(IDENTITY.into()),
            tensors.collect(),
            files,
        )
    }

    fn load(
        method: &Method,
        mut config: Value,
        model: Model,
        tensors: BTreeMap<String, HostTensor>,
        files: &AdapterFiles,
    ) -> Self {
        config["peft_type"] = method.peft_type.into();
        let config = Config::parse("pencil", config.to_string().as_bytes()).expect("an object");
        let config = super::with_defaults(config);
        assert!(
            (method.matches)(&config),
            "another method of this peft_type"
        );
        method.check_fields(&config).expect("fields that it knows");
        let loader = Loader::new(method.extras(), &config, tensors, &model, files);
        let loader = loader.expect("choices that it has");
        let loaded = (method.load)(&loader).expect("loads");
        loader.finish().expect("each tensor is taken");
        let (law, mut placed) = (loaded.law, loaded.placed);
        for placed in &mut placed {
            placed.settle(law);
        }
        Self { model, placed, law }
    }

    /// The same adapter under another law that it offers.
    pub(super) fn under(self, law: Law) -> Self {
        let offers = |placed: &Placed| !placed.effects(law, 1.0).is_empty();
        assert!(self.placed.iter().all(offers), "{law:?} is not offered");
        Self { law, ..self }
    }

    /// What the adapted layer makes of x at coefficient c.
    pub(super) fn y(&self, c: f32, x: impl AsRef<[f32]>) -> Vec<f32> {
        let x = x.as_ref();
        let x = TensorData::new(x.to_vec(), [1, x.len()]);
        let x = Tensor::from_data(x, &self.model.device());
        let steering = self.steering(c);
        let plan = steering.layer(0).linear(Projection::Up);
        to_host(self.model.linear(0, Projection::Up).forward(x, plan))
    }

    /// The stream of the last token after the block at coefficient c.
    pub(super) fn h(&self, c: f32, tokens: &[u32]) -> Vec<f32> {
        let blocks = self
            .model
            .residuals(tokens, &self.steering(c))
            .expect("tokens 0 and 1");
        let rows = to_host(blocks[0].clone());
        rows[rows.len() - 2..].to_vec()
    }

    /// All effects at coefficient c; at 0 there are none.
    fn steering(&self, c: f32) -> Steering {
        let acting = self.placed.iter().filter(|_| c != 0.0);
        Steering::of(acting.flat_map(|placed| placed.effects(self.law, c)))
    }
}

/// Checks numbers that were worked out by hand.
#[track_caller]
pub(super) fn near(found: impl AsRef<[f32]>, expected: impl AsRef<[f32]>) {
    let (found, expected) = (found.as_ref(), expected.as_ref());
    let is_near = |(x, y): (&f32, &f32)| (x - y).abs() <= 1e-5 * (1.0 + y.abs());
    let is_same = found.len() == expected.len() && found.iter().zip(expected).all(is_near);
    assert!(is_same, "{found:?} instead of {expected:?}");
}

pub(super) fn length(x: impl AsRef<[f32]>) -> f32 {
    x.as_ref().iter().map(|x| x * x).sum::<f32>().sqrt()
}

/// A file of f32.
pub(super) fn safetensors(tensors: Named<'_>) -> Vec<u8> {
    let floats = tensors
        .iter()
        .map(|(name, data)| (*name, data.clone().convert::<f32>()));
    let floats: Vec<_> = floats.collect();
    let views = floats.iter().map(|(name, data)| {
        let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes());
        (*name, view.expect("four bytes for each number"))
    });
    serialize(views, None).expect("a small file")
}

fn host(data: &TensorData) -> HostTensor {
    let shape = data.shape().to_vec();
    let data = if data.dtype().is_float() {
        HostData::Float(data.iter().collect())
    } else {
        HostData::Int(data.iter().collect())
    };
    HostTensor { shape, data }
}

/// The decoder with this W `[o, i]` in its MLP; the stream is as wide as W reads.
fn decoder(w: TensorData) -> Model {
    let [o, i] = w.shape().dims();
    let config = json!({
        "model_type": "llama",
        "hidden_size": i,
        "intermediate_size": o,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "head_dim": 2,
        "vocab_size": 2,
        "max_position_embeddings": 8,
        "rms_norm_eps": 1e-20,
        "tie_word_embeddings": true,
    });
    let ones = || TensorData::ones::<f32, _>([i]);
    let zeros = |shape: [usize; 2]| TensorData::zeros::<f32, _>(shape);
    let identity = |[rows, columns]: [usize; 2]| {
        let one = |at: usize| f32::from(u8::from(at / columns == at % columns));
        TensorData::new((0..rows * columns).map(one).collect(), [rows, columns])
    };
    let sign = |at: usize| {
        if at > i && (at - i) % 2 == 1 {
            -1.0_f32
        } else {
            1.0
        }
    };
    let embeddings = TensorData::new((0..2 * i).map(sign).collect(), [2, i]);
    let file = safetensors(&[
        ("model.embed_tokens.weight", embeddings),
        ("model.layers.0.input_layernorm.weight", ones()),
        ("model.layers.0.self_attn.q_proj.weight", zeros([2, i])),
        ("model.layers.0.self_attn.k_proj.weight", zeros([2, i])),
        ("model.layers.0.self_attn.v_proj.weight", identity([2, i])),
        ("model.layers.0.self_attn.o_proj.weight", identity([i, 2])),
        ("model.layers.0.post_attention_layernorm.weight", ones()),
        ("model.layers.0.mlp.gate_proj.weight", zeros([o, i])),
        ("model.layers.0.mlp.up_proj.weight", w),
        ("model.layers.0.mlp.down_proj.weight", zeros([i, o])),
        ("model.norm.weight", ones()),
    ]);
    let source = Bytes {
        name: "model.safetensors".into(),
        bytes: file,
    };
    let config = config.to_string();
    let opened = ready(ModelFile::open_folder(
        config.as_bytes(),
        vec![source],
        None,
    ));
    let opened = opened.expect("a Llama");
    ready(Model::load(&opened, &cpu(), Weights::Dense, |_| {})).expect("loads")
}

/// What a future gives that has nothing to wait for, as when it reads bytes in memory.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("bytes in memory are there at once"),
    }
}

/// A matrix, row by row.
pub(super) fn matrix<const R: usize, const C: usize>(rows: [[f32; C]; R]) -> Tensor<2> {
    let numbers: Vec<f32> = rows.into_iter().flatten().collect();
    Tensor::from_data(TensorData::new(numbers, [R, C]), &cpu())
}

/// The numbers of a matrix, row by row.
pub(super) fn numbers(matrix: Tensor<2>) -> Vec<f32> {
    to_host(matrix)
}

/// The matrix `[o, i]` that a change adds to a weight, row by row.
pub(super) fn added(delta: &Delta, [o, i]: [usize; 2]) -> Vec<f32> {
    let device = cpu();
    let base = Tensor::zeros([i, o], &device);
    let columns = delta.apply(&Tensor::eye(i, &device), &base, |x| x);
    numbers(columns.transpose())
}
