//! Remarks on a source that are not errors.

use std::sync::{Arc, Mutex, PoisonError};

/// The remarks made while reading. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    /// Adds a remark.
    pub(crate) fn add(&self, note: String) {
        self.lock().push(note);
    }

    /// Takes the remarks that have not been taken yet.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
