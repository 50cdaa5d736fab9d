//! The time that a request takes, by part.

use std::time::Duration;

/// The time that a request spent, by part.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) tokenization: Duration,
    pub(crate) queue: Duration,
    pub(crate) inference: Duration,
    pub(crate) texts: usize,
    pub(crate) tokens: usize,
}
