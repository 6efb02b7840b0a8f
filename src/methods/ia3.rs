//! IA3: infused adapter by inhibiting and amplifying inner activations. Liu et al. 2022.
//! <https://arxiv.org/abs/2205.05638>
//!
//! # Formula
//! ```text
//! attention:     y = l(c)∘(W x)
//! feed-forward:  y = W (l(c)∘x)
//! l(c) = 1 + c·(l − 1)   or, under the power law, l^c
//! ```
//! # Shapes
//! ```text
//! <module>.ia3_l   l [o, 1] on outputs, [1, i] on inputs (feedforward_modules)
//! ```
//! # Coefficient
//! Linear in the distance of each gain from 1: a gain of 1.3 becomes 0.7 at c = −1. Under the
//! power law it becomes 1/1.3, which undoes it; that needs gains above 0.
//! # Hypothesis
//! The features that a task needs are already there. A behaviour is how loud each of them is.
//! # Intuition
//! A row of volume knobs, one for each number that passes. It can make features louder or
//! quieter, but cannot create new ones.
//! # Limits
//! It makes features louder or quieter and no more. It cannot mix two of them, nor make a new one.

use crate::arch::Projection;
use crate::checkpoint::{
    Family, Fold, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Effect, Law, Map, Module, Placed};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "ia3",
    peft_type: "IA3",
    matches: |_| true,
    family: Family::Scale,
    law: Law::Linear,
    keys: &["ia3_l"],
    reads: &["feedforward_modules"],
    inert: &["init_ia3_weights"],
    doc: room_doc!("ia3.rs"),
    load,
    trains: Trains::From { start, rate: 3e-2 },
    extras: None,
    folds: Folds::Into(&[("ia3_l", Fold::FromOne)]),
};

fn start(start: &mut Start<'_>) -> Result<()> {
    let targets = start.targets(&[Projection::K, Projection::V, Projection::Down])?;
    let is_inner = |target: &Target| target.site.module() == Module::Linear(Projection::Down);
    let inner = targets.iter().filter(|target| is_inner(target));
    let inner: Vec<&str> = inner.map(|target| &*target.path).collect();
    start.set("feedforward_modules", inner);
    for target in &targets {
        let shape = if is_inner(target) {
            [1, target.i]
        } else {
            [target.o, 1]
        };
        start.learn(target, "ia3_l", shape, Init::Filled(1.0));
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    loader.take_apart(&["ia3_l"])?;
    let place = |target: Target| {
        // The shape says on which side the gains act; a square [1, 1] cannot occur.
        let on_input = loader.extent(&target, "ia3_l", 0)? == 1;
        let (shape, width) = if on_input {
            ([1, target.i], target.i)
        } else {
            ([target.o, 1], target.o)
        };
        let key = loader.key(&target, "ia3_l");
        let gains = loader.host(&key, shape)?;
        let gain = loader.on_device(&key, gains.clone(), [width]);
        let effect = move |gain| {
            let map = Map::Scale { gain };
            vec![if on_input {
                Effect::Input(map)
            } else {
                Effect::Output(map)
            }]
        };
        let (change, exponent) = (gain.clone() - 1.0, gain.log());
        let linear = Placed::new(target.site, move |c| effect(change.clone() * c + 1.0));
        Ok(linear.or_powers(Law::Power, &gains, move |c| {
            effect((exponent.clone() * c).exp())
        }))
    };
    let placed = loader
        .targets("ia3_l")?
        .into_iter()
        .map(place)
        .collect::<Result<_>>()?;
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::METHOD;
    use crate::hooks::Law;
    use crate::methods::pencil::{IDENTITY, Pencil, near};

    /// Gains of 2 and ½ on the outputs of W = I.
    fn adapter() -> Pencil {
        let gains = ("ia3_l", [[2.0], [0.5]].into());
        Pencil::layer(&METHOD, json!({}), IDENTITY, &[gains])
    }

    #[test]
    fn gains_move_by_their_distance_from_one() {
        near(adapter().y(1.0, [1.0, 1.0]), [2.0, 0.5]);
        near(adapter().y(-1.0, [1.0, 1.0]), [0.0, 1.5]);
    }

    #[test]
    fn powers_of_gains_undo_each_other() {
        let adapter = adapter().under(Law::Power);
        near(adapter.y(2.0, [1.0, 1.0]), [4.0, 0.25]);
        near(adapter.y(-1.0, adapter.y(1.0, [3.0, 7.0])), [3.0, 7.0]);
    }

    /// Of W = [1 1; 0 1] the first input is doubled.
    #[test]
    fn a_row_of_gains_is_for_the_inputs() {
        let gains = ("ia3_l", [[2.0, 1.0]].into());
        let adapter = Pencil::layer(&METHOD, json!({}), [[1.0, 1.0], [0.0, 1.0]], &[gains]);
        near(adapter.y(1.0, [1.0, 1.0]), [3.0, 1.0]);
    }
}
