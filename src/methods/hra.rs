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
//! # Hypothesis
//! A behaviour is a turn in a few planes and nothing else. So it can have a low rank and keep every
//! angle, both at once.
//! # Intuition
//! Mirrors before the layer: two mirrors together rotate the input. Nothing gets longer or shorter,
//! it only points in another direction.
//! # Limits
//! It can turn the input in as many planes as it has pairs of mirrors, and no length changes. So a
//! layer cannot become stronger or weaker.

use std::rc::Rc;

use burn::tensor::{Tensor, TensorData};

use super::starts::USUAL;
use crate::checkpoint::{
    Family, Folds, Init, Loaded, Loader, Method, Start, Target, Trains, room_doc,
};
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
    trains: Trains::From { start, rate: 2e-3 },
    extras: None,
    folds: Folds::Not("its turns are made of mirrors, and none of their numbers is an angle"),
};

/// Columns in equal pairs: two equal mirrors are the base.
fn start(start: &mut Start<'_>) -> Result<()> {
    let r = start.rank.next_multiple_of(2);
    start.set("r", r);
    start.set("apply_GS", false);
    for target in start.targets(USUAL)? {
        let i = target.i;
        let half: Vec<f32> = (0..i * r / 2)
            .map(|_| start.uniform() as f32 - 0.5)
            .collect();
        let u = (0..i * r)
            .map(|at| half[at / r * (r / 2) + at % r / 2])
            .collect();
        start.learn(&target, "hra_u", [i, r], Init::Given(u));
    }
    Ok(())
}

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
        let key = loader.key(&target, "hra_u");
        let u = loader.host(&key, [target.i, r])?;
        if let Some(u) = loader.leaf(&key) {
            let u = u.reshape([target.i, r]);
            return Ok(Placed::new(target.site, move |c| mirrors(&u, c)));
        }
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

/// M(1), and M(−1), its reverse, as mirrors one after the other: what training differentiates, which reads
/// no other c. There the turn of a pair is its two mirrors.
fn mirrors(u: &Tensor<2>, c: f32) -> Vec<Effect> {
    let [i, r] = u.dims();
    let lengths = u.clone().square().sum_dim(0).clamp_min(1e-24).sqrt();
    let units = u.clone() / lengths;
    let mirror = |k| {
        let basis = units.clone().narrow(1, k, 1).reshape([i, 1]);
        let kernel = Tensor::full([1, 1], -2.0, &units.device().without_autodiff());
        Effect::Input(Map::Span { basis, kernel })
    };
    if c < 0.0 {
        (0..r).map(mirror).collect()
    } else {
        (0..r).rev().map(mirror).collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use serde_json::json;

    use super::METHOD;
    use crate::methods::pencil::{IDENTITY, Pencil, length, near};

    fn adapter(r: usize, u: impl Into<TensorData>) -> Pencil {
        Pencil::layer(&METHOD, json!({ "r": r }), IDENTITY, &[("hra_u", u.into())])
    }

    /// Mirrors along (1, 0) and (1, 1), 45° apart: together a turn by 90°.
    #[test]
    fn two_mirrors_are_a_turn() {
        let turned = adapter(2, [[1.0, 1.0], [0.0, 1.0]]);
        near(turned.y(1.0, [3.0, 4.0]), [4.0, -3.0]);
        near(turned.y(-1.0, [3.0, 4.0]), [-4.0, 3.0]);
        near([length(turned.y(0.3, [3.0, 4.0]))], [5.0]);
        near(turned.y(-0.3, turned.y(0.3, [3.0, 4.0])), [3.0, 4.0]);
        // Half of it, by 45°: (7, 1)/√2.
        near(
            turned.y(0.5, [3.0, 4.0]),
            [7.0 * 0.5_f32.sqrt(), 0.5_f32.sqrt()],
        );
    }

    #[test]
    fn one_mirror_is_linear_in_c() {
        let mirrored = adapter(1, [[1.0], [0.0]]);
        near(mirrored.y(1.0, [3.0, 4.0]), [-3.0, 4.0]);
        near(mirrored.y(0.5, [3.0, 4.0]), [0.0, 4.0]);
        near(mirrored.y(-1.0, [3.0, 4.0]), [9.0, 4.0]);
    }
}
