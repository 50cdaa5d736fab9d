//! The columns of rows as an Arrow schema.

use std::sync::Arc;

use anyhow::Context;
use arrow_schema::{DataType, Field, FieldRef, Fields};

use super::column::{Column, Element, Kind, VectorType};

/// Returns the fields of a table.
///
/// An optional column is nullable. With `skip_bad` there is a column `error`, and the row of a bad
/// text has only `index` and `error`.
///
/// # Errors
/// If a column holds vectors and their type is not known.
pub(super) fn fields(
    columns: &[Column],
    vectors: Option<VectorType>,
    skip_bad: bool,
) -> anyhow::Result<Vec<FieldRef>> {
    let mut fields = Vec::new();
    for column in columns {
        let nullable = column.optional || (skip_bad && column.name != "index");
        fields.push(Arc::new(Field::new(
            column.name,
            data_type(column.kind, vectors)?,
            nullable,
        )));
    }
    if skip_bad {
        fields.push(Arc::new(Field::new("error", DataType::Utf8, true)));
    }
    Ok(fields)
}

fn data_type(kind: Kind, vectors: Option<VectorType>) -> anyhow::Result<DataType> {
    Ok(match kind {
        Kind::Text => DataType::Utf8,
        Kind::Integer => DataType::Int64,
        Kind::Float => DataType::Float32,
        Kind::Double => DataType::Float64,
        Kind::Boolean => DataType::Boolean,
        Kind::Vector => {
            let vectors = vectors.context("the type of a column of vectors is not known")?;
            let dim = i32::try_from(vectors.dim).context("vectors too long for a table")?;
            DataType::FixedSizeList(item(number(vectors.element)), dim)
        }
        Kind::Span => DataType::FixedSizeList(item(DataType::Int64), 2),
        Kind::List(kind) => DataType::List(item(data_type(*kind, vectors)?)),
        Kind::Record(columns) => DataType::Struct(Fields::from(fields(columns, vectors, false)?)),
    })
}

fn number(element: Element) -> DataType {
    match element {
        Element::F32 => DataType::Float32,
        Element::I8 => DataType::Int8,
        Element::U8 => DataType::UInt8,
    }
}

/// Returns the field of a list's items, which are never null.
fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new(Field::LIST_FIELD_DEFAULT_NAME, data_type, false))
}
