//! The record batches of an Arrow input, for an output that keeps them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The numbers of rows of an Arrow input's record batches, as far as it has been read. Clones share
/// them.
#[derive(Debug, Clone, Default)]
pub struct RowBatches(Arc<Mutex<VecDeque<usize>>>);

impl RowBatches {
    /// Adds the next batch.
    pub(crate) fn add(&self, rows: usize) {
        self.lock().push_back(rows);
    }

    /// Takes the number of rows of the next batch that nobody has taken yet.
    ///
    /// A batch is there before its first row is read, an empty one before the row after it, or
    /// before the end of the input.
    pub fn take(&self) -> Option<usize> {
        self.lock().pop_front()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
