//! The algebra that each law promises, at random places, inputs and coefficients of every golden
//! case. Nothing here names a method.

use burn::tensor::{Tensor, TensorData};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use steering_playground::adapters::{self, Stack};
use steering_playground::device::read_back;
use steering_playground::hooks::{Gain, Law, Map, Placed, Site, Sited, Steering};
use steering_playground::session::Session;

use crate::common::tiny;
use crate::golden::{cases, worst};

/// Inputs of a layer in one draw.
const ROWS: usize = 3;

/// One adapter under one law.
struct Case {
    name: String,
    session: Session,
    stack: Stack,
    id: u32,
    law: Law,
    /// The largest |c| that the law admits.
    limit: f32,
}

/// Runs a property on four draws of `(place, c, input)` for each golden case that follows the law.
/// The draws are the same in every run.
fn every_case(law: Law, property: impl Fn(&mut Case, usize, f32, &[f32]) -> Result<(), String>) {
    let mut seen = 0;
    for golden in cases() {
        let session = tiny(&golden.base);
        let adapter = adapters::load(&golden.files(), &session.model).expect("loads");
        let Some(offer) = adapter.laws.iter().find(|offer| offer.law == law) else {
            continue;
        };
        seen += 1;
        let limit = offer
            .domain
            .as_ref()
            .map_or(4.0, |domain| domain.range.end().min(4.0));
        let mut stack = Stack::default();
        let id = stack.add(adapter);
        stack.set_law(id, law).expect("offered");
        let case = std::cell::RefCell::new(Case {
            name: golden.name.clone(),
            session,
            stack,
            id,
            law,
            limit,
        });
        let config = Config {
            cases: 4,
            failure_persistence: None,
            ..Config::default()
        };
        let rng = TestRng::deterministic_rng(RngAlgorithm::XorShift);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let draws = (
            any::<prop::sample::Index>(),
            0.05_f32..1.0,
            prop::collection::vec(-2.0_f32..2.0, ROWS * 100),
        );
        let result = runner.run(&draws, |(place, share, input)| {
            let case = &mut *case.borrow_mut();
            let places = case.stack.entries()[0].adapter.placed.len();
            let found = property(case, place.index(places), share, &input);
            found.map_err(|why| TestCaseError::fail(format!("{}: {why}", case.name)))
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, (place, share, _))) => panic!("{why} ({place:?}, {share})"),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(seen > 0, "no golden case follows {law:?}");
}

impl Case {
    fn placed(&self, place: usize) -> &Placed {
        &self.stack.entries()[0].adapter.placed[place]
    }

    /// What acts at coefficient c, from the whole stack as a forward pass reads it.
    fn steering(&mut self, c: f32) -> std::rc::Rc<Steering> {
        self.stack
            .set_coefficient(self.id, c)
            .expect("in the domain");
        self.stack.steering()
    }

    fn rows(&self, input: &[f32], width: usize) -> Tensor<2> {
        let numbers: Vec<f32> = input.iter().copied().cycle().take(ROWS * width).collect();
        let data = TensorData::new(numbers, [ROWS, width]);
        Tensor::from_data(data, &self.session.model.device())
    }

    /// The linear layer of a place, and the width of its input; none for other places.
    fn layer(&self, place: usize) -> Option<(usize, steering_playground::arch::Projection, usize)> {
        let Site::Linear(layer, projection) = self.placed(place).site else {
            return None;
        };
        let (i, _) = projection.widths(self.session.model.config());
        Some((layer, projection, i))
    }

    /// The output of a linear layer at c.
    fn output(&mut self, place: usize, c: f32, input: &[f32]) -> Option<Vec<f32>> {
        let (layer, projection, i) = self.layer(place)?;
        let steering = self.steering(c);
        if !steering.gates.is_empty() {
            // Experts are weighed by a whole forward pass.
            return None;
        }
        let x = self.rows(input, i);
        let linear = self.session.model.linear(layer, projection);
        Some(numbers(
            linear.forward(x, steering.layer(layer).linear(projection)),
        ))
    }

    /// The change of a norm's gain at c.
    fn gain(&self, place: usize, c: f32) -> Option<Vec<f32>> {
        let effects = self.placed(place).effects(self.law, c);
        effects.into_iter().find_map(|effect| match effect {
            Sited::Gain(_, Gain(change)) => Some(numbers(change.unsqueeze())),
            _ => None,
        })
    }

    /// The maps of a linear layer's input and of its output at c.
    fn maps(&mut self, place: usize, c: f32) -> Option<[Vec<Map>; 2]> {
        let (layer, projection, _) = self.layer(place)?;
        let steering = self.steering(c);
        let plan = steering.layer(layer).linear(projection);
        Some([plan.inputs.clone(), plan.outputs.clone()])
    }
}

fn numbers(tensor: Tensor<2>) -> Vec<f32> {
    pollster::block_on(read_back(tensor)).expect("read")
}

fn largest(numbers: &[f32]) -> f32 {
    numbers.iter().fold(0.0, |most, x| most.max(x.abs()))
}

fn through(maps: &[Map], x: Tensor<2>) -> Tensor<2> {
    maps.iter().fold(x, |x, map| map.apply(x))
}

/// The lengths of rows.
fn lengths(rows: Tensor<2>) -> Vec<f32> {
    numbers(rows.square().sum_dim(1).sqrt())
}

/// `f(2c) − f(0) = 2·(f(c) − f(0))`, and `f(−c)` is the mirror image of `f(c)`.
#[test]
fn linear_is_linear() {
    every_case(Law::Linear, |case, place, share, input| {
        let c = share * case.limit / 2.0;
        if let Some(gain) = case.gain(place, c) {
            let twice = case.gain(place, 2.0 * c).expect("as before");
            let doubled: Vec<f32> = gain.iter().map(|x| 2.0 * x).collect();
            return close(&twice, &doubled, 1e-5 * largest(&twice), "twice the gain");
        }
        let Some(base) = case.output(place, 0.0, input) else {
            return Ok(());
        };
        let mut change = |c: f32| -> Vec<f32> {
            let y = case.output(place, c, input).expect("as before");
            y.iter().zip(&base).map(|(y, base)| y - base).collect()
        };
        let (once, twice, mirrored) = (change(c), change(2.0 * c), change(-c));
        let tolerance = 1e-5 * (largest(&base) + largest(&twice));
        let by = |factor: f32| once.iter().map(|x| factor * x).collect::<Vec<_>>();
        close(&twice, &by(2.0), tolerance, "twice the change")?;
        close(&mirrored, &by(-1.0), tolerance, "the mirror image")
    });
}

/// `R(−c)` undoes `R(c)`, and lengths stay: exactly, or as nearly as the trained adapter itself
/// keeps them, which a truncated series need not do exactly.
#[test]
fn geodesic_keeps_lengths_and_is_undone() {
    every_case(Law::Geodesic, |case, place, share, input| {
        let c = share;
        let Some((_, _, width)) = case.layer(place) else {
            return Ok(());
        };
        let x = case.rows(input, width);
        let before = lengths(x.clone());
        let mut turned = |c: f32| case.maps(place, c).expect("as before")[0].clone();
        let (trained, there, back) = (turned(1.0), turned(c), turned(-c));
        if there.is_empty() {
            return Err("turns nothing".into());
        }
        let stretch = worst(&lengths(through(&trained, x.clone())), &before) / largest(&before);
        let tolerance = 3.0 * stretch + 1e-5;
        let after = lengths(through(&there, x.clone()));
        close(&after, &before, tolerance * largest(&before), "lengths")?;
        let again = numbers(through(&back, through(&there, x.clone())));
        let x = numbers(x);
        close(&again, &x, tolerance * largest(&before), "there and back")
    });
}

/// `f(−c)` undoes `f(c)`, and `f(2c)` is `f(c)` twice.
#[test]
fn powers_are_undone_and_add_up() {
    every_case(Law::Power, |case, place, share, input| {
        let c = share * case.limit.min(2.0) / 2.0;
        if let Some(change) = case.gain(place, c) {
            let Site::Norm(norm) = case.placed(place).site else {
                return Err("a gain that is no norm's".into());
            };
            let base = numbers(case.session.model.gain(norm).unsqueeze());
            let back = case.gain(place, -c).expect("as before");
            let gains = base.iter().zip(change.iter().zip(&back));
            let product: Vec<f32> = gains.map(|(g, (a, b))| (g + a) * (g + b) / g).collect();
            return close(&product, &base, 1e-5 * largest(&base), "there and back");
        }
        let Some((_, projection, _)) = case.layer(place) else {
            return Ok(());
        };
        let (i, o) = projection.widths(case.session.model.config());
        for (side, width) in [i, o].into_iter().enumerate() {
            let x = case.rows(input, width);
            let mut maps = |c: f32| case.maps(place, c).expect("as before")[side].clone();
            let (once, back, twice) = (maps(c), maps(-c), maps(2.0 * c));
            let there = through(&once, x.clone());
            let again = numbers(through(&back, there.clone()));
            let start = numbers(x.clone());
            close(&again, &start, 1e-5 * largest(&start), "there and back")?;
            let two_steps = numbers(through(&once, there));
            let tolerance = 1e-5 * largest(&two_steps);
            close(&numbers(through(&twice, x)), &two_steps, tolerance, "twice")?;
        }
        Ok(())
    });
}

fn close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) -> Result<(), String> {
    let apart = worst(found, expected);
    if apart <= tolerance + 1e-6 {
        Ok(())
    } else {
        Err(format!(
            "{what}: {apart:.1e} apart, {tolerance:.1e} allowed"
        ))
    }
}
