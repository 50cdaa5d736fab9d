//! A position in the data, from which a run resumes.

use serde::{Deserialize, Serialize};

use crate::examples::corpus::Place;

/// A position in the data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The next sequence in the order of the epoch, from 0.
    pub sequence: u64,
}

/// The position in the text at which the block of a position starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    pub(super) epoch: u64,
    pub(super) block: u64,
    /// Sequences of the epoch before the block.
    pub(super) sequences: u64,
    pub(super) place: Place,
}
