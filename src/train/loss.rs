//! The loss of a step.

use burn::tensor::{Int, Tensor, TensorData, activation};

use super::options::TrainOptions;
use super::texts::Read;
use crate::device::read_back;
use crate::error::Result;

/// `ln p` of each token, `[n]`.
pub(super) fn log_probabilities(read: &Read) -> Tensor<1> {
    let all = activation::log_softmax(read.logits.clone(), 1);
    let n = read.tokens.len();
    let ids: Vec<i32> = read.tokens.iter().map(|&id| id as i32).collect();
    let device = read.logits.device().without_autodiff();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [n, 1]), &device);
    all.gather(1, ids).reshape([n])
}

/// The mean over the tokens of each answer, in nats.
fn means(read: &Read) -> Vec<Tensor<1>> {
    let all = log_probabilities(read);
    let mean = |rows: &std::ops::Range<usize>| all.clone().narrow(0, rows.start, rows.len()).mean();
    read.rows.iter().map(mean).collect()
}

/// d of each pair, whose answers follow each other, the positive one first: mean log-probability of the
/// positive minus that of the negative answer, in nats per token.
///
/// # Errors
/// [`DeviceLost`](crate::Error::DeviceLost) when the device does not give them.
pub(super) async fn differences(read: &Read) -> Result<Vec<f32>> {
    let means = read_back(Tensor::cat(means(read), 0)).await?;
    Ok(means
        .chunks_exact(2)
        .map(|both| both[0] - both[1])
        .collect())
}

/// The loss over pairs at c = `sign`, whose d at c = 0 are `base`, and over the last answer, which is a
/// neutral one whose logits are `neutral` `[n, vocab]` without adapter.
pub(super) fn loss(
    read: &Read,
    sign: f64,
    base: &[f32],
    neutral: Option<&Tensor<2>>,
    options: &TrainOptions,
) -> Tensor<1> {
    let means = means(read);
    let pairs = means.chunks_exact(2).zip(base);
    let each = pairs.map(|(both, base)| {
        let moved = both[0].clone() - both[1].clone() - *base;
        // −ln σ(x) = ln(1 + e⁻ˣ)
        let sure = activation::softplus(-(moved * (options.beta * sign)), 1.0);
        let wanted = &both[usize::from(sign < 0.0)];
        sure - wanted.clone() * options.nll
    });
    let loss = Tensor::cat(each.collect(), 0).mean();
    let Some(base) = neutral else {
        return loss;
    };
    let rows = &read.rows[read.rows.len() - 1];
    let steered = read.logits.clone().narrow(0, rows.start, rows.len());
    let (base, steered) = (
        activation::log_softmax(base.clone(), 1),
        activation::log_softmax(steered, 1),
    );
    let kl = (base.clone().exp() * (base - steered)).sum_dim(1).mean();
    loss + kl * options.kl
}
