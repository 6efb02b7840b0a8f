//! ETHER+: the relaxed form of ETHER, two vectors to a mirror and both sides of the layer. Bini et al. 2024.
//! <https://arxiv.org/abs/2405.20271>
//!
//! # Formula
//! ```text
//! y = y₀ + c·(H_out W H x − W x),   y₀ = W x
//! H = blockdiag(I − u_k u_kᵀ/‖u_k‖² + v_k v_kᵀ/‖v_k‖²), likewise H_out
//! ```
//! # Shapes
//! ```text
//! <module>.ether_u, <module>.ether_v           [nb, i/nb], u_k and v_k their rows
//! <module>.ether_u_out, <module>.ether_v_out   [nb, o/nb]; with "two_sided": false one of the two pairs
//! ```
//! The authors published no adapter file; these names are this program's own, with the config
//! `{"peft_type": "ETHER_PLUS", "nb": nb}`, and `"cut": "rows"` for blocks on the input as the authors' code
//! has them, see ETHER. `convert/ether.py` makes them of what that code saves.
//! # Coefficient
//! Linear: c multiplies the change of the output. H keeps no lengths and has no inverse to reach.
//! With two sides it costs a second base product.
//! # Hypothesis
//! A behaviour is an exchange: one direction that a layer listens to gives way to another. A whole
//! mirror is more than most tasks need; the change should be bounded but may be small.
//! # Intuition
//! One direction of the input is taken away and another one put in its place. Where the two are
//! nearly the same, little changes; that is where training starts.
//! # Limits
//! Each block exchanges one direction for another, on the input and on the output. Its change is
//! bounded, so a task that needs a large one is out of reach.

use burn::tensor::Tensor;

use super::ether::{basis, by_rows, diagonal, is_cut_by_rows, units};
use super::starts::{USUAL, common_divisor};
use crate::checkpoint::{
    Family, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
use crate::error::Result;
use crate::hooks::{Delta, Effect, Law, Map, Placed};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "ether_plus",
    peft_type: "ETHER_PLUS",
    matches: |_| true,
    family: Family::Rotate,
    law: Law::Linear,
    keys: &["ether_u", "ether_v", "ether_u_out", "ether_v_out"],
    reads: &["nb", "two_sided", "cut"],
    inert: &[],
    doc: room_doc!("ether_plus.rs"),
    load,
    trains: Trains::From { start, rate: 5e-3 },
    extras: None,
    folds: Folds::Not("its numbers are directions, which have no amount"),
};

/// u = v, which is the base.
fn start(start: &mut Start<'_>) -> Result<()> {
    let targets = start.targets(USUAL)?;
    let widths = targets.iter().flat_map(|target| [target.i, target.o]);
    let nb = common_divisor(widths, start.rank);
    start.set("nb", nb);
    start.set("two_sided", true);
    for target in targets {
        for ([u, v], width) in [
            (["ether_u", "ether_v"], target.i),
            (["ether_u_out", "ether_v_out"], target.o),
        ] {
            let same: Vec<f32> = (0..width).map(|_| start.uniform() as f32 - 0.5).collect();
            let shape = [nb, width / nb];
            start.learn(&target, u, shape, Init::Given(same.clone()));
            start.learn(&target, v, shape, Init::Given(same));
        }
    }
    Ok(())
}

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let nb = config.count("nb")?;
    let two_sided = config.get("two_sided").is_none() || config.flag("two_sided");
    let rows = is_cut_by_rows(config)?;
    let pair = |target: &Target, names: [&str; 2], width| {
        let [u, v] = names.map(|name| units(loader, target, name, nb, width));
        Ok([(u?, -1.0), (v?, 1.0)])
    };
    let exchange = |[(u, minus), (v, plus)]: [(Tensor<2>, f32); 2]| {
        let signs = [vec![minus; nb], vec![plus; nb]].concat();
        let kernel = loader.upload(diagonal(&signs), [2 * nb, 2 * nb]);
        let basis = Tensor::cat(vec![basis(loader, u), basis(loader, v)], 1);
        (basis, kernel)
    };
    let span = |(basis, kernel)| Map::Span { basis, kernel };
    let place = |target: Target| {
        let is_there = |name: &str| loader.shape(&loader.key(&target, name)).is_some();
        let sides = ["ether_u_out", "ether_u"].map(|other| two_sided || !is_there(other));
        let input = sides[0]
            .then(|| pair(&target, ["ether_u", "ether_v"], target.i))
            .transpose()?;
        let output = sides[1]
            .then(|| pair(&target, ["ether_u_out", "ether_v_out"], target.o))
            .transpose()?;
        let change = match (input, output.map(exchange).map(span)) {
            (Some(input), None) if !rows => {
                let (basis, kernel) = exchange(input);
                return Ok(Placed::new(target.site, move |c| {
                    let (basis, kernel) = (basis.clone(), kernel.clone() * c);
                    vec![Effect::Input(Map::Span { basis, kernel })]
                }));
            }
            (Some(input), output) if rows => {
                let turned = by_rows(loader, &target, &input);
                // The rows of Wᵀ are what the output sees of one input.
                let turned = match output {
                    Some(map) => map.apply(turned.transpose()).transpose(),
                    None => turned,
                };
                let delta = turned - loader.base_weight(&target);
                Delta::Dense { delta, scale: 1.0 }
            }
            (input, output) => Delta::Mapped {
                inputs: input.map(exchange).map(span).into_iter().collect(),
                outputs: output.into_iter().collect(),
                scale: 1.0,
            },
        };
        Ok(Placed::linear(target.site, vec![change]))
    };
    let placed = loader
        .targets_of_any(&["ether_u", "ether_u_out"])?
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
    use crate::methods::pencil::{Pencil, near};

    fn adapter(v: [[f32; 2]; 1], v_out: [[f32; 2]; 1]) -> Pencil {
        Pencil::layer(
            &METHOD,
            json!({ "nb": 1 }),
            [[0.0, 1.0], [1.0, 0.0]],
            &[
                ("ether_u", [[1.0, 0.0]].into()),
                ("ether_v", v.into()),
                ("ether_u_out", [[0.0, 3.0]].into()),
                ("ether_v_out", v_out.into()),
            ],
        )
    }

    /// H = diag(0, 2) makes (0, 2) of (1, 1), W exchanges the two, and H_out = diag(2, 0) doubles.
    #[test]
    fn one_direction_gives_way_to_another() {
        let adapter = adapter([[0.0, 1.0]], [[5.0, 0.0]]);
        near(adapter.y(1.0, [1.0, 1.0]), [4.0, 0.0]);
        near(adapter.y(-1.0, [1.0, 1.0]), [-2.0, 2.0]);
    }

    #[test]
    fn a_direction_in_its_own_place_changes_nothing() {
        near(
            adapter([[2.0, 0.0]], [[0.0, 1.0]]).y(1.0, [3.0, 4.0]),
            [4.0, 3.0],
        );
    }
}
