//! The one error type: what went wrong and how to mend it.

use std::fmt;

/// A step's result.
pub type Result<T = ()> = std::result::Result<T, Failure>;

/// What went wrong and how to mend it, for a person to read.
#[derive(Debug)]
pub struct Failure {
    problem: String,
    mend: String,
}

impl Failure {
    pub fn new(problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            mend: mend.into(),
        }
    }

    /// What went wrong.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n   to mend: {}", self.problem, self.mend)
    }
}

/// Turns any error into a [`Failure`] by naming the step and the cure.
pub trait OrMend<T> {
    fn or_mend(self, problem: impl fmt::Display, mend: &str) -> Result<T>;
}

impl<T, E: fmt::Display> OrMend<T> for std::result::Result<T, E> {
    fn or_mend(self, problem: impl fmt::Display, mend: &str) -> Result<T> {
        self.map_err(|error| Failure::new(format!("{problem}: {error}"), mend))
    }
}
