//! Vectors alone: rows × dim numbers behind a header of fixed length.
//!
//! The number of rows is known only at the end, so the header is written with room for any number
//! and completed by going back. A file cut short says that it has no rows.

use anyhow::Context;

use super::column::VectorType;
use super::{BadRow, Row, RowWriter, Sink};

/// What a format writes in front of so many vectors; its length does not depend on their number.
pub(super) type Header = fn(usize, VectorType) -> anyhow::Result<Vec<u8>>;

/// A header and the vectors behind it.
pub(super) struct Matrix {
    sink: Sink,
    header: Header,
    vectors: VectorType,
    rows: usize,
}

impl Matrix {
    /// Begins a file, or goes on with one whose first `bytes` bytes hold a header and `rows`
    /// vectors.
    pub(super) fn new(
        mut sink: Sink,
        header: Header,
        vectors: VectorType,
        bytes: u64,
        rows: usize,
    ) -> anyhow::Result<Self> {
        if bytes == 0 {
            sink.write(&header(0, vectors)?)?;
        }
        Ok(Self {
            sink,
            header,
            vectors,
            rows,
        })
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
        self.rows += 1;
        self.sink.write(bytes)
    }
}

impl<R: Row> RowWriter<R> for Matrix {
    fn row(&mut self, row: &R) -> anyhow::Result<()> {
        self.vector(
            &row.vector()
                .map(|vector| vector.bytes())
                .unwrap_or_default(),
        )
    }

    fn bad(&mut self, _: &BadRow) -> anyhow::Result<()> {
        let missing = self.vectors.missing();
        self.vector(&missing.context("no number of these tells that a row is bad")?)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.sink.finish()?;
        self.sink
            .rewrite_start(&(self.header)(self.rows, self.vectors)?)
    }
}
