//! HRA: Householder reflection adaptation. Yuan et al. 2024.
//! <https://arxiv.org/abs/2405.17484>
//!
//! # Formula
//! ```text
//! y = W (M x),   M = H_1 H_2 … H_r,   H_k = I − 2·u_k u_kᵀ/‖u_k‖²
//! apply_GS: the u_k are made orthogonal first, M = I − 2·U Uᵀ
//! ```
//! # Shapes
//! ```text
//! <module>.hra_u   [i, r], u_k its columns
//! ```
//! # Coefficient
//! Geodesic for even r: two reflections are one rotation by twice the angle between their
//! vectors, and c scales that angle, so M(c) keeps every length and M(−c) = M(c)⁻¹. An odd
//! number of reflections is no rotation and has no path to the identity, and after apply_GS every
//! rotation is a half turn, whose reverse is itself; then c is linear, x + c·(M x − x), which may
//! also be chosen for even r.
//! # Invariant
//! ‖M x‖ = ‖x‖
//! # Intuition
//! Mirrors before the layer: two mirrors together rotate the input. Nothing gets longer or shorter,
//! it only points in another direction.

use std::rc::Rc;

use burn::tensor::{Tensor, TensorData};

use crate::checkpoint::{Family, Loaded, Loader, Method, Target, room_doc};
use crate::error::Result;
use crate::hooks::{Effect, Law, Map, Placed};
use crate::linalg::{
    householder::Reflections,
    matrix::{Matrix, scaled},
};

/// See the head of this file.
pub const METHOD: Method = Method {
    name: "hra",
    peft_type: "HRA",
    matches: |_| true,
    family: Family::Rotate,
    law: Law::Geodesic,
    keys: &["hra_u"],
    reads: &["r", "apply_GS"],
    inert: &["init_weights"],
    doc: room_doc!("hra.rs"),
    load,
};

fn load(loader: &Loader<'_>) -> Result<Loaded> {
    loader.take_apart(&[])?;
    let r = loader.config.count("r")?;
    let gram_schmidt = loader.config.flag("apply_GS");
    let no_turn = match (gram_schmidt, r.is_multiple_of(2)) {
        (true, _) => Some("after apply_GS every rotation is a half turn, its own reverse"),
        (false, false) => Some("an odd number of reflections is no rotation"),
        (false, true) => None,
    };
    let place = |target: Target| {
        let u = loader.host(&loader.key(&target, "hra_u"), [target.i, r])?;
        let reflections = Reflections::new(&u, target.i, r, gram_schmidt);
        let basis: Vec<f32> = (0..target.i)
            .flat_map(|i| reflections.basis.iter().map(move |v| v[i] as f32))
            .collect();
        let basis = loader.upload(basis, [target.i, r]);
        let device = loader.model.device();
        let effect = Rc::new(move |kernel: Matrix| {
            // Rows of x are mapped as x Mᵀ, hence the transpose.
            let kernel: Vec<f32> = (0..r * r).map(|at| kernel[at % r][at / r] as f32).collect();
            let kernel = Tensor::from_data(TensorData::new(kernel, [r, r]), &device);
            vec![Effect::Input(Map::Span {
                basis: basis.clone(),
                kernel,
            })]
        });
        let (mirrored, mirror) = (reflections.reflected(), effect.clone());
        let linear = move |c: f32| mirror(scaled(&mirrored, c.into()));
        Ok(match no_turn {
            Some(why) => Placed::new(target.site, linear).cannot(Law::Geodesic, why),
            None => {
                let turned = move |c: f32| effect(reflections.turned(c.into()));
                Placed::new(target.site, turned).or(Law::Linear, linear)
            }
        })
    };
    let law = no_turn.map_or(Law::Geodesic, |_| Law::Linear);
    let placed = loader
        .targets("hra_u")?
        .into_iter()
        .map(place)
        .collect::<Result<_>>()?;
    Ok(Loaded { law, placed })
}
