//! Every golden case on a GPU against the CPU: whatever native adapter there is, a software one will
//! do. Without any this fails: `cargo xtask test` installs one.

use playground::adapters::{self, Stack, Steering};
use playground::device;
use playground::model::Weights;
use playground::session::Session;

use crate::common::{logits, tiny, tiny_on, together};
use crate::golden::{cases, worst};

/// Logits of size ten; kernels sum in another order than the CPU.
const TOLERANCE: f32 = 5e-5;

/// c for each law, away from the numbers that would hide a factor.
const C: f32 = -0.7;

#[test]
fn every_law_of_every_method_is_the_same_on_a_gpu() {
    let gpu = pollster::block_on(device::gpu());
    let gpu = gpu.expect("no GPU, not even a software one; `cargo xtask test` installs it");
    let mut sessions: Vec<(String, [Session; 2])> = Vec::new();
    let mut failures = Vec::new();
    for case in cases() {
        if !sessions.iter().any(|(base, _)| *base == case.base) {
            let pair = [tiny(&case.base), tiny_on(&case.base, &gpu, Weights::Dense)];
            sessions.push((case.base.clone(), pair));
        }
        let found = sessions.iter().find(|(base, _)| *base == case.base);
        let [cpu, gpu] = &found.expect("just opened").1;
        let all = case.ids();
        let ids = &all[..2];
        let mut stacks = [cpu, gpu].map(|session| {
            let adapter = adapters::load(&case.files(), &session.model);
            let mut stack = Stack::default();
            stack.add(adapter.unwrap_or_else(|error| panic!("{}: {error}", case.name)));
            stack
        });
        let laws = stacks[0].entries()[0].adapter.laws.clone();
        for law in laws.iter().map(|offer| offer.law) {
            let mut run = |at: usize, session: &Session| {
                let stack = &mut stacks[at];
                stack.set_law(1, law).expect("offered");
                stack.set_coefficient(1, C).expect("in every domain");
                logits(session, ids, &stack.steering())
            };
            let apart = worst(&run(0, cpu), &run(1, gpu));
            if apart > TOLERANCE {
                failures.push(format!("{} under {law:?}: {apart:.1e} apart", case.name));
            }
        }
        let steered = stacks.each_mut().map(|stack| stack.steering());
        let both = [(cpu, &steered[0]), (gpu, &steered[1])].map(|(session, steered)| {
            let base = Steering::base();
            let streams = [(3, &**steered), (2, &base), (3, &base)];
            together(session, &streams.map(|(n, steering)| (&all[..n], steering)))
        });
        let apart = worst(&both[0], &both[1]);
        if apart > TOLERANCE {
            failures.push(format!("{} in lockstep: {apart:.1e} apart", case.name));
        }
        let base = logits(gpu, ids, &Steering::base());
        stacks[1].set_coefficient(1, 0.0).expect("0");
        if logits(gpu, ids, &stacks[1].steering()) != base {
            failures.push(format!("{}: 0 is not the base, bit for bit", case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
