//! `csv`: a header line and one record per row; a list is JSON in one cell.
//!
//! The first good row determines the header: it has `pair` and `explain` if that row has them, and
//! `error` if bad lines are skipped. Bad rows are held back until then, up to a limit, after which
//! the header has all columns.

use anyhow::bail;

use super::members::Members;
use super::{BadRow, Kept, Layout, Row, RowWriter, Sink};
use crate::failure::Hint;

/// The maximum number of bad rows held back until the first good row.
const HELD: usize = 1000;

/// Comma-separated values.
pub(super) struct Csv {
    sink: Sink,
    layout: Layout,
    skip_bad: bool,
    /// The names of the columns, once the header is written.
    header: Option<Vec<String>>,
    /// The bad rows before the header is written.
    held: Vec<BadRow>,
}

impl Csv {
    /// Starts a file, or continues one with this header.
    pub(super) fn new(
        sink: Sink,
        layout: Layout,
        skip_bad: bool,
        header: Option<Vec<&'static str>>,
    ) -> Self {
        Self {
            sink,
            layout,
            skip_bad,
            header: header.map(|names| names.into_iter().map(String::from).collect()),
            held: Vec::new(),
        }
    }

    fn header<R: Row>(
        &mut self,
        has: impl Fn(&str) -> bool,
        kept: &Kept,
    ) -> anyhow::Result<Vec<String>> {
        if let Some(header) = &self.header {
            return Ok(header.clone());
        }
        let columns = R::COLUMNS.iter().map(|column| {
            let name = self.layout.name(column.name);
            (!column.optional || has(name)).then(|| name.to_string())
        });
        let mut header: Vec<String> = columns.flatten().collect();
        header.extend(kept.iter().map(|(name, _)| name.to_string()));
        if self.skip_bad {
            header.push("error".to_string());
        }
        self.record(&header)?;
        self.sink.end_rows(0);
        self.header = Some(header.clone());
        for bad in std::mem::take(&mut self.held) {
            let bad = self.layout.members(&bad, &Kept::new())?;
            self.cells(&header, bad)?;
        }
        Ok(header)
    }

    fn record<C: AsRef<[u8]>>(&mut self, cells: &[C]) -> anyhow::Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(cells)?;
        self.sink.write(&writer.into_inner()?)
    }

    fn cells(&mut self, header: &[String], Members(members): Members) -> anyhow::Result<()> {
        let mut cells = vec![String::new(); header.len()];
        for (name, value) in members {
            match header.iter().position(|column| *column == name) {
                Some(column) => cells[column] = cell(value.get())?,
                None => {
                    let failed = anyhow::anyhow!(
                        "this row has a column `{name}`, which the first row did not have"
                    );
                    return Err(
                        failed.hint("csv needs the same columns in every row: choose jsonl")
                    );
                }
            }
        }
        self.record(&cells)?;
        self.sink.end_rows(1);
        Ok(())
    }
}

/// Returns a value as the text of a cell: a string without quotes, null as nothing, anything else
/// as JSON.
fn cell(json: &str) -> anyhow::Result<String> {
    match json.as_bytes().first() {
        Some(b'"') => Ok(serde_json::from_str(json)?),
        Some(b'n') => Ok(String::new()),
        Some(_) => Ok(json.to_string()),
        None => bail!("cannot convert a value to JSON"),
    }
}

impl<R: Row> RowWriter<R> for Csv {
    fn row(&mut self, row: &R, kept: &Kept) -> anyhow::Result<()> {
        let members = self.layout.members(row, kept)?;
        let has = |column: &str| members.0.iter().any(|(name, _)| name == column);
        let header = self.header::<R>(has, kept)?;
        self.cells(&header, members)
    }

    fn bad(&mut self, bad: &BadRow) -> anyhow::Result<()> {
        if self.header.is_none() && self.held.len() < HELD {
            self.held.push(bad.clone());
            return Ok(());
        }
        let header = self.header::<R>(|_| true, &Kept::new())?;
        let bad = self.layout.members(bad, &Kept::new())?;
        self.cells(&header, bad)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.header::<R>(|_| false, &Kept::new())?;
        self.sink.finish()
    }
}
