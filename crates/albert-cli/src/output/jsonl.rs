//! `jsonl`: one JSON object per line. Floats are written as the shortest decimal that reads back as
//! the same f32.

use serde::Serialize;

use super::{BadRow, Kept, Layout, Row, RowWriter, Sink};

/// Lines of JSON.
pub(super) struct JsonLines {
    sink: Sink,
    layout: Layout,
}

impl JsonLines {
    pub(super) fn new(sink: Sink, layout: Layout) -> Self {
        Self { sink, layout }
    }

    fn line(&mut self, value: &impl Serialize, kept: &Kept) -> anyhow::Result<()> {
        self.layout.write(value, kept, &mut self.sink)?;
        self.sink.write(b"\n")?;
        self.sink.end_rows(1);
        Ok(())
    }
}

impl<R: Row> RowWriter<R> for JsonLines {
    fn row(&mut self, row: &R, kept: &Kept) -> anyhow::Result<()> {
        self.line(row, kept)
    }

    fn bad(&mut self, bad: &BadRow) -> anyhow::Result<()> {
        self.line(bad, &Kept::new())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.sink.finish()
    }
}
