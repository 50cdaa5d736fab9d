//! The formats that hold only vectors: a header of fixed length, then rows × dim values.
//!
//! The number of rows is only known at the end, so the header has room for any number and is
//! completed last. The header of a killed run has zero rows.

use anyhow::Context;

use super::column::VectorType;
use super::salvage::Salvage;
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
        let salvage = Salvage::Matrix {
            start: Box::new(move |rows| header(rows, vectors)),
            row_bytes: vectors.bytes(),
        };
        Self {
            sink: sink.with_salvage(salvage),
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
        self.sink.finish()?;
        self.sink
            .rewrite_start(&(self.header)(self.rows, self.vectors)?)
    }
}
