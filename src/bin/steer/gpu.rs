//! `steer gpu`: what a GPU gives at best, and what a token makes of that. Everything is measured in one run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use steering_playground::device::{gpu, gpu_about, gpu_binding_bytes, gpu_is_software, read_back};
use steering_playground::error::{Error, Result};
use steering_playground::hooks::Steering;
use steering_playground::kernels::{After, Asked, Packed, Riders, copy, gpu_time, linear, step};
use steering_playground::model::{KvCache, Positions};
use steering_playground::sample::{Question, Sampling};
use steering_playground::session::Session;
use steering_playground::weights::quant::Kind;

use crate::args::{DeviceArg, SessionArgs, count};
use crate::bench::{LONG_TOKENS, Plan, ids};
use crate::files;
use crate::load::open;
use crate::report::ms;

#[derive(Args)]
pub(crate) struct Gpu {
    /// The model, and adapters to steer with; the device is the GPU, whatever is given.
    #[command(flatten)]
    session: SessionArgs,
    /// Prompts with the greedy tokens that are right, as tests/fixtures/smollm2_greedy.json has them.
    #[arg(long)]
    reference: Option<PathBuf>,
    /// Tokens to generate in each round; 64, or 6 on a software GPU, unless given.
    #[arg(long, allow_hyphen_values = true, value_parser = count("decode"))]
    decode: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prompt tokens.
const PREFILL: usize = 128;
/// Bytes that are copied, where a buffer may be that large: more than caches hold.
const COPIED: u64 = 256 << 20;
/// Rows of a head and their width: Gemma 3 270M's.
const HEAD: [usize; 2] = [262_144, 640];
/// Tests of a thing take about so long, so that neither a fast nor a slow GPU is asked too little or too much.
const LONG_ENOUGH: Duration = Duration::from_millis(200);
/// As often as a thing is tested; the median counts.
const ROUNDS: usize = 5;

pub(crate) async fn run(args: &Gpu) -> Result<()> {
    let device = gpu().await?;
    let (is_software, binding) = (gpu_is_software(), gpu_binding_bytes());
    let (copy_gb_s, copy_is_own) = copying(&device, binding).await?;
    let launch = launching(&device).await?;
    let head = head(&device, binding, copy_gb_s).await?;

    let started = Instant::now();
    let session = open(&SessionArgs {
        device: DeviceArg::Gpu,
        fast: false,
        ..args.session.clone()
    })
    .await?;
    let load_ms = ms(started);
    let greedy = match &args.reference {
        Some(path) => Some(greedy(&session, path, is_software).await?),
        None => None,
    };
    let plan = Plan {
        prefill: PREFILL,
        decode: args.decode.unwrap_or(if is_software { 6 } else { 64 }),
        rounds: ROUNDS,
        // An imitated GPU takes a minute to read so many.
        long: !is_software && session.model.config().context > LONG_TOKENS + 64,
    };
    let mut speed = plan.measure(&session).await?;
    let working = working(&session).await?;
    let bytes = session.model.weight_bytes() as f64;
    let launch_us = launch["us"].as_f64().unwrap_or(0.0);
    if let Some(rows) = speed["decode"].as_array_mut() {
        for row in rows {
            let number = |name: &str| row[name].as_f64().unwrap_or(0.0);
            let median = row["ms_per_token"]["median"].as_f64().unwrap_or(0.0);
            let by_bytes = bytes / copy_gb_s / 1e6;
            let by_launches = number("launches") * launch_us / 1e3;
            row["tok_s"] = (1e3 / median).into();
            row["share_of_bandwidth"] = (by_bytes / median).into();
            row["floor_ms"] = json!({ "bytes": by_bytes, "launches": by_launches });
            row["over_floor"] = (median / by_bytes.max(by_launches)).into();
        }
    }
    let report = json!({
        "gpu": gpu_about(),
        "copy": { "gb_s": copy_gb_s, "by_the_gpu_s_clock": copy_is_own },
        "launch": launch,
        "head": head,
        "load_ms": load_ms,
        "greedy": greedy,
        "speed": speed,
        "gpu_ms": working,
    });
    if args.json {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds of the GPU's own clock, else of ours, for what `work` launches, whose result is then read; and whether it
/// was its own.
async fn timed(
    on: &Tensor<1>,
    work: impl FnOnce() -> Result<Tensor<1>>,
) -> Result<(Tensor<1>, f64, bool)> {
    let started = Instant::now();
    let (done, own) = gpu_time(on, work).await?;
    read_back(done.clone().narrow(0, 0, 1)).await?;
    let ours = started.elapsed();
    let time = own.filter(|own| !own.is_zero());
    Ok((done, time.unwrap_or(ours).as_secs_f64(), time.is_some()))
}

/// So often that it takes long enough, if once takes `seconds`.
fn times(seconds: f64, most: usize) -> usize {
    ((LONG_ENOUGH.as_secs_f64() / seconds.max(1e-9)) as usize).clamp(1, most)
}

/// Gigabytes a second that are read and written by copying.
async fn copying(device: &Device, binding: u64) -> Result<(f64, bool)> {
    let numbers = (COPIED.min(binding) / 4 / 1024 * 1024) as usize;
    let source = Tensor::<1>::ones([numbers], device) * 3.0;
    let mut copied = Tensor::<1>::zeros([numbers], device);
    let (mut rates, mut often, mut is_own) = (Vec::new(), 1, false);
    // The first compiles, the second says how long it takes.
    for round in 0..ROUNDS + 2 {
        let (done, seconds, own) = timed(&source, || {
            Ok((0..often).fold(copied.clone(), |copied, _| copy(&source, copied)))
        })
        .await?;
        copied = done;
        is_own = own;
        match round {
            0 => {}
            1 => often = times(seconds, 400),
            _ => rates.push(often as f64 * 8.0 * numbers as f64 / seconds / 1e9),
        }
    }
    let last = read_back(copied.narrow(0, numbers - 4, 4)).await?;
    if last != [3.0; 4] {
        return Err(Error::device_lost(format!("a copy of 3 was {last:?}")));
    }
    Ok((median(rates), is_own))
}

/// Microseconds of a launch that waits for the one before and does nothing: the GPU's, and ours to hand it over.
async fn launching(device: &Device) -> Result<Value> {
    let mut x = Tensor::<1>::zeros([4], device);
    let (mut on_gpu, mut encoded, mut often, mut is_own, mut total) =
        (Vec::new(), Vec::new(), 200, false, 0);
    for round in 0..ROUNDS + 2 {
        let started = Instant::now();
        let mut encoding = 0.0;
        let (done, seconds, own) = timed(&x.clone(), || {
            let done = (0..often).fold(x.clone(), |x, _| step(x));
            encoding = started.elapsed().as_secs_f64();
            Ok(done)
        })
        .await?;
        x = done;
        is_own = own;
        total += often;
        match round {
            0 => {}
            1 => often = times(seconds / f64::from(often), 5000) as i32,
            _ => {
                on_gpu.push(seconds / f64::from(often) * 1e6);
                encoded.push(encoding / f64::from(often) * 1e6);
            }
        }
    }
    let counted = read_back(x).await?;
    if counted[0] != total as f32 {
        let what = format!("{total} launches counted to {}", counted[0]);
        return Err(Error::device_lost(what));
    }
    Ok(
        json!({ "us": median(on_gpu), "encode_us": median(encoded), "launches": often, "by_the_gpu_s_clock": is_own }),
    )
}

/// The product of one token with a large head, and the choice over it.
async fn head(device: &Device, binding: u64, copy_gb_s: f64) -> Result<Value> {
    let [rows, width] = HEAD;
    let foreseen = Packed::foresee(&[Kind::Q8_0], HEAD);
    if foreseen.buffer_bytes > binding {
        let why = format!(
            "it takes {} bytes, a buffer may have {binding}",
            foreseen.buffer_bytes
        );
        return Ok(json!({ "left_out": why }));
    }
    // A factor of 2^-8 and codes that differ.
    let block = |at: usize| {
        let codes = (0..32).map(move |n| (at * 31 + n * 7 + 3) as u8);
        [0x00, 0x1c].into_iter().chain(codes)
    };
    let bytes: Vec<u8> = (0..rows * width / 32).flat_map(block).collect();
    let weight = Packed::new(&[(Kind::Q8_0, &bytes)], width, device);
    let x: Vec<f32> = (0..width).map(|k| (k % 17) as f32 / 17.0 - 0.5).collect();
    let x = Tensor::<2>::from_data(TensorData::new(x, [1, width]), device);
    let on = Tensor::<1>::zeros([4], device);
    let product = || linear(x.clone(), &weight, After::Plain, Riders::default());
    let (mut products, mut often) = (Vec::new(), 1);
    for round in 0..ROUNDS + 2 {
        let (_, seconds, _) = timed(&on, || {
            let logits = (0..often).fold(product(), |_, _| product());
            Ok(logits.reshape([rows]))
        })
        .await?;
        match round {
            0 => {}
            1 => often = times(seconds / 2.0, 200),
            _ => products.push(seconds / (often + 1) as f64 * 1e3),
        }
    }
    let sampling = Sampling::default();
    let mut with_choice = Vec::new();
    for _ in 0..=ROUNDS {
        let question = Question {
            sampling: &sampling,
            position: 0,
            so_far: vec![&[]],
            reference: None,
            top: 0,
        };
        let asked = Asked::new(&question, None, false, rows, device);
        let started = Instant::now();
        asked.answer(product(), None).1.await?;
        with_choice.push(ms(started));
    }
    with_choice.remove(0);
    let product_ms = median(products);
    Ok(json!({
        "rows": rows, "width": width, "bytes": weight.bytes(), "product_ms": product_ms,
        "share_of_bandwidth": weight.bytes() as f64 / copy_gb_s / 1e6 / product_ms,
        "with_choice_and_reading_ms": median(with_choice),
    }))
}

#[derive(Deserialize)]
struct Reference {
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Prompt {
    name: String,
    prompt_ids: Vec<u32>,
    greedy_ids: Vec<u32>,
}

/// How many of each prompt's greedy tokens come out, along the right ones.
async fn greedy(session: &Session, path: &Path, is_software: bool) -> Result<Value> {
    let bytes = files::read(path)?;
    let reference: Reference =
        serde_json::from_slice(&bytes).map_err(|error| Error::BadConfig {
            file: path.display().to_string(),
            field: "prompts".into(),
            expected: "prompts with `prompt_ids` and `greedy_ids`".into(),
            found: error.to_string(),
        })?;
    let most = if is_software { 8 } else { 32 };
    let base = Steering::base();
    let mut found = Vec::new();
    for prompt in reference.prompts {
        let expected = &prompt.greedy_ids[..prompt.greedy_ids.len().min(most)];
        let mut cache = session.model.new_cache();
        let mut given: &[u32] = &prompt.prompt_ids;
        let mut same = 0;
        for (at, id) in expected.iter().enumerate() {
            let logits = last(session, &mut cache, given, &base)?;
            let Some(logits) = logits else { break };
            let logits = read_back(logits).await?;
            same += usize::from(Sampling::default().choose(&logits, 0, &[]) == *id);
            given = &expected[at..=at];
        }
        found.push(json!({ "prompt": prompt.name, "same": same, "of": expected.len() }));
    }
    Ok(found.into())
}

fn last(
    session: &Session,
    cache: &mut KvCache,
    ids: &[u32],
    steering: &Steering,
) -> Result<Option<Tensor<2>>> {
    session.model.forward(ids, cache, steering, Positions::Last)
}

/// How long the GPU itself works on a token of the base and on a prompt, in ms; null where it keeps no time.
async fn working(session: &Session) -> Result<Value> {
    let base = Steering::base();
    let on = Tensor::<1>::zeros([4], &session.model.device());
    let prompt = ids(session, PREFILL);
    let pass = async |cache: &mut KvCache, ids: &[u32]| -> Result<Option<f64>> {
        let (logits, time) = gpu_time(&on, || last(session, cache, ids, &base)).await?;
        if let Some(logits) = logits {
            read_back(logits).await?;
        }
        Ok(time.map(|time| time.as_secs_f64() * 1e3))
    };
    let mut cache = session.model.new_cache();
    let (mut prompts, mut tokens) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        cache = session.model.new_cache();
        let time = pass(&mut cache, &prompt).await?;
        prompts.extend(time.filter(|_| round > 0));
    }
    for round in 0..4 * ROUNDS {
        let time = pass(&mut cache, &prompt[..1]).await?;
        tokens.extend(time.filter(|_| round > 1));
    }
    let told = |times: Vec<f64>| (!times.is_empty()).then(|| median(times));
    Ok(json!({ "token": told(tokens), "prompt": told(prompts), "prompt_tokens": PREFILL }))
}
