//! Texts in the columns of a Parquet or Arrow table.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

use super::batches::{Batches, column, parts};
use super::cells::Strings;
use super::{Fields, Line, Place, Text};

/// The texts of a table, row by row.
pub(super) struct Columns {
    name: Arc<str>,
    fields: Fields,
    parts: Box<dyn Iterator<Item = anyhow::Result<RecordBatch>> + Send>,
    lines: VecDeque<Line>,
    /// Rows read.
    rows: u64,
    failed: bool,
}

impl Columns {
    /// Begins reading.
    ///
    /// # Errors
    /// If the table lacks a field.
    pub(super) fn new(batches: Batches, fields: Fields) -> anyhow::Result<Self> {
        for name in fields.names() {
            batches.expect(name)?;
        }
        let (name, parts) = (
            Arc::clone(batches.name()),
            Box::new(batches.flat_map(parts)),
        );
        Ok(Self {
            name,
            fields,
            parts,
            lines: VecDeque::new(),
            rows: 0,
            failed: false,
        })
    }

    /// The next rows; `false` at the end.
    fn read(&mut self) -> anyhow::Result<bool> {
        let Some(part) = self.parts.next().transpose()? else {
            return Ok(false);
        };
        let read = |name: &str, listed: bool| -> anyhow::Result<Vec<anyhow::Result<String>>> {
            let field = || format!("field `{name}`");
            let texts = texts(column(&part, name)?, listed);
            let texts = texts
                .with_context(field)
                .with_context(|| self.name.to_string())?;
            Ok(texts
                .into_iter()
                .map(|text| text.with_context(field))
                .collect())
        };
        let texts = read(&self.fields.text, false)?;
        let pairs = match &self.fields.pair {
            Some(pair) => read(pair, self.fields.listed)?
                .into_iter()
                .map(|text| text.map(Some))
                .collect(),
            None => texts.iter().map(|_| Ok(None)).collect::<Vec<_>>(),
        };
        for (text, pair) in texts.into_iter().zip(pairs) {
            self.rows += 1;
            let place = Place::Row(Arc::clone(&self.name), self.rows);
            let text = text.and_then(|text| Ok(Text { text, pair: pair? }));
            self.lines.push_back(Line { place, text });
        }
        Ok(true)
    }
}

/// The texts of a column; of a column of lists the lists, as JSON.
fn texts(array: &ArrayRef, listed: bool) -> anyhow::Result<Vec<anyhow::Result<String>>> {
    let rows = 0..array.len();
    if listed {
        let lists = lists(array)?;
        return Ok(rows.map(|row| list(lists(row))).collect());
    }
    let strings = Strings::new(array)?;
    Ok(rows.map(|row| strings.text(row)).collect())
}

/// The list of each cell; `None` for null.
type Lists<'a> = Box<dyn Fn(usize) -> Option<ArrayRef> + 'a>;

fn lists(array: &dyn Array) -> anyhow::Result<Lists<'_>> {
    Ok(match array.data_type() {
        DataType::List(_) => {
            let array = array.as_list::<i32>();
            Box::new(|row| array.is_valid(row).then(|| array.value(row)))
        }
        DataType::LargeList(_) => {
            let array = array.as_list::<i64>();
            Box::new(|row| array.is_valid(row).then(|| array.value(row)))
        }
        DataType::FixedSizeList(_, _) => {
            let array = array.as_fixed_size_list();
            Box::new(|row| array.is_valid(row).then(|| array.value(row)))
        }
        other => return Err(anyhow!("expected lists of strings, found {other}")),
    })
}

fn list(list: Option<ArrayRef>) -> anyhow::Result<String> {
    let list = list.ok_or_else(|| anyhow!("expected a list of strings, found null"))?;
    let strings = Strings::new(&list)?;
    let texts = (0..list.len())
        .map(|row| strings.text(row))
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(serde_json::to_string(&texts)?)
}

impl Iterator for Columns {
    type Item = anyhow::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.lines.is_empty() && !self.failed {
            match self.read() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        self.lines.pop_front().map(Ok)
    }
}
