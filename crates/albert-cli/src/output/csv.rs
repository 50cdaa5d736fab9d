//! `csv`: a header line and one record per row; a list is one cell with its JSON in it.
//!
//! The header follows from the first good row: a `pair` column if that row is a pair's, an
//! `explain` column if it has one, an `error` column if bad lines are passed over. Bad rows wait
//! for it, up to a limit; then the header has all columns.

use std::fmt;

use anyhow::bail;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{BadRow, Row, RowWriter, Sink};
use crate::failure::Hint;

/// The most bad rows that wait for the first good one.
const HELD: usize = 1000;

/// Comma-separated values.
pub(super) struct Csv {
    sink: Sink,
    skip_bad: bool,
    /// The names of the columns, once the header is written.
    header: Option<Vec<&'static str>>,
    /// The bad rows before it.
    held: Vec<BadRow>,
}

impl Csv {
    /// Begins a file, or continues one with this header.
    pub(super) fn new(sink: Sink, skip_bad: bool, header: Option<Vec<&'static str>>) -> Self {
        Self {
            sink,
            skip_bad,
            header,
            held: Vec::new(),
        }
    }

    fn header<R: Row>(&mut self, has: impl Fn(&str) -> bool) -> anyhow::Result<Vec<&'static str>> {
        if let Some(header) = &self.header {
            return Ok(header.clone());
        }
        let columns = R::COLUMNS
            .iter()
            .filter(|column| !column.optional || has(column.name));
        let mut header: Vec<_> = columns.map(|column| column.name).collect();
        if self.skip_bad {
            header.push("error");
        }
        self.record(&header)?;
        self.header = Some(header.clone());
        for bad in std::mem::take(&mut self.held) {
            self.cells(&header, &serde_json::to_string(&bad)?)?;
        }
        Ok(header)
    }

    fn record<C: AsRef<[u8]>>(&mut self, cells: &[C]) -> anyhow::Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(cells)?;
        self.sink.write(&writer.into_inner()?)
    }

    fn cells(&mut self, header: &[&str], json: &str) -> anyhow::Result<()> {
        let Members(members) = serde_json::from_str(json)?;
        let mut cells = vec![String::new(); header.len()];
        for (name, value) in members {
            match header.iter().position(|&column| column == name) {
                Some(column) => cells[column] = cell(value.get())?,
                None => {
                    let failed =
                        anyhow::anyhow!("this row has `{name}`, which the first row had not");
                    return Err(failed.hint("csv needs the same columns in every row: write jsonl"));
                }
            }
        }
        self.record(&cells)
    }
}

/// A value as the text of a cell: strings bare, everything else as its JSON, null as nothing.
fn cell(json: &str) -> anyhow::Result<String> {
    match json.as_bytes().first() {
        Some(b'"') => Ok(serde_json::from_str(json)?),
        Some(b'n') => Ok(String::new()),
        Some(_) => Ok(json.to_string()),
        None => bail!("a value without JSON"),
    }
}

/// The members of a JSON object in order, their numbers untouched.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl<R: Row> RowWriter<R> for Csv {
    fn row(&mut self, row: &R) -> anyhow::Result<()> {
        let json = serde_json::to_string(row)?;
        let Members(members) = serde_json::from_str(&json)?;
        let header = self.header::<R>(|column| members.iter().any(|(name, _)| name == column))?;
        self.cells(&header, &json)
    }

    fn bad(&mut self, bad: &BadRow) -> anyhow::Result<()> {
        if self.header.is_none() && self.held.len() < HELD {
            self.held.push(bad.clone());
            return Ok(());
        }
        let header = self.header::<R>(|_| true)?;
        self.cells(&header, &serde_json::to_string(bad)?)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.header::<R>(|_| false)?;
        self.sink.finish()
    }
}
