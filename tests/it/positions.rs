//! Adapters on some tokens alone, on a tiny model: passes, streams, what a cache knows of it, measures.
//! That every method can be kept to some tokens is in `contract.rs`.

use pollster::block_on;
use steering_playground::adapters;
use steering_playground::device::read_back;
use steering_playground::export::Export;
use steering_playground::hooks::{Mask, Steering, Tokens};
use steering_playground::model::{Lane, Positions};
use steering_playground::session::{CachePolicy, CacheUse, Request, Session, Step};

use crate::common::{adapter_files, golden_dir, logits, tiny};
use crate::golden::worst;
use crate::session::{log_softmax, run};

const PROMPT: [u32; 5] = [5, 9, 3, 77, 20];
const ANSWER: [u32; 4] = [41, 8, 60, 2];

/// A golden case at c = 1.
fn with_adapter(case: &str) -> (Session, u32) {
    let session = tiny("base");
    let adapter = adapters::load(&adapter_files(&golden_dir().join(case)), &session.model);
    let id = {
        let mut stack = session.stack.borrow_mut();
        let id = stack.add(adapter.expect("loads"));
        stack.set_coefficient(id, 1.0).expect("finite");
        id
    };
    (session, id)
}

fn choose(session: &Session, id: u32, positions: Tokens) {
    let mask = Mask {
        positions,
        ..Mask::default()
    };
    let set = session.stack.borrow_mut().set_mask(id, mask);
    set.expect("it acts on rows of tokens");
}

fn on(session: &Session, id: u32, positions: Tokens) -> std::rc::Rc<Steering> {
    choose(session, id, positions);
    session.stack.borrow_mut().steering()
}

/// The logits of every token, from one pass for each text, all on one cache whose prompt has so many
/// tokens.
pub fn passes(session: &Session, prompt: usize, texts: &[(&[u32], &Steering)]) -> Vec<f32> {
    let mut cache = session.model.new_cache().with_prompt(prompt);
    let each = texts.iter().flat_map(|(ids, steering)| {
        let model = &session.model;
        let logits = model.forward(ids, &mut cache, steering, Positions::All);
        block_on(read_back(logits.expect("runs").expect("logits"))).expect("read")
    });
    each.collect()
}

fn rows(session: &Session, logits: &[f32]) -> Vec<Vec<f32>> {
    let vocab = session.model.config().vocab_size;
    logits.chunks(vocab).map(<[f32]>::to_vec).collect()
}

#[test]
fn all_tokens_are_as_if_nothing_was_chosen() {
    let (session, id) = with_adapter("lora");
    let plain = session.stack.borrow_mut().steering();
    let ids = [&PROMPT[..], &ANSWER].concat();
    let expected = passes(&session, 5, &[(&ids, &plain)]);
    for tokens in [Tokens::All, Tokens::From(0)] {
        let steering = on(&session, id, tokens);
        assert_eq!(passes(&session, 5, &[(&ids, &steering)]), expected);
        assert_eq!(steering.stamp(), plain.stamp(), "{tokens}");
    }
}

#[test]
fn the_prompt_is_read_as_the_base_reads_it() {
    let (session, id) = with_adapter("lora");
    let base = Steering::base();
    let steering = on(&session, id, Tokens::Generated);
    let found = passes(&session, 5, &[(&PROMPT, &steering), (&ANSWER, &steering)]);
    let of_base = passes(&session, 5, &[(&PROMPT, &base), (&ANSWER, &base)]);
    let (found, of_base) = (rows(&session, &found), rows(&session, &of_base));
    assert_eq!(found[..5], of_base[..5], "bit for bit");
    for at in 5..9 {
        assert_ne!(found[at], of_base[at], "token {at} is generated");
    }
}

/// Later tokens see the prompt's keys, and nothing else of the adapter.
#[test]
fn the_answer_sees_only_the_keys_of_a_steered_prompt() {
    let (session, id) = with_adapter("lora");
    let (whole, base) = (on(&session, id, Tokens::All), Steering::base());
    let steering = on(&session, id, Tokens::Prompt);
    let found = passes(&session, 5, &[(&PROMPT, &steering), (&ANSWER, &steering)]);
    let kept = passes(&session, 5, &[(&PROMPT, &whole), (&ANSWER, &base)]);
    assert_eq!(found, kept, "the adapter's cache, then the base");
    let of_base = passes(&session, 5, &[(&PROMPT, &base), (&ANSWER, &base)]);
    let of_whole = passes(&session, 5, &[(&PROMPT, &whole), (&ANSWER, &whole)]);
    for at in 5..9 {
        let row = |logits: &[f32]| rows(&session, logits).swap_remove(at);
        assert_ne!(row(&found), row(&of_base), "token {at}: the keys differ");
        assert_ne!(
            row(&found),
            row(&of_whole),
            "token {at}: the base reads them"
        );
    }
}

#[test]
fn from_a_token_inside_the_prompt_on_is_two_passes_on_one_cache() {
    let (session, id) = with_adapter("lora");
    let (whole, base) = (on(&session, id, Tokens::All), Steering::base());
    let steering = on(&session, id, Tokens::From(2));
    let found = passes(&session, 5, &[(&PROMPT, &steering)]);
    let (head, tail) = PROMPT.split_at(2);
    let expected = passes(&session, 5, &[(head, &base), (tail, &whole)]);
    assert_eq!(found, expected);
    assert_eq!(
        logits(&session, &PROMPT, &steering),
        expected,
        "of any cache"
    );
    let residuals = |ids: &[u32], steering| -> Vec<f32> {
        let outputs = session.model.residuals(ids, steering).expect("runs");
        let last = outputs.last().expect("a block").clone();
        block_on(read_back(last)).expect("read")
    };
    let stream = residuals(&PROMPT, &steering);
    let of_head = residuals(head, &base);
    assert_eq!(stream[..of_head.len()], of_head, "the stream before it");
    let of_base = residuals(&PROMPT, &base);
    assert!(worst(&stream, &of_base) > 1e-3, "and after it");
}

/// Two adapters, each on tokens of its own.
#[test]
fn each_adapter_has_its_own_tokens() {
    let (session, lora) = with_adapter("lora");
    let files = adapter_files(&golden_dir().join("ia3"));
    let ia3 = adapters::load(&files, &session.model).expect("loads");
    let ia3 = {
        let mut stack = session.stack.borrow_mut();
        let id = stack.add(ia3);
        stack.set_coefficient(id, 1.0).expect("finite");
        id
    };
    let alone = |id| {
        let stack = session.stack.borrow();
        stack.steering_of([(id, 1.0)], None).expect("known")
    };
    let (first, second) = (alone(lora), alone(ia3));
    choose(&session, lora, Tokens::Prompt);
    let steering = on(&session, ia3, Tokens::Generated);
    let ids = [&PROMPT[..], &ANSWER].concat();
    let found = passes(&session, 5, &[(&ids, &steering)]);
    let expected = passes(&session, 5, &[(&PROMPT, &first), (&ANSWER, &second)]);
    assert_eq!(found, expected);
}

/// Lanes that are cut at different places, or not at all, give what each gives alone.
#[test]
fn lanes_of_a_pass_are_cut_each_for_itself() {
    let (session, id) = with_adapter("lora");
    let generated = on(&session, id, Tokens::Generated);
    let from = on(&session, id, Tokens::From(3));
    let base = Steering::base();
    let ids = [&PROMPT[..], &ANSWER].concat();
    let lanes: [(&[u32], usize, &Steering); 4] = [
        (&ids, 5, &generated),
        (&ids[..4], 4, &base),
        (&ids[..7], 1, &from),
        (&ids[..6], 6, &generated),
    ];
    for positions in [Positions::All, Positions::Last, Positions::None] {
        let run = |lanes: &[(&[u32], usize, &Steering)]| -> Vec<f32> {
            let cache =
                |(_, prompt, _): &(_, usize, _)| session.model.new_cache().with_prompt(*prompt);
            let mut caches: Vec<_> = lanes.iter().map(cache).collect();
            let each = lanes.iter().zip(&mut caches);
            let each = each.map(|(&(tokens, _, steering), cache)| Lane {
                tokens,
                cache,
                steering,
            });
            let logits = session.model.forward_lanes(each.collect(), positions);
            let logits = logits.expect("runs");
            assert_eq!(logits.is_none(), positions == Positions::None);
            for (cache, (tokens, ..)) in caches.iter().zip(lanes) {
                assert_eq!(cache.len(), tokens.len(), "all are read");
            }
            logits.map_or(Vec::new(), |logits| {
                block_on(read_back(logits)).expect("read")
            })
        };
        let alone: Vec<f32> = lanes.iter().flat_map(|lane| run(&[*lane])).collect();
        let found = run(&lanes);
        assert_eq!(found.len(), alone.len());
        assert!(worst(&found, &alone) < 1e-5, "{positions:?}");
    }
}

/// What a cache holds is current where the same acted on each of its tokens, whatever the choice was.
#[test]
fn a_cache_under_another_choice_is_another_computation() {
    use Tokens::{All, From, Generated, Prompt};
    let (session, id) = with_adapter("lora");
    let ids = [&PROMPT[..], &ANSWER].concat();
    let choices = [All, Prompt, Generated, From(2), From(5), From(8)];
    for made in choices {
        let steering = on(&session, id, made);
        let mut cache = session.model.new_cache().with_prompt(5);
        let run = session
            .model
            .forward(&ids, &mut cache, &steering, Positions::None);
        run.expect("runs");
        for asked in choices {
            let same = (0..9).all(|at| made.contains(at, 5) == asked.contains(at, 5));
            let steering = on(&session, id, asked);
            assert_eq!(cache.is_all(&steering), same, "{made}, then {asked}");
        }
        assert!(!cache.is_all(&Steering::base()), "{made}, then no adapter");
    }
}

fn request(cache: CachePolicy) -> Request {
    Request {
        ids: Some(PROMPT.to_vec()),
        max_tokens: 8,
        compare: true,
        cache,
        ..Request::default()
    }
}

/// `(token, its probability, KL, what was done about the cache)` of each step.
fn told(steps: &[Step]) -> Vec<(u32, f64, Option<f64>, CacheUse)> {
    let told = steps.iter().filter_map(|step| match step {
        Step::Token {
            steered: Some(lane),
            kl_nats,
            cache,
            ..
        } => Some((lane.id, lane.probability, *kl_nats, *cache)),
        _ => None,
    });
    told.collect()
}

/// The first generated token is chosen as by the base; from the second on the adapter acts on what was
/// generated.
#[test]
fn a_stream_knows_where_its_prompt_ends() {
    let (session, id) = with_adapter("lora");
    let (whole, base) = (on(&session, id, Tokens::All), Steering::base());
    for (tokens, first, then) in [
        (Tokens::Generated, &base, &*whole),
        (Tokens::Prompt, &*whole, &base),
    ] {
        choose(&session, id, tokens);
        let told = told(&run(&session, request(CachePolicy::Keep), |_| {}));
        assert_eq!(told.len(), 8, "{tokens}");
        let said: Vec<u32> = told.iter().map(|step| step.0).collect();
        for (at, (token, probability, kl_nats, cache)) in told.into_iter().enumerate() {
            let texts: [(&[u32], &Steering); 2] = [(&PROMPT, first), (&said[..at], then)];
            let texts = if at == 0 { &texts[..1] } else { &texts[..] };
            let logits = passes(&session, 5, texts);
            let logits = rows(&session, &logits).pop().expect("a row");
            let expected = log_softmax(&logits)[token as usize].exp();
            assert!((probability - expected).abs() < 1e-5, "{tokens}, step {at}");
            assert_eq!(cache, CacheUse::Current, "{tokens}, step {at}");
            if (tokens, at) == (Tokens::Generated, 0) {
                assert!(kl_nats.is_some_and(|kl| kl < 1e-9), "as the base");
            }
        }
    }
}

#[test]
fn a_choice_in_mid_stream_is_kept_or_computed_again() {
    let (session, id) = with_adapter("lora");
    let uses = |policy, at: Tokens, to: Tokens| -> Vec<CacheUse> {
        choose(&session, id, at);
        let change = |step| {
            if step == 3 {
                choose(&session, id, to);
            }
        };
        let told = told(&run(&session, request(policy), change));
        told.into_iter().map(|step| step.3).collect()
    };
    let kept = uses(CachePolicy::Keep, Tokens::All, Tokens::Generated);
    assert_eq!(kept[..3], [CacheUse::Current; 3]);
    assert_eq!(kept[3..], [CacheUse::Kept; 5], "the prompt was steered");
    let again = uses(CachePolicy::Recompute, Tokens::All, Tokens::Generated);
    assert_eq!(again[3], CacheUse::Recomputed);
    assert_eq!(again[4..], [CacheUse::Current; 4], "once");
    let same = uses(CachePolicy::Recompute, Tokens::Generated, Tokens::From(5));
    assert_eq!(
        same,
        [CacheUse::Current; 8],
        "the same tokens by another name"
    );
}

/// After a cache is computed again the prompt is still the prompt.
#[test]
fn what_is_computed_again_is_as_if_chosen_from_the_start() {
    let (session, id) = with_adapter("lora");
    let (whole, base) = (on(&session, id, Tokens::All), Steering::base());
    let change = |step| {
        if step == 3 {
            choose(&session, id, Tokens::Generated);
        }
    };
    let told = told(&run(&session, request(CachePolicy::Recompute), change));
    let said: Vec<u32> = told.iter().map(|step| step.0).collect();
    for at in 3..8 {
        let (token, probability, ..) = told[at];
        let logits = passes(&session, 5, &[(&PROMPT, &base), (&said[..at], &whole)]);
        let logits = rows(&session, &logits).pop().expect("a row");
        let expected = log_softmax(&logits)[token as usize].exp();
        assert!((probability - expected).abs() < 1e-5, "step {at}");
    }
}

#[test]
fn keys_and_values_of_a_prefix_stand_at_no_token() {
    let (session, id) = with_adapter("prefix");
    let before = session.stack.borrow_mut().steering();
    let mask = Mask {
        positions: Tokens::Generated,
        ..Mask::default()
    };
    let refused = session.stack.borrow_mut().set_mask(id, mask);
    assert_eq!(
        refused.map_err(|error| error.to_string()),
        Err(
            "`positions` is generated, while prefix acts on attention in layers 0-1, expected all: \
             extra keys and values stand at no token of the text"
                .into()
        )
    );
    let after = session.stack.borrow_mut().steering();
    assert_eq!(before.stamp(), after.stamp(), "the old choice stays");
}

/// A file for llama.cpp acts on all tokens.
#[test]
fn an_adapter_on_some_tokens_is_not_exported() {
    let (session, id) = with_adapter("lora");
    let export = || {
        let export = Export::new(&session.stack.borrow().entries()[0]);
        let bytes = block_on(export.gguf(&session.model));
        bytes.map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(export(), Ok(()));
    choose(&session, id, Tokens::Prompt);
    assert_eq!(export(), Err("unsupported-option"));
}
