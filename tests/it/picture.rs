//! Pictures of weights, at one place of each kind of every golden case. Nothing here names a method.

use std::collections::HashSet;

use pollster::block_on;
use steering_playground::adapters;
use steering_playground::dose::{Picture, Place, What, picture};
use steering_playground::hooks::{Law, Mask};
use steering_playground::session::Session;

use crate::common::tiny;
use crate::golden::cases;

/// A session with one adapter.
fn loaded(name: &str) -> (Session, u32) {
    let case = cases().into_iter().find(|case| case.name == name);
    let case = case.expect("a golden case");
    let session = tiny(&case.base);
    let adapter = adapters::load(&case.files(), &session.model).expect("loads");
    let id = session.stack.borrow_mut().add(adapter);
    (session, id)
}

/// Every kind of place of every case, at c = 0, 1 and −0.5: what a law promises is there, and 0 is the base.
#[test]
fn every_place_has_its_picture_and_keeps_its_promises() {
    let mut failures = Vec::new();
    let (mut kinds, mut promised) = (HashSet::new(), 0);
    for case in cases() {
        let session = tiny(&case.base);
        let adapter = adapters::load(&case.files(), &session.model).expect("loads");
        let (places, law) = (adapter.places(), adapter.laws[0].law);
        let id = session.stack.borrow_mut().add(adapter);
        for (module, blocks) in places {
            let place = Place {
                layer: blocks.first().copied(),
                module: Some(module),
            };
            // As nearly as the trained adapter keeps lengths, which a truncated series need not do exactly.
            let mut stretch = 0.0;
            for c in [0.0, 1.0, -0.5] {
                let mut fail =
                    |what: String| failures.push(format!("{} {module} at {c}: {what}", case.name));
                let Picture { what, .. } = match block_on(picture(&session, id, place, c)) {
                    Ok(found) => found,
                    Err(error) => {
                        fail(error.to_string());
                        continue;
                    }
                };
                kinds.insert(std::mem::discriminant(&what));
                let What::Weight(weight) = what else { continue };
                if weight.base.is_empty() || weight.base.windows(2).any(|two| two[0] < two[1]) {
                    fail(format!("{:?} do not fall", weight.base));
                }
                if c == 0.0
                    && (weight.relative != 0.0
                        || weight.base != weight.steered
                        || !weight.change.is_empty())
                {
                    fail("is not the base".into());
                }
                if c == 1.0 && law == Law::Geodesic {
                    let lengths = weight.checks.input_lengths.into_iter().flatten();
                    stretch = lengths.fold(0.0, |most: f64, length| most.max((length - 1.0).abs()));
                }
                for off in [weight.checks.undone, weight.checks.proportional]
                    .into_iter()
                    .flatten()
                {
                    promised += 1;
                    if off > 2e-3 + 3.0 * stretch {
                        fail(format!("{law:?} is off by {off:.1e}"));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(promised > 100, "{promised} promises were tried");
    assert!(kinds.len() >= 5, "{} kinds of places", kinds.len());
}

#[test]
fn turns_keep_lengths_and_singular_values() {
    let (session, id) = loaded("hra_even");
    let found = block_on(picture(&session, id, Place::default(), 0.7)).expect("a picture");
    assert_eq!(found.law, Law::Geodesic);
    let own: Vec<&str> = found
        .tensors
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    assert!(own.len() == 1 && own[0].ends_with("hra_u"), "{own:?}");
    let What::Weight(weight) = found.what else {
        panic!("a linear layer")
    };
    for (before, after) in weight.base.iter().zip(&weight.steered) {
        assert!(
            (before - after).abs() < 1e-4 * before,
            "{before} became {after}"
        );
    }
    let [least, most] = weight.checks.input_lengths.expect("a map");
    assert!(
        (least - 1.0).abs() < 1e-4 && (most - 1.0).abs() < 1e-4,
        "{least} to {most}"
    );
    assert!(
        !weight.change.is_empty() && weight.relative > 1e-3,
        "it acts"
    );
}

#[test]
fn places_where_nothing_acts_are_refused() {
    let (session, id) = loaded("lora");
    let layer = Some(99);
    for (id, place, c, code) in [
        (id + 1, Place::default(), 1.0, "no-such-adapter"),
        (
            id,
            Place {
                layer,
                module: None,
            },
            1.0,
            "bad-option",
        ),
        (
            id,
            Place {
                layer: None,
                module: Some("residual"),
            },
            1.0,
            "bad-option",
        ),
        (id, Place::default(), f32::NAN, "bad-coefficient"),
    ] {
        let refused = block_on(picture(&session, id, place, c)).map(|found| found.module);
        assert_eq!(refused.map_err(|error| error.code()), Err(code));
    }
    // A mask does not hide what would be there.
    let before = block_on(picture(&session, id, Place::default(), 1.0)).expect("a picture");
    let other = if before.layer == Some(0) { "1" } else { "0" };
    let mask = Mask::parse(other, "").expect("a block");
    session
        .stack
        .borrow_mut()
        .set_mask(id, mask)
        .expect("it acts there");
    let place = Place {
        layer: before.layer,
        module: Some(before.module),
    };
    let masked = block_on(picture(&session, id, place, 1.0)).expect("a picture");
    assert!(!before.is_masked && masked.is_masked);
    assert_eq!(before.what, masked.what);
}
