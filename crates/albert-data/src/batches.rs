//! Record batches of Parquet files and of Arrow IPC files and streams, one after another.
//!
//! Memory holds one batch. The crates that read them check what they read; what they say of a
//! broken file is passed on behind its name.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, anyhow};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::hint::Hint;

/// Rows that are decoded together.
const BATCH_ROWS: usize = 1024;

/// What an Arrow IPC file begins with. Behind it and zeros to the next eight bytes, or more, stands
/// a stream, and behind that an index that nobody needs who reads from the beginning.
const ARROW_FILE: &[u8] = b"ARROW1\0\0";

/// What the version of Feather before Arrow IPC begins with.
const FEATHER_1: &[u8; 4] = b"FEA1";

/// The batches of a table.
pub(super) struct Batches {
    /// `None` for an input without a byte.
    schema: Option<SchemaRef>,
    batches: Box<dyn Iterator<Item = anyhow::Result<RecordBatch>> + Send>,
    name: Arc<str>,
}

impl Batches {
    /// Reads an Arrow IPC stream or file.
    ///
    /// # Errors
    /// If it is neither, or broken.
    pub(super) fn arrow(
        mut reader: impl Read + Send + 'static,
        name: Arc<str>,
    ) -> anyhow::Result<Self> {
        let mut word = || -> anyhow::Result<Vec<u8>> {
            let mut word = Vec::new();
            reader
                .by_ref()
                .take(8)
                .read_to_end(&mut word)
                .with_context(|| format!("cannot read {name}"))?;
            Ok(word)
        };
        let mut start = word()?;
        if start.is_empty() {
            return Ok(Self::empty(name));
        }
        if start.starts_with(FEATHER_1) {
            return Err(
                anyhow!("{name}: expected Arrow IPC, found Feather version 1")
                    .hint("write it again as version 2, which is Arrow IPC"),
            );
        }
        if start == ARROW_FILE {
            start = word()?;
            while start == [0; 8] {
                start = word()?;
            }
        }
        let stream = BufReader::new(Cursor::new(start).chain(reader));
        let batches = contained(|| StreamReader::try_new(stream, None))
            .with_context(|| format!("{name}: expected an Arrow IPC file or stream"))?;
        let schema = Some(batches.schema());
        Ok(Self {
            schema,
            batches: Box::new(contained_all(batches, Arc::clone(&name))),
            name,
        })
    }

    /// Reads the named columns of a Parquet file, those of them that it has. `bytes_read` grows
    /// with the rows that are read, to the length of the file.
    ///
    /// # Errors
    /// If it is none, or broken.
    pub(super) fn parquet(
        file: File,
        columns: &[&str],
        name: Arc<str>,
        bytes_read: Arc<AtomicU64>,
    ) -> anyhow::Result<Self> {
        let length = file
            .metadata()
            .with_context(|| format!("cannot read {name}"))?
            .len();
        if length == 0 {
            return Ok(Self::empty(name));
        }
        let expected = || format!("{name}: expected a Parquet file");
        let reader =
            contained(|| ParquetRecordBatchReaderBuilder::try_new(file)).with_context(expected)?;
        let rows = reader.metadata().file_metadata().num_rows().max(1) as u64;
        let schema = Arc::clone(reader.schema());
        let wanted = columns
            .iter()
            .filter_map(|column| schema.index_of(column).ok());
        let wanted = ProjectionMask::roots(reader.parquet_schema(), wanted);
        let reader = reader.with_projection(wanted).with_batch_size(BATCH_ROWS);
        let batches = contained(|| reader.build()).with_context(expected)?;
        let mut rows_read = 0;
        let batches = contained_all(batches, Arc::clone(&name)).map(move |batch| {
            let batch = batch?;
            rows_read += batch.num_rows() as u64;
            let share = u128::from(length) * u128::from(rows_read.min(rows)) / u128::from(rows);
            bytes_read.store(share as u64, Ordering::Relaxed);
            Ok(batch)
        });
        Ok(Self {
            schema: Some(schema),
            batches: Box::new(batches),
            name,
        })
    }

    fn empty(name: Arc<str>) -> Self {
        Self {
            schema: None,
            batches: Box::new(std::iter::empty()),
            name,
        }
    }

    /// The table's name, for messages.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether there is such a column, in a table that has columns at all.
    pub(super) fn has(&self, column: &str) -> bool {
        self.schema
            .as_ref()
            .is_some_and(|schema| schema.index_of(column).is_ok())
    }

    /// Makes sure of a column.
    ///
    /// # Errors
    /// If the table has others, and not this one.
    pub(super) fn expect(&self, column: &str) -> anyhow::Result<()> {
        match &self.schema {
            Some(schema) if !self.has(column) => Err(anyhow!(
                "{}: no field `{column}`, found {}",
                self.name,
                names(schema)
            )),
            _ => Ok(()),
        }
    }
}

impl Iterator for Batches {
    type Item = anyhow::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}

/// The batches of a reader, to its end or its first error.
fn contained_all<E: Error + Send + Sync + 'static>(
    mut batches: impl Iterator<Item = Result<RecordBatch, E>>,
    name: Arc<str>,
) -> impl Iterator<Item = anyhow::Result<RecordBatch>> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let batch = contained(|| batches.next().transpose())
            .with_context(|| format!("cannot read {name}"))
            .transpose();
        is_over = !matches!(batch, Some(Ok(_)));
        batch
    })
}

/// Reads something. Some broken files make the readers panic where they should fail: that is an
/// error of the file, as any other.
fn contained<T, E: Error + Send + Sync + 'static>(
    read: impl FnOnce() -> Result<T, E>,
) -> anyhow::Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => Ok(result?),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("its reader gave up");
            Err(anyhow!("the file is broken: {text}"))
        }
    }
}

/// A batch in parts of not too many rows: it may be as large as its writer liked.
pub(super) fn parts(batch: anyhow::Result<RecordBatch>) -> Vec<anyhow::Result<RecordBatch>> {
    match batch {
        Ok(batch) => (0..batch.num_rows())
            .step_by(BATCH_ROWS)
            .map(|from| Ok(batch.slice(from, BATCH_ROWS.min(batch.num_rows() - from))))
            .collect(),
        Err(error) => vec![Err(error)],
    }
}

/// A batch's column by its name.
pub(super) fn column<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a ArrayRef> {
    batch
        .column_by_name(name)
        .with_context(|| format!("no field `{name}`"))
}

fn names(schema: &Schema) -> String {
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| format!("`{}`", field.name()))
        .collect();
    if names.is_empty() {
        "none".to_string()
    } else {
        names.join(", ")
    }
}

/// A file in which a reader can jump, with what comes from a pipe.
///
/// # Errors
/// If reading fails, or there is no room for it.
pub(super) fn spool(reader: &mut dyn Read, name: &str) -> anyhow::Result<File> {
    let spool = || -> io::Result<File> {
        let mut file = tempfile::tempfile()?;
        io::copy(&mut BufReader::new(reader), &mut file)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    };
    spool().with_context(|| format!("cannot copy {name} to a temporary file, which parquet needs"))
}
