//! Rows of `parquet` and `arrow`: a column `embedding`, and the texts where there is a column
//! `text`.

use std::sync::Arc;

use crate::error::{Context, Error, ErrorKind, bail, error};
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

use super::{VectorFormat, VectorRow};
use crate::batches::{Batches, OpenEnd, Projection, parts};
use crate::cells::cells;
use crate::record::{Kind, Presence, Selection, Wanted};
use crate::source::Opened;
use crate::table::expect_fields;
use crate::{Cell, Field};

const EMBEDDING: &str = "embedding";
const TEXT: &str = "text";
const ERROR: &str = "error";

/// Returns the rows of a table.
///
/// # Errors
/// If it is no table, or has no column `embedding`.
pub(super) fn rows(
    opened: Opened,
    format: VectorFormat,
) -> crate::Result<impl Iterator<Item = crate::Result<VectorRow>>> {
    if opened.is_empty() {
        let error = error!("{}: expected a table, found an empty file", opened.name);
        return Err(error.with_kind(ErrorKind::CutShort));
    }
    let optional = |name: &str| Wanted {
        presence: Presence::Optional,
        ..Wanted::new(Field::from_name(name), Kind::Any)
    };
    let mut selection = Selection::new([Field::from_name(EMBEDDING)], Kind::Any);
    selection.fields.extend([optional(TEXT), optional(ERROR)]);
    let batches = match format {
        VectorFormat::Parquet => {
            let projection = Projection::from_selection(&selection);
            Batches::parquet(opened, &projection, Arc::default())?
        }
        _ => Batches::arrow(opened, OpenEnd::Refused)?,
    };
    let name = Arc::clone(batches.name());
    if let Some(schema) = batches.schema() {
        expect_fields(schema, &selection).with_context(|| name.to_string())?;
    }
    let rows =
        batches
            .flat_map(parts)
            .flat_map(move |part| match part.and_then(|part| rows_of(&part)) {
                Ok(rows) => rows,
                Err(error) => vec![Err(error)],
            });
    Ok(rows
        .enumerate()
        .map(move |(row, vector)| vector.with_context(|| format!("{name}, row {}", row + 1))))
}

fn rows_of(batch: &RecordBatch) -> crate::Result<Vec<crate::Result<VectorRow>>> {
    let embeddings = batch
        .column_by_name(EMBEDDING)
        .ok_or_else(|| Error::missing_field(format!("no field `{EMBEDDING}`")))?;
    let texts = batch.column_by_name(TEXT).map(|column| cells(column));
    let texts = texts.transpose()?;
    let errors = batch.column_by_name(ERROR);
    let row = |row: usize| -> crate::Result<VectorRow> {
        if embeddings.is_null(row) {
            return if errors.is_some_and(|errors| errors.is_valid(row)) {
                Ok(None)
            } else {
                bail!("field `{EMBEDDING}`: expected numbers, found null")
            };
        }
        let vector = numbers(embeddings, row).with_context(|| format!("field `{EMBEDDING}`"))?;
        let text = texts
            .as_ref()
            .map(|texts| texts(row).and_then(Cell::into_text));
        let text = text
            .transpose()
            .with_context(|| format!("field `{TEXT}`"))?;
        Ok(Some((vector, text)))
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

fn numbers(array: &ArrayRef, row: usize) -> crate::Result<Vec<f32>> {
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
