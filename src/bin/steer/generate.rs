//! `steer generate`: continues a text or answers a chat.

use std::io::{Write, stdout};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};
use steering_playground::error::{Error, Result};
use steering_playground::sample::Sampling;
use steering_playground::session::{Request, Step};
use steering_playground::text::Message;

use crate::args::{SessionArgs, number, sampled, variable, whole};
use crate::load::open;
use crate::report::ms;

#[derive(Args)]
pub(crate) struct Generate {
    #[command(flatten)]
    session: SessionArgs,
    /// Plain text to continue.
    #[arg(long, conflicts_with = "chat")]
    prompt: Option<String>,
    /// A user's message to answer. Repeat for several turns: the first is the user's, then the
    /// assistant's, and so on.
    #[arg(long)]
    chat: Vec<String>,
    /// A system message before the chat.
    #[arg(long, requires = "chat")]
    system: Option<String>,
    /// A variable that the chat template reads, as NAME=VALUE; repeat for several. What is JSON is
    /// taken as that (`enable_thinking=false`), anything else as a text.
    #[arg(long = "var", value_name = "NAME=VALUE", requires = "chat", value_parser = variable)]
    variables: Vec<(String, Value)>,
    #[arg(long, default_value_t = 64, allow_hyphen_values = true,
          value_parser = whole::<usize>("max-tokens"))]
    max_tokens: usize,
    #[arg(long, default_value_t = 0.0, allow_hyphen_values = true,
          value_parser = sampled("temperature", |to, value| to.temperature = value))]
    temperature: f32,
    #[arg(long, default_value_t = 0, allow_hyphen_values = true,
          value_parser = whole::<usize>("top-k"))]
    top_k: usize,
    #[arg(long, default_value_t = 1.0, allow_hyphen_values = true,
          value_parser = sampled("top-p", |to, value| to.top_p = value))]
    top_p: f32,
    #[arg(long, default_value_t = 0.0, allow_hyphen_values = true,
          value_parser = sampled("min-p", |to, value| to.min_p = value))]
    min_p: f32,
    #[arg(long, default_value_t = 1.0, allow_hyphen_values = true,
          value_parser = sampled("repetition-penalty", |to, value| to.repetition_penalty = value))]
    repetition_penalty: f32,
    #[arg(long, default_value_t = 0, allow_hyphen_values = true,
          value_parser = |text: &str| number::<u64>(
              "seed", "a whole number from 0 to 18446744073709551615", text))]
    seed: u64,
    /// A text that ends the answer, with special tokens as they are spelled; repeat for several.
    #[arg(long)]
    stop: Vec<String>,
    /// Let the base model generate beside the steered one.
    #[arg(long)]
    compare: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Generate) -> Result<()> {
    if !args.chat.is_empty() && args.chat.len().is_multiple_of(2) {
        return Err(Error::BadOption {
            name: "chat",
            expected: "turns of which the last is the user's, so an odd number",
            found: args.chat.len().to_string(),
        });
    }
    let started = Instant::now();
    let session = open(&args.session).await?;
    let load_ms = ms(started);
    let system = args.system.iter().map(|content| ("system", content));
    let turns = ["user", "assistant"].into_iter().cycle().zip(&args.chat);
    let chat: Vec<Message> = system
        .chain(turns)
        .map(|(role, content)| Message {
            role: role.into(),
            content: content.clone(),
        })
        .collect();
    let mut generation = session.generate(Request {
        prompt: args.prompt.clone(),
        chat: (!args.chat.is_empty()).then_some(chat),
        template_variables: args.variables.iter().cloned().collect(),
        max_tokens: args.max_tokens,
        sampling: Sampling {
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            min_p: args.min_p,
            repetition_penalty: args.repetition_penalty,
            seed: args.seed,
        },
        stop: args.stop.clone(),
        compare: args.compare,
        ..Request::default()
    })?;
    let prompt_ids = generation.prompt_ids().to_vec();
    let started = Instant::now();
    let mut first_token_ms = None;
    let (mut ids, mut text, mut base_text) = (Vec::new(), String::new(), String::new());
    // The text before an error is printed too.
    let mut end = Ok(());
    loop {
        let step = match generation.next().await {
            Ok(Some(step)) => step,
            Ok(None) => break,
            Err(error) => {
                end = Err(error);
                break;
            }
        };
        let Step::Token { steered, base, .. } = step else {
            continue;
        };
        first_token_ms.get_or_insert_with(|| ms(started));
        if let Some(step) = steered {
            ids.push(step.id);
            text.push_str(&step.text);
            if !args.json {
                print!("{}", step.text);
                let _ = stdout().flush();
            }
        }
        base_text.extend(base.map(|step| step.text));
    }
    let total_ms = ms(started);
    if args.json {
        let timings = json!({
            "load_ms": load_ms, "first_token_ms": first_token_ms, "total_ms": total_ms,
        });
        let mut out =
            json!({ "prompt_ids": prompt_ids, "ids": ids, "text": text, "timings": timings });
        if args.compare {
            out["base_text"] = base_text.into();
        }
        if let Err(error) = &end {
            out["error"] = json!({ "code": error.code(), "message": error.to_string() });
        }
        println!("{out}");
    } else {
        println!();
        if args.compare {
            println!("\n--- base ---\n{base_text}");
        }
    }
    end
}
