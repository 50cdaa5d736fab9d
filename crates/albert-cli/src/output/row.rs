//! Rows, and the writers that every format implements.

use serde::Serialize;

use super::{Column, Kept, Vector};

/// A row, in all the forms that formats need.
pub(crate) trait Row: Serialize {
    /// The keys of the row's JSON, in order, and their types.
    const COLUMNS: &'static [Column];

    /// The heading above the rows of a table; empty for none.
    const HEADING: &'static str = "";

    /// Returns the row for people to read: one or more lines, each ended by a line feed.
    fn lines(&self) -> String;

    /// Returns the row's vector, if any.
    fn vector(&self) -> Option<Vector<'_>> {
        None
    }

    /// Returns the number of tokens that entered the model.
    fn tokens(&self) -> Option<usize> {
        None
    }

    /// Returns true if the text was truncated to the model's limit.
    fn truncated(&self) -> Option<bool> {
        None
    }
}

/// Writes rows in one format.
pub(crate) trait RowWriter<R: Row> {
    /// Writes one row, with the columns kept from the input.
    fn row(&mut self, row: &R, kept: &Kept) -> anyhow::Result<()>;

    /// Writes the row of a text without a result.
    fn bad(&mut self, bad: &BadRow) -> anyhow::Result<()>;

    /// Flushes everything written so far.
    fn flush(&mut self) -> anyhow::Result<()>;

    /// Completes the output.
    fn finish(&mut self) -> anyhow::Result<()>;
}

/// The row of a text without a result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct BadRow {
    pub(crate) index: usize,
    pub(crate) error: String,
}
