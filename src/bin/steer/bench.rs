//! `steer bench`: measures loading, prefill and decoding, or a step of training.

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
use steering_playground::train::{Passes, TrainOptions};

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
    /// Time a forward and a backward pass of a LoRA instead: rank 4, on v_proj, o_proj and down_proj of all
    /// blocks, over 4 texts of 40 tokens. `convert/bench_train.py` times the same in PyTorch.
    #[arg(long, conflicts_with_all = ["adapters", "long"])]
    train: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Texts of `--train`, and how many tokens each has.
const TEXTS: u32 = 4;
const TEXT_TOKENS: u32 = 40;

/// Length in tokens of the context after which `--long` decodes.
pub(crate) const LONG_TOKENS: usize = 2048;

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
            "launches": self.launches,
            "encode_ms": self.median(ENCODE),
            "wait_ms": self.median(ALL) - self.median(ENCODE),
        })
    }
}

pub(crate) async fn run(args: &Bench) -> Result<()> {
    let started = Instant::now();
    let session = open(&args.session).await?;
    let load_ms = ms(started);
    if args.train {
        let report = training(&session, args.rounds.max(1)).await?;
        show(&report, args.json);
        return Ok(());
    }
    let plan = Plan {
        prefill: args.prefill,
        decode: args.decode,
        rounds: args.rounds,
        long: args.long,
    };
    let mut report = plan.measure(&session).await?;
    report["load_ms"] = load_ms.into();
    if args.session.fast {
        let ids = ids(&session, args.prefill);
        report["deviation_from_f32"] =
            deviation(&session, &args.session, &ids, args.decode).await?;
    }
    show(&report, args.json);
    Ok(())
}

/// So many tokens without a pattern.
pub(crate) fn ids(session: &Session, count: usize) -> Vec<u32> {
    let vocab = session.model.config().vocab_size as u32;
    (0..count as u32)
        .map(|at| (at * 7919 + 11) % vocab)
        .collect()
}

/// What is timed.
pub(crate) struct Plan {
    pub(crate) prefill: usize,
    pub(crate) decode: usize,
    pub(crate) rounds: usize,
    pub(crate) long: bool,
}

impl Plan {
    /// Reads a prompt, then decodes in turns: the base, and where there are adapters the steered model and both in
    /// lockstep, and the base after many tokens.
    pub(crate) async fn measure(&self, session: &Session) -> Result<Value> {
        let prefill = async |steering: &Steering, count: usize| -> Result<(KvCache, f64)> {
            let mut cache = session.model.new_cache();
            let started = Instant::now();
            let ids = ids(session, count);
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
        let (short_cache, prefill_ms) = prefill(&steering, self.prefill).await?;
        let long_cache = if self.long {
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
        for _ in 0..self.rounds.max(1) {
            for workload in &mut workloads {
                workload.round(self.decode).await?;
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
        Ok(json!({
            "model": session.model.name(),
            "device": format!("{:?}", session.model.device()),
            "arithmetic": session.model.arithmetic(),
            "prefill_tokens": self.prefill,
            "prefill_tok_s": per_second(self.prefill, prefill_ms),
            "decode_tokens": self.decode,
            "decode_tok_s": per_second(1, own.median(ALL)),
            "weight_bytes_per_token": session.model.weight_bytes(),
            "launches_per_token": own.launches,
            "cache_bytes": short_cache.bytes(),
            "change_coefficient_ms": change_ms,
            "decode": workloads.iter().map(Workload::report).collect::<Vec<_>>(),
            "ratios": ratios.collect::<serde_json::Map<_, _>>(),
        }))
    }
}

fn show(report: &Value, json: bool) {
    if json {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
}

/// Forward and backward passes, after one that is not timed.
async fn training(session: &Session, rounds: usize) -> Result<Value> {
    let model = &session.model;
    let vocab = model.config().vocab_size as u32;
    // One more than are read: each next token is asked for.
    let id = |text: u32, at: u32| ((text * (TEXT_TOKENS + 1) + at) * 7919 + 11) % vocab;
    let text = |text: u32| (0..=TEXT_TOKENS).map(|at| id(text, at)).collect();
    let texts: Vec<Vec<u32>> = (0..TEXTS).map(text).collect();
    let options = TrainOptions {
        rank: 4,
        modules: "v_proj,o_proj,down_proj".into(),
        ..TrainOptions::default()
    };
    let passes = Passes::new(model, "lora", &options, &texts)?;
    let loss = passes.run().await?;
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let started = Instant::now();
        passes.run().await?;
        times.push(ms(started));
    }
    times.sort_by(f64::total_cmp);
    Ok(json!({
        "model": model.name(),
        "device": format!("{:?}", model.device()),
        "arithmetic": model.arithmetic(),
        "texts": TEXTS,
        "tokens": TEXT_TOKENS,
        "rounds": rounds,
        "loss": loss,
        "forward_backward_ms": {
            "min": times[0], "median": times[rounds / 2], "max": times[rounds - 1],
        },
    }))
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
        let mut cache = session.model.new_cache().with_prompt(ids.len());
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
