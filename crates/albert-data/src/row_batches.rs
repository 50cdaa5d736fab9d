//! The record batches of an Arrow input, for an output that keeps them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The numbers of rows in the record batches of an Arrow input that have been read so far. Clones
/// share them.
#[derive(Debug, Clone, Default)]
pub struct RowBatches(Arc<Mutex<VecDeque<usize>>>);

impl RowBatches {
    /// Adds the next batch.
    pub(crate) fn add(&self, rows: usize) {
        self.lock().push_back(rows);
    }

    /// Takes the number of rows of the next batch that nobody has taken yet.
    ///
    /// A batch is added before its first row is read, and an empty one before the next row or the
    /// end of the input.
    pub fn take(&self) -> Option<usize> {
        self.lock().pop_front()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
