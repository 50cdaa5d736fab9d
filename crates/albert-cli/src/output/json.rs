//! `json`: one array of the rows that `jsonl` writes, one per line.

use serde::Serialize;

use super::salvage::Salvage;
use super::{BadRow, Kept, Layout, Row, RowWriter, Sink};

/// The end of an array with rows.
const END: &[u8] = b"\n]\n";

/// An array of JSON objects.
pub(super) struct Json {
    sink: Sink,
    layout: Layout,
    rows: usize,
}

impl Json {
    pub(super) fn new(sink: Sink, layout: Layout) -> Self {
        Self {
            sink: sink.with_salvage(Salvage::Rows { end: END }),
            layout,
            rows: 0,
        }
    }

    fn element(&mut self, value: &impl Serialize, kept: &Kept) -> anyhow::Result<()> {
        self.sink
            .write(if self.rows == 0 { b"[\n" } else { b",\n" })?;
        self.layout.write(value, kept, &mut self.sink)?;
        self.rows += 1;
        self.sink.end_rows(1);
        Ok(())
    }
}

impl<R: Row> RowWriter<R> for Json {
    fn row(&mut self, row: &R, kept: &Kept) -> anyhow::Result<()> {
        self.element(row, kept)
    }

    fn bad(&mut self, bad: &BadRow) -> anyhow::Result<()> {
        self.element(bad, &Kept::new())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.sink
            .write(if self.rows == 0 { b"[]\n" } else { END })?;
        self.sink.finish()
    }
}
