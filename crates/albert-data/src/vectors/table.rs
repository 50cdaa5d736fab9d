//! Rows of `parquet` and `arrow`: a column `embedding`, and the texts where there is a column
//! `text`.

use std::fs::File;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

use super::{VectorFormat, VectorRow};
use crate::batches::{Batches, column, parts};
use crate::cells::Strings;

const EMBEDDING: &str = "embedding";
const TEXT: &str = "text";
const ERROR: &str = "error";

/// The rows of a table.
///
/// # Errors
/// If it is no table, or has no column `embedding`.
pub(super) fn rows(
    file: File,
    format: VectorFormat,
    name: Arc<str>,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<VectorRow>>> {
    let batches = match format {
        VectorFormat::Parquet => {
            Batches::parquet(file, &[EMBEDDING, TEXT, ERROR], name, Arc::default())?
        }
        _ => Batches::arrow(file, name)?,
    };
    batches.expect(EMBEDDING)?;
    let (name, has_text, has_error) = (
        Arc::clone(batches.name()),
        batches.has(TEXT),
        batches.has(ERROR),
    );
    let rows = batches.flat_map(parts).flat_map(move |part| {
        match part.and_then(|part| rows_of(&part, has_text, has_error)) {
            Ok(rows) => rows,
            Err(error) => vec![Err(error)],
        }
    });
    Ok(rows
        .enumerate()
        .map(move |(row, vector)| vector.with_context(|| format!("{name}, row {}", row + 1))))
}

fn rows_of(
    batch: &RecordBatch,
    has_text: bool,
    has_error: bool,
) -> anyhow::Result<Vec<anyhow::Result<VectorRow>>> {
    let embeddings = column(batch, EMBEDDING)?;
    let texts = if has_text {
        Some(Strings::new(column(batch, TEXT)?)?)
    } else {
        None
    };
    let errors = if has_error {
        Some(column(batch, ERROR)?)
    } else {
        None
    };
    let row = |row: usize| -> anyhow::Result<VectorRow> {
        if embeddings.is_null(row) {
            return match errors.is_some_and(|errors| errors.is_valid(row)) {
                true => Ok(None),
                false => bail!("field `{EMBEDDING}`: expected numbers, found null"),
            };
        }
        let vector = numbers(embeddings, row).with_context(|| format!("field `{EMBEDDING}`"))?;
        let text = texts.as_ref().map(|texts| texts.text(row)).transpose();
        Ok(Some((
            vector,
            text.with_context(|| format!("field `{TEXT}`"))?,
        )))
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

fn numbers(array: &ArrayRef, row: usize) -> anyhow::Result<Vec<f32>> {
    let list = match array.data_type() {
        DataType::FixedSizeList(_, _) => array.as_fixed_size_list().value(row),
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        other => bail!("expected lists of f32, found {other}"),
    };
    match list.as_primitive_opt::<Float32Type>() {
        Some(numbers) if numbers.null_count() == 0 => Ok(numbers.values().to_vec()),
        Some(_) => bail!("expected numbers, found null"),
        None => bail!("expected lists of f32, found lists of {}", list.data_type()),
    }
}
