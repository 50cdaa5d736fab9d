//! The rows that an interrupted run left in its output file, possibly followed by a partial row.
//!
//! Only the first and the last row are parsed, so that hours of rows are skipped in seconds. A row
//! belongs to a run if the run computes the same result for the text with its number.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::{Map, Value};

use super::column::{Column, Kind, VectorType};
use super::{Format, Row, npy};
use crate::failure::Hint;

/// The maximum difference between the values of two vectors, relative to the largest value: on a
/// GPU in bf16, the vector of a text depends slightly on its batch. The vector of another model
/// differs by much more.
const TOLERANCE: f64 = 0.05;

/// The saved rows of a file.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// The number of whole rows.
    pub(crate) rows: usize,
    /// The length of the header and these rows in bytes.
    pub(super) bytes: u64,
    /// The columns of csv, if the header is written.
    pub(super) header: Option<Vec<&'static str>>,
    first: Cells,
    last: Cells,
}

/// The values of a row by column.
type Cells = Map<String, Value>;

impl Saved {
    /// Reads a file in one of the formats that can be continued.
    ///
    /// # Errors
    /// If it is not the output of a run that writes such rows.
    pub(super) fn read<R: Row>(
        path: &Path,
        format: Format,
        vectors: Option<VectorType>,
        skip_bad: bool,
    ) -> anyhow::Result<Self> {
        let name = path.display();
        let read = || -> anyhow::Result<Self> {
            let mut file = File::open(path)?;
            match (format, vectors) {
                (Format::Jsonl, _) => jsonl(&mut file),
                (Format::Csv, _) => csv::<R>(&mut file, skip_bad),
                (Format::Npy, Some(vectors)) => array(&mut file, vectors),
                _ => bail!("format `{}` cannot be continued", format.name()),
            }
        };
        read()
            .with_context(|| format!("cannot resume `{name}`"))
            .hint(OTHER)
    }

    /// Checks that `row` is the saved row with the number `index`, the first or the last; `None` is
    /// a text without a result.
    ///
    /// # Errors
    /// If the saved row differs.
    pub(crate) fn check<R: Row>(&self, index: usize, row: Option<&R>) -> anyhow::Result<()> {
        let saved = if index == 0 { &self.first } else { &self.last };
        let check = || -> anyhow::Result<()> {
            // A bad row is not computed again.
            if saved.contains_key("error") {
                return Ok(());
            }
            let row = row.context("expected the row of a bad line, with a field `error`")?;
            let row = serde_json::to_value(row)?;
            // Every format contains the result.
            if let Some(result) = R::COLUMNS.last() {
                ensure!(
                    saved.contains_key(result.name),
                    "expected a field `{}`, found none",
                    result.name
                );
            }
            for (name, found) in saved {
                let expected = row
                    .get(name)
                    .with_context(|| format!("expected no field `{name}`"))?;
                ensure!(
                    alike(expected, found),
                    "expected another `{name}` for this text"
                );
            }
            Ok(())
        };
        check()
            .with_context(|| format!("row {}", index + 1))
            .hint(OTHER)
    }
}

const OTHER: &str = "the file belongs to another input, model or options: write to another file, or overwrite it without `--resume`";

/// Returns true if two values are equal, and vectors equal up to rounding.
fn alike(expected: &Value, found: &Value) -> bool {
    let (Value::Array(expected), Value::Array(found)) = (expected, found) else {
        return expected == found;
    };
    if expected.len() != found.len() {
        return false;
    }
    let numbers = |values: &[Value]| {
        values
            .iter()
            .map(Value::as_f64)
            .collect::<Option<Vec<f64>>>()
    };
    match (numbers(expected), numbers(found)) {
        (Some(expected), Some(found)) => {
            let largest = expected
                .iter()
                .fold(0.0, |largest: f64, value| largest.max(value.abs()));
            expected
                .iter()
                .zip(found)
                .all(|(value, found)| (value - found).abs() <= TOLERANCE * largest)
        }
        _ => expected
            .iter()
            .zip(found)
            .all(|(expected, found)| alike(expected, found)),
    }
}

fn jsonl(file: &mut File) -> anyhow::Result<Saved> {
    let records = Records::scan(file, false)?;
    if records.count == 0 {
        begins(file, b"{\"index\":0,")?;
        return Ok(Saved::default());
    }
    let mut row = |from: u64, to: u64, number: usize| -> anyhow::Result<Cells> {
        let bytes = range(file, from, to)?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("row {number}: expected a row of `embed`"))
    };
    Ok(Saved {
        rows: records.count,
        bytes: records.end,
        header: None,
        first: row(0, records.first_end, 1)?,
        last: row(records.last_start, records.end, records.count)?,
    })
}

fn csv<R: Row>(file: &mut File, skip_bad: bool) -> anyhow::Result<Saved> {
    let records = Records::scan(file, true)?;
    if records.count == 0 {
        let names = R::COLUMNS
            .iter()
            .take_while(|column| !column.optional)
            .map(|column| column.name);
        let names: Vec<_> = names.collect();
        begins(file, names.join(",").as_bytes())?;
        return Ok(Saved::default());
    }
    let mut record = |from: u64, to: u64| -> anyhow::Result<Vec<String>> {
        let bytes = range(file, from, to)?;
        let mut reader = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(bytes.as_slice());
        let record = reader
            .records()
            .next()
            .context("expected a record, found none")??;
        Ok(record.iter().map(String::from).collect())
    };
    let found = record(0, records.first_end)?;
    let names = R::COLUMNS
        .iter()
        .filter(|column| !column.optional || found.iter().any(|name| name == column.name));
    let header: Vec<&str> = names
        .map(|column| column.name)
        .chain(skip_bad.then_some("error"))
        .collect();
    ensure!(
        found == header,
        "expected the columns {}, found {}",
        header.join(","),
        found.join(",")
    );
    let rows = records.count - 1;
    let cells = |cells: Vec<String>| -> anyhow::Result<Cells> {
        let mut row = Cells::new();
        for (name, cell) in header.iter().zip(cells) {
            let column = R::COLUMNS.iter().find(|column| column.name == *name);
            let value = match column {
                // A bad row, or one without a pair, has an empty cell.
                None if cell.is_empty() => continue,
                Some(column) if cell.is_empty() && column.optional => continue,
                None
                | Some(Column {
                    kind: Kind::Text, ..
                }) => Value::String(cell),
                Some(_) if cell.is_empty() => continue,
                Some(_) => serde_json::from_str(&cell)
                    .with_context(|| format!("column `{name}`: expected JSON"))?,
            };
            row.insert(name.to_string(), value);
        }
        Ok(row)
    };
    let (mut first, mut last) = (Cells::new(), Cells::new());
    if rows > 0 {
        first = cells(record(records.first_end, records.second_end)?).context("row 1")?;
        last = cells(record(records.last_start, records.end)?)
            .with_context(|| format!("row {rows}"))?;
    }
    Ok(Saved {
        rows,
        bytes: records.end,
        first,
        last,
        header: Some(header),
    })
}

fn array(file: &mut File, vectors: VectorType) -> anyhow::Result<Saved> {
    let length = file.metadata()?.len();
    let header_bytes = npy::HEADER_BYTES as u64;
    if length < header_bytes {
        begins(file, &npy::header(0, vectors)?)?;
        return Ok(Saved::default());
    }
    let header = range(file, 0, header_bytes)?;
    ensure!(
        npy::rows(&header)
            .is_some_and(|rows| npy::header(rows, vectors).is_ok_and(|expected| expected == header)),
        "expected an array of {vectors}, found {}",
        String::from_utf8_lossy(&header).trim_start_matches(|c: char| c != '{').trim_end()
    );
    let rows = (length - header_bytes) / vectors.bytes() as u64;
    let start = |row: u64| header_bytes + row * vectors.bytes() as u64;
    let mut row = |row: u64| -> anyhow::Result<Cells> {
        let bytes = range(file, start(row), start(row + 1))?;
        let is_missing = vectors.missing().is_some_and(|missing| missing == bytes);
        let (name, value) = if is_missing {
            ("error", Value::Null)
        } else {
            ("embedding", Value::from(vectors.element.numbers(&bytes)))
        };
        Ok(Cells::from_iter([(name.to_string(), value)]))
    };
    let (mut first, mut last) = (Cells::new(), Cells::new());
    if rows > 0 {
        (first, last) = (row(0)?, row(rows - 1)?);
    }
    let rows_fit = usize::try_from(rows).context("more rows than this machine can count")?;
    Ok(Saved {
        rows: rows_fit,
        bytes: start(rows),
        header: None,
        first,
        last,
    })
}

/// The number and the end of the records in a file.
#[derive(Debug, Default, PartialEq)]
struct Records {
    /// The number of whole records.
    count: usize,
    first_end: u64,
    second_end: u64,
    last_start: u64,
    /// The end of the last whole record.
    end: u64,
}

impl Records {
    /// Scans for records, which end at a line feed; with `quoting`, at a line feed outside quotes.
    fn scan(file: &mut File, quoting: bool) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let (mut records, mut offset, mut quoted) = (Self::default(), 0, false);
        loop {
            let bytes = reader.fill_buf()?;
            if bytes.is_empty() {
                return Ok(records);
            }
            for &byte in bytes {
                offset += 1;
                quoted ^= quoting && byte == b'"';
                if byte == b'\n' && !quoted {
                    records.add(offset);
                }
            }
            let length = bytes.len();
            reader.consume(length);
        }
    }

    fn add(&mut self, end: u64) {
        self.count += 1;
        match self.count {
            1 => self.first_end = end,
            2 => self.second_end = end,
            _ => {}
        }
        self.last_start = self.end;
        self.end = end;
    }
}

fn range(file: &mut File, from: u64, to: u64) -> anyhow::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(to - from).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Checks that a file without a whole record is the start of an output.
fn begins(file: &mut File, expected: &[u8]) -> anyhow::Result<()> {
    let start = range(file, 0, expected.len() as u64)?;
    if expected.starts_with(&start) {
        return Ok(());
    }
    Err(anyhow!(
        "expected the start of an output, found {:?}",
        String::from_utf8_lossy(&start)
    ))
}
