//! Remarks on an input that are not errors.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use albert_data::Notes;

use super::Input;
use crate::progress::Extent;

/// Remarks on an input that are not errors.
pub(crate) struct Remarks {
    pub(super) notes: Notes,
    pub(super) extent: Extent,
    pub(super) bytes_read: Arc<AtomicU64>,
}

impl Remarks {
    /// Returns the remarks at the end of an input of `rows` rows.
    pub(crate) fn at_end(&self, rows: usize) -> Vec<String> {
        let mut remarks = self.notes.take();
        let bytes = match self.extent {
            Extent::Bytes(bytes) => bytes,
            _ => Input::position(&self.bytes_read),
        };
        if rows == 0 && bytes > 0 {
            remarks.push(format!("the input has {bytes} bytes but no rows"));
        }
        remarks
    }
}
