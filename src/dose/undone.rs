//! Whether c = −1 takes back what c = 1 did: the inverse error of laws that promise it.

use burn::tensor::Tensor;

use super::subject::Subject;
use crate::arch::{Norm, Projection};
use crate::device::read_back;
use crate::error::Result;
use crate::hooks::{Law, Map, Steering};
use crate::model::Model;
use crate::sample::noise_key;

/// Laws under which −c undoes c.
const UNDO: [Law; 4] = [Law::Geodesic, Law::Power, Law::LogPolar, Law::Spectral];

/// Rows of numbers that the maps are tried on.
const ROWS: usize = 4;

/// The largest `‖M(1) M(−1) x − x‖ / ‖x‖` over all maps of inputs and outputs of a linear layer, of
/// random x, and of `|γ(1) γ(−1) / γ² − 1|` over all gains γ of norms; the worst adapter's. `None`
/// where no law undoes, and where what it undoes is neither a map nor a gain.
pub(super) async fn inverse_error(subject: &Subject<'_>) -> Result<Option<f64>> {
    let mut worst: Option<f64> = None;
    for (&(id, share), law) in subject.scaled.iter().zip(subject.laws()?) {
        if !UNDO.contains(&law) {
            continue;
        }
        // Each by itself: two turns one after the other are undone in the opposite order only.
        let alone = |c| subject.session.stack.borrow().steering_of([(id, c)], None);
        let (forth, back) = (alone(share)?, alone(-share)?);
        for error in errors(&subject.session.model, &forth, &back) {
            let error = f64::from(read_back(error).await?[0]);
            worst = Some(worst.map_or(error, |worst| worst.max(error)));
        }
    }
    Ok(worst)
}

/// One number `[1]` for each place.
fn errors(model: &Model, forth: &Steering, back: &Steering) -> Vec<Tensor<1>> {
    let config = model.config();
    let mut errors = Vec::new();
    let mut maps = |width: usize, forth: &[Map], back: &[Map]| {
        if forth.is_empty() && back.is_empty() {
            return;
        }
        let x = noise(model, width);
        let there = back.iter().chain(forth);
        let again = there.fold(x.clone(), |x, map| map.apply(x));
        let length = |x: Tensor<2>| x.square().sum().sqrt();
        errors.push(length(again - x.clone()) / length(x));
    };
    for layer in 0..config.num_layers {
        for projection in Projection::ALL {
            let (i, o) = projection.widths(config);
            let sites = [forth, back].map(|steering| steering.layer(layer).linear(projection));
            maps(i, &sites[0].inputs, &sites[1].inputs);
            maps(o, &sites[0].outputs, &sites[1].outputs);
        }
    }
    maps(config.hidden_size, &forth.head.inputs, &back.head.inputs);
    maps(config.vocab_size, &forth.head.outputs, &back.head.outputs);
    let mut gains = |place, forth: &[Tensor<1>], back: &[Tensor<1>]| {
        if forth.is_empty() && back.is_empty() {
            return;
        }
        let gain = model.gain(place);
        let changed = |by: &[Tensor<1>]| by.iter().fold(gain.clone(), |gain, by| gain + by.clone());
        let both = changed(forth) * changed(back) / gain.clone().square();
        errors.push((both - 1.0).abs().max());
    };
    for layer in 0..config.num_layers {
        for norm in Norm::ALL {
            let sites = [forth, back].map(|steering| &steering.layer(layer).gains[norm as usize]);
            gains(Some((layer, norm)), sites[0], sites[1]);
        }
    }
    gains(None, &forth.gains, &back.gains);
    errors
}

/// Numbers between −1 and 1 `[rows, width]`, always the same.
fn noise(model: &Model, width: usize) -> Tensor<2> {
    let number = |at| f32::from(noise_key(0, at)[0] as i16) / 32768.0;
    let numbers: Vec<f32> = (0..ROWS * width).map(number).collect();
    Tensor::<1>::from_floats(numbers.as_slice(), &model.device()).reshape([ROWS, width])
}
