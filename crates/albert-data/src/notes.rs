//! Remarks on a source that are no errors.

use std::sync::{Arc, Mutex, PoisonError};

/// Remarks that reading has made so far, for whoever shows them. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    /// Adds a remark.
    pub(crate) fn add(&self, note: String) {
        self.lock().push(note);
    }

    /// Takes the remarks that nobody has taken yet.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
