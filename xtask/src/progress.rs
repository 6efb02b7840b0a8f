//! What cargo says, in few lines: how far it is instead of a line for each crate. Whatever else it
//! says, such as warnings and errors, is handed on as it is.

use std::env;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};

use crate::failure::{OrMend, Result};
use crate::process::judge;

/// What cargo says of single crates.
const OF_ONE_CRATE: [&str; 4] = ["Downloaded ", "Compiling ", "Checking ", "Adding "];
/// How many characters of the crates under way fit in a line.
const UNDER_WAY: usize = 48;

/// Runs a command of cargo's; a non-zero exit is a failure. Its standard output goes to our
/// standard error, as that of [`crate::process::run`] does.
pub fn run_cargo(command: &mut Command, step: &'static str, mend: &str) -> Result {
    let terminal = io::stderr().is_terminal();
    if env::var_os("CARGO_TERM_COLOR").is_none() {
        command.env(
            "CARGO_TERM_COLOR",
            if terminal { "always" } else { "never" },
        );
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100")
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .stderr(Stdio::piped())
        .spawn()
        .or_mend(format!("could not start {name}"), mend)?;
    let mut progress = Progress::new(step, terminal);
    if let Some(stderr) = child.stderr.take() {
        // The exit tells how cargo ended, not the end of its output.
        drop(pieces(BufReader::new(stderr), |piece| {
            match progress.hear(piece) {
                Some(line) if terminal => eprint!("\r\x1b[K{line}"),
                Some(line) => eprint!("{line}"),
                None => {}
            }
        }));
    }
    if terminal {
        eprint!("\r\x1b[K");
    }
    drop(io::stderr().flush());
    let status = child.wait().or_mend(format!("{name} was lost"), mend)?;
    judge(command, status, mend)
}

/// Hands on each piece that ends with a line or goes back to its beginning, as bars of progress do.
fn pieces(mut from: impl BufRead, mut to: impl FnMut(&str)) -> io::Result<()> {
    let mut piece = Vec::new();
    loop {
        let bytes = from.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        let end = bytes.iter().position(|byte| b"\r\n".contains(byte));
        let used = end.map_or(bytes.len(), |at| at + 1);
        piece.extend_from_slice(&bytes[..used]);
        from.consume(used);
        if end.is_some() {
            to(&String::from_utf8_lossy(&piece));
            piece.clear();
        }
    }
    if !piece.is_empty() {
        to(&String::from_utf8_lossy(&piece));
    }
    Ok(())
}

/// How far cargo is.
struct Progress {
    step: &'static str,
    /// Whether a line can be written over.
    terminal: bool,
    /// The tenth that was told last.
    tenth: Option<usize>,
    downloads: bool,
}

impl Progress {
    fn new(step: &'static str, terminal: bool) -> Self {
        Self {
            step,
            terminal,
            tenth: None,
            downloads: false,
        }
    }

    /// What to print for a piece of cargo's; on a terminal, what has no end of line is written over.
    fn hear(&mut self, piece: &str) -> Option<String> {
        let plain = without_colours(piece);
        let text = plain.trim();
        let bar = !piece.ends_with('\n');
        if let Some(rest) = text.strip_prefix("Building [") {
            return self.building(rest);
        }
        if bar && text.starts_with("Downloading ") {
            let first = !std::mem::replace(&mut self.downloads, true);
            let what = if self.terminal {
                text.to_lowercase()
            } else {
                "downloading crates".to_owned()
            };
            return (self.terminal || first).then(|| self.line(&what));
        }
        // The sum is told: `Downloaded 412 crates (94.1MiB) in 31s`.
        let sum = text.starts_with("Downloaded ") && text.contains(" in ");
        let of_one = OF_ONE_CRATE.iter().any(|word| text.starts_with(word));
        // Bars of the registry's index, and what wipes one away.
        let other = bar && (text.is_empty() || text.starts_with("Updating ["));
        if other || of_one && !sum {
            return None;
        }
        Some(
            piece
                .trim_start_matches("\x1b[K")
                .trim_end_matches(['\r', '\n'])
                .to_owned()
                + "\n",
        )
    }

    /// `===>   ] 12/412: names of crates`
    fn building(&mut self, bar: &str) -> Option<String> {
        let (_, rest) = bar.split_once("] ")?;
        let (count, names) = rest.split_once(':').unwrap_or((rest, ""));
        let (done, all) = count.split_once('/')?;
        let (done, all) = (done.parse::<usize>().ok()?, all.parse::<usize>().ok()?);
        if self.terminal {
            let names: String = names.chars().take(UNDER_WAY).collect();
            return Some(self.line(&format!("{done} of {all}:{names}")));
        }
        let tenth = 10 * done / all.max(1);
        let told = self.tenth.replace(tenth);
        // What was compiled before is no news.
        let news = told.is_some_and(|told| told < tenth) && done < all;
        news.then(|| self.line(&format!("{done} of {all}")))
    }

    fn line(&self, what: &str) -> String {
        let end = if self.terminal { "" } else { "\n" };
        format!("{:>14}  {what}{end}", self.step)
    }
}

/// `text` without the terminal's escape sequences.
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once("\x1b[") {
        plain += before;
        rest = sequence.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        rest = rest.get(1..).unwrap_or_default();
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is printed for what cargo writes.
    fn heard(terminal: bool, text: &str) -> String {
        let mut progress = Progress::new("compile", terminal);
        let mut all = String::new();
        pieces(text.as_bytes(), |piece| {
            all.extend(progress.hear(piece));
        })
        .unwrap();
        all
    }

    #[test]
    fn crates_are_counted_not_named() {
        let mut text = String::from(" Downloading 2 crates      \r");
        for n in 0..200 {
            text += &format!("  Downloaded burn v{n}\n Downloading 1 crate     \r");
        }
        text += "  Downloaded 200 crates (9.1MiB) in 3s\n";
        for n in 0..=400 {
            text += &format!("   Compiling some v{n}\n    Building [=>  ] {n}/400: some      \r");
        }
        text += "    Finished `release` profile [optimized] target(s) in 9s\n";
        let heard = heard(false, &text);
        let lines: Vec<&str> = heard.lines().collect();
        assert_eq!(lines[0], "       compile  downloading crates");
        assert_eq!(lines[1], "  Downloaded 200 crates (9.1MiB) in 3s");
        assert_eq!(lines[2], "       compile  40 of 400");
        assert_eq!(lines.len(), 12, "{heard}");
        assert!(lines[11].starts_with("    Finished"));
    }

    #[test]
    fn what_was_there_already_is_no_news() {
        assert_eq!(
            heard(false, "    Building [==> ] 399/400: playground\r"),
            ""
        );
    }

    #[test]
    fn errors_stay_whole() {
        let error =
            "error[E0308]: mismatched types\n --> src/lib.rs:1:1\n  |\n\nwarning: `p` (lib)\n";
        assert_eq!(heard(false, error), error);
        let bar = "\x1b[1m\x1b[96m    Building\x1b[0m [=>  ] 1/9: p    \r";
        let coloured = "\x1b[K\x1b[1m\x1b[31merror\x1b[0m: no\n";
        let all = heard(false, &format!("{bar}{coloured}{bar}"));
        assert_eq!(all, "\x1b[1m\x1b[31merror\x1b[0m: no\n");
    }

    #[test]
    fn a_terminal_s_line_is_written_over() {
        let text = "    Building [=>  ] 1/9: a, b   \r\x1b[K   Compiling c v1\n";
        assert_eq!(heard(true, text), "       compile  1 of 9: a, b");
    }

    #[test]
    fn a_failing_command_is_a_failure() {
        let mut command = Command::new("cargo");
        let failed = run_cargo(command.arg("no-such-command"), "test", "mend");
        assert!(failed.unwrap_err().to_string().contains("no-such-command"));
    }
}
