//! `steer bench`: measures loading, prefill and decoding.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};
use steering_playground::device::read_back;
use steering_playground::error::Result;
use steering_playground::hooks::Steering;
use steering_playground::kernels::launches;
use steering_playground::model::{KvCache, Positions};
use steering_playground::sample::Sampling;
use steering_playground::session::{Request, Session};

use crate::args::{SessionArgs, count, whole};
use crate::load::open;
use crate::report::ms;

#[derive(Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    session: SessionArgs,
    /// Prompt tokens to read.
    #[arg(long, default_value_t = 128, allow_hyphen_values = true, value_parser = count("prefill"))]
    prefill: usize,
    /// Tokens to generate in each round.
    #[arg(long, default_value_t = 32, allow_hyphen_values = true, value_parser = count("decode"))]
    decode: usize,
    /// Rounds, in which the base, the steered model and both in lockstep take turns.
    #[arg(long, default_value_t = 3, allow_hyphen_values = true, value_parser = whole::<usize>("rounds"))]
    rounds: usize,
    /// Time the base after 2048 tokens too.
    #[arg(long)]
    long: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Length in tokens of the context after which `--long` decodes.
const LONG_TOKENS: usize = 2048;

/// One way of decoding, timed in turns with the others.
struct Workload<'a> {
    name: &'static str,
    session: Session,
    /// Whether the base decodes in lockstep.
    compare: bool,
    /// The cache that all streams start from.
    start: &'a KvCache,
    /// Milliseconds per token: [`ALL`] of it, and [`ENCODE`], until all work was handed to the device.
    rounds: Vec<[f64; 2]>,
    /// Kernel launches of the last round.
    launches: u64,
}

/// Indices into an item of [`Workload::rounds`].
const ALL: usize = 0;
const ENCODE: usize = 1;

impl Workload<'_> {
    async fn round(&mut self, tokens: usize) -> Result<()> {
        let mut generation = self.session.generate(Request {
            ids: Some(vec![11; self.start.len() + 1]),
            // One more before that is not timed, since its caches must be copied before they can be
            // written to; one more after, since the last token has no successor to compute.
            max_tokens: tokens + 2,
            compare: self.compare,
            kl_after_split: false,
            ..Request::default()
        })?;
        generation.start_from(self.start.clone())?;
        generation.next().await?;
        let launched = launches();
        let (mut all_ms, mut encode_ms) = (0.0, 0.0);
        for _ in 0..tokens {
            let started = Instant::now();
            let mut next = pin!(generation.next());
            // All work before the first wait.
            let first = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
            encode_ms += ms(started);
            match first {
                Poll::Ready(step) => step?,
                Poll::Pending => next.await?,
            };
            all_ms += ms(started);
        }
        self.rounds
            .push([all_ms, encode_ms].map(|ms| ms / tokens as f64));
        self.launches = (launches() - launched) / tokens as u64;
        Ok(())
    }

    /// All rounds in order.
    fn sorted(&self, part: usize) -> Vec<f64> {
        let mut all: Vec<f64> = self.rounds.iter().map(|round| round[part]).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn median(&self, part: usize) -> f64 {
        self.sorted(part)[self.rounds.len() / 2]
    }

    fn report(&self) -> Value {
        let all = self.sorted(ALL);
        json!({
            "name": self.name,
            "streams": 1 + usize::from(self.compare),
            "behind_tokens": self.start.len(),
            "ms_per_token": { "min": all[0], "median": self.median(ALL), "max": all[all.len() - 1] },
            "encode_ms": self.median(ENCODE),
            "wait_ms": self.median(ALL) - self.median(ENCODE),
        })
    }
}

pub(crate) async fn run(args: &Bench) -> Result<()> {
    let started = Instant::now();
    let session = open(&args.session).await?;
    let load_ms = ms(started);
    let vocab = session.model.config().vocab_size as u32;
    let ids = |count: usize| -> Vec<u32> {
        (0..count as u32)
            .map(|at| (at * 7919 + 11) % vocab)
            .collect()
    };
    let prefill = async |steering: &Steering, count: usize| -> Result<(KvCache, f64)> {
        let mut cache = session.model.new_cache();
        let started = Instant::now();
        let ids = ids(count);
        let logits = session
            .model
            .forward(&ids, &mut cache, steering, Positions::Last)?;
        if let Some(logits) = logits {
            let logits = read_back(logits).await?;
            session.check_logits(&logits, count - 1, steering)?;
        }
        Ok((cache, ms(started)))
    };

    let changed = Instant::now();
    let steering = session.stack.borrow_mut().steering();
    let change_ms = ms(changed);
    let base = Steering::base();
    let (short_cache, prefill_ms) = prefill(&steering, args.prefill).await?;
    let long_cache = if args.long {
        Some(prefill(&base, LONG_TOKENS).await?.0)
    } else {
        None
    };
    // Without a tokenizer nothing ends a stream.
    let steered = Session {
        text: None,
        ..session.clone()
    };
    let unsteered = Session {
        stack: Rc::default(),
        ..steered.clone()
    };
    let workload = |name, session: &Session, compare, start| Workload {
        name,
        session: session.clone(),
        compare,
        start,
        rounds: Vec::new(),
        launches: 0,
    };
    let mut workloads = vec![workload("base", &unsteered, false, &short_cache)];
    if !steering.stamp().is_empty() {
        workloads.push(workload("steered", &steered, false, &short_cache));
        workloads.push(workload("lockstep", &steered, true, &short_cache));
    }
    if let Some(cache) = &long_cache {
        workloads.push(workload("long", &unsteered, false, cache));
    }
    for _ in 0..args.rounds.max(1) {
        for workload in &mut workloads {
            workload.round(args.decode).await?;
        }
    }
    let per_second = |tokens: usize, ms: f64| tokens as f64 / ms * 1e3;
    let ratios = workloads[1..].iter().map(|workload| {
        let ratio = workload.median(ALL) / workloads[0].median(ALL);
        (format!("{}_over_base", workload.name), json!(ratio))
    });
    // As the arguments ask: with the adapters, if there are any.
    let own = workloads.iter().find(|workload| workload.name == "steered");
    let own = own.unwrap_or(&workloads[0]);
    let mut report = json!({
        "model": session.model.name(),
        "device": format!("{:?}", session.model.device()),
        "arithmetic": session.model.arithmetic(),
        "load_ms": load_ms,
        "prefill_tokens": args.prefill,
        "prefill_tok_s": per_second(args.prefill, prefill_ms),
        "decode_tokens": args.decode,
        "decode_tok_s": per_second(1, own.median(ALL)),
        "weight_bytes_per_token": session.model.weight_bytes(),
        "launches_per_token": own.launches,
        "cache_bytes": short_cache.bytes(),
        "change_coefficient_ms": change_ms,
        "decode": workloads.iter().map(Workload::report).collect::<Vec<_>>(),
        "ratios": ratios.collect::<serde_json::Map<_, _>>(),
    });
    if args.session.fast {
        let ids = ids(args.prefill);
        report["deviation_from_f32"] =
            deviation(&session, &args.session, &ids, args.decode).await?;
    }
    if args.json {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
    Ok(())
}

/// How far a session is from f32: the largest difference of a logit after any of `ids`, and the
/// first of `tokens` greedy tokens after them that differs.
async fn deviation(
    session: &Session,
    args: &SessionArgs,
    ids: &[u32],
    tokens: usize,
) -> Result<Value> {
    let exact = SessionArgs {
        fast: false,
        ..args.clone()
    };
    let exact = open(&exact).await?;
    let mut found = Vec::new();
    for session in [session, &exact] {
        let steering = session.stack.borrow_mut().steering();
        let mut cache = session.model.new_cache();
        let all = Positions::All;
        let logits = session.model.forward(ids, &mut cache, &steering, all)?;
        let Some(logits) = logits else { continue };
        let logits = read_back(logits).await?;
        session.check_logits(&logits, 0, &steering)?;
        let last = &logits[logits.len() - session.model.config().vocab_size..];
        let mut chosen = vec![Sampling::default().choose(last, 0, &[])];
        while chosen.len() < tokens {
            let newest = &chosen[chosen.len() - 1..];
            let logits = session
                .model
                .forward(newest, &mut cache, &steering, Positions::Last)?;
            let Some(logits) = logits else { break };
            let logits = read_back(logits).await?;
            session.check_logits(&logits, ids.len() + chosen.len() - 1, &steering)?;
            chosen.push(Sampling::default().choose(&logits, 0, &[]));
        }
        found.push((logits, chosen));
    }
    let [(fast, fast_ids), (exact, exact_ids)] = found.as_slice() else {
        return Ok(Value::Null);
    };
    // In the total order NaN is the largest.
    let differences = fast
        .iter()
        .zip(exact)
        .map(|(fast, exact)| (fast - exact).abs());
    let mut pairs = fast_ids.iter().zip(exact_ids);
    Ok(json!({
        "positions": ids.len(),
        "largest_logit_difference": differences.max_by(f32::total_cmp),
        "greedy_tokens": exact_ids.len(),
        "first_different_token": pairs.position(|(fast, exact)| fast != exact),
    }))
}
