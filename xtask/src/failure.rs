//! Why a task did not succeed, in words for the person who started it.

use std::fmt;

/// What failed, what was seen, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    seen: Option<String>,
    advice: Option<String>,
}

impl Failure {
    /// One sentence: what could not be done.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), seen: None, advice: None }
    }

    /// Adds the cause, or the output of the tool that failed.
    pub(crate) fn because(mut self, seen: impl fmt::Display) -> Self {
        self.seen = Some(seen.to_string());
        self
    }

    /// Adds what helps.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(seen) = &self.seen {
            for line in seen.trim_end().lines() {
                write!(f, "\n  {line}")?;
            }
        }
        if let Some(advice) = &self.advice {
            write!(f, "\n\n{advice}")?;
        }
        Ok(())
    }
}
