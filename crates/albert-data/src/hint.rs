//! Hints that accompany errors.

use std::error::Error as StdError;
use std::fmt;

/// An error with a hint on what to do about it.
#[derive(Debug)]
pub struct Hinted {
    hint: String,
    error: anyhow::Error,
}

impl Hinted {
    /// The hint.
    pub fn hint(&self) -> &str {
        &self.hint
    }
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
pub trait Hint {
    /// Adds a hint to an error, or to the error of a result.
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
