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
//! # Intuition
//! A row of volume knobs, one for each number that passes. It can make features louder or
//! quieter, but cannot create new ones.

use crate::checkpoint::{Family, Loaded, Loader, Method, Target, room_doc};
use crate::error::Result;
use crate::hooks::{Effect, Law, Map, Placed};

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
};

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
        let gains = loader.host(&loader.key(&target, "ia3_l"), shape)?;
        let gain = loader.upload(gains.clone(), [width]);
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
