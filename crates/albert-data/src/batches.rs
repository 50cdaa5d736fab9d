//! Reads the record batches of Parquet files and of Arrow IPC files and streams one after another.
//!
//! Memory holds one batch. The parquet and arrow crates check the files; their messages about a
//! damaged file are reported with its name.

mod ipc;
mod parquet;

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{ErrorKind, error};
use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};

pub(crate) use self::ipc::OpenEnd;
pub(crate) use self::parquet::Projection;
use crate::RowBatches;
use crate::names::some_of;

/// The number of rows decoded together.
const BATCH_ROWS: usize = 1024;

/// The batches of a table.
pub(crate) struct Batches {
    /// `None` for an empty source.
    schema: Option<SchemaRef>,
    batches: Box<dyn Iterator<Item = crate::Result<RecordBatch>> + Send>,
    name: Arc<str>,
}

impl Batches {
    fn empty(name: Arc<str>) -> Self {
        Self {
            schema: None,
            batches: Box::new(std::iter::empty()),
            name,
        }
    }

    /// Adds each batch to `row_batches` when it is read.
    pub(crate) fn counted(self, row_batches: RowBatches) -> Self {
        let count = move |batch: &crate::Result<RecordBatch>| {
            if let Ok(batch) = batch {
                row_batches.add(batch.num_rows());
            }
        };
        Self {
            batches: Box::new(self.batches.inspect(count)),
            ..self
        }
    }

    /// Returns the table's name, for messages.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the table's columns; `None` for an empty source.
    pub(crate) fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }
}

impl Iterator for Batches {
    type Item = crate::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}

/// Returns the items up to and including the first error.
fn until_error<T>(
    mut items: impl Iterator<Item = crate::Result<T>>,
) -> impl Iterator<Item = crate::Result<T>> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let item = items.next();
        is_over = !matches!(item, Some(Ok(_)));
        item
    })
}

/// Runs a reader and turns a panic into an error, because some damaged files make the readers panic
/// instead of fail.
fn contained<T, E: Error + Send + Sync + 'static>(
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T, Box<dyn Error + Send + Sync>> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => Ok(result?),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("the reader panicked");
            Err(format!("the file is damaged: {text}").into())
        }
    }
}

/// Divides a batch into slices of a limited number of rows, because a writer may have made it
/// arbitrarily large.
pub(crate) fn parts(batch: crate::Result<RecordBatch>) -> Vec<crate::Result<RecordBatch>> {
    match batch {
        Ok(batch) => (0..batch.num_rows())
            .step_by(BATCH_ROWS)
            .map(|from| Ok(batch.slice(from, BATCH_ROWS.min(batch.num_rows() - from))))
            .collect(),
        Err(error) => vec![Err(error)],
    }
}

/// Returns the names of a table's columns, for an error.
pub(crate) fn column_names(schema: &Schema) -> String {
    let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    some_of(&names)
}

/// Returns the error for a truncated file.
fn interrupted(name: &str, expected: &str) -> crate::Error {
    error!("{name}: expected {expected}, found the end: the file is truncated")
        .with_kind(ErrorKind::CutShort)
}
