//! `json`: one array of the rows that `jsonl` writes, one per line.

use serde::Serialize;

use super::{BadRow, Kept, Layout, Row, RowWriter, Sink};

/// An array of JSON objects.
pub(super) struct Json {
    sink: Sink,
    layout: Layout,
    rows: usize,
}

impl Json {
    pub(super) fn new(sink: Sink, layout: Layout) -> Self {
        Self {
            sink,
            layout,
            rows: 0,
        }
    }

    fn element(&mut self, value: &impl Serialize, kept: &Kept) -> anyhow::Result<()> {
        let mut bytes = if self.rows == 0 {
            b"[\n".to_vec()
        } else {
            b",\n".to_vec()
        };
        bytes.extend(self.layout.encode(value, kept)?);
        self.rows += 1;
        self.sink.write(&bytes)
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
            .write(if self.rows == 0 { b"[]\n" } else { b"\n]\n" })?;
        self.sink.finish()
    }
}
