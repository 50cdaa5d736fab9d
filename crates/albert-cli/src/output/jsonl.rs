//! `jsonl`: one JSON object per line. Floats are the shortest decimals that read back as the same
//! f32.

use serde::Serialize;

use super::{BadRow, Row, RowWriter, Sink};

/// Lines of JSON.
pub(super) struct JsonLines {
    sink: Sink,
}

impl JsonLines {
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink }
    }

    fn line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.sink.write(&line)
    }
}

impl<R: Row> RowWriter<R> for JsonLines {
    fn row(&mut self, row: &R) -> anyhow::Result<()> {
        self.line(row)
    }

    fn bad(&mut self, bad: &BadRow) -> anyhow::Result<()> {
        self.line(bad)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.sink.finish()
    }
}
