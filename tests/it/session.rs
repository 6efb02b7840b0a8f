//! Streams on a tiny model: lockstep, noise, changes in mid-stream, the cache's two policies.

use steering_playground::adapters::{self, Stack};
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::device::read_back;
use steering_playground::hooks::Mask;
use steering_playground::model::Positions;
use steering_playground::sample::Sampling;
use steering_playground::session::{CachePolicy, CacheUse, Finish, Request, Session, Step};

use crate::common::{adapter_files, golden_dir, tiny};

const PROMPT: [u32; 5] = [5, 9, 3, 77, 20];

/// `ln softmax(logits)`
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
    let log_p = logits.iter().map(|logit| f64::from(*logit) - sum.ln());
    log_p.collect()
}

/// `KL(p ‖ q)` of two such.
pub fn kl_nats(log_p: &[f64], log_q: &[f64]) -> f64 {
    let pairs = log_p.iter().zip(log_q);
    pairs.map(|(p, q)| p.exp() * (p - q)).sum()
}

fn with_adapter(case: &str) -> (Session, u32) {
    let session = tiny("base");
    let adapter = adapters::load(&adapter_files(&golden_dir().join(case)), &session.model);
    let id = session.stack.borrow_mut().add(adapter.expect("loads"));
    (session, id)
}

fn request(seed: u64) -> Request {
    Request {
        ids: Some(PROMPT.to_vec()),
        max_tokens: 24,
        sampling: Sampling {
            temperature: 1.0,
            seed,
            ..Sampling::default()
        },
        compare: true,
        ..Request::default()
    }
}

/// Runs to the end; `before` sees the session and the index of the step to come.
pub fn run(session: &Session, request: Request, mut before: impl FnMut(usize)) -> Vec<Step> {
    let mut generation = session.generate(request).expect("starts");
    let mut steps = Vec::new();
    loop {
        before(steps.len());
        match pollster::block_on(generation.next()).expect("steps") {
            Some(step) => steps.push(step),
            None => return steps,
        }
    }
}

fn ids(steps: &[Step]) -> (Vec<u32>, Vec<u32>) {
    let pair = |step: &Step| match step {
        Step::Token { steered, base, .. } => {
            (steered.as_ref().map(|s| s.id), base.as_ref().map(|s| s.id))
        }
        Step::Prefill { .. } => (None, None),
    };
    let (steered, base): (Vec<_>, Vec<_>) = steps.iter().map(pair).unzip();
    (
        steered.into_iter().flatten().collect(),
        base.into_iter().flatten().collect(),
    )
}

#[test]
fn at_zero_both_streams_are_one() {
    let (session, _) = with_adapter("lora");
    let steps = run(&session, request(4), |_| {});
    let (steered, base) = ids(&steps);
    assert_eq!(steered, base, "c = 0");
    assert_eq!(steered.len(), 24, "all tokens");
    for step in &steps {
        let Step::Token {
            kl_nats,
            coefficients,
            ..
        } = step
        else {
            continue;
        };
        assert_eq!(*kl_nats, Some(0.0), "KL at c = 0");
        assert!(coefficients.is_empty(), "an adapter at c = 0 is not active");
    }
}

#[test]
fn a_long_prompt_is_read_in_pieces_that_are_told() {
    let (session, id) = with_adapter("lora");
    let prompt: Vec<u32> = (0..200).map(|at| (at * 37 + 11) % 96).collect();
    let long = || Request {
        ids: Some(prompt.clone()),
        max_tokens: 3,
        compare: true,
        ..Request::default()
    };
    let told = |steps: &[Step]| -> Vec<(usize, usize)> {
        let of = |step: &Step| match step {
            Step::Prefill {
                done_tokens,
                total_tokens,
            } => Some((*done_tokens, *total_tokens)),
            Step::Token { .. } => None,
        };
        steps.iter().filter_map(of).collect()
    };
    assert_eq!(told(&run(&session, long(), |_| {})), [(128, 200)]);
    let mut stack = session.stack.borrow_mut();
    stack.set_coefficient(id, 1.0).expect("finite");
    drop(stack);
    assert_eq!(
        told(&run(&session, long(), |_| {})),
        [(64, 200), (128, 200)],
        "a piece for each of two streams"
    );
    assert_eq!(told(&run(&session, request(1), |_| {})), []);
}

#[test]
fn the_same_seed_says_the_same() {
    let (session, id) = with_adapter("lora");
    session
        .stack
        .borrow_mut()
        .set_coefficient(id, 1.0)
        .expect("finite");
    let first = ids(&run(&session, request(9), |_| {}));
    assert_eq!(
        first,
        ids(&run(&session, request(9), |_| {})),
        "seed 9 twice"
    );
    assert_ne!(
        first,
        ids(&run(&session, request(10), |_| {})),
        "another seed"
    );
    assert_ne!(first.0, first.1, "this adapter changes the text");
}

#[test]
fn a_change_in_mid_stream_acts_at_the_next_token_and_is_recorded() {
    let (session, id) = with_adapter("lora");
    let turn = |at: usize| {
        let c = if (6..12).contains(&at) { 2.0 } else { 0.0 };
        session
            .stack
            .borrow_mut()
            .set_coefficient(id, c)
            .expect("finite");
    };
    let steps = run(&session, request(4), turn);
    for (at, step) in steps.iter().enumerate() {
        let Step::Token {
            coefficients,
            cache,
            kl_nats,
            ..
        } = step
        else {
            continue;
        };
        let active = (6..12).contains(&at);
        assert_eq!(coefficients.len(), usize::from(active), "step {at}");
        assert_eq!(
            *cache == CacheUse::Kept,
            at >= 6,
            "old entries are kept, step {at}"
        );
        assert_eq!(
            kl_nats.is_some_and(|kl| kl > 0.0),
            at >= 6,
            "the effect shows, step {at}"
        );
    }
    let (steered, base) = ids(&steps);
    assert_eq!(steered[..6], base[..6], "before the change");
    assert_eq!(
        ids(&run(&session, request(4), |_| {})).1,
        base,
        "the base never changes"
    );
}

#[test]
fn recomputing_is_as_if_from_the_start() {
    let (session, id) = with_adapter("hra_even");
    let request = Request {
        cache: CachePolicy::Recompute,
        ..request(4)
    };
    let turn = |at: usize| {
        let c = if at >= 6 { 1.5 } else { 0.0 };
        session
            .stack
            .borrow_mut()
            .set_coefficient(id, c)
            .expect("finite");
    };
    let steps = run(&session, request, turn);
    let steering = session.stack.borrow_mut().steering();
    let (steered, _) = ids(&steps);
    for (at, step) in steps.iter().enumerate() {
        let Step::Token {
            cache,
            steered: Some(step),
            ..
        } = step
        else {
            continue;
        };
        assert_eq!(
            *cache == CacheUse::Recomputed,
            at == 6,
            "once, at the change: step {at}"
        );
        if at >= 6 {
            let so_far = [&PROMPT[..], &steered[..at]].concat();
            let mut fresh = session.model.new_cache();
            let logits = session
                .model
                .forward(&so_far, &mut fresh, &steering, Positions::Last);
            let logits = logits.expect("runs").expect("logits");
            let logits = pollster::block_on(read_back(logits)).expect("read");
            let expected = log_softmax(&logits)[step.id as usize].exp();
            assert!((step.probability - expected).abs() < 1e-5, "step {at}");
        }
    }
}

#[test]
fn the_kl_after_the_split_is_of_the_steered_text() {
    let (session, id) = with_adapter("lora");
    session
        .stack
        .borrow_mut()
        .set_coefficient(id, 1.0)
        .expect("finite");
    let steering = session.stack.borrow_mut().steering();
    let steps = run(&session, request(4), |_| {});
    let (steered, base) = ids(&steps);
    let split = steered
        .iter()
        .zip(&base)
        .position(|(a, b)| a != b)
        .expect("they differ");
    assert!(
        split + 3 < steps.len(),
        "enough is said behind the split at {split}"
    );
    let distribution = |ids: &[u32], steering: &steering_playground::hooks::Steering| {
        let mut cache = session.model.new_cache();
        let logits = session
            .model
            .forward(ids, &mut cache, steering, Positions::Last);
        let logits = logits.expect("runs").expect("logits");
        log_softmax(&pollster::block_on(read_back(logits)).expect("read"))
    };
    for (at, step) in steps.iter().enumerate() {
        let Step::Token { kl_nats: found, .. } = step else {
            continue;
        };
        let so_far = [&PROMPT[..], &steered[..at]].concat();
        let p = distribution(&so_far, &steering);
        let q = distribution(&so_far, &steering_playground::hooks::Steering::base());
        let expected = kl_nats(&p, &q);
        let found = found.expect("both streams run");
        assert!(
            (found - expected).abs() < 1e-4,
            "step {at}: {found} is not {expected}"
        );
    }
}

#[test]
fn switching_off_keeps_the_coefficient() {
    let (session, id) = with_adapter("ia3");
    let mut stack = session.stack.borrow_mut();
    stack.set_coefficient(id, 0.5).expect("finite");
    stack.set_enabled(id, false).expect("known");
    assert!(stack.steering().stamp().is_empty(), "off");
    stack.set_enabled(id, true).expect("known");
    let acting = stack.steering().stamp().to_vec();
    assert_eq!((acting[0].id, acting[0].coefficient), (id, 0.5), "on again");
    stack.remove(id).expect("known");
    assert_eq!(
        stack.set_enabled(id, true).map_err(|e| e.code()),
        Err("no-such-adapter")
    );
}

#[test]
fn several_adapters_stack_in_order() {
    let (session, lora) = with_adapter("lora");
    let road = adapters::load(&adapter_files(&golden_dir().join("ia3")), &session.model);
    let mut stack = session.stack.borrow_mut();
    let road = stack.add(road.expect("loads"));
    let run =
        |stack: &mut adapters::Stack| crate::common::logits(&session, &PROMPT, &stack.steering());
    let base = run(&mut stack);
    stack.set_coefficient(lora, 1.0).expect("finite");
    let one = run(&mut stack);
    stack.set_coefficient(road, 1.0).expect("finite");
    let both = run(&mut stack);
    stack.set_coefficient(lora, 0.0).expect("finite");
    let other = run(&mut stack);
    assert!(base != one && one != both && both != other, "each acts");
    stack.set_coefficient(road, 0.0).expect("finite");
    assert_eq!(run(&mut stack), base, "back at 0");
}

#[test]
fn another_task_takes_the_place_of_the_one_before() {
    let (session, poly) = with_adapter("poly");
    let other = |task| {
        let files = AdapterFiles {
            task: Some(task),
            ..adapter_files(&golden_dir().join("poly"))
        };
        adapters::load(&files, &session.model).expect("loads")
    };
    let mask = Mask::parse("1", "all").expect("a mask");
    let at = |stack: &mut Stack, id| {
        stack.set_coefficient(id, -2.0).expect("finite");
        stack
            .set_mask(id, mask.clone())
            .expect("some places are left");
        crate::common::logits(&session, &PROMPT, &stack.steering())
    };
    let expected = |task| {
        let mut stack = Stack::default();
        let id = stack.add(other(task));
        at(&mut stack, id)
    };
    let mut stack = session.stack.borrow_mut();
    at(&mut stack, poly);
    let before = stack.steering().stamp().clone();
    for task in [2, 0] {
        stack.replace(poly, other(task)).expect("the same laws");
        let found = crate::common::logits(&session, &PROMPT, &stack.steering());
        assert_eq!(found, expected(task), "id, c and mask stay, task {task}");
    }
    assert_ne!(expected(0), expected(2), "the tasks differ");
    assert_ne!(
        *stack.steering().stamp(),
        before,
        "what was computed under the task before is not current"
    );
    stack.set_enabled(poly, false).expect("known");
    stack.replace(poly, other(1)).expect("the same laws");
    assert!(stack.steering().stamp().is_empty(), "off stays off");
    assert_eq!(
        stack.replace(poly + 1, other(1)).map_err(|e| e.code()),
        Err("no-such-adapter")
    );
}

#[test]
fn weights_of_ones_own_are_taken_as_they_are() {
    let session = tiny("base_untied");
    let files = adapter_files(&golden_dir().join("poly_weights"));
    let own = files.expert_weights.clone().expect("weights");
    let at = |task, expert_weights, c| {
        let files = AdapterFiles {
            task,
            expert_weights,
            ..files.clone()
        };
        let mut stack = Stack::default();
        let id = stack.add(adapters::load(&files, &session.model).expect("loads"));
        stack.set_coefficient(id, c).expect("finite");
        crate::common::logits(&session, &PROMPT[..3], &stack.steering())
    };
    let times = |by: f32| Some(own.iter().map(|weight| by * weight).collect::<Vec<_>>());
    let given = at(None, times(1.0), 1.0);
    let close = |found: &[f32]| crate::golden::worst(found, &given) < 1e-4;
    assert!(close(&at(Some(1), None, 1.0)), "the task that weighs so");
    assert!(!close(&at(Some(0), None, 1.0)), "the other one does not");
    // They are in A and in B, and nothing makes them sum to 1.
    assert!(
        close(&at(None, times(2.0), 0.25)),
        "twice is four times the change"
    );
    assert!(close(&at(None, times(-1.0), 1.0)), "minus times minus");
    assert!(!close(&at(None, times(2.0), 1.0)));
    let none = at(None, Some(vec![0.0; own.len()]), 1.0);
    assert_eq!(none, at(None, times(1.0), 0.0), "no skill: the base");
}

#[test]
fn what_cannot_follow_takes_no_place() {
    let (session, id) = with_adapter("oft");
    let lora = || adapters::load(&adapter_files(&golden_dir().join("lora")), &session.model);
    let mut stack = session.stack.borrow_mut();
    stack.set_coefficient(id, 0.5).expect("finite");
    let before = crate::common::logits(&session, &PROMPT, &stack.steering());
    let refused = stack.replace(id, lora().expect("loads"));
    assert_eq!(refused.map_err(|e| e.code()), Err("bad-law"), "oft turns");
    let after = crate::common::logits(&session, &PROMPT, &stack.steering());
    assert_eq!(after, before, "the old one stays");
}

#[test]
fn a_full_context_is_another_end_than_the_asked_length() {
    let session = tiny("base");
    let context = session.model.config().context;
    for (max_tokens, expected, finish) in [
        (2, 2, Finish::Length),
        (3, 3, Finish::Length),
        (4, 3, Finish::Context),
    ] {
        let request = Request {
            ids: Some(vec![7; context - 3]),
            max_tokens,
            compare: true,
            ..Request::default()
        };
        let steps = run(&session, request, |_| ());
        let tokens = steps.iter().filter_map(|step| match step {
            Step::Token { steered, base, .. } => Some((steered.as_ref(), base.as_ref())),
            Step::Prefill { .. } => None,
        });
        let ends: Vec<_> = tokens
            .map(|(steered, base)| (steered.and_then(|s| s.finish), base.and_then(|b| b.finish)))
            .collect();
        assert_eq!(ends.len(), expected, "{max_tokens} asked for");
        assert_eq!(ends.last(), Some(&(Some(finish), Some(finish))));
    }
}

#[test]
fn bad_requests_say_why() {
    let (session, id) = with_adapter("lora");
    let code = |request: Request| session.generate(request).map(|_| ()).map_err(|e| e.code());
    let with_ids = |ids: &[u32]| Request {
        ids: Some(ids.to_vec()),
        ..Request::default()
    };
    assert_eq!(code(with_ids(&[])), Err("empty-prompt"), "no ids");
    assert_eq!(
        code(Request::default()),
        Err("no-tokenizer"),
        "text without a tokenizer"
    );
    let context = session.model.config().context;
    assert_eq!(
        code(with_ids(&vec![1; context])),
        Err("prompt-too-long"),
        "the whole context"
    );
    let sampling = Sampling {
        top_p: 2.0,
        ..Sampling::default()
    };
    assert_eq!(
        code(Request {
            sampling,
            ..with_ids(&PROMPT)
        }),
        Err("bad-option"),
        "top-p 2"
    );
    let mut generation = session.generate(with_ids(&[99_999])).expect("starts");
    let error = pollster::block_on(generation.next())
        .map(|_| ())
        .map_err(|e| e.code());
    assert_eq!(error, Err("bad-token"), "an id outside the vocabulary");
    let mut stack = session.stack.borrow_mut();
    for c in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = stack.set_coefficient(id, c).map_err(|e| e.code());
        assert_eq!(error, Err("bad-coefficient"), "{c}");
    }
    assert_eq!(
        stack.entries()[0].coefficient,
        0.0,
        "a refused coefficient changes nothing"
    );
}
