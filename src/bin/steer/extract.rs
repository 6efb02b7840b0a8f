//! `steer extract`: a control vector from pairs of contrasting texts.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use steering_playground::dose::Contrast;
use steering_playground::error::{Error, Result};
use steering_playground::extract::{
    At, Extraction, Length, Method, Options, Texts, encoded, middle_layers,
};
use steering_playground::model::Weights;

use crate::args::{DeviceArg, number, whole};
use crate::calibrate::words;
use crate::dosed::told;
use crate::files::{read, read_text};
use crate::load::{load_model, open_device};
use crate::vector_files::write;

#[derive(Args)]
pub(crate) struct Extract {
    /// A .gguf file (of a split one any part), or a folder with config.json and safetensors, or
    /// the weights in such a folder.
    #[arg(long)]
    model: PathBuf,
    /// JSON `{"positive": [texts], "negative": [texts]}`, paired by place; or repeng's form, personas in
    /// a template before texts cut at every token (docs/vectors.md).
    #[arg(long, conflicts_with_all = ["positive", "negative"],
          required_unless_present_all = ["positive", "negative"])]
    pairs: Option<PathBuf>,
    /// In place of --pairs: a file of texts, one a line, of which c = 1 shall bring more.
    #[arg(long, requires = "negative")]
    positive: Option<PathBuf>,
    /// The file of their opposites, line by line.
    #[arg(long, requires = "positive")]
    negative: Option<PathBuf>,
    /// mean: the mean difference. pca-diff, pca-center: principal components of the differences, as
    /// repeng. probe: logistic regression. vjp: the mean difference at a later block, pulled back
    /// through the Jacobian.
    #[arg(long, default_value = "mean", value_parser = method)]
    method: Method,
    /// Where in a text its state is read: the mean over all tokens but the first, or the last token, as
    /// repeng does; mean unless given, but last for vjp.
    #[arg(long, value_enum)]
    at: Option<AtArg>,
    /// For vjp: the block whose contrast is pulled back; the last but two unless given.
    #[arg(long, value_parser = whole::<usize>("target"))]
    target: Option<usize>,
    /// First and last block to act on; the middle 20 to 80 % unless given.
    #[arg(long, num_args = 2, allow_hyphen_values = true,
          value_parser = |text: &str| number::<usize>(
              "layers", "the first and the last block, whole numbers from 0", text))]
    layers: Option<Vec<usize>>,
    /// Length of the whole step, as a share of the mean length of the residual stream.
    #[arg(long, default_value_t = 0.1, allow_hyphen_values = true,
          value_parser = |text: &str| number::<f32>("share", "a number above 0", text))]
    share: f32,
    /// In place of --share: the mean difference as long as it is, other directions 1 long.
    #[arg(long, conflicts_with = "share")]
    natural: bool,
    /// In place of --share: as long that c = 1 has this strength, the 95th percentile of the KL from the
    /// base on the shipped neutral answers, in nats.
    #[arg(long, conflicts_with_all = ["share", "natural"],
          value_parser = |text: &str| number::<f64>("nats", "a strength above 0, up to 20", text))]
    nats: Option<f64>,
    /// Where to compute; f32 on either.
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceArg,
    /// Keep quantised weights quantised, on the CPU: faster, and close to f32.
    #[arg(long)]
    fast: bool,
    /// Folder to write adapter_config.json and adapter_model.safetensors into; or a .gguf file, as
    /// repeng and llama.cpp read it.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum AtArg {
    Mean,
    Last,
}

fn method(name: &str) -> Result<Method, String> {
    let found = Method::ALL.into_iter().find(|method| method.name() == name);
    let names = Method::ALL.map(Method::name).join(", ");
    found.ok_or_else(|| format!("known are {names}"))
}

pub(crate) async fn run(args: &Extract) -> Result<()> {
    let texts = texts(args)?;
    let weights = if args.fast {
        Weights::Quantised
    } else {
        Weights::Dense
    };
    let device = open_device(args.device).await?;
    let session = load_model(&args.model, &device, weights).await?;
    let no_tokenizer = || Error::NoTokenizer {
        file: session.model.name().into(),
    };
    let pairs = texts.pairs(session.text.as_ref().ok_or_else(no_tokenizer)?)?;
    let options = Options {
        method: args.method,
        at: match args.at {
            None => args.method.at(),
            Some(AtArg::Mean) => At::Mean,
            Some(AtArg::Last) => At::Last,
        },
        layers: match args.layers.as_deref() {
            Some(&[first, last]) => first..=last,
            _ => middle_layers(session.model.config().num_layers),
        },
        length: if args.natural {
            Length::Natural
        } else {
            Length::Share(args.share)
        },
        target: args.target,
    };
    let start = Instant::now();
    let seconds = || start.elapsed().as_secs_f64();
    let mut extraction = Extraction::new(&session, encoded(&session, &pairs)?, options)?;
    let mut tenth = 0;
    while extraction.step().await? {
        let progress = extraction.progress();
        let now = progress.texts * 10 / progress.total_texts;
        if now > tenth {
            tenth = now;
            let (texts, total) = (progress.texts, progress.total_texts);
            eprintln!("steer: {texts} of {total} texts read, {:.1} s", seconds());
        }
    }
    let mut vector = extraction.finish()?;
    if let Some(nats) = args.nats {
        // Only its neutral answers are read.
        let contrast = Contrast::shipped("tone")?;
        let (calibrated, found) = vector.calibrated(&session, &contrast, nats, told).await?;
        eprintln!("steer: {}", words(&found));
        vector = calibrated;
    }
    let (pairs, blocks) = (pairs.len(), vector.directions.len());
    eprintln!(
        "steer: {pairs} pairs, {blocks} blocks, {}: {:.1} s",
        args.method.name(),
        seconds()
    );
    write(&args.out, &vector)
}

fn texts(args: &Extract) -> Result<Texts> {
    match (&args.pairs, &args.positive, &args.negative) {
        (Some(pairs), ..) => Texts::from_json(&pairs.display().to_string(), &read(pairs)?),
        (None, Some(positive), Some(negative)) => Ok(Texts::from_lines(
            &read_text(positive)?,
            &read_text(negative)?,
        )),
        _ => Err(Error::BadOption {
            name: "pairs",
            expected: "a file, or --positive and --negative",
            found: "none".into(),
        }),
    }
}
