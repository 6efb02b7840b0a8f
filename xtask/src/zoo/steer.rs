//! The program that trains and measures, asked one thing a process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::failure::Failure;

/// Where it is, and what it is asked about.
pub struct Steer {
    pub program: PathBuf,
    pub model: PathBuf,
    /// The file of contrasting answers.
    pub pairs: PathBuf,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Trouble {
    /// It cannot be done, for the reason of this sentence.
    Refused(String),
    /// It was not done: nothing is known of it.
    Ended(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Ended(failure)
    }
}

pub type Answer<T> = std::result::Result<T, Trouble>;

impl Steer {
    /// What it prints when it is asked about the model.
    pub fn ask(&self, command: &str, arguments: &[&str]) -> Answer<String> {
        let model = self.model.to_string_lossy();
        self.without_model(command, &[&["--model", &*model][..], arguments].concat())
    }

    /// What it prints.
    pub fn without_model(&self, command: &str, arguments: &[&str]) -> Answer<String> {
        let ended = |why: String| {
            let mend = "run this again: it goes on from what is done";
            Trouble::Ended(Failure::new(format!("`steer {command}` {why}"), mend))
        };
        let output = Command::new(&self.program)
            .arg(command)
            .args(arguments)
            // A row is one thread's work: jobs are what uses the others.
            .env("RAYON_NUM_THREADS", "1")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| ended(format!("could not be started: {error}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        // Killed: it had no say.
        if output.status.code().is_none() {
            return Err(ended(format!("was ended ({})", output.status)));
        }
        Err(Trouble::Refused(sentence(&String::from_utf8_lossy(
            &output.stderr,
        ))))
    }

    /// The same of a behaviour, and an adapter; JSON.
    pub fn dose(
        &self,
        command: &str,
        behaviour: &str,
        adapter: &Path,
        rest: &[&str],
    ) -> Answer<Value> {
        let adapter = adapter.to_string_lossy();
        let rest = [&["--adapter", &*adapter][..], rest].concat();
        self.of_pairs(command, behaviour, &rest)
    }

    /// The same of several adapters, whose coefficients stand to each other as these numbers.
    pub fn stack(
        &self,
        command: &str,
        behaviour: &str,
        adapters: &[(PathBuf, f64)],
        rest: &[&str],
    ) -> Answer<Value> {
        let mut arguments = Vec::new();
        for (path, coefficient) in adapters {
            arguments.extend(["--adapter".to_owned(), path.to_string_lossy().into_owned()]);
            arguments.push(format!("--coeff={coefficient}"));
        }
        let mut arguments: Vec<&str> = arguments.iter().map(|text| &**text).collect();
        arguments.extend(rest);
        self.of_pairs(command, behaviour, &arguments)
    }

    fn of_pairs(&self, command: &str, behaviour: &str, rest: &[&str]) -> Answer<Value> {
        let pairs = self.pairs.to_string_lossy();
        let mut arguments = vec!["--pairs", &*pairs, "--behaviour", behaviour];
        arguments.extend(["--fast", "--json"]);
        arguments.extend(rest);
        let text = self.ask(command, &arguments)?;
        serde_json::from_str(&text)
            .map_err(|error| Trouble::Refused(format!("`steer {command}` wrote no JSON: {error}")))
    }
}

/// The error that a process ended with: what it said last.
fn sentence(stderr: &str) -> String {
    let begins = |line: &&str| line.starts_with("steer: ") || line.contains("panicked at");
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.is_empty()).collect();
    let from = lines.iter().rposition(begins).unwrap_or_default();
    let text = lines[from..].join(" ");
    let text = text.strip_prefix("steer: ").unwrap_or(&text);
    // The code is for programs.
    let code = |(_, code): &(&str, &str)| code.ends_with(']') && !code.contains(' ');
    let told = text.rsplit_once(" [").filter(code);
    told.map_or(text, |(text, _)| text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn the_last_word_is_the_error() {
        let text = "steer: 12 numbers, 0.1 s a step: 4 s for the rest\n\
                    steer: the loss of step 3: it is not finite: try a smaller rate [not_trained]\n";
        assert_eq!(
            sentence(text),
            "the loss of step 3: it is not finite: try a smaller rate"
        );
        let panic = "thread 'main' panicked at src/a.rs:1:1:\nno";
        assert_eq!(
            sentence(panic),
            "thread 'main' panicked at src/a.rs:1:1: no"
        );
        assert_eq!(sentence(""), "");
    }
}
