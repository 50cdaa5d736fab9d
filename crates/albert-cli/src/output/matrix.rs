//! The formats that hold only vectors: a header of fixed length, then rows × dim values.
//!
//! The number of rows is only known at the end, so the header has room for any number and is
//! completed last. The header of a killed run has zero rows.

use anyhow::Context;

use super::column::VectorType;
use super::{BadRow, Kept, Row, RowWriter, Sink};

/// Returns the header of a format for a number of vectors, on which its length does not depend.
pub(super) type Header = fn(usize, VectorType) -> anyhow::Result<Vec<u8>>;

/// A header and the vectors after it.
pub(super) struct Matrix {
    sink: Sink,
    header: Header,
    vectors: VectorType,
    rows: usize,
    has_header: bool,
}

impl Matrix {
    /// Starts a file, or continues one whose first `bytes` bytes hold a header and `rows` vectors.
    pub(super) fn new(
        sink: Sink,
        header: Header,
        vectors: VectorType,
        bytes: u64,
        rows: usize,
    ) -> Self {
        Self {
            sink,
            header,
            vectors,
            rows,
            has_header: bytes > 0,
        }
    }

    /// Writes the header with room for any number of rows, before the first of them.
    fn begin(&mut self) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.has_header, true) {
            self.sink.write(&(self.header)(0, self.vectors)?)?;
        }
        Ok(())
    }

    /// Truncates a file that could not be completed, as on a full disk, to whole rows, and writes
    /// their number to the header.
    fn keep_whole(&mut self) -> anyhow::Result<()> {
        let header_bytes = (self.header)(0, self.vectors)?.len();
        let rows = self.sink.keep_whole(header_bytes, self.vectors.bytes())?;
        self.sink.rewrite_start(&(self.header)(rows, self.vectors)?)
    }

    fn vector(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        if bytes.len() != self.vectors.bytes() {
            let found = bytes.len() / self.vectors.element.bytes();
            anyhow::bail!(
                "row {}: expected {}, found {found}",
                self.rows + 1,
                self.vectors
            );
        }
        self.begin()?;
        self.sink.write(bytes)?;
        self.rows += 1;
        Ok(())
    }
}

impl<R: Row> RowWriter<R> for Matrix {
    fn row(&mut self, row: &R, _: &Kept) -> anyhow::Result<()> {
        self.vector(
            &row.vector()
                .map(|vector| vector.bytes())
                .unwrap_or_default(),
        )
    }

    fn bad(&mut self, _: &BadRow) -> anyhow::Result<()> {
        let missing = self.vectors.missing();
        self.vector(&missing.context("a format of bytes has no value to mark a bad row")?)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.begin()?;
        let finished = self.sink.finish();
        if finished.is_err() {
            // The first failure is the one to report.
            drop(self.keep_whole());
            return finished;
        }
        self.sink
            .rewrite_start(&(self.header)(self.rows, self.vectors)?)
    }
}
