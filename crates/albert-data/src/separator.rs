//! The error of a file that is read with the wrong separator.

use std::error::Error as StdError;
use std::fmt;

/// An error of a header whose only name another separator would divide into the field that is
/// missing.
#[derive(Debug)]
pub struct OtherSeparator {
    separator: char,
    error: anyhow::Error,
}

impl OtherSeparator {
    pub(crate) fn new(separator: char, error: anyhow::Error) -> Self {
        Self { separator, error }
    }

    /// The separator that the file seems to have.
    pub fn separator(&self) -> char {
        self.separator
    }
}

impl fmt::Display for OtherSeparator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the separator looks like {:?}", self.separator)
    }
}

impl StdError for OtherSeparator {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.error.as_ref())
    }
}
