//! `json`: one array of the rows that `jsonl` writes, one per line.

use serde::Serialize;

use super::{BadRow, Row, RowWriter, Sink};

/// An array of JSON objects.
pub(super) struct Json {
    sink: Sink,
    rows: usize,
}

impl Json {
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink, rows: 0 }
    }

    fn element(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut bytes = if self.rows == 0 {
            b"[\n".to_vec()
        } else {
            b",\n".to_vec()
        };
        serde_json::to_writer(&mut bytes, value)?;
        self.rows += 1;
        self.sink.write(&bytes)
    }
}

impl<R: Row> RowWriter<R> for Json {
    fn row(&mut self, row: &R) -> anyhow::Result<()> {
        self.element(row)
    }

    fn bad(&mut self, bad: &BadRow) -> anyhow::Result<()> {
        self.element(bad)
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
