//! Arguments that several subcommands share, and how their values are read.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde_json::Value;
use steering_playground::error::{Error, Result};
use steering_playground::hooks::Law;
use steering_playground::sample::Sampling;

#[derive(Args, Clone)]
pub(crate) struct SessionArgs {
    /// A .gguf file (of a split one any part), or a folder with config.json and safetensors, or
    /// the weights in such a folder. Or one of the Hugging Face Hub, hub:OWNER/NAME, with /FILE and
    /// @REVISION where they are wanted, or an address: it is fetched once and kept in the user's cache.
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// Where to compute; f32 on either.
    #[arg(long, value_enum, default_value = "cpu")]
    pub(crate) device: DeviceArg,
    /// Keep quantised weights quantised, on the CPU, as the page does: faster, in a fifth of the
    /// memory, and close to f32 (`bench --fast` says how close).
    #[arg(long)]
    pub(crate) fast: bool,
    /// An adapter folder or control-vector file, or one of the Hub or by its address as for --model;
    /// repeat for several, they act in this order.
    #[arg(long = "adapter")]
    pub(crate) adapters: Vec<PathBuf>,
    /// The coefficient of the adapter at the same place; 1 where none is given.
    #[arg(long = "coeff", allow_hyphen_values = true,
          value_parser = |text: &str| number::<f32>("coeff", "a finite number", text))]
    pub(crate) coefficients: Vec<f32>,
    /// The task of the adapter at the same place, from 0, if it was trained for several; `none`
    /// for one without tasks.
    #[arg(long = "task", allow_hyphen_values = true, value_parser = task)]
    pub(crate) tasks: Vec<Task>,
    /// Weights, separated by commas, for the experts of the adapter at the same place instead of
    /// its gate's (X-LoRA), or for its skills instead of a task's (Poly); `none` chooses none.
    #[arg(long = "experts", value_parser = experts, allow_hyphen_values = true)]
    pub(crate) experts: Vec<Experts>,
    /// How the coefficient of the adapter at the same place acts, such as linear or geodesic;
    /// its default where none is given.
    #[arg(long = "law", value_parser = law)]
    pub(crate) laws: Vec<Law>,
    /// Blocks on which the adapter at the same place acts: 5-20, 7, or all; or blocks with modules of
    /// their own, 5-20:q_proj,v_proj;3:v_proj. What is in no block
    /// (embedding, head, last norm) takes part only if these are all blocks.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) layers: Vec<String>,
    /// Modules on which the adapter at the same place acts: q_proj,v_proj or all (qkv_proj where the
    /// three are one layer). Besides linear layers: lm_head, embed_tokens, input_layernorm, post_attention_layernorm, q_norm, k_norm,
    /// norm, attention (prefixes, prompts), residual (vectors).
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) modules: Vec<String>,
    /// Tokens on which the adapter at the same place acts: all, prompt, generated, or from:N, those
    /// from the Nth on, counted from 0. Refused for prefixes and prompts, whose keys and values
    /// stand at no token.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) positions: Vec<String>,
}

/// Weights of experts or skills, or none.
#[derive(Clone)]
pub(crate) struct Experts(pub(crate) Option<Vec<f32>>);

fn experts(text: &str) -> Result<Experts> {
    let expected = "numbers with commas between them, or none";
    let numbers = text
        .split(',')
        .map(|text| number("experts", expected, text));
    Ok(Experts(match text {
        "none" => None,
        _ => Some(numbers.collect::<Result<_>>()?),
    }))
}

/// A task's number, or none.
#[derive(Clone, Copy)]
pub(crate) struct Task(pub(crate) Option<usize>);

fn task(text: &str) -> Result<Task> {
    let expected = "a whole number from 0, or none";
    Ok(Task(match text {
        "none" => None,
        _ => Some(number("task", expected, text)?),
    }))
}

/// An option's number. The error for what is no number, or does not fit into the type, names the
/// option.
pub(crate) fn number<T: FromStr>(
    name: &'static str,
    expected: &'static str,
    text: &str,
) -> Result<T> {
    text.trim().parse().map_err(|_| Error::BadOption {
        name,
        expected,
        found: text.into(),
    })
}

/// Reads a whole number of at least 0.
pub(crate) fn whole<T: FromStr>(name: &'static str) -> impl Fn(&str) -> Result<T> + Clone {
    move |text| number(name, "a whole number from 0", text)
}

/// As [`whole`], but at least 1.
pub(crate) fn count(name: &'static str) -> impl Fn(&str) -> Result<usize> + Clone {
    let expected = "a whole number from 1";
    move |text| match number(name, expected, text)? {
        0 => Err(Error::BadOption {
            name,
            expected,
            found: text.into(),
        }),
        count => Ok(count),
    }
}

/// Reads an option of [`Sampling`], and checks it against the range that it has there.
pub(crate) fn sampled(
    option: &'static str,
    set: fn(&mut Sampling, f32),
) -> impl Fn(&str) -> Result<f32> + Clone {
    move |text| {
        let value = number(option, "a number", text);
        let mut sampling = Sampling::default();
        // For what is no number the error states the range too.
        set(&mut sampling, value.clone().unwrap_or(f32::NAN));
        match sampling.check() {
            Err(Error::BadOption { expected, .. }) => Err(Error::BadOption {
                name: option,
                expected,
                found: text.into(),
            }),
            checked => checked.and(value),
        }
    }
}

/// Reads `NAME=VALUE`, a variable of a chat template.
pub(crate) fn variable(text: &str) -> Result<(String, Value)> {
    let (name, value) = text.split_once('=').ok_or_else(|| Error::BadOption {
        name: "var",
        expected: "NAME=VALUE",
        found: text.into(),
    })?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.into(), value))
}

fn law(name: &str) -> Result<Law, String> {
    let found = Law::ALL.into_iter().find(|law| law.name() == name);
    let names = Law::ALL.map(Law::name).join(", ");
    found.ok_or_else(|| format!("known are {names}"))
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum DeviceArg {
    Cpu,
    Gpu,
}
