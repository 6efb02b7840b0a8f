//! What the subcommands print, times and memory among it.

use std::fmt::Arguments;
use std::fs::read_to_string;
use std::io::{ErrorKind, Write, stdout};
use std::process::exit;
use std::time::Instant;

/// Writes to standard output. A reader may close it early, as `head` does: then the program ends.
pub(crate) fn put(text: Arguments) {
    if let Err(error) = stdout().write_fmt(text) {
        if error.kind() == ErrorKind::BrokenPipe {
            exit(0);
        }
        eprintln!("steer: standard output: {error} [io]");
        exit(1);
    }
}

/// Milliseconds since then.
pub(crate) fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// The most memory that the program had so far, in bytes; `None` where the system does not say it in
/// `/proc`, as only Linux does.
pub(crate) fn peak_bytes() -> Option<u64> {
    let status = read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line?.trim().strip_suffix("kB")?.trim().parse::<u64>();
    Some(1024 * kib.ok()?)
}

// The macros of the standard library panic when standard output is closed.
macro_rules! print {
    ($($text:tt)*) => { $crate::report::put(format_args!($($text)*)) };
}
macro_rules! println {
    () => { $crate::report::put(format_args!("\n")) };
    ($($text:tt)*) => { $crate::report::put(format_args!("{}\n", format_args!($($text)*))) };
}
