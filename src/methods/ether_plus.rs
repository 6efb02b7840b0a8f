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
//! <module>.ether_u_out, <module>.ether_v_out   [nb, o/nb], left out with "two_sided": false
//! ```
//! The authors published no adapter file; these names are this program's own, with the config
//! `{"peft_type": "ETHER_PLUS", "nb": nb}`.
//! # Coefficient
//! Linear: c multiplies the change of the output. H keeps no lengths and has no inverse to reach.
//! With two sides it costs a second base product.
//! # Intuition
//! One direction of the input is taken away and another one put in its place. Where the two are
//! nearly the same, little changes; that is where training starts.

use super::ether::{columns, diagonal, units};
use crate::checkpoint::{Family, Loaded, Loader, Method, Target, room_doc};
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
    reads: &["nb", "two_sided"],
    inert: &[],
    doc: room_doc!("ether_plus.rs"),
    load,
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    let config = loader.config;
    let nb = config.count("nb")?;
    let two_sided = config.get("two_sided").is_none() || config.flag("two_sided");
    let exchange = |target: &Target, [u, v]: [&str; 2], width| {
        let (u, v) = (
            units(loader, target, u, nb, width)?,
            units(loader, target, v, nb, width)?,
        );
        let signs = [vec![-1.0; nb], vec![1.0; nb]].concat();
        Ok((
            loader.upload(columns(&[&u, &v], width), [width, 2 * nb]),
            loader.upload(diagonal(&signs), [2 * nb, 2 * nb]),
        ))
    };
    let place = |target: Target| {
        let (basis, kernel) = exchange(&target, ["ether_u", "ether_v"], target.i)?;
        if !two_sided {
            return Ok(Placed::new(target.site, move |c| {
                let (basis, kernel) = (basis.clone(), kernel.clone() * c);
                vec![Effect::Input(Map::Span { basis, kernel })]
            }));
        }
        let out = exchange(&target, ["ether_u_out", "ether_v_out"], target.o)?;
        let change = Delta::Mapped {
            inputs: vec![Map::Span { basis, kernel }],
            outputs: vec![Map::Span {
                basis: out.0,
                kernel: out.1,
            }],
            scale: 1.0,
        };
        Ok(Placed::linear(target.site, vec![change]))
    };
    let placed = loader
        .targets("ether_u")?
        .into_iter()
        .map(place)
        .collect::<Result<_>>()?;
    Ok(Loaded {
        law: Law::Linear,
        placed,
    })
}
