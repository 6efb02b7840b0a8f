//! Operations whose gradient is not burn's: computed forward on plain tensors, pulled back by a function.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::{
    Autodiff, Backend, BackendTensor, DispatchKindConversion, DispatchTensor, DispatchTensorKind,
    Flex, Wgpu,
};
use burn::tensor::Tensor;

/// From the gradient of the output to that of the input.
type Pull<const I: usize, const O: usize> = dyn Fn(Tensor<O>) -> Tensor<I> + Send + Sync;

#[derive(Clone)]
struct Pullback<const I: usize, const O: usize>(Arc<Pull<I, O>>);

impl<const I: usize, const O: usize> Debug for Pullback<I, O> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Pullback")
    }
}

#[derive(Debug)]
struct Custom<const I: usize, const O: usize>;

impl<B: Backend, const I: usize, const O: usize> Backward<B, 1> for Custom<I, O>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    type State = Pullback<I, O>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let pull = ops.state;
        unary::<B, _>(ops.parents, ops.node, gradients, |dy| {
            let dx = (pull.0)(Tensor::from_primitive::<B>(dy));
            let dx = dx.try_into_primitive::<B>();
            dx.unwrap_or_else(|error| unreachable!("it stays on its device: {error:?}"))
        });
    }
}

/// `y`, computed from `x` without a graph, as a function of `x` whose gradient `pull` gives.
pub(crate) fn pulled<const I: usize, const O: usize>(
    x: Tensor<I>,
    y: Tensor<O>,
    pull: impl Fn(Tensor<O>) -> Tensor<I> + Send + Sync + 'static,
) -> Tensor<O> {
    let pull = Pullback(Arc::new(pull));
    let is_on_cpu = matches!(
        y.clone().into_dispatch().kind,
        DispatchTensorKind::Flex(BackendTensor::Float(_))
    );
    if is_on_cpu {
        pulled_on::<Flex, I, O>(x, y, pull)
    } else {
        pulled_on::<Wgpu, I, O>(x, y, pull)
    }
}

fn pulled_on<B: Backend, const I: usize, const O: usize>(
    x: Tensor<I>,
    y: Tensor<O>,
    pull: Pullback<I, O>,
) -> Tensor<O>
where
    DispatchTensor: DispatchKindConversion<B> + DispatchKindConversion<Autodiff<B>>,
{
    let x = x.try_into_primitive::<Autodiff<B>>();
    let x = x.unwrap_or_else(|error| unreachable!("a tensor with a graph: {error:?}"));
    let y = y.try_into_primitive::<B>();
    let y = y.unwrap_or_else(|error| unreachable!("a tensor without one: {error:?}"));
    let (_, node) = x.into_parts();
    let prepared = Backward::<B, 1>::prepare::<NoCheckpointing>(Custom::<I, O>, [node]);
    Tensor::from_primitive::<Autodiff<B>>(match prepared.compute_bound().stateful() {
        OpsKind::Tracked(tracked) => tracked.finish(pull, y),
        OpsKind::UnTracked(untracked) => untracked.finish(y),
    })
}
