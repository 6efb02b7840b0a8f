//! What is trained: numbers, their moments, one step of AdamW.

use std::collections::BTreeMap;

use burn::optim::{AdamW, AdamWConfig, AdamWState, Optimizer};
use burn::tensor::{Device, Tensor, TensorData};

use crate::device::read_back;
use crate::error::{Error, Result};
use crate::weights::{HostData, HostTensor};

/// One parameter.
#[derive(Clone)]
struct Leaf {
    shape: Vec<usize>,
    /// Flat.
    values: Tensor<1>,
    state: Option<AdamWState<1>>,
}

/// All parameters, by key.
#[derive(Clone)]
pub(super) struct Leaves {
    leaves: BTreeMap<String, Leaf>,
    optimiser: AdamW,
}

/// The gradient of each parameter.
pub(super) struct Gradients {
    /// Flat, by key.
    pub(super) each: BTreeMap<String, Tensor<1>>,
    /// Over all of them.
    pub(super) length: f64,
}

impl Gradients {
    /// Of a loss, for the tensors that [`Leaves::tracked`] gave.
    ///
    /// # Errors
    /// [`Error::NotTrained`] for a parameter on which the loss does not depend, or depends beyond what
    /// f32 can say.
    pub(super) async fn of(loss: Tensor<1>, tracked: &BTreeMap<String, Tensor<1>>) -> Result<Self> {
        let gradients = loss.backward();
        let mut each = BTreeMap::new();
        let mut squares = Vec::with_capacity(tracked.len());
        for (key, leaf) in tracked {
            let gradient = leaf.grad(&gradients).ok_or_else(|| Error::NotTrained {
                key: key.clone(),
                why: "the loss does not depend on it",
            })?;
            squares.push(gradient.clone().square().sum());
            each.insert(key.clone(), gradient);
        }
        let squares = read_back(Tensor::cat(squares, 0)).await?;
        if let Some((key, _)) = each
            .keys()
            .zip(&squares)
            .find(|(_, square)| !square.is_finite())
        {
            return Err(Error::NotTrained {
                key: key.clone(),
                why: "its gradient is not finite: try a smaller rate",
            });
        }
        let length = squares.iter().map(|x| f64::from(*x)).sum::<f64>().sqrt();
        Ok(Self { each, length })
    }
}

impl Leaves {
    pub(super) fn new(parameters: &BTreeMap<String, HostTensor>, device: &Device) -> Self {
        let leaf = |tensor: &HostTensor| Leaf {
            shape: tensor.shape.clone(),
            values: flat(tensor, device),
            state: None,
        };
        let leaves = parameters.iter();
        Self {
            leaves: leaves.map(|(key, it)| (key.clone(), leaf(it))).collect(),
            // PyTorch's defaults, without decay: a parameter's start is not 0 for every method.
            optimiser: AdamWConfig::new()
                .with_epsilon(1e-8)
                .with_weight_decay(0.0)
                .build(),
        }
    }

    /// Tensors for one step, of which gradients can be asked.
    pub(super) fn tracked(&self) -> BTreeMap<String, Tensor<1>> {
        let each = self.leaves.iter();
        each.map(|(key, leaf)| (key.clone(), leaf.values.clone().autodiff().require_grad()))
            .collect()
    }

    /// The numbers now.
    pub(super) async fn numbers(&self) -> Result<BTreeMap<String, HostTensor>> {
        let mut numbers = BTreeMap::new();
        for (key, leaf) in &self.leaves {
            let tensor = HostTensor {
                shape: leaf.shape.clone(),
                data: HostData::Float(read_back(leaf.values.clone()).await?),
            };
            numbers.insert(key.clone(), tensor);
        }
        Ok(numbers)
    }

    /// One step of AdamW, along gradients that are `clip` long at most.
    pub(super) fn step(&mut self, gradients: &Gradients, rate: f64, clip: f64) {
        let length = gradients.length;
        let share = if length > clip { clip / length } else { 1.0 };
        for (key, leaf) in &mut self.leaves {
            let gradient = gradients.each[key].clone() * share;
            let state = leaf.state.take();
            let values = leaf.values.clone();
            (leaf.values, leaf.state) = self.optimiser.step(rate, values, gradient, state);
        }
    }

    /// The moments, by key with `.1` and `.2`, and how many steps they hold.
    pub(super) async fn moments(&self) -> Result<(BTreeMap<String, HostTensor>, usize)> {
        let (mut moments, mut steps) = (BTreeMap::new(), 0);
        for (key, leaf) in &self.leaves {
            let Some(AdamWState { momentum }) = leaf.state.clone() else {
                continue;
            };
            steps = momentum.time;
            for (name, moment) in [("1", momentum.moment_1), ("2", momentum.moment_2)] {
                let tensor = HostTensor {
                    shape: leaf.shape.clone(),
                    data: HostData::Float(read_back(moment).await?),
                };
                moments.insert(format!("{key}.{name}"), tensor);
            }
        }
        Ok((moments, steps))
    }

    /// Goes on from numbers and moments.
    pub(super) fn restore(
        &mut self,
        numbers: &BTreeMap<String, HostTensor>,
        moments: &BTreeMap<String, HostTensor>,
        steps: usize,
        device: &Device,
    ) -> Result<()> {
        for (key, leaf) in &mut self.leaves {
            let find = |from: &BTreeMap<String, HostTensor>, key: &str| {
                let tensor = from.get(key).filter(|tensor| tensor.shape == leaf.shape);
                let tensor = tensor.ok_or_else(|| Error::MissingKey {
                    file: "the state of the training".into(),
                    key: key.into(),
                    what: format!("expected with shape {:?}", leaf.shape),
                });
                tensor.map(|tensor| flat(tensor, device))
            };
            let values = find(numbers, key)?;
            let state = match steps {
                0 => None,
                time => Some(AdamWState::new(burn::optim::AdaptiveMomentumState {
                    time,
                    moment_1: find(moments, &format!("{key}.1"))?,
                    moment_2: find(moments, &format!("{key}.2"))?,
                    max_moment_2: None,
                })),
            };
            leaf.values = values;
            leaf.state = state;
        }
        Ok(())
    }
}

fn flat(tensor: &HostTensor, device: &Device) -> Tensor<1> {
    let HostData::Float(values) = &tensor.data else {
        unreachable!("parameters are floats");
    };
    Tensor::from_data(TensorData::new(values.clone(), [values.len()]), device)
}
