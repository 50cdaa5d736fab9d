//! The failures of a run: wrong usage (exit code 2), other failures (exit code 1), and the hint
//! that may follow either.
//!
//! They are wrappers inside an [`anyhow::Error`], so that any function can attach them with `?` on
//! the way up; at the end [`Report`] takes the chain apart again.

mod hints;
mod report;

use std::error::Error as StdError;
use std::fmt;

pub(crate) use report::Report;

/// The exit code of wrong usage.
pub(crate) const USAGE: u8 = 2;

/// An error together with a suggested remedy.
#[derive(Debug)]
struct Hinted {
    hint: String,
    error: anyhow::Error,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hint)
    }
}

impl StdError for Hinted {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.error.as_ref())
    }
}

/// Attaches a hint to an error.
pub(crate) trait Hint {
    /// Adds a suggested remedy to an error, or to the error of a result.
    #[must_use]
    fn hint(self, hint: impl Into<String>) -> Self;
}

impl Hint for anyhow::Error {
    fn hint(self, hint: impl Into<String>) -> Self {
        Hinted {
            hint: hint.into(),
            error: self,
        }
        .into()
    }
}

impl<T> Hint for anyhow::Result<T> {
    fn hint(self, hint: impl Into<String>) -> Self {
        self.map_err(|error| error.hint(hint))
    }
}

/// An error of the command line on its way through a library that knows other errors only.
#[derive(Debug)]
struct Carried(anyhow::Error);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Carried {}

/// Wraps an error for the way through albert-data; [`Report`] unwraps it.
pub(crate) fn carried(error: anyhow::Error) -> albert_data::Error {
    albert_data::Error::other(Carried(error))
}

/// Returns an error's causes, outermost first, with those of a carried error in its place.
fn causes(error: &anyhow::Error) -> Vec<&(dyn StdError + 'static)> {
    let mut causes = Vec::new();
    for cause in error.chain() {
        if let Some(Carried(error)) = cause.downcast_ref() {
            // The library's error around it has the same text.
            causes.pop();
            causes.extend(self::causes(error));
            break;
        }
        causes.push(cause);
    }
    causes
}

/// A mistake in the command line: exit code 2.
#[derive(Debug)]
struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Usage {}

/// The reader closed standard output, as `head` does: the run ends early, without an error.
#[derive(Debug)]
pub(crate) struct ClosedPipe;

impl fmt::Display for ClosedPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed by its reader")
    }
}

impl StdError for ClosedPipe {}

/// A signal ended the run early; the output is complete up to that point.
#[derive(Debug)]
pub(crate) struct Interrupted {
    pub(crate) message: String,
    /// 128 plus the signal's number.
    pub(crate) code: u8,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Interrupted {}

/// Returns an error about the command line itself.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// Returns the error of a table format that this build does not support.
#[cfg(not(feature = "parquet"))]
pub(crate) fn without_tables(format: &str) -> anyhow::Error {
    anyhow::anyhow!("format `{format}`: this build lacks the feature `parquet`")
        .hint("build with `cargo build --release --features parquet`, or use jsonl or csv")
}
